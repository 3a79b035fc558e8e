// What nghttp2 tells, in our words. Nothing here may throw or feed the session.
#include "proxy/http2/session_callbacks.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "proxy/http1/writer.h"
#include "proxy/http2/session.h"

namespace proxy::http2 {
namespace {

constexpr int kStop = NGHTTP2_ERR_CALLBACK_FAILURE;

std::string_view text_of(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }
std::string_view text_of(nghttp2_rcbuf* buffer) {
  const nghttp2_vec view = nghttp2_rcbuf_get_buf(buffer);
  return text_of(view.base, view.len);
}

}  // namespace

/// The friend of Session. Each is one callback of nghttp2's reference.
struct Callbacks {
  static Session& session_of(void* user) { return *static_cast<Session*>(user); }
  static Stream* stream_of(nghttp2_session* raw, std::int32_t id) {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(raw, id));
  }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* user) {
    if (header->type != NGHTTP2_HEADERS) return 0;
    session_of(user).in_head_ = true;
    session_of(user).head_stream_ = header->stream_id;
    return 0;
  }

  static int begin_headers(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Session& s = session_of(user);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
      if (Stream* stream = stream_of(raw, frame->hd.stream_id)) stream->trailer_.clear();
      return 0;
    }
    Stream& stream = s.new_stream(frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(raw, frame->hd.stream_id, &stream);
    ++s.news_.streams;
    return 0;
  }

  static int header(nghttp2_session* raw, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value, std::uint8_t,
                    void* user) {
    Stream* stream = stream_of(raw, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    HeadBuilder& list = frame->headers.cat == NGHTTP2_HCAT_REQUEST ? stream->head_ : stream->trailer_;
    list.add(text_of(name), text_of(value), session_of(user).limits_.head);
    return 0;
  }

  // nghttp2 would leave such a field out and go on; what we do not understand is not passed on.
  static int invalid_header(nghttp2_session* raw, const nghttp2_frame* frame, nghttp2_rcbuf*, nghttp2_rcbuf*, std::uint8_t, void* user) {
    ++session_of(user).news_.malformed;
    nghttp2_submit_rst_stream(raw, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  // A frame is complete and valid; of HEADERS, the whole field list.
  static int frame_received(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Session& s = session_of(user);
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    Stream* stream = frame->hd.stream_id == 0 ? nullptr : stream_of(raw, frame->hd.stream_id);
    switch (frame->hd.type) {
      case NGHTTP2_SETTINGS: s.begun_ = true; return 0;
      case NGHTTP2_HEADERS:
        s.in_head_ = false;
        if (stream == nullptr) return 0;
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          s.request_complete(*stream, ends);
        } else if (ends && stream->receiver_ != nullptr && !std::exchange(stream->request_ended_, true)) {
          stream->receiver_->on_end(stream->trailer_.trailers());
        }
        return 0;
      case NGHTTP2_DATA: {
        if (stream == nullptr) return 0;
        // Padding without payload is as empty as nothing. A frame of no length at all was counted as it came.
        const bool hollow = frame->hd.length > 0 && frame->hd.length <= frame->data.padlen && !ends;
        if (hollow && !s.note(Flood::kEmptyData)) return kStop;
        if (ends && stream->receiver_ != nullptr && !std::exchange(stream->request_ended_, true)) stream->receiver_->on_end({});
        return 0;
      }
      case NGHTTP2_RST_STREAM:
        if (stream == nullptr) return 0;
        ++s.news_.resets_received;
        return s.note(Flood::kResets) ? 0 : kStop;
      default: return 0;
    }
  }

  static int data_chunk(nghttp2_session* raw, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size, void*) {
    Stream* stream = stream_of(raw, id);
    if (stream == nullptr) {
      nghttp2_session_consume_connection(raw, size);
      return 0;
    }
    stream->unconsumed_ += static_cast<std::uint32_t>(size);
    if (stream->receiver_ != nullptr) stream->receiver_->on_body(std::as_bytes(std::span(data, size)));
    return 0;
  }

  static int stream_closed(nghttp2_session* raw, std::int32_t id, std::uint32_t, void* user) {
    if (Stream* stream = stream_of(raw, id)) session_of(user).close_stream(*stream);
    return 0;
  }

  static int frame_sent(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    Session& s = session_of(user);
    Stream* stream = frame->hd.stream_id == 0 ? nullptr : stream_of(raw, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
      if (frame->hd.stream_id == s.head_stream_) s.in_head_ = false;  // of a list that was refused we hear no end
      // Ours are about instances; those that nghttp2 sends by itself answer something that the client did.
      if (stream != nullptr && stream->reset_by_us_) return 0;
      const bool refused = frame->rst_stream.error_code == NGHTTP2_REFUSED_STREAM;
      refused ? ++s.news_.refused : ++s.news_.malformed;
      if (stream == nullptr || !stream->asked_) refused ? ++s.news_.unasked_refused : ++s.news_.unasked_malformed;
      static_cast<void>(s.note(Flood::kResets));  // feed() and write() look at it
      return 0;
    }
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) ++s.news_.faults;
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                      (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS);
    // RFC 9113, section 8.1: a complete answer, and no wish for the rest of the request.
    if (ends && stream != nullptr && !stream->request_ended_ && stream->abandons_request_) {
      stream->reset_by_us_ = true;
      nghttp2_submit_rst_stream(raw, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  // ---- what leaves ----

  static ssize_t take_frame(nghttp2_session*, const std::uint8_t* data, std::size_t size, int, void* user) {
    Session& s = session_of(user);
    if (s.sink_->size() >= s.sink_max_) return NGHTTP2_ERR_WOULDBLOCK;
    s.sink_->append(text_of(data, size));
    return static_cast<ssize_t>(size);
  }

  static int take_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header, std::size_t size, nghttp2_data_source* source,
                       void* user) {
    Session& s = session_of(user);
    if (s.sink_->size() >= s.sink_max_) return NGHTTP2_ERR_WOULDBLOCK;
    Stream& stream = *static_cast<Stream*>(source->ptr);
    s.sink_->append(text_of(header, 9));
    s.sink_->append(stream.out_, stream.out_sent_, size);
    stream.out_sent_ += size;
    stream.sent_bytes_ += size;
    s.buffered_ -= size;
    s.guard_.note_sent(size);
    if (stream.backlog() == 0) {
      stream.out_.clear();
      stream.out_sent_ = 0;
      stream.was_drained_ = true;
    } else if (stream.out_sent_ >= kStreamOutMax) {
      stream.out_.erase(0, stream.out_sent_);  // at most one move of the rest for each 64 KiB sent
      stream.out_sent_ = 0;
    }
    if (stream.wants_room_ && stream.backlog() <= kStreamOutMax / 4) {
      stream.wants_room_ = false;
      s.roomy_.push_back(&stream);
    }
    return 0;
  }

  /// How much of the stream's answer goes into the next frame.
  static ssize_t measure(nghttp2_session* raw, std::int32_t id, std::uint8_t*, std::size_t size, std::uint32_t* flags,
                         nghttp2_data_source* source, void*) {
    Stream& stream = *static_cast<Stream*>(source->ptr);
    const std::size_t count = std::min(size, stream.backlog());
    if (count == 0 && !stream.ended_) {
      stream.deferred_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (count < stream.backlog() || !stream.ended_) return static_cast<ssize_t>(count);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream.tail_.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      submit_tail(raw, id, stream.tail_);
    }
    return static_cast<ssize_t>(count);
  }

  // Field lines that our own code wrote from valid parts; names may have capitals.
  static void submit_tail(nghttp2_session* raw, std::int32_t id, std::string& tail) {
    std::vector<nghttp2_nv> fields;
    for (std::size_t at = 0; at < tail.size();) {
      const std::size_t end = tail.find("\r\n", at);
      const std::size_t colon = tail.find(':', at);
      for (std::size_t i = at; i < colon; ++i) {
        if (tail[i] >= 'A' && tail[i] <= 'Z') tail[i] = static_cast<char>(tail[i] | 0x20);
      }
      auto* base = reinterpret_cast<std::uint8_t*>(tail.data());
      fields.push_back({base + at, base + colon + 2, colon - at, end - colon - 2, NGHTTP2_NV_FLAG_NONE});
      at = end + 2;
    }
    nghttp2_submit_trailer(raw, id, fields.data(), fields.size());
  }
};

ssize_t session_measure(nghttp2_session* raw, std::int32_t id, std::uint8_t* buffer, std::size_t size, std::uint32_t* flags,
                        nghttp2_data_source* source, void* user) {
  return Callbacks::measure(raw, id, buffer, size, flags, source, user);
}

const nghttp2_session_callbacks* session_callbacks() {
  static const nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* c = nullptr;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, Callbacks::begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, Callbacks::begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, Callbacks::header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(c, Callbacks::invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, Callbacks::frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, Callbacks::data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, Callbacks::stream_closed);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, Callbacks::frame_sent);
    nghttp2_session_callbacks_set_send_callback(c, Callbacks::take_frame);
    nghttp2_session_callbacks_set_send_data_callback(c, Callbacks::take_data);
    return c;
  }();
  return made;
}

const nghttp2_option* session_options() {
  static const nghttp2_option* const made = [] {
    nghttp2_option* o = nullptr;
    nghttp2_option_new(&o);
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);  // no memory for what is over
    return o;
  }();
  return made;
}

}  // namespace proxy::http2
