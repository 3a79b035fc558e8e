#include "agent/cli/audit_file.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "agent/cli/session.h"
#include "agent/io/crypto.h"
#include "agent/io/signing.h"

namespace agent::cli {
namespace {

constexpr std::array<std::string_view, 8> kKinds{"promotion", "demotion", "halt", "resume", "approval", "order", "config", "restore"};
constexpr std::string_view kDomain("outrigger audit statement 1\0", 28);  // as agent/audit_words.cc has it
constexpr std::size_t kHexMax = 16'384;

std::optional<std::string> from_hex(const std::string& text) {
  if (text.size() % 2 != 0 || text.size() > kHexMax) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned value = 0;
    for (const char c : {text[i], text[i + 1]}) {
      const bool digit = c >= '0' && c <= '9';
      if (!digit && (c < 'a' || c > 'f')) return std::nullopt;
      value = value * 16 + static_cast<unsigned>(digit ? c - '0' : c - 'a' + 10);
    }
    out += static_cast<char>(value);
  }
  return out;
}

std::string text_of(const Json& object, const char* name) {
  const Json value = field(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}
std::uint64_t number_of(const Json& object, const char* name) {
  const Json value = field(object, name);
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}

/// The little of msgpack that an entry is made of.
class Msgpack {
 public:
  explicit Msgpack(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t byte() { return big_endian(1); }
  std::uint64_t big_endian(std::size_t count) {
    std::uint64_t value = 0;
    for (const char c : take(count)) value = value << 8U | static_cast<unsigned char>(c);
    return value;
  }
  std::uint64_t number() {
    const std::uint64_t head = byte();
    if (head < 0x80) return head;
    if (head >= 0xcc && head <= 0xcf) return big_endian(std::size_t{1} << (head - 0xcc));
    bad_ = true;
    return 0;
  }
  std::string_view bin() {
    const std::uint64_t head = byte();
    if (head >= 0xc4 && head <= 0xc6) return take(big_endian(std::size_t{1} << (head - 0xc4)));
    bad_ = true;
    return {};
  }
  [[nodiscard]] bool finished() const { return !bad_ && bytes_.empty(); }

 private:
  std::string_view take(std::size_t count) {
    if (count > bytes_.size()) {
      bad_ = true;
      bytes_ = {};
      return {};
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::string_view bytes_;
  bool bad_ = false;
};

/// As an export writes it: what is no UTF-8 was replaced.
std::string shown(std::string_view text) {
  const Json written = Json::parse(Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace), nullptr, false);
  return written.is_string() ? written.get<std::string>() : std::string();
}

/// Do the readable fields say what the hashed bytes say?
bool fits(const Json& entry, std::string_view bytes) {
  Msgpack in(bytes);
  const bool head = in.byte() == 0x98 && in.number() == 1;
  const bool numbers = in.number() == number_of(entry, "number") && in.number() == number_of(entry, "index") && in.number() == number_of(entry, "time_ms");
  const std::uint64_t kind = in.number();
  const bool kind_fits = kind < kKinds.size() && kKinds[kind] == text_of(entry, "kind");
  bool texts = true;
  for (const char* name : {"actor", "subject", "text"}) texts = shown(in.bin()) == text_of(entry, name) && texts;
  return head && numbers && kind_fits && texts && in.finished();
}

void put(std::string& out, std::uint64_t value) {
  for (unsigned shift = 64; shift > 0; shift -= 8) out += static_cast<char>(value >> (shift - 8) & 0xffU);
}

bool is_signed(const Json& signer, const Json& statement) {
  const auto cluster = from_hex(text_of(signer, "cluster")), hash = from_hex(text_of(statement, "hash"));
  const auto key = from_hex(text_of(statement, "key")), signature = from_hex(text_of(statement, "signature"));
  io::SigningPublic shown_key{};
  io::Signature shown_signature{};
  if (!cluster || !hash || !key || !signature || key->size() != shown_key.size() || signature->size() != shown_signature.size()) return false;
  std::copy(key->begin(), key->end(), shown_key.begin());
  std::copy(signature->begin(), signature->end(), shown_signature.begin());
  std::string bytes(kDomain);
  bytes += *cluster;
  put(bytes, number_of(signer, "id"));
  put(bytes, number_of(statement, "number"));
  put(bytes, number_of(statement, "index"));
  put(bytes, number_of(statement, "time_ms"));
  bytes += *hash;
  return io::is_signed_by(shown_key, bytes, shown_signature);
}

}  // namespace

void AuditFile::fault(std::string text) {
  if (faults_.size() < kFaultsMax) faults_.push_back(std::move(text));
}

void AuditFile::take(const std::string& line) {
  ++line_;
  if (line.empty()) return;
  const Json value = Json::parse(line, nullptr, false);
  if (!value.is_object()) return fault("line " + std::to_string(line_) + " is no JSON object");
  const Json signers = field(value, "signers");
  if (!signers.is_array()) return take_entry(value);
  for (const auto& signer : signers) take_signer(signer);
}

void AuditFile::take_entry(const Json& entry) {
  const std::uint64_t number = number_of(entry, "number");
  const std::string before = text_of(entry, "before"), hash = text_of(entry, "hash"), name = "entry " + std::to_string(number);
  const auto bytes = from_hex(text_of(entry, "bytes")), start = from_hex(before);
  if (number == 0 || !bytes || !start) return fault("line " + std::to_string(line_) + " is no entry of an export with \"before\" and \"bytes\"");
  const std::string hashed = *start + *bytes;
  if (io::hex_encode(io::sha256(std::as_bytes(std::span(hashed)))) != hash) fault(name + " edited: its bytes do not give its hash");
  else if (!fits(entry, *bytes)) fault(name + " edited: its fields do not say what its bytes say");
  if (entries_ != 0) {
    if (number <= last_) fault(name + " after " + std::to_string(last_) + ": out of order");
    else if (number > last_ + 1) fault("deleted " + std::to_string(last_ + 1) + (number == last_ + 2 ? "" : " to " + std::to_string(number - 1)));
    else if (before != last_hash_) fault(name + " is not bound to the one before: one of the two was changed");
  } else {
    first_ = number;
  }
  ++entries_;
  last_ = number;
  last_hash_ = hash;
  if (hashes_.size() >= kKeptHashes) hashes_.erase(hashes_.begin());
  hashes_[number] = hash;
}

void AuditFile::take_signer(const Json& signer) {
  const Json kept = field(signer, "kept");
  if (!kept.is_array()) return fault("line " + std::to_string(line_) + " has a signer without statements");
  for (const auto& statement : kept) take_statement(signer, statement);
}

void AuditFile::take_statement(const Json& signer, const Json& statement) {
  const std::uint64_t number = number_of(statement, "number");
  const std::string name = "entry " + std::to_string(number) + " as signed by " + text_of(signer, "node");
  if (!is_signed(signer, statement)) return fault(name + ": the signature is not good");
  if (number > last_) return fault("truncated after " + std::to_string(last_) + ": " + name + " is not in this file");
  const auto here = hashes_.find(number);
  if (here == hashes_.end()) return;  // before the first line
  if (here->second != text_of(statement, "hash")) return fault(name + " is another one than in this file");
  ++signatures_;
  signed_to_ = std::max(signed_to_, number);
  if (keys_.size() < kKeysMax) keys_.insert(text_of(signer, "node") + " (" + text_of(statement, "key").substr(2, 16) + ")");
}

std::string AuditFile::keys() const {
  std::string out;
  for (const std::string& key : keys_) out += (out.empty() ? " " : ", ") + key;
  return out;
}

void AuditFile::finish() {
  if (entries_ == 0 && faults_.empty()) fault("there are no entries in it");
}

}  // namespace agent::cli
