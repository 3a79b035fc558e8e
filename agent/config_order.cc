#include "agent/config_order.h"

#include <algorithm>
#include <cctype>

#include "agent/config_statuses.h"
#include "agent/config_values.h"

namespace agent {
std::optional<OrderKeyPlace> config_order_key(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view kind = text.substr(0, colon), name = text.substr(colon + 1);
  if (name.empty() || name.size() > 128) return std::nullopt;
  if (kind == "header") {
    const bool token = std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos; });
    return token ? std::optional(OrderKeyPlace{OrderKeyPlace::Kind::kHeader, std::string(name)}) : std::nullopt;
  }
  if (kind == "query") {
    const bool plain = name.find_first_of("&=#? ") == std::string_view::npos;
    return plain ? std::optional(OrderKeyPlace{OrderKeyPlace::Kind::kQuery, std::string(name)}) : std::nullopt;
  }
  if (kind != "json" || name.front() != '/') return std::nullopt;
  // RFC 6901: '~' begins an escape, "~0" or "~1".
  for (std::size_t at = name.find('~'); at != std::string_view::npos; at = name.find('~', at + 1)) {
    if (at + 1 == name.size() || (name[at + 1] != '0' && name[at + 1] != '1')) return std::nullopt;
  }
  return OrderKeyPlace{OrderKeyPlace::Kind::kJson, std::string(name)};
}

void config_read_halt(ConfigReader reader, const std::set<std::string>& all_keys, HaltConfig& halt) {
  if (reader.text("account_header", halt.account_header, 64) && !config_order_key("header:" + halt.account_header))
    reader.problem("account_header", "\"" + halt.account_header + "\" is no name of a header", "write \"X-Account\", or what your clients send");
  reader.boolean("second_person", halt.second_person);
  reader.finish(all_keys);
}

namespace {

// As applications read names that they cannot tell apart.
bool reads_alike(std::string_view a, std::string_view b) {
  const auto plain = [](unsigned char c) { return c == '_' ? '-' : std::tolower(c); };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](unsigned char x, unsigned char y) { return plain(x) == plain(y); });
}

// A field that an agent writes, drops or changes is another key at each hop, and an order under it is sent once per try.
std::optional<std::string> why_no_key_field(const std::string& name, const RouteChecks& checks, const HeadersConfig& rules) {
  if (reads_alike(name, "traceparent") || reads_alike(name, "tracestate")) return "\"" + name + "\" is written anew by the agents";
  if (auto fault = checks.check_header ? checks.check_header(name, HeaderChange::kDelRequest) : std::nullopt) return fault;
  for (const auto* list : {&rules.set, &rules.add, &rules.del}) {
    for (const std::string& line : *list)
      if (reads_alike(std::string_view(line).substr(0, line.find(':')), name)) return "request_headers of this route changes \"" + name + "\"";
  }
  return std::nullopt;
}

constexpr const char* kFieldOfItsOwn = "let clients send the key in a field of its own, such as \"Idempotency-Key\"";

}  // namespace

void read_route_idempotency(const std::set<std::string>& all_keys, const RouteChecks& checks, ConfigReader& route_reader, RouteConfig& route) {
  auto reader = route_reader.section("idempotency");
  if (reader.present()) route.idempotency.emplace();
  IdempotencyConfig absent;
  IdempotencyConfig& out = route.idempotency ? *route.idempotency : absent;
  if (reader.text("key", out.key, 160) && !config_order_key(out.key))
    reader.problem("key", "\"" + out.key + "\" does not say where the key of an order stands",
                   "write \"header:Idempotency-Key\", \"query:client_order_id\" or \"json:/client_order_id\"");
  const auto place = config_order_key(out.key);
  if (route.idempotency && place && place->kind == OrderKeyPlace::Kind::kHeader) {
    if (const auto fault = why_no_key_field(place->name, checks, route.request_headers)) reader.problem("key", *fault, kFieldOfItsOwn);
  }
  reader.boolean("required", out.required);
  reader.duration("retention", out.retention, Milliseconds(60'000), Milliseconds(366LL * 24 * 3'600'000));
  if (reader.text("zone", out.zone, 64) && !config_is_name(out.zone))
    reader.problem("zone", "\"" + out.zone + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
  if (reader.text("account_header", out.account_header, 64) && !config_order_key("header:" + out.account_header))
    reader.problem("account_header", "\"" + out.account_header + "\" is no name of a header", "write \"X-Account\", or what your clients send");
  config_read_statuses(reader, {"unknown_statuses", 400, 599, 16, "write [\"500\", \"502\", \"504\"], or [] if each answer of the instance is final"}, out.unknown_statuses);
  reader.size("answer_max", out.answer_bytes_max, 1024, 256 * 1024);
  reader.finish(all_keys);
  if (!route.idempotency) return;
  if (route.pool != Pool::kPrimary)
    route_reader.problem("idempotency", "keys are written down by the agent of the primary, under its lease", "write pool = \"primary\", or remove it");
}

void config_check_order_fields(ConfigReader request_id, const Config& config) {
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    const auto& rule = config.routes[i].idempotency;
    const auto place = rule ? config_order_key(rule->key) : std::nullopt;
    if (place && place->kind == OrderKeyPlace::Kind::kHeader && reads_alike(place->name, config.proxy.request_id.field))
      request_id.problem("field", "the keys of route[" + std::to_string(i) + "] stand in this field, and agents write it anew", kFieldOfItsOwn);
  }
}

}  // namespace agent
