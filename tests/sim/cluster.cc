#include "tests/sim/cluster.h"

#include <algorithm>
#include <set>
#include <utility>

#include "tests/sim/linearizability.h"
#include "tests/sim/process.h"

namespace sim {

using store::raft::Entry;
using store::raft::Index;
using store::raft::NodeId;
using store::raft::Role;
using store::raft::Term;

Cluster::Cluster(Scenario scenario, bool print)
    : scenario_(std::move(scenario)),
      world_(scenario_.seed, scenario_.agents, print),
      clients_(&world_, &machines_, &history_, scenario_.clients, scenario_.seed),
      lockers_(&world_, &machines_, scenario_.lockers, scenario_.seed),
      halts_(&world_, &machines_, scenario_.halts, scenario_.seed),
      orders_(&world_, &machines_, &halts_, scenario_.orders, scenario_.seed),
      faults_(&world_, &machines_, scenario_.faults, scenario_.seed),
      seen_(static_cast<std::size_t>(scenario_.agents.machines)) {
  const int size = scenario_.agents.machines;
  for (int a = 0; a < size; ++a) {
    for (int b = 0; b < size; ++b) {
      world_.network.link(a, b) = scenario_.link;
    }
  }
  for (int i = 0; i < size; ++i) {
    machines_.push_back(std::make_unique<Machine>(&world_, i, scenario_.seed));
    machines_.back()->disk().temper().lies = scenario_.disks_lie;
    index_of_[machines_.back()->id()] = i;
  }
  world_.observe = [this](int index) { observe(index); };
}

Cluster::~Cluster() {
  world_.observe = [](int) {};
  world_.role_changed = [](int) {};
  world_.ended = [](int, bool) {};
  world_.began = world_.stepped = [](int) {};
  world_.scheduler.clear();
}

void Cluster::begin_in_halves() {
  if (scenario_.halves_until == 0) return;
  const auto block = [this](bool blocked) {
    for (int a = 0; a < 3; ++a) {
      for (int b = 3; b < scenario_.agents.machines; ++b) {
        if (a == 0 && b == 3) continue;
        world_.network.link(a, b).blocked = world_.network.link(b, a).blocked = blocked;
      }
    }
  };
  block(true);
  world_.scheduler.at(scenario_.halves_until, [block] { block(false); });
}

bool Cluster::run_until(Nanos end, const std::function<bool()>& enough) {
  while (!world_.judge.violation() && !world_.scheduler.empty() && world_.scheduler.next_time() <= end) {
    world_.scheduler.run_one();
    if (enough && enough()) {
      return true;
    }
  }
  return !enough;
}

Report Cluster::run() {
  for (const auto& machine : machines_) {
    // The two that join the halves come first, so that they find each other before anybody else.
    const bool joint = scenario_.halves_until > 0 && machine->index() % 3 == 0;
    const Nanos start = joint ? 0 : world_.random.between(scenario_.halves_until > 0 ? 100 : 0, 300) * kMillisecond;
    world_.scheduler.after(start, [&machine] { machine->start(); });
  }
  begin_in_halves();
  // Trouble may begin before the cluster is founded; most runs get a moment first.
  const Nanos calm = world_.random.chance_ppm(150'000) && scenario_.halves_until == 0 ? 0 : 3 * kSecond;
  world_.scheduler.at(calm, [this] {
    clients_.start();
    lockers_.start();
    orders_.start();
    halts_.start();
  });
  run_until(calm, nullptr);
  for (int round = 0; round < scenario_.rounds && !world_.judge.violation(); ++round) {
    faults_.start();
    run_until(world_.scheduler.now() + scenario_.trouble, nullptr);
    if (world_.judge.violation()) break;
    faults_.heal();
    settle();
    await_halts_everywhere();
  }
  if (!world_.judge.violation()) {
    clients_.stop();
    lockers_.stop();
    orders_.stop();
    halts_.stop();
    const Nanos now = world_.scheduler.now();
    // All was well once, but an agent may just have been cut off: a stream is silent for up to 2 s after the last fault
    // (network.h), so a first call may run into its patience of 2 s, and a second one has to make it.
    if (!write_everywhere(now + 5 * kSecond)) {
      world_.judge.fail(world_.scheduler.now(), "convergence", "a write did not succeed at every agent");
    }
    read_everything(now + 12 * kSecond);
    await_session_ends(world_.scheduler.now() + 10 * kSecond);
    await_order_ends(world_.scheduler.now() + 15 * kSecond);
  }
  check_history();
  return report();
}

// --- After every step. ---

void Cluster::observe(int index) {
  const Machine& machine = *machines_[static_cast<std::size_t>(index)];
  const Process* process = machine.process();
  ++observations_;
  const store::raft::HardState& hard = machine.disk().durable().state.hard;
  world_.judge.voted(world_.scheduler.now(), index, hard.term, hard.vote);
  if (process != nullptr && process->has_store()) {
    observe_raft(index, process->store().raft());
    observe_state(index, *process);
    if (observations_ % 32 == 0) {
      observe_bounds(index, *process);
    }
  }
  if (!machine.disk().complaint().empty()) {
    world_.judge.fail(world_.scheduler.now(), "disk", "n" + std::to_string(index) + ": " + machine.disk().complaint());
  }
  observe_lease();
}

void Cluster::observe_raft(int index, const store::raft::Raft& raft) {
  Judge& judge = world_.judge;
  const Nanos now = world_.scheduler.now();
  Seen& seen = seen_[static_cast<std::size_t>(index)];
  const Machine& machine = *machines_[static_cast<std::size_t>(index)];
  if (seen.life != machine.life()) {
    seen = Seen{};
    seen.life = machine.life();
    judge.log_starts_after(index, raft.log().first_index().previous(),
                           raft.log().term(raft.log().first_index().previous()).value_or(Term{}));
  }
  const Index known = judge.log_end(index);
  judge.means_to_vote(index, raft.term(), raft.vote());
  observe_log(index, raft.log());
  if (raft.role() == Role::kLeader) observe_leader(index, raft, known);
  judge.committed(now, index, raft.commit());
  // Both are as of the applied index; sampled, at the same indexes everywhere.
  if (raft.applied() != seen.conf_at && raft.applied().value % 4 == 0) {
    seen.conf_at = raft.applied();
    judge.conf_is(now, index, raft.applied(), raft.conf_state());
  }
}

void Cluster::observe_leader(int index, const store::raft::Raft& raft, Index known) {
  Judge& judge = world_.judge;
  const Nanos now = world_.scheduler.now();
  Seen& seen = seen_[static_cast<std::size_t>(index)];
  const bool led_before = seen.leads == raft.term();
  if (!led_before) {
    seen.leads = raft.term();
    seen.conf = raft.conf_state();
    judge.leads(now, index, raft.term());
    const auto node_of = [this](NodeId voter) {
      const auto it = index_of_.find(voter.value);
      return it == index_of_.end() ? -1 : it->second;
    };
    if (scenario_.look_at_disks && !judge.elected(raft.id(), raft.term(), raft.conf_state(), node_of)) {
      judge.fail(now, "elected by a majority", "n" + std::to_string(index) + " leads term " +
                                                   std::to_string(raft.term().value) +
                                                   " without the votes of a majority on their disks");
    }
  }
  // What came in since the last look is its own.
  for (Index i = known.next(); led_before && i <= raft.log().last_index(); i = i.next()) {
    if (raft.log().at(i).kind != store::raft::EntryKind::kConfChange) continue;
    const std::string where = "leader n" + std::to_string(index) + " at index " + std::to_string(i.value);
    if (raft.term() != judge.term_at(index, raft.commit())) judge.fail(now, "early configuration change", where);
    for (Index j = raft.applied().next(); j < i; j = j.next()) {
      if (raft.log().at(j).kind == store::raft::EntryKind::kConfChange)
        judge.fail(now, "one configuration change at a time", where + " and at " + std::to_string(j.value));
    }
  }
  if (raft.commit() > judge.commit_seen(index)) {
    const auto on_disk = [this](NodeId node, Index at, Term term) { return durable(node, at, term); };
    const store::raft::ConfState conf = raft.conf_state();
    const bool counted = judge.durable_majority(index, raft.commit(), seen.conf, on_disk) ||
                         judge.durable_majority(index, raft.commit(), conf, on_disk);
    if (!counted && scenario_.look_at_disks) {
      judge.fail(now, "durable majority", "leader n" + std::to_string(index) + " calls index " +
                                              std::to_string(raft.commit().value) +
                                              " committed, which is not on disk at a majority");
    }
    seen.conf = conf;
    if (led_before) {
      judge.counted(now, index, raft.commit(), raft.term());
    }
  }
}

void Cluster::observe_log(int index, const store::raft::Log& log) {
  Judge& judge = world_.judge;
  const Index before = log.first_index().previous();
  if (before > judge.log_end(index) || judge.term_at(index, before) != log.term(before).value_or(Term{})) {
    judge.log_starts_after(index, before, log.term(before).value_or(Term{}));
  }
  // By log matching one common entry means a common past; the judge checks each entry when it is appended.
  Index common = std::min(judge.log_end(index), log.last_index());
  while (common > before && judge.term_at(index, common) != log.term(common).value_or(Term{})) {
    common = common.previous();
  }
  if (common == log.last_index()) {
    if (judge.log_end(index) > common) judge.log_ends_at(index, common);
    return;
  }
  std::vector<Entry> fresh;
  for (Index i = common.next(); i <= log.last_index(); i = i.next()) {
    fresh.push_back(log.at(i));
  }
  judge.appended(world_.scheduler.now(), index, fresh);
}

void Cluster::observe_state(int index, const Process& process) {
  Seen& seen = seen_[static_cast<std::size_t>(index)];
  const std::uint64_t applied = store::kv::value(process.store().state().applied());
  if (applied == seen.applied) {
    return;
  }
  seen.applied = applied;
  if (applied % 16 == 0) {
    world_.judge.state_is(world_.scheduler.now(), index, Index{applied}, process.store().state().content_hash());
  }
}

void Cluster::observe_bounds(int index, const Process& process) {
  const store::Config& config = scenario_.agents.store;
  const store::Counters counters = process.store().counters();
  const auto check = [&](const char* what, std::size_t value, std::size_t bound) {
    if (value > bound) {
      world_.judge.fail(world_.scheduler.now(), "I5", std::string(what) + " of n" + std::to_string(index) + " holds " +
                                                          std::to_string(value) + ", bound " + std::to_string(bound));
    }
  };
  check("pending writes", counters.pending_writes, config.pending_writes_max);
  check("pending reads", counters.pending_reads, config.pending_reads_max);
  check("requests", process.requests_open(), config.pending_writes_max + config.pending_reads_max);
  check("mesh queue", process.mesh().queued_max(), Mesh::kQueueFramesMax);
  check("disk queue", machines_[static_cast<std::size_t>(index)]->disk().waiting_max(), 1);
  check("members", process.swim().members().size(), machines_.size());
  const store::raft::Log& log = process.store().raft().log();
  const std::uint64_t window = log.last_index().value + 1 - log.first_index().value;
  const std::uint64_t unapplied = log.last_index().value - std::min(log.last_index().value, log.applied().value);
  check("log window", window, 2 * config.log_keep_entries + 4'096 + unapplied);
}

void Cluster::observe_lease() {
  std::vector<std::pair<int, agent::Epoch>> passing;
  for (const auto& machine : machines_) {
    const Process* process = machine->process();
    if (process != nullptr && process->passes_orders(machine->local_now())) {
      passing.emplace_back(machine->index(), process->gate_epoch());
    }
  }
  world_.judge.passes(world_.scheduler.now(), passing);
}

bool Cluster::durable(NodeId node, Index index, Term term) const {
  const auto it = index_of_.find(node.value);
  return it != index_of_.end() && machines_[static_cast<std::size_t>(it->second)]->disk().durable().holds(index, term);
}

// --- At the end. ---

std::string Cluster::what_is_missing() const {
  std::set<std::pair<Term, NodeId>> leaders;  // one that is remembered from an earlier term is not known
  std::set<std::uint64_t> holders;
  int primaries = 0;
  for (const auto& machine : machines_) {
    const std::string name = "n" + std::to_string(machine->index());
    const Process* process = machine->process();
    if (process == nullptr || !process->has_store()) return name + " is down";
    if (process->swim().live_count() != machines_.size()) {
      return name + " sees " + std::to_string(process->swim().live_count()) + " members alive";
    }
    if (!process->store().leader()) return name + " knows no leader";
    const store::raft::Raft& raft = process->store().raft();
    leaders.emplace(raft.term(), process->store().leader());
    if (!raft.voter() && !raft.learner()) return name + " is not in the configuration";
    if (raft.tracker().members().joint()) return name + " is in a joint configuration";
    const store::kv::Lease* lease = process->store().state().lease(kService);
    if (lease == nullptr || lease->holder == store::kv::NodeId{}) return name + " sees no holder of the lease";
    holders.insert(store::kv::value(lease->holder));
    const bool serves = process->primary().serving() && process->passes_orders(machine->local_now());
    primaries += serves ? 1 : 0;
  }
  if (leaders.size() != 1) return "agents disagree about the leader";
  if (holders.size() != 1) return "agents disagree about the holder";
  if (primaries != 1) return std::to_string(primaries) + " primaries";
  return {};
}

void Cluster::settle() {
  const Nanos start = world_.scheduler.now();
  Nanos next_look = start;
  const bool settled = run_until(start + scenario_.settle_within, [this, &next_look] {
    if (world_.scheduler.now() < next_look) return false;
    next_look = world_.scheduler.now() + 20 * kMillisecond;
    return what_is_missing().empty();
  });
  settled_after_ = std::max(settled_after_, world_.scheduler.now() - start);
  if (!settled && !world_.judge.violation()) {
    world_.judge.fail(world_.scheduler.now(), "convergence",
                      "still not well after the end of all faults: " + what_is_missing());
  }
  world_.trace.add(world_.scheduler.now(), -1, "settled", static_cast<std::uint64_t>(settled_after_));
}

bool Cluster::write_everywhere(Nanos end) {
  std::size_t written = 0;
  std::function<void(int)> attempt = [&](int machine) {
    if (world_.scheduler.now() >= end) return;
    clients_.write_at(machine, "final" + std::to_string(machine), [&, machine](bool ok) {
      // An election may still be under way in the very last moment of a transfer: once more is fine.
      written += ok ? 1 : 0;
      if (!ok) attempt(machine);
    });
  };
  for (int i = 0; i < scenario_.agents.machines; ++i) {
    attempt(i);
  }
  const bool done = run_until(end, [&] { return written == machines_.size(); });
  if (!done) world_.scheduler.clear();  // the attempts point into this frame
  return done;
}

void Cluster::read_everything(Nanos end) {
  auto left = std::make_shared<std::size_t>(0);
  int machine = 0;
  for (const std::string& key : clients_.keys()) {
    ++*left;
    const store::Consistency consistency =
        *left % 2 == 0 ? store::Consistency::kDefault : store::Consistency::kConsistent;
    clients_.read_at(machine, key, consistency, [left](bool) { --*left; });
    machine = (machine + 1) % scenario_.agents.machines;
  }
  run_until(end, [left] { return *left == 0; });
}

// Nobody renews any more, so every session must end by its TTL.
void Cluster::await_session_ends(Nanos end) {
  if (world_.judge.violation()) return;
  const bool done = run_until(end, [this] {
    return std::all_of(machines_.begin(), machines_.end(), [](const auto& machine) {
      return machine->process() != nullptr && machine->process()->store().state().sessions().all().empty();
    });
  });
  if (!done && !world_.judge.violation())
    world_.judge.fail(world_.scheduler.now(), "sessions end", "a session without renewals is still there");
}

// The holder asks the exchange about everything that is open, and every agent knows every answer that a client got.
void Cluster::await_order_ends(Nanos end) {
  if (world_.judge.violation()) return;
  if (!run_until(end, [this] { return orders_.unfinished().empty(); }) && !world_.judge.violation())
    world_.judge.fail(world_.scheduler.now(), "I3, orders end", orders_.unfinished());
  orders_.check_everywhere();
}

// Whatever was parted agrees about halts soon after it can.
void Cluster::await_halts_everywhere() {
  if (world_.judge.violation() || !scenario_.halts.on) return;
  if (!run_until(world_.scheduler.now() + Halts::kSpread, [this] { return halts_.missing().empty(); }) && !world_.judge.violation())
    world_.judge.fail(world_.scheduler.now(), "S4, reaches everybody", halts_.missing());
}

void Cluster::check_history() {
  if (world_.judge.violation()) {
    return;
  }
  const LinearizabilityResult result = check_linearizable(history_);
  if (result.verdict != Verdict::kLinearizable) {
    world_.judge.fail(world_.scheduler.now(), "I2",
                      std::string(result.verdict == Verdict::kUndecided ? "could not decide" : "not linearizable") +
                          ": key " + result.key + "\n" + result.detail);
  }
  if (const std::string wrong = lockers_.contradiction(); !wrong.empty() && !world_.judge.violation())
    world_.judge.fail(world_.scheduler.now(), "locks and sessions", wrong);
}

Report Cluster::report() {
  Report out;
  out.violation = world_.judge.violation();
  out.trace_hash = world_.trace.hash();
  out.steps = world_.scheduler.executed();
  out.acknowledged = clients_.acknowledged();
  out.unknown = history_.count(Outcome::kUnknown) + history_.count(Outcome::kPending);
  out.entries = world_.judge.committed_up_to().value;
  out.terms = world_.judge.terms();
  out.grants = world_.judge.grants();
  out.orders = orders_.sent();
  out.halts = halts_.given();
  for (std::size_t i = 0; i < static_cast<std::size_t>(FaultKind::kCount); ++i) {
    out.faults += faults_.count(static_cast<FaultKind>(i));
  }
  out.settled_after = settled_after_;
  out.label = scenario_.label;
  return out;
}

}  // namespace sim
