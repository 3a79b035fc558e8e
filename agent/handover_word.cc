#include "agent/handover_word.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace agent {
namespace {

using Json = nlohmann::ordered_json;
using Kind = HandoverWord::Kind;

constexpr std::array<std::pair<Kind, const char*>, 6> kNames{{{Kind::kTakeOver, "take-over"},
                                                              {Kind::kRefused, "refused"},
                                                              {Kind::kSockets, "sockets"},
                                                              {Kind::kGo, "go"},
                                                              {Kind::kReady, "ready"},
                                                              {Kind::kPrimary, "primary"}}};

Json primary_json(const proxy::PrimaryView& view) {
  return {{"service", view.service},
          {"epoch", static_cast<std::uint64_t>(view.epoch)},
          {"held", view.holder != proxy::PrimaryView::Holder::kNone},
          {"endpoint", static_cast<std::uint64_t>(view.endpoint.id)},
          {"address", view.endpoint.address},
          {"node", view.endpoint.node}};
}

proxy::PrimaryView primary_of(const Json& json) {
  proxy::PrimaryView view;
  view.service = json.at("service").get<std::string>();
  view.epoch = proxy::Epoch{json.at("epoch").get<std::uint64_t>()};
  if (!json.at("held").get<bool>()) return view;
  view.holder = proxy::PrimaryView::Holder::kPeer;
  view.endpoint.id = proxy::EndpointId{json.at("endpoint").get<std::uint64_t>()};
  view.endpoint.kind = proxy::EndpointKind::kPeer;
  view.endpoint.address = json.at("address").get<std::string>();
  view.endpoint.node = json.at("node").get<std::string>();
  return view;
}

}  // namespace

std::string encode(const HandoverWord& word) {
  Json json{{"protocol", HandoverWord::kProtocol}};
  for (const auto& [kind, name] : kNames) {
    if (kind == word.kind) json["say"] = name;
  }
  if (!word.text.empty()) json["text"] = word.text;
  if (word.kind == Kind::kSockets) json["names"] = word.names;
  if (word.kind == Kind::kPrimary) json["primary"] = primary_json(word.primary);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

io::Result<HandoverWord> decode_handover(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    if (json.at("protocol").get<std::uint32_t>() != HandoverWord::kProtocol)
      return io::fail(io::Errc::kInvalidArgument, "the two versions hand over in different ways; stop the old agent and start the new one");
    const auto say = json.at("say").get<std::string>();
    HandoverWord word;
    bool known = false;
    for (const auto& [kind, name] : kNames) {
      if (say != name) continue;
      word.kind = kind;
      known = true;
    }
    if (!known) return io::fail(io::Errc::kInvalidArgument, "an unknown word of a hand-over: " + say);
    if (json.contains("text")) word.text = json.at("text").get<std::string>();
    if (word.kind == Kind::kSockets) word.names = json.at("names").get<std::vector<std::string>>();
    if (word.kind == Kind::kPrimary) word.primary = primary_of(json.at("primary"));
    return word;
  } catch (const nlohmann::json::exception& error) {
    return io::fail(io::Errc::kInvalidArgument, std::string("no word of a hand-over: ") + error.what());
  }
}

proxy::PrimaryView seen_from_outside(proxy::PrimaryView view, const std::string& mesh_address) {
  view.lease = nullptr;
  view.accepts_new = view.armed = true;  // the other process says itself whether it takes an order
  view.unarmed_reason.clear();
  if (view.holder != proxy::PrimaryView::Holder::kLocal) return view;
  view.holder = proxy::PrimaryView::Holder::kPeer;
  view.endpoint.kind = proxy::EndpointKind::kPeer;
  view.endpoint.address = mesh_address;
  // Another address needs another number; no member's is the complement of ours.
  view.endpoint.id = proxy::EndpointId{~static_cast<std::uint64_t>(view.endpoint.id)};
  return view;
}

}  // namespace agent
