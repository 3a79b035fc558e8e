#include "tests/unit/gossip/cluster.h"

#include <gtest/gtest.h>

namespace gossip::test {
namespace {

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

TEST(Cluster, ThreeFindEachOther) {
  Cluster c(1);
  c.form(3);
  EXPECT_TRUE(c.converged());
}

TEST(Cluster, FiftyJoinThroughOneSeedWithinASecond) {
  Cluster c(2);
  for (int i = 0; i < 50; ++i) c.add();
  for (std::size_t i = 0; i < 50; ++i) {
    c.start(i, i == 0 ? std::vector<std::size_t>{} : std::vector<std::size_t>{0});
    c.run(20ms);
  }
  const auto took = c.run_until([&] { return c.converged(); }, 30s);
  RecordProperty("seconds", std::to_string(seconds(took)));
  EXPECT_LE(took, 5s);
}

TEST(Cluster, OneMoreJoinsFifty) {
  Cluster c(3);
  c.form(50);
  c.run(5s);
  const auto node = c.add();
  c.start(node, {7});
  const auto took = c.run_until([&] { return c.converged(); }, 30s);
  EXPECT_LE(took, 500ms);
}

struct Crash {
  std::size_t members;
  double loss;
  Cluster::Power power;
  Duration median, worst;
};
void check_crash(const Crash& crash) {
  std::vector<Duration> times;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Cluster c(seed, crash.loss);
    c.form(crash.members);
    c.run(20s + std::chrono::milliseconds(97 * seed));
    EXPECT_EQ(c.false_deaths(), 0u);
    c.set_power(2, crash.power);
    times.push_back(c.run_until([&] { return c.all_see(2, MemberState::kDead); }, 60s));
    EXPECT_EQ(c.false_deaths(), 0u);
  }
  std::sort(times.begin(), times.end());
  std::printf("N=%zu loss=%.0f: median %.2f worst %.2f\n", crash.members, crash.loss, seconds(times[5]), seconds(times.back()));
  EXPECT_LE(times[5], crash.median);
  EXPECT_LE(times.back(), crash.worst);
}
TEST(Crash, FiveBlackHole) { check_crash({5, 0, Cluster::Power::kCrashed, 4000ms + 300ms, 6s}); }
TEST(Crash, FiftyBlackHole) { check_crash({50, 0, Cluster::Power::kCrashed, 5s, 7500ms}); }
TEST(Crash, FiftyBlackHoleWithLoss) { check_crash({50, 10, Cluster::Power::kCrashed, 5500ms, 9s}); }
TEST(Crash, ThreeKilledProcess) { check_crash({3, 0, Cluster::Power::kKilled, 1500ms, 2s}); }
TEST(Crash, FiftyKilledProcess) { check_crash({50, 0, Cluster::Power::kKilled, 2s, 4500ms}); }

}  // namespace
}  // namespace gossip::test
