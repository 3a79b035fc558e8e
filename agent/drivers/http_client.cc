#include "agent/drivers/http_client.h"

#include <cassert>
#include <utility>

namespace agent::drivers {

using proxy::http1::Flow;

HttpClient::HttpClient(io::Loop& loop, io::Address to, std::string host)
    : loop_(loop),
      to_(std::move(to)),
      host_(std::move(host)),
      parser_(std::in_place, proxy::http1::Limits{.body_bytes_max = kBodyBytesMax}),
      timer_(loop, [this] { fail({io::Errc::kTimedOut, "no answer from " + to_.to_string() + " in time"}); }) {}

HttpClient::~HttpClient() = default;

void HttpClient::close() {
  done_ = nullptr;
  stream_.reset();
  timer_.disarm();
}

void HttpClient::request(std::string_view method, std::string_view target,
                         const std::vector<proxy::http1::TextHeader>& headers, std::string_view body,
                         io::TimePoint deadline, Done done) {
  assert(!done_);
  done_ = std::move(done);
  method_ = proxy::http1::method_of(method);
  deadline_ = deadline;
  out_.clear();
  proxy::http1::append_request(out_, method, target, host_, headers, body);
  timer_.arm(deadline);
  fresh_ = stream_ == nullptr;
  if (fresh_) connect();
  else send();
}

void HttpClient::use_tls(std::shared_ptr<const io::TlsContext> context, std::string server_name,
                         io::TlsOffload* offload) {
  tls_ = std::move(context);
  server_name_ = std::move(server_name);
  offload_ = offload;
}

void HttpClient::keep_beginning(std::size_t bytes) {
  kept_bytes_max_ = bytes;
  parser_.emplace(proxy::http1::Limits{});
}

void HttpClient::connect() {
  fresh_ = true;
  auto tcp = io::TcpStream::connect(loop_, to_, deadline_, tls_ ? nullptr : this);
  if (!preface_.empty()) static_cast<void>(tcp->write(proxy::http1::bytes_of(preface_)));
  if (tls_) stream_ = io::TlsStream::client(tls_, std::move(tcp), server_name_, deadline_, offload_, this);
  else stream_ = std::move(tcp);
}

void HttpClient::on_open() { send(); }

void HttpClient::send() {
  answer_ = {};
  answered_ = false;
  headed_ = false;
  complete_ = false;
  keep_ = false;
  parser_->reset();
  parser_->expect(method_);
  stream_->read_start();
  // A failure found here is reported by on_error as well, from the loop.
  static_cast<void>(stream_->write(proxy::http1::bytes_of(out_)));
}

void HttpClient::on_read(std::span<const std::byte> bytes) {
  if (!done_) {  // nobody asked: the other side breaks the protocol
    stream_.reset();
    if (idle_closed_) idle_closed_();
    return;
  }
  answered_ = true;
  while (!bytes.empty() && !complete_) {
    const auto used = parser_->feed(bytes, *this);
    if (!used) return fail({io::Errc::kIo, "answer of " + to_.to_string() + " is no HTTP/1.1: " + used.error().detail});
    bytes = bytes.subspan(*used);
    if (kept_bytes_max_ != 0 && answer_.body.size() >= kept_bytes_max_) break;
  }
  if (kept_bytes_max_ != 0 && answer_.body.size() >= kept_bytes_max_) {
    answer_.body.resize(kept_bytes_max_);
    complete_ = true;
    keep_ = false;
  }
  if (!complete_) return;
  if (!keep_ || !bytes.empty()) stream_.reset();
  finish(std::move(answer_));
}

Flow HttpClient::on_head(const proxy::http1::ResponseHead& head) {
  if (!head.interim()) {
    answer_.status = head.status;
    answer_.location = std::string(head.find("location").value_or(std::string_view()));
    answer_.retry_after = std::string(head.find("retry-after").value_or(std::string_view()));
    keep_ = head.keep_alive;
    headed_ = true;
    if (ends_at_location_ && !answer_.location.empty()) {
      complete_ = true;
      keep_ = false;
      return Flow::kStop;
    }
  }
  return Flow::kContinue;
}

void HttpClient::on_body(proxy::http1::Bytes bytes) { answer_.body += proxy::http1::text_of(bytes); }

void HttpClient::on_end(std::span<const proxy::http1::Header>) { complete_ = true; }

void HttpClient::on_end() {
  if (done_ && answered_ && parser_->finish(*this) && complete_) {
    stream_.reset();
    finish(std::move(answer_));
    return;
  }
  on_error({io::Errc::kReset, to_.to_string() + " closed the connection"});
}

void HttpClient::on_error(const io::Error& error) {
  const io::Error kept = error;
  stream_.reset();
  if (!done_) {
    if (idle_closed_) idle_closed_();
  } else if (!fresh_ && !answered_) {
    connect();
  } else {
    fail(kept);
  }
}

void HttpClient::fail(io::Error error) {
  stream_.reset();
  if (kept_bytes_max_ != 0 && headed_) return finish(std::move(answer_));
  finish(tl::make_unexpected(std::move(error)));
}

void HttpClient::finish(io::Result<HttpAnswer> result) {
  timer_.disarm();
  const Done done = std::exchange(done_, nullptr);
  if (done) done(std::move(result));
}

}  // namespace agent::drivers
