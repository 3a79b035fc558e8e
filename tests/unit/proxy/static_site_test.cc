// Files as an origin: names, conditions, ranges, what is packed beforehand; and the texts that they are made of.
#include <map>
#include <optional>

#include "proxy/accept_encoding.h"
#include "proxy/http_date.h"
#include "proxy/static_site.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

constexpr std::int64_t kNov1994 = 784'111'777;  // Sun, 06 Nov 1994 08:49:37 GMT

TEST(HttpDate, IsWrittenAndReadInAllThreeForms) {
  std::string text;
  append_http_date(text, kNov1994);
  EXPECT_EQ(text, "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(parse_http_date(text), kNov1994);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), kNov1994);
  EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994"), kNov1994);
  for (const std::string_view bad : {"", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "yesterday", "Sun, 06 Nov 1994 08:49:37 GMT "}) {
    EXPECT_FALSE(parse_http_date(bad)) << bad;
  }
}

TEST(HttpDate, EveryDayOfFourHundredYearsComesBack) {
  for (std::int64_t day = -60'000; day < 90'000; day += 17) {
    std::string text;
    append_http_date(text, day * 86'400 + 3'661);
    EXPECT_EQ(parse_http_date(text), day * 86'400 + 3'661) << text;
  }
}

bool takes(std::string_view value) {
  const http1::Header header{http1::HeaderId::kOther, "Accept-Encoding", value};
  return accepts_gzip({&header, 1});
}

TEST(AcceptEncoding, WeightsAreHeeded) {
  EXPECT_FALSE(accepts_gzip({}));
  for (const std::string_view yes : {"gzip", "GZIP", "x-gzip", "deflate, gzip;q=0.5", "*", "gzip;q=0.001", "br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip ; q=1", "identity;q=0.5, gzip"}) {
    EXPECT_TRUE(takes(yes)) << yes;
  }
  for (const std::string_view no : {"", "identity", "gzip;q=0", "gzip;q=0.000", "*;q=0", "gzip;q=x", "gzip;q=-1", "br", "identity, gzip;q=0.5", "gzip;q=0, *", "gzipped"}) {
    EXPECT_FALSE(takes(no)) << no;
  }
}

TEST(EntityTags, AreCompared) {
  EXPECT_TRUE(matches_weakly("\"a\", W/\"b\"", "\"b\""));
  EXPECT_FALSE(matches_strongly("\"a\", W/\"b\"", "\"b\""));
  EXPECT_TRUE(matches_strongly("\"a,b\" , \"c\"", "\"a,b\""));
  EXPECT_TRUE(matches_weakly("*", "\"x\""));
  EXPECT_FALSE(matches_weakly("\"unclosed", "\"unclosed\""));
  EXPECT_FALSE(matches_strongly("W/\"b\"", "W/\"b\""));
}

TEST(FileNames, StayBeneathTheRoot) {
  std::string out;
  EXPECT_TRUE(file_name_of("/static/a/b%20c.js", "/static", out));
  EXPECT_EQ(out, "a/b c.js");
  EXPECT_TRUE(file_name_of("/.well-known/x", "/", out));
  EXPECT_TRUE(file_name_of("/static", "/static", out));
  EXPECT_EQ(out, "");
  for (const std::string_view bad : {"/a%2fb", "/a%00", "/a%5cb", "/.git/config", "/x/.env", "/../x", "/a%", "/a%zz", "/a//b", "/other"}) {
    EXPECT_FALSE(file_name_of(bad, bad == "/other" ? "/static" : "/", out)) << bad;
  }
}

TEST(Range, OneRangeOfBytes) {
  ByteRange r;
  EXPECT_EQ(parse_range("bytes=0-0", 10, r), RangeVerdict::kSatisfiable);
  EXPECT_EQ(r.first, 0U);
  EXPECT_EQ(r.length, 1U);
  EXPECT_EQ(parse_range("bytes=5-", 10, r), RangeVerdict::kSatisfiable);
  EXPECT_EQ(r.first, 5U);
  EXPECT_EQ(r.length, 5U);
  EXPECT_EQ(parse_range("bytes=-3", 10, r), RangeVerdict::kSatisfiable);
  EXPECT_EQ(r.first, 7U);
  EXPECT_EQ(parse_range("bytes=-300", 10, r), RangeVerdict::kSatisfiable);
  EXPECT_EQ(r.length, 10U);
  EXPECT_EQ(parse_range("bytes=2-99999999999999", 10, r), RangeVerdict::kSatisfiable);
  EXPECT_EQ(r.length, 8U);
  for (const std::string_view none : {"bytes=10-", "bytes=-0", "bytes=99-100"}) EXPECT_EQ(parse_range(none, 10, r), RangeVerdict::kUnsatisfiable) << none;
  EXPECT_EQ(parse_range("bytes=-1", 0, r), RangeVerdict::kUnsatisfiable);
  for (const std::string_view odd : {"", "bytes=", "bytes=0-1,4-5", "lines=1-2", "bytes=5-2", "bytes=a-b", "bytes=-", "bytes=1", "bytes=18446744073709551616-"}) {
    EXPECT_EQ(parse_range(odd, 10, r), RangeVerdict::kIgnore) << odd;
  }
}

/// A folder in memory, and a host that opens what it is told to.
class Site : public ::testing::Test, private http1::RequestSink {
 protected:
  std::string ask(std::string_view target, std::string_view fields = {}, std::string_view method = "GET") {
    http1::RequestParser parser{http1::Limits{}};
    const std::string text = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n";
    EXPECT_TRUE(parser.feed(http1::bytes_of(text), *this));
    for (int i = 0; i < 8; ++i) {
      switch (step_) {
        case StaticStep::kOpen:
        case StaticStep::kOpenBeside: {
          if (step_ == StaticStep::kOpenBeside) kept_ = opened_;
          opened_ = answer_.name();
          EXPECT_NE(opened_.front(), '/');
          const auto found = files_.find(opened_);
          step_ = found == files_.end() ? answer_.missing() : answer_.found(found->second);
          break;
        }
        case StaticStep::kSend: sent_ = opened_; return answer_.head();
        case StaticStep::kSendKept: sent_ = kept_; return answer_.head();
        case StaticStep::kReply: sent_.clear(); return answer_.head();
      }
    }
    ADD_FAILURE() << "no end";
    return {};
  }
  http1::Flow on_head(const http1::RequestHead& head) override {
    step_ = answer_.begin(site_, head, kNov1994 + 1000);
    return http1::Flow::kContinue;
  }
  void on_body(Bytes) override {}
  void on_end(std::span<const http1::Header>) override {}

  StaticSite site_{"/srv", "/", "index.html", "", "public, max-age=60", true};
  std::map<std::string, FileFacts> files_{{"index.html", {100, kNov1994 * 1'000'000'000, false}},
                                          {"a.js", {2000, kNov1994 * 1'000'000'000 + 5, false}},
                                          {"a.js.gz", {500, kNov1994 * 1'000'000'000 + 5, false}},
                                          {"old.css", {10, 20'000'000'000, false}},
                                          {"old.css.gz", {5, 10'000'000'000, false}},
                                          {"p.png", {300, kNov1994 * 1'000'000'000, false}},
                                          {"sub", {0, 0, true}},
                                          {"sub/index.html", {7, kNov1994 * 1'000'000'000, false}}};
  StaticAnswer answer_;
  StaticStep step_ = StaticStep::kReply;
  std::string opened_, kept_, sent_;
};

TEST_F(Site, AFileWithAllThatACacheWants) {
  const std::string head = ask("/p.png?v=3");
  EXPECT_EQ(status_line_of(head), "HTTP/1.1 200 OK");
  for (const std::string_view field : {"Content-Type: image/png\r\n", "Content-Length: 300\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                                       "ETag: \"12c-", "Accept-Ranges: bytes\r\n", "Cache-Control: public, max-age=60\r\n", "Date: "}) {
    EXPECT_TRUE(has(head, field)) << field << head;
  }
  EXPECT_EQ(sent_, "p.png");
  EXPECT_EQ(answer_.length(), 300U);
}

TEST_F(Site, HeadHasTheSameHeadAndNothingElse) {
  const std::string head = ask("/p.png");
  EXPECT_EQ(ask("/p.png", {}, "HEAD"), head);
  EXPECT_EQ(answer_.length(), 0U);
}

TEST_F(Site, FoldersAnswerWithTheirIndexAndAreNeverListed) {
  EXPECT_TRUE(has(ask("/"), "Content-Length: 100\r\n"));
  EXPECT_TRUE(has(ask("/sub/"), "Content-Length: 7\r\n"));
  const std::string moved = ask("/sub?x=1");
  EXPECT_EQ(status_line_of(moved), "HTTP/1.1 301 Moved Permanently");
  EXPECT_TRUE(has(moved, "Location: /sub/?x=1\r\n"));
  EXPECT_FALSE(has(ask("//evil.example/../sub"), "Location: //"));
  site_.index.clear();
  EXPECT_EQ(status_line_of(ask("/sub/")), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(status_line_of(ask("/sub")), "HTTP/1.1 404 Not Found");
}

TEST_F(Site, TheFolderOfTheRouteItselfHasASlash) {
  site_.prefix = "/static";
  EXPECT_TRUE(has(ask("/static"), "Location: /static/\r\n"));
  EXPECT_TRUE(has(ask("/static/"), "Content-Length: 100\r\n"));
  EXPECT_TRUE(has(ask("/static/p.png"), "Content-Length: 300\r\n"));
}

TEST_F(Site, WhatIsNotThereIsTheFallbacksOr404) {
  EXPECT_EQ(status_line_of(ask("/missing")), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(status_line_of(ask("/.git/config")), "HTTP/1.1 404 Not Found");
  site_.fallback = "index.html";
  const std::string deep = ask("/positions/7/edit");
  EXPECT_EQ(status_line_of(deep), "HTTP/1.1 200 OK");
  EXPECT_TRUE(has(deep, "Cache-Control: no-cache\r\n") && has(deep, "text/html"));
  site_.fallback = "gone.html";
  EXPECT_EQ(status_line_of(ask("/missing")), "HTTP/1.1 404 Not Found");
}

TEST_F(Site, PackedBeforehandAndNotOlder) {
  const std::string head = ask("/a.js", "Accept-Encoding: gzip\r\n");
  EXPECT_TRUE(has(head, "Content-Encoding: gzip\r\n") && has(head, "Content-Length: 500\r\n") && has(head, "text/javascript"));
  EXPECT_TRUE(has(head, "Vary: Accept-Encoding\r\n"));
  EXPECT_EQ(sent_, "a.js.gz");
  const std::string plain = ask("/a.js");
  EXPECT_TRUE(has(plain, "Content-Length: 2000\r\n") && has(plain, "Vary: Accept-Encoding\r\n"));
  EXPECT_NE(head.substr(head.find("ETag")), plain.substr(plain.find("ETag")));
  EXPECT_TRUE(has(ask("/old.css", "Accept-Encoding: gzip\r\n"), "Content-Length: 10\r\n")) << "the packed one is older";
  EXPECT_EQ(sent_, "old.css");
  EXPECT_TRUE(has(ask("/a.js", "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\n"), "Content-Range: bytes 0-9/2000\r\n"));
}

TEST_F(Site, ConditionsInTheirOrder) {
  const std::string head = ask("/p.png");
  const std::size_t at = head.find("ETag: ") + 6;
  const std::string tag = head.substr(at, head.find('\r', at) - at);
  const auto status = [&](const std::string& fields) { return status_line_of(ask("/p.png", fields)).substr(9, 3); };
  EXPECT_EQ(status("If-None-Match: " + tag + "\r\n"), "304");
  EXPECT_FALSE(has(answer_.head(), "Content-Length"));
  EXPECT_TRUE(has(answer_.head(), tag) && has(answer_.head(), "Cache-Control"));
  EXPECT_EQ(status("If-None-Match: W/" + tag + "\r\n"), "304");
  EXPECT_EQ(status("If-None-Match: \"other\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "200") << "the tag decides";
  EXPECT_EQ(status("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "304");
  EXPECT_EQ(status("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"), "200");
  EXPECT_EQ(status("If-Modified-Since: nonsense\r\n"), "200");
  EXPECT_EQ(status("If-Match: \"other\"\r\n"), "412");
  EXPECT_EQ(status("If-Match: " + tag + "\r\n"), "200");
  EXPECT_EQ(status("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"), "412");
}

TEST_F(Site, Ranges) {
  const std::string part = ask("/p.png", "Range: bytes=10-19\r\n");
  EXPECT_EQ(status_line_of(part), "HTTP/1.1 206 Partial Content");
  EXPECT_TRUE(has(part, "Content-Range: bytes 10-19/300\r\n") && has(part, "Content-Length: 10\r\n"));
  EXPECT_EQ(answer_.first(), 10U);
  EXPECT_EQ(answer_.length(), 10U);
  const std::string beyond = ask("/p.png", "Range: bytes=300-\r\n");
  EXPECT_EQ(status_line_of(beyond), "HTTP/1.1 416 Range Not Satisfiable");
  EXPECT_TRUE(has(beyond, "Content-Range: bytes */300\r\n"));
  EXPECT_EQ(status_line_of(ask("/p.png", "Range: bytes=0-1,3-4\r\n")), "HTTP/1.1 200 OK");
  EXPECT_EQ(status_line_of(ask("/p.png", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n")), "HTTP/1.1 200 OK");
  EXPECT_EQ(status_line_of(ask("/p.png", "Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n")), "HTTP/1.1 206 Partial Content");
  EXPECT_EQ(answer_.length(), 2U);
}

TEST_F(Site, FilesCanOnlyBeRead) {
  const std::string refused = ask("/p.png", "Content-Length: 0\r\n", "POST");
  EXPECT_EQ(status_line_of(refused), "HTTP/1.1 405 Method Not Allowed");
  EXPECT_TRUE(has(refused, "Allow: GET, HEAD\r\n"));
}

}  // namespace
}  // namespace proxy::testing
