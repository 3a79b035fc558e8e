#include "agent/drivers/store_driver.h"

#include <utility>

namespace agent::drivers {
namespace {

constexpr std::size_t kSyncedWaitingMax = 16;  // the core has one batch out at a time

/// std::function needs a copyable target; batches are moved once and run once.
struct BatchTask {
  store::disk::PersistBatch batch;
};

}  // namespace

StoreDriver::StoreDriver(io::Loop& loop, StoreCallbacks callbacks)
    : loop_(loop),
      callbacks_(std::move(callbacks)),
      synced_(loop, kSyncedWaitingMax, [this](Synced&& synced) { on_synced(std::move(synced)); }),
      timer_(loop, [this] {
        store_->tick(io::boottime_now());
        input();
      }),
      pump_(loop, [this] { pump(); }) {}

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
    const bool posted = storage_->post([log = log_.get(), task, sender = synced_.sender()] {
      const io::TimePoint start = io::boottime_now();
      auto result = log->write(task->batch);
      sender.send(Synced{task->batch.seq, io::boottime_now() - start, std::move(result)});
    });
    if (!posted) store_->on_disk_error({store::disk::Errc::kStopped, "the storage thread has ended"}, io::boottime_now());
  }
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

void StoreDriver::on_synced(Synced&& synced) {
  const double ms = std::chrono::duration<double, std::milli>(synced.took).count();
  std::size_t bucket = 0;
  while (bucket < DiskTimes::kBucketMs.size() && ms > DiskTimes::kBucketMs[bucket]) ++bucket;
  ++times_.buckets[bucket];
  ++times_.count;
  times_.sum_ms += ms;
  if (synced.result) store_->on_persisted(synced.seq, io::boottime_now());
  else store_->on_disk_error(synced.result.error(), io::boottime_now());
  input();
}

}  // namespace agent::drivers
