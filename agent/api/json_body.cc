#include "agent/api/json_body.h"

#include <algorithm>
#include <limits>

#include "agent/api/query.h"

namespace agent::api {
namespace {

using Json = nlohmann::ordered_json;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Brackets outside of strings, counted before the parser builds anything: printing and freeing a document recurse.
bool too_deep(std::string_view body) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kJsonDepthMax) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<Json> parse_json(std::string_view body, std::string& fault) {
  if (too_deep(body)) {
    fault = "it is nested deeper than " + std::to_string(kJsonDepthMax) + " levels";
    return std::nullopt;
  }
  try {
    return Json::parse(body);
  } catch (const Json::parse_error& error) {
    fault = "it is no JSON: byte " + std::to_string(error.byte) + " does not fit";
  } catch (const Json::exception& error) {
    fault = "it is no JSON that can be kept: " + std::string(error.what());
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> duration_of(const Json& value) {
  if (value.is_string()) return parse_duration(value.get_ref<const std::string&>());
  if (value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0))
    return std::chrono::milliseconds(static_cast<std::int64_t>(value.get<std::uint64_t>() / 1'000'000));
  return std::nullopt;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t padding = !last || text[i + 3] != '=' ? 0 : text[i + 2] == '=' ? 2 : 1;
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const int digit = j < 4 - padding ? base64_digit(text[i + j]) : 0;
      if (digit < 0) return std::nullopt;
      bits = bits << 6 | static_cast<std::uint32_t>(digit);
    }
    out += static_cast<char>(bits >> 16 & 0xffU);
    if (padding < 2) out += static_cast<char>(bits >> 8 & 0xffU);
    if (padding < 1) out += static_cast<char>(bits & 0xffU);
  }
  return out;
}

JsonFields::JsonFields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object() && !object.is_null()) refuse({}, "must be an object");
}

void JsonFields::refuse(std::string_view name, std::string_view why) {
  if (!fault_.empty()) return;
  std::string what = where_ + std::string(name);
  while (what.ends_with('.')) what.pop_back();
  fault_ = (what.empty() ? "the body" : "\"" + what + "\"") + " " + std::string(why);
}

const Json* JsonFields::find(std::string_view name) const {
  if (!object_.is_object()) return nullptr;
  const Json* found = nullptr;
  bool exact = false;
  for (auto it = object_.begin(); it != object_.end(); ++it) {
    const bool now_exact = it.key() == name;
    if (!now_exact && (exact || !same_name(it.key(), name))) continue;
    found = &it.value();
    exact = now_exact;
  }
  return found == nullptr || found->is_null() ? nullptr : found;
}

std::string JsonFields::text(std::string_view name, std::string_view fallback) {
  const Json* value = find(name);
  if (value == nullptr) return std::string(fallback);
  if (value->is_string()) return value->get<std::string>();
  refuse(name, "must be a string");
  return std::string(fallback);
}

bool JsonFields::flag(std::string_view name, bool fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  refuse(name, "must be true or false");
  return fallback;
}

std::uint64_t JsonFields::number(std::string_view name, std::uint64_t fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (value->is_number_unsigned()) return value->get<std::uint64_t>();
  refuse(name, "must be an integer from 0 to 18446744073709551615");
  return fallback;
}

std::int64_t JsonFields::integer(std::string_view name, std::int64_t fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  const bool fits =
      value->is_number_integer() &&
      (!value->is_number_unsigned() ||
       value->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  if (fits) return value->get<std::int64_t>();
  refuse(name, "must be an integer");
  return fallback;
}

std::optional<std::chrono::milliseconds> JsonFields::duration(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr || (value->is_string() && value->get_ref<const std::string&>().empty())) return std::nullopt;
  auto out = duration_of(*value);
  if (!out) refuse(name, "must be a duration such as \"10s\", or nanoseconds");
  return out;
}

std::vector<std::string> JsonFields::texts(std::string_view name) {
  std::vector<std::string> out;
  const Json* list = array(name);
  if (list == nullptr) return out;
  for (const auto& value : *list) {
    if (value.is_string())
      out.push_back(value.get<std::string>());
    else
      refuse(name, "must be an array of strings");
  }
  return out;
}

std::map<std::string, std::string> JsonFields::text_map(std::string_view name) {
  std::map<std::string, std::string> out;
  const Json* map = object(name);
  if (map == nullptr) return out;
  for (auto it = map->begin(); it != map->end(); ++it) {
    if (it.value().is_string())
      out[it.key()] = it.value().get<std::string>();
    else if (!it.value().is_null())
      refuse(name, "must be an object of strings");
  }
  return out;
}

const Json* JsonFields::object(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_object()) return value;
  refuse(name, "must be an object");
  return nullptr;
}

const Json* JsonFields::array(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_array()) return value;
  refuse(name, "must be an array");
  return nullptr;
}

std::vector<std::string> JsonFields::unknown(std::initializer_list<std::string_view> known) const {
  std::vector<std::string> out;
  if (!object_.is_object()) return out;
  for (auto it = object_.begin(); it != object_.end(); ++it)
    if (std::none_of(known.begin(), known.end(), [&it](std::string_view name) { return same_name(name, it.key()); }))
      out.push_back(it.key());
  return out;
}

}  // namespace agent::api
