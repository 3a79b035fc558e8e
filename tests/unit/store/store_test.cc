#include "store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/store/fake_cluster.h"

namespace store::test {
namespace {

using testing::HasSubstr;

Written written(const FakeCluster::Answer& answer) {
  EXPECT_TRUE(answer) << (answer ? "" : answer.error().detail);
  return answer ? std::get<Written>(*answer) : Written{kv::Outcome::kForgotten, {}, {}, {}, {}};
}
Errc error(const FakeCluster::Answer& answer) {
  EXPECT_FALSE(answer);
  return answer ? Errc::kBadState : answer.error().code;
}

/// Three voters, leader known.
class ThreeNodes : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) cluster.add([](Config& c) { c.bootstrap_expect = 3; });
    ASSERT_TRUE(cluster.await_leader());
    cluster.run(500ms);
    leader = cluster.leader().value;
    follower = leader % 3 + 1;
    third = follower % 3 + 1;
  }
  FakeCluster cluster{7};
  std::uint64_t leader = 0, follower = 0, third = 0;
};

TEST(Store, BootstrapsAloneAndKeepsWritesOverARestart) {
  FakeCluster cluster;
  cluster.add();
  EXPECT_TRUE(cluster.store(1).cluster_id().is_none());
  ASSERT_TRUE(cluster.bootstrap());
  EXPECT_FALSE(cluster.store(1).cluster_id().is_none());
  EXPECT_EQ(written(cluster.put(1, "a", "1")).outcome, kv::Outcome::kDone);
  const auto id = cluster.store(1).cluster_id();
  cluster.crash(NodeId{1});
  cluster.restart(NodeId{1});
  ASSERT_TRUE(cluster.await_leader());
  EXPECT_EQ(cluster.store(1).cluster_id(), id);
  ASSERT_NE(cluster.store(1).state().get("a"), nullptr);
  EXPECT_EQ(cluster.store(1).state().get("a")->value, "1");
  EXPECT_EQ(error(cluster.await(1, cluster.bootstrap_request(1))), Errc::kAlreadyFounded);
}

TEST(Store, ThreeExpectedMembersFoundOneClusterOfThreeVoters) {
  FakeCluster cluster;
  for (int i = 0; i < 3; ++i) cluster.add([](Config& c) { c.bootstrap_expect = 3; });
  ASSERT_TRUE(cluster.await_leader());
  ASSERT_TRUE(cluster.await_voters(3));
  cluster.run(1s);
  EXPECT_EQ(cluster.store(1).cluster_id(), cluster.store(2).cluster_id());
  EXPECT_EQ(cluster.store(1).cluster_id(), cluster.store(3).cluster_id());
  EXPECT_FALSE(cluster.store(1).cluster_id().is_none());
  for (std::uint64_t node = 1; node <= 3; ++node)
    EXPECT_EQ(written(cluster.put(node, "k" + std::to_string(node), "v")).outcome, kv::Outcome::kDone) << node;
  cluster.run(100ms);
  EXPECT_TRUE(cluster.same_state());
  EXPECT_EQ(cluster.store(3).state().entry_count(), 3U);
}

TEST(Store, JoinersBecomeLearnersThenVotersKeepingTheCountOdd) {
  FakeCluster cluster;
  cluster.add();
  ASSERT_TRUE(cluster.bootstrap());
  cluster.add();
  cluster.run(2s);
  EXPECT_EQ(cluster.store(1).raft().conf_state().voters.size(), 1U);
  EXPECT_EQ(cluster.store(1).raft().conf_state().learners.size(), 1U);
  EXPECT_TRUE(cluster.store(2).status(cluster.now()).learner);
  cluster.add();
  ASSERT_TRUE(cluster.await_voters(3));
  cluster.add();
  cluster.run(2s);
  EXPECT_EQ(cluster.at(cluster.leader()).store->raft().conf_state().voters.size(), 3U);
  cluster.add();
  ASSERT_TRUE(cluster.await_voters(5));
  cluster.run(2s);
  EXPECT_EQ(cluster.store(1).state().members().size(), 5U);
  EXPECT_EQ(cluster.store(5).status(cluster.now()).servers.size(), 5U);
}

TEST_F(ThreeNodes, LeaderChangeLosesNoAcknowledgedWriteAndAnswersTheWaitingOnes) {
  ASSERT_TRUE(cluster.put(follower, "before", "1"));
  cluster.crash(NodeId{leader});
  const RequestNo request = cluster.write(follower, kv::Set{"during", "2", 0}, 3s);
  EXPECT_EQ(written(cluster.await(follower, request)).outcome, kv::Outcome::kDone);
  EXPECT_NE(cluster.leader().value, leader);
  cluster.restart(NodeId{leader});
  cluster.run(1s);
  EXPECT_TRUE(cluster.same_state());
  EXPECT_EQ(cluster.store(leader).state().get("during")->value, "2");
  EXPECT_EQ(cluster.store(leader).state().get("before")->value, "1");
}

TEST_F(ThreeNodes, AllCrashAndComeBackWithEverything) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(cluster.put(follower, "k" + std::to_string(i), "v"));
  const std::uint64_t hash = cluster.store(leader).state().content_hash();
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.crash(NodeId{id});
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.restart(NodeId{id});
  ASSERT_TRUE(cluster.await_leader());
  cluster.run(200ms);
  EXPECT_EQ(cluster.at(cluster.leader()).store->state().content_hash(), hash);
  EXPECT_TRUE(cluster.same_state());
}

TEST_F(ThreeNodes, AWriteWhoseForwardWasLostIsSentAgainAndAppliedOnce) {
  int lost = 0;
  cluster.loses = [&](NodeId from, NodeId to, bool) {
    return from.value == follower && to.value == leader && ++lost <= 1;
  };
  const RequestNo request = cluster.write(follower, kv::Set{"k", "v", 0}, 2s);
  const Written first = written(cluster.await(follower, request));
  EXPECT_EQ(first.outcome, kv::Outcome::kDone);
  EXPECT_GE(cluster.store(follower).counters().writes_resent, 1U);
  EXPECT_EQ(cluster.store(follower).state().get("k")->modify, first.index);
}

TEST_F(ThreeNodes, AnAcquireThatIsSentTwiceGrantsOneEpoch) {
  // Everything from the leader to the follower is lost: it cannot see that its acquire was applied, and repeats it.
  cluster.loses = [&](NodeId from, NodeId to, bool) { return from.value == leader && to.value == follower; };
  const RequestNo request =
      cluster.write(follower, kv::LeaseAcquire{"trader", kv::NodeId{follower}, "n", 1500, 500}, 5s);
  cluster.run(100ms);
  EXPECT_EQ(cluster.store(leader).state().epoch("trader"), kv::Epoch{1});
  cluster.run(150ms);
  cluster.loses = nullptr;
  const Written granted = written(cluster.await(follower, request));
  EXPECT_EQ(granted.epoch, kv::Epoch{1});
  cluster.run(1s);
  EXPECT_EQ(cluster.at(cluster.leader()).store->state().epoch("trader"), kv::Epoch{1});
}

// A joiner forwards as soon as it knows a leader; what it forwarded may come true, whatever its own disk knows by then.
TEST(Store, AWriteSentBeforeTheOwnDiskKnowsTheClusterIsNotCalledUndone) {
  FakeCluster cluster;
  cluster.add();
  ASSERT_TRUE(cluster.bootstrap());
  const NodeId joiner = cluster.add();
  cluster.at(joiner.value).flush_time = 10s;
  ASSERT_TRUE(cluster.run_until([&] { return static_cast<bool>(cluster.store(2).leader()); }, 2s));
  const auto answer = cluster.await(2, cluster.write(2, kv::Set{"k", "v", 0}, 1s));
  ASSERT_FALSE(answer);
  EXPECT_TRUE(cluster.store(2).cluster_id().is_none());
  EXPECT_EQ(cluster.store(1).state().get("k") != nullptr, answer.error().code != Errc::kNoLeader);
  EXPECT_EQ(answer.error().code, Errc::kTimeout);
}

TEST_F(ThreeNodes, WritesWithoutAMajoritySayWhoIsMissing) {
  cluster.crash(NodeId{follower});
  cluster.crash(NodeId{third});
  const auto early = cluster.await(leader, cluster.write(leader, kv::Set{"k", "v", 0}, 2s));
  EXPECT_EQ(error(early), Errc::kNoQuorum) << "it is in the leader's log: unknown";
  EXPECT_THAT(early.error().detail, HasSubstr("n" + std::to_string(follower)));
  EXPECT_THAT(early.error().detail, HasSubstr("n" + std::to_string(third)));
  cluster.run(1s);
  const auto late = cluster.await(leader, cluster.write(leader, kv::Set{"k", "v", 0}, 2s));
  EXPECT_EQ(error(late), Errc::kNoLeader) << "it never left: it did not happen";
  EXPECT_THAT(late.error().detail, HasSubstr("missing"));
  EXPECT_EQ(cluster.store(leader).status(cluster.now()).missing.size(), 2U);
  const auto read = cluster.await(leader, cluster.read(leader, Consistency::kDefault, 1s));
  EXPECT_EQ(error(read), Errc::kNoLeader);
  const auto stale = cluster.await(leader, cluster.read(leader, Consistency::kStale, 1s));
  ASSERT_TRUE(stale);
  EXPECT_FALSE(std::get<Readable>(*stale).known_leader);
  EXPECT_GT(std::get<Readable>(*stale).last_contact, 1s);
}

TEST_F(ThreeNodes, AForwardedWriteWithoutAnswerIsUnknown) {
  // The leader hears its majority, but this follower hears nobody's appends: it keeps forwarding.
  cluster.loses = [&](NodeId, NodeId to, bool) { return to.value == follower; };
  const auto answer = cluster.await(follower, cluster.write(follower, kv::Set{"k", "v", 0}, 200ms));
  EXPECT_EQ(error(answer), Errc::kTimeout);
}

TEST_F(ThreeNodes, ADefaultReadAnywhereSeesEveryAcknowledgedWrite) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(cluster.put(leader, "k", std::to_string(i)));
    for (const std::uint64_t node : {leader, follower, third}) {
      for (const Consistency consistency : {Consistency::kDefault, Consistency::kConsistent}) {
        const auto read = cluster.await(node, cluster.read(node, consistency));
        ASSERT_TRUE(read) << read.error().detail;
        EXPECT_EQ(cluster.store(node).state().get("k")->value, std::to_string(i));
      }
    }
  }
}

TEST_F(ThreeNodes, ALeadersDefaultReadNeedsNoFrame) {
  cluster.run(200ms);
  const RequestNo request = cluster.read(leader, Consistency::kDefault);
  EXPECT_TRUE(cluster.reply(leader, request)) << "answered under the read lease, at once";
}

TEST_F(ThreeNodes, AReadAtADeposedLeaderIsNotAnsweredFromItsOldState) {
  cluster.run(200ms);
  cluster.cut({leader}, {follower, third});
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() && cluster.leader().value != leader; }, 3s));
  ASSERT_TRUE(cluster.await_leader());
  ASSERT_TRUE(cluster.put(cluster.leader().value, "k", "new"));
  const auto read = cluster.await(leader, cluster.read(leader, Consistency::kDefault, 1s));
  EXPECT_EQ(error(read), Errc::kNoLeader);
}

TEST_F(ThreeNodes, ReadsThatLostTheirRoundAskAgain) {
  int lost = 0;
  cluster.loses = [&](NodeId from, NodeId, bool) { return from.value == follower && ++lost <= 2; };
  const auto read = cluster.await(follower, cluster.read(follower, Consistency::kConsistent, 2s));
  EXPECT_TRUE(read) << read.error().detail;
}

TEST_F(ThreeNodes, TransferMovesLeadershipQuickly) {
  const RequestNo request{100000};
  cluster.store(leader).transfer_leadership(request, NodeId{follower}, cluster.now());
  ASSERT_TRUE(cluster.await(leader, request));
  EXPECT_TRUE(cluster.run_until([&] { return cluster.leader().value == follower; }, 50ms));
  cluster.run(50ms);
  cluster.store(third).transfer_leadership(RequestNo{100001}, NodeId{leader}, cluster.now());
  ASSERT_TRUE(cluster.await(third, RequestNo{100001})) << "any node sends it on to the leader";
  EXPECT_TRUE(cluster.run_until([&] { return cluster.leader().value == leader; }, 50ms));
  ASSERT_TRUE(cluster.await_leader());
  std::swap(leader, follower);
  cluster.run(50ms);
  cluster.store(follower).transfer_leadership(RequestNo{100002}, NodeId{99}, cluster.now());
  EXPECT_EQ(error(cluster.await(follower, RequestNo{100002})), Errc::kNotFound);
}

TEST_F(ThreeNodes, ARefusedConnectionToTheLeaderStartsAnElectionAtOnce) {
  cluster.crash(NodeId{leader});
  const TimePoint crashed = cluster.now();
  cluster.store(follower).on_peer_refused(NodeId{leader}, cluster.now());
  cluster.store(third).on_peer_refused(NodeId{leader}, cluster.now());
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader().value != 0; }, 1s));
  EXPECT_LT(cluster.now() - crashed, 100ms);
}

TEST_F(ThreeNodes, RemoveServerKeepsTheQuorumAndRefusesOtherwise) {
  cluster.store(follower).remove_server(RequestNo{900}, NodeId{99}, cluster.now());
  EXPECT_EQ(error(cluster.await(follower, RequestNo{900})), Errc::kNotFound) << "the leader's own answer comes back";
  cluster.store(leader).remove_server(RequestNo{901}, NodeId{77}, cluster.now());
  EXPECT_EQ(error(cluster.await(leader, RequestNo{901})), Errc::kNotFound);
  cluster.crash(NodeId{third});
  cluster.run(1500ms);
  cluster.store(leader).remove_server(RequestNo{902}, NodeId{follower}, cluster.now());
  EXPECT_EQ(error(cluster.await(leader, RequestNo{902})), Errc::kConflict) << "leader and a dead one would remain";
  cluster.at(third).left = true;
  ASSERT_TRUE(cluster.await_voters(2)) << "who left for good is taken out";
  EXPECT_TRUE(cluster.put(follower, "k", "v"));
}

TEST_F(ThreeNodes, ADeadVoterIsReplacedByALearner) {
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.at(id).config.replace_after = 2s;
  cluster.crash(NodeId{leader});
  cluster.restart(NodeId{leader});
  cluster.crash(NodeId{follower});
  cluster.restart(NodeId{follower});
  cluster.crash(NodeId{third});
  cluster.restart(NodeId{third});
  ASSERT_TRUE(cluster.await_leader());
  cluster.add([](Config& c) { c.replace_after = 2s; });
  cluster.run(1s);
  const NodeId dead{cluster.leader().value % 3 + 1};
  cluster.crash(dead);
  cluster.run(1s);
  EXPECT_EQ(cluster.at(cluster.leader()).store->raft().conf_state().learners.size(), 1U) << "not before its time";
  ASSERT_TRUE(cluster.run_until(
      [&] {
        const auto conf = cluster.at(cluster.leader()).store->raft().conf_state();
        return conf.voters.size() == 3 && conf.voters_outgoing.empty() && conf.voters.back() == NodeId{4} &&
               std::find(conf.voters.begin(), conf.voters.end(), dead) == conf.voters.end();
      },
      5s));
  EXPECT_TRUE(cluster.put(4, "k", "v"));
}

TEST_F(ThreeNodes, WaitsWakeOnTheReplicaWhereTheyAre) {
  const auto id = cluster.store(third).watch({kv::Topic::Kind::kPrefix, "jobs/"}, kv::Index{1});
  ASSERT_TRUE(id);
  ASSERT_TRUE(cluster.put(leader, "other", "1"));
  cluster.run(100ms);
  EXPECT_TRUE(cluster.at(third).woken.empty());
  ASSERT_TRUE(cluster.put(leader, "jobs/1", "1"));
  cluster.run(100ms);
  EXPECT_THAT(cluster.at(third).woken, testing::ElementsAre(*id));
  const auto cancelled = cluster.store(third).watch({kv::Topic::Kind::kPrefix, "jobs/"}, kv::Index{1000});
  cluster.store(third).unwatch(*cancelled);
  EXPECT_EQ(cluster.store(third).state().watch_count(), 0U);
  for (std::size_t i = 0; i < kv::kWatchesMax; ++i)
    static_cast<void>(cluster.store(third).watch({kv::Topic::Kind::kKey, "k"}, kv::Index{1000}));
  EXPECT_EQ(cluster.store(third).watch({kv::Topic::Kind::kKey, "k"}, kv::Index{1000}).error().code, Errc::kBusy);
}

TEST_F(ThreeNodes, BadRequestsNeverReachTheLog) {
  const auto last = cluster.store(leader).raft().log().last_index();
  EXPECT_EQ(error(cluster.await(leader, cluster.write(leader, kv::Set{"", "v", 0}))), Errc::kBadRequest);
  EXPECT_EQ(error(cluster.await(leader, cluster.write(leader, kv::Set{"k", std::string(600'000, 'x'), 0}))),
            Errc::kTooLarge);
  EXPECT_EQ(error(cluster.await(follower, cluster.write(follower, kv::LeaseExpire{"trader", kv::Epoch{1}}))),
            Errc::kBadRequest);
  EXPECT_EQ(error(cluster.await(follower, cluster.renew(follower, "", 1))), Errc::kBadRequest);
  EXPECT_EQ(cluster.store(leader).raft().log().last_index(), last);
}

TEST_F(ThreeNodes, TablesAreBoundedAndSaySo) {
  cluster.crash(NodeId{leader});  // nothing can be answered for a while
  const std::size_t writes = cluster.at(follower).config.pending_writes_max;
  for (std::size_t i = 0; i < writes; ++i) cluster.write(follower, kv::Set{"k", "v", 0});
  EXPECT_EQ(error(cluster.await(follower, cluster.write(follower, kv::Set{"k", "v", 0}))), Errc::kBusy);
  const std::size_t reads = cluster.at(follower).config.pending_reads_max;
  for (std::size_t i = 0; i < reads; ++i) {
    cluster.read(follower, Consistency::kDefault);
    cluster.renew(follower, "trader", 1);
  }
  EXPECT_EQ(error(*cluster.reply(follower, cluster.read(follower, Consistency::kDefault))), Errc::kBusy);
  EXPECT_EQ(error(*cluster.reply(follower, cluster.renew(follower, "trader", 1))), Errc::kBusy);
  EXPECT_EQ(cluster.store(follower).counters().pending_writes, writes);
  cluster.run(4s);
  EXPECT_EQ(cluster.store(follower).counters().pending_writes, 0U);
  EXPECT_EQ(cluster.store(follower).counters().pending_reads, 0U);
}

TEST_F(ThreeNodes, AFailingDiskStopsTheNodeForGood) {
  cluster.store(follower).on_disk_error({disk::Errc::kDiskFull, "no space"}, cluster.now());
  const Output out = cluster.store(follower).take_output(cluster.now());
  ASSERT_TRUE(out.fatal);
  EXPECT_THAT(out.fatal->reason, HasSubstr("DiskFull"));
  EXPECT_FALSE(out.persist);
  Store& store = cluster.store(follower);
  store.write(RequestNo{1}, kv::Set{"k", "v", 0}, cluster.now() + 1s, cluster.now());
  store.read(RequestNo{2}, Consistency::kStale, cluster.now() + 1s, cluster.now());
  store.renew(RequestNo{3}, "trader", kv::Epoch{1}, cluster.now() + 1s, cluster.now());
  store.bootstrap(RequestNo{4}, cluster.now());
  store.transfer_leadership(RequestNo{5}, NodeId{}, cluster.now());
  store.remove_server(RequestNo{6}, NodeId{1}, cluster.now());
  store.on_peer_frame(NodeId{leader}, "x", cluster.now());
  store.on_members({}, cluster.now());
  store.tick(cluster.now());
  const Output after = store.take_output(cluster.now());
  EXPECT_EQ(after.replies.size(), 6U);
  for (const Reply& reply : after.replies) EXPECT_EQ(reply.result.error().code, Errc::kStopped);
  EXPECT_TRUE(after.frames.empty());
  EXPECT_EQ(store.next_deadline(), TimePoint::max());
}

TEST_F(ThreeNodes, AnAckForABatchThatIsNotOutIsFatal) {
  cluster.store(follower).on_persisted(disk::BatchSeq{12345}, cluster.now());
  EXPECT_TRUE(cluster.store(follower).take_output(cluster.now()).fatal);
}

TEST_F(ThreeNodes, OneBatchIsOutAtATimeAndHoldsAllThatWaited) {
  cluster.at(leader).flush_time = 20ms;
  const auto before = cluster.store(leader).counters().batches;
  for (int i = 0; i < 100; ++i) {
    cluster.write(leader, kv::Set{"k" + std::to_string(i), "v", 0});
    cluster.run(100us);
  }
  cluster.run(200ms);
  EXPECT_LE(cluster.store(leader).counters().batches - before, 5U) << "10 ms of writes share a flush of 20 ms";
  EXPECT_EQ(cluster.store(leader).state().entry_count(), 100U);
}

TEST_F(ThreeNodes, ANodeWhoseDiskIsSlowVotesAndAnswersOnlyAfterItsFlush) {
  cluster.at(follower).flush_time = 5s;
  cluster.crash(NodeId{third});
  const RequestNo request = cluster.write(leader, kv::Set{"k", "v", 0}, 3s);
  cluster.run(2s);
  EXPECT_FALSE(cluster.reply(leader, request)) << "one disk of three is no majority";
}

TEST(StoreStart, RefusesSettingsAndStatesThatMakeNoSense) {
  const auto start = [](Config config, disk::LoadedState state) {
    return Store::create(
        config, std::move(state), [](std::uint64_t) { return std::uint64_t{0}; }, TimePoint{} + 1h);
  };
  Config good;
  good.id = NodeId{1};
  good.name = "n1";
  EXPECT_TRUE(start(good, {}));
  Config bad = good;
  bad.id = NodeId{};
  EXPECT_EQ(start(bad, {}).error().code, Errc::kBadRequest);
  bad = good;
  bad.name.clear();
  EXPECT_EQ(start(bad, {}).error().code, Errc::kBadRequest);
  bad = good;
  bad.voters = 0;
  EXPECT_EQ(start(bad, {}).error().code, Errc::kBadRequest);
  bad = good;
  bad.bootstrap_expect = 1;
  EXPECT_EQ(start(bad, {}).error().code, Errc::kBadRequest);
  bad = good;
  bad.pending_writes_max = 5000;
  EXPECT_EQ(start(bad, {}).error().code, Errc::kBadRequest);
  disk::LoadedState torn;
  torn.hard.commit = raft::Index{5};
  EXPECT_EQ(start(good, torn).error().code, Errc::kBadState) << "commit past the end of the log";
  disk::LoadedState rows;
  rows.records.push_back({"k", "x"});
  EXPECT_EQ(start(good, rows).error().code, Errc::kBadState);
  disk::LoadedState foreign;
  kv::ClusterId id;
  id.bytes[0] = 1;
  foreign.records.push_back({kv::cluster_key(), kv::encode_cluster(id)});
  EXPECT_EQ(start(good, foreign).error().code, Errc::kBadState) << "state of one cluster, log of none";
}

TEST(StoreErrors, EveryErrorHasAName) {
  for (int i = 0; i <= static_cast<int>(Errc::kStopped); ++i) EXPECT_STRNE(to_string(static_cast<Errc>(i)), "?") << i;
}

TEST(Store, SameSeedSameFrames) {
  const auto play = [] {
    FakeCluster cluster(99);
    for (int i = 0; i < 3; ++i) cluster.add([](Config& c) { c.bootstrap_expect = 3; });
    cluster.await_leader();
    cluster.put(2, "k", "v");
    cluster.run(1s);
    return std::pair(cluster.frames_sent, cluster.store(1).state().content_hash());
  };
  EXPECT_EQ(play(), play());
}

}  // namespace
}  // namespace store::test
