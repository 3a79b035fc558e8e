#include "agent/dns_catalog.h"

#include <algorithm>
#include <utility>

namespace agent {
namespace {

constexpr std::uint32_t kWeightMax = 65535;  // SRV has 16 bits for it

dns::Health health_of(api::CheckStatus status) {
  switch (status) {
    case api::CheckStatus::kPassing:
      return dns::Health::kPassing;
    case api::CheckStatus::kWarning:
      return dns::Health::kWarning;
    case api::CheckStatus::kCritical:
      break;
  }
  return dns::Health::kCritical;
}

dns::Instance instance_of(api::ServiceInstance& from) {
  dns::Instance out;
  out.health = health_of(from.status());
  out.node = std::move(from.node.name);
  out.node_place = dns::Place::parse(from.node.address);
  out.place = dns::Place::parse(from.service.address);
  out.port = from.service.port;
  const bool warns = out.health == dns::Health::kWarning;
  out.weight = static_cast<std::uint16_t>(std::min(warns ? from.service.weight_warning : from.service.weight_passing, kWeightMax));
  out.tags = std::move(from.service.tags);
  return out;
}

}  // namespace

DnsCatalog::DnsCatalog(const api::CatalogView& view, std::function<std::uint64_t()> version)
    : view_(view), version_(std::move(version)) {}

std::span<const dns::Instance> DnsCatalog::instances(std::string_view service) const {
  refresh_names();
  const auto name = names_.find(service);
  if (name == names_.end()) return {};
  const api::Topic topic{api::Topic::Kind::kService, name->second};
  const api::Index index = view_.catalog_index(topic);
  auto it = services_.find(service);
  if (it != services_.end() && it->second.index == index) return it->second.instances;
  auto read = view_.instances_of(topic.name);
  if (read.value.empty()) {
    if (it != services_.end()) services_.erase(it);
    return {};
  }
  if (it == services_.end()) {
    if (services_.size() >= kServicesMax) services_.clear();
    it = services_.emplace(std::string(service), Service{}).first;
  }
  it->second.index = read.index;
  it->second.instances.clear();
  for (auto& instance : read.value) it->second.instances.push_back(instance_of(instance));
  return it->second.instances;
}

void DnsCatalog::refresh_nodes() const {
  if (nodes_index_ == view_.catalog_index({api::Topic::Kind::kNodes, {}})) return;
  auto read = view_.nodes();
  nodes_index_ = read.index;
  nodes_.clear();
  for (auto& node : read.value) {
    dns::Node made{node.name, dns::Place::parse(node.address), {}};
    for (auto& [key, value] : node.meta) made.meta.emplace_back(key, value);
    nodes_.insert_or_assign(dns::lower_case(node.name), std::move(made));
  }
}

void DnsCatalog::refresh_names() const {
  if (names_index_ == view_.catalog_index({api::Topic::Kind::kServices, {}})) return;
  auto read = view_.services();
  names_index_ = read.index;
  names_.clear();
  for (const auto& [name, tags] : read.value) {
    // Two that differ in case alone: the one that is spelled as it is asked for, else the first.
    const auto [it, is_new] = names_.emplace(dns::lower_case(name), name);
    if (!is_new && name == it->first) it->second = name;
  }
}

const dns::Node* DnsCatalog::node(std::string_view name) const {
  refresh_nodes();
  const auto it = nodes_.find(name);
  return it == nodes_.end() ? nullptr : &it->second;
}

std::vector<dns::Resident> DnsCatalog::residents(const dns::Place& ip) const {
  std::vector<dns::Resident> out;
  refresh_nodes();
  for (const auto& [lower, node] : nodes_)
    if (node.place == ip) out.push_back({dns::Resident::Kind::kNode, node.name});
  refresh_names();
  const std::vector<std::pair<std::string, std::string>> names(names_.begin(), names_.end());  // instances() may renew them
  for (const auto& [lower, name] : names) {
    const auto all = instances(lower);
    if (std::any_of(all.begin(), all.end(), [&ip](const dns::Instance& one) { return one.place == ip; }))
      out.push_back({dns::Resident::Kind::kService, name});
  }
  return out;
}

}  // namespace agent
