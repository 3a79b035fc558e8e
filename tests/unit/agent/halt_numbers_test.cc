#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/halt_follower.h"
#include "agent/halt_keeper.h"
#include "agent/io/file.h"
#include "tests/unit/agent/halt_fixture.h"

namespace agent {
namespace {

/// An agent with replica 1 and a log in which its first halt was given and lifted; then its directory is set back to the first day.
struct SetBack {
  SetBack() : world(2) {
    world.has_leader = true;
    world.connect(0, 1, true);
    const HaltFile backup = world.keepers[0]->file();
    const auto first = *world.keepers[0]->halt(halt("first"), world.now);
    world.run();
    EXPECT_EQ(first, (kv::HaltTag{1, 1}));
    EXPECT_TRUE(world.log.lift(first));
    world.apply_log();
    world.run();
    world.connect(0, 1, false);
    restart(backup);
  }
  void restart(const HaltFile& file) {
    world.keepers[0] = std::make_unique<HaltKeeper>(*decode_halt_file(encode(file)), [this](std::uint64_t bound) { return world.chance() % bound; });
  }
  bool stands(std::size_t at, const std::string& reason) const {
    const auto& all = world.keepers[at]->set().halts();
    return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.second.reason == reason; });
  }
  World world;
};

TEST(HaltKeeper, TheFirstHaltOfADirectoryThatWasSetBackToBeforeAnyStands) {
  SetBack set_back;
  World& world = set_back.world;
  ASSERT_TRUE(world.keepers[0]->halt(halt("alone"), world.now));
  world.cut_off = 0;
  world.connect(0, 1, true);
  EXPECT_TRUE(set_back.stands(1, "alone")) << "a peer that remembers the number hears of it before the log is back";
  world.cut_off = SIZE_MAX;
  world.apply_log();
  world.pass(milliseconds(2500));
  EXPECT_TRUE(set_back.stands(0, "alone") && set_back.stands(1, "alone"));
  EXPECT_EQ(world.log.halts().size(), 1U);
}

TEST(HaltKeeper, NorDoesARestartBeforeTheLogIsHeardLiftIt) {
  SetBack set_back;
  World& world = set_back.world;
  ASSERT_TRUE(world.keepers[0]->halt(halt("alone"), world.now));
  set_back.restart(world.keepers[0]->file());
  world.apply_log();
  EXPECT_TRUE(set_back.stands(0, "alone"));
  EXPECT_EQ(world.keepers[0]->take_output().lifted.size(), 0U);
}

TEST(HaltKeeper, APeerThatIsNoMajorityVouchesForNoNumber) {
  SetBack set_back;
  World& world = set_back.world;
  kv::HaltSet behind;  // a peer that lags as well
  ASSERT_TRUE(behind.add(7, halt("other")));
  world.keepers[0]->on_frame(store::NodeId{9}, std::string("H\1\1", 3) + encode(behind), world.now);
  ASSERT_TRUE(world.keepers[0]->halt(halt("alone"), world.now));
  world.apply_log();
  EXPECT_TRUE(set_back.stands(0, "alone"));
}

// Where the set remembers as many replicas as it can, it counts on under the old name; what the log then has as over was another halt.
TEST(HaltKeeper, WithoutRoomForAnotherNameItCountsOnAndGivesAgainWhatWasNumberedTwice) {
  HaltFile file{1, {}};
  for (std::uint64_t replica = 1; replica <= kv::kHaltReplicasMax; ++replica) file.set.load_seen(replica, 1);
  HaltKeeper keeper(file, [](std::uint64_t bound) { return bound - 1; });
  const TimePoint now{std::chrono::hours(1)};
  const auto tag = keeper.halt(halt("alone"), now);
  ASSERT_TRUE(tag) << "a name for every run that halts must not use the switch up";
  EXPECT_EQ(*tag, (kv::HaltTag{1, 2}));
  static_cast<void>(keeper.take_output());
  keeper.record_done(true, now);
  kv::HaltSet log = file.set;
  log.load_seen(1, 2);
  keeper.on_recorded(log, now, true);
  ASSERT_EQ(keeper.set().halts().size(), 1U);
  EXPECT_EQ(keeper.set().halts().begin()->second.reason, "alone");
  EXPECT_EQ(keeper.set().halts().begin()->first, (kv::HaltTag{1, 3}));
  EXPECT_EQ(keeper.counters().given_again, 1U);
  EXPECT_TRUE(keeper.take_output().record);
  ASSERT_TRUE(log.learn(keeper.to_record()));
  ASSERT_TRUE(log.lift({1, 3}));
  keeper.on_recorded(log, now);
  EXPECT_TRUE(keeper.set().halts().empty()) << "and it can be lifted like any other";
}

TEST(HaltKeeper, RestartsOfAnAgentThatHearsTheLogUseNoNamesUp) {
  HaltFile file{1, {}};
  kv::HaltSet log;
  const TimePoint now{std::chrono::hours(1)};
  for (int run = 0; run < 5; ++run) {
    HaltKeeper keeper(*decode_halt_file(encode(file)), [](std::uint64_t bound) { return bound - 1; });
    keeper.on_recorded(log, now, true);
    const auto tag = *keeper.halt(halt(), now);
    ASSERT_TRUE(log.learn(keeper.to_record()));
    ASSERT_TRUE(log.lift(tag));
    keeper.on_recorded(log, now);
    file = keeper.file();
  }
  EXPECT_EQ(log.seen(), (std::map<std::uint64_t, std::uint64_t>{{1, 5}}));
}

TEST(HaltKeeper, WhatTheLogHasRoomForIsWrittenAndTheRestIsTold) {
  const TimePoint now{std::chrono::hours(1)};
  kv::HaltSet log;
  for (std::uint64_t replica = 1; replica < kv::kHaltReplicasMax; ++replica) log.load_seen(replica, 1);
  kv::HaltSet theirs;
  kv::Halt route = halt("a route");
  route.scope = kv::HaltScope::kRoute;
  route.name = "orders";
  ASSERT_TRUE(theirs.add(5000, route) && theirs.add(6000, halt("everything")));
  HaltKeeper keeper({7000, {}}, [](std::uint64_t) { return 0; });
  keeper.on_frame(store::NodeId{9}, std::string("H\1\1", 3) + encode(theirs), now);
  keeper.on_recorded(log, now, true);  // one more replica fits
  keeper.tick(now + HaltKeeper::kRecordForOthers);
  HaltKeeper::Output output = keeper.take_output();
  EXPECT_TRUE(output.record && output.unrecordable.empty());
  ASSERT_EQ(keeper.to_record().halts().size(), 1U);
  EXPECT_EQ(keeper.to_record().halts().begin()->second.reason, "everything");
  ASSERT_TRUE(log.learn(keeper.to_record()));
  keeper.record_done(true, now);
  keeper.on_recorded(log, now);
  output = keeper.take_output();
  EXPECT_FALSE(output.unrecordable.empty());
  keeper.on_recorded(log, now);
  EXPECT_TRUE(keeper.take_output().unrecordable.empty()) << "once";
  EXPECT_EQ(keeper.set().halts().size(), 2U);
}

TEST(HaltKeeper, OfASetThatDoesNotFitGlobalHaltsAreLearnedFirst) {
  const TimePoint now{std::chrono::hours(1)};
  HaltFile file{1, {}};
  for (std::uint64_t replica = 1; replica < kv::kHaltReplicasMax; ++replica) file.set.load_seen(replica, 1);
  HaltKeeper keeper(file, [](std::uint64_t) { return 0; });
  kv::HaltSet theirs;
  kv::Halt route = halt("a route");
  route.scope = kv::HaltScope::kRoute;
  route.name = "orders";
  ASSERT_TRUE(theirs.add(5000, route) && theirs.add(6000, halt("everything")));
  keeper.on_frame(store::NodeId{9}, std::string("H\1\1", 3) + encode(theirs), now);
  ASSERT_EQ(keeper.set().halts().size(), 1U);
  EXPECT_EQ(keeper.set().halts().begin()->second.reason, "everything");
  EXPECT_EQ(keeper.counters().refused, 1U);
}

TEST(HaltKeeper, ALiftCarriesWhatItNamesAndWhatStandsBeforeThat) {
  kv::HaltSet set;
  std::vector<kv::HaltTag> tags;
  for (int i = 0; i < 3; ++i) tags.push_back(*set.add(4, halt()));
  ASSERT_TRUE(set.add(5, halt()));
  const kv::HaltSet part = set_for_lift(set, {tags[1]});
  EXPECT_EQ(part.halts().size(), 2U);
  EXPECT_TRUE(part.sound());
  EXPECT_EQ(part.find(tags[2]), nullptr);
}

TEST(HaltFollower, DropsOnlyWhatTheFileHasSeen) {
  const std::string path = (std::filesystem::path(::testing::TempDir()) / ("halts-" + std::to_string(::getpid()))).string();
  auto loop = io::Loop::create();
  ASSERT_TRUE(loop);
  kv::HaltSet known;
  const auto kept = *known.add(1, halt("kept")), lifted = *known.add(1, halt("lifted"));
  HaltFile file{1, known};
  ASSERT_TRUE(file.set.lift(lifted));
  const auto not_kept = *known.add(1, halt("the disk was full"));
  ASSERT_TRUE(io::replace_file(path, encode(file), 0600));
  std::size_t published = 0;
  const HaltFollowerParts parts{path, {}, [&](const std::shared_ptr<const proxy::HaltView>& view) { published += view->orders.size(); }, [](std::string_view, const std::string&) {}};
  const HaltFollower follower(**loop, parts, known);
  EXPECT_NE(follower.known().find(kept), nullptr);
  EXPECT_EQ(follower.known().find(lifted), nullptr);
  EXPECT_NE(follower.known().find(not_kept), nullptr);
  EXPECT_EQ(published, 2U);
  // A successor that found the file damaged began another one.
  HaltFile anew{77, {}};
  ASSERT_TRUE(anew.set.add(77, halt("the file of halts was damaged")));
  ASSERT_TRUE(io::replace_file(path, encode(anew), 0600));
  EXPECT_EQ(HaltFollower(**loop, parts, known).known().halts().size(), 4U);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace agent
