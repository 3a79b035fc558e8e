#include "agent/io/udp_socket.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/agent/io/loop_until.h"
#include "tests/unit/agent/io/record_sink.h"

namespace agent::io {
namespace {

struct RecordUdp : UdpSink {
  std::vector<std::pair<Address, std::string>> got;
  std::vector<std::pair<Address, Errc>> errors;
  int drained = 0;
  std::function<void()> on_any;
  void on_datagram(const Address& from, std::span<const std::byte> bytes) override {
    got.emplace_back(from, text_of(bytes));
    if (on_any) on_any();
  }
  void on_datagram_error(const Address& to, Errc code) override {
    errors.emplace_back(to, code);
    if (on_any) on_any();
  }
  void on_drained() override { ++drained; }
};

std::unique_ptr<UdpSocket> bound(Loop& loop, UdpSink& sink, const char* at = "127.0.0.1:0") {
  auto socket = UdpSocket::bind(loop, *Address::parse(at), sink);
  EXPECT_TRUE(socket) << socket.error().detail;
  return std::move(*socket);
}

TEST(UdpSocket, CarriesDatagramsBothWays) {
  auto loop = new_loop();
  RecordUdp a_hears, b_hears;
  auto a = bound(*loop, a_hears);
  auto b = bound(*loop, b_hears);
  ASSERT_TRUE(a->send(b->local_address(), bytes_of("ping")));
  ASSERT_TRUE(run_until(*loop, [&] { return !b_hears.got.empty(); }));
  EXPECT_EQ(b_hears.got[0].second, "ping");
  EXPECT_EQ(b_hears.got[0].first, a->local_address());
  ASSERT_TRUE(b->send(b_hears.got[0].first, bytes_of("ack")));
  ASSERT_TRUE(run_until(*loop, [&] { return !a_hears.got.empty(); }));
  EXPECT_EQ(a_hears.got[0].second, "ack");
  EXPECT_EQ(a->counters().sent, 1U);
  EXPECT_EQ(a->counters().received, 1U);
}

TEST(UdpSocket, DrainReadsEverythingWithoutTheLoop) {
  auto loop = new_loop();
  RecordUdp hears, silent;
  auto to = bound(*loop, hears);
  auto from = bound(*loop, silent);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(from->send(to->local_address(), bytes_of(std::to_string(i))));
  EXPECT_EQ(to->drain(), 100U);
  ASSERT_EQ(hears.got.size(), 100U);
  EXPECT_EQ(hears.got[99].second, "99");
  EXPECT_EQ(hears.drained, 1);
  EXPECT_EQ(to->drain(), 0U);
  EXPECT_EQ(hears.drained, 2);
}

TEST(UdpSocket, EmptyDatagramIsADatagram) {
  auto loop = new_loop();
  RecordUdp hears;
  auto socket = bound(*loop, hears);
  ASSERT_TRUE(socket->send(socket->local_address(), {}));
  ASSERT_TRUE(run_until(*loop, [&] { return hears.got.size() == 1; }));
  EXPECT_EQ(hears.got[0].second, "");
}

TEST(UdpSocket, NamesTheDestinationThatRefused) {
  auto loop = new_loop();
  RecordUdp hears, gone_hears, other_hears;
  auto socket = bound(*loop, hears);
  auto gone = bound(*loop, gone_hears);
  auto other = bound(*loop, other_hears);
  const Address dead = gone->local_address();
  gone.reset();
  ASSERT_TRUE(socket->send(dead, bytes_of("anyone?")));
  // The kernel raises the refusal with one of the next calls: it must be told about `dead`, and not harm `other`.
  ASSERT_TRUE(socket->send(other->local_address(), bytes_of("hello")));
  ASSERT_TRUE(run_until(*loop, [&] { return !hears.errors.empty() && !other_hears.got.empty(); }));
  EXPECT_EQ(hears.errors[0].first, dead);
  EXPECT_EQ(hears.errors[0].second, Errc::kRefused);
  EXPECT_EQ(socket->counters().errors_reported, 1U);
  // And the socket goes on hearing after the error.
  ASSERT_TRUE(other->send(socket->local_address(), bytes_of("back")));
  EXPECT_TRUE(run_until(*loop, [&] { return hears.got.size() == 1; }));
}

TEST(UdpSocket, OversizedIsCountedAndDropped) {
  auto loop = new_loop();
  RecordUdp hears, silent;
  auto to = bound(*loop, hears);
  auto from = bound(*loop, silent);
  ASSERT_TRUE(from->send(to->local_address(), bytes_of(std::string(UdpSocket::kDatagramBytesMax + 1, 'x'))));
  ASSERT_TRUE(from->send(to->local_address(), bytes_of(std::string(UdpSocket::kDatagramBytesMax, 'y'))));
  ASSERT_TRUE(run_until(*loop, [&] { return hears.got.size() == 1; }));
  EXPECT_EQ(hears.got[0].second[0], 'y');
  EXPECT_EQ(to->counters().oversized, 1U);
}

TEST(UdpSocket, TooLargeToSendIsSaid) {
  auto loop = new_loop();
  RecordUdp hears;
  auto socket = bound(*loop, hears);
  const auto sent = socket->send(socket->local_address(), bytes_of(std::string(70'000, 'x')));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::kTooLarge);
  EXPECT_EQ(socket->counters().send_failed, 1U);
}

TEST(UdpSocket, RefusesTakenAndForeignAddresses) {
  auto loop = new_loop();
  RecordUdp hears;
  auto first = bound(*loop, hears);
  const auto taken = UdpSocket::bind(*loop, first->local_address(), hears);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::kAddressInUse);
  EXPECT_NE(taken.error().detail.find(first->local_address().to_string()), std::string::npos);
  const auto missing = UdpSocket::bind(*loop, *Address::parse("192.0.2.1:0"), hears);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kAddressMissing);
  EXPECT_EQ(UdpSocket::bind(*loop, *Address::unix_path("/x"), hears).error().code, Errc::kInvalidArgument);
}

TEST(UdpSocket, Ipv6SocketTalksToIpv4) {
  auto loop = new_loop();
  RecordUdp six_hears, four_hears;
  auto six = UdpSocket::bind(*loop, *Address::parse("[::]:0"), six_hears);
  if (!six) GTEST_SKIP() << "no IPv6 here: " << six.error().detail;
  auto four = bound(*loop, four_hears);
  ASSERT_TRUE((*six)->send(four->local_address(), bytes_of("v4")));
  ASSERT_TRUE(run_until(*loop, [&] { return !four_hears.got.empty(); }));
  ASSERT_TRUE(four->send(Address::loopback((*six)->local_address().port()), bytes_of("v6")));
  ASSERT_TRUE(run_until(*loop, [&] { return !six_hears.got.empty(); }));
  EXPECT_EQ(six_hears.got[0].first, four->local_address());
}

TEST(UdpSocket, CallbackMayDestroyTheSocket) {
  auto loop = new_loop();
  RecordUdp hears, silent;
  auto to = bound(*loop, hears);
  auto from = bound(*loop, silent);
  hears.on_any = [&] { to.reset(); };
  const Address address = to->local_address();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(from->send(address, bytes_of("x")));
  ASSERT_TRUE(run_until(*loop, [&] { return to == nullptr; }));
  EXPECT_EQ(hears.got.size(), 1U);
  EXPECT_EQ(hears.drained, 0);
}

}  // namespace
}  // namespace agent::io
