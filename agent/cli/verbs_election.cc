#include <memory>
#include <ostream>

#include "agent/cli/session.h"

namespace agent::cli {
namespace {

/// `name`, or the agent's own service when it is empty; nullopt after a printed failure.
std::optional<std::string> service_of(Session& session, const std::string& name, int& code) {
  if (!name.empty()) return name;
  const auto role = session.call_json("GET", "/outrigger/v1/role", code);
  if (!role) return std::nullopt;
  const std::string service = cell(*role, "service");
  if (service != "-") return service;
  code = session.fail("this agent has no service", "name the election: outrigger election NAME");
  return std::nullopt;
}

int run_role(Session& session) {
  int code = kExitOk;
  const auto role = session.call_json("GET", "/outrigger/v1/role", code);
  if (!role) return code;
  if (session.json()) return session.print(*role), kExitOk;
  session.host.out << cell(*role, "self") << ": " << cell(*role, "role") << " of " << cell(*role, "service")
                   << ", epoch " << cell(*role, "epoch") << ", holder " << cell(*role, "holder") << ", instance "
                   << cell(*role, "instance") << "\n";
  return kExitOk;
}

int run_election(Session& session, const std::string& name) {
  int code = kExitOk;
  const auto service = service_of(session, name, code);
  if (!service) return code;
  const auto reply = session.call_json("GET", "/outrigger/v1/election/" + url_encode(*service), code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << cell(*reply, "name") << ": holder " << cell(*reply, "holder") << ", epoch "
                   << cell(*reply, "epoch") << ", lease " << cell(*reply, "lease_ms") << " ms, index "
                   << cell(*reply, "index") << "\n";
  return kExitOk;
}

int run_switchover(Session& session, const std::string& name, const std::string& target) {
  int code = kExitOk;
  const auto service = service_of(session, name, code);
  if (!service) return code;
  const std::string query = target.empty() ? "" : "?target=" + url_encode(target);
  const auto reply =
      session.call_json("PUT", "/outrigger/v1/election/" + url_encode(*service) + "/switchover" + query, code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << *service << ": holder " << cell(*reply, "holder") << ", epoch " << cell(*reply, "epoch") << "\n";
  return kExitOk;
}

}  // namespace

void add_election_verbs(CLI::App& app, Session& session) {
  CLI::App& role = *app.add_subcommand("role", "what this agent's instance should do");
  session.add_client_options(role);
  role.callback([&session] { session.chosen = [&session] { return run_role(session); }; });

  const auto name = std::make_shared<std::string>(), target = std::make_shared<std::string>();
  CLI::App& election = *app.add_subcommand("election", "who holds an election, and under which epoch");
  session.add_client_options(election);
  election.add_option("name", *name, "the election; default: the agent's own service");
  election.callback([&session, name] { session.chosen = [&session, name] { return run_election(session, *name); }; });

  CLI::App& switchover = *app.add_subcommand("switchover", "make another agent the primary");
  session.add_client_options(switchover);
  switchover.add_option("target,--to", *target, "name of the agent; default: whoever is next");
  switchover.add_option("--service", *name, "the election; default: the agent's own service");
  switchover.callback([&session, name, target] {
    session.chosen = [&session, name, target] { return run_switchover(session, *name, *target); };
  });
}

}  // namespace agent::cli
