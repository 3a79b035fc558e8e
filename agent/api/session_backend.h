#pragma once
#include <optional>
#include <string>
#include <vector>

#include "agent/api/backend.h"

/// What the API needs of the replicated state beyond single keys: sessions with their locks, transactions, the feed of
/// changes, quotas. Handed out by Backend::sessions(); plain structs, no type of the store.
/// Source:    Consul's session, lock and transaction rules (docs: api.md sections 3 to 6); the feed is ours.
/// Thread:    the control loop, in both directions. Completions: as Backend says.
namespace agent::api {

// --- sessions ----------------------------------------------------------------------------------------------------

/// What happens to the keys that a session holds when it ends.
enum class SessionBehavior { kRelease, kDelete };

/// What a client asks for. The API has checked bounds and spelling; whether node and checks exist, the state decides.
struct SessionSpec {
  std::string name;                ///< for people; may be empty
  std::string node;                ///< the agent that it is bound to; empty = this one
  Milliseconds ttl{0};             ///< 0 = it lives until it is destroyed or its node or checks fail
  Milliseconds lock_delay{15000};  ///< how long its keys stay unlockable after it was *invalidated*; 0 .. 60 s
  SessionBehavior behavior = SessionBehavior::kRelease;
  std::vector<std::string> node_checks;     ///< check ids on its node; any of them critical ends it
  std::vector<std::string> service_checks;  ///< check ids of services on its node, likewise
};
struct SessionInfo {
  std::string id;  ///< UUID in lower case
  SessionSpec spec;
  Index create_index{}, modify_index{};
};
/// `sessions` in the order of their ids.
struct SessionsAnswer {
  std::vector<SessionInfo> sessions;
  Index index{};  ///< last change of what was asked for, at least 1
};
struct SessionCreated {
  std::string id;
  Index index{};
};

// --- transactions ------------------------------------------------------------------------------------------------

struct TxnOp {
  enum class Verb {
    kSet,
    kCas,
    kLock,
    kUnlock,
    kGet,
    kGetTree,
    kCheckIndex,
    kCheckSession,
    kCheckNotExists,
    kDelete,
    kDeleteCas,
    kDeleteTree
  };
  Verb verb = Verb::kGet;
  std::string key;  ///< a prefix for the two trees
  std::string value;
  std::uint64_t flags = 0;
  Index index{};        ///< kCas, kDeleteCas, kCheckIndex
  std::string session;  ///< kLock, kUnlock, kCheckSession
};
struct TxnResult {
  KvEntry entry;
  bool with_value = false;  ///< true for reads; writes answer the entry without its value
};
struct TxnFault {
  std::size_t op = 0;  ///< which operation, from 0
  std::string what;    ///< one sentence
};
/// All of it happened (faults empty) or nothing did (results empty).
struct TxnAnswer {
  std::vector<TxnResult> results;  ///< in the order of the operations; deletions and checks have none, trees several
  std::vector<TxnFault> faults;
  Index index{};  ///< of the entry that decided it; reads: the state's index
};

// --- the feed of changes -----------------------------------------------------------------------------------------

struct KvChange {
  enum class Op { kSet, kDelete, kLock, kUnlock };
  Op op = Op::kSet;
  std::string key;
  Index index{};  ///< of the change; several changes of one log entry share it
  /// The key as the change left it; empty for deletions, and when the key has changed again since (that change
  /// follows).
  std::optional<KvEntry> entry;
};
struct KvChanges {
  std::vector<KvChange> changes;  ///< oldest first; never half of those that share an index
  Index upto{};                   ///< everything up to here has been looked at: go on from here
  bool too_old = false;           ///< `after` is further back than the feed remembers: list again
  bool more = false;              ///< cut at the bound; ask again at once
};

// --- quotas ------------------------------------------------------------------------------------------------------

struct QuotaInfo {
  std::string prefix;
  std::uint64_t entries = 0, bytes = 0;          ///< in use below it; bytes of keys and values
  std::uint64_t entries_max = 0, bytes_max = 0;  ///< 0 = not limited
};
struct UsageInfo {
  QuotaInfo whole;                ///< everything, against the fixed bounds of the state
  std::vector<QuotaInfo> quotas;  ///< by prefix
};

class SessionBackend {
 public:
  SessionBackend() = default;
  SessionBackend(const SessionBackend&) = delete;
  SessionBackend& operator=(const SessionBackend&) = delete;
  virtual ~SessionBackend() = default;

  /// Errors: as kv_write, and kRefused with Consul's sentence when node or checks are missing or critical.
  virtual void session_create(SessionSpec spec, Completion<SessionCreated> done) = 0;
  /// Starts its TTL anew at the leader. Errors also: kNotFound.
  virtual void session_renew(std::string id, Completion<SessionInfo> done) = 0;
  /// Ends it as an invalidation (lock-delay applies); an unknown one is done already.
  virtual void session_destroy(std::string id, Completion<Index> done) = 0;
  [[nodiscard]] virtual SessionsAnswer session_info(const std::string& id) const = 0;  ///< none or one
  [[nodiscard]] virtual SessionsAnswer session_list() const = 0;
  [[nodiscard]] virtual SessionsAnswer sessions_of_node(const std::string& node) const = 0;
  /// The `index` that the three above would answer, for kSession, kSessions and kNodeSessions.
  [[nodiscard]] virtual Index session_index(const Topic& topic) const = 0;

  /// Completes also when it did not apply: TxnAnswer::faults. Errors: as kv_write.
  virtual void txn(std::vector<TxnOp> ops, Completion<TxnAnswer> done) = 0;
  /// A transaction of reads alone (kGet, kGetTree, the checks), over the local state as it is.
  [[nodiscard]] virtual TxnAnswer txn_read(const std::vector<TxnOp>& ops) const = 0;

  /// Changes below `prefix` with an index above `after`, at most about `bytes_max` of keys and values (at least one
  /// index's worth).
  [[nodiscard]] virtual KvChanges kv_changes(const std::string& prefix, Index after, std::size_t bytes_max) const = 0;

  [[nodiscard]] virtual UsageInfo usage() const = 0;
  /// Sets the bounds below a prefix; both 0 removes it. Errors: as kv_write.
  virtual void set_quota(QuotaInfo quota, Completion<Index> done) = 0;
};

}  // namespace agent::api
