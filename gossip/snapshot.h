#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gossip/error.h"
#include "gossip/member.h"

namespace gossip {

inline constexpr std::size_t kSnapshotMembersMax = 1024;  ///< enough to find a cluster again; <= 160 bytes each

/// What an agent keeps on disk: its own generation, and members to try at the next start.
/// Format v1: "OGS1", msgpack array [id, generation, [[name, id, address, generation, incarnation], ...]],
/// CRC-32 (IEEE, little-endian) over all bytes before it. Names are for people; only addresses are used.
struct Snapshot {
  struct Peer {
    std::string name;
    MemberId id;
    Address address;
    Rank rank;
  };
  MemberId id;
  Generation generation{};
  std::vector<Peer> peers;  ///< <= kSnapshotMembersMax
};

[[nodiscard]] std::vector<std::byte> encode_snapshot(const Snapshot& snapshot);
/// Errors: kTruncated, kUnknownVersion (magic), kChecksum, kMalformed, kTooBig.
Result<Snapshot> decode_snapshot(std::span<const std::byte> bytes);

}  // namespace gossip
