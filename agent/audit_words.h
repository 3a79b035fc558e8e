#pragma once
/// What agents tell each other about the audit, as bytes of a frame of the mesh. Pure functions over bytes from anyone.
///
/// Frame: 'A' (no other frame of the mesh begins so) · version u8 (1) · kind u8 · fields, and nothing behind them. Numbers are
///        big-endian; lists have a count u16, texts a length u8; hashes are 32 bytes.
/// Source: layout of our own; what the words mean: decision 0075.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "store/kv/audit_log.h"
#include "store/kv/types.h"
#include "store/types.h"

namespace agent {

using AuditKey = std::array<std::uint8_t, 65>;        ///< of io::SigningPublic
using AuditSignature = std::array<std::uint8_t, 64>;  ///< of io::Signature

/// "My copy has this hash at this number." Said of the own head it is an end that others keep; said of a peer's head it is a
/// co-signature. The key stands in it: whoever keeps it can show it, also after that agent has got another key.
struct AuditStatement {
  store::NodeId signer{};
  AuditKey key{};
  std::uint64_t number = 0;     ///< of the entry, >= 1
  store::kv::Index index{};     ///< of the log entry that made it
  std::uint64_t time_ms = 0;    ///< wall clock of the signer
  store::kv::Digest hash{};
  AuditSignature signature{};   ///< over signed_bytes()
  friend bool operator==(const AuditStatement&, const AuditStatement&) = default;
};
inline constexpr std::size_t kAuditStatementBytes = 8 + 65 + 8 + 8 + 8 + 32 + 64;
/// The cluster is among them: what was said in another one means nothing here.
[[nodiscard]] std::string signed_bytes(const AuditStatement& statement, const store::kv::ClusterId& cluster);
void put_statement(std::string& out, const AuditStatement& statement);
/// @param bytes  exactly kAuditStatementBytes. nullopt: number or signer 0
[[nodiscard]] std::optional<AuditStatement> get_statement(std::string_view bytes);

/// One entry of a copy, as far as others need it to compare.
struct AuditPoint {
  std::uint64_t number = 0;
  bool kept = false;          ///< false: not in this copy, or unreadable; the rest is empty
  store::kv::Index index{};   ///< 0 = unreadable
  store::kv::Digest hash{}, content{};  ///< content: kv::audit_content()
  friend bool operator==(const AuditPoint&, const AuditPoint&) = default;
};

inline constexpr std::size_t kAuditPointsMax = 64;        ///< asked for at a time
inline constexpr std::size_t kAuditStatementsMax = 1024;  ///< told at a time: 193 KiB

struct AuditHeadWord {  ///< check it, keep it, and say what you have there
  AuditStatement statement;
  friend bool operator==(const AuditHeadWord&, const AuditHeadWord&) = default;
};
struct AuditCosignWord {  ///< the answer; wants none
  AuditStatement statement;
  friend bool operator==(const AuditCosignWord&, const AuditCosignWord&) = default;
};
struct AuditLookWord {  ///< look at your copy on the disk
  std::uint64_t question = 0;
  friend bool operator==(const AuditLookWord&, const AuditLookWord&) = default;
};
struct AuditLookedWord {
  std::uint64_t question = 0;
  store::kv::Index applied{};  ///< what the copy comes from
  store::kv::AuditEnds ends;
  std::uint64_t entries = 0;   ///< looked at
  std::vector<store::kv::AuditFault> faults;  ///< at most kv::kAuditFaultsMax
  std::vector<AuditStatement> statements;     ///< what it keeps of everybody, at most kAuditStatementsMax
  friend bool operator==(const AuditLookedWord&, const AuditLookedWord&) = default;
};
struct AuditAskWord {  ///< what stands at these numbers of the copy that was looked at
  std::uint64_t question = 0;
  std::vector<std::uint64_t> numbers;  ///< 1..kAuditPointsMax
  friend bool operator==(const AuditAskWord&, const AuditAskWord&) = default;
};
struct AuditToldWord {
  std::uint64_t question = 0;
  std::vector<AuditPoint> points;  ///< in the order of the question
  friend bool operator==(const AuditToldWord&, const AuditToldWord&) = default;
};
struct AuditRefusedWord {
  std::uint64_t question = 0;
  std::string why;  ///< at most 255 bytes
  friend bool operator==(const AuditRefusedWord&, const AuditRefusedWord&) = default;
};
using AuditWord = std::variant<AuditHeadWord, AuditCosignWord, AuditLookWord, AuditLookedWord, AuditAskWord, AuditToldWord, AuditRefusedWord>;

inline constexpr char kAuditFrame = 'A';
[[nodiscard]] inline bool is_audit_frame(std::string_view frame) { return !frame.empty() && frame.front() == kAuditFrame; }
/// Lists beyond their bounds are cut.
[[nodiscard]] std::string encode_audit(const AuditWord& word);
/// @return nullopt: too short, too long, another version or kind, a count beyond its bound, a value nobody writes
[[nodiscard]] std::optional<AuditWord> decode_audit(std::string_view frame);

}  // namespace agent
