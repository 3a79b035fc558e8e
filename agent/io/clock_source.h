#pragma once
/// What the kernel counts time with, for one question: does it stand still while a hypervisor stops this machine?
#include <optional>
#include <string>
#include <string_view>

namespace agent::io {

/// @param source  text of current_clocksource, with or without its line end
/// @return true for kvm-clock: QEMU saves and restores it, so that a paused or restored guest counts on as if nothing had been. With any
///         other source a short pause is counted; what a snapshot or a migration restores is not in any case.
[[nodiscard]] bool stops_with_machine(std::string_view source);

/// The one in use, e.g. "tsc"; nullopt where the kernel does not say.
[[nodiscard]] std::optional<std::string> clock_source();

}  // namespace agent::io
