#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/kv/catalog.h"
#include "store/kv/journal.h"
#include "store/kv/session.h"

namespace store::kv {

/// Sessions, whom they depend on, and the keys that are held back after one ended.
/// Invariant: a session with a node has that node in the catalog, and its checks, none of them critical.
/// Bound:     kSessionsMax sessions, kLockDelaysMax delays (the oldest opens when one more is needed).
class SessionTable {
 public:
  using Sessions = std::map<SessionId, Session>;
  using Delays = std::map<std::string, LockDelay, std::less<>>;

  [[nodiscard]] const Session* find(const SessionId& id) const;  ///< nullptr = none
  [[nodiscard]] const Sessions& all() const { return sessions_; }
  [[nodiscard]] std::vector<const Session*> of_node(std::string_view node) const;
  [[nodiscard]] const LockDelay* delay(std::string_view key) const;  ///< nullptr = may be acquired
  [[nodiscard]] const Delays& delays() const { return delays_; }
  /// Name of the index counter that outlives all sessions. The catalog's counters have other letters.
  static constexpr std::string_view kCounter = "x";
  [[nodiscard]] Index last_index() const { return index_; }    ///< 0 = there never was one
  [[nodiscard]] Index index() const;                           ///< last change of any session, at least 1
  [[nodiscard]] Index index_of(const SessionId& id) const;     ///< gone: of any

  // --- changes: for StateMachine alone --------------------------------------------------------------------------------
  void add(Index index, Session session, Journal& journal);
  void remove(Index index, const SessionId& id, Journal& journal);
  [[nodiscard]] std::set<SessionId> tied_to(const Catalog::Lost& lost) const;
  /// @return keys whose delay ended early, to make room.
  std::vector<std::string> hold_back(const std::string& key, const LockDelay& delay, Journal& journal);
  bool open(const std::string& key, Index since, Journal& journal);  ///< false: no such delay
  // --- rows -----------------------------------------------------------------------------------------------------------
  void load(Session session);
  void load_delay(std::string key, const LockDelay& delay);
  void load_index(Index index) { index_ = index; }
  [[nodiscard]] bool consistent(const Catalog& catalog, Index applied) const;
  void renumber(Index index);  ///< after a restore

 private:
  void tie(const Session& session);
  void untie(const Session& session);

  Sessions sessions_;
  std::map<std::string, std::set<SessionId>, std::less<>> by_node_;
  std::map<NodeItem, std::set<SessionId>> by_check_;
  Delays delays_;
  std::set<std::pair<Index, std::string>> delays_by_age_;
  Index index_{};
};

}  // namespace store::kv
