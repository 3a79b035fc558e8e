#include "tests/sim/machine.h"

#include <cassert>
#include <utility>

#include "tests/sim/process.h"

namespace sim {
namespace {

/// An id that tells nothing about the order of machines, so that no rule can lean on it.
RaftId raft_id_of(std::uint64_t seed, int index) {
  return support::Random(seed, 0x6964 + static_cast<std::uint64_t>(index)).next() | 1U;
}

std::int64_t draw_rate(support::Random& random) {
  // The edges of what design.md allows are the interesting places.
  switch (random.below(4)) {
    case 0: return -200'000;
    case 1: return 200'000;
    default: return random.between(-200'000, 200'000);
  }
}

}  // namespace

Machine::Machine(World* world, int index, std::uint64_t seed)
    : world_(world),
      index_(index),
      id_(raft_id_of(seed, index)),
      random_(seed, 0x6d616368 + static_cast<std::uint64_t>(index)),
      disk_(&world->scheduler, seed, static_cast<std::uint64_t>(index)) {
  disk_.temper() = world->settings.disk;
}

Machine::~Machine() {
  if (process_) {
    world_->network.down(index_, false);
  }
}

std::uint64_t Machine::wall_ms() const {
  return world_->settings.wall_start_ms + static_cast<std::uint64_t>(world_->scheduler.now() / kMillisecond);
}

void Machine::start() {
  if (process_) {
    return;
  }
  if (!clock_runs_) {
    clock_ = DriftingClock(world_->scheduler.now(), draw_rate(random_), random_.between(1, 100'000) * kMillisecond);
    clock_runs_ = true;
  }
  ++life_;
  stopped_ = false;
  dying_ = false;
  for (Timer& t : timers_) {
    t = Timer{};
  }
  inbox_.clear();
  inbox_datagrams_ = 0;
  instance_.forget();
  world_->trace.add(world_->scheduler.now(), index_, "start", life_);
  process_ = std::make_unique<Process>(this);
  world_->network.up(index_, this);
  perform([this] { process_->begin(); });
  check_instance();
}

void Machine::end_process() {
  if (process_) {
    process_->abandon();
    process_.reset();
  }
  inbox_.clear();
  stopped_ = false;
  ++life_;
}

void Machine::kill() {
  if (!process_) {
    return;
  }
  world_->trace.add(world_->scheduler.now(), index_, "kill", life_);
  world_->network.down(index_, true);
  disk_.process_killed();
  end_process();
  world_->ended(index_, false);
}

void Machine::power_off() {
  if (!clock_runs_) {
    return;
  }
  world_->trace.add(world_->scheduler.now(), index_, "power off", life_);
  world_->network.down(index_, false);
  disk_.power_lost();
  end_process();
  ++boots_;
  world_->ended(index_, true);
  clock_runs_ = false;
}

void Machine::die(const std::string& reason, bool expected) {
  if (dying_ || !process_) {
    return;
  }
  dying_ = true;
  world_->trace.add(world_->scheduler.now(), index_, "dies", 0, 0, reason);
  if (!expected) {
    world_->judge.fail(world_->scheduler.now(), "fail-stop", "n" + std::to_string(index_) + ": " + reason);
  }
  world_->scheduler.after(0, [this, life = life_] {
    if (life == life_) kill();
  });
  world_->scheduler.after(random_.between(200, 1'500) * kMillisecond, [this] {
    if (clock_runs_) start();
  });
}

void Machine::stop() {
  if (!process_ || stopped_) {
    return;
  }
  world_->trace.add(world_->scheduler.now(), index_, "stop");
  stopped_ = true;
  ++stops_;
  world_->network.stopped(index_, true);
}

void Machine::resume() {
  if (!process_ || !stopped_) {
    return;
  }
  world_->trace.add(world_->scheduler.now(), index_, "resume", inbox_.size());
  stopped_ = false;
  world_->network.stopped(index_, false);
  const std::uint64_t life = life_;
  auto late_timers = [this, life] {
    for (const Alarm alarm : {Alarm::kGossip, Alarm::kStore, Alarm::kPrimary}) {
      if (life == life_ && timer(alarm).late) {
        timer(alarm).late = false;
        fire(alarm);
      }
    }
  };
  // The gossip driver reads its sockets dry before it ticks; the other loops may come either way round.
  const bool timers_first = random_.chance_ppm(500'000);
  if (timers_first) {
    const bool gossip_late = std::exchange(timer(Alarm::kGossip).late, false);
    late_timers();
    timer(Alarm::kGossip).late = gossip_late;
  }
  std::deque<std::function<void()>> waiting = std::exchange(inbox_, {});
  inbox_datagrams_ = 0;
  for (const std::function<void()>& task : waiting) {
    if (life == life_) perform(task);
  }
  late_timers();
}

void Machine::run(std::function<void()> task) {
  if (!process_) {
    return;
  }
  if (stopped_) {
    inbox_.push_back(std::move(task));
    return;
  }
  perform(task);
}

void Machine::later(Nanos delay, std::function<void()> task) {
  world_->scheduler.after(delay, [this, life = life_, moved = std::move(task)] {
    if (life != life_) return;
    run([this, life, moved] {
      if (life == life_) moved();
    });
  });
}

void Machine::perform(const std::function<void()>& task) {
  if (dying_) {
    return;
  }
  task();
  if (process_ && !dying_) {
    process_->settle();
    if (process_->has_store()) world_->stepped(index_);
  }
  world_->observe(index_);
}

void Machine::arm(Alarm alarm, store::TimePoint deadline) {
  Timer& t = timer(alarm);
  t.deadline = deadline;
  if (deadline == store::TimePoint::max()) {
    return;
  }
  const Nanos due = std::max(clock_.due(deadline), world_->scheduler.now());
  if (t.scheduled != kNever && t.due <= due) {
    return;  // wakes early enough and looks again then
  }
  t.due = due;
  const Nanos at = due + random_.between(0, 400) * kMicrosecond;
  t.scheduled = at;
  world_->scheduler.at(at, [this, alarm, at, life = life_] {
    if (life != life_ || timer(alarm).scheduled != at) {
      return;
    }
    timer(alarm).scheduled = kNever;
    fire(alarm);
  });
}

void Machine::fire(Alarm alarm) {
  Timer& t = timer(alarm);
  if (stopped_) {
    t.late = true;
    return;
  }
  if (local_now() < t.deadline) {
    arm(alarm, t.deadline);
    return;
  }
  perform([this, alarm] { process_->tick(alarm); });
}

void Machine::check_instance() {
  const std::uint64_t life = life_;
  run([this] { process_->on_instance(instance_.check()); });
  const Nanos pause = Instance::kEvery + random_.between(-20, 20) * kMillisecond;
  world_->scheduler.after(pause, [this, life] {
    if (life == life_) check_instance();
  });
}

void Machine::on_datagram(int from, Bytes bytes) {
  if (stopped_) {
    if (inbox_datagrams_ == kInboxDatagramsMax) {
      return;
    }
    ++inbox_datagrams_;
  }
  run([this, from, moved = std::move(bytes)] { process_->on_datagram(from, moved); });
}

void Machine::on_datagram_refused(int to) {
  run([this, to] { process_->on_datagram_refused(to); });
}

void Machine::on_accepted(ConnectionId id, int from, Port port) {
  run([this, id, from, port] { process_->on_accepted(id, from, port); });
}

void Machine::on_connected(ConnectionId id) {
  run([this, id] { process_->on_connected(id); });
}

void Machine::on_received(ConnectionId id, Bytes bytes) {
  run([this, id, moved = std::move(bytes)] { process_->on_received(id, moved); });
}

void Machine::on_closed(ConnectionId id, CloseReason reason) {
  run([this, id, reason] { process_->on_closed(id, reason); });
}

}  // namespace sim
