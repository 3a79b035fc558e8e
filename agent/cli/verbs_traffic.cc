#include <algorithm>
#include <memory>
#include <ostream>

#include "agent/cli/session.h"

/// eject, uneject, breaker, guard: what an operator does to traffic.
namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

CLI::App& client_verb(CLI::App& app, Session& session, const std::string& name, const std::string& help) {
  CLI::App& verb = *app.add_subcommand(name, help);
  session.add_client_options(verb);
  return verb;
}

/// "1 h 5 min", "12 s"; "-" for nothing.
std::string time_cell(const Json& object, const std::string& key) {
  const Json value = field(object, key);
  if (!value.is_number_integer() || value.get<std::int64_t>() <= 0) return "-";
  const std::int64_t seconds = (value.get<std::int64_t>() + 999) / 1000;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 7200) return std::to_string(seconds / 60) + " min";
  return std::to_string(seconds / 3600) + " h " + std::to_string(seconds % 3600 / 60) + " min";
}

// ---------------------------------------------------------------- endpoints

struct EjectOptions {
  std::string endpoint, pool, how_long;
  bool force = false;
};

int run_eject(Session& session, const EjectOptions& options) {
  Json body = {{"endpoint", options.endpoint}};
  if (!options.pool.empty()) body["pool"] = options.pool;
  if (!options.how_long.empty()) body["for"] = options.how_long;
  if (options.force) body["force"] = true;
  int code = kExitOk;
  const auto reply = session.call_json("POST", "/outrigger/v1/upstreams/eject", code, body.dump());
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << cell(*reply, "endpoint") << " (" << cell(*reply, "address") << ") is out for " << time_cell(*reply, "ejected_for_ms")
                   << "; back before that: outrigger uneject " << cell(*reply, "endpoint") << "\n";
  return kExitOk;
}

int run_uneject(Session& session, const EjectOptions& options) {
  Json body = {{"endpoint", options.endpoint}};
  if (!options.pool.empty()) body["pool"] = options.pool;
  int code = kExitOk;
  const auto reply = session.call_json("POST", "/outrigger/v1/upstreams/uneject", code, body.dump());
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << cell(*reply, "endpoint") << " (" << cell(*reply, "address") << ") is no longer ejected here\n";
  if (field(*reply, "left_out_by_others") == true)
    session.host.out << "other agents have ejected it too; until they take it back it stays out: run the same there\n";
  return kExitOk;
}

void add_eject_verbs(CLI::App& app, Session& session) {
  const auto options = std::make_shared<EjectOptions>();
  CLI::App& eject = client_verb(app, session, "eject", "take an endpoint out of rotation, here and at the other agents");
  eject.add_option("endpoint", options->endpoint, "name of an agent, or an address, as in \"outrigger upstreams\"")->required();
  eject.add_option("--for", options->how_long, "how long, 1s to 24h; default: 1h");
  eject.add_option("--pool", options->pool, "of that pool, when several have one of that name");
  eject.add_flag("--force", options->force, "also the last one that could be asked");
  eject.footer("Requests under way end there; sessions move; primary routes are not concerned (switchover moves those).");
  eject.callback([&session, options] { session.chosen = [&session, options] { return run_eject(session, *options); }; });
  CLI::App& uneject = client_verb(app, session, "uneject", "end an ejection, also one by live traffic");
  uneject.add_option("endpoint", options->endpoint, "as with eject")->required();
  uneject.add_option("--pool", options->pool, "as with eject");
  uneject.callback([&session, options] { session.chosen = [&session, options] { return run_uneject(session, *options); }; });
}

// ---------------------------------------------------------------- breakers

int run_breakers(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/breakers", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<Row> rows{{"BREAKER", "OF", "ENDPOINT", "STATE", "LEFT", "RULE", "NOTE"}};
  const Json list = field(*reply, "breakers");
  for (const auto& one : list.is_array() ? list : Json::array()) {
    rows.push_back({cell(one, "name"), cell(one, "kind"), cell(one, "address"), cell(one, "state"), time_cell(one, "left_ms"),
                    cell(one, "fail") + " in " + time_cell(one, "window_ms") + ", open " + time_cell(one, "open_ms"),
                    field(one, "by_word") == true ? "at the word of another agent" : ""});
  }
  session.print_table(rows);
  return kExitOk;
}

int run_reset(Session& session, const std::string& name, const std::string& endpoint) {
  int code = kExitOk;
  const std::string body = endpoint.empty() ? std::string() : Json{{"endpoint", endpoint}}.dump();
  const auto reply = session.call_json("POST", "/outrigger/v1/breakers/" + url_segment(name) + "/reset", code, body);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  const std::string count = cell(*reply, "reset");
  session.host.out << (count == "0" ? "it was closed already" : count == "1" ? "closed" : count + " closed") << "\n";
  return kExitOk;
}

void add_breaker_verbs(CLI::App& app, Session& session) {
  CLI::App& breaker = *app.add_subcommand("breaker", "circuit breakers, of routes and of programs' own calls");
  breaker.require_subcommand(1);
  client_verb(breaker, session, "list", "all of them, and how they are").callback([&session] {
    session.chosen = [&session] { return run_breakers(session); };
  });
  CLI::App& reset = client_verb(breaker, session, "reset", "close one by hand; agents that have heard of it let it go, too");
  const auto name = std::make_shared<std::string>(), endpoint = std::make_shared<std::string>();
  reset.add_option("name", *name, "of the route, or of the [[breaker]]")->required();
  reset.add_option("--endpoint", *endpoint, "of a route: only towards this name or address");
  reset.callback([&session, name, endpoint] { session.chosen = [&session, name, endpoint] { return run_reset(session, *name, *endpoint); }; });
}

// ---------------------------------------------------------------- guard

int run_guard(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/guard", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<Row> rows{{"CLIENT", "LEFT", "BANNED BY"}};
  const Json bans = field(*reply, "bans");
  for (const auto& ban : bans.is_array() ? bans : Json::array())
    rows.push_back({cell(ban, "client"), time_cell(ban, "left_ms"), cell(ban, "by") == "here" ? "this agent" : "another agent"});
  session.print_table(rows);
  session.host.out << cell(*reply, "fails") << " failures in " << time_cell(*reply, "within_ms") << " ban for " << time_cell(*reply, "ban_ms") << "; "
                   << cell(*reply, "failures") << " counted, " << cell(*reply, "banned") << " banned, " << cell(*reply, "refused") << " requests refused\n";
  return kExitOk;
}

void add_guard_verbs(CLI::App& app, Session& session) {
  CLI::App& guard = *app.add_subcommand("guard", "clients that are kept out because their requests failed too often");
  guard.require_subcommand(1);
  client_verb(guard, session, "list", "who is kept out, and for how long").callback([&session] {
    session.chosen = [&session] { return run_guard(session); };
  });
  const auto client = std::make_shared<std::string>(), how_long = std::make_shared<std::string>();
  CLI::App& unban = client_verb(guard, session, "unban", "let a client in again, at all agents that can be told");
  unban.add_option("client", *client, "IP address, or a /64 as the list shows it")->required();
  unban.callback([&session, client] {
    session.chosen = [&session, client] {
      return session.act("POST", "/outrigger/v1/guard/unban", "let in again", Json{{"client", *client}}.dump());
    };
  });
  CLI::App& ban = client_verb(guard, session, "ban", "keep a client out, at all agents");
  ban.add_option("client", *client, "IP address; of an IPv6 one its whole /64")->required();
  ban.add_option("--for", *how_long, "how long, 1s to 720h; default: guard.ban");
  ban.callback([&session, client, how_long] {
    session.chosen = [&session, client, how_long] {
      Json body = {{"client", *client}};
      if (!how_long->empty()) body["for"] = *how_long;
      return session.act("POST", "/outrigger/v1/guard/ban", "banned", body.dump());
    };
  });
}

}  // namespace

void add_traffic_verbs(CLI::App& app, Session& session) {
  add_eject_verbs(app, session);
  add_breaker_verbs(app, session);
  add_guard_verbs(app, session);
}

}  // namespace agent::cli
