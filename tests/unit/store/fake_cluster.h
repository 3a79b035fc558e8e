#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/store.h"
#include "tests/support/disk_tasks.h"

/// A small cluster of Stores on a virtual clock, network and disk: deterministic, no threads, no files.
/// Frames take kLatency and stay in order per link and class; the disk takes kFlush; a crash loses what it had not
/// flushed and all frames of the crashed node.
namespace store::test {

using namespace std::chrono_literals;

inline constexpr auto kLatency = 1ms;
inline constexpr auto kFlush = 1ms;

/// The disk of one node as plain values, with the rules of LogStore::write().
class FakeDisk : public disk::LogStore {
 public:
  disk::Result<disk::LoadedState> load() override;
  disk::Result<void> write(const disk::PersistBatch& batch) override;
  disk::Result<disk::TaskAnswer> run(const disk::Task& task) override;
  disk::Space space() override { return room; }
  disk::Space room = disk::Space::kPlenty;                    ///< what space() says
  std::optional<disk::Error> task_error;                      ///< every task fails with it, if set
  [[nodiscard]] const support::DiskTasks& tasks() const { return tasks_; }
  [[nodiscard]] const disk::LoadedState& content() const { return content_; }
  [[nodiscard]] std::size_t log_size() const { return content_.entries.size(); }

 private:
  disk::LoadedState content_;
  std::map<std::string, std::string> rows_;
  support::DiskTasks tasks_;
  bool fresh_ = true;
};

class FakeCluster {
 public:
  using Answer = Result<std::variant<Written, Readable, Renewed, Changed, Figures>>;
  struct Node {
    NodeId id;
    Config config;
    FakeDisk disk;
    std::unique_ptr<Store> store;  // null = crashed
    std::vector<Event> events;
    std::map<RequestNo, Answer> replies;
    std::vector<kv::WatchId> woken;
    std::optional<std::string> fatal;
    std::optional<std::pair<TimePoint, disk::PersistBatch>> flushing;
    std::deque<disk::Task> tasks;  // behind `flushing`
    std::uint64_t life = 0;
    bool left = false;
    bool wants_vote = true;
    Duration flush_time = kFlush;
  };

  explicit FakeCluster(std::uint64_t seed = 1) : random_(seed) {}

  /// Ids are 1, 2, ...; names n1, n2, ...
  NodeId add(const std::function<void(Config&)>& settings = {});
  Node& at(NodeId id) { return *nodes_.at(id); }
  Node& at(std::uint64_t id) { return at(NodeId{id}); }
  Store& store(std::uint64_t id) { return *at(id).store; }

  void crash(NodeId id);
  void restart(NodeId id);
  /// Frames between the two sets are lost from now on.
  void cut(std::set<std::uint64_t> a, std::set<std::uint64_t> b);
  void heal() { cuts_.clear(); }
  /// Loses every frame for which this is true.
  std::function<bool(NodeId from, NodeId to, bool urgent)> loses;
  /// Is shown every frame that is sent and not lost.
  std::function<void(NodeId from, NodeId to, std::string_view bytes)> sees;

  void gossip();  ///< tells every node who is there
  void run(Duration time);
  /// Runs until it is true; false if `limit` passed first.
  bool run_until(const std::function<bool()>& done, Duration limit = 10s);

  /// Node 1 founds a cluster alone; or all with bootstrap_expect do.
  bool bootstrap(std::uint64_t id = 1);
  [[nodiscard]] NodeId leader() const;  ///< of the highest term among live nodes that lead; 0 = none
  bool await_leader(Duration limit = 5s);
  bool await_voters(std::size_t count, Duration limit = 10s);

  RequestNo write(std::uint64_t id, kv::CommandBody command, Duration within = 2s);
  RequestNo read(std::uint64_t id, Consistency consistency, Duration within = 2s);
  RequestNo renew(std::uint64_t id, const std::string& service, std::uint64_t epoch, Duration within = 1s);
  RequestNo renew_session(std::uint64_t id, kv::SessionId session, Duration within = 1s);
  RequestNo bootstrap_request(std::uint64_t id);
  /// The reply if it has come.
  std::optional<Answer> reply(std::uint64_t id, RequestNo request);
  /// Runs until the reply comes; asserts by exception-free default: an Errc::kTimeout answer if it never does.
  Answer await(std::uint64_t id, RequestNo request, Duration limit = 10s);
  Answer put(std::uint64_t id, const std::string& key, const std::string& value) {
    return await(id, write(id, kv::Set{key, value, 0}));
  }
  kv::Epoch acquire(std::uint64_t id, const std::string& service = "trader", std::uint32_t lease_ms = 1500);

  [[nodiscard]] TimePoint now() const { return now_; }
  template <class T>
  std::vector<T> events(std::uint64_t id) {
    std::vector<T> found;
    for (const Event& event : at(id).events) {
      if (const T* e = std::get_if<T>(&event)) found.push_back(*e);
    }
    return found;
  }
  /// Equal content at every live node that applied the same index.
  bool same_state();
  std::uint64_t frames_sent = 0;
  std::map<NodeId, std::vector<MemberInfo>> gossip_override;  ///< what a node is told instead

 private:
  struct Flight {
    TimePoint at;
    NodeId from, to;
    std::uint64_t from_life, to_life;
    std::string bytes;
    bool urgent;
  };
  void step(TimePoint until);
  void drain(Node& node);
  [[nodiscard]] TimePoint next_event() const;
  [[nodiscard]] bool is_cut(NodeId from, NodeId to) const;
  Chance chance();
  void connect_all(NodeId id);

  std::uint64_t random_;
  TimePoint now_ = TimePoint{} + 1h;
  std::map<NodeId, std::unique_ptr<Node>> nodes_;
  std::deque<Flight> flights_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  std::uint64_t next_request_ = 1;
};

}  // namespace store::test
