#pragma once
/// The client's end of an HTTP/2 connection, with frames made by hand: what it sends is exactly what a test says, wrong
/// frames included. Only the field lists of answers are read with nghttp2.

#include <nghttp2/nghttp2.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {

enum FrameType : std::uint8_t { kData = 0, kHeaders = 1, kPriority = 2, kRst = 3, kSettings = 4, kPing = 6, kGoaway = 7, kWindow = 8, kContinuation = 9 };
inline constexpr std::uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8;
using FieldList = std::vector<std::pair<std::string, std::string>>;

inline std::string number(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
  return out;
}
inline std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t id, std::string_view payload) {
  return number(payload.size(), 3) + static_cast<char>(type) + static_cast<char>(flags) + number(id, 4) + std::string(payload);
}
/// Literal fields without indexing (RFC 7541, section 6.2.2).
inline std::string block(const FieldList& fields) {
  const auto text = [](const std::string& t) {
    std::string out;
    if (t.size() < 127) return static_cast<char>(t.size()) + t;
    out += '\x7f';
    std::size_t rest = t.size() - 127;
    for (; rest >= 128; rest /= 128) out += static_cast<char>(rest % 128 + 128);
    return out + static_cast<char>(rest) + t;
  };
  std::string out;
  for (const auto& [name, value] : fields) out += '\0' + text(name) + text(value);
  return out;
}
inline FieldList head_of(const std::string& method, const std::string& path, const FieldList& more = {}) {
  FieldList all{{":method", method}, {":scheme", "http"}, {":authority", "h"}, {":path", path}};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}
inline std::string headers(std::uint32_t id, const FieldList& fields, bool ends) {
  return frame(kHeaders, kEndHeaders | (ends ? kEndStream : 0), id, block(fields));
}
inline std::string data(std::uint32_t id, std::string_view body, bool ends) { return frame(kData, ends ? kEndStream : 0, id, body); }
inline std::string reset(std::uint32_t id, std::uint32_t code = 8) { return frame(kRst, 0, id, number(code, 4)); }
inline std::string window(std::uint32_t id, std::uint32_t bytes) { return frame(kWindow, 0, id, number(bytes, 4)); }
inline constexpr std::string_view kH2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class H2Peer {
 public:
  struct Answer {
    std::vector<std::string> statuses;  ///< interim ones first
    std::map<std::string, std::string> fields, trailers;
    std::string body;
    bool ended = false;
    std::optional<std::uint32_t> reset_code;
    std::uint64_t window = 0;           ///< bytes that the server has given back
  };
  /// @param settings  payload of our SETTINGS
  H2Peer(Proxy& proxy, std::shared_ptr<Wire> wire, const std::string& settings = {}) : proxy_(proxy), wire_(std::move(wire)) {
    nghttp2_hd_inflate_new(&inflater_);
    send(std::string(kH2Preface) + frame(kSettings, 0, 0, settings) + frame(kSettings, kAck, 0, ""));
  }
  ~H2Peer() { nghttp2_hd_inflate_del(inflater_); }
  H2Peer(const H2Peer&) = delete;
  H2Peer& operator=(const H2Peer&) = delete;

  void send(std::string_view bytes) {
    wire_->send(bytes);
    pump();
  }
  /// Lets the proxy send what it has gathered, and reads it.
  void pump() {
    proxy_.send_gathered();
    in_ += wire_->take();
    while (in_.size() >= 9) {
      const auto size = static_cast<std::size_t>(value(0, 3));
      if (in_.size() < 9 + size) break;
      take(static_cast<std::uint8_t>(in_[3]), static_cast<std::uint8_t>(in_[4]), static_cast<std::uint32_t>(value(5, 4)), in_.substr(9, size));
      in_.erase(0, 9 + size);
    }
  }
  Answer& operator[](std::uint32_t id) { return answers_[id]; }
  [[nodiscard]] std::string status(std::uint32_t id) { return answers_[id].statuses.empty() ? "" : answers_[id].statuses.back(); }
  [[nodiscard]] const std::vector<std::uint32_t>& goaways() const { return goaways_; }          ///< codes
  [[nodiscard]] const std::vector<std::uint32_t>& last_streams() const { return last_streams_; }  ///< of the same
  [[nodiscard]] std::size_t frames_of(FrameType type) const { return counts_.count(type) == 0 ? 0 : counts_.at(type); }
  [[nodiscard]] Wire& wire() { return *wire_; }

 private:
  std::uint64_t value(std::size_t at, std::size_t bytes, const std::string* from = nullptr) const {
    const std::string& text = from == nullptr ? in_ : *from;
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < bytes; ++i) out = out << 8 | static_cast<std::uint8_t>(text.at(at + i));
    return out;
  }
  void take(std::uint8_t type, std::uint8_t flags, std::uint32_t id, const std::string& payload) {
    ++counts_[type];
    Answer& answer = answers_[id];
    if ((type == kData || type == kHeaders) && (flags & kEndStream) != 0) answer.ended = true;
    switch (type) {
      case kData: answer.body += payload; break;
      case kHeaders: take_fields(answer, payload); break;
      case kRst: answer.reset_code = static_cast<std::uint32_t>(value(0, 4, &payload)); break;
      case kWindow: answer.window += value(0, 4, &payload); break;
      case kGoaway:
        last_streams_.push_back(static_cast<std::uint32_t>(value(0, 4, &payload)));
        goaways_.push_back(static_cast<std::uint32_t>(value(4, 4, &payload)));
        break;
      default: break;
    }
  }
  void take_fields(Answer& answer, const std::string& payload) {
    const auto* in = reinterpret_cast<const std::uint8_t*>(payload.data());
    std::size_t left = payload.size();
    const bool trailer = !answer.statuses.empty() && answer.statuses.back().front() != '1';
    for (;;) {
      nghttp2_nv field;
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, in, left, 1);
      ASSERT_GE(used, 0);
      in += used;
      left -= static_cast<std::size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        const std::string name(reinterpret_cast<char*>(field.name), field.namelen);
        const std::string text(reinterpret_cast<char*>(field.value), field.valuelen);
        if (name == ":status") answer.statuses.push_back(text);
        else (trailer ? answer.trailers : answer.fields)[name] = text;
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(inflater_);
        return;
      }
      if (left == 0) return;
    }
  }

  Proxy& proxy_;
  std::shared_ptr<Wire> wire_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string in_;
  std::map<std::uint32_t, Answer> answers_;
  std::map<std::uint8_t, std::size_t> counts_;
  std::vector<std::uint32_t> goaways_, last_streams_;
};

class H2Test : public ProxyTest {
 protected:
  H2Test() { set_up(); }
  void set_up() {
    start();
    set_pool({endpoint(1)});
  }
  std::shared_ptr<Wire> h2_wire(Protocol protocol = Protocol::kHttp2) {
    auto wire = std::make_shared<Wire>();
    Accepted accepted{ListenerKind::kDownstream, Scheme::kHttp, "192.0.2.9", nullptr};
    accepted.protocol = protocol;
    proxy->accept(std::make_unique<MemoryStream>(wire), std::move(accepted));
    return wire;
  }
  std::unique_ptr<H2Peer> peer(const std::string& own_settings = {}) { return std::make_unique<H2Peer>(*proxy, h2_wire(), own_settings); }
  /// The newest upstream connection opens and answers.
  void answer(H2Peer& to, std::size_t up_index, std::string_view text) {
    up(up_index).send(text);
    to.pump();
  }
};

}  // namespace proxy::testing
