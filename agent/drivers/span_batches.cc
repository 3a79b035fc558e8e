#include "agent/drivers/span_batches.h"

#include <algorithm>
#include <cassert>

namespace agent::drivers {

bool SpanBatches::is_full(const Batch& batch) const {
  return batch.count >= settings_.batch_spans || batch.spans.size() >= settings_.batch_bytes || batch.form != Form::kSpans;
}

void SpanBatches::add(std::string_view spans, std::size_t count, io::TimePoint now) {
  if (bytes_ + spans.size() > settings_.queue_bytes) {
    counters_.dropped_full += count;
    return;
  }
  // What is under way is what was sent: it takes nothing more. One that waits for another try may grow until it is full.
  const bool open = !batches_.empty() && !(under_way_ && batches_.size() == 1) && !is_full(batches_.back());
  if (!open) {
    batches_.emplace_back();
    batches_.back().begun = now;
  }
  Batch& batch = batches_.back();
  if (!batch.spans.empty()) {
    batch.spans += ',';
    ++bytes_;
  }
  batch.spans += spans;
  batch.count += count;
  bytes_ += spans.size();
}

void SpanBatches::add_whole(Form form, std::string body, std::size_t count, io::TimePoint now) {
  assert(form != Form::kSpans && count > 0);
  if (bytes_ + body.size() > settings_.queue_bytes) {
    counters_.dropped_full += count;
    return;
  }
  bytes_ += body.size();
  batches_.emplace_back();
  Batch& batch = batches_.back();
  batch.form = form;
  batch.spans = std::move(body);
  batch.count = count;
  batch.begun = now;
}

const SpanBatches::Batch* SpanBatches::next(io::TimePoint now) {
  if (under_way_ || batches_.empty()) return nullptr;
  Batch& batch = batches_.front();
  const bool due = is_full(batch) || batches_.size() > 1 || now >= batch.begun + settings_.wait;
  if (!hurried_ && (!due || now < not_before_)) return nullptr;
  under_way_ = true;
  if (!batch.first_tried) batch.first_tried = now;
  return &batch;
}

void SpanBatches::pop() {
  assert(under_way_);
  under_way_ = false;
  bytes_ -= batches_.front().spans.size();
  batches_.pop_front();
}

void SpanBatches::answered(Delivered what, io::TimePoint) {
  const std::uint64_t count = batches_.front().count, rejected = std::min<std::uint64_t>(what.rejected, count);
  counters_.rejected += rejected;
  counters_.exported += count - rejected;
  pause_ = io::Milliseconds{0};
  not_before_ = {};
  pop();
}

void SpanBatches::answered(Refused, io::TimePoint) {
  counters_.rejected += batches_.front().count;
  pause_ = io::Milliseconds{0};
  not_before_ = {};
  pop();
}

void SpanBatches::answered(TryAgain what, io::TimePoint now) {
  if (now - *batches_.front().first_tried >= kKeep) {
    counters_.dropped_late += batches_.front().count;
    pop();
  } else {
    under_way_ = false;
  }
  pause_ = std::clamp(pause_ * 2, settings_.backoff_min, settings_.backoff_max);
  // Between half and all of the pause: agents that lost one collector together do not come back together.
  const auto half = static_cast<std::uint64_t>(pause_.count()) / 2;
  const io::Milliseconds drawn(static_cast<std::int64_t>(half + chance_(half + 1)));
  not_before_ = now + (what.after ? std::min(*what.after, kKeep) : drawn);
}

void SpanBatches::give_up() {
  for (const Batch& batch : batches_) counters_.dropped_late += batch.count;
  batches_.clear();
  bytes_ = 0;
  under_way_ = false;
}

io::TimePoint SpanBatches::next_deadline() const {
  if (under_way_ || batches_.empty()) return io::TimePoint::max();
  const Batch& batch = batches_.front();
  const bool due = is_full(batch) || batches_.size() > 1;
  return std::max(not_before_, due ? batch.begun : batch.begun + settings_.wait);
}

}  // namespace agent::drivers
