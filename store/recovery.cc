#include "store/recovery.h"

#include <algorithm>

#include "store/kv/record.h"
#include "store/kv/state_machine.h"
#include "store/raft/confchange.h"
#include "store/raft/wire.h"

namespace store {
namespace {

// The rows of the recovered state: those of the old one, with what must not be believed any more set right.
Result<std::vector<kv::Record>> new_rows(const kv::StateMachine& machine, const kv::ClusterId& id, kv::Index index,
                                         NodeId self) {
  std::vector<kv::Record> rows;
  for (kv::Record& record : machine.records()) {
    auto row = kv::decode_row(record.key, *record.value);
    if (!row) return fail(Errc::kBadState, "the state: " + row.error().detail);
    if (auto* lease = std::get_if<kv::LeaseRow>(&*row)) {
      kv::Lease vacant = lease->lease;
      vacant.epoch = kv::Epoch{kv::value(machine.epoch(lease->service)) + kEpochJump};
      vacant.holder = vacant.preferred = kv::NodeId{};
      vacant.holder_name.clear();
      vacant.modify = index;
      record.value = kv::encode_lease(vacant);
    } else if (auto* counter = std::get_if<kv::EpochRow>(&*row)) {
      record.value = kv::encode_epoch({kv::Epoch{kv::value(counter->counter.epoch) + kEpochJump}, index});
    } else if (std::holds_alternative<kv::ClusterRow>(*row)) {
      record.value = kv::encode_cluster(id);
    } else if (const auto* member = std::get_if<kv::MemberRow>(&*row); member && kv::value(member->id) != self.value) {
      continue;
    }
    rows.push_back(std::move(record));
  }
  return rows;
}

Result<void> apply_log(kv::StateMachine& machine, const disk::LoadedState& loaded) {
  for (const raft::Entry& entry : loaded.entries) {
    if (entry.index <= loaded.applied.index) continue;
    const kv::Index index{entry.index.value};
    if (entry.kind != raft::EntryKind::kNormal || entry.data.size() == 0) {
      machine.skip(index);
    } else if (auto applied = machine.apply(index, entry.data.view()); !applied) {
      return fail(Errc::kBadState, "entry " + std::to_string(entry.index.value) + " of the log: " + applied.error().detail);
    }
  }
  return {};
}

// Saves the machine and restores it into itself: what k.v. knows to do with every index, done once more. @return the
// index of the last command.
Result<kv::Index> renumber(kv::StateMachine& machine, NodeId self, kv::Index at) {
  kv::Uuid id;
  id.bytes[0] = 1;
  std::vector<kv::CommandBody> commands{kv::RestoreBegin{id}};
  std::uint64_t number = 0;
  for (std::string& rows : kv::chunk_rows(machine.saved_rows())) commands.push_back(kv::RestoreChunk{id, number++, std::move(rows)});
  commands.push_back(kv::RestoreCommit{id, number});
  for (const kv::CommandBody& body : commands) {
    auto applied = machine.apply(at, kv::encode({{kv::NodeId{self.value}, 0}, body}));
    if (!applied || applied->outcome != kv::Outcome::kDone)
      return fail(Errc::kBadState, "the state cannot be numbered anew: " +
                                       (applied ? kv::to_string(applied->outcome) : applied.error().detail));
    at = kv::Index{kv::value(at) + 1};
  }
  return kv::Index{kv::value(at) - 1};
}

void name_dropped(RecoveryPlan& plan, const raft::ConfState& conf, const kv::StateMachine& machine) {
  std::vector<NodeId> voters = conf.voters, learners = conf.learners;
  voters.insert(voters.end(), conf.voters_outgoing.begin(), conf.voters_outgoing.end());
  learners.insert(learners.end(), conf.learners_next.begin(), conf.learners_next.end());
  const auto tidy = [self = plan.self](std::vector<NodeId>& ids) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    std::erase(ids, self);
  };
  tidy(voters);
  tidy(learners);
  std::erase_if(learners, [&](NodeId id) { return std::binary_search(voters.begin(), voters.end(), id); });
  plan.dropped_voters = voters;
  plan.dropped_learners = learners;
  voters.insert(voters.end(), learners.begin(), learners.end());
  for (const NodeId id : voters) {
    const auto known = machine.members().find(kv::NodeId{id.value});
    plan.names.push_back(known == machine.members().end() ? "" : known->second);
  }
}

}  // namespace

Result<Recovery> plan_recovery(NodeId self, const disk::LoadedState& loaded, const kv::ClusterId& id) {
  if (loaded.cluster_id.is_none() || loaded.applied.index == raft::Index{})
    return fail(Errc::kBadState, "this directory belongs to no cluster: there is nothing to recover");
  kv::StateMachine machine;
  if (auto rows = machine.load(kv::Index{loaded.applied.index.value}, loaded.records); !rows)
    return fail(Errc::kBadState, "the state: " + rows.error().detail);
  if (auto applied = apply_log(machine, loaded); !applied) return tl::unexpected<Error>(applied.error());
  Recovery recovery;
  RecoveryPlan& plan = recovery.plan;
  plan.self = self;
  plan.old_cluster = loaded.cluster_id;
  plan.term = loaded.hard.term;
  plan.applied = loaded.applied.index;
  plan.commit = std::max(loaded.hard.commit, loaded.applied.index);
  plan.last = loaded.entries.empty() ? loaded.start.index : loaded.entries.back().index;
  plan.last = std::max(plan.last, plan.applied);
  plan.keys = machine.entry_count();
  name_dropped(plan, loaded.applied.conf, machine);
  auto renumbered = renumber(machine, self, kv::Index{plan.last.value + kIndexJump});
  if (!renumbered) return tl::unexpected<Error>(renumbered.error());
  const raft::Index index{kv::value(*renumbered)};
  const raft::Term term{plan.term.value + 1};
  auto rows = new_rows(machine, id, kv::Index{index.value}, self);
  if (!rows) return tl::unexpected<Error>(rows.error());
  disk::PersistBatch& batch = recovery.batch;
  batch.replace_all = true;
  batch.hard = raft::HardState{term, NodeId{}, index};
  batch.applied = disk::AppliedMark{index, term, {}};
  batch.applied->conf.voters = {self};
  batch.records = std::move(*rows);
  batch.cluster_id = id;
  batch.grant.emplace(std::nullopt);
  return recovery;
}

}  // namespace store
