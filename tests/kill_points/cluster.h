#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "store/disk/rocks_store.h"
#include "store/store.h"
#include "tests/kill_points/fault_env.h"

/// Three stores in one process, on virtual time and network and on real disks: what an agent does with its store, without
/// sockets and threads, so that one process can be killed at any step of any of them.
namespace kill_points {

/// LogStore that announces its steps by what they mean: "vote", "append", "apply", "membership", "trim", "founding",
/// "switch" (to an installed snapshot), "load", "view_open", "view_read", "stage_begin", "stage_append", "stage_seal",
/// "stage_drop".
class NamedStore final : public store::disk::LogStore {
 public:
  NamedStore(std::unique_ptr<store::disk::LogStore> real, Faults* faults) : real_(std::move(real)), faults_(faults) {}
  store::disk::Result<store::disk::LoadedState> load() override;
  store::disk::Result<void> write(const store::disk::PersistBatch& batch) override;
  store::disk::Result<store::disk::TaskAnswer> run(const store::disk::Task& task) override;
  store::disk::Space space() override { return real_->space(); }

 private:
  void announce(const std::vector<std::string>& names, bool before);
  std::unique_ptr<store::disk::LogStore> real_;
  Faults* faults_;
};

class Cluster {
 public:
  /// Called with key and value when a write is acknowledged to its client.
  using Acknowledged = std::function<void(const std::string& key, const std::string& value)>;
  Cluster(std::filesystem::path root, FaultEnv* env, Faults* faults, Acknowledged acknowledged);

  /// Opens the node's directory and starts it. @return what is wrong, empty if nothing
  std::string start(std::uint64_t id);
  void stop(std::uint64_t id);            ///< as SIGTERM would: everything is closed
  void wipe(std::uint64_t id);            ///< its directory is gone; stopped before
  std::string bootstrap(std::uint64_t id);
  /// Asks node `id` to write and waits. @return false: not acknowledged within two seconds of virtual time
  bool put(std::uint64_t id, const std::string& key, const std::string& value);
  bool await(const std::function<bool()>& done, store::Milliseconds limit = store::Milliseconds(20'000));
  void run(store::Milliseconds time);

  [[nodiscard]] std::uint64_t leader() const;  ///< 0 = none
  [[nodiscard]] bool voters_are(const std::set<std::uint64_t>& ids) const;
  [[nodiscard]] store::Store* store(std::uint64_t id);
  [[nodiscard]] const std::string& failure() const { return failure_; }  ///< a node that stopped, and why
  bool remove(std::uint64_t id);
  bool transfer(std::uint64_t to);
  /// Nodes that count as gone for good: the others stop expecting them.
  void forget(std::uint64_t id) { forgotten_.insert(id); }

 private:
  struct Node {
    std::unique_ptr<NamedStore> disk;
    std::unique_ptr<store::Store> core;
  };
  void settle();
  void carry_out(std::uint64_t id, Node& node);
  void gossip();
  store::RequestNo open() { return store::RequestNo{++requests_}; }
  [[nodiscard]] std::filesystem::path directory(std::uint64_t id) const { return root_ / std::to_string(id); }
  bool asked(store::RequestNo request, store::Milliseconds limit);

  std::filesystem::path root_;
  FaultEnv* env_;
  Faults* faults_;
  Acknowledged acknowledged_;
  std::map<std::uint64_t, Node> nodes_;
  std::set<std::uint64_t> forgotten_;
  struct Frame {
    std::uint64_t from, to;
    std::string bytes;
  };
  std::deque<Frame> frames_;
  std::map<store::RequestNo, std::pair<std::string, std::string>> writes_;
  std::map<store::RequestNo, bool> answers_;
  std::uint64_t requests_ = 0;
  std::uint64_t random_;
  store::TimePoint now_{std::chrono::hours(1)};
  store::TimePoint gossip_at_{};
  std::string failure_;
};

}  // namespace kill_points
