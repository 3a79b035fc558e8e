#pragma once
/// The operator's side of the API on the real store: snapshots saved and restored on a helper thread, so that neither the
/// loop nor the disk's thread waits for packing, and the hand on the voters.

#include <functional>
#include <memory>
#include <string>

#include "agent/api/operator_backend.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/thread.h"
#include "agent/snapshot_files.h"
#include "proxy/route.h"

namespace agent {

/// What it needs of the agent; all outlive it.
struct OperatorParts {
  io::Loop* loop = nullptr;
  drivers::StoreDriver* store = nullptr;
  std::function<api::RaftInfo()> raft;
  std::string name, version;         ///< of this agent, for meta.json
  std::string spool_directory;       ///< for files on their way
  std::chrono::milliseconds write_timeout{2000};
  std::function<std::shared_ptr<const proxy::RouteTable>()> routes;  ///< in force; empty in tests without a proxy
};

/// Ownership: of the agent. Thread: the loop. Bound: kJobsMax snapshots under way, one restore.
class AgentOperator final : public api::OperatorBackend {
 public:
  static constexpr std::size_t kJobsMax = 4;

  explicit AgentOperator(OperatorParts parts);
  ~AgentOperator() override;

  void snapshot_save(api::ReadMode mode, api::Completion<api::SnapshotSaved> done) override;
  void snapshot_restore(std::shared_ptr<io::Spool> archive, bool other_cluster,
                        api::Completion<api::SnapshotRestored> done) override;
  void raft_transfer(std::string server, api::Completion<std::monostate> done) override;
  void raft_remove(std::string server, api::Completion<std::monostate> done) override;
  void raft_figures(api::Completion<api::RaftInfo> done) override;
  api::Result<std::size_t> purge_cache(const std::string& route, const std::string& prefix) override;

 private:
  struct Save;
  struct Restore;
  using Finish = std::function<void()>;

  void open_view(const std::shared_ptr<Save>& save);
  void read_on(const std::shared_ptr<Save>& save);
  void add_rows(const std::shared_ptr<Save>& save, std::vector<store::kv::Record> records);
  void pack(const std::shared_ptr<Save>& save);
  void end_save(const std::shared_ptr<Save>& save, api::Result<api::SnapshotSaved> result);
  void begin_restore(const std::shared_ptr<Restore>& restore);
  void propose_next(const std::shared_ptr<Restore>& restore);
  void propose(const std::shared_ptr<Restore>& restore, store::kv::CommandBody body, std::function<void(store::kv::Index)> then);
  void end_restore(const std::shared_ptr<Restore>& restore, api::Result<api::SnapshotRestored> result);
  /// Runs `work` on the helper thread and what it returns on the loop.
  bool on_helper(std::function<Finish()> work);
  [[nodiscard]] api::Result<store::NodeId> resolve(const std::string& server) const;

  OperatorParts parts_;
  std::size_t saves_ = 0;
  bool restoring_ = false;
  std::uint64_t restores_ = 0;
  std::shared_ptr<bool> alive_;
  io::Mailbox<Finish> finished_;
  std::unique_ptr<io::Thread> helper_;  // started by the first job
};

}  // namespace agent
