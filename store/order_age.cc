#include "store/order_age.h"

#include <algorithm>
#include <cstdlib>

namespace store {
namespace {

constexpr Milliseconds kApart{1'000}, kStale{60'000};

std::int64_t ms_up(TimePoint at) { return std::chrono::ceil<Milliseconds>(at.time_since_epoch()).count(); }
std::int64_t ms_down(TimePoint at) { return std::chrono::floor<Milliseconds>(at.time_since_epoch()).count(); }

}  // namespace

void OrderAge::saw(std::uint64_t stamp_ms, TimePoint now) {
  const std::int64_t offset = static_cast<std::int64_t>(stamp_ms) - ms_up(now);  // stamps are below 2^52
  offset_ms_ = std::min(offset_ms_.value_or(offset), offset);
  if (!wall_offset_ms_) return;
  const Sample sample{*wall_offset_ms_ - offset, now};
  if (last_ && now - last_->at >= kApart) before_ = last_;
  if (!last_ || now - last_->at >= kApart) last_ = sample;
}

void OrderAge::on_wall_clock(std::uint64_t wall_ms, TimePoint now) {
  wall_offset_ms_ = static_cast<std::int64_t>(wall_ms) - ms_up(now);
  if (last_ && now - last_->at > kStale) last_.reset(), before_.reset();
}

std::optional<std::uint64_t> OrderAge::now_ms(TimePoint now) const {
  if (!offset_ms_) return std::nullopt;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(*offset_ms_ + ms_down(now), 0));
}

std::int64_t OrderAge::wall_ahead_ms() const {
  if (!last_ || !before_) return 0;
  return std::abs(last_->ahead_ms) < std::abs(before_->ahead_ms) ? last_->ahead_ms : before_->ahead_ms;
}

}  // namespace store
