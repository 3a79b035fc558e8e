#pragma once
/// The records of the last requests of one worker, with their trails, found again by request id.
/// Bound:     `bytes`, given at construction; the oldest make room.
/// Invariant: nothing is allocated after the construction but what the longest record needs once.
/// Thread:    its worker's.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/request_record.h"

namespace agent::drivers {

class RecentRequests {
 public:
  /// @param bytes  0 = nothing is kept
  RecentRequests(std::size_t bytes, const RecordRules& rules);
  void add(const proxy::AccessRecord& record);
  /// The newest request of that id, as append_record wrote it.
  [[nodiscard]] std::optional<std::string> find(std::string_view request_id) const;
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  void drop_oldest();
  [[nodiscard]] std::uint32_t size_at(std::size_t at) const;

  RecordRules rules_;
  std::vector<char> memory_;
  std::size_t begin_ = 0, used_ = 0;  // the records lie in memory_[begin_ ...], around the end
  std::size_t count_ = 0;
  std::string scratch_;
};

}  // namespace agent::drivers
