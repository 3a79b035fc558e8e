#pragma once
/// Keeps the kernel's permit for brokers alive while this agent holds the role: runs a program with the moment at which the lease
/// ends. A process that hangs renews nothing, and the kernel shuts the door by itself. What to run and when is decided by Permit.
///
/// The program is run as `... renew UNTIL_MS EPOCH LEFT_MS` (CLOCK_BOOTTIME in milliseconds, and how long that is from now) at every third
/// of what the lease has left, and as `... revoke 0 EPOCH 0` when the role is gone and once after the start; one at a time. It must not let
/// anything pass after UNTIL_MS, and nothing of an older epoch ever (rule R4: old connections are reset before a new permit). It may be killed
/// at any moment. deploy/kernel-permit does so with nftables.
/// Ownership: of the agent. Thread: the control loop.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/config.h"
#include "agent/io/loop.h"
#include "agent/io/process.h"
#include "agent/io/timer.h"
#include "agent/permit.h"
#include "proxy/upstream.h"

namespace agent {

class KernelPermit {
 public:
  using Log = std::function<void(std::string_view what, const std::string& detail, bool bad)>;
  /// @param lease  of the service: an earlier process may have let pass for so long
  KernelPermit(io::Loop& loop, KernelPermitConfig config, Milliseconds lease, Log log);
  /// Who is primary, as the workers are told.
  void follow(const proxy::PrimaryView& view);
  /// The lease is to be given up, the gate is closed: calls `done` once nothing passes here any more, inside this call if that is so already.
  /// The door opens again under a new lease alone, and a `done` that still waits then, or at the next shut(), is forgotten: the lease it
  /// waited for is over.
  void shut(std::function<void()> done);

  struct State {
    bool granted = false;          ///< the last renewal said that the kernel lets pass, and its end has not come
    std::uint64_t renewed = 0, failed = 0;
    std::string fault;             ///< of the last run, if that failed
  };
  [[nodiscard]] State state() const;

 private:
  [[nodiscard]] std::optional<HeldLease> held(TimePoint now) const;
  void look();
  void run(const PermitRun& run);
  void ended(PermitRun::Kind kind, const io::ProcessExit& exit);
  void failed(const std::string& fault);

  io::Loop& loop_;
  KernelPermitConfig config_;
  Log log_;
  Permit core_;
  proxy::PrimaryView view_;
  State state_;
  bool told_fault_ = false;
  bool stopping_ = false;  ///< the running program was ended by us
  std::function<void()> on_shut_;
  io::Timer timer_;
  std::unique_ptr<io::Process> process_;
};

}  // namespace agent
