#include "agent/halt_keeper.h"
#include "tests/fuzz/fuzz.h"

namespace kv = store::kv;

/// What another agent says of halts, and what a disk may hold: read, taken in, written again; two agents that hear the same agree.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::text_of(data, size);
  if (const auto file = agent::decode_halt_file(bytes)) {
    const auto again = agent::decode_halt_file(agent::encode(*file));
    fuzz::require(again && again->replica == file->replica && again->set == file->set, "a file survives being written");
  }
  agent::HaltKeeper::TimePoint now{std::chrono::hours(1)};
  const auto chance = [](std::uint64_t bound) { return bound / 2; };
  agent::HaltKeeper one({1, {}}, chance), two({2, {}}, chance);
  kv::Halt halt;
  halt.reason = halt.who = "x";
  fuzz::require(one.halt(halt, now).has_value(), "a halt is taken");
  one.on_connected(store::NodeId{2});
  two.on_connected(store::NodeId{1});
  one.on_frame(store::NodeId{9}, bytes, now);
  two.on_frame(store::NodeId{9}, bytes, now);
  fuzz::require(one.set().sound() && two.set().sound(), "a set stays one");
  for (int round = 0; round < 8; ++round) {
    now += agent::HaltKeeper::kCompareEvery;
    one.tick(now);
    two.tick(now);
    for (const auto& [to, frame] : one.take_output().frames) {
      if (to == store::NodeId{2}) two.on_frame(store::NodeId{1}, frame, now);
    }
    for (const auto& [to, frame] : two.take_output().frames) {
      if (to == store::NodeId{1}) one.on_frame(store::NodeId{2}, frame, now);
    }
  }
  fuzz::require(one.counters().refused + two.counters().refused > 0 || one.set().halts() == two.set().halts(), "who talks agrees");
  return 0;
}
