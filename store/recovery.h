#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/disk/log_store.h"
#include "store/types.h"

/// Going on alone after a majority of the disks is lost for good: `outrigger raft recover`. Pure: what is on the
/// survivor's disk goes in, one batch that makes it a cluster of its own comes out.
///
/// What it does, and why nothing old can disturb it:
///   - Every entry of the survivor's log is applied, committed or not: what a client was told may be among those that
///     this node did not yet know to be committed. So the only acknowledged writes that can be lost are those that never
///     reached this disk.
///   - The cluster gets a new id, derived by chance. Members of the old one speak for the old id; their frames are
///     dropped and counted at either side, so they can neither vote this node down nor be elected over it. They must be
///     seeded anew (`outrigger raft recover --reseed` on each).
///   - Indexes jump by kIndexJump and epochs by kEpochJump: nobody who saw a number of the lost majority ever sees a lower
///     one, so that waits do not sleep through changes and a fenced resource refuses the primary of before.
///   - All leases are vacant: whoever held one may be gone.
namespace store {

inline constexpr std::uint64_t kIndexJump = 1'000'000'000'000;
inline constexpr std::uint64_t kEpochJump = 1'000'000;

/// What would be done; shown before it is.
struct RecoveryPlan {
  NodeId self;
  kv::ClusterId old_cluster;
  raft::Term term;        ///< newest that this node knows
  raft::Index applied;    ///< on disk
  raft::Index commit;     ///< known to be committed
  raft::Index last;       ///< end of the log; what lies behind `commit` will count as committed
  std::vector<NodeId> dropped_voters, dropped_learners;
  std::vector<std::string> names;  ///< of the dropped ones, as far as the state knows them, in the same order
  std::size_t keys = 0;
};

struct Recovery {
  RecoveryPlan plan;
  disk::PersistBatch batch;  ///< empty directory or not: it replaces state and log
};

/// @param loaded  all of it: records, entries, nothing left in more_records
/// @param id      of the new cluster, from chance, never none
/// Errors: kBadState (belongs to no cluster; the state or an entry cannot be read; this node is no member any more).
[[nodiscard]] Result<Recovery> plan_recovery(NodeId self, const disk::LoadedState& loaded, const kv::ClusterId& id);

}  // namespace store
