#pragma once
/// An HTTP server of a few lines for tests of the drivers: on the test's own loop, any free port, scripted answers.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/io/loop.h"
#include "agent/io/tcp_listener.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/tls_stream.h"
#include "agent/io/timer.h"
#include "proxy/http1/codec.h"
#include "proxy/http1/writer.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent::drivers {

using io::in_good_time;
using io::look_until;
using io::run_until;

class FakeInstance {
 public:
  explicit FakeInstance(io::Loop& loop) : loop_(loop) { listen(io::Address::loopback(0)); }

  void listen(const io::Address& at) {
    auto made = io::TcpListener::listen(loop_, at, {}, [this](std::unique_ptr<io::TcpStream> stream) {
      ++connections;
      clients_.push_back(std::make_unique<Client>(*this, std::move(stream)));
    });
    ASSERT_TRUE(made) << made.error().detail;
    listener_ = std::move(*made);
    address = listener_->local_address();
  }
  /// As the kernel does for a killed process: nobody listens any more and every connection is cut.
  void die() {
    listener_.reset();
    for (auto& client : clients_) client->stream.reset();
  }
  void come_back() { listen(address); }
  void drop_connections() {
    for (auto& client : clients_) client->stream.reset();
  }

  int status = 200;
  std::string body = "{}";
  bool answers = true;       ///< false: takes requests and says nothing
  std::string raw;           ///< if set: sent in place of an HTTP answer
  std::function<std::string(std::string_view target)> answer;  ///< if set: says what is sent, per target
  std::shared_ptr<const io::TlsContext> tls;                   ///< if set: of every connection from now on
  bool hangs_up = false;     ///< ends the connection behind its answer, whatever that says
  int connections = 0;
  std::vector<std::string> requests;  ///< "METHOD target body"
  io::Address address;

 private:
  struct Client final : io::StreamSink, proxy::http1::RequestSink {
    Client(FakeInstance& owner, std::unique_ptr<io::TcpStream> taken) : instance(owner), parser(proxy::http1::Limits{}) {
      if (owner.tls) stream = io::TlsStream::server(owner.tls, std::move(taken), in_good_time(), nullptr, this);
      else stream = std::move(taken);
      stream->set_sink(this);
      stream->read_start();
    }
    void on_read(std::span<const std::byte> bytes) override {
      while (!bytes.empty()) {
        const auto used = parser.feed(bytes, *this);
        if (!used) return;
        bytes = bytes.subspan(*used);
        if (ended && instance.answers) {
          std::string out = instance.answer ? instance.answer(target) : instance.raw;
          if (out.empty()) proxy::http1::append_response(out, instance.status, {}, instance.body);
          static_cast<void>(stream->write(proxy::http1::bytes_of(out)));
          if (instance.hangs_up) stream->shutdown();
        }
        ended = false;
      }
    }
    void on_end() override { stream.reset(); }
    void on_error(const io::Error&) override { stream.reset(); }
    proxy::http1::Flow on_head(const proxy::http1::RequestHead& head) override {
      target = std::string(head.target);
      line = std::string(head.method_text) + " " + target + " ";
      return proxy::http1::Flow::kContinue;
    }
    void on_body(proxy::http1::Bytes bytes) override { line += proxy::http1::text_of(bytes); }
    void on_end(std::span<const proxy::http1::Header>) override {
      instance.requests.push_back(line);
      ended = true;
    }
    FakeInstance& instance;
    std::unique_ptr<io::ByteStream> stream;
    proxy::http1::RequestParser parser;
    std::string line, target;
    bool ended = false;
  };

  io::Loop& loop_;
  std::unique_ptr<io::TcpListener> listener_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace agent::drivers
