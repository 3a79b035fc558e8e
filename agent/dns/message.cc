#include "agent/dns/message.h"

namespace agent::dns {
namespace {

constexpr std::uint8_t kPointerMark = 0xc0;

/// Walks over bytes that nobody vouches for; every read says whether it was possible.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool at_end() const { return at_ == bytes_.size(); }
  bool skip(std::size_t count) {
    if (bytes_.size() - at_ < count) return false;
    at_ += count;
    return true;
  }
  bool read8(std::uint8_t& out) {
    if (at_end()) return false;
    out = std::to_integer<std::uint8_t>(bytes_[at_++]);
    return true;
  }
  bool read16(std::uint16_t& out) {
    std::uint8_t high = 0, low = 0;
    if (!read8(high) || !read8(low)) return false;
    out = static_cast<std::uint16_t>(high << 8 | low);
    return true;
  }
  /// The name of the question: nothing lies before it that a pointer could mean.
  bool read_plain_name(Name& out) {
    for (;;) {
      std::uint8_t length = 0;
      if (!read8(length)) return false;
      if (length == 0) return true;
      if (length > Name::kLabelBytesMax || bytes_.size() - at_ < length) return false;
      const void* raw = bytes_.data() + at_;
      if (!out.append({static_cast<const char*>(raw), length})) return false;
      at_ += length;
    }
  }
  /// A name that does not matter; a pointer ends it and is not followed. @param root whether it was the root
  bool skip_name(bool& root) {
    for (root = true;; root = false) {
      std::uint8_t length = 0;
      if (!read8(length)) return false;
      if (length == 0) return true;
      if ((length & kPointerMark) == kPointerMark) return root = false, skip(1);
      if (length > Name::kLabelBytesMax || !skip(length)) return false;
    }
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

/// One record behind the question: OPT is kept, everything else is only measured.
std::optional<Fault> read_record(Reader& reader, Query& query) {
  bool root = false;
  std::uint16_t type = 0, klass = 0, data_bytes = 0, flags = 0;
  std::uint8_t extended_rcode = 0, version = 0;
  if (!reader.skip_name(root)) return Fault::kName;
  if (!reader.read16(type) || !reader.read16(klass) || !reader.read8(extended_rcode) || !reader.read8(version) ||
      !reader.read16(flags) || !reader.read16(data_bytes) || !reader.skip(data_bytes))
    return Fault::kTruncated;
  if (type != static_cast<std::uint16_t>(Type::kOpt)) return std::nullopt;
  if (!root || query.edns) return Fault::kOpt;
  query.edns = Edns{klass, version, (flags & 0x8000) != 0};
  return std::nullopt;
}

}  // namespace

std::string_view to_string(Rcode rcode) {
  switch (rcode) {
    case Rcode::kNoError:
      return "noerror";
    case Rcode::kFormErr:
      return "formerr";
    case Rcode::kServFail:
      return "servfail";
    case Rcode::kNxDomain:
      return "nxdomain";
    case Rcode::kNotImp:
      return "notimp";
    case Rcode::kRefused:
      return "refused";
    case Rcode::kBadVers:
      return "badvers";
  }
  return {};
}

std::string_view to_string(Fault fault) {
  switch (fault) {
    case Fault::kTooShort:
      return "too_short";
    case Fault::kIsResponse:
      return "is_response";
    case Fault::kOpcode:
      return "opcode";
    case Fault::kQuestionCount:
      return "question_count";
    case Fault::kName:
      return "name";
    case Fault::kTruncated:
      return "truncated";
    case Fault::kRecordCount:
      return "record_count";
    case Fault::kOpt:
      return "opt";
    case Fault::kTrailing:
      return "trailing";
  }
  return {};
}

tl::expected<Query, Malformed> parse_query(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes) return tl::unexpected(Malformed{Fault::kTooShort, std::nullopt});
  Reader reader(bytes);
  Query query;
  std::uint16_t flags = 0, questions = 0, type = 0;
  std::array<std::uint16_t, 3> records{};
  reader.read16(query.header.id), reader.read16(flags), reader.read16(questions);
  for (auto& count : records) reader.read16(count);
  if ((flags & 0x8000) != 0) return tl::unexpected(Malformed{Fault::kIsResponse, std::nullopt});
  query.header.opcode = static_cast<std::uint8_t>(flags >> 11 & 0xf);
  query.header.recursion_desired = (flags & 0x0100) != 0;
  const auto malformed = [&query](Fault fault) { return tl::unexpected(Malformed{fault, query.header}); };
  if (query.header.opcode != 0) return malformed(Fault::kOpcode);
  if (questions != 1) return malformed(Fault::kQuestionCount);
  if (!reader.read_plain_name(query.name)) return malformed(Fault::kName);
  if (!reader.read16(type) || !reader.read16(query.klass)) return malformed(Fault::kTruncated);
  query.type = static_cast<Type>(type);
  const std::uint32_t count = std::uint32_t{records[0]} + records[1] + records[2];
  if (count > kQueryRecordsMax) return malformed(Fault::kRecordCount);
  for (std::uint32_t i = 0; i < count; ++i)
    if (const auto fault = read_record(reader, query)) return malformed(*fault);
  if (!reader.at_end()) return malformed(Fault::kTrailing);
  return query;
}

}  // namespace agent::dns
