#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "store/kv/halt_set.h"
#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

Halt halt(HaltScope scope = HaltScope::kGlobal, std::string name = {}) {
  Halt one;
  one.scope = scope;
  one.name = std::move(name);
  one.reason = "prices look wrong";
  one.who = "ada";
  one.node = "n1";
  one.time_ms = 1'700'000'000'000;
  return one;
}

HaltSet taught(HaltSet into, const HaltSet& from) {
  EXPECT_TRUE(into.learn(from));
  return into;
}

Halt numbered(std::uint64_t replica, std::uint64_t number) {
  Halt one = halt();
  one.tag = {replica, number};
  return one;
}

/// A set that shows one halt and says of all numbers below that they are over.
HaltSet shown(std::uint64_t replica, std::uint64_t number) {
  HaltSet set;
  set.load(numbered(replica, number));
  set.load_seen(replica, number);
  return set;
}

TEST(HaltSet, TagsAreReadAsTheyAreWritten) {
  const HaltTag tag{0x00ab, 12};
  EXPECT_EQ(tag.text(), "00000000000000ab-12");
  EXPECT_EQ(parse_halt_tag(tag.text()), tag);
  for (const char* text : {"", "ab-12", "00000000000000ab-", "00000000000000ab-012", "00000000000000AB-12", "00000000000000ab-12 ", "00000000000000ab:12"})
    EXPECT_EQ(parse_halt_tag(text).replica, 0U) << text;
}

TEST(HaltSet, WhatTheLogHasSeenAndDoesNotHoldIsLifted) {
  HaltSet one;
  const HaltTag first = *one.add(7, halt());
  HaltSet log = one;
  const HaltTag second = *one.add(7, halt(HaltScope::kRoute, "orders"));
  ASSERT_TRUE(log.lift(first));
  EXPECT_TRUE(one.learn(log)->removed.empty()) << "anybody may say so";
  EXPECT_NE(one.find(first), nullptr);
  EXPECT_EQ(one.follow(log).removed, std::vector{first});
  EXPECT_NE(one.find(second), nullptr) << "a lift takes only what it has seen";
  EXPECT_FALSE(one.follow(log).learned) << "a second time";
  EXPECT_FALSE(log.lift(first)) << "a second time";
  HaltSet behind;
  ASSERT_TRUE(behind.add(7, halt()));
  EXPECT_FALSE(one.learn(behind)->learned) << "it does not come back";
}

TEST(HaltSet, WhatTheLogHoldsStandsAlsoWhereItWasForgotten) {
  HaltSet log;
  const HaltTag tag = *log.add(7, halt());
  HaltSet poisoned;
  poisoned.load_seen(7, 5);
  EXPECT_FALSE(poisoned.learn(log)->learned);
  EXPECT_EQ(poisoned.follow(log).added, std::vector{tag});
  EXPECT_TRUE(poisoned.sound());
}

TEST(HaltSet, WhatWasPassedOverIsAGapAndNotOver) {
  HaltSet set;
  ASSERT_TRUE(set.learn(shown(7, 5)));
  EXPECT_EQ(set.gaps(7), (std::vector<HaltSet::Span>{{1, 4}}));
  EXPECT_FALSE(set.has_seen({7, 3}));
  ASSERT_EQ(set.learn(shown(7, 3))->added.size(), 1U) << "it still fits";
  EXPECT_EQ(set.gaps(7), (std::vector<HaltSet::Span>{{1, 2}, {4, 4}}));
  ASSERT_TRUE(set.learn(shown(7, 4)));
  ASSERT_TRUE(set.learn(shown(7, 9)));
  EXPECT_EQ(set.gaps(7), (std::vector<HaltSet::Span>{{1, 2}, {6, 8}}));
  EXPECT_TRUE(set.sound());
  // On a disk.
  HaltSet again = *decode_halt_set(encode(set));
  EXPECT_FALSE(again == set) << "the mesh does not carry them";
  ASSERT_TRUE(decode_gaps(encode_gaps(set), again));
  EXPECT_EQ(again, set);
  // The log knows better: 1 and 7 were shown there and are over.
  HaltSet log;
  for (const std::uint64_t number : {1U, 3U, 4U, 5U, 7U, 9U}) ASSERT_TRUE(log.learn(shown(7, number)));
  ASSERT_TRUE(log.lift({7, 1}) && log.lift({7, 7}));
  EXPECT_TRUE(set.follow(log).learned);
  EXPECT_EQ(set.gaps(7), (std::vector<HaltSet::Span>{{2, 2}, {6, 6}, {8, 8}}));
  EXPECT_FALSE(set.learn(shown(7, 7))->learned);
  EXPECT_TRUE(set.sound());
  // A set that has lost what the log never saw: what the log knows of 8 is nothing, so ours counts.
  HaltSet more;
  for (std::uint64_t number = 1; number <= 12; ++number) ASSERT_TRUE(more.learn(shown(7, number)));
  EXPECT_TRUE(more.follow(log).removed == (std::vector<HaltTag>{{7, 1}, {7, 7}}));
  EXPECT_TRUE(more.gaps(7).empty());
  EXPECT_EQ(more.seen(7), 12U);
  EXPECT_EQ(more.halts().size(), 10U);
}

TEST(HaltSet, GapsOfAnyoneAreRefusedOrSound) {
  HaltSet set;
  ASSERT_TRUE(set.learn(shown(7, 5)));
  for (const auto& gaps : {std::vector<HaltSet::Span>{{1, 5}}, {{0, 2}}, {{3, 2}}, {{1, 2}, {2, 3}}, {{1, 2}, {3, 4}}, {{1, 9}}}) {
    HaltSet bad = *decode_halt_set(encode(set));
    for (const auto& gap : gaps) bad.load_gap(7, gap);
    EXPECT_FALSE(bad.sound());
    HaltSet target = *decode_halt_set(encode(set));
    EXPECT_FALSE(decode_gaps(encode_gaps(bad), target));
    const auto row = decode_row(halt_seen_key(7), encode_halt_seen({7, 5, Index{1}, gaps}));
    EXPECT_FALSE(row);
  }
  const std::string bytes = encode_gaps(set);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    HaltSet target = *decode_halt_set(encode(set));
    EXPECT_FALSE(decode_gaps(std::string_view(bytes).substr(0, size), target));
  }
  // As many as may be: one more is refused whole.
  HaltSet many;
  for (std::uint64_t number = 2; many.halts().size() < 60; number += 2) ASSERT_TRUE(many.learn(shown(7, number)));
  for (std::uint64_t number = 1000; many.gaps(7).size() < kHaltGapsMax; number += 2) {
    ASSERT_TRUE(many.learn(shown(7, number)));
    ASSERT_TRUE(many.lift({7, number}));
  }
  EXPECT_TRUE(many.sound());
  EXPECT_LE(encode_gaps(many).size(), kHaltGapsBytesMax);
  EXPECT_TRUE(decode_row(halt_seen_key(7), encode_halt_seen({7, many.seen(7), Index{1}, many.gaps(7)})));
  const HaltSet before = many;
  EXPECT_EQ(many.learn(shown(8, 2)).error().code, Errc::kTooLarge);
  EXPECT_EQ(many, before);
  EXPECT_TRUE(many.learn(shown(8, 1))) << "who passes nothing over has room";
}

TEST(HaltSet, FollowingLiftsAlsoWhereThereIsNoRoom) {
  HaltSet log, full;
  for (std::uint64_t replica = 1; log.halts().size() < kHaltsMax; ++replica) ASSERT_TRUE(log.add(replica, halt()));
  for (std::uint64_t replica = 10'000; full.halts().size() < kHaltsMax - 1; ++replica) ASSERT_TRUE(full.add(replica, halt()));
  ASSERT_TRUE(full.learn(shown(1, 1)));
  ASSERT_TRUE(log.lift({1, 1}));
  const auto change = full.follow(log);
  EXPECT_EQ(change.removed, (std::vector<HaltTag>{{1, 1}}));
  EXPECT_EQ(change.added.size(), 1U);
  EXPECT_EQ(change.left_out, kHaltsMax - 2);
  EXPECT_TRUE(full.sound());
}

TEST(HaltSet, BoundsRefuseAndForgetNothing) {
  HaltSet set;
  for (std::size_t i = 0; i + 1 < kHaltsOfReplicaMax; ++i) ASSERT_TRUE(set.add(1, halt(HaltScope::kAccount, std::to_string(i))));
  EXPECT_FALSE(set.add(1, halt(HaltScope::kAccount, "one more")));
  EXPECT_TRUE(set.add(1, halt())) << "everything can still be stopped";
  EXPECT_FALSE(set.add(1, halt()));
  HaltSet many;
  for (std::uint64_t replica = 2; many.halts().size() + kHaltsOfReplicaMax < kHaltsMax + 1; ++replica) {
    for (std::size_t i = 0; i < kHaltsOfReplicaMax; ++i) ASSERT_TRUE(many.add(replica, halt()));
  }
  const HaltSet before = many;
  const auto refused = many.learn(set);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kTooLarge);
  EXPECT_EQ(many, before);
  EXPECT_LE(encode(many).size(), kHaltSetBytesMax);
}

TEST(HaltSet, TheLargestSetFitsIntoACommand) {
  HaltSet set;
  Halt big = halt(HaltScope::kAccount, std::string(kHaltNameBytesMax, 'n'));
  big.reason.assign(kHaltReasonBytesMax, 'r');
  big.who.assign(kHaltWhoBytesMax, 'w');
  big.node.assign(kHaltWhoBytesMax, 'a');
  for (std::uint64_t replica = 1; set.halts().size() < kHaltsMax; ++replica) {
    for (std::size_t i = 0; i + 1 < kHaltsOfReplicaMax && set.halts().size() < kHaltsMax; ++i) ASSERT_TRUE(set.add(UINT64_MAX - replica, big));
  }
  for (std::uint64_t replica = 1; set.seen().size() < kHaltReplicasMax; ++replica) set.load_seen(UINT64_MAX - 100'000 - replica, kHaltNumberMax);
  EXPECT_LE(encode(set).size(), kHaltSetBytesMax);
  HaltLift lift{set, {}, "ada", true, true, 1};
  for (const auto& [tag, one] : set.halts()) lift.tags.push_back(tag);
  const std::string bytes = encode(Command{{NodeId{1}, 1}, lift});
  EXPECT_LE(bytes.size(), kCommandBytesMax);
  const auto again = decode_command(bytes);
  ASSERT_TRUE(again) << again.error().detail;
  EXPECT_EQ(std::get<HaltLift>(again->body).set, set);
}

TEST(HaltSet, BytesOfAnyoneAreRefusedOrMeanOneSet) {
  HaltSet set;
  ASSERT_TRUE(set.add(1, halt()));
  ASSERT_TRUE(set.add(9, halt(HaltScope::kBroker, "alpha")));
  const std::string bytes = encode(set);
  EXPECT_EQ(*decode_halt_set(bytes), set);
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode_halt_set(std::string_view(bytes).substr(0, size)));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int flip : {1, 0x41, 0x80}) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ flip);
      if (const auto other = decode_halt_set(flipped)) {
        EXPECT_TRUE(other->sound());
        EXPECT_EQ(*decode_halt_set(encode(*other)), *other);
      }
    }
  }
}

TEST(HaltSet, WhatAHaltHasToSay) {
  HaltSet set;
  for (auto spoil : {+[](Halt& h) { h.reason.clear(); }, +[](Halt& h) { h.who.clear(); }, +[](Halt& h) { h.name = "x"; },
                     +[](Halt& h) { h.scope = HaltScope::kRoute; }, +[](Halt& h) { h.reason = "two\nlines"; },
                     +[](Halt& h) { h.reason.assign(kHaltReasonBytesMax + 1, 'r'); }, +[](Halt& h) { h.time_ms = UINT64_MAX; }}) {
    Halt bad = halt();
    spoil(bad);
    EXPECT_FALSE(set.add(1, bad));
  }
  EXPECT_TRUE(set.unused());
}

// Agents halt and learn from each other in any order, and the log, which learns too, alone lifts: the laws of the set hold at every
// meeting, and in the end all agree on exactly what the log has not lifted.
TEST(HaltSet, LawsHoldForEverySeed) {
  for (std::uint32_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 chance(seed);
    const auto draw = [&](std::size_t bound) { return static_cast<std::size_t>(chance() % bound); };
    std::array<HaltSet, 4> copies;
    HaltSet log;
    std::map<HaltTag, bool> lifted;  // all ever given
    for (int step = 0; step < 60; ++step) {
      HaltSet& copy = copies[draw(copies.size())];
      const std::size_t what = draw(6);
      if (what == 0) {
        const auto tag = copy.add(1 + static_cast<std::uint64_t>(&copy - copies.data()), halt(HaltScope::kRoute, "r" + std::to_string(draw(3))));
        EXPECT_TRUE(!tag || lifted.emplace(*tag, false).second) << "no tag is given twice";
      } else if (what == 1 && !log.halts().empty()) {
        const HaltTag tag = std::next(log.halts().begin(), static_cast<std::ptrdiff_t>(draw(log.halts().size())))->first;
        EXPECT_TRUE(log.lift(tag));
        lifted[tag] = true;
      } else if (what == 2) {
        EXPECT_TRUE(log.learn(copy));
      } else if (what == 3) {
        static_cast<void>(copy.follow(log));
        EXPECT_FALSE(copy.follow(log).learned);
      } else {
        const HaltSet& a = copies[draw(copies.size())];
        const HaltSet before = copy;
        EXPECT_EQ(taught(taught(copy, a), a), taught(copy, a));
        EXPECT_TRUE(copy.learn(a));
        for (const auto& [tag, stood] : before.halts()) EXPECT_NE(copy.find(tag), nullptr);
      }
      EXPECT_TRUE(copy.sound() && log.sound());
    }
    for (int round = 0; round < 3; ++round) {
      for (HaltSet& copy : copies) {
        EXPECT_TRUE(log.learn(copy));
        static_cast<void>(copy.follow(log));
      }
    }
    for (const HaltSet& copy : copies) {
      EXPECT_EQ(copy, log);
      EXPECT_EQ(copy.digest(), log.digest());
      for (const auto& [tag, gone] : lifted) EXPECT_EQ(copy.find(tag) == nullptr, gone) << tag.text();
    }
  }
}

Halt drawn(std::mt19937& chance) {
  const std::array<Halt, 4> scopes{halt(), halt(HaltScope::kRoute, "a"), halt(HaltScope::kRoute, "b"), halt(HaltScope::kBroker, "a")};
  Halt one = scopes[chance() % scopes.size()];
  one.tag = {1, 1};
  one.time_ms += chance() % 2;
  one.who = chance() % 2 == 0 ? "ada" : "grace";
  one.cancels_pass = chance() % 2 == 0;
  one.second_person = chance() % 2 == 0;
  return one;
}

bool covers(const Halt& strict, const Halt& mild) {
  const bool stops = strict.scope == HaltScope::kGlobal || (strict.scope == mild.scope && strict.name == mild.name);
  return stops && (!strict.cancels_pass || mild.cancels_pass) && (strict.second_person || !mild.second_person);
}

TEST(HaltSet, OfTwoContentsOfOneTagTheStrictestStands) {
  std::mt19937 chance(1);
  for (int i = 0; i < 5000; ++i) {
    const Halt a = drawn(chance), b = drawn(chance), c = drawn(chance);
    const Halt both = stricter(a, b);
    EXPECT_TRUE(covers(both, a) && covers(both, b));
    EXPECT_TRUE(check(both));
    EXPECT_EQ(both, stricter(b, a));
    EXPECT_EQ(stricter(a, a), a);
    EXPECT_EQ(stricter(both, c), stricter(a, stricter(b, c)));
    HaltSet one, two;
    for (auto [set, content] : {std::pair{&one, &a}, std::pair{&two, &b}}) {
      set->load(*content);
      set->load_seen(1, 1);
    }
    EXPECT_EQ(taught(one, two), taught(two, one));
    EXPECT_EQ(one.learn(two)->added.empty(), both == a);
    EXPECT_EQ(*one.find({1, 1}), both);
  }
}

TEST(HaltSet, ANumberAloneTeachesNothing) {
  HaltSet set, bare;
  const HaltTag tag = *set.add(1, halt());
  bare.load_seen(1, 7);
  const HaltSet before = set;
  EXPECT_FALSE(set.learn(bare)->learned);
  EXPECT_EQ(set, before);
  EXPECT_TRUE(bare.learn(set)->added.empty()) << "it says that it knows it to be lifted";
  HaltSet fresh;
  EXPECT_EQ(fresh.learn(set)->added, std::vector{tag});
  EXPECT_EQ(fresh, set);
}

TEST(HaltSet, NumbersHaveABound) {
  HaltSet set;
  set.load_seen(7, kHaltNumberMax - 1);
  const HaltTag last = *set.add(7, halt());
  EXPECT_EQ(last.number, kHaltNumberMax);
  const auto refused = set.add(7, halt());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kTooLarge);
  EXPECT_EQ(set.halts().size(), 1U);
  EXPECT_EQ(*decode_halt_set(encode(set)), set);
  for (const std::uint64_t number : {kHaltNumberMax + 1, UINT64_MAX}) {
    HaltSet bare, shown;
    bare.load_seen(7, number);
    Halt one = halt();
    one.tag = {7, number};
    shown.load(one);
    shown.load_seen(7, number);
    for (const HaltSet* bad : {&bare, &shown}) {
      EXPECT_FALSE(bad->sound());
      EXPECT_FALSE(decode_halt_set(encode(*bad)));
      EXPECT_FALSE(decode_command(encode(Command{{NodeId{1}, 1}, HaltMerge{*bad}})));
    }
    EXPECT_FALSE(decode_row(halt_seen_key(7), encode_halt_seen({7, number, Index{1}})));
    EXPECT_FALSE(decode_row(halt_key(one.tag), encode_halt(one, {})));
  }
}

// --- in the log -------------------------------------------------------------------------------------------------------

HaltLift lift_of(const HaltSet& set, std::vector<HaltTag> tags, std::string by, bool confirm = false) {
  return {set, std::move(tags), std::move(by), false, confirm, 5};
}

TEST(HaltBook, KeepsHaltsUntilTheyAreLifted) {
  Machine machine;
  HaltSet one, two;
  const HaltTag first = *one.add(1, halt()), other = *two.add(2, halt(HaltScope::kBroker, "alpha"));
  EXPECT_EQ(machine.outcome(HaltMerge{one}), Outcome::kDone);
  EXPECT_EQ(machine.state.topic_index({Topic::Kind::kHalts, {}}), machine.now());
  EXPECT_EQ(machine.outcome(HaltMerge{one}), Outcome::kUnchanged);
  machine.expect_mirrored();
  // One that was never written down is lifted all the same: the command brings it along.
  EXPECT_EQ(machine.outcome(HaltLift{two, {other}, "ada", false, false, 5}), Outcome::kDone);
  machine.expect_mirrored();
  EXPECT_EQ(machine.outcome(HaltMerge{two}), Outcome::kUnchanged) << "it does not come back";
  EXPECT_EQ(machine.state.halts().set().halts().size(), 1U);
  EXPECT_EQ(machine.outcome(lift_of(one, {{9, 9}}, "ada")), Outcome::kNotFound);
  EXPECT_EQ(machine.outcome(lift_of(one, {first, first}, "ada")), Outcome::kDone) << "named twice";
  EXPECT_EQ(machine.outcome(lift_of(one, {first}, "ada")), Outcome::kUnchanged);
  EXPECT_TRUE(machine.state.halts().set().halts().empty());
  machine.expect_mirrored();
}

TEST(HaltBook, TwoPeopleWhereItTakesTwo) {
  Machine machine;
  HaltSet set;
  Halt strict = halt();
  strict.second_person = true;
  const HaltTag tag = *set.add(1, strict);
  EXPECT_EQ(machine.outcome(lift_of(set, {tag}, "ada", true)), Outcome::kConditionFailed) << "nobody has proposed it";
  EXPECT_EQ(machine.outcome(lift_of(set, {tag}, "ada")), Outcome::kReserved);
  machine.expect_mirrored();
  ASSERT_NE(machine.state.halts().proposal(tag), nullptr);
  EXPECT_EQ(machine.state.halts().proposal(tag)->by, "ada");
  const Applied same = machine.run(lift_of(set, {tag}, "ada", true));
  EXPECT_EQ(same.outcome, Outcome::kConditionFailed);
  EXPECT_NE(same.detail.find("somebody else"), std::string::npos);
  EXPECT_NE(machine.state.halts().set().find(tag), nullptr);
  EXPECT_EQ(machine.outcome(lift_of(set, {tag}, "grace", true)), Outcome::kDone);
  EXPECT_EQ(machine.state.halts().proposal(tag), nullptr);
  machine.expect_mirrored();
  // The settings of whoever lifts may ask for two, whatever the halt says.
  const HaltTag mild = *set.add(1, halt());
  EXPECT_EQ(machine.outcome(HaltLift{set, {mild}, "ada", true, false, 5}), Outcome::kReserved);
  EXPECT_EQ(machine.outcome(HaltLift{set, {mild}, "grace", true, true, 5}), Outcome::kDone);
  machine.expect_mirrored();
}

std::size_t entries_of(const Machine& machine, AuditKind kind) {
  const auto page = machine.state.audit().page(0, 10'000);
  return static_cast<std::size_t>(std::count_if(page.begin(), page.end(), [&](const AuditLog::Item& item) { return item.entry.kind == kind; }));
}

TEST(HaltBook, NobodysWordLiftsWhatStands) {
  Machine machine;
  machine.run(AuditNote{AuditKind::kConfig, 1, "n1", "settings", "digest"});
  HaltSet set, bare;
  Halt strict = halt();
  strict.second_person = true;
  const HaltTag kill = *set.add(1, strict), route = *set.add(1, halt(HaltScope::kRoute, "orders"));
  bare.load_seen(1, 2);
  EXPECT_EQ(machine.outcome(HaltMerge{bare}), Outcome::kUnchanged) << "of a halt that was never shown nobody can say it is over";
  EXPECT_EQ(machine.outcome(HaltMerge{set}), Outcome::kDone);
  EXPECT_EQ(machine.outcome(HaltMerge{bare}), Outcome::kUnchanged);
  EXPECT_EQ(machine.outcome(lift_of(bare, {route}, "ada")), Outcome::kDone) << "the same door";
  EXPECT_NE(machine.state.halts().set().find(kill), nullptr);
  EXPECT_EQ(machine.state.halts().set().find(route), nullptr);
  EXPECT_EQ(entries_of(machine, AuditKind::kResume), 1U);
  machine.expect_mirrored();
}

TEST(HaltBook, WhoeverHidesAHaltBehindALaterOneDoesNotLiftIt) {
  Machine machine;
  HaltSet set;
  const HaltTag first = *set.add(1, halt()), second = *set.add(1, halt(HaltScope::kRoute, "orders"));
  EXPECT_EQ(machine.outcome(HaltMerge{shown(1, 2)}), Outcome::kDone) << "shows the second and hides the first";
  EXPECT_FALSE(machine.state.halts().set().has_seen(first));
  machine.expect_mirrored();
  EXPECT_EQ(machine.outcome(HaltMerge{set}), Outcome::kDone);
  EXPECT_NE(machine.state.halts().set().find(first), nullptr);
  machine.expect_mirrored();
  EXPECT_EQ(machine.outcome(lift_of(set, {first, second}, "ada")), Outcome::kDone);
  EXPECT_TRUE(machine.state.halts().set().has_seen(first) && machine.state.halts().set().halts().empty());
  machine.expect_mirrored();
}

TEST(HaltBook, ATagWithTwoContentsIsTheSameOnDisk) {
  Halt mild = halt(HaltScope::kRoute, "orders"), strict = halt(HaltScope::kBroker, "alpha");
  strict.second_person = true;
  for (const bool mild_first : {true, false}) {
    Machine machine;
    machine.run(AuditNote{AuditKind::kConfig, 1, "n1", "settings", "digest"});
    HaltSet one, two;
    const HaltTag tag = *one.add(1, mild);
    ASSERT_EQ(*two.add(1, strict), tag);
    EXPECT_EQ(machine.outcome(HaltMerge{mild_first ? one : two}), Outcome::kDone);
    EXPECT_EQ(machine.outcome(HaltLift{mild_first ? one : two, {tag}, "ada", true, false, 5}), Outcome::kReserved);
    EXPECT_EQ(machine.outcome(HaltMerge{mild_first ? two : one}), Outcome::kDone) << "two scopes: everything is stopped";
    machine.expect_mirrored();
    EXPECT_EQ(machine.state.halts().proposal(tag), nullptr) << "ada has seen another halt";
    EXPECT_EQ(machine.state.halts().set().find(tag)->scope, HaltScope::kGlobal);
    EXPECT_EQ(entries_of(machine, AuditKind::kHalt), 2U);
    EXPECT_EQ(machine.outcome(lift_of(one, {tag}, "ada")), Outcome::kReserved) << "it takes two, whichever came first";
    machine.expect_mirrored();
  }
}

// Sets that say anything at all, and lifts: what stood goes by the tags of a lift that was done, never gets weaker, and is
// on disk as it is in memory.
TEST(HaltBook, OnlyTagsOfALiftTakeAHaltAway) {
  for (std::uint32_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 chance(seed);
    Machine machine;
    for (int step = 0; step < 30; ++step) {
      HaltSet told;
      for (std::uint64_t replica = 1; replica <= 2; ++replica) {
        const std::uint64_t last = chance() % 5;
        if (last > 0) told.load_seen(replica, last);
        for (std::uint64_t number = 1; number <= last; ++number) {
          Halt one = drawn(chance);
          one.tag = {replica, number};
          if (chance() % 3 == 0) told.load(one);
        }
      }
      const std::map<HaltTag, Halt> before = machine.state.halts().set().halts();
      const HaltTag tag{1 + chance() % 2, 1 + chance() % 4};
      Outcome outcome = Outcome::kUnchanged;
      if (const bool lifts = chance() % 2 == 0; lifts) outcome = machine.outcome(lift_of(told, {tag}, chance() % 2 == 0 ? "ada" : "grace", chance() % 2 == 0));
      else machine.run(HaltMerge{told});
      machine.expect_mirrored();
      for (const auto& [stood, was] : before) {
        const Halt* now = machine.state.halts().set().find(stood);
        if (now != nullptr) EXPECT_TRUE(covers(*now, was)) << stood.text();
        else EXPECT_TRUE(outcome == Outcome::kDone && stood == tag) << stood.text();
      }
    }
  }
}

TEST(HaltBook, RowsThatContradictEachOtherAreNotTaken) {
  Machine machine;
  HaltSet set;
  ASSERT_TRUE(set.add(1, halt()));
  machine.run(HaltMerge{set});
  std::vector<Record> rows = machine.disk_rows();
  std::erase_if(rows, [](const Record& row) { return row.key.front() == 'w'; });
  StateMachine again;
  EXPECT_EQ(again.load(machine.now(), rows).error().code, Errc::kBadState) << "a halt whose number was never seen";
}

}  // namespace
}  // namespace store::kv
