#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"
#include "agent/config_sheet.h"

/// Which settings a reload takes over while the agent runs, and which wait for the next start: one table, by which
/// agent_reload.cc acts and from which config_plan.h tells beforehand.
namespace agent {

enum class TakenBy { kReload, kRestart };

/// A part of the settings that is taken over as one.
enum class ConfigPart {
  kLogLevel, kRetireTimeout, kListen, kEgress, kUpstream, kRoute, kBreaker, kHalt, kCheckScripts, kServices, kChecks,  // by a reload
  kNode, kApi, kDns, kMesh, kRaft, kService, kArming, kProxy, kKernelPermit, kOutlier, kGuard, kAccessLog, kTracing, kServerService,
  kDemo,
};

struct ReloadRule {
  ConfigPart part;
  /// As answers and logs call it, and the keys that belong to it: itself and all below. The longest name that fits a key has
  /// it, so "node.log_level" is no part of "node".
  std::string_view name;
  TakenBy by;
  bool (*same)(const Config&, const Config&);  ///< nothing of this part has to be applied
};

/// Invariant: every key of config_keys() belongs to one of them, and every field of Config is looked at by one of them.
[[nodiscard]] std::span<const ReloadRule> reload_rules();
/// @param key  with or without numbers: "route[].pool", "route[3].pool", "services[0]". null = no setting
[[nodiscard]] const ReloadRule* reload_rule_of(std::string_view key);

/// The parts in which two sets of settings differ, in the order of the table.
class ConfigDifference {
 public:
  ConfigDifference(const Config& running, const Config& fresh);
  [[nodiscard]] bool has(ConfigPart part) const;
  [[nodiscard]] std::vector<std::string> names(TakenBy by) const;
  [[nodiscard]] bool empty() const { return rules_.empty(); }

 private:
  std::vector<const ReloadRule*> rules_;
};
[[nodiscard]] std::string config_part_name(ConfigPart part);

/// What is set in a process that has begun with `running` and taken over of `fresh` what can be.
[[nodiscard]] ConfigSheet config_sheet_in_force(const ConfigSheet& running, const ConfigSheet& fresh);

}  // namespace agent
