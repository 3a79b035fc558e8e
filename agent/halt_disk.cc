#include "agent/halt_disk.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/io/clock.h"

namespace agent {

HaltDisk::HaltDisk(io::Loop& loop, HaltDiskParts parts, store::kv::HaltSet held)
    : parts_(std::move(parts)), held_(std::move(held)), timer_(loop, [this] { tick(); }),
      written_(loop, 2, [this](io::Result<void>&& written) { on_written(written); }) {}

HaltDisk::~HaltDisk() {
  if (thread_) {
    thread_->stop();
    thread_->join();
  }
  // The write under way may have been done without our having heard of it: once more does no harm.
  if (held_version_ == version_) return;
  if (const auto written = parts_.write(parts_.path, encode(newest_)); !written) failed(written.error().detail);
}

HaltDisk::State HaltDisk::state() const {
  if (held_version_ == version_) return State::kKept;
  if (!began_) return State::kFailed;
  return failing_ && io::boottime_now() - *began_ >= parts_.late ? State::kLate : State::kWriting;
}

bool HaltDisk::holds(const store::kv::Halt& halt) const {
  const store::kv::Halt* held = held_.find(halt.tag);
  return held != nullptr && *held == halt;
}

void HaltDisk::keep(const HaltFile& file) {
  newest_ = file;
  ++version_;
  again_at_.reset();
  if (!began_) write();
  arm();
}

void HaltDisk::again() {
  if (state() != State::kFailed) return;
  again_at_.reset();
  write();
  arm();
}

void HaltDisk::when_told(std::function<void()> told) {
  if (waits_.size() >= kWaitsMax) waits_.front().until = io::TimePoint{};
  const bool known = told_version_ == version_;
  waits_.push_back({version_, known ? io::TimePoint{} : io::boottime_now() + parts_.late, std::move(told)});
  arm();
}

void HaltDisk::write() {
  if (!thread_) {
    auto started = io::Thread::start("halts", [](io::Loop& loop) { loop.run(); });
    if (!started) {
      told_version_ = version_;
      return failed(started.error().detail);
    }
    thread_ = std::move(*started);
  }
  writing_version_ = version_;
  writing_ = newest_.set;
  const bool posted = thread_->post([bytes = encode(newest_), write = parts_.write, path = parts_.path, sender = written_.sender()] {
    sender.send(write(path, bytes));
  });
  assert(posted);  // one task at a time
  began_ = io::boottime_now();
}

void HaltDisk::on_written(const io::Result<void>& written) {
  began_.reset();
  if (written) {
    held_ = std::move(writing_);
    held_version_ = told_version_ = writing_version_;
    if (std::exchange(failing_, false)) parts_.log("halts_kept", parts_.path + ": what stands is on the disk again");
  } else {
    told_version_ = writing_version_;
    failed(written.error().detail);
  }
  // What came in meanwhile goes at once, also behind a failure: it is the first that is heard of it.
  if (writing_version_ != version_) {
    again_at_.reset();
    write();
  }
  answer(io::boottime_now());
}

void HaltDisk::failed(const std::string& why) {
  ++failures_;
  if (!began_) again_at_ = io::boottime_now() + kAgain;
  if (!std::exchange(failing_, true)) parts_.log("halts_not_kept", parts_.path + ": " + why + "; they stand, and a restart would forget them");
}

void HaltDisk::tick() {
  const io::TimePoint now = io::boottime_now();
  if (began_ && !failing_ && now - *began_ >= parts_.late) failed("the disk has not answered for " + std::to_string(parts_.late.count()) + " ms");
  if (again_at_ && *again_at_ <= now) {
    again_at_.reset();
    write();
  }
  answer(now);
}

void HaltDisk::answer(io::TimePoint now) {
  std::vector<Wait> due;
  std::erase_if(waits_, [&](Wait& wait) {
    const bool over = wait.version <= told_version_ || wait.until <= now;
    if (over) due.push_back(std::move(wait));
    return over;
  });
  arm();
  for (Wait& wait : due) wait.told();
}

void HaltDisk::arm() {
  io::TimePoint next = again_at_.value_or(io::TimePoint::max());
  if (began_ && !failing_) next = std::min(next, *began_ + parts_.late);
  for (const Wait& wait : waits_) next = std::min(next, wait.until);
  if (next == io::TimePoint::max()) timer_.disarm();
  else timer_.arm(std::max(next, io::boottime_now()));
}

}  // namespace agent
