#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/snapshot_transfer.h"
#include "tests/unit/store/fake_cluster.h"

namespace store::test {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

const TimePoint kStart = TimePoint{} + 1h;

std::vector<kv::Record> rows(std::size_t count, std::size_t value_bytes) {
  std::vector<kv::Record> records;
  for (std::size_t i = 0; i < count; ++i) {
    kv::Entry entry{std::string(value_bytes, static_cast<char>('a' + i % 26)), 0, kv::Index{1}, kv::Index{1}};
    records.push_back({kv::entry_key("key" + std::to_string(1000 + i)), kv::encode_entry(entry, nullptr)});
  }
  return records;
}

raft::SnapshotMeta meta(std::uint64_t index) {
  raft::SnapshotMeta name;
  name.index = raft::Index{index};
  name.term = raft::Term{2};
  name.conf.voters = {NodeId{1}};
  return name;
}

std::string stream_of(const SnapshotImage& image) {
  std::string stream;
  for (const std::string& chunk : image.chunks) stream += chunk;
  return stream;
}

TEST(SnapshotImageTest, RoundTripOverChunkBorders) {
  const auto records = rows(5, 200 << 10);
  const SnapshotImage image = make_image(meta(7), records);
  EXPECT_EQ(image.chunks.size(), 4U);
  for (const std::string& chunk : image.chunks) EXPECT_LE(chunk.size(), kChunkBytesMax);
  EXPECT_EQ(*parse_image(stream_of(image)), records);
  EXPECT_THAT(make_image(meta(7), {}).chunks, SizeIs(1)) << "an empty state is still one chunk";
}

TEST(SnapshotImageTest, DamageIsRefused) {
  const std::string stream = stream_of(make_image(meta(7), rows(2, 10)));
  std::size_t whole_rows = 0;
  for (std::size_t size = 0; size < stream.size(); ++size) whole_rows += parse_image(stream.substr(0, size)) ? 1U : 0U;
  EXPECT_EQ(whole_rows, 2U) << "nothing at all, and exactly the first row";
  std::string unknown = stream;
  unknown[8] = 'z';
  EXPECT_FALSE(parse_image(unknown));
}

/// Sender and receiver joined by hand.
class Transfer : public testing::Test {
 protected:
  void begin(std::size_t count, std::size_t bytes) {
    records = rows(count, bytes);
    sender.begin(NodeId{2}, std::make_shared<const SnapshotImage>(make_image(meta(7), records)), raft::Term{3}, kStart);
  }
  std::vector<std::pair<NodeId, ChunkFrame>> chunks(TimePoint now = kStart) { return sender.take_chunks(now); }
  SnapshotSender sender{100};
  SnapshotReceiver receiver;
  std::vector<kv::Record> records;
};

TEST_F(Transfer, AtMostAFewChunksAreInFlight) {
  begin(20, 200 << 10);
  EXPECT_THAT(chunks(), SizeIs(kChunksInFlightMax));
  EXPECT_THAT(chunks(), IsEmpty()) << "back-pressure";
  EXPECT_FALSE(sender.wants_to_send());
  EXPECT_EQ(sender.in_flight_bytes(), kChunksInFlightMax * kChunkBytesMax);
  EXPECT_FALSE(sender.on_ack(NodeId{2}, {100, 2, ChunkVerdict::kNext}, kStart));
  EXPECT_THAT(chunks(), SizeIs(2));
  EXPECT_EQ(sender.needed_index(), raft::Index{7});
}

TEST_F(Transfer, AllChunksMakeTheState) {
  begin(20, 200 << 10);
  std::optional<SnapshotReceiver::Complete> complete;
  std::optional<raft::SnapshotOutcome> outcome;
  while (!outcome) {
    const auto sent = chunks();
    ASSERT_FALSE(sent.empty());
    for (const auto& [to, chunk] : sent) {
      auto step = receiver.on_chunk(NodeId{1}, chunk);
      if (step.complete) complete = std::move(step.complete);
      if (auto ended = sender.on_ack(NodeId{2}, step.ack, kStart)) outcome = ended;
    }
  }
  EXPECT_EQ(outcome, raft::SnapshotOutcome::kDelivered);
  ASSERT_TRUE(complete);
  EXPECT_EQ(complete->records, records);
  EXPECT_EQ(complete->meta, meta(7));
  EXPECT_EQ(complete->term, raft::Term{3});
  EXPECT_FALSE(sender.sending_to(NodeId{2}));
  EXPECT_EQ(receiver.bytes(), 0U);
}

TEST_F(Transfer, AnInterruptedTransferGoesOnWhereItStopped) {
  begin(20, 200 << 10);
  auto first = chunks();
  static_cast<void>(receiver.on_chunk(NodeId{1}, first[0].second));
  const auto step = receiver.on_chunk(NodeId{1}, first[1].second);
  static_cast<void>(sender.on_ack(NodeId{2}, step.ack, kStart));
  sender.on_connected(NodeId{2}, kStart + 1s);  // 2 and 3 were lost with the connection
  const auto again = chunks();
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(again[0].second.number, 2U);
  EXPECT_EQ(receiver.on_chunk(NodeId{1}, again[0].second).ack.next, 3U);
  EXPECT_EQ(receiver.on_chunk(NodeId{1}, first[1].second).ack.next, 3U) << "an old chunk changes nothing";
  EXPECT_EQ(receiver.on_chunk(NodeId{1}, again[2].second).ack.next, 3U) << "nor does one that comes too early";
}

TEST_F(Transfer, LostChunksAreSentAgainAndSilenceEndsIt) {
  begin(20, 200 << 10);
  static_cast<void>(chunks());
  EXPECT_EQ(sender.next_deadline(), kStart + kChunkResendAfter);
  EXPECT_THAT(sender.tick(kStart + kChunkResendAfter), IsEmpty());
  EXPECT_EQ(chunks(kStart + kChunkResendAfter)[0].second.number, 0U);
  EXPECT_THAT(sender.tick(kStart + kTransferGiveUpAfter), testing::ElementsAre(NodeId{2}));
  EXPECT_EQ(sender.next_deadline(), TimePoint::max());
}

TEST_F(Transfer, ALostLastAckIsRepeated) {
  begin(1, 10);
  const auto only = chunks();
  EXPECT_TRUE(receiver.on_chunk(NodeId{1}, only[0].second).complete);
  const auto again = receiver.on_chunk(NodeId{1}, only[0].second);
  EXPECT_FALSE(again.complete) << "not installed twice";
  EXPECT_EQ(again.ack.verdict, ChunkVerdict::kDone);
}

TEST_F(Transfer, ANewTransferReplacesTheOldAndOldAcksAreIgnored) {
  begin(20, 200 << 10);
  const auto old = chunks();
  static_cast<void>(receiver.on_chunk(NodeId{1}, old[0].second));
  begin(3, 10);
  EXPECT_FALSE(sender.on_ack(NodeId{2}, {100, 1, ChunkVerdict::kNext}, kStart));
  EXPECT_FALSE(sender.on_ack(NodeId{9}, {101, 1, ChunkVerdict::kNext}, kStart));
  EXPECT_TRUE(receiver.on_chunk(NodeId{1}, chunks()[0].second).complete);
}

TEST_F(Transfer, ARefusalAndNonsenseAcksEndTheTransfer) {
  begin(20, 200 << 10);
  EXPECT_EQ(sender.on_ack(NodeId{2}, {100, 999, ChunkVerdict::kNext}, kStart), raft::SnapshotOutcome::kFailed);
  begin(20, 200 << 10);
  EXPECT_EQ(sender.on_ack(NodeId{2}, {101, 0, ChunkVerdict::kRefused}, kStart), raft::SnapshotOutcome::kFailed);
  ChunkFrame chunk;
  chunk.transfer = 5;
  chunk.count = 1;
  chunk.bytes = "no rows";
  EXPECT_EQ(receiver.on_chunk(NodeId{1}, chunk).ack.verdict, ChunkVerdict::kRefused);
  sender.cancel(NodeId{2});
  sender.cancel_all();
  EXPECT_EQ(sender.newest_image(), nullptr);
}

// --- in a cluster -------------------------------------------------------------------------------------------------

void small_log(Config& config) {
  config.bootstrap_expect = 3;
  config.log_keep_entries = 50;
}

class SnapshotCluster : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) cluster.add(small_log);
    ASSERT_TRUE(cluster.await_leader());
    cluster.run(500ms);
    leader = cluster.leader().value;
    other = leader % 3 + 1;
    behind = other % 3 + 1;
  }
  void write(int count, std::size_t bytes = 10) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(cluster.put(leader, "k" + std::to_string(i % 40), std::string(bytes, 'x') + std::to_string(n++)));
    }
  }
  FakeCluster cluster{5};
  std::uint64_t leader = 0, other = 0, behind = 0;
  int n = 0;
};

TEST_F(SnapshotCluster, TheLogStaysWithinItsBounds) {
  write(500);
  for (std::uint64_t id = 1; id <= 3; ++id) {
    const raft::Log& log = cluster.store(id).raft().log();
    EXPECT_LE(log.last_index().value - log.first_index().value, 110U) << id;
    EXPECT_LE(cluster.at(id).disk.log_size(), 120U) << id;
  }
}

TEST_F(SnapshotCluster, ByBytesToo) {
  for (std::uint64_t id = 1; id <= 3; ++id) ASSERT_LE(cluster.at(id).config.log_keep_bytes, 8U << 20U);
  write(60, 400 << 10);
  EXPECT_LE(cluster.store(leader).raft().log().bytes(), 2 * cluster.at(leader).config.log_keep_bytes + (512U << 10U));
}

TEST_F(SnapshotCluster, AFollowerThatWasAwayGetsTheStateItself) {
  cluster.crash(NodeId{behind});
  write(300);
  cluster.restart(NodeId{behind});
  ASSERT_TRUE(cluster.run_until(
      [&] { return cluster.store(behind).state().applied() == cluster.store(leader).state().applied(); }));
  EXPECT_TRUE(cluster.same_state());
  cluster.run(10ms);
  EXPECT_EQ(cluster.store(behind).counters().snapshots_installed, 1U);
  EXPECT_EQ(cluster.events<SnapshotInstalled>(behind).size(), 1U);
  EXPECT_EQ(cluster.store(leader).counters().snapshots_sent, 1U);
  // What was installed is on its disk.
  cluster.crash(NodeId{behind});
  cluster.restart(NodeId{behind});
  EXPECT_FALSE(cluster.at(behind).fatal);
  write(5);
  cluster.run(200ms);
  EXPECT_TRUE(cluster.same_state());
}

TEST_F(SnapshotCluster, LostChunksAndABrokenConnectionDoNotStopIt) {
  cluster.crash(NodeId{behind});
  write(300);
  write(40, 300 << 10);
  int chunks = 0;
  cluster.loses = [&](NodeId from, NodeId, bool urgent) {
    return from.value == leader && !urgent && ++chunks % 3 == 0 && chunks < 60;
  };
  cluster.restart(NodeId{behind});
  cluster.run(200ms);
  cluster.cut({leader}, {behind});
  cluster.run(100ms);
  cluster.heal();
  cluster.store(leader).on_peer_connected(NodeId{behind}, cluster.now());
  ASSERT_TRUE(cluster.run_until(
      [&] { return cluster.store(behind).state().applied() == cluster.store(leader).state().applied(); }, 30s));
  EXPECT_TRUE(cluster.same_state());
  EXPECT_GT(chunks, 20);
}

TEST_F(SnapshotCluster, ACrashInTheMiddleOfInstallingLeavesTheOldOrTheNew) {
  cluster.crash(NodeId{behind});
  write(300);
  for (int moment = 0; moment < 12; ++moment) {
    cluster.restart(NodeId{behind});
    cluster.run(moment * 1ms);
    cluster.crash(NodeId{behind});
    ASSERT_FALSE(cluster.at(behind).fatal) << moment;
  }
  cluster.restart(NodeId{behind});
  ASSERT_TRUE(cluster.run_until(
      [&] { return cluster.store(behind).state().applied() == cluster.store(leader).state().applied(); }, 30s));
  EXPECT_TRUE(cluster.same_state());
}

TEST_F(SnapshotCluster, WritesAndEpochsSurviveASnapshot) {
  ASSERT_EQ(cluster.acquire(other), kv::Epoch{1});
  cluster.crash(NodeId{behind});
  write(300);
  cluster.restart(NodeId{behind});
  cluster.run(1s);
  EXPECT_EQ(cluster.store(behind).state().epoch("trader"), kv::Epoch{1});
  EXPECT_TRUE(cluster.put(behind, "from", "the restored one"));
}

}  // namespace
}  // namespace store::test
