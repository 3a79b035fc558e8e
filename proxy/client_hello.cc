#include "proxy/client_hello.h"

#include <algorithm>
#include <vector>

namespace proxy {
namespace {

constexpr std::uint8_t kHandshakeRecord = 22, kClientHelloMessage = 1;
constexpr std::uint16_t kServerName = 0;
constexpr std::size_t kRecordHead = 5, kMessageHead = 4, kRecordBytesMax = 16'384;
constexpr std::size_t kRandomBytes = 32, kSessionIdBytesMax = 32, kNameBytesMax = 255;

ClientHello refused(std::string_view fault) {
  ClientHello hello;
  hello.state = ClientHello::State::kRefused;
  hello.fault = fault;
  return hello;
}
ClientHello more(std::size_t bytes_needed) {
  ClientHello hello;
  hello.bytes_needed = bytes_needed;
  return hello;
}

/// Takes numbers and vectors from the front; `ok` stays false after the first that is not there whole.
class Taker {
 public:
  explicit Taker(Bytes bytes) : rest_(bytes) {}
  std::size_t number(std::size_t width) {
    if (rest_.size() < width) return fail();
    std::size_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value = value << 8U | std::to_integer<std::size_t>(rest_[i]);
    rest_ = rest_.subspan(width);
    return value;
  }
  Bytes bytes(std::size_t count) {
    if (rest_.size() < count) return fail(), Bytes();
    const Bytes taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  /// A vector behind its length of so many bytes.
  Bytes vector(std::size_t width) { return bytes(number(width)); }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool done() const { return ok_ && rest_.empty(); }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::size_t fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }
  Bytes rest_;
  bool ok_ = true;
};

bool is_name(std::string_view name) {
  char before = '.';
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!letter && (c != '.' || before == '.')) return false;
    before = c;
  }
  return !name.empty() && name.size() <= kNameBytesMax && before != '.';
}

/// @return empty = fine
std::string_view read_names(Bytes extension, std::string& name) {
  Taker outer(extension);
  Taker list(outer.vector(2));
  if (!outer.done()) return "a server_name whose list has another length";
  while (!list.empty()) {
    const std::size_t kind = list.number(1);
    const Bytes text = list.vector(2);
    if (!list.ok()) return "a server_name that is cut off";
    if (kind != 0) return "a server_name of an unknown kind";
    if (!name.empty()) return "two server names";
    for (const std::byte byte : text) {
      const char c = static_cast<char>(byte);
      name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    if (!is_name(name)) return "a server_name that is no name of a host";
  }
  return name.empty() ? "a server_name without a name" : "";
}

ClientHello read_message(Bytes message) {
  Taker hello(message);
  const std::size_t version = hello.number(2);
  hello.bytes(kRandomBytes);
  const Bytes session = hello.vector(1), ciphers = hello.vector(2), compressions = hello.vector(1);
  if (!hello.ok() || session.size() > kSessionIdBytesMax || ciphers.size() < 2 || ciphers.size() % 2 != 0 || compressions.empty())
    return refused("a ClientHello whose lengths do not fit");
  if (version >> 8U != 3) return refused("a ClientHello of another protocol version");
  ClientHello out;
  out.state = ClientHello::State::kRead;
  if (hello.done()) return out;  // before TLS 1.3 extensions could be left out
  Taker extensions(hello.vector(2));
  if (!hello.done()) return refused("a ClientHello whose extensions have another length");
  bool named = false;
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Bytes content = extensions.vector(2);
    if (!extensions.ok()) return refused("an extension that is cut off");
    if (type != kServerName) continue;
    if (named) return refused("two server_name extensions");
    named = true;
    if (const auto fault = read_names(content, out.server_name); !fault.empty()) return refused(fault);
  }
  return out;
}

}  // namespace

ClientHello parse_client_hello(Bytes so_far) {
  std::vector<std::byte> message;
  std::size_t wanted = kMessageHead, at = 0;
  for (std::size_t record = 0; record < kClientHelloRecordsMax; ++record) {
    const Bytes head = so_far.subspan(at);
    if (!head.empty() && std::to_integer<std::uint8_t>(head[0]) != kHandshakeRecord) return refused("no TLS handshake");
    if (head.size() > 1 && std::to_integer<std::uint8_t>(head[1]) != 3) return refused("a record of another protocol");
    if (head.size() < kRecordHead) return more(at + kRecordHead);
    const std::size_t length = std::to_integer<std::size_t>(head[3]) << 8U | std::to_integer<std::size_t>(head[4]);
    if (length == 0 || length > kRecordBytesMax) return refused("a record of a forbidden length");
    const Bytes content = head.subspan(kRecordHead).first(std::min(length, head.size() - kRecordHead));
    message.insert(message.end(), content.begin(), content.end());
    if (!message.empty() && std::to_integer<std::uint8_t>(message[0]) != kClientHelloMessage) return refused("no ClientHello");
    const std::size_t before = message.size() - content.size();
    if (message.size() >= kMessageHead) {
      const std::size_t length_told = std::to_integer<std::size_t>(message[1]) << 16U | std::to_integer<std::size_t>(message[2]) << 8U |
                                      std::to_integer<std::size_t>(message[3]);
      if (length_told == 0) return refused("an empty ClientHello");
      wanted = kMessageHead + length_told;
      if (before + length > wanted) return refused("bytes behind the ClientHello in its record");
    }
    // The heads of the records seen count too: what is kept for the service has a bound.
    if (wanted + at - before + kRecordHead > kClientHelloBytesMax) return refused("a ClientHello of more than 16 KiB");
    if (content.size() < length) return more(at + kRecordHead + length);
    if (wanted > kMessageHead && message.size() == wanted) return read_message(Bytes(message).subspan(kMessageHead));
    at += kRecordHead + length;
  }
  return refused("a ClientHello in more than 16 records");
}

bool server_name_matches(std::string_view pattern, std::string_view name) {
  if (!pattern.starts_with("*.")) return pattern == name;
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 && name.substr(dot) == pattern.substr(1);
}

}  // namespace proxy
