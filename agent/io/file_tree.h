#pragma once
/// Files beneath one folder, opened by names that come from strangers, and read without holding the loop up.
/// What the kernel has at hand is opened and read at once; what it has to fetch from a disk goes through the thread pool.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/io/error.h"
#include "agent/io/loop.h"

namespace agent::io {

/// One open file or folder. Ownership: shared by whoever reads it; closed with the last of them.
class OpenFile {
 public:
  OpenFile(int fd, std::uint64_t bytes, std::int64_t modified_ns, bool is_folder)
      : fd_(fd), bytes_(bytes), modified_ns_(modified_ns), is_folder_(is_folder) {}
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }               ///< when it was opened
  [[nodiscard]] std::int64_t modified_ns() const { return modified_ns_; }    ///< since 1970; when it was opened
  [[nodiscard]] bool is_folder() const { return is_folder_; }
  /// True if size and time of the last change are still what they were. Costs a system call.
  [[nodiscard]] bool unchanged() const;

 private:
  int fd_;
  std::uint64_t bytes_;
  std::int64_t modified_ns_;
  bool is_folder_;
};

/// A folder and what lies beneath it. Immutable: shared by all threads.
class FileTree {
 public:
  /// Errors: kNotFound, kPermission, kInvalidArgument (no folder), kLimit.
  static Result<std::shared_ptr<const FileTree>> open(const std::string& root);
  ~FileTree();
  FileTree(const FileTree&) = delete;
  FileTree& operator=(const FileTree&) = delete;

  /// How patient a call is.
  enum class Patience : std::uint8_t {
    kNow,   ///< only with what the kernel has in memory; kWouldBlock otherwise
    kWait,  ///< on a thread that may wait for a disk
  };
  /// Opens a regular file or a folder for reading. Neither "..", nor an absolute name, nor a symbolic link leads out of the
  /// root: the kernel resolves the whole name beneath it (openat2; where that is missing no symbolic link is followed).
  /// Errors: kNotFound (for everything that is not to be shown: outside of the root, a device, a loop of links, no right to
  /// read), kWouldBlock with kNow, kLimit (no descriptor left).
  [[nodiscard]] Result<std::shared_ptr<OpenFile>> open_file(const std::string& name, Patience patience) const;

  /// @return bytes read, at least 1; 0 at the end of the file. Errors: kWouldBlock with kNow, kIo.
  static Result<std::size_t> read(const OpenFile& file, std::uint64_t offset, std::span<std::byte> into, Patience patience);

 private:
  explicit FileTree(int fd) : fd_(fd) {}
  int fd_;
};

/// One piece of work at a time on the thread pool of a loop. Ownership: of whoever waits; destruction forgets the work,
/// which ends by itself. Thread: the loop's.
class FileWork {
 public:
  explicit FileWork(Loop& loop) : loop_(loop) {}
  ~FileWork();
  FileWork(const FileWork&) = delete;
  FileWork& operator=(const FileWork&) = delete;
  /// `done` runs once on the loop, never inside this call; not after destruction. One call at a time.
  void open(std::shared_ptr<const FileTree> tree, std::string name, std::function<void(Result<std::shared_ptr<OpenFile>>)> done);
  /// @param done  the bytes are void after the call; none = the end of the file
  void read(std::shared_ptr<OpenFile> file, std::uint64_t offset, std::size_t bytes, std::function<void(Result<std::span<const std::byte>>)> done);
  [[nodiscard]] bool running() const { return job_ != nullptr; }

 private:
  struct Job;
  void start(std::unique_ptr<Job> job);
  Loop& loop_;
  Job* job_ = nullptr;  // owned by the pool until it is done
};

}  // namespace agent::io
