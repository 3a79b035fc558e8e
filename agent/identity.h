#pragma once
/// Who this agent is across restarts: its data directory, the lock on it, and the 128-bit id kept there.

#include <filesystem>
#include <memory>

#include "agent/io/error.h"
#include "agent/io/file.h"
#include "gossip/member.h"

namespace agent {

/// Files of a data directory: `lock`, `node-id`, `gossip.snapshot`, `store/` (RocksDB).
/// Ownership: holds the lock while it lives; two agents never share a directory.
struct Identity {
  std::filesystem::path data_dir;
  gossip::MemberId id;
  std::unique_ptr<io::LockFile> lock;
};

/// Makes the directory if it is missing, locks it, reads the id or draws one and writes it durably.
/// Errors: kLocked (another agent runs on it; names its pid), kPermission, kDiskFull, kInvalidArgument (the id file is
/// damaged: says what to do), kIo.
[[nodiscard]] io::Result<Identity> open_identity(const std::filesystem::path& data_dir);

}  // namespace agent
