#include "agent/drivers/store_driver.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace agent::drivers {
namespace {

constexpr std::size_t kNewsWaitingMax = 1024;  // one batch at a time, a window of tasks per snapshot, views
constexpr std::uint64_t kOwnViewBit = std::uint64_t{1} << 63U;  // the core numbers its views from below
constexpr std::chrono::seconds kLookEvery{5}, kLookEveryWhenShort{1}, kClockEvery{1}, kClockDiffers{60};

/// std::function needs a copyable target; batches are moved once and run once.
struct BatchTask {
  store::disk::PersistBatch batch;
};

}  // namespace

StoreDriver::StoreDriver(io::Loop& loop, StoreCallbacks callbacks)
    : loop_(loop),
      callbacks_(std::move(callbacks)),
      news_(loop, kNewsWaitingMax, [this](News&& news) { on_news(std::move(news)); }),
      timer_(loop, [this] {
        store_->tick(io::boottime_now());
        input();
      }),
      pump_(loop, [this] { pump(); }),
      room_timer_(loop, [this] { look_at_room(); }),
      clock_timer_(loop, [this] { look_at_clock(); }) {}

StoreDriver::~StoreDriver() {
  if (storage_) {
    storage_->stop();
    storage_->join();
  }
}

store::Result<std::unique_ptr<StoreDriver>> StoreDriver::start(io::Loop& loop, store::Config config,
                                                               std::unique_ptr<store::disk::LogStore> log,
                                                               store::Chance chance, StoreCallbacks callbacks) {
  auto loaded = log->load();
  if (!loaded) return store::fail(store::Errc::kBadState, loaded.error().detail);
  auto core = store::Store::create(config, std::move(*loaded), std::move(chance), io::boottime_now());
  if (!core) return tl::make_unexpected(core.error());
  std::unique_ptr<StoreDriver> driver(new StoreDriver(loop, std::move(callbacks)));
  driver->store_ = std::move(*core);
  driver->log_ = std::move(log);
  auto thread = io::Thread::start("storage", [](io::Loop& own) { own.run(); });
  if (!thread) return store::fail(store::Errc::kStopped, thread.error().detail);
  driver->storage_ = std::move(*thread);
  driver->look_at_room();
  driver->look_at_clock();
  driver->input();
  return driver;
}

store::RequestNo StoreDriver::open_request(ReplyDone done) {
  const std::uint64_t number = ++request_count_;
  requests_.emplace(number, std::move(done));
  input();
  return store::RequestNo{number};
}

StoreDriver::ReplyDone StoreDriver::plain(Done done) {
  return [done = std::move(done)](store::Reply&& reply) {
    if (reply.result) done({});
    else done(tl::make_unexpected(std::move(reply.result.error())));
  };
}

void StoreDriver::write(store::kv::CommandBody command, io::TimePoint deadline, WriteDone done) {
  const store::RequestNo request = open_request([done = std::move(done)](store::Reply&& reply) {
    if (reply.result) done(std::get<store::Written>(*reply.result));
    else done(tl::make_unexpected(std::move(reply.result.error())));
  });
  store_->write(request, std::move(command), deadline, io::boottime_now());
}

void StoreDriver::read(store::Consistency consistency, io::TimePoint deadline, ReadDone done) {
  const store::RequestNo request = open_request([done = std::move(done)](store::Reply&& reply) {
    if (reply.result) done(std::get<store::Readable>(*reply.result));
    else done(tl::make_unexpected(std::move(reply.result.error())));
  });
  store_->read(request, consistency, deadline, io::boottime_now());
}

void StoreDriver::renew(std::string service, store::kv::Epoch epoch, io::TimePoint deadline, Done done) {
  store_->renew(open_request(plain(std::move(done))), std::move(service), epoch, deadline, io::boottime_now());
}

void StoreDriver::renew_session(store::kv::SessionId session, io::TimePoint deadline, Done done) {
  store_->renew_session(open_request(plain(std::move(done))), session, deadline, io::boottime_now());
}

void StoreDriver::bootstrap(Done done) { store_->bootstrap(open_request(plain(std::move(done))), io::boottime_now()); }

void StoreDriver::transfer_leadership(store::NodeId to, Done done) {
  store_->transfer_leadership(open_request(plain(std::move(done))), to, io::boottime_now());
}

void StoreDriver::remove_server(store::NodeId server, Done done) {
  store_->remove_server(open_request(plain(std::move(done))), server, io::boottime_now());
}

void StoreDriver::figures(FiguresDone done) {
  const store::RequestNo request = open_request([done = std::move(done)](store::Reply&& reply) {
    if (reply.result) done(std::get<store::Figures>(*reply.result));
    else done(tl::make_unexpected(std::move(reply.result.error())));
  });
  store_->figures(request, io::boottime_now());
}

store::Result<store::kv::WatchId> StoreDriver::watch(const store::kv::Topic& topic, store::kv::Index after,
                                                     std::function<void()> woken) {
  auto id = store_->watch(topic, after);
  if (!id) return id;
  watches_.emplace(static_cast<std::uint64_t>(*id), std::move(woken));
  input();
  return id;
}

void StoreDriver::unwatch(store::kv::WatchId id) {
  watches_.erase(static_cast<std::uint64_t>(id));
  store_->unwatch(id);
}

void StoreDriver::on_frame(store::NodeId from, std::string_view bytes) {
  store_->on_peer_frame(from, bytes, io::boottime_now());
  input();
}

void StoreDriver::on_connected(store::NodeId peer) {
  store_->on_peer_connected(peer, io::boottime_now());
  input();
}

void StoreDriver::on_lost(store::NodeId peer) {
  store_->on_peer_lost(peer, io::boottime_now());
  input();
}

void StoreDriver::on_refused(store::NodeId peer) {
  store_->on_peer_refused(peer, io::boottime_now());
  input();
}

void StoreDriver::on_members(std::vector<store::MemberInfo> members) {
  store_->on_members(std::move(members), io::boottime_now());
  input();
}

void StoreDriver::pump() {
  // A callback may feed the core again; that is carried out in this same turn, so that a release or a renewal never
  // waits for a timer. The core itself bounds how often it has more to do.
  for (int rounds = 0; rounds < 64 && !stopped_; ++rounds) {
    if (!store_->has_output()) break;
    store::Output output = store_->take_output(io::boottime_now());
    carry_out(output);
  }
  if (stopped_) return;
  if (store_->has_output()) input();
  const io::TimePoint deadline = store_->next_deadline();
  if (deadline == io::TimePoint::max()) timer_.disarm();
  else timer_.arm(deadline);
}

void StoreDriver::carry_out(store::Output& output) {
  if (output.fatal) {
    stopped_ = true;
    timer_.disarm();
    callbacks_.on_fatal(output.fatal->reason);
    return;
  }
  for (store::PeerFrame& frame : output.frames) callbacks_.send(frame.to, std::move(frame.bytes), frame.urgent);
  if (output.persist) {
    auto task = std::make_shared<BatchTask>(BatchTask{std::move(*output.persist)});
    on_disk([this, log = log_.get(), task, sender = news_.sender()] {
      const io::TimePoint start = io::boottime_now();
      auto result = log->write(task->batch);
      const io::TimePoint end = io::boottime_now();
      window_.add(end - start, end);
      sender.send(Synced{task->batch.seq, end - start, std::move(result), window_.percentile(50, end),
                         window_.percentile(99, end)});
      sender.send(Looked{log->space()});
    });
  }
  for (store::disk::Task& task : output.tasks) run_task(std::move(task), 0);
  // Freeing a large state takes its time, and the storage thread has that.
  for (std::shared_ptr<void>& discarded : output.discarded) on_disk([discarded] {});
  output.discarded.clear();
  for (store::Reply& reply : output.replies) {
    const auto found = requests_.find(static_cast<std::uint64_t>(reply.request));
    if (found == requests_.end()) continue;
    const ReplyDone done = std::move(found->second);
    requests_.erase(found);
    done(std::move(reply));
  }
  for (const store::Event& event : output.events) callbacks_.on_event(event);
  for (const store::kv::WatchId id : output.woken) {
    const auto found = watches_.find(static_cast<std::uint64_t>(id));
    if (found == watches_.end()) continue;
    const std::function<void()> woken = std::move(found->second);
    watches_.erase(found);
    woken();
  }
}

// --- the storage thread -------------------------------------------------------------------------------------------

void StoreDriver::on_disk(std::function<void()> work) {
  if (!storage_->post(std::move(work)))
    store_->on_disk_error({store::disk::Errc::kStopped, "the storage thread has ended"}, io::boottime_now());
}

void StoreDriver::run_task(store::disk::Task task, std::uint64_t number) {
  auto shared = std::make_shared<store::disk::Task>(std::move(task));
  on_disk([log = log_.get(), shared, number, sender = news_.sender()] {
    auto answer = log->run(*shared);
    sender.send(TaskDone{shared->seq, number, std::move(answer)});
  });
}

void StoreDriver::on_news(News&& news) {
  if (stopped_) return;
  if (auto* synced = std::get_if<Synced>(&news)) {
    on_synced(std::move(*synced));
  } else if (auto* done = std::get_if<TaskDone>(&news)) {
    if (done->number != 0) return on_viewed(std::move(*done));
    store_->on_task_done(done->seq, std::move(done->answer), io::boottime_now());
  } else {
    space_ = std::get<Looked>(news).space;
    store_->on_space(space_, io::boottime_now());
    const auto every = space_ == store::disk::Space::kPlenty ? kLookEvery : kLookEveryWhenShort;
    // Put off by every batch, since each of them has looked.
    room_timer_.arm(io::boottime_now() + every);
  }
  input();
}

void StoreDriver::on_synced(Synced&& synced) {
  const double ms = std::chrono::duration<double, std::milli>(synced.took).count();
  std::size_t bucket = 0;
  while (bucket < DiskTimes::kBucketMs.size() && ms > DiskTimes::kBucketMs[bucket]) ++bucket;
  ++times_.buckets[bucket];
  ++times_.count;
  times_.sum_ms += ms;
  times_.p50 = synced.p50;
  times_.p99 = synced.p99;
  if (synced.p50 && synced.p99) store_->on_disk_times({*synced.p50, *synced.p99}, io::boottime_now());
  if (synced.result) store_->on_persisted(synced.seq, io::boottime_now());
  else store_->on_disk_error(synced.result.error(), io::boottime_now());
  open_due_views();
}

// Without writes of ours the room still shrinks and grows: by what others keep there.
void StoreDriver::look_at_room() {
  on_disk([log = log_.get(), sender = news_.sender()] { sender.send(Looked{log->space()}); });
}

// On a timer of its own, which no write puts off: retention ends while orders keep coming.
void StoreDriver::look_at_clock() {
  if (stopped_) return;
  store_->on_wall_clock(static_cast<std::uint64_t>(io::wall_ms()), io::boottime_now());
  input();
  const io::Milliseconds ahead{store_->counters().wall_ahead_ms};
  const bool differs = std::chrono::abs(ahead) >= kClockDiffers;
  if (std::exchange(clock_differs_, differs) != differs) callbacks_.on_clock(differs ? ahead : io::Milliseconds{0});
  clock_timer_.arm_after(kClockEvery);
}

// --- views --------------------------------------------------------------------------------------------------------

store::disk::ViewId StoreDriver::open_view(ViewDone done, std::string from) {
  const store::disk::ViewId view{++view_count_ | kOwnViewBit};
  if (waiting_views_.size() >= store::disk::kViewsMax) {
    loop_.post([done = std::move(done)] {
      done(store::disk::fail(store::disk::Errc::kIo, "too many snapshots are being saved"));
    });
    return view;
  }
  waiting_views_.push_back({view, store_->status(io::boottime_now()).applied, std::move(from), std::move(done)});
  store_->mirror(io::boottime_now());
  open_due_views();
  input();
  return view;
}

void StoreDriver::open_due_views() {
  const auto due = std::stable_partition(waiting_views_.begin(), waiting_views_.end(), [this](const WaitingView& view) {
    return view.wanted > store_->durable_applied();
  });
  std::vector<WaitingView> views(std::make_move_iterator(due), std::make_move_iterator(waiting_views_.end()));
  waiting_views_.erase(due, waiting_views_.end());
  for (WaitingView& view : views) call_disk(store::disk::OpenView{view.view, std::move(view.from)}, std::move(view.done));
}

void StoreDriver::read_view(store::disk::ViewId view, std::size_t bytes_max, ViewDone done) {
  call_disk(store::disk::ReadView{view, bytes_max}, std::move(done));
}

void StoreDriver::close_view(store::disk::ViewId view) {
  call_disk(store::disk::CloseView{view}, [](const auto&) {});
}

void StoreDriver::call_disk(store::disk::TaskWork work, ViewDone done) {
  const std::uint64_t number = ++view_call_count_;
  view_calls_.emplace(number, std::move(done));
  run_task({store::disk::TaskSeq{}, std::move(work)}, number);
}

void StoreDriver::on_viewed(TaskDone&& done) {
  auto call = view_calls_.extract(done.number);
  if (!call.empty()) call.mapped()(std::move(done.answer));
}

}  // namespace agent::drivers
