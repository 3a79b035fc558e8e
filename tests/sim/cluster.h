#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/client.h"
#include "tests/sim/faults.h"
#include "tests/sim/halts.h"
#include "tests/sim/history.h"
#include "tests/sim/lockers.h"
#include "tests/sim/machine.h"
#include "tests/sim/orders.h"

namespace sim {

/// Everything that follows from the seed of a run (scenario.h draws it), and the switches of tests.
struct Scenario {
  std::uint64_t seed = 1;
  AgentSettings agents;
  ClientSettings clients;
  LockerSettings lockers;
  OrderSettings orders;
  HaltSettings halts;
  FaultSettings faults;
  Link link;
  /// Until then only machines 0 and 3 join two halves, 0 .. 2 and the rest: who is there comes to be known slowly.
  Nanos halves_until = 0;
  Nanos trouble = 12 * kSecond;       ///< how long things break
  int rounds = 1;                     ///< how often they do: between two rounds all must be well again
  Nanos settle_within = 40 * kSecond;  ///< after the last fault is over, all must be well by then
  std::string label;                  ///< for people: what kind of run this is
  bool disks_lie = false;             ///< every disk says "synced" without syncing: the run must then fail
  bool look_at_disks = true;          ///< false: the judge knows what clients and logs show, not what disks hold
};

/// What came of a run.
struct Report {
  std::optional<std::string> violation;  ///< the first broken promise, or nothing
  std::uint64_t trace_hash = 0;
  std::uint64_t steps = 0;
  std::uint64_t acknowledged = 0;   ///< calls of clients that were answered
  std::uint64_t unknown = 0;
  std::uint64_t entries = 0;        ///< committed
  std::uint64_t terms = 0;
  std::uint64_t grants = 0;         ///< of the lease
  std::uint64_t faults = 0;
  std::uint64_t orders = 0;         ///< that arrived at the exchange
  std::uint64_t halts = 0;          ///< that were given
  Nanos settled_after = 0;          ///< from the end of the faults to "all is well", the longest of all rounds
  std::string label;
};

/// One run: machines, clients, faults, and the judge that looks after every step.
/// Course: the agents start and found their cluster; clients and faults begin; after `trouble` everything is mended;
///         within `settle_within` there must be one leader, one primary, members that all see each other alive; after
///         the last round of trouble writes must go through everywhere, and the history must be linearizable.
class Cluster {
 public:
  Cluster(Scenario scenario, bool print);
  ~Cluster();
  Report run();

 private:
  struct Seen {
    store::raft::Term leads;
    store::raft::ConfState conf;
    std::uint64_t life = 0;
    std::uint64_t applied = 0;
    store::raft::Index conf_at;  ///< applied index at which `conf` and the judge were last brought together
  };
  void begin_in_halves();
  bool run_until(Nanos end, const std::function<bool()>& enough);
  void observe(int index);
  void observe_raft(int index, const store::raft::Raft& raft);
  void observe_leader(int index, const store::raft::Raft& raft, store::raft::Index known);
  void observe_log(int index, const store::raft::Log& log);
  void observe_state(int index, const Process& process);
  void observe_bounds(int index, const Process& process);
  void observe_lease();
  bool durable(store::raft::NodeId node, store::raft::Index index, store::raft::Term term) const;

  void settle();
  std::string what_is_missing() const;
  bool write_everywhere(Nanos end);
  void read_everything(Nanos end);
  void await_session_ends(Nanos end);
  void await_order_ends(Nanos end);
  void await_halts_everywhere();
  void check_history();
  Report report();

  Scenario scenario_;
  World world_;
  std::vector<std::unique_ptr<Machine>> machines_;
  History history_;
  Clients clients_;
  Lockers lockers_;
  Halts halts_;
  Orders orders_;
  Faults faults_;
  std::vector<Seen> seen_;
  std::map<RaftId, int> index_of_;
  std::uint64_t observations_ = 0;
  Nanos settled_after_ = 0;
};

}  // namespace sim
