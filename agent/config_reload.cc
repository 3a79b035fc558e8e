#include "agent/config_reload.h"

#include <algorithm>

namespace agent {
namespace {

bool same_node(const Config& a, const Config& b) {
  NodeConfig node = b.node;
  node.log_level = a.node.log_level;
  return node == a.node;
}
bool same_proxy(const Config& a, const Config& b) {
  ProxyConfig proxy = b.proxy;
  proxy.retire_timeout = a.proxy.retire_timeout;
  return proxy == a.proxy;
}

/// Where it was written changes nothing of what is registered.
bool same_registrations(const std::vector<RegistrationText>& a, const std::vector<RegistrationText>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const RegistrationText& x, const RegistrationText& y) { return x.json == y.json; });
}

/// Routes with keys tell the orders of accounts apart by the header that [halt] names.
bool same_orders(const Config& a, const Config& b) {
  return a.halt.account_header == b.halt.account_header ||
         std::none_of(b.routes.begin(), b.routes.end(), [](const RouteConfig& route) { return route.idempotency.has_value(); });
}

using Part = ConfigPart;
using By = TakenBy;
constexpr ReloadRule kRules[] = {
    {Part::kLogLevel, "node.log_level", By::kReload, [](const Config& a, const Config& b) { return a.node.log_level == b.node.log_level; }},
    {Part::kRetireTimeout, "proxy.retire_timeout", By::kReload, [](const Config& a, const Config& b) { return a.proxy.retire_timeout == b.proxy.retire_timeout; }},
    {Part::kListen, "listen", By::kReload, [](const Config& a, const Config& b) { return a.listeners == b.listeners; }},
    {Part::kEgress, "egress", By::kReload, [](const Config& a, const Config& b) { return a.egress == b.egress; }},
    {Part::kUpstream, "upstream", By::kReload, [](const Config& a, const Config& b) { return a.upstreams == b.upstreams; }},
    {Part::kRoute, "route", By::kReload, [](const Config& a, const Config& b) { return a.routes == b.routes && same_orders(a, b); }},
    {Part::kBreaker, "breaker", By::kReload, [](const Config& a, const Config& b) { return a.breakers == b.breakers; }},
    {Part::kHalt, "halt", By::kReload, [](const Config& a, const Config& b) { return a.halt == b.halt; }},
    {Part::kCheckScripts, "catalog.check_scripts", By::kReload, [](const Config& a, const Config& b) { return a.catalog.check_scripts == b.catalog.check_scripts; }},
    {Part::kServices, "services", By::kReload, [](const Config& a, const Config& b) { return same_registrations(a.services, b.services); }},
    {Part::kChecks, "checks", By::kReload, [](const Config& a, const Config& b) { return same_registrations(a.node_checks, b.node_checks); }},
    {Part::kNode, "node", By::kRestart, same_node},
    {Part::kApi, "api", By::kRestart, [](const Config& a, const Config& b) { return a.api == b.api; }},
    {Part::kDns, "dns", By::kRestart, [](const Config& a, const Config& b) { return a.dns == b.dns; }},
    {Part::kMesh, "mesh", By::kRestart, [](const Config& a, const Config& b) { return a.mesh == b.mesh; }},
    {Part::kRaft, "raft", By::kRestart, [](const Config& a, const Config& b) { return a.raft == b.raft; }},
    {Part::kService, "service", By::kRestart, [](const Config& a, const Config& b) { return a.service == b.service; }},
    {Part::kArming, "arming", By::kRestart, [](const Config& a, const Config& b) { return a.arming == b.arming; }},
    {Part::kProxy, "proxy", By::kRestart, same_proxy},
    {Part::kKernelPermit, "kernel_permit", By::kRestart, [](const Config& a, const Config& b) { return a.kernel_permit == b.kernel_permit; }},
    {Part::kOutlier, "outlier", By::kRestart, [](const Config& a, const Config& b) { return a.outlier == b.outlier; }},
    {Part::kGuard, "guard", By::kRestart, [](const Config& a, const Config& b) { return a.guard == b.guard; }},
    {Part::kAccessLog, "access_log", By::kRestart, [](const Config& a, const Config& b) { return a.access_log == b.access_log; }},
    {Part::kTracing, "tracing", By::kRestart, [](const Config& a, const Config& b) { return a.tracing == b.tracing; }},
    {Part::kServerService, "catalog.server_service", By::kRestart, [](const Config& a, const Config& b) { return a.catalog.server_service == b.catalog.server_service; }},
    {Part::kDemo, "demo", By::kRestart, [](const Config& a, const Config& b) { return a.faults_allowed == b.faults_allowed; }},
};

bool belongs(std::string_view key, std::string_view name) {
  return key.starts_with(name) && (key.size() == name.size() || key[name.size()] == '.' || key[name.size()] == '[');
}

}  // namespace

std::span<const ReloadRule> reload_rules() { return kRules; }

const ReloadRule* reload_rule_of(std::string_view key) {
  const ReloadRule* best = nullptr;
  for (const ReloadRule& rule : kRules) {
    if (belongs(key, rule.name) && (best == nullptr || rule.name.size() > best->name.size())) best = &rule;
  }
  return best;
}

ConfigDifference::ConfigDifference(const Config& running, const Config& fresh) {
  for (const ReloadRule& rule : kRules) {
    if (!rule.same(running, fresh)) rules_.push_back(&rule);
  }
}

bool ConfigDifference::has(ConfigPart part) const {
  return std::any_of(rules_.begin(), rules_.end(), [part](const ReloadRule* rule) { return rule->part == part; });
}

std::vector<std::string> ConfigDifference::names(TakenBy by) const {
  std::vector<std::string> out;
  for (const ReloadRule* rule : rules_) {
    if (rule->by == by) out.emplace_back(rule->name);
  }
  return out;
}

std::string config_part_name(ConfigPart part) {
  const auto found = std::find_if(std::begin(kRules), std::end(kRules), [part](const ReloadRule& rule) { return rule.part == part; });
  return found == std::end(kRules) ? std::string() : std::string(found->name);
}

ConfigSheet config_sheet_in_force(const ConfigSheet& running, const ConfigSheet& fresh) {
  const auto by_reload = [](const std::string& key) {
    const ReloadRule* rule = reload_rule_of(key);
    return rule != nullptr && rule->by == TakenBy::kReload;
  };
  ConfigSheet out;
  for (const auto& entry : running) {
    if (!by_reload(entry.first)) out.insert(entry);
  }
  for (const auto& entry : fresh) {
    if (by_reload(entry.first)) out.insert(entry);
  }
  return out;
}

}  // namespace agent
