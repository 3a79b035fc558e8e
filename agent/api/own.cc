#include "agent/api/own.h"

#include "agent/api/json_body.h"

namespace agent::api {

std::string text_of(NodeId id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(16, '0');
  auto rest = static_cast<std::uint64_t>(id);
  for (std::size_t i = 16; i-- > 0; rest >>= 4) out[i] = kDigits[rest & 15];
  return out;
}

Json id_json(NodeId id) { return id == NodeId{} ? Json(nullptr) : Json(text_of(id)); }
Json name_json(const std::string& name) { return name.empty() ? Json(nullptr) : Json(name); }

std::string dump(const Json& body) { return body.dump(-1, ' ', false, Json::error_handler_t::replace); }

Response json_response(const Json& body, int status) { return {status, "application/json", {}, dump(body)}; }

Response problem_response(Errc code, const std::string& message, const Json& more) {
  const ErrorRow& row = error_row(code);
  Json body = {
      {"code", row.name}, {"message", message}, {"hint", row.hint}, {"retry_after_ms", row.retry_after.count()}};
  for (auto it = more.begin(); it != more.end(); ++it) body[it.key()] = it.value();
  return {row.status, "application/problem+json", {}, dump(body)};
}

Fields::Fields(const Call& call) : call_(call) {
  std::string fault;
  if (call.request.body.empty()) return;
  auto parsed = parse_json(call.request.body, fault);
  body_ = parsed ? std::move(*parsed) : Json(false);
}

std::string Fields::text(const std::string& name) const {
  if (const auto* value = call_.query.find(name)) return *value;
  const auto it = body_.is_object() ? body_.find(name) : body_.end();
  if (!body_.is_object() || it == body_.end()) return {};
  return it->is_string() ? it->get<std::string>() : it->is_null() ? std::string() : dump(*it);
}

}  // namespace agent::api
