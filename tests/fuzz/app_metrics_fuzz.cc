#include "agent/drivers/app_metrics.h"
#include "tests/fuzz/fuzz.h"

/// What an instance tells as its metrics: whatever it is, what goes on to a scraper is well formed and carries the node.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent::drivers;
  const std::string_view input = fuzz::text_of(data, size);
  const AppMetricsText first = labelled_metrics(input, "n");
  fuzz::require(first.text.empty() || first.text.back() == '\n', "whole lines");
  std::string_view text = first.text;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() + 1);
    fuzz::require(line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.find("{node=\"n\"") != std::string_view::npos, "every series has the label");
    fuzz::require(!line.starts_with("outrigger_"), "no name of ours");
  }
  if (first.text.find("exported_node") != std::string::npos) return 0;
  const AppMetricsText again = labelled_metrics(first.text, "m");
  fuzz::require(again.dropped == 0, "what was written can be read");
  return 0;
}
