#include "store/disk/sync_window.h"

#include <algorithm>

namespace store::disk {
namespace {

// Upper ends of the buckets in nanoseconds, each a fifth above the one before.
std::array<std::int64_t, SyncWindow::kBuckets> make_ends() {
  std::array<std::int64_t, SyncWindow::kBuckets> ends{};
  std::int64_t end = 10'000;
  for (std::int64_t& one : ends) {
    one = end;
    end += end / 5;
  }
  return ends;
}

const std::array<std::int64_t, SyncWindow::kBuckets> kEnds = make_ends();

}  // namespace

std::int64_t SyncWindow::step_of(raft::TimePoint now) {
  return now.time_since_epoch() / (kWindow / static_cast<std::int64_t>(kSteps));
}

bool SyncWindow::current(const Step& step, std::int64_t now) const {
  return step.number >= 0 && now - step.number < static_cast<std::int64_t>(kSteps);
}

void SyncWindow::add(std::chrono::nanoseconds took, raft::TimePoint now) {
  const std::int64_t number = step_of(now);
  Step& step = steps_[static_cast<std::size_t>(number) % kSteps];
  if (step.number != number) {
    step = Step{};
    step.number = number;
  }
  std::size_t bucket = 0;
  while (bucket + 1 < kBuckets && took.count() > kEnds[bucket]) ++bucket;
  ++step.buckets[bucket];
  ++step.count;
}

std::uint64_t SyncWindow::count(raft::TimePoint now) {
  std::uint64_t total = 0;
  for (const Step& step : steps_) total += current(step, step_of(now)) ? step.count : 0;
  return total;
}

std::optional<std::chrono::microseconds> SyncWindow::percentile(unsigned percent, raft::TimePoint now) {
  const std::uint64_t total = count(now);
  if (total == 0) return std::nullopt;
  const std::uint64_t wanted = (total * percent + 99) / 100;
  std::uint64_t below = 0;
  std::size_t bucket = 0;
  for (; bucket < kBuckets; ++bucket) {
    for (const Step& step : steps_) below += current(step, step_of(now)) ? step.buckets[bucket] : 0;
    if (below >= wanted) break;
  }
  return std::chrono::microseconds(kEnds[std::min(bucket, kBuckets - 1)] / 1000);
}

}  // namespace store::disk
