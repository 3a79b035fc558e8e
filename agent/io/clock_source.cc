#include "agent/io/clock_source.h"

#include "agent/io/file.h"

namespace agent::io {
namespace {

constexpr const char* kFile = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
constexpr std::size_t kPageBytes = 4096;  // of sysfs

std::string_view trimmed(std::string_view text) { return text.substr(0, text.find_first_of(" \t\r\n")); }

}  // namespace

bool stops_with_machine(std::string_view source) { return trimmed(source) == "kvm-clock"; }

std::optional<std::string> clock_source() {
  const auto text = read_file(kFile, kPageBytes);
  if (!text || trimmed(*text).empty()) return std::nullopt;
  return std::string(trimmed(*text));
}

}  // namespace agent::io
