// The first message of a TLS client: whose name it says, however it is cut, and what is refused.
#include "proxy/client_hello.h"

#include <gtest/gtest.h>

#include "proxy/http1/writer.h"

namespace proxy {
namespace {

using State = ClientHello::State;

std::string number(std::size_t value, int width) {
  std::string out;
  for (int i = width - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}
std::string vector(int width, const std::string& content) { return number(content.size(), width) + content; }
std::string extension(std::size_t type, const std::string& content) { return number(type, 2) + vector(2, content); }
std::string names(const std::string& list) { return extension(0, vector(2, list)); }
std::string name(const std::string& text, char kind = 0) { return std::string(1, kind) + vector(2, text); }

/// @param extensions  with the length of all before them
std::string message(const std::string& extensions, const std::string& session = std::string(32, 's'), const std::string& ciphers = "\x13\x01") {
  const std::string body = "\x03\x03" + std::string(32, 'r') + vector(1, session) + vector(2, ciphers) + vector(1, std::string(1, '\0')) + extensions;
  return std::string(1, '\x01') + vector(3, body);
}
std::string record(const std::string& content, char type = 22, char major = 3) { return std::string{type, major, '\x01'} + vector(2, content); }
std::string hello(const std::string& extensions) { return record(message(vector(2, extensions))); }

ClientHello parse(const std::string& bytes) { return parse_client_hello(http1::bytes_of(bytes)); }
std::string fault(const std::string& bytes) {
  const ClientHello said = parse(bytes);
  return said.state == State::kRefused ? std::string(said.fault) : said.state == State::kRead ? "read" : "more";
}

const std::string kOther = extension(43, "\x02\x03\x04");

TEST(ClientHello, TheNameIsRead) {
  const auto said = parse(hello(kOther + names(name("DB.example.com")) + kOther));
  EXPECT_EQ(said.state, State::kRead);
  EXPECT_EQ(said.server_name, "db.example.com");
  EXPECT_EQ(parse(hello(kOther)).state, State::kRead);
  EXPECT_EQ(parse(hello(kOther)).server_name, "") << "nobody must say a name";
  EXPECT_EQ(parse(record(message(""))).state, State::kRead) << "nor have extensions at all";
  EXPECT_EQ(parse(hello(names(name("x")) + extension(0x0a0a, ""))).server_name, "x") << "what we do not know is passed by";
}

TEST(ClientHello, HoweverItIsCut) {
  const std::string whole = message(vector(2, names(name("db.example.com")) + kOther));
  const std::string cut = record(whole.substr(0, 1)) + record(whole.substr(1, 50)) + record(whole.substr(51));
  for (const std::string& bytes : {record(whole), cut}) {
    std::size_t asked = 0;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto said = parse(bytes.substr(0, size));
      ASSERT_EQ(said.state, State::kMore) << size;
      EXPECT_GT(said.bytes_needed, size);
      EXPECT_LE(said.bytes_needed, bytes.size()) << "never more than there is";
      if (size >= asked) asked = said.bytes_needed;
    }
    EXPECT_EQ(parse(bytes).server_name, "db.example.com");
    EXPECT_EQ(parse(bytes + "early data").server_name, "db.example.com") << "what follows is not looked at";
  }
}

TEST(ClientHello, WhatIsNoHello) {
  EXPECT_EQ(fault("GET / HTTP/1.1\r\n"), "no TLS handshake");
  EXPECT_EQ(fault(std::string("\x80\x2e\x01\x03\x01", 5)), "no TLS handshake") << "SSL 2";
  EXPECT_EQ(fault(record(message(""), 21)), "no TLS handshake");
  EXPECT_EQ(fault(record(message(""), 22, 2)), "a record of another protocol");
  EXPECT_EQ(fault(record(std::string("\x02\0\0\0", 4))), "no ClientHello");
  EXPECT_EQ(fault(record(std::string("\x01\0\0\0", 4))), "an empty ClientHello");
  EXPECT_EQ(fault(std::string("\x16\x03\x01\0\0", 5)), "a record of a forbidden length");
  EXPECT_EQ(fault(std::string("\x16\x03\x01\x40\x01", 5)), "a record of a forbidden length");
  EXPECT_EQ(fault(record(message("") + "x")), "bytes behind the ClientHello in its record");
}

TEST(ClientHello, BoundsAreFoundBeforeTheBytesCome) {
  EXPECT_EQ(fault(record(std::string("\x01\x01\0\0", 4))), "a ClientHello of more than 16 KiB");
  std::string drops;
  const std::string whole = message(vector(2, names(name("x"))));
  for (std::size_t i = 0; i < 16; ++i) drops += record(whole.substr(i, 1));
  EXPECT_EQ(fault(drops), "a ClientHello in more than 16 records");
  const std::string large = message(vector(2, extension(21, std::string(16'000, '\0')) + names(name("x"))));
  EXPECT_EQ(parse(record(large)).server_name, "x");
  const std::string larger = message(vector(2, extension(21, std::string(16'300, '\0')) + names(name("x"))));
  EXPECT_EQ(fault(record(larger.substr(0, 4)) + record(larger.substr(4, 9'000)) + record(larger.substr(9'004))), "a ClientHello of more than 16 KiB");
}

TEST(ClientHello, BrokenLengths) {
  EXPECT_EQ(fault(record(message("", std::string(33, 's')))), "a ClientHello whose lengths do not fit");
  EXPECT_EQ(fault(record(message("", "", "\x13"))), "a ClientHello whose lengths do not fit");
  EXPECT_EQ(fault(record(message("", "", ""))), "a ClientHello whose lengths do not fit");
  EXPECT_EQ(fault(record(message("x"))), "a ClientHello whose extensions have another length");
  EXPECT_EQ(fault(record(message(vector(2, kOther) + "x"))), "a ClientHello whose extensions have another length");
  EXPECT_EQ(fault(hello("abc")), "an extension that is cut off");
  EXPECT_EQ(fault(hello(number(0, 2) + number(9, 2) + "short")), "an extension that is cut off");
}

TEST(ClientHello, NamesThatSayTwoThings) {
  EXPECT_EQ(fault(hello(names(name("a")) + names(name("b")))), "two server_name extensions");
  EXPECT_EQ(fault(hello(names(name("a") + name("b")))), "two server names");
  EXPECT_EQ(fault(hello(names(name("a", 1)))), "a server_name of an unknown kind");
  EXPECT_EQ(fault(hello(names(""))), "a server_name without a name");
  EXPECT_EQ(fault(hello(extension(0, vector(2, name("a")) + "x"))), "a server_name whose list has another length");
  EXPECT_EQ(fault(hello(extension(0, ""))), "a server_name whose list has another length");
  EXPECT_EQ(fault(hello(names(std::string("\0\0\x09xx", 5)))), "a server_name that is cut off");
  for (const std::string& bad : {std::string("a b"), std::string("a\0b", 3), std::string(".a"), std::string("a."), std::string("a..b"), std::string(""),
                                 std::string("*.a"), std::string("\xc3\xa9"), std::string("[::1]"), std::string(256, 'a')})
    EXPECT_EQ(fault(hello(names(name(bad)))), "a server_name that is no name of a host") << bad;
}

TEST(ClientHello, WhichPatternMeansAName) {
  EXPECT_TRUE(server_name_matches("db.example.com", "db.example.com"));
  EXPECT_FALSE(server_name_matches("db.example.com", "xdb.example.com"));
  EXPECT_TRUE(server_name_matches("*.example.com", "db.example.com"));
  EXPECT_FALSE(server_name_matches("*.example.com", "a.db.example.com")) << "one label, as in certificates";
  EXPECT_FALSE(server_name_matches("*.example.com", "example.com"));
  EXPECT_FALSE(server_name_matches("*.example.com", ".example.com"));
}

}  // namespace
}  // namespace proxy
