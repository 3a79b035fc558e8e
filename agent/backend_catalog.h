#pragma once
/// The catalog behind the HTTP API and the DNS server: reads this agent's copy, turns commands into proposals.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/catalog_backend.h"
#include "agent/drivers/store_driver.h"
#include "agent/local_services.h"

namespace agent {

/// What the catalog needs of the agent; all of it outlives the backend.
struct CatalogParts {
  drivers::StoreDriver* store = nullptr;
  LocalServices* local = nullptr;
  io::Milliseconds write_timeout{2000};
  std::function<store::kv::Node()> node_row;         ///< the own row
  std::function<store::kv::Uuid()> draw_uuid;        ///< random
  std::function<void(const std::string& node, api::CatalogBackend::Done done)> force_leave;
  std::function<void(api::Completion<api::ReloadReport> done)> reload;
  std::function<api::ScriptPolicy()> scripts;
};

class AgentCatalog final : public api::CatalogBackend {
 public:
  explicit AgentCatalog(CatalogParts parts) : parts_(std::move(parts)) {}
  ~AgentCatalog() override { *alive_ = false; }

  [[nodiscard]] api::Indexed<std::vector<api::Node>> nodes() const override;
  [[nodiscard]] api::Indexed<std::optional<api::NodeServices>> node(const std::string& name) const override;
  [[nodiscard]] api::Indexed<std::map<std::string, std::vector<std::string>>> services() const override;
  [[nodiscard]] api::Indexed<std::vector<api::ServiceInstance>> instances_of(const std::string& service) const override;
  [[nodiscard]] api::Indexed<std::vector<api::Check>> checks_of(const std::string& service) const override;
  [[nodiscard]] api::Indexed<std::vector<api::Check>> checks_in(std::optional<api::CheckStatus> status) const override;
  [[nodiscard]] api::Indexed<std::vector<api::Event>> events() const override;
  [[nodiscard]] api::Index catalog_index(const api::Topic& topic) const override;

  [[nodiscard]] api::NodeServices local() const override;
  [[nodiscard]] api::ScriptPolicy script_policy() const override { return parts_.scripts(); }
  void register_service(api::ServiceRegistration registration, Done done) override;
  void deregister_service(const std::string& id, Done done) override;
  void register_check(api::CheckRegistration registration, Done done) override;
  void deregister_check(const std::string& id, Done done) override;
  void update_check(const std::string& id, api::CheckStatus status, std::string output, Done done) override;
  void set_maintenance(const std::string& service_id, bool enable, std::string reason, Done done) override;
  void catalog_register(api::CatalogRegistration registration, Done done) override;
  void catalog_deregister(api::CatalogDeregistration deregistration, Done done) override;
  void fire_event(api::EventFire event, api::Completion<api::Event> done) override;
  void force_leave(const std::string& node, Done done) override { parts_.force_leave(node, std::move(done)); }
  void reload(api::Completion<api::ReloadReport> done) override { parts_.reload(std::move(done)); }

  [[nodiscard]] const drivers::ServiceChecks& checks_here() const { return parts_.local->checks(); }

  /// The topics of the store whose changes move the index of an API's topic of the catalog: its own, and the leases
  /// that its derived tags come from.
  [[nodiscard]] std::vector<store::kv::Topic> topics_of(const api::Topic& topic) const;

 private:
  using Commands = std::vector<store::kv::CommandBody>;
  [[nodiscard]] const store::kv::StateMachine& state() const { return parts_.store->core().state(); }
  [[nodiscard]] std::string service_name(const std::string& name) const;
  [[nodiscard]] std::string node_name(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> tags_of(const store::kv::Check& check) const;
  [[nodiscard]] std::vector<api::Check> checks(const std::vector<const store::kv::Check*>& rows) const;
  /// Proposes one after the other; stops at the first that fails. A missing own node row is proposed in between.
  void propose(Commands commands, std::size_t next, Done done);
  void refuse(Done done, api::Errc code, std::string detail);

  CatalogParts parts_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // completions that come later find nobody
};

}  // namespace agent
