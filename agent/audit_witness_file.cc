// The bytes of the witness file.
#include <algorithm>
#include <utility>

#include "agent/audit_witness.h"
#include "store/kv/sha256.h"

namespace agent {
namespace {

namespace kv = store::kv;

constexpr std::string_view kMagic = "OAW1";
constexpr std::size_t kDigestBytes = sizeof(kv::Digest);
enum class Dispute : std::uint8_t { kNone = 0, kOver = 1, kStands = 2 };

void put(std::string& out, std::uint64_t value, unsigned bytes) {
  for (unsigned shift = 8 * bytes; shift > 0; shift -= 8) out += static_cast<char>(value >> (shift - 8) & 0xffU);
}

/// Takes from the front; too little gives nothing, and leaves nothing.
std::optional<std::string_view> take(std::string_view& from, std::size_t count) {
  if (from.size() < count) return std::nullopt;
  const std::string_view taken = from.substr(0, count);
  from.remove_prefix(count);
  return taken;
}
std::optional<std::uint64_t> take_number(std::string_view& from, std::size_t bytes) {
  const auto taken = take(from, bytes);
  if (!taken) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : *taken) value = value << 8U | static_cast<unsigned char>(c);
  return value;
}
std::optional<AuditStatement> take_statement(std::string_view& from, store::NodeId signer) {
  const auto taken = take(from, kAuditStatementBytes);
  auto statement = taken ? get_statement(*taken) : std::nullopt;
  return statement && statement->signer == signer ? statement : std::nullopt;
}

bool take_signer(std::string_view& from, store::NodeId node, AuditSigner& signer) {
  const auto key = take(from, signer.key.size());
  const auto changes = take_number(from, 4);
  const auto count = take_number(from, 1);
  if (!key || !changes || !count || *count > kAuditKeptMax) return false;
  std::copy(key->begin(), key->end(), signer.key.begin());
  signer.key_changes = static_cast<std::uint32_t>(*changes);
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto statement = take_statement(from, node);
    if (!statement || (!signer.kept.empty() && statement->number <= signer.kept.back().number)) return false;
    signer.kept.push_back(*statement);
  }
  const auto flag = take_number(from, 1);
  if (!flag || *flag > static_cast<std::uint64_t>(Dispute::kStands)) return false;
  if (*flag == static_cast<std::uint64_t>(Dispute::kNone)) return true;
  signer.dispute = take_statement(from, node);
  signer.disputed = *flag == static_cast<std::uint64_t>(Dispute::kStands);
  return signer.dispute.has_value();
}

}  // namespace

std::string encode_witness(const AuditSigners& signers, const kv::ClusterId& cluster) {
  std::string out(kMagic);
  out.append(reinterpret_cast<const char*>(cluster.bytes.data()), cluster.bytes.size());
  put(out, signers.size(), 2);
  for (const auto& [node, signer] : signers) {
    put(out, node.value, 8);
    out.append(reinterpret_cast<const char*>(signer.key.data()), signer.key.size());
    put(out, signer.key_changes, 4);
    put(out, signer.kept.size(), 1);
    for (const AuditStatement& one : signer.kept) put_statement(out, one);
    const Dispute dispute = !signer.dispute ? Dispute::kNone : signer.disputed ? Dispute::kStands : Dispute::kOver;
    put(out, static_cast<std::uint64_t>(dispute), 1);
    if (signer.dispute) put_statement(out, *signer.dispute);
  }
  const kv::Digest digest = kv::sha256(out);
  out.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  return out;
}

std::optional<AuditWitnessFile> decode_witness(std::string_view bytes) {
  if (bytes.size() < kMagic.size() + kDigestBytes || !bytes.starts_with(kMagic)) return std::nullopt;
  std::string_view from = bytes.substr(0, bytes.size() - kDigestBytes);
  const kv::Digest digest = kv::sha256(from);
  if (!std::equal(digest.begin(), digest.end(), reinterpret_cast<const std::uint8_t*>(bytes.data() + from.size()))) return std::nullopt;
  from.remove_prefix(kMagic.size());
  AuditWitnessFile file;
  const auto cluster = take(from, file.cluster.bytes.size());
  const auto count = take_number(from, 2);
  if (!cluster || !count || *count > kAuditSignersMax) return std::nullopt;
  std::copy(cluster->begin(), cluster->end(), file.cluster.bytes.begin());
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto node = take_number(from, 8);
    if (!node || *node == 0 || (!file.signers.empty() && *node <= file.signers.rbegin()->first.value)) return std::nullopt;
    if (!take_signer(from, store::NodeId{*node}, file.signers[store::NodeId{*node}])) return std::nullopt;
  }
  return from.empty() ? std::optional(std::move(file)) : std::nullopt;
}

}  // namespace agent
