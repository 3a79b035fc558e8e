#include "agent/dns/writer.h"

#include <algorithm>
#include <cassert>

namespace agent::dns {
namespace {

constexpr std::size_t kOptBytes = 11;           // RFC 6891 section 6.1.2, without options
constexpr std::size_t kPointable = 0x4000;      // a pointer has 14 bits
constexpr std::size_t kLabelsMax = Name::kBytesMax / 2;

/// FNV-1a, continued: a suffix is hashed from its last label to its first.
std::uint32_t mixed(std::uint32_t hash, std::string_view bytes) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash ^ hash >> 15;
}

}  // namespace

MessageWriter::MessageWriter() { out_.reserve(4096); }

void MessageWriter::clear(const QueryHeader& header) {
  out_.assign(kHeaderBytes, std::byte{0});
  header_ = header;
  edns_.reset();
  has_question_ = false;
  counts_ = {};
  seen_ = {};
}

void MessageWriter::begin(const QueryHeader& header) {
  clear(header);
  limit_ = kHeaderBytes;
}

void MessageWriter::begin(const Query& query, std::size_t limit) {
  clear(query.header);
  edns_ = query.edns;
  limit_ = std::min(limit, kMessageBytesMax) - (edns_ ? kOptBytes : 0);
  has_question_ = true;
  put_name(query.name, true);
  put16(static_cast<std::uint16_t>(query.type));
  put16(query.klass);
}

// ---------------------------------------------------------------- records

std::size_t MessageWriter::begin_record(const Name& owner, Type type, std::uint32_t ttl) {
  put_name(owner, true);
  put16(static_cast<std::uint16_t>(type));
  put16(kClassIn);
  put32(ttl);
  put16(0);  // length of the data, known at the end
  return out_.size();
}

bool MessageWriter::end_record(Section section, std::size_t start, std::size_t data) {
  const auto index = static_cast<std::size_t>(section);
  assert(std::all_of(counts_.begin() + static_cast<std::ptrdiff_t>(index) + 1, counts_.end(),
                     [](std::uint16_t count) { return count == 0; }));
  if (out_.size() > limit_) {
    out_.resize(start);
    for (auto& place : seen_)
      if (place >= start) place = 0;
    return false;
  }
  patch16(data - 2, static_cast<std::uint16_t>(out_.size() - data));
  ++counts_[index];
  return true;
}

bool MessageWriter::add_address(Section section, const Name& owner, std::uint32_t ttl, const Place& ip) {
  const std::size_t start = out_.size();
  const std::size_t data = begin_record(owner, ip.kind == Place::Kind::kIpv4 ? Type::kA : Type::kAaaa, ttl);
  for (const std::uint8_t byte : ip.bytes()) put8(byte);
  return end_record(section, start, data);
}

bool MessageWriter::add_name(Section section, const Name& owner, Type type, std::uint32_t ttl, const Name& target) {
  const std::size_t start = out_.size();
  const std::size_t data = begin_record(owner, type, ttl);
  put_name(target, true);
  return end_record(section, start, data);
}

bool MessageWriter::add_srv(Section section, const Name& owner, std::uint32_t ttl, const Srv& srv) {
  const std::size_t start = out_.size();
  const std::size_t data = begin_record(owner, Type::kSrv, ttl);
  put16(srv.priority);
  put16(srv.weight);
  put16(srv.port);
  put_name(srv.target, false);
  return end_record(section, start, data);
}

bool MessageWriter::add_soa(Section section, const Name& owner, std::uint32_t ttl, const Soa& soa) {
  const std::size_t start = out_.size();
  const std::size_t data = begin_record(owner, Type::kSoa, ttl);
  put_name(soa.server, true);
  put_name(soa.mailbox, true);
  for (const std::uint32_t number : {soa.serial, soa.refresh, soa.retry, soa.expire, soa.negative_ttl}) put32(number);
  return end_record(section, start, data);
}

bool MessageWriter::add_txt(Section section, const Name& owner, std::uint32_t ttl, std::string_view text) {
  constexpr std::size_t kStringBytesMax = 255;
  if (text.size() > limit_) return false;
  const std::size_t start = out_.size();
  const std::size_t data = begin_record(owner, Type::kTxt, ttl);
  do {
    const auto part = text.substr(0, kStringBytesMax);
    put8(static_cast<std::uint8_t>(part.size()));
    put_bytes(part);
    text.remove_prefix(part.size());
  } while (!text.empty());
  return end_record(section, start, data);
}

std::span<const std::byte> MessageWriter::finish(Rcode rcode, Flags flags, std::uint16_t our_payload_bytes) {
  const auto code = static_cast<std::uint16_t>(rcode);
  if (edns_) {
    put8(0);  // the root
    put16(static_cast<std::uint16_t>(Type::kOpt));
    put16(our_payload_bytes);
    put8(static_cast<std::uint8_t>(code >> 4));
    put8(0);  // our version
    put16(edns_->dnssec_ok ? 0x8000 : 0);  // RFC 3225 section 3: repeated, whatever we know of it
    put16(0);
    ++counts_[static_cast<std::size_t>(Section::kAdditional)];
  }
  unsigned word = 0x8000U | static_cast<unsigned>(header_.opcode) << 11 | (code & 0xfU);
  if (flags.authoritative) word |= 0x0400U;
  if (flags.truncated) word |= 0x0200U;
  if (header_.recursion_desired) word |= 0x0100U;
  patch16(0, header_.id);
  patch16(2, static_cast<std::uint16_t>(word));
  patch16(4, has_question_ ? 1 : 0);
  for (std::size_t i = 0; i < counts_.size(); ++i) patch16(6 + 2 * i, counts_[i]);
  return out_;
}

// ---------------------------------------------------------------- bytes and names

void MessageWriter::put8(std::uint8_t value) { out_.push_back(static_cast<std::byte>(value)); }

void MessageWriter::put16(std::uint16_t value) {
  const std::array<std::byte, 2> bytes{static_cast<std::byte>(value >> 8), static_cast<std::byte>(value)};
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

void MessageWriter::put32(std::uint32_t value) {
  put16(static_cast<std::uint16_t>(value >> 16));
  put16(static_cast<std::uint16_t>(value));
}

void MessageWriter::put_bytes(std::string_view bytes) {
  const auto raw = std::as_bytes(std::span(bytes));
  out_.insert(out_.end(), raw.begin(), raw.end());
}

void MessageWriter::patch16(std::size_t at, std::uint16_t value) {
  out_[at] = static_cast<std::byte>(value >> 8);
  out_[at + 1] = static_cast<std::byte>(value);
}

void MessageWriter::put_name(const Name& name, bool compress) {
  const std::string_view wire = name.wire();
  std::array<std::uint8_t, kLabelsMax> starts{};
  std::array<std::uint32_t, kLabelsMax> hashes{};
  std::size_t count = 0;
  for (std::size_t at = 0; at < wire.size(); at += 1 + static_cast<std::size_t>(wire[at]))
    starts[count++] = static_cast<std::uint8_t>(at);
  std::uint32_t hash = 2166136261U;
  for (std::size_t i = count; i-- > 0;) {
    const std::size_t end = i + 1 == count ? wire.size() : starts[i + 1];
    hashes[i] = hash = mixed(hash, wire.substr(starts[i], end - starts[i]));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view suffix = wire.substr(starts[i]);
    std::uint16_t& place = seen_[hashes[i] % kSlots];
    if (compress && place != 0 && spells(place, suffix)) return put16(static_cast<std::uint16_t>(0xc000U | place));
    if (out_.size() < kPointable) place = static_cast<std::uint16_t>(out_.size());
    put_bytes(suffix.substr(0, 1 + static_cast<std::size_t>(suffix[0])));
  }
  put8(0);
}

/// Whether the bytes at `at`, which we wrote, are this name. Our pointers point back only, so the walk ends; a name that
/// is being written has no end yet and is nobody's suffix.
bool MessageWriter::spells(std::size_t at, std::string_view wire) const {
  for (;;) {
    if (at >= out_.size()) return false;
    const auto length = std::to_integer<std::size_t>(out_[at]);
    if (length >= 0xc0) {
      at = (length & 0x3fU) << 8 | std::to_integer<std::size_t>(out_[at + 1]);
      continue;
    }
    if (length == 0 || wire.empty()) return length == 0 && wire.empty();
    if (length != static_cast<std::size_t>(wire[0])) return false;
    const auto label = std::as_bytes(std::span(wire)).subspan(0, 1 + length);
    if (!std::equal(label.begin(), label.end(), out_.begin() + static_cast<std::ptrdiff_t>(at))) return false;
    at += 1 + length;
    wire.remove_prefix(1 + length);
  }
}

}  // namespace agent::dns
