#pragma once

#include <string>
#include <string_view>

#include "store/disk/log_store.h"

/// Rows of the log and meta column families as bytes. (Rows of the state family are those of kv/record.h.)
/// Format: log   key = 8-byte big-endian index, value = raft::encode(Entry)
///         meta  key = a word, value = msgpack array, except `hard` = raft::encode(HardState)
///           format [version]   node [id]   cluster [bin 16]   starts [count]   start [index, term]
///           applied [index, term, bin raft::encode(ConfState)]   grant [bin 16, founder, [voter...]]
/// Private to store/disk; in a file of its own so that a test and a fuzz target can reach it.
namespace store::disk {

inline constexpr std::uint64_t kFormatVersion = 1;

[[nodiscard]] std::string log_key(raft::Index index);
/// Errors: kCorrupt.
[[nodiscard]] Result<raft::Index> decode_log_key(std::string_view key);

[[nodiscard]] std::string encode_number(std::uint64_t number);
[[nodiscard]] std::string encode_cluster(const kv::ClusterId& id);
[[nodiscard]] std::string encode_start(const LogStart& start);
[[nodiscard]] std::string encode_applied(const AppliedMark& applied);
[[nodiscard]] std::string encode_grant(const Grant& grant);

// Errors of all: kCorrupt; the detail names the row.
[[nodiscard]] Result<std::uint64_t> decode_number(std::string_view bytes, std::string_view row);
[[nodiscard]] Result<kv::ClusterId> decode_cluster(std::string_view bytes);
[[nodiscard]] Result<LogStart> decode_start(std::string_view bytes);
[[nodiscard]] Result<AppliedMark> decode_applied(std::string_view bytes);
[[nodiscard]] Result<Grant> decode_grant(std::string_view bytes);
[[nodiscard]] Result<raft::HardState> decode_hard(std::string_view bytes);
/// The entry must have the index of its key.
[[nodiscard]] Result<raft::Entry> decode_log_row(std::string_view key, std::string_view value);

}  // namespace store::disk
