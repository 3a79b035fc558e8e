#pragma once
/// DNS messages as a test sees them: queries built byte by byte, answers read by a decoder that shares nothing with the
/// product's writer and follows compression pointers strictly.
#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace test::dns {

struct Record {
  std::string name;  ///< dotted, final dot, unusual bytes as \DDD
  std::uint16_t type = 0, klass = 0;
  std::uint32_t ttl = 0;
  std::string data;  ///< in words: "10.0.0.1", "1 1 80 n1.node.dc1.consul.", ...
  friend bool operator==(const Record&, const Record&) = default;
};
struct Message {
  std::uint16_t id = 0, flags = 0;
  std::optional<Record> question;  ///< name, type, class
  std::vector<Record> answers, authority, additional;  ///< OPT is in additional with the data "OPT version flags"
  [[nodiscard]] int rcode() const { return (flags & 0xf) | (extended << 4); }
  [[nodiscard]] bool authoritative() const { return (flags & 0x0400) != 0; }
  [[nodiscard]] bool truncated() const { return (flags & 0x0200) != 0; }
  int extended = 0;            ///< upper bits of the code, from OPT
  std::optional<int> payload;  ///< from OPT
  /// The data of all records of a section with this type, in order.
  [[nodiscard]] static std::vector<std::string> data_of(const std::vector<Record>& section, int type) {
    std::vector<std::string> out;
    for (const auto& one : section)
      if (one.type == type) out.push_back(one.data);
    return out;
  }
};

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) : bytes_(bytes) {}

  /// nullopt: not one well-formed message from the first byte to the last.
  std::optional<Message> message() {
    Message out;
    out.id = u16(), out.flags = u16();
    const std::array<std::uint16_t, 4> counts{u16(), u16(), u16(), u16()};
    if (counts[0] > 1) return std::nullopt;
    if (counts[0] == 1) out.question = Record{name(), u16(), u16(), 0, {}};
    for (int i = 0; i < counts[1] && ok_; ++i) out.answers.push_back(record(out));
    for (int i = 0; i < counts[2] && ok_; ++i) out.authority.push_back(record(out));
    for (int i = 0; i < counts[3] && ok_; ++i) out.additional.push_back(record(out));
    if (!ok_ || at_ != bytes_.size()) return std::nullopt;
    return out;
  }

 private:
  std::uint8_t u8() {
    if (at_ >= bytes_.size()) return ok_ = false, std::uint8_t{0};
    return std::to_integer<std::uint8_t>(bytes_[at_++]);
  }
  std::uint16_t u16() {
    const auto high = u8();
    return static_cast<std::uint16_t>(high << 8 | u8());
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return high << 16 | u16();
  }
  std::string name(bool may_point = true) {
    std::string out;
    std::size_t resume = 0, before = at_, total = 1;
    while (ok_) {
      const std::uint8_t length = u8();
      if (length == 0) break;
      if ((length & 0xc0) == 0xc0) {
        const std::size_t target = static_cast<std::size_t>(length & 0x3f) << 8 | u8();
        if (resume == 0) resume = at_;
        if (!may_point || target >= before || target < 12) ok_ = false;  // a pointer means an earlier name
        before = at_ = target;
        continue;
      }
      if (length > 63 || (total += 1U + length) > 255) ok_ = false;
      for (int i = 0; i < length && ok_; ++i) out += letter(u8());
      out += '.';
    }
    if (resume != 0) at_ = resume;
    return out.empty() ? "." : out;
  }
  static std::string letter(std::uint8_t byte) {
    const char c = static_cast<char>(byte);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_') return {c};
    char text[8];
    std::snprintf(text, sizeof text, "\\%03d", byte);
    return text;
  }
  Record record(Message& whole) {
    Record out;
    out.name = name();
    out.type = u16(), out.klass = u16(), out.ttl = u32();
    const std::size_t length = u16(), end = at_ + length;
    if (out.type == 41) {
      whole.payload = out.klass, whole.extended = static_cast<int>(out.ttl >> 24);
      out.data = "OPT " + std::to_string(out.ttl >> 16 & 0xff) + " " + std::to_string(out.ttl & 0xffff);
    } else {
      out.data = data(out.type, length);
    }
    if (at_ != end) ok_ = false;
    return out;
  }
  std::string data(std::uint16_t type, std::size_t length) {
    std::string out;
    char text[48];
    switch (type) {
      case 1:
        for (int i = 0; i < 4; ++i) out += (i == 0 ? "" : ".") + std::to_string(u8());
        return out;
      case 28:
        for (int i = 0; i < 8; ++i) std::snprintf(text, sizeof text, i == 0 ? "%x" : ":%x", u16()), out += text;
        return out;
      case 2:
      case 5:
      case 12:
        return name();
      case 33:
        for (int i = 0; i < 3; ++i) out += std::to_string(u16()) + " ";
        return out + name(false);  // RFC 2782: not compressed
      case 6:
        out = name() + " ";
        out += name();
        for (int i = 0; i < 5; ++i) out += " " + std::to_string(u32());
        return out;
      case 16:
        for (const std::size_t end = at_ + length; at_ < end && ok_;)
          for (int left = u8(); left > 0 && ok_; --left) out += static_cast<char>(u8());
        return out;
      default:
        ok_ = false;
        return out;
    }
  }
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

inline std::optional<Message> decode(std::span<const std::byte> bytes) { return Decoder(bytes).message(); }

/// A query, byte by byte. Change the parts, then take bytes().
struct QueryBytes {
  std::uint16_t id = 0x1234, flags = 0x0100, questions = 1, answers = 0, authority = 0, additional = 0;
  std::string name;  ///< wire form with the final zero
  std::uint16_t type = 1, klass = 1;
  std::string rest;  ///< behind the question
  /// @param dotted without escapes; empty labels are left out
  explicit QueryBytes(std::string_view dotted, std::uint16_t asked = 1) : name(wire(dotted)), type(asked) {}
  static std::string wire(std::string_view dotted) {
    std::string out;
    while (!dotted.empty()) {
      const auto label = dotted.substr(0, dotted.find('.'));
      if (!label.empty()) out += static_cast<char>(label.size()), out += label;
      dotted.remove_prefix(std::min(label.size() + 1, dotted.size()));
    }
    return out + '\0';
  }
  static std::string be16(unsigned value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }
  QueryBytes& edns(unsigned payload, unsigned version = 0, unsigned edns_flags = 0) {
    ++additional;
    rest += std::string(1, '\0') + be16(41) + be16(payload) + std::string(1, '\0') + static_cast<char>(version) +
            be16(edns_flags) + be16(0);
    return *this;
  }
  [[nodiscard]] std::string bytes() const {
    std::string out;
    for (const unsigned word : {unsigned{id}, unsigned{flags}, unsigned{questions}, unsigned{answers},
                                unsigned{authority}, unsigned{additional}})
      out += be16(word);
    return questions == 0 ? out + rest : out + name + be16(type) + be16(klass) + rest;
  }
};

}  // namespace test::dns
