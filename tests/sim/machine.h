#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/primary.h"
#include "store/types.h"
#include "tests/sim/clock.h"
#include "tests/sim/disk.h"
#include "tests/sim/instance.h"
#include "tests/sim/judge.h"
#include "tests/sim/mesh.h"
#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/trace.h"
#include "tests/support/random.h"
#include "tests/support/toy_aead.h"

namespace sim {

class Process;

inline constexpr Nanos kNever = std::numeric_limits<Nanos>::max();
/// The service whose lease the agents fight for.
inline constexpr const char* kService = "trader";

/// How every agent of a run is set up; chosen from the seed (scenario.h).
struct AgentSettings {
  int machines = 3;
  std::uint32_t bootstrap_expect = 3;  ///< machines 0 .. this - 1 found the cluster; the others join it
  bool all_expect = false;             ///< all machines have that setting, though they are more
  store::Config store;        ///< id and name are filled in per machine
  agent::PrimaryConfig primary;  ///< self is filled in per machine
  std::uint32_t margin_ms = 500;
  Disk::Temper disk;             ///< of every machine while nothing is wrong with it
  std::uint64_t wall_start_ms = 1'700'000'000'000;  ///< wall clock at virtual time 0
};

/// What all machines of one run share. Ownership: outlives them.
struct World {
  World(std::uint64_t seed, AgentSettings agents, bool print)
      : settings(std::move(agents)),
        trace(print),
        network(settings.machines, &scheduler, &trace, seed),
        judge(settings.machines),
        random(seed, 0x776f726c64) {}

  AgentSettings settings;
  Scheduler scheduler;
  Trace trace;
  Network network;
  Judge judge;
  support::Random random;
  support::ToyAead aead{1};
  std::function<void(int machine)> observe = [](int) {};  ///< called after every step of a process
  /// Called inside a process when its role, epoch or lease is another one.
  std::function<void(int machine)> role_changed = [](int) {};
  /// Called inside a process that is about to give its lease up: `go` does it, at once or later in that life.
  std::function<void(int machine, std::function<void()> go)> before_release = [](int, const std::function<void()>& go) { go(); };
  std::function<void(int machine)> began = [](int) {};    ///< called inside a process that has just begun
  std::function<void(int machine)> stepped = [](int) {};  ///< called after every step of a process that lives, inside of it
  /// From the mesh, inside a process: a frame about halts, a peer that can be reached or not any more.
  std::function<void(int machine, RaftId from, const std::string& frame)> halt_frame = [](int, RaftId, const std::string&) {};
  std::function<void(int machine, RaftId peer, bool up)> mesh_peer = [](int, RaftId, bool) {};
  /// Called when a process has ended. `powerless`: its machine, too
  std::function<void(int machine, bool powerless)> ended = [](int, bool) {};
};

/// The three cores that want waking.
enum class Alarm : std::uint8_t { kGossip, kStore, kPrimary };

/// One computer: its clock, its disk, its trading instance, and at most one life of an agent process.
/// A stopped process (SIGSTOP, a frozen virtual machine) runs nothing; what arrives for it waits in order and is
/// handed over when it goes on, timers before or after the input as chance has it. Its clock goes on meanwhile.
/// Ownership: borrows the world; owns the process. Bound: datagrams waiting for a stopped process kInboxDatagramsMax,
///            like a socket buffer; streams and answers of the disk as their senders bound them.
class Machine : public Endpoint {
 public:
  static constexpr std::size_t kInboxDatagramsMax = 512;

  Machine(World* world, int index, std::uint64_t seed);
  ~Machine() override;

  // --- Faults. ---
  void start();      ///< starts the agent's process (and the machine, if it was off)
  void kill();       ///< kill -9 of the agent: its kernel refuses and resets, its page cache survives
  void power_off();  ///< the machine dies: silence, unsynced bytes lost, clock starts anew at the next start
  void stop();       ///< SIGSTOP
  void resume();     ///< SIGCONT
  [[nodiscard]] bool up() const { return process_ != nullptr; }
  [[nodiscard]] bool stopped() const { return stopped_; }
  [[nodiscard]] std::uint64_t stops() const { return stops_; }  ///< how often it was stopped
  [[nodiscard]] std::uint64_t boots() const { return boots_; }  ///< how often it lost its power

  // --- For the process. ---
  /// Runs `task` inside the process, now or when it goes on, and lets the cores do what follows from it. Nothing
  /// happens if that life of the process is over by then.
  void run(std::function<void()> task);
  /// The same after `delay`, and nothing if that life is over by then.
  void later(Nanos delay, std::function<void()> task);
  /// Wakes a core when its own clock shows `deadline`, a little late like every timer.
  void arm(Alarm alarm, store::TimePoint deadline);
  /// Ends the process from inside; it is started again after a while, as a service manager would.
  /// @param expected  false: there was no reason to, which is a violation
  void die(const std::string& reason, bool expected);
  [[nodiscard]] store::TimePoint local_now() const { return clock_.at(world_->scheduler.now()); }
  [[nodiscard]] std::uint64_t life() const { return life_; }

  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] RaftId id() const { return id_; }
  [[nodiscard]] Process* process() { return process_.get(); }
  [[nodiscard]] const Process* process() const { return process_.get(); }
  World& world() { return *world_; }
  Disk& disk() { return disk_; }
  const Disk& disk() const { return disk_; }
  Instance& instance() { return instance_; }
  support::Random& random() { return random_; }
  [[nodiscard]] const DriftingClock& clock() const { return clock_; }
  std::vector<std::byte>& gossip_file() { return gossip_file_; }
  [[nodiscard]] std::uint64_t wall_ms() const;
  [[nodiscard]] std::uint32_t bootstrap_expect() const {
    const std::uint32_t expect = world_->settings.bootstrap_expect;
    return world_->settings.all_expect || static_cast<std::uint32_t>(index_) < expect ? expect : 0;
  }

  // --- From the network. ---
  void on_datagram(int from, Bytes bytes) override;
  void on_datagram_refused(int to) override;
  void on_accepted(ConnectionId id, int from, Port port) override;
  void on_connected(ConnectionId id) override;
  void on_received(ConnectionId id, Bytes bytes) override;
  void on_closed(ConnectionId id, CloseReason reason) override;

 private:
  struct Timer {
    store::TimePoint deadline = store::TimePoint::max();
    Nanos due = kNever;        ///< real time for which the wake-up below was asked
    Nanos scheduled = kNever;  ///< real time of the wake-up, a little later than `due`; kNever = none
    bool late = false;  ///< came due while the process was stopped
  };
  void fire(Alarm alarm);
  void perform(const std::function<void()>& task);
  void end_process();
  void check_instance();
  Timer& timer(Alarm alarm) { return timers_[static_cast<std::size_t>(alarm)]; }

  World* world_;
  int index_;
  RaftId id_;
  support::Random random_;
  DriftingClock clock_;
  bool clock_runs_ = false;
  Disk disk_;
  Instance instance_;
  std::vector<std::byte> gossip_file_;
  std::unique_ptr<Process> process_;
  std::uint64_t life_ = 0, stops_ = 0, boots_ = 0;
  bool stopped_ = false;
  bool dying_ = false;
  std::deque<std::function<void()>> inbox_;
  std::size_t inbox_datagrams_ = 0;
  Timer timers_[3];
};

}  // namespace sim
