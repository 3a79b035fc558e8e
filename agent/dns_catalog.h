#pragma once
/// The catalog in the words of DNS: compact copies of what the API's view would give in full.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/api/catalog_backend.h"
#include "agent/dns/catalog.h"

namespace agent {

/// Asks the view again only when the index of what was asked for has moved, so a question costs no copy of checks and
/// maps, and one for a name that is not there no walk over all names.
/// Bounds: the instances of at most kServicesMax services, all names of services, all nodes.
/// Ownership: the view must outlive it. Thread: the control loop.
class DnsCatalog final : public dns::Catalog {
 public:
  static constexpr std::size_t kServicesMax = 4096;

  /// @param version  index that the local copy of the state has reached
  DnsCatalog(const api::CatalogView& view, std::function<std::uint64_t()> version);

  /// From now on what is not in the copy is denied: it has been level with the leader's once.
  void set_ready() { ready_ = true; }

  [[nodiscard]] bool ready() const override { return ready_; }
  [[nodiscard]] std::uint64_t version() const override { return version_(); }
  [[nodiscard]] std::span<const dns::Instance> instances(std::string_view service) const override;
  [[nodiscard]] const dns::Node* node(std::string_view name) const override;
  /// Walks over all services: about a microsecond each.
  [[nodiscard]] std::vector<dns::Resident> residents(const dns::Place& ip) const override;

 private:
  struct Service {
    api::Index index{};
    std::vector<dns::Instance> instances;
  };
  void refresh_nodes() const;
  void refresh_names() const;

  const api::CatalogView& view_;
  std::function<std::uint64_t()> version_;
  bool ready_ = false;
  // Copies, each with the index at which it was taken; 0 = never.
  mutable std::map<std::string, Service, std::less<>> services_;  // by lower-case name
  mutable api::Index nodes_index_{}, names_index_{};
  mutable std::map<std::string, dns::Node, std::less<>> nodes_;  // by lower-case name
  mutable std::map<std::string, std::string, std::less<>> names_;  // of all services, by lower case
};

}  // namespace agent
