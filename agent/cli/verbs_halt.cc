#include "agent/cli/verbs_halt.h"

#include <cstdlib>
#include <ctime>
#include <memory>
#include <ostream>

/// halt, halts, resume: stop the trade, see what is stopped and why, go on.
namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

/// How somebody calls himself who does not say: the account on this machine.
std::string default_name() {
  for (const char* variable : {"OUTRIGGER_AS", "SUDO_USER", "USER", "LOGNAME"}) {
    if (const char* name = std::getenv(variable); name != nullptr && *name != '\0') return name;
  }
  return "somebody";
}

std::string time_cell(const Json& halt) {
  const Json ms = field(halt, "time_ms");
  if (!ms.is_number_integer()) return "-";
  const auto seconds = static_cast<std::time_t>(ms.get<std::int64_t>() / 1000);
  std::tm parts{};
  char text[32] = "";
  if (::gmtime_r(&seconds, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

struct HaltOptions {
  std::string scope = "global", reason, who = default_name();
  bool block_cancels = false;
};

int run_halt(Session& session, const HaltOptions& options) {
  int code = kExitOk;
  const Json body = {{"scope", options.scope}, {"reason", options.reason}, {"who", options.who}, {"block_cancels", options.block_cancels}};
  const auto reply = session.call_json("POST", "/outrigger/v1/halts", code, body.dump());
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << "HALTED " << cell(*reply, "scope") << " at " << cell(*reply, "node") << ", id " << cell(*reply, "id") << "\n"
                   << "the other agents follow as soon as they can be reached; lift it with: outrigger resume " << cell(*reply, "id") << "\n";
  if (cell(*reply, "on_disk") == "false") session.host.err << "warning: the disk here has not taken it, or not yet; a restart of this agent would forget it (outrigger_halts_kept)\n";
  return kExitOk;
}

int run_halts(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/halts", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<Row> rows{{"ID", "SCOPE", "WHO", "AT", "SINCE", "CANCELS", "RECORDED", "RESUME", "REASON"}};
  const Json halts = field(*reply, "halts");
  for (const auto& halt : halts.is_array() ? halts : Json::array()) {
    const std::string proposed = cell(halt, "proposed_by");
    const std::string resume = proposed != "-" ? "proposed by " + proposed : cell(halt, "second_person") == "true" ? "takes two" : "-";
    rows.push_back({cell(halt, "id"), cell(halt, "scope"), cell(halt, "who"), cell(halt, "node"), time_cell(halt),
                    cell(halt, "cancels_pass") == "true" ? "pass" : "stopped", cell(halt, "recorded") == "true" ? "yes" : "not yet", resume, cell(halt, "reason")});
  }
  if (rows.size() == 1) session.host.out << "nothing is halted, as " << cell(*reply, "node") << " knows\n";
  else session.print_table(rows);
  return kExitOk;
}

struct ResumeOptions {
  std::vector<std::string> ids;
  bool all = false, confirm = false;
  std::string who = default_name();
};

int run_resume(Session& session, const ResumeOptions& options) {
  if (options.all == !options.ids.empty()) return session.fail("say which halts: their ids, or --all", "outrigger halts shows them");
  int code = kExitOk;
  Json body = {{"who", options.who}, {"confirm", options.confirm}};
  if (options.all) body["all"] = true;
  else body["ids"] = options.ids;
  const auto reply = session.call_json("POST", "/outrigger/v1/halts/resume", code, body.dump());
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::string ids;
  const Json list = field(*reply, "ids");
  for (const auto& id : list.is_array() ? list : Json::array()) ids += (ids.empty() ? "" : ", ") + (id.is_string() ? id.get<std::string>() : std::string());
  if (cell(*reply, "lifted") == "true") session.host.out << "resumed: " << ids << "\n";
  else session.host.out << "proposed by " << options.who << ": " << ids << "; somebody else has to say: outrigger resume --confirm " << (options.all ? "--all" : ids) << "\n";
  return kExitOk;
}

}  // namespace

void add_halt_verbs(CLI::App& app, Session& session) {
  CLI::App& halt = *app.add_subcommand("halt", "stop orders at once, here and wherever the others can be reached; needs no majority");
  session.add_client_options(halt);
  const auto given = std::make_shared<HaltOptions>();
  halt.add_option("--scope", given->scope, "global (default), broker:NAME, account:ID or route:NAME");
  halt.add_option("--reason", given->reason, "for the others, and for the audit")->required();
  halt.add_flag("--block-cancels", given->block_cancels, "stop what takes orders back, too");
  halt.add_option("--as", given->who, "who halts; default: OUTRIGGER_AS, else the account on this machine");
  halt.footer("Example: outrigger halt --scope route:orders --reason \"prices look wrong\"");
  halt.callback([&session, given] { session.chosen = [&session, given] { return run_halt(session, *given); }; });

  CLI::App& halts = *app.add_subcommand("halts", "what is stopped, by whom and why");
  session.add_client_options(halts);
  halts.callback([&session] { session.chosen = [&session] { return run_halts(session); }; });

  CLI::App& resume = *app.add_subcommand("resume", "lift halts; needs a majority of the agents, and a second person where halt.second_person is set");
  session.add_client_options(resume);
  const auto options = std::make_shared<ResumeOptions>();
  resume.add_option("id", options->ids, "of the halts, as \"outrigger halts\" shows them");
  resume.add_flag("--all", options->all, "all that the agent knows of");
  resume.add_flag("--confirm", options->confirm, "somebody else has proposed it");
  resume.add_option("--as", options->who, "who resumes; default: OUTRIGGER_AS, else the account on this machine");
  resume.footer("Example: outrigger resume --all");
  resume.callback([&session, options] { session.chosen = [&session, options] { return run_resume(session, *options); }; });
}

}  // namespace agent::cli
