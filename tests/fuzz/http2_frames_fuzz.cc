#include <string>

#include "proxy/http1/writer.h"
#include "proxy/http2/session.h"
#include "tests/fuzz/fuzz.h"

namespace http1 = proxy::http1;
namespace http2 = proxy::http2;

namespace {

http2::Limits limits() {
  http2::Limits out;
  out.head = {.target_bytes_max = 512, .head_bytes_max = 4096, .header_count_max = 32};
  out.streams_max = 8;
  return out;
}

/// Answers every request at once, a part of them in pieces; checks what the session promises.
class Server final : public http2::Acceptor {
 public:
  class Each final : public http2::Receiver {
   public:
    explicit Each(Server& server) : server_(server) {}
    void on_body(http1::Bytes bytes) override {
      fuzz::require(!closed && !ended, "no body behind the end");
      kept += bytes.size();
      fuzz::require(stream->unconsumed() <= 65'535, "a stream's window bounds its body");
      if (kept % 3 == 0) server_.session->consume(*stream);
    }
    void on_end(std::span<const http1::Header> trailers) override {
      fuzz::require(!closed && !ended, "one end");
      for (const auto& field : trailers) fuzz::require(http1::is_trailer_field(field), "trailers do not frame or route");
      ended = true;
    }
    void on_room() override { fuzz::require(!closed, "room for a stream that lives"); }
    void on_closed() override {
      fuzz::require(!closed, "closed once");
      closed = true;
      --server_.open;
    }
    http2::Stream* stream = nullptr;
    bool closed = false, ended = false;
    std::size_t kept = 0;

   private:
    Server& server_;
  };

  http2::Receiver* on_request(http2::Stream& stream, const http1::RequestHead& head) override {
    fuzz::require(head.target.size() <= 512 && head.headers.size() <= 33, "a head is bounded");
    fuzz::require(!head.host.empty() && http1::is_known_method(head.method_text), "a request has method and host");
    for (const auto& field : head.headers) {
      fuzz::require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos, "no split in a value");
      fuzz::require(!field.name.empty() && field.name.find_first_of(" \t:\r\n") == std::string_view::npos, "names are tokens");
      fuzz::require(field.id != http1::HeaderId::kTransferEncoding && field.id != http1::HeaderId::kConnection, "no connection fields");
    }
    if (++count % 7 == 0) return nullptr;
    Each& each = take(stream);
    const bool whole = count % 2 == 0;
    send(each, whole ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" : "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", whole);
    if (!whole) waiting.push_back(&each);
    return &each;
  }
  http2::Receiver* on_bad_head(http2::Stream& stream, const proxy::Error& error) override {
    fuzz::require(proxy::status_of(error.code) >= 400, "a refusal has a status");
    Each& each = take(stream);
    send(each, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", true);
    return &each;
  }
  void send(Each& each, std::string_view text, bool last) {
    const auto piece = http1::bytes_of(text);
    static_cast<void>(session->send(*each.stream, {&piece, 1}, true, false, last));
  }
  Each& take(http2::Stream& stream) {
    ++open;
    fuzz::require(open <= 8, "streams are bounded");
    all.push_back(std::make_unique<Each>(*this));
    all.back()->stream = &stream;
    return *all.back();
  }
  /// Goes on with the answers that wait.
  void go_on() {
    for (Each* each : waiting) {
      if (each->closed) continue;
      const auto piece = http1::bytes_of("body");
      static_cast<void>(session->send(*each->stream, {&piece, 1}, false, false, false));
      session->end(*each->stream);
    }
    waiting.clear();
  }

  http2::Session* session = nullptr;
  std::vector<std::unique_ptr<Each>> all;
  std::vector<Each*> waiting;
  std::size_t count = 0;
  int open = 0;
};

void run(http1::Bytes bytes, std::size_t piece) {
  Server server;
  http2::Session session(limits(), server, [n = std::uint64_t{0}](std::uint64_t bound) mutable { return ++n % bound; });
  server.session = &session;
  std::string out;
  proxy::TimePoint now{};
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(piece, bytes.size()))) {
    now += proxy::Milliseconds(1);
    const bool goes_on = session.feed(bytes.first(std::min(piece, bytes.size())), now);
    out.clear();
    while (session.write(out, 4096)) {
      fuzz::require(out.size() <= 4096 + 16384 + 9, "what is written at a time is bounded");
      out.clear();
    }
    fuzz::require(session.streams() <= 8 + 1, "streams are bounded");
    if (!goes_on || session.over()) break;
    server.go_on();
  }
}

}  // namespace

/// HTTP/2 frames: with a preface before them unless the input has one, whole and torn.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(fuzz::text_of(data, size));
  if (!text.starts_with("PRI")) text = std::string(http2::kPreface) + std::string(std::string_view("\0\0\0\4\0\0\0\0\0", 9)) + text;
  const auto bytes = http1::bytes_of(text);
  run(bytes, bytes.size());
  run(bytes, 7);
  return 0;
}
