#include "agent/drivers/access_log.h"

#include <utility>

#include "agent/io/timer.h"

namespace agent::drivers {

/// The log's thread: built, run and destroyed there.
class AccessLog::Writer {
 public:
  Writer(io::Loop& loop, AccessLog& log) : log_(log), timer_(loop, [this] { look(); }) {
    append_json_text(node_json_, log.settings_.node);
    timer_.arm_after(kIdlePause);
  }

  void look() {
    const bool any = sweep();
    timer_.arm_after(any ? kBusyPause : kIdlePause);
  }
  /// Everything that waits now. @return whether there was anything
  bool sweep() {
    const ClockPair clocks{io::wall_ms(), io::boottime_now()};
    std::size_t count = 0;
    for (const auto& lane : log_.lanes_) {
      count += lane->ring.drain([&](std::string_view bytes) {
        std::uint64_t target_bytes = 0;
        const proxy::AccessRecord record = read_record(bytes, target_bytes);
        append_access_json(block_, record, target_bytes, node_json_, clocks);
        block_ += '\n';
        ++waiting_;
        if (block_.size() >= kBlockBytes) write();
      });
    }
    write();
    return count > 0;
  }
  void reopen() { log_.settings_.sink->reopen(); }

 private:
  void write() {
    if (block_.empty()) return;
    const io::LinesWritten written = log_.settings_.sink->write(block_);
    log_.lines_.store(log_.lines_.load(std::memory_order_relaxed) + written.lines, std::memory_order_relaxed);
    log_.lost_.store(log_.lost_.load(std::memory_order_relaxed) + waiting_ - written.lines, std::memory_order_relaxed);
    log_.rotations_.store(log_.settings_.sink->rotations(), std::memory_order_relaxed);
    block_.clear();
    waiting_ = 0;
    const bool fails = written.error.has_value();
    if (fails == std::exchange(failing_, fails)) return;
    log_.problems_.sender().send(fails ? written.error->detail : std::string());
  }

  AccessLog& log_;
  io::Timer timer_;
  std::string node_json_, block_;
  std::size_t waiting_ = 0;  // lines in block_
  bool failing_ = false;
};

AccessLog::AccessLog(io::Loop& loop, AccessLogSettings settings, std::function<void(const std::string&)> on_problem)
    : settings_(std::move(settings)),
      problems_(loop, 64, [tell = std::move(on_problem)](std::string&& what) { tell(what); }),
      writer_(std::make_shared<Writer*>(nullptr)) {
  problems_.unref();
  for (std::size_t i = 0; i < settings_.workers; ++i) lanes_.push_back(std::make_unique<Lane>(settings_.ring_bytes));
}

io::Result<std::unique_ptr<AccessLog>> AccessLog::start(io::Loop& loop, AccessLogSettings settings,
                                                        std::function<void(const std::string&)> on_problem) {
  std::unique_ptr<AccessLog> log(new AccessLog(loop, std::move(settings), std::move(on_problem)));
  auto thread = io::Thread::start("access-log", [&self = *log, slot = log->writer_](io::Loop& own) {
    Writer writer(own, self);
    *slot = &writer;
    own.run();
    *slot = nullptr;
    writer.sweep();  // no worker writes any more
  });
  if (!thread) return tl::make_unexpected(thread.error());
  log->thread_ = std::move(*thread);
  return log;
}

AccessLog::~AccessLog() {
  if (thread_ == nullptr) return;
  thread_->stop();
  thread_->join();
}

void AccessLog::take(std::size_t worker, const proxy::AccessRecord& record) {
  Lane& lane = *lanes_[worker];
  lane.scratch.clear();
  append_record(lane.scratch, record, settings_.rules);
  (void)lane.ring.push(lane.scratch);  // counted there
  const bool full = lane.ring.half_full();
  // Once per filling: the thread may have gone to sleep for longer than the ring lasts.
  if (full && !lane.kicked) {
    thread_->post([slot = writer_] {
      if (*slot != nullptr) (*slot)->look();
    });
  }
  lane.kicked = full;
}

void AccessLog::reopen() {
  thread_->post([slot = writer_] {
    if (*slot == nullptr) return;
    (*slot)->sweep();
    (*slot)->reopen();
  });
}

AccessLogCounters AccessLog::counters() const {
  AccessLogCounters out;
  out.lines = lines_.load(std::memory_order_relaxed);
  out.lost = lost_.load(std::memory_order_relaxed);
  out.rotations = rotations_.load(std::memory_order_relaxed);
  for (const auto& lane : lanes_) out.dropped += lane->ring.dropped();
  return out;
}

}  // namespace agent::drivers
