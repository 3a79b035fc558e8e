#include "store/raft/wire.h"
#include "tests/fuzz/fuzz.h"

namespace raft = store::raft;

namespace {

/// Reading what was written from what was read gives the same bytes: there is one form of every value.
template <typename Decode>
void check(std::string_view bytes, Decode decode) {
  const auto value = decode(bytes);
  if (!value) return;
  const std::string form = raft::encode(*value);
  const auto again = decode(form);
  fuzz::require(again.has_value(), "what was decoded can be encoded and decoded again");
  fuzz::require(raft::encode(*again) == form, "the second reading equals the first");
}

}  // namespace

/// Messages between peers, and the values that stand in log rows.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::text_of(data, size);
  check(bytes, [](std::string_view b) { return raft::decode_message(b); });
  check(bytes, [](std::string_view b) { return raft::decode_entry(b); });
  check(bytes, [](std::string_view b) { return raft::decode_hard_state(b); });
  check(bytes, [](std::string_view b) { return raft::decode_conf_state(b); });
  check(bytes, [](std::string_view b) { return raft::decode_snapshot_meta(b); });
  check(bytes, [](std::string_view b) { return raft::decode_conf_change(b); });
  return 0;
}
