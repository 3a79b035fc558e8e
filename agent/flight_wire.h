#pragma once
/// Bytes of events that one agent tells another about itself. Pure functions over bytes from anyone.
///
/// A frame of the mesh: 'F' (no frame of the store or of limits begins so) · version u8 (1) · count u16, then so many events, and
/// nothing behind them. An event: life u64 · seq u64 · wall ms u64 · count u32 · epoch u64 · what, about and text, each as a
/// length u8 and its bytes. Numbers are big-endian. The node is not on the wire: the mesh knows who speaks.
/// Source: layout of our own; what the fields mean is in flight.h.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/flight.h"

namespace agent {

inline constexpr char kFlightFrame = 'F';
inline constexpr std::uint8_t kFlightVersion = 1;
inline constexpr std::size_t kFlightItemsMax = 64;  ///< in one frame: 26 KiB

[[nodiscard]] bool is_flight_frame(std::string_view frame);
/// @param events  1 .. kFlightItemsMax
[[nodiscard]] std::string encode_flight(std::span<const FlightEvent> events);
/// @param node  who said it; stands in every event
/// @return nullopt: too short, too long, another version, no events, a text beyond the bounds of FlightRecorder
[[nodiscard]] std::optional<std::vector<FlightEvent>> decode_flight(std::string_view frame, const std::string& node);

}  // namespace agent
