#pragma once
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "agent/config.h"
#include "agent/config_document.h"
#include "agent/config_tls.h"

/// [[egress]] and [kernel_permit] read and checked. Private to the settings (config.cc calls it), but for the two parsers.
namespace agent {

/// Reads every [[egress]] of `root` into config.egress, then [kernel_permit]. config.service, config.listeners and config.api have been read.
void config_read_egress(ConfigReader& root, const TlsReading& reading, Config& config);

/// One line of `inject`: "Name: kv:KEY", "Name: Bearer file:/path".
struct InjectPlace {
  std::string field;   ///< name of the field
  std::string prefix;  ///< stands before the value, "Bearer "
  bool from_file = false;
  std::string place;   ///< key or absolute path
};
[[nodiscard]] std::optional<InjectPlace> config_inject(std::string_view line);
/// "api.broker:443", "[::1]:443", "127.0.0.1:9000": name or literal and port. nullopt when it is neither.
[[nodiscard]] std::optional<std::pair<std::string, std::uint16_t>> config_target(std::string_view text);

}  // namespace agent
