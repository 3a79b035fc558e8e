// Faults must break what they say and put it back: a partition that never was proves nothing, one that stays breaks
// the promise of convergence.

#include "tests/sim/faults.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sim {
namespace {

class FaultsTest : public ::testing::Test {
 protected:
  FaultsTest() : world(1, agents(), false) {
    for (int i = 0; i < kMachines; ++i) machines.push_back(std::make_unique<Machine>(&world, i, 1));
  }
  static AgentSettings agents() {
    AgentSettings settings;
    settings.machines = kMachines;
    return settings;
  }
  /// Lets one kind of fault happen for a while and hands every state of the links to `look`.
  void play(FaultKind kind, std::uint64_t seed, const std::function<void()>& look) {
    FaultSettings settings;
    settings.kinds = {kind};
    settings.every = 2 * kSecond;
    settings.lasts = 300 * kMillisecond;
    Faults faults(&world, &machines, settings, seed);
    faults.start();
    const Nanos end = world.scheduler.now() + 40 * kSecond;
    while (!world.scheduler.empty() && world.scheduler.next_time() < end) {
      world.scheduler.run_one();
      look();
    }
    EXPECT_GE(faults.count(kind), 5U) << to_string(kind);
    world.scheduler.clear();
  }
  [[nodiscard]] bool blocked(int from, int to) { return world.network.link(from, to).blocked; }
  std::set<std::string> shapes(FaultKind kind) {
    std::set<std::string> seen;
    play(kind, 7, [&] {
      std::string shape;
      for (int a = 0; a < kMachines; ++a) {
        for (int b = 0; b < kMachines; ++b) shape += a == b ? '.' : blocked(a, b) ? 'x' : '-';
      }
      seen.insert(shape);
    });
    return seen;
  }

  static constexpr int kMachines = 3;
  World world;
  std::vector<std::unique_ptr<Machine>> machines;
};

TEST_F(FaultsTest, PartitionsHaveTheirShapes) {
  EXPECT_TRUE(shapes(FaultKind::kIsolate).count(".xxx.-x-."));
  EXPECT_TRUE(shapes(FaultKind::kMute).count(".xx-.---."));
  EXPECT_TRUE(shapes(FaultKind::kDeaf).count(".--x.-x-."));
  EXPECT_TRUE(shapes(FaultKind::kCutPair).count(".x-x.---."));
  EXPECT_TRUE(shapes(FaultKind::kCutOneWay).count(".x--.---."));
  EXPECT_TRUE(shapes(FaultKind::kBridge).count(".---.x-x."));
  EXPECT_TRUE(shapes(FaultKind::kSplit).count(".xxx.-x-."));
}

TEST_F(FaultsTest, EveryLinkFaultIsTakenBack) {
  for (const FaultKind kind : {FaultKind::kSplit, FaultKind::kIsolate, FaultKind::kDeaf, FaultKind::kMute,
                               FaultKind::kCutPair, FaultKind::kCutOneWay, FaultKind::kBridge, FaultKind::kLossy,
                               FaultKind::kSlowLinks, FaultKind::kNoDatagrams}) {
    FaultSettings settings;
    settings.kinds = {kind};
    settings.every = 100 * kMillisecond;  // many at once
    World fresh(1, agents(), false);
    std::vector<std::unique_ptr<Machine>> none;
    for (int i = 0; i < kMachines; ++i) none.push_back(std::make_unique<Machine>(&fresh, i, 1));
    Faults faults(&fresh, &none, settings, 3);
    faults.start();
    bool changed = false;
    const Nanos last = 10 * kSecond;
    while (fresh.scheduler.now() < last && fresh.scheduler.run_one()) {
      const Link& link = fresh.network.link(0, 1);
      changed |= link.blocked || link.datagrams_blocked || link.loss_ppm != 0 || link.delay != Link{}.delay;
    }
    EXPECT_TRUE(changed) << to_string(kind);
    // Everything under way runs out once no new fault comes: the scheduler is left with ends only.
    faults.stop();
    while (fresh.scheduler.run_one()) {
    }
    for (int a = 0; a < kMachines; ++a) {
      for (int b = 0; b < kMachines; ++b) {
        const Link& link = fresh.network.link(a, b);
        EXPECT_FALSE(link.blocked || link.datagrams_blocked) << to_string(kind);
        EXPECT_EQ(link.loss_ppm + link.duplicate_ppm + link.reorder_ppm + link.corrupt_ppm, 0U) << to_string(kind);
        EXPECT_EQ(link.delay, Link{}.delay) << to_string(kind);
      }
    }
  }
}

TEST_F(FaultsTest, EveryKindHasAName) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < static_cast<std::size_t>(FaultKind::kCount); ++i) {
    names.insert(to_string(static_cast<FaultKind>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(FaultKind::kCount));
  EXPECT_EQ(names.count(""), 0U);
}

}  // namespace
}  // namespace sim
