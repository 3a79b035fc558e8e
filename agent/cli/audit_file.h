#pragma once
/// An export of the audit, checked without any agent: each line by its own hash, the lines against each other, and the end against
/// what agents have signed of it.
/// Format: a JSON object per line. An entry: number, index, time_ms, kind, actor, subject, text, before, bytes, hash, where
///         hash = SHA-256(before || bytes), `before` is the hash of the line above, and `bytes` is the msgpack array
///         [1, number, index, time_ms, kind as number, actor, subject, text] (texts as bin) that the other fields were read from.
///         The last line of a signed export: {"signers": [...]} as /outrigger/v1/audit/witness has them.
/// Source: decisions 0072 and 0075.

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace agent::cli {

/// Bound: kKeptHashes hashes for statements about them; texts of the first kFaultsMax faults.
class AuditFile {
 public:
  static constexpr std::size_t kFaultsMax = 64, kKeptHashes = 300'000, kKeysMax = 256;

  void take(const std::string& line);
  /// After the last line.
  void finish();

  [[nodiscard]] std::uint64_t entries() const { return entries_; }
  [[nodiscard]] std::uint64_t first() const { return first_; }
  [[nodiscard]] std::uint64_t last() const { return last_; }
  [[nodiscard]] std::size_t signatures() const { return signatures_; }  ///< that were good and fit
  [[nodiscard]] std::uint64_t signed_to() const { return signed_to_; }  ///< the last entry that one of them is about
  [[nodiscard]] std::string keys() const;  ///< whose, and the first digits of their keys as "audit witness" shows them
  [[nodiscard]] const std::vector<std::string>& faults() const { return faults_; }

 private:
  void take_entry(const nlohmann::ordered_json& entry);
  void take_signer(const nlohmann::ordered_json& signer);
  void take_statement(const nlohmann::ordered_json& signer, const nlohmann::ordered_json& statement);
  void fault(std::string text);

  std::uint64_t line_ = 0, entries_ = 0, first_ = 0, last_ = 0;
  std::string last_hash_;
  std::map<std::uint64_t, std::string> hashes_;
  std::size_t signatures_ = 0;
  std::uint64_t signed_to_ = 0;
  std::set<std::string> keys_;  // at most kKeysMax
  std::vector<std::string> faults_;
};

}  // namespace agent::cli
