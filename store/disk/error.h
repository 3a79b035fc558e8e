#pragma once

#include <string>
#include <tl/expected.hpp>

/// What can go wrong in store/disk. Whatever write() answers, the node must stop: after a failed write or fsync
/// nobody knows what is on disk (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
namespace store::disk {

enum class Errc {
  kLocked,        ///< another process has the directory open
  kOtherCluster,  ///< the directory belongs to another cluster than the caller expects
  kOtherNode,     ///< the directory belongs to another node id
  kNewerFormat,   ///< written by a newer agent; this build cannot read it
  kCorrupt,       ///< a checksum, record or index does not fit: the node must not vote with this log
  kDiskFull,      ///< no space (or quota) left
  kPermission,    ///< may not read or write there
  kIo,            ///< any other failure of the disk or of RocksDB
  kStopped,       ///< an earlier write failed; the store takes no more
};

/// @param detail  one sentence for people: which directory, what, what to do. Its wording is no contract.
struct Error {
  Errc code;
  std::string detail;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string detail = {}) {
  return tl::unexpected<Error>(Error{code, std::move(detail)});
}

/// Name of the enumerator without its k, e.g. "DiskFull".
/// Inline, since the core of the store names these errors but does not link the disk.
[[nodiscard]] inline const char* to_string(Errc code) {
  switch (code) {
    case Errc::kLocked:
      return "Locked";
    case Errc::kOtherCluster:
      return "OtherCluster";
    case Errc::kOtherNode:
      return "OtherNode";
    case Errc::kNewerFormat:
      return "NewerFormat";
    case Errc::kCorrupt:
      return "Corrupt";
    case Errc::kDiskFull:
      return "DiskFull";
    case Errc::kPermission:
      return "Permission";
    case Errc::kIo:
      return "Io";
    case Errc::kStopped:
      return "Stopped";
  }
  return "?";
}

}  // namespace store::disk
