#pragma once
/// Bytes into one gzip stream, a piece at a time. Source: RFC 1952 over RFC 1951, by zlib.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "agent/io/error.h"

namespace agent::io {

/// Bound: a window and tables of some 270 KiB, whatever goes through. Thread: one at a time.
class GzipStream {
 public:
  enum class Flush : std::uint8_t { kNone, kSync, kFinish };
  /// @param level  1 (fast) .. 9 (small). Errors: kLimit (no memory), kInvalidArgument.
  static Result<std::unique_ptr<GzipStream>> create(int level);
  ~GzipStream();
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;
  /// Appends what comes out to `out`. @return false: used after its end, or broken
  [[nodiscard]] bool write(std::span<const std::byte> bytes, Flush flush, std::string& out);
  /// As new, with its memory; the level stays.
  void restart();

 private:
  struct Impl;
  explicit GzipStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent::io
