#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/json_body.h"
#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {

/// A catalog of one process with the contract of CatalogBackend: every change gets an index of its own.
class FakeCatalog final : public CatalogBackend {
 public:
  explicit FakeCatalog(FakeBackend& backend) : backend_(backend) {
    backend.catalog_backend = this;
    put_node({"n1", "00112233-4455-6677-8899-aabbccddeeff", "10.0.0.1", {{"lan", "10.0.0.1"}}, {{"zone", "z1"}}, {}, {}});
    put_check(serf("n1"));
  }

  // --- what a test sets ---
  ScriptPolicy policy = ScriptPolicy::kFiles;
  ReloadReport report;
  std::optional<Error> failure;

  // --- what a test looks at ---
  std::vector<ServiceRegistration> registered;
  std::vector<CheckRegistration> checks_registered;
  std::vector<std::pair<std::string, bool>> maintenance;
  std::vector<CatalogRegistration> catalog_registered;
  std::vector<CatalogDeregistration> catalog_deregistered;
  std::vector<std::string> left;

  void put_node(Node node) {
    ++applied_;
    node.create_index = nodes_.contains(node.name) ? nodes_[node.name].create_index : Index{applied_};
    node.modify_index = Index{applied_};
    touch(node.name, {});
    nodes_[node.name] = std::move(node);
    backend_.wake_waits();
  }
  void put_service(Service service) {
    ++applied_;
    service.modify_index = Index{applied_};
    if (service.create_index == Index{}) service.create_index = service.modify_index;
    touch(service.node, service.name);
    services_[{service.node, service.id}] = std::move(service);
    backend_.wake_waits();
  }
  void put_check(Check check) {
    ++applied_;
    check.modify_index = Index{applied_};
    if (check.create_index == Index{}) check.create_index = check.modify_index;
    touch(check.node, check.service_name);
    if (check.service_id.empty())
      for (const auto& [key, service] : services_)
        if (service.node == check.node) touch(check.node, service.name);
    checks_[{check.node, check.id}] = std::move(check);
    backend_.wake_waits();
  }
  void remove_service(const std::string& node, const std::string& id) {
    ++applied_;
    touch(node, services_.at({node, id}).name);
    services_.erase({node, id});
    std::erase_if(checks_, [&](const auto& row) { return row.second.node == node && row.second.service_id == id; });
    backend_.wake_waits();
  }
  static Check serf(const std::string& node, CheckStatus status = CheckStatus::kPassing) {
    Check check;
    check.node = node, check.id = kSerfHealth, check.name = "Serf Health Status", check.status = status;
    return check;
  }
  Check& check(const std::string& node, const std::string& id) { return checks_.at({node, id}); }

  // --- CatalogView ---
  Indexed<std::vector<Node>> nodes() const override {
    Indexed<std::vector<Node>> out{{}, catalog_index({Topic::Kind::kNodes, {}})};
    for (const auto& [name, node] : nodes_) out.value.push_back(node);
    return out;
  }
  Indexed<std::optional<NodeServices>> node(const std::string& name) const override {
    Indexed<std::optional<NodeServices>> out{std::nullopt, catalog_index({Topic::Kind::kNode, name})};
    const auto it = nodes_.find(name);
    if (it == nodes_.end()) return out;
    out.value = NodeServices{it->second, {}, {}};
    for (const auto& [key, service] : services_)
      if (service.node == name) out.value->services.push_back(service);
    for (const auto& [key, check] : checks_)
      if (check.node == name) out.value->checks.push_back(check);
    return out;
  }
  Indexed<std::map<std::string, std::vector<std::string>>> services() const override {
    Indexed<std::map<std::string, std::vector<std::string>>> out{{}, catalog_index({Topic::Kind::kServices, {}})};
    for (const auto& [key, service] : services_)
      for (auto& tags = out.value[service.name]; const auto& tag : service.tags) tags.push_back(tag);
    return out;
  }
  Indexed<std::vector<ServiceInstance>> instances_of(const std::string& name) const override {
    Indexed<std::vector<ServiceInstance>> out{{}, catalog_index({Topic::Kind::kService, name})};
    for (const auto& [key, service] : services_) {
      if (!same_name(service.name, name)) continue;
      ServiceInstance instance{nodes_.at(service.node), service, {}};
      for (const bool own : {false, true})
        for (const auto& [check_key, check] : checks_)
          if (check.node == service.node && check.service_id == (own ? service.id : "")) instance.checks.push_back(check);
      out.value.push_back(std::move(instance));
    }
    return out;
  }
  Indexed<std::vector<Check>> checks_of(const std::string& name) const override {
    Indexed<std::vector<Check>> out{{}, catalog_index({Topic::Kind::kService, name})};
    for (const auto& [key, check] : checks_)
      if (!check.service_id.empty() && check.service_name == name) out.value.push_back(check);
    return out;
  }
  Indexed<std::vector<Check>> checks_in(std::optional<CheckStatus> status) const override {
    Indexed<std::vector<Check>> out{{}, catalog_index({Topic::Kind::kChecks, {}})};
    for (const auto& [key, check] : checks_)
      if (!status || check.status == *status) out.value.push_back(check);
    return out;
  }
  Indexed<std::vector<Event>> events() const override { return {events_, catalog_index({Topic::Kind::kEvents, {}})}; }
  Index catalog_index(const Topic& topic) const override {
    const auto it = touched_.find({topic.kind, topic.kind == Topic::Kind::kNode || topic.kind == Topic::Kind::kService ? topic.name : ""});
    return it == touched_.end() ? Index{1} : it->second;
  }

  // --- CatalogBackend ---
  NodeServices local() const override {
    NodeServices out = node("n1").value.value_or(NodeServices{});
    std::erase_if(out.checks, [](const Check& check) { return check.id == kSerfHealth; });
    return out;
  }
  ScriptPolicy script_policy() const override { return policy; }
  void register_service(ServiceRegistration registration, Done done) override {
    registered.push_back(registration);
    registration.service.node = "n1";
    put_service(registration.service);
    for (const auto& check : registration.checks) put_check(row_of(check, registration.service));
    finish(done);
  }
  void deregister_service(const std::string& id, Done done) override {
    if (!services_.contains({"n1", id})) return refuse(done, Errc::kNotFound, "no such service");
    remove_service("n1", id);
    finish(done);
  }
  void register_check(CheckRegistration registration, Done done) override {
    checks_registered.push_back(registration);
    put_check(row_of(registration, Service{}));
    finish(done);
  }
  void deregister_check(const std::string& id, Done done) override {
    if (checks_.erase({"n1", id}) == 0) return refuse(done, Errc::kNotFound, "no such check");
    finish(done);
  }
  void update_check(const std::string& id, CheckStatus status, std::string output, Done done) override {
    const auto it = checks_.find({"n1", id});
    if (it == checks_.end() || it->second.definition.kind != CheckDefinition::Kind::kTtl)
      return refuse(done, Errc::kRefused, "CheckID \"" + id + "\" does not have associated TTL");
    Check changed = it->second;
    changed.status = status, changed.output = std::move(output);
    put_check(changed);
    finish(done);
  }
  void set_maintenance(const std::string& service_id, bool enable, std::string reason, Done done) override {
    maintenance.emplace_back(service_id + "/" + reason, enable);
    if (!service_id.empty() && !services_.contains({"n1", service_id}))
      return refuse(done, Errc::kNotFound, "No service registered with ID \"" + service_id + "\"");
    finish(done);
  }
  void catalog_register(CatalogRegistration registration, Done done) override {
    catalog_registered.push_back(std::move(registration));
    finish(done);
  }
  void catalog_deregister(CatalogDeregistration deregistration, Done done) override {
    catalog_deregistered.push_back(std::move(deregistration));
    finish(done);
  }
  void fire_event(EventFire event, Completion<Event> done) override {
    ++applied_;
    touched_[{Topic::Kind::kEvents, {}}] = Index{applied_};
    events_.push_back({"id-" + std::to_string(applied_), event.name, event.payload, event.node_filter, event.service_filter, event.tag_filter, Index{applied_}});
    if (events_.size() > Event::kEventsMax) events_.erase(events_.begin());
    backend_.wake_waits();
    backend_.post([done = std::move(done), fired = events_.back()] { done(fired); });
  }
  void force_leave(const std::string& node, Done done) override {
    left.push_back(node);
    finish(done);
  }
  void reload(Completion<ReloadReport> done) override {
    backend_.post([done = std::move(done), this] { done(report); });
  }

 private:
  static Check row_of(const CheckRegistration& registration, const Service& service) {
    Check check;
    check.node = "n1", check.id = registration.id, check.name = registration.name, check.notes = registration.notes;
    check.status = registration.status.value_or(CheckStatus::kCritical);
    check.service_id = registration.service_id, check.service_name = service.name, check.service_tags = service.tags;
    check.definition = registration.definition;
    return check;
  }
  void finish(Done done) {
    Result<std::monostate> result = failure ? Result<std::monostate>(tl::unexpected(*failure)) : Result<std::monostate>{};
    backend_.post([done = std::move(done), result] { done(result); });
  }
  void refuse(Done done, Errc code, std::string detail) {
    backend_.post([done = std::move(done), error = Error{code, std::move(detail), {}}] { done(tl::unexpected(error)); });
  }
  void touch(const std::string& node, const std::string& service) {
    const Index now{applied_};
    touched_[{Topic::Kind::kNode, node}] = now;
    touched_[{Topic::Kind::kService, service}] = now;
    for (const auto kind : {Topic::Kind::kNodes, Topic::Kind::kServices, Topic::Kind::kChecks}) touched_[{kind, {}}] = now;
  }

  FakeBackend& backend_;
  std::uint64_t applied_ = 100;
  std::map<std::string, Node> nodes_;
  std::map<std::pair<std::string, std::string>, Service> services_;
  std::map<std::pair<std::string, std::string>, Check> checks_;
  std::vector<Event> events_;
  std::map<std::pair<Topic::Kind, std::string>, Index> touched_;
};

}  // namespace agent::api
