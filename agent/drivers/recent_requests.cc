#include "agent/drivers/recent_requests.h"

#include <cstring>

namespace agent::drivers {
namespace {

constexpr std::size_t kHead = sizeof(std::uint32_t);
constexpr std::uint32_t kSkip = UINT32_MAX;  // nothing more up to the end of the memory

std::size_t rounded(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }

}  // namespace

RecentRequests::RecentRequests(std::size_t bytes, const RecordRules& rules) : rules_(rules), memory_(rounded(bytes)) { rules_.trail = true; }

std::uint32_t RecentRequests::size_at(std::size_t at) const {
  std::uint32_t size = 0;
  std::memcpy(&size, memory_.data() + at, sizeof size);
  return size;
}

void RecentRequests::drop_oldest() {
  const std::uint32_t size = size_at(begin_);
  const std::size_t taken = size == kSkip ? memory_.size() - begin_ : rounded(kHead + size);
  if (size != kSkip) --count_;
  used_ -= taken;
  begin_ = (begin_ + taken) % memory_.size();
}

void RecentRequests::add(const proxy::AccessRecord& record) {
  if (memory_.empty()) return;
  scratch_.clear();
  append_record(scratch_, record, rules_);
  const std::size_t need = rounded(kHead + scratch_.size());
  if (need > memory_.size() / 2) return;
  std::size_t at = (begin_ + used_) % memory_.size();
  if (const std::size_t to_end = memory_.size() - at; need > to_end) {
    while (memory_.size() - used_ < to_end) drop_oldest();
    std::memcpy(memory_.data() + at, &kSkip, sizeof kSkip);
    used_ += to_end;
    at = 0;
  }
  while (memory_.size() - used_ < need) drop_oldest();
  const auto size = static_cast<std::uint32_t>(scratch_.size());
  std::memcpy(memory_.data() + at, &size, sizeof size);
  std::memcpy(memory_.data() + at + kHead, scratch_.data(), scratch_.size());
  used_ += need;
  ++count_;
}

std::optional<std::string> RecentRequests::find(std::string_view request_id) const {
  std::optional<std::string> found;
  for (std::size_t at = begin_, left = used_; left > 0;) {
    const std::uint32_t size = size_at(at);
    const std::size_t taken = size == kSkip ? memory_.size() - at : rounded(kHead + size);
    if (size != kSkip) {
      const std::string_view bytes(memory_.data() + at + kHead, size);
      std::uint64_t target_bytes = 0;
      if (read_record(bytes, target_bytes).request_id == request_id) found = std::string(bytes);
    }
    left -= taken;
    at = (at + taken) % memory_.size();
  }
  return found;
}

}  // namespace agent::drivers
