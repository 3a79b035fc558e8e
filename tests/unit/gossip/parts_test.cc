// Address, ids, tags, settings, errors: the small values.
#include <gtest/gtest.h>

#include <set>

#include "gossip/config.h"
#include "gossip/output.h"
#include "gossip/snapshot.h"
#include "tests/unit/gossip/cluster.h"

namespace gossip {
namespace {

using namespace std::chrono_literals;

TEST(Errors, EveryEnumeratorHasItsOwnName) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Errc::kInvalidArgument); ++i) names.insert(to_string(Errc(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Errc::kInvalidArgument) + 1);
  EXPECT_FALSE(names.contains("unknown"));
  names.clear();
  for (int i = 0; i < static_cast<int>(Drop::kCount); ++i) names.insert(to_string(Drop(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Drop::kCount));
  names.clear();
  for (int i = 0; i <= static_cast<int>(EventKind::kLeaveDone); ++i) names.insert(to_string(EventKind(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(EventKind::kLeaveDone) + 1);
}

TEST(Address, ReadsWhatItWrites) {
  for (const char* text : {"127.0.0.1:7946", "0.0.0.0:1", "255.255.255.255:65535", "[::1]:7946", "[::]:80",
                           "[fe80::1:2]:1", "[1:2:3:4:5:6:7:8]:9", "[2001:db8::1:0:0:1]:443", "[1:0:2::]:5"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
  }
  EXPECT_EQ(Address::parse("[::ffff:10.0.0.1]:5")->to_string(), "10.0.0.1:5") << "one peer, one address";
  EXPECT_EQ(Address::parse("[2001:DB8:0:0:1:0:0:1]:1")->to_string(), "[2001:db8::1:0:0:1]:1");
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text : {"",
                           ":",
                           "1.2.3.4",
                           "1.2.3:5",
                           "1.2.3.4.5:6",
                           "256.1.1.1:5",
                           "1.2.3.4:65536",
                           "1.2.3.4:",
                           "a.b.c.d:1",
                           "::1:7946",
                           "[::1]",
                           "[::1:7946",
                           "[1::2::3]:4",
                           "[1:2:3:4:5:6:7]:8",
                           "[1:2:3:4:5:6:7:8:9]:1",
                           "[12345::]:1",
                           "[::1.2.3]:4",
                           "[1:]:5",
                           "localhost:7946",
                           "1.2.3.4:+5",
                           "[fe80::1%eth0]:1",
                           "-1.2.3.4:5"}) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, Errc::kInvalidArgument);
  }
  const std::array<std::uint8_t, 5> five{};
  EXPECT_FALSE(Address::from_bytes(five, 1));
}

TEST(Address, HostKeyDropsThePort) {
  const auto a = Address::ipv4(1, 2, 3, 4, 5), b = Address::ipv4(1, 2, 3, 4, 6);
  EXPECT_NE(a, b);
  EXPECT_NE(AddressHash{}(a), AddressHash{}(b));
  EXPECT_EQ(a.without_port(), b.without_port());
  EXPECT_TRUE(Address{}.is_none());
}

TEST(MemberId, ReadsWhatItWrites) {
  const auto id = MemberId::parse("00112233445566778899aabbccddeeff");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->to_string(), "00112233445566778899aabbccddeeff");
  for (const char* text : {"", "0", "00112233445566778899AABBCCDDEEFF", "00112233445566778899aabbccddeef",
                           "zz112233445566778899aabbccddeeff"}) {
    EXPECT_FALSE(MemberId::parse(text)) << text;
  }
}

TEST(Rank, GenerationGoesBeforeIncarnation) {
  EXPECT_LT((Rank{Generation{1}, Incarnation{9}}), (Rank{Generation{2}, Incarnation{0}}));
  EXPECT_LT((Rank{Generation{1}, Incarnation{1}}), (Rank{Generation{1}, Incarnation{2}}));
}

TEST(Tags, HigherVersionWinsAndRemovedStaysRemoved) {
  TagSet tags;
  EXPECT_TRUE(*tags.merge({"role", "standby", 1, false}));
  EXPECT_TRUE(*tags.merge({"role", "primary", 3, false}));
  EXPECT_FALSE(*tags.merge({"role", "standby", 2, false}));
  EXPECT_EQ(tags.get("role"), "primary");
  EXPECT_FALSE(*tags.merge({"role", "primary", 4, false})) << "newer but the same to see";
  EXPECT_TRUE(*tags.merge({"role", "ignored", 5, true}));
  EXPECT_EQ(tags.get("role"), std::nullopt);
  EXPECT_FALSE(*tags.merge({"role", "primary", 4, false}));
  EXPECT_EQ(tags.get("role"), std::nullopt);
  EXPECT_FALSE(*tags.merge({"ghost", "", 1, true})) << "removed before it was ever seen";
  EXPECT_EQ(tags.version_max(), 5u);
}

TEST(Tags, AreBounded) {
  TagSet tags;
  EXPECT_EQ(tags.merge({"", "x", 1, false}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(tags.merge({std::string(65, 'k'), "x", 1, false}).error().code, Errc::kInvalidArgument);
  EXPECT_TRUE(tags.merge({"k", std::string(511, 'x'), 1, false}));
  EXPECT_EQ(tags.merge({"l", "", 1, false}).error().code, Errc::kTooBig);
  EXPECT_TRUE(tags.merge({"k", "small", 2, false}));
  EXPECT_EQ(tags.bytes(), 6u);
  for (int i = 0; i < 63; ++i) EXPECT_TRUE(tags.merge({"t" + std::to_string(i), "", 1, false}));
  EXPECT_EQ(tags.merge({"one more", "", 1, false}).error().code, Errc::kTooBig);
}

Config good() {
  Config config;
  config.id.bytes[0] = 1;
  config.name = "n";
  config.advertise = Address::ipv4(127, 0, 0, 1, 1);
  config.cluster = "c";
  return config;
}
TEST(Config, EveryFieldIsChecked) {
  EXPECT_TRUE(validate(good()));
  const std::vector<std::function<void(Config&)>> faults = {[](Config& c) { c.id = {}; },
                                                            [](Config& c) { c.name = ""; },
                                                            [](Config& c) { c.name = "a b"; },
                                                            [](Config& c) { c.advertise = {}; },
                                                            [](Config& c) { c.cluster = ""; },
                                                            [](Config& c) { c.probe_interval = 5ms; },
                                                            [](Config& c) { c.probe_timeout_min = 600ms; },
                                                            [](Config& c) { c.probe_timeout_max = 2s; },
                                                            [](Config& c) { c.probe_verdict_min = 0ms; },
                                                            [](Config& c) { c.refused_min = 0ms; },
                                                            [](Config& c) { c.silent_per_decade = -1ms; },
                                                            [](Config& c) { c.stalled_patience = 3s; },
                                                            [](Config& c) { c.gossip_interval = 0ms; },
                                                            [](Config& c) { c.heal_backoff_max = 1ms; },
                                                            [](Config& c) { c.stream_probe_deadline = 0ms; },
                                                            [](Config& c) { c.leave_timeout = 0ms; },
                                                            [](Config& c) { c.tombstone_keep = 0h; },
                                                            [](Config& c) { c.indirect_probes = 9; },
                                                            [](Config& c) { c.probes_outstanding_max = 0; },
                                                            [](Config& c) { c.health_score_max = 0; },
                                                            [](Config& c) { c.verifiers = 17; },
                                                            [](Config& c) { c.suspicion_stretch = 0; },
                                                            [](Config& c) { c.gossip_peers = 0; },
                                                            [](Config& c) { c.retransmit_factor = 0; },
                                                            [](Config& c) { c.urgent_per_second = 0; },
                                                            [](Config& c) { c.datagram_bytes_max = 639; },
                                                            [](Config& c) { c.datagram_bytes_max = 8901; },
                                                            [](Config& c) { c.members_max = 16385; },
                                                            [](Config& c) { c.new_members_per_second = 0; },
                                                            [](Config& c) { c.broadcasts_max = 1; },
                                                            [](Config& c) { c.inbound_streams_max = 0; },
                                                            [](Config& c) { c.sync_bytes_max = 1; }};
  for (std::size_t i = 0; i < faults.size(); ++i) {
    Config config = good();
    faults[i](config);
    const auto checked = validate(config);
    ASSERT_FALSE(checked) << i;
    EXPECT_EQ(checked.error().code, Errc::kInvalidArgument);
    EXPECT_NE(checked.error().detail.find(':'), std::string::npos) << "names the field";
  }
}

Snapshot sample() {
  Snapshot snapshot;
  snapshot.id.bytes.fill(3);
  snapshot.generation = Generation{1'700'000'000'000};
  for (std::uint8_t i = 1; i < 20; ++i) {
    Snapshot::Peer peer;
    peer.name = "n" + std::to_string(i);
    peer.id.bytes.fill(i);
    peer.address = i % 2 == 0 ? Address::ipv4(10, 0, 0, i, 7946) : *Address::parse("[fe80::9]:7946");
    peer.rank = {Generation{i * 1000u}, Incarnation{i}};
    snapshot.peers.push_back(peer);
  }
  return snapshot;
}
TEST(Snapshot, SurvivesTheRoundTrip) {
  const auto bytes = encode_snapshot(sample());
  const auto read = decode_snapshot(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(encode_snapshot(*read), bytes);
  EXPECT_EQ(read->peers.size(), 19u);
  EXPECT_EQ(read->peers[0].address.to_string(), "[fe80::9]:7946");
  EXPECT_LE(bytes.size(), 19u * 64 + 64);
}

TEST(Snapshot, EveryFlippedBitAndTruncationIsSeen) {
  const auto bytes = encode_snapshot(sample());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto altered = bytes;
    altered[i] ^= std::byte{4};
    const auto read = decode_snapshot(altered);
    ASSERT_FALSE(read) << i;
    EXPECT_EQ(read.error().code, i < 4 ? Errc::kUnknownVersion : Errc::kChecksum);
    EXPECT_FALSE(decode_snapshot(std::span(bytes).first(i)));
  }
  EXPECT_EQ(decode_snapshot({}).error().code, Errc::kTruncated);
  EXPECT_EQ(decode_snapshot(std::vector<std::byte>(300'000)).error().code, Errc::kTooBig);
}

TEST(Snapshot, RightSumAroundNonsenseIsMalformed) {
  auto empty = encode_snapshot({MemberId{}, Generation{}, {}});  // a zero id
  EXPECT_EQ(decode_snapshot(empty).error().code, Errc::kMalformed);
}

}  // namespace
}  // namespace gossip
