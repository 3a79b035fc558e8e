#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/dns/name.h"

/// The catalog as DNS wants to see it: what the resolver asks its host for. Plain values, no type of the store.
namespace agent::dns {

enum class Health : std::uint8_t { kPassing, kWarning, kCritical };  ///< of the worst check that counts

/// One instance of a service.
struct Instance {
  std::string node;  ///< name of the node it runs on
  Place node_place;  ///< where that node is
  Place place;       ///< its own address; kNone = the node's
  std::uint16_t port = 0;
  std::uint16_t weight = 1;       ///< for its present health; 0 is a valid weight of SRV
  Health health = Health::kPassing;
  std::vector<std::string> tags;  ///< derived ones ("primary", "replica") included
};

/// One node.
struct Node {
  std::string name;
  Place place;
  std::vector<std::pair<std::string, std::string>> meta;  ///< by key
};

/// What lives at an address.
struct Resident {
  enum class Kind : std::uint8_t { kNode, kService };
  Kind kind = Kind::kNode;
  std::string name;
};

/// Reads of the local copy, which may be behind the leader's. Names come in lower case and are compared without regard
/// to ASCII case. What is returned by reference stays valid until the next call of any function here.
/// Thread: the one that asks the resolver.
class Catalog {
 public:
  Catalog() = default;
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;
  virtual ~Catalog() = default;

  /// False until this agent has seen the cluster's state once: an empty copy must not say "no such name".
  [[nodiscard]] virtual bool ready() const = 0;
  /// Grows with every change; serial number of the zone.
  [[nodiscard]] virtual std::uint64_t version() const = 0;
  /// All instances whatever their health, in a stable order; empty: no such service.
  [[nodiscard]] virtual std::span<const Instance> instances(std::string_view service) const = 0;
  /// nullptr: no such node.
  [[nodiscard]] virtual const Node* node(std::string_view name) const = 0;
  /// Nodes whose address it is and services with an instance that has it as its own, each once.
  [[nodiscard]] virtual std::vector<Resident> residents(const Place& ip) const = 0;
};

}  // namespace agent::dns
