#include "agent/cli/cli.h"

#include <algorithm>
#include <ostream>

#include "agent/cli/session.h"
#include "agent/cli/verbs_halt.h"
#include "agent/cli/verbs_plan.h"
#include "agent/cli/verbs_traces.h"

namespace agent::cli {
namespace {

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> out;
  for (const auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) out.push_back(verb->get_name());
  return out;
}

/// The verb of that name directly below `app`; nullptr when there is none.
const CLI::App* find_verb(const CLI::App& app, const std::string& name) {
  const auto found = app.get_subcommands([&name](const CLI::App* verb) { return verb->get_name() == name; });
  return found.empty() ? nullptr : found.front();
}

/// Consul's spelling: "-bind IP" is "--bind IP" for every long option that `verb` has.
void accept_single_dashes(const CLI::App& verb, std::vector<std::string>& arguments) {
  for (auto& argument : arguments) {
    if (argument.size() < 3 || argument[0] != '-' || argument[1] == '-') continue;
    const std::string name = argument.substr(1, argument.find('=') - 1);
    if (verb.get_option_no_throw("--" + name) != nullptr) argument.insert(0, "-");
  }
}

/// A word in the place of a verb that is none. @return false after a message with the nearest verb.
bool check_verb(const CLI::App& app, const std::vector<std::string>& arguments, std::size_t at, Host& host) {
  while (at < arguments.size() && arguments[at].starts_with('-')) ++at;
  if (at >= arguments.size()) return true;
  const auto verbs = verbs_of(app);
  const auto found = std::find(verbs.begin(), verbs.end(), arguments[at]);
  if (found != verbs.end()) {
    const CLI::App* below = find_verb(app, arguments[at]);
    // A verb that takes a word of its own besides its verbs ("election trader") says itself what it makes of it.
    const auto& options = below->get_options();
    const bool takes_word = std::any_of(options.begin(), options.end(), [](const CLI::Option* o) { return o->get_positional(); });
    return verbs_of(*below).empty() || takes_word || check_verb(*below, arguments, at + 1, host);
  }
  const std::string path = app.get_name().empty() ? "outrigger" : "outrigger " + app.get_name();
  const std::string near = nearest_word(arguments[at], verbs);
  host.err << "outrigger: unknown verb \"" << arguments[at] << "\"";
  if (!near.empty()) {
    host.err << "; did you mean \"" << near << "\"?\n";
  } else {
    host.err << "; there are:";
    for (const auto& verb : verbs) host.err << " " << verb;
    host.err << "\n";
  }
  host.err << "  " << path << " --help says what each one does\n";
  return false;
}

/// The first of `names` that is set.
std::string environment_value(const std::map<std::string, std::string>& environment, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const auto it = environment.find(name); it != environment.end() && !it->second.empty()) return it->second;
  return {};
}

/// Our own variable first, then those of Consul's clients.
std::string default_api(const std::map<std::string, std::string>& environment) {
  if (auto own = environment_value(environment, {"OUTRIGGER_API"}); !own.empty()) return own;
  std::string address = environment_value(environment, {"CONSUL_HTTP_ADDR"});
  const std::string tls = environment_value(environment, {"CONSUL_HTTP_SSL"});
  const bool wants_tls = tls == "1" || tls == "true" || tls == "TRUE" || tls == "t";
  if (address.empty()) address = "127.0.0.1:8500";
  return wants_tls && address.find("://") == std::string::npos ? "https://" + address : address;
}

/// The innermost verb that was named, for its help.
const CLI::App& innermost(const CLI::App& app) {
  const auto below = app.get_subcommands();
  return below.empty() ? app : innermost(*below.front());
}

/// CLI11 reports by throwing; its exceptions end here. @return an exit code, or nullopt when a verb was chosen.
std::optional<int> parse(CLI::App& app, std::vector<std::string> arguments, Host& host) {
  std::reverse(arguments.begin(), arguments.end());  // CLI11 wants them back to front
  try {
    app.parse(std::move(arguments));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    host.out << innermost(app).help();
    return kExitOk;
  } catch (const CLI::CallForAllHelp&) {
    host.out << app.help("", CLI::AppFormatMode::All);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    host.err << "outrigger: " << error.what() << "\n  outrigger" << (innermost(app).get_name().empty() ? "" : " ")
             << innermost(app).get_name() << " --help says what it takes\n";
    return kExitUsage;
  }
}

}  // namespace

int run(const std::vector<std::string>& arguments, Host& host) {
  Session session(host);
  session.api = default_api(host.environment);
  session.token = environment_value(host.environment, {"OUTRIGGER_TOKEN", "CONSUL_HTTP_TOKEN"});
  CLI::App app("Outrigger: one agent beside every instance of a trading system.");
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "what this verb does and takes");
  add_agent_verbs(app, session);
  add_plan_verb(app, session);
  add_cluster_verbs(app, session);
  add_raft_verbs(app, session);
  add_snapshot_verbs(app, session);
  add_kv_verbs(app, session);
  add_election_verbs(app, session);
  add_service_verbs(app, session);
  add_session_verbs(app, session);
  add_lock_verbs(app, session);
  add_watch_verbs(app, session);
  add_request_verbs(app, session);
  add_trace_verbs(app, session);
  add_order_verbs(app, session);
  add_halt_verbs(app, session);
  add_audit_verbs(app, session);
  add_incident_verbs(app, session);
  add_traffic_verbs(app, session);
  add_spread_verb(app, session);
  add_import_verbs(app, session);
  add_init_verbs(app, session);

  std::vector<std::string> words = arguments;
  if (words.size() == 1 && (words[0] == "--version" || words[0] == "-v")) words = {"version"};
  if (words.empty()) {
    host.err << app.help();
    return kExitUsage;
  }
  if (!check_verb(app, words, 0, host)) return kExitUsage;
  if (words[0] == "agent" || words[0] == "validate") accept_single_dashes(*find_verb(app, words[0]), words);
  const bool plans = words[0] == "plan";
  // There 2 says that something would change, which a word that was not understood must not.
  if (const auto code = parse(app, std::move(words), host)) return plans && *code == kExitUsage ? kExitFailed : *code;
  return session.chosen ? session.chosen() : kExitUsage;
}

}  // namespace agent::cli
