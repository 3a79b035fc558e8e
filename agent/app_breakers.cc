#include "agent/app_breakers.h"

namespace agent {
namespace {

proxy::BreakerRule rule_of(const NamedBreakerConfig& config) {
  proxy::BreakerRule rule;
  rule.fail = config.fail;
  rule.window = config.window;
  rule.open = config.open;
  return rule;
}

}  // namespace

void AppBreakers::set(const std::vector<NamedBreakerConfig>& configs) {
  std::map<std::string, std::shared_ptr<proxy::BreakerTable>> kept;
  for (const NamedBreakerConfig& config : configs) {
    const proxy::BreakerRule rule = rule_of(config);
    const auto old = breakers_.find(config.name);
    kept[config.name] = old != breakers_.end() && old->second->rule() == rule ? old->second : std::make_shared<proxy::BreakerTable>(rule);
  }
  breakers_ = std::move(kept);
}

proxy::BreakerPass AppBreakers::enter(const std::string& name, proxy::TimePoint now) { return breakers_.at(name)->enter(kPlace, now); }

bool AppBreakers::report(const std::string& name, bool good, std::optional<bool> probe, proxy::TimePoint now) {
  proxy::BreakerTable& breaker = *breakers_.at(name);
  const bool is_probe = probe.value_or(breaker.state(kPlace) == proxy::BreakerState::kHalfOpen);
  return breaker.result(kPlace, now, good, is_probe);
}

bool AppBreakers::reset(const std::string& name) { return breakers_.at(name)->reset(kPlace); }
proxy::BreakerTable::Look AppBreakers::look(const std::string& name) const { return breakers_.at(name)->look(kPlace); }

}  // namespace agent
