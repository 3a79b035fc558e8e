#include "agent/io/loop.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "agent/io/signal.h"
#include "agent/io/timer.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent::io {
namespace {

TEST(Loop, EndsByItselfWhenNothingIsLeft) {
  auto loop = new_loop();
  loop->run();
  EXPECT_FALSE(loop->run_once());
}

TEST(Loop, PostedTaskRunsOnceAndLaterThanTheCall) {
  auto loop = new_loop();
  int runs = 0;
  loop->post([&] { ++runs; });
  EXPECT_EQ(runs, 0);
  loop->run();
  EXPECT_EQ(runs, 1);
}

TEST(Loop, TaskThatPostsAgainIsServedWithoutSleeping) {
  auto loop = new_loop();
  int runs = 0;
  std::function<void()> again = [&] {
    if (++runs < 5) loop->post(again);
  };
  loop->post(again);
  loop->run();
  EXPECT_EQ(runs, 5);
}

TEST(Loop, StopEndsTheRunAndTheNextRunGoesOn) {
  auto loop = new_loop();
  Timer timer(*loop, [&] { loop->stop(); });
  timer.arm_after(Milliseconds(1));
  Timer keeps_alive(*loop, [] {});
  keeps_alive.arm_after(Milliseconds(1'000'000));
  loop->run();
  EXPECT_FALSE(timer.armed());
  EXPECT_TRUE(keeps_alive.armed());
}

TEST(Loop, DestroyedWithTasksStillPostedDropsThem) {
  int runs = 0;
  {
    auto loop = new_loop();
    loop->post([&] { ++runs; });
  }
  EXPECT_EQ(runs, 0);
}

TEST(Deferral, TwiceIsOnceAndCancelHolds) {
  auto loop = new_loop();
  int runs = 0;
  Deferral deferral(*loop, [&] { ++runs; });
  deferral.schedule();
  deferral.schedule();
  EXPECT_TRUE(deferral.scheduled());
  loop->poll();
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(deferral.scheduled());
  deferral.schedule();
  deferral.cancel();
  loop->poll();
  EXPECT_EQ(runs, 1);
}

TEST(Deferral, RunsInTheTurnOfTheTimerThatScheduledIt) {
  auto loop = new_loop();
  bool flushed = false;
  Deferral flush(*loop, [&] { flushed = true; });
  Timer timer(*loop, [&] { flush.schedule(); });
  timer.arm(boottime_now());
  while (timer.armed()) loop->poll();
  // Newer libuv runs timers at the end of a turn: then it runs at the start of the next one, before the loop sleeps.
  if (!flushed) loop->poll();
  EXPECT_TRUE(flushed);
}

TEST(Deferral, MayDestroyItselfAndItsNeighbour) {
  auto loop = new_loop();
  int runs = 0;
  std::unique_ptr<Deferral> first, second;
  second = std::make_unique<Deferral>(*loop, [&] { ++runs; });
  first = std::make_unique<Deferral>(*loop, [&] {
    ++runs;
    second.reset();
    first.reset();
  });
  first->schedule();
  second->schedule();
  loop->poll();
  EXPECT_EQ(runs, 1);
}

TEST(Timer, NeverEarlyAndOnlyOnce) {
  auto loop = new_loop();
  int fired = 0;
  TimePoint at{};
  const TimePoint wanted = boottime_now() + std::chrono::microseconds(3500);
  Timer timer(*loop, [&] {
    ++fired;
    at = boottime_now();
  });
  timer.arm(wanted);
  loop->run();
  EXPECT_EQ(fired, 1);
  EXPECT_GE(at, wanted);
}

TEST(Timer, PastDeadlineFiresInALaterTurn) {
  auto loop = new_loop();
  bool fired = false;
  Timer timer(*loop, [&] { fired = true; });
  timer.arm(boottime_now() - Milliseconds(50));
  EXPECT_FALSE(fired);
  loop->run();
  EXPECT_TRUE(fired);
}

TEST(Timer, TheEarliestAndTheLatestTimePointDoNotOverflow) {
  auto loop = new_loop();
  bool fired = false;
  Timer at_once(*loop, [&] { fired = true; });
  Timer never(*loop, [] { FAIL(); });
  at_once.arm(TimePoint::min());  // what a core answers that wants a tick now
  never.arm(TimePoint::max());
  EXPECT_TRUE(run_until(*loop, [&] { return fired; }));
}

TEST(Timer, LaterDeadlineReplacesEarlierWithoutFiringTwice) {
  auto loop = new_loop();
  int fired = 0;
  TimePoint at{};
  Timer timer(*loop, [&] {
    ++fired;
    at = boottime_now();
  });
  timer.arm_after(Milliseconds(1));
  const TimePoint wanted = in_ms(6);
  timer.arm(wanted);
  EXPECT_EQ(timer.deadline(), wanted);
  loop->run();
  EXPECT_EQ(fired, 1);
  EXPECT_GE(at, wanted);
}

TEST(Timer, EarlierDeadlineReplacesLater) {
  auto loop = new_loop();
  Timer timer(*loop, [] {});
  timer.arm_after(Milliseconds(1'000'000));
  timer.arm_after(Milliseconds(1));
  loop->run();  // would take a quarter of an hour
  EXPECT_FALSE(timer.armed());
}

TEST(Timer, DisarmedTimerDoesNotKeepTheLoopAlive) {
  auto loop = new_loop();
  bool fired = false;
  Timer timer(*loop, [&] { fired = true; });
  timer.arm_after(Milliseconds(1'000'000));
  timer.disarm();
  loop->run();
  EXPECT_FALSE(fired);
  timer.arm_after(Milliseconds(1));  // and it can be used again, also earlier than the stale call
  loop->run();
  EXPECT_TRUE(fired);
}

TEST(Timer, CallbackMayDestroyItsTimer) {
  auto loop = new_loop();
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(*loop, [&] { timer.reset(); });
  timer->arm_after(Milliseconds(1));
  loop->run();
  EXPECT_EQ(timer, nullptr);
}

TEST(Signal, ReachesEveryWatcher) {
  auto loop = new_loop();
  int first = 0, second = 0;
  auto a = Signal::watch(*loop, SIGUSR1, [&] { ++first; });
  auto b = Signal::watch(*loop, SIGUSR1, [&] { ++second; });
  ASSERT_TRUE(a && b);
  ::raise(SIGUSR1);
  EXPECT_TRUE(run_until(*loop, [&] { return first == 1 && second == 1; }));
}

TEST(Signal, CallbackMayDestroyTheWatcher) {
  auto loop = new_loop();
  std::unique_ptr<Signal> watcher;
  watcher = std::move(*Signal::watch(*loop, SIGUSR2, [&] { watcher.reset(); }));
  ::raise(SIGUSR2);
  EXPECT_TRUE(run_until(*loop, [&] { return watcher == nullptr; }));
}

TEST(Signal, RefusesWhatCannotBeWatched) {
  auto loop = new_loop();
  const auto signal = Signal::watch(*loop, SIGKILL, [] {});
  ASSERT_FALSE(signal);
  EXPECT_EQ(signal.error().code, Errc::kInvalidArgument);
}

TEST(Clock, BoottimeNeverStepsBackAndWallIsThisCentury) {
  const TimePoint first = boottime_now();
  EXPECT_LE(first, boottime_now());
  EXPECT_GT(wall_ms(), 1'700'000'000'000);
}

}  // namespace
}  // namespace agent::io
