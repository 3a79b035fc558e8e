#include "agent/cli/verbs_plan.h"

#include <algorithm>
#include <filesystem>
#include <istream>
#include <iterator>
#include <memory>
#include <ostream>
#include <span>

#include "agent/config_load.h"
#include "agent/io/crypto.h"

/// plan: what a reload would change, before anybody does it.
namespace agent::cli {
namespace {

constexpr std::size_t kHashDigits = 12;
constexpr const char* kNoAgent =
    "a plan compares settings with what an agent has in use: start it, or name another with --api; \"outrigger validate FILE\" checks settings without one";

struct PlanOptions {
  std::string file;
};

Json list_of(const Json& object, const std::string& key) {
  Json list = field(object, key);
  return list.is_array() ? list : Json::array();
}
std::string text_of(const Json& object, const std::string& key) {
  const Json value = field(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

/// The body of the question: the texts of FILE and what is read beside it. @return nullopt: told, with the exit code in `code`
std::optional<std::string> body_of(Session& session, const std::string& file, int& code) {
  std::error_code fault;
  SettingsTexts texts;
  if (file == "-") {
    texts.emplace_back(file, std::string(std::istreambuf_iterator<char>(session.host.in), {}));
  } else {
    auto read = read_settings_texts(file);
    if (!read) {
      code = print_problems(session, read.error(), "the agent was not asked");
      return std::nullopt;
    }
    texts = std::move(*read);
  }
  Json files = Json::array();
  for (const auto& [name, text] : texts) files.push_back({{"name", std::filesystem::absolute(name, fault).lexically_normal().string()}, {"text", text}});
  return Json{{"files", files}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Problems as the agent found them, under the name that the user gave.
int print_refusal(Session& session, const PlanOptions& options, const Json& report) {
  std::error_code fault;
  const std::string full = options.file.empty() ? std::string() : std::filesystem::absolute(options.file, fault).lexically_normal().string();
  std::vector<ConfigProblem> problems;
  for (const auto& one : list_of(report, "problems")) {
    const Json line = field(one, "line"), column = field(one, "column");
    ConfigProblem problem{text_of(one, "source"), line.is_number_unsigned() ? line.get<std::uint32_t>() : 0, column.is_number_unsigned() ? column.get<std::uint32_t>() : 0,
                          text_of(one, "key"), text_of(one, "message"), text_of(one, "hint")};
    if (!full.empty() && problem.source == full) problem.source = options.file;
    if (problem.source.empty()) problem.source = "a reload";
    problems.push_back(std::move(problem));
  }
  return print_problems(session, problems, "a reload would refuse them, and everything would run on as it is");
}

void print_change(std::ostream& out, const Json& change) {
  const std::string what = text_of(change, "change"), before = text_of(change, "before"), after = text_of(change, "after");
  const std::string otherwise = text_of(change, "default"), element = text_of(change, "element");
  out << "  " << (what == "added" ? "+ " : what == "removed" ? "- " : "~ ") << text_of(change, "key");
  if (field(change, "moved") == true) out << ", order: " << before << " -> " << after;
  else if (what == "added" && !after.empty()) out << " = " << after << (otherwise.empty() ? "" : " (was " + otherwise + ")");
  else if (what == "removed" && !before.empty()) out << " = " << before << (otherwise.empty() ? "" : " (then " + otherwise + ")");
  else if (what == "changed" && (!before.empty() || !after.empty())) out << ": " << before << " -> " << after;
  else if (what == "changed") out << ": what its files hold, or what follows from other keys";
  if (!element.empty()) out << "  [" << element << "]";
  out << "\n";
}

/// "12 open connections, 3 in flight"; what is 0 is left out.
std::string figures(const Json& now) {
  std::string out;
  if (!now.is_object()) return out;
  for (const auto& [name, count] : now.items()) {
    if (!count.is_number_unsigned() || count.get<std::uint64_t>() == 0) continue;
    std::string words = name;
    std::replace(words.begin(), words.end(), '_', ' ');
    out += (out.empty() ? "" : ", ") + std::to_string(count.get<std::uint64_t>()) + " " + words;
  }
  return out;
}

std::string verb_for(const std::string& kind, const std::string& change) {
  if (kind == "listener") return change == "added" ? "opens" : change == "removed" ? "closes" : "changes";
  return change == "added" ? "comes" : change == "removed" ? "goes" : "changes";
}

void print_touched(std::ostream& out, const Json& report) {
  const Json touched = list_of(report, "touched");
  if (touched.empty()) return;
  out << "\nwhat it touches:\n";
  for (const auto& one : touched) {
    std::string kind = text_of(one, "kind");
    const std::string now = figures(field(one, "now")), pool = text_of(one, "pool"), verb = verb_for(kind, text_of(one, "change"));
    std::replace(kind.begin(), kind.end(), '_', ' ');
    out << "  " << kind << " " << text_of(one, "name") << (pool.empty() ? "" : " of " + pool) << " " << verb << (now.empty() ? "" : "; now: " + now);
    std::string routes;
    for (const auto& route : list_of(one, "routes")) routes += (routes.empty() ? "" : ", ") + (route.is_string() ? route.get<std::string>() : "");
    out << (routes.empty() ? "" : "; routes that lead there: " + routes) << "\n";
    for (const char* list : {"kept", "forgotten"}) {
      for (const auto& sentence : list_of(one, list)) out << "      " << list << ": " << (sentence.is_string() ? sentence.get<std::string>() : "") << "\n";
    }
  }
}

void print_hashes(std::ostream& out, const Json& report) {
  const Json hash = field(report, "hash");
  const std::string now = text_of(hash, "now"), after = text_of(hash, "after"), self = text_of(report, "node");
  out << "\nsettings: " << now << (now == after ? ", and the same after a reload" : " now, " + after + " after a reload") << "\n";
  for (const auto& node : list_of(report, "nodes")) {
    const std::string name = text_of(node, "name"), theirs = text_of(node, "hash");
    const std::string verdict = theirs.empty() ? "does not tell" : theirs == after ? "has them" : theirs == now ? "as this agent now" : "others";
    out << "  " << name << "  " << (theirs.empty() ? "-" : theirs) << "  " << (name == self ? "this agent" : verdict) << ", " << text_of(node, "state") << "\n";
  }
}

int print_plan(Session& session, const Json& report) {
  std::ostream& out = session.host.out;
  const Json changes = list_of(report, "changes");
  std::size_t restarts = 0;
  for (const bool at_once : {true, false}) {
    bool first = true;
    for (const auto& change : changes) {
      if ((text_of(change, "taken_over_by") == "reload") != at_once) continue;
      if (first) out << (at_once ? "a reload takes over at once:\n" : "waits for a restart, or for a process that takes over (SIGUSR2, agent --take-over):\n");
      first = false;
      restarts += at_once ? 0 : 1;
      print_change(out, change);
    }
  }
  print_touched(out, report);
  const std::string ends = figures(field(report, "now"));
  if (restarts > 0) {
    out << "\na restart ends or forgets what is in memory: " << (ends.empty() ? "nothing right now" : ends)
        << "\n  rows of sessions, keys of orders, halts and the epoch stay in the log; a process that takes over lets what runs end first\n";
  } else if (!ends.empty()) {
    out << "\nat this agent now: " << ends << "\n";
  }
  for (const auto& note : list_of(report, "notes")) out << "every reload: " << (note.is_string() ? note.get<std::string>() : "") << "\n";
  print_hashes(out, report);
  if (changes.empty()) out << "\nno changes\n";
  else out << "\n" << changes.size() << (changes.size() == 1 ? " change: " : " changes: ") << changes.size() - restarts << " by a reload, " << restarts << " by a restart\n";
  return changes.empty() ? kExitOk : kExitWouldChange;
}

int run_plan(Session& session, const PlanOptions& options) {
  int code = kExitFailed;
  HttpRequest request{"GET", "/outrigger/v1/plan", {}, std::chrono::milliseconds(session.timeout_ms), {}, {}};
  if (!session.token.empty()) request.headers.emplace_back("X-Consul-Token", session.token);
  if (!options.file.empty()) {
    auto body = body_of(session, options.file, code);
    if (!body) return code;
    request.method = "POST";
    request.body = std::move(*body);
  }
  const auto reply = http_call(session.api, request);
  if (!reply) return session.fail(reply.error(), kNoAgent);
  if (reply->status / 100 != 2) return static_cast<void>(session.report(*reply)), kExitFailed;
  const auto report = session.parse(*reply, code);
  if (!report) return kExitFailed;
  if (!field(*report, "changes").is_array()) return session.fail("the answer is no plan", "is this an outrigger agent, and not an older one?");
  if (!list_of(*report, "problems").empty()) return print_refusal(session, options, *report);
  if (!session.json()) return print_plan(session, *report);
  session.print(*report);
  return list_of(*report, "changes").empty() ? kExitOk : kExitWouldChange;
}

}  // namespace

std::string settings_hash(const std::string& files_text) { return io::hex_encode(io::sha256(std::as_bytes(std::span(files_text)))).substr(0, kHashDigits); }

int print_problems(Session& session, const std::vector<ConfigProblem>& problems, const std::string& then) {
  Json list = Json::array();
  for (const auto& problem : problems) {
    list.push_back({{"source", problem.source},
                    {"line", problem.line},
                    {"column", problem.column},
                    {"key", problem.key},
                    {"message", problem.message},
                    {"hint", problem.hint}});
    if (!session.json()) session.host.err << problem.text() << "\n";
  }
  if (session.json())
    session.print({{"ok", false}, {"code", "bad_config"}, {"problems", list}});
  else
    session.host.err << "outrigger: " << problems.size() << (problems.size() == 1 ? " problem" : " problems") << " in the settings; " << then << "\n";
  return kExitFailed;
}

void add_plan_verb(CLI::App& app, Session& session) {
  CLI::App& plan = *app.add_subcommand("plan", "show what a reload would change, and what that touches right now, without doing it");
  session.add_client_options(plan);
  const auto options = std::make_shared<PlanOptions>();
  plan.add_option("file,-c,--config,--config-file", options->file,
                  "TOML file, with conf.d/*.toml beside it, in the place of the agent's own; - reads standard input. Default: the files that "
                  "a reload would read");
  plan.footer("The agent reads its environment and flags as at its start; files that the settings name are read by the agent's user.\n"
              "Exit code: 0 nothing would change, 2 something would change, 1 an error: settings that a reload would refuse, no agent, a wrong flag.\n"
              "Example: outrigger plan -c new.toml && echo \"nothing to do\"; outrigger plan -o json");
  plan.callback([&session, options] { session.chosen = [&session, options] { return run_plan(session, *options); }; });
}

}  // namespace agent::cli
