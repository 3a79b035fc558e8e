#include "agent/health_share.h"

#include <gtest/gtest.h>

#include <memory>

namespace agent {
namespace {

using proxy::BreakerState;
using proxy::BreakerTable;
using proxy::EndpointId;
using std::chrono::milliseconds;
using TimePoint = HealthShare::TimePoint;

// ---------------------------------------------------------------- the text

TEST(HealthWords, OneWordIsTheseBytes) {
  const HealthWord word{WordKind::kOpen, 0x0102, milliseconds(60'000), EndpointKey{0xa1b2c3d4}, RouteKey{5}};
  EXPECT_EQ(encode_words(std::span(&word, 1)), "ATACWAECobLD1AAAAAU");
  const auto again = decode_words("ATACWAECobLD1AAAAAU");
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(*again, std::vector<HealthWord>{word});
}

TEST(HealthWords, AsManyAsThereMayBeFitAndComeBack) {
  std::vector<HealthWord> words;
  for (std::uint32_t i = 0; i < kWordsMax; ++i)
    words.push_back({static_cast<WordKind>(1 + i % 5), static_cast<std::uint16_t>(i), milliseconds(i * 100), EndpointKey{i * 77}, RouteKey{i}});
  const std::string text = encode_words(words);
  EXPECT_EQ(text.size(), kWordsTextMax);
  EXPECT_EQ(*decode_words(text), words);
  EXPECT_EQ(encode_words({}), "");
  EXPECT_TRUE(decode_words("")->empty());
}

TEST(HealthWords, TimesAreRoundedUpAndEndAt29Hours) {
  const HealthWord words[] = {{WordKind::kEjected, 1, milliseconds(1), EndpointKey{1}, RouteKey::kNone},
                              {WordKind::kEjected, 2, milliseconds(1LL << 40), EndpointKey{1}, RouteKey::kNone},
                              {WordKind::kEjected, 3, milliseconds(-5), EndpointKey{1}, RouteKey::kNone}};
  const auto again = decode_words(encode_words(words));
  EXPECT_EQ((*again)[0].left, milliseconds(100));
  EXPECT_EQ((*again)[1].left, kWordLeftMax);
  EXPECT_EQ((*again)[2].left, milliseconds(0));
}

TEST(HealthWords, WhatIsNoTextOfOursIsRefused) {
  for (const char* bad : {"A", "AQ!", "AQ=", "Ag", "ATACWAECobLD1AAAAA", "ATACWAECobLD1AAAAAUA", "ATACWAECobLD1AAAAAV"}) EXPECT_FALSE(decode_words(bad).has_value()) << bad;
  EXPECT_FALSE(decode_words(std::string(kWordsTextMax + 1, 'A')).has_value());
  const auto later = decode_words("AfACWAECobLD1AAAAAU");
  ASSERT_TRUE(later.has_value()) << "a kind of a later version is no fault";
  EXPECT_TRUE(later->empty());
}

// ---------------------------------------------------------------- several agents

proxy::BreakerRule rule() { return {3, milliseconds(10'000), milliseconds(5'000), 15}; }

/// One agent: its memory of endpoints 1..n of one pool, one route with breakers.
struct Node {
  explicit Node(std::size_t number, std::size_t endpoints) : id(number), share(static_cast<std::uint16_t>(number * 1000)), breakers(std::make_unique<BreakerTable>(rule())) {
    for (std::size_t i = 0; i < endpoints; ++i) tracks.push_back(std::make_unique<proxy::OutlierTrack>());
    usable.resize(endpoints, true);
    failing.resize(endpoints, false);
    well.resize(endpoints);
  }
  std::uint64_t id;
  HealthShare share;
  std::unique_ptr<BreakerTable> breakers;
  std::vector<std::unique_ptr<proxy::OutlierTrack>> tracks;
  std::vector<bool> usable, failing;
  std::vector<TimePoint> well;
  std::string text;
  HealthShare::Decision last;
};

class HealthShareTest : public ::testing::Test {
 protected:
  void start(std::size_t agents, std::size_t endpoints) {
    for (std::size_t i = 0; i < agents; ++i) nodes.push_back(std::make_unique<Node>(i, endpoints));
  }
  static EndpointId endpoint(std::size_t number) { return EndpointId{number + 1}; }

  void look(Node& node) {
    HealthShare::View view;
    view.outlier = outlier;
    view.rank = node.id;
    view.pools.emplace_back();
    HealthShare::Route route{key_of_route("reads"), "reads", 0, {}};
    for (std::size_t i = 0; i < node.tracks.size(); ++i) {
      view.pools[0].endpoints.push_back({endpoint(i), "e" + std::to_string(i), node.usable[i], node.tracks[i]->ejected_until(), node.failing[i], node.well[i]});
      route.breakers.push_back(node.breakers->look(endpoint(i)));
    }
    view.routes.push_back(route);
    std::vector<HealthShare::Peer> peers;
    for (const auto& other : nodes) {
      if (other.get() != &node && other != nullptr) peers.push_back({other->id, names[other->id], other->text});
    }
    node.last = node.share.look(now, view, peers);
    for (std::size_t i = 0; i < node.tracks.size(); ++i) {
      const auto advice = node.last.advice.find(endpoint(i));
      node.tracks[i]->advise(advice == node.last.advice.end() ? TimePoint{} : advice->second);
    }
    for (const auto& order : node.last.orders) order.open ? node.breakers->advise(order.id, order.until) : node.breakers->relent(order.id, now);
    node.text = node.last.text;
  }
  /// Everybody hears of everybody, as often as it takes.
  void talk() {
    for (int round = 0; round < 3; ++round) {
      for (const auto& node : nodes) {
        if (node != nullptr) look(*node);
      }
    }
  }
  void pass(milliseconds time) {
    now += time;
    talk();
  }
  void eject(std::size_t node, std::size_t which) {
    nodes[node]->tracks[which]->eject(outlier, now);
    talk();
  }
  [[nodiscard]] bool out(std::size_t node, std::size_t which) const { return nodes[node]->tracks[which]->ejected_at(now); }
  void fail_requests(std::size_t node, std::size_t which) {
    for (std::uint32_t i = 0; i < rule().fail; ++i) {
      ASSERT_EQ(nodes[node]->breakers->enter(endpoint(which), now), proxy::BreakerPass::kFree);
      nodes[node]->breakers->result(endpoint(which), now, false, false);
    }
    talk();
  }
  [[nodiscard]] BreakerState state(std::size_t node, std::size_t which) const { return nodes[node]->breakers->state(endpoint(which)); }
  [[nodiscard]] bool lets(std::size_t node, std::size_t which) const { return nodes[node]->breakers->lets(endpoint(which), now); }

  TimePoint now{std::chrono::hours(10)};
  proxy::OutlierSettings outlier;
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
};

TEST_F(HealthShareTest, WhatFailsForOneIsAvoidedByTheOthersUntilItsTimeIsOver) {
  start(3, 3);
  eject(0, 1);
  EXPECT_TRUE(out(1, 1));
  EXPECT_TRUE(out(2, 1));
  EXPECT_FALSE(nodes[1]->tracks[1]->ejected_here_at(now)) << "no failure of its own";
  EXPECT_FALSE(out(1, 0));
  pass(outlier.eject - milliseconds(200));
  EXPECT_TRUE(out(1, 1));
  pass(milliseconds(300));
  EXPECT_FALSE(out(1, 1));
  EXPECT_FALSE(out(2, 1));
  EXPECT_TRUE(nodes[0]->text.empty()) << "nothing is told any more";
}

TEST_F(HealthShareTest, AWordEndsWhenItsOwnerTakesItBackOrIsGone) {
  start(3, 3);
  eject(0, 1);
  nodes[0]->tracks[1]->reinstate();
  talk();
  EXPECT_FALSE(out(1, 1));
  eject(0, 2);
  EXPECT_TRUE(out(1, 2));
  nodes[0].reset();
  talk();
  EXPECT_FALSE(out(1, 2)) << "nobody alive says so";
}

TEST_F(HealthShareTest, WordsGoNotRound) {
  start(3, 3);
  eject(0, 1);
  EXPECT_TRUE(nodes[1]->text.empty()) << "what was heard is not told";
  fail_requests(0, 2);
  EXPECT_TRUE(nodes[1]->text.empty());
  EXPECT_EQ(state(1, 2), BreakerState::kOpen);
}

/// The panic rule.
TEST_F(HealthShareTest, WordsNeverTakeTheLastEndpointNorMoreThanItsShare) {
  start(3, 2);
  eject(0, 0);
  eject(2, 1);
  EXPECT_TRUE(out(1, 0));
  EXPECT_FALSE(out(1, 1)) << "two agents, two words, and still one is left";
  EXPECT_EQ(nodes[1]->share.counters().spared, 1U);
  start(0, 0);
  nodes.clear();
  start(3, 1);
  eject(0, 0);
  EXPECT_FALSE(out(1, 0)) << "the only one";
  nodes.clear();
  start(5, 5);
  for (std::size_t i = 0; i < 4; ++i) eject(i, i);
  EXPECT_EQ(out(4, 0) + out(4, 1) + out(4, 2) + out(4, 3) + out(4, 4), 2) << "half of five, rounded down";
}

TEST_F(HealthShareTest, WhatFailedHereCountsBeforeWhatOthersSay) {
  start(2, 2);
  eject(1, 1);
  EXPECT_TRUE(out(0, 1));
  nodes[0]->tracks[0]->eject(outlier, now);
  talk();
  EXPECT_FALSE(out(0, 1)) << "own evidence against the other one: a word may not take the last";
  EXPECT_TRUE(out(0, 0));
}

TEST_F(HealthShareTest, WhoIsNotUsableAnywayIsNoEndpointToSpare) {
  start(2, 3);
  nodes[0]->usable[2] = nodes[1]->usable[2] = false;
  eject(1, 0);
  eject(1, 1);
  EXPECT_EQ(out(0, 0) + out(0, 1), 1);
}

TEST_F(HealthShareTest, OneAgentWhoseOwnWayIsBrokenDoesNotDecideForAllForGood) {
  start(2, 3);
  for (int i = 0; i < 3; ++i) {
    eject(0, 1);
    EXPECT_TRUE(out(1, 1)) << i;
    pass(outlier.eject * (i + 1) + milliseconds(200));
    EXPECT_FALSE(out(1, 1)) << i;
  }
  eject(0, 1);
  EXPECT_FALSE(out(1, 1)) << "the fourth time in a row";
  EXPECT_EQ(nodes[1]->share.counters().doubted, 1U);
  pass(HealthShare::kForgetAfter + milliseconds(200));
  eject(0, 1);
  EXPECT_TRUE(out(1, 1)) << "after a while it is believed again";
}

TEST_F(HealthShareTest, ChecksOfOthersAreBelievedUntilAnOwnOneGoesWell) {
  start(2, 3);
  nodes[0]->failing[1] = true;
  talk();
  EXPECT_TRUE(out(1, 1));
  ASSERT_FALSE(nodes[1]->text.size());
  pass(milliseconds(25'000));
  EXPECT_TRUE(out(1, 1)) << "told anew as long as it lasts";
  pass(milliseconds(10'000));
  EXPECT_TRUE(out(1, 1));
  now += milliseconds(100);
  nodes[1]->well[1] = now;
  talk();
  EXPECT_FALSE(out(1, 1)) << "seen with own eyes";
  nodes[0]->failing[1] = false;
  talk();
  EXPECT_TRUE(nodes[0]->text.empty());
}

TEST_F(HealthShareTest, WhoCanLookForItselfIsAskedTo) {
  start(2, 3);
  nodes[0]->tracks[1]->eject(outlier, now);
  look(*nodes[0]);
  look(*nodes[1]);
  EXPECT_EQ(nodes[1]->last.check_now, std::vector<EndpointId>{endpoint(1)});
  look(*nodes[1]);
  EXPECT_TRUE(nodes[1]->last.check_now.empty()) << "once for each word";
}

TEST_F(HealthShareTest, ABreakerOpenedOnAIsOpenOnBAndItsOwnerHasTheProbe) {
  start(3, 3);
  fail_requests(0, 1);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(state(i, 1), BreakerState::kOpen) << i;
  pass(rule().open);
  EXPECT_FALSE(lets(1, 1)) << "first the owner";
  EXPECT_FALSE(lets(2, 1));
  EXPECT_EQ(nodes[0]->breakers->enter(endpoint(1), now), proxy::BreakerPass::kProbe);
  pass(milliseconds(2'000));
  EXPECT_FALSE(lets(1, 1)) << "one probe is under way in the cluster";
  EXPECT_FALSE(lets(2, 1));
  EXPECT_TRUE(nodes[0]->breakers->result(endpoint(1), now, true, true));
  talk();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(state(i, 1), BreakerState::kClosed) << i;
  pass(HealthShare::kClosedTold + milliseconds(100));
  EXPECT_TRUE(nodes[0]->text.empty());
}

TEST_F(HealthShareTest, AProbeThatFailsKeepsItShutEverywhere) {
  start(3, 3);
  fail_requests(0, 1);
  pass(rule().open);
  EXPECT_EQ(nodes[0]->breakers->enter(endpoint(1), now), proxy::BreakerPass::kProbe);
  talk();
  nodes[0]->breakers->result(endpoint(1), now, false, true);
  pass(rule().open - milliseconds(100));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_FALSE(lets(i, 1)) << i;
}

TEST_F(HealthShareTest, WhereNoRequestComesToTheOwnerTheNextInOrderProbes) {
  start(3, 3);
  fail_requests(0, 1);
  pass(rule().open + HealthShare::kBehindOwner + HealthShare::kBehindNext);
  EXPECT_TRUE(lets(1, 1));
  EXPECT_FALSE(lets(2, 1)) << "one place further";
  EXPECT_EQ(nodes[1]->breakers->enter(endpoint(1), now), proxy::BreakerPass::kProbe);
  talk();
  EXPECT_FALSE(lets(0, 1)) << "the owner hears of it, too";
  pass(milliseconds(500));
  EXPECT_FALSE(lets(2, 1));
  nodes[1]->breakers->result(endpoint(1), now, true, true);
  talk();
  EXPECT_EQ(state(2, 1), BreakerState::kClosed);
  EXPECT_EQ(state(0, 1), BreakerState::kClosed) << "its own failures were heard of by the probe: it waited at a word";
}

TEST_F(HealthShareTest, GoodNewsBringForwardTheProbeOfWhoHasFailuresOfItsOwn) {
  start(3, 3);
  fail_requests(0, 1);
  fail_requests(2, 2);
  nodes[1]->breakers = std::make_unique<BreakerTable>(rule());
  for (std::uint32_t i = 0; i < rule().fail; ++i) nodes[1]->breakers->result(endpoint(1), now, false, false);
  pass(rule().open);
  ASSERT_EQ(nodes[0]->breakers->enter(endpoint(1), now), proxy::BreakerPass::kProbe);
  nodes[0]->breakers->result(endpoint(1), now, true, true);
  talk();
  EXPECT_EQ(state(0, 1), BreakerState::kClosed);
  EXPECT_EQ(state(1, 1), BreakerState::kOpen) << "a word does not outweigh what it has seen";
  EXPECT_TRUE(lets(1, 1)) << "but it may look again";
}

TEST_F(HealthShareTest, AProbeWithoutResultFreesItsPlaceEverywhere) {
  start(2, 3);
  fail_requests(0, 1);
  pass(rule().open);
  ASSERT_EQ(nodes[0]->breakers->enter(endpoint(1), now), proxy::BreakerPass::kProbe);
  talk();
  nodes[0]->breakers->abandon(endpoint(1), now);
  talk();
  EXPECT_TRUE(lets(0, 1));
  pass(HealthShare::kBehindOwner + HealthShare::kBehindNext * 2);
  EXPECT_TRUE(lets(1, 1));
}

TEST_F(HealthShareTest, WordsNeverShutTheLastEndpointOfARoute) {
  start(3, 2);
  fail_requests(0, 0);
  fail_requests(2, 1);
  EXPECT_EQ(lets(1, 0) + lets(1, 1), 1);
  EXPECT_GE(nodes[1]->share.counters().spared, 1U);
  // What it sees itself then shuts the other one: the word about the first is dropped.
  const std::size_t other = lets(1, 0) ? 0 : 1;
  for (std::uint32_t i = 0; i < rule().fail; ++i) nodes[1]->breakers->result(endpoint(other), now, false, false);
  talk();
  EXPECT_EQ(lets(1, 0) + lets(1, 1), 1);
  EXPECT_FALSE(lets(1, other));
}

TEST_F(HealthShareTest, AWordAboutABreakerEndsSoonAfterItsOwner) {
  start(2, 3);
  fail_requests(0, 1);
  nodes[0].reset();
  talk();
  EXPECT_FALSE(lets(1, 1));
  pass(HealthShare::kBehindOwner + HealthShare::kBehindNext + milliseconds(1));
  EXPECT_TRUE(lets(1, 1)) << "somebody has to look";
}

TEST_F(HealthShareTest, MoreThanFitsIsCountedAndTheLongestAreTold) {
  start(2, 30);
  for (std::size_t i = 0; i < 12; ++i) nodes[0]->tracks[i]->eject(outlier, now);
  talk();
  EXPECT_EQ(decode_words(nodes[0]->text)->size(), kWordsMax);
  EXPECT_GE(nodes[0]->share.counters().untold, 3U);
}

TEST_F(HealthShareTest, TheTextStaysWhileNothingHappens) {
  start(2, 3);
  fail_requests(0, 1);
  const std::string text = nodes[0]->text;
  for (int i = 0; i < 20; ++i) {
    pass(milliseconds(100));
    EXPECT_EQ(nodes[0]->text, text);
  }
  EXPECT_LE(nodes[0]->share.next_deadline(), now + rule().open);
}

TEST_F(HealthShareTest, NonsenseFromAPeerIsCountedAndChangesNothing) {
  start(2, 3);
  nodes[0]->text = "garbage!";
  look(*nodes[1]);
  EXPECT_EQ(nodes[1]->share.counters().malformed, 1U);
  EXPECT_TRUE(nodes[1]->last.advice.empty());
}

}  // namespace
}  // namespace agent
