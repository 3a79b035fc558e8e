#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <tl/expected.hpp>

#include "agent/dns/name.h"

/// One question from the wire: the half of the message format that strangers fill.
/// Source: RFC 1035 section 4.1, RFC 6891 (EDNS), RFC 9619 (exactly one question).
namespace agent::dns {

enum class Type : std::uint16_t {  ///< of a record or a question; any other number is legal and unknown to us
  kA = 1, kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kTxt = 16, kAaaa = 28, kSrv = 33, kOpt = 41,
  kTkey = 249, kTsig = 250, kIxfr = 251, kAxfr = 252, kMailb = 253, kMaila = 254, kAny = 255,
};
inline constexpr std::uint16_t kClassIn = 1;

enum class Rcode : std::uint8_t {  ///< RFC 1035 section 4.1.1, RFC 6891 section 9
  kNoError = 0, kFormErr = 1, kServFail = 2, kNxDomain = 3, kNotImp = 4, kRefused = 5, kBadVers = 16,
};
[[nodiscard]] std::string_view to_string(Rcode rcode);  ///< "noerror", ...: for metrics labels

struct Edns {
  std::uint16_t payload_bytes = 512;  ///< the largest datagram that the client takes, as it says
  std::uint8_t version = 0;
  bool dnssec_ok = false;
};

/// What an answer repeats of a query, known as soon as the first 12 bytes are.
struct QueryHeader {
  std::uint16_t id = 0;
  std::uint8_t opcode = 0;
  bool recursion_desired = false;
};
struct Query {
  QueryHeader header;
  Name name;  ///< as asked, case kept
  Type type = Type::kA;
  std::uint16_t klass = kClassIn;
  std::optional<Edns> edns;
};

enum class Fault : std::uint8_t {
  kTooShort,       ///< under 12 bytes: there is nobody to answer to
  kIsResponse,     ///< QR is set: answering answers would make two servers talk for ever
  kOpcode,         ///< not a standard query
  kQuestionCount,  ///< not exactly one question
  kName,           ///< a name that is cut short, too long, or compressed where nothing lies before it
  kTruncated,      ///< a record that ends behind the message
  kRecordCount,    ///< more than kQueryRecordsMax records behind the question
  kOpt,            ///< two OPT records, or one that does not belong to the root
  kTrailing,       ///< bytes behind the last record
};
[[nodiscard]] std::string_view to_string(Fault fault);  ///< "too_short", ...: for metrics labels

/// A query that could not be read. No header: silence is the only answer.
struct Malformed {
  Fault fault = Fault::kTooShort;
  std::optional<QueryHeader> header;
  [[nodiscard]] Rcode rcode() const { return fault == Fault::kOpcode ? Rcode::kNotImp : Rcode::kFormErr; }
};

inline constexpr std::size_t kHeaderBytes = 12;
inline constexpr std::uint16_t kQueryRecordsMax = 16;  ///< OPT, a signature, and room for what is still to be invented

/// Reads one message sent by anyone, of any length. Records besides the question and OPT are skipped unread.
[[nodiscard]] tl::expected<Query, Malformed> parse_query(std::span<const std::byte> bytes);

}  // namespace agent::dns
