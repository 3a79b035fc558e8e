#include "agent/config_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "agent/config_names.h"

namespace agent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

ReadSettings settings(const std::string& toml) {
  auto read = parse_settings(toml, "f");
  if (read) return std::move(*read);
  for (const auto& problem : read.error()) ADD_FAILURE() << problem.text();
  return {};
}
ConfigPlan plan(const std::string& before, const std::string& after) {
  const ReadSettings running = settings(before);
  return plan_of(running.config, running.sheet, settings(after));
}
/// "+ key = value (was x) [element]" of each change.
std::vector<std::string> lines(const ConfigPlan& plan) {
  std::vector<std::string> out;
  for (const PlanChange& one : plan.changes) {
    std::string line = one.verb == PlanVerb::kAdded ? "+ " : one.verb == PlanVerb::kRemoved ? "- " : "~ ";
    line += one.key + ": " + one.before + " -> " + one.after;
    if (!one.otherwise.empty()) line += " (else " + one.otherwise + ")";
    if (!one.element.empty()) line += " [" + one.element + "]";
    if (one.moved) line += " moved";
    out.push_back(line);
  }
  return out;
}
/// The one thing of that kind and name.
PlanConcern concern(const ConfigPlan& plan, ConcernKind kind, const std::string& name) {
  for (const PlanConcern& one : plan.concerns) {
    if (one.kind == kind && one.name == name) return one;
  }
  ADD_FAILURE() << "nothing about " << name_of(kind) << " " << name;
  return {};
}
std::string route(const std::string& path, const std::string& more = {}) { return "[[route]]\npath = \"" + path + "\"\npool = \"all\"\n" + more; }

// ---------------------------------------------------------------- keys

TEST(Plan, TheSameSettingsWrittenOtherwiseChangeNothing) {
  const ConfigPlan same = plan("[proxy]\nbody_bytes_max = \"50MiB\"\n[node]\nname = \"a\"\n" + route("/", "retry = true\n"),
                               "# comment\n[node]\nname = \"a\"\n[proxy]\nbody_bytes_max = 52428800\n" + route("/"));
  EXPECT_TRUE(same.empty());
  EXPECT_THAT(lines(same), IsEmpty());
  EXPECT_THAT(same.concerns, IsEmpty());
}

TEST(Plan, AddedRemovedAndChangedKeysWithWhatHoldsWithoutThem) {
  const ConfigPlan found = plan("[proxy]\nthreads = 2\nhead_timeout = \"5s\"\n[node]\nlog_level = \"warn\"\n",
                                "[proxy]\nthreads = 4\nconnections_max = 20000\n");
  EXPECT_THAT(lines(found), ElementsAre("- node.log_level: \"warn\" ->  (else \"info\")", "+ proxy.connections_max:  -> 20000 (else 10000)",
                                        "- proxy.head_timeout: 5s ->  (else 10s)", "~ proxy.threads: 2 -> 4"));
  EXPECT_THAT(found.at_once, ElementsAre("node.log_level"));
  EXPECT_THAT(found.needs_restart, ElementsAre("proxy"));
  EXPECT_EQ(found.changes[0].rule->by, TakenBy::kReload);
  EXPECT_EQ(found.changes[1].rule->by, TakenBy::kRestart);
  EXPECT_THAT(found.concerns, IsEmpty()) << "what waits touches nothing";
}

TEST(Plan, ATableWithoutKeysIsAChange) {
  EXPECT_THAT(lines(plan("", "[guard]\n")), ElementsAre("+ guard:  -> "));
  EXPECT_THAT(lines(plan("[guard]\nfails = 3\n", "")), ElementsAre("- guard.fails: 3 -> "));
}

TEST(Plan, ARouteThatMovesIsStillTheSame) {
  const std::string quotes = "[[route]]\nname = \"quotes\"\npath = \"/quotes\"\npool = \"all\"\n";
  const ConfigPlan found = plan(quotes + route("/b"), route("/new") + quotes + "retry = false\n" + route("/b"));
  EXPECT_THAT(lines(found), ElementsAre("+ route[0].path:  -> \"/new\" [/new]", "+ route[0].pool:  -> \"all\" [/new]", "+ route[1].retry:  -> false (else true) [quotes]"));
  const ConfigPlan swapped = plan(quotes + route("/b"), route("/b") + quotes);
  EXPECT_THAT(lines(swapped), ElementsAre("~ route: quotes, /b -> /b, quotes moved"));
}

TEST(Plan, WhatIsCalledOrderIsNoChangeOfOrder) {
  const auto order = [](const std::string& more) { return "[[route]]\nname = \"order\"\npath = \"/orders\"\npool = \"all\"\n" + more; };
  EXPECT_THAT(lines(plan(order(""), order("hold = \"7s\"\n"))), ElementsAre("+ route[0].hold:  -> 7s (else 5s) [order]"));
  EXPECT_THAT(lines(plan(order("") + route("/b"), route("/b") + order(""))), ElementsAre("~ route: order, /b -> /b, order moved"));
}

TEST(Plan, KeysAreSortedByTheirNumbers) {
  std::string before, after;
  for (int i = 0; i < 12; ++i) {
    before += route("/r" + std::to_string(i));
    after += route("/r" + std::to_string(i), "retry = false\n");
  }
  const auto found = lines(plan(before, after));
  ASSERT_EQ(found.size(), 12U);
  EXPECT_THAT(found[2], HasSubstr("route[2]."));
  EXPECT_THAT(found[10], HasSubstr("route[10]."));
}

TEST(Plan, ListsInsideOfListsGoByTheirOwnNames) {
  const auto pool = [](const std::string& endpoints) { return "[[upstream]]\nname = \"u\"\nendpoints = [" + endpoints + "]\n"; };
  EXPECT_THAT(lines(plan(pool("{ address = \"10.0.0.1:80\" }, { address = \"10.0.0.2:80\" }"), pool("{ address = \"10.0.0.2:80\", weight = 3 }"))),
              ElementsAre("- upstream[0].endpoints[0].address: \"10.0.0.1:80\" ->  [10.0.0.1:80]", "+ upstream[0].endpoints[0].weight:  -> 3 (else 1) [10.0.0.2:80]"));
}

TEST(Plan, SecretsAreNeverShown) {
  const auto all = [](const std::string& word, const std::string& digest, const std::string& key) {
    return "[mesh]\ngossip_key = \"" + key + "\"\n[tracing]\nenabled = true\nendpoint = \"http://127.0.0.1:4318/v1/traces\"\nheaders = [\"Authorization: Bearer " + word +
           "\"]\n[service]\naddress = \"127.0.0.1:9001\"\n[[service.check]]\nexec = [\"/bin/check\", \"--password\", \"" + word + "\"]\n[[egress]]\nname = \"b\"\nlisten = \"127.0.0.1:9100\"\n"
           "url = \"http://127.0.0.1:1\"\ninject = [\"Authorization: Bearer kv:" + word + "\"]\n[[route]]\npath = \"/\"\npool = \"all\"\nrequest_headers = { set = [\"X-Token: " + word +
           "\"] }\nresponse_headers = { add = [\"X-Token: " + word + "\"] }\n[route.auth]\ntokens = [\"sha256:" + digest + "\"]\n[[services]]\nname = \"s\"\ntoken = \"" + word + "\"\n";
  };
  const ConfigPlan found = plan(all("geheim1", std::string(64, 'a'), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
                                all("geheim2", std::string(64, 'b'), "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));
  const auto told = lines(found);
  EXPECT_THAT(told, Contains("~ mesh.gossip_key: (hidden) -> (hidden)"));
  EXPECT_THAT(told, Contains(HasSubstr("~ route[0].auth.tokens: (hidden) -> (hidden)")));
  EXPECT_THAT(told, Contains(HasSubstr("~ service.check[0].exec: [\"/bin/check\", (arguments hidden)] -> ")));
  EXPECT_EQ(told.size(), 8U) << "each of them is told as a change";
  for (const std::string& line : told) {
    EXPECT_THAT(line, Not(HasSubstr("geheim")));
    EXPECT_THAT(line, Not(HasSubstr("aaaa")));
    EXPECT_THAT(line, Not(HasSubstr("AAEC")));
  }
}

TEST(Plan, FilesThatSettingsNameAreAChangeOfTheirPart) {
  std::string folder = (std::filesystem::temp_directory_path() / "outrigger-plan-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(std::filesystem::path(folder) / name) << text; };
  write("outrigger.toml", "[mesh]\ngossip_key_file = \"key\"\n");
  write("key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
  ConfigSource source;
  source.file = std::filesystem::path(folder) / "outrigger.toml";
  const auto running = read_settings(source);
  write("key", "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
  const auto fresh = read_settings(source);
  ASSERT_TRUE(running && fresh);
  EXPECT_EQ(running->files_text, fresh->files_text);
  EXPECT_THAT(lines(plan_of(running->config, running->sheet, *fresh)), ElementsAre("~ mesh:  -> "));
  std::filesystem::remove_all(folder);
}

TEST(Plan, FilesAreTheSameWhateverElseIsSet) {
  std::string folder = (std::filesystem::temp_directory_path() / "outrigger-plan-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  std::filesystem::create_directories(std::filesystem::path(folder) / "conf.d");
  std::ofstream(std::filesystem::path(folder) / "outrigger.toml") << "[node]\nzone = \"east\"\n";
  std::ofstream(std::filesystem::path(folder) / "conf.d/x.toml") << "[raft]\nvoters = 3\n";
  ConfigSource source;
  source.file = std::filesystem::path(folder) / "outrigger.toml";
  const auto plain = read_settings(source);
  source.environment["OUTRIGGER_NODE_NAME"] = "n2";
  source.flags = {{"node.zone", "west"}};
  const auto other = read_settings(source);
  const auto texts = read_settings_texts(*source.file);
  ASSERT_TRUE(plain && other && texts);
  EXPECT_EQ(plain->files_text, other->files_text) << "the same file with names of its own from the environment";
  EXPECT_EQ(other->config.node.zone, "west");
  ASSERT_EQ(texts->size(), 2U);
  EXPECT_EQ(texts->at(1).second, "[raft]\nvoters = 3\n");
  const SettingsTexts instead{{"/elsewhere/new.toml", "# other words\n[raft]\nvoters = 3\n[node]\nzone = \"east\"\n"}};
  const auto asked = read_settings(source, &instead);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->files_text, plain->files_text);
  EXPECT_EQ(asked->config.node.zone, "west") << "flags are above files, also above those that are only asked about";
  EXPECT_EQ(read_settings_texts(std::filesystem::path(folder) / "none.toml").error().at(0).source, folder + "/none.toml");
  std::filesystem::remove_all(folder);
}

// ---------------------------------------------------------------- what it touches

TEST(PlanConcerns, ListenersOpenCloseAndChange) {
  const auto listen = [](const std::string& port, const std::string& more = {}) { return "[[listen]]\naddress = \"127.0.0.1:" + port + "\"\n" + more; };
  const ConfigPlan found = plan(listen("1") + listen("2"), listen("2", "trusted_proxies = [\"10.0.0.0/8\"]\n") + listen("3"));
  EXPECT_EQ(concern(found, ConcernKind::kListener, "127.0.0.1:1").verb, PlanVerb::kRemoved);
  EXPECT_THAT(concern(found, ConcernKind::kListener, "127.0.0.1:1").forgotten, ElementsAre(HasSubstr("within 3 s")));
  EXPECT_THAT(concern(found, ConcernKind::kListener, "127.0.0.1:2").kept, ElementsAre(HasSubstr("open connections go on")));
  EXPECT_EQ(concern(found, ConcernKind::kListener, "127.0.0.1:3").verb, PlanVerb::kAdded);
  const ConfigPlan tcp = plan(listen("1", "tcp = { name = \"db\", pool = \"all\" }\n"), listen("1", "tcp = { name = \"db\", pool = \"all\", idle = \"5s\" }\n"));
  EXPECT_THAT(concern(tcp, ConcernKind::kTcpRoute, "db").kept, ElementsAre(HasSubstr("until they end")));
}

TEST(PlanConcerns, RoutesThatNobodyWroteGoWhenOneIsWritten) {
  const std::string service = "[service]\naddress = \"127.0.0.1:9001\"\n";
  const ReadSettings before = settings(service);
  ASSERT_FALSE(before.config.routes.empty());
  const ConfigPlan found = plan(service, service + "[[route]]\nname = \"own\"\npath = \"/own\"\npool = \"all\"\n");
  EXPECT_EQ(concern(found, ConcernKind::kRoute, "own").verb, PlanVerb::kAdded);
  for (const RouteConfig& route : before.config.routes) EXPECT_EQ(concern(found, ConcernKind::kRoute, config_route_name(route)).verb, PlanVerb::kRemoved);
}

TEST(PlanConcerns, BreakersOfARouteAreKeptWhileTheirRuleIs) {
  const std::string breaker = "breaker = { fail = 3, open = \"30s\" }\n";
  const ConfigPlan kept = plan(route("/", breaker), route("/", breaker + "retry = false\n"));
  EXPECT_THAT(concern(kept, ConcernKind::kRoute, "/").kept, Contains(HasSubstr("breakers")));
  EXPECT_THAT(concern(kept, ConcernKind::kRoute, "/").forgotten, IsEmpty());
  const ConfigPlan gone = plan(route("/", breaker), route("/", "breaker = { fail = 4, open = \"30s\" }\n"));
  EXPECT_THAT(concern(gone, ConcernKind::kRoute, "/").forgotten, ElementsAre(HasSubstr("breakers")));
}

TEST(PlanConcerns, ALimitIsKeptByItsZoneAndItsRule) {
  const auto limited = [](const std::string& path, const std::string& limit) { return route(path, "rate = { limit = \"" + limit + "\", zone = \"z\" }\n"); };
  const ConfigPlan moved = plan(limited("/a", "10/s"), limited("/b", "10/s"));
  EXPECT_THAT(concern(moved, ConcernKind::kRoute, "/a").kept, Contains(HasSubstr("zone z"))) << "another route has taken the zone";
  EXPECT_EQ(concern(moved, ConcernKind::kRoute, "/b").verb, PlanVerb::kAdded);
  EXPECT_THAT(concern(plan(limited("/a", "10/s"), limited("/a", "11/s")), ConcernKind::kRoute, "/a").forgotten, ElementsAre(HasSubstr("rate limit")));
}

TEST(PlanConcerns, SessionsAndKeysOfOrdersGoByTheirZone) {
  const ConfigPlan sessions = plan(route("/", "sticky = { by = \"cookie\" }\n"), route("/", "sticky = { by = \"cookie\", zone = \"other\" }\n"));
  EXPECT_EQ(concern(sessions, ConcernKind::kRoute, "/").session_zone, "_");
  EXPECT_THAT(concern(sessions, ConcernKind::kRoute, "/").forgotten, ElementsAre(HasSubstr("sessions of zone _")));
  const auto orders = [](const std::string& zone, const std::string& more) {
    return "[service]\naddress = \"127.0.0.1:9001\"\n[[route]]\npath = \"/orders\"\npool = \"primary\"\n" + more + "[route.idempotency]\nzone = \"" + zone + "\"\n";
  };
  EXPECT_THAT(concern(plan(orders("a", ""), orders("b", "")), ConcernKind::kRoute, "/orders").forgotten, ElementsAre(HasSubstr("is sent again")));
  EXPECT_THAT(concern(plan(orders("a", ""), orders("a", "cancel = true\n")), ConcernKind::kRoute, "/orders").kept, Contains(HasSubstr("keys of orders of zone a")));
  const auto unnamed = [](const std::string& more) {
    return "[service]\naddress = \"127.0.0.1:9001\"\n[[route]]\npath = \"/orders\"\npool = \"primary\"\n" + more;
  };
  const std::string before = unnamed("idempotency = {}\n");
  EXPECT_THAT(concern(plan(before, unnamed("name = \"n\"\nidempotency = {}\n")), ConcernKind::kRoute, "/orders").kept, Contains(HasSubstr("zone orders"))) << "a name is no zone";
  EXPECT_THAT(concern(plan(before, unnamed("idempotency = { key = \"query:id\" }\n")), ConcernKind::kRoute, "/orders").forgotten, ElementsAre(HasSubstr("is sent again")));
}

TEST(PlanConcerns, PoolsKeepWhatIsKnownOfEndpointsThatStay) {
  const auto pool = [](const std::string& address, const std::string& every) {
    return "[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"10.0.0.1:80\" }, { address = \"" + address + "\" }]\n[[upstream.check]]\ntcp = true\nevery = \"" + every + "\"\n";
  };
  const std::string to_u = "[[route]]\npath = \"/u\"\npool = \"u\"\n";
  const ConfigPlan found = plan(pool("10.0.0.2:80", "1s"), pool("10.0.0.3:80", "1s"));
  EXPECT_THAT(concern(plan(pool("10.0.0.2:80", "1s") + to_u, pool("10.0.0.3:80", "1s") + to_u), ConcernKind::kUpstream, "u").routes, ElementsAre("/u"));
  EXPECT_THAT(concern(found, ConcernKind::kUpstream, "u").kept, Contains(HasSubstr("results of checks")));
  EXPECT_EQ(concern(found, ConcernKind::kEndpoint, "10.0.0.2:80").verb, PlanVerb::kRemoved);
  EXPECT_EQ(concern(found, ConcernKind::kEndpoint, "10.0.0.2:80").pool, "u");
  EXPECT_THAT(concern(found, ConcernKind::kEndpoint, "10.0.0.2:80").forgotten, ElementsAre(HasSubstr("ejections")));
  EXPECT_THAT(concern(found, ConcernKind::kEndpoint, "10.0.0.3:80").kept, ElementsAre(HasSubstr("first check")));
  EXPECT_THAT(concern(plan(pool("10.0.0.2:80", "1s"), pool("10.0.0.2:80", "2s")), ConcernKind::kUpstream, "u").forgotten, ElementsAre(HasSubstr("begin anew")));
}

TEST(PlanConcerns, EgressBreakersOfProgramsAndRegistrations) {
  const auto egress = [](const std::string& more) {
    return "[service]\naddress = \"127.0.0.1:9001\"\n[[egress]]\nname = \"b\"\nlisten = \"127.0.0.1:9100\"\nurl = \"http://127.0.0.1:1\"\n" + more;
  };
  EXPECT_THAT(concern(plan(egress("rate = { limit = \"5/s\" }\n"), egress("rate = { limit = \"6/s\" }\n")), ConcernKind::kEgress, "b").forgotten, ElementsAre(HasSubstr("rate limit")));
  EXPECT_THAT(concern(plan("[[breaker]]\nname = \"x\"\n", "[[breaker]]\nname = \"x\"\nfail = 2\n"), ConcernKind::kBreaker, "x").forgotten, ElementsAre(HasSubstr("its state")));
  EXPECT_EQ(concern(plan("", "[[services]]\nname = \"web\"\nport = 80\n"), ConcernKind::kService, "web").verb, PlanVerb::kAdded);
  EXPECT_EQ(concern(plan("[[checks]]\nname = \"c\"\nttl = \"5s\"\n", "[[checks]]\nname = \"c\"\nttl = \"6s\"\n"), ConcernKind::kCheck, "c").verb, PlanVerb::kChanged);
}

TEST(Plan, NotesSayWhatEveryReloadDoes) {
  EXPECT_THAT(plan("", "").notes, IsEmpty());
  const std::string pool = "[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"10.0.0.1:443\" }]\n[upstream.tls]\nverify = false\n";
  const ConfigPlan found = plan(pool, pool);
  EXPECT_TRUE(found.empty()) << "a note is no change";
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("upstream u")));
}

}  // namespace
}  // namespace agent
