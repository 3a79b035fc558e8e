// Settings read again while the agent runs: what can be changed in flight is, what cannot is named.
#include <algorithm>
#include <set>
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

/// Where orders of `running` stand that no route of `fresh` would look for: "zone \"orders\", key header:Idempotency-Key".
std::set<std::string> orders_left(const std::vector<RouteConfig>& running, const std::vector<RouteConfig>& fresh) {
  const auto places = [](const std::vector<RouteConfig>& routes) {
    std::set<std::string> out;
    for (const RouteConfig& route : routes)
      if (route.idempotency) out.insert("zone \"" + route.idempotency->zone + "\", key " + route.idempotency->key);
    return out;
  };
  std::set<std::string> left = places(running);
  for (const std::string& place : places(fresh)) left.erase(place);
  return left;
}

}  // namespace

/// Reads files, environment and flags as at the start. A fault anywhere leaves everything as it is; so does a process on its way out.
void Agent::reload(const api::Completion<api::ReloadReport>& done) {
  api::ReloadReport report;
  if (proxy_) proxy_->reopen_access_log();  // whoever rotates files says so by this signal
  if (phase_ != Phase::kRunning) {
    // Much of what settings are for is gone by then, or will be in a moment.
    report.problems.emplace_back("this process is on its way out: its access log is opened anew, settings are read by the one that has its place");
  } else if (const auto fresh = read_settings(source_)) {
    report = apply_settings(fresh->config);
    if (report.problems.empty()) learn_settings(config_sheet_in_force(sheet_, fresh->sheet), fresh->files_text);
  } else {
    for (const ConfigProblem& problem : fresh.error()) report.problems.push_back(problem.text());
  }
  ++(report.problems.empty() ? reloads_ : reloads_refused_);
  if (report.problems.empty()) note_settings("reload");
  if (report.problems.empty()) log_line(LogLevel::kInfo, "reloaded", "in force: " + joined(report.applied) + "; needs a restart: " + joined(report.needs_restart) + "; settings " + settings_hash_);
  else log_line(LogLevel::kError, "reload_refused", joined(report.problems));
  later(io::boottime_now(), [done, report = std::move(report)] { done(report); });
}

/// Everything that can fail, before anything is changed. What it makes holds nothing that is in use.
tl::expected<Agent::PreparedSettings, std::string> Agent::prepare_settings(const Config& fresh, const ConfigDifference& difference,
                                                                           const std::function<std::shared_ptr<proxy::StickyTable>()>& sessions) const {
  PreparedSettings made;
  if (auto fine = UpstreamChecks::valid(fresh.upstreams); !fine) return tl::make_unexpected(fine.error().detail);
  // Also where no setting has changed: certificates are read again.
  auto secrets = upstream_tls(fresh.upstreams, io::wall_ms());
  if (!secrets) return tl::make_unexpected(secrets.error().detail);
  made.secrets = std::move(*secrets);
  if (difference.has(ConfigPart::kRoute)) {
    // Routes name the pool of the service that runs, not of one that waits for a restart.
    Config next = config_;
    next.routes = fresh.routes;
    next.halt = fresh.halt;
    const auto table = route_table(next, route_table_.get(), sessions);
    if (!table) return tl::make_unexpected(table.error().detail);
    made.routes = *table;
  }
  if (auto fine = EgressKeeper::valid(fresh); !fine) return tl::make_unexpected(fine.error().detail);
  made.speaks_tls = std::any_of(fresh.listeners.begin(), fresh.listeners.end(), [](const ListenConfig& one) { return one.tls.has_value(); });
  if (!made.speaks_tls && !difference.has(ConfigPart::kListen) && !difference.has(ConfigPart::kEgress)) return made;
  made.listen_tls = listen_tls_;
  auto policies = made.listen_tls.load(fresh.listeners, io::wall_ms());
  auto listeners = policies ? proxy_listeners(fresh, std::move(*policies)) : io::Result<std::vector<drivers::ProxyListen>>(tl::make_unexpected(policies.error()));
  if (!listeners) return tl::make_unexpected(listeners.error().detail);
  made.listeners = std::move(*listeners);
  return made;
}

bool Agent::reload_listeners(const Config& fresh, const ConfigDifference& difference, PreparedSettings& prepared, api::ReloadReport& report) {
  const bool listen = difference.has(ConfigPart::kListen), egress = difference.has(ConfigPart::kEgress);
  if (prepared.listeners) {
    if (const auto published = proxy_->publish_listeners(*prepared.listeners); !published) {
      report.problems.push_back(published.error().detail);
      return false;
    }
    listen_tls_ = std::move(prepared.listen_tls);
    if (listen || prepared.speaks_tls) report.applied.push_back(config_part_name(ConfigPart::kListen));
    config_.listeners = fresh.listeners;
    warn_of_certificates();
  }
  // Also when nothing differs: files of credentials are read again.
  config_.egress = fresh.egress;
  if (egress || !egress_->empty()) static_cast<void>(egress_->set(config_).has_value());  // found valid when it was prepared
  if (egress) report.applied.push_back(config_part_name(ConfigPart::kEgress));
  return true;
}

void Agent::warn_of_certificates() const {
  for (const std::string& warning : listen_tls_.warnings(io::wall_ms())) log_line(LogLevel::kWarn, "certificate_ends", warning);
}

/// Settings that nothing else depends on.
void Agent::apply_the_rest(const Config& fresh, const ConfigDifference& difference, api::ReloadReport& report) {
  const auto takes = [&](ConfigPart part) {
    if (difference.has(part)) report.applied.push_back(config_part_name(part));
    return difference.has(part);
  };
  if (takes(ConfigPart::kLogLevel)) set_log_level(config_.node.log_level = fresh.node.log_level);
  if (takes(ConfigPart::kRetireTimeout)) config_.proxy.retire_timeout = fresh.proxy.retire_timeout;
  if (takes(ConfigPart::kBreaker)) {
    config_.breakers = fresh.breakers;
    app_breakers_.set(fresh.breakers);
    if (health_) health_->look();
  }
  if (takes(ConfigPart::kHalt)) {
    config_.halt = fresh.halt;
    halts_->use(config_.halt);
  }
  config_.catalog.check_scripts = fresh.catalog.check_scripts;
  config_.services = fresh.services;
  config_.node_checks = fresh.node_checks;
  const bool scripts = takes(ConfigPart::kCheckScripts), services = takes(ConfigPart::kServices), checks = takes(ConfigPart::kChecks);
  if (scripts || services || checks) register_files();
}

api::ReloadReport Agent::apply_settings(const Config& fresh) {
  api::ReloadReport report;
  const ConfigDifference difference(config_, fresh);
  report.needs_restart = difference.names(TakenBy::kRestart);
  auto prepared = prepare_settings(fresh, difference, [this] { return sessions(); });
  if (!prepared) {
    report.problems.push_back(std::move(prepared.error()));
    return report;
  }
  // Nothing is changed before everything that can fail has been tried.
  if (!reload_listeners(fresh, difference, *prepared, report)) return report;
  UpstreamTlsMap& secrets = prepared->secrets;
  const std::shared_ptr<const proxy::RouteTable>& routes = prepared->routes;
  const bool upstreams = difference.has(ConfigPart::kUpstream);
  if (upstreams) {
    // Those that go leave behind the routes that name them.
    std::vector<UpstreamConfig> both = fresh.upstreams;
    for (const UpstreamConfig& old : config_.upstreams) {
      if (std::none_of(both.begin(), both.end(), [&](const UpstreamConfig& one) { return one.name == old.name; })) both.push_back(old);
    }
    config_.upstreams = std::move(both);
    for (auto& [pool, names] : upstream_tls_) secrets.try_emplace(pool, names);
    upstream_tls_ = secrets;
    names_->set(config_.upstreams);
    use_upstreams(config_.upstreams);
    report.applied.push_back(config_part_name(ConfigPart::kUpstream));
  }
  if (routes) {
    rates_->set_routes(*(route_table_ = routes));
    sticky_->routes_changed();
    // Folders of files come before the routes that lead there, and go behind those that did.
    config_.routes.insert(config_.routes.end(), fresh.routes.begin(), fresh.routes.end());
    publish_endpoints();
    proxy_->publish_routes(routes);
    for (const std::string& place : orders_left(config_.routes, fresh.routes))
      log_line(LogLevel::kWarn, "orders_left", place + ": no route looks for orders there any more; whoever repeats one of these keys is sent again");
    config_.routes = fresh.routes;
    publish_endpoints();
    if (health_) health_->look();  // breakers of rules that have changed begin anew
    report.applied.push_back(config_part_name(ConfigPart::kRoute));
  }
  if (upstreams) {
    config_.upstreams = fresh.upstreams;
    names_->set(config_.upstreams);
    use_upstreams(config_.upstreams);
  } else if (!secrets.empty()) {
    upstream_tls_ = std::move(secrets);
    use_upstreams(config_.upstreams);
  }
  apply_the_rest(fresh, difference, report);
  return report;
}

}  // namespace agent
