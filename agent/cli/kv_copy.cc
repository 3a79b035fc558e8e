#include "agent/cli/kv_copy.h"

#include <algorithm>

namespace agent::cli {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A field by its name in lower case or as Consul's answers spell it.
Json either(const Json& object, const char* lower, const char* upper) {
  Json value = field(object, lower);
  return value.is_null() ? field(object, upper) : value;
}

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// What one entry says, or why it cannot be taken.
std::optional<CopiedKey> key_of(const Json& entry, std::string& fault) {
  const Json key = either(entry, "key", "Key"), value = either(entry, "value", "Value"),
             flags = either(entry, "flags", "Flags");
  if (!key.is_string() || key.get_ref<const std::string&>().empty()) return fault = "has no key", std::nullopt;
  if (!value.is_null() && !value.is_string()) return fault = "has a value that is no Base64 text", std::nullopt;
  if (!flags.is_null() && !flags.is_number_unsigned())
    return fault = "has flags that are no number of 64 bits", std::nullopt;
  CopiedKey out{key.get<std::string>(), decode_base64(value), flags.is_null() ? 0 : flags.get<std::uint64_t>()};
  if (value.is_string() && encode_base64(out.value) != value.get_ref<const std::string&>())
    return fault = "has a value that is no Base64 text", std::nullopt;
  return out;
}

std::size_t bytes_of(const CopiedKey& key) { return key.key.size() + key.value.size() / 3 * 4 + 128; }

}  // namespace

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&bytes, i](std::size_t at) {
      return i + at < bytes.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i + at])) : 0U;
    };
    const std::uint32_t bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += {kBase64[bits >> 18], kBase64[bits >> 12 & 63], i + 1 < bytes.size() ? kBase64[bits >> 6 & 63] : '=',
            i + 2 < bytes.size() ? kBase64[bits & 63] : '='};
  }
  return out;
}

std::string decode_base64(const Json& value) {
  std::string out;
  if (!value.is_string()) return out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : value.get_ref<const std::string&>()) {
    const auto digit = kBase64.find(c);
    if (digit == std::string_view::npos) continue;
    bits = (bits << 6) | static_cast<std::uint32_t>(digit);
    if ((count += 6) >= 8) out += static_cast<char>((bits >> (count -= 8)) & 0xffU);
  }
  return out;
}

std::string export_text(const std::vector<CopiedKey>& keys) {
  std::string out = "[";
  for (const auto& one : keys) {
    out += out.size() > 1 ? ",\n\t" : "\n\t";
    out += dump({{"key", one.key}, {"flags", one.flags}, {"value", encode_base64(one.value)}});
  }
  return out + (keys.empty() ? "]\n" : "\n]\n");
}

std::optional<std::vector<CopiedKey>> parse_export(const std::string& text, std::string& fault) {
  const Json list = Json::parse(text, nullptr, false);
  if (!list.is_array()) return fault = "it is no JSON list of {key, flags, value}", std::nullopt;
  std::vector<CopiedKey> out;
  for (const auto& entry : list) {
    auto one = key_of(entry, fault);
    if (!one) return fault = "entry " + std::to_string(out.size() + 1) + " " + fault, std::nullopt;
    out.push_back(std::move(*one));
  }
  return out;
}

std::vector<std::vector<CopiedKey>> batches_of(std::vector<CopiedKey> keys) {
  std::vector<std::vector<CopiedKey>> out;
  std::size_t bytes = 0;
  for (auto& one : keys) {
    const std::size_t more = bytes_of(one);
    if (out.empty() || out.back().size() == kBatchKeys || bytes + more > kBatchBytes) {
      out.emplace_back();
      bytes = 0;
    }
    bytes += more;
    out.back().push_back(std::move(one));
  }
  return out;
}

// ---------------------------------------------------------------- one store

KeyStore::KeyStore(std::string api, std::string token, std::chrono::milliseconds timeout)
    : api_(std::move(api)), token_(std::move(token)), timeout_(timeout) {}

std::optional<HttpReply> KeyStore::call(const std::string& method, const std::string& target, const std::string& body) {
  HttpRequest request{method, target, body, timeout_, {}, {}};
  if (!token_.empty()) request.headers.emplace_back("X-Consul-Token", token_);
  auto reply = http_call(api_, request);
  if (!reply) return fault = reply.error(), std::nullopt;
  if (reply->status == 200 || reply->status == 404 || reply->status == 409 || reply->status == 413)
    return std::move(*reply);
  fault = api_ + " answered " + std::to_string(reply->status) +
          (reply->body.empty() ? "" : ": " + reply->body.substr(0, 300));
  return std::nullopt;
}

std::optional<std::vector<std::string>> KeyStore::names(const std::string& prefix) {
  const auto reply = call("GET", "/v1/kv/" + url_encode(prefix) + "?keys", {});
  if (!reply) return std::nullopt;
  std::vector<std::string> out;
  if (reply->status == 404) return out;
  const Json list = Json::parse(reply->body, nullptr, false);
  if (reply->status != 200 || !list.is_array())
    return fault = api_ + " did not list its keys: " + reply->body.substr(0, 300), std::nullopt;
  for (const auto& name : list)
    if (name.is_string()) out.push_back(name.get<std::string>());
  return out;
}

std::optional<CopiedKey> KeyStore::read_one(const std::string& name, bool& failed) {
  const auto reply = call("GET", "/v1/kv/" + url_encode(name), {});
  failed = !reply;
  if (!reply || reply->status != 200) return std::nullopt;
  const Json list = Json::parse(reply->body, nullptr, false);
  std::string why = "is missing";
  auto one = list.is_array() && !list.empty() ? key_of(list[0], why) : std::nullopt;
  if (one) return one;
  failed = true;
  fault = "key \"" + name + "\" at " + api_ + " " + why;
  return std::nullopt;
}

std::optional<std::vector<CopiedKey>> KeyStore::read(const std::vector<std::string>& names) {
  Json ops = Json::array();
  for (const auto& name : names) ops.push_back({{"KV", {{"Verb", "get"}, {"Key", name}}}});
  const auto reply = call("PUT", "/v1/txn", dump(ops));
  if (!reply) return std::nullopt;
  std::vector<CopiedKey> out;
  const Json results = reply->status == 200 ? field(Json::parse(reply->body, nullptr, false), "Results") : Json();
  for (const auto& result : results) {
    std::string why;
    auto one = key_of(field(result, "KV"), why);
    if (!one) return fault = "an entry of " + api_ + " " + why, std::nullopt;
    out.push_back(std::move(*one));
  }
  if (out.size() == names.size()) return out;
  // One of them is gone by now, or together they are too large for one answer: one by one.
  out.clear();
  for (const auto& name : names) {
    bool failed = false;
    auto one = read_one(name, failed);
    if (failed) return std::nullopt;
    if (one) out.push_back(std::move(*one));
  }
  return out;
}

std::optional<std::vector<CopiedKey>> KeyStore::read_all(const std::string& prefix, bool& too_large) {
  const auto reply = call("GET", "/v1/kv/" + url_encode(prefix) + "?recurse", {});
  too_large = reply && reply->status == 413;
  if (!reply || too_large) return std::nullopt;
  if (reply->status == 404) return std::vector<CopiedKey>();
  return parse_export(reply->body, fault);
}

std::optional<bool> KeyStore::write(const std::vector<CopiedKey>& keys, Write how) {
  if (keys.size() == 1) {
    const auto& one = keys.front();
    const std::string cas = how == Write::kCreateOnly ? "&cas=0" : "";
    const auto reply =
        call("PUT", "/v1/kv/" + url_encode(one.key) + "?flags=" + std::to_string(one.flags) + cas, one.value);
    if (!reply) return std::nullopt;
    if (reply->status == 200) return reply->body.starts_with("true");
    return fault = "key \"" + one.key + "\" was refused: " + reply->body.substr(0, 300), std::nullopt;
  }
  Json ops = Json::array();
  for (const auto& one : keys) {
    Json kv = {{"Verb", how == Write::kCreateOnly ? "cas" : "set"},
               {"Key", one.key},
               {"Value", encode_base64(one.value)},
               {"Flags", one.flags}};
    if (how == Write::kCreateOnly) kv["Index"] = 0;
    ops.push_back({{"KV", std::move(kv)}});
  }
  const auto reply = call("PUT", "/v1/txn", dump(ops));
  if (!reply) return std::nullopt;
  if (reply->status == 200) return true;
  if (how == Write::kCreateOnly && reply->status == 409) return false;
  return fault = "a transaction was refused: " + reply->body.substr(0, 300), std::nullopt;
}

}  // namespace agent::cli
