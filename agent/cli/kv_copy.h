#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cli/session.h"

/// Many keys at once: Consul's export format, reading all keys below a prefix and writing them in transactions. Private
/// to cli; kv export, kv import and import consul use it.
namespace agent::cli {

/// One key on its way from one place to another.
struct CopiedKey {
  std::string key, value;
  std::uint64_t flags = 0;
  friend bool operator==(const CopiedKey&, const CopiedKey&) = default;
};

inline constexpr std::size_t kBatchKeys = 64;            ///< operations of one transaction (Consul's bound)
inline constexpr std::size_t kBatchBytes = 480U * 1024;  ///< its body stays below Consul's bound of 512 KiB

[[nodiscard]] std::string encode_base64(std::string_view bytes);
/// Padding and anything outside of the alphabet is left out: what another program wrote may be folded.
[[nodiscard]] std::string decode_base64(const Json& value);

/// Consul's export format: a list of {key, flags, value in Base64}.
[[nodiscard]] std::string export_text(const std::vector<CopiedKey>& keys);
/// The inverse, in any case of names. nullopt: `fault` says which entry is wrong.
[[nodiscard]] std::optional<std::vector<CopiedKey>> parse_export(const std::string& text, std::string& fault);

/// Speaks Consul's KV dialect to one API; every call answers nullopt after leaving a sentence in `fault`.
class KeyStore {
 public:
  /// @param token  sent as X-Consul-Token; empty = none
  KeyStore(std::string api, std::string token, std::chrono::milliseconds timeout);

  [[nodiscard]] std::optional<std::vector<std::string>> names(const std::string& prefix);
  /// The entries of up to kBatchKeys names; one that is gone by now is left out.
  [[nodiscard]] std::optional<std::vector<CopiedKey>> read(const std::vector<std::string>& names);
  /// Everything below `prefix` in one answer; empty optional with `too_large` set when it is too much for that.
  [[nodiscard]] std::optional<std::vector<CopiedKey>> read_all(const std::string& prefix, bool& too_large);
  enum class Write { kSet, kCreateOnly };
  /// Writes them all or none (a value too large for a transaction goes alone). @return false: with kCreateOnly, one of
  /// them was there.
  [[nodiscard]] std::optional<bool> write(const std::vector<CopiedKey>& keys, Write how);

  std::string fault;

 private:
  [[nodiscard]] std::optional<HttpReply> call(const std::string& method, const std::string& target,
                                              const std::string& body);
  [[nodiscard]] std::optional<CopiedKey> read_one(const std::string& name, bool& failed);

  std::string api_, token_;
  std::chrono::milliseconds timeout_;
};

/// Cuts `keys` into runs that fit one transaction each.
[[nodiscard]] std::vector<std::vector<CopiedKey>> batches_of(std::vector<CopiedKey> keys);

}  // namespace agent::cli
