#include <utility>

#include "store/disk/rocks_impl.h"

/// What a start finds on disk.
namespace store::disk {
namespace {

constexpr std::size_t kLoadPieceBytes = std::size_t{1} << 20;

}  // namespace

Result<LoadedState> RocksStore::load() {
  LoadedState loaded;
  if (auto done = impl_->load_meta(loaded); !done) return tl::unexpected<Error>(done.error());
  if (auto done = impl_->load_log(loaded); !done) return tl::unexpected<Error>(done.error());
  impl_->load_records(loaded);
  rocksdb::WriteBatch batch;
  impl_->put_meta(batch, "starts", encode_number(loaded.start_count));
  if (auto counted = impl_->commit(batch); !counted) return tl::unexpected<Error>(counted.error());
  return loaded;
}

Result<void> RocksStore::Impl::load_meta(LoadedState& loaded) {
  const auto starts = meta_as<std::uint64_t>("starts", [](std::string_view b) { return decode_number(b, "starts"); });
  if (!starts) return tl::unexpected<Error>(starts.error());
  auto cluster = meta_as<kv::ClusterId>("cluster", decode_cluster);
  if (!cluster) return tl::unexpected<Error>(cluster.error());
  auto grant = meta_as<Grant>("grant", decode_grant);
  if (!grant) return tl::unexpected<Error>(grant.error());
  auto hard = meta_as<raft::HardState>("hard", decode_hard);
  if (!hard) return tl::unexpected<Error>(hard.error());
  auto found_start = meta_as<LogStart>("start", decode_start);
  if (!found_start) return tl::unexpected<Error>(found_start.error());
  auto applied = meta_as<AppliedMark>("applied", decode_applied);
  if (!applied) return tl::unexpected<Error>(applied.error());
  loaded.start_count = starts->value_or(0) + 1;
  loaded.cluster_id = cluster->value_or(kv::ClusterId{});
  loaded.grant = std::move(*grant);
  loaded.hard = hard->value_or(raft::HardState{});
  loaded.start = found_start->value_or(LogStart{});
  loaded.applied = std::move(*applied).value_or(AppliedMark{});
  if (loaded.applied.index < loaded.start.index)
    return fail(Errc::kCorrupt, where() + ": the log begins after the applied index");
  start = loaded.start;
  return {};
}

Result<void> RocksStore::Impl::load_log(LoadedState& loaded) {
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions(), log_cf));
  last = start.index;
  for (it->Seek(log_key(start.index.next())); it->Valid(); it->Next()) {
    auto entry = decode_log_row(view(it->key()), view(it->value()));
    if (!entry) return located<void>(entry.error());
    if (entry->index != last.next()) {
      return fail(Errc::kCorrupt, where() + ": log entry " + std::to_string(last.value + 1) + " is missing before " +
                                      std::to_string(entry->index.value));
    }
    last = entry->index;
    loaded.entries.push_back(std::move(*entry));
  }
  if (!it->status().ok()) return tl::unexpected<Error>(translate(it->status(), where()));
  if (last < loaded.applied.index || last < loaded.hard.commit)
    return fail(Errc::kCorrupt, where() + ": the log ends before entries that were committed");
  return {};
}

// A piece at a time: the caller makes its own state of them.
void RocksStore::Impl::load_records(LoadedState& loaded) {
  rocksdb::ReadOptions options_of_read;
  options_of_read.fill_cache = false;  // read once
  const std::shared_ptr<rocksdb::Iterator> it(db->NewIterator(options_of_read, state_cf));
  it->SeekToFirst();
  loaded.more_records = [it, place = where()]() -> Result<std::vector<kv::Record>> {
    std::vector<kv::Record> records;
    for (std::size_t bytes = 0; it->Valid() && bytes < kLoadPieceBytes; it->Next()) {
      bytes += it->key().size() + it->value().size();
      records.push_back({it->key().ToString(), it->value().ToString()});
    }
    if (!it->status().ok()) return tl::unexpected<Error>(translate(it->status(), place));
    return records;
  };
}

}  // namespace store::disk
