#include "agent/api/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "agent/io/clock.h"
#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// One connection to the server that keeps every byte.
class Client final : public io::StreamSink {
 public:
  Client(io::Loop& loop, const io::Address& to)
      : stream_(io::TcpStream::connect(loop, to, io::boottime_now() + std::chrono::seconds(60), this)) {
    stream_->read_start();
  }
  void send(const std::string& text) {
    EXPECT_TRUE(stream_->write(std::as_bytes(std::span(text.data(), text.size()))).has_value());
  }
  void end() { stream_->shutdown(); }
  void reset() { stream_->reset(); }
  void on_read(std::span<const std::byte> bytes) override {
    received.append(static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size());
  }
  void on_end() override { ended = true; }
  void on_error(const io::Error&) override { ended = true; }

  std::string received;
  bool ended = false;

 private:
  std::unique_ptr<io::TcpStream> stream_;
};

class ApiServer : public testing::Test {
 protected:
  ApiServer() : loop(std::move(io::Loop::create().value())) {
    options.listen = io::Address::loopback(0);
    backend.self_info.name = "n1";
  }
  void start() {
    auto started = Server::start(
        *loop, backend, [](std::uint64_t) { return 0; }, options);
    ASSERT_TRUE(started.has_value()) << started.error().detail;
    server = std::move(*started);
  }
  std::unique_ptr<Client> connect() { return std::make_unique<Client>(*loop, server->local_address()); }
  /// Turns the loop until `done` holds; a guard of a minute turns a hang into a failure.
  template <typename Done>
  void until(Done done) {
    bool late = false;
    io::Timer guard(*loop, [&late] { late = true; });
    guard.arm_after(std::chrono::seconds(60));
    while (!late && !done()) {
      loop->run_once();
      backend.settle();
    }
    ASSERT_FALSE(late) << "nothing happened for too long";
  }
  std::string ask(const std::string& request) {
    auto client = connect();
    client->send(request);
    until([&] { return client->ended; });
    return client->received;
  }

  std::unique_ptr<io::Loop> loop;
  FakeBackend backend;
  ServerOptions options;
  std::unique_ptr<Server> server;
};

constexpr const char* kClose = "Host: 127.0.0.1\r\nConnection: close\r\n\r\n";

TEST_F(ApiServer, AnswersAndCloses) {
  start();
  const auto reply = ask(std::string("GET /outrigger/v1/role HTTP/1.1\r\n") + kClose);
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, AllOf(HasSubstr("Content-Type: application/json\r\n"), HasSubstr("Connection: close\r\n"),
                           HasSubstr("\"role\":\"none\"")));
  EXPECT_EQ(server->counters().requests, 1U);
  until([&] { return server->counters().connections == 0; });
}

TEST_F(ApiServer, KeepsAliveAndAnswersPipelinedRequestsInOrder) {
  start();
  auto client = connect();
  std::string three;
  for (const char* key : {"a", "b"})
    three += std::string("PUT /v1/kv/") + key + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" + key;
  three += "GET /v1/kv/?keys HTTP/1.1\r\nHost: x\r\n\r\n";
  client->send(three);
  until([&] { return client->received.find("[\"a\",\"b\"]") != std::string::npos; });
  EXPECT_FALSE(client->ended);
  EXPECT_EQ(server->counters().requests, 3U);
  client->send("GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n");
  until([&] { return server->counters().requests == 4; });
}

TEST_F(ApiServer, OldClientsAndHeadRequests) {
  start();
  backend.live_items = {{"loop", true, ""}};
  const auto old = ask("GET /outrigger/v1/health/live HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old, HasSubstr("Connection: close\r\n"));
  const auto head = ask(std::string("HEAD /outrigger/v1/health/live HTTP/1.1\r\n") + kClose);
  EXPECT_THAT(head, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 64\r\n")));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST_F(ApiServer, BodiesComeWholeHoweverTheyAreCut) {
  start();
  auto client = connect();
  client->send("PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nab");
  until([&] { return server->counters().connections == 1; });
  client->send("c\r\n2\r\nde\r\n0\r\n\r\n");
  until([&] { return client->ended; });
  ASSERT_EQ(backend.writes.size(), 1U);
  EXPECT_EQ(backend.writes[0].value, "abcde");
}

TEST_F(ApiServer, SaysContinueToWhoAsks) {
  start();
  auto client = connect();
  client->send("PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  until([&] { return client->received.find("100 Continue\r\n\r\n") != std::string::npos; });
  client->send("hi");
  until([&] { return client->received.find("true") != std::string::npos; });
}

TEST_F(ApiServer, MalformedRequestsGetOneStatusAndAreClosed) {
  start();
  struct Case {
    const char* bytes;
    const char* status;
  };
  const std::string huge = "PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n";
  const std::string fields = "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(40000, 'a') + "\r\n\r\n";
  for (const auto& [bytes, status] :
       {Case{"NONSENSE\r\n\r\n", "HTTP/1.1 400"}, Case{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
        Case{"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
             "HTTP/1.1 400"},
        Case{"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505"}, Case{huge.c_str(), "HTTP/1.1 413"},
        Case{fields.c_str(), "HTTP/1.1 431"}}) {
    auto client = connect();
    client->send(bytes);
    until([&] { return client->ended; });
    EXPECT_THAT(client->received, StartsWith(status)) << std::string(bytes).substr(0, 60);
    EXPECT_THAT(client->received, AllOf(HasSubstr("Connection: close"), HasSubstr("\"code\":")));
  }
  EXPECT_EQ(server->counters().refused, 6U);
  EXPECT_EQ(server->counters().requests, 0U);
}

TEST_F(ApiServer, SlowRequestsEndWith408AndIdleConnectionsWithNothing) {
  options.connection.head_timeout = Milliseconds(1);
  options.connection.idle_timeout = Milliseconds(1);
  start();
  auto slow = connect();
  slow->send("GET / HTT");
  auto idle = connect();
  until([&] { return slow->ended && idle->ended; });
  EXPECT_THAT(slow->received, StartsWith("HTTP/1.1 408"));
  EXPECT_EQ(idle->received, "");
}

TEST_F(ApiServer, ABlockingQueryIsWokenByAWrite) {
  start();
  backend.set("k", "1");
  auto waiting = connect();
  waiting->send("GET /v1/kv/k?index=11 HTTP/1.1\r\nHost: x\r\n\r\n");
  until([&] { return server->counters().waiting == 1; });
  EXPECT_EQ(waiting->received, "");
  EXPECT_THAT(ask(std::string("PUT /v1/kv/k HTTP/1.1\r\nContent-Length: 1\r\n") + kClose + "2"), HasSubstr("true"));
  until([&] { return waiting->received.find("Mg==") != std::string::npos; });
  EXPECT_THAT(waiting->received, HasSubstr("X-Consul-Index: 12\r\n"));
}

TEST_F(ApiServer, ABlockingQueryTimesOutOnTheServersClock) {
  start();
  backend.set("k", "1");
  const auto reply = ask(std::string("GET /v1/kv/k?index=11&wait=20ms HTTP/1.1\r\n") + kClose);
  EXPECT_THAT(reply, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("X-Consul-Index: 11\r\n")));
}

TEST_F(ApiServer, HangUpsFreeTheirWaits) {
  start();
  backend.set("k", "1");
  auto polite = connect(), rude = connect(), gone = connect();
  for (auto* client : {polite.get(), rude.get(), gone.get()})
    client->send("GET /v1/kv/k?index=11 HTTP/1.1\r\nHost: x\r\n\r\n");
  until([&] { return server->counters().waiting == 3; });
  polite->end();
  rude->reset();
  gone.reset();
  until([&] { return server->counters().waiting == 0 && server->counters().connections == 0; });
  EXPECT_EQ(backend.watch_count(), 0U);
}

TEST_F(ApiServer, EventStreamGoesOutPieceByPiece) {
  start();
  auto client = connect();
  client->send("GET /outrigger/v1/role/watch HTTP/1.1\r\nHost: x\r\n\r\n");
  until([&] { return client->received.find("data: {") != std::string::npos; });
  EXPECT_THAT(client->received,
              AllOf(HasSubstr("Content-Type: text/event-stream\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n")));
  auto role = backend.role_info;
  role.role = "primary";
  backend.set_role(role);
  until([&] { return client->received.find("\"role\":\"primary\"") != std::string::npos; });
  client->end();
  until([&] { return server->counters().connections == 0; });
  EXPECT_EQ(backend.watch_count(), 0U);
}

TEST_F(ApiServer, ConnectionsAreBounded) {
  options.connections_max = 1;
  start();
  auto first = connect();
  until([&] { return server->counters().connections == 1; });
  auto second = connect();
  until([&] { return second->ended; });
  EXPECT_EQ(server->counters().over_limit, 1U);
  first->send(std::string("GET /outrigger/v1/role HTTP/1.1\r\n") + kClose);
  until([&] { return first->ended; });
  EXPECT_THAT(first->received, StartsWith("HTTP/1.1 200"));
}

TEST_F(ApiServer, ServesAUnixSocket) {
  std::string folder = (std::filesystem::temp_directory_path() / "outrigger-api-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  options.listen = io::Address::unix_path(folder + "/api.sock").value();
  start();
  EXPECT_THAT(ask(std::string("GET /outrigger/v1/role HTTP/1.1\r\n") + kClose), StartsWith("HTTP/1.1 200"));
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(folder + "/api.sock"));
  std::filesystem::remove_all(folder);
}

TEST_F(ApiServer, ATakenPortIsSaidWithItsRemedy) {
  start();
  options.listen = server->local_address();
  const auto second = Server::start(
      *loop, backend, [](std::uint64_t) { return 0; }, options);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, io::Errc::kAddressInUse);
  EXPECT_THAT(second.error().detail, AllOf(HasSubstr("the API cannot listen on " + options.listen.to_string()),
                                           HasSubstr("set api.listen (--api)")));
}

TEST_F(ApiServer, StopsInGoodOrder) {
  start();
  backend.set("k", "1");
  auto idle = connect(), waiting = connect(), writing = connect();
  waiting->send("GET /outrigger/v1/role?index=7 HTTP/1.1\r\nHost: x\r\n\r\n");
  until([&] { return server->counters().waiting == 1 && server->counters().connections == 3; });
  writing->send("PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n2");
  while (backend.writes.empty()) loop->run_once();
  bool stopped = false;
  server->stop([&stopped] { stopped = true; });
  EXPECT_FALSE(stopped);
  until([&] { return idle->ended && waiting->ended && writing->ended; });
  EXPECT_EQ(idle->received, "");
  EXPECT_THAT(waiting->received, AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Connection: close")));
  EXPECT_THAT(writing->received, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Connection: close")));
  idle.reset(), waiting.reset(), writing.reset();
  until([&] { return stopped; });
}

TEST_F(ApiServer, DyingWithOpenExchangesLeavesNothing) {
  start();
  backend.set("k", "1");
  auto waiting = connect(), reading = connect();
  waiting->send("GET /v1/kv/k?index=11 HTTP/1.1\r\nHost: x\r\n\r\n");
  until([&] { return server->counters().waiting == 1; });
  reading->send("GET /v1/kv/k HTTP/1.1\r\nHost: x\r\n\r\n");
  while (server->counters().requests < 2) loop->run_once();
  server.reset();
  EXPECT_EQ(backend.watch_count(), 0U);
  backend.settle();
  until([&] { return waiting->ended && reading->ended; });
}

}  // namespace
}  // namespace agent::api
