// The agent's numbers as metric families: names, types and labels stand here and nowhere else.
#include <limits>
#include <utility>

#include "agent/audit.h"
#include "agent/backend.h"
#include "agent/backend_orders.h"
#include "agent/drivers/app_metrics.h"
#include "agent/drivers/egress_worker.h"
#include "agent/metrics_families.h"
#include "agent/route_content.h"

namespace agent {
namespace {

using api::MetricFamily;
using api::MetricSample;
using Labels = MetricLabels;

/// Buckets of a size that programs ask for; the figures behind them are exact to 1 %.
MetricSample histogram_sample(Labels labels, const proxy::Histogram& times) {
  static constexpr int kMicroseconds[] = {100, 250, 500, 1000, 2500, 5000, 10'000, 25'000, 50'000, 100'000, 250'000, 500'000,
                                          1'000'000, 2'500'000, 5'000'000, 10'000'000, 30'000'000};
  MetricSample sample{std::move(labels), static_cast<double>(times.sum().count()) / 1e9, {}};
  for (const int us : kMicroseconds)
    sample.buckets.emplace_back(static_cast<double>(us) / 1e6, times.count_up_to(std::chrono::microseconds(us)));
  sample.buckets.emplace_back(std::numeric_limits<double>::infinity(), times.count());
  return sample;
}

void add_primary(Families& out, const BackendParts& parts) {
  if (parts.primary == nullptr) return;
  const RoleState& state = parts.primary->role_state();
  const Labels service{{"service", parts.primary->service()}};
  const auto epoch = static_cast<double>(static_cast<std::uint64_t>(state.epoch));
  out.add("role_primary", "1 while this agent is primary", MetricFamily::Type::kGauge,
          {{service, state.role == Role::kPrimary ? 1.0 : 0.0, {}}});
  out.add("epoch", "Newest epoch known here", MetricFamily::Type::kGauge, {{service, epoch, {}}});
  out.add("instance_health", "0 unknown, 1 passing, 2 degraded, 3 critical, 4 gone", MetricFamily::Type::kGauge,
          {{service, static_cast<double>(parts.checks->health()), {}}});
  out.counter("checks_total", "Health checks made", parts.checks->check_count());
  out.counter("check_failures_total", "Health checks failed", parts.checks->failure_count());
}

/// Checks of the services registered here; those of [service] are above.
void add_service_checks(Families& out, const drivers::ServiceChecks& checks) {
  out.gauge("service_checks", "Checks of registered services that run here", static_cast<double>(checks.size()));
  out.gauge("service_checks_running", "Runs of them under way now", static_cast<double>(checks.running()));
  const drivers::ServiceCheckCounters& counters = checks.counters();
  out.counter("service_check_redirects_total", "Redirects that HTTP checks have followed", counters.redirects);
  const auto sample = [](const char* reason, std::uint64_t count) {
    return MetricSample{{{"reason", reason}}, static_cast<double>(count), {}};
  };
  out.add("service_check_refusals_total", "Answers to HTTP checks that were not gone into, by reason", MetricFamily::Type::kCounter,
          {sample("certificate", counters.certificates_refused), sample("tls", counters.tls_failed),
           sample("redirect_loop", counters.redirect_loops), sample("redirect_target", counters.redirects_refused)});
}

void add_store(Families& out, const BackendParts& parts) {
  const store::Store& core = parts.store->core();
  const store::Status status = core.status(io::boottime_now());
  out.gauge("raft_term", "Term of this node", static_cast<double>(status.term.value));
  out.gauge("raft_commit_index", "Commit index", static_cast<double>(status.commit.value));
  out.gauge("raft_applied_index", "Applied index", static_cast<double>(status.applied.value));
  out.gauge("raft_log_entries", "Entries in the log window", static_cast<double>(status.last.value - status.first.value + 1));
  out.gauge("raft_is_leader", "1 while this node leads", status.role == store::raft::Role::kLeader ? 1 : 0);
  out.gauge("raft_has_leader", "1 while a leader is known", status.leader ? 1 : 0);
  const store::Counters counters = core.counters();
  out.counter("store_writes_total", "Writes asked of this agent", counters.writes);
  out.counter("store_writes_forwarded_total", "Writes sent on to the leader", counters.writes_forwarded);
  out.counter("store_reads_total", "Reads asked of this agent", counters.reads);
  out.counter("store_lease_renewals_total", "Lease renewals asked of this agent", counters.renewals);
  out.counter("store_lease_expires_total", "Leases that this node, as leader, let expire", counters.expires);
  out.counter("store_frames_refused_total", "Frames of peers refused: malformed, foreign, over a bound",
              counters.frames_malformed + counters.frames_foreign + counters.frames_refused);
  out.counter("store_snapshots_sent_total", "Snapshots streamed to followers", counters.snapshots_sent);
  out.counter("store_snapshots_installed_total", "Snapshots installed here", counters.snapshots_installed);
  out.counter("store_snapshots_resumed_total", "Snapshots to followers that went on after a lost connection", counters.snapshots_resumed);
  out.counter("store_snapshots_refused_total", "Arriving snapshots refused: damaged, cut short, of another cluster", counters.snapshots_refused);
  out.counter("store_snapshots_failed_total", "Snapshots to followers that were given up", counters.snapshots_failed);
  out.counter("store_writes_refused_disk_full_total", "Writes refused early because the disk is nearly full", counters.writes_refused_disk_full);
  out.counter("store_appends_dropped_disk_full_total", "Entries of the leader not taken for want of room", counters.appends_dropped_disk_full);
  out.gauge("order_clock_ahead_seconds", "Wall clock of this agent less the times of orders as they are written; 0 also without orders", static_cast<double>(counters.wall_ahead_ms) / 1000.0);
  out.gauge("store_disk_hangs", "1 while the disk does not end a sync", core.disk_hangs() ? 1 : 0);
  out.counter("store_disk_hung_total", "Times that it did not for longer than store::Config::disk_hang", counters.disk_hangs);
  if (parts.hung_workers) out.gauge("workers_hung", "Workers that do not answer", static_cast<double>(parts.hung_workers()));
  out.gauge("store_disk_space", "Room on the disk: 0 plenty, 1 low, 2 full", static_cast<double>(status.space));
  const auto seconds = [](const std::optional<std::chrono::microseconds>& time) {
    return time ? std::chrono::duration<double>(*time).count() : 0.0;
  };
  out.gauge("store_sync_p50_seconds", "Median duration of a synced batch over the last minute", seconds(parts.store->disk_times().p50));
  out.gauge("store_sync_p99_seconds", "99th percentile of the same", seconds(parts.store->disk_times().p99));
  out.gauge("store_pending_writes", "Writes that wait", static_cast<double>(counters.pending_writes));
  out.gauge("store_pending_reads", "Reads and renewals that wait", static_cast<double>(counters.pending_reads));
  out.gauge("kv_entries", "Keys in the replicated state", static_cast<double>(core.state().entry_count()));
  out.gauge("kv_bytes", "Bytes of keys and values", static_cast<double>(core.state().entry_bytes()));
  const drivers::DiskTimes& times = parts.store->disk_times();
  MetricSample sync{{}, times.sum_ms / 1000.0, {}};
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < drivers::DiskTimes::kBucketMs.size(); ++i) {
    below += times.buckets[i];
    sync.buckets.emplace_back(drivers::DiskTimes::kBucketMs[i] / 1000.0, below);
  }
  sync.buckets.emplace_back(std::numeric_limits<double>::infinity(), times.count);
  out.add("store_sync_seconds", "Duration of one disk batch with its sync", MetricFamily::Type::kHistogram, {std::move(sync)});
}

void add_gossip(Families& out, const BackendParts& parts) {
  std::map<std::string, double> states;
  for (const gossip::Member& member : parts.members()) states[std::string(gossip::to_string(member.state))] += 1;
  std::vector<MetricSample> samples;
  for (const auto& [state, count] : states) samples.push_back({{{"state", state}}, count, {}});
  out.add("gossip_members", "Members by state", MetricFamily::Type::kGauge, std::move(samples));
  const gossip::Counters counters = parts.gossip_counters();
  out.counter("gossip_datagrams_in_total", "Datagrams received", counters.datagrams_in);
  out.counter("gossip_datagrams_out_total", "Datagrams sent", counters.datagrams_out);
  out.counter("gossip_bytes_in_total", "Bytes of datagrams received", counters.bytes_in);
  out.counter("gossip_bytes_out_total", "Bytes of datagrams sent", counters.bytes_out);
  out.counter("gossip_probes_total", "Probes begun", counters.probes);
  out.counter("gossip_probes_failed_total", "Probes without any answer", counters.probes_failed);
  out.counter("gossip_suspicions_total", "Members that became suspect here", counters.suspicions);
  out.counter("gossip_deaths_total", "Members that became dead here", counters.deaths);
  out.counter("gossip_refutations_total", "Claims about ourselves that we contradicted", counters.refutations);
  out.counter("gossip_pauses_total", "Times that this process was frozen", counters.pauses);
  std::vector<MetricSample> drops;
  for (std::size_t i = 0; i < counters.drops.size(); ++i) {
    drops.push_back({{{"reason", std::string(gossip::to_string(static_cast<gossip::Drop>(i)))}},
                     static_cast<double>(counters.drops[i]), {}});
  }
  out.add("gossip_drops_total", "Input thrown away, by reason", MetricFamily::Type::kCounter, std::move(drops));
}

// Orders under keys.
void add_orders(Families& out, const proxy::Counters& c) {
  out.counter("orders_reserved_total", "Orders whose key was reserved in the ledger before they were sent", c.orders_reserved);
  out.counter("orders_recorded_total", "Answers to orders that were recorded before they were passed on", c.orders_recorded);
  out.counter("orders_replayed_total", "Repeated orders that got the recorded answer", c.orders_replayed);
  out.counter("orders_repeated_early_total", "Repeated orders that got 409: in flight, or unknown", c.orders_repeated_early);
  out.counter("orders_key_reused_total", "Orders that got 422: their key stands for another one", c.orders_key_reused);
  out.counter("orders_unkeyed_total", "Orders that got 400: no key, or none that is one", c.orders_unkeyed);
  out.counter("orders_keyless_total", "Orders that were sent without a key, since their route lets them (required = false)", c.orders_keyless);
  out.counter("orders_unreserved_total", "Orders that got 503 unsent: the ledger was full or could not be reached", c.orders_unreserved);
  out.counter("orders_unrecorded_total", "Answered orders whose answer the ledger did not take", c.orders_unrecorded);
  out.counter("orders_rules_differ_total", "Orders that got 503 unsent: the primary's agent has another idempotency rule for them, or none", c.orders_rules_differ);
  out.counter("orders_not_armed_total", "Orders refused because the primary was not armed; not sent", c.orders_not_armed);
  out.counter("orders_without_client_total", "Orders at the instance that went on when their client left", c.orders_without_client);
}

void add_proxy(Families& out, const ProxyStatus& status) {
  const proxy::Counters& c = status.counters;
  out.counter("proxy_connections_total", "Downstream connections accepted", c.connections);
  out.counter("proxy_connections_refused_total", "Downstream connections over the limit or while draining", c.connections_refused);
  out.counter("proxy_requests_total", "Requests", c.requests);
  std::vector<MetricSample> classes;
  const std::pair<const char*, std::uint64_t> by_class[] = {{"1xx", c.responses_1xx}, {"2xx", c.responses_2xx},
      {"3xx", c.responses_3xx}, {"4xx", c.responses_4xx}, {"5xx", c.responses_5xx}};
  for (const auto& [name, count] : by_class) classes.push_back({{{"class", name}}, static_cast<double>(count), {}});
  out.add("proxy_responses_total", "Responses by class", MetricFamily::Type::kCounter, std::move(classes));
  out.counter("proxy_bytes_in_total", "Bytes from clients", c.bytes_in);
  out.counter("proxy_bytes_out_total", "Bytes to clients", c.bytes_out);
  out.counter("proxy_requests_malformed_total", "Requests refused by the parser", c.requests_malformed);
  out.counter("proxy_slow_bodies_total", "Requests whose body came below the least rate", c.slow_bodies);
  out.counter("proxy_slow_readers_total", "Clients that took their answer below the least rate", c.slow_readers);
  out.counter("proxy_upstream_connects_total", "Connections opened to endpoints", c.upstream_connects);
  out.counter("proxy_upstream_connect_failures_total", "Connects that failed", c.upstream_connect_failures);
  out.counter("proxy_upstream_reuses_total", "Requests on a pooled connection", c.upstream_reuses);
  out.counter("proxy_upstream_resets_total", "Upstream connections broken", c.upstream_resets);
  out.counter("proxy_retries_total", "Safe requests tried elsewhere", c.retries);
  out.counter("proxy_retries_denied_total", "Retries that the budget refused", c.retries_denied);
  out.counter("ejections_total", "Endpoints ejected because of live traffic", c.ejections);
  out.counter("proxy_first_byte_timeouts_total", "Answers that did not begin in time", c.first_byte_timeouts);
  out.counter("proxy_held_total", "Requests held for a primary", c.held);
  out.counter("proxy_held_expired_total", "Held requests that waited in vain", c.held_expired);
  out.counter("proxy_held_refused_total", "Requests refused because the hold queue was full", c.held_refused);
  out.counter("orders_sent_total", "Attempts on primary routes that reached the local instance", c.orders_sent);
  out.counter("orders_unknown_total", "Requests on primary routes that ended with outcome unknown", c.orders_unknown);
  add_orders(out, c);
  out.counter("lease_stops_total", "Exchanges ended because the lease was over", c.lease_stops);
  out.counter("lease_writes_denied_total", "Writes that the lease check stopped", c.writes_denied);
  out.counter("lease_late_writes_total", "Writes after which the clock stood past the end of the lease", c.late_lease_writes);
  out.counter("proxy_tunnels_total", "Upgraded connections", c.tunnels);
  out.counter("proxy_tunnels_told_total", "Upgraded connections whose client got Close 1012: a drain, or their instance was lost", c.tunnels_told);
  out.counter("proxy_h2_connections_total", "Downstream connections that spoke HTTP/2", c.h2_connections);
  out.counter("proxy_h2_streams_total", "HTTP/2 streams that clients have opened", c.h2_streams);
  out.counter("proxy_h2_resets_total", "HTTP/2 streams that clients have reset", c.h2_resets);
  out.counter("proxy_h2_streams_refused_total", "HTTP/2 streams over a bound; clients may try them again", c.h2_streams_refused);
  out.counter("proxy_h2_malformed_total", "HTTP/2 streams reset because of what the client sent", c.h2_malformed);
  out.counter("proxy_h2_head_timeouts_total", "HTTP/2 connections whose preface or head did not come in time", c.h2_head_timeouts);
  std::vector<MetricSample> floods;
  const char* const kinds[] = {"resets", "control", "head_frames", "empty_data", "window_updates"};
  for (std::size_t i = 0; i < c.h2_floods.size(); ++i) floods.push_back({{{"kind", kinds[i]}}, static_cast<double>(c.h2_floods[i]), {}});
  out.add("proxy_h2_floods_total", "HTTP/2 connections sent away with ENHANCE_YOUR_CALM, by what they did too often", MetricFamily::Type::kCounter,
          std::move(floods));
  out.gauge("proxy_h2_streams_open", "HTTP/2 streams open now", static_cast<double>(c.h2_streams_open));
  out.gauge("proxy_open_connections", "Downstream connections open now", static_cast<double>(c.open_connections));
  out.gauge("proxy_open_exchanges", "Requests under way now", static_cast<double>(c.open_exchanges));
  out.gauge("proxy_held", "Requests held now", static_cast<double>(c.held_now));
  out.gauge("proxy_upstream_open", "Upstream connections open now", static_cast<double>(c.upstream_open));
  out.gauge("proxy_upstream_idle", "Upstream connections idle now", static_cast<double>(c.upstream_idle));
  std::vector<MetricSample> requests, failures;
  for (const auto& one : status.endpoints) {
    const Labels labels{{"pool", one.pool}, {"endpoint", one.address}};
    requests.push_back({labels, static_cast<double>(one.requests), {}});
    failures.push_back({labels, static_cast<double>(one.failures), {}});
  }
  out.add("upstream_requests_total", "Requests per endpoint", MetricFamily::Type::kCounter, std::move(requests));
  out.add("upstream_failures_total", "Failures per endpoint", MetricFamily::Type::kCounter, std::move(failures));
  std::vector<MetricSample> times;
  for (const auto& one : status.endpoints) times.push_back(histogram_sample({{"pool", one.pool}, {"endpoint", one.address}}, one.times));
  out.add("upstream_response_seconds", "Attempt begun to the end of its response, per endpoint", MetricFamily::Type::kHistogram, std::move(times));
}

void add_access_log(Families& out, const std::optional<drivers::AccessLogCounters>& log) {
  if (!log) return;
  out.counter("access_log_lines_total", "Lines written to the access log", log->lines);
  out.counter("access_log_dropped_total", "Requests without a line because its writer was behind", log->dropped);
  out.counter("access_log_lost_total", "Lines that file, output or syslog did not take", log->lost);
  out.counter("access_log_rotations_total", "Times that the access log began a new file", log->rotations);
}

/// Endpoints of pools as the control side sees them, and the checks that this agent makes of static ones.
void add_upstreams(Families& out, const BackendParts& parts) {
  std::vector<MetricSample> health, checks, failures;
  for (const proxy::PoolEndpoints& pool : parts.endpoints().pools) {
    for (const proxy::Endpoint& endpoint : pool.endpoints) {
      const Labels labels{{"pool", pool.pool}, {"endpoint", endpoint.address}};
      health.push_back({labels, 1.0 + static_cast<double>(endpoint.health), {}});
      const drivers::CheckDriver* driver = parts.upstreams == nullptr ? nullptr : parts.upstreams->find(endpoint.id);
      if (driver == nullptr) continue;
      checks.push_back({labels, static_cast<double>(driver->check_count()), {}});
      failures.push_back({labels, static_cast<double>(driver->failure_count()), {}});
    }
  }
  out.add("upstream_health", "1 passing, 2 degraded, 3 critical", MetricFamily::Type::kGauge, std::move(health));
  out.add("upstream_checks_total", "Checks made of endpoints of static upstreams", MetricFamily::Type::kCounter, std::move(checks));
  out.add("upstream_check_failures_total", "Of those, failed", MetricFamily::Type::kCounter, std::move(failures));
}

void add_health_words(Families& out, const HealthExchange* health) {
  if (health == nullptr) return;
  const HealthShare::Counters& words = health->counters();
  out.add("health_words_total", "What agents tell each other of endpoints", MetricFamily::Type::kCounter,
          {{{{"what", "told"}}, static_cast<double>(words.told), {}},
           {{{"what", "untold"}}, static_cast<double>(words.untold), {}},
           {{{"what", "heard"}}, static_cast<double>(words.heard), {}},
           {{{"what", "malformed"}}, static_cast<double>(words.malformed), {}},
           {{{"what", "doubted"}}, static_cast<double>(words.doubted), {}},
           {{{"what", "spared"}}, static_cast<double>(words.spared), {}}});
}

void add_flight(Families& out, const BackendParts& parts) {
  const AgentFlight* flight = parts.flight ? parts.flight() : nullptr;
  if (flight == nullptr) return;
  const FlightRecorder::Counters& c = flight->counters();
  out.add("flight_events_total", "Events for the incident page: noted here, and heard of other agents", MetricFamily::Type::kCounter,
          {{{{"what", "noted"}}, static_cast<double>(c.noted), {}}, {{{"what", "heard"}}, static_cast<double>(c.heard), {}},
           {{{"what", "known"}}, static_cast<double>(c.known), {}}, {{{"what", "refused"}}, static_cast<double>(c.refused), {}},
           {{{"what", "malformed"}}, static_cast<double>(flight->malformed()), {}}});
}

void add_spans(Families& out, const std::optional<drivers::SpanExportCounters>& spans) {
  if (!spans) return;
  out.counter("spans_exported_total", "Spans that the collector has taken", spans->spans.exported);
  const std::pair<const char*, std::uint64_t> reasons[] = {{"behind", spans->dropped_behind}, {"queue_full", spans->spans.dropped_full},
                                                           {"not_delivered", spans->spans.dropped_late}, {"rejected", spans->spans.rejected}};
  std::vector<MetricSample> dropped;
  for (const auto& [reason, count] : reasons) dropped.push_back({{{"reason", reason}}, static_cast<double>(count), {}});
  out.add("spans_dropped_total", "Spans that nobody will see, by reason", MetricFamily::Type::kCounter, std::move(dropped));
  out.counter("span_requests_total", "Requests to the collector, tries again included", spans->requests);
  out.add("spans_received_total", "Spans of applications; of those malformed and unread the requests", MetricFamily::Type::kCounter,
          {{{{"outcome", "taken"}}, static_cast<double>(spans->received), {}}, {{{"outcome", "over_rate"}}, static_cast<double>(spans->received_over), {}},
           {{{"outcome", "malformed"}}, static_cast<double>(spans->received_malformed), {}}, {{{"outcome", "unread"}}, static_cast<double>(spans->received_unread), {}}});
  out.gauge("traces_kept", "Traces that can be looked at here", static_cast<double>(spans->traces_kept));
  out.gauge("traces_kept_bytes", "What they take", static_cast<double>(spans->trace_bytes_kept));
}

/// What the instance says of itself in its health check.
void add_app_fields(Families& out, const drivers::CheckDriver* checks) {
  if (checks == nullptr) return;
  std::vector<MetricSample> samples;
  for (const auto& [name, value] : checks->fields()) samples.push_back({{{"field", name}}, value, {}});
  out.add("app_field", "Numbers and booleans in the body of the instance's health check", MetricFamily::Type::kGauge, std::move(samples));
}

void add_guard(Families& out, const GuardExchange* guard) {
  if (guard == nullptr) return;
  const proxy::GuardTable& table = guard->table();
  out.gauge("guard_bans", "Clients that are kept out now", static_cast<double>(table.bans_at(io::boottime_now()).size()));
  out.counter("guard_failures_total", "Answers to clients that counted as failures", table.failures());
  out.counter("guard_banned_total", "Clients banned for failures seen by this agent", table.banned());
  out.counter("guard_refused_total", "Requests and connections of banned clients", table.refused());
  out.counter("guard_untracked_total", "Failures and bans that the table had no room for", table.untracked());
  out.counter("guard_words_heard_total", "Bans and unbans that other agents have told", guard->heard());
  out.counter("guard_frames_malformed_total", "Frames about bans that could not be read", guard->malformed());
}

void add_app_metrics(Families& out, const drivers::AppMetrics* app) {
  if (app == nullptr) return;
  const drivers::AppMetricsCounters& counters = app->counters();
  out.gauge("app_metrics_up", "Whether the instance gave its metrics when they were asked for last", counters.up ? 1 : 0);
  out.counter("app_metrics_fetches_total", "Times that the instance was asked for its metrics", counters.fetches);
  out.counter("app_metrics_failures_total", "Of those, without an answer that could be used", counters.failures);
  out.counter("app_metrics_lines_dropped_total", "Lines that no scraper would take, or under names of the agent", counters.lines_dropped);
}

void add_app_breakers(Families& out, const AppBreakers* breakers) {
  if (breakers == nullptr) return;
  std::vector<MetricSample> states, opened;
  for (const auto& [name, breaker] : breakers->all()) {
    states.push_back({{{"name", name}}, static_cast<double>(breaker->state(AppBreakers::kPlace)), {}});
    opened.push_back({{{"name", name}}, static_cast<double>(breaker->opened()), {}});
  }
  out.add("app_breaker_state", "Of programs' own calls: 0 closed, 1 open, 2 half-open", MetricFamily::Type::kGauge, std::move(states));
  out.add("app_breaker_opened_total", "Times that such a breaker opened", MetricFamily::Type::kCounter, std::move(opened));
}

void add_breakers(Families& out, const ProxyStatus& status) {
  std::vector<MetricSample> states, opened;
  for (const proxy::Route& route : status.table->routes()) {
    if (route.breakers == nullptr) continue;
    opened.push_back({{{"route", route.name}}, static_cast<double>(route.breakers->opened()), {}});
    for (const auto& one : status.endpoints) {
      if (one.pool != route.pool) continue;
      states.push_back({{{"route", route.name}, {"endpoint", one.address}}, static_cast<double>(route.breakers->state(one.id)), {}});
    }
  }
  out.add("breaker_state", "0 closed, 1 open, 2 half-open", MetricFamily::Type::kGauge, std::move(states));
  out.add("breaker_opened_total", "Times that a breaker opened", MetricFamily::Type::kCounter, std::move(opened));
}

void add_cache(Families& out, const proxy::RouteTable& table) {
  const auto cache = cache_of(&table);
  if (cache == nullptr) return;
  const auto& c = cache->counts();
  std::vector<MetricSample> samples;
  const std::pair<const char*, std::uint64_t> results[] = {{"hit", c.hits}, {"miss", c.misses}, {"stale", c.stale}, {"collapsed", c.collapsed}, {"bypass", c.bypassed}};
  for (const auto& [result, count] : results) samples.push_back({{{"result", result}}, static_cast<double>(count), {}});
  out.add("cache_requests_total", "Requests of routes that keep answers, by what the cache did", MetricFamily::Type::kCounter, std::move(samples));
  out.counter("cache_stored_total", "Answers kept", c.stored);
  out.counter("cache_evicted_total", "Answers that went for want of room", c.evicted);
  out.counter("cache_purged_total", "Answers dropped at an operator's word", c.purged);
  out.gauge("cache_bytes", "Bytes of the answers kept now", static_cast<double>(cache->bytes()));
  out.gauge("cache_entries", "Answers kept now", static_cast<double>(cache->entries()));
}

/// One family with a sample for each route, or for each route and value of `label`.
struct RouteFamily {
  const char* name;
  const char* help;
  const char* label;  ///< null = the route alone
  std::vector<std::pair<const char*, std::uint64_t proxy::RouteCounters::*>> counters;  ///< value of `label`, where it is counted
};

const std::vector<RouteFamily>& route_families() {
  using C = proxy::RouteCounters;
  static const std::vector<RouteFamily> kFamilies = {
      {"route_requests_total", "Requests per route", nullptr, {{"", &C::requests}}},
      {"route_responses_total", "Answers per route, by class of status", "status",
       {{"2xx", &C::responses_2xx}, {"3xx", &C::responses_3xx}, {"4xx", &C::responses_4xx}, {"5xx", &C::responses_5xx}, {"none", &C::unanswered}}},
      {"route_body_bytes_total", "Bytes of bodies per route", "direction", {{"in", &C::request_bytes}, {"out", &C::response_bytes}}},
      {"route_refused_total", "Requests that a rule of the route refused, by reason", "reason",
       {{"address", &C::address_denied}, {"credentials", &C::unauthorized}, {"rate", &C::rate_limited}, {"concurrency", &C::busy},
        {"queue_full", &C::queue_full}, {"queue_timeout", &C::queue_timeouts}, {"breaker", &C::breaker_denied}, {"halted", &C::halted}}},
      {"route_delayed_total", "Requests of a burst that waited for their turn", nullptr, {{"", &C::rate_delayed}}},
      {"route_queued_total", "Requests that waited for an endpoint with room", nullptr, {{"", &C::queued}}},
      {"route_hedges_total", "Second attempts at late requests: begun, answered first, not made for want of budget", "result",
       {{"begun", &C::hedges}, {"won", &C::hedges_won}, {"over_budget", &C::hedges_denied}}},
      {"compressed_total", "Responses compressed on their way", nullptr, {{"", &C::packed}}},
      {"compress_denied_total", "Responses left as they were because proxy.compress_streams_max were under way", nullptr, {{"", &C::packed_denied}}},
      {"compress_bytes_in_total", "Bytes before compression", nullptr, {{"", &C::packed_bytes_in}}},
      {"compress_bytes_out_total", "Bytes after compression", nullptr, {{"", &C::packed_bytes_out}}},
  };
  return kFamilies;
}

void add_cluster_limits(Families& out, const ProxyStatus& status) {
  const auto& routes = status.table->routes();
  const bool any = std::any_of(routes.begin(), routes.end(), [](const proxy::Route& route) { return route.admission.cluster_zone != nullptr; });
  if (any) {
    std::vector<MetricSample> decided;
    for (std::size_t i = 0; i < proxy::kRateSources; ++i) {
      const auto source = std::string(proxy::name_of(static_cast<proxy::RateSource>(i)));
      decided.push_back({{{"by", source}}, static_cast<double>(status.rates.decided[i]), {}});
    }
    out.add("ratelimit_cluster_decided_total", "Requests under limits of the cluster, by who decided or why nobody else did",
            MetricFamily::Type::kCounter, std::move(decided));
    out.counter("ratelimit_cluster_asked_total", "Questions to the agents that count a client", status.rates.asked);
    out.add("ratelimit_cluster_answer_seconds", "Question asked to its answer", MetricFamily::Type::kHistogram,
            {histogram_sample({}, status.rates.answered_in)});
  }
  const drivers::RateDriverCounters& c = status.rates_answered;
  out.counter("ratelimit_cluster_answered_total", "Questions of other agents that were counted here", c.answered);
  out.counter("ratelimit_cluster_turned_away_total", "Questions of other agents that could not be counted here", c.turned_away);
  out.counter("ratelimit_cluster_frames_malformed_total", "Frames of other agents about limits that could not be read", c.malformed);
  out.counter("ratelimit_cluster_frames_unsent_total", "Frames about limits that the mesh did not take", c.unsent);
}

void add_routes(Families& out, const ProxyStatus& status) {
  for (const RouteFamily& family : route_families()) {
    std::vector<MetricSample> samples;
    for (const auto& one : status.routes) {
      for (const auto& [value, counter] : family.counters) {
        Labels labels{{"route", one.name}};
        if (family.label != nullptr) labels.emplace_back(family.label, value);
        samples.push_back({std::move(labels), static_cast<double>(one.counters.*counter), {}});
      }
    }
    out.add(family.name, family.help, MetricFamily::Type::kCounter, std::move(samples));
  }
  std::vector<MetricSample> times;
  for (const auto& one : status.routes) times.push_back(histogram_sample({{"route", one.name}}, one.times));
  out.add("route_request_seconds", "Head received to the end of the response, per route", MetricFamily::Type::kHistogram, std::move(times));
  if (status.table == nullptr) return;
  add_breakers(out, status);
  add_cache(out, *status.table);
  add_cluster_limits(out, status);
  std::map<std::string, const proxy::RateTable*> zones;
  for (const proxy::Route& route : status.table->routes()) {
    if (route.admission.rate_table != nullptr) zones[route.admission.rate_zone] = route.admission.rate_table.get();
  }
  std::vector<MetricSample> rejected, evicted;
  for (const auto& [zone, table] : zones) {
    rejected.push_back({{{"zone", zone}}, static_cast<double>(table->rejected()), {}});
    evicted.push_back({{{"zone", zone}}, static_cast<double>(table->evicted()), {}});
  }
  out.add("ratelimit_rejected_total", "Requests over a rate limit", MetricFamily::Type::kCounter, std::move(rejected));
  out.add("ratelimit_evicted_total", "Clients that made room for others in a full table of limits", MetricFamily::Type::kCounter, std::move(evicted));
}

void add_sticky(Families& out, const StickyKeeper* keeper) {
  if (keeper == nullptr || keeper->table() == nullptr) return;
  const proxy::StickyTable& table = *keeper->table();
  const StickyCounters& c = keeper->counters();
  out.gauge("sticky_entries", "Sessions that this agent knows", static_cast<double>(table.entries()));
  out.gauge("sticky_rows", "Sessions written down for all agents", static_cast<double>(keeper->row_count()));
  out.counter("sticky_moved_total", "Sessions put elsewhere by this agent because their node could not take them", table.moved());
  out.counter("sticky_evicted_total", "Sessions that made room for others in a full table", table.evicted());
  out.counter("sticky_rows_written_total", "Rows of sessions written by this agent, refreshes and removals among them", c.rows_written);
  out.counter("sticky_rows_refused_total", "Rows that another agent had changed first", c.refused);
  out.counter("sticky_rows_expired_total", "Rows of sessions not used for their time to live, removed by this agent as leader", c.expired);
  out.counter("sticky_hash_only_total", "Times that a session was left without a row because there are too many", c.hash_only);
}

void add_headers(Families& out, const drivers::ProxyHeaderCounters& c) {
  const auto sample = [](const char* result, std::uint64_t count) { return MetricSample{{{"result", result}}, static_cast<double>(count), {}}; };
  out.add("proxy_protocol_headers_total", "PROXY protocol headers of clients' connections, by result", MetricFamily::Type::kCounter,
          {sample("told", c.told), sample("local", c.local), sample("malformed", c.malformed), sample("timed_out", c.timed_out),
           sample("closed", c.closed), sample("too_many", c.refused)});
}

void add_hellos(Families& out, const drivers::HelloCounters& c) {
  const auto sample = [](const char* result, std::uint64_t count) { return MetricSample{{{"result", result}}, static_cast<double>(count), {}}; };
  out.add("tcp_client_hellos_total", "First TLS messages of clients that choose a TCP route by name, by result", MetricFamily::Type::kCounter,
          {sample("named", c.named), sample("fallback", c.fallback), sample("unknown", c.unknown), sample("malformed", c.malformed),
           sample("timed_out", c.timed_out), sample("closed", c.closed), sample("too_many", c.refused)});
}

void add_relays(Families& out, const std::map<std::string, proxy::RelayCounters>& relays) {
  if (relays.empty()) return;
  const auto family = [&](const char* name, const char* help, MetricFamily::Type type, std::uint64_t proxy::RelayCounters::* field) {
    std::vector<MetricSample> samples;
    for (const auto& [route, counters] : relays) samples.push_back({{{"route", route}}, static_cast<double>(counters.*field), {}});
    out.add(name, help, type, std::move(samples));
  };
  using C = proxy::RelayCounters;
  constexpr auto kCounter = MetricFamily::Type::kCounter;
  family("tcp_connections_total", "Connections of TCP routes", kCounter, &C::connections);
  family("tcp_connections_refused_total", "Connections over connections_max", kCounter, &C::refused);
  family("tcp_halted_total", "Connections of TCP routes refused or reset because of an order to stop", kCounter, &C::halted);
  family("tcp_no_endpoint_total", "Connections that found nobody, or no primary in time", kCounter, &C::no_endpoint);
  family("tcp_connect_failures_total", "Attempts that failed", kCounter, &C::connect_failures);
  family("tcp_bytes_in_total", "Bytes from clients", kCounter, &C::bytes_in);
  family("tcp_bytes_out_total", "Bytes to clients", kCounter, &C::bytes_out);
  family("tcp_idle_timeouts_total", "Connections closed for their silence", kCounter, &C::idle_timeouts);
  family("tcp_lease_stops_total", "Connections cut because the lease was over or the primary moved", kCounter, &C::lease_stops);
  family("tcp_late_lease_writes_total", "Writes after which the lease stood at its end", kCounter, &C::late_lease_writes);
  family("tcp_open_connections", "Connections open now", MetricFamily::Type::kGauge, &C::open);
}

void add_egress(Families& out, const drivers::EgressTotals* totals) {
  if (totals == nullptr || totals->by_name.empty()) return;
  constexpr auto kCounter = MetricFamily::Type::kCounter;
  std::vector<MetricSample> refused, resets, bytes, requests;
  for (const auto& [name, c] : totals->by_name) {
    for (std::size_t i = 1; i < c.refused.size(); ++i)
      refused.push_back({{{"egress", name}, {"reason", std::string(proxy::name_of(static_cast<proxy::EgressVerdict>(i)))}}, static_cast<double>(c.refused[i]), {}});
    refused.push_back({{{"egress", name}, {"reason", "unreadable"}}, static_cast<double>(c.unreadable), {}});
    refused.push_back({{{"egress", name}, {"reason", "no_credential"}}, static_cast<double>(c.incomplete), {}});
    const auto halted = totals->halted.find(name);
    refused.push_back({{{"egress", name}, {"reason", "halted"}}, halted == totals->halted.end() ? 0.0 : static_cast<double>(halted->second), {}});
    resets.push_back({{{"egress", name}}, static_cast<double>(c.resets), {}});
    bytes.push_back({{{"egress", name}, {"direction", "out"}}, static_cast<double>(c.bytes_out), {}});
    bytes.push_back({{{"egress", name}, {"direction", "in"}}, static_cast<double>(c.bytes_in), {}});
  }
  for (const auto& [name, count] : totals->requests) requests.push_back({{{"egress", name}}, static_cast<double>(count), {}});
  out.add("egress_requests_total", "Requests and connections of the service to its brokers", kCounter, std::move(requests));
  out.add("egress_refused_total", "Those that were not let out, by reason", kCounter, std::move(refused));
  out.add("egress_resets_total", "Connections to brokers cut because the permit was gone", kCounter, std::move(resets));
  out.add("egress_bytes_total", "Bytes to and from brokers", kCounter, std::move(bytes));
  out.counter("egress_writes_denied_total", "Writes to brokers that the permit stopped before their first byte", totals->writes_denied);
  out.counter("egress_late_writes_total", "Writes to brokers after which the lease stood at its end", totals->late_writes);
}

void add_tls(Families& out, const BackendParts& parts, const drivers::TlsCounters& c) {
  const auto sample = [](const char* label, const char* value, std::uint64_t count) {
    return MetricSample{{{label, value}}, static_cast<double>(count), {}};
  };
  out.add("tls_handshakes_total", "TLS handshakes with clients, by version", MetricFamily::Type::kCounter,
          {sample("version", "1.2", c.tls12), sample("version", "1.3", c.tls13)});
  out.add("tls_handshake_failures_total", "TLS handshakes with clients that failed, by reason", MetricFamily::Type::kCounter,
          {sample("reason", "certificate", c.certificate), sample("reason", "protocol", c.protocol), sample("reason", "timed_out", c.timed_out),
           sample("reason", "closed", c.closed), sample("reason", "too_many", c.refused)});
  if (parts.listen_tls != nullptr) {
    const ListenTls::Tickets tickets = parts.listen_tls->tickets();
    out.add("tls_tickets_total", "Session tickets: issued, accepted, refused", MetricFamily::Type::kCounter,
            {sample("result", "issued", tickets.issued), sample("result", "accepted", tickets.accepted), sample("result", "refused", tickets.refused)});
    std::vector<MetricSample> ends;
    for (const CertificateStatus& one : parts.listen_tls->certificates()) {
      ends.push_back({{{"listener", one.listener}, {"file", one.file}, {"name", one.common_name}}, static_cast<double>(one.not_after_ms) / 1000.0, {}});
    }
    out.add("tls_certificate_expiry_timestamp_seconds", "Unix time at which a certificate of a listener ends", MetricFamily::Type::kGauge, std::move(ends));
  }
  if (!parts.reloads) return;
  const auto [applied, refused] = parts.reloads();
  out.add("reloads_total", "Settings read again, by result", MetricFamily::Type::kCounter,
          {sample("result", "applied", applied), sample("result", "refused", refused)});
}

void add_dns(Families& out, const drivers::DnsDriver* dns) {
  out.gauge("dns_up", "1 while DNS is served", dns != nullptr ? 1 : 0);
  if (dns == nullptr) return;
  const dns::ResolverCounters& core = dns->core().counters();
  const auto sample = [](const char* label, std::string_view value, std::uint64_t count) {
    return MetricSample{{{label, std::string(value)}}, static_cast<double>(count), {}};
  };
  out.add("dns_queries_total", "DNS messages received, by transport", MetricFamily::Type::kCounter,
          {sample("transport", "udp", core.queries[static_cast<std::size_t>(dns::Transport::kUdp)]),
           sample("transport", "tcp", core.queries[static_cast<std::size_t>(dns::Transport::kTcp)])});
  std::vector<MetricSample> answers, malformed;
  for (const auto& [code, count] : core.answers) answers.push_back(sample("rcode", dns::to_string(code), count));
  for (const auto& [fault, count] : core.malformed) malformed.push_back(sample("reason", dns::to_string(fault), count));
  out.add("dns_answers_total", "DNS answers by code", MetricFamily::Type::kCounter, std::move(answers));
  out.add("dns_malformed_total", "DNS messages that are no query, by reason", MetricFamily::Type::kCounter, std::move(malformed));
  out.counter("dns_truncated_total", "DNS answers cut to the size that the client takes (TC)", core.truncated);
  const drivers::DnsCounters counters = dns->counters();
  out.counter("dns_datagrams_lost_total", "DNS answers that the kernel did not take", counters.datagrams_lost);
  out.counter("dns_connections_total", "DNS connections accepted", counters.accepted);
  out.add("dns_connections_closed_total", "DNS connections that we closed, by reason", MetricFamily::Type::kCounter,
          {sample("reason", "evicted", counters.evicted), sample("reason", "timed_out", counters.timed_out),
           sample("reason", "refused", counters.refused)});
  out.gauge("dns_open_connections", "DNS connections open now", static_cast<double>(counters.connections));
}

}  // namespace

std::vector<api::MetricFamily> metric_families(const BackendParts& parts, const ProxyStatus& proxy) {
  Families out;
  out.add("build_info", "Version of the agent", MetricFamily::Type::kGauge, {{{{"version", OUTRIGGER_VERSION}, {"tls", std::string(io::TlsContext::backend())}}, 1, {}}});
  add_primary(out, parts);
  if (parts.catalog != nullptr) add_service_checks(out, parts.catalog->checks_here());
  add_store(out, parts);
  add_gossip(out, parts);
  out.gauge("workers_missing", "Workers whose figures here are those that they told last, as they do not answer", static_cast<double>(proxy.workers_missing));
  add_proxy(out, proxy);
  add_routes(out, proxy);
  if (parts.halts && parts.halts() != nullptr) parts.halts()->add_metrics(out, proxy.counters);
  if (const AgentAudit* audit = parts.audit ? parts.audit() : nullptr) audit->add_metrics(out);
  add_sticky(out, parts.sticky);
  add_health_words(out, parts.health);
  add_flight(out, parts);
  add_guard(out, parts.guard);
  add_app_fields(out, parts.checks);
  add_app_metrics(out, parts.app_metrics);
  add_app_breakers(out, parts.app_breakers);
  add_upstreams(out, parts);
  add_access_log(out, proxy.access_log);
  add_spans(out, proxy.spans);
  add_tls(out, parts, proxy.tls);
  add_headers(out, proxy.headers);
  add_hellos(out, proxy.hellos);
  add_relays(out, proxy.relays);
  add_egress(out, proxy.egress.get());
  add_dns(out, parts.dns ? parts.dns() : nullptr);
  if (const AgentOrders* orders = parts.orders ? parts.orders() : nullptr) orders->add_metrics(out);
  return out.take();
}

}  // namespace agent
