#pragma once
/// The egress of this agent on the control side: what the settings name made into routes, addresses and credentials for the workers.
///
/// Names are looked up off the loop and again from time to time; while a look-up fails, what was known goes on. Values of injected
/// fields come from the store or from files; they are handed to the workers inside the routes and are told to nobody else.
/// Ownership: of the agent; loop, proxy and store outlive it. Thread: the control loop.
/// Bounds: those of the settings: 64 entries, 64 targets and 16 fields each, 64 addresses of a name.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/request_backend.h"
#include "agent/config.h"
#include "agent/drivers/egress_worker.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/resolver.h"
#include "agent/io/timer.h"

namespace agent {

/// The listeners of the egress entries; they need nothing but the settings. Errors: kInvalidArgument naming the key.
[[nodiscard]] io::Result<std::vector<drivers::ProxyListen>> egress_listeners(const Config& config);

class EgressKeeper {
 public:
  struct Parts {
    io::Loop* loop = nullptr;
    drivers::ProxyDriver* proxy = nullptr;
    drivers::StoreDriver* store = nullptr;
    std::function<void(std::string_view what, const std::string& detail, bool bad)> log;
  };
  explicit EgressKeeper(Parts parts);
  ~EgressKeeper();
  EgressKeeper(const EgressKeeper&) = delete;
  EgressKeeper& operator=(const EgressKeeper&) = delete;

  /// What set() would say; changes nothing. Errors: certificates that cannot be loaded, a route that cannot be made.
  [[nodiscard]] static io::Result<void> valid(const Config& config);
  /// The entries from now on; tells the workers. Limits and breakers of those that stay go on.
  [[nodiscard]] io::Result<void> set(const Config& config);
  [[nodiscard]] bool empty() const { return config_.empty(); }
  /// What each entry is and does, for people. @param totals  of the workers; null = nothing was counted
  [[nodiscard]] std::vector<api::EgressEntry> entries(const drivers::EgressTotals* totals) const;

 private:
  /// One place of one entry.
  struct Target {
    std::string pool, host;
    std::uint16_t port = 0;
    Milliseconds every{0};
    std::shared_ptr<const drivers::EgressPlace> place;
    std::vector<std::string> addresses;  ///< as of the last answer; sorted
    std::string fault;                   ///< why the last look-up failed; empty = it did not
    std::unique_ptr<io::Resolution> running;
    std::unique_ptr<io::Timer> timer;
  };
  static io::Result<std::map<std::string, Target>> targets_of(const Config& config);
  io::Result<std::shared_ptr<const proxy::RouteTable>> routes(const std::vector<EgressConfig>& egress, const Config& config) const;
  std::vector<proxy::EgressField> fields_of(const EgressConfig& egress) const;
  void look_up(const std::string& pool);
  void resolved(const std::string& pool, io::Result<std::vector<io::Address>> answer);
  void watch_keys();
  void key_changed(const std::string& key);
  void publish();

  Parts parts_;
  Config base_;                       ///< what routes are made with beside the entries
  std::vector<EgressConfig> config_;
  std::map<std::string, Target> targets_;  ///< by pool
  std::shared_ptr<const proxy::RouteTable> routes_;
  std::map<proxy::EndpointId, std::shared_ptr<proxy::EndpointShare>> shares_;  ///< what all workers know of the addresses published last
  std::map<std::string, std::uint64_t> watched_;  ///< keys of fields, and the store's number of the watch
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace agent
