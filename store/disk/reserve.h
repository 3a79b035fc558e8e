#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "store/disk/log_store.h"

/// Room set aside on the node's file system, so that a disk filled up by others (or by us) is noticed while there is
/// still room to act: a file of half the reserve that is given up when it is needed, and marks below which less and
/// less is written.
/// Marks:     below `reserve` bytes free: kLow. Below a quarter of it the file is given up; if that does not help: kFull.
/// Invariant: the way back takes an eighth more than the way down, so that the answer does not flap.
/// Thread:    one, the storage thread.
namespace store::disk {

class Reserve {
 public:
  /// Bytes that this user may still write on the file system; nullopt = cannot be told.
  using Free = std::function<std::optional<std::uint64_t>()>;

  /// @param file   made and removed as room allows; any content  @param bytes  the whole reserve; 0 = always kPlenty
  /// @param free   default: asks the file system that `file` is on
  Reserve(std::filesystem::path file, std::uint64_t bytes, Free free = {});
  /// Looks and acts. One system call while nothing changes.
  Space look();
  [[nodiscard]] bool holds_file() const { return held_; }

 private:
  [[nodiscard]] Space judge(std::uint64_t free) const;
  bool take_file();
  void give_up_file();

  std::filesystem::path file_;
  std::uint64_t bytes_;
  Free free_;
  bool held_ = false;
  Space space_ = Space::kPlenty;
};

}  // namespace store::disk
