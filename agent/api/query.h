#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The texts of a URL: percent-encoding, parameters, numbers and durations as Consul's clients write them.
/// Every function takes any bytes and never fails but by its return value.
namespace agent::api {

/// Decodes %XX once; '+' stays a plus (paths). nullopt: a broken escape or a NUL.
[[nodiscard]] std::optional<std::string> decode_path(std::string_view text);

/// Decimal digits only, 0 .. 2^64-1; no sign, no blank.
[[nodiscard]] std::optional<std::uint64_t> parse_u64(std::string_view text);

/// Go's notation: "10s", "1.9761512279510498s", "120000ms", "1m30s", "0"; units ns us µs ms s m h; no bare number but
/// 0. Rounded down to ms, at most 100 years. nullopt for anything else, negative values included.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// Parameters after '?'. At most 64; names are exact; of several equal names the first counts, but for all().
class Query {
 public:
  /// nullopt: broken escapes, NUL or too many parameters. '+' is a blank here, as forms have it.
  [[nodiscard]] static std::optional<Query> parse(std::string_view text);

  /// A flag counts by presence: `recurse`, `recurse=`, `recurse=false` all set it.
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  [[nodiscard]] std::string get(std::string_view name) const;  ///< empty when absent
  [[nodiscard]] const std::string* find(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> all(std::string_view name) const;  ///< every value of that name, in order

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

}  // namespace agent::api
