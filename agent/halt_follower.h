#pragma once
/// Hears of halts in a process that has handed its sockets over and still has clients: it has no mesh and no log any more, but the
/// process that took over keeps what stands in the file of the data directory, and changes that before it answers anybody.
/// Source:    decisions 0052 and 0076.
/// Ownership: of the agent; the loop and what its parts call outlive it. Thread: the control loop.
/// Bound:     one read of the file (kHaltFileBytesMax at most) every kLookEvery.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "agent/config_idempotency.h"
#include "agent/halt_keeper.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "proxy/halt.h"

namespace agent {

struct HaltFollowerParts {
  std::string path;  ///< of the file
  HaltConfig settings;
  std::function<void(std::shared_ptr<const proxy::HaltView>)> publish;
  std::function<void(std::string_view event, const std::string& detail)> log;
};

class HaltFollower {
 public:
  static constexpr io::Milliseconds kLookEvery{250};

  /// @param known  what the workers know by now. Looks at once.
  HaltFollower(io::Loop& loop, HaltFollowerParts parts, store::kv::HaltSet known);
  [[nodiscard]] const store::kv::HaltSet& known() const { return known_; }

 private:
  /// A file that cannot be read, or is not as it was written, changes nothing: what stands goes on standing, and it is read again.
  /// Nor does one that never had a halt of ours: only what the file has seen and does not hold any more was lifted by its successor.
  void look();

  HaltFollowerParts parts_;
  store::kv::HaltSet known_;
  std::string bytes_;     ///< as read last
  bool readable_ = true;
  io::Timer timer_;
};

}  // namespace agent
