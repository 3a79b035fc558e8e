#include "store/order_age.h"

#include <gtest/gtest.h>

namespace store {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kT = 1'700'000'000'000, kDay = 86'400'000;
constexpr TimePoint at(Duration since) { return TimePoint{} + 1h + since; }

TEST(OrderAge, NothingSeenIsNoTime) { EXPECT_EQ(OrderAge().now_ms(at(0s)), std::nullopt); }

TEST(OrderAge, TimeGoesOnWithoutStamps) {
  OrderAge age;
  age.saw(kT, at(0s));
  EXPECT_EQ(age.now_ms(at(0s)), kT);
  EXPECT_EQ(age.now_ms(at(36h)), kT + 36 * 3'600'000);
}

// The holder's clock is a day behind; then somebody with the right time takes over, and stamps leap.
TEST(OrderAge, AStampThatLeapsMakesNothingOlder) {
  OrderAge age;
  age.saw(kT - kDay, at(0s));
  age.saw(kT + 60'000, at(60s));
  EXPECT_EQ(age.now_ms(at(60s)), kT - kDay + 60'000) << "a minute has passed, and no more";
}

// The other way round: what comes after a clock that was ahead is not older than it is.
TEST(OrderAge, AStampThatFallsBackHoldsTimeBack) {
  OrderAge age;
  age.saw(kT + kDay, at(0s));
  age.saw(kT, at(60s));
  EXPECT_EQ(age.now_ms(at(60s)), kT);
  age.saw(5, at(61s));
  EXPECT_EQ(age.now_ms(at(61s)), 5U);
  age.saw(0, at(62s));
  EXPECT_EQ(age.now_ms(at(61s)), 0U) << "nobody asks about the past, and no number wraps";
}

TEST(OrderAge, PartsOfAMillisecondCountForTheRow) {
  OrderAge age;
  age.saw(kT, at(100us));
  EXPECT_LE(*age.now_ms(at(1ms)), kT) << "900 us";
  EXPECT_EQ(age.now_ms(at(1100us)), kT) << "just a millisecond may be told later, never earlier";
}

TEST(OrderAge, TwoStampsInARowSayHowFarTheOwnClockIs) {
  OrderAge age;
  age.saw(kT, at(0s));
  EXPECT_EQ(age.wall_ahead_ms(), 0) << "no clock was told";
  age.on_wall_clock(kT + kDay, at(0s));
  age.saw(kT, at(0s));
  EXPECT_EQ(age.wall_ahead_ms(), 0) << "one may be late news";
  age.saw(kT + 10, at(10ms));
  EXPECT_EQ(age.wall_ahead_ms(), 0) << "of the same batch";
  age.saw(kT + 2'000, at(2s));
  EXPECT_EQ(age.wall_ahead_ms(), static_cast<std::int64_t>(kDay));
  age.on_wall_clock(kT + 3'000, at(3s));
  age.saw(kT + 4'000, at(4s));
  EXPECT_EQ(age.wall_ahead_ms(), 0) << "it was set right";
  age.saw(kT + 3'600'000, at(6s));
  age.saw(kT + 3'602'000, at(8s));
  EXPECT_EQ(age.wall_ahead_ms(), -3'594'000) << "behind";
  age.on_wall_clock(kT + 70'000, at(70s));
  EXPECT_EQ(age.wall_ahead_ms(), 0) << "too long ago";
}

}  // namespace
}  // namespace store
