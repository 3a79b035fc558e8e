#include "agent/config.h"
#include "tests/fuzz/fuzz.h"

/// Any text is either a checked config or a bounded list of problems, each with a place or a reason.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  const auto parsed = agent::parse_config(text, text.starts_with('{') ? "fuzz.json" : "fuzz");  // TOML, or Consul's JSON
  if (!parsed) {
    fuzz::require(!parsed.error().empty() && parsed.error().size() <= 100, "1 to 100 problems");
    for (const auto& problem : parsed.error()) fuzz::require(!problem.message.empty(), "a problem has a message");
    return 0;
  }
  fuzz::require(parsed->raft.election_min < parsed->raft.election_max, "checked: elections");
  fuzz::require(!parsed->service || parsed->service->margin <= parsed->service->lease, "checked: margin");
  fuzz::require(!parsed->service || !parsed->service->address.text().empty(), "checked: address");
  fuzz::require(parsed->api.insecure || parsed->api.listen.is_local(), "checked: nobody else reaches the API");
  return 0;
}
