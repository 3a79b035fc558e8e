#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/store.h"
#include "tests/sim/history.h"
#include "tests/sim/machine.h"
#include "tests/support/random.h"

namespace sim {

/// How the clients with sessions behave.
struct LockerSettings {
  int clients = 3;
  Nanos think = 70 * kMillisecond;
  std::size_t operations_max = 900;        ///< all clients together
  std::size_t operations_per_group = 40;   ///< then the next two keys: keeps the search for an order small
};

/// Clients that create sessions, renew them (or fail to), take and give back locks, write with and without a lock, and
/// run transactions over both keys of a group.
/// What must hold is one model of the whole group (check_locks): two keys, each with a value and a holder, and up to
/// 15 sessions. A session may end by itself from its TTL after the last acknowledged renewal on, never earlier; with
/// it its locks go, or its keys. So one order of all calls must exist in which every answer is true: a key with two
/// holders, a lock that outlives its session, half of a transaction and a session that ended early all have none.
/// Ownership: borrows world and machines. Bound: operations_max calls, one open per client.
class Lockers {
 public:
  Lockers(World* world, std::vector<std::unique_ptr<Machine>>* machines, LockerSettings settings, std::uint64_t seed);

  void start();
  void stop() { stopped_ = true; }
  /// Nothing contradicts the model; or what does.
  [[nodiscard]] std::string contradiction() const;
  [[nodiscard]] const History& history() const { return history_; }
  [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }

 private:
  static constexpr Nanos kPatience = 3 * kSecond;
  struct Group {
    std::string name;
    std::uint64_t sessions = 0;
    std::map<std::uint64_t, Nanos> ends_from;  // session number -> when it may end by itself
  };
  struct Client {
    std::size_t group = 0;
    std::uint64_t session = 0;  // number in the group; 0 = none
    Nanos ttl = 0;
  };
  struct Call {
    int client = 0;
    std::size_t group = 0;
    std::uint64_t session = 0;
    OperationKind kind{};
    Nanos ttl = 0;
    Nanos invoked = 0;
    History::Handle handle;
    bool open = true;
  };
  void next(int client);
  OperationKind pick(const Client& client);
  void launch(int client, OperationKind kind);
  store::kv::CommandBody command_for(const Call& call, bool second, std::uint64_t value);
  store::kv::SessionId id_of(std::size_t group, std::uint64_t session) const;
  std::string key_of(std::size_t group, bool second) const;
  void hand_over(Machine& machine, const std::shared_ptr<Call>& call, store::kv::CommandBody body);
  void answered(Machine& machine, const std::shared_ptr<Call>& call, const store::Reply* reply);
  Outcome outcome_of(Machine& machine, const Call& call, const store::Reply& reply, ValueId* result);
  void finish(const std::shared_ptr<Call>& call, Outcome outcome, ValueId result);

  World* world_;
  std::vector<std::unique_ptr<Machine>>* machines_;
  LockerSettings settings_;
  support::Random random_;
  History history_;
  std::vector<Group> groups_;
  std::vector<Client> clients_;
  std::size_t operations_ = 0;
  std::uint64_t next_value_ = 1;
  std::uint64_t acknowledged_ = 0;
  bool stopped_ = false;
};

/// What a call on a group is about, packed into Operation::argument; a kLook's result is packed by pack_look().
struct LockArgument {
  bool second = false;        ///< the group's second key
  std::uint64_t session = 0;  ///< 1..15
  std::uint64_t value = 0;    ///< written; below 2^20, used once
  std::uint64_t other = 0;    ///< kMove: written to the second key
};
[[nodiscard]] ValueId pack(const LockArgument& argument);
struct LockLook {
  std::uint64_t value[2] = {0, 0};   ///< 0 = missing
  std::uint64_t holder[2] = {0, 0};  ///< session number, 0 = free
};
[[nodiscard]] ValueId pack_look(const LockLook& look);
inline constexpr ValueId kNoSuchSession{1};  ///< result of a refused kAcquire: its session was gone

/// The state after `operation` took effect on `state`, or nothing when its answer contradicts that.
[[nodiscard]] std::optional<ValueId> lock_effect(const Operation& operation, ValueId state);

}  // namespace sim
