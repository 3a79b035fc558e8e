#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/session_keeper.h"
#include "tests/unit/store/fake_cluster.h"

/// The leader's half of the session rules, alone and in a cluster.
namespace store::test {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

const TimePoint kStart = TimePoint{} + 1h;

kv::SessionId id(std::uint8_t number) {
  kv::SessionId made;
  made.uuid.bytes[15] = number;
  return made;
}
kv::Session session(std::uint8_t number, std::uint32_t ttl_ms = 10'000, std::uint32_t lock_delay_ms = 0) {
  kv::Session made;
  made.id = id(number);
  made.ttl_ms = ttl_ms;
  made.lock_delay_ms = lock_delay_ms;
  return made;
}
kv::SessionTable table_of(const kv::Session& only) {
  kv::SessionTable table;
  table.load(only);
  return table;
}

TEST(SessionKeeper, EndsASessionOnlyATtlAndMarginAfterItsLastRenewal) {
  SessionKeeper keeper;
  keeper.take_office({}, {}, kStart);
  const kv::Session one = session(1);
  keeper.on_session(one.id, &one, kStart);
  EXPECT_EQ(keeper.next_deadline(), kStart + 11s);
  keeper.on_renewal(one.id, kStart + 5s);
  EXPECT_THAT(keeper.due(kStart + 15999ms), IsEmpty());
  const auto due = keeper.due(kStart + 16s);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(std::get<kv::SessionExpire>(due[0]).id, one.id);
  EXPECT_THAT(keeper.due(kStart + 60s), IsEmpty()) << "in flight once";
}

TEST(SessionKeeper, ARenewalAfterTheExpireWasProposedIsTooLate) {
  SessionKeeper keeper;
  keeper.take_office(table_of(session(1)), {}, kStart);
  EXPECT_TRUE(keeper.renewable(id(1)));
  EXPECT_FALSE(keeper.renewable(id(2)));
  ASSERT_THAT(keeper.due(kStart + 11s), SizeIs(1));
  EXPECT_FALSE(keeper.renewable(id(1)));
  keeper.on_renewal(id(1), kStart + 11s);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
  keeper.not_proposed(kv::SessionExpire{id(1)}, kStart + 12s);
  EXPECT_TRUE(keeper.renewable(id(1))) << "its end is not being decided any more";
  EXPECT_EQ(keeper.next_deadline(), kStart + 12s);
}

TEST(SessionKeeper, ANewLeaderGivesOneFullFreshPeriodAndALateRenewalNeverShortensOne) {
  SessionKeeper keeper;
  keeper.take_office(table_of(session(1)), {}, kStart);
  keeper.take_office(table_of(session(1)), {}, kStart + 9s);
  EXPECT_EQ(keeper.next_deadline(), kStart + 20s);
  keeper.on_renewal(id(1), kStart + 1s);
  EXPECT_EQ(keeper.next_deadline(), kStart + 20s);
  keeper.leave_office();
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
  const kv::Session one = session(1);
  keeper.on_session(one.id, &one, kStart);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max()) << "out of office nothing is counted";
}

TEST(SessionKeeper, SessionsWithoutTtlAndEndedOnesHaveNoClock) {
  SessionKeeper keeper;
  keeper.take_office(table_of(session(1, 0)), {}, kStart);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
  const kv::Session two = session(2);
  keeper.on_session(two.id, &two, kStart);
  keeper.on_session(two.id, nullptr, kStart);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
}

TEST(SessionKeeper, DelaysEndAfterTheirTimeAndOnlyTheOneThatWasMeant) {
  SessionKeeper keeper;
  keeper.take_office({}, {}, kStart);
  const kv::LockDelay first{15'000, kv::Index{5}}, second{1'000, kv::Index{9}};
  keeper.on_delay("k", &first, kStart);
  keeper.on_delay("k", &second, kStart + 1s);
  const auto due = keeper.due(kStart + 2s);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(std::get<kv::LockDelayEnd>(due[0]).since, kv::Index{9});
  keeper.not_proposed(due[0], kStart + 3s);
  EXPECT_EQ(keeper.next_deadline(), kStart + 3s);
  keeper.on_delay("k", nullptr, kStart + 2s);
  EXPECT_THAT(keeper.due(kStart + 60s), IsEmpty());
}

TEST(SessionKeeper, ARestoreThatNobodyContinuesIsDropped) {
  SessionKeeper keeper;
  keeper.take_office({}, id(7).uuid, kStart);
  keeper.on_restore(id(7).uuid, kStart + 30s);
  EXPECT_THAT(keeper.due(kStart + 60s), IsEmpty()) << "a chunk came meanwhile";
  const auto due = keeper.due(kStart + 90s);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(std::get<kv::RestoreAbort>(due[0]).id, id(7).uuid);
  keeper.not_proposed(due[0], kStart + 91s);
  keeper.on_restore({}, kStart + 90s);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
}

TEST(SessionKeeper, TheMarginIsATenthUpToASecondButNeverBelowAThousandth) {
  EXPECT_EQ(SessionKeeper::margin(100ms), Duration(50ms));
  EXPECT_EQ(SessionKeeper::margin(5s), Duration(500ms));
  EXPECT_EQ(SessionKeeper::margin(60s), Duration(1s));
  EXPECT_EQ(SessionKeeper::margin(24h), Duration(86'400ms));
}

// --- in a cluster -------------------------------------------------------------------------------------------------

class SessionCluster : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) cluster.add();
    ASSERT_TRUE(cluster.bootstrap());
    ASSERT_TRUE(cluster.await_voters(3));
  }
  std::uint64_t follower() { return cluster.leader() == NodeId{1} ? 2 : 1; }
  kv::Outcome write(std::uint64_t node, kv::CommandBody body) {
    const auto answer = cluster.await(node, cluster.write(node, std::move(body)));
    EXPECT_TRUE(answer) << (answer ? "" : answer.error().detail);
    return answer ? std::get<Written>(*answer).outcome : kv::Outcome::kForgotten;
  }
  FakeCluster cluster;
};

TEST_F(SessionCluster, LivesWhileRenewedFromAFollowerAndEndsByItselfAfterwards) {
  const std::uint64_t node = follower();
  EXPECT_EQ(write(node, kv::SessionCreate{session(1, 1'000)}), kv::Outcome::kDone);
  for (int i = 0; i < 6; ++i) {
    cluster.run(500ms);
    const auto renewed = cluster.await(node, cluster.renew_session(node, id(1)));
    ASSERT_TRUE(renewed) << renewed.error().detail;
    EXPECT_TRUE(std::holds_alternative<Renewed>(*renewed));
  }
  const TimePoint last = cluster.now();
  EXPECT_TRUE(cluster.run_until([&] { return cluster.store(node).state().sessions().all().empty(); }));
  EXPECT_GE(cluster.now() - last, 1'000ms - 50ms);
  EXPECT_LE(cluster.now() - last, 1'500ms);
  const auto late = cluster.await(node, cluster.renew_session(node, id(1)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kNotFound);
}

TEST_F(SessionCluster, OneWithoutTtlIsRenewedToo) {
  EXPECT_EQ(write(1, kv::SessionCreate{session(1, 0)}), kv::Outcome::kDone);
  EXPECT_TRUE(cluster.await(2, cluster.renew_session(2, id(1))));
  EXPECT_FALSE(cluster.await(2, cluster.renew_session(2, id(9))));
}

TEST_F(SessionCluster, TheLeaderOpensAKeyAfterItsLockDelay) {
  EXPECT_EQ(write(1, kv::SessionCreate{session(1, 0, 700)}), kv::Outcome::kDone);
  EXPECT_EQ(write(1, kv::SessionCreate{session(2, 0)}), kv::Outcome::kDone);
  EXPECT_EQ(write(1, kv::Acquire{"k", "v", 0, id(1), {}}), kv::Outcome::kDone);
  EXPECT_EQ(write(1, kv::SessionDestroy{id(1)}), kv::Outcome::kDone);
  const TimePoint ended = cluster.now();
  EXPECT_EQ(write(2, kv::Acquire{"k", "v", 0, id(2), {}}), kv::Outcome::kHeldBack);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.store(2).state().sessions().delays().empty(); }));
  EXPECT_GE(cluster.now() - ended, 650ms);
  EXPECT_EQ(write(2, kv::Acquire{"k", "v", 0, id(2), {}}), kv::Outcome::kDone);
}

TEST_F(SessionCluster, OnlyTheLeaderEndsSessionsAndDelays) {
  for (const kv::CommandBody& body : {kv::CommandBody(kv::SessionExpire{id(1)}), kv::CommandBody(kv::LockDelayEnd{"k", {}})}) {
    const auto answer = cluster.await(1, cluster.write(1, body));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Errc::kBadRequest);
  }
}

TEST_F(SessionCluster, ATransactionIsAnsweredWhereItWasAsked) {
  kv::TxnOp set, get;
  set.verb = kv::TxnVerb::kSet;
  set.key = get.key = "k";
  set.value = "v";
  const std::uint64_t node = follower();
  const auto answer = cluster.await(node, cluster.write(node, kv::Txn{{set, get}}));
  ASSERT_TRUE(answer);
  const auto& written = std::get<Written>(*answer);
  ASSERT_TRUE(written.txn);
  EXPECT_EQ(written.txn->results.at(1).entry->value, "v");
  kv::Txn large{std::vector<kv::TxnOp>(3, set)};
  for (kv::TxnOp& op : large.ops) op.value.assign(kv::kValueBytesMax, 'x');
  const auto refused = cluster.await(node, cluster.write(node, large));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kTooLarge);
}

TEST_F(SessionCluster, ARestoreIsTakenByAllAndSurvivesARestart) {
  ASSERT_TRUE(cluster.put(1, "old", "x"));
  kv::StateMachine saved;
  ASSERT_TRUE(saved.apply(kv::Index{1}, kv::encode({{kv::NodeId{1}, 1}, kv::Set{"new", "y", 0}})));
  const auto chunks = kv::chunk_rows(saved.saved_rows());
  ASSERT_EQ(write(2, kv::RestoreBegin{id(7).uuid}), kv::Outcome::kDone);
  ASSERT_EQ(write(2, kv::RestoreChunk{id(7).uuid, 0, chunks[0]}), kv::Outcome::kDone);
  ASSERT_EQ(write(2, kv::RestoreCommit{id(7).uuid, 1}), kv::Outcome::kDone);
  ASSERT_TRUE(cluster.put(1, "after", "z"));
  cluster.run(1s);
  for (std::uint64_t node = 1; node <= 3; ++node) {
    EXPECT_NE(cluster.store(node).state().get("new"), nullptr);
    EXPECT_EQ(cluster.store(node).state().get("old"), nullptr);
    EXPECT_THAT(cluster.events<SnapshotInstalled>(node), testing::Not(IsEmpty()));
  }
  cluster.crash(NodeId{3});
  cluster.restart(NodeId{3});
  cluster.run(2s);
  EXPECT_TRUE(cluster.same_state());
  EXPECT_EQ(cluster.store(3).state().get("old"), nullptr);
}

TEST_F(SessionCluster, ARestoreLeftAloneIsDroppedByTheLeader) {
  ASSERT_EQ(write(2, kv::RestoreBegin{id(7).uuid}), kv::Outcome::kDone);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.store(2).state().staged().id.is_none(); }, 70s));
}

}  // namespace
}  // namespace store::test
