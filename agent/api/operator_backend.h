#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "agent/api/backend.h"
#include "agent/io/spool.h"

/// What an operator does with the replicated store: save it, restore it, move leadership, take servers out.
/// Implemented by agent/backend_operator.cc and by fakes in tests. Thread: the control loop.
namespace agent::api {

/// A saved state: gzip tar of meta.json, state.bin and SHA256SUMS.
struct SnapshotSaved {
  std::shared_ptr<const io::Spool> archive;
  std::uint64_t rows = 0;
  ReadInfo info;  ///< of the read that it is: `applied` = index of the state
};
struct SnapshotRestored {
  Index index{};  ///< every index is this or above now
  std::uint64_t rows = 0;
  std::string halted;  ///< the halt that was given because the ledger of orders was empty; empty = none
};

class HaltBackend;  // halt_backend.h
class AuditBackend;  // audit_backend.h
class PlanBackend;   // plan_backend.h

class OperatorBackend {
 public:
  OperatorBackend() = default;
  OperatorBackend(const OperatorBackend&) = delete;
  OperatorBackend& operator=(const OperatorBackend&) = delete;
  virtual ~OperatorBackend() = default;

  /// Errors: those of read_barrier(), kBusy (too many at once), kInternal (disk).
  virtual void snapshot_save(ReadMode mode, Completion<SnapshotSaved> done) = 0;
  /// All or nothing: without an error everything was replaced, with one nothing (kNoQuorum, kTimeout: unknown).
  /// @param other_cluster  take a state of another cluster as well
  /// Errors: kBadRequest (the archive is damaged, cut short, newer, or of another cluster), kTooLarge, kBusy, kNoLeader ...
  virtual void snapshot_restore(std::shared_ptr<io::Spool> archive, bool other_cluster,
                                Completion<SnapshotRestored> done) = 0;
  /// @param server  name or Raft id; empty = the best voter. Errors: kNotFound, kNoLeader, kTimeout.
  virtual void raft_transfer(std::string server, Completion<std::monostate> done) = 0;
  /// Errors: kNotFound, kConflict, kNoLeader, kTimeout.
  virtual void raft_remove(std::string server, Completion<std::monostate> done) = 0;
  /// Backend::raft() with what only the leader knows of the servers; without a leader what is known here.
  virtual void raft_figures(Completion<RaftInfo> done) = 0;
  /// Orders to stop; nullptr = not offered, or not any more.
  [[nodiscard]] virtual HaltBackend* halts() { return nullptr; }
  [[nodiscard]] virtual AuditBackend* audit() { return nullptr; }  ///< the same
  [[nodiscard]] virtual PlanBackend* plans() { return nullptr; }   ///< the same
  /// Drops kept answers of this agent's proxy. @param route  empty = of every route  @param prefix  of their targets
  /// @return how many. Errors: kNotFound (no route keeps any, or not that one).
  [[nodiscard]] virtual Result<std::size_t> purge_cache(const std::string& route, const std::string& prefix) {
    static_cast<void>(prefix);
    return tl::make_unexpected(Error{Errc::kNotFound, "no route keeps answers" + (route.empty() ? "" : ": " + route), {}});
  }
};

}  // namespace agent::api
