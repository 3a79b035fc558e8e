#include "tests/sim/client.h"

#include <cstdlib>
#include <utility>
#include <variant>

#include "tests/sim/process.h"

namespace sim {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kServerPatience{2'000};
constexpr milliseconds kAimedReadPatience{150};  // a client that waits for an agent cut off from all aims at nothing

ValueId id_of(std::string_view value) {
  return ValueId{std::strtoull(std::string(value.substr(0, 20)).c_str(), nullptr, 10)};
}

/// Did the store say that nothing happened and nothing will?
bool surely_not(store::Errc code) {
  switch (code) {
    case store::Errc::kNoLeader:
    case store::Errc::kBusy:
    case store::Errc::kDiskFull:
    case store::Errc::kTooLarge:
    case store::Errc::kBadRequest:
    case store::Errc::kNotFound: return true;
    default: return false;
  }
}

}  // namespace

Clients::Clients(World* world, std::vector<std::unique_ptr<Machine>>* machines, History* history,
                 ClientSettings settings, std::uint64_t seed)
    : world_(world), machines_(machines), history_(history), settings_(settings), random_(seed, 0x636c69656e74) {}

void Clients::start() {
  for (int client = 0; client < settings_.clients; ++client) {
    world_->scheduler.after(random_.exponential(settings_.think), [this, client] { next(client); });
  }
}

void Clients::next(int client) {
  if (stopped_ || operations_ >= settings_.operations_max) {
    return;
  }
  ++operations_;
  const Choice choice = settings_.aimed ? pick_aimed() : pick_any();
  launch(client, choice.machine, choice.kind, pick_key(), choice.consistency, [this, client](bool) {
    world_->scheduler.after(draw_pause(), [this, client] { next(client); });
  });
}

OperationKind Clients::pick_write() {
  const std::uint64_t dice = random_.below(60);
  return dice < 40 ? OperationKind::kPut : dice < 48 ? OperationKind::kRemove : OperationKind::kCompareAndSwap;
}

Clients::Choice Clients::pick_any() {
  Choice choice;
  choice.machine = static_cast<int>(random_.below(machines_->size()));
  const bool reads = random_.below(100) < settings_.reads_percent;
  const OperationKind write = pick_write();
  choice.kind = reads ? OperationKind::kRead : write;
  choice.consistency =
      random_.chance_ppm(500'000) ? store::Consistency::kDefault : store::Consistency::kConsistent;
  return choice;
}

Clients::Leaders Clients::leaders() const {
  Leaders found;
  store::raft::Term newest;
  for (const auto& machine : *machines_) {
    const Process* process = machine->process();
    if (process == nullptr || !process->has_store()) continue;
    const store::raft::Raft& raft = process->store().raft();
    if (raft.role() != store::raft::Role::kLeader) continue;
    const bool later = found.newest < 0 || raft.term() > newest;
    if (found.newest >= 0) found.deposed = later ? found.newest : machine->index();
    if (!later) continue;
    found.newest = machine->index();
    newest = raft.term();
  }
  return found;
}

// Any write and any consistent read at the old leader would make it ask the others, who know better.
Clients::Choice Clients::pick_aimed() {
  const Nanos now = world_->scheduler.now();
  if (now >= turn_ends_) {
    resting_ = !resting_;
    turn_ends_ = now + 50 * kMillisecond + random_.exponential(resting_ ? 900 * kMillisecond : 300 * kMillisecond);
  }
  const Leaders found = leaders();
  const bool reads = random_.below(100) < settings_.reads_percent;
  const auto any = static_cast<int>(random_.below(machines_->size()));
  const bool to_leader = found.newest >= 0 && random_.below(100) < 80;
  if (found.deposed >= 0) {
    return reads ? Choice{found.deposed, OperationKind::kRead, store::Consistency::kDefault}
                 : Choice{found.newest, OperationKind::kPut, store::Consistency::kDefault};
  }
  const int machine = to_leader ? found.newest : any;
  if (reads || resting_) return {machine, OperationKind::kRead, store::Consistency::kDefault};
  return {machine, pick_write(), store::Consistency::kDefault};
}

Nanos Clients::draw_pause() {
  const bool hurry = settings_.aimed && leaders().deposed >= 0;
  return random_.exponential(hurry ? settings_.think / 10 : settings_.think);
}

std::string Clients::pick_key() {
  const std::size_t generation = operations_ / (settings_.operations_per_key * 3);
  return "k" + std::to_string(generation * 3 + random_.below(3));
}

std::vector<std::string> Clients::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, operations] : history_->by_key()) {
    out.push_back(key);
  }
  return out;
}

std::string Clients::make_value(ValueId id) {
  std::string value = std::to_string(static_cast<std::uint64_t>(id)) + " ";
  const std::size_t padding = random_.chance_ppm(settings_.large_value_ppm) ? random_.below(60'000)
                                                                            : random_.below(settings_.value_bytes_max);
  value.append(padding, 'v');
  return value;
}

store::kv::CommandBody Clients::command_for(OperationKind kind, const std::string& key, const Version& seen,
                                            ValueId value) {
  switch (kind) {
    case OperationKind::kRemove: return store::kv::Delete{key};
    case OperationKind::kCompareAndSwap: return store::kv::Cas{key, make_value(value), 0, seen.modify};
    default: break;
  }
  return store::kv::Set{key, make_value(value), 0};
}

void Clients::launch(int client, int machine, OperationKind kind, const std::string& key,
                     store::Consistency consistency, std::function<void(bool)> done) {
  const Version seen = seen_[key];
  const bool writes = kind == OperationKind::kPut || kind == OperationKind::kCompareAndSwap;
  const ValueId value = writes ? ValueId{next_value_++} : kAbsent;
  auto call = std::make_shared<Call>();
  call->client = client;
  call->key = key;
  call->kind = kind;
  call->done = std::move(done);
  call->handle = history_->invoke(key, kind, world_->scheduler.now(), client, value, seen.value);
  store::kv::CommandBody body = command_for(kind, key, seen, value);
  const Nanos travel = random_.exponential(200 * kMicrosecond);
  world_->scheduler.after(travel, [this, machine, call, moved = std::move(body), consistency]() mutable {
    hand_over(*(*machines_)[static_cast<std::size_t>(machine)], call, std::move(moved), consistency);
  });
  world_->scheduler.after(kPatience, [this, call] { finish(call, Outcome::kUnknown, kAbsent); });
}

void Clients::hand_over(Machine& machine, const std::shared_ptr<Call>& call, store::kv::CommandBody body,
                        store::Consistency consistency) {
  if (!machine.up()) {
    finish(call, Outcome::kRefused, kAbsent);  // connection refused: never handed to anyone
    return;
  }
  machine.run([this, &machine, call, moved = std::move(body), consistency] {
    const auto answer = [this, &machine, call](const store::Reply* reply) { answered(machine, call, reply); };
    if (call->kind == OperationKind::kRead) {
      machine.process()->read(consistency, settings_.aimed ? kAimedReadPatience : kServerPatience, answer);
    } else {
      machine.process()->write(moved, kServerPatience, answer);
    }
  });
}

void Clients::answered(Machine& machine, const std::shared_ptr<Call>& call, const store::Reply* reply) {
  ValueId result = kAbsent;
  const Outcome outcome = reply == nullptr ? Outcome::kUnknown : outcome_of(machine, *call, *reply, &result);
  world_->scheduler.after(random_.exponential(200 * kMicrosecond),
                          [this, call, outcome, result] { finish(call, outcome, result); });
}

Outcome Clients::outcome_of(Machine& machine, Call& call, const store::Reply& reply, ValueId* result) {
  if (!reply.result) {
    ++refusals_[store::to_string(reply.result.error().code)];
    return surely_not(reply.result.error().code) ? Outcome::kRefused : Outcome::kUnknown;
  }
  if (call.kind == OperationKind::kRead) {
    const store::kv::Entry* entry = machine.process()->store().state().get(call.key);
    *result = entry == nullptr ? kAbsent : id_of(entry->value);
    seen_[call.key] = {*result, entry == nullptr ? store::kv::Index{} : entry->modify};
    return Outcome::kDone;
  }
  const auto& written = std::get<store::Written>(*reply.result);
  switch (written.outcome) {
    case store::kv::Outcome::kDone:
    case store::kv::Outcome::kUnchanged: return Outcome::kDone;
    case store::kv::Outcome::kConditionFailed: return Outcome::kMismatch;
    case store::kv::Outcome::kForgotten: return Outcome::kUnknown;
    default: return Outcome::kRefused;
  }
}

void Clients::finish(const std::shared_ptr<Call>& call, Outcome outcome, ValueId result) {
  if (!call->open) {
    return;
  }
  call->open = false;
  const bool ok = outcome == Outcome::kDone || outcome == Outcome::kMismatch;
  acknowledged_ += ok ? 1 : 0;
  history_->complete(call->handle, outcome, world_->scheduler.now(), result);
  world_->trace.add(world_->scheduler.now(), -1, "client", static_cast<std::uint64_t>(outcome),
                    static_cast<std::uint64_t>(result));
  call->done(ok);
}

void Clients::read_at(int machine, const std::string& key, store::Consistency consistency,
                      std::function<void(bool)> done) {
  launch(1'000 + machine, machine, OperationKind::kRead, key, consistency, std::move(done));
}

void Clients::write_at(int machine, const std::string& key, std::function<void(bool)> done) {
  launch(1'000 + machine, machine, OperationKind::kPut, key, store::Consistency::kDefault, std::move(done));
}

}  // namespace sim
