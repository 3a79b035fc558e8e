#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "agent/permit.h"
#include "proxy/egress.h"
#include "proxy/upstream.h"
#include "tests/sim/exchange.h"
#include "tests/sim/halts.h"
#include "tests/sim/machine.h"

namespace sim {

/// How a request of the trader to its egress ended, as far as it hears of it.
enum class EgressEnd : std::uint8_t {
  kAnswered,
  kRefused,  ///< by us, and not a byte of it has left
  kBroken,   ///< bytes have left, and no answer came
};

/// The egress of one life of an agent's process: what proxy/exchange_egress.cc and proxy/core.cc do, with the product's own
/// proxy::egress_permit() before every write. A worker's copy of the role comes a moment after the control loop's, the lease itself
/// is shared. Connections belong to an epoch and are used again within it; when the permit is gone all of them are reset first.
/// Ownership: lives with one life of the process; everything here runs inside of it. Bound: what the trader asks at once.
class Egress {
 public:
  static constexpr Nanos kTotal = 1 * kSecond;  ///< for a request (timeouts.total of the route)
  using Done = std::function<void(EgressEnd end, const std::string& answer)>;
  Egress(Machine* machine, Lines* lines, Halts* halts, std::uint64_t seed)
      : machine_(machine), lines_(lines), halts_(halts), random_(seed, 0x6567726573 + machine->life() * 64 + static_cast<std::uint64_t>(machine->index())) {}
  ~Egress();
  Egress(const Egress&) = delete;
  Egress& operator=(const Egress&) = delete;

  /// The role as the workers see it from now on.
  void see(const proxy::PrimaryView& view);
  /// The halts as the workers see them from now on.
  void see(const Halts::View& halts);
  /// A request of the trader. @param decided  as its X-Outrigger-Epoch says. `done` runs once, if this life goes on
  void take(const std::string& key, std::uint64_t decided, Done done);
  [[nodiscard]] const proxy::PrimaryView& view() const { return view_; }

 private:
  struct Request {
    Parcel parcel;
    Done done;
    bool began = false;  // bytes have left
    int pieces = 1;      // still to be written
    std::uint64_t number = 0;
  };
  struct Connection {
    LineId line{};
    proxy::Epoch epoch{};  // 0 = it is about to be opened
    std::optional<Request> request;  // none = idle
  };
  using Connections = std::list<Connection>;

  [[nodiscard]] bool is_halted(const std::string& key) const;
  [[nodiscard]] proxy::EgressVerdict permit(proxy::Epoch connection, std::uint64_t decided) const;
  void open(Request request);
  void connected(Connection& at);
  void write(Connection& at);
  void replied(Connection& at, const std::string& answer);
  void broken(LineId line);
  void late(std::uint64_t number);
  void cut();
  void watch_lease();
  /// Runs `what` inside this life of the process with the connection of `line`, if that is still there.
  void with(LineId line, std::function<void(Connection&)> what);

  Machine* machine_;
  Lines* lines_;
  Halts* halts_;
  support::Random random_;
  proxy::PrimaryView view_;
  Halts::View halted_;
  Connections connections_;
  std::uint64_t requests_ = 0;
};

/// Keeps the kernel's permit, as agent/kernel_permit.cc does, with the product's own agent::Permit. The program that it runs
/// takes a while, fails now and then before or behind its commit, and outlives the agent.
/// Ownership: as Egress.
class KernelDoor {
 public:
  KernelDoor(Machine* machine, Lines* lines, std::uint64_t seed);
  void follow(const proxy::PrimaryView& view);
  void shut(std::function<void()> done);

 private:
  [[nodiscard]] std::optional<agent::HeldLease> held() const;
  void look();
  void run(const agent::PermitRun& run);
  void ended(bool ok, bool stopped);

  Machine* machine_;
  Lines* lines_;
  support::Random random_;
  agent::Permit core_;
  proxy::PrimaryView view_;
  struct Program {
    bool killed = false, committed = false;
  };
  std::uint64_t running_ = 0;         // number of the run; 0 = none
  std::shared_ptr<Program> program_;  // of the run
  std::uint64_t runs_ = 0, looks_ = 0;
  std::function<void()> on_shut_;
};

}  // namespace sim
