#include "agent/cli/session.h"

#include <algorithm>
#include <ostream>

namespace agent::cli {

void Session::add_output_option(CLI::App& verb) {
  verb.add_option("-o,--output", output, "text for people, json for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void Session::add_client_options(CLI::App& verb) {
  add_output_option(verb);
  verb.add_option("--api", api, "the agent's API: ip:port or unix:/path [$OUTRIGGER_API, $CONSUL_HTTP_ADDR]")
      ->capture_default_str();
  verb.add_option("--timeout", timeout_ms, "milliseconds to wait for the answer")
      ->check(CLI::Range(1U, 3600000U))
      ->capture_default_str();
}

std::optional<HttpReply> Session::call(const std::string& method, const std::string& target, int& code,
                                       const std::string& body, int also_good) {
  HttpRequest request{method, target, body, std::chrono::milliseconds(timeout_ms), {}, {}};
  if (!token.empty()) request.headers.emplace_back("X-Consul-Token", token);
  auto reply = http_call(api, request);
  if (!reply) {
    code = fail(reply.error(), "is \"outrigger agent\" running there? Name another with --api or OUTRIGGER_API");
    return std::nullopt;
  }
  if (reply->status / 100 != 2 && reply->status != also_good) {
    code = report(*reply);
    return std::nullopt;
  }
  code = kExitOk;
  return std::move(*reply);
}

std::optional<Json> Session::call_json(const std::string& method, const std::string& target, int& code,
                                       const std::string& body) {
  const auto reply = call(method, target, code, body);
  if (!reply) return std::nullopt;
  return parse(*reply, code);
}

std::optional<Json> Session::parse(const HttpReply& reply, int& code) {
  Json value = Json::parse(reply.body, nullptr, false);
  if (!value.is_discarded()) return value;
  code = fail("the answer is no JSON", "is this an outrigger agent?");
  return std::nullopt;
}

int Session::act(const std::string& method, const std::string& target, const std::string& done,
                 const std::string& body) {
  int code = kExitOk;
  const auto reply = call(method, target, code, body);
  if (!reply) return code;
  if (!json()) {
    host.out << done << "\n";
    return kExitOk;
  }
  Json value = Json::parse(reply->body, nullptr, false);
  Json out = value.is_object() ? std::move(value) : Json::object();
  out["ok"] = true;
  print(out);
  return kExitOk;
}

int Session::fail(const std::string& message, const std::string& hint) {
  if (json())
    print({{"ok", false}, {"code", "failed"}, {"message", message}, {"hint", hint}});
  else
    host.err << "outrigger: " << message << (hint.empty() ? "" : "\n  " + hint) << "\n";
  return kExitFailed;
}

int Session::report(const HttpReply& reply) {
  Json problem = Json::parse(reply.body, nullptr, false);
  // Consul's dialect answers with a bare sentence instead.
  if (!problem.is_object() || !problem.contains("message"))
    problem = {{"code", "http_" + std::to_string(reply.status)},
               {"message", reply.body.empty() ? "the agent answered " + std::to_string(reply.status) : reply.body}};
  if (json()) {
    problem["ok"] = false;
    print(problem);
  } else {
    const std::string hint = problem.contains("hint") ? cell(problem, "hint") : "";
    host.err << "outrigger: " << cell(problem, "message") << (hint.empty() ? "" : "\n  " + hint) << "\n";
  }
  return reply.status == 400 ? kExitUsage : kExitFailed;
}

void Session::print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> shown(rows.size());
  std::vector<std::size_t> widths;
  for (std::size_t at = 0; at < rows.size(); ++at)
    for (std::size_t i = 0; i < rows[at].size(); ++i) {
      shown[at].push_back(printable(rows[at][i]));
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], shown[at][i].size());
    }
  for (const auto& row : shown) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + (i + 1 == row.size() ? "" : std::string(widths[i] - row[i].size() + 2, ' '));
    while (line.ends_with(' ')) line.pop_back();
    host.out << line << "\n";
  }
}

Json field(const Json& object, const std::string& key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() ? Json(nullptr) : *it;
}

std::string cell(const Json& object, const std::string& key) {
  const Json value = field(object, key);
  if (value.is_null()) return "-";
  if (!value.is_string()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto& text = value.get_ref<const std::string&>();
  return text.empty() ? "-" : text;
}

std::string printable(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are controls, too, in two bytes; other texts keep theirs.
    const bool high = byte == 0xc2 && i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xe0U) == 0x80;
    const std::size_t count = high ? 2 : byte < 0x20 || byte == 0x7f ? 1 : 0;
    if (count == 0) out += text[i];
    for (std::size_t k = 0; k < count; ++k) {
      const auto one = static_cast<unsigned char>(text[i + k]);
      out += {'\\', 'x', kDigits[one >> 4U], kDigits[one & 15U]};
    }
    if (high) ++i;
  }
  return out;
}

}  // namespace agent::cli
