// Replication, one test per rule: thesis 3.5, 3.6.2, 10.2.1, figure 3.1.
#include <gtest/gtest.h>

#include "store/raft/wire.h"
#include "tests/unit/store/raft/network.h"

namespace store::raft::test {
namespace {

void plain(Config& config) { config.pre_vote = config.check_quorum = false; }

using Texts = std::vector<std::string>;

// 3.5: a proposal is applied everywhere, in the same order.
TEST(RaftReplication, AppliesEverywhereInOrder) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  for (const char* text : {"a", "b", "c"}) ASSERT_TRUE(net.propose(1, text));
  net.settle();
  for (std::uint64_t id : {1, 2, 3}) EXPECT_EQ(net.applied(id), (Texts{"a", "b", "c"}));
}

// 6.4: a new leader commits a no-op of its own term at once.
TEST(RaftReplication, NewLeaderAppendsANoOp) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(2));
  ASSERT_EQ(net[1].applied.size(), 1u);
  EXPECT_EQ(net[1].applied[0].data.size(), 0u);
  EXPECT_EQ(net[1].applied[0].term, net.raft(2).term());
  EXPECT_TRUE(net.raft(2).own_term_committed());
}

TEST(RaftReplication, ProposalTellsWhereItWent) {
  Network net(1);
  net.run(milliseconds(5));
  const auto proposed = net.raft(1).step(Propose{{Payload("a"), Payload("b"), Payload("c")}}, net.now);
  ASSERT_TRUE(proposed);
  EXPECT_EQ(proposed->first, Index{3});
  EXPECT_EQ(proposed->last, Index{5});
  EXPECT_EQ(proposed->term, net.raft(1).term());
  net.settle();
  EXPECT_EQ(net.applied(1), (Texts{"a", "b", "c"}));
  EXPECT_EQ(net[1].applied.back().index, proposed->last);
}

// 3.5: everything that came in during one turn leaves in one frame.
TEST(RaftReplication, OneFramePerTurn) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(net.propose(1, "x"));
  net.disk = Network::DiskMode::kManual;
  net.collect(1);
  EXPECT_EQ(net.count(MessageKind::kAppend, 2), 1u);
  EXPECT_EQ(net.messages[0].entries.size(), 50u);
}

// 10.2.1: at most so many frames under way, each bounded in bytes; an ack makes room for the next.
TEST(RaftReplication, PipelineIsBoundedByFramesAndBytes) {
  Network net(2, [](Config& config) {
    plain(config);
    config.append_bytes_max = 100;
  });
  ASSERT_TRUE(net.elect(1));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(net.propose(1, std::string(40, 'x')));
  net.disk = Network::DiskMode::kManual;
  net.collect(1);
  EXPECT_EQ(net.count(MessageKind::kAppend, 2), 2u);
  for (const Message& message : net.messages) EXPECT_EQ(message.entries.size(), 2u);
  net.disk = Network::DiskMode::kPrompt;
  net.settle();
  EXPECT_EQ(net.applied(2).size(), 10u);
}

// 10.2.1: the leader's append leaves before its own write; its own vote counts when the write returns.
TEST(RaftReplication, LeaderWritesInParallel) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  net.disk = Network::DiskMode::kManual;
  ASSERT_TRUE(net.propose(1, "x"));
  net.collect(1);
  EXPECT_EQ(net.count(MessageKind::kAppend, 2), 1u);
  EXPECT_EQ(net[1].batches.size(), 1u);
  net.settle();
  net.persist(2);
  net.settle();
  EXPECT_EQ(net.raft(1).commit(), Index{2});  // one of three
  net.persist(3);
  net.settle();
  EXPECT_EQ(net.raft(1).commit(), Index{3});   // two followers
  EXPECT_EQ(net.applied(1), Texts{});          // but not on the own disk yet
  net.persist(1);
  net.settle();
  EXPECT_EQ(net.applied(1), Texts{"x"});
}

TEST(RaftReplication, OwnDiskCountsAsOneVote) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  net.isolate(3);
  net.disk = Network::DiskMode::kManual;
  ASSERT_TRUE(net.propose(1, "x"));
  net.settle();
  net.persist(2);
  net.settle();
  EXPECT_EQ(net.raft(1).commit(), Index{2});
  net.persist(1);
  net.settle();
  EXPECT_EQ(net.raft(1).commit(), Index{3});
}

TEST(RaftReplication, MayApplyBeforePersistIfTheHostWants) {
  Network net(3, [](Config& config) {
    plain(config);
    config.apply_before_persist = true;
  });
  ASSERT_TRUE(net.elect(1));
  net.disk = Network::DiskMode::kManual;
  ASSERT_TRUE(net.propose(1, "x"));
  net.settle();
  net.persist(2);
  net.persist(3);
  net.settle();
  EXPECT_EQ(net.applied(1), Texts{"x"});
}

// Figure 3.1: a follower answers when its disk has the entries; a repeated append waits for the same write.
TEST(RaftReplication, FollowerAnswersWhenDurable) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  net.disk = Network::DiskMode::kManual;
  ASSERT_TRUE(net.propose(1, "x"));
  net.collect(1);
  ASSERT_EQ(net.count(MessageKind::kAppend, 2), 1u);
  const Message append = net.messages[0];
  net.messages.clear();
  EXPECT_TRUE(net.raft(2).step(append, net.now));
  net.collect(2);
  EXPECT_TRUE(net.raft(2).step(append, net.now));
  net.collect(2);
  EXPECT_TRUE(net.messages.empty());
  EXPECT_EQ(net[2].waiting.size(), 2u);
  net.persist(2);
  EXPECT_EQ(net.messages.size(), 2u);
}

// A heartbeat answer promises nothing: it does not wait for the disk.
TEST(RaftReplication, HeartbeatIsAnsweredAtOnce) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  net.disk = Network::DiskMode::kManual;
  ASSERT_TRUE(net.propose(1, "x"));
  net.settle();
  net.now += milliseconds(60);
  net.raft(1).tick(net.now);
  net.collect(1);
  net.settle();
  EXPECT_FALSE(net[2].batches.empty());
  EXPECT_EQ(net.raft(1).peers()[1].last_contact, net.now);
}

// 3.6.2, figure 3.7: a leader does not commit entries of earlier terms by counting.
TEST(RaftReplication, CountsOnlyItsOwnTerm) {
  Network net(3, [](Config& config) {
    plain(config);
    config.append_bytes_max = 1;
    config.inflight_appends_max = 1;
  });
  ASSERT_TRUE(net.elect(1));
  net.isolate(3);
  net.cut(2, 1);
  ASSERT_TRUE(net.propose(1, "old"));
  net.settle();
  EXPECT_EQ(net.raft(1).commit(), Index{2});
  net.heal();
  net.isolate(1);
  // Node 2 leads with the old entry; node 3 gets it, but not the no-op of the new term.
  net.filter = [&](const Message& m) {
    return m.entries.empty() || m.entries[0].term == Term{2} || net.raft(3).log().last_index() < Index{3};
  };
  ASSERT_TRUE(net.elect(2));
  EXPECT_EQ(net.raft(2).tracker().find(NodeId{3})->match(), Index{3});
  EXPECT_EQ(net.raft(2).commit(), Index{2});
  net.filter = nullptr;
  net.run(milliseconds(200));
  ASSERT_TRUE(net.raft(2).step(ReportUnreachable{NodeId{3}}, net.now));
  net.run(milliseconds(200));
  EXPECT_EQ(net.raft(2).commit(), net.raft(2).log().last_index());
}

// 3.5: after a change of leaders the logs are made equal; what was not committed may be lost, what was is not.
TEST(RaftReplication, LeaderRepairsDivergentLogs) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  ASSERT_TRUE(net.propose(1, "kept"));
  net.settle();
  net.isolate(1);
  for (const char* text : {"lost1", "lost2", "lost3"}) ASSERT_TRUE(net.propose(1, text));
  net.settle();
  ASSERT_TRUE(net.elect(2));
  ASSERT_TRUE(net.propose(2, "new"));
  net.settle();
  net.heal();
  net.run(milliseconds(200));
  for (std::uint64_t id : {1, 2, 3}) EXPECT_EQ(net.applied(id), (Texts{"kept", "new"})) << id;
  EXPECT_EQ(net.raft(1).log().last_index(), net.raft(2).log().last_index());
}

// Lost frames: a heartbeat's answer shows that the follower lives, and replication goes on.
TEST(RaftReplication, LostAppendsAreSentAgain) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  net.filter = [](const Message& m) { return m.kind != MessageKind::kAppend || m.to != NodeId{3}; };
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(net.propose(1, std::to_string(i)));
    net.settle();
  }
  net.filter = nullptr;
  net.run(milliseconds(200));
  EXPECT_EQ(net.applied(3).size(), 5u);
}

TEST(RaftReplication, DuplicatesAndOldAppendsChangeNothing) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  std::vector<Message> seen;
  net.filter = [&](const Message& m) {
    if (m.to == NodeId{2}) seen.push_back(m);
    return true;
  };
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(net.propose(1, std::to_string(i)));
    net.settle();
  }
  net.filter = nullptr;
  const Index last = net.raft(2).log().last_index();
  for (int round = 0; round < 3; ++round) {
    for (auto message = seen.rbegin(); message != seen.rend(); ++message) net.messages.push_back(*message);
    net.settle();
  }
  EXPECT_EQ(net.raft(2).log().last_index(), last);
  EXPECT_EQ(net.applied(2).size(), 5u);
}

// Committed entries are handed out in slices, so that no turn has work without end.
TEST(RaftReplication, CommittedComesInSlices) {
  Network net(1, [](Config& config) { config.committed_bytes_max = 100; });
  net.run(milliseconds(5));
  std::vector<Payload> payloads(10, Payload(std::string(40, 'x')));
  ASSERT_TRUE(net.raft(1).step(Propose{payloads}, net.now));
  Output write = net.raft(1).take_output();
  ASSERT_TRUE(write.seq);
  ASSERT_TRUE(net.raft(1).step(Persisted{*write.seq, write.last, write.last_term}, net.now));
  std::size_t outputs = 0;
  std::size_t entries = 0;
  while (net.raft(1).has_output()) {
    const Output output = net.raft(1).take_output();
    EXPECT_LE(output.committed.size(), 2u);
    entries += output.committed.size();
    ++outputs;
  }
  EXPECT_EQ(entries, 10u);
  EXPECT_GE(outputs, 5u);
}

// A proposal is refused with an error when too much is uncommitted, and nothing of it is appended.
TEST(RaftReplication, UncommittedBytesAreBounded) {
  Network net(3, [](Config& config) {
    plain(config);
    config.uncommitted_bytes_max = 100;
  });
  ASSERT_TRUE(net.elect(1));
  net.isolate(1);
  ASSERT_TRUE(net.propose(1, std::string(90, 'x')));
  const Index last = net.raft(1).log().last_index();
  EXPECT_EQ(net.propose(1, std::string(11, 'x')).error().code, Errc::kUncommittedFull);
  EXPECT_EQ(net.raft(1).log().last_index(), last);
  EXPECT_EQ(net.raft(1).uncommitted_bytes(), 90u);
  EXPECT_TRUE(net.propose(1, std::string(10, 'x')));
  net.heal();
  net.run(milliseconds(200));
  EXPECT_EQ(net.raft(1).uncommitted_bytes(), 0u);
  EXPECT_TRUE(net.propose(1, std::string(1000, 'x')));  // alone, anything fits
}

// A new leader counts what it found uncommitted.
TEST(RaftReplication, NewLeaderCountsInheritedBytes) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  net.cut(2, 1);
  ASSERT_TRUE(net.propose(1, std::string(50, 'x')));
  net.settle();
  net.isolate(1);
  net.heal();
  net.filter = [](const Message& m) { return m.kind == MessageKind::kVote || m.kind == MessageKind::kVoteResponse; };
  ASSERT_TRUE(net.elect(2));
  EXPECT_EQ(net.raft(2).uncommitted_bytes(), 50u);
}

TEST(RaftReplication, LogBytesAreBounded) {
  Network net(1, [](Config& config) { config.log_bytes_max = 100; });
  net.run(milliseconds(5));
  ASSERT_TRUE(net.propose(1, std::string(90, 'x')));
  net.settle();
  EXPECT_EQ(net.propose(1, std::string(11, 'x')).error().code, Errc::kLogFull);
  ASSERT_TRUE(net.raft(1).step(Compact{net.raft(1).applied()}, net.now));
  EXPECT_TRUE(net.propose(1, std::string(11, 'x')));
}

TEST(RaftReplication, ProposalsThatCannotBeMade) {
  Network net(3, plain);
  EXPECT_EQ(net.propose(1, "x").error().code, Errc::kNotLeader);
  EXPECT_EQ(net.propose(1, "x").error().detail, "0");
  ASSERT_TRUE(net.elect(1));
  EXPECT_EQ(net.propose(2, "x").error().detail, "1");  // says who leads
  EXPECT_EQ(net.raft(1).step(Propose{}, net.now).error().code, Errc::kEntryTooLarge);
  EXPECT_EQ(net.propose(1, std::string(kEntryBytesMax + 1, 'x')).error().code, Errc::kEntryTooLarge);
  EXPECT_EQ(net.raft(1).step(Propose{std::vector<Payload>(kEntriesMax + 1)}, net.now).error().code,
            Errc::kEntryTooLarge);
}

// A disk that hangs: batches are bounded, promises stay inside, and all of it comes out when it returns.
TEST(RaftReplication, HangingDiskIsBounded) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  net.disk = Network::DiskMode::kManual;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(net.propose(1, "x"));
    net.collect(1);
  }
  EXPECT_EQ(net[1].batches.size(), Persists::kInFlightMax);
  net.disk = Network::DiskMode::kPrompt;
  net.persist(1);
  net.settle();
  EXPECT_EQ(net.applied(1).size(), 200u);
  EXPECT_EQ(net.applied(2).size(), 200u);
}

TEST(RaftReplication, HangingDiskOfAFollowerIsBounded) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  net.disk = Network::DiskMode::kManual;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    Message beat;
    beat.kind = MessageKind::kHeartbeat;
    beat.from = NodeId{1};
    beat.to = NodeId{2};
    beat.term = Term{10 + i};
    ASSERT_TRUE(net.raft(2).step(beat, net.now));
    beat.kind = MessageKind::kAppend;
    ASSERT_TRUE(net.raft(2).step(beat, net.now));
    net.collect(2);
  }
  EXPECT_EQ(net[2].batches.size(), Persists::kInFlightMax);
  net.messages.clear();
  net.persist(2);
  net.collect(2);
  EXPECT_EQ(net[2].batches.size(), 1u);  // everything since in one
  EXPECT_LE(net[2].waiting.size(), 4096u);
}

// A late ack for a batch whose entries were replaced meanwhile confirms nothing of the new ones.
TEST(RaftReplication, AckOfReplacedEntriesConfirmsNothing) {
  Network net(3, plain);
  net.disk = Network::DiskMode::kManual;
  Message append;
  append.kind = MessageKind::kAppend;
  append.from = NodeId{2};
  append.to = NodeId{1};
  append.term = Term{2};
  append.index = Index{1};
  append.log_term = Term{1};
  append.entries = {{Term{2}, Index{2}, EntryKind::kNormal, Payload("first")}};
  ASSERT_TRUE(net.raft(1).step(append, net.now));
  net.collect(1);
  append.from = NodeId{3};
  append.term = Term{3};
  append.entries = {{Term{3}, Index{2}, EntryKind::kNormal, Payload("second")}};
  ASSERT_TRUE(net.raft(1).step(append, net.now));
  net.collect(1);
  ASSERT_EQ(net[1].batches.size(), 2u);
  net.persist(1, 1);
  EXPECT_EQ(net.raft(1).log().durable(), Index{1});
  net.persist(1, 1);
  EXPECT_EQ(net.raft(1).log().durable(), Index{2});
}

TEST(RaftReplication, AckForNothingIsRefused) {
  Network net(1);
  EXPECT_EQ(net.raft(1).step(Persisted{PersistSeq{9}, Index{1}, Term{1}}, net.now).error().code, Errc::kMalformed);
}

TEST(RaftReplication, MessagesThatAreNotForUs) {
  Network net(3);
  Message message;
  message.from = NodeId{2};
  message.to = NodeId{3};
  EXPECT_EQ(net.raft(1).step(message, net.now).error().code, Errc::kMalformed);
  message.to = NodeId{1};
  message.from = kNobody;
  EXPECT_EQ(net.raft(1).step(message, net.now).error().code, Errc::kMalformed);
  message.from = NodeId{1};
  EXPECT_EQ(net.raft(1).step(message, net.now).error().code, Errc::kMalformed);
  message.from = NodeId{2};
  message.kind = MessageKind::kSnapshot;
  EXPECT_EQ(net.raft(1).step(message, net.now).error().code, Errc::kMalformed);
  message.kind = MessageKind::kAppendResponse;
  message.from = NodeId{9};
  EXPECT_EQ(net.raft(1).step(message, net.now).error().code, Errc::kUnknownPeer);
}

// Broken invariants come out as such, never as silence.
TEST(RaftReplication, LostCommittedEntriesAreFatal) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  Message beat;
  beat.kind = MessageKind::kHeartbeat;
  beat.from = NodeId{1};
  beat.to = NodeId{2};
  beat.term = net.raft(2).term();
  beat.commit = Index{1000};
  EXPECT_TRUE(net.raft(2).step(beat, net.now));
  EXPECT_TRUE(net.raft(2).has_output());
  net.collect(2);
  ASSERT_TRUE(net[2].fatal);
  EXPECT_NE(net[2].fatal->detail.find("1000"), std::string::npos);
}

TEST(RaftReplication, ReplacingCommittedEntriesIsFatal) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  Message append;
  append.kind = MessageKind::kAppend;
  append.from = NodeId{1};
  append.to = NodeId{2};
  append.term = Term{9};
  append.index = net.raft(2).commit();
  append.log_term = *net.raft(2).log().term(append.index);
  append.entries = {{Term{9}, append.index.next(), EntryKind::kNormal, {}}};
  EXPECT_TRUE(net.raft(2).step(append, net.now));
  net.collect(2);
  EXPECT_FALSE(net[2].fatal);
  append.entries[0].index = append.index;  // no decoder lets this pass; the core stops all the same
  append.index = append.index.previous();
  append.log_term = *net.raft(2).log().term(append.index);
  append.commit = append.index;
  EXPECT_TRUE(net.raft(2).step(append, net.now));
  net.collect(2);
  EXPECT_FALSE(net[2].fatal);  // before commit: answered with the commit index
}

TEST(RaftReplication, AcknowledgingMoreThanWasSentIsFatal) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  Message answer;
  answer.kind = MessageKind::kAppendResponse;
  answer.from = NodeId{2};
  answer.to = NodeId{1};
  answer.term = net.raft(1).term();
  answer.index = Index{99};
  EXPECT_TRUE(net.raft(1).step(answer, net.now));
  net.collect(1);
  EXPECT_TRUE(net[1].fatal);
}

TEST(RaftReplication, PeersShowsWhatTheLeaderKnows) {
  Network net(3);
  net.run(milliseconds(400));
  const auto peers = net.raft(1).peers();
  ASSERT_EQ(peers.size(), 3u);
  for (const PeerStatus& peer : peers) {
    EXPECT_EQ(peer.match, net.raft(1).log().last_index());
    EXPECT_EQ(peer.state, ProgressState::kReplicate);
    EXPECT_FALSE(peer.learner);
    if (peer.id == NodeId{1}) continue;
    ASSERT_TRUE(peer.last_contact);
    EXPECT_LE(net.now - *peer.last_contact, milliseconds(50));
  }
  EXPECT_TRUE(net.raft(2).peers().empty());
  EXPECT_EQ(net.raft(2).leader_since(), std::nullopt);
  EXPECT_EQ(net.raft(1).leader_since(), net.now - milliseconds(150));
}

// --- Loaded state ---------------------------------------------------------------------------------------------------

Errc refused(const Config& config, InitialState state) {
  auto raft = Raft::create(config, std::move(state), staggered(NodeId{1}), TimePoint{});
  return raft ? Errc::kStopped : raft.error().code;
}

TEST(RaftCreate, RefusesStateThatContradictsItself) {
  Config config;
  config.id = NodeId{1};
  const InitialState good = bootstrap_state(ids({1, 2, 3}));
  EXPECT_EQ(refused(config, good), Errc::kStopped);  // = not refused
  InitialState gap = good;
  gap.entries = {{Term{1}, Index{3}, EntryKind::kNormal, {}}};
  EXPECT_EQ(refused(config, gap), Errc::kBadState);
  InitialState back = good;
  back.hard.term = Term{5};
  back.entries = {{Term{4}, Index{2}, EntryKind::kNormal, {}}, {Term{3}, Index{3}, EntryKind::kNormal, {}}};
  EXPECT_EQ(refused(config, back), Errc::kBadState);
  InitialState future = good;
  future.entries = {{Term{2}, Index{2}, EntryKind::kNormal, {}}};
  EXPECT_EQ(refused(config, future), Errc::kBadState);
  InitialState commit = good;
  commit.hard.commit = Index{2};
  EXPECT_EQ(refused(config, commit), Errc::kBadState);
  InitialState applied = good;
  applied.applied = Index{0};
  EXPECT_EQ(refused(config, applied), Errc::kBadState);
  InitialState conf = good;
  conf.conf.learners = ids({1});
  EXPECT_EQ(refused(config, conf), Errc::kBadState);
}

TEST(RaftCreate, RefusesSettingsThatContradictThemselves) {
  const InitialState good = bootstrap_state(ids({1}));
  Config config;
  EXPECT_EQ(refused(config, good), Errc::kBadState);  // no id
  config.id = NodeId{1};
  config.election_timeout_min = config.heartbeat_interval;
  EXPECT_EQ(refused(config, good), Errc::kBadState);
  config = Config();
  config.id = NodeId{1};
  config.inflight_appends_max = 0;
  EXPECT_EQ(refused(config, good), Errc::kBadState);
}

// The commit index may be lost in a crash: what is applied is committed, the rest comes from the leader.
TEST(RaftCreate, LostCommitIsMadeUp) {
  Config config;
  config.id = NodeId{1};
  InitialState state = bootstrap_state(ids({1, 2, 3}));
  state.hard.term = Term{4};
  for (std::uint64_t i = 2; i <= 6; ++i) state.entries.push_back({Term{4}, Index{i}, EntryKind::kNormal, {}});
  state.applied = Index{4};
  auto raft = Raft::create(config, state, staggered(NodeId{1}), TimePoint{});
  ASSERT_TRUE(raft);
  EXPECT_EQ((*raft)->commit(), Index{4});
  EXPECT_EQ((*raft)->applied(), Index{4});
  EXPECT_FALSE((*raft)->has_output());
}

// Same inputs, same outputs: two cores fed alike say the same, byte for byte.
TEST(RaftCreate, IsDeterministic) {
  std::vector<std::string> first;
  std::vector<std::string> second;
  for (auto* trace : {&first, &second}) {
    Network net(3);
    net.filter = [&](const Message& m) {
      trace->push_back(encode(m));
      return true;
    };
    net.run(milliseconds(600));
    ASSERT_TRUE(net.propose(1, "x"));
    net.run(milliseconds(600));
  }
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace store::raft::test
