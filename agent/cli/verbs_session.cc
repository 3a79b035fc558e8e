#include <memory>
#include <ostream>

#include "agent/cli/session.h"

/// session list, create, destroy: Consul's sessions, which hold keys (kv locks).
namespace agent::cli {
namespace {

struct SessionOptions {
  std::string id, node, name, ttl, lock_delay, behavior = "release";
  bool no_checks = false;
};

int run_list(Session& session, const SessionOptions& options) {
  int code = kExitOk;
  const std::string target = options.node.empty() ? "/v1/session/list" : "/v1/session/node/" + url_segment(options.node);
  const auto list = session.call_json("GET", target, code);
  if (!list) return code;
  if (session.json()) return session.print(*list), kExitOk;
  std::vector<std::vector<std::string>> rows{{"ID", "NODE", "TTL", "BEHAVIOR", "NAME"}};
  for (const auto& one : *list)
    rows.push_back({cell(one, "ID"), cell(one, "Node"), cell(one, "TTL"), cell(one, "Behavior"), cell(one, "Name")});
  session.print_table(rows);
  return kExitOk;
}

int run_create(Session& session, const SessionOptions& options) {
  Json body = {{"Behavior", options.behavior}};
  if (!options.name.empty()) body["Name"] = options.name;
  if (!options.node.empty()) body["Node"] = options.node;
  if (!options.ttl.empty()) body["TTL"] = options.ttl;
  if (!options.lock_delay.empty()) body["LockDelay"] = options.lock_delay;
  if (options.no_checks) body["NodeChecks"] = Json::array();
  int code = kExitOk;
  const auto made = session.call_json("PUT", "/v1/session/create", code, body.dump());
  if (!made) return code;
  if (session.json())
    session.print(*made);
  else
    session.host.out << cell(*made, "ID") << "\n";
  return kExitOk;
}

}  // namespace

void add_session_verbs(CLI::App& app, Session& session) {
  CLI::App& verbs = *app.add_subcommand("session", "sessions, which hold locks on keys while they live");
  verbs.require_subcommand(1);
  const auto options = std::make_shared<SessionOptions>();

  CLI::App& list = *verbs.add_subcommand("list", "print the sessions that live");
  session.add_client_options(list);
  list.add_option("--node", options->node, "only those of this agent");
  list.footer("Example: outrigger session list --node n1");
  list.callback([&session, options] { session.chosen = [&session, options] { return run_list(session, *options); }; });

  CLI::App& create = *verbs.add_subcommand("create", "make a session and print its id");
  session.add_client_options(create);
  create.add_option("--name", options->name, "a word for people");
  create.add_option("--node", options->node, "the agent that it is bound to; default: the one that is asked");
  create.add_option("--ttl", options->ttl,
                    "it ends unless it is renewed within this time, e.g. 15s; default: no such end");
  create.add_option("--lock-delay", options->lock_delay,
                    "how long its keys stay unlockable after its end; default 15s");
  create.add_option("--behavior", options->behavior, "what becomes of its keys")
      ->check(CLI::IsMember({"release", "delete"}))
      ->capture_default_str();
  create.add_flag("--no-checks", options->no_checks, "do not end it when its node is found dead");
  create.footer("Example: outrigger session create --name backup --ttl 30s");
  create.callback(
      [&session, options] { session.chosen = [&session, options] { return run_create(session, *options); }; });

  CLI::App& destroy = *verbs.add_subcommand("destroy", "end a session; its keys are freed");
  session.add_client_options(destroy);
  destroy.add_option("id", options->id, "as create printed it")->required();
  destroy.footer("Example: outrigger session destroy 9f2c1d7e-4b0a-4c55-8f3e-2f6d1f0a9b3c");
  destroy.callback([&session, options] {
    session.chosen = [&session, options] {
      return session.act("PUT", "/v1/session/destroy/" + url_segment(options->id), "destroyed");
    };
  });
}

}  // namespace agent::cli
