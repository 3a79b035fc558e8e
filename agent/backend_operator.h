#pragma once
/// The operator's side of the API on the real store: snapshots saved and restored on a helper thread, so that neither the
/// loop nor the disk's thread waits for packing, and the hand on the voters.
///
/// A save reads a view of the store in slices on the loop, gathers rows in a spool file and packs that file on the helper.
/// A restore unpacks on the helper, checks everything, and only then proposes the rows, a chunk per entry (decision 0012):
/// an archive that is cut short or forged changes nothing.

#include <functional>
#include <memory>
#include <string>

#include "agent/api/operator_backend.h"
#include "agent/api/audit_backend.h"
#include "agent/api/plan_backend.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/thread.h"
#include "agent/snapshot_files.h"
#include "proxy/route.h"

namespace agent {

/// What it needs of the agent; all outlive it.
struct OperatorParts {
  io::Loop* loop = nullptr;              ///< never null
  drivers::StoreDriver* store = nullptr; ///< never null
  std::function<api::RaftInfo()> raft;   ///< as this agent sees it now
  std::string name, version;         ///< of this agent, for meta.json
  std::string spool_directory;       ///< for files on their way; each is unlinked as soon as it is open
  std::chrono::milliseconds write_timeout{2000};  ///< of one chunk of a restore, and of each change of the voters
  std::function<std::shared_ptr<const proxy::RouteTable>()> routes;  ///< in force; empty in tests without a proxy
  std::function<api::HaltBackend*()> halts{};  ///< empty in tests without any
  std::function<api::AuditBackend*()> audit{}; ///< the same
  std::function<api::PlanBackend*()> plans{};  ///< the same
};

/// Ownership: of the agent. Thread: the loop. Bound: kJobsMax snapshots under way, one restore.
class AgentOperator final : public api::OperatorBackend {
 public:
  static constexpr std::size_t kJobsMax = 4;

  explicit AgentOperator(OperatorParts parts);
  ~AgentOperator() override;  ///< waits for the helper's present job; completions that are open are not called

  // Every `done` runs once, on the loop, never inside the call. Errors are api::Error: kJobsMax or a restore under way
  // (too many), a disk that takes no file, a store without leader, an archive that is none or of another cluster.
  void snapshot_save(api::ReadMode mode, api::Completion<api::SnapshotSaved> done) override;
  void snapshot_restore(std::shared_ptr<io::Spool> archive, bool other_cluster,
                        api::Completion<api::SnapshotRestored> done) override;
  /// @param server  of all below: a member's name, or its Raft id in decimal or hex; kNotFound names an unknown one
  void raft_transfer(std::string server, api::Completion<std::monostate> done) override;
  void raft_remove(std::string server, api::Completion<std::monostate> done) override;
  void raft_figures(api::Completion<api::RaftInfo> done) override;
  [[nodiscard]] api::HaltBackend* halts() override { return parts_.halts ? parts_.halts() : nullptr; }
  [[nodiscard]] api::AuditBackend* audit() override { return parts_.audit ? parts_.audit() : nullptr; }
  [[nodiscard]] api::PlanBackend* plans() override { return parts_.plans ? parts_.plans() : nullptr; }
  /// @param route  name, empty = all  @param prefix  of paths, empty = all  @return how many answers have gone
  api::Result<std::size_t> purge_cache(const std::string& route, const std::string& prefix) override;

 private:
  struct Save;     ///< one snapshot on its way out; shared by the steps below, the last one ends it
  struct Restore;  ///< the same for one on its way in
  using Finish = std::function<void()>;

  // The steps of a save, in order.
  void open_view(const std::shared_ptr<Save>& save);
  void read_on(const std::shared_ptr<Save>& save);
  void add_rows(const std::shared_ptr<Save>& save, std::vector<store::kv::Record> records);
  void pack(const std::shared_ptr<Save>& save);
  void end_save(const std::shared_ptr<Save>& save, api::Result<api::SnapshotSaved> result);
  // The steps of a restore, in order; propose_next runs once per chunk.
  void begin_restore(const std::shared_ptr<Restore>& restore);
  void propose_next(const std::shared_ptr<Restore>& restore);
  void halt_before(const std::shared_ptr<Restore>& restore);
  void commit(const std::shared_ptr<Restore>& restore);
  void propose(const std::shared_ptr<Restore>& restore, store::kv::CommandBody body, std::function<void(store::kv::Index)> then);
  void end_restore(const std::shared_ptr<Restore>& restore, api::Result<api::SnapshotRestored> result);
  /// Runs `work` on the helper thread and what it returns on the loop. @return false: there is no thread to be had
  bool on_helper(std::function<Finish()> work);
  [[nodiscard]] api::Result<store::NodeId> resolve(const std::string& server) const;

  OperatorParts parts_;
  std::size_t saves_ = 0;       // under way, <= kJobsMax
  bool restoring_ = false;
  std::uint64_t restores_ = 0;  // begun so far: names the chunks of each
  std::shared_ptr<bool> alive_; // false once destroyed
  io::Mailbox<Finish> finished_;
  std::unique_ptr<io::Thread> helper_;  // started by the first job
};

}  // namespace agent
