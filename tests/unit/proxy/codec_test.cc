#include "proxy/http1/codec.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proxy/http1/writer.h"

namespace proxy::http1 {
namespace {

struct SeenRequest {
  std::string method, target, path, query, host, body;
  std::vector<std::pair<std::string, std::string>> headers, trailers;
  Framing framing = Framing::kNone;
  std::uint64_t content_length = 0;
  std::uint8_t minor = 9;
  bool keep_alive = false, upgrade = false, expect_continue = false, ended = false;
};

class RequestLog final : public RequestSink {
 public:
  Flow on_head(const RequestHead& head) override {
    SeenRequest r;
    r.method = head.method_text;
    r.target = head.target;
    r.path = head.path;
    r.query = head.query;
    r.host = head.host;
    r.framing = head.framing;
    r.content_length = head.content_length;
    r.minor = head.minor;
    r.keep_alive = head.keep_alive;
    r.upgrade = head.upgrade;
    r.expect_continue = head.expect_continue;
    for (const Header& h : head.headers) r.headers.emplace_back(h.name, h.value);
    requests.push_back(r);
    if (body_limit) parser->set_body_limit(*body_limit);
    return flow;
  }
  void on_body(Bytes bytes) override { requests.back().body += text_of(bytes); }
  void on_end(std::span<const Header> trailers) override {
    requests.back().ended = true;
    for (const Header& h : trailers) requests.back().trailers.emplace_back(h.name, h.value);
  }
  std::vector<SeenRequest> requests;
  Flow flow = Flow::kContinue;
  std::optional<std::uint64_t> body_limit;
  RequestParser* parser = nullptr;
};

// Feeds `text` in slices of `slice` bytes; @return the first error, if any.
std::optional<Error> feed_sliced(RequestParser& parser, RequestLog& log, std::string_view text, std::size_t slice) {
  while (!text.empty()) {
    // The slice lives in memory of its own, so that a view kept too long is found by the sanitizer.
    std::string piece(text.substr(0, slice));
    auto consumed = parser.feed(bytes_of(piece), log);
    if (!consumed) return consumed.error();
    if (*consumed == 0) return Error{Errc::kBadRequestLine, "stuck"};
    text.remove_prefix(*consumed);
  }
  return std::nullopt;
}

class Slices : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(OneTwoSevenAll, Slices, testing::Values(1, 2, 7, 64, 100000));

TEST_P(Slices, RequestsArriveWholeHoweverTheyAreTorn) {
  RequestParser parser({});
  RequestLog log;
  const auto error = feed_sliced(parser, log,
      "GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: example.com:80\r\nX-Empty:\r\nX-Blanks: \t two words \t\r\n\r\n"
      "POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world"
      "\r\n\r\nPUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: abc\r\nHost: evil\r\nAuthorization: me\r\n\r\n"
      "HEAD / HTTP/1.0\r\n\r\n", GetParam());
  ASSERT_FALSE(error) << error->detail;
  ASSERT_EQ(log.requests.size(), 4U);
  const SeenRequest& get = log.requests[0];
  EXPECT_EQ(get.method, "GET");
  EXPECT_EQ(get.target, "/a/b?x=1&y=%20");
  EXPECT_EQ(get.path, "/a/b");
  EXPECT_EQ(get.query, "x=1&y=%20");
  EXPECT_EQ(get.host, "example.com:80");
  EXPECT_EQ(get.framing, Framing::kNone);
  EXPECT_TRUE(get.keep_alive);
  EXPECT_TRUE(get.ended);
  const std::vector<std::pair<std::string, std::string>> headers = {
      {"Host", "example.com:80"}, {"X-Empty", ""}, {"X-Blanks", "two words"}};
  EXPECT_EQ(get.headers, headers);
  EXPECT_EQ(log.requests[1].body, "hello world");
  EXPECT_EQ(log.requests[1].content_length, 11U);
  EXPECT_EQ(log.requests[1].framing, Framing::kLength);
  EXPECT_EQ(log.requests[2].body, "hello world");
  EXPECT_EQ(log.requests[2].framing, Framing::kChunked);
  const std::vector<std::pair<std::string, std::string>> trailers = {{"X-Sum", "abc"}};
  EXPECT_EQ(log.requests[2].trailers, trailers) << "fields that decide routing stay out of trailers";
  EXPECT_EQ(log.requests[3].minor, 0);
  EXPECT_FALSE(log.requests[3].keep_alive);
  EXPECT_TRUE(log.requests[3].ended);
  EXPECT_FALSE(parser.in_message());
}

TEST(RequestParser, StopsBehindOneMessage) {
  RequestParser parser({});
  RequestLog log;
  const std::string two = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n";
  auto consumed = parser.feed(bytes_of(two), log);
  ASSERT_TRUE(consumed);
  EXPECT_EQ(*consumed, two.size() / 2);
  EXPECT_EQ(log.requests.size(), 1U);
}

TEST(RequestParser, KnowsWhereItIs) {
  RequestParser parser({});
  RequestLog log;
  EXPECT_FALSE(parser.in_message());
  ASSERT_TRUE(parser.feed(bytes_of("\r\n"), log));
  EXPECT_FALSE(parser.in_message()) << "blank lines are no message";
  ASSERT_TRUE(parser.feed(bytes_of("POST / HT"), log));
  EXPECT_TRUE(parser.in_head());
  ASSERT_TRUE(parser.feed(bytes_of("TP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na"), log));
  EXPECT_TRUE(parser.in_message());
  EXPECT_FALSE(parser.in_head());
  ASSERT_TRUE(parser.feed(bytes_of("bc"), log));
  EXPECT_FALSE(parser.in_message());
}

TEST(RequestParser, SeesUpgradeAndLeavesTheRestAlone) {
  RequestParser parser({});
  RequestLog log;
  const std::string head = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
  const std::string all = head + "\x81\x05hello";
  auto consumed = parser.feed(bytes_of(all), log);
  ASSERT_TRUE(consumed);
  EXPECT_EQ(*consumed, head.size());
  EXPECT_TRUE(log.requests[0].upgrade);
  EXPECT_TRUE(log.requests[0].ended);
  parser.reset();
  ASSERT_TRUE(parser.feed(bytes_of("GET /next HTTP/1.1\r\nHost: h\r\n\r\n"), log));
  EXPECT_EQ(log.requests[1].target, "/next");
}

TEST(RequestParser, UpgradeNeedsBothFieldsAndNoBody) {
  for (const std::string fields : {"Upgrade: websocket\r\n", "Connection: upgrade\r\n",
                                   "Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n"}) {
    RequestParser parser({});
    RequestLog log;
    ASSERT_TRUE(parser.feed(bytes_of("GET / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n"), log)) << fields;
    EXPECT_FALSE(log.requests.at(0).upgrade) << fields;
  }
}

TEST(RequestParser, StopEndsTheCallAtOnce) {
  RequestParser parser({});
  RequestLog log;
  log.flow = Flow::kStop;
  ASSERT_TRUE(parser.feed(bytes_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), log));
  EXPECT_FALSE(log.requests.at(0).ended);
  EXPECT_EQ(log.requests.at(0).body, "");
}

TEST(RequestParser, TakesTheAuthorityOfAnAbsoluteTarget) {
  RequestParser parser({});
  RequestLog log;
  ASSERT_TRUE(parser.feed(bytes_of("GET http://example.com:81/p?q HTTP/1.1\r\nHost: Example.com:81\r\n\r\n"), log));
  EXPECT_EQ(log.requests[0].path, "/p");
  EXPECT_EQ(log.requests[0].query, "q");
  EXPECT_EQ(log.requests[0].host, "Example.com:81");
  ASSERT_TRUE(parser.feed(bytes_of("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), log));
  EXPECT_EQ(log.requests[1].path, "*");
}

TEST(RequestParser, ExpectContinueOnlyWithABody) {
  RequestParser parser({});
  RequestLog log;
  ASSERT_TRUE(parser.feed(bytes_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\nx"), log));
  ASSERT_TRUE(parser.feed(bytes_of("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"), log));
  EXPECT_TRUE(log.requests[0].expect_continue);
  EXPECT_FALSE(log.requests[1].expect_continue);
}

struct BadCase {
  const char* name;
  std::string text;
  Errc code;
  bool head_seen = false;  // the fault lies in the body
};
void PrintTo(const BadCase& c, std::ostream* os) { *os << c.name; }

std::string with(std::string_view fields) { return "POST /o HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\nabc"; }

std::vector<BadCase> bad_cases() {
  using namespace std::string_literals;
  return {
      {"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, Errc::kBadRequestLine},
      {"unknown_method", "ORDER / HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"lower_case_method", "get / HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"leading_blank", " GET / HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"relative_target", "GET orders HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"foreign_scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"blank_in_target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"fragment_in_target", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"nul_in_target", "GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n"s, Errc::kBadRequestLine},
      {"high_byte_in_target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"other_protocol", "GET / ICE/1.0\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"http_0_9", "GET /\r\n\r\n", Errc::kBadVersion},
      {"http_2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Errc::kBadVersion},
      {"http_1_2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", Errc::kBadVersion},
      {"http_3", "GET / HTTP/3.0\r\nHost: h\r\n\r\n", Errc::kBadVersion},
      {"bare_lf_after_line", "GET / HTTP/1.1\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"bare_lf_after_field", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", Errc::kBadHeader},
      {"bare_lf_at_end", "GET / HTTP/1.1\r\nHost: h\r\n\n", Errc::kBadHeader},
      {"bare_cr_in_value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", Errc::kBadHeader},
      {"bare_cr_at_end", "GET / HTTP/1.1\r\nHost: h\r\n\rGET / HTTP/1.1\r\n", Errc::kBadHeader},
      {"folded_field", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", Errc::kBadHeader},
      {"folded_first_line", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", Errc::kBadHeader},
      {"blank_before_colon", with("Content-Length : 3\r\n"), Errc::kBadHeader},
      {"tab_before_colon", with("Content-Length\t: 3\r\n"), Errc::kBadHeader},
      {"no_colon", "GET / HTTP/1.1\r\nHost: h\r\nfoo\r\n\r\n", Errc::kBadHeader},
      {"empty_name", "GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", Errc::kBadHeader},
      {"odd_byte_in_name", "GET / HTTP/1.1\r\nHost: h\r\nX(y): x\r\n\r\n", Errc::kBadHeader},
      {"nul_in_value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"s, Errc::kBadHeader},
      {"control_in_value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01" "b\r\n\r\n", Errc::kBadHeader},
      {"delete_in_value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x7f\r\n\r\n", Errc::kBadHeader},
      {"no_host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", Errc::kBadHost},
      {"empty_host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Errc::kBadHost},
      {"two_hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", Errc::kBadHost},
      {"host_with_path", "GET / HTTP/1.1\r\nHost: h/p\r\n\r\n", Errc::kBadHost},
      {"host_with_user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", Errc::kBadHost},
      {"authority_is_not_host", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", Errc::kBadHost},
      {"user_in_authority", "GET http://u@h/ HTTP/1.1\r\nHost: u@h\r\n\r\n", Errc::kBadHost},
      {"length_and_chunked", with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), Errc::kBadFraming},
      {"chunked_and_length", with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), Errc::kBadFraming},
      {"two_lengths", with("Content-Length: 3\r\nContent-Length: 3\r\n"), Errc::kBadFraming},
      {"length_list", with("Content-Length: 3, 3\r\n"), Errc::kBadFraming},
      {"length_plus", with("Content-Length: +3\r\n"), Errc::kBadFraming},
      {"length_minus", with("Content-Length: -3\r\n"), Errc::kBadFraming},
      {"length_hex", with("Content-Length: 0x3\r\n"), Errc::kBadFraming},
      {"length_empty", with("Content-Length:\r\n"), Errc::kBadFraming},
      {"length_huge", with("Content-Length: 18446744073709551617\r\n"), Errc::kBadFraming},
      {"length_with_blank", with("Content-Length: 3 3\r\n"), Errc::kBadFraming},
      {"chunked_twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Errc::kBadFraming},
      {"chunked_in_1_0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Errc::kBadFraming},
      {"gzip_chunked", with("Transfer-Encoding: gzip, chunked\r\n"), Errc::kUnknownCoding},
      {"identity", with("Transfer-Encoding: identity\r\n"), Errc::kBadFraming},
      {"chunked_with_tail", with("Transfer-Encoding: chunkedfoo\r\n"), Errc::kBadFraming},
      {"chunked_list", with("Transfer-Encoding: chunked, identity\r\n"), Errc::kBadFraming},
      {"odd_expectation", with("Content-Length: 3\r\nExpect: coffee\r\n"), Errc::kUnknownExpectation},
      {"chunk_size_letters", with("Transfer-Encoding: chunked\r\n").substr(0, 57) + "\r\nxyz\r\n", Errc::kBadChunk, true},
      {"chunk_size_prefix", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", Errc::kBadChunk, true},
      {"chunk_size_minus", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", Errc::kBadChunk, true},
      {"chunk_size_huge", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n", Errc::kBadChunk, true},
      {"chunk_size_blank", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", Errc::kBadChunk, true},
      {"chunk_bare_lf", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", Errc::kBadChunk, true},
      {"chunk_too_long", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", Errc::kBadChunk, true},
      {"chunk_no_crlf", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n", Errc::kBadChunk, true},
      {"chunk_extension_long", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;" + std::string(5000, 'e') + "\r\nabc\r\n", Errc::kBadChunk, true},
      {"long_target", "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kTargetTooLong},
      {"endless_target", "GET /" + std::string(70000, 'a'), Errc::kTargetTooLong},
      {"long_field", "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(40000, 'a') + "\r\n\r\n", Errc::kHeadTooLarge},
      {"endless_name", "GET / HTTP/1.1\r\nHost: h\r\n" + std::string(70000, 'a'), Errc::kHeadTooLarge},
      {"many_fields", [] { std::string s = "GET / HTTP/1.1\r\nHost: h\r\n"; for (int i = 0; i < 200; ++i) s += "A: b\r\n"; return s + "\r\n"; }(), Errc::kHeadTooLarge},
      {"long_trailer", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + std::string(40000, 'a') + "\r\n\r\n", Errc::kHeadTooLarge, true},
      {"long_body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", Errc::kBodyTooLarge},
      {"long_chunked_body", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x') + "\r\n0\r\n\r\n", Errc::kBodyTooLarge, true},
  };
}

// What llhttp alone would let pass.
std::vector<BadCase> generous_cases() {
  return {
      {"comma_before_chunked", with("Transfer-Encoding: , chunked\r\n"), Errc::kBadFraming},
      {"chunked_twice_in_a_list", with("Transfer-Encoding: chunked, chunked\r\n"), Errc::kBadFraming},
      {"two_blanks_after_method", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"two_blanks_before_version", "GET /  HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"rtsp", "OPTIONS /o RTSP/1.0\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"ice", "SOURCE /o ICE/1.0\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"bare_lf_before_request", "\r\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"bare_cr_before_request", "\r\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"cr_instead_of_request", "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", Errc::kBadRequestLine},
      {"host_with_comma", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Errc::kBadHost},
      {"second_expectation", with("Content-Length: 3\r\nExpect: 100-continue\r\nExpect: coffee\r\n"), Errc::kUnknownExpectation},
      {"trailer_without_colon", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n!\r\nGET /x HTTP/1.1\r\n\r\n", Errc::kBadHeader, true},
      {"endless_noughts", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(120000, '0') + "3\r\nabc\r\n", Errc::kBadChunk, true},
  };
}

class Refused : public testing::TestWithParam<BadCase> {};
INSTANTIATE_TEST_SUITE_P(Generous, Refused, testing::ValuesIn(generous_cases()),
                         [](const auto& row) { return std::string(row.param.name); });
INSTANTIATE_TEST_SUITE_P(Table, Refused, testing::ValuesIn(bad_cases()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_P(Refused, WithOneCodeHoweverTorn) {
  const BadCase& bad = GetParam();
  for (const std::size_t slice : {std::size_t{1}, std::size_t{13}, std::size_t{1000000}}) {
    Limits limits;
    limits.body_bytes_max = 1000;
    RequestParser parser(limits);
    RequestLog log;
    const auto error = feed_sliced(parser, log, bad.text, slice);
    ASSERT_TRUE(error) << "accepted in slices of " << slice;
    EXPECT_EQ(name_of(error->code), name_of(bad.code)) << error->detail << " in slices of " << slice;
    EXPECT_EQ(log.requests.size(), bad.head_seen ? 1U : 0U) << "slices of " << slice;
    for (const SeenRequest& r : log.requests) EXPECT_FALSE(r.ended);
    EXPECT_FALSE(parser.feed(bytes_of("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), log)) << "a refusal is final";
    parser.reset();
    EXPECT_TRUE(parser.feed(bytes_of("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), log)) << "until reset";
  }
}

TEST(RequestParser, EndlessBlankLinesAreBounded) {
  RequestParser parser({});
  RequestLog log;
  std::string blank;
  for (int i = 0; i < 20000; ++i) blank += "\r\n";
  EXPECT_TRUE(feed_sliced(parser, log, blank, 1000));
}

TEST(RequestParser, BodyLimitCanBeSetFromTheHead) {
  RequestParser parser({});
  RequestLog log;
  log.parser = &parser;
  log.body_limit = 2;
  auto result = parser.feed(bytes_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), log);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kBodyTooLarge);
  EXPECT_EQ(log.requests[0].body, "");
}

// ---- responses ----

struct SeenResponse {
  int status = 0;
  std::string reason, body;
  Framing framing = Framing::kNone;
  bool keep_alive = false, ended = false, interim = false;
  std::vector<std::pair<std::string, std::string>> headers, trailers;
};
class ResponseLog final : public ResponseSink {
 public:
  Flow on_head(const ResponseHead& head) override {
    SeenResponse r;
    r.status = head.status;
    r.reason = head.reason;
    r.framing = head.framing;
    r.keep_alive = head.keep_alive;
    r.interim = head.interim();
    for (const Header& h : head.headers) r.headers.emplace_back(h.name, h.value);
    responses.push_back(r);
    return Flow::kContinue;
  }
  void on_body(Bytes bytes) override { responses.back().body += text_of(bytes); }
  void on_end(std::span<const Header> trailers) override {
    responses.back().ended = true;
    for (const Header& h : trailers) responses.back().trailers.emplace_back(h.name, h.value);
  }
  std::vector<SeenResponse> responses;
};

std::optional<Error> feed_sliced(ResponseParser& parser, ResponseLog& log, std::string_view text, std::size_t slice) {
  while (!text.empty()) {
    std::string piece(text.substr(0, slice));
    auto consumed = parser.feed(bytes_of(piece), log);
    if (!consumed) return consumed.error();
    if (*consumed == 0) return Error{Errc::kBadResponse, "stuck"};
    text.remove_prefix(*consumed);
  }
  return std::nullopt;
}

TEST_P(Slices, ResponsesArriveWholeHoweverTheyAreTorn) {
  ResponseParser parser({});
  ResponseLog log;
  const auto error = feed_sliced(parser, log,
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
      "HTTP/1.1 200 All Right\r\nContent-Length: 5\r\n\r\nhello"
      "HTTP/1.1 204 No Content\r\n\r\n"
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n"
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n"
      "HTTP/1.1 200 \r\nConnection: close\r\n\r\nuntil the end", GetParam());
  ASSERT_FALSE(error) << error->detail;
  ASSERT_EQ(log.responses.size(), 7U);
  EXPECT_TRUE(log.responses[0].interim);
  EXPECT_FALSE(log.responses[0].ended);
  EXPECT_TRUE(log.responses[1].interim);
  EXPECT_EQ(log.responses[2].reason, "All Right");
  EXPECT_EQ(log.responses[2].body, "hello");
  EXPECT_TRUE(log.responses[2].ended);
  EXPECT_TRUE(log.responses[3].ended);
  EXPECT_TRUE(log.responses[4].ended);
  EXPECT_EQ(log.responses[5].body, "abc");
  EXPECT_EQ(log.responses[5].trailers.size(), 1U);
  EXPECT_TRUE(log.responses[5].keep_alive);
  EXPECT_EQ(log.responses[6].framing, Framing::kToEof);
  EXPECT_FALSE(log.responses[6].keep_alive);
  EXPECT_FALSE(log.responses[6].ended);
  ASSERT_TRUE(parser.finish(log));
  EXPECT_TRUE(log.responses[6].ended);
  EXPECT_EQ(log.responses[6].body, "until the end");
}

TEST(ResponseParser, HeadHasNoBodyWhateverItsLength) {
  ResponseParser parser({});
  ResponseLog log;
  parser.expect(Method::kHead);
  ASSERT_TRUE(parser.feed(bytes_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), log));
  ASSERT_TRUE(log.responses.at(0).ended);
  EXPECT_TRUE(log.responses[0].keep_alive);
  parser.expect(Method::kGet);
  ASSERT_TRUE(parser.feed(bytes_of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), log));
  EXPECT_EQ(log.responses.at(1).body, "ab");
}

TEST(ResponseParser, SwitchingProtocolsLeavesTheRestAlone) {
  ResponseParser parser({});
  ResponseLog log;
  const std::string head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
  auto consumed = parser.feed(bytes_of(head + "\x81\x01x"), log);
  ASSERT_TRUE(consumed) << consumed.error().detail;
  EXPECT_EQ(*consumed, head.size());
  EXPECT_TRUE(log.responses[0].ended);
}

TEST(ResponseParser, AnEndInsideAMessageIsTruncation) {
  for (const std::string text : {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "HTTP/1.1 20",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"}) {
    ResponseParser parser({});
    ResponseLog log;
    ASSERT_TRUE(parser.feed(bytes_of(text), log));
    auto end = parser.finish(log);
    ASSERT_FALSE(end) << text;
    EXPECT_EQ(end.error().code, Errc::kTruncated);
  }
  ResponseParser idle({});
  ResponseLog log;
  EXPECT_TRUE(idle.finish(log));
}

TEST(ResponseParser, RefusesWhatCanBeReadInTwoWays) {
  for (const std::string text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", "SSH-2.0-x\r\n",
        "HTTP/1.1 099 Odd\r\n\r\n", "HTTP/1.1 600 Odd\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "RTSP/1.0 200 OK\r\n\r\n"}) {
    ResponseParser parser({});
    ResponseLog log;
    auto result = parser.feed(bytes_of(text), log);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, Errc::kBadResponse) << text;
    EXPECT_TRUE(log.responses.empty()) << text;
  }
}

TEST(ResponseParser, InterimHeadsAreBoundedPerRequest) {
  ResponseParser parser({});
  ResponseLog log;
  for (int request = 0; request < 2; ++request) {
    parser.expect(Method::kGet);
    for (int i = 0; i < 64; ++i) ASSERT_TRUE(parser.feed(bytes_of("HTTP/1.1 103 Early Hints\r\n\r\n"), log)) << i;
    if (request == 0) {
      ASSERT_TRUE(parser.feed(bytes_of("HTTP/1.1 204 No Content\r\n\r\n"), log));
    }
  }
  auto result = parser.feed(bytes_of("HTTP/1.1 100 Continue\r\n\r\n"), log);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kBadResponse);
}

TEST(RequestParser, EmptyLinesBeforeARequestMayBeTorn) {
  for (const std::size_t slice : {std::size_t{1}, std::size_t{3}, std::size_t{100}}) {
    RequestParser parser({});
    RequestLog log;
    EXPECT_FALSE(feed_sliced(parser, log, "\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", slice));
    EXPECT_EQ(log.requests.size(), 2U) << slice;
  }
}

TEST(RequestParser, ChunkFramingIsJudgedTheSameHoweverItIsTorn) {
  // Just below and just above the bound, with payload behind that would pay for more if it were counted first.
  for (const std::size_t noughts : {std::size_t{40000}, std::size_t{48000}, std::size_t{49500}, std::size_t{60000}}) {
    std::string text = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    text += std::string(noughts, '0') + "1000\r\n" + std::string(0x1000, 'x') + "\r\n0\r\n\r\n";
    for (const std::size_t slice : {std::size_t{1}, std::size_t{1000}, std::size_t{65536}, std::size_t{1000000}}) {
      RequestParser parser({});
      RequestLog log;
      EXPECT_EQ(feed_sliced(parser, log, text, slice).has_value(), noughts > 49100) << noughts << " in slices of " << slice;
    }
  }
}

TEST(RequestParser, TheEndOfAHeadIsFoundBehindAnEmptyValue) {
  for (const std::string last : {"X:", "X: ", "X: \t "}) {
    const std::string text = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + last + "\r\n\r\n1\r\na\r\n0\r\n\r\n";
    for (const std::size_t slice : {std::size_t{1}, std::size_t{5}, text.size()}) {
      RequestParser parser({});
      RequestLog log;
      EXPECT_FALSE(feed_sliced(parser, log, text, slice)) << last << slice;
      EXPECT_EQ(log.requests.size(), 1U);
    }
  }
}

TEST(RequestParser, ManySmallChunksAreNoAbuse) {
  RequestParser parser({});
  RequestLog log;
  std::string text = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 50000; ++i) text += "1\r\nx\r\n";
  EXPECT_FALSE(feed_sliced(parser, log, text + "0\r\n\r\n", 4096));
  ASSERT_EQ(log.requests.size(), 1U);
  EXPECT_TRUE(log.requests[0].ended);
}

TEST(ResponseParser, HeadsAndBodiesAreBounded) {
  Limits limits;
  limits.head_bytes_max = 1000;
  limits.body_bytes_max = 10;
  ResponseParser parser(limits);
  ResponseLog log;
  auto result = parser.feed(bytes_of("HTTP/1.1 200 OK\r\nX: " + std::string(2000, 'a') + "\r\n\r\n"), log);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kHeadTooLarge);
  parser.reset();
  result = parser.feed(bytes_of("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"), log);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kBodyTooLarge);
}

}  // namespace
}  // namespace proxy::http1
