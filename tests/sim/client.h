#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/store.h"
#include "tests/sim/history.h"
#include "tests/sim/machine.h"
#include "tests/support/random.h"

namespace sim {

/// How the clients of a run behave; chosen from the seed.
struct ClientSettings {
  int clients = 4;
  Nanos think = 25 * kMillisecond;      ///< mean pause between an answer and the next call
  std::size_t operations_max = 3'000;   ///< all clients together
  std::uint64_t reads_percent = 40;     ///< of all calls; the rest are puts, then swaps, then removes
  std::size_t operations_per_key = 50;  ///< then the working set moves on: keeps the search for an order small
  std::size_t value_bytes_max = 300;
  std::uint32_t large_value_ppm = 0;    ///< chance of a value of up to 60 KB, so that snapshots need many chunks
  /// Looks for reads under a lease that means nothing: while two agents call themselves leader, the clients hurry, write
  /// at the one of the later term and read at the other, under its lease. Before, times with writes take turns with
  /// times in which nothing but heartbeats tells the followers of their leader.
  bool aimed = false;
};

/// Clients of the KV store: each makes one call at a time at a random machine, gives up after a while, and writes
/// down in the history what it was told and when.
/// Every value written is used once in a run, so that a read tells which write it saw.
/// Ownership: borrows world, machines and history. Bound: operations_max calls, one open per client.
class Clients {
 public:
  static constexpr Nanos kPatience = 3 * kSecond;

  Clients(World* world, std::vector<std::unique_ptr<Machine>>* machines, History* history, ClientSettings settings,
          std::uint64_t seed);

  void start();
  void stop() { stopped_ = true; }  ///< no new calls; open ones end as they may

  /// One call outside the mix, for the checks at the end of a run.
  void read_at(int machine, const std::string& key, store::Consistency consistency, std::function<void(bool)> done);
  void write_at(int machine, const std::string& key, std::function<void(bool)> done);

  [[nodiscard]] std::vector<std::string> keys() const;  ///< every key ever used
  [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] const std::map<std::string, int>& refusals() const { return refusals_; }  ///< reason -> how often

 private:
  struct Version {
    ValueId value = kAbsent;
    store::kv::Index modify{};
  };
  /// One call under way, shared by its answer and its time-out: whoever comes first decides.
  struct Call {
    int client = 0;
    std::string key;
    History::Handle handle;
    OperationKind kind{};
    bool open = true;
    std::function<void(bool)> done;
  };

  /// What one client calls next, where, and how fresh it wants the answer.
  struct Choice {
    int machine = 0;
    OperationKind kind{};
    store::Consistency consistency{};
  };
  /// Agents that call themselves leader: the one of the latest term, and any other, which is deposed; -1 = none.
  struct Leaders {
    int newest = -1;
    int deposed = -1;
  };
  void next(int client);
  [[nodiscard]] Leaders leaders() const;
  OperationKind pick_write();
  Choice pick_any();
  Choice pick_aimed();
  Nanos draw_pause();
  void launch(int client, int machine, OperationKind kind, const std::string& key, store::Consistency consistency,
              std::function<void(bool)> done);
  void hand_over(Machine& machine, const std::shared_ptr<Call>& call, store::kv::CommandBody body,
                 store::Consistency consistency);
  void answered(Machine& machine, const std::shared_ptr<Call>& call, const store::Reply* reply);
  Outcome outcome_of(Machine& machine, Call& call, const store::Reply& reply, ValueId* result);
  void finish(const std::shared_ptr<Call>& call, Outcome outcome, ValueId result);
  std::string pick_key();
  std::string make_value(ValueId id);
  store::kv::CommandBody command_for(OperationKind kind, const std::string& key, const Version& seen, ValueId value);

  World* world_;
  std::vector<std::unique_ptr<Machine>>* machines_;
  History* history_;
  ClientSettings settings_;
  support::Random random_;
  std::map<std::string, Version> seen_;  ///< last version of a key that any client read
  std::uint64_t next_value_ = 1;
  std::size_t operations_ = 0;
  std::uint64_t acknowledged_ = 0;
  bool stopped_ = false;
  bool resting_ = false;     // aimed: nobody writes unless there are two leaders ...
  Nanos turn_ends_ = 0;      // ... until then
  std::map<std::string, int> refusals_;
};

}  // namespace sim
