#include "agent/io/tls_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>

#include "agent/io/tcp_listener.h"
#include "agent/io/thread.h"
#include "tests/unit/agent/io/loop_until.h"
#include "tests/unit/agent/io/record_sink.h"
#include "tests/unit/agent/io/tls_fixture.h"

namespace agent::io {
namespace {

/// One TLS connection over loopback; the parameter tells whether handshakes run in the pool.
struct Tls : ::testing::TestWithParam<bool> {
  std::unique_ptr<Loop> loop = new_loop();
  TlsOffload pool{*loop};
  RecordSink client_sink, server_sink;
  std::shared_ptr<const TlsContext> server_context, client_context;
  std::unique_ptr<TcpListener> listener;
  std::unique_ptr<TlsStream> client, server;
  std::string server_name;

  [[nodiscard]] TlsOffload* offload() { return GetParam() ? &pool : nullptr; }
  void contexts(TlsOptions for_server, TlsOptions for_client) {
    server_context = TlsFixture::load(for_server);
    client_context = TlsFixture::load(for_client);
  }
  void start() {
    if (!server_context) {
      contexts(tls_files().options(TlsRole::kServer, "server"), tls_files().options(TlsRole::kClient, "client"));
    }
    listener = std::move(*TcpListener::listen(*loop, Address::loopback(0), {}, [this](std::unique_ptr<TcpStream> tcp) {
      server = TlsStream::server(server_context, std::move(tcp), in_good_time(), offload(), &server_sink);
    }));
    client = TlsStream::client(client_context,
                               TcpStream::connect(*loop, listener->local_address(), in_good_time(), nullptr), server_name,
                               in_good_time(), offload(), &client_sink);
  }
  void open() {
    start();
    ASSERT_TRUE(run_until(*loop, [&] { return (client_sink.opened && server_sink.opened) || failed(); }));
    ASSERT_FALSE(failed()) << (client_sink.error ? client_sink.error->detail : server_sink.error->detail);
  }
  [[nodiscard]] bool failed() const { return client_sink.error || server_sink.error; }
  void read_both() {
    client->read_start();
    server->read_start();
  }
};

INSTANTIATE_TEST_SUITE_P(Where, Tls, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Offloaded" : "OnLoop"; });

TEST_P(Tls, BothSidesProveThemselves) {
  open();
  const PeerIdentity of_client = server->peer_identity();
  EXPECT_EQ(of_client.common_name, "node-b");
  EXPECT_THAT(of_client.dns_names, ::testing::UnorderedElementsAre("node-b", "node-b.example"));
  EXPECT_EQ(of_client.fingerprint.size(), 64U);
  EXPECT_EQ(client->peer_identity().common_name, "node-a");
  EXPECT_EQ(client->alpn(), "");
}

TEST_P(Tls, EchoesAndEndsWithCloseNotify) {
  open();
  read_both();
  ASSERT_TRUE(client->write(bytes_of("hello")));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data == "hello"; }));
  ASSERT_TRUE(server->write(bytes_of("world")));
  server->shutdown();
  EXPECT_EQ(server->write(bytes_of("x")).error().code, Errc::kClosed);
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.ended; }));
  EXPECT_EQ(client_sink.data, "world");
  ASSERT_TRUE(client->write(bytes_of(" still")));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data == "hello still"; }));
  EXPECT_FALSE(failed());
}

TEST_P(Tls, WritesBeforeTheHandshakeIsDoneArriveAfterIt) {
  start();
  ASSERT_TRUE(client->write(bytes_of("early ")));
  ASSERT_TRUE(client->write(bytes_of("bird")));
  EXPECT_EQ(client->write_queue_bytes(), 10U);
  client->shutdown();
  ASSERT_TRUE(run_until(*loop, [&] { return server != nullptr; }));
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.ended; }));
  EXPECT_EQ(server_sink.data, "early bird");
}

TEST_P(Tls, LargeTransfersKeepEveryByteUnderBackPressure) {
  open();
  std::string sent;
  for (unsigned i = 0; i < 1'200'000; ++i) sent += std::to_string(i * 7919U);
  client->set_write_queue_bytes_max(32U << 20);
  server->read_start();
  int pauses = 0;
  server_sink.on_any = [&] {  // stop and go, also in the middle of what one receive brought
    if (++pauses % 2 == 0) return;
    server->read_stop();
    loop->post([&] { server->read_start(); });
  };
  ASSERT_TRUE(client->write(bytes_of(sent)));
  client->shutdown();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.ended || failed(); }));
  EXPECT_EQ(server_sink.data.size(), sent.size());
  EXPECT_TRUE(server_sink.data == sent);
  EXPECT_EQ(client->write_queue_bytes(), 0U);
  EXPECT_GE(client_sink.drained, 1);  // once more if the word of its end had to wait
}

TEST_P(Tls, ManySmallBuffersShareRecordsInOrder) {
  open();
  server->read_start();
  std::vector<std::string> parts;
  std::vector<std::span<const std::byte>> buffers;
  std::string all;
  for (int i = 0; i < 900; ++i) parts.push_back(std::string(static_cast<std::size_t>(i % 97), static_cast<char>('a' + i % 26)));
  parts.push_back(std::string(40'000, 'L'));
  parts.push_back("end");
  for (const auto& part : parts) {
    buffers.push_back(bytes_of(part));
    all += part;
  }
  ASSERT_TRUE(client->write(ByteStream::Buffers(buffers)));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data.size() >= all.size(); }));
  EXPECT_TRUE(server_sink.data == all);
}

TEST_P(Tls, WriteQueueIsBounded) {
  open();
  client->set_write_queue_bytes_max(2U << 20);
  const std::string block(1U << 20, 'b');
  Result<void> written;
  for (int i = 0; i < 100 && written; ++i) written = client->write(bytes_of(block));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::kQueueFull);
}

TEST_P(Tls, AlpnAgreesOnTheServersChoice) {
  auto for_server = tls_files().options(TlsRole::kServer, "server");
  auto for_client = tls_files().options(TlsRole::kClient, "client");
  for_server.alpn = {"outrigger-raft", "outrigger-http"};
  for_client.alpn = {"outrigger-http"};
  contexts(for_server, for_client);
  open();
  EXPECT_EQ(server->alpn(), "outrigger-http");
  EXPECT_EQ(client->alpn(), "outrigger-http");
}

TEST_P(Tls, NoCommonAlpnIsAFailure) {
  auto for_server = tls_files().options(TlsRole::kServer, "server");
  auto for_client = tls_files().options(TlsRole::kClient, "client");
  for_server.alpn = {"outrigger-raft"};
  for_client.alpn = {"h2"};
  contexts(for_server, for_client);
  start();
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error && server_sink.error; }));
  EXPECT_EQ(client_sink.error->code, Errc::kTlsProtocol);
  EXPECT_EQ(server_sink.error->code, Errc::kTlsProtocol);
}

TEST_P(Tls, ClientWithoutCertificateIsRefused) {
  contexts(tls_files().options(TlsRole::kServer, "server"), tls_files().options(TlsRole::kClient, ""));
  start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.error->code, Errc::kTlsPeer) << server_sink.error->detail;
  EXPECT_FALSE(server_sink.opened);
  client->read_start();  // TLS 1.3: a client hears of the refusal after its own handshake is done
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error.has_value(); }));
  EXPECT_EQ(client_sink.error->code, Errc::kTlsPeer) << client_sink.error->detail;
}

TEST_P(Tls, CertificateOfAForeignCaIsRefused) {
  auto& files = tls_files();
  static const PemPair foreign = files.make_ca("foreign-ca", "foreign ca");
  if (!read_file(files.path("foreign.pem"), 1U << 20)) files.issue("foreign", "node-x", &foreign);
  auto for_client = files.options(TlsRole::kClient, "foreign");
  for_client.ca_file = files.path("foreign-ca.pem");
  contexts(files.options(TlsRole::kServer, "server"), for_client);
  start();
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error.has_value() && server_sink.error.has_value(); }));
  EXPECT_EQ(client_sink.error->code, Errc::kTlsPeer) << client_sink.error->detail;
  EXPECT_FALSE(server_sink.opened);
}

TEST_P(Tls, ExpiredClientCertificateIsRefused) {
  auto& files = tls_files();
  if (!read_file(files.path("expired.pem"), 1U << 20)) files.issue("expired", "node-old", nullptr, -1, 0);
  server_context = TlsFixture::load(files.options(TlsRole::kServer, "server"));
  // The certificate ends "now"; its own loader is given a clock of yesterday.
  client_context = TlsFixture::load(files.options(TlsRole::kClient, "expired"), -1);
  ASSERT_TRUE(client_context);
  // Certificates count whole seconds, and time() lags by up to a tick of the kernel: wait until this one has certainly ended.
  bool over = false;
  Timer timer(*loop, [&] { over = true; });
  timer.arm_after(Milliseconds(std::max<std::int64_t>(1, client_context->not_after_ms() + 1050 - wall_ms())));
  ASSERT_TRUE(run_until(*loop, [&] { return over; }));
  start();
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.error->code, Errc::kTlsPeer);
  EXPECT_NE(server_sink.error->detail.find("expired"), std::string::npos) << server_sink.error->detail;
}

TEST_P(Tls, ServerNameIsCheckedWhenAskedFor) {
  server_name = "node-a.example";
  open();
}

TEST_P(Tls, WrongServerNameIsRefused) {
  server_name = "node-z.example";
  start();
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error.has_value(); }));
  EXPECT_EQ(client_sink.error->code, Errc::kTlsPeer) << client_sink.error->detail;
}

TEST_P(Tls, SilentPeerRunsIntoTheDeadline) {
  server_context = TlsFixture::load(tls_files().options(TlsRole::kServer, "server"));
  std::unique_ptr<TlsStream> waiting;
  auto at = TcpListener::listen(*loop, Address::loopback(0), {}, [&](std::unique_ptr<TcpStream> tcp) {
    waiting = TlsStream::server(server_context, std::move(tcp), in_ms(20), offload(), &server_sink);
  });
  auto silent = TcpStream::connect(*loop, (*at)->local_address(), in_good_time(), &client_sink);
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.error->code, Errc::kTimedOut);
}

TEST_P(Tls, PlaintextIntoATlsPortIsAProtocolError) {
  server_context = TlsFixture::load(tls_files().options(TlsRole::kServer, "server"));
  auto at = TcpListener::listen(*loop, Address::loopback(0), {}, [&](std::unique_ptr<TcpStream> tcp) {
    server = TlsStream::server(server_context, std::move(tcp), in_good_time(), offload(), &server_sink);
  });
  auto plain = TcpStream::connect(*loop, (*at)->local_address(), in_good_time(), &client_sink);
  ASSERT_TRUE(plain->write(bytes_of("GET / HTTP/1.1\r\n\r\n")));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.error->code, Errc::kTlsProtocol);
}

TEST_P(Tls, CutWithoutCloseNotifyIsNotAnEnd) {
  open();
  read_both();
  ASSERT_TRUE(server->write(bytes_of("half a mess")));
  auto raw = server->detach();  // the descriptor closes without TLS's goodbye
  ASSERT_TRUE(raw);
  *raw = DetachedStream();
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error.has_value() || client_sink.ended; }));
  EXPECT_FALSE(client_sink.ended);
  EXPECT_EQ(client_sink.error->code, Errc::kTlsProtocol);
  EXPECT_EQ(client_sink.data, "half a mess");
}

TEST_P(Tls, ResetReachesTheOtherSide) {
  open();
  read_both();
  client->reset();
  EXPECT_FALSE(client->open());
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.error->code, Errc::kReset);
}

struct ShutGate : WriteGate {
  explicit ShutGate(int open_for = 0) : left(open_for) {}
  [[nodiscard]] bool may_write() const override { return left-- > 0; }
  mutable int left;
};

TEST_P(Tls, ShutGateHoldsCiphertextToo) {
  open();
  read_both();
  const ShutGate gate;
  client->set_write_gate(&gate);
  EXPECT_EQ(client->write(bytes_of("x")).error().code, Errc::kGateClosed);
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error && server_sink.error; }));
  EXPECT_EQ(client_sink.error->code, Errc::kGateClosed);
  EXPECT_EQ(server_sink.data, "");
}

TEST_P(Tls, WhatIsTakenHasLeftRecordByRecord) {
  open();
  std::string all(12U << 20, '\0');
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i * 2654435761U >> 24);
  const std::span<const std::byte> offered = bytes_of(all);
  std::size_t taken = 0;
  int partial = 0;
  const auto offer = [&] {
    // In three pieces of odd sizes: records span them.
    const auto left = offered.subspan(taken);
    const std::size_t cut = std::min<std::size_t>(left.size(), 5001), more = std::min<std::size_t>(left.size() - cut, 30'007);
    const std::array pieces{left.first(cut), left.subspan(cut, more), left.subspan(cut + more)};
    const auto count = client->write_some(pieces);
    ASSERT_TRUE(count) << count.error().detail;
    taken += *count;
    if (taken == all.size()) return;
    ++partial;
    EXPECT_EQ(taken % 16384, 0U) << "a record that left in part does not count: nobody can open it";
    EXPECT_EQ(client->write_queue_bytes(), 0U) << "nothing waits that could leave by itself";
  };
  offer();
  ASSERT_LT(taken, all.size()) << "nobody reads, so the kernel is full";
  const std::size_t before = taken;
  EXPECT_EQ(client_sink.drained, 0);
  server->read_start();
  int answered = 0;
  ASSERT_TRUE(run_until(*loop, [&] {
    if (client_sink.drained > answered && taken < all.size()) {
      answered = client_sink.drained;
      offer();
    }
    return server_sink.data.size() == all.size();
  }));
  EXPECT_TRUE(server_sink.data == all);
  EXPECT_GT(taken, before);
  EXPECT_GT(partial, 0);
  EXPECT_FALSE(failed());
}

TEST_P(Tls, TheRestOfARecordDoesNotLeaveBehindAShutGate) {
  open();
  const std::string all(12U << 20, 'x');
  std::size_t taken = *client->write_some(std::array{bytes_of(all)});
  ASSERT_LT(taken, all.size());
  const ShutGate gate;
  client->set_write_gate(&gate);
  server->read_start();  // the kernel has room again, and nobody asks us to write
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.drained > 0 && server_sink.data.size() == taken; }));
  EXPECT_FALSE(failed()) << "nothing was written, so the gate was not asked";
  const auto refused = client->write_some(std::array{bytes_of(all).subspan(taken)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kGateClosed);
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  EXPECT_EQ(server_sink.data.size(), taken) << "not one byte of the record that had left in part";
}

TEST_P(Tls, RecordsThatLeftBeforeTheGateShutAreNotCalledUnsent) {
  open();
  const std::string all(40'000, 'x');
  const ShutGate gate{1};
  client->set_write_gate(&gate);
  const auto taken = client->write_some(std::array{bytes_of(all)});
  ASSERT_TRUE(taken) << "whoever hears of a failure alone may send them once more";
  EXPECT_EQ(*taken, 16384U);
  server->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return client_sink.error && server_sink.error; }));
  EXPECT_EQ(client_sink.error->code, Errc::kGateClosed);
}

TEST_P(Tls, DestroyedInTheMiddleOfAHandshakeIsQuiet) {
  start();
  loop->poll();
  client.reset();
  EXPECT_TRUE(run_until(*loop, [&] { return server_sink.error.has_value(); }));
  server.reset();
}

TEST_P(Tls, UnreadPlaintextComesFirstAlsoAfterAMove) {
  open();
  server->read_start();
  ASSERT_TRUE(client->write(bytes_of("GET /")));
  ASSERT_TRUE(run_until(*loop, [&] { return server_sink.data == "GET /"; }));
  server->read_stop();
  server->unread(bytes_of("GET /"));
  ASSERT_TRUE(client->write(bytes_of("orders")));
  auto detached = server->detach();
  ASSERT_TRUE(detached);
  EXPECT_TRUE(detached->is_tls());
  auto handed = std::make_shared<DetachedStream>(std::move(*detached));
  std::atomic<bool> same_identity = false;
  auto thread = Thread::start("worker", [&, handed](Loop& other) {
    RecordSink sink;
    auto stream = adopt(other, std::move(*handed));
    same_identity = stream->peer_identity().common_name == "node-b";
    stream->set_sink(&sink);
    sink.on_any = [&] {
      if (sink.data != "GET /orders") return;
      EXPECT_TRUE(stream->write(bytes_of("200 OK")));
      stream->shutdown();
      sink.on_any = nullptr;
      other.stop();
    };
    stream->read_start();
    other.run();
  });
  ASSERT_TRUE(thread);
  client->read_start();
  EXPECT_TRUE(run_until(*loop, [&] { return client_sink.ended; }));
  EXPECT_EQ(client_sink.data, "200 OK");
  (*thread)->join();
  EXPECT_TRUE(same_identity);
}

TEST(TlsOffloadBound, WaitingHandshakesAreBounded) {
  auto loop = new_loop();
  TlsOffload pool(*loop, 1, 1);
  const auto context = TlsFixture::load(tls_files().options(TlsRole::kServer, "server"));
  const auto client_context = TlsFixture::load(tls_files().options(TlsRole::kClient, "client"));
  std::vector<std::unique_ptr<RecordSink>> sinks;
  std::vector<std::unique_ptr<TlsStream>> streams;
  auto listener = TcpListener::listen(*loop, Address::loopback(0), {}, [](auto) {});
  for (int i = 0; i < 3; ++i) {
    sinks.push_back(std::make_unique<RecordSink>());
    streams.push_back(TlsStream::client(client_context,
                                        TcpStream::connect(*loop, (*listener)->local_address(), in_good_time(), nullptr),
                                        "", in_good_time(), &pool, sinks.back().get()));
  }
  // All three connect in one turn: one step runs, one waits, one is too many.
  const auto refused = [&] {
    int count = 0;
    for (const auto& sink : sinks) count += sink->error && sink->error->code == Errc::kQueueFull ? 1 : 0;
    return count;
  };
  EXPECT_TRUE(run_until(*loop, [&] { return refused() >= 1; }));
  EXPECT_LE(pool.running(), 1U);
  EXPECT_LE(pool.waiting(), 1U);
}

TEST(TlsOffloadBound, AHundredHandshakesAtOnceAllSucceed) {
  auto loop = new_loop();
  TlsOffload pool(*loop);
  const auto context = TlsFixture::load(tls_files().options(TlsRole::kServer, "server"));
  const auto client_context = TlsFixture::load(tls_files().options(TlsRole::kClient, "client"));
  constexpr std::size_t kConnections = 100;
  std::vector<std::unique_ptr<RecordSink>> sinks;
  std::vector<std::unique_ptr<TlsStream>> streams;
  const auto sink = [&] { return sinks.emplace_back(std::make_unique<RecordSink>()).get(); };
  auto listener = TcpListener::listen(*loop, Address::loopback(0), {}, [&](std::unique_ptr<TcpStream> tcp) {
    streams.push_back(TlsStream::server(context, std::move(tcp), in_good_time(), &pool, sink()));
  });
  for (std::size_t i = 0; i < kConnections; ++i) {
    streams.push_back(TlsStream::client(client_context,
                                        TcpStream::connect(*loop, (*listener)->local_address(), in_good_time(), nullptr),
                                        "", in_good_time(), &pool, sink()));
  }
  const auto done = [&] {
    std::size_t count = 0;
    for (const auto& each : sinks) count += each->opened ? 1 : 0;
    return count;
  };
  EXPECT_TRUE(run_until(*loop, [&] { return done() == 2 * kConnections; })) << done();
}

}  // namespace
}  // namespace agent::io
