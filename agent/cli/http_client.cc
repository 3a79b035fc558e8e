#include "agent/cli/http_client.h"

#include <memory>
#include <optional>
#include <vector>

#include "agent/io/address.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/resolver.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/timer.h"
#include "proxy/http1/codec.h"
#include "proxy/http1/writer.h"

namespace agent::cli {
namespace {

constexpr std::uint16_t kDefaultPort = 8500;

/// Resolves, connects, asks, collects. Ends the loop when the answer is whole or something failed.
class Call final : public io::StreamSink, public proxy::http1::ResponseSink {
 public:
  Call(io::Loop& loop, const std::string& api, const HttpRequest& request)
      : loop_(loop),
        api_(api),
        request_(request),
        parser_(proxy::http1::Limits{.body_bytes_max = request.on_body ? UINT64_MAX : kReplyBytesMax}),
        timer_(loop, [this] { fail("no answer within " + std::to_string(request_.timeout.count()) + " ms"); }) {
    timer_.arm_after(request.timeout);
  }

  void start() {
    std::string where = api_.starts_with("http://") ? api_.substr(7) : api_;
    while (where.ends_with('/')) where.pop_back();
    if (where.starts_with("https://")) return fail("the agent's API does not speak TLS");
    if (where.starts_with("unix:")) {
      const auto address = io::Address::parse(where);
      return address ? connect(*address) : fail(address.error().detail);
    }
    const auto host = io::parse_host_port(where, kDefaultPort);
    if (!host) return fail(host.error().detail);
    if (const auto address = io::Address::ip(host->host, host->port)) return connect(*address);
    resolution_ = io::resolve(loop_, host->host, host->port, [this](io::Result<std::vector<io::Address>> found) {
      if (!found || found->empty()) return fail(found ? "the name has no address" : found.error().detail);
      connect(found->front());
    });
  }
  tl::expected<HttpReply, std::string> take() {
    if (failure_) return tl::unexpected(std::move(*failure_));
    return std::move(reply_);
  }

  void on_open() override {
    std::string bytes;
    std::vector<proxy::http1::TextHeader> headers{{"Connection", "close"}, {"User-Agent", "outrigger-cli"}};
    for (const auto& [name, value] : request_.headers) headers.push_back({name, value});
    proxy::http1::append_request(bytes, request_.method, request_.target, "outrigger", headers, request_.body);
    if (const auto written = stream_->write(proxy::http1::bytes_of(bytes)); !written)
      return fail(written.error().detail);
    parser_.expect(proxy::http1::method_of(request_.method));
    stream_->read_start();
  }
  void on_read(std::span<const std::byte> bytes) override {
    while (!bytes.empty() && !over_) {
      const auto taken = parser_.feed(bytes, *this);
      if (!taken) return fail("its answer is no valid HTTP: " + taken.error().detail);
      if (*taken == 0) break;
      bytes = bytes.subspan(*taken);
    }
  }
  void on_end() override {
    if (over_) return;
    if (const auto ended = parser_.finish(*this); !ended) return fail("it closed the connection within its answer");
    if (!over_) fail("it closed the connection without an answer");
  }
  void on_error(const io::Error& error) override { fail(error.detail); }

  proxy::http1::Flow on_head(const proxy::http1::ResponseHead& head) override {
    if (head.interim()) return proxy::http1::Flow::kContinue;
    reply_.status = head.status;
    reply_.index = head.find("X-Consul-Index").value_or("");
    reply_.content_type = head.find("Content-Type").value_or("");
    reply_.halted = head.find("X-Outrigger-Halted").value_or("");
    reply_.request_id = head.find("X-Request-Id").value_or("");
    return proxy::http1::Flow::kContinue;
  }
  void on_body(proxy::http1::Bytes bytes) override {
    if (over_) return;
    if (!request_.on_body || reply_.status != 200)
      reply_.body += proxy::http1::text_of(bytes);
    else if (!request_.on_body(proxy::http1::text_of(bytes)))
      finish();
  }
  void on_end(std::span<const proxy::http1::Header>) override { finish(); }

 private:
  void connect(const io::Address& address) {
    stream_ = io::TcpStream::connect(loop_, address, io::boottime_now() + request_.timeout, this);
    stream_->set_write_queue_bytes_max(kReplyBytesMax);
  }
  void finish() {
    over_ = true;
    loop_.stop();
  }
  void fail(std::string why) {
    if (over_) return;
    failure_ = "cannot reach the agent at " + api_ + ": " + std::move(why);
    finish();
  }

  io::Loop& loop_;
  std::string api_;
  const HttpRequest& request_;
  proxy::http1::ResponseParser parser_;
  io::Timer timer_;
  std::unique_ptr<io::Resolution> resolution_;
  std::unique_ptr<io::TcpStream> stream_;
  HttpReply reply_;
  std::optional<std::string> failure_;
  bool over_ = false;
};

}  // namespace

tl::expected<HttpReply, std::string> http_call(const std::string& api, const HttpRequest& request) {
  auto loop = io::Loop::create();
  if (!loop) return tl::unexpected("cannot make an event loop: " + loop.error().detail);
  Call call(**loop, api, request);
  call.start();
  (*loop)->run();
  return call.take();
}

namespace {

/// Leaves letters, digits and `plain_marks` as they are.
std::string percent_encode(std::string_view text, std::string_view plain_marks) {
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                       plain_marks.find(c) != std::string_view::npos;
    if (plain)
      out += c;
    else
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

}  // namespace

std::string url_encode(std::string_view text) { return percent_encode(text, "-._~/"); }
std::string url_segment(std::string_view text) { return percent_encode(text, "-._~"); }

}  // namespace agent::cli
