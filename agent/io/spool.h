#pragma once
/// Bytes too many for memory, on their way through: a nameless file that is gone when nobody holds it any more.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "agent/io/error.h"

namespace agent::io {

/// Ownership: shared by whoever writes, reads or sends it; the file goes with the last of them.
/// Thread: one at a time; handing the object over is the caller's matter.
class Spool {
 public:
  /// @param directory  on a file system with room; the file has no name there once this returns
  /// Errors: kNotFound, kPermission, kDiskFull, kIo.
  static Result<std::shared_ptr<Spool>> create(const std::string& directory);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// At the end. Errors: kDiskFull, kIo.
  Result<void> append(std::span<const std::byte> bytes);
  /// @return how many bytes were read, less than asked for only at the end. Errors: kIo.
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const;
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  explicit Spool(int fd) : fd_(fd) {}
  int fd_;
  std::uint64_t size_ = 0;
};

}  // namespace agent::io
