#include "proxy/proxy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

namespace proxy {
namespace {

constexpr std::string_view kLineStart = "PROXY ";
constexpr std::size_t kLineBytesMax = 107;  // of version 1, with its CR LF
constexpr std::array<std::uint8_t, 12> kSignature = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr std::size_t kFixedBytes = 16;  // of version 2: signature, version and command, family, length
constexpr std::size_t kExtensionHead = 3;
constexpr std::uint8_t kCrcType = 0x03;
constexpr std::size_t kCrcBytes = 4;

using Parsed = Result<std::optional<ProxyHeader>>;

tl::unexpected<Error> bad(const char* what) { return tl::make_unexpected(Error{Errc::kBadProxyHeader, what}); }

std::uint8_t at(Bytes bytes, std::size_t index) { return static_cast<std::uint8_t>(bytes[index]); }
std::uint16_t number_at(Bytes bytes, std::size_t index) {
  return static_cast<std::uint16_t>(at(bytes, index) << 8U | at(bytes, index + 1));
}

// ---- version 1 ----

/// The next word of a line, which ends at one blank or at the end. Two blanks make an empty word.
std::string_view next_word(std::string_view& rest) {
  const std::size_t blank = rest.find(' ');
  const std::string_view word = rest.substr(0, blank);
  rest = blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
  return word;
}

/// Decimal without sign and leading zeros.
std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (code != std::errc{} || stop != text.data() + text.size() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  return port;
}

Parsed parse_line(std::string_view text) {
  const std::size_t end = text.substr(0, kLineBytesMax).find('\n');
  if (end == std::string_view::npos) {
    if (text.size() >= kLineBytesMax) return bad("a version 1 line of more than 107 bytes");
    return std::nullopt;
  }
  if (text[end - 1] != '\r') return bad("a version 1 line without CR LF at its end");
  ProxyHeader header;
  header.bytes = end + 1;
  std::string_view rest = text.substr(kLineStart.size(), end - 1 - kLineStart.size());
  if (rest.find_first_of(std::string_view("\r\0", 2)) != std::string_view::npos) return bad("a version 1 line with a control byte");
  const std::string_view family = next_word(rest);
  if (family == "UNKNOWN") return header;  // whatever follows is to be ignored
  if (family != "TCP4" && family != "TCP6") return bad("a version 1 line of no known family");
  const std::size_t blanks = static_cast<std::size_t>(std::count(rest.begin(), rest.end(), ' '));
  const auto source = parse_ip(next_word(rest));
  const auto destination = parse_ip(next_word(rest));
  const auto source_port = port_of(next_word(rest));
  const auto destination_port = port_of(next_word(rest));
  if (blanks != 3 || !source || !destination || !source_port || !destination_port) return bad("a version 1 line without two addresses and two ports");
  const bool wants_v4 = family == "TCP4";
  if (source->is_v4 != wants_v4 || destination->is_v4 != wants_v4) return bad("a version 1 line whose addresses are of another family");
  header.ends = ProxyHeader::Ends{*source, *destination, *source_port, *destination_port};
  return header;
}

// ---- version 2 ----

IpAddress address_at(Bytes bytes, std::size_t index, std::size_t size) {
  IpAddress address;
  if (size == 4) {
    address.is_v4 = true;
    address.bytes[10] = address.bytes[11] = 0xff;
    std::memcpy(address.bytes + 12, bytes.data() + index, 4);
    return address;
  }
  std::memcpy(address.bytes, bytes.data() + index, 16);
  static constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  address.is_v4 = std::equal(std::begin(kMapped), std::end(kMapped), address.bytes);
  return address;
}

/// The extensions must fill the rest exactly; one of them may be a checksum of the whole header.
Result<void> check_extensions(Bytes header, std::size_t from) {
  std::size_t crc_at = 0;
  for (std::size_t i = from; i < header.size();) {
    if (header.size() - i < kExtensionHead) return bad("an extension that is cut off");
    const std::size_t size = number_at(header, i + 1);
    if (size > header.size() - i - kExtensionHead) return bad("an extension that is longer than its header");
    if (at(header, i) == kCrcType) {
      if (size != kCrcBytes || crc_at != 0) return bad("a checksum of a wrong length, or a second one");
      crc_at = i + kExtensionHead;
    }
    i += kExtensionHead + size;
  }
  if (crc_at == 0) return {};
  std::vector<std::byte> zeroed(header.begin(), header.end());
  std::fill_n(zeroed.begin() + static_cast<std::ptrdiff_t>(crc_at), kCrcBytes, std::byte{0});
  const std::uint32_t told = static_cast<std::uint32_t>(number_at(header, crc_at)) << 16U | number_at(header, crc_at + 2);
  if (crc32c(zeroed) != told) return bad("a checksum that does not fit");
  return {};
}

Parsed parse_binary(Bytes bytes) {
  if (bytes.size() < kFixedBytes) return std::nullopt;
  const std::uint8_t command = at(bytes, 12);
  if (command >> 4U != 2 || (command & 0xfU) > 1) return bad("a binary header of another version or command");
  const std::size_t length = number_at(bytes, 14);
  if (kFixedBytes + length > kProxyHeaderBytesMax) return bad("a header of more than 4096 bytes");
  ProxyHeader header;
  header.version = 2;
  header.bytes = kFixedBytes + length;
  const std::uint8_t family = at(bytes, 13);
  const bool is_local = (command & 0xfU) == 0;
  std::size_t addresses = 0;
  switch (family) {
    case 0x00: break;
    case 0x11: addresses = 12; break;
    case 0x21: addresses = 36; break;
    case 0x31: addresses = 216; break;
    default:
      // The sender's own connection: its family is to be ignored.
      if (!is_local) return bad("a connection that is no stream, or of an unknown family");
  }
  if (!is_local && length < addresses) return bad("a header that is too short for its addresses");
  if (bytes.size() < header.bytes) return std::nullopt;
  if (is_local) return header;
  const Bytes whole = bytes.first(header.bytes);
  if (auto checked = check_extensions(whole, kFixedBytes + addresses); !checked) return tl::make_unexpected(checked.error());
  if (family == 0x11 || family == 0x21) {
    const std::size_t size = family == 0x11 ? 4 : 16;
    header.ends = ProxyHeader::Ends{address_at(whole, kFixedBytes, size), address_at(whole, kFixedBytes + size, size),
                                    number_at(whole, kFixedBytes + 2 * size), number_at(whole, kFixedBytes + 2 * size + 2)};
  }
  return header;
}

void append_number(std::string& out, std::uint16_t number) {
  out += static_cast<char>(number >> 8U);
  out += static_cast<char>(number & 0xffU);
}

std::string make_binary(const std::optional<ProxyHeader::Ends>& ends) {
  std::string out(reinterpret_cast<const char*>(kSignature.data()), kSignature.size());
  const bool v4 = ends && ends->source.is_v4 && ends->destination.is_v4;
  const std::size_t addresses = !ends ? 0 : v4 ? 12 : 36;
  out += static_cast<char>(ends ? 0x21 : 0x20);
  out += static_cast<char>(!ends ? 0x00 : v4 ? 0x11 : 0x21);
  append_number(out, static_cast<std::uint16_t>(addresses + kExtensionHead + kCrcBytes));
  if (ends) {
    for (const IpAddress* address : {&ends->source, &ends->destination}) {
      const auto* bytes = reinterpret_cast<const char*>(address->bytes);
      v4 ? out.append(bytes + 12, 4) : out.append(bytes, 16);
    }
    append_number(out, ends->source_port);
    append_number(out, ends->destination_port);
  }
  out += static_cast<char>(kCrcType);
  append_number(out, kCrcBytes);
  out.append(kCrcBytes, '\0');
  const std::uint32_t crc = crc32c(std::as_bytes(std::span(out.data(), out.size())));
  out.resize(out.size() - kCrcBytes);
  append_number(out, static_cast<std::uint16_t>(crc >> 16U));
  append_number(out, static_cast<std::uint16_t>(crc & 0xffffU));
  return out;
}

std::string text_of_v6(const IpAddress& address) {
  std::array<std::uint16_t, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i) groups[i] = static_cast<std::uint16_t>(address.bytes[2 * i] << 8U | address.bytes[2 * i + 1]);
  std::size_t best = 8, best_size = 1;  // the first of the longest runs of zeros, of two at least
  for (std::size_t i = 0; i < 8;) {
    std::size_t size = 0;
    while (i + size < 8 && groups[i + size] == 0) ++size;
    if (size > best_size) best = i, best_size = size;
    i += std::max<std::size_t>(size, 1);
  }
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += best_size - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    std::array<char, 4> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), groups[i], 16).ptr;
    out.append(digits.data(), end);
  }
  return out;
}

}  // namespace

Result<std::optional<ProxyHeader>> parse_proxy_header(Bytes so_far) {
  const std::string_view text(reinterpret_cast<const char*>(so_far.data()), so_far.size());
  const std::string_view signature(reinterpret_cast<const char*>(kSignature.data()), kSignature.size());
  if (text.starts_with(kLineStart)) return parse_line(text);
  if (text.starts_with(signature)) return parse_binary(so_far);
  // Judged as soon as it can become neither.
  if (kLineStart.starts_with(text) || signature.starts_with(text)) return std::nullopt;
  return bad("no PROXY header at the beginning of the connection");
}

std::string make_proxy_header(const std::optional<ProxyHeader::Ends>& ends, std::uint8_t version) {
  if (version == 2) return make_binary(ends);
  if (!ends) return "PROXY UNKNOWN\r\n";
  const bool v4 = ends->source.is_v4 && ends->destination.is_v4;
  // Both of one family: an IPv4 address beside an IPv6 one is written as the latter.
  const auto text = [v4](const IpAddress& address) { return v4 || !address.is_v4 ? text_of(address) : "::ffff:" + text_of(address); };
  return std::string("PROXY ") + (v4 ? "TCP4 " : "TCP6 ") + text(ends->source) + " " + text(ends->destination) + " " +
         std::to_string(ends->source_port) + " " + std::to_string(ends->destination_port) + "\r\n";
}

std::string text_of(const IpAddress& address) {
  if (!address.is_v4) return text_of_v6(address);
  std::string out;
  for (std::size_t i = 12; i < 16; ++i) out += (out.empty() ? "" : ".") + std::to_string(address.bytes[i]);
  return out;
}

std::uint32_t crc32c(Bytes bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? crc >> 1U ^ 0x82f63b78U : crc >> 1U;
  }
  return ~crc;
}

}  // namespace proxy
