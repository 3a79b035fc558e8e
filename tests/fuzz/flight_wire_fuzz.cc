#include <string_view>

#include "agent/flight_wire.h"
#include "tests/fuzz/fuzz.h"

/// Frames of other agents about what happened there: read, written again, kept.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent;
  const std::string_view frame(reinterpret_cast<const char*>(data), size);
  const auto events = decode_flight(frame, "n2");
  if (!events) return 0;
  fuzz::require(is_flight_frame(frame), "what can be read is told apart from other frames");
  fuzz::require(encode_flight(*events) == frame, "there is one way to write an event");
  FlightRecorder recorder("n1", 1);
  for (const FlightEvent& event : *events) static_cast<void>(recorder.hear(1'000'000, event));
  const auto before = recorder.merged();
  const FlightEvent& own = recorder.note(1'000'000, "noted", 0, {}, {});
  for (const FlightEvent& event : before) fuzz::require(event.at < own.at, "what is noted now is later than what was heard");
  fuzz::require(before.size() <= FlightRecorder::kEventsMax, "the record is bounded");
  return 0;
}
