#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/kv/journal.h"
#include "store/kv/sha256.h"
#include "store/kv/types.h"

/// The audit chain: what was decided about the trade, each entry bound to all before it by a hash.
/// Source:    hash chain after Haber and Stornetta (1991); row S9 of the trading design.
/// hash(n) = SHA-256(hash(n-1) || entry n as encoded); hash(0) is all zero. Computed by every replica when it applies the
/// command, so nobody can be told another story than the others, and a copy that was changed by hand is found out:
/// an edit or a gap by its own hashes, an end that was cut off or a part that was written anew by those of the peers.
/// The first AuditNote of the log begins it: all copies at the same entry, also where agents began to keep an audit one by one.
namespace store::kv {

inline constexpr std::size_t kAuditEntriesMax = 262'144;                    ///< kept; the oldest go, their last hash stays
inline constexpr std::size_t kAuditBytesMax = std::size_t{64} << 20;        ///< of all rows kept
inline constexpr std::size_t kAuditTextBytesMax = 1024;                     ///< of actor, subject and text each
inline constexpr std::size_t kAuditFaultsMax = 64;                          ///< that one look reports

/// What happened. Numbers are part of the format.
enum class AuditKind : std::uint8_t {
  kPromotion = 0,  ///< a member got the lease of a service under a new epoch
  kDemotion = 1,   ///< it gave it up, or lost it
  kHalt = 2,
  kResume = 3,
  kApproval = 4,   ///< somebody agreed to something that takes two
  kOrder = 5,      ///< an order reserved, settled, fenced or decided, bound to its request and answer; orders that were forgotten
  kConfig = 6,     ///< settings that an agent began to use
  kRestore = 7,    ///< a saved state took the place of the present one
};
inline constexpr AuditKind kAuditKindLast = AuditKind::kRestore;
[[nodiscard]] const char* to_string(AuditKind kind);  ///< "promotion", ...

struct AuditEntry {
  std::uint64_t number = 0;   ///< 1, 2, ... without gaps
  Index index{};              ///< of the log entry that made it; one of those may make several
  std::uint64_t time_ms = 0;  ///< wall clock of the proposer; 0 = the command has no time
  AuditKind kind = AuditKind::kPromotion;
  std::string actor;    ///< who did it: a member, a person as he calls himself
  std::string subject;  ///< to what: a service, a scope, an order
  std::string text;     ///< what exactly
  friend bool operator==(const AuditEntry&, const AuditEntry&) = default;
};
/// Format: msgpack array [version 1, number, index, time, kind, actor, subject, text].
[[nodiscard]] std::string encode(const AuditEntry& entry);
[[nodiscard]] std::optional<AuditEntry> decode_audit_entry(std::string_view bytes);

/// An end of the chain.
struct AuditHead {
  std::uint64_t number = 0;
  Digest hash{};
  friend bool operator==(const AuditHead&, const AuditHead&) = default;
};

/// Both ends of a copy, as peers tell them to each other; encode_audit_ends() has them as bytes.
struct AuditEnds {
  AuditHead pruned, head;
  friend bool operator==(const AuditEnds&, const AuditEnds&) = default;
};

/// What the hash of an entry was made of, for those who want to compare copies or to compute it again.
struct AuditProof {
  std::uint64_t number = 0;
  Index index{};      ///< of the log entry that made it; 0 = the entry cannot be read
  Digest before{};    ///< hash of the entry before
  Digest hash{};      ///< as its row has it: of `before` and `bytes`, if nobody has touched it
  std::string bytes;  ///< the entry as encoded
  friend bool operator==(const AuditProof&, const AuditProof&) = default;
};
/// What an entry says, without its place: the same entry under another number has the same digest.
[[nodiscard]] Digest audit_content(std::string_view entry_bytes);

/// Something that cannot be in a chain that nobody has touched.
struct AuditFault {
  enum class Kind : std::uint8_t {
    kEdited = 0,     ///< the entry's bytes do not give its hash
    kDeleted = 1,    ///< entries from `number` to `last` are not there
    kTruncated = 2,  ///< the same, at the end: the row of the head knows of more
    kDiffers = 3,    ///< another copy has another hash there
  };
  Kind kind = Kind::kEdited;
  std::uint64_t number = 0, last = 0;
  friend bool operator==(const AuditFault&, const AuditFault&) = default;
};
[[nodiscard]] const char* to_string(AuditFault::Kind kind);  ///< "edited", "deleted", "truncated", "differs"

/// One copy of the chain.
/// Invariant: entries are appended only; head() belongs to the last one ever appended, pruned() to the last one dropped.
/// Bound:     kAuditEntriesMax entries, kAuditBytesMax bytes.
/// Ownership: a value inside StateMachine.
class AuditLog {
 public:
  struct Bounds {
    std::size_t entries = kAuditEntriesMax, bytes = kAuditBytesMax;
  };
  AuditLog() = default;
  explicit AuditLog(const Bounds& bounds) : bounds_(bounds) {}

  [[nodiscard]] const AuditHead& head() const { return head_; }
  [[nodiscard]] const AuditHead& pruned() const { return pruned_; }
  [[nodiscard]] AuditEnds ends() const { return {pruned_, head_}; }
  [[nodiscard]] bool begun() const { return head_.number != 0; }
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  struct Item {
    AuditEntry entry;
    Digest hash{};  ///< as its row has it
  };
  /// Entries above `after`, oldest first, at most `limit`; rows that cannot be read are left out.
  [[nodiscard]] std::vector<Item> page(std::uint64_t after, std::size_t limit) const;
  [[nodiscard]] std::optional<Digest> hash_at(std::uint64_t number) const;  ///< none = not kept, or unreadable
  [[nodiscard]] std::optional<AuditProof> proof(std::uint64_t number) const;  ///< none = not kept, or unreadable
  /// The newest entry that was made by the log up to `index`; none = none is kept, or it lies more than kNewestSteps back.
  [[nodiscard]] std::optional<AuditProof> newest_up_to(Index index) const;
  static constexpr std::size_t kNewestSteps = 16'384;
  /// Has `other` the same row? True as well where one of the two does not keep it.
  [[nodiscard]] bool same_row(std::uint64_t number, const AuditLog& other) const;

  /// A look at the whole chain, in pieces: it may be long. Entries that are appended or pruned between two pieces do no harm.
  struct Look {
    AuditHead at;  ///< looked at up to here
    bool begun = false, done = false;
    std::uint64_t entries = 0;
    std::vector<AuditFault> faults;  ///< at most kAuditFaultsMax
  };
  void look(Look& look, std::size_t entries_max) const;
  /// What the ends of a peer's copy say about this one. What is dropped follows from the entries alone, so a copy that is not
  /// further than the peer's and yet has dropped more has lost them by another hand: kDeleted. kDiffers: another hash at an end.
  /// What it says about the peer's copy, the peer finds out by our ends.
  [[nodiscard]] std::vector<AuditFault> compare(const AuditEnds& peer) const;

  // --- changes: for StateMachine alone ----------------------------------------------------------------------------------
  /// @param entry  its number is given here; texts that are too long are cut
  void append(AuditEntry entry, Journal& journal);

  // --- rows -------------------------------------------------------------------------------------------------------------
  /// Rows are taken as they are, however broken: that they are is to be told by look(), not by an agent that does not start.
  void load(std::uint64_t number, std::string row);
  void load_ends(const AuditHead& pruned, const AuditHead& head);
  void append_rows(std::vector<Record>& rows) const;  ///< sorted by key

 private:
  struct Row {
    std::uint64_t number = 0;
    std::string value;  // [1, entry, hash]
  };
  void drop_oldest(Journal& journal);
  [[nodiscard]] const Row* row_at(std::uint64_t number) const;
  [[nodiscard]] std::deque<Row>::const_iterator above(std::uint64_t number) const;

  Bounds bounds_;
  std::deque<Row> rows_;
  std::size_t bytes_ = 0;
  AuditHead head_, pruned_;
};

}  // namespace store::kv
