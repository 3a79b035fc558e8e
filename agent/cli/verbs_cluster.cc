#include <unistd.h>

#include <chrono>
#include <memory>
#include <ostream>
#include <thread>

#include "agent/cli/session.h"

namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

constexpr std::uint32_t kLeaveWaitMs = 30'000;  // orders in flight, hooks and clients may take their time, each bounded (agent_stop.cc)
constexpr std::chrono::milliseconds kDrainLook{100};  // how often a drained agent is asked whether it is empty

/// Elements of the list `key` in `object`; none when there is no such list.
Json list_of(const Json& object, const std::string& key) {
  Json list = field(object, key);
  return list.is_array() ? list : Json::array();
}

int run_members(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/peers", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<Row> rows{{"NAME", "ADDRESS", "STATE", "ROLE", "HEALTH", "RTT", "API", "ZONE"}};
  for (const auto& peer : list_of(*reply, "peers")) {
    const std::string rtt = cell(peer, "rtt_ms");
    const auto tags = field(peer, "tags");
    rows.push_back({cell(peer, "name"), cell(peer, "address") + ":" + cell(peer, "gossip_port"), cell(peer, "state"),
                    cell(tags, "role"), cell(tags, "h"), rtt == "-" ? rtt : rtt + " ms", cell(peer, "api_address"),
                    cell(tags, "zone")});
  }
  session.print_table(rows);
  return kExitOk;
}

int show_upstreams(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/upstreams", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<Row> rows{
      {"SERVICE", "ENDPOINT", "ADDRESS", "HEALTH", "WEIGHT", "IN FLIGHT", "REQUESTS", "FAILURES", "P50 MS", "P99 MS", "EWMA MS", "BREAKER", "NOTE"}};
  for (const auto& upstream : list_of(*reply, "upstreams"))
    for (const auto& endpoint : list_of(upstream, "endpoints")) {
      std::string note = cell(endpoint, "reason") == "-" ? "" : cell(endpoint, "reason");
      if (const auto rest = cell(endpoint, "ejected_for_ms"); rest != "-" && rest != "0")
        note = "ejected for " + rest + " ms; " + note;
      if (cell(endpoint, "is_draining") == "true") note = "draining; " + note;
      if (cell(endpoint, "is_backup") == "true") note = "backup; " + note;
      if (const auto checks = cell(endpoint, "checks"); checks != "-") note += (note.empty() ? "checks: " : "; checks: ") + checks;
      while (note.ends_with("; ")) note.resize(note.size() - 2);
      rows.push_back({cell(upstream, "service"), cell(endpoint, "name"), cell(endpoint, "address"),
                      cell(endpoint, "health"), cell(endpoint, "weight"), cell(endpoint, "in_flight"),
                      cell(endpoint, "requests"), cell(endpoint, "failures"), cell(endpoint, "p50_ms"),
                      cell(endpoint, "p99_ms"), cell(endpoint, "ewma_ms") == "0.0" ? "-" : cell(endpoint, "ewma_ms"),
                      cell(endpoint, "breaker"), note});
    }
  session.print_table(rows);
  return kExitOk;
}

struct StickyOptions {
  std::string zone, value;
};

int run_sticky_get(Session& session, const StickyOptions& options) {
  int code = kExitOk;
  std::string target = "/outrigger/v1/sticky";
  if (!options.zone.empty()) target += "?zone=" + url_encode(options.zone);
  if (!options.value.empty()) target += "&value=" + url_encode(options.value);
  const auto reply = session.call_json("GET", target, code);
  if (!reply) return code;
  const Json sessions = list_of(*reply, "sessions");
  if (session.json()) return session.print(*reply), sessions.empty() && !options.value.empty() ? kExitFailed : kExitOk;
  if (sessions.empty() && !options.value.empty())
    return session.fail("no row says where that session is", "it is where its hash says until its second request; is the zone the name of its route?"), kExitFailed;
  std::vector<Row> rows{{"ZONE", "SESSION", "NODE", "TTL", "INDEX"}};
  for (const auto& one : sessions)
    rows.push_back({cell(one, "zone"), cell(one, "session"), cell(one, "node"), cell(one, "ttl_s") + " s", cell(one, "index")});
  session.print_table(rows);
  return kExitOk;
}

/// Once, or every `seconds` on a cleared screen (a terminal) or below each other, until the agent is gone.
int run_upstreams(Session& session, std::uint32_t seconds, std::uint64_t rounds) {
  const bool clears = isatty(STDOUT_FILENO) == 1 && !session.json();
  for (std::uint64_t round = 1;; ++round) {
    if (seconds > 0 && clears) session.host.out << "\033[H\033[2J";
    if (const int code = show_upstreams(session); code != kExitOk || seconds == 0 || round == rounds) return code;
    session.host.out.flush();
    sleep(seconds);
  }
}

CLI::App& client_verb(CLI::App& app, Session& session, const std::string& name, const std::string& help) {
  CLI::App& verb = *app.add_subcommand(name, help);
  session.add_client_options(verb);
  return verb;
}

void add_cache_verbs(CLI::App& app, Session& session) {
  CLI::App& cache = *app.add_subcommand("cache", "answers that this agent's proxy keeps");
  cache.require_subcommand(1);
  CLI::App& purge = client_verb(cache, session, "purge", "drop kept answers of this agent, all or some");
  const auto route = std::make_shared<std::string>(), prefix = std::make_shared<std::string>();
  purge.add_option("--route", *route, "name of a route; default: every route");
  purge.add_option("--prefix", *prefix, "only targets that begin so: /quotes");
  purge.callback([&session, route, prefix] {
    session.chosen = [&session, route, prefix] {
      return session.act("DELETE", "/outrigger/v1/cache?route=" + url_encode(*route) + "&prefix=" + url_encode(*prefix), "purged");
    };
  });
}

/// "Tell me when empty": asks again until nothing runs at the instance any more.
int drain_and_wait(Session& session, std::chrono::seconds wait) {
  int code = kExitOk;
  if (!session.call_json("PUT", "/outrigger/v1/drain?enable=true", code)) return code;
  const auto deadline = std::chrono::steady_clock::now() + wait;
  while (true) {
    const auto state = session.call_json("GET", "/outrigger/v1/drain", code);
    if (!state) return code;
    if (field(*state, "empty") == true) {
      session.json() ? session.print(*state) : void(session.host.out << "drained, nothing runs there any more\n");
      return kExitOk;
    }
    if (std::chrono::steady_clock::now() >= deadline)
      return session.fail(cell(*state, "in_flight") + " requests still run at the instance, role " + cell(*state, "role"),
                          "wait longer, or end them; it goes on draining");
    std::this_thread::sleep_for(kDrainLook);
  }
}

}  // namespace

void add_cluster_verbs(CLI::App& app, Session& session) {
  client_verb(app, session, "members", "who is in the mesh and how they are").callback([&session] {
    session.chosen = [&session] { return run_members(session); };
  });
  CLI::App& upstreams = client_verb(app, session, "upstreams", "the instances as the proxy sees them");
  const auto watch = std::make_shared<bool>(false);
  const auto every = std::make_shared<std::uint32_t>(1);
  const auto rounds = std::make_shared<std::uint64_t>(0);
  upstreams.add_flag("--watch", *watch, "again and again");
  upstreams.add_option("--every", *every, "with --watch: seconds between two looks")->check(CLI::Range(1, 3600));
  upstreams.add_option("--count", *rounds, "with --watch: end after so many looks; default: never");
  upstreams.callback([&session, watch, every, rounds] {
    session.chosen = [&session, watch, every, rounds] { return run_upstreams(session, *watch ? *every : 0, *rounds); };
  });

  CLI::App& sticky = *app.add_subcommand("sticky", "which node a session is kept at");
  sticky.require_subcommand(1);
  CLI::App& get = client_verb(sticky, session, "get", "the sessions that are written down for all agents, or one of them");
  const auto asked = std::make_shared<StickyOptions>();
  get.add_option("zone", asked->zone, "name of the route, or its sticky.zone; default: all");
  get.add_option("value", asked->value, "of the session's cookie or header, or the client's address");
  get.footer("Example: outrigger sticky get web 9f86d081884c7d659a2feaa0c55ad015");
  get.callback([&session, asked] { session.chosen = [&session, asked] { return run_sticky_get(session, *asked); }; });

  CLI::App& join = client_verb(app, session, "join", "let the agent join a mesh through other agents");
  const auto addresses = std::make_shared<std::vector<std::string>>();
  join.add_option("address", *addresses, "gossip address of a member, ip:port or name:port")->required();
  join.callback([&session, addresses] {
    session.chosen = [&session, addresses] {
      return session.act("PUT", "/outrigger/v1/join", "joined", Json{{"addresses", *addresses}}.dump());
    };
  });

  CLI::App& leave = client_verb(app, session, "leave", "hand over, tell the others, stop the agent");
  leave.callback([&session, &leave] {
    session.chosen = [&session, &leave] {
      if (leave.count("--timeout") == 0) session.timeout_ms = kLeaveWaitMs;
      return session.act("PUT", "/outrigger/v1/leave", "the agent has left");
    };
  });

  CLI::App& drain = client_verb(app, session, "drain", "hand over and take no new requests; --wait tells when none is left");
  const auto off = std::make_shared<bool>(false);
  const auto wait_seconds = std::make_shared<std::uint32_t>(0);
  auto* ends = drain.add_flag("--off", *off, "end draining");
  drain.add_option("--wait", *wait_seconds, "seconds to wait until nothing runs at the instance; exit code 1 if something still does")
      ->check(CLI::Range(1, 86'400))->excludes(ends);
  drain.callback([&session, off, wait_seconds] {
    session.chosen = [&session, off, wait_seconds] {
      if (*off) return session.act("PUT", "/outrigger/v1/drain?enable=false", "no longer draining");
      if (*wait_seconds == 0) return session.act("PUT", "/outrigger/v1/drain?enable=true", "drained");
      return drain_and_wait(session, std::chrono::seconds(*wait_seconds));
    };
  });
  add_cache_verbs(app, session);
}

}  // namespace agent::cli
