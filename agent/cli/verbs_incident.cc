#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <ostream>

#include "agent/cli/incident_svg.h"
#include "agent/cli/listener_pids.h"
#include "agent/io/clock.h"

/// incident last: the story of the last failover. drill kill-primary: makes one and measures it.
namespace agent::cli {
namespace {

using std::chrono::milliseconds;

constexpr const char* kIncidentTarget = "/outrigger/v1/incident/last";
constexpr useconds_t kLookEveryUs = 50'000;

// ---------------------------------------------------------------- incident

void print_incident(Session& session, const Json& incident) {
  auto& out = session.host.out;
  const bool over = field(incident, "over") == Json(true);
  out << "primary " << cell(incident, "from") << " -> " << cell(incident, "to") << ", epoch " << cell(incident, "from_epoch") << " -> "
      << cell(incident, "epoch") << ", " << moment_text(field(incident, "began_ms")) << " UTC: "
      << (over ? milliseconds_text(field(incident, "total_ms")) : std::string("not over")) << "\n\n";
  std::vector<std::vector<std::string>> rows{{"PHASE", "AT", "TOOK", "NOTED BY", "WHAT"}};
  const Json phases = field(incident, "phases");
  for (const auto& phase : phases.is_array() ? phases : Json::array()) {
    const bool happened = field(phase, "happened") == Json(true);
    rows.push_back({cell(phase, "name"), happened ? milliseconds_text(field(phase, "at_ms")) : "-",
                    happened ? milliseconds_text(field(phase, "took_ms")) : "-", cell(phase, "node"), cell(phase, "text")});
  }
  session.print_table(rows);
  out << "\n";
  rows = {{"AT", "NODE", "EVENT", "EPOCH", "ABOUT", "WHAT"}};
  const Json events = field(incident, "events"), began = field(incident, "began_ms");
  for (const auto& event : events.is_array() ? events : Json::array()) {
    const Json at = field(event, "at_ms");
    const bool known = at.is_number_integer() && began.is_number_integer();
    rows.push_back({known ? milliseconds_text(Json(at.get<std::int64_t>() - began.get<std::int64_t>())) : "-", cell(event, "node"),
                    cell(event, "what"), cell(event, "epoch"), cell(event, "about"), cell(event, "text")});
  }
  session.print_table(rows);
}

int write_svg(Session& session, const Json& incident, const std::string& path) {
  const std::string picture = incident_svg(incident);
  if (path == "-") return session.host.out << picture, kExitOk;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << picture;
  file.close();
  if (!file) return session.fail("cannot write " + path);
  return kExitOk;
}

int show(Session& session, const Json& incident, const std::string& svg) {
  if (!svg.empty()) {
    if (const int code = write_svg(session, incident, svg); code != kExitOk) return code;
    if (svg == "-") return kExitOk;
  }
  if (session.json()) session.print(incident);
  else print_incident(session, incident);
  return kExitOk;
}

int run_last(Session& session, const std::string& svg) {
  int code = kExitOk;
  const auto incident = session.call_json("GET", kIncidentTarget, code);
  return incident ? show(session, *incident, svg) : code;
}

// ---------------------------------------------------------------- drill

struct DrillOptions {
  bool yes = false;
  std::string how = "kill", svg;
  std::uint32_t wait_ms = 15000;
};

/// Where this agent's instance listens; empty after a printed failure.
std::string instance_address(Session& session, int& code) {
  const auto reply = session.call_json("GET", "/outrigger/v1/upstreams", code);
  if (!reply) return {};
  const Json upstreams = field(*reply, "upstreams");
  for (const auto& upstream : upstreams.is_array() ? upstreams : Json::array()) {
    const Json endpoints = field(upstream, "endpoints");
    for (const auto& endpoint : endpoints.is_array() ? endpoints : Json::array())
      if (field(endpoint, "is_local") == Json(true)) return cell(endpoint, "address");
  }
  code = session.fail("the agent does not say where its instance listens", "outrigger drill kill-primary --how step-down needs no process");
  return {};
}

/// Ends the instance's processes, or hands the role over. @return an exit code
int make_trouble(Session& session, const DrillOptions& options, const std::string& self) {
  int code = kExitOk;
  std::vector<pid_t> pids;
  std::string plan = "would ask " + self + " to give the role to another one";
  if (options.how == "kill") {
    const std::string address = instance_address(session, code);
    if (address.empty()) return code;
    pids = listener_pids(address);
    if (pids.empty())
      return session.fail("no process of yours listens on " + address, "run it on the machine of the instance, as its user or as root, or add --how step-down");
    plan = "would kill (SIGKILL) what listens on " + address + ":";
    for (const pid_t pid : pids) plan += "\n  " + std::to_string(pid) + "  " + command_of(pid).substr(0, 100);
  }
  if (!options.yes) {
    session.host.err << plan << "\nNothing was done. Orders that are under way may end as unknown. Say --yes to do it.\n";
    return kExitUsage;
  }
  if (options.how == "step-down") return session.call_json("PUT", "/outrigger/v1/switchover", code) ? kExitOk : code;
  for (const pid_t pid : pids)
    if (::kill(pid, SIGKILL) != 0) return session.fail("process " + std::to_string(pid) + " could not be killed", "run it as the instance's user or as root");
  return kExitOk;
}

std::uint64_t epoch_of(const Json& object) {
  const Json epoch = field(object, "epoch");
  return epoch.is_number_unsigned() ? epoch.get<std::uint64_t>() : 0;
}

/// Waits until the new primary takes orders. @return the story; nullopt when it did not come in time
std::optional<Json> await_incident(Session& session, std::uint64_t old_epoch, milliseconds patience) {
  const io::TimePoint until = io::boottime_now() + patience;
  while (io::boottime_now() < until) {
    HttpRequest request{"GET", kIncidentTarget, {}, milliseconds(session.timeout_ms), {}, {}};
    const auto reply = http_call(session.api, request);
    Json incident = reply && reply->status == 200 ? Json::parse(reply->body, nullptr, false) : Json();
    if (epoch_of(incident) > old_epoch && field(incident, "over") == Json(true)) return incident;
    usleep(kLookEveryUs);
  }
  return std::nullopt;
}

int run_drill(Session& session, const DrillOptions& options) {
  int code = kExitOk;
  const auto role = session.call_json("GET", "/outrigger/v1/role", code);
  if (!role) return code;
  const std::string self = cell(*role, "self"), holder = cell(*role, "holder");
  if (cell(*role, "role") != "primary") {
    if (holder == "-") return session.fail("there is no primary to kill", "outrigger role says when there is one");
    return session.fail(self + " is not the primary, " + holder + " is", "run the drill on " + holder);
  }
  if (code = make_trouble(session, options, self); code != kExitOk) return code;
  const auto incident = await_incident(session, epoch_of(*role), milliseconds(options.wait_ms));
  if (!incident)
    return session.fail("no new primary took orders within " + std::to_string(options.wait_ms) + " ms", "outrigger role and outrigger incident last say how far it came");
  return show(session, *incident, options.svg);
}

}  // namespace

void add_incident_verbs(CLI::App& app, Session& session) {
  CLI::App& incident = *app.add_subcommand("incident", "what happened when the primary changed");
  incident.require_subcommand(1);
  CLI::App& last = *incident.add_subcommand("last", "the last failover, step by step: detect, fence, elect, reconcile, arm");
  session.add_client_options(last);
  const auto svg = std::make_shared<std::string>();
  last.add_option("--svg", *svg, "also draw it into this file; \"-\" = print the picture alone");
  last.footer("Every agent notes what happens and tells the others, so any agent knows the story, also that of a dead one.\n"
              "Example: outrigger incident last --svg incident.svg");
  last.callback([&session, svg] { session.chosen = [&session, svg] { return run_last(session, *svg); }; });

  CLI::App& drill = *app.add_subcommand("drill", "cause a failure on purpose and measure what it costs");
  drill.require_subcommand(1);
  const auto options = std::make_shared<DrillOptions>();
  CLI::App& kill = *drill.add_subcommand("kill-primary", "kill the primary's instance, here, and wait until another one takes orders");
  session.add_client_options(kill);
  kill.add_flag("--yes", options->yes, "do it; without it, only what would be done is said");
  kill.add_option("--how", options->how, "kill: SIGKILL to the processes that listen on the instance's address; step-down: an orderly switchover")
      ->check(CLI::IsMember({"kill", "step-down"}))
      ->capture_default_str();
  kill.add_option("--wait-ms", options->wait_ms, "how long to wait for the new primary")->check(CLI::Range(100U, 600000U))->capture_default_str();
  kill.add_option("--svg", options->svg, "also draw it into this file; \"-\" = print the picture alone");
  kill.footer("Ask the agent of the primary, on its machine. Whatever supervises the instance has to start it again.\n"
              "Exit code 0: another one takes orders, and the story is printed; 1: not in time, or refused; 2: --yes is missing.");
  kill.callback([&session, options] { session.chosen = [&session, options] { return run_drill(session, *options); }; });
}

}  // namespace agent::cli
