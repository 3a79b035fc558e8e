#pragma once
/// The gzip streams that one worker lends to its responses, bounded and used again.

#include <cstddef>
#include <memory>
#include <vector>

#include "agent/io/gzip.h"
#include "proxy/compress.h"

namespace agent::drivers {

/// Bound: `lent_max` at a time, 270 KiB each; idle ones are kept, at most kIdleMax of each level.
/// Thread: its worker's.
class Packers {
 public:
  static constexpr std::size_t kIdleMax = 8;
  explicit Packers(std::size_t lent_max) : lent_max_(lent_max) {}
  /// Null: all are lent, or no memory.
  [[nodiscard]] std::unique_ptr<proxy::Packer> lend(int level);
  void take(std::unique_ptr<proxy::Packer> packer);
  [[nodiscard]] std::size_t lent() const { return lent_; }

 private:
  class Gzip;
  std::size_t lent_max_, lent_ = 0;
  std::vector<std::unique_ptr<proxy::Packer>> idle_[10];  // by level
};

}  // namespace agent::drivers
