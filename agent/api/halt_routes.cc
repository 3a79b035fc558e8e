#include "agent/api/halt_routes.h"

#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/halt_backend.h"
#include "agent/api/operator_backend.h"
#include "agent/api/own.h"

/// /outrigger/v1/halts: orders to stop, given by anybody at once, lifted by a majority.
namespace agent::api {
namespace {

constexpr std::size_t kIdsMax = 512;

HaltBackend* halts_of(Api& api, const Call& call) {
  OperatorBackend* operators = api.backend().operators();
  HaltBackend* halts = operators == nullptr ? nullptr : operators->halts();
  if (halts == nullptr) api.fail(call.id, {Errc::kUnsupported, "this agent knows no halts", {}});
  return halts;
}

Json halt_json(const HaltInfo& halt) {
  return {{"id", halt.id},
          {"scope", halt.scope},
          {"reason", halt.reason},
          {"who", halt.who},
          {"node", halt.node},
          {"time_ms", halt.time_ms},
          {"cancels_pass", halt.cancels_pass},
          {"second_person", halt.second_person},
          {"on_disk", halt.on_disk},
          {"recorded", halt.recorded},
          {"proposed_by", name_json(halt.proposed_by)}};
}

void get_halts(Api& api, const Call& call) {
  HaltBackend* halts = halts_of(api, call);
  if (halts == nullptr) return;
  Json list = Json::array();
  for (const HaltInfo& halt : halts->halts()) list.push_back(halt_json(halt));
  const bool halted = !list.empty();
  api.reply(call.id, json_response({{"node", api.backend().self().name}, {"halted", halted}, {"halts", std::move(list)}}));
}

void post_halt(Api& api, const Call& call) {
  HaltBackend* halts = halts_of(api, call);
  if (halts == nullptr) return;
  const Fields fields(call);
  if (!fields.ok()) return api.fail(call.id, {Errc::kBadRequest, "the body is no JSON object", {}});
  HaltRequest request;
  if (const std::string scope = fields.text("scope"); !scope.empty()) request.scope = scope;
  request.reason = fields.text("reason");
  request.who = fields.text("who");
  const std::string block = fields.text("block_cancels");
  if (!block.empty() && block != "true" && block != "false") return api.fail(call.id, {Errc::kBadRequest, "\"block_cancels\" is true or false", {}});
  request.cancels_pass = block != "true";
  auto halt = halts->halt(std::move(request));
  if (!halt) return api.fail(call.id, halt.error());
  halts->when_kept(std::move(*halt), api.answer<HaltInfo>(call.id, [](const HaltInfo& kept) { return json_response(halt_json(kept)); }));
}

void post_resume(Api& api, const Call& call) {
  HaltBackend* halts = halts_of(api, call);
  if (halts == nullptr) return;
  const Fields fields(call);
  if (!fields.ok()) return api.fail(call.id, {Errc::kBadRequest, "the body is no JSON object", {}});
  ResumeRequest request;
  request.who = fields.text("who");
  request.confirm = fields.text("confirm") == "true";
  const bool all = fields.text("all") == "true";
  if (const std::string id = fields.text("id"); !id.empty()) request.ids.push_back(id);
  if (const auto ids = fields.body().is_object() ? fields.body().find("ids") : fields.body().end(); fields.body().is_object() && ids != fields.body().end()) {
    if (!ids->is_array() || ids->size() > kIdsMax) return api.fail(call.id, {Errc::kBadRequest, "\"ids\" is a list of ids", {}});
    for (const Json& id : *ids) request.ids.push_back(id.is_string() ? id.get<std::string>() : std::string());
  }
  if (all == !request.ids.empty()) return api.fail(call.id, {Errc::kBadRequest, "name the halts to lift by \"id\" or \"ids\", or say \"all\": true", {}});
  halts->resume(std::move(request), api.answer<ResumeInfo>(call.id, [](const ResumeInfo& info) {
    Response response = json_response({{"lifted", info.lifted}, {"proposed", !info.lifted}, {"ids", info.ids}, {"index", number(info.index)}});
    add_write_index(response, info.index);
    return response;
  }));
}

}  // namespace

void add_halt_routes(Router& router) {
  router.add("GET", "/outrigger/v1/halts", get_halts);
  for (const auto* method : {"PUT", "POST"}) {
    router.add(method, "/outrigger/v1/halts", post_halt);
    router.add(method, "/outrigger/v1/halts/resume", post_resume);
  }
}

}  // namespace agent::api
