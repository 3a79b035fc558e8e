#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "agent/io/tcp_listener.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/thread.h"
#include "tests/unit/agent/io/loop_until.h"
#include "tests/unit/agent/io/record_sink.h"

namespace agent::io {
namespace {

/// A listener, one connection through it and both of its ends.
struct Pair : ::testing::Test {
  std::unique_ptr<Loop> loop = new_loop();
  RecordSink client_sink, server_sink;
  std::unique_ptr<TcpListener> listener;
  std::unique_ptr<TcpStream> client, server;

  void open(const Address& at = Address::loopback(0)) {
    auto made = TcpListener::listen(*loop, at, {}, [this](std::unique_ptr<TcpStream> stream) {
      server = std::move(stream);
      server->set_sink(&server_sink);
    });
    ASSERT_TRUE(made) << made.error().detail;
    listener = std::move(*made);
    client = TcpStream::connect(*loop, listener->local_address(), in_good_time(), &client_sink);
    ASSERT_TRUE(run_until(*loop, [&] { return server != nullptr && client_sink.opened; }));
  }
  void read_both() {
    client->read_start();
    server->read_start();
  }
};

TEST_F(Pair, EchoesAndEndsPolitely) {
  open();
  read_both();
  EXPECT_TRUE(client->open());
  EXPECT_EQ(client->peer_address(), listener->local_address());
  EXPECT_EQ(server->peer_address(), client->local_address());
  ASSERT_TRUE(client->write(bytes_of("hello")));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data == "hello"; }));
  ASSERT_TRUE(server->write(bytes_of("world")));
  server->shutdown();
  EXPECT_EQ(server->write(bytes_of("x")).error().code, Errc::kClosed);
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.ended; }));
  EXPECT_EQ(client_sink.data, "world");
  ASSERT_TRUE(client->write(bytes_of("still")));  // half closed: this way is open
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data == "hellostill"; }));
  EXPECT_FALSE(client_sink.error);
}

TEST_F(Pair, GathersManyBuffersInOrder) {
  open();
  read_both();
  std::vector<std::string> parts;
  std::vector<std::span<const std::byte>> buffers;
  std::string all;
  for (int i = 0; i < 200; ++i) parts.push_back(std::to_string(i) + (i % 7 == 0 ? "" : ","));
  parts.push_back("");
  for (const auto& part : parts) {
    buffers.push_back(bytes_of(part));
    all += part;
  }
  ASSERT_TRUE(client->write(ByteStream::Buffers(buffers)));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data.size() == all.size(); }));
  EXPECT_EQ(server_sink.data, all);
}

TEST_F(Pair, BackPressureQueuesBoundsAndDrains) {
  open();
  client->set_write_queue_bytes_max(4U << 20);
  const std::string block(1U << 20, 'b');
  std::size_t taken = 0;
  Result<void> written;
  for (int i = 0; i < 100 && written; ++i) {
    written = client->write(bytes_of(block));
    if (written) taken += block.size();
  }
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::kQueueFull);
  EXPECT_GT(client->write_queue_bytes(), 0U);
  EXPECT_LE(client->write_queue_bytes(), 4U << 20);
  EXPECT_EQ(client_sink.drained, 0);
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data.size() == taken; }));
  EXPECT_EQ(client_sink.drained, 1);
  EXPECT_EQ(client->write_queue_bytes(), 0U);
  EXPECT_TRUE(client->write(bytes_of("on")));
}

TEST_F(Pair, ShutdownWaitsForTheQueue) {
  open();
  const std::string block(6U << 20, 'q');
  ASSERT_TRUE(client->write(bytes_of(block)));
  ASSERT_GT(client->write_queue_bytes(), 0U);
  client->shutdown();
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.ended; }));
  EXPECT_EQ(server_sink.data.size(), block.size());
}

TEST_F(Pair, StoppedReadingHoldsDataBack) {
  open();
  server->read_start();
  server_sink.on_any = [&] { server->read_stop(); };
  ASSERT_TRUE(client->write(bytes_of("one")));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data == "one"; }));
  ASSERT_TRUE(client->write(bytes_of("two")));
  bool timer_over = false;
  Timer timer(*loop, [&] { timer_over = true; });
  timer.arm_after(Milliseconds(5));
  ASSERT_TRUE(run_until(*loop, [&] { return timer_over; }));
  EXPECT_EQ(server_sink.data, "one");
  server->read_start();
  EXPECT_TRUE(run_until(*loop, [&] { return server_sink.data == "onetwo"; }));
}

TEST_F(Pair, ResetReachesTheOtherSideAsReset) {
  open();
  read_both();
  client->reset();
  EXPECT_FALSE(client->open());
  EXPECT_EQ(client->write(bytes_of("x")).error().code, Errc::kClosed);
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.error->code, Errc::kReset);
  EXPECT_FALSE(server_sink.ended);
  EXPECT_FALSE(client_sink.error);
}

TEST_F(Pair, BytesBeforeAResetAreStillRead) {
  open();
  ASSERT_TRUE(client->write(bytes_of("last words")));
  client->reset();
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.data, "last words");
}

TEST_F(Pair, WriteIntoABrokenConnectionReportsOnceAndLater) {
  open();
  client->read_start();
  ASSERT_TRUE(server->write(bytes_of("early reply")));
  server->reset();
  Result<void> written;
  while (written) written = client->write(bytes_of("body"));  // the kernel may take its time to say so; else the queue would be full
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::kReset);
  EXPECT_FALSE(client_sink.error);  // not inside the call
  EXPECT_EQ(client->write(bytes_of("body")).error().code, Errc::kClosed);
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error.has_value(); }));
  EXPECT_EQ(client_sink.error->code, Errc::kReset);
  EXPECT_EQ(client_sink.data, "early reply");
}

TEST_F(Pair, ErrorWithoutSinkWaitsForTheNextSink) {
  open();
  server->read_start();
  server->set_sink(nullptr);
  client->reset();
  Result<void> written;
  while (written) written = server->write(bytes_of("x"));
  EXPECT_EQ(written.error().code, Errc::kReset);
  loop->poll();
  server->set_sink(&server_sink);
  EXPECT_FALSE(server_sink.error);
  EXPECT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
}

struct Switch : WriteGate {
  bool on = true;
  mutable int asked = 0;
  [[nodiscard]] bool may_write() const override {
    ++asked;
    return on;
  }
};

TEST_F(Pair, ShutGateStopsAWriteAndCutsTheConnection) {
  open();
  read_both();
  Switch gate;
  client->set_write_gate(&gate);
  ASSERT_TRUE(client->write(bytes_of("in time")));
  EXPECT_EQ(gate.asked, 1);
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data == "in time"; }));
  gate.on = false;
  EXPECT_EQ(client->write(bytes_of("too late")).error().code, Errc::kGateClosed);
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error && server_sink.error; }));
  EXPECT_EQ(client_sink.error->code, Errc::kGateClosed);
  EXPECT_EQ(server_sink.error->code, Errc::kReset);
  EXPECT_EQ(server_sink.data, "in time");
}

TEST_F(Pair, WriteSomeKeepsNothingBackAndTellsWhenThereIsRoom) {
  open();
  const std::string block(1U << 20, 's');
  std::size_t taken = 0;
  for (int i = 0; i < 100; ++i) {
    const std::span<const std::byte> bytes = bytes_of(block);
    const auto some = client->write_some(ByteStream::Buffers(&bytes, 1));
    ASSERT_TRUE(some);
    taken += *some;
    if (*some < block.size()) break;
  }
  EXPECT_EQ(client->write_queue_bytes(), 0U);
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data.size() == taken && client_sink.drained == 1; }));
  Switch gate;
  gate.on = false;
  client->set_write_gate(&gate);
  const std::span<const std::byte> late = bytes_of("late");
  EXPECT_EQ(client->write_some(ByteStream::Buffers(&late, 1)).error().code, Errc::kGateClosed);
}

TEST_F(Pair, WhoMayOnlyEndByResetTakesUnconfirmedBytesAlong) {
  open();
  const std::string block(4U << 20, 'o');
  const std::span<const std::byte> bytes = bytes_of(block);
  dynamic_cast<TcpStream&>(*client).reset_at_end();
  const auto some = client->write_some(ByteStream::Buffers(&bytes, 1));
  ASSERT_TRUE(some);
  client.reset();  // destroyed, as by a process that dies
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value() || server_sink.ended; }));
  ASSERT_TRUE(server_sink.error) << "an end would say that all of it has come";
  EXPECT_EQ(server_sink.error->code, Errc::kReset);
  EXPECT_LT(server_sink.data.size(), *some);
}

TEST_F(Pair, ShutGateAlsoStopsWhatWasQueuedBefore) {
  open();
  Switch gate;
  client->set_write_gate(&gate);
  const std::string block(6U << 20, 'z');
  ASSERT_TRUE(client->write(bytes_of(block)));
  const std::size_t queued = client->write_queue_bytes();
  ASSERT_GT(queued, 0U);
  gate.on = false;
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error.has_value() && server_sink.error.has_value(); }));
  EXPECT_EQ(client_sink.error->code, Errc::kGateClosed);
  EXPECT_LE(server_sink.data.size(), block.size() - queued);
}

TEST_F(Pair, SinkMayDestroyTheStreamInEveryEvent) {
  open();
  server->read_start();
  server_sink.on_any = [&] { server.reset(); };
  ASSERT_TRUE(client->write(bytes_of("x")));
  ASSERT_TRUE(run_until(*loop, [&] { return server == nullptr; }));
  client_sink.on_any = [&] { client.reset(); };
  client->read_start();
  EXPECT_TRUE(run_until(*loop, [&] { return client == nullptr; }));
}

TEST_F(Pair, UnreadBytesComeFirst) {
  open();
  server->read_start();
  ASSERT_TRUE(client->write(bytes_of("preface|rest")));
  ASSERT_TRUE(run_until(*loop, [&] { return !server_sink.data.empty(); }));
  server->read_stop();
  server_sink.data.clear();
  server->unread(bytes_of("rest"));
  ASSERT_TRUE(client->write(bytes_of("+more")));
  server->read_start();
  EXPECT_TRUE(server_sink.data.empty());  // not inside the call
  EXPECT_TRUE(run_until(*loop, [&] { return server_sink.data == "rest+more"; }));
}

TEST_F(Pair, DetachedStreamGoesOnInAnotherLoop) {
  open();
  server->unread(bytes_of("first "));
  ASSERT_TRUE(client->write(bytes_of("second")));
  auto detached = server->detach();
  ASSERT_TRUE(detached);
  EXPECT_FALSE(detached->is_tls());
  EXPECT_FALSE(server->open());
  EXPECT_EQ(server->detach().error().code, Errc::kClosed);
  std::atomic<bool> whole = false;
  auto handed = std::make_shared<DetachedStream>(std::move(*detached));
  auto thread = Thread::start("other", [&, handed](Loop& other) {
    RecordSink sink;
    auto stream = adopt(other, std::move(*handed));
    stream->set_sink(&sink);
    sink.on_any = [&] {
      if (sink.data != "first second") return;
      whole = stream->write(bytes_of("got it")).has_value();
      stream->shutdown();
      sink.on_any = nullptr;
      other.stop();
    };
    stream->read_start();
    other.run();
  });
  ASSERT_TRUE(thread);
  client->read_start();
  EXPECT_TRUE(run_until(*loop, [&] { return client_sink.data == "got it" && client_sink.ended; }));
  (*thread)->join();
  EXPECT_TRUE(whole);
}

TEST_F(Pair, DetachIsRefusedWhileBytesWait) {
  open();
  ASSERT_TRUE(client->write(bytes_of(std::string(6U << 20, 'w'))));
  EXPECT_EQ(client->detach().error().code, Errc::kInvalidArgument);
  EXPECT_TRUE(client->open());
}

TEST_F(Pair, DestroyedDetachedStreamCloses) {
  open();
  client->read_start();
  { auto detached = server->detach(); }
  EXPECT_TRUE(run_until(*loop, [&] { return client_sink.ended; }));
}

TEST(TcpConnect, RefusedIsConclusiveAndLater) {
  auto loop = new_loop();
  Address dead;
  {
    auto listener = TcpListener::listen(*loop, Address::loopback(0), {}, [](auto) {});
    dead = (*listener)->local_address();
  }
  RecordSink sink;
  auto stream = TcpStream::connect(*loop, dead, in_good_time(), &sink);
  EXPECT_FALSE(sink.error);
  ASSERT_TRUE(run_until(*loop, [&] { return sink.error.has_value(); }));
  EXPECT_EQ(sink.error->code, Errc::kRefused);
  EXPECT_FALSE(sink.opened);
}

TEST(TcpConnect, DeadlineEndsAConnectThatNobodyAnswers) {
  auto loop = new_loop();
  // A listener with a full backlog: the kernel leaves further connects unanswered.
  TcpListener::Options options;
  options.backlog = 0;
  auto listener = TcpListener::listen(*loop, Address::loopback(0), options, [](auto) {});
  ASSERT_TRUE(listener);
  (*listener)->pause();
  std::vector<std::unique_ptr<RecordSink>> sinks;
  std::vector<std::unique_ptr<TcpStream>> streams;
  for (int i = 0; i < 8; ++i) {
    sinks.push_back(std::make_unique<RecordSink>());
    streams.push_back(TcpStream::connect(*loop, (*listener)->local_address(), in_ms(30), sinks.back().get()));
  }
  EXPECT_TRUE(run_until(*loop, [&] {
    for (const auto& sink : sinks) {
      if (sink->error && sink->error->code == Errc::kTimedOut) return true;
    }
    return false;
  }));
}

TEST(TcpConnect, EmptyAddressAndMissingPathAreErrorsOfTheSink) {
  auto loop = new_loop();
  RecordSink empty, missing;
  auto a = TcpStream::connect(*loop, Address(), in_good_time(), &empty);
  auto b = TcpStream::connect(*loop, *Address::unix_path("/nowhere/at/all.sock"), in_good_time(), &missing);
  ASSERT_TRUE(run_until(*loop, [&] { return empty.error && missing.error; }));
  EXPECT_EQ(empty.error->code, Errc::kInvalidArgument);
  EXPECT_EQ(missing.error->code, Errc::kNotFound);
}

TEST(TcpConnect, WritesBeforeOpenAreSentAfterIt) {
  auto loop = new_loop();
  RecordSink client_sink, server_sink;
  std::unique_ptr<TcpStream> server;
  auto listener = TcpListener::listen(*loop, Address::loopback(0), {}, [&](std::unique_ptr<TcpStream> stream) {
    server = std::move(stream);
    server->set_sink(&server_sink);
    server->read_start();
  });
  auto client = TcpStream::connect(*loop, (*listener)->local_address(), in_good_time(), &client_sink);
  EXPECT_FALSE(client->open());
  ASSERT_TRUE(client->write(bytes_of("early")));
  EXPECT_EQ(client->write_queue_bytes(), 5U);
  client->shutdown();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.ended; }));
  EXPECT_EQ(server_sink.data, "early");
}

TEST(TcpListener, TakenPortIsNamed) {
  auto loop = new_loop();
  auto first = TcpListener::listen(*loop, Address::loopback(0), {}, [](auto) {});
  ASSERT_TRUE(first);
  const auto second = TcpListener::listen(*loop, (*first)->local_address(), {}, [](auto) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kAddressInUse);
  EXPECT_NE(second.error().detail.find((*first)->local_address().to_string()), std::string::npos);
}

TEST(TcpListener, ReusePortSharesOnePort) {
  auto loop = new_loop();
  TcpListener::Options options;
  options.reuse_port = true;
  auto first = TcpListener::listen(*loop, Address::loopback(0), options, [](auto) {});
  ASSERT_TRUE(first);
  EXPECT_TRUE(TcpListener::listen(*loop, (*first)->local_address(), options, [](auto) {}));
}

TEST(TcpListener, AcceptCallbackMayDestroyTheListener) {
  auto loop = new_loop();
  std::unique_ptr<TcpListener> listener;
  listener = std::move(*TcpListener::listen(*loop, Address::loopback(0), {}, [&](auto) { listener.reset(); }));
  RecordSink sink;
  auto client = TcpStream::connect(*loop, listener->local_address(), in_good_time(), &sink);
  EXPECT_TRUE(run_until(*loop, [&] { return listener == nullptr; }));
}

TEST(TcpListener, PausedOneLetsCallersWait) {
  auto loop = new_loop();
  int accepted = 0;
  auto listener = TcpListener::listen(*loop, Address::loopback(0), {}, [&](auto) { ++accepted; });
  (*listener)->pause();
  RecordSink sink;
  auto client = TcpStream::connect(*loop, (*listener)->local_address(), in_good_time(), &sink);
  ASSERT_TRUE(run_until(*loop, [&] { return sink.opened; }));
  EXPECT_EQ(accepted, 0);
  (*listener)->resume();
  EXPECT_TRUE(run_until(*loop, [&] { return accepted == 1; }));
}

struct UnixPath : ::testing::Test {
  std::string path = ::testing::TempDir() + "/outrigger-io-" + std::to_string(::getpid()) + ".sock";
  Address address = *Address::unix_path(path);
  void TearDown() override { ::unlink(path.c_str()); }
};

TEST_F(UnixPath, ServesWithItsModeAndCleansUp) {
  auto loop = new_loop();
  RecordSink client_sink, server_sink;
  std::unique_ptr<TcpStream> server;
  {
    TcpListener::Options options;
    options.unix_mode = 0640;
    auto listener = TcpListener::listen(*loop, address, options, [&](std::unique_ptr<TcpStream> stream) {
      server = std::move(stream);
      server->set_sink(&server_sink);
      server->read_start();
    });
    ASSERT_TRUE(listener);
    struct stat made{};
    ASSERT_EQ(::stat(path.c_str(), &made), 0);
    EXPECT_EQ(made.st_mode & 0777U, 0640U);
    auto client = TcpStream::connect(*loop, address, in_good_time(), &client_sink);
    ASSERT_TRUE(client->write(bytes_of("over a path")));
    EXPECT_TRUE(run_until(*loop, [&] { return server_sink.data == "over a path"; }));
    const auto taken = TcpListener::listen(*loop, address, {}, [](auto) {});
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Errc::kAddressInUse);
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST_F(UnixPath, LeftOverPathIsTakenOver) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(fd, address.raw(), address.raw_length()), 0);
  ::close(fd);  // as after a kill: the path stays, nobody listens
  auto loop = new_loop();
  const auto listener = TcpListener::listen(*loop, address, {}, [](auto) {});
  EXPECT_TRUE(listener) << listener.error().detail;
}

}  // namespace
}  // namespace agent::io
