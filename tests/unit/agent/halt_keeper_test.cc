#include "agent/halt_keeper.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "agent/halt_driver.h"
#include "tests/unit/agent/halt_fixture.h"

namespace agent {
namespace {

TEST(HaltKeeper, ALoneAgentHaltsWithoutAnybody) {
  World world(1);
  const auto tag = world.keepers[0]->halt(halt(), world.now);
  ASSERT_TRUE(tag);
  const HaltKeeper::Output output = world.keepers[0]->take_output();
  EXPECT_TRUE(output.changed);
  EXPECT_TRUE(output.record) << "whoever leads is told as soon as there is one";
  EXPECT_TRUE(output.frames.empty());
  EXPECT_FALSE(world.keepers[0]->recorded(*tag));
}

TEST(HaltKeeper, PeersHearInTheSameTurnAndThoseCutOffWhenTheyAreBack) {
  World world(4);
  world.connect_all();
  for (std::size_t i = 0; i < 3; ++i) world.connect(i, 3, false);
  ASSERT_TRUE(world.keepers[0]->halt(halt(), world.now));
  world.run();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(world.keepers[i]->set().halts().size(), 1U) << i;
  ASSERT_TRUE(world.keepers[3]->halt(halt("no word from the others"), world.now));
  world.run();
  world.connect(1, 3, true);
  world.pass(milliseconds(600));
  for (const auto& keeper : world.keepers) EXPECT_EQ(keeper->set().halts().size(), 2U);
}

TEST(HaltKeeper, NobodyTalksWhereNothingWasEverHalted) {
  World world(3);
  world.connect_all();
  for (auto& keeper : world.keepers) EXPECT_EQ(keeper->next_deadline(), TimePoint::max());
  world.pass(milliseconds(5000));
  EXPECT_EQ(world.run(), 0U);
}

TEST(HaltKeeper, IsWrittenToTheLogByItsAgentOrByAnotherOneLater) {
  World world(3);
  world.connect_all();
  const auto tag = *world.keepers[0]->halt(halt(), world.now);
  world.run();
  world.pass(milliseconds(1000));
  EXPECT_TRUE(world.log.unused()) << "no leader yet";
  world.has_leader = true;
  world.pass(milliseconds(400));
  EXPECT_NE(world.log.find(tag), nullptr);
  for (auto& keeper : world.keepers) EXPECT_TRUE(keeper->recorded(tag));
  // One that its agent could not write any more.
  World other(3);
  other.connect_all();
  ASSERT_TRUE(other.keepers[0]->halt(halt(), other.now));
  auto output = other.keepers[0]->take_output();
  for (auto& [to, frame] : output.frames) other.keepers[to.value - 1]->on_frame(World::id(0), frame, other.now);
  other.keepers[0] = std::make_unique<HaltKeeper>(HaltFile{99, {}}, [](std::uint64_t) { return 0; });
  other.has_leader = true;
  other.pass(milliseconds(2100));
  EXPECT_EQ(other.log.halts().size(), 1U);
}

TEST(HaltKeeper, WhatTheLogLiftsIsLiftedEverywhereAndDoesNotComeBack) {
  World world(3);
  world.has_leader = true;
  world.connect_all();
  const auto tag = *world.keepers[0]->halt(halt(), world.now);
  world.run();
  world.cut_off = 2;  // the third one does not hear of the log, only of its peers
  world.connect(0, 2, false);
  world.connect(1, 2, false);
  ASSERT_TRUE(world.log.lift(tag));
  world.apply_log();
  world.run();
  EXPECT_TRUE(world.keepers[0]->set().halts().empty());
  EXPECT_FALSE(world.keepers[2]->set().halts().empty());
  const auto late = *world.keepers[2]->halt(halt("still wrong"), world.now);
  world.connect(0, 2, true);
  world.pass(milliseconds(600));
  EXPECT_NE(world.keepers[2]->set().find(tag), nullptr) << "peers say that it is over; the log has not told it so";
  EXPECT_EQ(world.keepers[0]->set().find(tag), nullptr) << "and it does not come back there";
  EXPECT_NE(world.keepers[1]->set().find(late), nullptr);
  world.cut_off = SIZE_MAX;
  world.apply_log();
  world.run();
  for (const auto& keeper : world.keepers) {
    EXPECT_EQ(keeper->set().find(tag), nullptr);
    EXPECT_NE(keeper->set().find(late), nullptr) << "a lift takes only what it has seen";
  }
}

// A peer that lost its halts and kept their numbers, or says that it has seen everything.
TEST(HaltKeeper, NumbersOfAPeerLiftNothing) {
  World world(2);
  const auto tag = *world.keepers[0]->halt(halt(), world.now);
  world.connect(0, 1, true);
  kv::HaltSet bare;
  bare.load_seen(1, kv::kHaltNumberMax);
  for (auto& keeper : world.keepers) {
    keeper->on_frame(store::NodeId{9}, std::string("H\1\1", 3) + encode(bare), world.now);
    EXPECT_NE(keeper->set().find(tag), nullptr);
    EXPECT_EQ(keeper->counters().unheeded, 1U);
  }
  EXPECT_EQ(world.keepers[0]->set(), world.keepers[1]->set());
  // Nor do they make it deaf: what it has not seen it goes on learning, and the next one of the same agent has a number of its own.
  const auto next = *world.keepers[0]->halt(halt("another"), world.now);
  world.run();
  EXPECT_NE(world.keepers[1]->set().find(next), nullptr);
  EXPECT_NE(next.replica, tag.replica) << "somebody remembers more of it than it does itself";
}

TEST(HaltKeeper, PutsBackWhatStandsInTheLog) {
  World world(1);
  HaltFile poisoned{1, {}};
  poisoned.set.load_seen(5, 3);
  HaltKeeper keeper(poisoned, [](std::uint64_t) { return 0; });
  kv::HaltSet log;
  const auto tag = *log.add(5, halt());
  keeper.on_recorded(log, world.now);
  EXPECT_NE(keeper.set().find(tag), nullptr);
  const auto output = keeper.take_output();
  EXPECT_TRUE(output.changed && !output.record);
  EXPECT_EQ(output.raised.size(), 1U);
  EXPECT_EQ(keeper.counters().put_back, 1U);
}

TEST(HaltKeeper, AHaltThatTheLogNeverSawStandsUntilItIsLiftedThere) {
  World world(2);
  const auto tag = *world.keepers[1]->halt(halt(), world.now);
  world.run();
  ASSERT_TRUE(world.log.add(77, halt("of somebody else")));
  world.apply_log();
  EXPECT_NE(world.keepers[1]->set().find(tag), nullptr);
  world.has_leader = true;
  world.pass(milliseconds(2500));
  ASSERT_NE(world.log.find(tag), nullptr) << "it is written down";
  ASSERT_TRUE(world.log.lift(tag));
  world.apply_log();
  EXPECT_EQ(world.keepers[1]->set().find(tag), nullptr);
}

// Also where whoever shows a later halt of the same agent hides it, and the log believed that first.
TEST(HaltKeeper, AHaltHiddenBehindALaterOneStands) {
  World world(2);
  const auto tag = *world.keepers[0]->halt(halt(), world.now);
  world.run();
  kv::HaltSet forged;
  kv::Halt later = halt("forged");
  later.tag = {tag.replica, tag.number + 3};
  forged.load(later);
  forged.load_seen(later.tag.replica, later.tag.number);
  ASSERT_TRUE(world.log.learn(forged));
  world.apply_log();
  EXPECT_NE(world.keepers[0]->set().find(tag), nullptr);
  world.has_leader = true;
  world.connect(0, 1, true);
  world.pass(milliseconds(2500));
  EXPECT_NE(world.log.find(tag), nullptr);
  EXPECT_NE(world.keepers[1]->set().find(tag), nullptr);
  EXPECT_EQ(world.keepers[0]->set(), world.log);
  EXPECT_EQ(world.keepers[1]->set(), world.log);
}

// A directory with an old halt in it: what was lifted while it lay in the cupboard is lifted when it hears the log.
TEST(HaltKeeper, AnOldDirectoryHearsWhatWasLiftedMeanwhile) {
  World world(2);
  world.has_leader = true;
  world.connect(0, 1, true);
  const auto first = *world.keepers[0]->halt(halt("first"), world.now);
  world.run();
  const HaltFile backup = world.keepers[0]->file();
  const auto second = *world.keepers[0]->halt(halt("second"), world.now);
  world.run();
  ASSERT_TRUE(world.log.lift(first) && world.log.lift(second));
  world.apply_log();
  world.connect(0, 1, false);
  world.keepers[0] = std::make_unique<HaltKeeper>(*decode_halt_file(encode(backup)), [&world](std::uint64_t bound) { return world.chance() % bound; });
  world.connect(0, 1, true);
  EXPECT_NE(world.keepers[0]->set().find(first), nullptr);
  world.apply_log();
  world.run();
  for (const auto& keeper : world.keepers) EXPECT_TRUE(keeper->set().halts().empty());
}

TEST(HaltKeeper, ADirectoryThatWasSetBackGivesNoNumberTwice) {
  for (const std::size_t given_alone : {0U, 1U, 2U, 3U}) {
    SCOPED_TRACE(given_alone);
    World world(2);
    world.has_leader = true;
    world.connect(0, 1, true);
    ASSERT_TRUE(world.keepers[0]->halt(halt("first"), world.now));
    const HaltFile backup = world.keepers[0]->file();
    ASSERT_TRUE(world.keepers[0]->halt(halt("second"), world.now));
    const auto third = world.keepers[0]->halt(halt("third"), world.now);
    world.run();
    world.log.lift(*third);
    world.apply_log();
    world.connect(0, 1, false);
    world.keepers[0] = std::make_unique<HaltKeeper>(backup, [&world](std::uint64_t bound) { return world.chance() % bound; });
    std::set<std::string> wanted{"first", "second", "known again"};
    for (std::size_t i = 0; i < given_alone; ++i) {
      wanted.insert("alone " + std::to_string(i));
      ASSERT_TRUE(world.keepers[0]->halt(halt("alone " + std::to_string(i)), world.now));
    }
    world.connect(0, 1, true);
    world.pass(milliseconds(600));
    ASSERT_TRUE(world.keepers[0]->halt(halt("known again"), world.now));
    world.run();
    for (const auto& keeper : world.keepers) {
      std::set<std::string> reasons;
      for (const auto& [tag, one] : keeper->set().halts()) reasons.insert(one.reason);
      EXPECT_EQ(reasons, wanted);
    }
  }
}

TEST(HaltKeeper, FramesOfAnyoneNeverCrash) {
  World world(2);
  HaltKeeper& keeper = *world.keepers[0];
  ASSERT_TRUE(keeper.halt(halt(), world.now));
  keeper.on_connected(World::id(1));
  const auto output = keeper.take_output();
  for (const auto& [to, frame] : output.frames) {
    for (std::size_t size = 0; size < frame.size(); ++size) world.keepers[1]->on_frame(World::id(0), frame.substr(0, size), world.now);
    for (std::size_t at = 0; at < frame.size(); ++at) {
      std::string flipped = frame;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x41);
      world.keepers[1]->on_frame(World::id(0), flipped, world.now);
      static_cast<void>(world.keepers[1]->take_output());
    }
  }
  EXPECT_GT(world.keepers[1]->counters().malformed, 0U);
}

TEST(HaltFile, IsReadAsItWasWrittenOrRefused) {
  HaltFile file{42, {}};
  ASSERT_TRUE(file.set.add(42, halt()));
  const std::string bytes = encode(file);
  const auto again = decode_halt_file(bytes);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->replica, 42U);
  EXPECT_EQ(again->set, file.set);
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode_halt_file(std::string_view(bytes).substr(0, size)));
  std::string flipped = bytes;
  flipped[flipped.find("prices")] = 'P';
  EXPECT_FALSE(decode_halt_file(flipped)) << "a byte that the disk has lost is noticed";
}

/// A set as somebody would make it up who wants halts gone: numbers without halts, halts that hide others, halts made milder.
kv::HaltSet forged(std::mt19937& chance, const std::set<kv::HaltTag>& given) {
  kv::HaltSet set;
  for (const kv::HaltTag& tag : given) {
    const std::uint64_t number = set.seen(tag.replica);
    if (chance() % 2 == 0) set.load_seen(tag.replica, std::max<std::uint64_t>(number, tag.number + chance() % 4));
    if (chance() % 4 != 0) continue;
    kv::Halt mild = halt("forged");
    mild.scope = kv::HaltScope::kRoute;
    mild.name = "nowhere";
    mild.tag = {tag.replica, tag.number + chance() % 3};
    set.load(mild);
    set.load_seen(tag.replica, std::max(set.seen(tag.replica), mild.tag.number));
  }
  return set;
}

/// Agents among which somebody makes sets up or garbles them; they halt, are parted, restart from a file that may be old, and have a
/// log that comes and goes.
class Adversary {
 public:
  static constexpr std::size_t kAgents = 5;
  explicit Adversary(std::uint32_t seed) : world(kAgents, seed), chance(seed * 104'729), old(world.disks) {}

  void step() {
    const std::size_t who = draw(kAgents);
    HaltKeeper& keeper = *world.keepers[who];
    switch (draw(10)) {
      case 0:
        if (keeper.set().halts().size() >= 40) break;
        if (const auto tag = keeper.halt(halt("by hand"), world.now)) given.insert(*tag);
        break;
      case 1: world.connect(who, (who + 1 + draw(kAgents - 1)) % kAgents, draw(3) != 0); break;
      case 2:
        world.has_leader = draw(2) == 0;
        world.cut_off = draw(2) == 0 ? kAgents : draw(kAgents);
        break;
      case 3:
        if (!world.log.halts().empty() && draw(3) == 0) lift(std::next(world.log.halts().begin(), static_cast<std::ptrdiff_t>(draw(world.log.halts().size())))->first);
        world.apply_log();
        break;
      case 4: restart(who); break;
      case 5: world.pass(milliseconds(50 * static_cast<int>(draw(12)))); break;
      default:
        ++exchanges;
        std::string frame = std::string("H\1\1", 3) + encode(draw(3) == 0 ? world.keepers[draw(kAgents)]->set() : forged(chance, given));
        if (draw(3) == 0) frame[draw(frame.size())] = static_cast<char>(chance());
        keeper.on_frame(World::id(draw(kAgents)), frame, world.now);
    }
    look();
    world.run();
    look();
  }

  /// All hear of each other and of the log: what stood anywhere and was not lifted stands everywhere, within seconds.
  void heal() {
    std::set<kv::HaltTag> standing;
    for (const auto& was : stood) {
      for (const auto& [tag, one] : was.second) standing.insert(tag);
    }
    world.has_leader = true;
    world.cut_off = kAgents;
    world.connect_all();
    world.apply_log();
    world.pass(milliseconds(4000));
    look();
    for (const kv::HaltTag& tag : standing) EXPECT_EQ(world.log.find(tag) != nullptr, !lifted.contains(tag)) << tag.text();
    for (std::size_t i = 0; i < kAgents; ++i) EXPECT_EQ(world.keepers[i]->set().halts(), world.log.halts()) << "agent " << i;
    EXPECT_EQ(world.run(), 0U);
  }

  /// A lift takes a halt away everywhere, also from an agent that was away with an old file.
  void lift_all() {
    const std::map<kv::HaltTag, kv::Halt> rest = world.log.halts();
    for (const auto& [tag, one] : rest) lift(tag);
    world.keepers[0] = std::make_unique<HaltKeeper>(old[0], [this](std::uint64_t bound) { return world.chance() % bound; });
    stood[0] = old[0].set.halts();
    world.apply_log();
    world.pass(milliseconds(4000));
    look();
    for (const auto& keeper : world.keepers) {
      for (const auto& [tag, one] : keeper->set().halts()) EXPECT_FALSE(lifted.contains(tag)) << tag.text();
    }
  }
  std::size_t exchanges = 0;
  std::set<kv::HaltTag> given, lifted;

 private:
  std::size_t draw(std::size_t bound) { return static_cast<std::size_t>(chance() % bound); }
  void lift(kv::HaltTag tag) {  // by value: what it names goes with the lift
    world.log.lift(tag);
    lifted.insert(tag);
  }
  void restart(std::size_t who) {
    world.run();
    for (std::size_t other = 0; other < kAgents; ++other) {
      if (other != who) world.connect(who, other, false);
    }
    if (draw(4) == 0) old[who] = world.disks[who];
    const HaltFile& file = draw(3) == 0 ? old[who] : world.disks[who];
    world.keepers[who] = std::make_unique<HaltKeeper>(*decode_halt_file(encode(file)), [this](std::uint64_t bound) { return world.chance() % bound; });
    stood[who] = file.set.halts();
  }
  // What stands at an agent has to stand there afterwards, unless the log has lifted it, and never gets weaker.
  void look() {
    for (std::size_t i = 0; i < kAgents; ++i) {
      for (const auto& [tag, was] : stood[i]) {
        const kv::Halt* now = world.keepers[i]->set().find(tag);
        if (now == nullptr) EXPECT_TRUE(lifted.contains(tag)) << "agent " << i << " lost " << tag.text();
        else EXPECT_EQ(stricter(*now, was), *now) << "weaker";
      }
      stood[i] = world.keepers[i]->set().halts();
      EXPECT_TRUE(world.keepers[i]->set().sound());
    }
  }

  World world;
  std::mt19937 chance;
  std::vector<HaltFile> old;
  std::map<std::size_t, std::map<kv::HaltTag, kv::Halt>> stood;
};

TEST(HaltKeeper, NobodysWordLiftsAHaltInTenThousandExchanges) {
  std::size_t exchanges = 0, lifts = 0;
  for (std::uint32_t seed = 1; seed <= 130; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Adversary adversary(seed);
    for (int step = 0; step < 220; ++step) adversary.step();
    lifts += adversary.lifted.size();
    exchanges += adversary.exchanges;
    adversary.heal();
    adversary.lift_all();
  }
  EXPECT_GE(exchanges, 10'000U);
  EXPECT_GT(lifts, 100U);
}

// Agents that are parted, restart from their disks, halt, and lift by the log: when all is well again they agree, and exactly
// what nobody has lifted stands.
TEST(HaltKeeper, AgreesInTheEndWhateverHappens) {
  for (std::uint32_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(4, seed);
    std::mt19937 chance(seed * 7919);
    const auto draw = [&](std::size_t bound) { return static_cast<std::size_t>(chance() % bound); };
    std::set<kv::HaltTag> given, lifted;
    for (int step = 0; step < 40; ++step) {
      const std::size_t who = draw(4);
      switch (draw(6)) {
        case 0:
          if (const auto tag = world.keepers[who]->halt(halt("step " + std::to_string(step)), world.now)) given.insert(*tag);
          break;
        case 1: world.connect(who, (who + 1 + draw(3)) % 4, draw(2) == 0); break;
        case 2: world.has_leader = draw(2) == 0; break;
        case 3:
          if (world.has_leader && !world.log.halts().empty()) {
            const kv::HaltTag tag = world.log.halts().begin()->first;
            world.log.lift(tag);
            lifted.insert(tag);
            world.apply_log();
          }
          break;
        case 4: {
          world.run();
          for (std::size_t other = 0; other < 4; ++other) {
            if (other != who) world.connect(who, other, false);
          }
          world.keepers[who] = std::make_unique<HaltKeeper>(world.disks[who], [&world](std::uint64_t bound) { return world.chance() % bound; });
          if (draw(2) == 0) world.keepers[who]->on_recorded(world.log, world.now);
          break;
        }
        default: world.pass(milliseconds(50 * static_cast<int>(draw(20))));
      }
      world.run();
    }
    world.has_leader = true;
    world.connect_all();
    world.apply_log();
    world.pass(milliseconds(4000));
    for (const auto& keeper : world.keepers) {
      EXPECT_EQ(keeper->set(), world.keepers[0]->set());
      EXPECT_EQ(keeper->set(), world.log);
      for (const kv::HaltTag& tag : given) EXPECT_EQ(keeper->set().find(tag) == nullptr, lifted.contains(tag)) << tag.text();
    }
  }
}

TEST(HaltDriver, ScopesAndTheViewOfTheWorkers) {
  kv::Halt one = halt("it \"looks\" wrong");
  for (const char* text : {"", "globally", "route:", "planet:earth", "route"}) EXPECT_FALSE(parse_scope(text, one)) << text;
  ASSERT_TRUE(parse_scope("account:a:7", one));
  EXPECT_EQ(one.name, "a:7");
  kv::HaltSet set;
  ASSERT_TRUE(set.add(1, one));
  const proxy::HaltView view = halt_view(set, {"X-Client", false});
  ASSERT_EQ(view.orders.size(), 1U);
  EXPECT_TRUE(view.by_account);
  EXPECT_EQ(view.account_field, "X-Client");
  EXPECT_EQ(view.orders[0].message.find('"'), std::string::npos);
  EXPECT_NE(view.orders[0].message.find("account:a:7 by ada at n1"), std::string::npos);
}

}  // namespace
}  // namespace agent
