#pragma once
/// What this agent owns in the catalog: its rows are read back after a restart and their checks run here; their states
/// go into the rows when they change; what settings files and [service] name is there, and what they named before is not.
///
/// There is no second registry: the rows are the registry. So everything here is a comparison of what should be with
/// what is, made again whenever either changes, until nothing differs. One proposal per row at a time.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/api/catalog_backend.h"
#include "agent/drivers/service_checks.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "store/kv/catalog_rows.h"

namespace agent {

/// What settings files say should be registered.
struct FileServices {
  std::vector<api::ServiceRegistration> services;
  std::vector<api::CheckRegistration> checks;  ///< of the node, or of services however they were registered
};

struct LocalServicesSettings {
  std::string node;  ///< own name
  api::ScriptPolicy scripts = api::ScriptPolicy::kFiles;
  io::Milliseconds write_timeout{2000};
  /// The own row, for an agent that is asked to register something before the leader has met it.
  std::function<store::kv::Node()> node_row;
  std::function<void(std::string_view what, const std::string& detail)> log;
};

/// Ownership: of the agent; the store and its loop outlive it. Thread: the control loop.
class LocalServices {
 public:
  static constexpr io::Milliseconds kRetryAfter{500};

  LocalServices(io::Loop& loop, drivers::StoreDriver& store, drivers::CheckSchedule::Chance chance, LocalServicesSettings settings);
  ~LocalServices();
  LocalServices(const LocalServices&) = delete;
  LocalServices& operator=(const LocalServices&) = delete;

  /// Something has changed: a leader, the state. Compares at the end of this turn.
  void look();
  void set_files(FileServices files);
  void set_scripts(api::ScriptPolicy scripts);
  /// The instance of [service] and how it is; its check is kept here and not run.
  void set_instance(api::Service service, api::CheckStatus status, const std::string& output);
  /// A TTL check hears from its owner. nullopt: no TTL check of that id is here. Otherwise true if its state is another
  /// one now, so that the caller waits for the row.
  std::optional<bool> update_ttl(const std::string& id, api::CheckStatus status, std::string output);
  /// Runs `done` once the row of a check has the state that is known here, or with an error after the write time-out.
  void await_status(const std::string& check, api::CatalogBackend::Done done);

  [[nodiscard]] const drivers::ServiceChecks& checks() const { return checks_; }
  /// Newest output of a check that runs here; nullptr: none does.
  [[nodiscard]] const drivers::CheckSchedule::State* live(const std::string& check) const { return checks_.find(check); }
  [[nodiscard]] const std::string& node() const { return settings_.node; }
  [[nodiscard]] const api::ServiceRegistration* instance() const { return instance_ ? &*instance_ : nullptr; }

 private:
  struct Waiter {
    std::string check;
    api::CatalogBackend::Done done;
    io::TimePoint deadline;
  };
  void compare();
  void become_level();
  void watch_rows();
  void load_checks();
  void propose_wanted();
  void propose_stale();
  void propose_statuses();
  void propose_service(const api::ServiceRegistration& wanted, const char* owner);
  void propose(const std::string& row, store::kv::CommandBody command);
  void serve_waiters();
  [[nodiscard]] bool may_run(const api::Check& check) const;
  [[nodiscard]] std::optional<api::CheckStatus> wanted_status(const store::kv::Check& row, std::string& output) const;

  drivers::StoreDriver& store_;
  LocalServicesSettings settings_;
  drivers::ServiceChecks checks_;
  FileServices files_;
  std::optional<api::ServiceRegistration> instance_;
  std::string instance_output_;
  std::set<std::string> pending_;    // rows with a proposal under way; bounded by this node's rows
  std::vector<Waiter> waiters_;      // bounded by the API's requests
  std::optional<store::kv::WatchId> watch_;
  store::kv::Index seen_{};  // index of this node's rows at the last comparison
  bool level_ = false, asking_ = false;  // the own copy of the state has caught up with the cluster's since the start
  bool dirty_ = true;        // something else has changed since, or a proposal has failed
  io::Deferral compare_;
  io::Timer retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // completions that come later find nobody
};

}  // namespace agent
