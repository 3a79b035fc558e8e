#include "tests/kill_points/fault_env.h"

#include <unistd.h>

#include <filesystem>

namespace kill_points {

std::string kind_of(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  if (name == "stage.sst") return "stage";
  if (name.ends_with(".log")) return "wal";
  if (name.ends_with(".sst")) return "table";
  if (name.starts_with("MANIFEST-")) return "manifest";
  if (name.ends_with(".dbtmp") || name == "CURRENT") return "current";
  if (name.starts_with("OPTIONS-")) return "options";
  if (name == "IDENTITY") return "identity";
  if (name.starts_with("LOG")) return "";  // RocksDB's talk
  return "other";
}

class FaultEnv::File final : public rocksdb::WritableFileWrapper {
 public:
  File(FaultEnv& env, std::string name, std::uint64_t size, std::unique_ptr<rocksdb::WritableFile> real)
      : WritableFileWrapper(real.get()), env_(env), name_(std::move(name)), kind_(kind_of(name_)), size_(size),
        real_(std::move(real)) {}
  rocksdb::Status Append(const rocksdb::Slice& data) override {
    return step("append", [&] {
      auto status = WritableFileWrapper::Append(data);
      if (status.ok()) size_ += data.size();
      env_.note_size(name_, size_, false);
      return status;
    });
  }
  rocksdb::Status Append(const rocksdb::Slice& data, const rocksdb::DataVerificationInfo&) override {
    return Append(data);
  }
  rocksdb::Status Sync() override {
    return step("sync", [&] { return synced(WritableFileWrapper::Sync()); });
  }
  rocksdb::Status Fsync() override {
    return step("sync", [&] { return synced(WritableFileWrapper::Fsync()); });
  }
  rocksdb::Status Truncate(std::uint64_t size) override {
    size_ = size;
    return WritableFileWrapper::Truncate(size);
  }

 private:
  template <class Operation>
  rocksdb::Status step(const char* what, Operation operation) {
    const std::string point = kind_ + "." + what;
    if (auto status = env_.faults_->before(point); !status.ok()) return status;
    auto status = operation();
    env_.faults_->after(point);
    return status;
  }
  rocksdb::Status synced(rocksdb::Status status) {
    if (status.ok()) env_.note_size(name_, size_, true);
    return status;
  }

  FaultEnv& env_;
  std::string name_, kind_;
  std::uint64_t size_;
  std::unique_ptr<rocksdb::WritableFile> real_;
};

class FaultEnv::Folder final : public rocksdb::Directory {
 public:
  Folder(FaultEnv& env, std::unique_ptr<rocksdb::Directory> real) : env_(env), real_(std::move(real)) {}
  rocksdb::Status Fsync() override {
    if (auto status = env_.faults_->before("dir.sync"); !status.ok()) return status;
    auto status = real_->Fsync();
    env_.faults_->after("dir.sync");
    return status;
  }
  rocksdb::Status Close() override { return real_->Close(); }

 private:
  FaultEnv& env_;
  std::unique_ptr<rocksdb::Directory> real_;
};

rocksdb::Status FaultEnv::wrap(const std::string& name, std::uint64_t size,
                               std::unique_ptr<rocksdb::WritableFile>* file) {
  if (kind_of(name).empty()) return rocksdb::Status::OK();
  note_size(name, size, true);
  *file = std::make_unique<File>(*this, name, size, std::move(*file));
  return rocksdb::Status::OK();
}

rocksdb::Status FaultEnv::NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* file,
                                          const rocksdb::EnvOptions& options) {
  const std::string kind = kind_of(name);
  if (kind.empty()) return target()->NewWritableFile(name, file, options);
  if (auto status = faults_->before(kind + ".create"); !status.ok()) return status;
  auto status = target()->NewWritableFile(name, file, options);
  faults_->after(kind + ".create");
  return status.ok() ? wrap(name, 0, file) : status;
}

rocksdb::Status FaultEnv::ReopenWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* file,
                                             const rocksdb::EnvOptions& options) {
  auto status = target()->ReopenWritableFile(name, file, options);
  std::error_code code;
  return status.ok() ? wrap(name, std::filesystem::file_size(name, code), file) : status;
}

rocksdb::Status FaultEnv::NewDirectory(const std::string& name, std::unique_ptr<rocksdb::Directory>* directory) {
  auto status = target()->NewDirectory(name, directory);
  if (status.ok()) *directory = std::make_unique<Folder>(*this, std::move(*directory));
  return status;
}

rocksdb::Status FaultEnv::RenameFile(const std::string& from, const std::string& to) {
  const std::string kind = kind_of(to);
  if (kind.empty()) return target()->RenameFile(from, to);
  if (auto status = faults_->before(kind + ".rename"); !status.ok()) return status;
  auto status = target()->RenameFile(from, to);
  if (status.ok()) {
    const std::lock_guard lock(mutex_);
    if (auto moved = files_.extract(from); !moved.empty()) files_[to] = moved.mapped();
  }
  faults_->after(kind + ".rename");
  return status;
}

rocksdb::Status FaultEnv::LinkFile(const std::string& from, const std::string& to) {
  const std::string kind = kind_of(from);
  if (auto status = faults_->before(kind + ".link"); !status.ok()) return status;
  auto status = target()->LinkFile(from, to);
  faults_->after(kind + ".link");
  return status;
}

rocksdb::Status FaultEnv::DeleteFile(const std::string& name) {
  const std::string kind = kind_of(name);
  if (kind.empty()) return target()->DeleteFile(name);
  if (auto status = faults_->before(kind + ".delete"); !status.ok()) return status;
  auto status = target()->DeleteFile(name);
  {
    const std::lock_guard lock(mutex_);
    files_.erase(name);
  }
  faults_->after(kind + ".delete");
  return status;
}

void FaultEnv::note_size(const std::string& name, std::uint64_t written, bool synced) {
  const std::lock_guard lock(mutex_);
  Length& length = files_[name];
  length.written = written;
  if (synced) length.synced = written;
}

void FaultEnv::lose_power() {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, length] : files_) {
    if (length.synced < length.written) static_cast<void>(truncate(name.c_str(), static_cast<off_t>(length.synced)) == 0);
  }
}

}  // namespace kill_points
