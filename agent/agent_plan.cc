// What a reload would do: settings read and judged as for one, and nothing taken over.
#include <utility>

#include "agent/io/clock.h"
#include "agent/log.h"
#include "agent/running.h"
#include "proxy/sticky.h"

namespace agent {
namespace {

/// Sessions of each zone of the settings in force.
std::map<std::string, std::uint64_t> count_sessions(const Config& running, const proxy::RouteTable* table) {
  std::map<std::string, std::uint64_t> out;
  proxy::StickyTable* sessions = nullptr;
  if (table != nullptr) {
    for (const proxy::Route& route : table->routes()) {
      if (route.sticky) sessions = route.sticky->table.get();
    }
  }
  if (sessions == nullptr) return out;
  for (const std::string& zone : session_zones(running)) out[zone] = 0;
  sessions->sweep(0, proxy::StickyTable::kSets, io::boottime_now(), [&](const proxy::StickyPlace& place) {
    if (const auto zone = out.find(sessions->zone_name(place.zone)); zone != out.end()) ++zone->second;
  });
  return out;
}

}  // namespace

void Agent::learn_settings(ConfigSheet sheet, const std::string& files_text) {
  sheet_ = std::move(sheet);
  settings_hash_ = settings_hash(files_text);
  refresh_tags();
}

/// The settings themselves were read and checked before; here it is what was written to get them.
void Agent::start_plan() {
  plans_.set([this](const api::PlanQuestion& question, const api::Completion<api::PlanReport>& done) { plan(question, done); });
  if (!settings_hash_.empty()) return;  // taken back from a successor: what was in force is so again
  ConfigSource source = source_;
  source.check_listen_tls = {};
  source.check_instance_tls = {};
  auto read = read_settings(source);
  if (read) learn_settings(std::move(read->sheet), read->files_text);
  else log_line(LogLevel::kWarn, "settings_changed", "the files have changed since they were read, and cannot be read now: " + read.error().front().text());
}

api::PlanReport Agent::judge_settings(const ReadSettings& fresh) const {
  const ConfigPlan found = plan_of(config_, sheet_, fresh);
  // Sessions are in use; a table of its own holds the zones that are only asked about.
  std::shared_ptr<proxy::StickyTable> apart;
  const auto prepared = prepare_settings(fresh.config, ConfigDifference(config_, fresh.config), [&apart] {
    if (apart == nullptr) apart = std::make_shared<proxy::StickyTable>([] {});
    return apart;
  });
  api::PlanReport report;
  if (prepared) report = plan_report(found, fresh.config);
  else report.problems.push_back({{}, 0, 0, {}, prepared.error(), {}, prepared.error()});
  report.node = config_.node.name;
  report.hash_now = settings_hash_;
  report.hash_after = settings_hash(fresh.files_text);
  for (const gossip::Member& member : gossip_->core().members())
    report.nodes.push_back({member.name, std::string(gossip::to_string(member.state)), std::string(member.tags.get("cfg").value_or(std::string_view()))});
  return report;
}

void Agent::add_plan_figures(api::PlanReport& report, const drivers::ProxyTotals& totals) const {
  PlanFigures figures;
  figures.totals = &totals;
  if (traffic_) figures.breakers = traffic_->breakers();
  if (const auto guard = traffic_ ? traffic_->guard() : api::Result<api::GuardInfo>(api::GuardInfo())) figures.bans = guard->bans.size();
  figures.sessions = count_sessions(config_, route_table_.get());
  add_figures(config_, figures, report);
}

void Agent::plan(const api::PlanQuestion& question, const api::Completion<api::PlanReport>& done) {
  if (phase_ != Phase::kRunning || !proxy_) {
    return later(io::boottime_now(), [done] { done(tl::make_unexpected(api::Error{api::Errc::kStopping, "this process is on its way out, and takes over nothing", {}})); });
  }
  SettingsTexts texts;
  if (question.texts) texts.assign(question.texts->begin(), question.texts->end());
  const auto fresh = read_settings(source_, question.texts ? &texts : nullptr);
  api::PlanReport report;
  if (fresh) report = judge_settings(*fresh);
  else for (const ConfigProblem& problem : fresh.error()) report.problems.push_back(plan_problem(problem));
  if (!report.problems.empty()) return later(io::boottime_now(), [done, report = std::move(report)] { done(report); });
  proxy_->totals([this, done, report = std::move(report)](const drivers::ProxyTotals& totals) mutable {
    add_plan_figures(report, totals);
    done(std::move(report));
  });
}

}  // namespace agent
