// The table of what a reload takes over: complete for keys and for fields, and true about both.
#include "agent/config_reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "agent/config_load.h"

namespace agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ReadSettings settings(const std::string& toml) {
  auto read = parse_settings(toml, "f");
  if (read) return std::move(*read);
  for (const auto& problem : read.error()) ADD_FAILURE() << problem.text();
  return {};
}

TEST(ReloadRules, EveryKeyBelongsToAPart) {
  for (const std::string& key : config_keys()) {
    const ReloadRule* rule = reload_rule_of(key);
    ASSERT_NE(rule, nullptr) << key << ": say in kRules what a reload makes of it";
    EXPECT_TRUE(key == rule->name || key.substr(0, rule->name.size()) == rule->name) << key;
  }
  EXPECT_EQ(reload_rule_of("node.log_level")->part, ConfigPart::kLogLevel);
  EXPECT_EQ(reload_rule_of("node.name")->part, ConfigPart::kNode);
  EXPECT_EQ(reload_rule_of("route[12].timeouts.total")->part, ConfigPart::kRoute);
  EXPECT_EQ(reload_rule_of("services[0]")->part, ConfigPart::kServices);
  EXPECT_EQ(reload_rule_of("service.lease")->part, ConfigPart::kService);
  for (const char* none : {"", "nod", "nodes", "catalog", "routes", "node_log_level"}) EXPECT_EQ(reload_rule_of(none), nullptr) << none;
}

TEST(ReloadRules, EveryFieldOfTheSettingsIsLookedAt) {
  // A field more does not compile: it wants a rule in kRules and, below, settings that differ in it.
  const Config config;
  const auto& [node, api, dns, mesh, raft, service, arming, listeners, upstreams, routes, egress, kernel_permit, proxy, outlier, guard, breakers,
               access_log, tracing, halt, catalog, faults_allowed, services, node_checks, files, warnings] = config;
  const auto& [check_scripts, server_service] = catalog;  // taken over one by one
  EXPECT_EQ(reload_rules().size(), 26U) << "of 25 fields files and warnings are no settings; node, proxy and catalog have two parts each";
  EXPECT_EQ(node.name + server_service, "consul");
  static_cast<void>(std::tie(api, dns, mesh, raft, service, arming, listeners, upstreams, routes, egress, kernel_permit, proxy, outlier, guard, breakers,
                             access_log, tracing, halt, check_scripts, faults_allowed, services, node_checks, files, warnings));
}

struct Sample {
  ConfigPart part;
  TakenBy by;
  const char* before;
  const char* after;
};
constexpr const char* kService = "[service]\naddress = \"127.0.0.1:9001\"\n";
constexpr const char* kRoutes = "[[route]]\npath = \"/\"\npool = \"all\"\n";
const Sample kSamples[] = {
    {ConfigPart::kLogLevel, TakenBy::kReload, "", "[node]\nlog_level = \"debug\"\n"},
    {ConfigPart::kRetireTimeout, TakenBy::kReload, "", "[proxy]\nretire_timeout = \"5s\"\n"},
    {ConfigPart::kListen, TakenBy::kReload, "[[route]]\npath = \"/\"\npool = \"all\"\n[[listen]]\naddress = \"127.0.0.1:8080\"\n",
     "[[route]]\npath = \"/\"\npool = \"all\"\n[[listen]]\naddress = \"127.0.0.1:8081\"\n"},
    {ConfigPart::kEgress, TakenBy::kReload, "[service]\naddress = \"127.0.0.1:9001\"\n[[egress]]\nname = \"b\"\nlisten = \"127.0.0.1:9100\"\nurl = \"http://127.0.0.1:1\"\n",
     "[service]\naddress = \"127.0.0.1:9001\"\n[[egress]]\nname = \"b\"\nlisten = \"127.0.0.1:9100\"\nurl = \"http://127.0.0.1:2\"\n"},
    {ConfigPart::kUpstream, TakenBy::kReload, "", "[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"10.0.0.1:80\" }]\n"},
    {ConfigPart::kRoute, TakenBy::kReload, "[[route]]\npath = \"/a\"\npool = \"all\"\n", "[[route]]\npath = \"/b\"\npool = \"all\"\n"},
    {ConfigPart::kBreaker, TakenBy::kReload, "", "[[breaker]]\nname = \"x\"\n"},
    {ConfigPart::kHalt, TakenBy::kReload, "", "[halt]\naccount_header = \"X-Who\"\n"},
    {ConfigPart::kCheckScripts, TakenBy::kReload, "", "[catalog]\ncheck_scripts = \"none\"\n"},
    {ConfigPart::kServices, TakenBy::kReload, "", "[[services]]\nname = \"x\"\n"},
    {ConfigPart::kChecks, TakenBy::kReload, "", "[[checks]]\nname = \"x\"\nttl = \"5s\"\n"},
    {ConfigPart::kNode, TakenBy::kRestart, "", "[node]\nzone = \"east\"\n"},
    {ConfigPart::kApi, TakenBy::kRestart, "", "[api]\nlisten = \"127.0.0.1:8501\"\n"},
    {ConfigPart::kDns, TakenBy::kRestart, "", "[dns]\nttl = \"5s\"\n"},
    {ConfigPart::kMesh, TakenBy::kRestart, "", "[mesh]\nport = 7999\n"},
    {ConfigPart::kRaft, TakenBy::kRestart, "", "[raft]\nvoters = 3\n"},
    {ConfigPart::kService, TakenBy::kRestart, "[service]\naddress = \"127.0.0.1:9001\"\n", "[service]\naddress = \"127.0.0.1:9002\"\n"},
    {ConfigPart::kArming, TakenBy::kRestart, kService, "[service]\naddress = \"127.0.0.1:9001\"\n[arming]\nmode = \"supervised\"\n"},
    {ConfigPart::kProxy, TakenBy::kRestart, "", "[proxy]\nthreads = 4\n"},
    {ConfigPart::kKernelPermit, TakenBy::kRestart, kService, "[service]\naddress = \"127.0.0.1:9001\"\n[kernel_permit]\nexec = [\"/bin/true\"]\n"},
    {ConfigPart::kOutlier, TakenBy::kRestart, "", "[outlier]\nconsecutive = 3\n"},
    {ConfigPart::kGuard, TakenBy::kRestart, "", "[guard]\n"},
    {ConfigPart::kAccessLog, TakenBy::kRestart, "", "[access_log]\nto = \"stdout\"\n"},
    {ConfigPart::kTracing, TakenBy::kRestart, "", "[tracing]\nenabled = true\n"},
    {ConfigPart::kServerService, TakenBy::kRestart, "", "[catalog]\nserver_service = \"agents\"\n"},
    {ConfigPart::kDemo, TakenBy::kRestart, "", "[demo]\nfaults = true\n"},
};

TEST(ReloadRules, EveryPartIsToldFromTheOthers) {
  std::set<ConfigPart> seen;
  for (const Sample& sample : kSamples) {
    const ReadSettings before = settings(sample.before), after = settings(sample.after);
    const ConfigDifference difference(before.config, after.config);
    const std::string name = config_part_name(sample.part);
    EXPECT_TRUE(difference.has(sample.part)) << sample.after;
    EXPECT_THAT(difference.names(sample.by), ElementsAre(name)) << sample.after;
    EXPECT_THAT(difference.names(sample.by == TakenBy::kReload ? TakenBy::kRestart : TakenBy::kReload), IsEmpty()) << sample.after;
    EXPECT_TRUE(ConfigDifference(after.config, after.config).empty()) << sample.after;
    seen.insert(sample.part);
  }
  for (const ReloadRule& rule : reload_rules()) EXPECT_TRUE(seen.contains(rule.part)) << rule.name << " has no sample";
}

TEST(ReloadRules, WhereARegistrationStandsInItsFileIsNoDifference) {
  const ReadSettings before = settings("[[services]]\nname = \"x\"\n"), after = settings("# a line more\n[[services]]\nname = \"x\"\n");
  EXPECT_NE(before.config.services[0].place, after.config.services[0].place);
  EXPECT_TRUE(ConfigDifference(before.config, after.config).empty());
}

TEST(ReloadRules, WhatIsSetAfterAReloadIsTheNewWhereItIsTakenOver) {
  const ReadSettings running = settings(std::string("[proxy]\nthreads = 2\nretire_timeout = \"9s\"\n") + kRoutes);
  const ReadSettings fresh = settings("[proxy]\nthreads = 4\n[[route]]\npath = \"/new\"\npool = \"all\"\n");
  const ConfigSheet sheet = config_sheet_in_force(running.sheet, fresh.sheet);
  EXPECT_EQ(sheet.at("proxy.threads").text, "2");
  EXPECT_FALSE(sheet.contains("proxy.retire_timeout")) << "a reload has put the default in force";
  EXPECT_EQ(sheet.at("route[0].path").text, "\"/new\"");
}

}  // namespace
}  // namespace agent
