#include "tests/sim/process.h"

#include <cassert>
#include <utility>
#include <variant>

#include "agent/halt_keeper.h"

namespace sim {
namespace {

using std::chrono::milliseconds;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

agent::PrimaryConfig primary_config(const Machine& machine, const AgentSettings& settings) {
  agent::PrimaryConfig config = settings.primary;
  config.self = agent::HolderId{machine.id()};
  return config;
}

}  // namespace

Process::Process(Machine* machine)
    : machine_(machine),
      world_(&machine->world()),
      primary_(primary_config(*machine, machine->world().settings), machine->random().chance()),
      mesh_(machine->index(), machine->id(), &world_->network, &world_->scheduler, &machine->random(),
            {[this](RaftId from, Bytes frame) {
               const std::string_view bytes(reinterpret_cast<const char*>(frame.data()), frame.size());
               if (agent::is_halt_frame(bytes)) return world_->halt_frame(machine_->index(), from, std::string(bytes));
               store_->on_peer_frame(store::NodeId{from}, bytes, now());
             },
             [this](RaftId peer) {
               store_->on_peer_connected(store::NodeId{peer}, now());
               world_->mesh_peer(machine_->index(), peer, true);
             },
             [this](RaftId peer) {
               store_->on_peer_lost(store::NodeId{peer}, now());
               world_->mesh_peer(machine_->index(), peer, false);
             },
             [this](RaftId peer) { store_->on_peer_refused(store::NodeId{peer}, now()); }},
            [machine](std::function<void()> task) { machine->run(std::move(task)); }) {}

Process::~Process() = default;

void Process::begin() {
  begin_store();
  if (!store_) {
    return;
  }
  begin_gossip();
  feed_lease();
  primary_.on_lease(now(), lease_fed_);
  world_->began(machine_->index());
}

void Process::begin_store() {
  store::Config config = world_->settings.store;
  config.id = store::NodeId{machine_->id()};
  config.name = "n" + std::to_string(machine_->index());
  config.bootstrap_expect = machine_->bootstrap_expect();
  auto created = store::Store::create(config, machine_->disk().open(), machine_->random().chance(), now());
  if (!created) {
    machine_->die("store does not start: " + created.error().detail, false);
    return;
  }
  store_ = std::move(*created);
  on_space(machine_->disk().temper().space);
}

void Process::abandon() {
  for (auto& [request, answer] : std::exchange(answers_, {})) {
    world_->scheduler.after(kMillisecond, [waiting = std::move(answer)] { waiting(nullptr); });
  }
}

void Process::settle() {
  // Each core may set the others to work; all of them come to rest within a few turns.
  for (int turn = 0; store_ && turn < 1'000; ++turn) {
    const bool gossip_worked = settle_gossip();
    const bool store_worked = settle_store();
    const bool primary_worked = settle_primary();
    if (!gossip_worked && !store_worked && !primary_worked) {
      arm_timers();
      return;
    }
  }
  if (store_) {
    world_->judge.fail(world_->scheduler.now(), "I5", "the cores of n" + std::to_string(machine_->index()) +
                                                          " keep each other busy for ever");
  }
}

void Process::arm_timers() {
  machine_->arm(Alarm::kGossip, swim_->next_deadline());
  machine_->arm(Alarm::kStore, store_->next_deadline());
  machine_->arm(Alarm::kPrimary, primary_.next_deadline());
}

void Process::tick(Alarm alarm) {
  switch (alarm) {
    case Alarm::kGossip: swim_->tick(now()); break;
    case Alarm::kStore: store_->tick(now()); break;
    case Alarm::kPrimary: primary_.tick(now()); break;
  }
}

void Process::send_to_peer(RaftId peer, const std::string& frame) {
  const auto* bytes = reinterpret_cast<const std::byte*>(frame.data());
  mesh_.send(peer, Bytes(bytes, bytes + frame.size()), true);
}

store::RequestNo Process::open_request(Answer answer) {
  const store::RequestNo request{next_request_++};
  answers_.emplace(request, std::move(answer));
  return request;
}

void Process::write(store::kv::CommandBody body, milliseconds patience, Answer answer) {
  store_->write(open_request(std::move(answer)), std::move(body), now() + patience, now());
}

void Process::read(store::Consistency consistency, milliseconds patience, Answer answer) {
  store_->read(open_request(std::move(answer)), consistency, now() + patience, now());
}

void Process::renew_session(store::kv::SessionId session, milliseconds patience, Answer answer) {
  store_->renew_session(open_request(std::move(answer)), session, now() + patience, now());
}

void Process::drain() { primary_.drain(now()); }
void Process::undrain() { primary_.resume(now()); }
void Process::switchover(agent::HolderId target) { primary_.switchover(now(), target); }

void Process::transfer_leadership() {
  store_->transfer_leadership(open_request([](const store::Reply*) {}), store::NodeId{}, now());
}

void Process::on_instance(agent::InstanceState state) { primary_.on_instance(now(), state); }

// --- The store's side. ---

bool Process::settle_store() {
  if (members_changed_) {
    members_changed_ = false;
    tell_members();
  }
  if (!store_->has_output()) {
    return false;
  }
  store::Output output = store_->take_output(now());
  obey(output);
  return true;
}

void Process::obey(store::Output& output) {
  if (output.fatal) {
    // Only the failure itself is a reason: a rule of Raft found broken is none, whatever the disk did before.
    machine_->die(output.fatal->reason, disk_failed_ && output.fatal->reason.starts_with("disk: "));
    return;
  }
  for (store::PeerFrame& frame : output.frames) {
    const auto* bytes = reinterpret_cast<const std::byte*>(frame.bytes.data());
    mesh_.send(frame.to.value, Bytes(bytes, bytes + frame.bytes.size()), frame.urgent);
  }
  if (output.persist) {
    const store::disk::BatchSeq seq = output.persist->seq;
    machine_->disk().write(std::move(*output.persist), [this, seq, machine = machine_, life = machine_->life()](bool ok) {
      if (life != machine->life()) return;
      machine->run([this, seq, ok] {
        if (ok) {
          store_->on_persisted(seq, now());
        } else {
          disk_failed_ = true;
          const bool io = static_cast<std::uint64_t>(seq) % 2 == 0;
          store_->on_disk_error({io ? store::disk::Errc::kIo : store::disk::Errc::kDiskFull, "simulated"}, now());
        }
      });
    });
  }
  for (store::disk::Task& task : output.tasks) {
    const store::disk::TaskSeq seq = task.seq;
    machine_->disk().run(std::move(task), [this, seq, machine = machine_, life = machine_->life()](auto answer) {
      if (life != machine->life()) return;
      machine->run([this, seq, answer] { store_->on_task_done(seq, answer, now()); });
    });
  }
  for (store::Reply& reply : output.replies) {
    const auto it = answers_.find(reply.request);
    if (it == answers_.end()) {
      world_->judge.fail(world_->scheduler.now(), "contract", "a request was answered twice or was never made");
      continue;
    }
    const Answer answer = std::move(it->second);
    answers_.erase(it);
    answer(&reply);
  }
  for (const store::Event& event : output.events) {
    on_event(event);
  }
}

void Process::on_event(const store::Event& event) {
  std::visit(Overloaded{[&](const store::LeaderChanged& e) {
                          world_->trace.add(world_->scheduler.now(), machine_->index(), "leader", e.leader.value,
                                            e.term.value);
                          feed_lease();
                        },
                        [&](const store::LeaseChanged&) { feed_lease(); },
                        [&](const store::SnapshotInstalled& e) {
                          world_->trace.add(world_->scheduler.now(), machine_->index(), "snapshot",
                                            store::kv::value(e.index));
                          feed_lease();
                        },
                        [&](const store::ClusterFounded&) { announce_cluster(); },
                        [&](const store::ConfChanged& e) {
                          world_->trace.add(world_->scheduler.now(), machine_->index(), "conf", e.conf.voters.size(),
                                            e.conf.learners.size());
                        },
                        [&](const store::ForeignPeer&) {
                          world_->judge.fail(world_->scheduler.now(), "founding", "a second cluster came about");
                        },
                        [&](const store::SteppedAside& e) {
                          world_->trace.add(world_->scheduler.now(), machine_->index(), "steps aside", e.to.value);
                        },
                        [&](const store::DiskHangs& e) {
                          world_->trace.add(world_->scheduler.now(), machine_->index(), "disk hangs", static_cast<std::uint64_t>(e.hangs));
                          primary_.on_trouble(now(), e.hangs ? "the own disk hangs" : "");
                        },
                        [&](const store::FoundingWaits& e) {
                          world_->trace.add(world_->scheduler.now(), machine_->index(), "founding waits",
                                            e.founder.value, 0, e.reason);
                        }},
             event);
}

void Process::feed_lease() {
  agent::LeaseRecord record;
  if (const store::kv::Lease* lease = store_->state().lease(kService)) {
    record.epoch = agent::Epoch{store::kv::value(lease->epoch)};
    record.holder = agent::HolderId{store::kv::value(lease->holder)};
    record.preferred = agent::HolderId{store::kv::value(lease->preferred)};
  }
  lease_fed_ = record;
  world_->trace.add(world_->scheduler.now(), machine_->index(), "lease", static_cast<std::uint64_t>(record.epoch),
                    static_cast<std::uint64_t>(record.holder));
  world_->judge.lease_is(world_->scheduler.now(), machine_->index(),
                         store::raft::Index{store::kv::value(store_->state().applied())}, record.epoch, record.holder);
  primary_.on_lease(now(), record);
}

// --- The primary's side. ---

bool Process::settle_primary() {
  const std::vector<agent::PrimaryOutput> outputs = primary_.take_output();
  for (const agent::PrimaryOutput& output : outputs) {
    obey(output);
  }
  return !outputs.empty();
}

void Process::obey(const agent::PrimaryOutput& output) {
  const auto number = [](agent::Epoch epoch) { return static_cast<std::uint64_t>(epoch); };
  std::visit(
      Overloaded{
          [&](const agent::Acquire& e) {
            store::kv::LeaseAcquire acquire;
            acquire.service = kService;
            acquire.holder = store::kv::NodeId{machine_->id()};
            acquire.holder_name = "n" + std::to_string(machine_->index());
            acquire.lease_ms = static_cast<std::uint32_t>(world_->settings.primary.lease.count());
            acquire.margin_ms = world_->settings.margin_ms;
            // As agents do when they start: it begins the audit, whose rows the judge compares with all others.
            if (!store_->state().audit().begun())
              write(store::kv::AuditNote{store::kv::AuditKind::kConfig, 1, acquire.holder_name, "settings", "simulated"},
                    world_->settings.primary.lease, [](const store::Reply*) {});
            write(acquire, world_->settings.primary.lease,
                  [this, e](const store::Reply* reply) { answer_primary(e.request, reply); });
          },
          [&](const agent::Renew& e) {
            store_->renew(open_request([this, e](const store::Reply* reply) { answer_primary(e.request, reply); }),
                          kService, store::kv::Epoch{number(e.epoch)}, now() + world_->settings.primary.lease, now());
          },
          [&](const agent::Release& e) {
            const store::kv::LeaseRelease release{kService, store::kv::Epoch{number(e.epoch)},
                                                  store::kv::NodeId{static_cast<std::uint64_t>(e.preferred)}};
            world_->before_release(machine_->index(), [this, e, release] {
              write(release, world_->settings.primary.lease,
                    [this, e](const store::Reply* reply) { answer_primary(e.request, reply); });
            });
          },
          [&](const agent::RoleChange& e) {
            world_->trace.add(world_->scheduler.now(), machine_->index(),
                              e.role == agent::Role::kPrimary ? "primary" : "standby", number(e.epoch),
                              e.serving ? 1 : 0, e.reason);
            if (e.role == agent::Role::kPrimary) {
              world_->judge.granted(world_->scheduler.now(), machine_->index(), e.epoch);
            }
            world_->role_changed(machine_->index());
          },
          [&](const agent::DrainOrders&) {
            world_->scheduler.after(machine_->random().between(0, 150) * kMillisecond,
                                    [this, machine = machine_, life = machine_->life()] {
                                      if (life != machine->life()) return;
                                      machine->run([this] { primary_.on_orders_drained(now()); });
                                    });
          },
          [&](const agent::CloseGate&) {
            gate_until_ = store::TimePoint::min();
            if (lease_view_) lease_view_->valid_until_ns = 0;
            world_->role_changed(machine_->index());
          },
          [&](const agent::OpenGate& e) {
            gate_epoch_ = e.epoch;
            gate_until_ = e.valid_until;
            const proxy::Epoch epoch{number(e.epoch)};
            if (!lease_view_ || lease_view_->epoch != epoch) {
              if (lease_view_) lease_view_->valid_until_ns = 0;
              lease_view_ = std::make_shared<proxy::LeaseView>(epoch);
            }
            lease_view_->valid_until_ns = std::chrono::nanoseconds(e.valid_until.time_since_epoch()).count();
            world_->role_changed(machine_->index());
          }},
      output);
}

void Process::answer_primary(agent::RequestNo request, const store::Reply* reply) {
  if (reply == nullptr) {
    return;  // the process is ending, and this core with it
  }
  agent::Answer answer = agent::Answer::kUnknown;
  agent::Epoch epoch{};
  if (!reply->result) {
    answer = reply->result.error().code == store::Errc::kStaleEpoch ? agent::Answer::kRefused : agent::Answer::kUnknown;
  } else if (const auto* written = std::get_if<store::Written>(&*reply->result)) {
    epoch = agent::Epoch{store::kv::value(written->epoch)};
    if (written->outcome == store::kv::Outcome::kDone) {
      answer = agent::Answer::kGranted;
    } else if (written->outcome != store::kv::Outcome::kForgotten) {
      answer = agent::Answer::kRefused;
    }
  } else {
    answer = agent::Answer::kGranted;
  }
  primary_.on_answer(now(), request, answer, epoch);
}

}  // namespace sim
