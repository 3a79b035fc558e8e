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
constexpr std::uint32_t kPlaced = 201, kRefused = 503;

OrderName name_of(const std::string& key) { return {kService, "orders", key}; }

store::kv::Fingerprint print_of(const std::string& key) {
  store::kv::Fingerprint print{};
  for (std::size_t i = 0; i < key.size(); ++i) print[i % print.size()] ^= static_cast<std::uint8_t>(key[i] + 1);
  return print;
}

bool same_view(const proxy::PrimaryView& a, const proxy::PrimaryView& b) {
  return a.holder == b.holder && a.epoch == b.epoch && a.lease == b.lease && a.accepts_new == b.accepts_new && a.armed == b.armed;
}

const store::Written* written(const store::Reply* reply) {
  return reply != nullptr && reply->result ? std::get_if<store::Written>(&*reply->result) : nullptr;
}

}  // namespace

OrderAnswer exchange_answer(const std::string& text) { return {AnswerKept::kWhole, kPlaced, "x-order: 1\r\n", text}; }

Orders::Orders(World* world, std::vector<std::unique_ptr<Machine>>* machines, Halts* halts, OrderSettings settings, std::uint64_t seed)
    : world_(world), machines_(machines), halts_(halts), settings_(settings), random_(seed, 0x6f7264657273), lines_(world, machines, settings.lines, seed) {}

void Orders::start() {
  if (settings_.clients == 0) return;
  for (const auto& machine : *machines_) {
    traders_.push_back(std::make_unique<Trader>(machine.get(), world_->random.next()));
    traders_.back()->start();
    if (!settings_.own_ideas) traders_.back()->stop();
  }
  world_->role_changed = [this](int index) {
    Machine& machine = *(*machines_)[static_cast<std::size_t>(index)];
    desk(machine).arming->on_role();
    publish(machine);
  };
  world_->before_release = [this](int index, std::function<void()> go) {
    Desk& at = desk(*(*machines_)[static_cast<std::size_t>(index)]);
    at.door != nullptr ? at.door->shut(std::move(go)) : go();
  };
  world_->ended = [this](int index, bool powerless) {
    traders_[static_cast<std::size_t>(index)]->use(nullptr);
    lines_.end_all(index, powerless);
  };
  halts_->on_view([this](int index, const Halts::View& view) { desk(*(*machines_)[static_cast<std::size_t>(index)]).egress->see(view); });
  clients_.resize(static_cast<std::size_t>(settings_.clients));
  for (int client = 0; client < settings_.clients; ++client)
    world_->scheduler.after(random_.exponential(settings_.think), [this, client] { next(client); });
  for (std::size_t number = 0; number < machines_->size(); ++number)
    world_->scheduler.after(random_.between(0, kPatrol), [this, number] { patrol(number); });
}

void Orders::stop() {
  stopped_ = true;
  stopped_at_ = world_->scheduler.now();
  for (const auto& trader : traders_) trader->stop();
}

void Orders::fail(const std::string& rule, const std::string& what) {
  world_->judge.fail(world_->scheduler.now(), "I3, " + rule, what);
}

// A key that was not acknowledged is tried again, by its client or by another one; one that was may be asked for again by anybody;
// else a new one.
bool Orders::draw_intent(Client& client) {
  Intent& intent = client.intent;
  const Nanos now = world_->scheduler.now();
  const auto is_open = [&](const Intent& one) { return !one.key.empty() && one.tries < settings_.tries && now < one.last_try(); };
  if (is_open(intent)) {
    if (!random_.chance_ppm(300'000) || keys_ >= settings_.keys_max) return true;
    left_open_.push_back(intent);
  }
  if (!again_.empty() && random_.chance_ppm(200'000)) {
    intent = {again_[random_.below(again_.size())], now, kLongMs, settings_.tries};
    return true;
  }
  while (!left_open_.empty() && (random_.chance_ppm(500'000) || keys_ >= settings_.keys_max)) {
    std::swap(left_open_[random_.below(left_open_.size())], left_open_.back());
    intent = left_open_.back();
    left_open_.pop_back();
    if (is_open(intent)) return true;
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
  if (order->answer.kept == AnswerKept::kWhole && order->answer.status == kRefused) {
    if (!lines_.exchange().refused(key)) return fail("answers stay", key + " is told to be refused, and the exchange has it");
  } else {
    const Exchange::Arrival* arrival = lines_.exchange().find(key);
    if (arrival == nullptr || order->answer != exchange_answer(arrival->answer))
      return fail("answers stay", key + " was answered with what the exchange never said");
  }
  if (told_.emplace(key, order).second && order->retention_ms == kLongMs) again_.push_back(key);
}

// --- the desk -----------------------------------------------------------------------------------------------------

Orders::Desk& Orders::desk(Machine& machine) {
  Desk& at = desks_[machine.index()];
  if (at.life == machine.life()) return at;
  at = Desk{};
  at.life = machine.life();
  const std::uint64_t seed = random_.next();
  at.egress = std::make_unique<Egress>(&machine, &lines_, halts_, seed);
  at.egress->see(halts_->view(machine.index()));
  if (settings_.lines.kernel_permit) at.door = std::make_unique<KernelDoor>(&machine, &lines_, seed);
  at.arming = std::make_unique<ArmingDesk>(&machine, &lines_, settings_.arming, settings_.quiet, seed, [this, &machine] { publish(machine); });
  traders_[static_cast<std::size_t>(machine.index())]->use(at.egress.get());
  if (at.door != nullptr) at.door->follow(at.view);
  return at;
}

// As Agent::primary_view() and publish_primary(): the kernel hears of it at once, the workers and the trader a moment later.
void Orders::publish(Machine& machine) {
  const Process& process = *machine.process();
  Desk& at = desk(machine);
  proxy::PrimaryView view;
  view.service = kService;
  if (process.primary().role() == agent::Role::kPrimary) {
    view.epoch = proxy::Epoch{static_cast<std::uint64_t>(process.primary().epoch())};
    view.holder = proxy::PrimaryView::Holder::kLocal;
    view.lease = process.lease_view();
    view.accepts_new = process.primary().serving();
    view.armed = at.arming->armed(process.primary().epoch());
  }
  if (same_view(view, at.view)) return;
  at.view = view;
  if (at.door != nullptr) at.door->follow(view);
  at.mail_at = std::max(at.mail_at, world_->scheduler.now() + random_.between(0, 1'000) * kMicrosecond);
  machine.later(at.mail_at - world_->scheduler.now(), [this, &machine, view] {
    desk(machine).egress->see(view);
    const bool holds = view.holder == proxy::PrimaryView::Holder::kLocal;
    traders_[static_cast<std::size_t>(machine.index())]->tell_role(holds ? static_cast<std::uint64_t>(view.epoch) : 0);
  });
}

// As the workers see it, with the lease as it is now.
bool Orders::may_send(Machine& machine, std::uint64_t epoch) {
  const proxy::PrimaryView& view = desk(machine).egress->view();
  const bool holds = view.holder == proxy::PrimaryView::Holder::kLocal && view.lease != nullptr && view.lease->valid_at(machine.local_now());
  return holds && view.armed && static_cast<std::uint64_t>(view.epoch) == epoch;
}

bool Orders::is_halted(Machine& machine, const std::string& key) const {
  const Halts::View view = halts_->view(machine.index());
  return view != nullptr && view->stops(kRoute, account_of(key), false) != nullptr;
}

void Orders::serve(Machine& machine, const CallPtr& call) {
  if (!machine.process()->has_store() || world_->scheduler.now() > call->intent.last_try()) return finish(call, nullptr);
  Desk& at = desk(machine);
  const proxy::PrimaryView& view = at.egress->view();
  const auto epoch = static_cast<std::uint64_t>(view.epoch);
  if (!view.accepts_new || is_halted(machine, call->intent.key) || !may_send(machine, epoch)) return look(machine, call);
  if (at.sending.contains(call->intent.key)) return finish(call, nullptr);  // in flight here
  reserve(machine, call, epoch);
}

// Whoever does not hold the lease knows answers, too.
void Orders::look(Machine& machine, const CallPtr& call) {
  machine.process()->read(store::Consistency::kDefault, kServerPatience, [this, &machine, call](const store::Reply* reply) {
    if (reply == nullptr || !reply->result) return finish(call, nullptr);
    const OrderRow order = machine.process()->store().state().orders().find(name_of(call->intent.key));
    finish(call, order != nullptr && order->state == OrderState::kDone ? order : nullptr);
  });
}

void Orders::reserve(Machine& machine, const CallPtr& call, std::uint64_t epoch) {
  desk(machine).sending.insert(call->intent.key);
  const OrderReserve wish{name_of(call->intent.key), print_of(call->intent.key), store::kv::Epoch{epoch},
                          store::kv::NodeId{machine.id()}, machine.wall_ms(), call->intent.retention_ms};
  machine.process()->write(wish, kServerPatience, [this, &machine, call](const store::Reply* reply) {
    // It is given to the trader a moment later, or when a connection was made; by then the process may be stopped, or deposed, or gone.
    auto kept = reply != nullptr ? std::make_shared<store::Reply>(*reply) : nullptr;
    if (kept == nullptr) return finish(call, nullptr);
    const Nanos connecting = random_.chance_ppm(settings_.lines.slow_ppm) ? random_.between(0, 900) * kMillisecond : 0;
    machine.later(connecting + random_.exponential(300 * kMicrosecond), [this, &machine, call, kept] { reserved(machine, call, kept.get()); });
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
  OrderOutcome word{order->name, order->reserved, OrderState::kNotSent, {}, machine.wall_ms()};
  const std::uint64_t epoch = store::kv::value(order->epoch);
  const bool holds = may_send(machine, epoch);
  if (!holds || is_halted(machine, order->name.key)) return record(machine, call, word);
  if (!machine.process()->passes_orders(machine.local_now())) fail("given under a lease", order->name.key + " is given to the trader of n" + std::to_string(machine.index()));
  halts_->leaves(machine.index(), order->name.key, false);
  auto replied = std::make_shared<bool>(false);
  const auto tell = [this, &machine, life = machine.life(), call, word, replied](TraderWord trader, const std::string& text) {
    if (life != machine.life()) return;
    machine.later(0, [this, &machine, call, word, replied, trader, text] {
      if (!std::exchange(*replied, true)) told(machine, call, word, trader, text);
    });
  };
  if (!traders_[static_cast<std::size_t>(machine.index())]->give(order->name.key, epoch, tell)) return record(machine, call, word);
  machine.later(kReplyWithin, [this, &machine, call, word, replied]() mutable {
    if (!std::exchange(*replied, true)) told(machine, call, word, TraderWord::kSilent, {});
  });
}

void Orders::told(Machine& machine, const CallPtr& call, OrderOutcome word, TraderWord trader, const std::string& text) {
  word.state = trader == TraderWord::kSilent ? OrderState::kUnknown : OrderState::kDone;
  if (trader == TraderWord::kPlaced) word.answer = exchange_answer(text);
  if (trader == TraderWord::kRefused) word.answer = {AnswerKept::kWhole, kRefused, "", "refused"};
  record(machine, call, word);
}

// Said again until it is decided: nobody else knows it.
void Orders::record(Machine& machine, const CallPtr& call, const OrderOutcome& word) {
  const milliseconds patience{random_.between(100, kServerPatience.count())};
  machine.process()->write(word, patience, [this, &machine, call, word](const store::Reply* reply) {
    if (reply == nullptr) return finish(call, nullptr);
    const store::Written* answer = written(reply);
    if (answer == nullptr) {
      machine.later(random_.between(20, 300) * kMillisecond, [this, &machine, call, word] { record(machine, call, word); });
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
  machine.later(random_.between(0, 3'000) * kMillisecond, [&machine, said] {
    machine.process()->write(said, kServerPatience, [](const store::Reply*) {});
  });
}

// --- now and then -------------------------------------------------------------------------------------------------

void Orders::patrol(std::size_t number) {
  Machine& machine = *(*machines_)[number];
  machine.run([this, &machine] {
    Process& process = *machine.process();
    if (!process.has_store()) return;
    if (++patrols_ % 4 == 0) process.on_wall_clock(machine.wall_ms() + kSlack);  // clocks are right here: no slack is needed
    check_rows(machine);
    Desk& at = desk(machine);
    if (stopped_ && world_->scheduler.now() > stopped_at_ + kOperatorComes) call_operator(machine);
    if (process.primary().serving() && process.passes_orders(machine.local_now())) give_up_orphans(machine, at);
  });
  world_->scheduler.after(kPatrol, [this, number] { patrol(number); });
}

// Where the hook may not decide, a person does: the trader has let go of everything long ago.
void Orders::call_operator(Machine& machine) {
  if (settings_.arming.has_hook && settings_.arming.gives_up) return;
  for (const OrderRow& order : machine.process()->store().state().orders().unknown(kService, store::kv::Index{}, 64)) {
    const Exchange::Arrival* arrival = lines_.exchange().find(order->name.key);
    OrderResolve verdict{order->name, order->changed, OrderState::kNotSent, OrderSource::kOperator, {}, machine.wall_ms()};
    if (arrival != nullptr) {
      verdict.state = OrderState::kDone;
      verdict.answer = exchange_answer(arrival->answer);
    }
    machine.process()->write(verdict, kServerPatience, [](const store::Reply*) {});
  }
}

// Reservations of this life whose answer never came: nobody sends them.
void Orders::give_up_orphans(Machine& machine, Desk& at) {
  const store::kv::OrderLedger& orders = machine.process()->store().state().orders();
  for (const OrderRow& order : orders.reserved(kService, store::kv::Index{}, 64)) {
    if (store::kv::value(order->node) != machine.id() || at.sending.contains(order->name.key)) continue;
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
      fail("fenced", order->name.key + " is reserved under epoch " + std::to_string(store::kv::value(order->epoch)) + where);
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
