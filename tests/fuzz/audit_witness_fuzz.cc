#include "agent/audit_witness.h"
#include "store/kv/sha256.h"
#include "tests/fuzz/fuzz.h"

/// The witness file, with its checksum put right: damage is one thing, a file that somebody has made another.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent;
  std::string bytes(fuzz::text_of(data, size));
  static_cast<void>(decode_witness(bytes));
  const store::kv::Digest digest = store::kv::sha256(bytes);
  bytes.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  const auto file = decode_witness(bytes);
  if (!file) return 0;
  fuzz::require(encode_witness(file->signers, file->cluster) == bytes, "a file has one spelling");
  fuzz::require(file->signers.size() <= kAuditSignersMax, "bounded");
  AuditWitness witness(store::NodeId{1}, file->cluster, {}, file->signers);
  fuzz::require(witness.check(store::kv::AuditLog()).size() <= 2, "a copy is judged by any of them");
  return 0;
}
