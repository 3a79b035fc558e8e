#include "agent/drivers/json_assert.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

namespace agent::drivers {
namespace {

constexpr std::size_t kTextBytesMax = 1024;

/// Reads one condition from left to right; the first thing out of place ends it.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  [[nodiscard]] bool at_end() { skip_blanks(); return at_ == text_.size(); }
  [[nodiscard]] std::size_t column() const { return at_ + 1; }
  bool eat(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void skip_blanks() { while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_; }

  std::optional<std::string> name() {
    const std::size_t start = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_' || text_[at_] == '-')) ++at_;
    if (at_ == start) return std::nullopt;
    return std::string(text_.substr(start, at_ - start));
  }
  std::optional<std::size_t> index() { return number_of<std::size_t>(); }
  std::optional<double> number() {
    auto value = number_of<double>();
    if (value && !std::isfinite(*value)) return std::nullopt;
    return value;
  }
  std::optional<std::string> quoted() {
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return std::nullopt;
    const std::size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }

 private:
  template <typename T>
  std::optional<T> number_of() {
    T value{};
    const char* first = text_.data() + at_;
    const auto [last, code] = std::from_chars(first, text_.data() + text_.size(), value);
    if (code != std::errc()) return std::nullopt;
    at_ += static_cast<std::size_t>(last - first);
    return value;
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

std::optional<JsonAssert::Step> parse_step(Reader& in) {
  if (in.eat(".")) return in.name();
  if (!in.eat("[")) return std::nullopt;
  std::optional<JsonAssert::Step> step;
  if (auto text = in.quoted()) step = std::move(*text);
  else if (auto index = in.index()) step = *index;
  if (!step || !in.eat("]")) return std::nullopt;
  return step;
}

std::optional<JsonAssert::Literal> parse_literal(Reader& in) {
  if (in.eat("true")) return JsonAssert::Literal(true);
  if (in.eat("false")) return JsonAssert::Literal(false);
  if (in.eat("null")) return JsonAssert::Literal(nullptr);
  if (auto text = in.quoted()) return JsonAssert::Literal(std::move(*text));
  if (auto number = in.number()) return JsonAssert::Literal(*number);
  return std::nullopt;
}

std::optional<JsonAssert::Operator> parse_operator(Reader& in) {
  using Operator = JsonAssert::Operator;
  if (in.eat("==")) return Operator::kEqual;
  if (in.eat("!=")) return Operator::kNotEqual;
  if (in.eat("<=")) return Operator::kLessEqual;
  if (in.eat(">=")) return Operator::kGreaterEqual;
  if (in.eat("<")) return Operator::kLess;
  if (in.eat(">")) return Operator::kGreater;
  return std::nullopt;
}

template <typename T>
bool compare(const T& left, JsonAssert::Operator op, const T& right) {
  switch (op) {
    case JsonAssert::Operator::kLess: return left < right;
    case JsonAssert::Operator::kLessEqual: return left <= right;
    case JsonAssert::Operator::kGreater: return left > right;
    case JsonAssert::Operator::kGreaterEqual: return left >= right;
    case JsonAssert::Operator::kEqual: return left == right;
    case JsonAssert::Operator::kNotEqual: return left != right;
    case JsonAssert::Operator::kPresent: return true;
  }
  return false;
}

bool compare_value(const nlohmann::json& value, JsonAssert::Operator op, const JsonAssert::Literal& literal) {
  if (value.is_number() && std::holds_alternative<double>(literal)) {
    return compare(value.get<double>(), op, std::get<double>(literal));
  }
  if (value.is_string() && std::holds_alternative<std::string>(literal)) {
    return compare(value.get_ref<const std::string&>(), op, std::get<std::string>(literal));
  }
  const bool equal = (value.is_boolean() && literal == JsonAssert::Literal(value.get<bool>())) ||
                     (value.is_null() && std::holds_alternative<std::nullptr_t>(literal));
  if (op == JsonAssert::Operator::kNotEqual) return !equal;
  return op == JsonAssert::Operator::kEqual && equal;
}

tl::unexpected<io::Error> wrong(Reader& in, std::string_view text, const std::string& expected) {
  return tl::make_unexpected(io::Error{io::Errc::kInvalidArgument, "condition \"" + std::string(text) + "\", column " +
                                       std::to_string(in.column()) + ": expected " + expected});
}

}  // namespace

io::Result<JsonAssert> JsonAssert::parse(std::string_view text) {
  Reader in(text);
  if (text.size() > kTextBytesMax) return wrong(in, text.substr(0, 40), "at most 1024 bytes");
  in.skip_blanks();
  if (!in.eat("$")) return wrong(in, text, "a path that starts with $, like $.status");
  JsonAssert result;
  result.text_ = std::string(text);
  for (;;) {
    in.skip_blanks();
    if (in.at_end()) return result;
    if (auto op = parse_operator(in)) {
      result.operator_ = *op;
      break;
    }
    auto step = parse_step(in);
    if (!step) return wrong(in, text, ".name, [index], ['name'] or one of == != < <= > >=");
    result.path_.push_back(std::move(*step));
  }
  in.skip_blanks();
  auto literal = parse_literal(in);
  if (!literal) return wrong(in, text, "a number, 'text', true, false or null");
  result.literal_ = std::move(*literal);
  if (!in.at_end()) return wrong(in, text, "the end of the condition");
  return result;
}

bool JsonAssert::holds(const nlohmann::json& document) const {
  const nlohmann::json* place = &document;
  for (const Step& step : path_) {
    const nlohmann::json* next = nullptr;
    if (const auto* name = std::get_if<std::string>(&step)) {
      if (place->is_object()) {
        const auto found = place->find(*name);
        if (found != place->end()) next = &*found;
      }
    } else if (place->is_array() && std::get<std::size_t>(step) < place->size()) {
      next = &(*place)[std::get<std::size_t>(step)];
    }
    if (next == nullptr) return operator_ == Operator::kNotEqual;
    place = next;
  }
  if (operator_ != Operator::kPresent) return compare_value(*place, operator_, literal_);
  return !place->is_null() && !(place->is_boolean() && !place->get<bool>());
}

}  // namespace agent::drivers
