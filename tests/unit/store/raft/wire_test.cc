#include "store/raft/wire.h"

#include <gtest/gtest.h>

#include <msgpack.hpp>
#include <random>

#include "store/raft/error.h"

namespace store::raft {
namespace {

Entry entry(std::uint64_t index, std::uint64_t term, const std::string& data, EntryKind kind = EntryKind::kNormal) {
  return {Term{term}, Index{index}, kind, Payload(data)};
}

ConfState conf() { return {{NodeId{1}, NodeId{2}}, {NodeId{3}}, {NodeId{UINT64_MAX}}, {NodeId{3}}, true}; }

Message append() {
  Message m;
  m.kind = MessageKind::kAppend;
  m.from = NodeId{UINT64_MAX};
  m.to = NodeId{2};
  m.term = Term{300};
  m.log_term = Term{7};
  m.index = Index{70000};
  m.commit = Index{69999};
  m.entries = {entry(70001, 7, "a"), entry(70002, 200, std::string(300, 'b')), entry(70003, 300, "")};
  return m;
}

Message snapshot() {
  Message m;
  m.kind = MessageKind::kSnapshot;
  m.from = NodeId{1};
  m.to = NodeId{2};
  m.term = Term{5};
  m.snapshot = SnapshotMeta{Index{1ULL << 40}, Term{4}, conf()};
  return m;
}

Message response() {
  Message m;
  m.kind = MessageKind::kAppendResponse;
  m.from = NodeId{1};
  m.to = NodeId{2};
  m.term = Term{5};
  m.index = Index{9};
  m.reject = true;
  m.reject_hint = Index{4};
  m.log_term = Term{3};
  return m;
}

Message read() {
  Message m;
  m.kind = MessageKind::kReadIndex;
  m.from = NodeId{1};
  m.to = NodeId{2};
  m.term = Term{5};
  m.round = Round{77};
  m.forced = true;
  m.read_mode = ReadMode::kLease;
  m.read_context = UINT64_MAX;
  return m;
}

std::vector<Message> samples() { return {append(), snapshot(), response(), read()}; }

TEST(RaftWire, MessagesRoundTrip) {
  for (const Message& message : samples()) {
    const auto decoded = decode_message(encode(message));
    ASSERT_TRUE(decoded) << decoded.error().detail;
    EXPECT_EQ(*decoded, message);
  }
}

TEST(RaftWire, EveryKindRoundTrips) {
  for (std::uint64_t kind = 1; kind <= 12; ++kind) {
    Message message;
    message.kind = static_cast<MessageKind>(kind);
    message.from = NodeId{1};
    message.to = NodeId{2};
    if (message.kind == MessageKind::kSnapshot) message.snapshot.emplace();
    const auto decoded = decode_message(encode(message));
    ASSERT_TRUE(decoded) << to_string(message.kind);
    EXPECT_EQ(*decoded, message);
    EXPECT_STRNE(to_string(message.kind), "?");
  }
}

TEST(RaftWire, RecordsRoundTrip) {
  const Entry e = entry(5, 3, "payload", EntryKind::kConfChange);
  EXPECT_EQ(*decode_entry(encode(e)), e);
  const HardState hard{Term{9}, NodeId{3}, Index{1000}};
  EXPECT_EQ(*decode_hard_state(encode(hard)), hard);
  EXPECT_EQ(*decode_conf_state(encode(conf())), conf());
  const SnapshotMeta meta{Index{4}, Term{2}, conf()};
  EXPECT_EQ(*decode_snapshot_meta(encode(meta)), meta);
  const ConfChange change{Transition::kJointExplicit,
                          {{ConfChangeKind::kAddLearner, NodeId{4}}, {ConfChangeKind::kRemove, NodeId{2}}},
                          "10.0.0.1:7947"};
  EXPECT_EQ(*decode_conf_change(encode(change)), change);
  EXPECT_EQ(*decode_conf_change(encode(ConfChange{})), ConfChange{});
}

// What we write is plain msgpack: any implementation can read it.
TEST(RaftWire, IsMsgpack) {
  const std::string bytes = encode(append());
  const auto object = msgpack::unpack(bytes.data(), bytes.size());
  ASSERT_EQ(object->type, msgpack::type::ARRAY);
  EXPECT_EQ(object->via.array.size, 16u);
  EXPECT_EQ(object->via.array.ptr[0].as<std::uint64_t>(), kWireVersion);
  EXPECT_EQ(object->via.array.ptr[2].as<std::uint64_t>(), UINT64_MAX);
}

TEST(RaftWire, TruncatedAtEveryByte) {
  for (const Message& message : samples()) {
    const std::string bytes = encode(message);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto decoded = decode_message(std::string_view(bytes).substr(0, size));
      ASSERT_FALSE(decoded) << "cut at " << size;
      EXPECT_EQ(decoded.error().code, Errc::kTruncated) << "cut at " << size;
    }
  }
}

TEST(RaftWire, TrailingBytesAreMalformed) {
  EXPECT_EQ(decode_message(encode(append()) + "x").error().code, Errc::kMalformed);
}

// Whatever one byte is changed to: an error, or a message that encodes and decodes again.
TEST(RaftWire, EveryByteMutatedToEveryValue) {
  for (const Message& message : samples()) {
    const std::string bytes = encode(message);
    for (std::size_t at = 0; at < std::min<std::size_t>(bytes.size(), 120); ++at) {
      for (int value = 0; value < 256; ++value) {
        std::string mutated = bytes;
        mutated[at] = static_cast<char>(value);
        const auto decoded = decode_message(mutated);
        if (!decoded) continue;
        const auto again = decode_message(encode(*decoded));
        ASSERT_TRUE(again);
        ASSERT_EQ(*again, *decoded);
      }
    }
  }
}

TEST(RaftWire, RandomBytesNeverCrash) {
  std::mt19937_64 random(20240601);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes(random() % 64, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (!bytes.empty() && i % 2 == 0) bytes[0] = static_cast<char>(0xdc);
    static_cast<void>(decode_message(bytes));
    static_cast<void>(decode_conf_change(bytes));
    static_cast<void>(decode_snapshot_meta(bytes));
    static_cast<void>(decode_entry(bytes));
  }
}

TEST(RaftWire, ClaimsOfGreatSizesReserveNothing) {
  std::string bytes = encode(append());
  const std::size_t entries_at = bytes.find(static_cast<char>(0x93));  // array of three entries
  ASSERT_NE(entries_at, std::string::npos);
  bytes.replace(entries_at, 1, std::string("\xdd\x00\x00\xff\xff", 5));
  EXPECT_EQ(decode_message(bytes).error().code, Errc::kTruncated);
  bytes.replace(entries_at, 5, std::string("\xdd\xff\xff\xff\xff", 5));
  EXPECT_EQ(decode_message(bytes).error().code, Errc::kTooLarge);
}

TEST(RaftWire, FrameOverTheBoundIsRefusedUnread) {
  EXPECT_EQ(decode_message(std::string(kFrameBytesMax + 1, '\x90')).error().code, Errc::kTooLarge);
}

TEST(RaftWire, EntryOverTheBoundIsRefused) {
  const Entry large = entry(1, 1, std::string(kEntryBytesMax + 1, 'x'));
  EXPECT_EQ(decode_entry(encode(large)).error().code, Errc::kTooLarge);
  const Entry largest = entry(1, 1, std::string(kEntryBytesMax, 'x'));
  EXPECT_TRUE(decode_entry(encode(largest)));
}

TEST(RaftWire, UnknownVersionAndKind) {
  std::string bytes = encode(append());
  ASSERT_EQ(bytes.substr(0, 5), std::string("\xdc\x00\x10\x01\x01", 5));  // array of 16, version, kind
  bytes[3] = 9;
  EXPECT_EQ(decode_message(bytes).error().code, Errc::kUnknownVersion);
  bytes[3] = 1;
  bytes[4] = 14;
  EXPECT_EQ(decode_message(bytes).error().code, Errc::kUnknownKind);
  bytes[4] = 0;
  EXPECT_EQ(decode_message(bytes).error().code, Errc::kUnknownKind);
}

// A node that measures its disk says so behind the fields that every message has; one that does not sends none of it.
TEST(RaftWire, DiskFiguresRideOnHeartbeatAnswersOnly) {
  Message answer;
  answer.kind = MessageKind::kHeartbeatResponse;
  answer.from = NodeId{2};
  answer.to = NodeId{1};
  answer.term = Term{4};
  answer.round = Round{7};
  const std::string without = encode(answer);
  EXPECT_EQ(decode_message(without)->disk, std::nullopt);
  answer.disk = DiskTimes{std::chrono::microseconds(170), std::chrono::microseconds(90'000)};
  EXPECT_EQ(*decode_message(encode(answer)), answer);
  EXPECT_GT(encode(answer).size(), without.size());
  answer.kind = MessageKind::kAppendHeard;
  EXPECT_EQ(decode_message(encode(answer))->disk, std::nullopt);
  // Whatever a peer claims, a duration stays one that can be added to a clock.
  answer.kind = MessageKind::kHeartbeatResponse;
  answer.disk->fsync_p99 = std::chrono::microseconds::max();
  EXPECT_EQ(decode_message(encode(answer))->disk->fsync_p99, std::chrono::hours(1));
}

// Later versions may add fields: what follows the known ones is passed over, of whatever type it is.
TEST(RaftWire, LongerArraysAreTaken) {
  const HardState hard{Term{9}, NodeId{3}, Index{10}};
  msgpack::sbuffer buffer;
  msgpack::packer<msgpack::sbuffer> packer(buffer);
  packer.pack_array(11);
  for (std::uint64_t value : {std::uint64_t{1}, std::uint64_t{9}, std::uint64_t{3}, std::uint64_t{10}}) packer.pack(value);
  packer.pack(std::map<std::string, std::vector<int>>{{"more", {1, -2, 300}}, {std::string(40, 'k'), {-70000}}});
  packer.pack(1.5);
  packer.pack(std::string(300, 's'));
  packer.pack_ext(5, 3);
  packer.pack_ext_body("12345", 5);
  packer.pack_ext(4, 7);
  packer.pack_ext_body("1234", 4);
  packer.pack_nil();
  packer.pack(std::vector<std::vector<bool>>{{true}, {false, true}});
  const auto decoded = decode_hard_state(std::string_view(buffer.data(), buffer.size()));
  ASSERT_TRUE(decoded) << decoded.error().detail;
  EXPECT_EQ(*decoded, hard);
}

TEST(RaftWire, NestingWithoutEndIsNoRecursion) {
  const HardState hard{Term{1}, NodeId{1}, Index{1}};
  std::string bytes = encode(hard);
  bytes[0] = static_cast<char>(0x95);  // one more field
  bytes += std::string(1 << 20, '\x91');
  EXPECT_EQ(decode_hard_state(bytes).error().code, Errc::kTruncated);
}

TEST(RaftWire, NumbersInEverySizeAreTaken) {
  msgpack::sbuffer buffer;
  msgpack::packer<msgpack::sbuffer> packer(buffer);
  packer.pack_array(4);
  packer.pack(1U);          // fixint
  packer.pack(200U);        // 1 byte
  packer.pack(60000U);      // 2 bytes
  packer.pack(4000000000U); // 4 bytes
  const auto decoded = decode_hard_state(std::string_view(buffer.data(), buffer.size()));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->commit, Index{4000000000U});
}

void expect_malformed(Message message, const char* why) {
  EXPECT_EQ(decode_message(encode(message)).error().code, Errc::kMalformed) << why;
}

TEST(RaftWire, MessagesThatNoCorrectNodeSends) {
  Message gap = append();
  gap.entries[1].index = Index{70005};
  expect_malformed(gap, "gap");
  Message back = append();
  back.entries[2].term = Term{100};
  expect_malformed(back, "terms go back");
  Message future = append();
  future.entries[2].term = Term{301};
  expect_malformed(future, "entry newer than its message");
  Message nobody = append();
  nobody.from = kNobody;
  expect_malformed(nobody, "from nobody");
  Message entries_elsewhere = append();
  entries_elsewhere.kind = MessageKind::kHeartbeat;
  expect_malformed(entries_elsewhere, "heartbeat with entries");
  Message no_snapshot = snapshot();
  no_snapshot.snapshot.reset();
  expect_malformed(no_snapshot, "snapshot without snapshot");
  Message unsorted = snapshot();
  unsorted.snapshot->conf.voters = {NodeId{2}, NodeId{1}};
  expect_malformed(unsorted, "unsorted");
  Message twice = snapshot();
  twice.snapshot->conf.voters = {NodeId{2}, NodeId{2}};
  expect_malformed(twice, "twice");
  Message zero = snapshot();
  zero.snapshot->conf.voters = {kNobody};
  expect_malformed(zero, "node 0");
}

TEST(RaftWire, WrongShape) {
  EXPECT_EQ(decode_hard_state("\x93\x01\x02\x03").error().code, Errc::kMalformed);    // too short
  EXPECT_EQ(decode_hard_state("\xc0").error().code, Errc::kMalformed);               // nil
  EXPECT_EQ(decode_hard_state("\x94\x01\x02\xc2\x03").error().code, Errc::kMalformed);  // bool as number
  EXPECT_EQ(decode_hard_state("").error().code, Errc::kTruncated);
}

}  // namespace
}  // namespace store::raft
