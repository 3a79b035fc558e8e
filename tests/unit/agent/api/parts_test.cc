#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "agent/api/consul.h"
#include "agent/api/error.h"
#include "agent/api/metrics_text.h"
#include "agent/api/query.h"
#include "agent/api/router.h"

namespace agent::api {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

// --- error table ---

constexpr Errc kAll[] = {Errc::kBadRequest,     Errc::kNotFound,    Errc::kConflict,    Errc::kTooLarge,
                         Errc::kNoLeader,       Errc::kNoQuorum,    Errc::kTimeout,     Errc::kBusy,
                         Errc::kStopping,       Errc::kUnsupported, Errc::kUnavailable, Errc::kInternal,
                         Errc::kOutcomeUnknown, Errc::kRefused,     Errc::kTooOld,      Errc::kForbidden};

TEST(ErrorTable, EveryErrorHasOneRowAndOneName) {
  std::set<std::string_view> names;
  for (const Errc code : kAll) {
    const auto& row = error_row(code);
    EXPECT_EQ(row.code, code);
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_GE(row.status, 400);
    EXPECT_LT(row.status, 600);
    EXPECT_FALSE(row.hint.empty()) << row.name;
    EXPECT_EQ(row.exit_code, row.status == 400 ? 2 : 1) << row.name;
  }
}

TEST(ErrorTable, UnknownOutcomesAreNot503) {
  for (const Errc code : {Errc::kNoQuorum, Errc::kTimeout, Errc::kOutcomeUnknown})
    EXPECT_EQ(error_row(code).status, 504);
  EXPECT_EQ(error_row(Errc::kNoLeader).consul_text, "No cluster leader");
  EXPECT_EQ(error_row(Errc::kNoLeader).consul_status, 500);
}

// --- texts ---

TEST(DecodePath, DecodesOnceAndLeavesPlusAlone) {
  EXPECT_EQ(decode_path("a%2Fb+c%2520"), "a/b+c%20");
  EXPECT_EQ(decode_path("//..%c3%A9"), "//..\xc3\xa9");
  for (const char* bad : {"%", "%4", "%zz", "a%00b"}) EXPECT_FALSE(decode_path(bad).has_value()) << bad;
}

TEST(ParseU64, TakesAll64BitsAndNothingElse) {
  EXPECT_EQ(parse_u64("18446744073709551615"), 18446744073709551615ULL);
  EXPECT_EQ(parse_u64("0"), 0U);
  for (const char* bad : {"", "-1", "+1", " 1", "1 ", "18446744073709551616", "1.0", "0x1", "1e3"})
    EXPECT_FALSE(parse_u64(bad).has_value()) << bad;
}

TEST(ParseDuration, ReadsGosNotation) {
  EXPECT_EQ(parse_duration("1.9761512279510498s"), milliseconds(1976));
  EXPECT_EQ(parse_duration("120000ms"), milliseconds(120000));
  EXPECT_EQ(parse_duration("1m30s"), milliseconds(90000));
  EXPECT_EQ(parse_duration("1.1s"), milliseconds(1100));
  EXPECT_EQ(parse_duration("1h"), milliseconds(3600000));
  EXPECT_EQ(parse_duration("0"), milliseconds(0));
  EXPECT_EQ(parse_duration("0s"), milliseconds(0));
  EXPECT_EQ(parse_duration("1500us"), milliseconds(1));
  EXPECT_EQ(parse_duration("2000000ns"), milliseconds(2));
  for (const char* bad : {"", "5", "s", "-1s", "1d", "1s5", "1..5s", "1 s", "999999999999h", "1e3s", "infs"})
    EXPECT_FALSE(parse_duration(bad).has_value()) << bad;
}

TEST(Query, FlagsCountByPresence) {
  for (const char* text : {"recurse", "recurse=", "recurse=false", "a=1&recurse&b"}) {
    const auto query = Query::parse(text);
    ASSERT_TRUE(query.has_value());
    EXPECT_TRUE(query->has("recurse")) << text;
  }
  EXPECT_FALSE(Query::parse("recurs")->has("recurse"));
}

TEST(Query, DecodesAndTakesTheFirst) {
  const auto query = Query::parse("a=x+y%26&a=2&=3&&k%65y=v=w");
  ASSERT_TRUE(query.has_value());
  EXPECT_EQ(query->get("a"), "x y&");
  EXPECT_EQ(query->get("key"), "v=w");
  EXPECT_EQ(query->get("none"), "");
  EXPECT_FALSE(Query::parse("a=%0").has_value());
  EXPECT_FALSE(Query::parse("a=%00").has_value());
  std::string many;
  for (int i = 0; i < 65; ++i) many += "a&";
  EXPECT_FALSE(Query::parse(many).has_value());
}

TEST(ConsulTexts, Base64AndJsonAndUuid) {
  const auto base64 = [](std::string_view text) {
    std::string out;
    append_base64(out, text);
    return out;
  };
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfe"), "//4=");
  std::string json;
  append_json_string(json, "a\"b\\\n\xff");
  EXPECT_EQ(json, "\"a\\\"b\\\\\\n\xef\xbf\xbd\"");
  EXPECT_EQ(uuid_of("00112233445566778899aabbccddeeff"), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(uuid_of("x"), "x");
}

// --- router ---

void handler_a(Api&, const Call&) {}
void handler_b(Api&, const Call&) {}

TEST(Router, FindsByShapeThenMethod) {
  Router router;
  router.add("GET", "/v1/kv/*", handler_a);
  router.add("PUT", "/v1/kv/*", handler_b);
  router.add("GET", "/x/:name/end", handler_a);
  router.add("GET", "/x", handler_b);
  auto match = router.find("PUT", "/v1/kv/a%2Fb/c//d");
  EXPECT_EQ(match.outcome, Router::Outcome::kFound);
  EXPECT_EQ(match.handler, handler_b);
  EXPECT_THAT(match.parameters, ElementsAre("a/b/c//d"));
  EXPECT_THAT(router.find("GET", "/v1/kv").parameters, ElementsAre(""));
  EXPECT_THAT(router.find("GET", "/v1/kv/").parameters, ElementsAre(""));
  EXPECT_THAT(router.find("GET", "/v1/kv//").parameters, ElementsAre("/"));
  EXPECT_THAT(router.find("GET", "/x/a%20b/end").parameters, ElementsAre("a b"));
  EXPECT_EQ(router.find("GET", "/x/").handler, handler_b);
}

TEST(Router, SaysWhatIsWrong) {
  Router router;
  router.add("GET", "/v1/kv/*", handler_a);
  router.add("PUT", "/v1/kv/*", handler_b);
  router.add("GET", "/x/:name", handler_a);
  const auto match = router.find("POST", "/v1/kv/a");
  EXPECT_EQ(match.outcome, Router::Outcome::kNoMethod);
  EXPECT_EQ(match.allow, "OPTIONS,GET,PUT");
  for (const char* path : {"/", "", "*", "/v1", "/v1/kvx", "/x//", "/x/a/b", "/V1/kv/a"})
    EXPECT_EQ(router.find("GET", path).outcome, Router::Outcome::kNoPath) << path;
  EXPECT_EQ(router.find("GET", "/x/%zz").outcome, Router::Outcome::kBadPath);
  EXPECT_EQ(router.find("GET", "/v1/kv/%00").outcome, Router::Outcome::kBadPath);
}

// --- metrics ---

std::vector<MetricFamily> families() {
  return {{"outrigger_requests_total",
           "Requests.",
           MetricFamily::Type::kCounter,
           {{{{"code", "200"}, {"path", "a\"b"}}, 3, {}}}},
          {"outrigger_up", "Up.", MetricFamily::Type::kGauge, {{{}, 1, {}}}},
          {"outrigger_latency_seconds",
           "Latency.",
           MetricFamily::Type::kHistogram,
           {{{}, 1.5, {{0.1, 2}, {std::numeric_limits<double>::infinity(), 3}}}}}};
}

TEST(MetricsText, PrometheusText) {
  const std::string text = metrics_text(families(), MetricsFormat::kPrometheus);
  EXPECT_THAT(text, HasSubstr("# TYPE outrigger_requests_total counter\n"
                              "outrigger_requests_total{code=\"200\",path=\"a\\\"b\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_up 1\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_latency_seconds_count 3\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_latency_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("# EOF")));
}

TEST(MetricsText, OpenMetricsText) {
  const std::string text = metrics_text(families(), MetricsFormat::kOpenMetrics);
  EXPECT_THAT(text, HasSubstr("# HELP outrigger_requests Requests.\n# TYPE outrigger_requests counter\n"
                              "outrigger_requests_total{"));
  EXPECT_TRUE(text.ends_with("# EOF\n"));
  EXPECT_EQ(metrics_format_of("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
            MetricsFormat::kOpenMetrics);
  EXPECT_EQ(metrics_format_of("*/*"), MetricsFormat::kPrometheus);
}

}  // namespace
}  // namespace agent::api
