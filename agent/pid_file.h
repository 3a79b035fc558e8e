#pragma once
/// The file that tells service managers and scripts this process's id.

#include <memory>
#include <string>

#include "agent/io/error.h"

namespace agent {

/// Written whole or not at all; there while the object lives. It is information, not a lock: the data directory's lock
/// says who may run, so a file that a killed process has left is simply written over.
/// Ownership: of the agent, behind that lock. Thread: the control loop.
class PidFile {
 public:
  /// Errors: kExists (what is there is no pid file, and is left alone), kNotFound (its directory), kPermission, kDiskFull,
  /// kIo; the detail says which setting to change.
  static io::Result<std::unique_ptr<PidFile>> write(std::string path);
  /// Removes it, unless another process has written its own id there since.
  ~PidFile();
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;

 private:
  explicit PidFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace agent
