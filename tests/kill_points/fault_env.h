#pragma once

#include <rocksdb/env.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

/// RocksDB's way to the operating system with a finger on every step: each operation that changes a file is announced
/// before and after, may be made to fail, and what would survive a loss of power is known.
namespace kill_points {

/// What the test wants to happen at operations on files.
class Faults {
 public:
  virtual ~Faults() = default;
  /// @param point  "wal.append", "manifest.sync", "current.rename", ...; called before the operation.
  /// @return a status that is not OK takes the operation's place
  virtual rocksdb::Status before(const std::string& point) = 0;
  virtual void after(const std::string& point) = 0;
};

/// Kinds of files: wal, manifest, current, table, stage, identity, options, dir, other. RocksDB's own log is let through.
/// Thread: any (RocksDB flushes on threads of its own).
class FaultEnv final : public rocksdb::EnvWrapper {
 public:
  explicit FaultEnv(Faults* faults) : EnvWrapper(rocksdb::Env::Default()), faults_(faults) {}

  rocksdb::Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* file,
                                  const rocksdb::EnvOptions& options) override;
  rocksdb::Status ReopenWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* file,
                                     const rocksdb::EnvOptions& options) override;
  rocksdb::Status NewDirectory(const std::string& name, std::unique_ptr<rocksdb::Directory>* directory) override;
  rocksdb::Status RenameFile(const std::string& from, const std::string& to) override;
  rocksdb::Status LinkFile(const std::string& from, const std::string& to) override;
  rocksdb::Status DeleteFile(const std::string& name) override;

  /// Cuts every file back to what was synced: what the loss of power would leave. Renames and new names are taken as
  /// durable, which journalling file systems grant together with the next sync.
  void lose_power();

 private:
  class File;
  class Folder;
  rocksdb::Status wrap(const std::string& name, std::uint64_t size, std::unique_ptr<rocksdb::WritableFile>* file);
  void note_size(const std::string& name, std::uint64_t written, bool synced);

  struct Length {
    std::uint64_t written = 0, synced = 0;
  };
  Faults* faults_;
  std::mutex mutex_;
  std::map<std::string, Length> files_;
};

/// The kind of a file by its name.
[[nodiscard]] std::string kind_of(const std::string& path);

}  // namespace kill_points
