// The simulated world itself: time, clocks, chance, network. A simulator that bends these proves nothing.

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/sim/clock.h"
#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/trace.h"
#include "tests/support/random.h"
#include "tests/support/scripted_chance.h"
#include "tests/support/virtual_clock.h"

namespace sim {
namespace {

using std::chrono::milliseconds;

TEST(Scheduler, RunsByTimeThenByOrderOfAsking) {
  Scheduler scheduler;
  std::string order;
  scheduler.at(20, [&] { order += 'c'; });
  scheduler.at(10, [&] { order += 'a'; });
  scheduler.at(20, [&] { order += 'd'; });
  scheduler.at(10, [&] {
    order += 'b';
    scheduler.at(5, [&] { order += '!'; });  // already past: runs now, behind what is due now
  });
  while (scheduler.run_one()) {
  }
  EXPECT_EQ(order, "ab!cd");
  EXPECT_EQ(scheduler.now(), 20);
  EXPECT_EQ(scheduler.executed(), 5U);
}

TEST(DriftingClock, DueIsTheFirstInstantThatShowsTheTime) {
  for (const std::int64_t ppb : {-200'000, -1, 0, 1, 137, 200'000}) {
    const DriftingClock clock(5 * kSecond, ppb, 90 * kSecond);
    support::Random random(7);
    for (int i = 0; i < 2'000; ++i) {
      const auto local = clock.at(5 * kSecond) + std::chrono::nanoseconds(random.below(4'000'000'000'000U) + 1);
      const Nanos due = clock.due(local);
      ASSERT_GE(clock.at(due), local) << ppb;
      ASSERT_LT(clock.at(due - 1), local) << ppb;
    }
  }
}

TEST(DriftingClock, RunsAtItsRateAndNeverBack) {
  const DriftingClock fast(0, 200'000, 0);
  EXPECT_EQ(fast.at(1'000 * kSecond).time_since_epoch(), std::chrono::nanoseconds(1'000'200 * kMillisecond));
  const DriftingClock slow(0, -200'000, 0);
  auto last = slow.at(0);
  for (Nanos real = 0; real < 200'000; real += 7) {
    ASSERT_GE(slow.at(real), last);
    last = slow.at(real);
  }
  EXPECT_EQ(slow.due(DriftingClock::TimePoint::min()), 0);
}

TEST(Random, SameSeedSameWordsAndStreamsDiffer) {
  support::Random a(42, 1);
  support::Random b(42, 1);
  support::Random c(42, 2);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t word = a.next();
    EXPECT_EQ(word, b.next());
    differs |= word != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, ExponentialHasItsMean) {
  support::Random random(1);
  std::int64_t sum = 0;
  std::int64_t above = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::int64_t value = random.exponential(kMillisecond);
    ASSERT_GE(value, 0);
    sum += value;
    above += value > 3 * kMillisecond ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(sum) / 1e5, 1e6, 6e4);
  EXPECT_NEAR(static_cast<double>(above), 4979, 900);  // e^-3 of all
}

TEST(ScriptedChance, GivesTheScriptThenTheRest) {
  support::ScriptedChance script({5, 12}, 1);
  const auto chance = script.chance();
  EXPECT_EQ(chance(10), 5U);
  EXPECT_EQ(chance(10), 2U);  // 12 modulo 10
  EXPECT_EQ(chance(10), 1U);
  EXPECT_EQ(chance(0), 0U);
  EXPECT_EQ(script.bounds_asked(), (std::vector<std::uint64_t>{10, 10, 10, 0}));
}

TEST(VirtualClock, OnlyForward) {
  support::VirtualClock clock;
  const auto start = clock.now();
  EXPECT_EQ(clock.advance(milliseconds(5)), start + milliseconds(5));
  EXPECT_EQ(clock.advance_to(start), start + milliseconds(5));
}

TEST(Trace, HashFollowsEveryWord) {
  Trace a;
  Trace b;
  a.add(1, 0, "x", 2, 3, "text is for people");
  b.add(1, 0, "x", 2, 3);
  EXPECT_EQ(a.hash(), b.hash());
  b.add(1, 0, "x", 2, 4);
  a.add(1, 0, "x", 2, 3);
  EXPECT_NE(a.hash(), b.hash());
}

/// Writes down what it is told.
class Recorder : public Endpoint {
 public:
  void on_datagram(int from, Bytes bytes) override { add("d" + std::to_string(from) + ":" + text(bytes)); }
  void on_datagram_refused(int to) override { add("r" + std::to_string(to)); }
  void on_accepted(ConnectionId id, int, Port) override {
    add("a");
    accepted = id;
  }
  void on_connected(ConnectionId) override { add("c"); }
  void on_received(ConnectionId, Bytes bytes) override { add(text(bytes)); }
  void on_closed(ConnectionId, CloseReason reason) override { add("x" + std::to_string(static_cast<int>(reason))); }

  static std::string text(const Bytes& bytes) {
    std::string out;
    for (const std::byte b : bytes) {
      out += static_cast<char>(b);
    }
    return out;
  }
  void add(const std::string& what) { log += (log.empty() ? "" : " ") + what; }
  std::string log;
  ConnectionId accepted{};
};

Bytes bytes(const std::string& text) {
  Bytes out;
  for (const char c : text) {
    out.push_back(static_cast<std::byte>(c));
  }
  return out;
}

class NetworkTest : public ::testing::Test {
 protected:
  NetworkTest() : network(2, &scheduler, &trace, 1) {
    network.up(0, &a);
    network.up(1, &b);
  }
  void run(Nanos duration) {
    const Nanos end = scheduler.now() + duration;
    scheduler.at(end, [] {});
    while (!scheduler.empty() && scheduler.next_time() <= end) {
      scheduler.run_one();
    }
  }
  ConnectionId open(Port port = Port::kMesh) {
    const ConnectionId id = network.connect(0, 1, port);
    run(10 * kMillisecond);
    a.log.clear();
    b.log.clear();
    return id;
  }

  Scheduler scheduler;
  Trace trace;
  Recorder a;
  Recorder b;
  Network network;
};

TEST_F(NetworkTest, DatagramLossDuplicationAndReordering) {
  network.link(0, 1).loss_ppm = 300'000;
  network.link(0, 1).duplicate_ppm = 100'000;
  network.link(0, 1).reorder_ppm = 500'000;
  network.link(0, 1).reorder_extra = 10 * kMillisecond;
  for (int i = 0; i < 1'000; ++i) {
    network.send_datagram(0, 1, bytes("x"));
  }
  run(kSecond);
  const auto arrived = static_cast<double>((b.log.size() + 1) / 5);
  EXPECT_NEAR(arrived, 770, 60);
  network.link(0, 1) = Link{};
  network.link(0, 1).datagrams_blocked = true;
  b.log.clear();
  network.send_datagram(0, 1, bytes("x"));
  run(kSecond);
  EXPECT_EQ(b.log, "");
}

TEST_F(NetworkTest, DatagramToAKilledProcessIsRefusedToADeadMachineIsLost) {
  network.down(1, true);
  network.send_datagram(0, 1, bytes("x"));
  run(kSecond);
  EXPECT_EQ(a.log, "r1");
  network.down(1, false);
  network.send_datagram(0, 1, bytes("x"));
  run(kSecond);
  EXPECT_EQ(a.log, "r1");
}

TEST_F(NetworkTest, StreamIsOrderedUnderLoss) {
  const ConnectionId id = open();
  network.link(0, 1).loss_ppm = 400'000;
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    network.send(id, 0, bytes(std::to_string(i)));
    expected += (i == 0 ? "" : " ") + std::to_string(i);
    run(3 * kMillisecond);
  }
  run(60 * kSecond);
  EXPECT_EQ(b.log, expected);
}

// Selective acknowledgements: what got there is not sent again, so the holes of a burst do not wait for each other.
TEST_F(NetworkTest, ABurstWithManyHolesCostsAFewRoundTripsNotOnePerHole) {
  const ConnectionId id = open();
  network.link(0, 1).loss_ppm = 300'000;
  network.link(0, 1).delay = 100 * kMillisecond;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    network.send(id, 0, bytes(std::to_string(i)));
    expected += (i == 0 ? "" : " ") + std::to_string(i);
  }
  run(90 * kMillisecond);
  EXPECT_EQ(b.log, "");
  run(2 * kSecond);
  EXPECT_EQ(b.log, expected);
}

// Seed 11068: two slow links and much loss made one burst's repetitions trickle in for six seconds after the last
// fault.
TEST_F(NetworkTest, AStreamHasMadeUpForAFaultTwoSecondsAfterIt) {
  const ConnectionId id = open();
  std::string expected;
  for (int round = 0; round < 20; ++round) {
    network.link(0, 1).loss_ppm = 450'000;
    network.link(0, 1).delay = 8 * 150 * kMillisecond;  // all faults that may be under way at one time, and slow each
    for (int i = 0; i < 60; ++i) {
      network.send(id, 0, bytes("x"));
      expected += expected.empty() ? "x" : " x";
      run(10 * kMillisecond);
    }
    network.link(0, 1) = Link{};
    run(2 * kSecond + 10 * kMillisecond);
    ASSERT_EQ(b.log.size(), expected.size()) << "round " << round;
  }
  EXPECT_EQ(b.log, expected);
}

TEST_F(NetworkTest, ShortPartitionDelaysAStreamAndALongOneBreaksIt) {
  const ConnectionId id = open();
  network.link(0, 1).blocked = true;
  network.send(id, 0, bytes("late"));
  run(kSecond);
  EXPECT_EQ(b.log, "");
  network.link(0, 1).blocked = false;
  run(2 * kSecond);
  EXPECT_EQ(b.log, "late");
  network.link(1, 0).blocked = true;  // one way: the acknowledgements do not come back
  network.send(id, 0, bytes("never"));
  run(10 * kSecond);
  EXPECT_EQ(a.log, "x3");
  network.link(1, 0).blocked = false;
  run(5 * kSecond);
  EXPECT_EQ(b.log, "late x1");
  EXPECT_EQ(network.connections(), 0U);
}

TEST_F(NetworkTest, KilledProcessResetsAndRefuses) {
  const ConnectionId id = open();
  network.send(id, 0, bytes("x"));
  network.down(1, true);
  run(kSecond);
  EXPECT_EQ(a.log, "x1");
  network.connect(0, 1, Port::kMesh);
  run(kSecond);
  EXPECT_EQ(a.log, "x1 x0");
  EXPECT_EQ(network.connections(), 0U);
}

TEST_F(NetworkTest, DeadMachineIsSilentUntilItIsBack) {
  const ConnectionId id = open();
  network.down(1, false);
  run(3 * kSecond);
  EXPECT_EQ(a.log, "");
  network.up(1, &b);
  run(kSecond);
  EXPECT_EQ(a.log, "x1");
  network.send(id, 0, bytes("ignored"));
  network.down(1, false);
  network.connect(0, 1, Port::kGossip);
  run(5 * kSecond);
  EXPECT_EQ(a.log, "x1 x3");
}

TEST_F(NetworkTest, StoppedProcessAcceptsPlainStreamsButNoHandshake) {
  network.stopped(1, true);
  network.connect(0, 1, Port::kGossip);
  run(kSecond);
  EXPECT_EQ(a.log, "c");
  network.connect(0, 1, Port::kMesh);
  run(kSecond);
  EXPECT_EQ(a.log, "c");
  network.stopped(1, false);
  run(kSecond);
  EXPECT_EQ(a.log, "c c");
}

TEST_F(NetworkTest, CloseArrivesAfterTheBytes) {
  const ConnectionId id = open(Port::kGossip);
  network.send(id, 0, bytes("1"));
  network.send(id, 0, bytes("2"));
  network.close(id, 0);
  network.send(id, 0, bytes("3"));
  run(kSecond);
  EXPECT_EQ(b.log, "1 2 x2");
  EXPECT_EQ(a.log, "");
  EXPECT_EQ(network.connections(), 0U);
}

}  // namespace
}  // namespace sim
