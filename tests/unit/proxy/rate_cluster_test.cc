// Limits that all agents count together: owners, the desk that asks, the zones that answer, and requests through a proxy.
#include <map>
#include <set>

#include "proxy/rate_desk.h"
#include "proxy/rate_zones.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

RateRule bucket(std::uint32_t count, std::uint32_t burst) { return {count, Milliseconds(1000), burst, true}; }
RateRule window(std::uint32_t count, Milliseconds period) { return {count, period, std::nullopt, true}; }
constexpr TimePoint kStart{std::chrono::hours(10)};

std::shared_ptr<const RateMembers> cluster_of(std::uint64_t count, std::uint64_t self, const std::set<std::uint64_t>& unreachable = {}) {
  auto members = std::make_shared<RateMembers>();
  members->self = RateMemberId{self};
  for (std::uint64_t i = 1; i <= count; ++i) members->members.push_back({RateMemberId{i}, "n" + std::to_string(i), !unreachable.contains(i)});
  return members;
}

std::shared_ptr<RateZone> zone_of(const RateRule& rule, ClusterRate how = {}, std::string_view name = "api") {
  return std::make_shared<RateZone>(name, how, std::make_shared<RateTable>(rule, 1, 2), 3, 4);
}

std::uint64_t key_owned_by(const RateMembers& members, std::uint64_t owner, std::uint64_t from = 1) {
  for (std::uint64_t key = from;; ++key) {
    if (members.members[members.owner_of(key)].id == RateMemberId{owner}) return key;
  }
}

// ---- rules ----

TEST(RateShares, TogetherAreTheRule) {
  EXPECT_EQ(rate_share_of(window(20, seconds(10)), 3), window(6, seconds(10)));
  EXPECT_EQ(rate_share_of(window(2, seconds(10)), 3), window(1, seconds(10))) << "one each at the least";
  EXPECT_EQ(rate_share_of(bucket(10, 20), 4), (RateRule{10, Milliseconds(4000), 5, true}));
  EXPECT_TRUE(is_rate(window(1, Milliseconds(1))));
  EXPECT_FALSE(is_rate(window(0, Milliseconds(1))));
  EXPECT_FALSE(is_rate(window(1, Milliseconds(0))));
  EXPECT_FALSE(is_rate(bucket(1, RateRule::kCountMax + 1)));
}

TEST(RateDebts, AStateWithADebtOwesIt) {
  for (const RateRule& rule : {bucket(10, 20), window(20, seconds(10))}) {
    std::uint64_t state = 0;
    for (int i = 0; i < 7; ++i) static_cast<void>(apply_rate(rule, kStart.time_since_epoch(), state));
    const std::uint64_t debt = rate_debt(rule, kStart.time_since_epoch(), state);
    EXPECT_NEAR(static_cast<double>(debt), 7 * 1024, 2);
    std::uint64_t copy = rate_state_of(rule, kStart.time_since_epoch() + seconds(100), debt);
    const RateVerdict verdict = apply_rate(rule, kStart.time_since_epoch() + seconds(100), copy);
    EXPECT_NEAR(verdict.remaining, rule.burst ? 13 : 12, 1);
    EXPECT_EQ(rate_state_of(rule, kStart.time_since_epoch(), 0), 0U);
    std::uint64_t most = rate_state_of(rule, kStart.time_since_epoch(), UINT32_MAX);
    EXPECT_LE(apply_rate(rule, kStart.time_since_epoch(), most).retry_after, rule.burst ? nanoseconds(Milliseconds(100)) : nanoseconds(seconds(20)))
        << "nobody owes more than the rule leads to, whatever a stranger says";
  }
}

TEST(RateDebts, FadeNotSlowerThanTheRule) {
  for (const RateRule& rule : {bucket(10, 20), window(20, seconds(10))}) {
    for (int start = 0; start < 10; ++start) {
      std::uint64_t state = 0;
      const nanoseconds from = kStart.time_since_epoch() + seconds(start);
      for (int i = 0; i < 15; ++i) static_cast<void>(apply_rate(rule, from, state));
      const std::uint64_t debt = rate_debt(rule, from, state);
      for (int later = 0; later < 30; ++later) {
        const nanoseconds after = Milliseconds(later * 500);
        EXPECT_LE(rate_debt_after(rule, debt, after), rate_debt(rule, from + after, state) + 1) << later;
      }
      EXPECT_EQ(rate_debt_after(rule, debt, seconds(100)), 0U);
    }
  }
}

// ---- owners ----

TEST(RateOwners, AreSharedOutAndMoveOnlyWithTheirMember) {
  const auto five = cluster_of(5, 1), four = cluster_of(4, 2);
  std::map<std::uint64_t, int> load;
  int moved = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const std::uint64_t key = keyed_hash(1, 2, std::to_string(i));
    const auto before = five->members[five->owner_of(key)].id, after = four->members[four->owner_of(key)].id;
    ++load[static_cast<std::uint64_t>(before)];
    if (before == after) continue;
    ++moved;
    EXPECT_EQ(before, RateMemberId{5}) << "only its keys move";
  }
  for (const auto& [member, keys] : load) EXPECT_NEAR(keys, 2000, 200) << member;
  EXPECT_EQ(moved, load[5]);
}

TEST(RateZoneKeys, DependOnZoneAndRule) {
  EXPECT_EQ(zone_of(bucket(1, 2))->key_of("a"), zone_of(bucket(1, 2))->key_of("a"));
  EXPECT_NE(zone_of(bucket(1, 2))->key_of("a"), zone_of(bucket(1, 2))->key_of("b"));
  EXPECT_NE(zone_of(bucket(1, 2))->key_of("a"), zone_of(bucket(1, 3))->key_of("a"));
  EXPECT_NE(zone_of(bucket(1, 2))->key_of("a"), zone_of(bucket(1, 2), {}, "web")->key_of("a"));
  EXPECT_NE(zone_of(bucket(1, 0))->id, zone_of(window(1, Milliseconds(1000)))->id);
}

// ---- the desk ----

class Desk : public ::testing::Test, public RateDesk::Waiter {
 protected:
  void rate_decided(const RateDecision& decision) override { heard.push_back(decision); }
  /// Asks about the key of node 2, as node 1.
  std::optional<RateDecision> ask() { return desk.ask(*zone, key, now, *this, ticket); }
  std::vector<RateQuestion> questions() {
    std::vector<RateQuestion> out;
    desk.take_questions(out);
    return out;
  }
  void answer(const RateQuestion& question, bool admitted = true, nanoseconds wait = nanoseconds(0), std::uint64_t from = 2) {
    RateAnswer a;
    a.ticket = question.ticket;
    a.verdict.admitted = admitted;
    (admitted ? a.verdict.delay : a.verdict.retry_after) = wait;
    a.debt = debt;
    desk.answer(RateMemberId{from}, a, now);
  }
  void become(std::shared_ptr<const RateMembers> given) {
    members = std::move(given);
    desk.set_members(members);
  }
  void SetUp() override {
    become(cluster_of(3, 1));
    key = key_owned_by(*members, 2);
  }
  RateDesk desk;
  std::shared_ptr<const RateMembers> members;
  std::shared_ptr<RateZone> zone = zone_of(window(3, seconds(10)));
  std::uint64_t key = 0;
  std::uint32_t debt = 0;
  TimePoint now = kStart;
  RateDesk::Ticket ticket = 0;
  std::vector<RateDecision> heard;
};

TEST_F(Desk, CountsItsOwnKeysAtOnceAndAlone) {
  key = key_owned_by(*members, 1);
  for (const bool passes : {true, true, true, false}) {
    const auto decision = ask();
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->verdict.admitted, passes);
    EXPECT_EQ(decision->source, RateSource::kOwn);
  }
  EXPECT_FALSE(desk.has_questions());
  RateDesk alone;
  EXPECT_EQ(alone.ask(*zone_of(window(1, seconds(1))), 7, now, *this, ticket)->source, RateSource::kOwn) << "nobody else is known";
}

TEST_F(Desk, AsksTheOwnerAndTellsTheWaiterOnce) {
  EXPECT_FALSE(ask());
  const auto asked = questions();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].owner, RateMemberId{2});
  EXPECT_EQ(asked[0].zone, zone->id);
  EXPECT_EQ(asked[0].rule, zone->rule());
  EXPECT_EQ(asked[0].ticket, ticket);
  EXPECT_FALSE(desk.has_questions()) << "taken";
  now += Milliseconds(3);
  answer(asked[0], true, nanoseconds(5), 3);
  EXPECT_TRUE(heard.empty()) << "only the owner may answer";
  answer(asked[0], true, nanoseconds(5));
  answer(asked[0], true);
  ASSERT_EQ(heard.size(), 1U);
  EXPECT_EQ(heard[0].verdict.delay, nanoseconds(5));
  EXPECT_EQ(heard[0].source, RateSource::kOwner);
  EXPECT_EQ(desk.name(heard[0].owner), "n2");
  EXPECT_EQ(desk.waiting(), 0U);
  EXPECT_EQ(desk.counters().answered_in.max(), nanoseconds(Milliseconds(3)));
}

TEST_F(Desk, RemembersARefusalFromWhenItAsked) {
  EXPECT_FALSE(ask());
  const auto asked = questions();
  now += Milliseconds(10);
  answer(asked.at(0), false, seconds(1));
  EXPECT_FALSE(heard.at(0).verdict.admitted);
  now += Milliseconds(489);
  const auto refused = ask();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->source, RateSource::kRemembered);
  EXPECT_EQ(refused->verdict.retry_after, Milliseconds(501));
  EXPECT_FALSE(desk.has_questions()) << "a flood of refused requests asks nobody";
  now += Milliseconds(501);
  EXPECT_FALSE(ask()) << "its owner would let it in now";
}

TEST_F(Desk, TellsANewOwnerWhatItKnows) {
  EXPECT_FALSE(ask());
  debt = 3 * 1024;
  answer(questions().at(0));
  EXPECT_FALSE(ask());
  EXPECT_EQ(questions().at(0).known, 3U * 1024);
  now += seconds(5);
  EXPECT_FALSE(ask());
  EXPECT_NEAR(questions().at(0).known, 3 * 1024 / 2, 2) << "less as time goes by";
  // The agent itself becomes the owner: it goes on from there.
  now = kStart;
  become(cluster_of(1, 1));
  EXPECT_FALSE(ask()->verdict.admitted);
  // And when it was the owner, it tells the next one.
  static_cast<void>(zone->counts->take(99, now, 0));
  become(cluster_of(3, 1));
  key = 99;
  while (members->members[members->owner_of(key)].id == RateMemberId{1}) static_cast<void>(zone->counts->take(++key, now, 0));
  EXPECT_FALSE(ask());
  EXPECT_EQ(questions().back().known, 1024U);
}

TEST_F(Desk, DecidesByItsShareWhenTheAnswerIsLate) {
  zone = zone_of(window(9, seconds(10)));
  for (const bool passes : {true, true, true}) {
    EXPECT_FALSE(ask());
    const RateDecision late = desk.give_up(ticket, now + Milliseconds(20));
    EXPECT_EQ(late.verdict.admitted, passes);
    EXPECT_EQ(late.source, RateSource::kLate);
  }
  EXPECT_EQ(desk.waiting(), 0U);
  for (const RateQuestion& question : questions()) answer(question);
  EXPECT_TRUE(heard.empty()) << "too late";
  const auto fourth = ask();
  ASSERT_TRUE(fourth) << "nobody waits for one that was silent three times";
  EXPECT_EQ(fourth->source, RateSource::kSilent);
  EXPECT_FALSE(fourth->verdict.admitted) << "its third of 9 is used up";
}

TEST_F(Desk, ProbesASilentOwnerAndBelievesOnlyAnAnswerInTime) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(ask());
    static_cast<void>(desk.give_up(ticket, now));
  }
  static_cast<void>(questions());
  EXPECT_TRUE(ask());
  const auto first = questions();
  ASSERT_EQ(first.size(), 1U) << "a question for which nobody waits";
  EXPECT_TRUE(ask());
  EXPECT_FALSE(desk.has_questions()) << "one in 100 ms";
  now += Milliseconds(50);
  answer(first[0]);
  EXPECT_TRUE(ask()) << "that was later than anybody would have waited";
  now += Milliseconds(50);
  EXPECT_TRUE(ask());
  const auto second = questions();
  ASSERT_EQ(second.size(), 1U);
  now += Milliseconds(5);
  answer(second[0]);
  EXPECT_FALSE(ask()) << "it is asked again";
  EXPECT_TRUE(heard.empty());
}

TEST_F(Desk, DoesNotAskWhomItCannotReach) {
  become(cluster_of(3, 1, {2}));
  const auto decision = ask();
  ASSERT_TRUE(decision);
  EXPECT_EQ(decision->source, RateSource::kUnreachable);
  EXPECT_TRUE(decision->verdict.admitted);
  EXPECT_FALSE(ask()->verdict.admitted) << "3 in 10 s over three agents: one each";
}

TEST_F(Desk, FallbacksDoWhatTheirNamesSay) {
  become(cluster_of(3, 1, {2}));
  zone = zone_of(window(1, seconds(10)), {Milliseconds(20), RateFallback::kAdmit});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(ask()->verdict.admitted);
  zone = zone_of(window(100, seconds(10)), {Milliseconds(20), RateFallback::kRefuse});
  EXPECT_FALSE(ask()->verdict.admitted);
  EXPECT_TRUE(ask()->undecided);
}

TEST_F(Desk, BoundsQuestionsAndForgetsThoseOfNobody) {
  std::vector<RateDesk::Ticket> tickets;
  for (std::size_t i = 0; i < RateDesk::kAskedMax; ++i) {
    ASSERT_FALSE(ask());
    tickets.push_back(ticket);
  }
  EXPECT_EQ(ask()->source, RateSource::kFull);
  EXPECT_EQ(desk.waiting(), RateDesk::kAskedMax);
  EXPECT_EQ(std::set(tickets.begin(), tickets.end()).size(), tickets.size());
  const auto asked = questions();
  for (const RateDesk::Ticket one : tickets) desk.forget(one);
  EXPECT_EQ(desk.waiting(), 0U);
  for (const RateQuestion& question : asked) answer(question);
  EXPECT_TRUE(heard.empty());
  EXPECT_FALSE(ask()) << "there is room again";
}

TEST_F(Desk, AnOwnerWithoutRoomIsAsGoodAsNone) {
  EXPECT_FALSE(ask());
  RateAnswer away;
  away.ticket = ticket;
  away.counted = false;
  desk.answer(RateMemberId{2}, away, now);
  ASSERT_EQ(heard.size(), 1U);
  EXPECT_EQ(heard[0].source, RateSource::kTurnedAway);
  EXPECT_TRUE(heard[0].verdict.admitted);
}

TEST_F(Desk, AMemberThatGoesTakesItsProbeAlong) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(ask());
    static_cast<void>(desk.give_up(ticket, now));
  }
  EXPECT_TRUE(ask());
  EXPECT_EQ(desk.waiting(), 1U);
  become(cluster_of(1, 1));
  EXPECT_EQ(desk.waiting(), 0U);
}

TEST(RateNames, AreThere) {
  for (std::size_t i = 0; i < kRateSources; ++i) {
    EXPECT_NE(name_of(static_cast<RateSource>(i)), "unknown");
    EXPECT_NE(sentence_of(static_cast<RateSource>(i)), "unknown");
  }
}

// ---- the zones ----

RateQuestion question_of(const RateZone& zone, std::uint64_t key, std::uint32_t known = 0) {
  return {RateMemberId{1}, 5, zone.id, zone.rule(), key, known};
}

TEST(RateZonesTest, CountWhatTheyHaveNoRouteFor) {
  RateZones zones({1, 2});
  const auto zone = zone_of(window(2, seconds(10)));
  for (const bool passes : {true, true, false}) {
    const RateAnswer answer = zones.answer(question_of(*zone, 1), kStart);
    EXPECT_TRUE(answer.counted);
    EXPECT_EQ(answer.ticket, 5U);
    EXPECT_EQ(answer.verdict.admitted, passes);
  }
  EXPECT_EQ(zones.answer(question_of(*zone, 1), kStart).debt, 2048U);
  EXPECT_TRUE(zones.answer(question_of(*zone, 2), kStart).verdict.admitted) << "another client";
  EXPECT_FALSE(zones.answer(question_of(*zone, 3, 2048), kStart).verdict.admitted) << "new here, but known elsewhere";
  EXPECT_TRUE(zones.answer(question_of(*zone, 2, 2000), kStart).verdict.admitted) << "less than a request more: a rounding";
  EXPECT_FALSE(zones.answer(question_of(*zone, 4, 1024 * 1024), kStart).verdict.admitted);
  EXPECT_TRUE(zones.answer(question_of(*zone, 5), kStart).verdict.admitted);
  EXPECT_FALSE(zones.answer(question_of(*zone, 5, 2048), kStart).verdict.admitted) << "another owner has counted on";
}

TEST(RateZonesTest, AreBoundedAndRefuseImpossibleRules) {
  RateZones zones({1, 2});
  RateQuestion question;
  question.rule = window(1, seconds(1));
  for (std::uint64_t i = 0; i < RateZones::kForeignMax; ++i) {
    question.zone = i;
    EXPECT_TRUE(zones.answer(question, kStart).counted);
  }
  question.zone = 1000;
  EXPECT_FALSE(zones.answer(question, kStart).counted);
  EXPECT_EQ(zones.turned_away(), 1U);
  EXPECT_TRUE(zones.answer(question, kStart + RateZones::kForeignIdle).counted) << "an old one makes room";
  EXPECT_EQ(zones.foreign(), RateZones::kForeignMax);
  RateZones empty({1, 2});
  question.rule.count = 0;
  EXPECT_FALSE(empty.answer(question, kStart).counted);
  EXPECT_EQ(empty.foreign(), 0U);
}

TEST(RateZonesTest, CountTogetherWithTheRoutesHere) {
  Route route;
  route.pool = "all";
  route.admission.rate = window(2, seconds(10));
  route.admission.rate_zone = "api";
  route.admission.cluster = ClusterRate{};
  const auto table = RouteTable::make({route});
  ASSERT_TRUE(table);
  RateZone& zone = *(*table)->routes()[0].admission.cluster_zone;
  RateZones zones({1, 2});
  zones.set_routes(**table);
  EXPECT_TRUE(zones.answer(question_of(zone, 1), kStart).verdict.admitted);
  EXPECT_TRUE(zone.counts->take(1, kStart, 0).verdict.admitted);
  EXPECT_FALSE(zones.answer(question_of(zone, 1), kStart).verdict.admitted);
  EXPECT_EQ(zones.foreign(), 0U);
  RateQuestion other = question_of(zone, 1);
  other.rule.count = 9;
  EXPECT_FALSE(zones.answer(other, kStart).counted) << "a hash is no proof";
  // A reload keeps the counts; another way to count is another zone object over the same counts.
  const auto again = RouteTable::make({route}, table->get());
  EXPECT_EQ((*again)->routes()[0].admission.cluster_zone.get(), &zone);
  route.admission.cluster->timeout = Milliseconds(50);
  const auto changed = RouteTable::make({route}, table->get());
  EXPECT_NE((*changed)->routes()[0].admission.cluster_zone.get(), &zone);
  EXPECT_EQ((*changed)->routes()[0].admission.cluster_zone->counts, zone.counts);
  Route second = route;
  second.name = "second";
  second.path = "/second";
  second.admission.cluster.reset();
  EXPECT_FALSE(RouteTable::make({route, second})) << "one zone, one scope";
}

// ---- through a proxy ----

class ClusterLimits : public ProxyTest {
 protected:
  void SetUp() override {
    settings.trails = false;
    start();
    set_pool({endpoint(1)});
    Route route;
    route.name = "api";
    route.pool = "all";
    route.timeouts = timeouts;
    route.admission.rate = window(3, seconds(100));
    route.admission.cluster = ClusterRate{};
    route.admission.concurrency_max = 1;
    const auto table = RouteTable::make({route});
    ASSERT_TRUE(table);
    proxy->set_routes(*table);
    // The key of the one client that there is belongs to some member: this agent is made another one.
    const std::uint64_t key = (*table)->routes()[0].admission.cluster_zone->key_of(std::string("a") + key_bytes());
    const auto any = cluster_of(3, 1);
    owner = static_cast<std::uint64_t>(any->members[any->owner_of(key)].id);
    proxy->set_rate_members(cluster_of(3, owner % 3 + 1));
    held = *table;
  }
  static std::string key_bytes() {
    const auto ip = parse_ip("192.0.2.9");
    return {reinterpret_cast<const char*>(ip->bytes), 16};
  }
  std::vector<RateQuestion> questions() {
    std::vector<RateQuestion> out;
    proxy->take_rate_questions(out);
    return out;
  }
  void answer(const RateQuestion& question, bool admitted, nanoseconds wait = nanoseconds(0)) {
    RateAnswer a;
    a.ticket = question.ticket;
    a.verdict.admitted = admitted;
    a.verdict.remaining = 2;
    (admitted ? a.verdict.delay : a.verdict.retry_after) = wait;
    proxy->rate_answers(question.owner, {&a, 1});
  }
  std::uint64_t owner = 0;
  std::shared_ptr<const RouteTable> held;
};

TEST_F(ClusterLimits, ARequestWaitsForTheAnswerAndGoesOn) {
  auto c = client();
  c->send(get("/x"));
  EXPECT_TRUE(host.upstreams.empty()) << "not before it is let in";
  const auto asked = questions();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].owner, RateMemberId{owner});
  answer(asked[0], true);
  ASSERT_EQ(host.upstreams.size(), 1U);
  up(0).connect();
  up(0).take();
  up(0).send(ok("fine"));
  const std::string got = c->take();
  EXPECT_NE(got.find("fine"), std::string::npos);
  EXPECT_NE(got.find("RateLimit: \"api\";r=2;t=0\r\n"), std::string::npos) << got;
  EXPECT_EQ(held->routes()[0].admission.share->running, 0U);
}

TEST_F(ClusterLimits, ARefusalIs429AndIsKnownForTheNextOne) {
  auto c = client();
  c->send(get("/x"));
  answer(questions().at(0), false, seconds(7));
  const std::string got = c->take();
  EXPECT_NE(got.find("429 Too Many Requests"), std::string::npos) << got;
  EXPECT_NE(got.find("Retry-After: 7\r\n"), std::string::npos);
  EXPECT_FALSE(c->over());
  c->send(get("/x"));
  EXPECT_NE(c->take().find("429"), std::string::npos);
  EXPECT_TRUE(questions().empty());
  EXPECT_EQ(proxy->routes().at(0).counters.rate_limited, 2U);
  EXPECT_EQ(proxy->rate_counters().decided[static_cast<std::size_t>(RateSource::kRemembered)], 1U);
}

TEST_F(ClusterLimits, BodiesThatComeMeanwhileAreKeptAndSentInOrder) {
  auto c = client();
  const std::string request = post("/x", "0123456789");
  c->send(request.substr(0, request.size() - 5));
  const auto asked = questions();
  c->send(request.substr(request.size() - 5));
  EXPECT_TRUE(host.upstreams.empty());
  answer(asked.at(0), true);
  up(0).connect();
  EXPECT_NE(up(0).take().find("\r\n\r\n0123456789"), std::string::npos);
}

TEST_F(ClusterLimits, SilenceEndsWithThePartThatThisAgentMayLetThrough) {
  auto c = client();
  c->send(get("/x"));
  advance(Milliseconds(19));
  EXPECT_TRUE(host.upstreams.empty());
  advance(Milliseconds(10));
  ASSERT_EQ(host.upstreams.size(), 1U) << "one of three in 100 s is this agent's";
  up(0).connect();
  up(0).take();
  up(0).send(ok("fine"));
  c->take();
  c->send(get("/x"));
  advance(Milliseconds(30));
  EXPECT_NE(c->take().find("429"), std::string::npos);
  EXPECT_EQ(proxy->rate_counters().decided[static_cast<std::size_t>(RateSource::kLate)], 2U);
}

TEST_F(ClusterLimits, AClientThatLeavesMeanwhileIsForgotten) {
  auto c = client();
  c->send(get("/x"));
  const auto asked = questions();
  c->fail(StreamEnd::kReset);
  answer(asked.at(0), true);
  advance(seconds(1));
  EXPECT_TRUE(host.upstreams.empty());
  ASSERT_EQ(host.accesses.size(), 1U);
  EXPECT_EQ(host.accesses[0].outcome, Outcome::kNotSent);
}

TEST_F(ClusterLimits, ConcurrencyIsLookedAtBehindTheAnswer) {
  auto a = client(), b = client();
  a->send(get("/x"));
  b->send(get("/x"));
  const auto asked = questions();
  answer(asked.at(0), true);
  answer(asked.at(1), true);
  EXPECT_NE(b->take().find("route_busy"), std::string::npos);
}

TEST_F(ClusterLimits, DrainEndsWhatStillWaits) {
  auto c = client();
  c->send(get("/x"));
  proxy->drain(host.clock + Milliseconds(5));
  advance(Milliseconds(2000));
  EXPECT_TRUE(proxy->idle());
}

}  // namespace
}  // namespace proxy::testing
