#pragma once
/// Host names of static upstreams, looked up at the start, again every `resolve`, and soon again while one fails. What is
/// handed on are the same settings with an endpoint for each address, so nobody behind this knows of names.
///
/// A name that cannot be looked up keeps the addresses that it had; one that never could has none yet. Addresses come in order
/// of their text, so that the order in which a name server lists them changes nothing.
/// Bounds: kAddressesMax addresses of a name (the first in that order); one look-up at a time for each name.
/// Ownership: of the agent. Thread: the control loop; look-ups run in the thread pool.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/io/address.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/resolver.h"
#include "agent/io/timer.h"

namespace agent {

class UpstreamNames {
 public:
  static constexpr std::size_t kAddressesMax = 16;
  static constexpr io::Milliseconds kAgain{1000};  ///< after a failed look-up, doubled up to `resolve`

  struct Parts {
    std::function<void()> on_change;  ///< places() is another; must not destroy this
    std::function<void(const std::string& note)> warn;
  };
  UpstreamNames(io::Loop& loop, Parts parts);

  /// Replaces the set. Names that were there go on with what is known of them.
  void set(const std::vector<UpstreamConfig>& upstreams);
  /// `upstreams` with addresses in the places of names.
  [[nodiscard]] std::vector<UpstreamConfig> places(const std::vector<UpstreamConfig>& upstreams) const;

  /// What a look-up has brought, in the order in which it is used. Pure, for tests.
  [[nodiscard]] static std::vector<std::string> ordered(const std::vector<io::Address>& found);

 private:
  struct Name {
    std::vector<std::string> hosts;  ///< IP literals; empty = never resolved
    io::Milliseconds every{0};       ///< the shortest of those who ask for it
    io::Milliseconds pause{0};       ///< until the next try after a failure; 0 = the last one was good
    io::TimePoint due{};
    std::string fault;               ///< told already
    std::unique_ptr<io::Resolution> running;
  };
  void look_up();
  void on_answer(const std::string& name, const io::Result<std::vector<io::Address>>& answer);
  void arm();

  io::Loop& loop_;
  Parts parts_;
  std::map<std::string, Name> names_;  // bounded by the settings
  io::Timer timer_;
};

}  // namespace agent
