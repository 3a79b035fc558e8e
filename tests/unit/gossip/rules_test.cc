// The pure rules, one test each, with the section they come from.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "gossip/broadcast_queue.h"
#include "gossip/heal_schedule.h"
#include "gossip/health_score.h"
#include "gossip/member_table.h"
#include "gossip/probe_schedule.h"
#include "gossip/suspicion.h"
#include "tests/unit/gossip/cluster.h"

namespace gossip {
namespace {

using namespace std::chrono_literals;
const TimePoint kNow{1h};

MemberId id_of(int n) {
  MemberId id;
  id.bytes[0] = static_cast<std::uint8_t>(n >> 8);
  id.bytes[1] = static_cast<std::uint8_t>(n);
  id.bytes[15] = 1;
  return id;
}

// --- Suspicion: SWIM 4.2, Lifeguard LHA-Suspicion, gossip.md 5.5 ---

SuspicionFloors floors() { return {500ms, 3s, 6s, 5s}; }

TEST(Suspicion, WaitsMaxAloneAndMinWhenConfirmed) {  // Lifeguard, LHA-Suspicion
  Suspicion s(kNow, floors(), 3, 6, {id_of(1), Evidence::kSilent});
  EXPECT_EQ(s.deadline(false), kNow + 18s);
  TimePoint before = s.deadline(false);
  for (int i = 2; i <= 4; ++i) {
    EXPECT_FALSE(s.is_confirmed());
    EXPECT_TRUE(s.confirm({id_of(i), Evidence::kSilent}));
    EXPECT_LT(s.deadline(false), before);
    before = s.deadline(false);
  }
  EXPECT_TRUE(s.is_confirmed());
  EXPECT_EQ(s.deadline(false), kNow + 3s);
  EXPECT_TRUE(s.confirm({id_of(5), Evidence::kSilent}));
  EXPECT_EQ(s.deadline(false), kNow + 3s) << "never below the floor";
}

TEST(Suspicion, DecaysByTheLogarithm) {  // max - (max-min) * log(C+1)/log(K+1): C=1, K=3 is half of the way
  Suspicion s(kNow, floors(), 3, 6, {id_of(1), Evidence::kSilent});
  s.confirm({id_of(2), Evidence::kSilent});
  const auto left = std::chrono::duration<double>(s.deadline(false) - kNow).count();
  EXPECT_NEAR(left, 18 - 15 * 0.5, 1e-6);
}

TEST(Suspicion, OneAccuserCountsOnce) {  // confirmations are independent
  Suspicion s(kNow, floors(), 3, 6, {id_of(1), Evidence::kSilent});
  EXPECT_FALSE(s.confirm({id_of(1), Evidence::kRefused}));
  EXPECT_EQ(s.deadline(false), kNow + 18s);
  EXPECT_TRUE(s.accused_by(id_of(1)));
  EXPECT_FALSE(s.accused_by(id_of(2)));
}

TEST(Suspicion, NobodyLeftToConfirmStartsAtTheFloor) {
  EXPECT_EQ(Suspicion(kNow, floors(), 0, 6, {id_of(1), Evidence::kSilent}).deadline(false), kNow + 3s);
}

TEST(Suspicion, TheClassOfMostAccusersDecides) {  // gossip.md 5.5
  Suspicion s(kNow, floors(), 0, 6, {id_of(1), Evidence::kRefused});
  EXPECT_EQ(s.deadline(false), kNow + 500ms);
  s.confirm({id_of(2), Evidence::kStalled});
  EXPECT_EQ(s.evidence(), Evidence::kStalled) << "on a tie the slower";
  s.confirm({id_of(3), Evidence::kRefused});
  EXPECT_EQ(s.evidence(), Evidence::kRefused);
  s.confirm({id_of(4), Evidence::kSilent});
  s.confirm({id_of(5), Evidence::kSilent});
  s.confirm({id_of(6), Evidence::kSilent});
  EXPECT_EQ(s.deadline(false), kNow + 3s);
}

TEST(Suspicion, TheMassBrakeSlowsSilenceOnly) {  // gossip.md 5.5
  EXPECT_EQ(Suspicion(kNow, floors(), 0, 6, {id_of(1), Evidence::kSilent}).deadline(true), kNow + 5s);
  EXPECT_EQ(Suspicion(kNow, floors(), 0, 6, {id_of(1), Evidence::kRefused}).deadline(true), kNow + 500ms);
  EXPECT_EQ(Suspicion(kNow, floors(), 0, 6, {id_of(1), Evidence::kStalled}).deadline(true), kNow + 6s);
}

TEST(Suspicion, OurOwnPauseMovesIt) {  // pause guard
  Suspicion s(kNow, floors(), 0, 6, {id_of(1), Evidence::kSilent});
  s.shift(4s);
  EXPECT_EQ(s.deadline(false), kNow + 7s);
}

TEST(Suspicion, AccusersAreBounded) {
  Suspicion s(kNow, floors(), 3, 6, {id_of(0), Evidence::kSilent});
  for (int i = 1; i < 100; ++i) s.confirm({id_of(i), Evidence::kSilent});
  EXPECT_EQ(s.accusations().size(), Suspicion::kAccusersKept);
}

TEST(Suspicion, FloorsFollowTheSizeOfTheCluster) {
  const Config config;
  const auto one = suspicion_floors(config, 1), hundred = suspicion_floors(config, 100);
  EXPECT_EQ(one.refused, 500ms);
  EXPECT_EQ(one.silent, 2500ms);
  EXPECT_EQ(hundred.silent, 3500ms);
  EXPECT_EQ(one.stalled, 6s);
  EXPECT_EQ(hundred.stalled, 8s);
}

TEST(HealthScore, SaturatesBothWays) {  // Lifeguard, LHA-Probe
  HealthScore score(8);
  score.improve();
  EXPECT_EQ(score.multiplier(), 1u);
  score.worsen(3);
  EXPECT_EQ(score.multiplier(), 4u);
  score.worsen(30);
  EXPECT_EQ(score.value(), 7u);
  score.improve();
  EXPECT_EQ(score.value(), 6u);
}

// --- Probe schedule: SWIM 4.3 ---

TEST(ProbeSchedule, EveryoneOncePerRoundAndRoundsDiffer) {
  test::Chance chance(5);
  const Rng rng = [&](std::uint64_t bound) { return chance(bound); };
  ProbeSchedule schedule;
  for (int i = 0; i < 20; ++i) schedule.add(id_of(i), rng);
  const auto all = [](const MemberId&) { return true; };
  std::vector<std::vector<MemberId>> rounds;
  for (int round = 0; round < 4; ++round) {
    std::vector<MemberId> order;
    for (int i = 0; i < 20; ++i) order.push_back(*schedule.next(rng, all));
    EXPECT_EQ(std::set<MemberId>(order.begin(), order.end()).size(), 20u);
    rounds.push_back(order);
  }
  EXPECT_NE(rounds[1], rounds[2]);
}

TEST(ProbeSchedule, TheUnwantedAreSkippedAndNoneIsSaid) {
  test::Chance chance(6);
  const Rng rng = [&](std::uint64_t bound) { return chance(bound); };
  ProbeSchedule schedule;
  EXPECT_EQ(schedule.next(rng, [](const MemberId&) { return true; }), std::nullopt);
  for (int i = 0; i < 5; ++i) schedule.add(id_of(i), rng);
  schedule.remove(id_of(3));
  schedule.remove(id_of(77));
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(schedule.next(rng, [](const MemberId& id) { return id == id_of(2) || id == id_of(3); }), id_of(2));
  EXPECT_EQ(schedule.next(rng, [](const MemberId&) { return false; }), std::nullopt);
}

// --- Broadcast queue: SWIM 4.1, gossip.md 5.7 ---

std::vector<Message> fill(BroadcastQueue& queue, std::uint32_t sends_max, std::size_t budget = 1000,
                          std::size_t count = 64) {
  std::vector<std::byte> body;
  BodyWriter writer(body, budget, id_of(99), {});
  queue.fill(writer, sends_max, count);
  writer.finish();
  return decode_body(body)->messages;
}
void push(BroadcastQueue& queue, int id, Kind kind, Priority priority, std::uint64_t detail = 0) {
  const Rank rank{Generation{1}, Incarnation{1}};
  const Message message = kind == Kind::kLeft ? Message{Left{id_of(id), rank}}
                          : kind == Kind::kSuspect
                              ? Message{Suspect{id_of(id), rank, id_of(50), Evidence::kSilent}}
                              : Message{Tags{id_of(id), rank.generation, false, {{"k", "v", 1, false}}}};
  queue.push({id_of(id), kind, detail}, priority, encode(message), 8);
}

TEST(BroadcastQueue, TheLeastSentGoFirstAndEachGoesSoManyTimes) {
  BroadcastQueue queue;
  for (int i = 0; i < 6; ++i) push(queue, i, Kind::kLeft, Priority::kLeave);
  std::map<MemberId, int> sends;
  for (int packet = 0; packet < 8; ++packet) {
    const auto sent = fill(queue, 4, 1000, 3);
    for (const auto& message : sent) ++sends[std::get<Left>(message).id];
    if (packet == 1) {
      for (const auto& [id, count] : sends) EXPECT_EQ(count, 1) << "second packet holds the other three";
    }
  }
  EXPECT_EQ(sends.size(), 6u);
  for (const auto& [id, count] : sends) EXPECT_EQ(count, 4);
  EXPECT_TRUE(queue.empty());
}

TEST(BroadcastQueue, PriorityBeatsAge) {
  BroadcastQueue queue;
  push(queue, 1, Kind::kTags, Priority::kTags);
  push(queue, 2, Kind::kSuspect, Priority::kSuspect);
  push(queue, 3, Kind::kLeft, Priority::kLeave);
  const auto sent = fill(queue, 10, 1000, 2);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<Left>(sent[0]));
  EXPECT_TRUE(std::holds_alternative<Suspect>(sent[1]));
}

TEST(BroadcastQueue, ReplacesBySubjectKindAndAccuser) {
  BroadcastQueue queue;
  push(queue, 1, Kind::kSuspect, Priority::kSuspect, 10);
  push(queue, 1, Kind::kSuspect, Priority::kSuspect, 11);
  push(queue, 1, Kind::kSuspect, Priority::kSuspect, 10);
  EXPECT_EQ(queue.size(), 2u) << "independent accusations are kept apart";
  push(queue, 1, Kind::kTags, Priority::kTags, 1);
  push(queue, 2, Kind::kLeft, Priority::kLeave);
  queue.drop_claims(id_of(1));
  EXPECT_EQ(queue.size(), 2u) << "tags stay, and so does the other member";
  queue.drop_all(id_of(1));
  EXPECT_EQ(queue.size(), 1u);
}

TEST(BroadcastQueue, AnOverflowDropsTheLeastImportant) {
  BroadcastQueue queue;
  for (int i = 0; i < 20; ++i) push(queue, i, Kind::kTags, Priority::kTags);
  EXPECT_EQ(queue.size(), 8u);
  EXPECT_EQ(queue.push({id_of(30), Kind::kLeft, 0}, Priority::kLeave, encode(Left{id_of(30), {}}), 8), 1u);
  const auto sent = fill(queue, 1);
  EXPECT_TRUE(std::holds_alternative<Left>(sent[0])) << "a leave is never the one to go (consul 8435)";
}

TEST(BroadcastQueue, SkipsWhatDoesNotFit) {
  BroadcastQueue queue;
  push(queue, 1, Kind::kSuspect, Priority::kSuspect);
  push(queue, 2, Kind::kTags, Priority::kTags);
  const auto sent = fill(queue, 5, 22 + 35);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Tags>(sent[0]));
}

TEST(BroadcastQueue, SendsGrowWithTheLogarithm) {  // SWIM 4.1: lambda * log n
  EXPECT_EQ(retransmit_limit(4, 1), 4u);
  EXPECT_EQ(retransmit_limit(4, 9), 4u);
  EXPECT_EQ(retransmit_limit(4, 10), 8u);
  EXPECT_EQ(retransmit_limit(4, 5000), 16u);
}

// --- Member table: SWIM 4.2 (precedence), gossip.md 5.2 ---

Alive alive(int n, std::uint64_t generation, std::uint32_t incarnation, std::vector<Tag> tags = {}) {
  return {id_of(n),
          {Generation{generation}, Incarnation{incarnation}},
          "n" + std::to_string(n),
          Address::ipv4(10, 0, 0, static_cast<std::uint8_t>(n), 1),
          1,
          1,
          std::move(tags)};
}
Rank rank(std::uint64_t generation, std::uint32_t incarnation) {
  return {Generation{generation}, Incarnation{incarnation}};
}

TEST(MemberTable, AliveBeatsOnlyWhatIsBelowIt) {  // SWIM 4.2: Alive(i) beats Alive(j), Suspect(j) for i > j
  MemberTable table(100);
  EXPECT_EQ(table.apply(alive(1, 5, 1), kNow).merge, Merge::kJoined);
  EXPECT_EQ(table.apply(alive(1, 5, 1), kNow).merge, Merge::kStale);
  EXPECT_EQ(table.apply(alive(1, 5, 0), kNow).merge, Merge::kStale);
  EXPECT_EQ(table.apply(alive(1, 5, 2), kNow).merge, Merge::kRaised);
  table.set_state(*table.find(id_of(1)), MemberState::kSuspect, kNow);
  EXPECT_EQ(table.apply(alive(1, 5, 2), kNow).merge, Merge::kStale);
  EXPECT_EQ(table.find(id_of(1))->state, MemberState::kSuspect);
  EXPECT_EQ(table.apply(alive(1, 5, 3), kNow).merge, Merge::kRevived);
  EXPECT_EQ(table.apply(alive(1, 6, 0), kNow).merge, Merge::kRestarted);
  EXPECT_EQ(table.apply(alive(1, 5, 9), kNow).merge, Merge::kStale) << "an old life";
}

TEST(MemberTable, DeadBeatsAliveAtItsRankAndNothingElse) {
  MemberTable table(100);
  table.apply(alive(1, 5, 2), kNow);
  EXPECT_EQ(table.apply_dead(id_of(1), rank(5, 1), kNow), Merge::kStale);
  EXPECT_EQ(table.apply_dead(id_of(1), rank(5, 3), kNow), Merge::kAhead) << "only an alive record raises the rank";
  EXPECT_EQ(table.apply_dead(id_of(2), rank(1, 1), kNow), Merge::kAhead) << "unknown: fetch the record";
  EXPECT_EQ(table.apply_dead(id_of(1), rank(5, 2), kNow), Merge::kDied);
  EXPECT_EQ(table.apply_dead(id_of(1), rank(5, 2), kNow), Merge::kStale);
  EXPECT_EQ(table.apply(alive(1, 5, 2), kNow).merge, Merge::kBuried);
  EXPECT_EQ(table.apply(alive(1, 5, 3), kNow).merge, Merge::kRevived);
}

TEST(MemberTable, LeftOverridesDead) {
  MemberTable table(100);
  table.apply(alive(1, 5, 2), kNow);
  table.apply_dead(id_of(1), rank(5, 2), kNow);
  EXPECT_EQ(table.apply_left(id_of(1), rank(5, 1), kNow), Merge::kStale);
  EXPECT_EQ(table.apply_left(id_of(1), rank(5, 3), kNow), Merge::kAhead);
  EXPECT_EQ(table.apply_left(id_of(1), rank(5, 2), kNow), Merge::kLeft);
  EXPECT_EQ(table.apply_left(id_of(1), rank(5, 2), kNow), Merge::kStale);
}

TEST(MemberTable, TagsMergePerKeyWithinALife) {
  MemberTable table(100);
  table.apply(alive(1, 5, 1, {{"a", "1", 3, false}}), kNow);
  EXPECT_EQ(table.apply(Tags{id_of(1), Generation{5}, false, {{"a", "0", 2, false}}}).merge, Merge::kStale);
  const auto outcome = table.apply(Tags{id_of(1), Generation{5}, false, {{"b", "2", 4, false}}});
  EXPECT_EQ(outcome.merge, Merge::kTagged);
  EXPECT_EQ(outcome.tag_key, "b");
  EXPECT_EQ(table.apply(Tags{id_of(1), Generation{4}, false, {{"a", "old life", 99, false}}}).merge, Merge::kStale);
  EXPECT_EQ(table.apply(Tags{id_of(1), Generation{6}, false, {{"a", "next life", 1, false}}}).merge, Merge::kAhead);
  EXPECT_EQ(table.apply(Tags{id_of(1), Generation{5}, false, {{"c", std::string(512, 'x'), 1, false}}}).merge,
            Merge::kInvalid);
  EXPECT_EQ(table.apply(alive(1, 5, 1, {{"a", "3", 7, false}}), kNow).merge, Merge::kTagged) << "same rank, newer tags";
  EXPECT_EQ(table.find(id_of(1))->tags.get("a"), "3");
  table.apply(alive(1, 6, 0), kNow);
  EXPECT_EQ(table.find(id_of(1))->tags.get("a"), std::nullopt) << "a new life starts without";
}

TEST(MemberTable, EqualViewsHaveEqualDigests) {
  MemberTable a(100), b(100);
  for (int i = 1; i <= 30; ++i) a.apply(alive(i, 5, 1, {{"k", "v", 1, false}}), kNow);
  for (int i = 30; i >= 1; --i) b.apply(alive(i, 5, 1), kNow + 5s);
  EXPECT_NE(a.digest(), b.digest());
  for (int i = 1; i <= 30; ++i) b.apply(Tags{id_of(i), Generation{5}, false, {{"k", "v", 1, false}}});
  EXPECT_EQ(a.digest(), b.digest());
  EXPECT_EQ(a.buckets(), b.buckets());
  b.set_state(*b.find(id_of(7)), MemberState::kSuspect, kNow);
  EXPECT_EQ(a.digest(), b.digest()) << "a suspicion is no difference of view";
  b.apply_dead(id_of(7), rank(5, 1), kNow);
  EXPECT_NE(a.digest(), b.digest());
  EXPECT_NE(a.buckets()[MemberTable::bucket_of(id_of(7))], b.buckets()[MemberTable::bucket_of(id_of(7))]);
  a.remove(id_of(7));
  EXPECT_EQ(a.digest(), b.digest());
}

/// Six agents came up, each with the tag of one other missing, all digests equal, and anti-entropy never spoke (seed 4315).
TEST(MemberTable, ATagThatIsMissingWeighsByItsMember) {
  MemberTable a(100), b(100);
  for (int i = 1; i <= 2; ++i) {
    const std::vector<Tag> tags{{"expect", "3", 1, false}};
    a.apply(alive(i, 5, 0, i == 1 ? tags : std::vector<Tag>{}), kNow);
    b.apply(alive(i, 5, 0, i == 2 ? tags : std::vector<Tag>{}), kNow);
  }
  EXPECT_NE(a.digest(), b.digest());
}

TEST(MemberTable, IsBoundedAndForgetsByAge) {
  MemberTable table(3);
  for (int i = 1; i <= 3; ++i) table.apply(alive(i, 5, 1), kNow);
  EXPECT_EQ(table.apply(alive(4, 5, 1), kNow).merge, Merge::kFull);
  EXPECT_EQ(table.live_count(), 3u);
  table.apply_dead(id_of(2), rank(5, 1), kNow + 1s);
  table.apply_left(id_of(1), rank(5, 1), kNow);
  EXPECT_EQ(table.reapable(kNow + 2s, 1h, 2), std::nullopt);
  EXPECT_EQ(table.reapable(kNow + 2s, 1h, 1), id_of(1)) << "too many: the oldest";
  EXPECT_EQ(table.reapable(kNow + 1h, 1h, 9), id_of(1)) << "too old";
  table.remove(id_of(1));
  EXPECT_EQ(table.live_count(), 1u);
  EXPECT_NE(table.find(id_of(3)), nullptr);
  EXPECT_EQ(table.find(id_of(1)), nullptr);
  EXPECT_TRUE(
      table.bury_unknown({id_of(9), rank(1, 1), MemberState::kDead, "x", Address::ipv4(1, 1, 1, 1, 1), 60}, kNow + 1h));
  EXPECT_EQ(table.find(id_of(9))->state_since, kNow + 1h - 60s);
  EXPECT_FALSE(table.bury_unknown({id_of(3), rank(9, 9), MemberState::kDead, "x", {}, 0}, kNow))
      << "known ones are left alone";
}

// --- Heal schedule: gossip.md 5.9 ---

TEST(HealSchedule, FreshFirstThenBackOff) {
  test::Chance chance(8);
  const Rng rng = [&](std::uint64_t bound) { return chance(bound); };
  HealSchedule heal;
  heal.add({Address::ipv4(1, 1, 1, 1, 1), id_of(1), HealSchedule::Origin::kDead}, kNow, 1s);
  EXPECT_EQ(heal.take(kNow, 1s, 60s, rng), std::nullopt);
  TimePoint now = kNow + 1s, last = kNow;
  for (int i = 0; i < 12; ++i) {
    now = *heal.next();
    ASSERT_TRUE(heal.take(now, 1s, 60s, rng));
    EXPECT_LE(now - last, 60s);
    if (i > 8) {
      EXPECT_GE(now - last, 30s) << "half to all of the back-off";
    }
    last = now;
  }
  heal.add({Address::ipv4(1, 1, 1, 2, 1), id_of(2), HealSchedule::Origin::kDead}, now, 1s);
  now += 120s;
  EXPECT_EQ(heal.take(now, 1s, 60s, rng)->id, id_of(2)) << "the fresh one first";
  heal.hurry(now, 1s);
  EXPECT_LE(*heal.next(), now + 1s);
}

TEST(HealSchedule, SeedsStayAndTheRestIsBounded) {
  HealSchedule heal;
  const Address seed = Address::ipv4(9, 9, 9, 9, 1);
  heal.add({seed, {}, HealSchedule::Origin::kSeed}, kNow, 0s);
  for (int i = 0; i < 500; ++i) {
    const Address address = Address::ipv4(1, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i), 1);
    heal.add({address, id_of(i), HealSchedule::Origin::kDead}, kNow, 1s);
  }
  EXPECT_EQ(heal.size(), HealSchedule::kMax);
  EXPECT_TRUE(heal.is_seed(seed));
  heal.add({seed, id_of(1000), HealSchedule::Origin::kDead}, kNow, 1s);  // a member died at a seed's address
  heal.remove(id_of(1000));
  EXPECT_TRUE(heal.is_seed(seed));
  heal.remove(seed);
  EXPECT_FALSE(heal.has_seeds());
}

}  // namespace
}  // namespace gossip
