#include <algorithm>
#include <string>

#include "store/row_stream.h"
#include "tests/fuzz/fuzz.h"

/// The stream of a whole state, as it comes in snapshots: read whole and in two pieces, the answer is the same; what is
/// accepted can be written again, byte for byte.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string bytes(fuzz::text_of(data + 1, size - 1));
  store::RowStreamReader whole, pieces;
  const auto all = whole.feed(bytes);
  const std::size_t cut = std::min<std::size_t>(data[0], bytes.size());
  auto first = pieces.feed(std::string_view(bytes).substr(0, cut));
  const auto second = pieces.feed(std::string_view(bytes).substr(cut));
  fuzz::require((first && second) == all.has_value(), "pieces are judged as the whole is");
  fuzz::require(whole.finished() == pieces.finished(), "and end where it ends");
  if (!all || !whole.finished()) return 0;
  first->insert(first->end(), second->begin(), second->end());
  fuzz::require(*first == *all, "the same rows");
  store::RowStreamWriter writer(*whole.head());
  for (const auto& record : *all) writer.add(record);
  writer.finish();
  store::RowStreamReader again;
  const auto rows = again.feed(writer.take(SIZE_MAX));
  fuzz::require(rows && *rows == *all && again.finished(), "what was read can be written and read again");
  return 0;
}
