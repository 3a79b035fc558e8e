#include "proxy/span.h"

#include <cstring>

namespace proxy {
namespace {

constexpr std::string_view ChildSpan::* kTexts[] = {&ChildSpan::address, &ChildSpan::node, &ChildSpan::failure, &ChildSpan::state};

}  // namespace

void ChildSpans::add(const ChildSpan& span) {
  if (count_ == kCountMax) {
    ++left_out_;
    return;
  }
  ++count_;
  ChildSpan packed = span;  // its views keep their lengths; where they point to means nothing to the reader
  for (const auto text : kTexts) packed.*text = (packed.*text).substr(0, kTextMax);
  bytes_.append(reinterpret_cast<const char*>(&packed), sizeof packed);
  for (const auto text : kTexts) bytes_ += packed.*text;
}

std::vector<ChildSpan> read_child_spans(std::string_view bytes) {
  static_assert(std::is_trivially_copyable_v<ChildSpan>);
  std::vector<ChildSpan> spans;
  while (bytes.size() >= sizeof(ChildSpan)) {
    ChildSpan span;
    std::memcpy(&span, bytes.data(), sizeof span);
    bytes.remove_prefix(sizeof span);
    for (const auto text : kTexts) {
      std::string_view& view = span.*text;
      view = bytes.substr(0, view.size());
      bytes.remove_prefix(view.size());
    }
    spans.push_back(span);
  }
  return spans;
}

}  // namespace proxy
