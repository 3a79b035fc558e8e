#include "agent/api/consul.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace agent::api {

void add_consul_headers(Response& response, Index index, const ReadInfo& info) {
  const auto number = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(index));
  response.headers.emplace_back("X-Consul-Index", std::to_string(number));
  response.headers.emplace_back("X-Consul-KnownLeader", info.known_leader ? "true" : "false");
  response.headers.emplace_back("X-Consul-LastContact", std::to_string(info.last_contact.count()));
}

void add_write_index(Response& response, Index index) {
  const auto number = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(index));
  response.headers.emplace_back("X-Consul-Index", std::to_string(number));
}

void append_kv_entry(std::string& out, const KvEntry& entry, ShowValue value) {
  out += "{\"LockIndex\":" + std::to_string(entry.lock_index) + ",\"Key\":";
  append_json_string(out, entry.key);
  out += ",\"Flags\":" + std::to_string(entry.flags) + ",\"Value\":";
  if (entry.value.empty() || value == ShowValue::kNo) {
    out += "null";
  } else {
    out += '"';
    append_base64(out, entry.value);
    out += '"';
  }
  out += ",\"CreateIndex\":" + std::to_string(static_cast<std::uint64_t>(entry.create_index));
  out += ",\"ModifyIndex\":" + std::to_string(static_cast<std::uint64_t>(entry.modify_index));
  if (!entry.session.empty()) {
    out += ",\"Session\":";
    append_json_string(out, entry.session);
  }
  out += '}';
}

void append_own_entry(std::string& out, const KvEntry& entry) {
  out += "{\"key\":";
  append_json_string(out, entry.key);
  out += ",\"value\":\"";
  append_base64(out, entry.value);
  out += "\",\"flags\":" + std::to_string(entry.flags);
  out += ",\"index\":" + std::to_string(static_cast<std::uint64_t>(entry.modify_index));
  out += ",\"create_index\":" + std::to_string(static_cast<std::uint64_t>(entry.create_index));
  out += ",\"lock_index\":" + std::to_string(entry.lock_index) + ",\"session\":";
  if (entry.session.empty())
    out += "null";
  else
    append_json_string(out, entry.session);
  out += '}';
}

std::string read_only_text(std::string_view key) {
  if (key.starts_with(kArmingPrefix)) {
    return "Permission denied: \"" + std::string(key) + "\" is written by agents alone; approve with outrigger approve or POST /outrigger/v1/arming/approve";
  }
  return "Permission denied: \"" + std::string(key) +
         "\" shows an election and is read-only; stand for it with PUT "
         "/outrigger/v1/election/NAME/campaign";
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto byte = [&bytes](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(bytes[i])); };
  std::size_t i = 0;
  for (; i + 2 < bytes.size(); i += 3) {
    const unsigned bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    out += {kDigits[bits >> 18], kDigits[bits >> 12 & 63], kDigits[bits >> 6 & 63], kDigits[bits & 63]};
  }
  if (i + 1 == bytes.size()) {
    const unsigned bits = byte(i) << 16;
    out += {kDigits[bits >> 18], kDigits[bits >> 12 & 63], '=', '='};
  } else if (i + 2 == bytes.size()) {
    const unsigned bits = byte(i) << 16 | byte(i + 1) << 8;
    out += {kDigits[bits >> 18], kDigits[bits >> 12 & 63], kDigits[bits >> 6 & 63], '='};
  }
}

void append_json_string(std::string& out, std::string_view text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; });
  if (plain)
    out.append("\"").append(text).append("\"");
  else
    out += Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string datacenter_of(const SelfInfo& self) { return self.cluster.empty() ? "dc1" : self.cluster; }

std::string uuid_of(const std::string& id) {
  if (id.size() != 32) return id;
  return id.substr(0, 8) + "-" + id.substr(8, 4) + "-" + id.substr(12, 4) + "-" + id.substr(16, 4) + "-" +
         id.substr(20);
}

}  // namespace agent::api
