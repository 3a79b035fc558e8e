#include "agent/backend_catalog.h"

#include <algorithm>

#include "agent/api/json_body.h"
#include "agent/api/registration.h"
#include "agent/backend_error.h"
#include "agent/catalog_rows.h"

namespace agent {
namespace {

namespace kv = store::kv;

api::Index to_index(kv::Index index) { return api::Index{kv::value(index)}; }

/// The name as it is written in the catalog: exactly, or else but for its case (then the first in byte order).
template <typename Map>
std::string find_name(const Map& names, const std::string& name) {
  if (names.find(name) != names.end()) return name;
  for (const auto& [other, row] : names)
    if (api::same_name(other, name)) return other;
  return name;
}

bool has_agent(const kv::Catalog& catalog, const std::string& node) {
  return catalog.check(node, std::string(api::kSerfHealth)) != nullptr;
}

api::Error refusal(const store::Written& written) {
  const std::string detail = written.detail.empty() ? kv::to_string(written.outcome) : written.detail;
  switch (written.outcome) {
    case kv::Outcome::kNotFound: return {api::Errc::kNotFound, detail, {}};
    case kv::Outcome::kFull: return {api::Errc::kTooLarge, "the catalog is full: " + detail, {}};
    case kv::Outcome::kForgotten: return {api::Errc::kOutcomeUnknown, "the outcome of this write is not remembered any more", {}};
    default: return {api::Errc::kConflict, detail, {}};
  }
}

}  // namespace

// ---------------------------------------------------------------- reads

std::string AgentCatalog::service_name(const std::string& name) const { return find_name(state().catalog().service_names(), name); }
std::string AgentCatalog::node_name(const std::string& name) const { return find_name(state().catalog().nodes(), name); }

std::vector<std::string> AgentCatalog::tags_of(const kv::Check& check) const {
  const auto* instance = check.service_id.empty() ? nullptr : state().catalog().instance(check.node, check.service_id);
  return instance == nullptr ? std::vector<std::string>() : instance->tags;
}

std::vector<api::Check> AgentCatalog::checks(const std::vector<const kv::Check*>& rows) const {
  std::vector<api::Check> out;
  out.reserve(rows.size());
  for (const kv::Check* row : rows) out.push_back(to_api(*row, tags_of(*row)));
  return out;
}

api::Indexed<std::vector<api::Node>> AgentCatalog::nodes() const {
  api::Indexed<std::vector<api::Node>> out{{}, catalog_index({api::Topic::Kind::kNodes, {}})};
  for (const auto& [name, node] : state().catalog().nodes()) out.value.push_back(to_api(node));
  return out;
}

api::Indexed<std::optional<api::NodeServices>> AgentCatalog::node(const std::string& name) const {
  const kv::Catalog& catalog = state().catalog();
  const std::string known = node_name(name);
  api::Indexed<std::optional<api::NodeServices>> out{std::nullopt, catalog_index({api::Topic::Kind::kNode, name})};
  const kv::Node* row = catalog.node(known);
  if (row == nullptr) return out;
  out.value.emplace();
  out.value->node = to_api(*row);
  for (const auto* instance : catalog.instances_of_node(known)) out.value->services.push_back(to_api(*instance, state()));
  out.value->checks = checks(catalog.checks_of_node(known));
  return out;
}

api::Indexed<std::map<std::string, std::vector<std::string>>> AgentCatalog::services() const {
  const kv::Catalog& catalog = state().catalog();
  api::Indexed<std::map<std::string, std::vector<std::string>>> out{{}, catalog_index({api::Topic::Kind::kServices, {}})};
  for (const auto& [name, items] : catalog.service_names()) {
    auto& tags = out.value[name];
    tags = catalog.tags_of_service(name);
    if (state().lease(name) == nullptr) continue;
    // Which of them are in use now is a matter of moments; whoever looks for them by tag must find the service.
    for (const char* tag : {"primary", "replica"})
      if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.emplace_back(tag);
    std::sort(tags.begin(), tags.end());
  }
  return out;
}

api::Indexed<std::vector<api::ServiceInstance>> AgentCatalog::instances_of(const std::string& service) const {
  const kv::Catalog& catalog = state().catalog();
  api::Indexed<std::vector<api::ServiceInstance>> out{{}, catalog_index({api::Topic::Kind::kService, service})};
  for (const auto* row : catalog.instances_of_service(service_name(service))) {
    const kv::Node* node = catalog.node(row->node);
    if (node == nullptr) continue;
    api::ServiceInstance instance{to_api(*node), to_api(*row, state()), checks(catalog.checks_of_instance(row->node, row->id))};
    // The node's own health stands first among the checks, where people look for it.
    std::stable_partition(instance.checks.begin(), instance.checks.end(), [](const api::Check& check) { return check.id == api::kSerfHealth; });
    out.value.push_back(std::move(instance));
  }
  return out;
}

api::Indexed<std::vector<api::Check>> AgentCatalog::checks_of(const std::string& service) const {
  return {checks(state().catalog().checks_of_service(service_name(service))), catalog_index({api::Topic::Kind::kService, service})};
}

api::Indexed<std::vector<api::Check>> AgentCatalog::checks_in(std::optional<api::CheckStatus> status) const {
  const kv::Catalog& catalog = state().catalog();
  return {checks(status ? catalog.checks_in(to_store(*status)) : catalog.all_checks()), catalog_index({api::Topic::Kind::kChecks, {}})};
}

api::Indexed<std::vector<api::Event>> AgentCatalog::events() const {
  api::Indexed<std::vector<api::Event>> out{{}, catalog_index({api::Topic::Kind::kEvents, {}})};
  for (const auto& event : state().events()) out.value.push_back(to_api(event));
  return out;
}

std::vector<kv::Topic> AgentCatalog::topics_of(const api::Topic& topic) const {
  using Kind = kv::Topic::Kind;
  switch (topic.kind) {
    case api::Topic::Kind::kNodes: return {{Kind::kNodes, {}}};
    // A node shows its instances with their tags. One wait for any lease costs less than one for each of their services,
    // and wakes a little too often.
    case api::Topic::Kind::kNode: return {{Kind::kNode, node_name(topic.name)}, {Kind::kLease, {}}};
    case api::Topic::Kind::kChecks: return {{Kind::kChecks, {}}};
    case api::Topic::Kind::kEvents: return {{Kind::kEvents, {}}};
    case api::Topic::Kind::kService: {
      const std::string name = service_name(topic.name);
      return {{Kind::kService, name}, {Kind::kLease, name}};
    }
    // The list of services shows that a tag can be derived, not whose it is now.
    case api::Topic::Kind::kServices: return {{Kind::kServices, {}}, {Kind::kLeaseNames, {}}};
    default: return {};
  }
}

api::Index AgentCatalog::catalog_index(const api::Topic& topic) const {
  api::Index out{1};
  for (const auto& one : topics_of(topic)) out = std::max(out, to_index(state().topic_index(one)));
  return out;
}

api::NodeServices AgentCatalog::local() const {
  api::NodeServices out;
  if (auto found = node(parts_.local->node()); found.value) out = std::move(*found.value);
  else out.node.name = parts_.local->node();
  std::erase_if(out.checks, [](const api::Check& check) { return check.id == api::kSerfHealth; });
  // The agent itself is no service that runs beside it.
  std::erase_if(out.services, [this](const api::Service& service) {
    const auto* row = state().catalog().instance(service.node, service.id);
    return row != nullptr && row->definition == kServer;
  });
  for (api::Check& check : out.checks) {
    const auto* live = parts_.local->live(check.id);
    if (live == nullptr) continue;
    check.status = to_api(live->state);
    check.output = live->output;
  }
  return out;
}

// ---------------------------------------------------------------- commands

void AgentCatalog::refuse(Done done, api::Errc code, std::string detail) {
  // Through the store's queue, so that it does not run inside this call.
  parts_.store->read(store::Consistency::kStale, io::boottime_now() + parts_.write_timeout,
                     [alive = alive_, done = std::move(done), code, detail = std::move(detail)](store::Result<store::Readable>) {
                       if (*alive) done(api_error(code, detail));
                     });
}

void AgentCatalog::propose(Commands commands, std::size_t next, Done done) {
  kv::CommandBody command = commands[next];
  parts_.store->write(std::move(command), io::boottime_now() + parts_.write_timeout,
                      [this, alive = alive_, commands = std::move(commands), next, done = std::move(done)](store::Result<store::Written> written) mutable {
                        if (!*alive) return;
                        if (!written) return done(write_error(written.error()));
                        const bool fine = written->outcome == kv::Outcome::kDone || written->outcome == kv::Outcome::kUnchanged;
                        if (!fine) return done(tl::make_unexpected(refusal(*written)));
                        if (next + 1 == commands.size()) return done(std::monostate{});
                        propose(std::move(commands), next + 1, std::move(done));
                      });
}

void AgentCatalog::register_service(api::ServiceRegistration registration, Done done) {
  const std::string& node = parts_.local->node();
  const auto* own = parts_.local->instance();
  if (own != nullptr && own->service.id == registration.service.id)
    return refuse(std::move(done), api::Errc::kConflict, "\"" + registration.service.id + "\" is the instance of [service] in the settings; register under another ID");
  const kv::Catalog& catalog = state().catalog();
  const std::size_t checks_here = catalog.checks_of_node(node).size();
  if (checks_here + registration.checks.size() > drivers::CheckSchedule::kChecksMax)
    return refuse(std::move(done), api::Errc::kTooLarge, "this agent runs at most " + std::to_string(drivers::CheckSchedule::kChecksMax) + " checks");
  kv::ServiceSet command{to_store(registration.service, node, {}), {}, kv::OldChecks::kKeep, kv::KeepStatus::kKeep};
  if (registration.replace_existing_checks) command.old_checks = kv::OldChecks::kRemove;
  for (const auto& check : registration.checks) command.checks.push_back(to_store(check, node));
  Commands commands;
  if (catalog.node(node) == nullptr) commands.emplace_back(kv::NodeSet{parts_.node_row()});
  commands.emplace_back(std::move(command));
  propose(std::move(commands), 0, std::move(done));
}

void AgentCatalog::deregister_service(const std::string& id, Done done) {
  const auto* own = parts_.local->instance();
  if (own != nullptr && own->service.id == id)
    return refuse(std::move(done), api::Errc::kConflict, "\"" + id + "\" is the instance of [service] in the settings; it goes with its agent");
  propose({kv::ServiceRemove{parts_.local->node(), id}}, 0, std::move(done));
}

void AgentCatalog::register_check(api::CheckRegistration registration, Done done) {
  const std::string& node = parts_.local->node();
  const kv::Catalog& catalog = state().catalog();
  if (!registration.service_id.empty() && catalog.instance(node, registration.service_id) == nullptr)
    return refuse(std::move(done), api::Errc::kRefused, "ServiceID \"" + registration.service_id + "\" does not exist");
  if (catalog.checks_of_node(node).size() >= drivers::CheckSchedule::kChecksMax)
    return refuse(std::move(done), api::Errc::kTooLarge, "this agent runs at most " + std::to_string(drivers::CheckSchedule::kChecksMax) + " checks");
  if (registration.id == api::kSerfHealth)
    return refuse(std::move(done), api::Errc::kConflict, "the check \"serfHealth\" is the mesh's own");
  Commands commands;
  if (catalog.node(node) == nullptr) commands.emplace_back(kv::NodeSet{parts_.node_row()});
  // A check that is registered again keeps its state unless a new one is given: a restart of its owner is no outage.
  const auto keep = registration.status ? kv::KeepStatus::kReplace : kv::KeepStatus::kKeep;
  commands.emplace_back(kv::CheckSet{to_store(registration, node), keep});
  propose(std::move(commands), 0, std::move(done));
}

void AgentCatalog::deregister_check(const std::string& id, Done done) {
  if (id == api::kSerfHealth) return refuse(std::move(done), api::Errc::kConflict, "the check \"serfHealth\" is the mesh's own");
  propose({kv::CheckRemove{parts_.local->node(), id}}, 0, std::move(done));
}

void AgentCatalog::update_check(const std::string& id, api::CheckStatus status, std::string output, Done done) {
  // A row that was committed a moment ago may not be loaded yet; waiting for the next turn of the loop is enough.
  const auto changed = parts_.local->update_ttl(id, status, std::move(output));
  if (!changed) return refuse(std::move(done), api::Errc::kRefused, "CheckID \"" + id + "\" does not have associated TTL");
  parts_.local->await_status(id, std::move(done));
}

void AgentCatalog::set_maintenance(const std::string& service_id, bool enable, std::string reason, Done done) {
  const std::string& node = parts_.local->node();
  const kv::Catalog& catalog = state().catalog();
  if (!service_id.empty() && catalog.instance(node, service_id) == nullptr)
    return refuse(std::move(done), api::Errc::kNotFound, "No service registered with ID \"" + service_id + "\"");
  api::CheckRegistration check;
  check.id = service_id.empty() ? std::string(api::kNodeMaintenance) : std::string(api::kServiceMaintenance) + service_id;
  check.name = service_id.empty() ? "Node Maintenance Mode" : "Service Maintenance Mode";
  check.service_id = service_id;
  check.status = api::CheckStatus::kCritical;
  check.notes = !reason.empty() ? std::move(reason)
                : service_id.empty() ? "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
                                     : "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";
  check.notes = drivers::cut_output(std::move(check.notes), drivers::CheckSchedule::kOutputBytesMax, drivers::CutEnd::kTail);
  check.definition.kind = api::CheckDefinition::Kind::kMaintenance;
  if (enable) return propose({kv::CheckSet{to_store(check, node), kv::KeepStatus::kReplace}}, 0, std::move(done));
  propose({kv::CheckRemove{node, check.id}}, 0, [done = std::move(done)](api::Result<std::monostate> result) {
    if (!result && result.error().code == api::Errc::kNotFound) return done(std::monostate{});  // it was not on
    done(std::move(result));
  });
}

// ---------------------------------------------------------------- external nodes, events

void AgentCatalog::catalog_register(api::CatalogRegistration registration, Done done) {
  const kv::Catalog& catalog = state().catalog();
  const std::string& name = registration.node.name;
  if (has_agent(catalog, name))
    return refuse(std::move(done), api::Errc::kRefused, "node \"" + name + "\" is an agent of this cluster; register at its own /v1/agent/service/register");
  Commands commands;
  if (registration.skip_node_update) {
    if (catalog.node(name) == nullptr) return refuse(std::move(done), api::Errc::kRefused, "node \"" + name + "\" is not registered");
  } else {
    kv::Node node;
    node.name = name;
    if (!registration.node.id.empty()) {
      const auto id = kv::parse_uuid(registration.node.id);
      if (!id) return refuse(std::move(done), api::Errc::kBadRequest, "the node's ID is no UUID");
      node.id = *id;
    }
    node.address = registration.node.address;
    node.tagged_addresses = registration.node.tagged_addresses;
    node.meta = registration.node.meta;
    commands.emplace_back(kv::NodeSet{std::move(node)});
  }
  if (registration.service) commands.emplace_back(kv::ServiceSet{to_store(*registration.service, name, {}), {}, kv::OldChecks::kKeep, kv::KeepStatus::kKeep});
  for (const auto& check : registration.checks) commands.emplace_back(kv::CheckSet{to_store(check), kv::KeepStatus::kReplace});
  if (commands.empty()) return refuse(std::move(done), api::Errc::kBadRequest, "there is nothing to register");
  propose(std::move(commands), 0, std::move(done));
}

void AgentCatalog::catalog_deregister(api::CatalogDeregistration deregistration, Done done) {
  const std::string name = node_name(deregistration.node);
  Commands commands;
  if (!deregistration.service_id.empty()) commands.emplace_back(kv::ServiceRemove{name, deregistration.service_id});
  else if (!deregistration.check_id.empty()) commands.emplace_back(kv::CheckRemove{name, deregistration.check_id});
  else commands.emplace_back(kv::NodeRemove{name});
  propose(std::move(commands), 0, [done = std::move(done)](api::Result<std::monostate> result) {
    if (!result && result.error().code == api::Errc::kNotFound) return done(std::monostate{});
    done(std::move(result));
  });
}

void AgentCatalog::fire_event(api::EventFire event, api::Completion<api::Event> done) {
  kv::UserEvent row;
  row.id = parts_.draw_uuid();
  row.name = std::move(event.name);
  row.payload = std::move(event.payload);
  row.node_filter = std::move(event.node_filter);
  row.service_filter = std::move(event.service_filter);
  row.tag_filter = std::move(event.tag_filter);
  kv::UserEvent fired = row;
  parts_.store->write(kv::EventFire{std::move(row)}, io::boottime_now() + parts_.write_timeout,
                      [alive = alive_, fired = std::move(fired), done = std::move(done)](store::Result<store::Written> written) mutable {
                        if (!*alive) return;
                        if (!written) return done(write_error(written.error()));
                        if (written->outcome != kv::Outcome::kDone) return done(tl::make_unexpected(refusal(*written)));
                        fired.index = written->index;
                        done(to_api(fired));
                      });
}

}  // namespace agent
