#include <string_view>

#include "agent/guard_words.h"
#include "tests/fuzz/fuzz.h"

/// Frames of other agents about bans, and addresses of clients: read, put into a table, written again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const proxy::GuardKey key = proxy::guard_key(bytes);
  if (key != proxy::GuardKey::kNone) fuzz::require(proxy::guard_key(proxy::text_of(key)) == key, "a key is read back from its text");
  const auto words = decode_guard(bytes);
  if (!words) return 0;
  fuzz::require(is_guard_frame(bytes), "what can be read is told apart");
  fuzz::require(encode_guard(*words) == bytes, "a frame has one spelling");
  static proxy::GuardTable table({}, 12345);
  const proxy::TimePoint now{std::chrono::hours(1)};
  for (const GuardWord& word : *words) {
    if (word.kind == GuardWordKind::kUnban) static_cast<void>(table.unban(word.key, now));
    else static_cast<void>(table.ban(word.key, now + word.left, proxy::GuardTable::By::kPeer, now));
  }
  fuzz::require(table.bans_at(now).size() <= proxy::GuardTable::kSlots, "bounded");
  return 0;
}
