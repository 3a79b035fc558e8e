// The PROXY protocol: both versions, strictly, however the bytes are cut.
#include "proxy/proxy_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proxy/http1/writer.h"

namespace proxy {
namespace {

Result<std::optional<ProxyHeader>> parse(std::string_view text) { return parse_proxy_header(http1::bytes_of(text)); }

/// Complete or refused, and never something else a byte earlier.
ProxyHeader good(const std::string& text, const std::string& rest = "GET / HTTP/1.1\r\n") {
  for (std::size_t size = 0; size < text.size(); ++size) {
    const auto part = parse(std::string_view(text).substr(0, size));
    EXPECT_TRUE(part) << "refused after " << size << " bytes";
    EXPECT_FALSE(part && *part) << "taken for complete after " << size << " bytes";
  }
  const auto whole = parse(text + rest);
  EXPECT_TRUE(whole) << (whole ? "" : whole.error().detail);
  EXPECT_TRUE(whole && *whole);
  const ProxyHeader header = whole && *whole ? **whole : ProxyHeader{};
  EXPECT_EQ(header.bytes, text.size());
  return header;
}
std::string fault(const std::string& text) {
  const auto parsed = parse(text);
  EXPECT_TRUE(parsed || parsed.error().code == Errc::kBadProxyHeader);
  return parsed ? (*parsed ? "complete" : "more") : parsed.error().detail;
}
const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
std::string binary(int command, int family, const std::string& body) {
  return kSignature + static_cast<char>(command) + static_cast<char>(family) + static_cast<char>(body.size() >> 8U) +
         static_cast<char>(body.size() & 0xffU) + body;
}
const std::string kFour("\xc0\x00\x02\x07\x0a\x00\x00\x01\x30\x39\x01\xbb", 12);

TEST(ProxyHeader, LinesOfVersion1) {
  const auto four = good("PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n");
  ASSERT_TRUE(four.ends);
  EXPECT_EQ(text_of(four.ends->source), "192.0.2.7");
  EXPECT_EQ(text_of(four.ends->destination), "10.0.0.1");
  EXPECT_EQ(four.ends->source_port, 12345);
  EXPECT_EQ(four.ends->destination_port, 443);
  const auto six = good("PROXY TCP6 2001:db8::7 ::1 1 0\r\n");
  ASSERT_TRUE(six.ends);
  EXPECT_EQ(text_of(six.ends->source), "2001:db8::7");
  EXPECT_FALSE(good("PROXY UNKNOWN\r\n").ends);
  EXPECT_FALSE(good("PROXY UNKNOWN ffff::1 whatever 1 2\r\n").ends);
}

TEST(ProxyHeader, BrokenLinesOfVersion1) {
  for (const char* text : {"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\n", "PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
                           "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
                           "PROXY TCP4 192.0.2.7 10.0.0.1 1 -2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
                           "PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n", "PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n", "PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n",
                           "PROXY \r\n", "PROXY TCP4 192.0.2.7\r 10.0.0.1 1 2\r\n", "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "GET / HTTP/1.1\r\n", "\r\n\r\nX"}) {
    const std::string said = fault(text);
    EXPECT_TRUE(said != "complete" && said != "more") << text << ": " << said;
  }
  EXPECT_EQ(fault("PROXY UNKNOWN " + std::string(100, 'x')), "a version 1 line of more than 107 bytes");
  EXPECT_EQ(fault(std::string("PROXY TCP4 192.0.2.7\0 10.0.0.1 1 2\r\n", 36)), "a version 1 line with a control byte");
}

TEST(ProxyHeader, HeadersOfVersion2) {
  const auto four = good(binary(0x21, 0x11, kFour));
  ASSERT_TRUE(four.ends);
  EXPECT_EQ(four.version, 2);
  EXPECT_EQ(text_of(four.ends->source), "192.0.2.7");
  EXPECT_EQ(four.ends->source_port, 12345);
  EXPECT_EQ(four.ends->destination_port, 443);
  std::string mapped = std::string(10, '\0') + "\xff\xff\xc0" + std::string("\0\x02\x07", 3);
  mapped += mapped + std::string("\0\x01\0\x02", 4);
  const auto six = good(binary(0x21, 0x21, mapped));
  ASSERT_TRUE(six.ends);
  EXPECT_EQ(text_of(six.ends->source), "192.0.2.7") << "a mapped address is the IPv4 one";
  EXPECT_FALSE(good(binary(0x20, 0x11, kFour)).ends) << "LOCAL: the balancer's own";
  EXPECT_FALSE(good(binary(0x20, 0x00, "")).ends);
  EXPECT_FALSE(good(binary(0x20, 0x77, "anything")).ends) << "LOCAL: the family is ignored";
  EXPECT_FALSE(good(binary(0x21, 0x31, std::string(216, 'p'))).ends) << "a unix socket has no address to count by";
  EXPECT_FALSE(good(binary(0x21, 0x00, "")).ends);
  EXPECT_TRUE(good(binary(0x21, 0x11, kFour + std::string("\x04\0\x02" "ab", 5))).ends) << "extensions that mean nothing to us";
}

TEST(ProxyHeader, BrokenHeadersOfVersion2) {
  EXPECT_EQ(fault(binary(0x11, 0x11, kFour)), "a binary header of another version or command");
  EXPECT_EQ(fault(binary(0x22, 0x11, kFour)), "a binary header of another version or command");
  EXPECT_EQ(fault(binary(0x21, 0x12, kFour)), "a connection that is no stream, or of an unknown family");
  EXPECT_EQ(fault(binary(0x21, 0x11, kFour.substr(1))), "a header that is too short for its addresses");
  EXPECT_EQ(fault(binary(0x21, 0x11, kFour + "\x04")), "an extension that is cut off");
  EXPECT_EQ(fault(binary(0x21, 0x11, kFour + std::string("\x04\0\x03" "ab", 5))), "an extension that is longer than its header");
  EXPECT_EQ(fault(binary(0x21, 0x11, kFour + std::string(4081, 'x')).substr(0, 16)), "a header of more than 4096 bytes") << "found before the bytes come";
}

TEST(ProxyHeader, AChecksumIsVerified) {
  EXPECT_EQ(crc32c(http1::bytes_of("123456789")), 0xe3069283U) << "RFC 3720's test value of the polynomial";
  ProxyHeader::Ends ends{*parse_ip("192.0.2.7"), *parse_ip("10.0.0.1"), 12345, 443};
  std::string header = make_proxy_header(ends, 2);
  EXPECT_EQ(text_of(good(header).ends->source), "192.0.2.7");
  const std::size_t kind = header.size() - 7;  // with another one there is no checksum, only an extension that means nothing
  for (std::size_t i = 16; i < header.size(); ++i) {
    if (i == kind) continue;
    std::string changed = header;
    changed[i] = static_cast<char>(changed[i] ^ 0x40);
    EXPECT_NE(fault(changed), "complete") << "byte " << i;
  }
  const std::string crc = header.substr(header.size() - 7);
  EXPECT_EQ(fault(binary(0x21, 0x11, kFour + crc + crc)), "a checksum of a wrong length, or a second one");
  EXPECT_EQ(fault(binary(0x21, 0x11, kFour + std::string("\x03\0\x02" "ab", 5))), "a checksum of a wrong length, or a second one");
}

TEST(ProxyHeader, WhatWeWriteWeRead) {
  for (const auto& [source, destination] : {std::pair{"192.0.2.7", "10.0.0.1"}, std::pair{"2001:db8::7", "fe80::1:0:0:1"}, std::pair{"192.0.2.7", "::1"}}) {
    const ProxyHeader::Ends ends{*parse_ip(source), *parse_ip(destination), 1, 65535};
    for (const std::uint8_t version : {std::uint8_t{1}, std::uint8_t{2}}) {
      const auto read = good(make_proxy_header(ends, version));
      ASSERT_TRUE(read.ends) << source;
      EXPECT_EQ(read.version, version);
      EXPECT_EQ(read.ends->destination_port, 65535);
      const std::string told = text_of(read.ends->source);
      EXPECT_TRUE(told == source || told == "::ffff:c000:207") << told;
    }
  }
  EXPECT_EQ(make_proxy_header(std::nullopt, 1), "PROXY UNKNOWN\r\n");
  EXPECT_FALSE(good(make_proxy_header(std::nullopt, 2)).ends);
}

TEST(ProxyHeader, AddressesAsText) {
  for (const char* text : {"::", "::1", "1::", "2001:db8::1", "1:0:2::3", "fe80::1:0:0:1", "1:2:3:4:5:6:7:8", "0:1:2:3:4:5:6:7", "10.1.2.3"})
    EXPECT_EQ(text_of(*parse_ip(text)), text);
}

}  // namespace
}  // namespace proxy
