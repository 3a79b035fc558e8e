#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "tests/sim/egress.h"
#include "tests/sim/machine.h"
#include "tests/support/random.h"

namespace sim {

/// What the trader answers to an order that its agent gave it.
enum class TraderWord : std::uint8_t {
  kPlaced,   ///< with the exchange's answer
  kRefused,  ///< it says that it has not placed it, and will not
  kSilent,   ///< the connection broke
};

/// The trading process beside an agent: it takes orders from its agent, sends each to the exchange through the agent's egress, and
/// has some ideas of its own. It says under which epoch it was given an order, or decided on it, and lets go of an order that has lain for
/// kLetsGo. While it hangs nothing of it runs, and it then goes on with all that it had in memory; the agent's SIGSTOP stops it as
/// well every other time. It knows nothing of leases.
/// Ownership: of one machine, for all lives of both processes. Bound: one order of every client's call, kOwnMax own ones.
class Trader {
 public:
  static constexpr Nanos kLetsGo = 500 * kMillisecond;
  static constexpr std::uint64_t kOwnMax = 400;
  using Answer = std::function<void(TraderWord word, const std::string& answer)>;

  Trader(Machine* machine, std::uint64_t seed) : machine_(machine), seed_(seed), random_(seed, 0x747261646572 + static_cast<std::uint64_t>(machine->index())) {}

  void start();
  void stop() { ends_ = true; }  ///< no more ideas of its own
  /// The egress of the agent beside it; null: there is none.
  void use(Egress* egress) { egress_ = egress; }
  /// Its role as its agent tells it; it learns of that a while later. @param epoch  0 = not primary
  void tell_role(std::uint64_t epoch);
  /// From its agent, on a connection of theirs. @return false: nobody listens. `answer` runs once, from the scheduler, in no process.
  [[nodiscard]] bool give(const std::string& key, std::uint64_t epoch, Answer answer);

 private:
  struct Work {
    std::function<void()> run, broken;
  };
  [[nodiscard]] bool runs();
  void pulse();
  void soon(Nanos delay, std::function<void()> task, std::function<void()> broken = [] {});
  void place(const std::string& key, std::uint64_t epoch, Nanos came, const Answer& answer);
  void idea();

  Machine* machine_;
  std::uint64_t seed_;
  support::Random random_;
  Egress* egress_ = nullptr;
  std::deque<Work> waiting_;  // while it hangs
  std::uint64_t life_ = 1, deaths_ = 0, boots_ = 0, frozen_ = 0;  // frozen_: number of the stop that it shares
  bool shares_stop_ = false;
  std::uint64_t believes_ = 0, told_ = 0;  // epochs
  std::uint64_t own_ = 0;
  bool ends_ = false;
};

}  // namespace sim
