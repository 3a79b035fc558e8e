#include "tests/sim/exchange.h"

#include <algorithm>
#include <utility>

namespace sim {

std::string Exchange::arrive(const Parcel& parcel, int machine) {
  Arrival& arrival = arrivals_[parcel.key];
  const std::string where = parcel.key + " from n" + std::to_string(machine) + " under epoch " + std::to_string(parcel.epoch);
  if (++arrival.count == 1) {
    arrival.parcel = parcel;
    arrival.machine = machine;
    arrival.answer = "{\"id\":\"" + parcel.key + "\",\"n\":" + std::to_string(arrivals_.size()) + "}";
  } else {
    return where + " arrived again: the first was from n" + std::to_string(arrival.machine) + " under epoch " + std::to_string(arrival.parcel.epoch);
  }
  if (refused_.contains(parcel.key)) return where + " arrived, and its client was told that it would not";
  if (parcel.epoch < armed_) return where + " arrived after epoch " + std::to_string(armed_) + " was armed";
  if (parcel.epoch > armed_) return where + " arrived before that epoch was armed";
  if (parcel.decided < armed_) return where + ", decided under epoch " + std::to_string(parcel.decided) + ", arrived after epoch " + std::to_string(armed_) + " was armed";
  return {};
}

const Exchange::Arrival* Exchange::find(const std::string& key) const {
  const auto it = arrivals_.find(key);
  return it == arrivals_.end() ? nullptr : &it->second;
}

LineId Lines::connect(int machine, Events events) {
  const LineId id{next_++};
  Line& line = lines_[id];
  line.machine = machine;
  line.events = std::move(events);
  const Nanos slow = random_.chance_ppm(settings_.slow_ppm) ? random_.between(0, 900) * kMillisecond : 0;
  const bool refused = random_.chance_ppm(settings_.refused_ppm);
  const std::uint64_t mark = kernels_[static_cast<std::size_t>(machine)].mark;
  world_->scheduler.after(2 * way() + slow, [this, id, refused, machine, mark] {
    const auto it = lines_.find(id);
    if (it == lines_.end()) return;
    if (refused || !lets_out(machine, mark)) return cut(id);
    it->second.mark = mark;
    it->second.up = true;
    if (const auto connected = it->second.events.connected) connected(id);
  });
  return id;
}

void Lines::write(LineId id, const Parcel& parcel, bool last) {
  const auto it = lines_.find(id);
  if (it == lines_.end() || !it->second.up) return;
  Line& line = it->second;
  if (line.carried != 0 && line.carried != parcel.epoch)
    world_->judge.fail(world_->scheduler.now(), "E1, one epoch on a connection", parcel.key + " of epoch " + std::to_string(parcel.epoch) +
                                                                                    " on a connection of epoch " + std::to_string(line.carried));
  line.carried = parcel.epoch;
  line.waiting.push_back({parcel, last});
  Kernel& kernel = kernels_[static_cast<std::size_t>(line.machine)];
  const Nanos now = world_->scheduler.now();
  if (now >= kernel.stalled_until && random_.chance_ppm(settings_.stall_ppm) && (settings_.kernel_permit || !(*machines_)[static_cast<std::size_t>(line.machine)]->stopped())) kernel.stalled_until = now + random_.between(0, settings_.stall_max);
  flush(id);
}

bool Lines::lets_out(int machine, std::uint64_t mark) const {
  if (!settings_.kernel_permit) return true;
  const Kernel& kernel = kernels_[static_cast<std::size_t>(machine)];
  if (kernel.until == store::TimePoint::min() || kernel.mark != mark) return false;
  return (*machines_)[static_cast<std::size_t>(machine)]->local_now() < kernel.until + std::chrono::nanoseconds(kDoorLag);
}

Nanos Lines::blocked_until(int machine) {
  Kernel& kernel = kernels_[static_cast<std::size_t>(machine)];
  const Machine& at = *(*machines_)[static_cast<std::size_t>(machine)];
  const Nanos now = world_->scheduler.now();
  if (!settings_.kernel_permit && now < kernel.stalled_until && at.stopped() && kernel.stop != at.stops()) {
    kernel.stop = at.stops();
    kernel.stalled_until = std::min(kernel.stalled_until, now + kHungStall);
  }
  return kernel.stalled_until;
}

void Lines::flush(LineId id) {
  const auto it = lines_.find(id);
  if (it == lines_.end()) return;
  Line& line = it->second;
  const Nanos now = world_->scheduler.now(), free = blocked_until(line.machine);
  if (now < free) {
    if (std::exchange(line.flushing, true)) return;
    world_->scheduler.at(std::min(free, now + kLook), [this, id] {
      const auto again = lines_.find(id);
      if (again == lines_.end()) return;
      again->second.flushing = false;
      flush(id);
    });
    return;
  }
  for (; !line.waiting.empty(); line.waiting.pop_front()) {
    if (!lets_out(line.machine, line.mark)) return cut(id);
    leave(id, line, line.waiting.front());
  }
}

void Lines::leave(LineId id, Line& line, const Segment& segment) {
  line.last_arrival = std::max(world_->scheduler.now() + way(), line.last_arrival);
  world_->scheduler.at(line.last_arrival, [this, id, machine = line.machine, segment] { arrived(id, machine, segment); });
}

void Lines::arrived(LineId id, int machine, const Segment& segment) {
  if (!segment.last) return;
  world_->trace.add(world_->scheduler.now(), machine, "arrives", segment.parcel.epoch, 0, segment.parcel.key);
  if (const std::string wrong = exchange_.arrive(segment.parcel, machine); !wrong.empty())
    return world_->judge.fail(world_->scheduler.now(), "I3, sent once, under one epoch", wrong);
  const bool lost = random_.chance_ppm(settings_.lost_reply_ppm);
  const Nanos thinking = random_.chance_ppm(200'000) ? random_.between(0, 350) * kMillisecond : 0;
  const std::string answer = exchange_.find(segment.parcel.key)->answer;
  world_->scheduler.after(thinking + way(), [this, id, lost, answer] {
    const auto it = lines_.find(id);
    if (lost || it == lines_.end()) return;
    if (const auto replied = it->second.events.replied) replied(id, answer);
  });
}

void Lines::cut(LineId id) {
  const auto it = lines_.find(id);
  if (it == lines_.end()) return;
  const Events events = std::move(it->second.events);
  lines_.erase(it);
  if (events.reset) events.reset(id);
}

void Lines::end_all(int machine, bool powerless) {
  std::erase_if(lines_, [machine](const auto& one) { return one.second.machine == machine; });
  if (powerless) kernels_[static_cast<std::size_t>(machine)] = Kernel{};
}

void Lines::permit(int machine, std::uint64_t epoch, store::TimePoint until) {
  Kernel& kernel = kernels_[static_cast<std::size_t>(machine)];
  if (epoch < kernel.mark) return;  // of a program that is too late
  kernel.mark = epoch;
  kernel.until = (*machines_)[static_cast<std::size_t>(machine)]->local_now() < until ? until : store::TimePoint::min();
}

}  // namespace sim
