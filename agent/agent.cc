#include "agent/agent.h"

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "agent/flight_wire.h"
#include "agent/io/clock_source.h"
#include "agent/io/code_pages.h"
#include "agent/io/crypto.h"
#include "agent/log.h"
#include "agent/parts.h"
#include "agent/recover.h"
#include "agent/running.h"
#include "store/disk/rocks_store.h"

namespace agent {
namespace {

constexpr Milliseconds kClientsWait{10'000};  // for a successor to be ready; then it serves as well as it can
constexpr Milliseconds kTakeDownWait{5000};  // behind the last step of a stop, for parts that may hang
constexpr Milliseconds kCatalogAgain{200};  // how often an agent without state asks whether its copy is level

std::uint64_t chance(std::uint64_t bound) { return io::random_below(bound); }

}  // namespace

// --- start ---------------------------------------------------------------------------------------------------------

io::Result<void> Agent::start() {
  auto loop = io::Loop::create();
  if (!loop) return tl::make_unexpected(loop.error());
  loop_ = std::move(*loop);
  if (source_.take_over) {
    if (auto taken = take_over(); !taken) return taken;
  }
  auto identity = open_identity(config_.node.data_dir);
  if (!identity) return tl::make_unexpected(identity.error());
  identity_ = std::move(*identity);
  if (auto started = start_parts(); !started) return started;
  for (auto& [slot, number] : {std::pair{&term_, SIGTERM}, std::pair{&interrupt_, SIGINT}}) {
    auto watched = io::Signal::watch(*loop_, number, [this] {
      if (phase_ == Phase::kRunning) return begin_stop(false);
      log_line(LogLevel::kWarn, "stopped_at_once", "second signal");
      loop_->stop();
    });
    if (!watched) return tl::make_unexpected(watched.error());
    *slot = std::move(*watched);
  }
  auto hangup = io::Signal::watch(*loop_, SIGHUP, [this] { reload([](const api::Result<api::ReloadReport>&) {}); });
  if (!hangup) return tl::make_unexpected(hangup.error());
  hangup_ = std::move(*hangup);
  auto upgrade = io::Signal::watch(*loop_, SIGUSR2, [this] { start_successor(); });
  if (!upgrade) return tl::make_unexpected(upgrade.error());
  upgrade_ = std::move(*upgrade);
  if (taking_over_) {
    await_clients(io::boottime_now() + kClientsWait);
  } else {
    for (const std::string& name : io::SocketShelf::here().clear_left())
      log_line(LogLevel::kWarn, "socket_not_needed", name + " was opened for this process; no setting names that address");
    io::tell_supervisor("READY=1");
  }
  return {};
}

io::Result<void> Agent::start_parts() {
  raft_id_ = raft_id_of(identity_.id);
  if (!config_.node.pid_file.empty()) {
    auto pid_file = PidFile::write(config_.node.pid_file.string());
    if (!pid_file) return tl::make_unexpected(pid_file.error());
    pid_file_ = std::move(*pid_file);
  }
  start_plan();
  using Step = io::Result<void> (Agent::*)();
  for (const Step step : {&Agent::start_halts, &Agent::start_mesh, &Agent::start_gossip, &Agent::start_store, &Agent::start_proxy,
                          &Agent::start_service, &Agent::start_api, &Agent::start_dns}) {
    if (auto done = (this->*step)(); !done) return done;
  }
  refresh_members();
  refresh_tags();
  std::vector<io::HostPort> seeds;
  for (const HostPort& seed : config_.mesh.seeds) seeds.push_back({seed.host, seed.port});
  gossip_->join(seeds);
  if (config_.raft.bootstrap && !reseeding_ && store_->core().cluster_id().is_none()) {
    store_->bootstrap([](const store::Result<void>& result) {
      if (!result) log_line(LogLevel::kError, "bootstrap_failed", result.error().detail);
    });
  }
  log_line(LogLevel::kInfo, "started", "api " + server_->local_address().to_string() + ", dns " +
                                           (dns_ ? dns_->local_address().to_string() : "off") + ", gossip " + gossip_->local_address().to_string() +
                                           ", mesh " + mesh_->local_address().to_string() + ", node id " + identity_.id.to_string());
  open_door();
  note_settings("start");
  return {};
}

io::Result<void> Agent::start_mesh() {
  start_limits();
  start_flight();
  drivers::MeshSettings settings;
  auto bind = io::Address::ip(config_.mesh.bind, config_.mesh.port);
  if (!bind) return tl::make_unexpected(bind.error());
  settings.bind = *bind;
  settings.self = raft_id_;
  settings.name = config_.node.name;
  settings.cluster = config_.mesh.cluster.empty() ? kDefaultCluster : config_.mesh.cluster;
  settings.chance = chance;
  if (config_.mesh.has_tls()) {
    auto tls = drivers::MeshTls::load(config_.mesh.ca.string(), config_.mesh.cert.string(), config_.mesh.key.string(), io::wall_ms());
    if (!tls) return tl::make_unexpected(tls.error());
    settings.tls = *tls;
    peer_tls_ = tls->http_dialer;
  }
  drivers::MeshCallbacks callbacks;
  callbacks.on_frame = [this](store::NodeId from, std::string_view bytes) {
    if (cut_off_.peers.contains(from)) return;
    if (is_halt_frame(bytes)) halts_->on_frame(from, bytes);
    else if (is_flight_frame(bytes)) on_flight_frame(from, bytes);
    else if (drivers::is_rate_frame(bytes)) rates_->on_frame(from, bytes, io::boottime_now());
    else if (is_audit_frame(bytes)) audit_ ? audit_->on_frame(from, bytes) : void();
    else if (is_trace_frame(bytes)) traces_ ? traces_->on_frame(from, bytes) : void();
    else if (is_guard_frame(bytes)) guard_ ? guard_->on_frame(from, bytes) : void();
    else if (store_) store_->on_frame(from, bytes);
  };
  callbacks.on_connected = [this](store::NodeId peer) {
    mesh_up_.insert(peer);
    introduce_to(peer);
    publish_rate_members();
    halts_->on_connected(peer);
    if (audit_) audit_->on_connected(peer);
    if (guard_) guard_->on_connected(peer);
    if (store_) store_->on_connected(peer);
  };
  callbacks.on_lost = [this](store::NodeId peer) {
    mesh_up_.erase(peer);
    publish_rate_members();
    halts_->on_lost(peer);
    if (audit_) audit_->on_lost(peer);
    if (store_) store_->on_lost(peer);
  };
  callbacks.on_refused = [this](store::NodeId peer) {
    if (store_) store_->on_refused(peer);
  };
  callbacks.on_http = [this](io::DetachedStream stream, std::string client) {
    if (proxy_ && !cut_off_.names.contains(client)) proxy_->hand_over(std::move(stream), std::move(client));
  };
  callbacks.log = [](std::string_view what, const std::string& detail) { log_line(LogLevel::kWarn, what, detail); };
  auto mesh = drivers::Mesh::start(*loop_, std::move(settings), std::move(callbacks));
  if (!mesh) return tl::make_unexpected(mesh.error());
  mesh_ = std::move(*mesh);
  return {};
}

io::Result<void> Agent::start_gossip() {
  auto settings = gossip_settings(config_, identity_);
  if (!settings) return tl::make_unexpected(settings.error());
  auto gossip = drivers::GossipDriver::start(
      *loop_, std::move(*settings),
      {[this](const gossip::Event& event) { on_gossip_event(event); }, [this] { refresh_members(); },
       [](std::string_view what, const std::string& detail) { log_line(LogLevel::kWarn, what, detail); },
       config_.faults_allowed ? [this](const gossip::Address& address) { return is_cut_off(address); } : std::function<bool(const gossip::Address&)>()});
  if (!gossip) return tl::make_unexpected(gossip.error());
  gossip_ = std::move(*gossip);
  return {};
}

io::Result<void> Agent::start_store() {
  store::disk::RocksOptions options;
  options.directory = identity_.data_dir / "store";
  options.node = raft_id_;
  options.reserve_bytes = config_.raft.disk_reserve_bytes;
  auto rocks = store::disk::RocksStore::open(options);
  if (!rocks) return io::fail(io::Errc::kIo, "store: " + rocks.error().detail);
  reseeding_ = std::filesystem::exists(identity_.data_dir / kReseedMark);
  if (reseeding_) {
    config_.raft.bootstrap_expect = 0;  // it joins, whatever the settings say
    log_line(LogLevel::kInfo, "reseeding", "this agent waits to be seeded by its peers; it founds no cluster");
  }
  drivers::StoreCallbacks callbacks;
  callbacks.send = [this](store::NodeId to, std::string bytes, bool urgent) {
    send_to_peer(to, std::move(bytes), urgent ? drivers::Lane::kUrgent : drivers::Lane::kBulk);
  };
  callbacks.on_event = [this](const store::Event& event) { on_store_event(event); };
  callbacks.on_fatal = [this](const std::string& reason) {
    log_line(LogLevel::kError, "store_stopped", reason + "; this agent ends, its data directory is left as it is");
    exit_code_ = 1;
    loop_->stop();
  };
  callbacks.on_clock = [](io::Milliseconds ahead) {
    if (ahead == io::Milliseconds{0}) return log_line(LogLevel::kInfo, "wall_clock_agrees", "the wall clock of this agent and the times of orders agree again");
    const std::string by = std::to_string(std::chrono::abs(ahead).count() / 1000) + " s " + (ahead > io::Milliseconds{0} ? "ahead of" : "behind");
    log_line(LogLevel::kWarn, "wall_clock_differs", "the wall clock of this agent is " + by + " the times of orders as their agent writes them: one of the two clocks is wrong; look at NTP at both");
  };
  auto store = drivers::StoreDriver::start(*loop_, store_config(config_, raft_id_), std::move(*rocks), chance, std::move(callbacks));
  if (!store) return io::fail(io::Errc::kIo, "store: " + store.error().detail);
  store_ = std::move(*store);
  halts_->use(store_.get());
  if (auto audit = start_audit(); !audit) return audit;
  sticky_ = std::make_unique<StickyDriver>(*loop_, *store_, raft_id_, config_.raft.write_timeout,
                                           [](std::string_view what, const std::string& detail) { log_line(LogLevel::kWarn, what, detail); });
  return {};
}

std::shared_ptr<proxy::StickyTable> Agent::sessions() {
  // Endpoints get their numbers from the table: those given out before it was there have none.
  if (sticky_->keeper().table() == nullptr) endpoints_.reset();
  return sticky_->need_table();
}

void Agent::start_orders() {
  drivers::OrderDeskSettings settings;
  settings.self = raft_id_;
  drivers::OrderDeskCallbacks callbacks;
  callbacks.told = [this](std::size_t worker, proxy::OrderTicket ticket, proxy::OrderReply reply, std::function<void()> unclaimed) {
    return proxy_ && proxy_->tell(worker, [ticket, reply = std::move(reply), unclaimed = std::move(unclaimed)](proxy::Proxy& proxy) {
      if (!proxy.order_told(ticket, reply)) unclaimed();
    });
  };
  callbacks.recorded = [this](std::size_t worker, proxy::OrderTicket ticket, bool recorded, const proxy::OrderCommit& commit) {
    if (proxy_) proxy_->tell(worker, [=](proxy::Proxy& proxy) { proxy.order_recorded(ticket, recorded, commit); });
  };
  callbacks.log = [](std::string_view what, const std::string& detail) { log_line(LogLevel::kWarn, what, detail); };
  orders_ = std::make_unique<drivers::OrderDesk>(*loop_, settings, std::move(callbacks));
  orders_->use(store_.get());
}

namespace {
/// Lines and spans that nobody gets are told once, and so is the end of that.
void log_lost_news(drivers::ProxyDriverCallbacks& callbacks) {
  callbacks.on_access_log = [](const std::string& why) {
    if (why.empty()) return log_line(LogLevel::kInfo, "access_log_written", "the access log takes lines again");
    log_line(LogLevel::kError, "access_log_lost", why + "; lines are lost and counted until it can be written again");
  };
  callbacks.on_spans = [](const std::string& why) {
    if (why.empty()) return log_line(LogLevel::kInfo, "spans_exported", "the collector takes spans again");
    log_line(LogLevel::kWarn, "spans_not_exported", why + "; they wait as long as there is room, then they are dropped and counted");
  };
}
}  // namespace

io::Result<void> Agent::start_proxy() {
  if (proxy_) {  // it has served on while the rest was gone; sessions begin anew with the store
    orders_->use(store_.get());
    auto routes = route_table(config_, route_table_.get(), [this] { return sessions(); });
    if (!routes) return tl::make_unexpected(routes.error());
    route_table_ = *routes;
    sticky_->routes_changed();
    proxy_->publish_routes(*routes);
    start_traffic();
    start_health();
    return start_upstreams();
  }
  auto settings = proxy_settings(config_);
  if (!settings) return tl::make_unexpected(settings.error());
  guard_table_ = settings->guard;
  start_orders();
  settings->ledger = [this](std::size_t worker) { return orders_->ledger_for(worker); };
  settings->accepting = false;  // who comes early waits in the kernel until there are routes
  settings->peer_tls = peer_tls_;
  if (!peer_tls_) settings->peer_preface = drivers::kHttpPreface;
  if (config_.service) {
    auto tls = instance_tls(*config_.service, io::wall_ms());
    if (!tls) return tl::make_unexpected(tls.error());
    settings->instance_tls = std::move(*tls);
  }
  auto access_log = access_log_settings(config_);
  if (!access_log) return tl::make_unexpected(access_log.error());
  settings->access_log = std::move(*access_log);
  auto spans = span_settings(config_, io::wall_ms());
  if (!spans) return tl::make_unexpected(spans.error());
  settings->spans = std::move(*spans);
  if (settings->spans) settings->spans->schemes = {settings->instance_tls.has_value(), peer_tls_ != nullptr};
  auto policies = listen_tls_.load(config_.listeners, io::wall_ms());
  if (!policies) return tl::make_unexpected(policies.error());
  auto listeners = proxy_listeners(config_, std::move(*policies));
  if (!listeners) return tl::make_unexpected(listeners.error());
  settings->listeners = std::move(*listeners);
  warn_of_certificates();
  auto routes = route_table(config_, nullptr, [this] { return sessions(); });
  if (!routes) return tl::make_unexpected(routes.error());
  drivers::ProxyDriverCallbacks callbacks;
  callbacks.on_trouble = [this](const proxy::Endpoint& endpoint, proxy::Trouble) {
    if (endpoint.kind == proxy::EndpointKind::kLocal && checks_) checks_->check_now();
    if (endpoint.kind == proxy::EndpointKind::kStatic && upstreams_) upstreams_->check_now(endpoint.id);
  };
  callbacks.on_orders_drained = [this](const std::string&, proxy::Epoch epoch) {
    if (primary_) primary_->on_orders_drained(Epoch{static_cast<std::uint64_t>(epoch)});
  };
  callbacks.on_health_news = [this] {
    if (health_) health_->look();
    if (guard_) guard_->look();
  };
  callbacks.on_rate_questions = [this](proxy::RateMemberId owner, std::string frame) { rates_->ask(owner, std::move(frame)); };
  log_lost_news(callbacks);
  auto proxy = drivers::ProxyDriver::start(*loop_, std::move(*settings), std::move(callbacks));
  if (!proxy) return tl::make_unexpected(proxy.error());
  proxy_ = std::move(*proxy);
  watch_workers();
  route_table_ = *routes;
  rates_->set_routes(*route_table_);
  sticky_->routes_changed();
  start_traffic();
  start_health();
  if (auto started = start_upstreams(); !started) return started;
  proxy_->publish_routes(*routes);
  if (!taking_over_) proxy_->start_accepting();
  return {};
}

io::Result<void> Agent::start_service() {
  if (!config_.service) return {};
  auto checks = check_settings(*config_.service);
  if (!checks) return tl::make_unexpected(checks.error());
  auto tls = instance_tls(*config_.service, io::wall_ms());
  if (!tls) return tl::make_unexpected(tls.error());
  for (std::size_t i = 0; *tls && i < checks->size(); ++i) {
    // Another place than the instance's own speaks plainly.
    if (i > 0 && config_.service->checks[i - 1].address) continue;
    (*checks)[i].tls = (*tls)->context;
    (*checks)[i].server_name = (*tls)->server_name;
  }
  if (!config_.service->metrics.empty()) {
    const drivers::CheckSettings& health = checks->front();
    app_metrics_ = std::make_unique<drivers::AppMetrics>(*loop_, drivers::AppMetricsSettings{health.address, health.host, config_.service->metrics,
                                                                                             health.preface, health.tls, health.server_name, config_.node.name});
  }
  auto settings = primary_settings(config_, raft_id_);
  if (!settings) return tl::make_unexpected(settings.error());
  checks_ = std::make_unique<drivers::CheckDriver>(*loop_, std::move(*checks), [this](drivers::InstanceHealth health, const std::string& reason) {
    on_instance(health, reason);
  });
  PrimaryDriverCallbacks callbacks;
  callbacks.on_change = [this] { on_role_change(); };
  callbacks.drain_orders = [] {};  // the view that is published with the change asks the workers for it
  callbacks.log = [this](std::string_view what, const std::string& detail) {
    log_line(LogLevel::kInfo, what, detail);
    note_role(what, detail);
  };
  if (kernel_permit_) {  // without it: the lease runs out by itself
    callbacks.before_release = [this](std::function<void()> go) { if (kernel_permit_) kernel_permit_->shut(std::move(go)); };
  }
  primary_ = std::make_unique<PrimaryDriver>(*loop_, std::move(*settings), *store_, chance, std::move(callbacks));
  primary_->on_trouble(own_trouble());
  if (auto armed = start_arming(); !armed) return armed;
  checks_->start();
  watch_switchover();
  return {};
}

io::Result<void> Agent::start_api() {
  auto listen = address_of(config_.api.listen, "api.listen");
  if (!listen) return tl::make_unexpected(listen.error());
  start_catalog();
  OperatorParts operators;
  operators.loop = loop_.get();
  operators.store = store_.get();
  operators.raft = [this] { return backend_->raft(); };
  operators.name = config_.node.name;
  operators.version = OUTRIGGER_VERSION;
  operators.spool_directory = identity_.data_dir.string();
  operators.write_timeout = config_.raft.write_timeout;
  operators.routes = [this] { return route_table_; };
  operators.halts = [this] { return halts_.get(); };
  operators.audit = [this] { return audit_.get(); };
  operators.plans = [this] { return &plans_; };
  operator_ = std::make_unique<AgentOperator>(std::move(operators));
  requests_ = std::make_unique<AgentRequests>(*loop_, *proxy_, config_.node.name, config_.proxy.trail_bytes > 0);
  start_traces();
  requests_->set_egress([this](const drivers::EgressTotals* totals) { return egress_info(totals); });
  start_order_api();
  backend_ = std::make_unique<AgentBackend>(backend_parts());
  api::ServerOptions options;
  options.listen = *listen;
  options.connection.spool_directory = identity_.data_dir.string();
  options.limits.session_ttl_min = config_.api.session_ttl_min;
  auto server = api::Server::start(*loop_, *backend_, chance, std::move(options));
  if (!server) return tl::make_unexpected(server.error());
  server_ = std::move(*server);
  stop_timer_ = std::make_unique<io::Timer>(*loop_, [this] { step_down(); });
  return {};
}

io::Result<void> Agent::start_dns() {
  if (!config_.dns.enabled || backend_->catalog() == nullptr) return {};
  auto settings = dns_settings(config_);
  if (!settings) return tl::make_unexpected(settings.error());
  dns_catalog_ = std::make_unique<DnsCatalog>(*backend_->catalog(), [this] { return applied(); });
  auto dns = drivers::DnsDriver::start(*loop_, std::move(*settings), *dns_catalog_, chance);
  if (!dns && config_.dns.listen_is_default && dns.error().code == io::Errc::kAddressInUse) {
    log_line(LogLevel::kWarn, "dns_off", dns.error().detail + "; this agent goes on without DNS, since nobody asked for this port");
    return {};
  }
  if (!dns) return tl::make_unexpected(dns.error());
  dns_ = std::move(*dns);
  // A copy read back from disk may be old, but it is one; answers never wait for a leader.
  if (applied() != 0)
    dns_catalog_->set_ready();
  else
    await_catalog();
  return {};
}

void Agent::await_catalog() {
  backend_->read_barrier(api::ReadMode::kConsistent, [this](const api::Result<api::ReadInfo>& level) {
    if (level) return dns_catalog_->set_ready();
    later(io::boottime_now() + kCatalogAgain, [this] { await_catalog(); });
  });
}

BackendParts Agent::backend_parts() {
  BackendParts parts;
  parts.operators = [this] { return operator_.get(); };
  parts.requests = [this] { return requests_.get(); };
  parts.orders = [this] { return order_api_.get(); };
  parts.unarmed = [this] { return unarmed(); };
  parts.flight = [this] { return flight_.get(); };
  parts.config = &config_;
  parts.loop = loop_.get();
  parts.store = store_.get();
  parts.primary = primary_.get();
  parts.checks = checks_.get();
  parts.catalog = catalog_.get();
  parts.halts = [this] { return halts_.get(); };
  parts.audit = [this] { return audit_.get(); };
  parts.sticky = &sticky_->keeper();
  parts.health = health_.get();
  parts.upstreams = upstreams_.get();
  parts.app_metrics = app_metrics_.get();
  parts.traffic = traffic_.get();
  parts.guard = guard_.get();
  parts.app_breakers = &app_breakers_;
  parts.is_pushed_out = [this](const std::string& node) { return is_pushed_out(node); };
  parts.members = [this] { return gossip_->core().members(); };
  parts.gossip_counters = [this] { return gossip_->core().counters(); };
  parts.endpoints = [this] { return endpoints_.value_or(proxy::EndpointTable{}); };
  parts.mesh_connected = [this](store::NodeId id) {
    for (const auto& peer : mesh_->peers()) {
      if (peer.node == id) return peer.connected;
    }
    return false;
  };
  parts.proxy_status = [this](std::function<void(ProxyStatus)> done) {
    proxy_->totals([done = std::move(done), table = route_table_, answered = rates_->counters()](drivers::ProxyTotals totals) {
      done(ProxyStatus{totals.counters, std::move(totals.endpoints), std::move(totals.routes), table, totals.tls, totals.access_log,
                       totals.spans, totals.headers, totals.hellos, std::move(totals.relays), std::move(totals.rates), answered, std::move(totals.egress), totals.workers_missing});
    });
  };
  parts.join = [this](const std::vector<std::string>& addresses, api::Completion<std::size_t> done) { join(addresses, std::move(done)); };
  parts.leave = [this](api::Completion<std::monostate> done) {
    leave_done_.push_back(std::move(done));
    begin_stop(true);
  };
  parts.drain = [this](bool enable, api::Completion<std::monostate> done) { drain(enable, std::move(done)); };
  parts.dns = [this] { return dns_.get(); };
  parts.draining = [this] { return draining_; };
  parts.hung_workers = [this] { return pulse_ ? pulse_->hung() : std::size_t{0}; };
  parts.listen_tls = &listen_tls_;
  parts.reloads = [this] { return std::pair(reloads_, reloads_refused_); };
  parts.id = identity_.id.to_string();
  parts.raft_id = raft_id_;
  parts.api_address = config_.api.listen.text();
  parts.mesh_address = mesh_->local_address().to_string();
  parts.gossip_address = gossip_->local_address().to_string();
  return parts;
}

int Agent::run() {
  io::release_code_pages();  // far more than the day needs, the start of RocksDB above all
  loop_->run();
  const auto part_hangs = [] {
    log_line(LogLevel::kError, "stop_cut_short", "a disk or a worker that hangs did not let this agent end; what was acknowledged is on the disk");
    close_log();
  };
  take_down_ = io::TimeLimit::set(kTakeDownWait, part_hangs, 1);
  if (primary_) primary_->stop_telling();
  audit_.reset();  // it writes what was signed, and may have to say that it could not
  log_line(LogLevel::kInfo, "stopped", exit_code_ == 0 ? "in good order" : "after a fault");
  return exit_code_;
}

std::optional<std::string> check_condition(std::string_view text) {
  const auto parsed = drivers::JsonAssert::parse(text);
  return parsed ? std::nullopt : std::optional(parsed.error().detail);
}

int run_agent(const Config& config, const ConfigSource& source) {
  io::ignore_sigpipe();
  open_log(config.node.log_level, config.node.name);
  for (const std::string& warning : config.warnings) log_line(LogLevel::kWarn, "setting_ignored", warning);
  if (const auto clock = io::clock_source(); clock && io::stops_with_machine(*clock)) {
    log_line(LogLevel::kWarn, "clock_stops_with_machine", "the clock of this machine is " + *clock + ": if the hypervisor pauses it, its leases do not run out meanwhile; " +
                                                              "use clocksource=tsc, and have the broker's side refuse old epochs (operations.md)");
  }
  auto activated = io::take_activated_sockets();
  if (!activated) {
    std::fprintf(stderr, "outrigger: cannot start: %s\n", activated.error().detail.c_str());
    close_log();
    return 1;
  }
  Agent agent(config, source);
  if (auto started = agent.start(); !started) {
    log_line(LogLevel::kError, "start_failed", started.error().detail);
    std::fprintf(stderr, "outrigger: cannot start: %s\n", started.error().detail.c_str());
    close_log();
    return 1;
  }
  const int code = agent.run();
  close_log();
  return code;
}

}  // namespace agent
