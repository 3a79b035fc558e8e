// Settings read again while the agent runs: what can be changed in flight is, what cannot is named.
#include <algorithm>
#include <utility>

#include "agent/io/clock.h"
#include "agent/log.h"
#include "agent/parts.h"
#include "agent/running.h"

namespace agent {
namespace {

std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& one : list) out += (out.empty() ? "" : ", ") + one;
  return out.empty() ? "nothing" : out;
}

/// Sections that are read once, at the start, and differ now.
std::vector<std::string> waiting_sections(const Config& running, const Config& fresh) {
  std::vector<std::string> out;
  const auto note = [&out](const char* name, bool same) {
    if (!same) out.emplace_back(name);
  };
  NodeConfig node = fresh.node;
  node.log_level = running.node.log_level;
  note("node", node == running.node);
  note("api", fresh.api == running.api);
  note("dns", fresh.dns == running.dns);
  note("mesh", fresh.mesh == running.mesh);
  note("raft", fresh.raft == running.raft);
  note("service", fresh.service == running.service);
  note("arming", fresh.arming == running.arming);
  ProxyConfig proxy = fresh.proxy;
  proxy.retire_timeout = running.proxy.retire_timeout;
  note("proxy", proxy == running.proxy);
  note("kernel_permit", fresh.kernel_permit == running.kernel_permit);
  note("outlier", fresh.outlier == running.outlier);
  note("guard", fresh.guard == running.guard);
  note("access_log", fresh.access_log == running.access_log);
  note("tracing", fresh.tracing == running.tracing);
  note("catalog.server_service", fresh.catalog.server_service == running.catalog.server_service);
  return out;
}

}  // namespace

/// Reads files, environment and flags as at the start. A fault anywhere leaves everything as it is; so does a process on its way out.
void Agent::reload(const api::Completion<api::ReloadReport>& done) {
  api::ReloadReport report;
  if (proxy_) proxy_->reopen_access_log();  // whoever rotates files says so by this signal
  if (phase_ != Phase::kRunning) {
    // Much of what settings are for is gone by then, or will be in a moment.
    report.problems.emplace_back("this process is on its way out: its access log is opened anew, settings are read by the one that has its place");
  } else if (const auto fresh = load_config(source_)) {
    report = apply_settings(*fresh);
  } else {
    for (const ConfigProblem& problem : fresh.error()) report.problems.push_back(problem.text());
  }
  ++(report.problems.empty() ? reloads_ : reloads_refused_);
  if (report.problems.empty()) note_settings("reload");
  if (report.problems.empty()) log_line(LogLevel::kInfo, "reloaded", "in force: " + joined(report.applied) + "; needs a restart: " + joined(report.needs_restart));
  else log_line(LogLevel::kError, "reload_refused", joined(report.problems));
  later(io::boottime_now(), [done, report = std::move(report)] { done(report); });
}

bool Agent::reload_listeners(const Config& fresh, api::ReloadReport& report) {
  const bool egress = fresh.egress != config_.egress;
  const bool changed = fresh.listeners != config_.listeners || egress;
  // Also when nothing differs: files of credentials and certificates are read again.
  const auto set_egress = [&] {
    config_.egress = fresh.egress;
    if (egress || !egress_->empty()) static_cast<void>(egress_->set(config_).has_value());  // found valid below
    if (egress) report.applied.emplace_back("egress");
    return true;
  };
  if (auto fine = EgressKeeper::valid(fresh); !fine) {
    report.problems.push_back(fine.error().detail);
    return false;
  }
  const bool speaks_tls = std::any_of(fresh.listeners.begin(), fresh.listeners.end(), [](const ListenConfig& one) { return one.tls.has_value(); });
  if (!changed && !speaks_tls) return set_egress();
  ListenTls loaded = listen_tls_;
  auto policies = loaded.load(fresh.listeners, io::wall_ms());
  auto listeners = policies ? proxy_listeners(fresh, std::move(*policies)) : io::Result<std::vector<drivers::ProxyListen>>(tl::make_unexpected(policies.error()));
  const auto published = listeners ? proxy_->publish_listeners(*listeners) : io::Result<void>(tl::make_unexpected(listeners.error()));
  if (!published) {
    report.problems.push_back(published.error().detail);
    return false;
  }
  listen_tls_ = std::move(loaded);
  if (fresh.listeners != config_.listeners || speaks_tls) report.applied.emplace_back("listen");
  config_.listeners = fresh.listeners;
  warn_of_certificates();
  return set_egress();
}

void Agent::warn_of_certificates() const {
  for (const std::string& warning : listen_tls_.warnings(io::wall_ms())) log_line(LogLevel::kWarn, "certificate_ends", warning);
}

/// Settings that nothing else depends on.
void Agent::apply_the_rest(const Config& fresh, api::ReloadReport& report) {
  if (fresh.node.log_level != config_.node.log_level) {
    config_.node.log_level = fresh.node.log_level;
    set_log_level(fresh.node.log_level);
    report.applied.emplace_back("node.log_level");
  }
  if (fresh.proxy.retire_timeout != config_.proxy.retire_timeout) {
    config_.proxy.retire_timeout = fresh.proxy.retire_timeout;
    report.applied.emplace_back("proxy.retire_timeout");
  }
  if (fresh.breakers != config_.breakers) {
    config_.breakers = fresh.breakers;
    app_breakers_.set(fresh.breakers);
    if (health_) health_->look();
    report.applied.emplace_back("breaker");
  }
  if (fresh.halt != config_.halt) {
    config_.halt = fresh.halt;
    halts_->use(config_.halt);
    report.applied.emplace_back("halt");
  }
  const bool scripts = fresh.catalog.check_scripts != config_.catalog.check_scripts;
  const bool services = fresh.services != config_.services, checks = fresh.node_checks != config_.node_checks;
  config_.catalog.check_scripts = fresh.catalog.check_scripts;
  config_.services = fresh.services;
  config_.node_checks = fresh.node_checks;
  if (scripts) report.applied.emplace_back("catalog.check_scripts");
  if (services) report.applied.emplace_back("services");
  if (checks) report.applied.emplace_back("checks");
  if (scripts || services || checks) register_files();
}

api::ReloadReport Agent::apply_settings(const Config& fresh) {
  api::ReloadReport report;
  report.needs_restart = waiting_sections(config_, fresh);
  if (auto fine = UpstreamChecks::valid(fresh.upstreams); !fine) {
    report.problems.push_back(fine.error().detail);
    return report;
  }
  // Also where no setting has changed: certificates are read again.
  auto secrets = upstream_tls(fresh.upstreams, io::wall_ms());
  if (!secrets) {
    report.problems.push_back(secrets.error().detail);
    return report;
  }
  std::shared_ptr<const proxy::RouteTable> routes;
  if (fresh.routes != config_.routes) {
    // Routes name the pool of the service that runs, not of one that waits for a restart.
    Config next = config_;
    next.routes = fresh.routes;
    const auto table = route_table(next, route_table_.get(), [this] { return sessions(); });
    if (!table) {
      report.problems.push_back(table.error().detail);
      return report;
    }
    routes = *table;
  }
  // Nothing is changed before everything that can fail has been tried.
  if (!reload_listeners(fresh, report)) return report;
  const bool upstreams = fresh.upstreams != config_.upstreams;
  if (upstreams) {
    // Those that go leave behind the routes that name them.
    std::vector<UpstreamConfig> both = fresh.upstreams;
    for (const UpstreamConfig& old : config_.upstreams) {
      if (std::none_of(both.begin(), both.end(), [&](const UpstreamConfig& one) { return one.name == old.name; })) both.push_back(old);
    }
    config_.upstreams = std::move(both);
    for (auto& [pool, names] : upstream_tls_) secrets->try_emplace(pool, names);
    upstream_tls_ = *secrets;
    names_->set(config_.upstreams);
    use_upstreams(config_.upstreams);
    report.applied.emplace_back("upstream");
  }
  if (routes) {
    rates_->set_routes(*(route_table_ = routes));
    sticky_->routes_changed();
    // Folders of files come before the routes that lead there, and go behind those that did.
    config_.routes.insert(config_.routes.end(), fresh.routes.begin(), fresh.routes.end());
    publish_endpoints();
    proxy_->publish_routes(routes);
    config_.routes = fresh.routes;
    publish_endpoints();
    if (health_) health_->look();  // breakers of rules that have changed begin anew
    report.applied.emplace_back("route");
  }
  if (upstreams) {
    config_.upstreams = fresh.upstreams;
    names_->set(config_.upstreams);
    use_upstreams(config_.upstreams);
  } else if (!secrets->empty()) {
    upstream_tls_ = std::move(*secrets);
    use_upstreams(config_.upstreams);
  }
  apply_the_rest(fresh, report);
  return report;
}

}  // namespace agent
