#pragma once
#include <string>
#include <string_view>

#include "agent/api/api.h"

/// What the handlers of Consul's dialect share. Private to agent/api.
namespace agent::api {

/// X-Consul-Index (never 0: clients take that for "start again"), -KnownLeader, -LastContact.
void add_consul_headers(Response& response, Index index, const ReadInfo& info);

/// RFC 4648 with padding, appended to `out`.
void append_base64(std::string& out, std::string_view bytes);

/// `text` as a JSON string with quotes, appended to `out`; bytes that are no UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// One entry of the KV space as Consul shows it, appended to `out`. Written by hand: this is the busiest answer of the
/// API, and u64 must not pass through a double.
enum class ShowValue : bool { kNo, kYes };
void append_kv_entry(std::string& out, const KvEntry& entry, ShowValue value);

/// The same in our own words: {key, value, flags, index, create_index, lock_index, session}; value in Base64.
void append_own_entry(std::string& out, const KvEntry& entry);

/// A header for the index of a write. Consul does not tell it; who wants to wait for the own write needs it.
void add_write_index(Response& response, Index index);

/// Why nobody may write a key of which is_read_only is true.
[[nodiscard]] std::string read_only_text(std::string_view key);

/// "dc1", or the cluster's label.
[[nodiscard]] std::string datacenter_of(const SelfInfo& self);

/// 32 hex digits in the form of a UUID; anything else as it is.
[[nodiscard]] std::string uuid_of(const std::string& id);

}  // namespace agent::api
