#pragma once
/// The agent behind its HTTP API: puts what store, gossip, primary and proxy know into the API's words, and takes its
/// commands. One object per agent, on the control loop.
///
/// Answers come in two ways. What the agent knows by itself is answered at once (the const functions). What has to ask the
/// store, a worker or another agent ends in an api::Completion: called exactly once, on the loop, never inside the call that
/// was given it, and not at all when the backend is destroyed first.
/// Errors are api::Error: api_error_of for the store's, own ones with a code of api/error.h and what the caller can do.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/api/backend.h"
#include "agent/backend_catalog.h"
#include "agent/backend_flight.h"
#include "agent/backend_requests.h"
#include "agent/backend_traffic.h"
#include "agent/cluster.h"
#include "agent/config.h"
#include "agent/drivers/check_driver.h"
#include "agent/drivers/dns_driver.h"
#include "agent/drivers/rate_driver.h"
#include "agent/drivers/store_driver.h"
#include "agent/halt_driver.h"
#include "agent/health_exchange.h"
#include "agent/io/loop.h"
#include "agent/joint_watches.h"
#include "agent/listen_tls.h"
#include "agent/io/timer.h"
#include "agent/primary_driver.h"
#include "agent/sticky_keeper.h"
#include "agent/upstreams.h"
#include "gossip/output.h"
#include "proxy/proxy.h"

namespace agent {

/// Key under which an agent leaves a request for the holder of `service`; the holder watches it and removes it.
[[nodiscard]] std::string switchover_key(const std::string& service);
/// Content of that key: JSON, {"epoch": 7, "target": "b"}.
/// Invariant: parse(text()) is the same order; whatever else stands in the key is no order and does nothing.
struct SwitchoverOrder {
  std::uint64_t epoch = 0;  ///< only the holder under this epoch obeys
  std::string target;       ///< member name; empty = anyone else
  [[nodiscard]] std::string text() const;
  /// @param text  of a key that anybody may have written; nullopt = no order
  static std::optional<SwitchoverOrder> parse(std::string_view text);
};

/// The state of the proxy workers, summed: a copy, taken a moment ago, of what each of them counts for itself.
struct ProxyStatus {
  proxy::Counters counters;
  std::vector<proxy::Proxy::EndpointStatus> endpoints;  ///< one per id, in no order
  std::vector<proxy::Proxy::RouteStatus> routes;        ///< one per name
  std::shared_ptr<const proxy::RouteTable> table;  ///< in force; null in tests without a proxy
  drivers::TlsCounters tls{};
  std::optional<drivers::AccessLogCounters> access_log{};  ///< none = there is no log
  std::optional<drivers::SpanExportCounters> spans{};      ///< none = spans go nowhere
  drivers::ProxyHeaderCounters headers{};
  drivers::HelloCounters hellos{};
  std::map<std::string, proxy::RelayCounters> relays{};  ///< by name of the TCP route
  proxy::RateDeskCounters rates{};                         ///< limits of the cluster: what was asked of others
  drivers::RateDriverCounters rates_answered{};            ///< and by them
  std::shared_ptr<const drivers::EgressTotals> egress{};   ///< null = none is configured
  std::size_t workers_missing = 0;  ///< whose figures are those that they told last
};

/// What the store's error means to a client of the API: not leader and time-outs may be tried again, a full disk may not.
[[nodiscard]] api::Error api_error_of(const store::Error& error);

class AgentOrders;  // backend_orders.h
namespace drivers { class AppMetrics; }
class AgentAudit;   // audit.h

/// What the backend needs of the agent. Pointers may be null where a part is not configured; all outlive it.
/// Functions are asked anew at each request, because what they hand out may be replaced by a reload or come late.
struct BackendParts {
  const Config* config = nullptr;          ///< never null; in force, also after a reload
  io::Loop* loop = nullptr;                ///< never null; the control loop
  drivers::StoreDriver* store = nullptr;   ///< never null
  PrimaryDriver* primary = nullptr;        ///< null without [service]
  drivers::CheckDriver* checks = nullptr;  ///< null without [service]
  drivers::AppMetrics* app_metrics = nullptr;  ///< null: settings name none
  AgentCatalog* catalog = nullptr;         ///< null in tests that need none
  const StickyKeeper* sticky = nullptr;    ///< the same
  const HealthExchange* health = nullptr;  ///< the same
  const UpstreamChecks* upstreams = nullptr;  ///< the same
  std::function<bool(const std::string&)> is_pushed_out;  ///< members on their way out at an operator's word
  std::function<std::span<const gossip::Member>()> members;  ///< this agent among them; void with the next event of gossip
  std::function<gossip::Counters()> gossip_counters;
  std::function<proxy::EndpointTable()> endpoints;  ///< as last given to the proxy
  std::function<bool(store::NodeId)> mesh_connected;  ///< a mesh connection to that voter is open
  std::function<void(std::function<void(ProxyStatus)>)> proxy_status;  ///< asks the workers; answers in a later turn
  std::function<void(std::vector<std::string>, api::Completion<std::size_t>)> join;  ///< gossip addresses -> how many answered
  std::function<void(api::Completion<std::monostate>)> leave;        ///< parts with the cluster, then ends the process
  std::function<void(bool, api::Completion<std::monostate>)> drain;  ///< true = take this agent out of traffic
  std::function<const drivers::DnsDriver*()> dns;  ///< null while DNS is off
  std::function<bool()> draining;
  std::function<std::size_t()> hung_workers{};  ///< how many do not answer; empty in tests without workers
  const ListenTls* listen_tls = nullptr;   ///< null: no listener has TLS
  std::function<std::pair<std::uint64_t, std::uint64_t>()> reloads;  ///< applied, refused
  std::function<api::OperatorBackend*()> operators;  ///< null while the agent begins or ends
  std::function<AgentRequests*()> requests;          ///< the same
  std::function<AgentOrders*()> orders;              ///< the same
  std::function<std::optional<std::string>()> unarmed;  ///< none = the own primary is armed; else what it waits for
  std::function<HaltDriver*()> halts;                ///< the same
  std::function<const AgentAudit*()> audit;          ///< the same
  std::function<AgentFlight*()> flight;              ///< the same
  AgentTraffic* traffic = nullptr;                   ///< null in tests that need none
  const GuardExchange* guard = nullptr;              ///< null: nobody is banned
  const AppBreakers* app_breakers = nullptr;         ///< null in tests that need none
  std::string id;                                    ///< 128-bit id as hex
  store::NodeId raft_id;
  std::string api_address, mesh_address, gossip_address;  ///< as others reach them, with the ports really taken
};

/// Bounds: kRoleWatchesMax waits for the role; waits for an epoch and for keys are bounded by the API's own connections.
/// Ownership: of the agent, destroyed before everything that BackendParts points to. Thread: the control loop.
class AgentBackend final : public api::Backend {
 public:
  static constexpr std::size_t kRoleWatchesMax = 10'000;  ///< waits for the own role

  explicit AgentBackend(BackendParts parts);
  ~AgentBackend() override;

  /// The role, instance or drain state changed: wakes the waits for it.
  void on_role_changed();

  void read_barrier(api::ReadMode mode, api::Completion<api::ReadInfo> done) override;
  [[nodiscard]] api::ReadInfo read_info() const override;
  [[nodiscard]] api::KvAnswer kv_get(const std::string& key) const override;
  [[nodiscard]] api::KvAnswer kv_list(const std::string& prefix) const override;
  [[nodiscard]] api::Index kv_index(const api::Topic& topic) const override;
  void kv_write(api::KvWrite write, api::Completion<api::KvWritten> done) override;
  std::optional<api::WatchId> watch(const api::Topic& topic, api::Index after, std::function<void()> woken) override;
  void unwatch(api::WatchId id) override;
  api::SessionBackend* sessions() override;
  [[nodiscard]] api::CatalogBackend* catalog() override { return parts_.catalog; }
  [[nodiscard]] api::SelfInfo self() const override;
  [[nodiscard]] std::vector<api::MemberInfo> members() const override;
  [[nodiscard]] api::RaftInfo raft() const override;
  [[nodiscard]] api::RoleInfo role() const override;
  [[nodiscard]] std::optional<api::ElectionInfo> election(const std::string& name) const override;
  void election_command(api::ElectionCommand command, api::Completion<api::ElectionInfo> done) override;
  void upstreams(api::Completion<std::vector<api::UpstreamInfo>> done) override;
  void metrics(api::Completion<std::vector<api::MetricFamily>> done) override;
  void app_metrics(api::Completion<std::string> done) override;
  [[nodiscard]] std::vector<api::HealthItem> live() const override;
  [[nodiscard]] std::vector<api::HealthItem> ready() const override;
  void join(std::vector<std::string> addresses, api::Completion<std::size_t> done) override;
  void leave(api::Completion<std::monostate> done) override;
  void drain(bool enable, api::Completion<std::monostate> done) override;
  [[nodiscard]] api::RequestBackend* requests() override { return parts_.requests ? parts_.requests() : nullptr; }
  [[nodiscard]] api::OrderBackend* orders() override;
  [[nodiscard]] api::FlightBackend* flight() override { return parts_.flight ? parts_.flight() : nullptr; }
  [[nodiscard]] api::TrafficBackend* traffic() override { return parts_.traffic; }
  [[nodiscard]] api::OperatorBackend* operators() override { return parts_.operators ? parts_.operators() : nullptr; }

 private:
  /// Somebody who waits until role_index() is above `after`.
  struct RoleWatch {
    std::uint64_t after;
    std::function<void()> woken;  ///< once, from wake_roles_
  };
  [[nodiscard]] io::TimePoint write_deadline() const;  ///< raft.write_timeout from now
  [[nodiscard]] const gossip::Member* member_named(const std::string& name) const;  ///< null: nobody of that name
  /// Leaves the order for the holder and waits until somebody holds a later epoch.
  void order_switchover(const api::ElectionCommand& command, const store::kv::Lease& lease,
                        api::Completion<api::ElectionInfo> done);
  void await_epoch_above(const std::string& service, store::kv::Epoch epoch, io::TimePoint deadline,
                         api::Completion<api::ElectionInfo> done);
  /// Elections of services that belong to no agent: the caller is the candidate.
  void client_election(const api::ElectionCommand& command, api::Completion<api::ElectionInfo> done);
  [[nodiscard]] bool is_of_agents(const std::string& name) const;  ///< some agent runs an instance of that service
  [[nodiscard]] api::ElectionInfo granted(const api::ElectionCommand& command, api::Epoch epoch, api::Index index) const;
  [[nodiscard]] std::string lost_text(const std::string& name, const store::Written& written) const;
  void finish_election(const std::string& name, const api::Completion<api::ElectionInfo>& done) const;
  [[nodiscard]] std::uint64_t role_index() const;  ///< grows with every change that on_role_changed tells of

  BackendParts parts_;
  JointWatches joint_watches_;
  io::TimePoint started_;
  std::map<std::uint64_t, RoleWatch> role_watches_;
  std::uint64_t role_watch_count_ = 0;
  std::map<std::uint64_t, std::unique_ptr<io::Timer>> waits_;  ///< for a new epoch; bounded by the API's requests
  std::uint64_t wait_count_ = 0;
  io::Deferral wake_roles_;
  std::shared_ptr<bool> alive_;  ///< false once destroyed: completions that come later find nobody
  std::unique_ptr<api::SessionBackend> sessions_;
};

/// Metric families of one agent, built from plain numbers (metrics.cc): names with the prefix "outrigger_", each once.
[[nodiscard]] std::vector<api::MetricFamily> metric_families(const BackendParts& parts, const ProxyStatus& proxy);

}  // namespace agent
