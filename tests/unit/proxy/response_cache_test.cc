// Answers kept for other clients: what may be kept, for how long, for whom; and one request on behalf of many.
#include "proxy/response_cache.h"

#include <thread>

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr TimePoint kNow{hours(1)};

struct Fields {
  std::vector<http1::Header> list;
  Fields(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
    for (const auto& [name, value] : pairs) list.push_back({http1::header_id_of(name), name, value});
  }
};

std::unique_ptr<StoredAnswer> kept(const Fields& fields, int status = 200, CacheRule rule = {}, std::string_view request = "GET / HTTP/1.1\r\nHost: h\r\n") {
  http1::ResponseHead head;
  head.status = status;
  head.framing = http1::Framing::kChunked;
  head.headers = fields.list;
  return begin_storing(rule, {}, "key", request, head, kNow);
}
seconds fresh_for(const std::unique_ptr<StoredAnswer>& answer) {
  return answer == nullptr ? seconds{-1} : std::chrono::duration_cast<seconds>(answer->fresh_until - kNow);
}

TEST(Storing, TheAnswersOwnWordGoesBeforeTheRoutes) {
  EXPECT_EQ(fresh_for(kept({})), seconds(300)) << "guide 004: 300 s unless said otherwise";
  EXPECT_EQ(fresh_for(kept({{"Cache-Control", "max-age=60"}})), seconds(60));
  EXPECT_EQ(fresh_for(kept({{"Cache-Control", "max-age=60, s-maxage=\"10\""}})), seconds(10));
  EXPECT_EQ(fresh_for(kept({{"Cache-Control", "max-age=60"}, {"Age", "50"}})), seconds(10));
  EXPECT_EQ(fresh_for(kept({{"Date", "Sun, 06 Nov 1994 08:49:37 GMT"}, {"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}})), seconds(60));
  EXPECT_EQ(fresh_for(kept({{"Cache-Control", "max-age=99999999999999999999"}})), hours(24 * 365));
}

TEST(Storing, WhatMustNotBeKept) {
  for (const std::string_view word : {"no-store", "private", "no-cache", "Private=\"x\"", "max-age=0", "max-age=x", "max-age=5, max-age=0"}) {
    EXPECT_EQ(kept({{"Cache-Control", word}}), nullptr) << word;
  }
  EXPECT_EQ(kept({{"Set-Cookie", "s=1"}}), nullptr);
  EXPECT_EQ(kept({{"Vary", "Accept, *"}}), nullptr);
  EXPECT_EQ(kept({{"Expires", "0"}}), nullptr);
  EXPECT_EQ(kept({{"Cache-Control", "max-age=60"}, {"Age", "60"}}), nullptr);
  EXPECT_EQ(kept({{"Content-Range", "bytes 0-1/3"}, {"Cache-Control", "max-age=60"}}, 206), nullptr);
  for (const int status : {201, 302, 404, 410, 500, 503}) EXPECT_EQ(kept({}, status), nullptr) << status;
  EXPECT_EQ(kept({{"Cache-Control", "max-age=60"}}, 500), nullptr);
  EXPECT_NE(kept({{"Cache-Control", "max-age=60"}}, 404), nullptr) << "a miss that says how long";
  CacheRule rule;
  rule.ttl = Milliseconds(0);
  EXPECT_EQ(kept({}, 200, rule), nullptr);
}

TEST(Storing, StaleTimesAreTheAnswersOrTheRoutesAndNoneWithMustRevalidate) {
  CacheRule rule;
  rule.stale_while_revalidate = seconds(5);
  rule.stale_if_error = seconds(50);
  const auto plain = kept({}, 200, rule);
  EXPECT_EQ(plain->stale_until - plain->fresh_until, seconds(5));
  EXPECT_EQ(plain->error_until - plain->fresh_until, seconds(50));
  const auto told = kept({{"Cache-Control", "max-age=1, stale-while-revalidate=7, stale-if-error=8"}}, 200, rule);
  EXPECT_EQ(told->stale_until - told->fresh_until, seconds(7));
  EXPECT_EQ(told->error_until - told->fresh_until, seconds(8));
  const auto strict = kept({{"Cache-Control", "max-age=1, must-revalidate"}}, 200, rule);
  EXPECT_EQ(strict->error_until, strict->fresh_until);
}

CacheWish wish(const Fields& fields, http1::Method method = http1::Method::kGet, FieldRules rules = {}) {
  http1::RequestHead head;
  head.method = method;
  head.headers = fields.list;
  return wish_of(head, rules);
}

TEST(Wishes, CredentialsCookiesRangesAndWritesPassBy) {
  using Kind = CacheWish::Kind;
  EXPECT_EQ(wish({}).kind, Kind::kUse);
  EXPECT_EQ(wish({}, http1::Method::kHead).kind, Kind::kUse);
  EXPECT_EQ(wish({}, http1::Method::kPost).kind, Kind::kBypass);
  for (const std::string_view name : {"Authorization", "Cookie", "X-Api-Key", "Range"}) EXPECT_EQ(wish({{name, "x"}}).kind, Kind::kBypass) << name;
  EXPECT_EQ(wish({{"Cache-Control", "no-store"}}).kind, Kind::kBypass);
  EXPECT_EQ(wish({{"Cache-Control", "no-cache"}}).kind, Kind::kReload);
  EXPECT_EQ(wish({{"Pragma", "no-cache"}}).kind, Kind::kReload);
  FieldRules rules;
  rules.add(*FieldRule::parse(FieldVerb::kDel, FieldSide::kRequest, "Cookie"));
  EXPECT_EQ(wish({{"Cookie", "x"}}, http1::Method::kGet, rules).kind, Kind::kUse) << "the instance does not see it";
}

std::shared_ptr<StoredAnswer> entry(std::string_view key, std::string_view body, std::string_view vary = {}, std::string_view variant = {}) {
  auto answer = std::make_shared<StoredAnswer>();
  answer->key = key;
  answer->body = body;
  answer->since = kNow;
  answer->fresh_until = answer->stale_until = answer->error_until = kNow + seconds(60);
  if (!vary.empty()) answer->vary.emplace_back(vary), answer->variant = std::string(variant) + "\n";
  return answer;
}

TEST(Cache, FindsByKeyAndByWhatVaryNames) {
  ResponseCache cache(1 << 20, 100);
  cache.store(entry("k", "a", "accept-language", "de"), cache.generation(), kNow);
  cache.store(entry("k", "b", "accept-language", "en"), cache.generation(), kNow);
  const auto body = [&](std::string_view language) {
    const auto found = cache.find("k", "GET / HTTP/1.1\r\nHost: h\r\nACCEPT-language:  " + std::string(language) + "\r\n");
    return found == nullptr ? "" : found->body;
  };
  EXPECT_EQ(body("de"), "a");
  EXPECT_EQ(body("en"), "b");
  EXPECT_EQ(body("fr"), "");
  EXPECT_EQ(cache.find("other", ""), nullptr);
}

TEST(Cache, BytesAndEntriesAreBounded) {
  ResponseCache cache(100'000, 64);
  for (int i = 0; i < 1000; ++i) {
    cache.store(entry("k" + std::to_string(i), std::string(5000, 'x')), cache.generation(), kNow);
    ASSERT_LE(cache.bytes(), 100'000U);
    ASSERT_LE(cache.entries(), 64U);
  }
  EXPECT_GT(cache.entries(), 5U);
  EXPECT_NE(cache.find("k999", ""), nullptr) << "the newest is there";
  cache.store(entry("huge", std::string(200'000, 'x')), cache.generation(), kNow);
  EXPECT_EQ(cache.find("huge", ""), nullptr);
}

TEST(Cache, PurgesByRouteAndPrefixAndKeepsNothingThatWasAskedForBefore) {
  ResponseCache cache(1 << 20, 100);
  std::string key;
  append_cache_key(key, "quotes", "http", "H:80", "/quotes/1?a=b");
  EXPECT_EQ(key, "quotes\nhttp\nh:80\n/quotes/1?a=b");
  const std::uint64_t before = cache.generation();
  cache.store(entry(key, "x"), before, kNow);
  EXPECT_EQ(cache.purge("other", ""), 0U);
  EXPECT_EQ(cache.purge("quotes", "/orders"), 0U);
  EXPECT_EQ(cache.purge("quotes", "/quotes"), 1U);
  EXPECT_EQ(cache.find(key, ""), nullptr);
  EXPECT_EQ(cache.bytes(), 0U);
  cache.store(entry(key, "old"), before, kNow);
  EXPECT_EQ(cache.find(key, ""), nullptr) << "its request was sent before the purge";
}

TEST(Cache, OneFetchesForAll) {
  using Turn = ResponseCache::Turn;
  ResponseCache cache(1 << 20, 100);
  std::uint64_t mine = 0, other = 0;
  EXPECT_EQ(cache.claim("k", kNow, kNow + seconds(5), mine), Turn::kFetch);
  EXPECT_EQ(cache.claim("k", kNow, kNow + seconds(5), other), Turn::kWait);
  EXPECT_EQ(cache.claim("k", kNow + seconds(6), kNow + seconds(9), other), Turn::kFetch) << "the first has not come back";
  cache.release("k", mine, true, kNow);
  EXPECT_EQ(cache.claim("k", kNow + seconds(6), kNow + seconds(9), mine), Turn::kWait) << "only the holder can release";
  cache.release("k", other, false, kNow + seconds(6));
  EXPECT_EQ(cache.claim("k", kNow + seconds(6), kNow + seconds(9), mine), Turn::kAlone) << "nothing to wait for";
  EXPECT_EQ(cache.claim("k", kNow + seconds(8), kNow + seconds(9), mine), Turn::kFetch);
}

TEST(Cache, ManyWorkersAtOnce) {
  ResponseCache cache(200'000, 32);
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w) {
    workers.emplace_back([&cache, w] {
      for (int i = 0; i < 3000; ++i) {
        const std::string key = "k" + std::to_string((i * 7 + w) % 50);
        if (const auto found = cache.find(key, ""); found != nullptr) {
          EXPECT_EQ(found->key, key);
          EXPECT_EQ(found->body.size(), 1000U);
        } else {
          cache.store(entry(key, std::string(1000, 'x')), cache.generation(), kNow);
        }
        if (i % 500 == 0) cache.purge("", "k1");
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  cache.purge("", "");
  EXPECT_EQ(cache.bytes(), 0U);
  EXPECT_EQ(cache.entries(), 0U);
}

class Cached : public ProxyTest {
 protected:
  void start_cached() {
    proxy = std::make_unique<Proxy>(settings, host, host, [this](std::uint64_t bound) { return chance(bound); });
    Route all;
    all.name = "quotes";
    all.pool = "all";
    all.cache = cache;
    all.cache_rule = rule;
    all.compress = compress;
    all.retry = retry;
    auto table = RouteTable::make({all});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
    set_pool({endpoint(1)});
  }
  std::string ask(Wire& c, std::string_view fields = {}, std::string_view method = "GET") {
    c.send(std::string(method) + " /quotes?s=X HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n");
    return c.take();
  }
  /// The instance answers the newest request.
  void answer(std::string_view body, std::string_view fields = {}, std::string_view status = "200 OK") {
    Wire& u = *host.upstreams.back();
    if (u.write_calls == 0) u.connect();
    u.take();
    u.send("HTTP/1.1 " + std::string(status) + "\r\n" + std::string(fields) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }
  std::string asked_instance() { return host.upstreams.empty() ? std::string() : host.upstreams.back()->out; }

  CacheRule rule;
  CompressRule compress;
  std::shared_ptr<ResponseCache> cache = std::make_shared<ResponseCache>(1 << 20, 1000);
};

TEST_F(Cached, TheSecondIsAnsweredFromMemory) {
  rule.ttl = seconds(60);
  start_cached();
  auto c = client();
  EXPECT_EQ(ask(*c), "");
  answer("{\"p\":1}", "ETag: \"v1\"\r\nX-A: b\r\n");
  EXPECT_TRUE(has(c->take(), "Cache-Status: outrigger; fwd=uri-miss; stored\r\n"));
  host.clock += seconds(13);
  const std::string hit = ask(*c);
  EXPECT_EQ(hit, "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nX-A: b\r\nContent-Length: 7\r\nCache-Status: outrigger; hit; ttl=47\r\nAge: 13\r\n\r\n{\"p\":1}");
  EXPECT_EQ(body_of(ask(*c, {}, "HEAD")), "");
  const std::string same = ask(*c, "If-None-Match: W/\"v1\"\r\n");
  EXPECT_EQ(status_line_of(same), "HTTP/1.1 304 Not Modified");
  EXPECT_EQ(body_of(same), "");
  EXPECT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(asked_instance(), "");
  EXPECT_EQ(cache->counts().hits, 3U);
  EXPECT_EQ(host.accesses.back().outcome, Outcome::kAnswered);
  host.clock += seconds(60);
  ask(*c);
  EXPECT_EQ(host.upstreams.size(), 2U) << "over its time";
}

TEST_F(Cached, Guide004AHundredClientsCostTheInstanceOneRequest) {
  rule.ttl = seconds(60);
  start_cached();
  std::vector<std::shared_ptr<Wire>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(client());
    EXPECT_EQ(ask(*clients.back()), "");
  }
  EXPECT_EQ(host.upstreams.size(), 1U);
  answer("quote");
  advance(Milliseconds(200));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const std::string text = clients[i]->take();
    EXPECT_TRUE(text.ends_with("\r\n\r\nquote")) << i << text;
    if (i > 0) {
      EXPECT_TRUE(has(text, "fwd=uri-miss; collapsed"));
    }
  }
  EXPECT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(cache->counts().collapsed, 99U);
}

TEST_F(Cached, AFetchThatFailsIsTakenOverByOneThatWaits) {
  retry = false;
  start_cached();
  auto first = client(), second = client(), third = client();
  ask(*first);
  ask(*second);
  ask(*third);
  host.upstreams.back()->fail(StreamEnd::kRefused);
  EXPECT_TRUE(has(first->take(), "502"));
  advance(Milliseconds(200));
  ASSERT_EQ(host.upstreams.size(), 2U) << "one of the two, not both";
  answer("good");
  advance(Milliseconds(200));
  EXPECT_TRUE(has(second->take(), "good"));
  EXPECT_TRUE(has(third->take(), "good"));
}

TEST_F(Cached, WhoHasWaitedLongEnoughAsksHimself) {
  rule.wait = seconds(1);
  start_cached();
  auto first = client(), second = client();
  ask(*first);
  ask(*second);
  host.upstreams.back()->connect();
  advance(Milliseconds(900));
  EXPECT_EQ(host.upstreams.size(), 1U);
  advance(Milliseconds(300));
  EXPECT_EQ(host.upstreams.size(), 2U);
  EXPECT_EQ(counters().open_exchanges, 2U);
  second->fail(StreamEnd::kReset);
  first->fail(StreamEnd::kReset);
  EXPECT_EQ(counters().open_exchanges, 0U);
}

TEST_F(Cached, WhatIsNotKeptHoldsNobodyUp) {
  start_cached();
  auto first = client(), second = client();
  ask(*first);
  ask(*second);
  answer("mine", "Cache-Control: private\r\n");
  EXPECT_TRUE(has(first->take(), "fwd=uri-miss\r\n"));
  advance(Milliseconds(100));
  EXPECT_TRUE(has(asked_instance(), "GET /quotes"));
  auto third = client();
  ask(*third);
  EXPECT_EQ(host.upstreams.size(), 2U) << "for a second nobody waits for such an answer";
}

TEST_F(Cached, StaleWhileOneAsks) {
  rule.ttl = seconds(10);
  rule.stale_while_revalidate = seconds(5);
  start_cached();
  auto first = client(), second = client();
  ask(*first);
  answer("old");
  first->take();
  host.clock += seconds(12);
  EXPECT_EQ(ask(*first), "") << "asks for all";
  const std::string stale = ask(*second);
  EXPECT_TRUE(has(stale, "old") && has(stale, "hit; ttl=-2\r\n")) << stale;
  answer("new");
  EXPECT_TRUE(has(first->take(), "Cache-Status: outrigger; fwd=stale; stored"));
  EXPECT_TRUE(has(ask(*second), "new"));
}

TEST_F(Cached, StaleIfTheInstanceFails) {
  rule.ttl = seconds(10);
  rule.stale_if_error = seconds(100);
  retry = false;
  start_cached();
  auto c = client();
  ask(*c);
  answer("old");
  c->take();
  host.clock += seconds(12);
  ask(*c);
  answer("trouble", {}, "503 Service Unavailable");
  EXPECT_TRUE(c->take().ends_with("\r\n\r\nold")) << "an answer that tells of trouble";
  ask(*c);
  host.upstreams.back()->fail(StreamEnd::kRefused);
  EXPECT_TRUE(c->take().ends_with("\r\n\r\nold")) << "no answer at all";
  EXPECT_EQ(cache->counts().stale, 2U);
  host.clock += seconds(200);
  ask(*c);
  host.upstreams.back()->fail(StreamEnd::kRefused);
  EXPECT_TRUE(has(c->take(), "502"));
}

TEST_F(Cached, ConditionsAndCredentialsOfOneClientDoNotReachTheOthers) {
  start_cached();
  auto c = client();
  ask(*c, "If-None-Match: \"v0\"\r\nif-modified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Keep: 1\r\n");
  host.upstreams.back()->connect();
  const std::string sent = host.upstreams.back()->take();
  EXPECT_FALSE(has(sent, "If-None-Match") || has(sent, "if-modified-since")) << sent;
  EXPECT_TRUE(has(sent, "X-Keep: 1\r\n") && has(sent, "\r\nX-Request-Id: "));
  answer("whole");
  EXPECT_TRUE(has(c->take(), "whole"));
  EXPECT_EQ(host.accesses.back().request_id.size(), 32U);
  EXPECT_TRUE(has(sent, "X-Request-Id: " + host.accesses.back().request_id + "\r\n"));
  ask(*c, "Cookie: session=1\r\n");
  EXPECT_TRUE(has(host.upstreams.back()->take(), "Cookie: session=1")) << "passes by the cache";
  answer("mine");
  EXPECT_TRUE(has(c->take(), "Cache-Status: outrigger; fwd=bypass\r\n"));
  EXPECT_TRUE(has(ask(*c), "whole")) << "and leaves nothing in it";
}

TEST_F(Cached, NoCacheAsksAnewAndOnlyIfCachedNever) {
  start_cached();
  auto c = client();
  EXPECT_TRUE(has(ask(*c, "Cache-Control: only-if-cached\r\n"), "504"));
  ask(*c);
  answer("one");
  c->take();
  ask(*c, "Cache-Control: no-cache\r\n");
  answer("two");
  EXPECT_TRUE(has(c->take(), "fwd=request; stored"));
  EXPECT_TRUE(has(ask(*c), "two"));
  host.clock += seconds(10);
  EXPECT_EQ(ask(*c, "Cache-Control: max-age=5\r\n"), "") << "too old for this one";
  answer("three");
  EXPECT_TRUE(has(c->take(), "three"));
}

TEST_F(Cached, LongAnswersPassAndSlowReadersCostNothing) {
  rule.object_bytes_max = 200'000;
  start_cached();
  auto c = client();
  ask(*c);
  answer(std::string(150'000, 'x'));
  c->take();
  c->room = 1000;
  c->send("GET /quotes?s=X HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(c->out.size(), 1000U);
  c->make_room(SIZE_MAX);
  EXPECT_EQ(body_of(c->take()), std::string(150'000, 'x'));
  auto other = client();
  other->send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n");
  answer(std::string(200'001, 'x'));
  EXPECT_EQ(body_of(other->take()).size(), 200'001U);
  EXPECT_EQ(cache->counts().stored, 1U);
}

TEST_F(Cached, AKeptAnswerIsPackedForWhoTakesIt) {
  compress.level = 6;
  compress.bytes_min = 1;
  compress.types = {"text/html"};
  start_cached();
  auto c = client();
  ask(*c, "Accept-Encoding: gzip\r\n");
  answer("page", "Content-Type: text/html\r\n");
  EXPECT_TRUE(has(c->take(), "page$"));
  EXPECT_TRUE(ask(*c, "Accept-Encoding: gzip\r\n").ends_with("5\r\npage$\r\n0\r\n\r\n"));
  EXPECT_TRUE(ask(*c).ends_with("\r\n\r\npage"));
  EXPECT_EQ(host.packers_lent, 0U);
}

TEST_F(Cached, TheEndOfADrainAndOfClientsLeavesNothingBehind) {
  start_cached();
  auto first = client(), second = client();
  ask(*first);
  ask(*second);
  second->fail(StreamEnd::kReset);
  proxy->drain(host.clock + seconds(1));
  advance(seconds(3));
  EXPECT_EQ(counters().open_exchanges, 0U);
}

}  // namespace
}  // namespace proxy::testing
