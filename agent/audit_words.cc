#include "agent/audit_words.h"

#include <algorithm>
#include <utility>

namespace agent {
namespace {

namespace kv = store::kv;

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kTextBytesMax = 255;
constexpr std::string_view kDomain("outrigger audit statement 1\0", 28);  // no other bytes of ours begin so

void put(std::string& out, std::uint64_t value, unsigned bytes) {
  for (unsigned shift = 8 * bytes; shift > 0; shift -= 8) out += static_cast<char>(value >> (shift - 8) & 0xffU);
}
template <std::size_t N>
void put(std::string& out, const std::array<std::uint8_t, N>& bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// Reads from the front; once something is wrong everything further is zero.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
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
  std::uint64_t number(unsigned bytes) {
    std::uint64_t value = 0;
    for (const char c : take(bytes)) value = value << 8U | static_cast<unsigned char>(c);
    return value;
  }
  template <std::size_t N>
  void fill(std::array<std::uint8_t, N>& out) {
    const std::string_view taken = take(N);
    std::copy(taken.begin(), taken.end(), out.begin());
  }
  void reject() { bad_ = true; }
  [[nodiscard]] bool ok() const { return !bad_; }
  [[nodiscard]] bool finished() const { return !bad_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool bad_ = false;
};

void put_head(std::string& out, const kv::AuditHead& head) {
  put(out, head.number, 8);
  put(out, head.hash);
}
kv::AuditHead take_head(Reader& in) {
  kv::AuditHead head;
  head.number = in.number(8);
  in.fill(head.hash);
  return head;
}

AuditStatement take_statement(Reader& in) {
  const auto statement = get_statement(in.take(kAuditStatementBytes));
  if (!statement) in.reject();
  return statement.value_or(AuditStatement{});
}

struct Writer {
  std::string& out;
  void operator()(const AuditHeadWord& word) const { put_statement(out, word.statement); }
  void operator()(const AuditCosignWord& word) const { put_statement(out, word.statement); }
  void operator()(const AuditLookWord& word) const { put(out, word.question, 8); }
  void operator()(const AuditLookedWord& word) const {
    put(out, word.question, 8);
    put(out, kv::value(word.applied), 8);
    put_head(out, word.ends.pruned);
    put_head(out, word.ends.head);
    put(out, word.entries, 8);
    const std::size_t faults = std::min(word.faults.size(), kv::kAuditFaultsMax);
    put(out, faults, 2);
    for (std::size_t i = 0; i < faults; ++i) {
      put(out, static_cast<std::uint64_t>(word.faults[i].kind), 1);
      put(out, word.faults[i].number, 8);
      put(out, word.faults[i].last, 8);
    }
    const std::size_t statements = std::min(word.statements.size(), kAuditStatementsMax);
    put(out, statements, 2);
    for (std::size_t i = 0; i < statements; ++i) put_statement(out, word.statements[i]);
  }
  void operator()(const AuditAskWord& word) const {
    put(out, word.question, 8);
    const std::size_t count = std::min(word.numbers.size(), kAuditPointsMax);
    put(out, count, 2);
    for (std::size_t i = 0; i < count; ++i) put(out, word.numbers[i], 8);
  }
  void operator()(const AuditToldWord& word) const {
    put(out, word.question, 8);
    const std::size_t count = std::min(word.points.size(), kAuditPointsMax);
    put(out, count, 2);
    for (std::size_t i = 0; i < count; ++i) {
      const AuditPoint& point = word.points[i];
      put(out, point.number, 8);
      put(out, point.kept ? 1U : 0U, 1);
      put(out, kv::value(point.index), 8);
      put(out, point.hash);
      put(out, point.content);
    }
  }
  void operator()(const AuditRefusedWord& word) const {
    put(out, word.question, 8);
    const std::size_t size = std::min(word.why.size(), kTextBytesMax);
    put(out, size, 1);
    out.append(word.why, 0, size);
  }
};

AuditLookedWord take_looked(Reader& in) {
  AuditLookedWord word;
  word.question = in.number(8);
  word.applied = kv::Index{in.number(8)};
  word.ends.pruned = take_head(in);
  word.ends.head = take_head(in);
  word.entries = in.number(8);
  const std::size_t faults = in.number(2);
  if (faults > kv::kAuditFaultsMax) in.reject();
  for (std::size_t i = 0; in.ok() && i < faults; ++i) {
    const std::uint64_t kind = in.number(1);
    if (kind > static_cast<std::uint64_t>(kv::AuditFault::Kind::kDiffers)) in.reject();
    kv::AuditFault fault{kv::AuditFault::Kind{static_cast<std::uint8_t>(kind)}, 0, 0};
    fault.number = in.number(8);
    fault.last = in.number(8);
    word.faults.push_back(fault);
  }
  const std::size_t statements = in.number(2);
  if (statements > kAuditStatementsMax) in.reject();
  for (std::size_t i = 0; in.ok() && i < statements; ++i) word.statements.push_back(take_statement(in));
  return word;
}

AuditAskWord take_ask(Reader& in) {
  AuditAskWord word;
  word.question = in.number(8);
  const std::size_t count = in.number(2);
  if (count == 0 || count > kAuditPointsMax) in.reject();
  for (std::size_t i = 0; in.ok() && i < count; ++i) word.numbers.push_back(in.number(8));
  return word;
}

AuditToldWord take_told(Reader& in) {
  AuditToldWord word;
  word.question = in.number(8);
  const std::size_t count = in.number(2);
  if (count == 0 || count > kAuditPointsMax) in.reject();
  for (std::size_t i = 0; in.ok() && i < count; ++i) {
    AuditPoint point;
    point.number = in.number(8);
    const std::uint64_t kept = in.number(1);
    if (kept > 1) in.reject();
    point.kept = kept == 1;
    point.index = kv::Index{in.number(8)};
    in.fill(point.hash);
    in.fill(point.content);
    if (!point.kept && point != AuditPoint{point.number, false, {}, {}, {}}) in.reject();
    word.points.push_back(point);
  }
  return word;
}

AuditRefusedWord take_refused(Reader& in) {
  AuditRefusedWord word;
  word.question = in.number(8);
  word.why = std::string(in.take(in.number(1)));
  return word;
}

std::optional<AuditWord> take_word(Reader& in, std::uint64_t kind) {
  switch (kind) {
    case 0: return AuditHeadWord{take_statement(in)};
    case 1: return AuditCosignWord{take_statement(in)};
    case 2: return AuditLookWord{in.number(8)};
    case 3: return take_looked(in);
    case 4: return take_ask(in);
    case 5: return take_told(in);
    case 6: return take_refused(in);
    default: return std::nullopt;
  }
}

}  // namespace

void put_statement(std::string& out, const AuditStatement& statement) {
  put(out, statement.signer.value, 8);
  put(out, statement.key);
  put(out, statement.number, 8);
  put(out, kv::value(statement.index), 8);
  put(out, statement.time_ms, 8);
  put(out, statement.hash);
  put(out, statement.signature);
}

std::optional<AuditStatement> get_statement(std::string_view bytes) {
  if (bytes.size() != kAuditStatementBytes) return std::nullopt;
  Reader in(bytes);
  AuditStatement statement;
  statement.signer = store::NodeId{in.number(8)};
  in.fill(statement.key);
  statement.number = in.number(8);
  statement.index = kv::Index{in.number(8)};
  statement.time_ms = in.number(8);
  in.fill(statement.hash);
  in.fill(statement.signature);
  if (statement.signer.value == 0 || statement.number == 0) return std::nullopt;
  return statement;
}

std::string signed_bytes(const AuditStatement& statement, const kv::ClusterId& cluster) {
  std::string out(kDomain);
  out.append(reinterpret_cast<const char*>(cluster.bytes.data()), cluster.bytes.size());
  put(out, statement.signer.value, 8);
  put(out, statement.number, 8);
  put(out, kv::value(statement.index), 8);
  put(out, statement.time_ms, 8);
  put(out, statement.hash);
  return out;
}

std::string encode_audit(const AuditWord& word) {
  std::string out;
  out += kAuditFrame;
  put(out, kVersion, 1);
  put(out, word.index(), 1);
  std::visit(Writer{out}, word);
  return out;
}

std::optional<AuditWord> decode_audit(std::string_view frame) {
  if (!is_audit_frame(frame)) return std::nullopt;
  Reader in(frame.substr(1));
  if (in.number(1) != kVersion) return std::nullopt;
  const std::uint64_t kind = in.number(1);
  auto word = take_word(in, kind);
  if (!word || !in.finished()) return std::nullopt;
  return word;
}

}  // namespace agent
