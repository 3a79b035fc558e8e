#include "tests/sim/lockers.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <variant>

#include "tests/sim/linearizability.h"
#include "tests/sim/process.h"

namespace sim {
namespace {

using std::chrono::milliseconds;
using store::kv::KeepValue;
using store::kv::SessionId;

constexpr milliseconds kServerPatience{2'000};
constexpr std::uint64_t kSessionsMax = 15;
constexpr std::size_t kEffortMax = 40'000'000;  // of 100,000 runs the hardest took more than two million steps, and six seconds

std::uint64_t number_of(std::string_view value) { return std::strtoull(std::string(value).c_str(), nullptr, 10); }

}  // namespace

Lockers::Lockers(World* world, std::vector<std::unique_ptr<Machine>>* machines, LockerSettings settings,
                 std::uint64_t seed)
    : world_(world), machines_(machines), settings_(settings), random_(seed, 0x6c6f636b6572) {}

void Lockers::start() {
  clients_.resize(static_cast<std::size_t>(settings_.clients));
  for (int client = 0; client < settings_.clients; ++client)
    world_->scheduler.after(random_.exponential(settings_.think), [this, client] { next(client); });
}

void Lockers::next(int number) {
  if (stopped_ || operations_ >= settings_.operations_max) return;
  Client& client = clients_[static_cast<std::size_t>(number)];
  const std::size_t group = operations_++ / settings_.operations_per_group;
  if (group >= groups_.size()) groups_.push_back({"g" + std::to_string(group), 0, {}});
  if (client.group != group) client = Client{group, 0, 0};  // its old session is left to end by itself
  launch(number, pick(client));
}

OperationKind Lockers::pick(const Client& client) {
  const std::uint64_t dice = random_.below(100);
  if (client.session == 0)
    return dice < 70 && groups_[client.group].sessions < kSessionsMax ? OperationKind::kCreate
           : dice < 85                                                ? OperationKind::kWrite
                                                                      : OperationKind::kLook;
  if (dice < 20) return OperationKind::kRenew;
  if (dice < 46) return OperationKind::kAcquire;
  if (dice < 58) return OperationKind::kRelease;
  if (dice < 64) return OperationKind::kWrite;
  if (dice < 74) return OperationKind::kMove;
  return dice < 78 ? OperationKind::kEnd : OperationKind::kLook;
}

SessionId Lockers::id_of(std::size_t group, std::uint64_t session) const {
  SessionId id;
  id.uuid.bytes[0] = 0xee;
  for (std::size_t i = 0; i < 8; ++i) id.uuid.bytes[i + 4] = static_cast<std::uint8_t>(group >> (8 * i));
  id.uuid.bytes[15] = static_cast<std::uint8_t>(session);
  return id;
}

std::string Lockers::key_of(std::size_t group, bool second) const {
  return "lock/" + groups_[group].name + (second ? "/b" : "/a");
}

void Lockers::launch(int number, OperationKind kind) {
  Client& client = clients_[static_cast<std::size_t>(number)];
  Group& group = groups_[client.group];
  if (kind == OperationKind::kCreate) {
    client.session = ++group.sessions;
    client.ttl = random_.between(600, 2'500) * kMillisecond;
  }
  auto call = std::make_shared<Call>();
  call->client = number;
  call->group = client.group;
  call->session = client.session;
  call->ttl = client.ttl;
  call->kind = kind;
  call->invoked = world_->scheduler.now();
  const bool second = kind != OperationKind::kMove && random_.below(3) == 0;
  const std::uint64_t value = next_value_;
  next_value_ += 2;
  const LockArgument argument{second, client.session, value, value + 1};
  call->handle = history_.invoke(group.name, kind, call->invoked, number, pack(argument));
  if (kind == OperationKind::kCreate) group.ends_from[client.session] = call->invoked + client.ttl;
  store::kv::CommandBody body = command_for(*call, second, value);
  const auto machine = static_cast<std::size_t>(random_.below(machines_->size()));
  world_->scheduler.after(random_.exponential(200 * kMicrosecond), [this, machine, call, moved = std::move(body)]() mutable {
    hand_over(*(*machines_)[machine], call, std::move(moved));
  });
  world_->scheduler.after(kPatience, [this, call] { finish(call, Outcome::kUnknown, kAbsent); });
}

store::kv::CommandBody Lockers::command_for(const Call& call, bool second, std::uint64_t value) {
  const std::string key = key_of(call.group, second);
  const std::string text = std::to_string(value);
  const SessionId id = id_of(call.group, call.session);
  if (call.kind == OperationKind::kCreate) {
    store::kv::Session session;
    session.id = id;
    session.ttl_ms = static_cast<std::uint32_t>(call.ttl / kMillisecond);
    session.lock_delay_ms = random_.chance_ppm(300'000) ? 200 : 0;
    session.behavior = call.session % 2 == 1 ? store::kv::SessionBehavior::kDelete : store::kv::SessionBehavior::kRelease;
    return store::kv::SessionCreate{session};
  }
  if (call.kind == OperationKind::kEnd) return store::kv::SessionDestroy{id};
  if (call.kind == OperationKind::kAcquire) return store::kv::Acquire{key, text, 0, id, KeepValue::kOverwrite};
  if (call.kind == OperationKind::kRelease) return store::kv::Release{key, text, 0, id, KeepValue::kOverwrite};
  if (call.kind == OperationKind::kMove) {
    // The write comes first: if the check fails, it has to be taken back.
    store::kv::TxnOp other, check, first;
    other.verb = first.verb = store::kv::TxnVerb::kSet;
    check.verb = store::kv::TxnVerb::kCheckSession;
    other.key = key_of(call.group, true);
    other.value = std::to_string(value + 1);
    check.key = first.key = key_of(call.group, false);
    check.session = id;
    first.value = text;
    return store::kv::Txn{{other, check, first}};
  }
  return store::kv::Set{key, text, 0};
}

void Lockers::hand_over(Machine& machine, const std::shared_ptr<Call>& call, store::kv::CommandBody body) {
  if (!machine.up()) return finish(call, Outcome::kRefused, kAbsent);
  const store::Consistency consistency =
      random_.chance_ppm(500'000) ? store::Consistency::kDefault : store::Consistency::kConsistent;
  machine.run([this, &machine, call, moved = std::move(body), consistency] {
    const auto answer = [this, &machine, call](const store::Reply* reply) { answered(machine, call, reply); };
    if (call->kind == OperationKind::kLook) {
      machine.process()->read(consistency, kServerPatience, answer);
    } else if (call->kind == OperationKind::kRenew) {
      machine.process()->renew_session(id_of(call->group, call->session), kServerPatience, answer);
    } else {
      machine.process()->write(moved, kServerPatience, answer);
    }
  });
}

void Lockers::answered(Machine& machine, const std::shared_ptr<Call>& call, const store::Reply* reply) {
  ValueId result = kAbsent;
  const Outcome outcome = reply == nullptr ? Outcome::kUnknown : outcome_of(machine, *call, *reply, &result);
  world_->scheduler.after(random_.exponential(200 * kMicrosecond),
                          [this, call, outcome, result] { finish(call, outcome, result); });
}

Outcome Lockers::outcome_of(Machine& machine, const Call& call, const store::Reply& reply, ValueId* result) {
  if (!reply.result) {
    const store::Errc code = reply.result.error().code;
    const bool surely_not = code == store::Errc::kNoLeader || code == store::Errc::kBusy ||
                            code == store::Errc::kDiskFull || code == store::Errc::kNotFound;
    return surely_not ? Outcome::kRefused : Outcome::kUnknown;  // a renewal refused may have met an end not decided yet
  }
  if (call.kind == OperationKind::kLook) {
    LockLook look;
    const store::kv::StateMachine& state = machine.process()->store().state();
    for (const bool second : {false, true}) {
      const std::string key = key_of(call.group, second);
      const store::kv::Entry* entry = state.get(key);
      const store::kv::Lock* lock = state.lock(key);
      look.value[second ? 1 : 0] = entry != nullptr ? number_of(entry->value) : 0;
      look.holder[second ? 1 : 0] = lock != nullptr ? lock->session.uuid.bytes[15] : 0;
    }
    *result = pack_look(look);
    return Outcome::kDone;
  }
  if (call.kind == OperationKind::kRenew) return Outcome::kDone;
  switch (std::get<store::Written>(*reply.result).outcome) {
    case store::kv::Outcome::kDone:
    case store::kv::Outcome::kUnchanged:
      return Outcome::kDone;
    case store::kv::Outcome::kInvalidSession:
      *result = kNoSuchSession;
      return Outcome::kMismatch;
    case store::kv::Outcome::kHeld:
    case store::kv::Outcome::kConditionFailed:
    case store::kv::Outcome::kNotFound:
      return Outcome::kMismatch;
    case store::kv::Outcome::kForgotten:
    case store::kv::Outcome::kExists:  // a first copy created it, whose answer was lost
      return Outcome::kUnknown;
    default:
      return Outcome::kRefused;  // lock-delay: nothing happened
  }
}

void Lockers::finish(const std::shared_ptr<Call>& call, Outcome outcome, ValueId result) {
  if (!call->open) return;
  call->open = false;
  const Nanos now = world_->scheduler.now();
  acknowledged_ += outcome == Outcome::kDone || outcome == Outcome::kMismatch ? 1 : 0;
  history_.complete(call->handle, outcome, now, result);
  world_->trace.add(now, -1, "locker", static_cast<std::uint64_t>(outcome), static_cast<std::uint64_t>(result));
  Group& group = groups_[call->group];
  if (call->kind == OperationKind::kRenew && outcome == Outcome::kDone) {
    Nanos& from = group.ends_from[call->session];
    from = std::max(from, call->invoked + call->ttl);
  }
  Client& client = clients_[static_cast<std::size_t>(call->client)];
  const bool lost = outcome == Outcome::kMismatch && result == kNoSuchSession;
  const bool over = call->kind == OperationKind::kEnd || lost ||
                    (outcome == Outcome::kRefused && (call->kind == OperationKind::kCreate || call->kind == OperationKind::kRenew));
  if (over && client.group == call->group && client.session == call->session) client.session = 0;
  if (call->kind == OperationKind::kCreate && outcome == Outcome::kRefused) group.ends_from.erase(call->session);
  // Now and then a client says nothing for so long that its session ends.
  const Nanos pause = random_.chance_ppm(40'000) ? random_.between(500, 4'000) * kMillisecond : 0;
  const int number = call->client;
  world_->scheduler.after(pause + random_.exponential(settings_.think), [this, number] { next(number); });
}

std::string Lockers::contradiction() const {
  for (const auto& [name, called] : history_.by_key()) {
    std::vector<Operation> operations = called;
    const auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) { return g.name == name; });
    for (const auto& [session, from] : group->ends_from) {
      Operation end;
      end.kind = OperationKind::kEnd;
      end.outcome = Outcome::kUnknown;  // any time from then on, or never
      end.argument = pack({false, session, 0, 0});
      end.invoked = from;
      end.client = -1;
      operations.push_back(end);
    }
    std::size_t effort = 0;
    const Verdict verdict = check_order(operations, lock_effect, kEffortMax, &effort);
    if (verdict == Verdict::kLinearizable) continue;
    std::string detail = verdict == Verdict::kUndecided ? "could not decide" : "no order of the calls explains the answers";
    detail += ": group " + name + "\n";
    std::stable_sort(operations.begin(), operations.end(), [](const Operation& a, const Operation& b) { return a.invoked < b.invoked; });
    for (const Operation& operation : operations) detail += describe(name, operation) + "\n";
    return detail;
  }
  return {};
}

}  // namespace sim
