#include "tests/sim/arming_desk.h"

#include <algorithm>
#include <utility>

#include "tests/sim/orders.h"
#include "tests/sim/process.h"

namespace sim {
namespace {

using agent::OrderStanding;
using store::kv::Order;
using store::kv::OrderRow;
using store::kv::OrderState;

constexpr Nanos kLookEvery = 500 * kMillisecond;

OrderStanding standing_of(OrderState state) {
  switch (state) {
    case OrderState::kReserved: return OrderStanding::kReserved;
    case OrderState::kDone: return OrderStanding::kDone;
    case OrderState::kNotSent: return OrderStanding::kNotSent;
    case OrderState::kUnknown: return OrderStanding::kUnknown;
  }
  return OrderStanding::kUnknown;
}

agent::OrderSeen seen_of(const Order& order) {
  return {order.name.zone, order.name.key, store::kv::value(order.reserved), store::kv::value(order.changed), standing_of(order.state), {},
          order.reserved_ms, store::kv::value(order.epoch), order.attempt};
}

}  // namespace

ArmingDesk::ArmingDesk(Machine* machine, Lines* lines, const agent::ArmingRules& rules, agent::Milliseconds quiet, std::uint64_t seed, std::function<void()> on_change)
    : machine_(machine),
      lines_(lines),
      quiet_(quiet),
      random_(seed, 0x61726d + machine->life() * 64 + static_cast<std::uint64_t>(machine->index())),
      on_change_(std::move(on_change)),
      core_(rules, random_.chance()) {}

void ArmingDesk::on_role() {
  const Process& process = *machine_->process();
  const agent::Epoch epoch = process.primary().role() == agent::Role::kPrimary ? process.primary().epoch() : agent::Epoch{};
  if (epoch != role_) {
    asked_.clear();
    undecided_.clear();
  }
  role_ = epoch;
  if (epoch != agent::Epoch{}) core_.on_primary(machine_->local_now(), epoch);
  else core_.on_standby(machine_->local_now());
  look();
}

void ArmingDesk::look() {
  const store::kv::StateMachine& state = machine_->process()->store().state();
  if (const store::kv::Lease* lease = state.lease(kService))
    core_.on_state(machine_->local_now(), agent::Epoch{store::kv::value(lease->epoch)}, state.orders().counts(kService).unknown);
  if (core_.epoch() != agent::Epoch{} && !std::exchange(looking_, true)) {
    machine_->later(kLookEvery, [this] {
      looking_ = false;
      look();
    });
  }
  run();
}

void ArmingDesk::run() {
  if (std::exchange(running_, true)) return;
  for (auto outputs = core_.take_output(); !outputs.empty(); outputs = core_.take_output()) {
    for (const agent::ArmingOutput& output : outputs) obey(output);
  }
  running_ = false;
  if (core_.next_deadline() == agent::TimePoint::max()) return;
  const Nanos due = std::max(machine_->clock().due(core_.next_deadline()), machine_->world().scheduler.now());
  if (wakes_at_ > machine_->world().scheduler.now() && wakes_at_ <= due) return;
  wakes_at_ = due + 1;
  machine_->later(due + 1 - machine_->world().scheduler.now(), [this] {
    core_.tick(machine_->local_now());
    run();
  });
}

void ArmingDesk::obey(const agent::ArmingOutput& output) {
  if (const auto* read = std::get_if<agent::ReadPage>(&output)) return read_page(*read);
  if (const auto* question = std::get_if<agent::AskHook>(&output)) return ask(*question);
  if (const auto* verdict = std::get_if<agent::WriteVerdict>(&output)) return write(*verdict);
  if (std::holds_alternative<agent::DropHook>(output)) calling_.reset();
  else if (std::holds_alternative<agent::ArmingChange>(output)) obey_change();
  else if (machine_->world().trace.printing()) {
    const auto& news = std::get<agent::ArmingNews>(output);
    machine_->world().trace.add(machine_->world().scheduler.now(), machine_->index(), news.what, 0, 0, news.detail);
  }
}

void ArmingDesk::obey_change() {
  if (core_.armed() && armed_ != core_.epoch()) {
    armed_ = core_.epoch();
    judge_armed();
    lines_->exchange().armed(static_cast<std::uint64_t>(armed_));
  }
  on_change_();
}

void ArmingDesk::judge_armed() {
  World& world = machine_->world();
  const std::string where = " when n" + std::to_string(machine_->index()) + " is armed under epoch " + std::to_string(static_cast<std::uint64_t>(armed_));
  const auto fail = [&](const std::string& what) { world.judge.fail(world.scheduler.now(), "I3, reconciled before it is armed", what + where); };
  if (!undecided_.empty()) fail(std::to_string(undecided_.size()) + " verdicts are not decided");
  if (!core_.rules().has_hook) return;
  for (const OrderRow& row : machine_->process()->store().state().orders().unknown(kService, store::kv::Index{}, 4'096)) {
    const bool older = store::kv::value(row->epoch) < static_cast<std::uint64_t>(armed_);
    if (older && !asked_.contains(row->name.key) && store::kv::value(row->node) != machine_->id()) fail(row->name.key + " is unknown, and nobody was asked,");
  }
}

void ArmingDesk::read_page(const agent::ReadPage& read) {
  const store::kv::OrderLedger& ledger = machine_->process()->store().state().orders();
  std::vector<agent::OrderSeen> page;
  agent::HeldBack held;
  if (read.kind == agent::ReadPage::Kind::kRecent) {
    for (const OrderRow& row : ledger.recent(kService, store::kv::Index{read.bound}, read.limit)) {
      if (row->reserved_ms + 2'000 < machine_->wall_ms()) break;
      page.push_back(seen_of(*row));
    }
  } else {
    if (read.bound == 0) {
      if (walked_all_) noticed_before_.clear();
      noticed_before_.merge(std::exchange(noticed_, {}));
    }
    const std::vector<OrderRow> rows = ledger.unknown(kService, store::kv::Index{read.bound}, read.limit);
    walked_all_ = rows.size() < read.limit;
    for (const OrderRow& row : rows) {
      if (is_quiet(*row)) {
        page.push_back(seen_of(*row));
      } else {
        ++held.orders;
        held.last = store::kv::value(row->reserved);
      }
    }
  }
  core_.on_page(machine_->local_now(), read.number, std::move(page), held);
}

bool ArmingDesk::is_quiet(const Order& order) {
  const store::kv::Lease* lease = machine_->process()->store().state().lease(kService);
  if (lease != nullptr && lease->holder != order.node) return true;
  const auto known = noticed_before_.find(order.changed);
  const store::TimePoint since = known == noticed_before_.end() ? machine_->local_now() : known->second;
  noticed_.emplace(order.changed, since);
  return machine_->local_now() - since >= quiet_;
}

void ArmingDesk::ask(const agent::AskHook& question) {
  calling_ = question.number;
  World& world = machine_->world();
  if (random_.chance_ppm(50'000)) return;  // it never answers
  const Nanos slow = random_.chance_ppm(300'000) ? random_.between(0, 1'100) * kMillisecond : 0;
  world.scheduler.after(lines_->way(), [this, machine = machine_, life = machine_->life(), question, slow] {
    if (life != machine->life()) return;
    machine_->later(slow + lines_->way(), [this, number = question.number, orders = question.orders, answer = hook_answer(question)] {
      if (calling_ != number) return;
      calling_.reset();
      for (const agent::OrderSeen& order : orders) {
        if (answer.ok) asked_.insert(order.key);
      }
      core_.on_hook(machine_->local_now(), number, answer);
      look();
    });
  });
}

// At the moment at which the exchange looks.
agent::HookAnswer ArmingDesk::hook_answer(const agent::AskHook& question) {
  agent::HookAnswer answer;
  if (random_.chance_ppm(60'000)) {
    answer.detail = "simulated";
    return answer;
  }
  answer.ok = true;
  for (const agent::OrderSeen& order : question.orders) {
    if (random_.chance_ppm(30'000)) continue;  // it says nothing about this one
    agent::OrderFinding finding{order.zone, order.key, OrderStanding::kNotSent, 0, {}};
    if (const Exchange::Arrival* arrival = lines_->exchange().find(order.key)) {
      finding.standing = OrderStanding::kDone;
      finding.status = 201;
      finding.body = arrival->answer;
    }
    answer.findings.push_back(std::move(finding));
  }
  return answer;
}

void ArmingDesk::write(const agent::WriteVerdict& verdict) {
  store::kv::OrderResolve command;
  command.name = {kService, verdict.finding.zone, verdict.finding.key};
  command.seen = store::kv::Index{verdict.seen};
  command.source = store::kv::OrderSource::kHook;
  command.time_ms = machine_->wall_ms();
  command.state = verdict.finding.standing == OrderStanding::kDone ? OrderState::kDone : OrderState::kNotSent;
  if (command.state == OrderState::kDone) command.answer = exchange_answer(verdict.finding.body);
  undecided_.insert(verdict.number);
  machine_->process()->write(command, agent::Milliseconds(2'000), [this, machine = machine_, command, number = verdict.number](const store::Reply* reply) {
    if (reply == nullptr) return;
    const auto* written = reply->result ? std::get_if<store::Written>(&*reply->result) : nullptr;
    agent::VerdictEnd end = agent::VerdictEnd::kNoAnswer;
    if (written != nullptr) {
      const bool ours = written->outcome == store::kv::Outcome::kDone || written->outcome == store::kv::Outcome::kUnchanged;
      if (ours) end = agent::VerdictEnd::kRecorded;
      else if (written->outcome != store::kv::Outcome::kForgotten) end = agent::VerdictEnd::kOvertaken;
    }
    machine->world().trace.add(machine->world().scheduler.now(), machine->index(), "verdict", static_cast<std::uint64_t>(command.state), static_cast<std::uint64_t>(end), command.name.key);
    if (end != agent::VerdictEnd::kNoAnswer) undecided_.erase(number);
    core_.on_verdict(machine_->local_now(), number, end);
    look();
    // It comes a second time, late, as a command of its own: it must not be taken for news.
    if (random_.chance_ppm(500'000)) {
      machine_->later(random_.between(0, 3'000) * kMillisecond, [machine, command] {
        machine->process()->write(command, agent::Milliseconds(1'500), [](const store::Reply*) {});
      });
    }
  });
}

}  // namespace sim
