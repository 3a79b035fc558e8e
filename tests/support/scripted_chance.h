#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <vector>

namespace support {

/// Chance with answers written down beforehand: a test says what the dice show.
/// Every answer is taken modulo the bound that the core asked for, so it is always a legal one.
/// Ownership: must outlive the functions that chance() gave out.
class ScriptedChance {
 public:
  /// @param script     answers, first to last
  /// @param afterwards the answer once the script has run out
  ScriptedChance(std::initializer_list<std::uint64_t> script, std::uint64_t afterwards = 0)
      : script_(script), afterwards_(afterwards) {}

  /// Adds one more answer at the end of the script.
  void push(std::uint64_t answer) { script_.push_back(answer); }

  /// The function that cores take at construction.
  std::function<std::uint64_t(std::uint64_t)> chance() {
    return [this](std::uint64_t bound) { return answer(bound); };
  }

  [[nodiscard]] const std::vector<std::uint64_t>& bounds_asked() const { return asked_; }  ///< oldest first
  [[nodiscard]] std::size_t left() const { return script_.size(); }  ///< answers not given yet

 private:
  std::uint64_t answer(std::uint64_t bound) {
    asked_.push_back(bound);
    std::uint64_t value = afterwards_;
    if (!script_.empty()) {
      value = script_.front();
      script_.pop_front();
    }
    return bound == 0 ? 0 : value % bound;
  }

  std::deque<std::uint64_t> script_;
  std::uint64_t afterwards_;
  std::vector<std::uint64_t> asked_;
};

}  // namespace support
