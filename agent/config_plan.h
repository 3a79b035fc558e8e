#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "agent/config_load.h"
#include "agent/config_reload.h"

/// What would become of a running agent if it read other settings: which keys differ, what of it a reload takes over
/// (config_reload.h), and what is kept and forgotten of everything that traffic has brought about. Pure: two sets of settings
/// in, a list out; how many connections and requests it concerns is the agent's to add.
namespace agent {

enum class PlanVerb { kAdded, kRemoved, kChanged };

/// One key. Secrets are never in it.
struct PlanChange {
  PlanVerb verb = PlanVerb::kChanged;
  std::string key;        ///< as in problems, by the new settings' numbers; by the old ones' when it is removed
  std::string element;    ///< which one of a list it belongs to, by name or address; empty = of none
  std::string before, after;  ///< as ConfigSetting::text; "(hidden)" for secrets; empty = not set
  std::string otherwise;  ///< what holds without the key: before it was added, after it is removed; empty = nothing
  const ReloadRule* rule = nullptr;  ///< never null
  bool moved = false;     ///< `key` is a list whose elements stand in another order: `before` and `after` are their names
};

enum class ConcernKind { kListener, kRoute, kTcpRoute, kUpstream, kEndpoint, kEgress, kBreaker, kService, kCheck };
[[nodiscard]] std::string_view name_of(ConcernKind kind);  ///< "listener", "route", "tcp_route", ...

/// One thing that traffic meets and that a reload changes.
struct PlanConcern {
  ConcernKind kind = ConcernKind::kRoute;
  std::string name;       ///< of a listener or endpoint its address; "pool" and "zone" of what the metrics call so
  std::string pool;       ///< of an endpoint: its upstream
  PlanVerb verb = PlanVerb::kChanged;
  std::vector<std::string> routes;  ///< of an upstream: the routes in force that lead there
  std::string session_zone;  ///< of a route with sessions, as it was; empty = none
  std::vector<std::string> kept, forgotten;  ///< a sentence each: what goes on as it is, what begins anew
};

struct ConfigPlan {
  std::vector<PlanChange> changes;        ///< by part, then by key, numbers as numbers
  std::vector<std::string> at_once;       ///< parts that differ and are taken over by a reload
  std::vector<std::string> needs_restart; ///< parts that differ and wait for the next start
  std::vector<PlanConcern> concerns;      ///< only of parts that a reload takes over
  std::vector<std::string> notes;         ///< what every reload does, also one that changes nothing

  [[nodiscard]] bool empty() const { return at_once.empty() && needs_restart.empty(); }
};

/// @param running  in force: what the agent began with and what reloads have put in the place of it
/// @param fresh    what a reload would read now
/// Invariant: a part that differs has at least one change; changes of parts that are the same are left out, whatever their text.
[[nodiscard]] ConfigPlan plan_of(const Config& running, const ConfigSheet& running_sheet, const ReadSettings& fresh);

/// Its parts.
[[nodiscard]] std::vector<PlanChange> plan_changes(const Config& running, const ConfigSheet& running_sheet, const ReadSettings& fresh);
[[nodiscard]] std::vector<PlanConcern> plan_concerns(const Config& running, const Config& fresh);
/// The value of a key for people who may not see secrets. @param key  with or without numbers
[[nodiscard]] std::string plan_shown(const std::string& key, const std::string& text);

}  // namespace agent
