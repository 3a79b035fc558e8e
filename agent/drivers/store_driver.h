#pragma once
/// Drives store::Store: its disk is a thread of its own, its peers are the mesh, its requests become callbacks.
///
/// Everything that reaches the core in one turn of the loop is carried out together at the end of that turn: one
/// batch for the disk, one set of frames. While a batch is being synced the next one gathers, so the number of
/// syncs follows the disk and not the number of writes.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/thread.h"
#include "agent/io/timer.h"
#include "store/disk/log_store.h"
#include "store/disk/sync_window.h"
#include "store/store.h"

namespace agent::drivers {

/// Where the driver's news go. All are called on the loop; none may destroy the driver.
struct StoreCallbacks {
  std::function<void(store::NodeId to, std::string bytes, bool urgent)> send;  ///< a frame for one peer
  std::function<void(const store::Event&)> on_event;
  std::function<void(const std::string& reason)> on_fatal;  ///< the core has stopped for good: end the process
  /// The own wall clock and the stamps of orders differ by a minute or more, or do so no longer (0). Once per change.
  std::function<void(io::Milliseconds ahead)> on_clock = [](io::Milliseconds) {};
};

/// How long the disk took, per batch; bucket i counts batches up to kBucketMs[i], the last one all the rest.
struct DiskTimes {
  std::optional<std::chrono::microseconds> p50, p99;  ///< of the last minute; none: nothing was written in it
  static constexpr std::array<double, 10> kBucketMs{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 100, 1000};
  std::array<std::uint64_t, kBucketMs.size() + 1> buckets{};
  std::uint64_t count = 0;
  double sum_ms = 0;
};

/// Ownership: of the agent. Thread: the control loop; the LogStore lives on the storage thread once started.
class StoreDriver {
 public:
  using WriteDone = std::function<void(store::Result<store::Written>)>;
  using ReadDone = std::function<void(store::Result<store::Readable>)>;
  using Done = std::function<void(store::Result<void>)>;

  /// Loads the disk (blocking, before anything else runs), builds the core and starts the storage thread.
  /// Errors: those of LogStore::load() and Store::create() as kBadState with their text; kStopped without a thread.
  static store::Result<std::unique_ptr<StoreDriver>> start(io::Loop& loop, store::Config config,
                                                           std::unique_ptr<store::disk::LogStore> log,
                                                           store::Chance chance, StoreCallbacks callbacks);
  /// Waits for the batch under way. Requests without an answer end without a callback.
  ~StoreDriver();
  StoreDriver(const StoreDriver&) = delete;
  StoreDriver& operator=(const StoreDriver&) = delete;

  // Requests: `done` runs once, from the loop, never inside the call.
  void write(store::kv::CommandBody command, io::TimePoint deadline, WriteDone done);
  void read(store::Consistency consistency, io::TimePoint deadline, ReadDone done);
  void renew(std::string service, store::kv::Epoch epoch, io::TimePoint deadline, Done done);
  void renew_session(store::kv::SessionId session, io::TimePoint deadline, Done done);
  void bootstrap(Done done);
  void transfer_leadership(store::NodeId to, Done done);
  void remove_server(store::NodeId server, Done done);
  /// How every server stands, as the leader sees it; from any node.
  using FiguresDone = std::function<void(store::Result<store::Figures>)>;
  void figures(FiguresDone done);
  /// `woken` runs once when the topic's index is above `after`. Errors: kBusy.
  store::Result<store::kv::WatchId> watch(const store::kv::Topic& topic, store::kv::Index after, std::function<void()> woken);
  void unwatch(store::kv::WatchId id);

  // From the mesh and from gossip.
  void on_frame(store::NodeId from, std::string_view bytes);
  void on_connected(store::NodeId peer);
  void on_lost(store::NodeId peer);
  void on_refused(store::NodeId peer);
  void on_members(std::vector<store::MemberInfo> members);

  // Views of the state on disk, for a snapshot that is saved: frozen, read a piece at a time. `done` runs on the loop.
  using ViewDone = std::function<void(store::disk::Result<store::disk::TaskAnswer>)>;
  /// Opens one that holds everything applied here by now. Errors: kIo (too many), kStopped.
  /// @param from  rows with smaller keys are left out; "" = none
  /// @return its name, to be closed by close_view() once `done` has run without an error
  store::disk::ViewId open_view(ViewDone done, std::string from = {});
  /// The next rows in order of keys, about `bytes_max` bytes of them; none = the end.
  void read_view(store::disk::ViewId view, std::size_t bytes_max, ViewDone done);
  /// To be called for every view that was opened: it holds back old versions of rows on the disk.
  void close_view(store::disk::ViewId view);

  [[nodiscard]] const store::Store& core() const { return *store_; }
  [[nodiscard]] const DiskTimes& disk_times() const { return times_; }
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  using ReplyDone = std::function<void(store::Reply&&)>;
  struct Synced {
    store::disk::BatchSeq seq{};
    std::chrono::nanoseconds took{0};
    store::disk::Result<void> result;
    std::optional<std::chrono::microseconds> p50, p99;
  };
  struct TaskDone {
    store::disk::TaskSeq seq{};  // 0 = ordered by this driver
    std::uint64_t number = 0;    // then: of view_calls_
    store::disk::Result<store::disk::TaskAnswer> answer;
  };
  struct Looked {
    store::disk::Space space{};
  };
  using News = std::variant<Synced, TaskDone, Looked>;

  StoreDriver(io::Loop& loop, StoreCallbacks callbacks);
  store::RequestNo open_request(ReplyDone done);
  ReplyDone plain(Done done);
  void input() { pump_.schedule(); }
  void pump();
  void carry_out(store::Output& output);
  void on_news(News&& news);
  void on_synced(Synced&& synced);
  void on_viewed(TaskDone&& done);
  void on_disk(std::function<void()> work);
  void run_task(store::disk::Task task, std::uint64_t number);
  void call_disk(store::disk::TaskWork work, ViewDone done);
  void open_due_views();
  void look_at_room();
  void look_at_clock();

  io::Loop& loop_;
  StoreCallbacks callbacks_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<store::disk::LogStore> log_;  // touched by the storage thread only, once that runs
  io::Mailbox<News> news_;
  io::Timer timer_;
  io::Deferral pump_;
  std::uint64_t request_count_ = 0;
  std::unordered_map<std::uint64_t, ReplyDone> requests_;  // bounded by Store's pending limits
  std::unordered_map<std::uint64_t, std::function<void()>> watches_;  // bounded by kv::kWatchesMax
  struct WaitingView {
    store::disk::ViewId view{};
    store::raft::Index wanted;  // the state on disk has to reach it first
    std::string from;
    ViewDone done;
  };
  std::vector<WaitingView> waiting_views_;             // bounded by store::disk::kViewsMax
  std::map<std::uint64_t, ViewDone> view_calls_;       // under way on the storage thread
  std::uint64_t view_count_ = 0, view_call_count_ = 0;
  store::disk::SyncWindow window_;                     // of the storage thread
  io::Timer room_timer_, clock_timer_;
  store::disk::Space space_ = store::disk::Space::kPlenty;
  DiskTimes times_;
  bool stopped_ = false;
  bool clock_differs_ = false;
  std::unique_ptr<io::Thread> storage_;  // last: joined before anything above goes
};

}  // namespace agent::drivers
