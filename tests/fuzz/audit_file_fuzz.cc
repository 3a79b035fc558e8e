#include <algorithm>
#include <string>

#include "agent/cli/audit_file.h"
#include "tests/fuzz/fuzz.h"

/// An export of the audit that somebody hands over: any lines.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  agent::cli::AuditFile file;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    file.take(std::string(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  file.finish();
  fuzz::require(file.entries() != 0 || !file.faults().empty(), "a file without entries is not called good");
  fuzz::require(file.faults().size() <= agent::cli::AuditFile::kFaultsMax, "bounded");
  return 0;
}
