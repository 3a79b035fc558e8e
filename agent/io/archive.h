#pragma once
/// Archives of a few files: POSIX tar (ustar) in gzip, written and read a piece at a time. The only file with zlib.
/// Source: POSIX.1-2001 pax/ustar interchange format; RFC 1952 (gzip).
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "agent/io/error.h"

namespace agent::io {

/// SHA-256 fed piece by piece, as hex.
class RunningSha256 {
 public:
  RunningSha256();
  ~RunningSha256();
  RunningSha256(const RunningSha256&) = delete;
  RunningSha256& operator=(const RunningSha256&) = delete;
  void add(std::span<const std::byte> bytes);
  [[nodiscard]] std::string hex();  ///< once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Where bytes go; its error ends the work and comes back.
using ByteSink = std::function<Result<void>(std::span<const std::byte>)>;

/// Begins a file of known size, then its bytes, then the next; finish() once at the end.
class ArchiveWriter {
 public:
  explicit ArchiveWriter(ByteSink sink);
  ~ArchiveWriter();
  ArchiveWriter(const ArchiveWriter&) = delete;
  ArchiveWriter& operator=(const ArchiveWriter&) = delete;
  /// @param name  1..99 bytes  @param time  seconds since 1970, shown by tar
  Result<void> begin_file(const std::string& name, std::uint64_t size, std::int64_t time);
  /// Errors: those of the sink; kInvalidArgument: more bytes than were announced.
  Result<void> add(std::span<const std::byte> bytes);
  /// Errors: those of the sink; kInvalidArgument: the last file is not whole.
  Result<void> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What a reader meets. Each may end the reading with an error.
struct ArchiveEvents {
  std::function<Result<void>(const std::string& name, std::uint64_t size)> on_file;
  ByteSink on_bytes;  ///< of the file last begun
};

/// Takes any bytes.
/// Errors: kInvalidArgument (no gzip, no tar, damaged, cut short), kTooLarge (more than `bytes_max` unpacked: a bomb).
class ArchiveReader {
 public:
  ArchiveReader(ArchiveEvents events, std::uint64_t bytes_max);
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;
  Result<void> feed(std::span<const std::byte> bytes);
  Result<void> finish();  ///< that was all: kInvalidArgument if the archive is not whole

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent::io
