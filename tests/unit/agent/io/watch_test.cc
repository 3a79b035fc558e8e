#include "agent/io/watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <optional>

#include "agent/io/loop.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent::io {
namespace {

struct Noting final : WatchSink {
  void on_ready(Ready ready) override {
    ++calls;
    last = ready;
    if (then) then();
  }
  int calls = 0;
  Ready last;
  std::function<void()> then;
};

/// Two ends of a stream; [0] is the one that is watched.
struct Pair {
  Pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0); }
  ~Pair() {
    close_end(0);
    close_end(1);
  }
  void close_end(std::size_t i) {
    if (ends[i] >= 0) ::close(std::exchange(ends[i], -1));
  }
  void say() { EXPECT_EQ(::write(ends[1], "x", 1), 1); }
  std::array<int, 2> ends{-1, -1};
};

TEST(Watch, TellsOfWhatIsWantedAndKeepsTheLoopGoingOnlyMeanwhile) {
  auto loop = new_loop();
  Pair pair;
  Noting sink;
  Watch watch(*loop, pair.ends[0], &sink);
  EXPECT_FALSE(loop->poll()) << "a watch without interest is nothing to wait for";
  ASSERT_TRUE(watch.set(Watch::kReadable));
  EXPECT_TRUE(loop->poll());
  EXPECT_EQ(sink.calls, 0);
  pair.say();
  loop->poll();
  loop->poll();
  EXPECT_EQ(sink.calls, 2) << "level-triggered: until it is read";
  EXPECT_TRUE(sink.last.readable);
  EXPECT_FALSE(sink.last.writable);
  ASSERT_TRUE(watch.set(Watch::kReadable | Watch::kWritable));
  loop->poll();
  EXPECT_TRUE(sink.last.writable);
  ASSERT_TRUE(watch.set(Watch::kNothing));
  loop->run();
  EXPECT_EQ(sink.calls, 3);
}

TEST(Watch, RunWaitsForItAndStopEndsTheRun) {
  auto loop = new_loop();
  Pair pair;
  Noting sink;
  sink.then = [&] { loop->stop(); };
  Watch watch(*loop, pair.ends[0], &sink);
  ASSERT_TRUE(watch.set(Watch::kReadable));
  loop->post([&] { pair.say(); });
  loop->run();
  EXPECT_EQ(sink.calls, 1);
}

TEST(Watch, ASuccessorWithTheSameNumberHearsNothingOfItsPredecessor) {
  auto loop = new_loop();
  Pair old, other;
  Noting old_sink, new_sink;
  std::optional<Watch> watch(std::in_place, *loop, old.ends[0], &old_sink);
  ASSERT_TRUE(watch->set(Watch::kReadable));
  // A child of fork holds the descriptor until it runs its program: closing alone does not take it out of the set.
  const int held = ::fcntl(old.ends[0], F_DUPFD_CLOEXEC, 0);
  ASSERT_GE(held, 0);
  old.say();
  watch.reset();
  old.close_end(0);
  watch.emplace(*loop, other.ends[0], &new_sink);  // takes over the place in the table
  ASSERT_TRUE(watch->set(Watch::kReadable));
  loop->poll();
  EXPECT_EQ(old_sink.calls, 0);
  EXPECT_EQ(new_sink.calls, 0);
  ::close(held);
  other.say();
  loop->poll();
  EXPECT_EQ(new_sink.calls, 1);
  watch.reset();
}

TEST(Watch, DestroyedByItsNeighbourInTheSameTurn) {
  auto loop = new_loop();
  std::array<Pair, 2> pairs;
  std::array<Noting, 2> sinks;
  std::array<std::optional<Watch>, 2> watches;
  for (std::size_t i = 0; i < 2; ++i) {
    watches[i].emplace(*loop, pairs[i].ends[0], &sinks[i]);
    ASSERT_TRUE(watches[i]->set(Watch::kReadable));
    sinks[i].then = [&] {
      for (auto& watch : watches) watch.reset();
      for (auto& pair : pairs) pair.close_end(0);
    };
    pairs[i].say();
  }
  loop->poll();
  EXPECT_EQ(sinks[0].calls + sinks[1].calls, 1);
}

TEST(Watch, TheEndOfBothSidesIsNoEndlessTurn) {
  auto loop = new_loop();
  Pair pair;
  Noting sink;
  Watch watch(*loop, pair.ends[0], &sink);
  sink.then = [&] { ASSERT_TRUE(watch.set(Watch::kNothing)); };
  ASSERT_TRUE(watch.set(Watch::kReadable));
  ::shutdown(pair.ends[0], SHUT_WR);
  pair.close_end(1);
  loop->run();  // the kernel's hang-up cannot be masked: only a descriptor outside of the set is quiet
  EXPECT_EQ(sink.calls, 1);
  EXPECT_TRUE(sink.last.readable);
}

TEST(Watch, WhatCannotBeWatchedSaysSo) {
  auto loop = new_loop();
  Noting sink;
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  Watch watch(*loop, file, &sink);
  const auto set = watch.set(Watch::kReadable);
  ASSERT_FALSE(set);
  EXPECT_EQ(watch.interest(), Watch::kNothing);
  EXPECT_FALSE(loop->poll());
  ::close(file);
}

}  // namespace
}  // namespace agent::io
