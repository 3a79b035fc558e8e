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

// Medians are the bars of gossip.md section 6. The worst of 24 is the tail of the wait for the first probe, which is
// close to exponential with one period as its mean; its bound here is looser than the p99 of the table.
struct Crash {
  std::size_t members;
  double loss;
  Cluster::Power power;
  Duration median, worst;
};
void check_crash(const Crash& crash) {
  std::vector<Duration> times;
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    Cluster c(seed, crash.loss);
    c.form(crash.members);
    c.run(10s);
    for (std::size_t round = 0; round < 12; ++round) {
      const std::size_t victim = 1 + round % (crash.members - 1);
      c.run(3s + std::chrono::milliseconds(197 * round));
      c.set_power(victim, crash.power);
      times.push_back(c.run_until([&] { return c.all_see(victim, MemberState::kDead); }, 60s));
      c.start(victim, {0}, true);
      EXPECT_LE(c.run_until([&] { return c.converged(); }, 60s), 10s);
    }
    EXPECT_EQ(c.false_deaths(), 0u);
  }
  std::sort(times.begin(), times.end());
  std::printf("N=%zu loss=%.0f: median %.2f worst %.2f\n", crash.members, crash.loss, seconds(times[times.size() / 2]),
              seconds(times.back()));
  EXPECT_LE(times[times.size() / 2], crash.median);
  EXPECT_LE(times.back(), crash.worst);
}
TEST(Crash, FiveBlackHole) { check_crash({5, 0, Cluster::Power::kCrashed, 4s, 6s}); }
TEST(Crash, FiftyBlackHole) { check_crash({50, 0, Cluster::Power::kCrashed, 5s, 9s}); }
TEST(Crash, FiftyBlackHoleWithLoss) { check_crash({50, 10, Cluster::Power::kCrashed, 5500ms, 9s}); }
TEST(Crash, ThreeKilledProcess) { check_crash({3, 0, Cluster::Power::kKilled, 1500ms, 2500ms}); }
TEST(Crash, FiftyKilledProcess) { check_crash({50, 0, Cluster::Power::kKilled, 2s, 6s}); }

TEST(Crash, TenPercentOfFiftyAtOnce) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Cluster c(seed);
    c.form(50);
    c.run(10s);
    for (std::size_t i = 10; i < 15; ++i) c.set_power(i, Cluster::Power::kCrashed);
    const auto took = c.run_until(
        [&] {
          for (std::size_t i = 10; i < 15; ++i) {
            if (!c.all_see(i, MemberState::kDead)) return false;
          }
          return true;
        },
        60s);
    std::printf("5 of 50 at once: %.2f\n", seconds(took));
    EXPECT_LE(took, 12s);
    EXPECT_EQ(c.false_deaths(), 0u);
  }
}

TEST(Crash, TwoOfThreeAreSeenByTheThird) {
  Cluster c(7);
  c.form(3);
  c.run(10s);
  c.set_power(1, Cluster::Power::kKilled);
  c.set_power(2, Cluster::Power::kKilled);
  EXPECT_LE(c.run_until([&] { return c.all_see(1, MemberState::kDead) && c.all_see(2, MemberState::kDead); }, 60s), 6s);
}

TEST(Crash, TheOtherOfTwo) {
  Cluster c(8);
  c.form(2);
  c.run(10s);
  c.set_power(1, Cluster::Power::kKilled);
  EXPECT_LE(c.run_until([&] { return c.all_see(1, MemberState::kDead); }, 60s), 2s);
}

// --- Life of a member ---

bool all_have_tag(const Cluster& c, std::size_t subject, std::string_view key, std::optional<std::string_view> value) {
  for (const auto& node : c.nodes) {
    if (node.power != Cluster::Power::kOn) continue;
    const Member* member = node.swim->find(c.id(subject));
    if (member == nullptr || member->tags.get(key) != value) return false;
  }
  return true;
}

void set_tag(Cluster& c, std::size_t node, const std::string& key, std::optional<std::string> value, Urgency urgency) {
  const TagChange change{key, std::move(value)};
  c.command(node, [&](Swim& swim) { ASSERT_TRUE(swim.set_tags(c.now, {&change, 1}, urgency)); });
}

void check_urgent(std::size_t members, double loss, Duration median, Duration worst) {
  std::vector<Duration> times;
  for (std::uint64_t seed = 1; seed <= (members > 10 ? 6u : 20u); ++seed) {
    Cluster c(seed, loss);
    c.form(members);
    c.run(10s);
    set_tag(c, 4, "role", "primary", Urgency::kUrgent);
    times.push_back(c.run_until([&] { return all_have_tag(c, 4, "role", "primary"); }, 60s));
  }
  std::sort(times.begin(), times.end());
  std::printf("urgent tag N=%zu loss %.0f: median %.3f worst %.3f\n", members, loss, seconds(times[times.size() / 2]),
              seconds(times.back()));
  EXPECT_LE(times[times.size() / 2], median);
  EXPECT_LE(times.back(), worst);
}
TEST(Life, UrgentTagFive) { check_urgent(5, 0, 10ms, 250ms); }
TEST(Life, UrgentTagFifty) { check_urgent(50, 0, 20ms, 300ms); }
TEST(Life, UrgentTagFiftyWithLoss) { check_urgent(50, 10, 50ms, 500ms); }

TEST(Life, OrdinaryTagArrivesByGossip) {
  Cluster c(5);
  c.form(20);
  c.run(10s);
  set_tag(c, 3, "load", "17", Urgency::kOrdinary);
  EXPECT_LE(c.run_until([&] { return all_have_tag(c, 3, "load", "17"); }, 60s), 3s);
}

TEST(Life, LargeTagsTravelInPieces) {
  Cluster c(6);
  c.form(5);
  for (const char* key : {"a", "b", "c"}) set_tag(c, 1, key, std::string(160, 'x'), Urgency::kOrdinary);
  const auto late = c.add([](Config& config) { config.datagram_bytes_max = 640; });
  c.start(late, {1});
  EXPECT_LE(c.run_until([&] { return all_have_tag(c, 1, "c", std::string(160, 'x')) && c.converged(); }, 60s), 5s);
}

TEST(Life, LeaveIsKnownAtOnceAndIsNoDeath) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Cluster c(seed, seed % 2 == 0 ? 10 : 0);
    c.form(20);
    c.run(5s);
    c.command(4, [&](Swim& swim) { swim.leave(c.now); });
    c.run_until([&] { return c.count_events(EventKind::kLeaveDone) == 1; }, 10s);
    EXPECT_EQ(c.count_events(EventKind::kLeaveDone), 1u);
    c.set_power(4, Cluster::Power::kKilled);
    EXPECT_LE(c.run_until([&] { return c.all_see(4, MemberState::kLeft); }, 10s), 1s);
    c.run(30s);
    EXPECT_TRUE(c.all_see(4, MemberState::kLeft));
    EXPECT_EQ(c.count_events(EventKind::kDead), 0u);
  }
}

TEST(Life, ADeadMemberPushedOutHasLeftForEverybodyAndComesBackIfItLives) {
  Cluster c(11);
  c.form(6);
  c.run(5s);
  c.command(0, [&](Swim& swim) {
    EXPECT_FALSE(swim.push_out(c.now, c.id(3))) << "it is alive";
    EXPECT_FALSE(swim.push_out(c.now, c.id(0))) << "that is itself";
    EXPECT_FALSE(swim.push_out(c.now, MemberId{{9}})) << "nobody knows it";
  });
  c.set_power(3, Cluster::Power::kKilled);
  c.run_until([&] { return c.all_see(3, MemberState::kDead); }, 20s);
  c.command(0, [&](Swim& swim) { EXPECT_TRUE(swim.push_out(c.now, c.id(3))); });
  EXPECT_LE(c.run_until([&] { return c.all_see(3, MemberState::kLeft); }, 10s), 1s);
  c.command(0, [&](Swim& swim) { EXPECT_TRUE(swim.push_out(c.now, c.id(3))) << "twice is as good as once"; });
  c.start(3, {0}, true);
  EXPECT_LE(c.run_until([&] { return c.converged(); }, 20s), 5s) << "it lives after all";
}

TEST(Life, RestartInPlaceIsNoLeave) {
  Cluster c(8);
  c.form(10);
  c.run(5s);
  c.set_power(3, Cluster::Power::kKilled);
  c.run(200ms);
  c.start(3, {0}, true);
  const auto took = c.run_until([&] { return c.converged() && c.count_events(EventKind::kRestarted) == 9; }, 20s);
  EXPECT_LE(took, 3s);
  EXPECT_EQ(c.count_events(EventKind::kDead), 0u);
}

TEST(Life, SnapshotFindsTheClusterWithoutSeeds) {
  Cluster c(9);
  c.form(5);
  c.run(5s);
  c.set_power(3, Cluster::Power::kKilled);
  EXPECT_LE(c.run_until([&] { return c.all_see(3, MemberState::kDead); }, 20s), 5s);
  const auto generation = c.swim(3).self().generation;
  c.wall_ms -= 100'000'000;  // the wall clock went back a day: the generation still grows
  c.start(3, {}, true);
  EXPECT_GT(c.swim(3).self().generation, generation);
  EXPECT_LE(c.run_until([&] { return c.converged(); }, 60s), 5s);
}

TEST(Life, SameNameNewDiskAndAddress) {
  Cluster c(10);
  c.form(5);
  c.run(5s);
  c.set_power(3, Cluster::Power::kCrashed);
  const auto heir = c.add([](Config& config) { config.name = "n3"; });
  c.start(heir, {0});
  EXPECT_LE(c.run_until([&] { return c.all_see(heir, MemberState::kAlive); }, 60s), 1s);
  EXPECT_GE(c.count_events(EventKind::kNameConflict), 1u);
  EXPECT_FALSE(c.swim(0).find(c.id(heir))->owns_name);
  c.run_until([&] { return c.all_see(3, MemberState::kDead); }, 60s);
  EXPECT_TRUE(c.swim(0).find(c.id(heir))->owns_name);
}

TEST(Life, SameIdNewAddress) {
  Cluster c(11);
  c.form(5);
  c.run(5s);
  c.set_power(3, Cluster::Power::kCrashed);
  c.nodes[3].config.advertise = Address::ipv4(10, 9, 9, 9, 7946);
  c.start(3, {0}, true);
  EXPECT_LE(c.run_until([&] { return c.converged(); }, 60s), 3s);
  EXPECT_EQ(c.swim(0).find(c.id(3))->address, c.nodes[3].config.advertise);
}

TEST(Life, SeedsThatNeverAnswerAreReportedAndTriedForEver) {
  Cluster c(12);
  c.add();
  c.add();
  c.start(0, {1});
  c.run(60s);
  EXPECT_EQ(c.count_events(EventKind::kSeedsSilent), 1u);
  EXPECT_EQ(c.count_events(EventKind::kClusterJoined), 0u);
  c.start(1, {});
  EXPECT_LE(c.run_until([&] { return c.converged(); }, 60s), 6s);
  EXPECT_EQ(c.count_events(EventKind::kClusterJoined), 2u);
}

TEST(Life, WholeClusterRestartsAtOnce) {
  Cluster c(13);
  c.form(20);
  c.run(10s);
  for (std::size_t i = 0; i < 20; ++i) c.set_power(i, Cluster::Power::kKilled);
  c.run(1s);
  for (std::size_t i = 0; i < 20; ++i) c.start(i, {0, 1}, true);
  EXPECT_LE(c.run_until([&] { return c.converged(); }, 60s), 10s);
}

// --- Quiet: nobody is accused without reason ---

TEST(Quiet, TenPercentLossKillsNobody) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    for (const std::size_t members : {5u, 50u}) {
      Cluster c(seed, 10);
      c.form(members);
      c.run(members > 10 ? 100s : 600s);
      std::printf("N=%zu 10 %%: suspicions %zu\n", members, c.count_events(EventKind::kSuspect));
      EXPECT_EQ(c.count_events(EventKind::kDead), 0u);
    }
  }
}

TEST(Quiet, IdleTrafficIsTwoDatagramsASecond) {
  Cluster c(14);
  c.form(20);
  c.run(30s);
  std::uint64_t datagrams = 0, bytes = 0;
  for (auto& node : c.nodes) datagrams -= node.swim->counters().datagrams_out, bytes -= node.swim->counters().bytes_out;
  c.run(100s);
  for (auto& node : c.nodes) datagrams += node.swim->counters().datagrams_out, bytes += node.swim->counters().bytes_out;
  std::printf("idle: %.2f datagrams/s %.1f B/s\n", static_cast<double>(datagrams) / 2000,
              static_cast<double>(bytes) / 2000);
  EXPECT_LE(datagrams, 2.2 * 2000);
  EXPECT_LE(bytes, 165u * 2000);
  std::uint64_t drops = 0;
  for (auto& node : c.nodes) {
    for (const auto drop : node.swim->counters().drops) drops += drop;
  }
  EXPECT_EQ(drops, 0u);
}

TEST(Quiet, HealthyMembersStayHealthyAfterATrueDeath) {
  Cluster c(15);
  c.form(20);
  c.run(30s);
  c.set_power(2, Cluster::Power::kCrashed);
  std::uint32_t worst = 0;
  c.run_until(
      [&] {
        for (const auto& node : c.nodes)
          worst = std::max(worst, node.power == Cluster::Power::kOn ? node.swim->health_score() : 0);
        return c.all_see(2, MemberState::kDead);
      },
      30s);
  EXPECT_EQ(worst, 0u);
}

TEST(Quiet, OneDeafMemberPoisonsNobody) {
  Cluster c(16);
  c.loss_of = [](std::size_t from) { return from == 4 ? 80.0 : 0.0; };
  c.form(30);
  c.run(300s);
  EXPECT_EQ(c.count_events(EventKind::kDead,
                           [&](std::size_t viewer, const Event& e) { return viewer != 4 && e.subject != c.id(4); }),
            0u);
}

TEST(Quiet, OneBrokenPairIsALinkAndNoDeath) {
  Cluster c(17);
  c.form(20);
  c.run(5s);
  c.blocked = [](std::size_t a, std::size_t b) { return (a == 1 && b == 2) || (a == 2 && b == 1); };
  c.run(300s);
  EXPECT_EQ(c.count_events(EventKind::kDead), 0u);
  EXPECT_GE(c.count_events(EventKind::kUnreachable), 1u);
  c.blocked = nullptr;
  c.run(60s);
  EXPECT_GE(c.count_events(EventKind::kReachable), 1u);
}

TEST(Quiet, BlockedUdpIsReportedAndBorne) {
  Cluster c(18);
  c.form(5);
  c.run(5s);
  c.udp_blocked = [](std::size_t a, std::size_t b) { return a == 2 || b == 2; };
  c.run(600s);
  EXPECT_EQ(c.count_events(EventKind::kDead), 0u);
  EXPECT_GE(c.count_events(EventKind::kUdpBlocked), 1u);
  set_tag(c, 0, "role", "primary", Urgency::kUrgent);
  EXPECT_LE(c.run_until([&] { return all_have_tag(c, 0, "role", "primary"); }, 60s), 5s);
}

// --- Freezing ---

TEST(Freeze, FourSecondsAreBorneAndToldAtOnce) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Cluster c(seed);
    c.form(seed % 2 == 0 ? 50 : 3);
    c.run(20s);
    c.set_power(1, Cluster::Power::kFrozen);
    const auto told = c.run_until([&] { return c.count_events(EventKind::kStalled) > 0; }, 10s);
    EXPECT_LE(told, 4s);
    if (told < 5s) c.run(5s - told);
    c.set_power(1, Cluster::Power::kOn);
    EXPECT_LE(c.run_until([&] { return c.converged(); }, 30s), 3s);
    EXPECT_EQ(c.count_events(EventKind::kDead), 0u) << "seed " << seed;
    EXPECT_GE(c.count_events(EventKind::kPaused), 1u);
  }
}

TEST(Freeze, APauseOfHalfASecondIsNoSuspicion) {  // a busy machine, not a sick process
  Cluster c(22);
  c.form(3);
  c.run(20s);
  for (int i = 0; i < 20; ++i) {
    c.set_power(1, Cluster::Power::kFrozen);
    c.run(500ms);
    c.set_power(1, Cluster::Power::kOn);
    c.run(2700ms);
  }
  EXPECT_EQ(c.count_events(EventKind::kSuspect, [&](std::size_t, const Event& e) { return e.subject == c.id(1); }), 0u);
}

TEST(Freeze, SevenSecondsOfOneInFiftyAreBorne) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    Cluster c(seed);
    c.form(50);
    c.run(10s);
    c.set_power(1, Cluster::Power::kFrozen);
    c.run(7s);
    c.set_power(1, Cluster::Power::kOn);
    c.run(5s);
    EXPECT_TRUE(c.converged());
    EXPECT_EQ(c.count_events(EventKind::kDead), 0u) << "seed " << seed;
  }
}

TEST(Freeze, FifteenSecondsEndInDeathAndARevival) {
  Cluster c(20);
  c.form(10);
  c.run(20s);
  c.set_power(1, Cluster::Power::kFrozen);
  EXPECT_LE(c.run_until([&] { return c.all_see(1, MemberState::kDead); }, 30s), 15s);
  c.set_power(1, Cluster::Power::kOn);
  EXPECT_LE(c.run_until([&] { return c.converged(); }, 30s), 3s);
  EXPECT_EQ(c.count_events(EventKind::kDead, [&](std::size_t, const Event& e) { return e.subject != c.id(1); }), 0u);
}

TEST(Freeze, ALongSleeperAccusesNobody) {
  for (const auto pause : {1s, 5s, 30s}) {
    Cluster c(21);
    c.form(10);
    c.run(20s);
    c.set_power(1, Cluster::Power::kFrozen);
    c.run(pause);
    c.set_power(1, Cluster::Power::kOn);
    c.run(30s);
    EXPECT_EQ(c.count_events(EventKind::kDead, [&](std::size_t, const Event& e) { return e.subject != c.id(1); }), 0u);
    EXPECT_TRUE(c.converged());
  }
}

// --- Partitions ---

void check_partition(std::size_t members, Duration cut, std::size_t minority, std::uint64_t seed) {
  Cluster c(seed);
  c.form(members);
  c.run(10s);
  c.blocked = [minority](std::size_t a, std::size_t b) { return (a < minority) != (b < minority); };
  c.run(cut);
  c.blocked = nullptr;
  const auto took = c.run_until([&] { return c.converged(); }, 120s);
  std::printf("N=%zu cut %.0f s minority %zu: healed in %.2f s\n", members, seconds(cut), minority, seconds(took));
  EXPECT_LE(took, 8s);
}
TEST(Partition, HalvesHealAfterTenSeconds) { check_partition(20, 10s, 10, 1); }
TEST(Partition, HalvesHealAfterLongCuts) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    check_partition(20, 30s, 10, seed);
    check_partition(20, 120s, 10, seed);
    check_partition(50, 120s, 25, seed);
  }
}
TEST(Partition, OneComesBackAlone) {
  check_partition(20, 120s, 1, 1);
  check_partition(50, 600s, 1, 2);
}
TEST(Partition, TwoOfFive) { check_partition(5, 60s, 2, 1); }

}  // namespace
}  // namespace gossip::test
