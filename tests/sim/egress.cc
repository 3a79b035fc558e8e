#include "tests/sim/egress.h"

#include <algorithm>
#include <utility>

namespace sim {
namespace {

using proxy::EgressVerdict;
using proxy::PrimaryView;

bool same_holder(const PrimaryView& a, const PrimaryView& b) { return a.holder == b.holder && a.epoch == b.epoch && a.lease == b.lease; }

}  // namespace

// --- Egress. ---

// The process has ended: its kernel has reset the lines already.
Egress::~Egress() = default;

EgressVerdict Egress::permit(proxy::Epoch connection, std::uint64_t decided) const {
  const proxy::EgressAct act{"exchange", connection, proxy::Epoch{decided}, proxy::EgressDeed::kAct};
  return proxy::egress_permit(view_, act, machine_->local_now());
}

// What comes from the network waits while the process is stopped, and is nobody's once it has ended.
void Egress::with(LineId line, std::function<void(Connection&)> what) {
  machine_->run([this, machine = machine_, life = machine_->life(), line, moved = std::move(what)] {
    if (life != machine->life()) return;
    const auto found = std::find_if(connections_.begin(), connections_.end(), [line](const Connection& one) { return one.line == line; });
    if (found != connections_.end()) moved(*found);
  });
}

void Egress::see(const PrimaryView& view) {
  const bool other = !same_holder(view, view_);
  view_ = view;
  if (other || !view.armed) cut();
  if (other) watch_lease();
}

bool Egress::is_halted(const std::string& key) const {
  return halted_ != nullptr && halted_->stops_broker(kBroker, account_of(key), false) != nullptr;
}

// Exchange::end_if_cut: where not even cancels may pass, what is under way ends as well.
void Egress::see(const Halts::View& halts) {
  halted_ = halts;
  if (halts == nullptr || !halts->cuts_broker(kBroker)) return;
  std::vector<LineId> under_way;
  for (const Connection& one : connections_) {
    if (one.request && is_halted(one.request->parcel.key)) under_way.push_back(one.line);
  }
  for (const LineId line : under_way) {
    lines_->reset(line);
    broken(line);
  }
}

// Core::next_deadline: when the lease is over the wires are cut, without waiting for a write.
void Egress::watch_lease() {
  if (view_.holder != PrimaryView::Holder::kLocal || view_.lease == nullptr) return;
  const auto lease = view_.lease;
  if (!lease->valid_at(machine_->local_now())) return cut();
  const Nanos due = machine_->clock().due(lease->valid_until()) - machine_->world().scheduler.now();
  machine_->later(std::max<Nanos>(due, 0) + random_.between(0, 400) * kMicrosecond, [this, lease] {
    if (view_.lease == lease) watch_lease();
  });
}

void Egress::take(const std::string& key, std::uint64_t decided, Done done) {
  Request request{{key, decided, 0}, std::move(done), false, 1 + static_cast<int>(random_.below(2)), ++requests_};
  if (is_halted(key) || permit(proxy::Epoch{}, decided) != EgressVerdict::kOpen) return request.done(EgressEnd::kRefused, {});
  machine_->later(kTotal, [this, number = requests_] { late(number); });
  const auto idle = std::find_if(connections_.begin(), connections_.end(), [this](const Connection& one) { return !one.request && one.epoch == view_.epoch; });
  if (idle == connections_.end()) return open(std::move(request));
  request.parcel.epoch = static_cast<std::uint64_t>(view_.epoch);
  idle->request = std::move(request);
  write(*idle);
}

void Egress::open(Request request) {
  Lines::Events events;
  const auto alive = [machine = machine_, life = machine_->life()] { return life == machine->life(); };
  events.connected = [this, alive](LineId line) {
    if (alive()) with(line, [this](Connection& at) { connected(at); });
  };
  events.replied = [this, alive](LineId line, const std::string& answer) {
    if (alive()) with(line, [this, answer](Connection& at) { replied(at, answer); });
  };
  events.reset = [this, alive](LineId line) {
    if (alive()) with(line, [this, line](Connection&) { broken(line); });
  };
  connections_.push_back({lines_->connect(machine_->index(), std::move(events)), {}, std::move(request)});
}

void Egress::connected(Connection& at) {
  at.epoch = view_.epoch;
  at.request->parcel.epoch = static_cast<std::uint64_t>(view_.epoch);
  write(at);
}

// In one call with the check. What the kernel does not take at once is written when it has room again, after another check.
void Egress::write(Connection& at) {
  if (permit(at.epoch, at.request->parcel.decided) != EgressVerdict::kOpen) return cut();
  Request& request = *at.request;
  if (!request.began) {
    if (is_halted(request.parcel.key)) {
      lines_->reset(at.line);
      return broken(at.line);
    }
    halts_->leaves(machine_->index(), request.parcel.key, true);
  }
  request.began = true;
  const bool last = --request.pieces == 0;
  lines_->write(at.line, request.parcel, last);
  if (last) return;
  machine_->later(random_.chance_ppm(300'000) ? random_.between(0, 300) * kMillisecond : 0, [this, line = at.line] {
    with(line, [this](Connection& again) {
      if (again.request && again.request->pieces > 0) write(again);
    });
  });
}

void Egress::replied(Connection& at, const std::string& answer) {
  if (!at.request) return;
  const Request request = std::move(*at.request);
  at.request.reset();
  request.done(EgressEnd::kAnswered, answer);
}

void Egress::broken(LineId line) {
  const auto at = std::find_if(connections_.begin(), connections_.end(), [line](const Connection& one) { return one.line == line; });
  const std::optional<Request> request = std::move(at->request);
  connections_.erase(at);
  if (request) request->done(request->began ? EgressEnd::kBroken : EgressEnd::kRefused, {});
}

void Egress::late(std::uint64_t number) {
  const auto at = std::find_if(connections_.begin(), connections_.end(), [number](const Connection& one) { return one.request && one.request->number == number; });
  if (at == connections_.end()) return;
  lines_->reset(at->line);
  broken(at->line);
}

// First every wire is cut, then those who waited hear of it (proxy::Core::cut_egress). Safe requests are none of ours, so an egress
// that may not act lets nothing go on.
void Egress::cut() {
  Connections all;
  const bool open = view_.holder == PrimaryView::Holder::kLocal && view_.armed && view_.lease != nullptr && view_.lease->valid_at(machine_->local_now());
  for (auto at = connections_.begin(); at != connections_.end();) {
    const auto next = std::next(at);
    const bool stays = open && (at->epoch == proxy::Epoch{} || at->epoch == view_.epoch) &&
                       (!at->request || permit(at->epoch, at->request->parcel.decided) == EgressVerdict::kOpen);
    if (!stays) {
      lines_->reset(at->line);
      all.splice(all.end(), connections_, at);
    }
    at = next;
  }
  for (Connection& one : all) {
    if (one.request) one.request->done(one.request->began ? EgressEnd::kBroken : EgressEnd::kRefused, {});
  }
}

// --- KernelDoor. ---

KernelDoor::KernelDoor(Machine* machine, Lines* lines, std::uint64_t seed)
    : machine_(machine),
      lines_(lines),
      random_(seed, 0x646f6f72 + machine->life() * 64 + static_cast<std::uint64_t>(machine->index())),
      core_(machine->local_now(), machine->world().settings.primary.lease) {}

void KernelDoor::follow(const PrimaryView& view) {
  view_ = view;
  look();
}

void KernelDoor::shut(std::function<void()> done) {
  on_shut_ = std::move(done);
  look();
}

std::optional<agent::HeldLease> KernelDoor::held() const {
  const bool holds = view_.holder == PrimaryView::Holder::kLocal && view_.lease != nullptr && view_.lease->valid_at(machine_->local_now());
  if (!holds) return std::nullopt;
  return agent::HeldLease{agent::Epoch{static_cast<std::uint64_t>(view_.epoch)}, view_.lease->valid_until()};
}

void KernelDoor::look() {
  const auto now = machine_->local_now();
  const auto lease = held();
  if (lease) on_shut_ = nullptr;
  if (running_ != 0 && !program_->killed && core_.wants_stop(lease)) {
    // Killed and waited for; it may have committed before.
    program_->killed = true;
    machine_->later(random_.between(0, 2) * kMillisecond, [this, number = running_] {
      if (running_ == number) ended(false, true);
    });
  }
  if (const auto next = core_.next(now, lease)) run(*next);
  auto at = core_.next_deadline(now, lease);
  if (!lease && view_.holder == PrimaryView::Holder::kLocal) at = std::min(at, now + std::chrono::milliseconds(100));
  if (at != agent::TimePoint::max()) {
    const Nanos wait = std::max<Nanos>(machine_->clock().due(at) - machine_->world().scheduler.now(), 0) + kMillisecond;
    machine_->later(wait, [this, number = ++looks_] {
      if (number == looks_) look();
    });
  }
  if (on_shut_ && core_.is_shut(now)) std::exchange(on_shut_, nullptr)();
}

// The program is a process of its own: a stopped agent does not stop it, and a killed one leaves it behind.
void KernelDoor::run(const agent::PermitRun& run) {
  running_ = ++runs_;
  program_ = std::make_shared<Program>();
  const Nanos length = random_.chance_ppm(50'000) ? random_.between(50, 400) * kMillisecond : random_.between(3, 25) * kMillisecond;
  const bool commits = !random_.chance_ppm(60'000), says_so = !random_.chance_ppm(40'000);
  machine_->world().scheduler.after(length / 2, [machine = machine_, lines = lines_, boots = machine_->boots(), program = program_, commits, run] {
    if (!commits || program->killed || boots != machine->boots()) return;
    program->committed = true;
    if (run.kind == agent::PermitRun::Kind::kRenew) lines->permit(machine->index(), static_cast<std::uint64_t>(run.epoch), run.until);
    else lines->revoke(machine->index());
  });
  machine_->later(length, [this, number = running_, program = program_, says_so] {
    if (running_ == number) ended(says_so && program->committed, program->killed);
  });
}

void KernelDoor::ended(bool ok, bool stopped) {
  running_ = 0;
  core_.ended(machine_->local_now(), ok, stopped && !ok);
  look();
}

}  // namespace sim
