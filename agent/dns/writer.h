#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/dns/message.h"
#include "agent/dns/name.h"

/// The half of the message format that we fill ourselves.
namespace agent::dns {

enum class Section : std::uint8_t { kAnswer, kAuthority, kAdditional };

struct Soa {
  Name server, mailbox;
  std::uint32_t serial = 0, refresh = 0, retry = 0, expire = 0, negative_ttl = 0;  ///< seconds but `serial`
};
struct Srv {
  std::uint16_t priority = 1, weight = 1, port = 0;
  Name target;
};

/// Writes one answer into a buffer that it keeps from message to message: no allocation once it has grown.
/// A record goes in whole or not at all, so the message never exceeds its limit. Names are compressed (RFC 1035
/// section 4.1.4) against what was written before, with regard to case, so that the asker's spelling comes back; the
/// target of SRV is written out (RFC 2782) but later names may point into it.
/// Bound: limit of the message; the memory of names is a table of fixed size that forgets (compression is a favour).
/// Order: begin, add_* by section, finish.
class MessageWriter {
 public:
  static constexpr std::size_t kMessageBytesMax = 65535;

  MessageWriter();
  /// Starts an answer to `query`: header and question. @param limit bytes, >= 512; the room of OPT is kept free.
  void begin(const Query& query, std::size_t limit);
  /// Starts an answer to something that could not be read as a query: a header and no question.
  void begin(const QueryHeader& header);

  // Each: @return false, nothing written, when the record does not fit. Sections in their order. TTL in seconds.
  bool add_address(Section section, const Name& owner, std::uint32_t ttl, const Place& ip);
  bool add_name(Section section, const Name& owner, Type type, std::uint32_t ttl, const Name& target);  ///< CNAME, NS, PTR
  bool add_srv(Section section, const Name& owner, std::uint32_t ttl, const Srv& srv);
  bool add_soa(Section section, const Name& owner, std::uint32_t ttl, const Soa& soa);
  /// One record; `text` is cut into strings of 255 bytes.
  bool add_txt(Section section, const Name& owner, std::uint32_t ttl, std::string_view text);

  struct Flags {
    bool authoritative = false;
    bool truncated = false;
  };
  /// Ends the message. @param our_payload_bytes what OPT says we take; used when the query had OPT.
  /// @return the bytes, valid until the next begin.
  std::span<const std::byte> finish(Rcode rcode, Flags flags, std::uint16_t our_payload_bytes);
  /// Records written into a section so far.
  [[nodiscard]] std::uint16_t count(Section section) const { return counts_[static_cast<std::size_t>(section)]; }

 private:
  static constexpr std::size_t kSlots = 4096;  // of remembered names; a power of two
  void clear(const QueryHeader& header);
  void put8(std::uint8_t value);
  void put16(std::uint16_t value);
  void put32(std::uint32_t value);
  void put_bytes(std::string_view bytes);
  void put_name(const Name& name, bool compress);
  void patch16(std::size_t at, std::uint16_t value);
  [[nodiscard]] bool spells(std::size_t at, std::string_view wire) const;
  std::size_t begin_record(const Name& owner, Type type, std::uint32_t ttl);
  bool end_record(Section section, std::size_t start, std::size_t data);

  std::vector<std::byte> out_;
  std::size_t limit_ = 0;
  QueryHeader header_;
  std::optional<Edns> edns_;
  bool has_question_ = false;
  std::array<std::uint16_t, 3> counts_{};
  std::array<std::uint16_t, kSlots> seen_{};  // hash of a suffix -> where it may stand; 0 = nowhere
};

}  // namespace agent::dns
