#include "agent/reconcile_words.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "agent/api/json_body.h"

namespace agent {
namespace {

using Json = nlohmann::ordered_json;

HookAnswer refused(std::string why) {
  HookAnswer answer;
  answer.detail = "the hook's answer is none: " + std::move(why);
  return answer;
}

std::optional<OrderStanding> standing_of(const Json& state) {
  for (const OrderStanding standing : {OrderStanding::kDone, OrderStanding::kNotSent, OrderStanding::kUnknown}) {
    if (state.is_string() && state.get_ref<const std::string&>() == to_string(standing)) return standing;
  }
  return std::nullopt;
}

/// @return what is wrong with it; empty = nothing
std::string read_finding(const Json& json, OrderFinding& out) {
  if (!json.is_object() || !json.contains("key") || !json.at("key").is_string()) return "a verdict without \"key\"";
  out.key = json.at("key").get<std::string>();
  if (!json.contains("zone") || !json.at("zone").is_string()) return "the verdict about \"" + out.key + "\" has no \"zone\"";
  out.zone = json.at("zone").get<std::string>();
  const auto standing = json.contains("state") ? standing_of(json.at("state")) : std::nullopt;
  if (!standing) return "\"state\" of \"" + out.key + "\" is none of \"done\", \"not_sent\", \"unknown\"";
  out.standing = *standing;
  if (json.contains("status") && !json.at("status").is_null()) {
    const Json& status = json.at("status");
    if (!status.is_number_integer() || status < 200 || status > 599) return "\"status\" of \"" + out.key + "\" is no number from 200 to 599";
    out.status = status.get<int>();
  }
  if (json.contains("body") && !json.at("body").is_null()) {
    const Json& body = json.at("body");
    out.body = body.is_string() ? body.get<std::string>() : body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  if (out.body.size() > kFindingBodyBytesMax) return "\"body\" of \"" + out.key + "\" is longer than " + std::to_string(kFindingBodyBytesMax) + " bytes";
  return {};
}

}  // namespace

std::string reconcile_question(const AskHook& ask, const std::string& service, const std::string& node) {
  Json orders = Json::array();
  for (const OrderSeen& order : ask.orders) {
    orders.push_back({{"zone", order.zone},
                      {"key", order.key},
                      {"state", to_string(order.standing)},
                      {"fingerprint", order.fingerprint},
                      {"reserved_ms", order.reserved_ms},
                      {"attempt", order.attempt},
                      {"epoch", order.epoch}});
  }
  return Json{{"service", service}, {"node", node},      {"epoch", static_cast<std::uint64_t>(ask.epoch)},
              {"armed", ask.armed}, {"more", ask.more}, {"orders", std::move(orders)}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

HookAnswer reconcile_answer(std::string_view text) {
  if (text.size() > kHookAnswerBytesMax) return refused("longer than 1 MiB");
  std::string fault;
  const auto json = api::parse_json(text, fault);
  if (!json) return refused(text.empty() ? "it said nothing; {} is the least" : fault);
  if (!json->is_object()) return refused("no JSON object");
  HookAnswer answer;
  if (json->contains("flat") && !json->at("flat").is_null()) {
    if (!json->at("flat").is_boolean()) return refused("\"flat\" is neither true nor false");
    answer.flat = json->at("flat").get<bool>();
  }
  if (json->contains("recent_first") && !json->at("recent_first").is_null()) {
    if (!json->at("recent_first").is_boolean()) return refused("\"recent_first\" is neither true nor false");
    answer.recent_first = json->at("recent_first").get<bool>();
  }
  if (json->contains("verdicts")) {
    const Json& verdicts = json->at("verdicts");
    if (!verdicts.is_array() || verdicts.size() > kFindingsMax) return refused("\"verdicts\" is no list of at most " + std::to_string(kFindingsMax));
    for (const Json& one : verdicts) {
      OrderFinding finding;
      if (std::string why = read_finding(one, finding); !why.empty()) return refused(std::move(why));
      answer.findings.push_back(std::move(finding));
    }
  }
  answer.ok = true;
  return answer;
}

}  // namespace agent
