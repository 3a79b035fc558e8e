#include "tests/sim/orders.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "tests/sim/process.h"

namespace sim {
namespace {

using std::chrono::milliseconds;
using store::kv::AnswerKept;
using store::kv::OrderAnswer;
using store::kv::OrderName;
using store::kv::OrderOutcome;
using store::kv::OrderReserve;
using store::kv::OrderResolve;
using store::kv::OrderRow;
using store::kv::OrderSource;
using store::kv::OrderState;

constexpr milliseconds kServerPatience{1'500};
constexpr std::uint64_t kBriefMs = 8'000, kLongMs = 86'400'000;
constexpr auto kSlack = static_cast<std::uint64_t>(store::kOrderClockSlack.count());

OrderName name_of(const std::string& key) { return {kService, "orders", key}; }

store::kv::Fingerprint print_of(const std::string& key) {
  store::kv::Fingerprint print{};
  for (std::size_t i = 0; i < key.size(); ++i) print[i % print.size()] ^= static_cast<std::uint8_t>(key[i] + 1);
  return print;
}

OrderAnswer answer_of(const Exchange::Arrival& arrival) { return {AnswerKept::kWhole, 201, "x-order: 1\r\n", arrival.answer}; }

std::uint64_t epoch_of(const Process& process) { return static_cast<std::uint64_t>(process.gate_epoch()); }

const store::Written* written(const store::Reply* reply) {
  return reply != nullptr && reply->result ? std::get_if<store::Written>(&*reply->result) : nullptr;
}

}  // namespace

// --- the exchange -------------------------------------------------------------------------------------------------

std::string Exchange::arrive(const std::string& key, std::uint64_t epoch) {
  Arrival& arrival = arrivals_[key];
  if (++arrival.count > 1)
    return key + " under epoch " + std::to_string(epoch) + ", and before under epoch " + std::to_string(arrival.epoch);
  arrival.epoch = epoch;
  arrival.answer = "filled " + key + " under " + std::to_string(epoch) + std::string("\0\xff", 2);
  if (epoch < reconciled_) return key + " under epoch " + std::to_string(epoch) + " after one of " + std::to_string(reconciled_);
  return {};
}

const Exchange::Arrival* Exchange::find(const std::string& key) const {
  const auto found = arrivals_.find(key);
  return found == arrivals_.end() ? nullptr : &found->second;
}

// --- clients ------------------------------------------------------------------------------------------------------

Orders::Orders(World* world, std::vector<std::unique_ptr<Machine>>* machines, OrderSettings settings, std::uint64_t seed)
    : world_(world), machines_(machines), settings_(settings), random_(seed, 0x6f7264657273) {}

void Orders::start() {
  if (settings_.clients == 0) return;
  clients_.resize(static_cast<std::size_t>(settings_.clients));
  for (int client = 0; client < settings_.clients; ++client)
    world_->scheduler.after(random_.exponential(settings_.think), [this, client] { next(client); });
  for (std::size_t number = 0; number < machines_->size(); ++number)
    world_->scheduler.after(random_.between(0, kPatrol), [this, number] { patrol(number); });
}

void Orders::fail(const std::string& rule, const std::string& what) {
  world_->judge.fail(world_->scheduler.now(), "I3, " + rule, what);
}

// A key that was not acknowledged is tried again; one that was may be asked for again by anybody; else a new one.
bool Orders::draw_intent(Client& client) {
  Intent& intent = client.intent;
  const Nanos now = world_->scheduler.now();
  if (!intent.key.empty() && intent.tries < settings_.tries && now < intent.last_try()) return true;
  if (!again_.empty() && random_.chance_ppm(200'000)) {
    intent = {again_[random_.below(again_.size())], now, kLongMs, settings_.tries};
    return true;
  }
  if (keys_ >= settings_.keys_max) return false;
  intent = {"o" + std::to_string(keys_++), now, random_.chance_ppm(200'000) ? kBriefMs : kLongMs, 0};
  return true;
}

void Orders::next(int number) {
  if (stopped_) return;
  Client& client = clients_[static_cast<std::size_t>(number)];
  if (!draw_intent(client)) return;
  ++client.intent.tries;
  auto call = std::make_shared<Call>();
  call->client = number;
  call->intent = client.intent;
  ++open_calls_;
  Machine& machine = *(*machines_)[static_cast<std::size_t>(random_.below(machines_->size()))];
  world_->scheduler.after(random_.exponential(200 * kMicrosecond), [this, &machine, call] {
    if (!machine.up()) return finish(call, nullptr);
    machine.run([this, &machine, call] { serve(machine, call); });
  });
  world_->scheduler.after(kPatience, [this, call] { finish(call, nullptr); });
}

void Orders::finish(const CallPtr& call, const OrderRow& answered) {
  if (!call->open) return;
  call->open = false;
  --open_calls_;
  world_->trace.add(world_->scheduler.now(), -1, "order", answered ? 1 : 0, store::kv::value(answered ? answered->changed : store::kv::Index{}));
  if (answered != nullptr) {
    acknowledge(answered);
    Client& client = clients_[static_cast<std::size_t>(call->client)];
    if (client.intent.key == call->intent.key) client.intent = {};
  }
  const int number = call->client;
  world_->scheduler.after(random_.exponential(settings_.think), [this, number] { next(number); });
}

void Orders::acknowledge(const OrderRow& order) {
  const std::string& key = order->name.key;
  const Exchange::Arrival* arrival = exchange_.find(key);
  if (arrival == nullptr || order->answer != answer_of(*arrival))
    return fail("answers stay", key + " was answered with what the exchange never said");
  if (told_.emplace(key, order).second && order->retention_ms == kLongMs) again_.push_back(key);
}

// --- the desk -----------------------------------------------------------------------------------------------------

Orders::Desk& Orders::desk(Machine& machine) {
  Desk& at = desks_[machine.index()];
  if (at.life != machine.life()) {
    at = Desk{};
    at.life = machine.life();
  }
  return at;
}

void Orders::later(Machine& machine, Nanos delay, std::function<void()> task) {
  world_->scheduler.after(delay, [&machine, life = machine.life(), moved = std::move(task)] {
    if (life != machine.life()) return;
    machine.run([&machine, life, moved] {
      if (life == machine.life()) moved();
    });
  });
}

void Orders::serve(Machine& machine, const CallPtr& call) {
  Process& process = *machine.process();
  if (!process.has_store() || world_->scheduler.now() > call->intent.last_try()) return finish(call, nullptr);
  Desk& at = desk(machine);
  const bool holds = process.primary().serving() && process.passes_orders(machine.local_now());
  if (!holds || at.armed != epoch_of(process)) return look(machine, call);
  if (at.sending.contains(call->intent.key)) return finish(call, nullptr);  // in flight here
  reserve(machine, call);
}

// Whoever does not hold the lease knows answers, too.
void Orders::look(Machine& machine, const CallPtr& call) {
  machine.process()->read(store::Consistency::kDefault, kServerPatience, [this, &machine, call](const store::Reply* reply) {
    if (reply == nullptr || !reply->result) return finish(call, nullptr);
    const OrderRow order = machine.process()->store().state().orders().find(name_of(call->intent.key));
    finish(call, order != nullptr && order->state == OrderState::kDone ? order : nullptr);
  });
}

void Orders::reserve(Machine& machine, const CallPtr& call) {
  desk(machine).sending.insert(call->intent.key);
  const OrderReserve wish{name_of(call->intent.key), print_of(call->intent.key), store::kv::Epoch{epoch_of(*machine.process())},
                          store::kv::NodeId{machine.id()}, machine.wall_ms(), call->intent.retention_ms};
  machine.process()->write(wish, kServerPatience, [this, &machine, call](const store::Reply* reply) {
    // It is sent a moment later, or when a connection was made; by then the process may be stopped, or deposed, or gone.
    auto kept = reply != nullptr ? std::make_shared<store::Reply>(*reply) : nullptr;
    if (kept == nullptr) return finish(call, nullptr);
    const Nanos connecting = random_.chance_ppm(settings_.slow_ppm) ? random_.between(0, 900) * kMillisecond : 0;
    later(machine, connecting + random_.exponential(300 * kMicrosecond), [this, &machine, call, kept] { reserved(machine, call, kept.get()); });
  });
}

void Orders::reserved(Machine& machine, const CallPtr& call, const store::Reply* reply) {
  const store::Written* answer = written(reply);
  if (answer != nullptr && store::kv::may_send(answer->outcome, answer->index, answer->order))
    return send(machine, call, answer->order);
  desk(machine).sending.erase(call->intent.key);
  if (answer == nullptr) return finish(call, nullptr);
  if (answer->outcome == store::kv::Outcome::kConditionFailed) fail("answers stay", call->intent.key + " is told to be another request");
  const bool done = answer->outcome == store::kv::Outcome::kExists && answer->order->state == OrderState::kDone;
  finish(call, done ? answer->order : nullptr);
}

void Orders::send(Machine& machine, const CallPtr& call, const OrderRow& order) {
  const Process& process = *machine.process();
  const std::string key = order->name.key;
  OrderOutcome word{order->name, order->reserved, OrderState::kNotSent, {}, machine.wall_ms()};
  const std::uint64_t epoch = store::kv::value(order->epoch);
  const bool holds = process.passes_orders(machine.local_now()) && epoch_of(process) == epoch;
  if (!holds || random_.chance_ppm(settings_.refused_ppm)) return record(machine, call, word);
  auto replied = std::make_shared<bool>(false);
  const bool lost = random_.chance_ppm(settings_.lost_reply_ppm);
  world_->scheduler.after(way(), [this, &machine, life = machine.life(), call, word, key, epoch, lost, replied]() mutable {
    if (const std::string wrong = exchange_.arrive(key, epoch); !wrong.empty()) return fail("sent once, under one epoch", wrong);
    if (lost || life != machine.life()) return;
    word.state = OrderState::kDone;
    word.answer = answer_of(*exchange_.find(key));
    const Nanos thinking = random_.chance_ppm(200'000) ? random_.between(0, 350) * kMillisecond : 0;
    later(machine, thinking + way(), [this, &machine, call, word, replied] {
      if (std::exchange(*replied, true)) return;
      record(machine, call, word);
    });
  });
  later(machine, kReplyWithin, [this, &machine, call, word, replied]() mutable {
    if (std::exchange(*replied, true)) return;
    word.state = OrderState::kUnknown;
    record(machine, call, word);
  });
}

// Said again until it is decided: nobody else knows it.
void Orders::record(Machine& machine, const CallPtr& call, const OrderOutcome& word) {
  const milliseconds patience{random_.between(100, kServerPatience.count())};
  machine.process()->write(word, patience, [this, &machine, call, word](const store::Reply* reply) {
    if (reply == nullptr) return finish(call, nullptr);
    const store::Written* answer = written(reply);
    if (answer == nullptr) {
      later(machine, random_.between(20, 300) * kMillisecond, [this, &machine, call, word] { record(machine, call, word); });
      return;
    }
    desk(machine).sending.erase(word.name.key);
    world_->trace.add(world_->scheduler.now(), machine.index(), "word", static_cast<std::uint64_t>(word.state),
                      static_cast<std::uint64_t>(answer->outcome), word.name.key);
    echo(machine, word);
    if (answer->order == nullptr && call->intent.retention_ms == kLongMs) fail("rows stay", word.name.key + " is gone before its outcome");
    finish(call, answer->order != nullptr && answer->order->state == OrderState::kDone ? answer->order : nullptr);
  });
}

// What was decided comes a second time, late, as a command of its own: it must not be taken for news.
void Orders::echo(Machine& machine, const store::kv::CommandBody& said) {
  if (!random_.chance_ppm(500'000)) return;
  later(machine, random_.between(0, 3'000) * kMillisecond, [&machine, said] {
    machine.process()->write(said, kServerPatience, [](const store::Reply*) {});
  });
}

// --- the holder's hook --------------------------------------------------------------------------------------------

void Orders::patrol(std::size_t number) {
  Machine& machine = *(*machines_)[number];
  machine.run([this, &machine] {
    Process& process = *machine.process();
    if (!process.has_store()) return;
    if (++patrols_ % 4 == 0) process.on_wall_clock(machine.wall_ms() + kSlack);  // clocks are right here: no slack is needed
    check_rows(machine);
    if (!process.primary().serving() || !process.passes_orders(machine.local_now())) return;
    Desk& at = desk(machine);
    const Nanos now = world_->scheduler.now();
    if (at.epoch != epoch_of(process)) at.epoch = epoch_of(process), at.since = now;
    if (now < at.since + kFenceWait) return;
    reconcile(machine, at);
    give_up_orphans(machine, at);
  });
  world_->scheduler.after(kPatrol, [this, number] { patrol(number); });
}

void Orders::reconcile(Machine& machine, Desk& at) {
  const store::kv::StateMachine& state = machine.process()->store().state();
  // Its own grant must be applied here, or the orders that it made unknown are not seen yet.
  if (store::kv::value(state.epoch(kService)) != at.epoch) return;
  const std::vector<OrderRow> open = state.orders().unknown(kService, store::kv::Index{}, 64);
  if (open.empty() && at.armed != at.epoch) {
    at.armed = at.epoch;
    exchange_.reconciled(at.epoch);
  }
  for (const OrderRow& order : open) {
    if (at.asking.insert(order->name.key).second) ask(machine, order);
  }
}

void Orders::ask(Machine& machine, const OrderRow& order) {
  world_->scheduler.after(way(), [this, &machine, order, life = machine.life()] {
    const Exchange::Arrival* arrival = exchange_.find(order->name.key);
    OrderResolve verdict{order->name, order->changed, OrderState::kNotSent, OrderSource::kHook, {}, machine.wall_ms()};
    if (arrival != nullptr) {
      verdict.state = OrderState::kDone;
      verdict.answer = answer_of(*arrival);
    }
    if (life != machine.life()) return;
    // Now and then a hook takes its time: by then the row may be another one.
    const Nanos slow = random_.chance_ppm(500'000) ? random_.between(0, 1'500) * kMillisecond : 0;
    later(machine, slow + way(), [this, &machine, verdict] {
      machine.process()->write(verdict, kServerPatience, [this, &machine, verdict](const store::Reply* reply) {
        if (reply == nullptr) return;
        desk(machine).asking.erase(verdict.name.key);
        const store::Written* answer = written(reply);
        world_->trace.add(world_->scheduler.now(), machine.index(), "verdict", static_cast<std::uint64_t>(verdict.state),
                          answer != nullptr ? static_cast<std::uint64_t>(answer->outcome) : 99, verdict.name.key);
        echo(machine, verdict);
      });
    });
  });
}

// Reservations of this life whose answer never came: nobody sends them.
void Orders::give_up_orphans(Machine& machine, Desk& at) {
  const store::kv::OrderLedger& orders = machine.process()->store().state().orders();
  for (const OrderRow& order : orders.reserved(kService, store::kv::Index{}, 64)) {
    if (store::kv::value(order->epoch) != at.epoch || at.sending.contains(order->name.key)) continue;
    at.sending.insert(order->name.key);
    auto nobody = std::make_shared<Call>();
    nobody->open = false;
    record(machine, nobody, {order->name, order->reserved, OrderState::kNotSent, {}, machine.wall_ms()});
  }
}

// --- judging ------------------------------------------------------------------------------------------------------

void Orders::check_rows(const Machine& machine) {
  const store::kv::StateMachine& state = machine.process()->store().state();
  const std::string where = " at n" + std::to_string(machine.index());
  const store::kv::Epoch epoch = state.epoch(kService);
  for (const OrderRow& order : state.orders().reserved(kService, store::kv::Index{}, 4)) {
    if (order->epoch != epoch)
      fail("one epoch", order->name.key + " is reserved under epoch " + std::to_string(store::kv::value(order->epoch)) + where);
  }
  if (patrols_ % 16 != static_cast<std::uint64_t>(machine.index()) && !stopped_) return;
  for (const auto& [key, told] : told_) {
    if (state.applied() < told->changed || machine.wall_ms() >= told->settled_ms + told->retention_ms) continue;
    const OrderRow present = state.orders().find(told->name);
    if (present == nullptr || *present != *told) return fail("rows stay", key + (present ? " is another one" : " is gone") + where);
  }
}

void Orders::check_everywhere() {
  if (settings_.clients == 0) return;
  for (const auto& machine : *machines_) {
    if (machine->process() != nullptr && machine->process()->has_store()) check_rows(*machine);
  }
}

std::string Orders::unfinished() const {
  if (settings_.clients == 0) return {};
  for (const auto& machine : *machines_) {
    if (machine->process() == nullptr) return "n" + std::to_string(machine->index()) + " is down";
    const store::kv::OrderCounts& counts = machine->process()->store().state().orders().counts();
    if (counts.reserved + counts.unknown > 0)
      return std::to_string(counts.reserved) + " reserved, " + std::to_string(counts.unknown) + " unknown at n" + std::to_string(machine->index());
  }
  return open_calls_ > 0 ? std::to_string(open_calls_) + " calls are open" : std::string();
}

}  // namespace sim
