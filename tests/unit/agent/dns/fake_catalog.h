#pragma once
/// A catalog in memory, with the resolver in front of it.
#include <map>
#include <string>
#include <vector>

#include "agent/dns/catalog.h"
#include "agent/dns/resolver.h"
#include "tests/support/dns_message.h"

namespace agent::dns {

struct FakeCatalog final : Catalog {
  bool is_ready = true;
  std::uint64_t index = 42;
  std::map<std::string, std::vector<Instance>> services;  ///< by lower-case name
  std::map<std::string, Node> nodes;                      ///< by lower-case name

  [[nodiscard]] bool ready() const override { return is_ready; }
  [[nodiscard]] std::uint64_t version() const override { return index; }
  [[nodiscard]] std::span<const Instance> instances(std::string_view service) const override {
    const auto it = services.find(std::string(service));
    return it == services.end() ? std::span<const Instance>() : std::span<const Instance>(it->second);
  }
  [[nodiscard]] const Node* node(std::string_view name) const override {
    const auto it = nodes.find(std::string(name));
    return it == nodes.end() ? nullptr : &it->second;
  }
  [[nodiscard]] std::vector<Resident> residents(const Place& ip) const override {
    std::vector<Resident> out;
    for (const auto& [name, one] : nodes)
      if (one.place == ip) out.push_back({Resident::Kind::kNode, one.name});
    for (const auto& [name, all] : services)
      for (const auto& one : all)
        if (one.place == ip) {
          out.push_back({Resident::Kind::kService, name});
          break;
        }
    return out;
  }

  Node& add_node(const std::string& name, const std::string& address) {
    return nodes[lower_case(name)] = Node{name, Place::parse(address), {}};
  }
  /// On a node that was added before.
  Instance& add(const std::string& service, const std::string& node, std::uint16_t port, const std::string& address = {}) {
    Instance made;
    made.node = nodes.at(lower_case(node)).name;
    made.node_place = nodes.at(lower_case(node)).place;
    made.place = Place::parse(address);
    made.port = port;
    return services[lower_case(service)].emplace_back(std::move(made));
  }
};

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

inline ResolverSettings settings_of_test() {
  ResolverSettings out;
  out.domain = *Name::parse("consul");
  out.alt_domain = *Name::parse("outrigger");
  return out;
}

constexpr int kTypeA = 1, kTypeNs = 2, kTypeCname = 5, kTypeSoa = 6, kTypePtr = 12, kTypeTxt = 16, kTypeAaaa = 28,
              kTypeSrv = 33, kTypeAny = 255;

}  // namespace agent::dns
