// Small text parts: messages, writer, errors, trusted proxies, gathering and sending.
#include <gtest/gtest.h>

#include <cctype>
#include <cstring>

#include "proxy/forwarding.h"
#include "proxy/http1/fields.h"
#include "proxy/http1/writer.h"
#include "proxy/observe.h"
#include "proxy/outlet.h"
#include "proxy/upstream.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy {
namespace {

using http1::bytes_of;

TEST(Errors, EveryCodeHasANameOfItsOwnAndAStatus) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Errc::kBadAddress); ++i) {
    const auto code = static_cast<Errc>(i);
    names.insert(name_of(code));
    EXPECT_GE(status_of(code), 400) << name_of(code);
    EXPECT_LE(status_of(code), 505) << name_of(code);
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Errc::kBadAddress) + 1);
  EXPECT_EQ(status_of(Errc::kHeadTooLarge), 431);
  EXPECT_EQ(status_of(Errc::kTargetTooLong), 414);
  EXPECT_EQ(status_of(Errc::kBodyTooLarge), 413);
  EXPECT_EQ(status_of(Errc::kMethodRefused), 405);
}

TEST(Message, KnowsMethodsAndFields) {
  EXPECT_EQ(http1::method_of("GET"), http1::Method::kGet);
  EXPECT_EQ(http1::method_of("CONNECT"), http1::Method::kConnect);
  EXPECT_EQ(http1::method_of("get"), http1::Method::kOther);
  EXPECT_EQ(http1::name_of(http1::Method::kPatch), "PATCH");
  EXPECT_EQ(http1::name_of(http1::Method::kOther), "OTHER");
  EXPECT_TRUE(http1::is_safe(http1::Method::kHead));
  EXPECT_FALSE(http1::is_safe(http1::Method::kPut)) << "idempotent by the book, but it may trade";
  EXPECT_EQ(http1::header_id_of("CONTENT-length"), http1::HeaderId::kContentLength);
  EXPECT_EQ(http1::header_id_of("X-Outrigger-Anything"), http1::HeaderId::kOutrigger);
  EXPECT_EQ(http1::header_id_of("x-outrigger-"), http1::HeaderId::kOther);
  EXPECT_EQ(http1::header_id_of("X-Custom"), http1::HeaderId::kOther);
  EXPECT_EQ(http1::header_id_of(""), http1::HeaderId::kOther);
}

TEST(Message, KnowsEveryFieldInAnyCaseAndNothingBesideIt) {
  using http1::HeaderId;
  std::set<HeaderId> ids;
  for (const std::string_view name :
       {"Host", "Connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
        "Proxy-Authorization", "Expect", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Client-Cert", "X-Real-IP",
        "X-Request-ID"}) {
    std::string upper(name), changed(name);
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    changed.back() = changed.back() == 'q' ? 'r' : 'q';
    const HeaderId id = http1::header_id_of(name);
    EXPECT_NE(id, HeaderId::kOther) << name;
    EXPECT_EQ(http1::header_id_of(upper), id) << upper;
    ids.insert(id);
    EXPECT_EQ(http1::header_id_of(changed), HeaderId::kOther) << changed;
    EXPECT_EQ(http1::header_id_of(std::string(name) + "s"), HeaderId::kOther) << name;
    for (const std::size_t turn : {32U, 64U}) EXPECT_EQ(http1::header_id_of(std::string(name) + std::string(turn, 'x')), HeaderId::kOther) << name;
  }
  EXPECT_EQ(ids.size(), 19U);
}

TEST(Message, BytesOfNamesAndValuesAreThoseOfRfc9110) {
  for (int i = 0; i < 256; ++i) {
    const char c = static_cast<char>(i);
    const bool letter = (i >= '0' && i <= '9') || (i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z');
    EXPECT_EQ(http1::is_token_byte(c), letter || (i != 0 && std::strchr("!#$%&'*+-.^_`|~", i) != nullptr)) << i;
    EXPECT_EQ(http1::is_value_byte(c), i == 0x09 || (i >= 0x20 && i <= 0x7e) || i >= 0x80) << i;
  }
}

TEST(Message, ListsAreSearchedByWord) {
  EXPECT_TRUE(http1::list_has("close", "close"));
  EXPECT_TRUE(http1::list_has("Keep-Alive,  Upgrade ,x", "upgrade"));
  EXPECT_FALSE(http1::list_has("closed, un-close", "close"));
  EXPECT_FALSE(http1::list_has("", "close"));
}

TEST(Writer, WritesWholeMessages) {
  std::string out;
  const http1::TextHeader headers[] = {{"X-A", "1"}};
  http1::append_response(out, 200, headers, "hi");
  EXPECT_EQ(out, "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi");
  out.clear();
  http1::append_response(out, 404, {}, "gone", http1::BodyPart::kOmit);
  EXPECT_EQ(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n");
  out.clear();
  http1::append_response(out, 204, {}, "");
  EXPECT_EQ(out, "HTTP/1.1 204 No Content\r\n\r\n");
  out.clear();
  http1::append_request(out, "POST", "/x", "h", {}, "");
  EXPECT_EQ(out, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  out.clear();
  http1::append_request(out, "GET", "/x", "h", headers, "");
  EXPECT_EQ(out, "GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n");
  out.clear();
  http1::append_chunk_size(out, 0x1a2b);
  EXPECT_EQ(out, "1a2b\r\n");
  EXPECT_EQ(http1::reason_of(431), "Request Header Fields Too Large");
  EXPECT_EQ(http1::reason_of(299), "Unknown");
}

TEST(Fields, LengthsAreDecimalAndNothingElse) {
  EXPECT_EQ(http1::parse_length("0"), 0U);
  EXPECT_EQ(http1::parse_length("0012"), 12U);
  EXPECT_EQ(http1::parse_length("999999999999999999"), 999999999999999999U);
  for (const char* bad : {"", " 1", "1 ", "+1", "-1", "0x1", "1,1", "1e3", "9999999999999999999"}) {
    EXPECT_EQ(http1::parse_length(bad), std::nullopt) << bad;
  }
}

TEST(Fields, AuthoritiesAreNamesOrAddressesWithAPort) {
  for (const char* good : {"h", "h.test", "h:80", "h:0", "h:65535", "h:", "10.0.0.1:1", "[::1]", "[::1]:80", "[::ffff:10.0.0.1]",
                           "a_b", "xn--caf-dma.test", "~a!$&'()*+;="}) {
    EXPECT_TRUE(http1::is_authority(good)) << good;
  }
  for (const char* bad : {"", ":80", "h:65536", "h:x", "h:80:81", "h:-1", "h:+1", "[::1", "[]", "[::1]x", "[::x]", "::1", "a b", "a,b",
                          "u@h", "h/", "h?", "h%41", "h\\"}) {
    EXPECT_FALSE(http1::is_authority(bad)) << bad;
  }
  EXPECT_FALSE(http1::is_authority(std::string(262, 'a')));
}

TEST(Message, NamesThatOnlyLookLikeKnownOnes) {
  for (const char* like : {"X_Outrigger_Epoch", "x-outrigger_role", "X_Forwarded_For", "Content_Length", "Transfer_Encoding"}) {
    EXPECT_TRUE(http1::is_lookalike(like)) << like;
  }
  for (const char* other : {"X-Outrigger-Epoch", "trace_id", "Content-Length", "", "_"}) {
    EXPECT_FALSE(http1::is_lookalike(other)) << other;
  }
  EXPECT_FALSE(http1::is_lookalike(std::string(300, '_')));
}

TEST(TrustedProxies, MatchesBlocksOfBothFamilies) {
  auto trusted = TrustedProxies::parse({"10.0.0.0/8", "192.0.2.7", "fd00::/8", "2001:db8::1/127"});
  ASSERT_TRUE(trusted) << trusted.error().detail;
  for (const char* in : {"10.255.0.1", "192.0.2.7", "fdff::1", "2001:db8::", "2001:db8::1", "::ffff:10.1.2.3"}) EXPECT_TRUE(trusted->trusts(in)) << in;
  for (const char* out : {"11.0.0.1", "192.0.2.8", "fe00::1", "2001:db8::2", "", "unix", "10.0.0.0/8", "10.0.0.1:80"}) EXPECT_FALSE(trusted->trusts(out)) << out;
  EXPECT_FALSE(TrustedProxies{}.trusts("10.0.0.1"));
  EXPECT_TRUE(TrustedProxies::parse({"0.0.0.0/0"})->trusts("8.8.8.8"));
  EXPECT_FALSE(TrustedProxies::parse({"0.0.0.0/0"})->trusts("::1"));
}

TEST(TrustedProxies, RefusesWhatIsNoBlock) {
  for (const char* bad : {"", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0", "1.2.3.4/8/8"}) {
    auto trusted = TrustedProxies::parse({bad});
    ASSERT_FALSE(trusted) << bad;
    EXPECT_EQ(trusted.error().code, Errc::kBadAddress);
  }
  EXPECT_FALSE(TrustedProxies::parse(std::vector<std::string>(65, "10.0.0.1")));
}

TEST(Gather, KeepsViewsUntilThereAreTooMany) {
  Gather gather;
  std::vector<std::string> parts;
  for (int i = 0; i < 100; ++i) parts.push_back(std::to_string(i) + ";");
  std::string all;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    gather.add(bytes_of(parts[i]));
    gather.add({});
    all += parts[i];
    EXPECT_EQ(gather.size(), all.size());
    EXPECT_LE(gather.pieces().size(), Gather::kPiecesMax);
    std::string seen;
    for (const Bytes piece : gather.pieces()) seen += http1::text_of(piece);
    ASSERT_EQ(seen, all);
  }
  gather.clear();
  EXPECT_TRUE(gather.empty());
  EXPECT_TRUE(gather.pieces().empty());
}

TEST(Outlet, KeepsTheOrderWhateverTheStreamTakes) {
  for (std::size_t room = 0; room <= 12; ++room) {
    auto wire = std::make_shared<testing::Wire>();
    testing::MemoryStream stream(wire);
    struct : StreamSink {
      void on_connected() override {}
      void on_data(Bytes) override {}
      void on_eof() override {}
      void on_writable() override {}
      void on_closed(StreamEnd) override {}
    } sink;
    stream.set_sink(&sink);
    wire->room = room;
    Outlet outlet;
    const Bytes pieces[] = {bytes_of("abc"), bytes_of("defg"), bytes_of("h")};
    EXPECT_EQ(outlet.send(stream, pieces), std::min<std::size_t>(room, 8));
    const Bytes more[] = {bytes_of("ijk")};
    outlet.send(stream, more);
    wire->room = SIZE_MAX;
    outlet.flush(stream);
    EXPECT_TRUE(outlet.empty());
    EXPECT_EQ(wire->out, "abcdefghijk") << room;
  }
}

TEST(Counters, AddUpFieldByField) {
  Counters one;
  one.requests = 2;
  one.tunnels_open = 3;
  one.connections = 5;
  Counters sum = one;
  sum.add(one);
  EXPECT_EQ(sum.requests, 4U);
  EXPECT_EQ(sum.tunnels_open, 6U);
  EXPECT_EQ(sum.connections, 10U);
  EXPECT_EQ(sum.held, 0U);
}

TEST(Names, OfOutcomesAreWhatClientsSee) {
  EXPECT_EQ(name_of(Outcome::kNotSent), "not-sent");
  EXPECT_EQ(name_of(Outcome::kUnknown), "unknown");
  EXPECT_EQ(name_of(Outcome::kAnswered), "answered");
  EXPECT_EQ(name_of(Outcome::kTunnelled), "tunnelled");
}

TEST(Endpoints, AreUsableWhenTheyCanServe) {
  Endpoint e;
  EXPECT_TRUE(is_usable(e));
  e.health = Health::kDegraded;
  EXPECT_TRUE(is_usable(e));
  e.health = Health::kCritical;
  EXPECT_FALSE(is_usable(e));
  e.health = Health::kPassing;
  e.draining = true;
  EXPECT_FALSE(is_usable(e));
  e.draining = false;
  e.weight = 0;
  EXPECT_FALSE(is_usable(e));
}

TEST(LeaseView, IsOpenBeforeItsEndOnly) {
  LeaseView lease(Epoch{3});
  const TimePoint end(std::chrono::seconds(100));
  EXPECT_FALSE(lease.valid_at(TimePoint(std::chrono::seconds(1)))) << "closed until it is opened";
  lease.valid_until_ns = std::chrono::nanoseconds(end.time_since_epoch()).count();
  EXPECT_TRUE(lease.valid_at(end - std::chrono::nanoseconds(1)));
  EXPECT_FALSE(lease.valid_at(end));
  EXPECT_EQ(lease.valid_until(), end);
}

}  // namespace
}  // namespace proxy
