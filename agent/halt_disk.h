#pragma once
/// Brings what stands to the file of halts, on a thread of its own: a disk that hangs holds up neither the halt nor anything else.
/// Source:    decision 0090.
/// Invariant: one write is under way at a time, and the newest state follows it, so an older one never comes over a newer one.
/// Bound:     one state under way, one behind it; kWaitsMax answers that wait.
/// Ownership: of HaltDriver; the loop outlives it. Thread: the control loop, but for Write.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/halt_keeper.h"
#include "agent/io/error.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/thread.h"
#include "agent/io/timer.h"

namespace agent {

struct HaltDiskParts {
  std::string path;
  /// Replaces the file, whole and synced. Thread: the disk's own; in the destructor and at the start the loop's.
  std::function<io::Result<void>(const std::string& path, std::string_view bytes)> write;
  io::Milliseconds late{2000};  ///< how long a write may take before it is told, and whoever waits for it is answered
  std::function<void(std::string_view event, const std::string& detail)> log;
};

class HaltDisk {
 public:
  static constexpr std::size_t kWaitsMax = 1024;
  static constexpr io::Milliseconds kAgain{1000};  ///< a file that could not be written

  /// @param held  what the file has
  HaltDisk(io::Loop& loop, HaltDiskParts parts, store::kv::HaltSet held);
  /// Waits for the write under way, and writes what is behind it.
  ~HaltDisk();
  HaltDisk(const HaltDisk&) = delete;
  HaltDisk& operator=(const HaltDisk&) = delete;

  enum class State : std::uint8_t {
    kKept,     ///< the file has all that was ever given to keep()
    kWriting,  ///< nobody knows yet
    kLate,     ///< the same, for longer than it may take
    kFailed,   ///< it could not be written; tried again every kAgain
  };
  [[nodiscard]] State state() const;
  /// The file has this halt, as it is.
  [[nodiscard]] bool holds(const store::kv::Halt& halt) const;

  void keep(const HaltFile& file);
  /// Tries again now, if the last write failed.
  void again();
  /// Runs `told` once it is known of all that stands now whether the file has it, or when that takes too long; never inside this
  /// call. Beyond kWaitsMax it is the oldest that is told early.
  void when_told(std::function<void()> told);

  [[nodiscard]] std::uint64_t failures() const { return failures_; }  ///< writes that failed or were late

 private:
  struct Wait {
    std::uint64_t version;
    io::TimePoint until;
    std::function<void()> told;
  };
  void write();
  void on_written(const io::Result<void>& written);
  void failed(const std::string& why);
  void tick();
  void arm();
  void answer(io::TimePoint now);

  HaltDiskParts parts_;
  HaltFile newest_;
  store::kv::HaltSet held_;      // what the file has
  store::kv::HaltSet writing_;   // what it will have when the write under way is done
  std::uint64_t version_ = 0, writing_version_ = 0, held_version_ = 0, told_version_ = 0;
  std::optional<io::TimePoint> began_;  // the write under way
  bool failing_ = false;  // the last write failed, or the one under way is late
  std::optional<io::TimePoint> again_at_;
  std::uint64_t failures_ = 0;
  std::vector<Wait> waits_;
  io::Timer timer_;
  io::Mailbox<io::Result<void>> written_;
  std::unique_ptr<io::Thread> thread_;  // from the first write on; last: joined before anything above goes
};

}  // namespace agent
