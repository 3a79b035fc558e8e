#include "agent/api/connection.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "proxy/http1/writer.h"

namespace agent::api {

namespace http1 = proxy::http1;
namespace {

constexpr std::size_t kFilePieceBytes = 256U * 1024;

}  // namespace

Connection::Connection(ConnectionHost& host, const ConnectionLimits& limits, std::unique_ptr<io::ByteStream> stream)
    : host_(host), limits_(limits), stream_(std::move(stream)) {
  stream_->set_write_queue_bytes_max(limits.answer_bytes_max);
  const io::Address peer = stream_->peer_address();
  from_this_machine_ = peer.empty() || peer.is_loopback();
  make_incoming();
}

void Connection::make_incoming() {
  const http1::Limits limits{.head_bytes_max = limits_.head_bytes_max, .body_bytes_max = limits_.body_bytes_max};
  incoming_ = std::make_unique<Incoming>(limits);
  incoming_->request.from_this_machine = from_this_machine_;
}

Connection::~Connection() { stream_->set_sink(nullptr); }

void Connection::start() {
  stream_->set_sink(this);
  set_deadline(limits_.head_timeout);
  stream_->read_start();
}

void Connection::set_deadline(io::Milliseconds after) { deadline_ = io::boottime_now() + after; }

// ---------------------------------------------------------------- requests

void Connection::on_read(std::span<const std::byte> bytes) {
  switch (state_) {
    case State::kReading:
      consume(bytes);
      return;
    case State::kAnswering:
      ahead_.insert(ahead_.end(), bytes.begin(), bytes.end());
      if (ahead_.size() < limits_.ahead_bytes_max) return;
      reading_stopped_ = true;
      stream_->read_stop();
      return;
    case State::kStreaming:
    case State::kClosing:
    case State::kSendingFile:
      return;  // nothing that still comes is of interest; reading on only shows the end
  }
}

/// Parses until a request is complete or the bytes are used up. @return false if the connection is gone.
bool Connection::consume(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    http1::RequestParser& parser = incoming_->parser;
    const bool was_idle = !parser.in_message();
    const auto taken = parser.feed(bytes, *this);
    if (!taken) {
      refuse(taken.error());
      return false;
    }
    bytes = bytes.subspan(*taken);
    if (was_idle && parser.in_message()) set_deadline(parser.in_head() ? limits_.head_timeout : limits_.body_timeout);
    if (!request_complete_) continue;
    request_complete_ = false;
    ahead_.assign(bytes.begin(), bytes.end());
    state_ = State::kAnswering;
    deadline_ = io::TimePoint::max();
    waited_ = false;
    exchange_ = host_.on_request(*this, incoming_->request);
    if (host_.many_wait()) incoming_.reset();
    return true;
  }
  return true;
}

http1::Flow Connection::on_head(const http1::RequestHead& head) {
  Request& request = incoming_->request;
  request.method = head.method_text;
  request.path = head.path;
  request.query = head.query;
  request.host = head.host;
  request.origin = head.find("Origin").value_or("");
  request.fetch_site = head.find("Sec-Fetch-Site").value_or("");
  request.accept = head.find("Accept").value_or("");
  request.content_type = head.find("Content-Type").value_or("");
  request.last_event_id = head.find("Last-Event-ID").value_or("");
  request.body.clear();
  request.file.reset();
  spools_ = head.method_text == "PUT" && head.path == limits_.spool_path;
  if (spools_) {
    auto file = io::Spool::create(limits_.spool_directory);
    spools_ = file.has_value();  // without one it is an ordinary body, and too large
    if (file) request.file = std::move(*file);
    if (file) incoming_->parser.set_body_limit(limits_.spool_bytes_max);
  }
  is_head_ = head.method == http1::Method::kHead;
  old_client_ = head.minor == 0;
  chunked_ = !old_client_;
  keep_alive_ = head.keep_alive && !head.upgrade;  // we speak nothing else, and the parser stops at such a head
  set_deadline(limits_.body_timeout);
  const std::uint64_t bytes_max = spools_ ? limits_.spool_bytes_max : limits_.body_bytes_max;
  if (head.expect_continue && head.content_length <= bytes_max) write("HTTP/1.1 100 Continue\r\n\r\n");
  return http1::Flow::kContinue;
}

void Connection::on_body(http1::Bytes bytes) {
  Request& request = incoming_->request;
  if (!spools_) {
    request.body += http1::text_of(bytes);
  } else if (!request.file->append(std::as_bytes(std::span(bytes.data(), bytes.size())))) {
    request.file = nullptr;  // the handler says that there was no room
    spools_ = false;
  } else {
    set_deadline(limits_.body_timeout);  // a long body is fine as long as it comes
  }
}

void Connection::on_end(std::span<const http1::Header>) { request_complete_ = true; }

void Connection::refuse(const proxy::Error& error) {
  host_.on_refused();
  const nlohmann::ordered_json body = {{"code", proxy::name_of(error.code)},
                                       {"message", error.detail},
                                       {"hint", "correct the request"},
                                       {"retry_after_ms", 0}};
  std::string bytes;
  const std::array<http1::TextHeader, 2> headers{
      {{"Content-Type", "application/problem+json"}, {"Connection", "close"}}};
  http1::append_response(bytes, proxy::status_of(error.code), headers,
                         body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  if (!write(bytes)) return closed();
  begin_closing();
}

// ---------------------------------------------------------------- answers

/// @return false if the connection is gone or dying; the sink hears of the latter.
bool Connection::write(const std::string& bytes) { return stream_->write(http1::bytes_of(bytes)).has_value(); }

void Connection::reply(const Response& response) {
  exchange_ = {};
  if (wants_close_) keep_alive_ = false;
  std::vector<http1::TextHeader> headers;
  if (!response.content_type.empty()) headers.push_back({"Content-Type", response.content_type});
  for (const auto& [name, value] : response.headers) headers.push_back({name, value});
  if (!keep_alive_)
    headers.push_back({"Connection", "close"});
  else if (old_client_)
    headers.push_back({"Connection", "keep-alive"});
  if (response.file && !is_head_) return send_file(response, std::move(headers));
  std::string bytes;
  http1::append_response(bytes, response.status, headers, response.body,
                         is_head_ ? http1::BodyPart::kOmit : http1::BodyPart::kSend);
  if (!write(bytes)) return closed();
  finish_answer();
}

// Pieces as the client takes them: a file of any size costs a few of them in memory.
void Connection::send_file(const Response& response, std::vector<http1::TextHeader> headers) {
  state_ = State::kSendingFile;
  file_ = response.file;
  file_sent_ = 0;
  const std::string length = std::to_string(file_->size());
  std::string bytes;
  http1::append_status_line(bytes, response.status, http1::reason_of(response.status));
  for (const auto& header : headers) http1::append_header(bytes, header.name, header.value);
  http1::append_header(bytes, "Content-Length", length);
  http1::append_end_of_head(bytes);
  if (!write(bytes)) return closed();
  send_more();
}

void Connection::send_more() {
  std::string piece(kFilePieceBytes, '\0');
  while (stream_->write_queue_bytes() < kFilePieceBytes) {
    const auto count = file_->read(file_sent_, std::as_writable_bytes(std::span(piece)));
    if (!count) {  // the head promised more: only a cut connection says the truth
      stream_->reset();
      return closed();
    }
    if (*count == 0) {
      file_ = nullptr;
      state_ = State::kAnswering;
      return finish_answer();
    }
    file_sent_ += *count;
    if (!write(piece.substr(0, *count))) return closed();
  }
  set_deadline(limits_.write_timeout);
}

void Connection::stream_begin(const Response& head) {
  state_ = State::kStreaming;
  keep_alive_ = false;
  std::string bytes;
  http1::append_status_line(bytes, head.status, http1::reason_of(head.status));
  http1::append_header(bytes, "Content-Type", head.content_type);
  for (const auto& [name, value] : head.headers) http1::append_header(bytes, name, value);
  if (chunked_) http1::append_header(bytes, "Transfer-Encoding", "chunked");
  http1::append_header(bytes, "Connection", "close");
  http1::append_end_of_head(bytes);
  if (!write(bytes)) closed();
}

void Connection::stream_data(const std::string& data) {
  // One piece may be larger than the bound: only what had piled up before it counts against the client.
  if (stream_->write_queue_bytes() > limits_.stream_behind_bytes_max) {
    stream_->reset();
    return closed();
  }
  std::string bytes;
  if (chunked_) http1::append_chunk_size(bytes, data.size());
  bytes += data;
  if (chunked_) bytes += "\r\n";
  if (!write(bytes)) closed();
}

void Connection::stream_end() {
  exchange_ = {};
  std::string bytes;
  if (chunked_) http1::append_last_chunk(bytes, {});
  if (!bytes.empty() && !write(bytes)) return closed();
  begin_closing();
}

void Connection::finish_answer() {
  if (!keep_alive_) return begin_closing();
  state_ = State::kReading;
  set_deadline(stream_->write_queue_bytes() == 0 ? limits_.idle_timeout : limits_.write_timeout);
  if (!incoming_) make_incoming();
  if (incoming_->request.body.capacity() > 64U * 1024) incoming_->request.body = {};
  if (reading_stopped_) {
    reading_stopped_ = false;
    stream_->read_start();
  }
  if (!ahead_.empty()) {
    const auto ahead = std::exchange(ahead_, {});
    consume(ahead);
  }
}

// ---------------------------------------------------------------- ends

void Connection::close_when_idle() {
  wants_close_ = true;
  if (state_ == State::kReading && !in_message()) begin_closing();
}

void Connection::begin_closing() {
  state_ = State::kClosing;
  ahead_ = {};
  // Reading goes on, so that what the client still sends does not become a reset that eats our last bytes.
  set_deadline(stream_->write_queue_bytes() == 0 ? limits_.linger : limits_.write_timeout);
  stream_->shutdown();
  stream_->read_start();
}

void Connection::on_drained() {
  if (state_ == State::kSendingFile) return send_more();
  if (state_ == State::kStreaming) return host_.on_stream_drained(exchange_);
  if (state_ == State::kClosing) set_deadline(limits_.linger);
  if (state_ == State::kReading && !in_message()) set_deadline(limits_.idle_timeout);
}

void Connection::on_end() {
  if (state_ == State::kAnswering || state_ == State::kStreaming) {
    if (!host_.on_client_end(exchange_)) {
      wants_close_ = true;  // the answer is on its way
      return;
    }
    exchange_ = {};
  }
  closed();
}

void Connection::on_error(const io::Error&) { closed(); }

void Connection::check_deadline(io::TimePoint now) {
  if (state_ == State::kAnswering || state_ == State::kStreaming) {
    if (waited_) incoming_.reset();
    waited_ = true;
  }
  if (now < deadline_) return;
  if (state_ == State::kReading && in_message()) {
    host_.on_refused();
    std::string bytes;
    const std::array<http1::TextHeader, 1> headers{{{"Connection", "close"}}};
    http1::append_response(bytes, 408, headers, {});
    if (write(bytes)) return begin_closing();
  }
  closed();
}

void Connection::closed() { host_.on_closed(*this, exchange_); }

}  // namespace agent::api
