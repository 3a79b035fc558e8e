#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/kv/command.h"
#include "store/kv/session_table.h"
#include "store/raft/ids.h"

namespace store {

/// The leader's clockwork for sessions: when was each one last renewed, when does a lock-delay end, and is a restore
/// still making progress. Lives on the leader only, in memory only: a renewal is not logged.
/// Source:    sessions as Consul's clients know them, but ending at TTL + margin rather than somewhere below 2 * TTL.
/// Invariant: an expire is proposed only when TTL + margin have passed since this leader took office, applied the
///            create, and received the last renewal, whichever was latest. While one is in flight no renewal counts.
///            So a client that counts its TTL from when it sent a renewal is done before its session ends.
/// Bound:     kv::kSessionsMax sessions, kv::kLockDelaysMax delays, one restore. Every call costs O(log n) at most.
class SessionKeeper {
 public:
  using TimePoint = raft::TimePoint;
  using Duration = raft::Duration;

  /// This node leads from now on: every session and delay gets one full fresh period.
  void take_office(const kv::SessionTable& sessions, const kv::Uuid& restore, TimePoint now);
  void leave_office();
  [[nodiscard]] bool in_office() const { return in_office_; }

  /// A session was created or ended (nullptr) by an applied entry. Without a TTL it has no clock, and needs no renewal.
  void on_session(const kv::SessionId& id, const kv::Session* session, TimePoint now);
  /// A key is held back from now on, or not any more (nullptr).
  void on_delay(const std::string& key, const kv::LockDelay* delay, TimePoint now);
  /// A restore began, went on, or ended (none).
  void on_restore(const kv::Uuid& restore, TimePoint now);
  /// A renewal arrived. Counts at once, whether it can be answered or not: that only makes the session last longer.
  void on_renewal(const kv::SessionId& id, TimePoint now);
  /// May a renewal be answered? No, if there is no such session, or its end is being decided.
  [[nodiscard]] bool renewable(const kv::SessionId& id) const;

  /// What must be proposed by now: SessionExpire, LockDelayEnd, RestoreAbort; each is in flight from here on.
  [[nodiscard]] std::vector<kv::CommandBody> due(TimePoint now);
  /// The proposal of a command of due() was not appended, for sure: it will come again after `retry`.
  void not_proposed(const kv::CommandBody& command, TimePoint retry);
  [[nodiscard]] TimePoint next_deadline() const;  ///< TimePoint::max() if nothing will be due

  /// What the leader waits beyond a TTL: a tenth of it up to a second, but never less than a thousandth (clocks that
  /// run at different rates) or 50 ms.
  [[nodiscard]] static Duration margin(Duration ttl);

 private:
  /// Things with a deadline, soonest first. One that is in flight has none.
  template <class Key>
  class Deadlines {
   public:
    void set(const Key& key, Duration period, TimePoint now) {
      drop(key);
      items_.emplace(key, Item{now + period, period, false});
      order_.emplace(now + period, key);
    }
    void drop(const Key& key) {
      const auto found = items_.find(key);
      if (found == items_.end()) return;
      order_.erase({found->second.due, key});
      items_.erase(found);
    }
    [[nodiscard]] bool waits(const Key& key) const {
      const auto found = items_.find(key);
      return found != items_.end() && !found->second.in_flight;
    }
    /// One full period from `now`, if that is later.
    void put_off(const Key& key, TimePoint now) {
      const auto found = items_.find(key);
      if (found == items_.end() || found->second.in_flight) return;
      move(found, std::max(found->second.due, now + found->second.period));
    }
    std::vector<Key> take_due(TimePoint now) {
      std::vector<Key> keys;
      while (!order_.empty() && order_.begin()->first <= now) {
        keys.push_back(order_.begin()->second);
        items_.at(keys.back()).in_flight = true;
        order_.erase(order_.begin());
      }
      return keys;
    }
    void again(const Key& key, TimePoint at) {
      const auto found = items_.find(key);
      if (found == items_.end() || !found->second.in_flight) return;
      found->second.in_flight = false;
      move(found, at);
    }
    [[nodiscard]] TimePoint next() const { return order_.empty() ? TimePoint::max() : order_.begin()->first; }
    void clear() {
      items_.clear();
      order_.clear();
    }

   private:
    struct Item {
      TimePoint due;
      Duration period{};
      bool in_flight = false;
    };
    using Items = std::map<Key, Item>;
    void move(typename Items::iterator item, TimePoint due) {
      order_.erase({item->second.due, item->first});
      item->second.due = due;
      order_.emplace(due, item->first);
    }
    Items items_;
    std::set<std::pair<TimePoint, Key>> order_;
  };
  using Delay = std::pair<std::string, kv::Index>;  // a key and since when it is held back

  bool in_office_ = false;
  Deadlines<kv::SessionId> sessions_;
  Deadlines<Delay> delays_;
  std::map<std::string, kv::Index> delay_since_;
  Deadlines<kv::Uuid> restores_;
};

}  // namespace store
