#include "agent/config_arming.h"

#include "agent/config_values.h"

namespace agent {

std::optional<HookConfig> config_read_hook(const std::set<std::string>& all_keys, ConfigReader reader, ConfigReader& above, const std::string& key) {
  HookConfig hook;
  reader.list("exec", hook.exec, 64);
  reader.text("url", hook.url);
  reader.finish(all_keys);
  if (!reader.present()) return std::nullopt;
  if (hook.exec.empty() == hook.url.empty())
    above.problem(key, "give either exec or url", "write " + key + " = { exec = [\"/path/program\"] }");
  else if (!hook.exec.empty() && hook.exec.front().empty())
    above.problem(key, "the program's name is empty", "write " + key + " = { exec = [\"/path/program\"] }");
  else if (!hook.url.empty() && (!hook.url.starts_with("http://") || hook.url.size() < 9))
    above.problem(key, "\"" + config_url_shown(hook.url) + "\" is no http URL", "write \"http://127.0.0.1:9001/" + key + "\"; TLS is not spoken here");
  return hook;
}

void config_read_arming(const std::set<std::string>& all_keys, ConfigReader reader, Config& config) {
  if (reader.present()) config.arming.emplace();
  ArmingConfig absent;
  ArmingConfig& arming = config.arming ? *config.arming : absent;
  reader.choice("mode", arming.mode,
                {{"auto", ArmingModeConfig::kAuto}, {"supervised", ArmingModeConfig::kSupervised}, {"when_flat", ArmingModeConfig::kWhenFlat}});
  auto hook = reader.section("reconcile");
  arming.reconcile = config_read_hook(all_keys, std::move(hook), reader, "reconcile");
  const auto minutes = [](int count) { return std::chrono::milliseconds(60'000LL * count); };
  reader.duration("timeout", arming.timeout, Milliseconds(50), minutes(5));
  reader.duration("retry", arming.retry, Milliseconds(50), minutes(1));
  reader.duration("settle", arming.settle, Milliseconds(0), minutes(1));
  reader.duration("recent", arming.recent, Milliseconds(0), minutes(24 * 60));
  reader.duration("quiet", arming.quiet, Milliseconds(0), minutes(10));
  reader.duration("every", arming.every, Milliseconds(1000), minutes(60));
  reader.number("batch", arming.batch, 1, 1000);
  reader.boolean("unknown_blocks", arming.unknown_blocks);
  reader.finish(all_keys);
  if (!config.arming) return;
  if (!config.service)
    reader.problem("mode", "[arming] is about the primary, and this agent has no instance", "add [service], or remove [arming]");
  if (arming.mode == ArmingModeConfig::kWhenFlat && !arming.reconcile)
    reader.problem("mode", "\"when_flat\" without a hook: nobody says that there is no position",
                   "add reconcile = { exec = [\"/path/program\"] }, or write \"supervised\"");
  if (arming.retry > arming.every)
    reader.problem("retry", "longer than arming.every, the longest pause", "set it to at most every");
}

}  // namespace agent
