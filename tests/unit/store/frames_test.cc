#include "store/frames.h"

#include <gtest/gtest.h>

#include "store/kv/command.h"
#include "store/kv/wire.h"
#include "store/types.h"
#include "tests/unit/store/fake_cluster.h"

namespace store::test {
namespace {

kv::ClusterId cluster_id() {
  kv::ClusterId id;
  id.bytes[0] = 9;
  return id;
}

std::vector<FrameBody> all_bodies() {
  raft::Message message;
  message.kind = raft::MessageKind::kHeartbeat;
  message.from = NodeId{1};
  message.to = NodeId{2};
  message.term = raft::Term{3};
  ChunkFrame chunk;
  chunk.transfer = 5;
  chunk.term = raft::Term{3};
  chunk.meta.index = raft::Index{10};
  chunk.meta.term = raft::Term{2};
  chunk.meta.conf.voters = {NodeId{1}};
  chunk.number = 1;
  chunk.count = 2;
  chunk.bytes = "bytes";
  chunk.hash = hash_bytes(chunk.bytes);
  return {RaftFrame{message},
          ForwardFrame{{"a", "bc"}},
          RefuseFrame{Refusal::kBusy, {1, 2}},
          RenewFrame{7, "trader", kv::Epoch{4}},
          RenewAnswerFrame{7, RenewVerdict::kRenewed},
          GrantAskFrame{{cluster_id(), NodeId{1}, {NodeId{1}, NodeId{2}}}},
          GrantAnswerFrame{cluster_id(), GrantVerdict::kPromised, NodeId{3}, {}},
          GrantWithdrawFrame{cluster_id()},
          chunk,
          ChunkAckFrame{5, 1, ChunkVerdict::kNext},
          SessionRenewFrame{8, kv::SessionId{kv::Uuid{{1, 2, 3}}}}};
}

TEST(Frames, EveryKindSurvivesTheRoundTrip) {
  for (const FrameBody& body : all_bodies()) {
    const std::string bytes = encode_frame(cluster_id(), body);
    const auto frame = decode_frame(bytes);
    ASSERT_TRUE(frame) << body.index() << ": " << frame.error().detail;
    EXPECT_EQ(frame->cluster, cluster_id());
    EXPECT_EQ(frame->body.index(), body.index());
    EXPECT_EQ(encode_frame(frame->cluster, frame->body), bytes) << body.index();
  }
  EXPECT_TRUE(decode_frame(encode_frame({}, all_bodies()[5]))->cluster.is_none());
}

TEST(Frames, TruncatedAndFlippedFramesAreRefusedOrHarmless) {
  for (const FrameBody& body : all_bodies()) {
    const std::string bytes = encode_frame(cluster_id(), body);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_FALSE(decode_frame(std::string_view(bytes).substr(0, size))) << body.index() << " cut to " << size;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = bytes;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        static_cast<void>(decode_frame(flipped));
      }
    }
  }
}

TEST(Frames, RefusalsByKind) {
  using kv::ArrayWriter;
  const auto code = [](const std::string& bytes) {
    const auto frame = decode_frame(bytes);
    return frame ? kv::Errc::kBadState : frame.error().code;
  };
  EXPECT_EQ(code(ArrayWriter(4).add(2U).add(8U).add("").add("").take()), kv::Errc::kUnknownVersion);
  EXPECT_EQ(code(ArrayWriter(4).add(1U).add(99U).add("").add("").take()), kv::Errc::kUnknownKind);
  EXPECT_EQ(code(ArrayWriter(4).add(1U).add(8U).add("short").add("").take()), kv::Errc::kMalformed);
  EXPECT_EQ(code(ArrayWriter(5).add(1U).add(5U).add("").add(7U).add(9U).take()), kv::Errc::kMalformed)
      << "no such verdict";
  EXPECT_EQ(code(std::string(kFrameBytesMax + 1, 'x')), kv::Errc::kTooLarge);
  ChunkFrame chunk = std::get<ChunkFrame>(all_bodies()[8]);
  chunk.number = chunk.count;
  EXPECT_EQ(code(encode_frame(cluster_id(), chunk)), kv::Errc::kMalformed) << "beyond the end";
  GrantAskFrame ask = std::get<GrantAskFrame>(all_bodies()[5]);
  ask.grant.voters = {NodeId{2}, NodeId{1}};
  EXPECT_EQ(code(encode_frame({}, ask)), kv::Errc::kMalformed) << "unsorted voters";
}

/// What a peer that misbehaves, or speaks for another, can do to a node.
class Hostile : public testing::Test {
 protected:
  void SetUp() override {
    cluster.add();
    ASSERT_TRUE(cluster.bootstrap());
    id = cluster.store(1).cluster_id();
  }
  void deliver(const std::string& bytes, std::uint64_t from = 2) {
    cluster.store(1).on_peer_frame(NodeId{from}, bytes, cluster.now());
  }
  FakeCluster cluster;
  kv::ClusterId id;
};

TEST_F(Hostile, GarbageIsCountedAndDropped) {
  deliver("garbage");
  deliver("");
  deliver(encode_frame(id, RenewAnswerFrame{1, RenewVerdict::kRenewed}), 0);
  deliver(encode_frame(id, RenewAnswerFrame{1, RenewVerdict::kRenewed}), 1);
  EXPECT_EQ(cluster.store(1).counters().frames_malformed, 4U);
}

TEST_F(Hostile, ARaftMessageInAnotherNodesNameIsDropped) {
  raft::Message message = std::get<RaftFrame>(all_bodies()[0]).message;
  message.from = NodeId{3};
  message.to = NodeId{1};
  message.term = raft::Term{99};
  deliver(encode_frame(id, RaftFrame{message}));
  EXPECT_EQ(cluster.store(1).counters().frames_malformed, 1U);
  EXPECT_LT(cluster.store(1).raft().term(), raft::Term{99});
}

TEST_F(Hostile, ASnapshotMessageWithoutItsChunksIsDropped) {
  raft::Message message;
  message.kind = raft::MessageKind::kSnapshot;
  message.from = NodeId{2};
  message.to = NodeId{1};
  message.term = raft::Term{99};
  message.snapshot = raft::SnapshotMeta{raft::Index{1000}, raft::Term{99}, {}};
  message.snapshot->conf.voters = {NodeId{1}, NodeId{2}};
  deliver(encode_frame(id, RaftFrame{message}));
  EXPECT_FALSE(cluster.at(1).fatal);
  EXPECT_LT(cluster.store(1).raft().commit(), raft::Index{1000});
}

TEST_F(Hostile, ForwardedCommandsThatOnlyALeaderMayDecideAreRefused) {
  const auto epoch = cluster.acquire(1);
  ASSERT_EQ(epoch, kv::Epoch{1});
  const auto last = cluster.store(1).raft().log().last_index();
  const kv::RequestId peers{kv::NodeId{2}, 5};
  ForwardFrame frame;
  frame.commands.push_back(kv::encode({peers, kv::LeaseExpire{"trader", kv::Epoch{1}}}));
  frame.commands.push_back(kv::encode({{kv::NodeId{1}, 9}, kv::Set{"k", "in another's name", 0}}));
  frame.commands.push_back("garbage");
  frame.commands.push_back(kv::ArrayWriter(5).add(1U).add(99U).add(2U).add(5U).add("unknown").take());
  deliver(encode_frame(id, frame));
  const Output out = cluster.store(1).take_output(cluster.now());
  ASSERT_EQ(out.frames.size(), 1U);
  const auto refused = decode_frame(out.frames[0].bytes);
  EXPECT_EQ(std::get<RefuseFrame>(refused->body).why, Refusal::kInvalid);
  EXPECT_EQ(cluster.store(1).raft().log().last_index(), last) << "nothing of it reached the log";
}

TEST_F(Hostile, WithoutAClusterOnlyFoundingIsSpokenOf) {
  deliver(encode_frame({}, ForwardFrame{{"x"}}));
  EXPECT_EQ(cluster.store(1).counters().frames_refused, 1U);
  const disk::Grant grant{cluster_id(), NodeId{2}, {NodeId{1}, NodeId{2}}};
  deliver(encode_frame({}, GrantAskFrame{grant}));
  Output out = cluster.store(1).take_output(cluster.now());
  ASSERT_EQ(out.frames.size(), 1U);
  EXPECT_EQ(std::get<GrantAnswerFrame>(decode_frame(out.frames[0].bytes)->body).verdict, GrantVerdict::kFounded);
  deliver(encode_frame({}, GrantAnswerFrame{cluster_id(), GrantVerdict::kGranted, NodeId{1}, {}}));
  out = cluster.store(1).take_output(cluster.now());
  ASSERT_EQ(out.frames.size(), 1U) << "a promise for a founding that never was";
  EXPECT_TRUE(std::holds_alternative<GrantWithdrawFrame>(decode_frame(out.frames[0].bytes)->body));
  deliver(encode_frame({}, GrantWithdrawFrame{id}));
  EXPECT_EQ(cluster.store(1).cluster_id(), id);
}

TEST_F(Hostile, AForeignClustersFramesAreDropped) {
  kv::ClusterId other;
  other.bytes[3] = 3;
  deliver(encode_frame(other, ForwardFrame{{"x"}}));
  EXPECT_EQ(cluster.store(1).counters().frames_foreign, 1U);
}

}  // namespace
}  // namespace store::test
