#include <system_error>
#include <utility>
#include <variant>

#include "store/disk/rocks_impl.h"

/// Views of the state, and the stage for one that arrives.
namespace store::disk {

Result<TaskAnswer> RocksStore::run(const Task& task) {
  if (impl_->stopped) return fail(Errc::kStopped, impl_->where() + ": an earlier write failed");
  return std::visit([this](const auto& work) { return impl_->run(work); }, task.work);
}

// --- views --------------------------------------------------------------------------------------------------------

// Only this thread writes, so the mark and the iterator see the same moment.
Result<TaskAnswer> RocksStore::Impl::run(const OpenView& work) {
  if (views.size() >= kViewsMax) return fail(Errc::kIo, where() + ": too many views of the state are open");
  const auto applied = meta_as<AppliedMark>("applied", decode_applied);
  if (!applied) return tl::unexpected<Error>(applied.error());
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  View view{applied->value_or(AppliedMark{}), std::unique_ptr<rocksdb::Iterator>(db->NewIterator(read, state_cf))};
  view.rows->Seek(slice(work.from));
  TaskAnswer answer{view.mark, {}};
  views.insert_or_assign(work.view, std::move(view));
  return answer;
}

Result<TaskAnswer> RocksStore::Impl::run(const ReadView& work) {
  const auto found = views.find(work.view);
  if (found == views.end()) return fail(Errc::kIo, where() + ": no such view of the state");
  rocksdb::Iterator& it = *found->second.rows;
  TaskAnswer answer;
  for (std::size_t bytes = 0; it.Valid() && (bytes < work.bytes_max || answer.records.empty()); it.Next()) {
    bytes += it.key().size() + it.value().size();
    answer.records.push_back({it.key().ToString(), it.value().ToString()});
  }
  if (!it.status().ok()) return tl::unexpected<Error>(translate(it.status(), where()));
  return answer;
}

Result<TaskAnswer> RocksStore::Impl::run(const CloseView& work) {
  views.erase(work.view);
  return TaskAnswer{};
}

// --- the stage ----------------------------------------------------------------------------------------------------

Result<TaskAnswer> RocksStore::Impl::run(const BeginStage&) {
  if (auto gone = forget_stage(); !gone) return tl::unexpected<Error>(gone.error());
  stage.emplace();
  return TaskAnswer{};
}

Result<void> RocksStore::Impl::open_stage_file() {
  rocksdb::Options table(db_options(options), family_options(options, kStateFamily, tables));
  auto file = std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(), table);
  if (const rocksdb::Status status = file->Open(path(kStageFile)); !status.ok())
    return tl::unexpected<Error>(translate(status, path(kStageFile)));
  stage->file = std::move(file);
  return {};
}

Result<TaskAnswer> RocksStore::Impl::run(const AppendStage& work) {
  if (!stage || !stage->family.empty()) return fail(Errc::kIo, where() + ": no stage is open");
  for (const kv::Record& record : work.records) {
    if (!record.value || record.key.empty() || record.key <= stage->last_key)
      return fail(Errc::kCorrupt, where() + ": rows of a snapshot are out of order");
    if (!stage->file) {
      if (auto opened = open_stage_file(); !opened) return tl::unexpected<Error>(opened.error());
    }
    const rocksdb::Status status = stage->file->Put(slice(record.key), slice(*record.value));
    if (!status.ok()) return tl::unexpected<Error>(translate(status, path(kStageFile)));
    stage->last_key = record.key;
  }
  return TaskAnswer{};
}

// The file is synced by Finish, its move and the family by the manifest: then the switch is one row.
Result<TaskAnswer> RocksStore::Impl::run(const SealStage&) {
  if (!stage || !stage->family.empty()) return fail(Errc::kIo, where() + ": no stage is open");
  const std::string name = next_state_name();
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  rocksdb::Status status =
      stage->file ? stage->file->Finish() : rocksdb::Status::OK();
  if (status.ok()) status = db->CreateColumnFamily(family_options(options, name, tables), name, &handle);
  if (!status.ok()) return tl::unexpected<Error>(translate(status, path(kStageFile)));
  families.emplace(name, handle);
  stage->family = name;
  if (!stage->file) return TaskAnswer{};
  rocksdb::IngestExternalFileOptions ingest;
  ingest.move_files = true;
  ingest.snapshot_consistency = false;  // nobody reads this family yet
  ingest.allow_global_seqno = false;    // the family is empty: nothing can overlap
  status = db->IngestExternalFile(handle, {path(kStageFile)}, ingest);
  stage->file.reset();
  if (!status.ok()) return tl::unexpected<Error>(translate(status, path(kStageFile)));
  return TaskAnswer{};
}

Result<TaskAnswer> RocksStore::Impl::run(const DropStage&) {
  if (auto gone = forget_stage(); !gone) return tl::unexpected<Error>(gone.error());
  return TaskAnswer{};
}

Result<void> RocksStore::Impl::forget_stage() {
  if (!stage) return {};
  const std::string family = stage->family;
  stage.reset();
  std::error_code code;
  std::filesystem::remove(path(kStageFile), code);
  return family.empty() ? Result<void>{} : drop_family(family);
}

// Numbers only grow among the families that exist, so the name of a live one is never used again.
std::string RocksStore::Impl::next_state_name() const {
  std::uint64_t number = 1;
  for (const auto& [name, handle] : families) {
    const std::string digits = name.starts_with("state-") ? name.substr(6) : "";
    if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    number = std::max<std::uint64_t>(number, std::stoull(digits));
  }
  return std::string(kStateFamily) + "-" + std::to_string(number + 1);
}

}  // namespace store::disk
