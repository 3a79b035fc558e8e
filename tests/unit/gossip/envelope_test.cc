#include "gossip/envelope.h"

#include <gtest/gtest.h>

#include "tests/unit/gossip/cluster.h"

namespace gossip {
namespace {

using namespace std::chrono_literals;
const Address kA = Address::ipv4(10, 0, 0, 1, 7946);
const Address kB = Address::ipv4(10, 0, 0, 2, 7946);
const TimePoint kNow{1h};

struct Side {
  explicit Side(std::uint64_t seed, std::uint64_t secret = 1, std::string label = "c")
      : aead(std::make_unique<support::ToyAead>(secret)),
        chance(std::make_shared<test::Chance>(seed)),
        envelope([c = chance](std::uint64_t bound) { return (*c)(bound); }, aead.get(), std::move(label)) {}
  std::vector<std::byte> packet(const std::string& text) {
    std::vector<std::byte> bytes;
    envelope.begin(bytes);
    for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
    envelope.seal(bytes, 0);
    return bytes;
  }
  std::unique_ptr<support::ToyAead> aead;
  std::shared_ptr<test::Chance> chance;
  Envelope envelope;
};

std::string text_of(const Envelope::Opened& opened) {
  std::string text;
  for (const auto b : opened.body) text += static_cast<char>(b);
  return text;
}

Errc open_error(Side& side, const std::vector<std::byte>& packet, const Address& from = kA) {
  const auto opened = side.envelope.open(kNow, from, packet);
  return opened ? Errc::kInvalidArgument : opened.error().code;
}

TEST(Envelope, WhatOneSealsTheOtherOpens) {
  Side a(1), b(2);
  const auto opened = b.envelope.open(kNow, kA, a.packet("hello"));
  ASSERT_TRUE(opened);
  EXPECT_EQ(text_of(*opened), "hello");
  EXPECT_EQ(b.aead->derived, 2u);  // its own and a's
  ASSERT_TRUE(b.envelope.open(kNow, kA, a.packet("again")));
  EXPECT_EQ(b.aead->derived, 2u) << "one derivation per session, not per packet";
}

TEST(Envelope, WrongKeyLabelKeyIdAndAlteredBytesAreRefused) {
  Side a(1), wrong_key(2, 99), other_cluster(3, 1, "d"), b(4);
  const auto packet = a.packet("hello");
  EXPECT_EQ(open_error(wrong_key, packet), Errc::kNotAuthentic);
  EXPECT_EQ(open_error(other_cluster, packet), Errc::kNotAuthentic);
  for (std::size_t i = 0; i < packet.size(); ++i) {
    auto altered = packet;
    altered[i] ^= std::byte{1};
    const auto code = open_error(b, altered, Address::ipv4(10, 1, 0, static_cast<std::uint8_t>(i), 1));
    const auto expected = i == 0                           ? Errc::kUnknownVersion
                          : i == 1                         ? Errc::kPlaintextMixed
                          : i < 4                          ? Errc::kUnknownKey
                          : (i >= 12 && i < 16) || i == 19 ? Errc::kMalformed
                                                           : Errc::kNotAuthentic;
    EXPECT_EQ(code, expected) << i;
  }
  for (std::size_t size = 0; size < packet.size(); ++size) {
    const auto from = Address::ipv4(10, 2, 0, static_cast<std::uint8_t>(size), 1);
    EXPECT_FALSE(b.envelope.open(kNow, from, std::span(packet).first(size)));
  }
  EXPECT_TRUE(b.envelope.open(kNow, kA, packet));
}

TEST(Envelope, EachPacketOpensOnce) {
  Side a(1), b(2);
  std::vector<std::vector<std::byte>> packets;
  for (int i = 0; i < 2000; ++i) packets.push_back(a.packet(std::to_string(i)));
  EXPECT_TRUE(b.envelope.open(kNow, kA, packets[1500]));
  EXPECT_EQ(open_error(b, packets[1500]), Errc::kReplayed);
  EXPECT_TRUE(b.envelope.open(kNow, kA, packets[1400]));
  EXPECT_EQ(open_error(b, packets[1400]), Errc::kReplayed);
  EXPECT_EQ(open_error(b, packets[1500 - 1024]), Errc::kReplayed) << "behind the window";
  EXPECT_TRUE(b.envelope.open(kNow, kA, packets[1500 - 1023]));
  EXPECT_TRUE(b.envelope.open(kNow, kA, packets[1999]));
}

TEST(Envelope, PlaintextAndSealsNeverMix) {
  Side sealed(1);
  Envelope plain([](std::uint64_t) { return 0; }, nullptr, "c");
  Envelope other([](std::uint64_t) { return 0; }, nullptr, "d");
  std::vector<std::byte> packet;
  plain.begin(packet);
  packet.push_back(std::byte{7});
  plain.seal(packet, 0);
  EXPECT_EQ(open_error(sealed, packet), Errc::kPlaintextMixed);
  EXPECT_EQ(plain.open(kNow, kA, sealed.packet("x")).error().code, Errc::kPlaintextMixed);
  EXPECT_EQ(other.open(kNow, kA, packet).error().code, Errc::kNotAuthentic) << "another cluster";
  ASSERT_TRUE(plain.open(kNow, kA, packet));
  EXPECT_TRUE(plain.admit(kA, SessionId{}, {}));
  packet[kHeaderBytes] ^= std::byte{1};
  EXPECT_EQ(plain.open(kNow, kB, packet).error().code, Errc::kNotAuthentic);
}

// gossip.md 5.11: an unseen session is not believed before it has echoed our cookie.
TEST(Envelope, SessionsAreConfirmedByEcho) {
  Side a(1), b(2);
  const Link first = a.envelope.link_to(kB);
  EXPECT_EQ(first.echo, 0u);
  EXPECT_NE(first.offer, 0u);
  auto at_b = b.envelope.open(kNow, kA, a.packet("ping"));
  EXPECT_FALSE(b.envelope.admit(kA, at_b->session, first));
  EXPECT_TRUE(b.envelope.owes_echo(kA));
  const Link second = b.envelope.link_to(kA);
  EXPECT_FALSE(b.envelope.owes_echo(kA));
  EXPECT_EQ(second.echo, first.offer);
  EXPECT_NE(second.offer, 0u);
  auto at_a = a.envelope.open(kNow, kB, b.packet("ack"));
  EXPECT_TRUE(a.envelope.admit(kB, at_a->session, second)) << "b answered our cookie: it lives";
  const Link third = a.envelope.link_to(kB);
  EXPECT_EQ(third.echo, second.offer);
  EXPECT_EQ(third.offer, 0u);
  at_b = b.envelope.open(kNow, kA, a.packet("data"));
  EXPECT_TRUE(b.envelope.admit(kA, at_b->session, third));
  const Link fourth = b.envelope.link_to(kA);
  EXPECT_EQ(fourth.offer, 0u);
  at_a = a.envelope.open(kNow, kB, b.packet("data"));
  EXPECT_TRUE(a.envelope.admit(kB, at_a->session, fourth));
  EXPECT_EQ(a.envelope.link_to(kB).echo, 0u) << "nothing owed any more";
}

TEST(Envelope, ARecordedSessionIsNotConfirmedByItsOldEcho) {
  Side a(1), b(2);
  const Link offer = b.envelope.link_to(kA);
  const auto hello = a.packet("hello");
  auto opened = b.envelope.open(kNow, kA, hello);
  EXPECT_TRUE(b.envelope.admit(kA, opened->session, {offer.offer, 0}));
  // b restarts and forgets; the attacker plays the recording, old echo and all.
  Side b2(3);
  (void)b2.envelope.link_to(kA);
  opened = b2.envelope.open(kNow, kA, hello);
  ASSERT_TRUE(opened);
  EXPECT_FALSE(b2.envelope.admit(kA, opened->session, {offer.offer, 0}));
  // And one that b itself forgot by age: the cookie was used up.
  for (std::uint64_t i = 0; i < 300; ++i) {
    Side stranger(100 + i);
    ASSERT_TRUE(b.envelope.open(kNow, kB, stranger.packet("x")));
  }
  opened = b.envelope.open(kNow, kA, hello);
  ASSERT_TRUE(opened) << "the session was forgotten, so it opens";
  EXPECT_FALSE(b.envelope.admit(kA, opened->session, {offer.offer, 0})) << "but it proves nothing";
}

TEST(Envelope, HeldPacketsAreBounded) {
  Side a(1), b(2);
  const auto opened = b.envelope.open(kNow, kA, a.packet("x"));
  const SessionId session = opened->session;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(b.envelope.hold(session, {kA, 0, {}}));
  EXPECT_FALSE(b.envelope.hold(session, {kA, 0, {}}));
  for (std::uint64_t other = 1; other <= 300; ++other) EXPECT_TRUE(b.envelope.hold(SessionId{other}, {kA, other, {}}));
  EXPECT_TRUE(b.envelope.release(session).empty()) << "the oldest went first";
  EXPECT_EQ(b.envelope.release(SessionId{300}).size(), 1u);
  EXPECT_TRUE(b.envelope.release(SessionId{300}).empty());
}

TEST(Envelope, TooManyForgeriesFromOneHostAreThrottled) {
  Side a(1), b(2), stranger(3, 99);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(open_error(b, stranger.packet("x"), kB), Errc::kNotAuthentic);
  const auto derived = b.aead->derived;
  EXPECT_EQ(open_error(b, stranger.packet("x"), kB), Errc::kThrottled);
  EXPECT_EQ(b.aead->derived, derived) << "no key is derived for a throttled host";
  EXPECT_TRUE(b.envelope.open(kNow, kA, a.packet("x"))) << "others are served";
  EXPECT_TRUE(b.envelope.open(kNow + 1s, kB, a.packet("y"))) << "and the host itself a second later";
}

TEST(Envelope, ANewSendingKeyStartsANewSession) {
  Side a(1), b(2);
  ASSERT_TRUE(b.envelope.open(kNow, kA, a.packet("old")));
  a.aead->add(2, 77);
  a.aead->use(2);
  const auto packet = a.packet("new");
  EXPECT_EQ(open_error(b, packet), Errc::kUnknownKey);
  b.aead->add(2, 77);
  EXPECT_TRUE(b.envelope.open(kNow, kA, packet));
}

TEST(ReplayWindow, ForgetsExactlyBehind1024) {
  ReplayWindow window;
  EXPECT_FALSE(window.is_fresh(0));
  window.mark(1);
  EXPECT_FALSE(window.is_fresh(1));
  window.mark(5000);
  EXPECT_FALSE(window.is_fresh(5000 - 1024));
  for (std::uint64_t i = 5000 - 1023; i < 5000; ++i) EXPECT_TRUE(window.is_fresh(i));
  window.mark(4500);
  window.mark(5001);
  EXPECT_FALSE(window.is_fresh(4500));
  EXPECT_TRUE(window.is_fresh(4501));
  EXPECT_TRUE(window.is_fresh(5002));
}

TEST(LruMap, ForgetsTheOldestAndOnlyGrows) {
  struct Hash {
    std::size_t operator()(int i) const { return static_cast<std::size_t>(i); }
  };
  LruMap<int, int, Hash> map(2);
  map.at(1) = 10;
  map.at(2) = 20;
  EXPECT_NE(map.find(1), nullptr);
  map.at(3) = 30;
  EXPECT_EQ(map.find(2), nullptr);
  EXPECT_EQ(*map.find(1), 10);
  map.grow(3);
  map.grow(1);
  map.at(4) = 40;
  EXPECT_EQ(map.size(), 3u);
}

}  // namespace
}  // namespace gossip
