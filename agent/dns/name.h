#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Domain names as they travel: a row of labels of any bytes.
namespace agent::dns {

/// One domain name. A value; holds its wire form (RFC 1035 section 3.1), so that no byte is special and no escape exists.
/// Invariant: labels of 1..63 bytes, at most kBytesMax bytes with length bytes and the root's zero.
class Name {
 public:
  static constexpr std::size_t kBytesMax = 255;  ///< RFC 1035 section 2.3.4
  static constexpr std::size_t kLabelBytesMax = 63;

  Name() = default;  ///< the root
  /// Splits at every dot; a final dot is allowed. nullopt: an empty or too long label, or too long a name.
  static std::optional<Name> parse(std::string_view text);
  /// As parse, with the labels of `suffix` behind it.
  static std::optional<Name> parse(std::string_view text, const Name& suffix);
  /// Adds one label at the end, whatever its bytes. @return false, nothing changed: a length that no name may have.
  bool append(std::string_view label);
  /// Adds all labels of `tail`. @return false, nothing changed: the whole would be too long.
  bool append(const Name& tail);

  /// From the leftmost on. Valid while this name lives and is unchanged.
  [[nodiscard]] std::vector<std::string_view> labels() const;
  /// Length bytes and labels, without the root's zero.
  [[nodiscard]] std::string_view wire() const { return wire_; }
  [[nodiscard]] std::size_t wire_bytes() const { return wire_.size() + 1; }  ///< with the root's zero
  [[nodiscard]] bool is_root() const { return wire_.empty(); }
  [[nodiscard]] Name lower_case() const;    ///< ASCII only (RFC 4343); other bytes stay
  [[nodiscard]] std::string text() const;   ///< dotted, with a final dot, unusual bytes as \DDD: for people and tests
  friend bool operator==(const Name&, const Name&) = default;  ///< with regard to case

 private:
  std::string wire_;
};

/// ASCII letters small, everything else as it is.
[[nodiscard]] std::string lower_case(std::string_view text);

/// Where something is, as a catalog has it: free text that should be an IP address or a host name.
struct Place {
  enum class Kind : std::uint8_t {
    kNone,      ///< empty text
    kIpv4,      ///< `ip` holds 4 bytes
    kIpv6,      ///< `ip` holds 16 bytes
    kHostName,  ///< `host`
    kUnusable,  ///< neither: nobody can be sent there
  };
  Kind kind = Kind::kNone;
  std::array<std::uint8_t, 16> ip{};  ///< network order; unused bytes are 0
  Name host;

  /// An IPv4 address written as IPv6 (::ffff:a.b.c.d) is IPv4. A host name is of letters, digits, '-', '_' and dots.
  static Place parse(std::string_view text);
  static Place of_bytes(std::span<const std::uint8_t> bytes);  ///< 4 or 16 bytes; anything else is kUnusable
  [[nodiscard]] bool is_ip() const { return kind == Kind::kIpv4 || kind == Kind::kIpv6; }
  /// The 4 or 16 bytes; empty if this is no IP address. Valid while this lives.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const;
  friend bool operator==(const Place&, const Place&) = default;
};

}  // namespace agent::dns
