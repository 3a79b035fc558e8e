#include <algorithm>

#include "store/kv/catalog.h"

/// The lookups of the catalog.
namespace store::kv {

const char* to_string(CheckStatus status) {
  switch (status) {
    case CheckStatus::kPassing:
      return "passing";
    case CheckStatus::kWarning:
      return "warning";
    case CheckStatus::kCritical:
      return "critical";
  }
  return "?";
}

const Node* Catalog::node(std::string_view name) const {
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? nullptr : &found->second;
}

const ServiceInstance* Catalog::instance(std::string_view node, std::string_view id) const {
  const auto found = instances_.find({std::string(node), std::string(id)});
  return found == instances_.end() ? nullptr : &found->second;
}

std::vector<const ServiceInstance*> Catalog::instances_of_node(std::string_view node) const {
  std::vector<const ServiceInstance*> found;
  for (auto at = instances_.lower_bound({std::string(node), {}}); at != instances_.end() && at->first.node == node; ++at)
    found.push_back(&at->second);
  return found;
}

std::vector<const ServiceInstance*> Catalog::instances_of_service(std::string_view name) const {
  std::vector<const ServiceInstance*> found;
  const auto items = by_service_.find(name);
  if (items == by_service_.end()) return found;
  found.reserve(items->second.size());
  for (const NodeItem& item : items->second) found.push_back(&instances_.at(item));
  return found;
}

const Check* Catalog::check(std::string_view node, std::string_view id) const {
  const auto found = checks_.find({std::string(node), std::string(id)});
  return found == checks_.end() ? nullptr : &found->second;
}

std::vector<const Check*> Catalog::checks_of_node(std::string_view node) const {
  std::vector<const Check*> found;
  for (auto at = checks_.lower_bound({std::string(node), {}}); at != checks_.end() && at->first.node == node; ++at)
    found.push_back(&at->second);
  return found;
}

std::vector<const Check*> Catalog::checks_of_instance(std::string_view node, std::string_view service_id) const {
  std::vector<const Check*> found;
  const std::string home(node);
  const auto gather = [&](const std::string& owner) {
    const auto ids = by_instance_.find({home, owner});
    if (ids == by_instance_.end()) return;
    for (const std::string& id : ids->second) found.push_back(&checks_.at({home, id}));
  };
  gather({});
  if (!service_id.empty()) gather(std::string(service_id));
  return found;
}

std::vector<const Check*> Catalog::checks_of_service(std::string_view name) const {
  std::vector<const Check*> found;
  const auto items = by_service_.find(name);
  if (items == by_service_.end()) return found;
  for (const NodeItem& item : items->second) {
    const auto ids = by_instance_.find(item);
    if (ids == by_instance_.end()) continue;
    for (const std::string& id : ids->second) found.push_back(&checks_.at({item.node, id}));
  }
  return found;
}

std::vector<const Check*> Catalog::checks_in(CheckStatus status) const {
  std::vector<const Check*> found;
  for (const NodeItem& item : by_status_[static_cast<std::size_t>(status)]) found.push_back(&checks_.at(item));
  return found;
}

std::vector<const Check*> Catalog::all_checks() const {
  std::vector<const Check*> found;
  found.reserve(checks_.size());
  for (const auto& [item, check] : checks_) found.push_back(&check);
  return found;
}

std::vector<const ServiceInstance*> Catalog::all_instances() const {
  std::vector<const ServiceInstance*> found;
  found.reserve(instances_.size());
  for (const auto& [item, instance] : instances_) found.push_back(&instance);
  return found;
}

std::vector<std::string> Catalog::tags_of_service(std::string_view name) const {
  std::set<std::string> tags;
  for (const ServiceInstance* instance : instances_of_service(name)) tags.insert(instance->tags.begin(), instance->tags.end());
  return {tags.begin(), tags.end()};
}

}  // namespace store::kv
