#include "store/kv/command.h"
#include "store/kv/state_machine.h"
#include "tests/fuzz/fuzz.h"

namespace kv = store::kv;

/// The input is a log: commands behind two-byte lengths. Two replicas apply it and must agree; a third one is loaded
/// from the records of the first and must agree too.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto rest = fuzz::text_of(data, size);
  kv::StateMachine one, two;
  std::uint64_t index = 0;
  while (rest.size() >= 2 && index < 256) {
    const auto high = static_cast<unsigned char>(rest[0]), low = static_cast<unsigned char>(rest[1]);
    const auto length = std::min<std::size_t>(high * 256U + low, rest.size() - 2);
    const auto bytes = rest.substr(2, length);
    rest.remove_prefix(2 + length);
    if (const auto command = kv::decode_command(bytes)) {
      const auto again = kv::decode_command(kv::encode(*command));
      fuzz::require(again.has_value() && kv::encode(*again) == kv::encode(*command), "a command has one form");
    }
    const auto first = one.apply(kv::Index{++index}, bytes), second = two.apply(kv::Index{index}, bytes);
    fuzz::require(first.has_value() == second.has_value(), "replicas agree on what can be applied");
    if (first) fuzz::require(first->outcome == second->outcome && first->epoch == second->epoch, "and on its outcome");
    if (!first) --index;
  }
  fuzz::require(one.content_hash() == two.content_hash(), "replicas agree on the state");
  kv::StateMachine three;
  fuzz::require(three.load(one.applied(), one.records()).has_value(), "a state can be loaded from its own records");
  fuzz::require(three.content_hash() == one.content_hash(), "and is the same afterwards");
  return 0;
}
