#include "agent/api/plan_routes.h"

#include <nlohmann/json.hpp>

#include "agent/api/operator_backend.h"
#include "agent/api/own.h"
#include "agent/api/plan_backend.h"

/// /outrigger/v1/plan: GET for the agent's own files, POST for others. A refusal of the settings is an answer, not a failure.
namespace agent::api {
namespace {

constexpr std::size_t kTextsMax = 101;  // a file and 100 beside it, as the loader reads

Json text_json(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json report_json(const PlanReport& report) {
  Json problems = Json::array(), changes = Json::array(), touched = Json::array(), nodes = Json::array();
  for (const PlanProblem& one : report.problems) {
    problems.push_back({{"source", one.source}, {"line", one.line}, {"column", one.column}, {"key", one.key}, {"message", one.message}, {"hint", one.hint}, {"text", one.text}});
  }
  for (const PlanEdit& one : report.changes) {
    changes.push_back({{"change", one.change}, {"key", one.key}, {"element", text_json(one.element)}, {"before", text_json(one.before)},
                       {"after", text_json(one.after)}, {"default", text_json(one.otherwise)}, {"part", one.part},
                       {"taken_over_by", one.by_reload ? "reload" : "restart"}, {"moved", one.moved}});
  }
  for (const PlanTouched& one : report.touched) {
    touched.push_back({{"kind", one.kind}, {"name", one.name}, {"pool", text_json(one.pool)}, {"change", one.change}, {"now", one.now},
                       {"routes", one.routes}, {"kept", one.kept}, {"forgotten", one.forgotten}});
  }
  for (const PlanNode& one : report.nodes) nodes.push_back({{"name", one.name}, {"state", one.state}, {"hash", text_json(one.hash)}});
  return {{"ok", report.problems.empty()},
          {"would_change", !report.changes.empty()},
          {"problems", problems},
          {"changes", changes},
          {"at_once", report.at_once},
          {"needs_restart", report.needs_restart},
          {"touched", touched},
          {"notes", report.notes},
          {"now", report.now},
          {"node", report.node},
          {"files", report.files},
          {"hash", {{"now", text_json(report.hash_now)}, {"after", text_json(report.hash_after)}}},
          {"nodes", nodes}};
}

/// @return what is wrong with the body; empty = nothing
std::string read_texts(const Call& call, PlanQuestion& out) {
  static constexpr const char* kForm = "the body is {\"files\": [{\"name\": \"/etc/outrigger/outrigger.toml\", \"text\": \"...\"}]}";
  const Json body = Json::parse(call.request.body, nullptr, false);
  if (!body.is_object() || !body.contains("files") || !body["files"].is_array() || body["files"].empty()) return kForm;
  if (body["files"].size() > kTextsMax) return "more than 101 files: the loader reads one, and 100 from conf.d";
  out.texts.emplace();
  for (const Json& one : body["files"]) {
    if (!one.is_object() || !one.contains("name") || !one["name"].is_string() || !one.contains("text") || !one["text"].is_string()) return kForm;
    out.texts->emplace_back(one["name"].get<std::string>(), one["text"].get<std::string>());
    if (!out.texts->back().first.starts_with('/')) return "\"" + out.texts->back().first + "\" is no absolute path: relative ones inside the file count from its folder";
  }
  return {};
}

void plan(Api& api, const Call& call, PlanQuestion question) {
  OperatorBackend* operators = api.backend().operators();
  PlanBackend* plans = operators == nullptr ? nullptr : operators->plans();
  if (plans == nullptr) return api.fail(call.id, {Errc::kUnsupported, "this agent plans nothing, or is still starting", {}});
  plans->plan(std::move(question), api.answer<PlanReport>(call.id, [](const PlanReport& report) { return json_response(report_json(report)); }));
}

void get_plan(Api& api, const Call& call) { plan(api, call, {}); }

void post_plan(Api& api, const Call& call) {
  PlanQuestion question;
  if (const std::string fault = read_texts(call, question); !fault.empty()) return api.fail(call.id, {Errc::kBadRequest, fault, {}});
  plan(api, call, std::move(question));
}

}  // namespace

void add_plan_routes(Router& router) {
  router.add("GET", "/outrigger/v1/plan", get_plan);
  router.add("POST", "/outrigger/v1/plan", post_plan);
}

}  // namespace agent::api
