// The hash of the settings: whatever differs in what happens has another one, and a plan names the key.
#include "agent/config_sheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/config_plan.h"

namespace agent {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ReadSettings settings(const std::string& toml) {
  auto read = parse_settings(toml, "f");
  if (read) return std::move(*read);
  for (const auto& problem : read.error()) ADD_FAILURE() << toml << problem.text();
  return {};
}
std::vector<std::string> keys(const ReadSettings& before, const ReadSettings& after) {
  std::vector<std::string> out;
  for (const PlanChange& one : plan_changes(before.config, before.sheet, after)) out.push_back(one.key);
  return out;
}

constexpr const char* kOrders = "[service]\naddress = \"127.0.0.1:9001\"\n[[route]]\npath = \"/\"\npool = \"primary\"\n";
constexpr const char* kReads = "[[route]]\npath = \"/\"\npool = \"all\"\n";
constexpr const char* kPool = "[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"a.example:443\" }, { address = \"b.example:443\" }]\n";

/// Settings, and a way to write them with one thing more; `key`: the one that tells them apart, empty = nothing does.
struct Pair {
  const char* base;
  const char* without;
  const char* with;
  const char* key;
};
const Pair kPairs[] = {
    // What some reader takes into a place of its own, at the value that this place begins with.
    {kOrders, "idempotency = {}\n", "idempotency = { unknown_statuses = [] }\n", "route[0].idempotency.unknown_statuses"},
    {kReads, "", "body_max = 0\n", "route[0].body_max"},
    {kReads, "rate = { limit = \"5/s\" }\n", "rate = { limit = \"5/s\", burst = 0 }\n", "route[0].rate.burst"},
    {"[service]\naddress = \"127.0.0.1:9001\"\n[[egress]]\nname = \"b\"\nlisten = \"127.0.0.1:9100\"\nurl = \"http://127.0.0.1:1\"\n", "", "body_max = 0\n", "egress[0].body_max"},
    // Defaults that others decide about: saying them is saying something.
    {kPool, "tls = { verify = true }\n", "tls = { verify = true, server_name = \"a.example\" }\n", "upstream[0].tls.server_name"},
    {"", "[raft]\nbootstrap_expect = 1\n", "[raft]\nbootstrap_expect = 1\nbootstrap = false\n", "raft.bootstrap"},
    {"", "", "[dns]\nlisten = \"127.0.0.1:8600\"\n", "dns.listen"},
    // Defaults written out, in words of any kind.
    {kOrders, "idempotency = {}\n", "idempotency = { unknown_statuses = [\"500\", \"502\", \"504\"] }\n", ""},
    {"", "[guard]\n", "[guard]\nstatuses = [\"401\", \"403\"]\n", ""},
    {kPool, "check = [{ http = \"/\" }]\n", "check = [{ http = \"/\", expect = [\"200-299\"] }]\n", ""},
    {"", "[access_log]\nto = \"syslog\"\n", "[access_log]\nto = \"syslog\"\nsyslog = \"127.0.0.1:514\"\n", ""},
    {kReads, "", "timeouts = { total = \"60s\" }\n", ""},
    // Tables that are there anyway.
    {"", "", "[proxy]\n", ""},
    {"", "", "[proxy.h2]\n[tracing]\n[halt]\n", ""},
    {"[service]\naddress = \"127.0.0.1:9001\"\n", "", "[service.hooks]\n[service.health]\n", ""},
    {kReads, "max_conns = 2\n", "max_conns = 2\ntimeouts = {}\nqueue = {}\nrequest_headers = {}\n", ""},
    {"", "", "[guard]\n", "guard"},
    {kReads, "", "cache = {}\n", "route[0].cache"},
    // The same in other letters.
    {kReads, "methods = [\"POST\"]\nhost = \"a.example\"\n", "methods = [\"post\"]\nhost = \"A.Example\"\n", ""},
    {kReads, "compress = { types = [\"text/css\"] }\n", "compress = { types = [\"Text/CSS\"] }\n", ""},
    {"", "[dns]\ndomain = \"mesh\"\n", "[dns]\ndomain = \"Mesh.\"\n", ""},
    {"", "[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"a.example:443\" }]\n", "[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"A.Example:443\" }]\n", ""},
};

TEST(ConfigSheet, WhatDiffersHasAnotherHashAndIsNamed) {
  for (const Pair& pair : kPairs) {
    const ReadSettings before = settings(std::string(pair.base) + pair.without), after = settings(std::string(pair.base) + pair.with);
    const std::vector<std::string> found = keys(before, after), back = keys(after, before);
    if (*pair.key == '\0') {
      EXPECT_THAT(found, IsEmpty()) << pair.with;
      EXPECT_EQ(before.files_text, after.files_text) << pair.with;
    } else {
      EXPECT_THAT(found, ElementsAre(pair.key)) << pair.with;
      EXPECT_THAT(back, ElementsAre(pair.key)) << pair.with;
      EXPECT_NE(before.files_text, after.files_text) << pair.with;
    }
  }
}

TEST(ConfigSheet, WhatTheEnvironmentMayTurnIsNoDefaultWrittenOut) {
  for (const char* line : {"node.name = \"localhost\"", "mesh.advertise = \"127.0.0.1\"", "raft.bootstrap = true", "dns.udp_bytes_max = 8192",
                           "access_log.file = \"outrigger-data/access.log\""}) {
    const std::string base = "access_log.to = \"file\"\n";
    const ReadSettings plain = settings(base), said = settings(base + line);
    EXPECT_THAT(keys(plain, said), IsEmpty()) << line;
    EXPECT_NE(plain.files_text, said.files_text) << line << ": under OUTRIGGER_MESH_SEEDS and the like it is something else";
  }
}

// ---------------------------------------------------------------- every key

std::string toml(const Json& value) {
  std::string out;
  if (value.is_object()) {
    for (const auto& [key, one] : value.items()) out += (out.empty() ? "" : ", ") + key + " = " + toml(one);
    return "{ " + out + " }";
  }
  if (!value.is_array()) return value.dump();
  for (const Json& one : value) out += (out.empty() ? "" : ", ") + toml(one);
  return "[" + out + "]";
}
std::string document(const Json& tree) {
  std::string out;
  for (const auto& [key, value] : tree.items()) out += key + " = " + toml(value) + "\n";
  return out;
}

/// The table that a key stands in, made where it is one that need not be there; null = an element of a list is missing.
Json* place_of(Json& tree, const std::string& pattern, std::string& last) {
  Json* here = &tree;
  for (std::size_t from = 0;;) {
    const std::size_t dot = pattern.find('.', from);
    std::string part = pattern.substr(from, dot - from);
    if (dot == std::string::npos) return last = part, here;
    const bool is_list = part.ends_with("[]");
    if (is_list) part.resize(part.size() - 2);
    if (is_list && !here->contains(part)) return nullptr;
    here = &(*here)[part];
    if (is_list) here = &(*here)[0];
    else if (here->is_null()) *here = Json::object();
    from = dot + 1;
  }
}

/// Values of all kinds; most keys take a few of them.
const Json kValues = Json::parse(R"([true, false, 0, 1, 60, 443, 1000, 9000, "", "0s", "20ms", "100ms", "200ms", "1s", "10s", "2h", "3h", "0B", "16KiB", "1MiB", "off", "a", "b", "header:X-A",
  "ip", "cookie", "X-A", "127.0.0.1:7", "127.0.0.1:8", "127.0.0.1", "c.example:7", "d.example:7", "/x", "/y", "10/s", "5/1s", "http://127.0.0.1:8", "http://127.0.0.1:9", "all", "primary", "file", "node", "cluster",
  "round_robin", "optional", "required", "auto", "backup", "v2", "anyone", "debug", "warn", "none", "local", "admit", "refuse", "security",
  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", [], ["GET"], ["a"], ["10.0.0.0/8"], ["10.0.0.7"], ["500"], ["404"], ["/bin/x"], ["X-A: b"], ["X-A: kv:b"], ["timeout"],
  ["text/css"], ["h2"], ["127.0.0.1:7"], ["a.example:443"], ["X25519"], ["a.example"],
  ["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"], ["sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"],
  ["u:sha256:saltsalt:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]])");

constexpr std::size_t kAcceptedMax = 6;  // of one key, so that this takes seconds

/// Settings in which the keys may stand that exclude one another elsewhere.
const char* const kBases[] = {
    R"({"service": {"address": "127.0.0.1:9001", "check": [{"tcp": true}]}, "route": [{"path": "/", "pool": "primary"}], "listen": [{"address": "127.0.0.1:1"}]})",
    R"({"service": {"address": "127.0.0.1:9001", "check": [{"http": "/"}]}, "route": [{"path": "/", "pool": "all", "max_conns": 5, "response_headers": {"preset": "security"}, "balance": "ring_hash"}],
        "listen": [{"address": "127.0.0.1:1", "tls": {"certificates": [{"cert": "/c", "key": "/k"}], "client_certificates": "required", "client_ca": "/a"}, "hsts": "3s"}]})",
    R"({"service": {"address": "127.0.0.1:9001", "tls": {"cert": "/c", "key": "/k"}}, "route": [{"path": "/", "pool": "u", "rate": {"limit": "9/s", "burst": 3, "scope": "cluster"}}],
        "listen": [{"address": "127.0.0.1:1", "tcp": {"name": "t", "pool": "all"}}], "breaker": [{"name": "b"}],
        "upstream": [{"name": "u", "endpoints": [{"address": "a.example:443"}], "check": [{"http": "/"}]}],
        "egress": [{"name": "e", "listen": "127.0.0.1:2", "url": "https://127.0.0.1:3", "rate": {"limit": "9/s"}, "max_conns": 2}], "tracing": {"enabled": true, "endpoint": "https://127.0.0.1:4/x"}})",
    R"({"service": {"address": "127.0.0.1:9001"}, "route": [{"path": "/", "static": {"root": "/srv"}}],
        "listen": [{"address": "127.0.0.1:1", "sni": [{"server_names": ["x.example"], "name": "s"}], "proxy_protocol": {"from": ["10.0.0.1"]}}], "access_log": {"to": "file"},
        "upstream": [{"name": "u", "endpoints": [{"address": "127.0.0.1:443"}], "check": [{"tcp": true}]}], "kernel_permit": {"exec": ["/bin/k"]},
        "egress": [{"name": "e", "listen": "127.0.0.1:2", "connect": ["b.example:443"]}], "arming": {"reconcile": {"exec": ["/bin/r"]}}})",
    R"({"service": {"address": "127.0.0.1:9001", "hooks": {"promote": {"url": "http://127.0.0.1:5"}, "demote": {"url": "http://127.0.0.1:5"}}}, "access_log": {"to": "syslog"},
        "route": [{"path": "/", "pool": "all", "sticky": {"by": "cookie"}, "auth": {"tokens": ["sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"]}}],
        "listen": [{"address": "127.0.0.1:1", "tcp": {"name": "t", "pool": "primary"}}],
        "egress": [{"name": "e", "listen": "127.0.0.1:2", "url": "http://127.0.0.1:3", "rate": {"limit": "9/s", "burst": 3}}]})",
    R"({"service": {"address": "127.0.0.1:9001"}, "egress": [{"name": "e", "listen": "127.0.0.1:2", "to": "b.example:443"}]})"};

/// Said outright they are something, though nothing may differ right now; bootstrap_expect = 1 is bootstrap in other words, and what
/// a key file holds is not read here.
bool is_by_others(const std::string& pattern) {
  static const std::set<std::string> kKeys = {"node.name", "mesh.advertise", "raft.bootstrap", "dns.udp_bytes_max", "dns.listen", "access_log.file",
                                              "raft.bootstrap_expect", "mesh.gossip_key_file"};
  return kKeys.contains(pattern) || pattern.ends_with("tls.server_name");
}

void compare(const std::string& pattern, const std::string& before_text, const ReadSettings& before, const std::string& after_text, const ReadSettings& after) {
  const std::vector<std::string> found = keys(before, after);
  const std::string told = pattern + "\n--- " + before_text + "--- " + after_text;
  const bool same = before.files_text == after.files_text;
  EXPECT_FALSE(same && !found.empty()) << told;
  EXPECT_FALSE(!same && found.empty() && !is_by_others(pattern)) << told;
  const std::string part = pattern.substr(0, pattern.find_first_of(".["));
  for (const std::string& key : found) EXPECT_NE(key, part) << told;
}

TEST(ConfigSheet, EveryKeyIsInTheHashAsItIsInThePlan) {
  std::map<std::string, int> tried;
  for (const char* base : kBases) {
    for (const std::string& pattern : config_keys()) {
      if (tried[pattern] > 0) continue;
      std::vector<std::pair<std::string, ReadSettings>> accepted;
      const auto take = [&](const Json* value) {
        Json tree = Json::parse(base);
        std::string last;
        Json* table = place_of(tree, pattern, last);
        if (table == nullptr) return;
        if (value != nullptr) (*table)[last] = *value;
        else table->erase(last);
        std::string text = document(tree);
        if (auto read = parse_settings(text, "f")) accepted.emplace_back(std::move(text), std::move(*read));
      };
      take(nullptr);
      for (const Json& value : kValues) {
        if (accepted.size() < kAcceptedMax) take(&value);
      }
      for (std::size_t i = 1; i < accepted.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) compare(pattern, accepted[j].first, accepted[j].second, accepted[i].first, accepted[i].second);
      }
      if (accepted.size() > 1) ++tried[pattern];
    }
  }
  std::vector<std::string> never;
  for (const auto& [pattern, count] : tried) {
    if (count == 0) never.push_back(pattern);
  }
  // Of these one value alone is accepted at most.
  EXPECT_THAT(never, ElementsAre("egress[].rate.fallback", "egress[].rate.timeout", "egress[].service"));
}

}  // namespace
}  // namespace agent
