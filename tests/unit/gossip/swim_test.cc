// The core by its public face: hostile input, bounds, determinism, identity.
#include "gossip/swim.h"

#include <gtest/gtest.h>

#include "gossip/envelope.h"
#include "tests/unit/gossip/cluster.h"

namespace gossip::test {
namespace {

Address address_of(std::size_t n) {
  return Address::ipv4(10, 0, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n), 7946);
}

/// A peer that holds the right key and says whatever the test wants: a broken or malicious member.
class Forger {
 public:
  Forger(Cluster& cluster, std::size_t victim, std::uint8_t number, std::uint64_t secret = 4711)
      : cluster_(cluster),
        victim_(victim),
        aead_(secret),
        chance_(number),
        envelope_([this](std::uint64_t bound) { return chance_(bound); }, &aead_, "test") {
    id.bytes.fill(number);
    address = Address::ipv4(10, 200, 0, number, 7946);
  }
  std::vector<std::byte> packet(const std::vector<Message>& messages) {
    std::vector<std::byte> bytes;
    envelope_.begin(bytes);
    BodyWriter body(bytes, 8000, id, envelope_.link_to(address_of(victim_)));
    for (const auto& message : messages) body.add(message);
    body.finish();
    envelope_.seal(bytes, 0);
    return bytes;
  }
  /// Sends, and answers cookies until the victim has believed us. @return messages it sent to us
  std::vector<Message> say(const std::vector<Message>& messages) {
    std::vector<Message> answers;
    deliver(packet(messages), answers);
    return answers;
  }
  MemberId id;
  Address address;

 private:
  void deliver(const std::vector<std::byte>& bytes, std::vector<Message>& answers) {
    Swim& swim = cluster_.swim(victim_);
    swim.on_datagram(cluster_.now, address, bytes);
    for (auto& output : swim.take_output()) {
      const auto* sent = std::get_if<SendDatagram>(&output);
      if (const auto* event = std::get_if<Event>(&output)) events.push_back(*event);
      if (sent == nullptr || sent->to != address) continue;
      const auto opened = envelope_.open(cluster_.now, address_of(victim_), sent->bytes);
      if (!opened) continue;
      const auto decoded = decode_body(opened->body);
      const SessionId session = opened->session;
      if (!decoded) continue;
      envelope_.admit(address_of(victim_), session, decoded->link);
      answers.insert(answers.end(), decoded->messages.begin(), decoded->messages.end());
      if (envelope_.owes_echo(address_of(victim_))) deliver(packet({}), answers);
    }
  }

 public:
  std::vector<Event> events;

 private:
  Cluster& cluster_;
  std::size_t victim_;
  support::ToyAead aead_;
  Chance chance_;
  Envelope envelope_;
};

Alive record(std::uint8_t n, std::uint64_t generation = 1'700'000'000'000, std::uint32_t incarnation = 0) {
  MemberId id;
  id.bytes.fill(n);
  return {id,
          {Generation{generation}, Incarnation{incarnation}},
          "f" + std::to_string(n),
          Address::ipv4(10, 200, 0, n, 7946),
          1,
          1,
          {}};
}

struct Alone : testing::Test {
  Alone() : cluster(1) {
    cluster.add();
    cluster.start(0, {});
  }
  const Counters& counters() { return cluster.swim(0).counters(); }
  Cluster cluster;
};

template <class T>
const T* first_of(const std::vector<Message>& messages) {
  for (const auto& message : messages) {
    if (const auto* found = std::get_if<T>(&message)) return found;
  }
  return nullptr;
}

TEST_F(Alone, AStrangerWithTheKeyIsAnsweredAndBelievedAfterItsEcho) {
  Forger forger(cluster, 0, 9);
  const auto answers = forger.say({Ping{77, 0}, record(9)});
  ASSERT_NE(first_of<Ack>(answers), nullptr);
  EXPECT_EQ(first_of<Ack>(answers)->sequence, 77u);
  EXPECT_NE(cluster.swim(0).find(forger.id), nullptr) << "the held record counted once the echo came";
}

TEST_F(Alone, ARecordingOfAnUnknownSessionMovesNothing) {
  Forger forger(cluster, 0, 9);
  const auto packet = forger.packet({Ping{1, 0}, record(9)});
  cluster.swim(0).on_datagram(cluster.now, forger.address, packet);
  for (int i = 0; i < 10; ++i) cluster.swim(0).on_datagram(cluster.now, forger.address, packet);
  EXPECT_EQ(cluster.swim(0).members().size(), 1u);
  EXPECT_EQ(counters().dropped(Drop::kReplayed), 10u);
}

TEST_F(Alone, UnconfirmedTalkIsHeldWithinABound) {
  Forger forger(cluster, 0, 9);
  for (int i = 0; i < 10; ++i) cluster.swim(0).on_datagram(cluster.now, forger.address, forger.packet({record(9)}));
  EXPECT_EQ(counters().dropped(Drop::kUnconfirmed), 6u);
}

TEST_F(Alone, EveryDropHasItsCounter) {
  Forger wrong(cluster, 0, 8, 1), right(cluster, 0, 9);
  Swim& swim = cluster.swim(0);
  const auto feed = [&](std::vector<std::byte> bytes, std::uint8_t host) {
    swim.on_datagram(cluster.now, Address::ipv4(9, 9, 9, host, 1), bytes);
  };
  feed({}, 1);
  feed(std::vector<std::byte>(19), 1);
  EXPECT_EQ(counters().dropped(Drop::kTruncated), 2u);
  feed(std::vector<std::byte>(100, std::byte{5}), 2);
  EXPECT_EQ(counters().dropped(Drop::kUnknownVersion), 1u);
  auto packet = right.packet({Ping{1, 2}});
  packet[1] = std::byte{8};
  feed(packet, 3);
  EXPECT_EQ(counters().dropped(Drop::kMalformed), 1u);
  packet[1] = std::byte{0};
  feed(packet, 4);
  EXPECT_EQ(counters().dropped(Drop::kPlaintextMixed), 1u);
  packet[1] = std::byte{1};
  packet[3] = std::byte{77};
  feed(packet, 5);
  EXPECT_EQ(counters().dropped(Drop::kUnknownKey), 1u);
  feed(wrong.packet({Ping{1, 2}}), 6);
  EXPECT_EQ(counters().dropped(Drop::kNotAuthentic), 1u);
  auto long_packet = right.packet({});
  long_packet.resize(20000);
  feed(long_packet, 7);
  EXPECT_EQ(counters().dropped(Drop::kTooBig), 1u);
  for (int i = 0; i < 70; ++i) feed({}, 8);
  EXPECT_GE(counters().dropped(Drop::kThrottled), 6u);
  right.say({record(9)});
  right.say({Ack{1, 2, 0}, Nack{5}, RelayAck{5, right.id}, LeaveAck{}});
  EXPECT_EQ(counters().dropped(Drop::kStrayAnswer), 4u);
  Forger self(cluster, 0, 10);
  self.id = swim.self().id;
  self.say({Ping{1, 2}});
  EXPECT_GE(counters().dropped(Drop::kSelfEcho), 1u);
}

TEST_F(Alone, UpdatesPerDatagramAreBounded) {
  Forger forger(cluster, 0, 9);
  forger.say({record(9)});
  std::vector<Message> many;
  for (std::uint8_t i = 20; i < 100; ++i) many.push_back(record(i));
  forger.say(many);
  EXPECT_EQ(cluster.swim(0).members().size(), 2u + 64u);
  EXPECT_EQ(counters().dropped(Drop::kUpdateLimit), 16u);
}

TEST_F(Alone, ForgedMembersAreBoundedInRateAndCount) {
  Cluster c(2);
  c.add([](Config& config) { config.members_max = 300; });
  c.start(0, {});
  Forger forger(c, 0, 9);
  forger.say({record(9)});
  for (int second = 0; second < 5; ++second) {
    for (int i = 0; i < 500; ++i) {
      auto forged = record(1);
      forged.id.bytes[2] = static_cast<std::uint8_t>(i), forged.id.bytes[3] = static_cast<std::uint8_t>(i >> 8);
      forged.id.bytes[4] = static_cast<std::uint8_t>(second);
      forger.say({forged});
    }
    EXPECT_LE(c.swim(0).members().size(), 2u + 200u * static_cast<unsigned>(second + 1));
    c.now += 1s;
  }
  EXPECT_EQ(c.swim(0).members().size(), 300u);
  EXPECT_GT(c.swim(0).counters().dropped(Drop::kMemberRate), 0u);
  EXPECT_GT(c.swim(0).counters().dropped(Drop::kMemberLimit), 0u);
}

TEST_F(Alone, AGenerationFromTheFutureIsRefused) {  // gossip.md 5.2
  Forger forger(cluster, 0, 9);
  forger.say({record(9)});
  forger.say({record(20, ~0ull), record(21, cluster.wall_ms + 3'600'000 + 2 * 86'400'000ull)});
  EXPECT_EQ(counters().dropped(Drop::kFutureGeneration), 2u);
  EXPECT_EQ(cluster.swim(0).members().size(), 2u);
}

TEST_F(Alone, AClaimAboutTheUnknownIsParkedAndItsRecordPulled) {  // gossip.md 5.2
  Forger forger(cluster, 0, 9);
  forger.say({record(9)});
  const auto subject = record(30);
  const auto answers = forger.say({Dead{subject.id, subject.rank, Evidence::kSilent, {forger.id}}});
  ASSERT_NE(first_of<Pull>(answers), nullptr);
  EXPECT_EQ(first_of<Pull>(answers)->target, subject.id);
  EXPECT_FALSE(first_of<Pull>(answers)->has_record);
  EXPECT_EQ(cluster.swim(0).find(subject.id), nullptr);
  forger.say({subject});
  EXPECT_FALSE(cluster.swim(0).find(subject.id)->state == MemberState::kAlive) << "the parked claim came into force";
  for (std::uint8_t i = 0; i < 100; ++i) {
    auto other = record(static_cast<std::uint8_t>(100 + i));
    forger.say({Left{other.id, other.rank}});
  }
}

TEST_F(Alone, ParkedClaimsAreBounded) {
  Forger first(cluster, 0, 9);
  first.say({record(9)});
  for (int i = 0; i < 100; ++i) {
    auto other = record(50);
    other.id.bytes[3] = static_cast<std::uint8_t>(i);
    first.say({Left{other.id, other.rank}});
  }
  EXPECT_EQ(counters().dropped(Drop::kParkedOverflow), 36u);
}

TEST_F(Alone, UnknownKindsAreCountedAndDoNotHarm) {
  Forger forger(cluster, 0, 9);
  const std::vector<std::byte> unknown{std::byte{0x91}, std::byte{0x63}};
  std::vector<std::byte> bytes;
  support::ToyAead aead(4711);
  Chance chance(3);
  Envelope envelope([&](std::uint64_t bound) { return chance(bound); }, &aead, "test");
  envelope.begin(bytes);
  BodyWriter body(bytes, 1000, forger.id, {});
  body.add(unknown);
  body.add(Ping{3, 4});
  body.finish();
  envelope.seal(bytes, 0);
  cluster.swim(0).on_datagram(cluster.now, forger.address, bytes);
  EXPECT_EQ(counters().dropped(Drop::kUnknownKind), 1u);
  EXPECT_FALSE(cluster.swim(0).take_output().empty()) << "the ping beside it was answered";
}

TEST_F(Alone, InboundStreamsAreBounded) {
  Swim& swim = cluster.swim(0);
  std::size_t accepted = 0;
  for (std::uint8_t host = 0; host < 20; ++host) {
    for (std::uint16_t port = 1; port < 20; ++port)
      accepted += swim.accept_stream(cluster.now, Address::ipv4(1, 1, 1, host, port)) ? 1 : 0;
    if (host == 0) {
      EXPECT_EQ(accepted, 8u);
    }
  }
  EXPECT_EQ(accepted, 64u);
  EXPECT_GT(counters().dropped(Drop::kStreamLimit), 0u);
  cluster.now += 11s;
  swim.tick(cluster.now);
  EXPECT_TRUE(swim.accept_stream(cluster.now, Address::ipv4(1, 1, 1, 1, 1))) << "the deadline freed them";
}

TEST_F(Alone, AStreamThatLiesAboutItsLengthOrTalksForEverIsClosed) {
  Swim& swim = cluster.swim(0);
  const auto id = *swim.accept_stream(cluster.now, Address::ipv4(1, 1, 1, 1, 1));
  const std::vector<std::byte> huge(4, std::byte{0xff});
  swim.on_stream_data(cluster.now, id, huge);
  EXPECT_EQ(counters().dropped(Drop::kTooBig), 1u);
  const auto other = *swim.accept_stream(cluster.now, Address::ipv4(1, 1, 1, 2, 1));
  std::vector<std::byte> frame(4 + 10000);
  frame[2] = std::byte{10000 >> 8}, frame[3] = std::byte{10000 & 0xff};
  for (int i = 0; i < 40; ++i) swim.on_stream_data(cluster.now, other, frame);
  EXPECT_EQ(counters().dropped(Drop::kStreamOverrun), 1u);
  swim.on_stream_data(cluster.now, other, frame);
  swim.on_stream_closed(cluster.now, other, Failure::kOther);
  swim.on_stream_opened(cluster.now, StreamId{999});
}

TEST_F(Alone, SeedsTagsAndSnapshotsAreChecked) {
  Swim& swim = cluster.swim(0);
  EXPECT_EQ(swim.join(cluster.now, std::vector<Address>(65, address_of(1))).error().code, Errc::kTooBig);
  EXPECT_EQ(swim.join(cluster.now, std::vector<Address>{Address{}}).error().code, Errc::kInvalidArgument);
  const TagChange empty{"", "x"}, large{"k", std::string(600, 'x')};
  EXPECT_EQ(swim.set_tags(cluster.now, {&empty, 1}, Urgency::kUrgent).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(swim.set_tags(cluster.now, {&large, 1}, Urgency::kUrgent).error().code, Errc::kTooBig);
  EXPECT_TRUE(swim.self().tags.entries().empty()) << "all or nothing";
  EXPECT_EQ(swim.restore(cluster.now, std::vector<std::byte>(3)).error().code, Errc::kTruncated);
  Cluster other(5);
  other.add();
  other.add();
  other.start(1, {});
  other.run(2s);
  EXPECT_EQ(swim.restore(cluster.now, other.nodes[1].disk).error().code, Errc::kInvalidArgument);
}

TEST_F(Alone, SettingTheSameTagAgainCostsNothing) {
  Swim& swim = cluster.swim(0);
  const TagChange change{"role", "standby"};
  ASSERT_TRUE(swim.set_tags(cluster.now, {&change, 1}, Urgency::kUrgent));
  const auto version = swim.self().tags.version_max();
  ASSERT_TRUE(swim.set_tags(cluster.now, {&change, 1}, Urgency::kUrgent));
  EXPECT_EQ(swim.self().tags.version_max(), version);
}

TEST_F(Alone, LeavingAloneIsDoneAtOnceAndTwiceIsOnce) {
  cluster.command(0, [&](Swim& swim) { swim.leave(cluster.now); });
  cluster.command(0, [&](Swim& swim) { swim.leave(cluster.now); });
  EXPECT_EQ(cluster.count_events(EventKind::kLeaveDone), 1u);
  EXPECT_EQ(cluster.swim(0).self().state, MemberState::kLeft);
  EXPECT_EQ(cluster.swim(0).live_count(), 0u);
  Forger forger(cluster, 0, 9);
  EXPECT_TRUE(forger.say({Ping{1, 2}}).empty()) << "the gone do not answer";
}

// --- Refuting: SWIM 4.2 ---

TEST_F(Alone, AClaimAboutMyselfIsContradictedByAHigherIncarnation) {
  Forger forger(cluster, 0, 9);
  forger.say({record(9)});
  const Rank before = cluster.swim(0).self().rank();
  const auto answers = forger.say({Suspect{cluster.id(0), before, forger.id, Evidence::kSilent}});
  EXPECT_EQ(cluster.swim(0).self().rank(), (Rank{before.generation, Incarnation{1}}));
  ASSERT_NE(first_of<Alive>(answers), nullptr) << "told to the accuser in the same turn";
  EXPECT_EQ(first_of<Alive>(answers)->rank, cluster.swim(0).self().rank());
  EXPECT_EQ(cluster.swim(0).health_score(), 1u) << "Lifeguard: having to refute counts against us";
  forger.say({Suspect{cluster.id(0), before, forger.id, Evidence::kSilent}});
  EXPECT_EQ(cluster.swim(0).self().rank().incarnation, Incarnation{1}) << "an old claim is answered, not outbid";
  forger.say({Dead{cluster.id(0), cluster.swim(0).self().rank(), Evidence::kSilent, {}}});
  EXPECT_EQ(cluster.swim(0).self().rank().incarnation, Incarnation{2});
  forger.say({Left{cluster.id(0), cluster.swim(0).self().rank()}});
  EXPECT_EQ(cluster.swim(0).self().rank().incarnation, Incarnation{3});
}

TEST_F(Alone, AForgedTopIncarnationRaisesTheGeneration) {  // memberlist 358: the wrap that evicted a node for good
  Forger forger(cluster, 0, 9);
  forger.say({record(9)});
  const Rank mine = cluster.swim(0).self().rank();
  Alive forged = record(9, static_cast<std::uint64_t>(mine.generation), 0xffffffff);
  forged.id = cluster.id(0);
  forger.say({forged});
  EXPECT_GT(cluster.swim(0).self().rank(), forged.rank);
  EXPECT_EQ(cluster.swim(0).self().incarnation, Incarnation{0});
  bool conflict = false;
  for (const auto& event : forger.events) conflict = conflict || event.kind == EventKind::kIdConflict;
  EXPECT_TRUE(conflict) << "it carried another address";
}

TEST_F(Alone, ALoneBareDeadIsNoMoreThanASuspicion) {  // gossip.md 5.4
  Forger a(cluster, 0, 9), b(cluster, 0, 10), c(cluster, 0, 11), d(cluster, 0, 12);
  for (Forger* f : {&a, &b, &c, &d}) f->say({record(f->id.bytes[0])});
  const auto subject = record(12);
  a.say({Dead{subject.id, subject.rank, Evidence::kSilent, {}}});
  EXPECT_EQ(cluster.swim(0).find(subject.id)->state, MemberState::kSuspect);
  MemberId ghost;
  ghost.bytes.fill(200);
  a.say({Dead{subject.id, subject.rank, Evidence::kSilent, {a.id, a.id, ghost, subject.id}}});
  EXPECT_EQ(cluster.swim(0).find(subject.id)->state, MemberState::kSuspect)
      << "repeated, unknown and self accusers do not count";
  a.say({Dead{subject.id, subject.rank, Evidence::kSilent, {a.id, b.id, c.id}}});
  EXPECT_EQ(cluster.swim(0).find(subject.id)->state, MemberState::kDead);
}

TEST_F(Alone, AStalledAccusationIsAnEventAtOnce) {
  Forger a(cluster, 0, 9), b(cluster, 0, 10);
  a.say({record(9)});
  b.say({record(10)});
  a.events.clear();
  a.say({Suspect{b.id, record(10).rank, a.id, Evidence::kStalled}});
  EXPECT_EQ(a.events.size(), 2u);
  EXPECT_EQ(a.events[0].kind, EventKind::kSuspect);
  EXPECT_EQ(a.events[1].kind, EventKind::kStalled);
  EXPECT_TRUE(cluster.swim(0).find(b.id)->stalled);
  auto refuted = record(10);
  refuted.rank.incarnation = Incarnation{1};
  b.say({refuted});
  EXPECT_EQ(cluster.swim(0).find(b.id)->state, MemberState::kAlive);
  EXPECT_FALSE(cluster.swim(0).find(b.id)->stalled);
}

// --- Whole clusters under attack ---

std::vector<std::uint64_t> digests(Cluster& c) {
  std::vector<std::uint64_t> all;
  for (std::size_t i = 0; i < c.nodes.size(); ++i) all.push_back(c.swim(i).digest());
  return all;
}

TEST(Attack, AWholeRecordingPlayedAgainChangesNothing) {  // gossip.md section 6, bar (a)
  Cluster c(30);
  c.record = true;
  c.form(8);
  c.run(5s);
  c.record = false;
  const auto before = digests(c);
  const auto events = [&] {
    std::size_t count = 0;
    for (const auto& node : c.nodes) count += node.events.size();
    return count;
  };
  const auto events_before = events();
  Chance chance(1);
  for (int round = 0; round < 3; ++round) {
    for (const auto& [to, from, bytes] : c.recording)
      c.command(to, [&, from = from, bytes = bytes](Swim& swim) { swim.on_datagram(c.now, from, bytes); });
    for (std::size_t i = c.recording.size(); i > 1; --i) std::swap(c.recording[i - 1], c.recording[chance(i)]);
  }
  EXPECT_EQ(digests(c), before);
  EXPECT_EQ(events(), events_before);
  EXPECT_GT(c.swim(0).counters().dropped(Drop::kReplayed), 100u);
}

TEST(Attack, MutatedPacketsOfARunAreAllRefused) {
  Cluster c(31);
  c.record = true;
  c.form(5);
  c.run(3s);
  c.record = false;
  const auto before = digests(c);
  Chance chance(2);
  for (int round = 0; round < 20000; ++round) {
    auto [to, from, bytes] = c.recording[chance(c.recording.size())];
    bytes[chance(bytes.size())] ^= static_cast<std::byte>(1 + chance(255));
    const auto source =
        Address::ipv4(10, 3, static_cast<std::uint8_t>(round >> 8), static_cast<std::uint8_t>(round), 7946);
    c.command(to, [&](Swim& swim) { swim.on_datagram(c.now, source, bytes); });
  }
  EXPECT_EQ(digests(c), before);
}

TEST(Attack, ForgedTopClaimsAboutALiveMemberAreOverInTwoSeconds) {  // bar (a): incarnation 2^32-1, generation 2^64-1
  Cluster c(32);
  c.form(8);
  c.run(5s);
  Forger forger(c, 0, 99);
  forger.say({record(99)});
  const auto rank = c.swim(3).self().rank();
  Alive top{c.id(3), {rank.generation, Incarnation{0xffffffff}}, "n3", c.nodes[3].config.advertise, 1, 1, {}};
  forger.say({top, Dead{c.id(3), top.rank, Evidence::kSilent, {forger.id, c.id(1), c.id(2), c.id(4)}},
              Dead{c.id(3),
                   {Generation{~0ull}, Incarnation{0xffffffff}},
                   Evidence::kSilent,
                   {forger.id, c.id(1), c.id(2), c.id(4)}}});
  c.command(0, [](Swim&) {});
  EXPECT_EQ(c.state(0, 3), MemberState::kDead);
  c.run(2s);
  EXPECT_TRUE(c.all_see(3, MemberState::kAlive));
  EXPECT_GT(c.swim(3).self().rank(), top.rank);
}

TEST(Attack, TheWrongClusterAndTheWrongKeyStayOutside) {
  Cluster c(33);
  c.form(3);
  const auto stranger = c.add([](Config& config) { config.cluster = "other"; });
  const auto thief = c.add();
  c.nodes[thief].aead = std::make_unique<support::ToyAead>(1);
  const auto plain = c.add([](Config& config) { config.plaintext = true; });
  for (const auto node : {stranger, thief, plain}) c.start(node, {0});
  c.run(30s);
  EXPECT_EQ(c.swim(0).members().size(), 3u);
  for (const auto node : {stranger, thief, plain}) {
    EXPECT_EQ(c.swim(node).members().size(), 1u);
    EXPECT_EQ(c.count_events(EventKind::kSeedsSilent, [&](std::size_t viewer, const Event&) { return viewer == node; }),
              1u);
  }
  EXPECT_GT(c.swim(0).counters().dropped(Drop::kNotAuthentic), 0u);
  EXPECT_GT(c.swim(0).counters().dropped(Drop::kPlaintextMixed), 0u);
}

TEST(Attack, APlaintextClusterWorksWhenAskedFor) {
  Cluster c(34);
  c.form(3, [](Config& config) { config.plaintext = true; });
  EXPECT_TRUE(c.converged());
}

TEST(Keys, ARollingChangeOfTheSendingKeyLosesNobody) {
  Cluster c(35, 5);
  c.form(5);
  c.run(5s);
  for (std::size_t i = 0; i < 5; ++i) c.nodes[i].aead->add(2, 999);
  for (std::size_t i = 0; i < 5; ++i) {
    c.nodes[i].aead->use(2);
    c.run(1s);
  }
  c.run(30s);
  EXPECT_TRUE(c.converged());
  EXPECT_EQ(c.count_events(EventKind::kDead), 0u);
}

// --- One contract ---

TEST(Determinism, SameSeedSameRunByteForByte) {
  const auto run = [] {
    Cluster c(40, 10);
    c.record = true;
    c.form(10);
    c.run(10s);
    c.set_power(3, Cluster::Power::kCrashed);
    c.run(10s);
    return c.recording;
  };
  const auto first = run(), second = run();
  ASSERT_EQ(first.size(), second.size());
  EXPECT_TRUE(first == second);
}

TEST(PauseGuard, OnlyALateTickCounts) {
  Cluster c(41);
  c.form(3);
  c.run(10s);
  EXPECT_EQ(c.count_events(EventKind::kPaused), 0u);
  EXPECT_EQ(c.swim(0).counters().pauses, 0u);
  c.set_power(0, Cluster::Power::kFrozen);
  c.run(3s);
  c.set_power(0, Cluster::Power::kOn);
  EXPECT_EQ(c.swim(0).counters().pauses, 1u);
  EXPECT_GE(c.swim(0).health_score(), 1u);
}

TEST(AntiEntropy, AHoleIsFoundByTheDigestAndFilledOnAStream) {  // gossip.md 5.8
  Cluster c(42);
  c.form(10);
  c.run(5s);
  // Nine learn of a new tag; one hears nothing for long enough that nobody repeats it.
  c.udp_blocked = [](std::size_t, std::size_t to) { return to == 9; };
  const TagChange change{"zone", "z1"};
  c.command(2, [&](Swim& swim) { ASSERT_TRUE(swim.set_tags(c.now, {&change, 1}, Urgency::kOrdinary)); });
  c.run(3s);
  c.udp_blocked = nullptr;
  EXPECT_LE(c.run_until([&] { return c.swim(9).find(c.id(2))->tags.get("zone") == "z1"; }, 30s), 8s);
}

TEST(AntiEntropy, QuietClustersOpenNoStreams) {
  Cluster c(43);
  c.form(10);
  c.run(10s);
  std::uint64_t before = 0, after = 0;
  for (const auto& node : c.nodes) before += node.swim->counters().stream_bytes_out;
  c.run(60s);
  for (const auto& node : c.nodes) after += node.swim->counters().stream_bytes_out;
  EXPECT_EQ(after, before);
}

TEST(Tombstones, AreReapedAfterTheirTime) {
  Cluster c(44);
  c.form(3, [](Config& config) { config.tombstone_keep = std::chrono::hours(1); });
  c.run(5s);
  c.set_power(2, Cluster::Power::kCrashed);
  c.run(60s);
  EXPECT_TRUE(c.all_see(2, MemberState::kDead));
  c.run(std::chrono::minutes(62));
  EXPECT_FALSE(c.knows(0, 2));
  EXPECT_EQ(c.count_events(EventKind::kReaped), 2u);
}

TEST(Baseline, PlainSwimStillDetectsACrash) {  // every switch off: the baseline of the comparison
  Cluster c(45);
  c.form(10, [](Config& config) {
    config.lha_probe = config.lha_suspicion = config.buddy = config.verify = config.pause_guard = false;
  });
  c.run(10s);
  c.set_power(3, Cluster::Power::kCrashed);
  EXPECT_LE(c.run_until([&] { return c.all_see(3, MemberState::kDead); }, 60s), 15s);
}

}  // namespace
}  // namespace gossip::test
