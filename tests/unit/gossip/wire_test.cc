#include "gossip/wire.h"

#include <gtest/gtest.h>

#include "gossip/broadcast_queue.h"
#include "tests/unit/gossip/cluster.h"

namespace gossip {
namespace {

MemberId id_of(std::uint8_t n) {
  MemberId id;
  id.bytes.fill(n);
  return id;
}

std::vector<Message> one_of_each() {
  const Rank rank{Generation{1'700'000'000'123}, Incarnation{7}};
  const Address v4 = Address::ipv4(127, 0, 0, 1, 7946);
  const Address v6 = *Address::parse("[fe80::1:2]:65535");
  SyncRequest request;
  for (std::size_t i = 0; i < kBuckets; ++i) request.buckets[i] = i * 0x0101010101010101u;
  return {Ping{1, 2},
          Ack{0xffffffff, ~0ull, 8},
          Nack{9},
          PingReq{5, id_of(2), v6, 300},
          RelayAck{5, id_of(2)},
          Pull{id_of(3), true},
          LeaveAck{},
          request,
          SyncOffer{~0ull},
          SyncDone{},
          Alive{id_of(4), rank, "trader-1", v4, 1, 3, {{"role", "primary", 4, false}, {"zone", "", 2, true}}},
          Suspect{id_of(4), rank, id_of(5), Evidence::kStalled},
          Dead{id_of(4), rank, Evidence::kRefused, {id_of(5), id_of(6), id_of(7)}},
          Left{id_of(4), rank},
          Tags{id_of(4), rank.generation, true, {{"load", "17", 9, false}}},
          Tombstone{id_of(4), rank, MemberState::kLeft, "trader-1", v6, 3600}};
}

std::vector<std::byte> body_of(const std::vector<Message>& messages, const Link& link = {}) {
  std::vector<std::byte> bytes;
  BodyWriter writer(bytes, 16000, id_of(1), link);
  for (const auto& message : messages) EXPECT_TRUE(writer.add(message));
  writer.finish();
  return bytes;
}

TEST(Wire, EveryMessageSurvivesTheRoundTrip) {
  const auto messages = one_of_each();
  const auto packet = decode_body(body_of(messages, {11, 12}));
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->sender, id_of(1));
  EXPECT_EQ(packet->link.echo, 11u);
  EXPECT_EQ(packet->link.offer, 12u);
  ASSERT_EQ(packet->messages.size(), messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(packet->messages[i].index(), messages[i].index());
    EXPECT_EQ(encode(packet->messages[i]), encode(messages[i])) << i;
  }
  const auto& alive = std::get<Alive>(packet->messages[10]);
  EXPECT_EQ(alive.name, "trader-1");
  EXPECT_EQ(alive.address.to_string(), "127.0.0.1:7946");
  EXPECT_EQ(alive.protocol_max, 3);
  EXPECT_TRUE(alive.tags[1].removed);
  EXPECT_EQ(std::get<Tombstone>(packet->messages[15]).state, MemberState::kLeft);
}

// The format is final: these bytes may never change for version 1.
TEST(Wire, GoldenBytes) {
  const auto hex = [](const std::vector<std::byte>& bytes) {
    std::string text;
    for (const auto b : bytes) {
      char two[3];
      std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(b));
      text += two;
    }
    return text;
  };
  EXPECT_EQ(hex(encode(Ping{258, 1})), "9301cd0102cf0000000000000001");
  EXPECT_EQ(hex(encode(Suspect{id_of(1), {Generation{1}, Incarnation{2}}, id_of(3), Evidence::kSilent})),
            "9621c41001010101010101010101010101010101"
            "0102"
            "c41003030303030303030303030303030303"
            "02");
  EXPECT_EQ(hex(encode(Tags{id_of(1), Generation{1}, true, {{"a", "b", 3, false}, {"c", "", 4, true}}})),
            "9524c41001010101010101010101010101010101"
            "01"
            "01"
            "96a161a16203a163c004");
  EXPECT_EQ(hex(encode(Left{id_of(2), {Generation{128}, Incarnation{0}}})),
            "9423c41002020202020202020202020202020202cc8000");
  std::vector<std::byte> header;
  encode_header({1, true, KeyId{2}, SessionId{0x0102030405060708}, 9}, header);
  EXPECT_EQ(hex(header), "0101000201020304050607080000000000000009");
  EXPECT_EQ(hex(body_of({}, {})), "dc0002c41001010101010101010101010101010101c0");
}

TEST(Wire, AnIdlePingAndAckFitTheirBudget) {
  EXPECT_LE(kHeaderBytes + body_of({Ping{0xffffffff, ~0ull}}).size() + kSealTagBytes, 75u);
  EXPECT_LE(kHeaderBytes + body_of({Ack{0xffffffff, ~0ull, 7}}).size() + kSealTagBytes, 75u);
  EXPECT_LE(encode(Tags{id_of(1), Generation{1'700'000'000'000}, true, {{"load", "17", 900, false}}}).size(), 45u);
}

TEST(Wire, TruncationAtEveryByteIsRefused) {
  const auto body = body_of(one_of_each(), {1, 2});
  for (std::size_t size = 0; size < body.size(); ++size) {
    const auto packet = decode_body(std::span(body).first(size));
    ASSERT_FALSE(packet) << size;
    EXPECT_EQ(packet.error().code, Errc::kTruncated) << size;
  }
  std::vector<std::byte> header;
  encode_header({}, header);
  for (std::size_t size = 0; size < header.size(); ++size) {
    EXPECT_EQ(decode_header(std::span(header).first(size)).error().code, Errc::kTruncated);
  }
}

TEST(Wire, BytesBehindTheEndAreRefused) {
  auto body = body_of({Ping{1, 2}});
  body.push_back(std::byte{0xc0});
  EXPECT_EQ(decode_body(body).error().code, Errc::kMalformed);
}

TEST(Wire, MutationsNeverCrashAndWhatDecodesEncodesAgain) {
  test::Chance chance(99);
  const auto original = body_of(one_of_each(), {1, 2});
  std::size_t decoded = 0;
  for (int round = 0; round < 20000; ++round) {
    auto body = original;
    for (std::uint64_t i = 0, n = 1 + chance(4); i < n; ++i)
      body[chance(body.size())] = static_cast<std::byte>(chance(256));
    const auto packet = decode_body(body);
    if (!packet) continue;
    ++decoded;
    for (const auto& message : packet->messages) EXPECT_FALSE(encode(message).empty());
  }
  EXPECT_GT(decoded, 0u);
}

TEST(Wire, RandomBytesNeverCrash) {
  test::Chance chance(100);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> body(chance(200));
    for (auto& b : body) b = static_cast<std::byte>(chance(256));
    (void)decode_body(body);
    (void)decode_header(body);
  }
}

TEST(Wire, UnknownKindsAndFurtherFieldsAreSkipped) {
  auto ping = encode(Ping{1, 2});
  ping[0] = std::byte{0x95};  // two fields more, of a later version
  ping.push_back(std::byte{0x2a});
  ping.push_back(std::byte{0xc0});
  const std::vector<std::byte> unknown{std::byte{0x92}, std::byte{0x63}, std::byte{0xa1}, std::byte{'x'}};
  const std::vector<std::byte> reserved{std::byte{0x91}, std::byte{38}};                                    // vouch
  const std::vector<std::byte> beyond{std::byte{0x91}, std::byte{0xcd}, std::byte{0x01}, std::byte{0x01}};  // 257
  std::vector<std::byte> body;
  BodyWriter writer(body, 1000, id_of(1), {});
  for (const auto& message : {unknown, ping, reserved, beyond}) ASSERT_TRUE(writer.add(message));
  writer.finish();
  const auto packet = decode_body(body);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->unknown_kinds, 3u);
  ASSERT_EQ(packet->messages.size(), 1u);
  EXPECT_EQ(std::get<Ping>(packet->messages[0]).sequence, 1u);
}

void expect_malformed(const Message& message) {
  const auto packet = decode_body(body_of({message}));
  ASSERT_FALSE(packet);
  EXPECT_EQ(packet.error().code, Errc::kMalformed);
}
TEST(Wire, FieldsOutOfRangeAreRefused) {
  const Rank rank{Generation{1}, Incarnation{1}};
  const Address address = Address::ipv4(1, 2, 3, 4, 5);
  expect_malformed(Suspect{id_of(0), rank, id_of(1), Evidence::kSilent});
  expect_malformed(Suspect{id_of(1), rank, id_of(2), Evidence{0}});
  expect_malformed(Suspect{id_of(1), rank, id_of(2), Evidence{4}});
  expect_malformed(Alive{id_of(1), rank, "", address, 1, 1, {}});
  expect_malformed(Alive{id_of(1), rank, "white space", address, 1, 1, {}});
  expect_malformed(Alive{id_of(1), rank, std::string(65, 'x'), address, 1, 1, {}});
  expect_malformed(Alive{id_of(1), rank, "x", Address{}, 1, 1, {}});
  expect_malformed(Alive{id_of(1), rank, "x", address, 1, 1, {{"", "v", 1, false}}});
  expect_malformed(Alive{id_of(1), rank, "x", address, 1, 1, {{"k", "v", 0, false}}});
  expect_malformed(Alive{id_of(1), rank, "x", address, 1, 1, {{"k", std::string(513, 'v'), 1, false}}});
  expect_malformed(Alive{id_of(1), rank, "x", address, 1, 1, std::vector<Tag>(65, {"k", "v", 1, false})});
  expect_malformed(Dead{id_of(1), rank, Evidence::kSilent, std::vector<MemberId>(kAccusersMax + 1, id_of(2))});
}

TEST(Wire, DeepNestingAndHugeCountsAreRefused) {
  std::vector<std::byte> deep(20, std::byte{0x91});
  deep.push_back(std::byte{0xc0});
  EXPECT_EQ(decode_body(deep).error().code, Errc::kTooBig);
  const std::vector<std::byte> huge{std::byte{0xdd}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                                    std::byte{0xff}};
  EXPECT_EQ(decode_body(huge).error().code, Errc::kTooBig);
  const std::vector<std::byte> map{std::byte{0x81}, std::byte{0xc0}, std::byte{0xc0}};
  EXPECT_EQ(decode_body(map).error().code, Errc::kTooBig);
  const std::vector<std::byte> reserved{std::byte{0xc1}};
  EXPECT_EQ(decode_body(reserved).error().code, Errc::kMalformed);
}

TEST(Wire, HeadersOfOtherVersionsAndFlagsAreRefused) {
  std::vector<std::byte> header;
  encode_header({}, header);
  header[0] = std::byte{2};
  EXPECT_EQ(decode_header(header).error().code, Errc::kUnknownVersion);
  header[0] = std::byte{1};
  header[1] = std::byte{2};
  EXPECT_EQ(decode_header(header).error().code, Errc::kMalformed);
}

TEST(BodyWriter, NeverPassesItsBudget) {
  std::vector<std::byte> body;
  BodyWriter writer(body, 100, id_of(1), {1, 2});
  int added = 0;
  while (writer.add(Ping{1, 2})) ++added;
  writer.finish();
  EXPECT_GT(added, 2);
  EXPECT_LE(body.size(), 100u);
  EXPECT_EQ(decode_body(body)->messages.size(), static_cast<std::size_t>(added));
}

TEST(BodyWriter, StopsBelowTheDecodersCount) {
  std::vector<std::byte> body;
  BodyWriter writer(body, 1 << 20, id_of(1), {});
  while (writer.add(Message{LeaveAck{}})) {
  }
  writer.finish();
  const auto packet = decode_body(body);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->messages.size(), kMessagesMax - 2);
}

}  // namespace
}  // namespace gossip
