#include "agent/drivers/dns_driver.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/agent/dns/fake_catalog.h"
#include "tests/unit/agent/io/loop_until.h"
#include "tests/unit/agent/io/record_sink.h"

namespace agent::drivers {
namespace {

using test::dns::Message;
using test::dns::QueryBytes;

struct UdpEar : io::UdpSink {
  std::vector<std::string> got;
  void on_datagram(const io::Address&, std::span<const std::byte> bytes) override { got.push_back(io::text_of(bytes)); }
  void on_datagram_error(const io::Address&, io::Errc) override {}
};

/// A TCP client with what it has heard.
struct Client {
  io::RecordSink heard;
  std::unique_ptr<io::TcpStream> stream;
  Client(io::Loop& loop, const io::Address& to) : stream(io::TcpStream::connect(loop, to, io::in_good_time(), &heard)) {
    stream->read_start();
  }
  ~Client() { stream->set_sink(nullptr); }
  void say(const std::string& bytes) { EXPECT_TRUE(stream->write(io::bytes_of(bytes))); }
  /// Whole answers so far, without their lengths.
  [[nodiscard]] std::vector<std::string> answers() const {
    std::vector<std::string> out;
    for (std::string_view rest = heard.data; rest.size() >= 2;) {
      const auto length = static_cast<std::size_t>(static_cast<unsigned char>(rest[0]) << 8 | static_cast<unsigned char>(rest[1]));
      if (rest.size() < 2 + length) break;
      out.emplace_back(rest.substr(2, length));
      rest.remove_prefix(2 + length);
    }
    return out;
  }
  [[nodiscard]] bool gone() const { return heard.ended || heard.error.has_value(); }
};

std::string framed(const std::string& query) { return QueryBytes::be16(static_cast<unsigned>(query.size())) + query; }

Message read(const std::string& bytes) {
  const auto message = test::dns::decode(io::bytes_of(bytes));
  EXPECT_TRUE(message);
  return message.value_or(Message{});
}

class DnsDriverTest : public testing::Test {
 protected:
  DnsDriverTest() : loop(io::new_loop()) {
    catalog.add_node("n1", "10.0.0.1");
    for (std::uint16_t port = 1; port <= 200; ++port) catalog.add("big", "n1", port);
    settings.listen = io::Address::loopback(0);
    settings.resolver = dns::settings_of_test();
    settings.idle_timeout = io::kPatience;
  }
  void start() {
    auto made = DnsDriver::start(*loop, settings, catalog, [](std::uint64_t) { return std::uint64_t{0}; });
    ASSERT_TRUE(made) << made.error().detail;
    driver = std::move(*made);
  }
  bool until(const std::function<bool()>& reached) { return io::run_until(*loop, reached); }

  std::unique_ptr<io::Loop> loop;
  dns::FakeCatalog catalog;
  DnsSettings settings;
  std::unique_ptr<DnsDriver> driver;
};

TEST_F(DnsDriverTest, AnswersDatagrams) {
  start();
  UdpEar ear;
  auto client = std::move(*io::UdpSocket::bind(*loop, io::Address::loopback(0), ear));
  ASSERT_TRUE(client->send(driver->local_address(), io::bytes_of(QueryBytes("n1.node.consul").bytes())));
  ASSERT_TRUE(until([&] { return ear.got.size() == 1; }));
  EXPECT_EQ(read(ear.got[0]).answers.at(0).data, "10.0.0.1");
  // Nothing comes back for what is no query, and what follows is served all the same.
  ASSERT_TRUE(client->send(driver->local_address(), io::bytes_of("junk")));
  ASSERT_TRUE(client->send(driver->local_address(), io::bytes_of("")));
  ASSERT_TRUE(client->send(driver->local_address(), io::bytes_of(QueryBytes("big.service.consul", 33).bytes())));
  ASSERT_TRUE(until([&] { return ear.got.size() == 2; }));
  EXPECT_TRUE(read(ear.got[1]).truncated());
  EXPECT_LE(ear.got[1].size(), 512U);
  EXPECT_EQ(driver->core().counters().queries[0], 4U);
  EXPECT_EQ(driver->core().counters().silent, 2U);
}

TEST_F(DnsDriverTest, ABurstIsServedInSlices) {
  start();
  UdpEar ear;
  auto client = std::move(*io::UdpSocket::bind(*loop, io::Address::loopback(0), ear));
  const std::string query = QueryBytes("n1.node.consul").bytes();
  int sent = 0;
  for (int i = 0; i < 400; ++i)
    if (client->send(driver->local_address(), io::bytes_of(query))) ++sent;
  EXPECT_EQ(sent, 400);
  loop->run_once();
  EXPECT_LE(driver->core().counters().queries[0], DnsDriver::kDatagramsPerTurn);
  ASSERT_TRUE(until([&] { return ear.got.size() == 400; }));
}

TEST_F(DnsDriverTest, AnswersOverTcpOnTheSamePort) {
  start();
  Client client(*loop, driver->local_address());
  client.say(framed(QueryBytes("big.service.consul", 33).bytes()));
  ASSERT_TRUE(until([&] { return client.answers().size() == 1; }));
  const auto got = read(client.answers()[0]);
  EXPECT_FALSE(got.truncated());
  EXPECT_EQ(got.answers.size(), 200U);
}

TEST_F(DnsDriverTest, QueriesMayComeInPiecesAndInHeaps) {
  start();
  Client client(*loop, driver->local_address());
  const std::string one = framed(QueryBytes("n1.node.consul").bytes());
  for (const char byte : one) {
    client.say(std::string(1, byte));
    loop->poll();
  }
  ASSERT_TRUE(until([&] { return client.answers().size() == 1; }));
  std::string heap;
  for (unsigned i = 0; i < 500; ++i) {
    QueryBytes query("n1.node.consul");
    query.id = static_cast<std::uint16_t>(i);
    heap += framed(query.bytes());
  }
  client.say(heap);
  ASSERT_TRUE(until([&] { return client.answers().size() == 501; }));
  const auto answers = client.answers();
  for (unsigned i = 0; i < 500; ++i) EXPECT_EQ(read(answers[1 + i]).id, i) << "in the order of the questions";
}

TEST_F(DnsDriverTest, AConnectionOutlivesItsNonsenseButNotAnImpossibleLength) {
  start();
  for (const unsigned length : {0U, 11U, 4097U, 65535U}) {
    Client client(*loop, driver->local_address());
    client.say(framed(std::string(12, '\0')) + framed(QueryBytes("n1.node.consul").bytes()));
    ASSERT_TRUE(until([&] { return client.answers().size() == 2; }));
    EXPECT_EQ(read(client.answers()[0]).rcode(), 1);
    client.say(QueryBytes::be16(length));
    ASSERT_TRUE(until([&] { return client.gone(); })) << length;
  }
  EXPECT_EQ(driver->counters().refused, 4U);
  EXPECT_EQ(driver->counters().connections, 0U);
}

TEST_F(DnsDriverTest, WhoStopsSpeakingStillGetsItsAnswers) {
  start();
  Client client(*loop, driver->local_address());
  std::string heap;
  for (int i = 0; i < 300; ++i) heap += framed(QueryBytes("big.service.consul", 33).bytes());
  client.say(heap);
  client.stream->shutdown();
  ASSERT_TRUE(until([&] { return client.gone(); }));
  EXPECT_FALSE(client.heard.error) << client.heard.error->detail;
  EXPECT_EQ(client.answers().size(), 300U);
  EXPECT_EQ(driver->counters().connections, 0U);
}

TEST_F(DnsDriverTest, WhoDoesNotReadIsNotServedWithoutEnd) {
  settings.idle_timeout = io::Milliseconds(300);
  start();
  Client client(*loop, driver->local_address());
  client.stream->read_stop();
  client.stream->set_write_queue_bytes_max(64U << 20);
  std::string heap;
  for (int i = 0; i < 20000; ++i) heap += framed(QueryBytes("big.service.consul", 33).bytes());
  client.say(heap);  // would be 160 MB of answers
  ASSERT_TRUE(until([&] { return driver->counters().timed_out == 1; }));
  EXPECT_LT(driver->core().counters().queries[1], 20000U) << "the kernel's buffers, ours, and no more";
}

TEST_F(DnsDriverTest, QuietConnectionsAreClosed) {
  settings.idle_timeout = io::Milliseconds(50);
  start();
  Client quiet(*loop, driver->local_address()), half(*loop, driver->local_address());
  half.say(framed(QueryBytes("n1.node.consul").bytes()).substr(0, 20));
  ASSERT_TRUE(until([&] { return quiet.gone() && half.gone(); }));
  EXPECT_EQ(driver->counters().timed_out, 2U);
  EXPECT_EQ(driver->counters().connections, 0U);
}

TEST_F(DnsDriverTest, OneConnectionTooManyClosesTheQuietest) {
  settings.connections_max = 2;
  start();
  const std::string query = framed(QueryBytes("n1.node.consul").bytes());
  Client first(*loop, driver->local_address());
  ASSERT_TRUE(until([&] { return driver->counters().accepted == 1; }));
  Client second(*loop, driver->local_address());
  ASSERT_TRUE(until([&] { return driver->counters().accepted == 2; }));
  first.say(query);
  ASSERT_TRUE(until([&] { return first.answers().size() == 1; }));
  Client third(*loop, driver->local_address());
  third.say(query);
  ASSERT_TRUE(until([&] { return second.gone() && third.answers().size() == 1; }));
  first.say(query);
  ASSERT_TRUE(until([&] { return first.answers().size() == 2; }));
  EXPECT_EQ(driver->counters().evicted, 1U);
  EXPECT_EQ(driver->counters().connections, 2U);
}

TEST_F(DnsDriverTest, ListensOnIpv6) {
  auto any = io::Address::parse("[::1]:0");
  settings.listen = *any;
  auto made = DnsDriver::start(*loop, settings, catalog, [](std::uint64_t) { return std::uint64_t{0}; });
  if (!made && made.error().code == io::Errc::kAddressMissing) GTEST_SKIP() << "this machine has no IPv6";
  ASSERT_TRUE(made) << made.error().detail;
  driver = std::move(*made);
  UdpEar ear;
  auto client = std::move(*io::UdpSocket::bind(*loop, *any, ear));
  ASSERT_TRUE(client->send(driver->local_address(), io::bytes_of(QueryBytes("n1.node.consul").bytes())));
  ASSERT_TRUE(until([&] { return ear.got.size() == 1; }));
}

TEST_F(DnsDriverTest, ATakenPortIsSaidWithTheRemedy) {
  start();
  settings.listen = driver->local_address();
  const auto second = DnsDriver::start(*loop, settings, catalog, [](std::uint64_t) { return std::uint64_t{0}; });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, io::Errc::kAddressInUse);
  EXPECT_NE(second.error().detail.find("--dns"), std::string::npos);
  EXPECT_NE(second.error().detail.find(driver->local_address().to_string()), std::string::npos);
}

TEST_F(DnsDriverTest, MayDieAtAnyMoment) {
  start();
  Client client(*loop, driver->local_address());
  std::string heap;
  for (int i = 0; i < 1000; ++i) heap += framed(QueryBytes("big.service.consul", 33).bytes());
  client.say(heap);
  ASSERT_TRUE(until([&] { return !client.answers().empty(); }));
  driver.reset();
  ASSERT_TRUE(until([&] { return client.gone(); }));
}

}  // namespace
}  // namespace agent::drivers
