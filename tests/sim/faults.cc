#include "tests/sim/faults.h"

#include <utility>

#include "tests/sim/process.h"

namespace sim {

const char* to_string(FaultKind kind) {
  switch (kind) {
    case FaultKind::kSplit: return "split";
    case FaultKind::kIsolate: return "isolate";
    case FaultKind::kDeaf: return "deaf";
    case FaultKind::kMute: return "mute";
    case FaultKind::kCutPair: return "cut pair";
    case FaultKind::kCutOneWay: return "cut one way";
    case FaultKind::kBridge: return "bridge";
    case FaultKind::kLossy: return "lossy";
    case FaultKind::kSlowLinks: return "slow links";
    case FaultKind::kNoDatagrams: return "no datagrams";
    case FaultKind::kShortStop: return "short stop";
    case FaultKind::kLongStop: return "long stop";
    case FaultKind::kKill: return "kill";
    case FaultKind::kPowerOff: return "power off";
    case FaultKind::kBlackout: return "blackout";
    case FaultKind::kInstance: return "instance";
    case FaultKind::kSlowDisk: return "slow disk";
    case FaultKind::kStuckDisk: return "stuck disk";
    case FaultKind::kFailingDisk: return "failing disk";
    case FaultKind::kFullDisk: return "full disk";
    case FaultKind::kSwitchover: return "switchover";
    case FaultKind::kDrain: return "drain";
    case FaultKind::kTransfer: return "transfer";
    case FaultKind::kLeave: return "leave";
    case FaultKind::kCount: break;
  }
  return "";
}

Faults::Faults(World* world, std::vector<std::unique_ptr<Machine>>* machines, FaultSettings settings,
               std::uint64_t seed)
    : world_(world), machines_(machines), settings_(std::move(settings)), random_(seed, 0x6661756c74) {}

void Faults::start() {
  healed_ = false;
  ++round_;
  if (!settings_.kinds.empty()) {
    world_->scheduler.after(random_.exponential(settings_.every), [this, round = round_] { next(round); });
  }
}

void Faults::next(std::uint64_t round) {
  if (!goes_on(round)) {
    return;
  }
  if (under_way_.size() < kUnderWayMax) {
    inject(settings_.kinds[random_.below(settings_.kinds.size())]);
  }
  world_->scheduler.after(random_.exponential(settings_.every), [this, round] { next(round); });
}

void Faults::inject(FaultKind kind) {
  const int target = pick_target();
  world_->trace.add(world_->scheduler.now(), target, "fault", static_cast<std::uint64_t>(kind), 0, to_string(kind));
  ++counts_[static_cast<std::size_t>(kind)];
  if (!inject_partition(kind, target) && !inject_link_trouble(kind, target) && !inject_process(kind, target) &&
      !inject_disk(kind, target)) {
    inject_operator(kind, target);
  }
}

void Faults::lasting(Nanos duration, Undo undo) {
  const std::uint64_t number = next_undo_++;
  under_way_.emplace(number, std::move(undo));
  world_->scheduler.after(duration, [this, number] {
    const auto it = under_way_.find(number);
    if (it == under_way_.end()) {
      return;
    }
    const Undo action = std::move(it->second);
    under_way_.erase(it);
    world_->trace.add(world_->scheduler.now(), -1, "fault over", number);
    action();
  });
}

void Faults::heal() {
  healed_ = true;
  for (auto& [number, undo] : std::exchange(under_way_, {})) {
    undo();
  }
  for (const auto& m : *machines_) {
    m->resume();
    m->disk().temper().sync = world_->settings.disk.sync;
    m->disk().temper().failure_ppm = 0;
    m->instance().become(Mood::kHealthy);
    m->start();
    m->run([&m] { m->process()->undrain(); });
  }
  world_->trace.add(world_->scheduler.now(), -1, "healed");
}

int Faults::pick_target() {
  const std::uint64_t dice = random_.below(100);
  for (int i = 0; i < size() && dice < 60; ++i) {
    const Process* process = machine(i).process();
    if (process == nullptr || !process->has_store()) {
      continue;
    }
    const bool leads = process->store().raft().role() == store::raft::Role::kLeader;
    const bool trades = process->primary().role() == agent::Role::kPrimary;
    if ((dice < 30 && leads) || (dice >= 30 && trades)) {
      return i;
    }
  }
  return static_cast<int>(random_.below(machines_->size()));
}

void Faults::block(int from, int to, int change) {
  int& count = blocks_[{from, to}];
  count += change;
  world_->network.link(from, to).blocked = count > 0;
}

void Faults::block_for(std::vector<std::pair<int, int>> directions) {
  for (const auto& [from, to] : directions) block(from, to, 1);
  lasting(draw_length(), [this, directions = std::move(directions)] {
    for (const auto& [from, to] : directions) block(from, to, -1);
  });
}

bool Faults::inject_partition(FaultKind kind, int target) {
  const int other = (target + 1 + static_cast<int>(random_.below(machines_->size() - 1))) % size();
  std::vector<int> group(machines_->size());
  for (int& g : group) g = static_cast<int>(random_.below(2));
  std::vector<std::pair<int, int>> cut;
  for (int a = 0; a < size(); ++a) {
    for (int b = 0; b < size(); ++b) {
      if (a == b) continue;
      bool blocked = false;
      switch (kind) {
        case FaultKind::kSplit: blocked = group[static_cast<std::size_t>(a)] != group[static_cast<std::size_t>(b)]; break;
        case FaultKind::kBridge:
          blocked = a != target && b != target && group[static_cast<std::size_t>(a)] != group[static_cast<std::size_t>(b)];
          break;
        case FaultKind::kIsolate: blocked = a == target || b == target; break;
        case FaultKind::kDeaf: blocked = b == target; break;
        case FaultKind::kMute: blocked = a == target; break;
        case FaultKind::kCutPair: blocked = (a == target && b == other) || (a == other && b == target); break;
        case FaultKind::kCutOneWay: blocked = a == target && b == other; break;
        default: return false;
      }
      if (blocked) cut.emplace_back(a, b);
    }
  }
  block_for(std::move(cut));
  return true;
}

bool Faults::inject_link_trouble(FaultKind kind, int target) {
  if (kind != FaultKind::kLossy && kind != FaultKind::kSlowLinks && kind != FaultKind::kNoDatagrams) {
    return false;
  }
  const auto loss = static_cast<std::uint32_t>(random_.between(10'000, 250'000));
  const Nanos extra = random_.between(20, 150) * kMillisecond;
  std::vector<std::pair<int, int>> directions;
  for (int a = 0; a < size(); ++a) {
    for (int b = 0; b < size(); ++b) {
      if (a != b && (kind == FaultKind::kLossy || a == target || b == target)) directions.emplace_back(a, b);
    }
  }
  // Overlapping troubles of one kind add up and are taken off again one by one.
  const auto change = [this, kind, loss, extra, directions](int sign) {
    for (const auto& [from, to] : directions) {
      Link& link = world_->network.link(from, to);
      if (kind == FaultKind::kSlowLinks) link.delay += sign * extra;
      if (kind == FaultKind::kNoDatagrams) link.datagrams_blocked = sign > 0;
      if (kind != FaultKind::kLossy) continue;
      const std::uint32_t step = sign > 0 ? loss : ~loss + 1;
      link.loss_ppm += step;
      link.duplicate_ppm += sign > 0 ? 50'000U : ~50'000U + 1;
      link.reorder_ppm += sign > 0 ? 100'000U : ~100'000U + 1;
      link.corrupt_ppm += sign > 0 ? 10'000U : ~10'000U + 1;
      link.reorder_extra = 30 * kMillisecond;
    }
  };
  change(1);
  lasting(draw_length(), [change] { change(-1); });
  return true;
}

bool Faults::inject_process(FaultKind kind, int target) {
  // Half of the dead are back before their peers have noticed: what was meant for one life reaches the next.
  const Nanos restart = random_.chance_ppm(500'000) ? random_.between(0, 40) * kMillisecond
                                                    : random_.between(20, 100) * kMillisecond + draw_length();
  switch (kind) {
    case FaultKind::kShortStop:
    case FaultKind::kLongStop: {
      const Nanos length = (kind == FaultKind::kShortStop ? random_.between(5, 300) : random_.between(300, 3'000));
      machine(target).stop();
      lasting(length * kMillisecond, [this, target] { machine(target).resume(); });
      return true;
    }
    case FaultKind::kKill:
      machine(target).kill();
      lasting(restart, [this, target] { machine(target).start(); });
      // Every other time the crash comes again, as soon as the process is back.
      for (Nanos again = restart; random_.chance_ppm(500'000);) {
        again += random_.between(5, 250) * kMillisecond;
        world_->scheduler.after(again, [this, target, round = round_] {
          if (goes_on(round)) machine(target).kill();
        });
        again += random_.between(0, 30) * kMillisecond;
        lasting(again, [this, target] { machine(target).start(); });
      }
      return true;
    case FaultKind::kPowerOff:
      machine(target).power_off();
      lasting(restart, [this, target] { machine(target).start(); });
      return true;
    case FaultKind::kBlackout:
      for (int i = 0; i < size(); ++i) {
        world_->scheduler.after(random_.between(0, 20) * kMillisecond, [this, i, round = round_] {
          if (goes_on(round)) machine(i).power_off();
        });
        lasting(21 * kMillisecond + random_.between(50, 900) * kMillisecond, [this, i] { machine(i).start(); });
      }
      return true;
    case FaultKind::kInstance: {
      constexpr Mood kMoods[] = {Mood::kDegraded, Mood::kSick, Mood::kHung, Mood::kCrashed};
      machine(target).instance().become(kMoods[random_.below(4)]);
      if (machine(target).instance().mood() == Mood::kCrashed && machine(target).up()) {
        Machine& m = machine(target);  // its connections break: seen at once
        m.run([&m] { m.process()->on_instance(m.instance().check()); });
      }
      lasting(draw_length() * 2, [this, target] { machine(target).instance().become(Mood::kHealthy); });
      return true;
    }
    default: return false;
  }
}

void Faults::tell_space(int target, store::disk::Space space) {
  Machine& m = machine(target);
  m.disk().temper().space = space;
  m.run([&m, space] {
    if (m.process()->has_store()) m.process()->on_space(space);
  });
}

bool Faults::inject_disk(FaultKind kind, int target) {
  if (kind == FaultKind::kFullDisk) {
    tell_space(target, random_.chance_ppm(500'000) ? store::disk::Space::kLow : store::disk::Space::kFull);
    lasting(draw_length(), [this, target] { tell_space(target, store::disk::Space::kPlenty); });
    return true;
  }
  Disk::Temper& temper = machine(target).disk().temper();
  switch (kind) {
    case FaultKind::kSlowDisk: temper.sync = random_.between(5, 60) * kMillisecond; break;
    case FaultKind::kStuckDisk: temper.sync = random_.between(300, 3'000) * kMillisecond; break;
    case FaultKind::kFailingDisk: temper.failure_ppm = 100'000; break;
    default: return false;
  }
  lasting(draw_length(), [this, target] {
    machine(target).disk().temper().sync = world_->settings.disk.sync;
    machine(target).disk().temper().failure_ppm = 0;
  });
  return true;
}

bool Faults::inject_operator(FaultKind kind, int target) {
  Machine& m = machine(target);
  if (!m.up()) {
    return true;
  }
  switch (kind) {
    case FaultKind::kSwitchover: {
      const bool anyone = random_.chance_ppm(500'000);
      const RaftId successor = anyone ? 0 : machine(static_cast<int>(random_.below(machines_->size()))).id();
      m.run([&m, successor] { m.process()->switchover(agent::HolderId{successor}); });
      return true;
    }
    case FaultKind::kDrain:
      m.run([&m] { m.process()->drain(); });
      lasting(draw_length(), [&m] {
        m.run([&m] { m.process()->undrain(); });
      });
      return true;
    case FaultKind::kTransfer: m.run([&m] { m.process()->transfer_leadership(); }); return true;
    case FaultKind::kLeave:
      m.run([&m] { m.process()->leave(); });
      world_->scheduler.after(2'200 * kMillisecond, [this, &m, life = m.life(), round = round_] {
        if (life == m.life() && goes_on(round)) m.kill();
      });
      lasting(2'200 * kMillisecond + draw_length(), [&m] {
        m.kill();
        m.start();
      });
      return true;
    default: return false;
  }
}

}  // namespace sim
