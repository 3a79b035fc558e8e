#pragma once
/// The running program as one object: every part, and the wires between them. Used by agent.cc alone.
/// agent.cc builds it, agent_events.cc carries news between the parts, agent_stop.cc takes commands and the way down,
/// agent_handover.cc the way from one process to the next.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/api/server.h"
#include "agent/arming_driver.h"
#include "agent/audit.h"
#include "agent/app_breakers.h"
#include "agent/backend.h"
#include "agent/backend_orders.h"
#include "agent/backend_flight.h"
#include "agent/catalog_keeper.h"
#include "agent/backend_operator.h"
#include "agent/backend_plan.h"
#include "agent/backend_requests.h"
#include "agent/backend_traces.h"
#include "agent/backend_traffic.h"
#include "agent/cluster.h"
#include "agent/config.h"
#include "agent/config_load.h"
#include "agent/config_reload.h"
#include "agent/dns_catalog.h"
#include "agent/drivers/app_metrics.h"
#include "agent/drivers/dns_driver.h"
#include "agent/drivers/gossip_driver.h"
#include "agent/drivers/mesh.h"
#include "agent/drivers/order_desk.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/drivers/pulse.h"
#include "agent/drivers/rate_driver.h"
#include "agent/drivers/store_driver.h"
#include "agent/egress_keeper.h"
#include "agent/halt_driver.h"
#include "agent/halt_follower.h"
#include "agent/health_exchange.h"
#include "agent/identity.h"
#include "agent/kernel_permit.h"
#include "agent/listen_tls.h"
#include "agent/local_services.h"
#include "agent/io/fd_channel.h"
#include "agent/io/signal.h"
#include "agent/io/supervisor.h"
#include "agent/io/time_limit.h"
#include "agent/pid_file.h"
#include "agent/primary_driver.h"
#include "agent/sticky_driver.h"
#include "agent/upstream_names.h"
#include "agent/upstreams.h"

namespace agent {

/// One agent. Members are destroyed from the last to the first: what is built later uses what is built earlier.
class Agent {
 public:
  Agent(const Config& config, ConfigSource source) : config_(config), source_(std::move(source)) {}
  /// Builds every part and returns when all of them work. Errors: what could not be opened, bound or read; run() must not follow.
  io::Result<void> start();
  /// Blocks until the way down is gone. @return exit code of the process: 0 as asked, 1 after a fault
  int run();

 private:
  enum class Phase : std::uint8_t {
    kRunning, kReleasing, kTransferring,
    kLeaving, kLastWords, kStopped,  // the way down
    kParting, kHandedOver,           // the way to a successor
  };
  static constexpr Milliseconds kStopStep{10};       // how often a way is looked at for its next step
  static constexpr Milliseconds kReleaseWait{1500};  // for the release of the lease, behind the orders in flight

  // In this order: the port of the mesh and the tags that name it, gossip, then what needs both.
  io::Result<void> start_store();
  io::Result<void> start_mesh();
  io::Result<void> start_gossip();
  void start_orders();
  io::Result<void> start_proxy();
  io::Result<void> start_upstreams();
  /// The pools of [[upstream]], with what their checks say.
  void add_upstreams(proxy::EndpointTable& table) const;
  // What goes out to brokers (agent_egress.cc).
  io::Result<void> start_egress();
  [[nodiscard]] api::EgressInfo egress_info(const drivers::EgressTotals* totals) const;
  void start_traffic();  ///< agent_traffic.cc: guard, breakers of programs, an operator's hand
  /// Puts the upstreams of the settings, names resolved, to the checks and the proxy.
  void use_upstreams(const std::vector<UpstreamConfig>& upstreams);
  void start_health();  ///< agent_health.cc: what agents tell each other of endpoints
  io::Result<void> start_service();
  // Orders (agent_orders.cc).
  io::Result<void> start_arming();
  void start_order_api();
  [[nodiscard]] std::optional<std::string> unarmed() const;
  io::Result<void> start_parts();  ///< all of these, on an identity that is locked; leaves a proxy that is there
  void start_catalog();
  void register_files();  ///< gives what the settings register to the catalog
  io::Result<void> start_api();
  io::Result<void> start_dns();
  /// Denies nothing over DNS before the own copy has been level with the leader's; asks again until it has.
  void await_catalog();
  [[nodiscard]] std::uint64_t applied() const { return static_cast<std::uint64_t>(store_->core().state().applied()); }
  BackendParts backend_parts();

  // News: each ends in calls that ignore what has not changed, so it may be called too often, never too seldom.
  void on_store_event(const store::Event& event);
  void on_gossip_event(const gossip::Event& event);
  void refresh_members();
  void notice_foreign(const gossip::Member& member);
  void refresh_tags();
  void publish_endpoints();
  std::shared_ptr<proxy::StickyTable> sessions();  ///< the table of this agent, made when a route keeps sessions
  void publish_primary();
  io::Result<void> start_halts();  ///< agent_halts.cc
  io::Result<void> start_audit();  ///< agent_audit.cc: with the store
  /// For the audit (agent_audit.cc). @param when  "start", "reload"
  void note_settings(const char* when);
  void write_note(std::uint64_t number);
  /// Limits that the cluster counts together (agent_limits.cc).
  void start_limits();
  void publish_rate_members();
  /// The flight recorder (agent_flight.cc). The first thing that is there: everything may note something.
  void start_flight();
  void start_traces();
  void note(std::string_view what, std::uint64_t epoch, std::string_view about, std::string_view text);
  void note_role(std::string_view what, const std::string& detail);  ///< about this agent, under its epoch
  void note_gossip(const gossip::Event& event);
  void on_flight_frame(store::NodeId from, std::string_view frame);
  void introduce_to(store::NodeId peer);
  void introduce_to_all();
  /// All frames to peers go through here. @return as Mesh::send; true as well when a fault on purpose swallows it
  bool send_to_peer(store::NodeId peer, std::string frame, drivers::Lane lane);
  api::Result<std::vector<std::string>> partition(const std::vector<std::string>& names);
  [[nodiscard]] bool is_cut_off(const gossip::Address& address) const;
  void on_instance(drivers::InstanceHealth health, const std::string& reason);
  void on_disk_hangs(const store::DiskHangs& news);
  void watch_workers();
  [[nodiscard]] std::string own_trouble() const;  ///< what of this agent does not work, so that others have to trade; empty = all does
  void on_role_change();
  /// Orders for the holder of the lease come through a key, from any agent of the cluster.
  void watch_switchover();
  void obey_switchover();
  // The catalog (agent_catalog.cc): what this agent owns there, and as leader the nodes of everybody.
  [[nodiscard]] std::vector<CatalogKeeper::Seen> seen_members() const;
  [[nodiscard]] store::kv::Node own_node_row() const;
  void publish_instance();
  /// Compares gossip with the catalog if something may have changed since the last time, and this agent leads.
  void keep_catalog();
  void force_leave(const std::string& node, api::CatalogBackend::Done done);
  // One process goes on where another stops (agent_handover.cc).
  /// How long orders in flight may take when the role is given away on purpose.
  [[nodiscard]] Milliseconds order_wait() const { return config_.service ? config_.service->order_wait : Milliseconds(0); }
  io::Result<void> take_over();
  void await_clients(io::TimePoint deadline);
  void tell_predecessor(const proxy::PrimaryView& view);
  void open_door();
  void on_successor_word(std::string_view text);
  void on_successor_gone();
  void follow_primary(const proxy::PrimaryView& view);
  void begin_hand_over(const std::string& version);
  io::Result<void> send_sockets();
  void hand_over();
  void close_control();
  void follow_halts();
  void retire();
  void take_back(int tries);
  void start_successor();
  /// Reads the settings again (agent_reload.cc).
  void reload(const api::Completion<api::ReloadReport>& done);
  [[nodiscard]] api::ReloadReport apply_settings(const Config& fresh);
  struct PreparedSettings {
    UpstreamTlsMap secrets;
    std::shared_ptr<const proxy::RouteTable> routes;  // null: those in force stay
    bool speaks_tls = false;                          // a listener does
    ListenTls listen_tls;                             // with `listeners`
    std::optional<std::vector<drivers::ProxyListen>> listeners;  // none: they stay as they are
  };
  [[nodiscard]] tl::expected<PreparedSettings, std::string> prepare_settings(const Config& fresh, const ConfigDifference& difference,
                                                                             const std::function<std::shared_ptr<proxy::StickyTable>()>& sessions) const;
  void apply_the_rest(const Config& fresh, const ConfigDifference& difference, api::ReloadReport& report);
  /// Opens and closes listeners, and takes the certificates from their files again. @return false: refused, `report` says why
  bool reload_listeners(const Config& fresh, const ConfigDifference& difference, PreparedSettings& prepared, api::ReloadReport& report);
  /// What was set, and what the files say; the others are told the digest of that.
  void learn_settings(ConfigSheet sheet, const std::string& files_text);
  // What a reload would do (agent_plan.cc).
  void start_plan();  ///< reads what was written to get the settings in force
  void plan(const api::PlanQuestion& question, const api::Completion<api::PlanReport>& done);
  [[nodiscard]] api::PlanReport judge_settings(const ReadSettings& fresh) const;
  void add_plan_figures(api::PlanReport& report, const drivers::ProxyTotals& totals) const;
  void warn_of_certificates() const;
  [[nodiscard]] bool is_pushed_out(const std::string& node) const;
  void push_out_the_dead();
  void join(const std::vector<std::string>& addresses, api::Completion<std::size_t> done);
  void drain(bool enable, api::Completion<std::monostate> done);
  /// Runs `what` once at `at`, never inside this call; forgotten when the agent stops.
  void later(io::TimePoint at, std::function<void()> what);
  void await_role_given_up(io::TimePoint deadline, const api::Completion<std::monostate>& done);
  /// The way down: release the lease, hand leadership over, let clients and hooks finish, say goodbye (when leaving), stop.
  void begin_stop(bool leave);
  void step_down();
  [[nodiscard]] bool hooks_hold(io::TimePoint now) const;
  [[nodiscard]] proxy::Endpoint own_endpoint() const;
  [[nodiscard]] proxy::PrimaryView primary_view() const;
  [[nodiscard]] const gossip::Member* member_with(store::NodeId id) const;

  std::unique_ptr<io::TimeLimit> take_down_;  // for the destruction of all that follows; null until run() ends
  Config config_;
  ConfigSource source_;
  ConfigSheet sheet_;           // what was written for config_
  std::string settings_hash_;   // of the files as they were last read and taken
  Identity identity_;
  std::unique_ptr<PidFile> pid_file_;  // null: none was asked for; gone before the data directory's lock is
  store::NodeId raft_id_;
  std::unique_ptr<io::Loop> loop_;
  std::shared_ptr<const io::TlsContext> peer_tls_;  // null = a plain mesh
  std::unique_ptr<AgentFlight> flight_;
  struct CutOff {  // faults on purpose: as names, as the mesh knows them, and as gossip does; empty but in demonstrations
    std::set<std::string> names;
    std::set<store::NodeId> peers;
    std::vector<gossip::Address> addresses;
  } cut_off_;
  std::unique_ptr<drivers::Mesh> mesh_;
  std::unique_ptr<drivers::StoreDriver> store_;
  std::unique_ptr<HaltDriver> halts_;
  std::unique_ptr<HaltFollower> halt_follower_;  // once the sockets were handed over
  std::unique_ptr<drivers::GossipDriver> gossip_;
  std::unique_ptr<StickyDriver> sticky_;
  std::shared_ptr<const proxy::RouteTable> route_table_;  // as published last
  ListenTls listen_tls_;
  std::unique_ptr<drivers::RateDriver> rates_;
  std::set<store::NodeId> mesh_up_;                         // peers to which the mesh stands
  std::unique_ptr<AgentAudit> audit_;                       // with the store; what it logs at its end is told to those
  std::shared_ptr<const proxy::RateMembers> rate_members_;  // as published last
  std::unique_ptr<drivers::OrderDesk> orders_;  // after the store: outcomes stop with it
  std::shared_ptr<proxy::GuardTable> guard_table_;  // null: no [guard]; shared with the workers
  AppBreakers app_breakers_;
  std::unique_ptr<drivers::ProxyDriver> proxy_;
  std::unique_ptr<drivers::Pulse> pulse_;  ///< of its workers
  std::unique_ptr<GuardExchange> guard_;  // null: no [guard]
  std::unique_ptr<AgentTraffic> traffic_;
  std::unique_ptr<HealthExchange> health_;
  std::unique_ptr<UpstreamChecks> upstreams_;
  std::unique_ptr<EgressKeeper> egress_;          // with the store
  std::unique_ptr<KernelPermit> kernel_permit_;   // null: settings name none
  std::unique_ptr<UpstreamNames> names_;
  std::vector<UpstreamConfig> upstream_places_;  // config_.upstreams with addresses in the places of names
  UpstreamTlsMap upstream_tls_;
  std::unique_ptr<drivers::CheckDriver> checks_;
  std::unique_ptr<drivers::AppMetrics> app_metrics_;  // null: settings name none
  std::unique_ptr<PrimaryDriver> primary_;
  std::unique_ptr<ArmingDriver> arming_;  // null: without [arming] a primary is armed at once
  std::unique_ptr<LocalServices> local_;
  std::unique_ptr<AgentCatalog> catalog_;
  std::unique_ptr<CatalogKeeper> keeper_;
  std::unique_ptr<io::Timer> keeper_timer_;
  AgentPlan plans_;
  std::unique_ptr<AgentOperator> operator_;
  std::unique_ptr<AgentTraces> traces_;
  std::unique_ptr<AgentRequests> requests_;
  std::unique_ptr<AgentOrders> order_api_;
  std::unique_ptr<AgentBackend> backend_;
  std::unique_ptr<api::Server> server_;
  std::unique_ptr<DnsCatalog> dns_catalog_;
  std::unique_ptr<drivers::DnsDriver> dns_;  // null: off
  std::unique_ptr<io::Timer> stop_timer_;
  std::unique_ptr<io::Signal> term_, interrupt_, hangup_, upgrade_;
  std::unique_ptr<io::FdDoor> door_;                        // where a successor knocks
  std::unique_ptr<io::FdChannel> predecessor_, successor_;  // null: nobody hands over
  io::DetachedProgram child_;                               // the successor that we have started

  struct KeeperView {  // what the keeper has looked at
    std::uint64_t digest = 0;
    store::kv::Index nodes{}, checks{};
    bool leading = false;
    friend bool operator==(const KeeperView&, const KeeperView&) = default;
  };
  std::optional<KeeperView> kept_;
  std::map<std::string, io::TimePoint> pushed_out_;  // live members that an operator wants gone, and until when
  std::set<gossip::MemberId> foreign_;  // told about already; bounded by the member table and its tombstones
  std::map<std::string, std::string> tags_;  // as last told to gossip
  std::optional<proxy::EndpointTable> endpoints_;
  std::map<std::uint64_t, std::unique_ptr<io::Timer>> waits_;  // of later(); bounded by the API's requests
  std::uint64_t wait_count_ = 0;
  bool draining_ = false;
  bool taking_over_ = false;   // this process began with the sockets of another
  bool handing_over_ = false;  // a successor has asked, and was not lost since
  bool retiring_ = false;      // it serves
  bool keep_endpoints_ = false;  // after a successor that failed: until our own instance has been checked anew
  bool reseeding_ = false;  // put aside by "raft recover --reseed": founds nothing
  bool clients_gone_ = false;  // every worker has finished its drain
  Phase phase_ = Phase::kRunning;
  io::TimePoint phase_until_{};
  io::TimePoint hooks_until_{};  // a way down waits for hooks no longer than that
  bool leaving_ = false, left_ = false;
  std::uint64_t reloads_ = 0, reloads_refused_ = 0;
  store::kv::AuditNote note_;      // the newest
  std::uint64_t note_count_ = 0;
  std::vector<api::Completion<std::monostate>> leave_done_;
  int exit_code_ = 0;
  std::optional<proxy::PrimaryView> view_;  // as last given to the proxy
};

}  // namespace agent
