#include <string>

#include "agent/sticky_keeper.h"
#include "tests/fuzz/fuzz.h"

/// What sessions are told apart by: Set-Cookie lines of instances, addresses, keys of rows that anybody may have written.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto value = proxy::cookie_set(text, "sid")) {
    fuzz::require(!value->empty() && value->find(';') == std::string_view::npos, "a value is one");
    fuzz::require(value->data() >= text.data() && value->data() + value->size() <= text.data() + text.size(), "and a part of the line");
  }
  std::string scratch;
  static_cast<void>(proxy::session_hash("web", proxy::session_address(text, scratch)));
  if (const auto key = agent::StickyKey::parse(text)) fuzz::require(key->text() == text, "no two keys are the row of one session");
  return 0;
}
