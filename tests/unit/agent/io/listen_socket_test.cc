#include "agent/io/listen_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/tcp_listener.h"
#include "agent/io/udp_socket.h"
#include "tests/unit/agent/io/loop_until.h"
#include "tests/unit/agent/io/record_sink.h"

namespace agent::io {
namespace {

/// A thread of its own has a shelf of its own; these tests clear the one they share.
class ListenSocketTest : public ::testing::Test {
 protected:
  void SetUp() override { SocketShelf::here() = SocketShelf(); }
  void TearDown() override {
    SocketShelf::here().clear_left();
    SocketShelf::here() = SocketShelf();
  }
  /// As a successor gets them: other descriptors for the same sockets.
  static void pass_on() {
    const auto open = SocketShelf::here().open();
    for (const auto& one : open) ASSERT_TRUE(SocketShelf::here().leave(one.name, ::dup(one.fd)));
  }
  std::unique_ptr<Loop> loop = std::move(*Loop::create());
};

TEST_F(ListenSocketTest, ConnectionsThatWaitAreNotLostWhenASuccessorHasTheSocket) {
  auto old = std::move(*ListenSocket::open(Address::loopback(0), {}));
  const Address place = old->local_address();
  RecordSink sink;
  auto client = TcpStream::connect(*loop, place, in_good_time(), &sink);
  ASSERT_TRUE(run_until(*loop, [&] { return sink.opened; })) << "in the kernel's queue, accepted by nobody";
  ASSERT_TRUE(client->write(std::as_bytes(std::span("early", 5))));
  pass_on();
  old.reset();
  auto successor = ListenSocket::open(Address::loopback(0), {});
  ASSERT_TRUE(successor);
  EXPECT_TRUE((*successor)->inherited());
  EXPECT_EQ((*successor)->local_address(), place) << "found by the name under which port 0 was asked for";
  std::unique_ptr<TcpStream> accepted;
  RecordSink heard;
  auto listener = TcpListener::on(*loop, **successor, [&](std::unique_ptr<TcpStream> stream) {
    accepted = std::move(stream);
    accepted->set_sink(&heard);
    accepted->read_start();
  });
  ASSERT_TRUE(listener);
  EXPECT_TRUE(run_until(*loop, [&] { return heard.data == "early"; }));
  EXPECT_FALSE(sink.error);
  listener->reset();
}

TEST_F(ListenSocketTest, AListenerOnABorrowedSocketLeavesItToTheNextOne) {
  auto socket = std::move(*ListenSocket::open(Address::loopback(0), {}));
  int first_got = 0, second_got = 0;
  auto first = std::move(*TcpListener::on(*loop, *socket, [&](auto) { ++first_got; }));
  first.reset();
  auto second = std::move(*TcpListener::on(*loop, *socket, [&](auto) { ++second_got; }));
  RecordSink sink;
  auto client = TcpStream::connect(*loop, socket->local_address(), in_good_time(), &sink);
  EXPECT_TRUE(run_until(*loop, [&] { return second_got == 1; }));
  EXPECT_EQ(first_got, 0);
}

TEST_F(ListenSocketTest, WhatWaitsCanBeAcceptedAtOnceBeforeTheEnd) {
  auto socket = std::move(*ListenSocket::open(Address::loopback(0), {}));
  std::vector<std::unique_ptr<TcpStream>> got;
  auto listener = std::move(*TcpListener::on(*loop, *socket, [&](auto stream) { got.push_back(std::move(stream)); }));
  listener->pause();
  std::vector<std::unique_ptr<RecordSink>> sinks;
  std::vector<std::unique_ptr<TcpStream>> clients;
  for (int i = 0; i < 100; ++i) {
    sinks.push_back(std::make_unique<RecordSink>());
    clients.push_back(TcpStream::connect(*loop, socket->local_address(), in_good_time(), sinks.back().get()));
  }
  ASSERT_TRUE(run_until(*loop, [&] { return std::all_of(sinks.begin(), sinks.end(), [](const auto& one) { return one->opened; }); }));
  listener->resume();
  listener->accept_waiting(1000);
  EXPECT_EQ(got.size(), 100U);
}

TEST_F(ListenSocketTest, UdpSocketsAreTakenFromTheShelfToo) {
  struct Sink : UdpSink {
    void on_datagram(const Address&, std::span<const std::byte> bytes) override { text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }
    void on_datagram_error(const Address&, Errc) override {}
    std::string text;
  } old_sink, new_sink;
  auto old = std::move(*UdpSocket::bind(*loop, Address::loopback(0), old_sink));
  const Address place = old->local_address();
  pass_on();
  old.reset();
  Sink from_sink;
  auto sender = std::move(*UdpSocket::bind(*loop, *Address::ip("127.0.0.2", 0), from_sink));
  ASSERT_TRUE(sender->send(place, std::as_bytes(std::span("kept", 4)))) << "nobody reads now, the kernel keeps it";
  auto successor = UdpSocket::bind(*loop, Address::loopback(0), new_sink);
  ASSERT_TRUE(successor);
  EXPECT_EQ((*successor)->local_address(), place);
  EXPECT_TRUE(run_until(*loop, [&] { return new_sink.text == "kept"; }));
}

TEST_F(ListenSocketTest, AUnixPathStaysForASuccessorAndElseGoes) {
  const std::string path = ::testing::TempDir() + "listen-socket-" + std::to_string(::getpid());
  const auto address = *Address::unix_path(path);
  struct stat found{};
  auto socket = std::move(*ListenSocket::open(address, {}));
  EXPECT_EQ(::stat(path.c_str(), &found), 0);
  socket.reset();
  EXPECT_NE(::stat(path.c_str(), &found), 0);
  socket = std::move(*ListenSocket::open(address, {}));
  pass_on();
  SocketShelf::here().renounce(true);
  socket.reset();
  EXPECT_EQ(::stat(path.c_str(), &found), 0) << "a successor listens there";
  ::unlink(path.c_str());
}

TEST_F(ListenSocketTest, TheServiceManagersSocketsAreFoundByTheirAddresses) {
  auto opened = std::move(*ListenSocket::open(Address::loopback(0), {}));
  const int first = ::fcntl(opened->fd(), F_DUPFD, 200);
  ASSERT_GE(first, 200);
  ASSERT_TRUE(SocketShelf::here().leave_activated(first, 1));
  auto taken = ListenSocket::open(opened->local_address(), {});
  ASSERT_TRUE(taken);
  EXPECT_TRUE((*taken)->inherited());
  EXPECT_NE(::fcntl((*taken)->fd(), F_GETFD) & FD_CLOEXEC, 0) << "no hook or check inherits it";
  const int file = ::open("/dev/null", O_RDONLY);
  const auto refused = SocketShelf::here().leave_activated(file, 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_NE(refused.error().detail.find(std::to_string(file)), std::string::npos);
  ::close(file);
}

TEST_F(ListenSocketTest, AProbeTellsATakenPortAndTakesNone) {
  auto opened = std::move(*ListenSocket::open(Address::loopback(0), {.reuse_port = true}));
  const auto taken = ListenSocket::probe(opened->local_address());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::kAddressInUse);
  // Between the two somebody else may take it, but not each time.
  bool took = false;
  for (int i = 0; i < 10 && !took; ++i) {
    const auto free = ListenSocket::probe(Address::loopback(0));
    ASSERT_TRUE(free);
    EXPECT_NE(free->port(), 0);
    took = ListenSocket::open(*free, {}).has_value();
  }
  EXPECT_TRUE(took);
}

TEST_F(ListenSocketTest, TheShelfIsBoundedAndClosesWhatNobodyTakes) {
  SocketShelf& shelf = SocketShelf::here();
  for (std::size_t i = 0; i < SocketShelf::kSocketsMax; ++i) ASSERT_TRUE(shelf.leave("x", -1));
  EXPECT_EQ(shelf.leave("x", -1).error().code, Errc::kLimit);
  EXPECT_EQ(shelf.clear_left().size(), SocketShelf::kSocketsMax);
  EXPECT_FALSE(shelf.has("x"));
}

}  // namespace
}  // namespace agent::io
