#include "store/kv/state_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/kv/wire.h"
#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(StateMachine, SetCreatesThenChangesAndKeepsTheCreateIndex) {
  Machine m;
  EXPECT_EQ(m.run(Set{"k", "1", 42}).outcome, Outcome::kDone);
  EXPECT_EQ(*m.state.get("k"), (Entry{"1", 42, Index{1}, Index{1}}));
  EXPECT_EQ(m.run(Set{"k", "2", 43}).index, Index{2});
  EXPECT_EQ(*m.state.get("k"), (Entry{"2", 43, Index{1}, Index{2}}));
  EXPECT_EQ(m.state.entry_bytes(), 2U);
}

TEST(StateMachine, ASetThatChangesNothingKeepsTheIndexAndWakesNobody) {
  Machine m;
  m.run(Set{"k", "1", 0});
  static_cast<void>(m.state.take_dirty());
  static_cast<void>(m.state.watch({Topic::Kind::kKey, "k"}, Index{1}));
  EXPECT_EQ(m.run(Set{"k", "1", 0}).outcome, Outcome::kUnchanged);
  EXPECT_EQ(m.state.get("k")->modify, Index{1});
  EXPECT_THAT(m.state.take_woken(), IsEmpty());
  EXPECT_EQ(m.run(Set{"k", "1", 1}).outcome, Outcome::kDone) << "other flags are a change";
}

TEST(StateMachine, CasComparesTheModifyIndexAndZeroMeansCreate) {
  Machine m;
  EXPECT_EQ(m.run(Cas{"k", "1", 0, Index{5}}).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(m.run(Cas{"k", "1", 0, Index{}}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(Cas{"k", "2", 0, Index{}}).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(m.run(Cas{"k", "2", 0, Index{2}}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(Cas{"k", "2", 0, Index{4}}).outcome, Outcome::kUnchanged);
  EXPECT_EQ(m.state.get("k")->modify, Index{4});
}

TEST(StateMachine, DeleteAndConditionalDelete) {
  Machine m;
  m.run(Set{"k", "1", 0});
  EXPECT_EQ(m.run(DeleteCas{"k", Index{9}}).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(m.run(DeleteCas{"k", Index{1}}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(DeleteCas{"k", Index{1}}).outcome, Outcome::kDone) << "a missing key is gone already";
  EXPECT_EQ(m.run(Delete{"k"}).outcome, Outcome::kDone);
  EXPECT_EQ(m.state.get("k"), nullptr);
  EXPECT_EQ(m.state.entry_bytes(), 0U);
}

TEST(StateMachine, IndexOfAKeyNeverGoesBackOverDeletion) {
  Machine m;
  EXPECT_EQ(m.state.key_index("k"), Index{1});
  m.run(Set{"k", "1", 0});
  m.run(Set{"other", "1", 0});
  m.run(Delete{"k"});
  EXPECT_EQ(m.state.key_index("k"), Index{3});
  EXPECT_EQ(m.state.tombstone_count(), 1U);
  m.run(Delete{"k"});
  EXPECT_EQ(m.state.key_index("k"), Index{3}) << "nothing changed";
  m.run(Set{"k", "2", 0});
  EXPECT_EQ(m.state.key_index("k"), Index{5});
  EXPECT_EQ(m.state.tombstone_count(), 0U);
  EXPECT_EQ(m.state.get("k")->create, Index{5});
}

TEST(StateMachine, IndexOfAPrefixSeesOnlyWhatLiesBelow) {
  Machine m;
  m.run(Set{"a/1", "x", 0});
  m.run(Set{"a/2", "x", 0});
  m.run(Set{"b", "x", 0});
  EXPECT_EQ(m.state.prefix_index("a/"), Index{2});
  EXPECT_EQ(m.state.prefix_index(""), Index{3});
  EXPECT_EQ(m.state.prefix_index("c"), Index{1});
  m.run(DeleteTree{"a/"});
  EXPECT_EQ(m.state.prefix_index("a/"), Index{4});
  EXPECT_EQ(m.state.prefix_index("b"), Index{3});
  EXPECT_EQ(m.state.entry_count(), 1U);
}

TEST(StateMachine, ForgottenTombstonesRaiseAFloorInstead) {
  Machine m;
  for (std::size_t i = 0; i <= kTombstonesMax; ++i) {
    m.run(Set{"k" + std::to_string(i), "", 0});
    m.run(Delete{"k" + std::to_string(i)});
  }
  EXPECT_EQ(m.state.tombstone_count(), kTombstonesMax);
  EXPECT_EQ(m.state.key_index("k0"), Index{2}) << "its grave is gone, the floor has its height";
  EXPECT_EQ(m.state.key_index("never"), Index{2});
  EXPECT_EQ(m.state.key_index("k1"), Index{4});
}

TEST(StateMachine, ListAndKeysInByteOrder) {
  Machine m;
  for (const char* key : {"a/b/1", "a/b/2", "a/c", "a", "b"}) m.run(Set{key, key, 0});
  std::vector<std::string> found;
  for (const Found& entry : m.state.list("a/")) found.push_back(*entry.key);
  EXPECT_THAT(found, ElementsAre("a/b/1", "a/b/2", "a/c"));
  EXPECT_THAT(m.state.keys("a/", "/"), ElementsAre("a/b/", "a/c"));
  EXPECT_THAT(m.state.keys("", ""), ElementsAre("a", "a/b/1", "a/b/2", "a/c", "b"));
  EXPECT_THAT(m.state.keys("x", "/"), IsEmpty());
  EXPECT_THAT(m.state.keys("a/b", "/"), ElementsAre("a/b/")) << "the separator counts beyond the prefix only";
}

TEST(StateMachine, AFullStoreRefusesGrowthButLetsShrink) {
  Machine m;
  const std::string big(kValueBytesMax, 'x');
  const std::size_t fitting = kStateBytesMax / (kValueBytesMax + 8);
  for (std::size_t i = 0; i < fitting; ++i) {
    ASSERT_EQ(m.run(Set{"key" + std::to_string(10000 + i), big, 0}).outcome, Outcome::kDone);
    static_cast<void>(m.state.take_dirty());
  }
  EXPECT_EQ(m.run(Set{"one-more", big, 0}).outcome, Outcome::kFull);
  EXPECT_EQ(m.run(Set{"key10000", "small", 0}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(Set{"one-more", std::string(kValueBytesMax / 2, 'y'), 0}).outcome, Outcome::kDone);
}

// --- requests -----------------------------------------------------------------------------------------------------

TEST(StateMachine, ARepeatedCommandHasNoEffectAndAnswersAsTheFirst) {
  Machine m;
  const RequestId request{NodeId{7}, 100};
  m.at(1, request, Set{"k", "1", 0});
  m.run(Set{"k", "2", 0});
  const Applied again = m.at(3, request, Set{"k", "1", 0});
  EXPECT_TRUE(again.repeated);
  EXPECT_EQ(again.outcome, Outcome::kDone);
  EXPECT_EQ(again.index, Index{1});
  EXPECT_EQ(m.state.get("k")->value, "2");
}

TEST(StateMachine, ARepeatedAcquireGrantsNoSecondEpoch) {
  Machine m;
  const RequestId request{NodeId{7}, 100};
  const LeaseAcquire acquire{"trader", NodeId{7}, "n7", 1500, 500};
  EXPECT_EQ(m.at(1, request, acquire).epoch, Epoch{1});
  const Applied again = m.at(2, request, acquire);
  EXPECT_TRUE(again.repeated);
  EXPECT_EQ(again.epoch, Epoch{1});
  EXPECT_FALSE(again.lease_changed);
  EXPECT_EQ(m.state.epoch("trader"), Epoch{1});
}

TEST(StateMachine, RequestsMayComeOutOfOrderWithinTheWindow) {
  Machine m;
  m.at(1, {NodeId{7}, 105}, Set{"b", "", 0});
  EXPECT_FALSE(m.at(2, {NodeId{7}, 100}, Set{"a", "", 0}).repeated);
  EXPECT_TRUE(m.at(3, {NodeId{7}, 105}, Set{"b", "", 0}).repeated);
  EXPECT_FALSE(m.at(4, {NodeId{8}, 105}, Set{"c", "", 0}).repeated) << "another proposer";
}

TEST(StateMachine, ARequestOlderThanTheWindowHasNoEffect) {
  Machine m;
  m.at(1, {NodeId{7}, 5 + kDedupeWindow}, Set{"new", "", 0});
  const Applied late = m.at(2, {NodeId{7}, 5}, Set{"old", "", 0});
  EXPECT_EQ(late.outcome, Outcome::kForgotten);
  EXPECT_EQ(m.state.get("old"), nullptr);
}

TEST(StateMachine, RequestZeroIsNeverRemembered) {
  Machine m;
  m.at(1, {NodeId{7}, 0}, Set{"k", "1", 0});
  EXPECT_FALSE(m.at(2, {NodeId{7}, 0}, Set{"k", "2", 0}).repeated);
}

TEST(StateMachine, TheProposerSilentForLongestIsForgottenFirst) {
  Machine m;
  for (std::uint64_t origin = 1; origin <= kOriginsMax; ++origin)
    m.at(origin, {NodeId{origin}, 1}, Set{"k", "", origin});
  m.at(kOriginsMax + 1, {NodeId{1}, 2}, Set{"k", "", 0});  // 1 speaks again, 2 is the oldest now
  static_cast<void>(m.state.take_dirty());
  m.at(kOriginsMax + 2, {NodeId{5000}, 1}, Set{"k", "x", 0});
  const auto dirty = m.state.take_dirty();
  EXPECT_THAT(dirty, testing::Contains(Record{request_key(NodeId{2}, 1), std::nullopt}));
  EXPECT_TRUE(m.at(kOriginsMax + 3, {NodeId{1}, 1}, Set{"k", "", 1}).repeated);
  EXPECT_FALSE(m.at(kOriginsMax + 4, {NodeId{2}, 1}, Set{"k", "", 2}).repeated);
}

// --- leases -------------------------------------------------------------------------------------------------------

LeaseAcquire acquire(std::uint64_t holder) {
  return {"trader", NodeId{holder}, "n" + std::to_string(holder), 1500, 500};
}

TEST(Lease, OneHolderAtATimeAndEpochsGrow) {
  Machine m;
  const Applied first = m.run(acquire(1));
  EXPECT_EQ(first.epoch, Epoch{1});
  EXPECT_EQ(first.lease_changed, "trader");
  const Applied second = m.run(acquire(2));
  EXPECT_EQ(second.outcome, Outcome::kHeld);
  EXPECT_EQ(second.epoch, Epoch{1});
  EXPECT_EQ(m.run(LeaseRelease{"trader", Epoch{1}, NodeId{}}).outcome, Outcome::kDone);
  EXPECT_EQ(m.state.lease("trader")->holder, NodeId{});
  EXPECT_EQ(m.run(acquire(2)).epoch, Epoch{2});
  EXPECT_EQ(m.state.lease("trader")->holder_name, "n2");
}

TEST(Lease, TheHolderItselfGetsANewEpoch) {
  Machine m;
  m.run(acquire(1));
  const Applied again = m.run(acquire(1));
  EXPECT_EQ(again.outcome, Outcome::kDone);
  EXPECT_EQ(again.epoch, Epoch{2});
}

TEST(Lease, ReleaseAndExpireNeedTheCurrentEpoch) {
  Machine m;
  EXPECT_EQ(m.run(LeaseRelease{"trader", Epoch{1}, NodeId{}}).outcome, Outcome::kNotFound);
  m.run(acquire(1));
  m.run(acquire(1));
  EXPECT_EQ(m.run(LeaseRelease{"trader", Epoch{1}, NodeId{}}).outcome, Outcome::kStaleEpoch);
  EXPECT_EQ(m.run(LeaseExpire{"trader", Epoch{1}}).outcome, Outcome::kStaleEpoch);
  EXPECT_EQ(m.state.lease("trader")->holder, NodeId{1});
  EXPECT_EQ(m.run(LeaseExpire{"trader", Epoch{2}}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(LeaseExpire{"trader", Epoch{2}}).outcome, Outcome::kStaleEpoch) << "already over";
}

TEST(Lease, AReleaseMayReserveItForOneUntilItIsOpened) {
  Machine m;
  m.run(acquire(1));
  m.run(LeaseRelease{"trader", Epoch{1}, NodeId{3}});
  EXPECT_EQ(m.run(acquire(2)).outcome, Outcome::kReserved);
  EXPECT_EQ(m.run(LeaseOpen{"trader", Epoch{9}}).outcome, Outcome::kStaleEpoch);
  EXPECT_EQ(m.run(LeaseOpen{"trader", Epoch{1}}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(LeaseOpen{"trader", Epoch{1}}).outcome, Outcome::kStaleEpoch) << "open already";
  EXPECT_EQ(m.run(acquire(2)).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(LeaseOpen{"trader", Epoch{2}}).outcome, Outcome::kStaleEpoch) << "held";
  EXPECT_EQ(m.run(LeaseOpen{"none", Epoch{1}}).outcome, Outcome::kNotFound);
}

TEST(Lease, TheReservedOneNeedNotWait) {
  Machine m;
  m.run(acquire(1));
  m.run(LeaseRelease{"trader", Epoch{1}, NodeId{3}});
  EXPECT_EQ(m.run(acquire(3)).epoch, Epoch{2});
}

TEST(Lease, EpochsOutliveTheLease) {
  Machine m;
  m.run(acquire(1));
  EXPECT_EQ(m.run(LeaseForget{"trader"}).outcome, Outcome::kHeld);
  m.run(LeaseExpire{"trader", Epoch{1}});
  const Index before = m.state.lease_index("trader");
  EXPECT_EQ(m.run(LeaseForget{"trader"}).outcome, Outcome::kDone);
  EXPECT_EQ(m.state.lease("trader"), nullptr);
  EXPECT_EQ(m.state.epoch("trader"), Epoch{1});
  EXPECT_GT(m.state.lease_index("trader"), before);
  EXPECT_EQ(m.run(LeaseForget{"trader"}).outcome, Outcome::kNotFound);
  EXPECT_EQ(m.run(acquire(2)).epoch, Epoch{2});
}

TEST(Lease, ServicesAreBoundedAndKnownOnesGoOn) {
  Machine m;
  for (std::size_t i = 0; i < kServicesMax; ++i)
    m.run(LeaseAcquire{"s" + std::to_string(i), NodeId{1}, "n1", 1500, 500});
  EXPECT_EQ(m.run(LeaseAcquire{"one-more", NodeId{1}, "n1", 1500, 500}).outcome, Outcome::kFull);
  EXPECT_EQ(m.run(LeaseAcquire{"s0", NodeId{1}, "n1", 1500, 500}).outcome, Outcome::kDone);
}

// --- members, cluster ---------------------------------------------------------------------------------------------

TEST(Directory, MembersAndTheClusterId) {
  Machine m;
  EXPECT_EQ(m.run(MemberSet{NodeId{1}, "n1"}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(MemberSet{NodeId{1}, "n1"}).outcome, Outcome::kUnchanged);
  EXPECT_EQ(m.run(MemberSet{NodeId{1}, "renamed"}).outcome, Outcome::kDone);
  EXPECT_EQ(m.state.members().at(NodeId{1}), "renamed");
  EXPECT_EQ(m.run(MemberRemove{NodeId{1}}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(MemberRemove{NodeId{1}}).outcome, Outcome::kNotFound);
  ClusterId a, b;
  a.bytes[0] = 1;
  b.bytes[0] = 2;
  EXPECT_EQ(m.run(ClusterSet{a}).outcome, Outcome::kDone);
  EXPECT_EQ(m.run(ClusterSet{b}).outcome, Outcome::kUnchanged);
  EXPECT_EQ(m.state.cluster_id(), a);
}

TEST(Directory, MembersAreBounded) {
  Machine m;
  for (std::uint64_t id = 1; id <= kMembersMax; ++id) m.run(MemberSet{NodeId{id}, "n"});
  EXPECT_EQ(m.run(MemberSet{NodeId{kMembersMax + 1}, "n"}).outcome, Outcome::kFull);
  EXPECT_EQ(m.run(MemberSet{NodeId{1}, "again"}).outcome, Outcome::kDone);
}

// --- fail-stop ----------------------------------------------------------------------------------------------------

TEST(StateMachine, UnknownCommandsStopAndLeaveNoTrace) {
  Machine m;
  m.run(Set{"k", "1", 0});
  const std::uint64_t hash = m.state.content_hash();
  const auto error = [&](std::string_view bytes) { return m.state.apply(Index{9}, bytes).error().code; };
  EXPECT_EQ(error(ArrayWriter(5).add(1U).add(99U).add(1U).add(5U).add("k").take()), Errc::kUnknownKind);
  EXPECT_EQ(error(ArrayWriter(5).add(9U).add(3U).add(1U).add(5U).add("k").take()), Errc::kUnknownVersion);
  EXPECT_EQ(error("garbage"), Errc::kMalformed);
  EXPECT_EQ(error(""), Errc::kTruncated);
  EXPECT_EQ(error(encode({{NodeId{1}, 5}, Delete{""}})), Errc::kBadKey);
  EXPECT_EQ(error(encode({{NodeId{1}, 5}, Set{std::string(kKeyBytesMax + 1, 'k'), "", 0}})), Errc::kTooLarge);
  EXPECT_EQ(m.state.content_hash(), hash);
  EXPECT_EQ(m.state.applied(), Index{1});
}

TEST(StateMachine, AnIndexThatDoesNotGrowIsRefused) {
  Machine m;
  m.at(5, {NodeId{1}, 1}, Set{"k", "1", 0});
  EXPECT_EQ(m.state.apply(Index{5}, encode({{NodeId{1}, 2}, Delete{"k"}})).error().code, Errc::kOutOfOrder);
  m.state.skip(Index{7});
  EXPECT_EQ(m.state.applied(), Index{7});
}

// --- rows ---------------------------------------------------------------------------------------------------------

void fill(Machine& m) {
  m.run(Set{"a", "1", 3});
  m.run(Set{"b", "2", 0});
  m.run(Delete{"b"});
  m.run(acquire(1));
  m.run(LeaseRelease{"trader", Epoch{1}, NodeId{2}});
  m.run(LeaseAcquire{"other", NodeId{1}, "n1", 1500, 500});
  m.run(LeaseExpire{"other", Epoch{1}});
  m.run(LeaseForget{"other"});
  m.run(MemberSet{NodeId{1}, "n1"});
  ClusterId cluster;
  cluster.bytes[1] = 1;
  m.run(ClusterSet{cluster});
}

TEST(Rows, LoadBringsBackEverything) {
  Machine m;
  fill(m);
  const auto rows = m.state.records();
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.key < b.key; }));
  Machine copy;
  ASSERT_TRUE(copy.state.load(m.state.applied(), rows));
  EXPECT_EQ(copy.state.content_hash(), m.state.content_hash());
  EXPECT_EQ(copy.state.applied(), m.state.applied());
  EXPECT_EQ(copy.state.key_index("b"), Index{3});
  EXPECT_EQ(copy.state.epoch("other"), Epoch{1});
  EXPECT_EQ(copy.state.lease_index("other"), m.state.lease_index("other"));
  EXPECT_EQ(copy.state.prefix_index(""), Index{3});
  EXPECT_EQ(copy.state.entry_bytes(), m.state.entry_bytes());
  EXPECT_THAT(copy.state.take_dirty(), IsEmpty());
  EXPECT_TRUE(copy.at(20, {NodeId{1}, 1}, Set{"a", "1", 3}).repeated) << "requests are remembered";
}

TEST(Rows, DirtyRowsAppliedToAMirrorEqualTheWhole) {
  Machine m;
  std::map<std::string, std::string> mirror;
  const auto flush = [&] {
    for (const Record& record : m.state.take_dirty()) {
      if (record.value) {
        mirror[record.key] = *record.value;
      } else {
        mirror.erase(record.key);
      }
    }
  };
  fill(m);
  flush();
  m.run(Set{"b", "back", 0});
  m.run(DeleteTree{""});
  m.run(MemberRemove{NodeId{1}});
  m.run(LeaseOpen{"trader", Epoch{1}});
  flush();
  std::vector<Record> rows;
  for (const auto& [key, value] : mirror) rows.push_back({key, value});
  EXPECT_EQ(rows, m.state.records());
}

TEST(Rows, ContradictionsAreRefused) {
  const auto load = [](std::uint64_t applied, std::vector<Record> rows) {
    StateMachine state;
    return state.load(Index{applied}, rows);
  };
  const Record young{entry_key("k"), encode_entry({"", 0, Index{3}, Index{9}}, nullptr)};
  EXPECT_EQ(load(8, {young}).error().code, Errc::kBadState) << "changed after the applied index";
  EXPECT_TRUE(load(9, {young}));
  EXPECT_EQ(load(9, {young, {tombstone_key("k"), encode_index(Index{4})}}).error().code, Errc::kBadState);
  const Lease lease{Epoch{4}, NodeId{2}, "n2", NodeId{}, 1500, 500, Index{1}, Index{8}};
  EXPECT_EQ(load(9, {{lease_key("s"), encode_lease(lease)}}).error().code, Errc::kBadState) << "no epoch counter";
  EXPECT_EQ(load(9, {{entry_key("k"), std::nullopt}}).error().code, Errc::kBadState);
  EXPECT_EQ(load(9, {{"Zzz", "x"}}).error().code, Errc::kMalformed);
  EXPECT_EQ(load(9, {{"Zzz", encode_index(Index{1})}}).error().code, Errc::kUnknownKind);
}

TEST(Rows, TwoReplicasWithTheSameCommandsHaveTheSameHash) {
  Machine a, b;
  fill(a);
  fill(b);
  EXPECT_EQ(a.state.content_hash(), b.state.content_hash());
  b.run(Set{"a", "other", 3});
  EXPECT_NE(a.state.content_hash(), b.state.content_hash());
}

// --- waits --------------------------------------------------------------------------------------------------------

TEST(Waits, WokenByTheirTopicOnly) {
  Machine m;
  m.run(Set{"a", "1", 0});
  const WatchId key = *m.state.watch({Topic::Kind::kKey, "a"}, Index{1});
  const WatchId lease = *m.state.watch({Topic::Kind::kLease, "trader"}, Index{1});
  const WatchId old = *m.state.watch({Topic::Kind::kPrefix, ""}, Index{});
  EXPECT_THAT(m.state.take_woken(), ElementsAre(old)) << "its index is above already";
  m.run(Set{"b", "1", 0});
  EXPECT_THAT(m.state.take_woken(), IsEmpty());
  m.run(Delete{"a"});
  EXPECT_THAT(m.state.take_woken(), ElementsAre(key));
  m.run(acquire(1));
  EXPECT_THAT(m.state.take_woken(), ElementsAre(lease));
  EXPECT_EQ(m.state.watch_count(), 0U);
}

TEST(Waits, TheNamesOfLeasesMoveWhenOneIsMadeOrForgottenOnly) {
  Machine m;
  const Topic names{Topic::Kind::kLeaseNames, {}};
  EXPECT_EQ(m.state.topic_index(names), Index{1});
  m.run(Set{"a", "1", 0});
  const WatchId first = *m.state.watch(names, m.state.topic_index(names));
  m.run(acquire(1));
  EXPECT_THAT(m.state.take_woken(), ElementsAre(first));
  EXPECT_EQ(m.state.topic_index(names), m.now());
  const WatchId second = *m.state.watch(names, m.state.topic_index(names));
  const Index made = m.now();
  m.run(LeaseExpire{"trader", Epoch{1}});
  m.run(acquire(2));
  EXPECT_THAT(m.state.take_woken(), IsEmpty()) << "who holds it is of no interest";
  EXPECT_EQ(m.state.topic_index(names), made);
  m.run(LeaseExpire{"trader", Epoch{2}});
  m.run(LeaseForget{"trader"});
  EXPECT_THAT(m.state.take_woken(), ElementsAre(second));
  EXPECT_EQ(m.state.topic_index(names), m.now());
  Machine copy;
  ASSERT_TRUE(copy.state.load(m.state.applied(), m.state.records()));
  EXPECT_EQ(copy.state.topic_index(names), m.now()) << "it outlives a restart";
}

TEST(Waits, AFutureIndexWaitsAndAReplacedStateWakesAll) {
  Machine m;
  fill(m);
  const WatchId future = *m.state.watch({Topic::Kind::kKey, "a"}, Index{1000});
  EXPECT_THAT(m.state.take_woken(), IsEmpty());
  ASSERT_TRUE(m.state.load(m.state.applied(), m.state.records()));
  EXPECT_THAT(m.state.take_woken(), ElementsAre(future));
  const WatchId gone = *m.state.watch({Topic::Kind::kKey, "a"}, Index{1000});
  m.state.unwatch(gone);
  EXPECT_EQ(m.state.watch_count(), 0U);
}

}  // namespace
}  // namespace store::kv
