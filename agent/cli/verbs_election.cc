#include <memory>
#include <ostream>

#include "agent/cli/event_stream.h"
#include "agent/cli/lease_client.h"

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
                   << cell(*role, "instance");
  if (field(*role, "armed") == false) session.host.out << ", not armed: " << cell(*role, "unarmed_reason");
  session.host.out << "\n";
  const Json halted = field(*role, "halted");
  for (const auto& scope : halted.is_array() ? halted : Json::array())
    session.host.out << "HALTED " << (scope.is_string() ? scope.get<std::string>() : std::string()) << "\n";
  return kExitOk;
}

int run_election(Session& session, const std::string& name) {
  int code = kExitOk;
  const auto service = service_of(session, name, code);
  if (!service) return code;
  const auto reply = session.call_json("GET", "/outrigger/v1/election/" + url_segment(*service), code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << cell(*reply, "name") << ": holder " << cell(*reply, "holder") << ", epoch "
                   << cell(*reply, "epoch") << ", lease " << cell(*reply, "lease_ms") << " ms, index "
                   << cell(*reply, "index") << "\n";
  return kExitOk;
}

struct ElectionOptions {
  std::string name, holder, epoch;
  std::uint32_t lease_ms = 5000;
  std::uint64_t count = 0;
};

/// campaign, renew, resign: one order, one answer.
int run_order(Session& session, const ElectionOptions& options, const std::string& what) {
  Json body = {{"holder", options.holder.empty() ? default_holder(session) : options.holder},
               {"lease_ms", options.lease_ms}};
  if (!options.epoch.empty()) body["epoch"] = Json::parse(options.epoch, nullptr, false);
  if (!options.epoch.empty() && !body["epoch"].is_number_unsigned()) {
    session.host.err << "outrigger: --epoch is a number, the one that campaign printed\n";
    return kExitUsage;
  }
  int code = kExitOk;
  const auto reply =
      session.call_json("PUT", "/outrigger/v1/election/" + url_segment(options.name) + "/" + what, code, body.dump());
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  if (what == "resign")
    session.host.out << options.name << ": given up\n";
  else
    session.host.out << options.name << ": held by " << cell(*reply, "holder") << " under epoch "
                     << cell(*reply, "epoch") << " for " << cell(*reply, "lease_ms") << " ms\n";
  return kExitOk;
}

/// Exit code 0: the epoch counts. 1: it does not.
int run_verify(Session& session, const ElectionOptions& options) {
  int code = kExitOk;
  const auto reply = session.call_json(
      "GET", "/outrigger/v1/election/" + url_segment(options.name) + "/verify?epoch=" + url_encode(options.epoch), code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << options.name << ": epoch " << cell(*reply, "epoch") << " is held by " << cell(*reply, "holder")
                   << "\n";
  return kExitOk;
}

int run_watch_election(Session& session, const ElectionOptions& options) {
  std::uint64_t left = options.count;
  Following following;
  following.target = "/outrigger/v1/election/" + url_segment(options.name) + "/watch";
  following.on_event = [&](const EventCutter::Event& event) {
    const Json state = Json::parse(event.data, nullptr, false);
    if (!state.is_object()) return true;
    if (session.json())
      session.host.out << event.data << "\n";
    else
      session.host.out << cell(state, "name") << ": holder " << cell(state, "holder") << ", epoch "
                       << cell(state, "epoch") << "\n";
    session.host.out.flush();
    return left == 0 || --left != 0;
  };
  return follow(session, std::move(following));
}

int run_switchover(Session& session, const std::string& name, const std::string& target) {
  int code = kExitOk;
  const auto service = service_of(session, name, code);
  if (!service) return code;
  const std::string query = target.empty() ? "" : "?target=" + url_encode(target);
  const auto reply =
      session.call_json("PUT", "/outrigger/v1/election/" + url_segment(*service) + "/switchover" + query, code);
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
  election.callback([&session, &election, name] {
    if (!election.get_subcommands().empty()) return;  // one of its verbs was named
    session.chosen = [&session, name] { return run_election(session, *name); };
  });

  const auto options = std::make_shared<ElectionOptions>();
  const auto add = [&session, &election, options](const std::string& verb_name, const std::string& help,
                                                  const std::string& example) -> CLI::App& {
    CLI::App& verb = *election.add_subcommand(verb_name, help);
    session.add_client_options(verb);
    verb.add_option("name", options->name, "the election")->required();
    verb.footer("Example: outrigger election " + example);
    return verb;
  };
  for (const std::string what : {"campaign", "renew", "resign"}) {
    const std::string help = what == "campaign" ? "stand for it as a client; what is won lasts for one lease"
                             : what == "renew"  ? "prolong what campaign won"
                                                : "give it up";
    CLI::App& verb =
        add(what, help, what + " nightly --holder box-1" + (what == "campaign" ? " --lease-ms 5000" : " --epoch 7"));
    CLI::Option& holder = *verb.add_option("--holder", options->holder, "your name; nobody else may use it");
    if (what == "campaign")
      holder.description("your name; nobody else may use it; default: host name, process id and chance, as it prints");
    else
      holder.required();  // the name that campaign printed: this process has another one by default
    if (what == "campaign")
      verb.add_option("--lease-ms", options->lease_ms, "how long it lasts")
          ->check(CLI::Range(100U, 60000U))
          ->capture_default_str();
    else
      verb.add_option("--epoch", options->epoch, "as campaign printed it")->required();
    verb.callback([&session, options, what] {
      session.chosen = [&session, options, what] { return run_order(session, *options, what); };
    });
  }
  CLI::App& verify =
      add("verify", "ask whether an epoch still counts: exit code 0 if so, 1 if not", "verify trader --epoch 7");
  verify.add_option("--epoch", options->epoch, "the number that came with the request to check")->required();
  verify.callback(
      [&session, options] { session.chosen = [&session, options] { return run_verify(session, *options); }; });
  CLI::App& watch = add("watch", "print the holder now and at every change", "watch trader -o json");
  watch.add_option("--count", options->count, "end after so many lines; default: never");
  watch.callback(
      [&session, options] { session.chosen = [&session, options] { return run_watch_election(session, *options); }; });

  CLI::App& switchover = *app.add_subcommand("switchover", "make another agent the primary");
  session.add_client_options(switchover);
  switchover.add_option("target,--to", *target, "name of the agent; default: whoever is next");
  switchover.add_option("--service", *name, "the election; default: the agent's own service");
  switchover.callback([&session, name, target] {
    session.chosen = [&session, name, target] { return run_switchover(session, *name, *target); };
  });
}

}  // namespace agent::cli
