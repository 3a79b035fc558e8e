#include "agent/drivers/otlp_reader.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

namespace agent::drivers {
namespace {

using nlohmann::json;
using Groups = tl::expected<std::vector<AppSpans>, std::string>;

std::string cut(std::string_view text) { return std::string(text.substr(0, AppSpans::kTextMax)); }

std::int64_t signed_time(std::uint64_t ns) { return static_cast<std::int64_t>(std::min<std::uint64_t>(ns, INT64_MAX)); }

/// What both forms must say of a span. @return what is wrong; empty = nothing
std::string_view fault_of(AppSpan& span) {
  if (span.trace.front() == '\0') return "no trace id of 16 bytes that are not all zero";
  if (span.span.front() == '\0') return "no span id of 8 bytes that are not all zero";
  span.end_ns = std::max(span.start_ns, span.end_ns);
  return {};
}

// ---- protobuf ----

/// The fields of one message, front to back. Once it is broken it has no more.
class Message {
 public:
  Message(std::string_view bytes, const char* base) : bytes_(bytes), base_(base) {}

  /// @return false: the end, or fault() says what is wrong
  bool next() {
    if (bytes_.empty() || fault_ != nullptr) return false;
    const std::uint64_t tag = varint();
    number_ = tag >> 3U;
    switch (tag & 7U) {
      case 0: value_ = varint(); return is(Kind::kNumber);
      case 1: value_ = fixed(8); return is(Kind::kNumber);
      case 5: value_ = fixed(4); return is(Kind::kNumber);
      case 2: {
        const std::uint64_t size = varint();
        if (fault_ == nullptr && size > bytes_.size()) fail("a field ends behind the end");
        if (fault_ != nullptr) return false;
        text_ = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return is(Kind::kBytes);
      }
      default: fail("a kind of field that is none"); return false;
    }
  }
  [[nodiscard]] bool is_number(std::uint64_t number) const { return number_ == number && kind_ == Kind::kNumber; }
  [[nodiscard]] bool is_bytes(std::uint64_t number) const { return number_ == number && kind_ == Kind::kBytes; }
  [[nodiscard]] std::uint64_t value() const { return value_; }
  [[nodiscard]] std::string_view text() const { return text_; }
  [[nodiscard]] Message message() const { return {text_, base_}; }
  /// What is wrong with a message inside this one is wrong with this one.
  bool adopt(const Message& inner) {
    if (inner.fault_ != nullptr) fault_ = inner.fault_, at_ = inner.at_;
    return fault_ == nullptr;
  }
  [[nodiscard]] std::optional<std::string> fault() const {
    if (fault_ == nullptr) return std::nullopt;
    return "byte " + std::to_string(at_) + ": " + fault_;
  }
  void fail(const char* what) {
    if (fault_ == nullptr) fault_ = what, at_ = static_cast<std::size_t>(bytes_.data() - base_);
  }

 private:
  enum class Kind : std::uint8_t { kNumber, kBytes };
  bool is(Kind kind) {
    kind_ = kind;
    return fault_ == nullptr;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (bytes_.empty()) return fail("a number ends behind the end"), 0;
      const auto byte = static_cast<std::uint8_t>(bytes_.front());
      bytes_.remove_prefix(1);
      if (shift < 64) value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    return fail("a number of more than ten bytes"), 0;
  }
  std::uint64_t fixed(std::size_t size) {
    if (bytes_.size() < size) return fail("a number ends behind the end"), 0;
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8U | static_cast<std::uint8_t>(bytes_[i]);
    bytes_.remove_prefix(size);
    return value;
  }

  std::string_view bytes_, text_;
  const char* base_;
  std::uint64_t number_ = 0, value_ = 0;
  Kind kind_ = Kind::kNumber;
  const char* fault_ = nullptr;
  std::size_t at_ = 0;
};

template <std::size_t N>
void take_id(std::array<char, N>& out, std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out = {};
  if (bytes.size() != N / 2 || std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; })) return;
  for (std::size_t i = 0; i < N; ++i) {
    const auto byte = static_cast<std::uint8_t>(bytes[i / 2]);
    out[i] = kDigits[i % 2 == 0 ? byte >> 4U : byte & 15U];
  }
}

AppValue read_value(Message& value) {
  AppValue out = std::string();
  while (value.next()) {
    if (value.is_bytes(1)) out = cut(value.text());
    else if (value.is_number(2)) out = value.value() != 0;
    else if (value.is_number(3)) out = static_cast<std::int64_t>(value.value());
    else if (value.is_number(4)) out = std::bit_cast<double>(value.value());
    else if (value.is_bytes(5)) out = std::string("[...]");
    else if (value.is_bytes(6)) out = std::string("{...}");
    else if (value.is_bytes(7)) out = "(" + std::to_string(value.text().size()) + " bytes)";
  }
  return out;
}

std::pair<std::string, AppValue> read_pair(Message& pair) {
  std::pair<std::string, AppValue> out;
  while (pair.next()) {
    if (pair.is_bytes(1)) out.first = cut(pair.text());
    if (!pair.is_bytes(2)) continue;
    Message value = pair.message();
    out.second = read_value(value);
    if (!pair.adopt(value)) break;
  }
  return out;
}

void read_event(Message& event, AppSpan& span) {
  std::pair<std::int64_t, std::string> out;
  while (event.next()) {
    if (event.is_number(1)) out.first = signed_time(event.value());
    else if (event.is_bytes(2)) out.second = cut(event.text());
  }
  if (span.events.size() < AppSpans::kEventsMax) span.events.push_back(std::move(out));
}

void read_status(Message& status, AppSpan& span) {
  while (status.next()) {
    if (status.is_bytes(2)) span.message = cut(status.text());
    else if (status.is_number(3)) span.failed = status.value() == 2;
  }
}

void read_span(Message& in, AppSpan& span) {
  while (in.next()) {
    if (in.is_bytes(1)) take_id(span.trace, in.text());
    else if (in.is_bytes(2)) take_id(span.span, in.text());
    else if (in.is_bytes(4)) take_id(span.parent, in.text());
    else if (in.is_bytes(5)) span.name = cut(in.text());
    else if (in.is_number(6)) span.kind = in.value() <= 5 ? static_cast<int>(in.value()) : 0;
    else if (in.is_number(7)) span.start_ns = signed_time(in.value());
    else if (in.is_number(8)) span.end_ns = signed_time(in.value());
    else if (in.is_bytes(9) || in.is_bytes(11) || in.is_bytes(15)) {
      Message inner = in.message();
      if (in.is_bytes(11)) read_event(inner, span);
      else if (in.is_bytes(15)) read_status(inner, span);
      else if (auto pair = read_pair(inner); span.attributes.size() < AppSpans::kAttributesMax) span.attributes.push_back(std::move(pair));
      if (!in.adopt(inner)) return;
    }
  }
}

void read_scope(Message& scope, AppSpans& out, std::size_t& count) {
  while (scope.next()) {
    if (!scope.is_bytes(2)) continue;
    Message inner = scope.message();
    AppSpan span;
    read_span(inner, span);
    if (!scope.adopt(inner)) return;
    if (!fault_of(span).empty()) return scope.fail(fault_of(span).data());
    if (++count > AppSpans::kSpansMax) return scope.fail("more than 4096 spans in one request");
    out.spans.push_back(std::move(span));
  }
}

void read_resource(Message& resource, AppSpans& out) {
  while (resource.next()) {
    if (!resource.is_bytes(1)) continue;
    Message inner = resource.message();
    const auto pair = read_pair(inner);
    if (!resource.adopt(inner)) return;
    if (const auto* text = std::get_if<std::string>(&pair.second); pair.first == "service.name" && text != nullptr) out.service = *text;
  }
}

Groups read_protobuf(std::string_view body) {
  std::vector<AppSpans> groups;
  std::size_t count = 0;
  Message request(body, body.data());
  while (request.next()) {
    if (!request.is_bytes(1)) continue;
    Message group = request.message();
    AppSpans& out = groups.emplace_back();
    while (group.next()) {
      Message inner = group.message();
      if (group.is_bytes(1)) read_resource(inner, out);
      else if (group.is_bytes(2)) read_scope(inner, out, count);
      else continue;
      if (!group.adopt(inner)) break;
    }
    if (!request.adopt(group)) break;
  }
  if (const auto fault = request.fault()) return tl::make_unexpected(*fault);
  return groups;
}

// ---- JSON ----

const json& child(const json& object, const char* key) {
  static const json kNone;
  if (!object.is_object()) return kNone;
  const auto found = object.find(key);
  return found == object.end() ? kNone : *found;
}
std::string text_of(const json& value) { return value.is_string() ? cut(value.get_ref<const std::string&>()) : std::string(); }

/// 64-bit numbers are decimal strings, and numbers where writers do not care.
std::int64_t number_of(const json& value) {
  if (value.is_number_unsigned()) return signed_time(value.get<std::uint64_t>());
  if (value.is_number_integer()) return value.get<std::int64_t>();
  std::int64_t out = 0;
  if (!value.is_string()) return 0;
  const auto& digits = value.get_ref<const std::string&>();
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return code == std::errc{} && end == digits.data() + digits.size() ? out : 0;
}

template <std::size_t N>
void take_hex(std::array<char, N>& out, const json& value) {
  out = {};
  if (!value.is_string() || value.get_ref<const std::string&>().size() != N) return;
  const auto& digits = value.get_ref<const std::string&>();
  bool zero = true;
  for (std::size_t i = 0; i < N; ++i) {
    const char c = digits[i] >= 'A' && digits[i] <= 'F' ? static_cast<char>(digits[i] + 32) : digits[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return void(out = {});
    zero = zero && c == '0';
    out[i] = c;
  }
  if (zero) out = {};
}

AppValue value_of(const json& value) {
  if (const json& text = child(value, "stringValue"); text.is_string()) return text_of(text);
  if (const json& flag = child(value, "boolValue"); flag.is_boolean()) return flag.get<bool>();
  if (const json& number = child(value, "intValue"); !number.is_null()) return number_of(number);
  if (const json& number = child(value, "doubleValue"); number.is_number()) return number.get<double>();
  if (child(value, "arrayValue").is_object()) return std::string("[...]");
  if (child(value, "kvlistValue").is_object()) return std::string("{...}");
  if (const json& bytes = child(value, "bytesValue"); bytes.is_string()) return std::string("(bytes)");
  return std::string();
}

AppSpan span_of(const json& in) {
  AppSpan span;
  take_hex(span.trace, child(in, "traceId"));
  take_hex(span.span, child(in, "spanId"));
  take_hex(span.parent, child(in, "parentSpanId"));
  span.name = text_of(child(in, "name"));
  const std::int64_t kind = number_of(child(in, "kind"));
  span.kind = kind >= 0 && kind <= 5 ? static_cast<int>(kind) : 0;
  span.start_ns = std::max<std::int64_t>(number_of(child(in, "startTimeUnixNano")), 0);
  span.end_ns = number_of(child(in, "endTimeUnixNano"));
  span.failed = number_of(child(child(in, "status"), "code")) == 2;
  span.message = text_of(child(child(in, "status"), "message"));
  if (const json& list = child(in, "attributes"); list.is_array()) {
    for (const json& one : list) {
      if (span.attributes.size() < AppSpans::kAttributesMax) span.attributes.emplace_back(text_of(child(one, "key")), value_of(child(one, "value")));
    }
  }
  if (const json& list = child(in, "events"); list.is_array()) {
    for (const json& one : list) {
      if (span.events.size() < AppSpans::kEventsMax)
        span.events.emplace_back(std::max<std::int64_t>(number_of(child(one, "timeUnixNano")), 0), text_of(child(one, "name")));
    }
  }
  return span;
}

/// The elements of a list that may be missing. @return false: it is there, and no list
bool list_at(const json& object, const char* key, const json*& out) {
  static const json kEmpty = json::array();
  out = &child(object, key);
  if (out->is_null()) out = &kEmpty;
  return out->is_array();
}

Groups read_json(std::string_view body) {
  const auto bad = [](const std::string& where, std::string_view what) { return tl::make_unexpected(where + ": " + std::string(what)); };
  const json request = json::parse(body, nullptr, false);
  const json *resources = nullptr, *scopes = nullptr, *spans = nullptr;
  if (!request.is_object()) return bad("the body", "it is no JSON object");
  if (!list_at(request, "resourceSpans", resources)) return bad("resourceSpans", "it is no list");
  std::vector<AppSpans> groups;
  std::size_t count = 0;
  for (std::size_t i = 0; i < resources->size(); ++i) {
    const json& resource = (*resources)[i];
    const std::string at_resource = "resourceSpans[" + std::to_string(i) + "]";
    AppSpans& out = groups.emplace_back();
    if (const json* list = nullptr; list_at(child(resource, "resource"), "attributes", list)) {
      for (const json& one : *list)
        if (text_of(child(one, "key")) == "service.name") out.service = text_of(child(child(one, "value"), "stringValue"));
    }
    if (!list_at(resource, "scopeSpans", scopes)) return bad(at_resource + ".scopeSpans", "it is no list");
    for (std::size_t j = 0; j < scopes->size(); ++j) {
      const std::string at_scope = at_resource + ".scopeSpans[" + std::to_string(j) + "].spans";
      if (!list_at((*scopes)[j], "spans", spans)) return bad(at_scope, "it is no list");
      for (std::size_t k = 0; k < spans->size(); ++k) {
        AppSpan span = span_of((*spans)[k]);
        if (const auto fault = fault_of(span); !fault.empty()) return bad(at_scope + "[" + std::to_string(k) + "]", fault);
        if (++count > AppSpans::kSpansMax) return bad(at_scope, "more than 4096 spans in one request");
        out.spans.push_back(std::move(span));
      }
    }
  }
  return groups;
}

json value_json(const AppValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return {{"stringValue", *text}};
  if (const auto* flag = std::get_if<bool>(&value)) return {{"boolValue", *flag}};
  if (const auto* number = std::get_if<double>(&value)) return {{"doubleValue", *number}};
  return {{"intValue", std::to_string(std::get<std::int64_t>(value))}};
}

}  // namespace

Groups read_otlp(OtlpForm form, std::string_view body) { return form == OtlpForm::kJson ? read_json(body) : read_protobuf(body); }

void append_app_span(std::string& out, const AppSpan& span) {
  json made = {{"traceId", std::string(span.trace.data(), span.trace.size())},
               {"spanId", std::string(span.span.data(), span.span.size())},
               {"name", span.name},
               {"kind", span.kind},
               {"startTimeUnixNano", std::to_string(span.start_ns)},
               {"endTimeUnixNano", std::to_string(span.end_ns)},
               {"attributes", json::array()}};
  if (span.parent.front() != '\0') made["parentSpanId"] = std::string(span.parent.data(), span.parent.size());
  for (const auto& [key, value] : span.attributes) made["attributes"].push_back({{"key", key}, {"value", value_json(value)}});
  for (const auto& [at, name] : span.events) made["events"].push_back({{"timeUnixNano", std::to_string(at)}, {"name", name}});
  if (span.failed) made["status"] = {{"code", 2}, {"message", span.message}};
  out += made.dump(-1, ' ', true, json::error_handler_t::replace);
}

OtlpRejection read_otlp_protobuf_answer(std::string_view body) {
  OtlpRejection out;
  Message answer(body, body.data());
  while (answer.next()) {
    if (!answer.is_bytes(1)) continue;
    Message partial = answer.message();
    while (partial.next()) {
      if (partial.is_number(1) && partial.value() <= INT64_MAX) out.spans = partial.value();
      else if (partial.is_bytes(2)) out.message = partial.text().substr(0, 256);
    }
    if (!answer.adopt(partial)) return {};
  }
  return answer.fault() ? OtlpRejection{} : out;
}

}  // namespace agent::drivers
