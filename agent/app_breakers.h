#pragma once
/// Breakers that programs beside this agent use for calls of their own ([[breaker]]): they report how a call went, and ask
/// whether the next one is worth making. The rules are those of routes (proxy/breaker.h), one state for all programs here.
///
/// Ownership: of the agent. Thread: the control loop. Bound: one breaker for each [[breaker]].

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/config.h"
#include "proxy/breaker.h"

namespace agent {

class AppBreakers {
 public:
  /// The place that stands for whatever the program calls: a breaker has one of it, at every agent.
  static constexpr proxy::EndpointId kPlace{1};

  /// Replaces the whole set. Breakers whose rule is the same go on as they are.
  void set(const std::vector<NamedBreakerConfig>& configs);
  [[nodiscard]] bool has(const std::string& name) const { return breakers_.contains(name); }
  [[nodiscard]] const std::map<std::string, std::shared_ptr<proxy::BreakerTable>>& all() const { return breakers_; }

  /// Whether a call may be made now. A pass kProbe is given once; its result has to be reported, or it is given up after `open`.
  [[nodiscard]] proxy::BreakerPass enter(const std::string& name, proxy::TimePoint now);
  /// How a call went. @param probe  whether it was the probe; not told = while half-open it is taken to be
  /// @return true if the state has changed
  bool report(const std::string& name, bool good, std::optional<bool> probe, proxy::TimePoint now);
  /// Closed, without failures. @return true if it was not closed
  bool reset(const std::string& name);
  [[nodiscard]] proxy::BreakerTable::Look look(const std::string& name) const;

 private:
  std::map<std::string, std::shared_ptr<proxy::BreakerTable>> breakers_;
};

}  // namespace agent
