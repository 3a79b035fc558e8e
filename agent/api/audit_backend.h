#pragma once
/// The audit as the API shows it: part of the Backend (backend.h). Thread: the control loop.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/backend.h"

namespace agent::api {

struct AuditEntryInfo {
  std::uint64_t number = 0;   ///< 1, 2, ... without gaps
  Index index{};              ///< of the log entry that made it
  std::uint64_t time_ms = 0;  ///< wall clock of who proposed it, Unix ms; 0 = it has none
  std::string kind, actor, subject, text;
  std::string before;         ///< hash of the entry before; 64 hex digits
  std::string bytes;          ///< the entry as it is hashed, hex: what the fields above were read from
  std::string hash;           ///< 64 hex digits: SHA-256 over the hash before and this entry's bytes
};

struct AuditHeadInfo {
  std::uint64_t number = 0;
  std::string hash;
};

struct AuditPage {
  std::vector<AuditEntryInfo> entries;  ///< above what was asked for, oldest first
  AuditHeadInfo head, pruned;           ///< the newest entry, and the newest that is kept no more
  std::size_t disputes = 0;             ///< peers whose newest signed end contradicts this copy
  bool contradicted = false;            ///< what was signed before says something else than this copy does
};

struct AuditFaultInfo {
  std::string kind;  ///< "edited", "deleted", "truncated"; "differs": changed between `number` and `last`
  std::uint64_t number = 0, last = 0;
  std::string text;  ///< how it is known, if not by the copy's own hashes
};

/// What asking all peers came to.
struct AuditPeersVerdict {
  struct Unreached {
    std::string node, why;
  };
  struct Finding {
    std::string node, kind;  ///< a kind of AuditFaultInfo, or "added"
    std::uint64_t number = 0, last = 0;
    std::string by, text;    ///< "own_hashes", "signed_heads", "majority"; and for people
  };
  struct Undecided {
    std::uint64_t number = 0;
    std::vector<std::vector<std::string>> groups;  ///< names of those that say the same there
  };
  std::size_t members = 0;             ///< agents that keep a copy, this one too
  std::vector<std::string> asked;      ///< peers that answered
  std::vector<Unreached> unreached;
  std::vector<Finding> findings;
  std::vector<Undecided> undecided;
  std::vector<std::string> notes;
  bool complete = true;                ///< all copies were compared to the end
};

struct AuditVerdict {
  std::uint64_t entries = 0;           ///< looked at
  AuditHeadInfo head, pruned;
  std::vector<AuditFaultInfo> faults;  ///< none = nobody has touched this copy, as far as it can tell alone
  std::optional<AuditPeersVerdict> peers;
};
enum class AuditScope : std::uint8_t { kOwn, kPeers };

struct AuditStatementInfo {
  std::uint64_t number = 0;
  Index index{};
  std::uint64_t time_ms = 0;
  std::string hash, key, signature;  ///< hex; ECDSA on P-256: 65 bytes uncompressed, and r || s
};
struct AuditSignerInfo {
  std::string node;
  std::uint64_t id = 0;
  std::string cluster, key;      ///< hex
  std::uint32_t key_changes = 0;
  bool disputed = false;         ///< its newest statement contradicts this copy
  std::vector<AuditStatementInfo> kept;
  std::optional<AuditStatementInfo> dispute;  ///< the last that did
};

class AuditBackend {
 public:
  static constexpr std::size_t kPageMax = 1000;
  virtual ~AuditBackend() = default;
  /// @param limit  1..kPageMax
  [[nodiscard]] virtual AuditPage page(std::uint64_t after, std::size_t limit) const = 0;
  /// Looks at this agent's whole copy as it is on the disk, and with kPeers at everybody else's. Errors: kBusy, kInternal.
  virtual void verify(AuditScope scope, Completion<AuditVerdict> done) = 0;
  /// What this agent keeps of everybody's signatures.
  [[nodiscard]] virtual std::vector<AuditSignerInfo> witness() const = 0;
};

}  // namespace agent::api
