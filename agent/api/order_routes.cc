#include <nlohmann/json.hpp>

#include "agent/api/api.h"
#include "agent/api/consul.h"
#include "agent/api/json_body.h"
#include "agent/api/order_backend.h"
#include "agent/api/own.h"

/// Orders under keys, and arming: /outrigger/v1/orders, /outrigger/v1/arming.
namespace agent::api {
namespace {

OrderBackend* orders_of(Api& api, const Call& call) {
  OrderBackend* found = api.backend().orders();
  if (found == nullptr) api.fail(call.id, {Errc::kUnavailable, "this agent has no ledger of orders yet", {}});
  return found;
}

Json order_json(const OrderInfo& order) {
  Json answer = {{"kept", order.answer_kept}, {"status", order.answer_status == 0 ? Json(nullptr) : Json(order.answer_status)}, {"bytes", order.answer_bytes}};
  return {{"service", order.service},
          {"zone", order.zone},
          {"key", order.key},
          {"state", order.state},
          {"source", order.source},
          {"attempt", order.attempt},
          {"epoch", number(order.epoch)},
          {"node", order.node_name.empty() ? id_json(order.node) : Json(order.node_name)},
          {"reserved", number(order.reserved)},
          {"changed", number(order.changed)},
          {"reserved_ms", order.reserved_ms},
          {"settled_ms", order.settled_ms == 0 ? Json(nullptr) : Json(order.settled_ms)},
          {"kept_until_ms", order.kept_until_ms == 0 ? Json(nullptr) : Json(order.kept_until_ms)},
          {"fingerprint", order.fingerprint},
          {"answer", std::move(answer)}};
}

Json whole_json(const OrderInfo& order) {
  Json json = order_json(order);
  json["answer"]["head"] = order.answer_head;
  json["answer"]["body"] = order.answer_body;
  return json;
}

Json arming_json(const ArmingInfo& arming) {
  return {{"service", arming.service},
          {"configured", arming.configured},
          {"epoch", number(arming.epoch)},
          {"holder", name_json(arming.holder)},
          {"armed", arming.armed},
          {"mode", name_json(arming.mode)},
          {"phase", name_json(arming.phase)},
          {"reason", name_json(arming.reason)},
          {"last_error", name_json(arming.last_error)},
          {"unknown_left", arming.unknown_left},
          {"flat", arming.flat ? Json(*arming.flat) : Json(nullptr)},
          {"approved_epoch", arming.approved == Epoch{} ? Json(nullptr) : Json(number(arming.approved))},
          {"approved_by", name_json(arming.approved_by)},
          {"approved_by_force", arming.approved_by_force}};
}

/// nullopt after a refusal.
std::optional<OrderQuestion> question_of(Api& api, const Call& call) {
  OrderQuestion question;
  question.service = call.query.get("service");
  const std::string state = call.query.has("state") ? call.query.get("state") : "recent";
  if (state == "unknown") question.filter = OrderFilter::kUnknown;
  else if (state == "reserved") question.filter = OrderFilter::kReserved;
  else if (state != "recent") return api.fail(call.id, {Errc::kBadRequest, "\"state\" is unknown, reserved or recent", {}}), std::nullopt;
  if (const std::string* limit = call.query.find("limit")) {
    const auto count = parse_u64(*limit);
    if (!count || *count == 0 || *count > kOrderPageMax)
      return api.fail(call.id, {Errc::kBadRequest, "\"limit\" is a number from 1 to " + std::to_string(kOrderPageMax), {}}), std::nullopt;
    question.limit = static_cast<std::size_t>(*count);
  }
  if (const std::string* from = call.query.find("from")) {
    const auto index = parse_u64(*from);
    if (!index) return api.fail(call.id, {Errc::kBadRequest, "\"from\" is \"next\" of the page before", {}}), std::nullopt;
    question.from = Index{*index};
  }
  return question;
}

void get_orders(Api& api, const Call& call) {
  OrderBackend* backend = orders_of(api, call);
  if (backend == nullptr) return;
  auto question = question_of(api, call);
  if (!question) return;
  api.permit(call, [&api, backend, id = call.id, question = std::move(*question)](const ReadInfo& info) {
    const OrderList list = backend->orders(question);
    Json orders = Json::array();
    for (const OrderInfo& order : list.orders) orders.push_back(order_json(order));
    Response response = json_response({{"orders", std::move(orders)},
                                       {"next", list.next ? Json(number(*list.next)) : Json(nullptr)},
                                       {"counts", {{"reserved", list.reserved}, {"done", list.done}, {"not_sent", list.not_sent}, {"unknown", list.unknown}}}});
    add_consul_headers(response, info.applied, info);
    api.reply(id, std::move(response));
  });
}

void get_order(Api& api, const Call& call) {
  OrderBackend* backend = orders_of(api, call);
  if (backend == nullptr) return;
  api.permit(call, [&api, backend, id = call.id, service = call.query.get("service"), zone = call.parameters.at(0), key = call.parameters.at(1)](const ReadInfo& info) {
    const auto order = backend->order(service, zone, key);
    if (!order) return api.fail(id, {Errc::kNotFound, "no order of key \"" + key + "\" in zone \"" + zone + "\"", {}});
    Response response = json_response(whole_json(*order));
    add_consul_headers(response, info.applied, info);
    api.reply(id, std::move(response));
  });
}

/// @return what is wrong with it; empty = nothing
std::string read_decision(const Json& body, OrderDecision& out) {
  JsonFields fields(body);
  const std::string state = fields.text("state");
  if (state != "done" && state != "not_sent") return "\"state\" is \"done\" or \"not_sent\"";
  out.done = state == "done";
  out.fence = Index{fields.number("fence")};
  if (out.fence == Index{}) return "\"fence\" is missing: \"changed\" of the order, as it was when you looked at the exchange";
  if (fields.has("status")) {
    const std::uint64_t status = fields.number("status");
    if (status < 200 || status > 599) return "\"status\" is a number from 200 to 599";
    out.status = static_cast<int>(status);
  }
  out.body = fields.text("body");
  out.content_type = fields.text("content_type", out.content_type);
  out.who = fields.text("who", "operator");
  out.reason = fields.text("reason");
  if (!fields.fault().empty()) return fields.fault();
  if (const auto unknown = fields.unknown({"state", "fence", "status", "body", "content_type", "who", "reason"}); !unknown.empty())
    return "\"" + unknown.front() + "\" is no field of a decision";
  if (!out.done && (out.status || !out.body.empty())) return "an order that was not sent has no answer: leave out \"status\" and \"body\"";
  if (out.done && !out.status && !out.body.empty()) return "\"body\" without \"status\": an answer needs both";
  if (out.body.size() > (std::size_t{192} << 10)) return "\"body\" is longer than 192 KiB";
  for (const std::string* text : {&out.content_type, &out.who, &out.reason}) {
    if (text->size() > 256 || text->find_first_of("\r\n") != std::string::npos) return "\"content_type\", \"who\" and \"reason\" are one line of at most 256 bytes each";
  }
  return {};
}

void post_resolve(Api& api, const Call& call) {
  OrderBackend* backend = orders_of(api, call);
  if (backend == nullptr) return;
  std::string fault;
  const auto body = parse_json(call.request.body, fault);
  OrderDecision decision;
  if (body) fault = read_decision(*body, decision);
  if (!fault.empty()) return api.fail(call.id, {Errc::kBadRequest, fault, {}});
  decision.service = call.query.get("service");
  decision.zone = call.parameters.at(0);
  decision.key = call.parameters.at(1);
  backend->decide(std::move(decision), api.answer<OrderInfo>(call.id, [](const OrderInfo& order) { return json_response(whole_json(order)); }));
}

void get_arming(Api& api, const Call& call) {
  OrderBackend* backend = orders_of(api, call);
  if (backend == nullptr) return;
  api.permit(call, [&api, backend, id = call.id, service = call.query.get("service")](const ReadInfo& info) {
    Response response = json_response(arming_json(backend->arming(service)));
    add_consul_headers(response, info.applied, info);
    api.reply(id, std::move(response));
  });
}

void post_approve(Api& api, const Call& call) {
  OrderBackend* backend = orders_of(api, call);
  if (backend == nullptr) return;
  std::string fault;
  const auto body = call.request.body.empty() ? std::optional(Json::object()) : parse_json(call.request.body, fault);
  if (!body) return api.fail(call.id, {Errc::kBadRequest, fault, {}});
  JsonFields fields(*body);
  ApprovalOrder order;
  order.service = fields.text("service", call.query.get("service"));
  order.epoch = Epoch{fields.number("epoch")};
  if (order.epoch == Epoch{})
    fields.refuse("epoch", "is missing: an approval is of the epoch that somebody has looked at, and GET /outrigger/v1/arming says which one waits");
  order.force = fields.flag("force");
  order.who = fields.text("who", "operator");
  order.reason = fields.text("reason");
  if (const auto unknown = fields.unknown({"service", "epoch", "force", "who", "reason"}); fields.fault().empty() && !unknown.empty())
    fields.refuse(unknown.front(), "is no field of an approval");
  if (order.who.size() > 128 || order.reason.size() > 256) fields.refuse("who", "is longer than 128 bytes, or \"reason\" than 256");
  if (!fields.fault().empty()) return api.fail(call.id, {Errc::kBadRequest, fields.fault(), {}});
  backend->approve(std::move(order), api.answer<ArmingInfo>(call.id, [](const ArmingInfo& arming) { return json_response(arming_json(arming)); }));
}

}  // namespace

void add_order_routes(Router& router) {
  router.add("GET", "/outrigger/v1/orders", get_orders);
  router.add("GET", "/outrigger/v1/orders/:zone/:key", get_order);
  router.add("GET", "/outrigger/v1/arming", get_arming);
  for (const auto* method : {"POST", "PUT"}) {
    router.add(method, "/outrigger/v1/orders/:zone/:key/resolve", post_resolve);
    router.add(method, "/outrigger/v1/arming/approve", post_approve);
  }
}

}  // namespace agent::api
