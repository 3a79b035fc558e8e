#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/sim/machine.h"
#include "tests/support/random.h"

namespace sim {

enum class FaultKind : std::uint8_t {
  kSplit,         ///< two groups that do not hear each other
  kIsolate,       ///< one machine hears nobody and nobody hears it
  kDeaf,          ///< one machine's packets get out, none get in
  kMute,          ///< the other way round
  kCutPair,       ///< two machines do not hear each other, everybody else hears both
  kCutOneWay,     ///< one direction between two machines
  kBridge,        ///< two groups that only one machine joins
  kLossy,         ///< loss, duplication, reordering, corruption everywhere
  kSlowLinks,     ///< 20 .. 150 ms more on every packet of one machine
  kNoDatagrams,   ///< datagrams of one machine are lost both ways, streams are not
  kShortStop,     ///< SIGSTOP for 5 .. 300 ms, like a busy host
  kLongStop,      ///< SIGSTOP for 0.3 .. 8 s
  kKill,          ///< kill -9, started again later
  kPowerOff,      ///< power of one machine
  kBlackout,      ///< power of all machines within 20 ms
  kInstance,      ///< the trading instance is degraded, sick, hung or gone
  kSlowDisk,      ///< 5 .. 60 ms for every sync
  kStuckDisk,     ///< one sync of 0.3 .. 3 s after the other
  kFailingDisk,   ///< a sync fails now and then, with EIO or ENOSPC: fail-stop; a task fails, which ends what it was for
  kFullDisk,      ///< the room that is left is below the reserve, or gone
  kSwitchover,    ///< operator moves the primary
  kDrain,         ///< operator drains an agent
  kTransfer,      ///< operator moves Raft leadership
  kLeave,         ///< an agent says goodbye, ends, and comes back later
  kCount,
};
[[nodiscard]] const char* to_string(FaultKind kind);

/// How rough the run is; chosen from the seed.
struct FaultSettings {
  std::vector<FaultKind> kinds;        ///< what may happen; empty = nothing does
  Nanos every = 700 * kMillisecond;    ///< mean time from one fault to the next; they overlap
  Nanos lasts = 1'500 * kMillisecond;  ///< mean length of those that have a length
};

/// Breaks things at random while a run is young, and puts all of it right at the end.
/// Targets are random machines, but more often than not the Raft leader or the primary, where it hurts.
/// Ownership: borrows world and machines. Bound: faults under way at one time kUnderWayMax.
class Faults {
 public:
  static constexpr std::size_t kUnderWayMax = 8;

  Faults(World* world, std::vector<std::unique_ptr<Machine>>* machines, FaultSettings settings, std::uint64_t seed);

  void start();  ///< again after heal(), for another round
  void stop() { healed_ = true; }  ///< no new faults; those under way end in their time
  /// Ends every fault, starts every machine, mends every link and disk: from now on only drift is left.
  void heal();
  [[nodiscard]] std::uint64_t count(FaultKind kind) const { return counts_[static_cast<std::size_t>(kind)]; }

 private:
  using Undo = std::function<void()>;

  void next(std::uint64_t round);
  /// Is trouble of this round still wanted?
  [[nodiscard]] bool goes_on(std::uint64_t round) const { return !healed_ && round == round_; }
  void inject(FaultKind kind);
  /// Runs `undo` after `duration`, or at heal() if that is sooner.
  void lasting(Nanos duration, Undo undo);
  Nanos draw_length() { return 50 * kMillisecond + random_.exponential(settings_.lasts); }

  bool inject_partition(FaultKind kind, int target);
  bool inject_link_trouble(FaultKind kind, int target);
  bool inject_process(FaultKind kind, int target);
  bool inject_disk(FaultKind kind, int target);
  void tell_space(int target, store::disk::Space space);
  bool inject_operator(FaultKind kind, int target);

  int pick_target();
  void block(int from, int to, int change);
  void block_for(std::vector<std::pair<int, int>> directions);
  Machine& machine(int index) { return *(*machines_)[static_cast<std::size_t>(index)]; }
  [[nodiscard]] int size() const { return static_cast<int>(machines_->size()); }

  World* world_;
  std::vector<std::unique_ptr<Machine>>* machines_;
  FaultSettings settings_;
  support::Random random_;
  std::map<std::pair<int, int>, int> blocks_;  ///< how many faults block this direction
  std::map<std::uint64_t, Undo> under_way_;
  std::uint64_t next_undo_ = 1;
  std::uint64_t counts_[static_cast<std::size_t>(FaultKind::kCount)] = {};
  std::uint64_t round_ = 0;
  bool healed_ = false;
};

}  // namespace sim
