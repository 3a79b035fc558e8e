#pragma once
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// JSON bodies as Consul's clients send them: field names in any case (Python sends lower case), null for "not given",
/// durations as Go strings or integers of nanoseconds, u64 never through a double.
namespace agent::api {

inline constexpr std::size_t kJsonDepthMax = 32;  ///< deeper bodies are refused before they are parsed

/// Parses any bytes. nullopt: no JSON, or nested deeper than kJsonDepthMax; `fault` then says which and where.
[[nodiscard]] std::optional<nlohmann::ordered_json> parse_json(std::string_view body, std::string& fault);

/// Go's notation ("10s") or an integer of nanoseconds; rounded down to ms. nullopt for anything else.
[[nodiscard]] std::optional<std::chrono::milliseconds> duration_of(const nlohmann::ordered_json& value);

/// The inverse of append_base64 (consul.h), strict: padding required, no blanks. nullopt for anything else.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

/// One object of a body, read field by field. A missing or null field is the fallback; one of a wrong type is too, and
/// the first such leaves its sentence in fault(). So a handler reads everything and asks once.
/// Equal names: the exact spelling wins over other cases, a later field over an earlier one (as Go has it).
/// Ownership: keeps a reference to the object.
class JsonFields {
 public:
  using Json = nlohmann::ordered_json;
  /// @param object  anything; what is no object reads as an empty one and is a fault (null is not)
  /// @param where   begins the sentences of fault(): "Check.", or empty
  explicit JsonFields(const Json& object, std::string where = {});

  [[nodiscard]] const Json* find(std::string_view name) const;  ///< nullptr: missing or null
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  [[nodiscard]] std::string text(std::string_view name, std::string_view fallback = {});
  [[nodiscard]] bool flag(std::string_view name, bool fallback = false);
  [[nodiscard]] std::uint64_t number(std::string_view name, std::uint64_t fallback = 0);  ///< all of u64
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t fallback = 0);
  [[nodiscard]] std::optional<std::chrono::milliseconds> duration(std::string_view name);  ///< "" reads as missing
  [[nodiscard]] std::vector<std::string> texts(std::string_view name);                     ///< an array of strings
  [[nodiscard]] std::map<std::string, std::string> text_map(std::string_view name);        ///< an object of strings
  /// The object or array of that name; nullptr when missing.
  [[nodiscard]] const Json* object(std::string_view name);
  [[nodiscard]] const Json* array(std::string_view name);

  /// Names of fields that are none of `known` (any case).
  [[nodiscard]] std::vector<std::string> unknown(std::initializer_list<std::string_view> known) const;
  /// Notes a fault of the caller's own about `name`; the first one stays.
  void refuse(std::string_view name, std::string_view why);
  [[nodiscard]] const std::string& fault() const { return fault_; }  ///< empty = everything was as it should be

 private:
  const Json& object_;
  std::string where_, fault_;
};

/// Equal but for the case of ASCII letters.
[[nodiscard]] bool same_name(std::string_view a, std::string_view b);

}  // namespace agent::api
