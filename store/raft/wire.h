#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "store/raft/error.h"
#include "store/raft/message.h"

/// Bytes <-> values of message.h, for frames between nodes and for records on disk.
/// Format: one msgpack array per value, first element the format version (kWireVersion); nested values are arrays
///   without a version. Integers are unsigned, payloads are bin. Fields are only ever added at the end of an array;
///   a decoder takes longer arrays than it knows and ignores the rest.
/// Safety: decoders take any bytes from anyone. They reserve no memory before the bytes for it are there, recurse
///   no deeper than the fixed shape, and leave no partial result.
namespace store::raft {

inline constexpr std::uint64_t kWireVersion = 1;
/// Largest encoded value a decoder looks at: entries of one append (Config::append_bytes_max, 1 MiB) plus one entry
/// of the greatest size plus slack for headers.
inline constexpr std::size_t kFrameBytesMax = (std::size_t{4} << 20) - 1024;
inline constexpr std::size_t kEntryBytesMax = std::size_t{2} << 20;   ///< payload of one entry
inline constexpr std::size_t kEntriesMax = std::size_t{1} << 16;      ///< entries of one message
inline constexpr std::size_t kConfNodesMax = 1024;                    ///< nodes in one list of a ConfState
inline constexpr std::size_t kConfStepsMax = 64;                      ///< steps of one ConfChange
inline constexpr std::size_t kConfContextBytesMax = std::size_t{4} << 10;

[[nodiscard]] std::string encode(const Message& message);
[[nodiscard]] std::string encode(const Entry& entry);
[[nodiscard]] std::string encode(const HardState& state);
[[nodiscard]] std::string encode(const ConfState& conf);
[[nodiscard]] std::string encode(const SnapshotMeta& snapshot);
[[nodiscard]] std::string encode(const ConfChange& change);

/// Errors of all decoders: kTruncated (bytes end early), kTooLarge (a bound above), kUnknownVersion, kUnknownKind,
/// kMalformed (wrong shape; entries with a gap, with terms going back or above the message's term; nodes unsorted,
/// repeated or 0; bytes left over).
[[nodiscard]] Result<Message> decode_message(std::string_view bytes);
[[nodiscard]] Result<Entry> decode_entry(std::string_view bytes);
[[nodiscard]] Result<HardState> decode_hard_state(std::string_view bytes);
[[nodiscard]] Result<ConfState> decode_conf_state(std::string_view bytes);
[[nodiscard]] Result<SnapshotMeta> decode_snapshot_meta(std::string_view bytes);
[[nodiscard]] Result<ConfChange> decode_conf_change(std::string_view bytes);

}  // namespace store::raft
