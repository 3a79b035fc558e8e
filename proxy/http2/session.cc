#include "proxy/http2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "proxy/http1/fields.h"
#include "proxy/http1/message.h"
#include "proxy/http1/writer.h"
#include "proxy/http2/session_callbacks.h"

namespace proxy::http2 {

ssize_t session_measure(nghttp2_session* raw, std::int32_t id, std::uint8_t* buffer, std::size_t size, std::uint32_t* flags,
                        nghttp2_data_source* source, void* user);

namespace {

constexpr std::size_t kFreeStreamsMax = 16;  // kept for streams to come, with their buffers, while others run; else one
constexpr std::size_t kKeptBufferBytesMax = 4 * 1024;

// 16 random bytes as base64 (RFC 6455, section 4.1).
std::string web_key(const std::function<std::uint64_t(std::uint64_t)>& chance) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string key;
  for (int i = 0; i < 21; ++i) key += kDigits[chance(64)];
  key += kDigits[chance(4) * 16];  // the last digit has two bits
  return key += "==";
}

nghttp2_nv field(std::string_view name, std::string_view value) {
  // nghttp2 copies both and changes neither.
  const auto bytes = [](std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// What an HTTP/1 head says about its own connection.
bool is_of_connection(http1::HeaderId id) {
  switch (id) {
    case http1::HeaderId::kConnection:
    case http1::HeaderId::kKeepAlive:
    case http1::HeaderId::kProxyConnection:
    case http1::HeaderId::kTransferEncoding:
    case http1::HeaderId::kUpgrade: return true;
    default: return false;
  }
}

}  // namespace

void Stream::recycle() {
  receiver_ = nullptr;
  head_.clear();
  trailer_.clear();
  out_.clear();
  if (out_.capacity() > kKeptBufferBytesMax) std::string().swap(out_);
  out_sent_ = 0;
  tail_.clear();
  sent_bytes_ = 0;
  unconsumed_ = 0;
  request_ended_ = answered_ = ended_ = deferred_ = wants_room_ = reset_by_us_ = abandons_request_ = asked_ = false;
  was_drained_ = true;
}

Session::Session(const Limits& limits, Acceptor& acceptor, std::function<std::uint64_t(std::uint64_t)> chance)
    : limits_(limits), acceptor_(acceptor), chance_(std::move(chance)), guard_(limits.flood) {
  [[maybe_unused]] const int made = nghttp2_session_server_new2(&session_, session_callbacks(), this, session_options());
  assert(made == 0);  // it fails for want of memory only
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.streams_max},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits_.head.head_bytes_max)},
      {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(limits_.connection_window));
}

Session::~Session() { nghttp2_session_del(session_); }

// ---- in ----

bool Session::feed(Bytes bytes, TimePoint now) {
  if (failed_) return false;
  now_ = now;
  const bool calm = scan_.scan(bytes, [this](std::uint8_t type, std::uint8_t flags, std::size_t size) { return note_frame(type, flags, size); });
  const ssize_t taken = calm ? nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) : 0;
  if (taken >= 0 && flood_ == Flood::kNone) return true;
  // Its own bounds of the same kind: answers that nobody takes, heads that do not end.
  if (taken == NGHTTP2_ERR_FLOODED && flood_ == Flood::kNone) flood_ = Flood::kControl;
  if (taken < 0 && in_head_ && head_frames_ > 1 && flood_ == Flood::kNone) flood_ = Flood::kHeadFrames;
  failed_ = true;
  terminate(flood_ == Flood::kNone ? Code::kProtocolError : Code::kEnhanceYourCalm);
  return false;
}

// What a frame costs, before anything is done about it.
bool Session::note_frame(std::uint8_t type, std::uint8_t flags, std::size_t size) {
  switch (type) {
    case NGHTTP2_DATA: return size > 0 || (flags & NGHTTP2_FLAG_END_STREAM) != 0 || note(Flood::kEmptyData);
    case NGHTTP2_HEADERS:
      head_frames_ = 1;
      head_bytes_ = size;
      break;
    case NGHTTP2_CONTINUATION:
      ++head_frames_;
      head_bytes_ += size;
      break;
    case NGHTTP2_WINDOW_UPDATE: return note(Flood::kWindowUpdates);
    case NGHTTP2_SETTINGS: return (size == 0 && (flags & NGHTTP2_FLAG_ACK) != 0) || note(Flood::kControl);  // the answer to ours is free
    default: return note(Flood::kControl);
  }
  // A head that is too large but comes to its end is answered with 431; one that does not is cut.
  const bool endless = head_frames_ > limits_.flood.head_frames_max || head_bytes_ > 4 * limits_.head.head_bytes_max;
  return !endless || exceed(Flood::kHeadFrames);
}

bool Session::note(Flood kind) { return flood_ == Flood::kNone && (guard_.count(kind, now_) || exceed(kind)); }

bool Session::exceed(Flood kind) {
  if (flood_ == Flood::kNone) flood_ = kind;
  return false;
}

Stream& Session::new_stream(std::int32_t id) {
  std::unique_ptr<Stream> stream;
  if (free_.empty()) {
    stream = std::make_unique<Stream>();
  } else {
    stream = std::move(free_.back());
    free_.pop_back();
  }
  stream->id_ = id;
  live_.push_back(std::move(stream));
  return *live_.back();
}

void Session::request_complete(Stream& stream, bool ends) {
  http1::RequestHead head;
  const auto made = stream.head_.finish(head, ends, limits_.head, stream.head_.names_protocol() ? web_key(chance_) : std::string());
  stream.request_ended_ = ends;
  stream.asked_ = true;
  stream.receiver_ = made ? acceptor_.on_request(stream, head) : acceptor_.on_bad_head(stream, made.error());
  if (stream.receiver_ == nullptr) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_REFUSED_STREAM);
    return;
  }
  if (ends) stream.receiver_->on_end({});
}

void Session::close_stream(Stream& stream) {
  nghttp2_session_set_stream_user_data(session_, stream.id_, nullptr);
  if (stream.unconsumed_ > 0) nghttp2_session_consume_connection(session_, std::exchange(stream.unconsumed_, 0));
  buffered_ -= stream.backlog();
  std::erase(roomy_, &stream);
  Receiver* receiver = std::exchange(stream.receiver_, nullptr);
  const auto place = std::find_if(live_.begin(), live_.end(), [&](const auto& one) { return one.get() == &stream; });
  assert(place != live_.end());
  std::swap(*place, live_.back());
  std::unique_ptr<Stream> gone = std::move(live_.back());
  live_.pop_back();
  if (receiver != nullptr) receiver->on_closed();
  gone->recycle();  // gives back large buffers
  if (live_.empty() && free_.size() > 1) free_.resize(1);
  if (free_.size() < (live_.empty() ? 1 : kFreeStreamsMax)) free_.push_back(std::move(gone));
}

// ---- out ----

bool Session::write(std::string& out, std::size_t bytes_max) {
  sink_ = &out;
  sink_max_ = bytes_max;
  const int code = nghttp2_session_send(session_);
  sink_ = nullptr;
  if (code != 0 && code != NGHTTP2_ERR_WOULDBLOCK) failed_ = true;
  if (flood_ != Flood::kNone && !failed_) {
    failed_ = true;
    terminate(Code::kEnhanceYourCalm);
  }
  std::vector<Stream*> roomy;
  roomy.swap(roomy_);
  for (Stream* stream : roomy) {
    // Told in order; one that is told may end others.
    const bool lives = std::any_of(live_.begin(), live_.end(), [&](const auto& one) { return one.get() == stream; });
    if (lives && stream->receiver_ != nullptr) stream->receiver_->on_room();
  }
  return !over() && nghttp2_session_want_write(session_) != 0 && out.size() >= bytes_max;
}

bool Session::over() const { return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0; }

void Session::resume(Stream& stream) {
  if (std::exchange(stream.deferred_, false)) nghttp2_session_resume_data(session_, stream.id_);
}

bool Session::send(Stream& stream, std::span<const Bytes> pieces, bool heads, bool trailer, bool last) {
  if (heads) {
    std::string_view text = http1::text_of(pieces.front());
    pieces = pieces.subspan(1);
    while (text.starts_with("HTTP/1.1 ")) {
      const std::size_t end = text.find("\r\n\r\n") + 4;
      const bool ends = last && text.size() == end && pieces.empty();
      submit_head(stream, text.substr(0, end), ends);
      text.remove_prefix(end);
      if (stream.answered_) break;
    }
    stream.out_ += text;
    buffered_ += text.size();
  }
  if (trailer) {
    stream.tail_ += http1::text_of(pieces.back());
    pieces = pieces.first(pieces.size() - 1);
  }
  for (const Bytes piece : pieces) {
    stream.out_ += http1::text_of(piece);
    buffered_ += piece.size();
  }
  if (last) stream.ended_ = true;
  if (stream.backlog() > 0) stream.was_drained_ = false;
  resume(stream);
  const bool full = stream.backlog() >= kStreamOutMax || (buffered_ >= kSessionOutMax && stream.backlog() > kStreamOutMax / 4);
  if (full) stream.wants_room_ = true;
  return !full;
}

// One head in the form that the rules for fields have given it: "HTTP/1.1 200 OK\r\nName: value\r\n...\r\n\r\n".
void Session::submit_head(Stream& stream, std::string_view text, bool ends) {
  const std::string_view digits = text.substr(9, 3);
  const bool switched = digits == "101";  // what RFC 8441 calls 200
  const bool interim = digits.front() == '1' && !switched;
  std::vector<nghttp2_nv> fields;
  fields.push_back(field(":status", switched ? std::string_view("200") : digits));
  names_.clear();
  names_.reserve(text.size());  // views into it are kept
  for (std::size_t at = text.find("\r\n") + 2; at + 2 < text.size();) {
    const std::size_t end = text.find("\r\n", at);
    const std::size_t colon = text.find(':', at);
    const std::string_view name = text.substr(at, colon - at);
    const std::string_view value = http1::trim(text.substr(colon + 1, end - colon - 1));
    at = end + 2;
    if (is_of_connection(http1::header_id_of(name)) || (switched && http1::same_text(name, "sec-websocket-accept"))) continue;
    const std::size_t begin = names_.size();
    for (const char c : name) names_ += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    fields.push_back(field(std::string_view(names_).substr(begin), value));
  }
  if (interim) {
    nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id_, nullptr, fields.data(), fields.size(), nullptr);
    return;
  }
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = session_measure;
  nghttp2_submit_response(session_, stream.id_, fields.data(), fields.size(), ends ? nullptr : &provider);
  stream.answered_ = true;
}

void Session::end(Stream& stream) {
  if (std::exchange(stream.ended_, true)) return;
  resume(stream);
}

void Session::reset(Stream& stream, Code code) {
  stream.reset_by_us_ = true;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, static_cast<std::uint32_t>(code));
}

void Session::consume(Stream& stream) {
  if (stream.unconsumed_ == 0) return;
  const std::uint32_t count = std::exchange(stream.unconsumed_, 0);
  nghttp2_session_consume(session_, stream.id_, count);
}

void Session::announce_end() { nghttp2_submit_shutdown_notice(session_); }

void Session::refuse_new() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0);
}

void Session::terminate(Code code) { nghttp2_session_terminate_session(session_, static_cast<std::uint32_t>(code)); }

}  // namespace proxy::http2
