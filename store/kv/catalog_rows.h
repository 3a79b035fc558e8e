#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "store/kv/types.h"

/// Rows of the catalog. Every row has one owner: the agent whose name is in `node`; any agent may remove it.
/// Identity: a node by `name`; an instance by (node, id); a check by (node, check id).
namespace store::kv {

using Meta = std::map<std::string, std::string>;  ///< <= kMetaMax pairs

struct Node {
  std::string name;      ///< 1..kNameBytesMax bytes, as all names and ids of the catalog
  Uuid id;               ///< none = nobody told us
  std::string address;
  Meta tagged_addresses;  ///< "lan" -> "10.0.0.1", ...
  Meta meta;
  Index create{}, modify{};  ///< set by the state machine, in all rows
  friend bool operator==(const Node&, const Node&) = default;
};

struct TaggedAddress {
  std::string address;
  std::uint32_t port = 0;
  friend bool operator==(const TaggedAddress&, const TaggedAddress&) = default;
};

struct ServiceInstance {
  std::string node;
  std::string id;    ///< unique on its node
  std::string name;  ///< of the service
  std::vector<std::string> tags;
  std::string address;     ///< "" = the node's
  std::uint32_t port = 0;  ///< <= 65535
  Meta meta;
  std::map<std::string, TaggedAddress> tagged_addresses;
  std::uint32_t weight_passing = 1, weight_warning = 1;
  bool enable_tag_override = false;
  std::string definition;  ///< the owner's own, not looked at; <= kDefinitionBytesMax
  Index create{}, modify{};
  friend bool operator==(const ServiceInstance&, const ServiceInstance&) = default;
};

enum class CheckStatus : std::uint8_t { kPassing = 0, kWarning = 1, kCritical = 2 };
[[nodiscard]] const char* to_string(CheckStatus status);  ///< "passing", ...

struct Check {
  std::string node;
  std::string id;
  std::string service_id;    ///< "" = a check of the whole node
  std::string service_name;  ///< set by the state machine from the instance
  std::string name;
  CheckStatus status = CheckStatus::kCritical;
  std::string notes, output;
  std::string type;        ///< "ttl", "http", ...
  std::string definition;  ///< the owner's own
  Index create{}, modify{};
  friend bool operator==(const Check&, const Check&) = default;
};

/// Names an instance or a check: (node, id).
struct NodeItem {
  std::string node, id;
  auto operator<=>(const NodeItem&) const = default;
};

/// One user event. Its index is its LTime.
struct UserEvent {
  Uuid id;
  std::string name;
  std::string payload;
  std::string node_filter, service_filter, tag_filter;  ///< as given; who is meant is the reader's business
  std::uint32_t version = 1;
  Index index{};  ///< set by the state machine
  friend bool operator==(const UserEvent&, const UserEvent&) = default;
};

/// A limit on everything below a prefix. 0 = no limit of that kind.
struct Quota {
  std::uint64_t bytes_max = 0;  ///< keys + values
  std::uint64_t entries_max = 0;
  friend bool operator==(const Quota&, const Quota&) = default;
};
struct QuotaUse {
  std::uint64_t bytes = 0, entries = 0;
};

}  // namespace store::kv
