#include "agent/io/address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <unordered_set>

namespace agent::io {
namespace {

TEST(Address, TextGoesThereAndBack) {
  for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "[::1]:65535", "[2001:db8::1]:7946", "unix:/run/a.sock"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
  }
}

TEST(Address, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:8x", "::1:80", "localhost:80",
                           "[::1]", "[::1:80", "unix:", "1.2.3:4", "127.0.0.1:-1"}) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, Errc::kInvalidArgument) << text;
  }
  EXPECT_FALSE(Address::unix_path(std::string(108, 'a')));
  EXPECT_TRUE(Address::unix_path(std::string(107, 'a')));
  EXPECT_FALSE(Address::unix_path(std::string("a\0b", 3)));
}

TEST(Address, KnowsItsKind) {
  EXPECT_TRUE(Address::parse("127.9.9.9:1")->is_loopback());
  EXPECT_TRUE(Address::parse("[::1]:1")->is_loopback());
  EXPECT_FALSE(Address::parse("10.0.0.1:1")->is_loopback());
  EXPECT_TRUE(Address::parse("unix:/x")->is_loopback());
  EXPECT_TRUE(Address::parse("0.0.0.0:1")->is_any());
  EXPECT_TRUE(Address::parse("[::]:1")->is_any());
  EXPECT_FALSE(Address::parse("unix:/x")->is_any());
  EXPECT_TRUE(Address::parse("[::1]:1")->is_ipv6());
  EXPECT_TRUE(Address().empty());
  EXPECT_FALSE(Address().is_loopback());
  EXPECT_EQ(Address().to_string(), "-");
}

TEST(Address, BytesAndMappedAddresses) {
  const auto four = Address::parse("192.0.2.7:99");
  EXPECT_EQ(*Address::from_bytes(four->bytes(), 99), *four);
  const auto mapped = Address::parse("[::ffff:192.0.2.7]:99");
  ASSERT_TRUE(mapped);
  EXPECT_EQ(*mapped, *four);
  const auto six = Address::parse("[2001:db8::7]:99");
  EXPECT_EQ(six->bytes().size(), 16U);
  EXPECT_EQ(*Address::from_bytes(six->bytes(), 99), *six);
  EXPECT_FALSE(Address::from_bytes(six->bytes().first(5), 1));
  EXPECT_TRUE(Address::unix_path("/x")->bytes().empty());
}

TEST(Address, PortAndHost) {
  auto address = *Address::parse("192.0.2.7:99");
  EXPECT_EQ(address.port(), 99);
  EXPECT_EQ(address.host(), "192.0.2.7");
  address.set_port(100);
  EXPECT_EQ(address.to_string(), "192.0.2.7:100");
  auto path = *Address::unix_path("/x");
  path.set_port(7);
  EXPECT_EQ(path.port(), 0);
  EXPECT_EQ(path.host(), "/x");
}

TEST(Address, SocketStructuresGoThereAndBack) {
  for (const char* text : {"127.0.0.1:80", "[2001:db8::1]:7946", "unix:/run/a.sock"}) {
    const auto address = *Address::parse(text);
    EXPECT_EQ(Address::from_sockaddr(address.raw(), address.raw_length()), address) << text;
  }
  sockaddr_in6 link_local{};
  link_local.sin6_family = AF_INET6;
  link_local.sin6_addr.s6_addr[0] = 0xfe;
  link_local.sin6_addr.s6_addr[1] = 0x80;
  link_local.sin6_scope_id = 3;
  const auto scoped = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&link_local), sizeof link_local);
  sockaddr_in6 again{};
  std::memcpy(&again, scoped.raw(), sizeof again);
  EXPECT_EQ(again.sin6_scope_id, 3U);
  sockaddr strange{};
  strange.sa_family = AF_PACKET;
  EXPECT_TRUE(Address::from_sockaddr(&strange, sizeof strange).empty());
  EXPECT_TRUE(Address::from_sockaddr(nullptr, 0).empty());
}

TEST(Address, EqualOnesHashAlike) {
  std::unordered_set<Address> set;
  set.insert(*Address::parse("10.0.0.1:1"));
  set.insert(*Address::parse("10.0.0.1:1"));
  set.insert(*Address::parse("10.0.0.1:2"));
  EXPECT_EQ(set.size(), 2U);
}

TEST(HostPort, SplitsNamesAndNumbers) {
  const auto check = [](const char* text, const char* host, int port) {
    const auto split = parse_host_port(text, 7946);
    ASSERT_TRUE(split) << text;
    EXPECT_EQ(split->host, host) << text;
    EXPECT_EQ(split->port, port) << text;
  };
  check("node-a", "node-a", 7946);
  check("node-a:1", "node-a", 1);
  check("10.0.0.1", "10.0.0.1", 7946);
  check("10.0.0.1:2", "10.0.0.1", 2);
  check("::1", "::1", 7946);
  check("[::1]", "::1", 7946);
  check("[::1]:3", "::1", 3);
}

TEST(HostPort, RefusesEmptyAndCrooked) {
  for (const char* text : {"", ":80", "a:", "a:b", "[::1", "[::1]x", "[]:1", "a:70000"}) {
    const auto split = parse_host_port(text, 1);
    ASSERT_FALSE(split) << text;
    EXPECT_EQ(split.error().code, Errc::kInvalidArgument);
  }
}

}  // namespace
}  // namespace agent::io
