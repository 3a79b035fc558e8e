#include "tests/sim/halts.h"

#include <algorithm>
#include <utility>

#include "tests/sim/process.h"

namespace sim {
namespace {

using store::kv::Halt;
using store::kv::HaltScope;
using store::kv::HaltTag;
using std::chrono::milliseconds;

constexpr milliseconds kWriteTimeout{1'500};
constexpr Nanos kAskAgain = 500 * kMillisecond;

proxy::HaltScope scope_of(HaltScope scope) {
  switch (scope) {
    case HaltScope::kGlobal: return proxy::HaltScope::kGlobal;
    case HaltScope::kBroker: return proxy::HaltScope::kBroker;
    case HaltScope::kAccount: return proxy::HaltScope::kAccount;
    case HaltScope::kRoute: return proxy::HaltScope::kRoute;
  }
  return proxy::HaltScope::kGlobal;
}

/// As agent::halt_view().
Halts::View view_of(const store::kv::HaltSet& set) {
  auto view = std::make_shared<proxy::HaltView>();
  view->account_field = "X-Account";
  for (const auto& [tag, halt] : set.halts()) {
    view->by_account |= halt.scope == HaltScope::kAccount;
    view->orders.push_back({scope_of(halt.scope), halt.name, halt.cancels_pass, tag.text()});
  }
  return view;
}

/// Asked of the halts themselves, and not of the view that is made of them.
bool covers(const Halt& halt, const std::string& key, bool to_broker) {
  switch (halt.scope) {
    case HaltScope::kGlobal: return true;
    case HaltScope::kBroker: return to_broker && halt.name == kBroker;
    case HaltScope::kAccount: return halt.name == account_of(key);
    case HaltScope::kRoute: return !to_broker && halt.name == kRoute;
  }
  return true;
}

}  // namespace

std::string account_of(const std::string& key) {
  std::uint32_t sum = 0;
  for (const char c : key) sum = sum * 31 + static_cast<std::uint8_t>(c);
  return "a" + std::to_string(sum % 3);
}

Halts::Halts(World* world, std::vector<std::unique_ptr<Machine>>* machines, HaltSettings settings, std::uint64_t seed)
    : world_(world), machines_(machines), settings_(settings), random_(seed, 0x68616c7473), desks_(32) {}

void Halts::fail(const std::string& rule, const std::string& what) { world_->judge.fail(world_->scheduler.now(), "S4, " + rule, what); }

void Halts::start() {
  if (!settings_.on) return;
  world_->began = [this](int index) { began(index); };
  world_->halt_frame = [this](int index, RaftId from, const std::string& frame) {
    if (desk(index).keeper == nullptr) return;
    desk(index).keeper->on_frame(store::NodeId{from}, frame, at(index).local_now());
    obey(index);
  };
  world_->mesh_peer = [this](int index, RaftId peer, bool up) {
    if (desk(index).keeper == nullptr) return;
    up ? desk(index).keeper->on_connected(store::NodeId{peer}) : desk(index).keeper->on_lost(store::NodeId{peer});
    obey(index);
  };
  world_->stepped = [this](int index) { look(index); };
  for (const auto& machine : *machines_) {
    if (machine->up()) machine->run([this, index = machine->index()] { began(index); });
  }
  next_halt();
}

// --- one agent ----------------------------------------------------------------------------------------------------------

// Before the first frame of a peer and before the first client: what stood at the last end stands from the beginning.
void Halts::began(int machine) {
  Desk& mine = desk(machine);
  mine.life = at(machine).life();
  agent::HaltFile file;
  if (mine.file.empty()) {
    file.replica = 1 + random_.below(UINT64_MAX);
  } else if (const auto known = agent::decode_halt_file(mine.file)) {
    file = *known;
  } else {
    fail("lifted by the log", "the file of n" + std::to_string(machine) + " cannot be read: " + known.error().detail);
  }
  mine.keeper = std::make_unique<agent::HaltKeeper>(std::move(file), at(machine).random().chance());
  mine.heard.clear();
  mine.looked = store::kv::Index{};
  mine.mail_at = mine.wakes_at = 0;
  mine.seen = view_of(mine.keeper->set());
  told_(machine, mine.seen);
  judge_known(machine);
  if (mine.file.empty()) keep(machine);
  at(machine).later(0, [this, machine] { catch_up(machine); });
}

// Until a majority has said how far the log goes, nobody knows whether this directory is as old as it looks.
void Halts::catch_up(int machine) {
  at(machine).process()->read(store::Consistency::kConsistent, kWriteTimeout, [this, machine](const store::Reply* reply) {
    if (reply == nullptr) return;
    if (!reply->result) return at(machine).later(kAskAgain, [this, machine] { catch_up(machine); });
    desk(machine).keeper->on_recorded(at(machine).process()->store().state().halts().set(), at(machine).local_now(), true);
    obey(machine);
  });
}

// First it stands, then it is kept, then others are told.
void Halts::obey(int machine) {
  Desk& mine = desk(machine);
  agent::HaltKeeper::Output output = mine.keeper->take_output();
  if (output.changed) {
    publish(machine);
    keep(machine);
    judge_known(machine);
  }
  for (auto& [to, frame] : output.frames) at(machine).process()->send_to_peer(to.value, frame);
  if (output.record) {
    at(machine).process()->write(store::kv::HaltMerge{mine.keeper->to_record()}, kWriteTimeout, [this, machine](const store::Reply* reply) {
      if (reply == nullptr) return;
      desk(machine).keeper->record_done(static_cast<bool>(reply->result), at(machine).local_now());
      obey(machine);
    });
  }
  wake(machine);
}

void Halts::keep(int machine) { desk(machine).file = agent::encode(desk(machine).keeper->file()); }

void Halts::publish(int machine) {
  Desk& mine = desk(machine);
  mine.mail_at = std::max(mine.mail_at, world_->scheduler.now() + random_.between(0, kMailbox / kMicrosecond - 1) * kMicrosecond);
  at(machine).later(mine.mail_at - world_->scheduler.now(), [this, machine, view = view_of(mine.keeper->set())] {
    desk(machine).seen = view;
    told_(machine, view);
  });
}

void Halts::wake(int machine) {
  Desk& mine = desk(machine);
  const auto deadline = mine.keeper->next_deadline();
  if (deadline == agent::HaltKeeper::TimePoint::max()) return;
  const Nanos now = world_->scheduler.now(), due = std::max(at(machine).clock().due(deadline), now) + 1;
  if (mine.wakes_at > now && mine.wakes_at <= due) return;
  mine.wakes_at = due;
  at(machine).later(due - now, [this, machine] {
    desk(machine).keeper->tick(at(machine).local_now());
    obey(machine);
  });
}

// After each step of the process: what has it applied?
void Halts::look(int machine) {
  Desk& mine = desk(machine);
  if (mine.keeper == nullptr || mine.life != at(machine).life()) return;
  const store::kv::HaltBook& book = at(machine).process()->store().state().halts();
  if (mine.looked == book.index()) return;
  mine.looked = book.index();
  judge_log(machine);
  at(machine).later(0, [this, machine] {
    desk(machine).keeper->on_recorded(at(machine).process()->store().state().halts().set(), at(machine).local_now());
    obey(machine);
  });
}

// --- judging ------------------------------------------------------------------------------------------------------------

void Halts::judge_log(int machine) {
  const store::kv::HaltSet& log = at(machine).process()->store().state().halts().set();
  for (const auto& [tag, halt] : all_) {
    if (!log.has_seen(tag) || log.find(tag) != nullptr || !lifted_.insert(tag).second) continue;
    const std::size_t people = wanted_.contains(tag) ? wanted_.at(tag).size() : 0, needed = halt.second_person || settings_.second_person ? 2 : 1;
    if (people < needed) fail("lifted by the log", "the log has lifted " + tag.text() + ", which " + std::to_string(people) + " people wanted");
  }
}

void Halts::judge_known(int machine) {
  Desk& mine = desk(machine);
  const store::kv::HaltSet& set = mine.keeper->set();
  std::erase_if(mine.known, [&](const auto& one) {
    if (set.find(one.first) != nullptr) return false;
    const store::kv::HaltSet& log = at(machine).process()->store().state().halts().set();
    if (!log.has_seen(one.first) || log.find(one.first) != nullptr)
      fail("lifted by the log", one.first.text() + " stands no more at n" + std::to_string(machine) + ", whose log has not lifted it");
    mine.heard.erase(one.first);
    return true;
  });
  for (const auto& [tag, halt] : set.halts()) {
    all_.insert_or_assign(tag, halt);
    mine.known.insert_or_assign(tag, halt);
    mine.heard.emplace(tag, world_->scheduler.now());
  }
}

void Halts::leaves(int machine, const std::string& key, bool to_broker) {
  if (!settings_.on) return;
  const Desk& mine = desk(machine);
  for (const auto& [tag, since] : mine.heard) {
    const auto found = mine.known.find(tag);
    if (found == mine.known.end() || world_->scheduler.now() <= since + kMailbox || !covers(found->second, key, to_broker)) continue;
    return fail("stands at once", key + " leaves n" + std::to_string(machine) + (to_broker ? " for the exchange" : " for the trader") + " under halt " + tag.text());
  }
}

std::string Halts::missing() const {
  if (!settings_.on) return {};
  std::map<HaltTag, int> all;
  for (const auto& machine : *machines_) {
    const Desk& mine = desks_[static_cast<std::size_t>(machine->index())];
    if (mine.keeper == nullptr || !machine->up()) return "n" + std::to_string(machine->index()) + " is down";
    for (const auto& [tag, halt] : mine.keeper->set().halts()) all.emplace(tag, machine->index());
  }
  for (const auto& machine : *machines_) {
    for (const auto& [tag, where] : all) {
      if (desks_[static_cast<std::size_t>(machine->index())].keeper->set().find(tag) == nullptr)
        return "halt " + tag.text() + " stands at n" + std::to_string(where) + " and not at n" + std::to_string(machine->index());
    }
  }
  return {};
}

// --- people -------------------------------------------------------------------------------------------------------------

void Halts::next_halt() {
  world_->scheduler.after(random_.exponential(settings_.every), [this] {
    if (stopped_) return;
    Machine& machine = *(*machines_)[static_cast<std::size_t>(random_.below(machines_->size()))];
    if (machine.up()) machine.run([this, index = machine.index()] { give(index); });
    next_halt();
  });
}

void Halts::give(int machine) {
  if (desk(machine).keeper == nullptr) return;
  Halt halt;
  constexpr HaltScope kScopes[] = {HaltScope::kGlobal, HaltScope::kBroker, HaltScope::kAccount, HaltScope::kRoute};
  halt.scope = kScopes[random_.below(4)];
  if (halt.scope == HaltScope::kBroker) halt.name = kBroker;
  if (halt.scope == HaltScope::kAccount) halt.name = "a" + std::to_string(random_.below(3));
  if (halt.scope == HaltScope::kRoute) halt.name = kRoute;
  halt.reason = "simulated";
  halt.who = "ann";
  halt.node = "n" + std::to_string(machine);
  halt.cancels_pass = !random_.chance_ppm(300'000);
  halt.second_person = settings_.second_person;
  const auto tag = desk(machine).keeper->halt(halt, at(machine).local_now());
  obey(machine);
  if (!tag) return;
  ++given_;
  world_->trace.add(world_->scheduler.now(), machine, "halt", tag->number, static_cast<std::uint64_t>(halt.scope), tag->text());
  resume_later(*tag);
}

// Anybody, anywhere, again and again, until the log has done it.
void Halts::resume_later(const HaltTag& tag) {
  world_->scheduler.after(random_.exponential(settings_.lasts), [this, tag] {
    if (lifted_.contains(tag) || (stopped_ && random_.chance_ppm(300'000))) return;
    Machine& machine = *(*machines_)[static_cast<std::size_t>(random_.below(machines_->size()))];
    if (machine.up()) machine.run([this, index = machine.index(), tag] { resume(index, tag); });
    resume_later(tag);
  });
}

// A question to a majority first: without one nothing is begun that might come through later.
void Halts::resume(int machine, const HaltTag& tag) {
  if (desk(machine).keeper == nullptr || desk(machine).keeper->set().find(tag) == nullptr) return;
  const std::string who = random_.chance_ppm(500'000) ? "bob" : "eve";
  at(machine).process()->read(store::Consistency::kConsistent, kWriteTimeout, [this, machine, tag, who](const store::Reply* reply) {
    if (reply != nullptr && reply->result) lift(machine, tag, who);
  });
}

void Halts::lift(int machine, const HaltTag& tag, const std::string& who) {
  if (desk(machine).keeper->set().find(tag) == nullptr) return;
  wanted_[tag].insert(who);
  const store::kv::HaltLift command{agent::set_for_lift(desk(machine).keeper->set(), {tag}), {tag}, who, settings_.second_person, random_.chance_ppm(500'000), at(machine).wall_ms()};
  at(machine).process()->write(command, kWriteTimeout, [this, machine, tag](const store::Reply* reply) {
    const auto* written = reply != nullptr && reply->result ? std::get_if<store::Written>(&*reply->result) : nullptr;
    if (written == nullptr || written->outcome != store::kv::Outcome::kDone) return;
    world_->trace.add(world_->scheduler.now(), machine, "resumed", tag.number, store::kv::value(written->index), tag.text());
    // Seen by the judge at the end of this step.
    world_->scheduler.after(0, [this, tag, index = store::kv::value(written->index)] {
      if (index > world_->judge.committed_up_to().value) fail("by a majority", tag.text() + " was told to be lifted by index " + std::to_string(index) + ", which is not committed");
    });
  });
}

}  // namespace sim
