#pragma once
/// Small files, whole and safe. Synchronous: for start-up, the CLI and rare small writes, not for the data path.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "agent/io/error.h"

namespace agent::io {

/// The whole content; waits for nobody. Errors: kNotFound, kPermission, kTooLarge (over `bytes_max`), kInvalidArgument (a directory, a pipe), kIo.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max);

/// Replaces `path` so that a crash at any moment leaves the old or the new content, whole: a temporary file beside
/// it, fsync, rename, fsync of the directory. Errors: kNotFound (directory), kPermission, kDiskFull, kIo; the old
/// content is then still there and the temporary file is gone.
/// @param mode permissions of the new file.
Result<void> replace_file(const std::string& path, std::string_view content, std::uint32_t mode = 0644);
/// The same without the two fsync calls: atomic for readers, not durable (role file, pid file).
Result<void> replace_file_fast(const std::string& path, std::string_view content, std::uint32_t mode = 0644);

/// Creates `path` and missing parents (mode 0755 before umask for parents, `mode` for the last). Existing is fine.
/// Errors: kPermission, kExists (something there is no directory), kDiskFull, kIo.
Result<void> make_directories(const std::string& path, std::uint32_t mode = 0755);

/// Removes one file; one that is not there is fine. Errors: kPermission, kIo.
Result<void> remove_file(const std::string& path);

/// An exclusive lock on a file, held while the object lives and freed by the system if the process dies. The file
/// holds the owner's pid as text, and stays when the lock goes.
class LockFile {
 public:
  /// Errors: kLocked (detail names the pid that holds it), kNotFound (directory), kPermission, kDiskFull.
  static Result<std::unique_ptr<LockFile>> acquire(const std::string& path);
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

 private:
  explicit LockFile(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace agent::io
