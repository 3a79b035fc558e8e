#include "agent/audit_words.h"
#include "tests/fuzz/fuzz.h"

/// What other agents say about the audit.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent;
  const std::string_view bytes = fuzz::text_of(data, size);
  const auto word = decode_audit(bytes);
  if (!word) return 0;
  fuzz::require(is_audit_frame(bytes), "what can be read is told apart");
  fuzz::require(encode_audit(*word) == bytes, "a frame has one spelling");
  if (const auto* looked = std::get_if<AuditLookedWord>(&*word)) {
    fuzz::require(looked->faults.size() <= store::kv::kAuditFaultsMax && looked->statements.size() <= kAuditStatementsMax, "bounded");
  }
  return 0;
}
