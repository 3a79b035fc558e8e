#include "agent/catalog_rows.h"

#include <algorithm>

#include "agent/api/registration.h"

namespace agent {
namespace {

namespace kv = store::kv;

api::Index index_of(kv::Index index) { return api::Index{kv::value(index)}; }

constexpr std::chrono::milliseconds kTimeoutDefault{10000}, kProgramTimeoutDefault{30000};

/// true if `instance` is the one that its node's agent stands for in elections: its own, or any of that name when the
/// agent has none.
bool stands_for_election(const kv::ServiceInstance& instance, const kv::Catalog& catalog) {
  if (instance.definition == kOwnInstance) return true;
  const auto others = catalog.instances_of_node(instance.node);
  return std::none_of(others.begin(), others.end(), [&instance](const kv::ServiceInstance* other) {
    return other->name == instance.name && other->definition == kOwnInstance;
  });
}

}  // namespace

api::CheckStatus to_api(kv::CheckStatus status) {
  switch (status) {
    case kv::CheckStatus::kPassing: return api::CheckStatus::kPassing;
    case kv::CheckStatus::kWarning: return api::CheckStatus::kWarning;
    case kv::CheckStatus::kCritical: break;
  }
  return api::CheckStatus::kCritical;
}

kv::CheckStatus to_store(api::CheckStatus status) {
  switch (status) {
    case api::CheckStatus::kPassing: return kv::CheckStatus::kPassing;
    case api::CheckStatus::kWarning: return kv::CheckStatus::kWarning;
    case api::CheckStatus::kCritical: break;
  }
  return kv::CheckStatus::kCritical;
}

api::CheckStatus to_api(drivers::CheckState state) {
  switch (state) {
    case drivers::CheckState::kPassing: return api::CheckStatus::kPassing;
    case drivers::CheckState::kWarning: return api::CheckStatus::kWarning;
    case drivers::CheckState::kCritical: break;
  }
  return api::CheckStatus::kCritical;
}

drivers::CheckState to_driver(api::CheckStatus status) {
  switch (status) {
    case api::CheckStatus::kPassing: return drivers::CheckState::kPassing;
    case api::CheckStatus::kWarning: return drivers::CheckState::kWarning;
    case api::CheckStatus::kCritical: break;
  }
  return drivers::CheckState::kCritical;
}

api::Node to_api(const kv::Node& node) {
  api::Node out;
  out.name = node.name;
  if (!node.id.is_none()) out.id = node.id.text();
  out.address = node.address;
  out.tagged_addresses = node.tagged_addresses;
  out.meta = node.meta;
  out.create_index = index_of(node.create);
  out.modify_index = index_of(node.modify);
  return out;
}

api::Service to_api(const kv::ServiceInstance& instance, const kv::StateMachine& state) {
  api::Service out;
  out.node = instance.node;
  out.id = instance.id;
  out.name = instance.name;
  out.tags = instance.tags;
  out.address = instance.address;
  out.port = static_cast<std::uint16_t>(instance.port);
  out.meta = instance.meta;
  for (const auto& [name, at] : instance.tagged_addresses)
    out.tagged_addresses[name] = {at.address, static_cast<std::uint16_t>(at.port)};
  out.weight_passing = instance.weight_passing;
  out.weight_warning = instance.weight_warning;
  out.enable_tag_override = instance.enable_tag_override;
  out.create_index = index_of(instance.create);
  out.modify_index = index_of(instance.modify);
  if (const kv::Lease* lease = state.lease(instance.name)) {
    const bool holds = lease->holder != kv::NodeId{} && lease->holder_name == instance.node && stands_for_election(instance, state.catalog());
    const std::string tag = holds ? "primary" : "replica";
    if (std::find(out.tags.begin(), out.tags.end(), tag) == out.tags.end()) out.tags.push_back(tag);
  }
  return out;
}

api::Check to_api(const kv::Check& check, const std::vector<std::string>& tags) {
  api::Check out;
  out.node = check.node;
  out.id = check.id;
  out.name = check.name;
  out.notes = check.notes;
  out.status = to_api(check.status);
  out.output = check.output;
  out.service_id = check.service_id;
  out.service_name = check.service_name;
  out.service_tags = tags;
  // A text that we did not write is a check that somebody else keeps.
  if (auto definition = api::parse_definition(check.definition)) out.definition = std::move(*definition);
  out.create_index = index_of(check.create);
  out.modify_index = index_of(check.modify);
  return out;
}

api::Event to_api(const kv::UserEvent& event) {
  return {event.id.text(), event.name, event.payload, event.node_filter, event.service_filter, event.tag_filter, index_of(event.index)};
}

kv::ServiceInstance to_store(const api::Service& service, const std::string& node, const std::string& owner) {
  kv::ServiceInstance out;
  out.node = node;
  out.id = service.id;
  out.name = service.name;
  out.tags = service.tags;
  out.address = service.address;
  out.port = service.port;
  out.meta = service.meta;
  for (const auto& [name, at] : service.tagged_addresses) out.tagged_addresses[name] = {at.address, at.port};
  out.weight_passing = service.weight_passing;
  out.weight_warning = service.weight_warning;
  out.enable_tag_override = service.enable_tag_override;
  out.definition = owner;
  return out;
}

kv::Check to_store(const api::CheckRegistration& check, const std::string& node) {
  kv::Check out;
  out.node = node;
  out.id = check.id;
  out.service_id = check.service_id;
  out.name = check.name;
  out.notes = check.notes;
  out.status = to_store(check.status.value_or(api::CheckStatus::kCritical));
  out.type = std::string(api::to_string(check.definition.kind));
  out.definition = api::definition_text(check.definition);
  return out;
}

kv::Check to_store(const api::Check& check) {
  kv::Check out = to_store(api::CheckRegistration{check.id, check.name, check.notes, check.service_id, check.status, check.definition}, check.node);
  out.output = check.output;
  return out;
}

std::optional<drivers::CheckPlan> plan_of(const api::Check& check) {
  using Kind = api::CheckDefinition::Kind;
  const api::CheckDefinition& definition = check.definition;
  drivers::CheckPlan plan;
  switch (definition.kind) {
    case Kind::kNone:
    case Kind::kMaintenance: return std::nullopt;
    case Kind::kTtl: plan.kind = drivers::CheckPlan::Kind::kTtl; break;
    case Kind::kHttp: plan.kind = drivers::CheckPlan::Kind::kHttp; break;
    case Kind::kTcp: plan.kind = drivers::CheckPlan::Kind::kTcp; break;
    case Kind::kExec: plan.kind = drivers::CheckPlan::Kind::kProgram; break;
  }
  plan.id = check.id;
  plan.service_id = check.service_id;
  plan.ttl = definition.ttl;
  plan.target = definition.target;
  plan.method = definition.method;
  plan.body = definition.body;
  plan.header = definition.header;
  plan.tls_skip_verify = definition.tls_skip_verify;
  plan.tls_server_name = definition.tls_server_name;
  plan.disable_redirects = definition.disable_redirects;
  plan.args = definition.args;
  plan.interval = definition.interval;
  plan.timeout = definition.timeout.count() != 0           ? definition.timeout
                 : definition.kind == Kind::kExec ? kProgramTimeoutDefault
                                                  : kTimeoutDefault;
  plan.success_before_passing = definition.success_before_passing;
  plan.failures_before_critical = definition.failures_before_critical;
  plan.deregister_after = definition.deregister_after;
  return plan;
}

}  // namespace agent
