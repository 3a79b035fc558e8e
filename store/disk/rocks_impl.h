#pragma once

#include <rocksdb/db.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/write_batch.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/disk/reserve.h"
#include "store/disk/rocks_store.h"
#include "store/disk/rows.h"

/// The inside of RocksStore, shared by its sources and by nothing else.
///   rocks_store.cc  opening, identity, batches     rocks_load.cc  what is found on disk
///   rocks_tasks.cc  views and the stage
/// Column families: log, meta, and one for the state: "state" at first, "state-2", "state-3" ... after each switch to a
/// stage; the row `state` of meta names the live one (none: "state"). Any other that begins so is what a crash left
/// between staging and switching, or between switching and dropping: it goes at the next opening.
namespace store::disk {

inline constexpr const char* kLogFamily = "log";
inline constexpr const char* kMetaFamily = "meta";
inline constexpr const char* kStateFamily = "state";
inline constexpr std::string_view kStageFile = "stage.sst";     ///< rows on their way into a family of their own
inline constexpr std::string_view kReserveFile = "reserve";

[[nodiscard]] inline rocksdb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
[[nodiscard]] inline std::string_view view(const rocksdb::Slice& bytes) { return {bytes.data(), bytes.size()}; }
/// RocksDB's word for what happened in ours, with advice.
[[nodiscard]] Error translate(const rocksdb::Status& status, const std::string& where);
[[nodiscard]] rocksdb::DBOptions db_options(const RocksOptions& options);
[[nodiscard]] rocksdb::ColumnFamilyOptions family_options(const RocksOptions& options, std::string_view family,
                                                          const std::shared_ptr<rocksdb::TableFactory>& tables);

struct RocksStore::Impl {
  RocksOptions options;
  std::unique_ptr<rocksdb::DB> db;
  std::shared_ptr<rocksdb::TableFactory> tables;
  std::map<std::string, rocksdb::ColumnFamilyHandle*> families;  // all that exist, by name
  rocksdb::ColumnFamilyHandle* log_cf = nullptr;
  rocksdb::ColumnFamilyHandle* meta_cf = nullptr;
  rocksdb::ColumnFamilyHandle* state_cf = nullptr;  // the live one
  std::string state_name = kStateFamily;
  std::unique_ptr<Reserve> reserve;
  LogStart start;    // entry before the window
  raft::Index last;  // end of the window; start.index = empty
  bool stopped = false;

  // A frozen state: the iterator keeps its version of everything.
  struct View {
    AppliedMark mark;
    std::unique_ptr<rocksdb::Iterator> rows;
  };
  std::map<ViewId, View> views;
  // Rows of an arriving snapshot: a file while they come, a family of its own once sealed.
  struct Stage {
    std::unique_ptr<rocksdb::SstFileWriter> file;  // null = no row yet
    std::string family;                            // not empty = sealed
    std::string last_key;
  };
  std::optional<Stage> stage;

  ~Impl() {
    views.clear();
    stage.reset();
    for (const auto& [name, handle] : families) db->DestroyColumnFamilyHandle(handle);
  }

  [[nodiscard]] std::string where() const { return options.directory.string(); }

  // nullopt = no such row.
  Result<std::optional<std::string>> meta(const char* row) {
    std::string value;
    const rocksdb::Status status = db->Get(rocksdb::ReadOptions(), meta_cf, row, &value);
    if (status.IsNotFound()) return std::nullopt;
    if (!status.ok()) return tl::unexpected<Error>(translate(status, where()));
    return value;
  }

  // Decodes a row if it is there. @param decode  string_view -> Result<T>
  template <class T, class Decode>
  Result<std::optional<T>> meta_as(const char* row, Decode decode) {
    auto bytes = meta(row);
    if (!bytes) return tl::unexpected<Error>(bytes.error());
    if (!*bytes) return std::optional<T>();
    Result<T> decoded = decode(**bytes);
    if (!decoded) return located<std::optional<T>>(decoded.error());
    return std::optional<T>(std::move(*decoded));
  }

  template <class T>
  Result<T> located(Error error) {
    error.detail = where() + ": " + error.detail;
    return tl::unexpected<Error>(std::move(error));
  }

  Result<void> commit(rocksdb::WriteBatch& batch) {
    rocksdb::WriteOptions write;
    write.sync = true;
    const rocksdb::Status status = db->Write(write, &batch);
    if (status.ok()) return {};
    stopped = true;  // what reached the disk is unknown: only a new start can find out
    return tl::unexpected<Error>(translate(status, where()));
  }

  Result<std::vector<std::string>> family_names() const;
  Result<void> open_db();
  Result<void> find_state();
  Result<void> drop_family(const std::string& name);
  [[nodiscard]] std::string next_state_name() const;
  [[nodiscard]] std::string path(std::string_view file) const { return (options.directory / file).string(); }
  Result<TaskAnswer> run(const OpenView& work);
  Result<TaskAnswer> run(const ReadView& work);
  Result<TaskAnswer> run(const CloseView& work);
  Result<TaskAnswer> run(const BeginStage& work);
  Result<TaskAnswer> run(const AppendStage& work);
  Result<TaskAnswer> run(const SealStage& work);
  Result<TaskAnswer> run(const DropStage& work);
  Result<void> open_stage_file();
  Result<void> forget_stage();
  Result<void> check_identity();
  Result<void> create_identity();
  Result<void> load_meta(LoadedState& loaded);
  Result<void> load_log(LoadedState& loaded);
  void load_records(LoadedState& loaded);
  Result<void> check_window(const PersistBatch& batch) const;
  Result<void> put_replacement(rocksdb::WriteBatch& to, const PersistBatch& batch);
  void put_entries(rocksdb::WriteBatch& to, const PersistBatch& batch);
  void put_trim(rocksdb::WriteBatch& to, const LogStart& trim);
  void put_state(rocksdb::WriteBatch& to, const PersistBatch& batch);
  void put_meta(rocksdb::WriteBatch& to, const char* row, const std::string& value) {
    to.Put(meta_cf, row, value);
  }
};

}  // namespace store::disk
