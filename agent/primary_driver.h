#pragma once
/// Drives the Primary core: its requests go to the store, its gate to the proxy workers, its role to hooks, role
/// file, API and gossip.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/drivers/check_driver.h"
#include "agent/drivers/hook_driver.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "agent/primary.h"
#include "proxy/upstream.h"
#include "store/store.h"

namespace agent {

struct PrimaryDriverSettings {
  PrimaryConfig core;
  std::string service;    ///< name of the lease
  std::string self_name;  ///< written beside it, for people
  Milliseconds margin{500};
  std::string role_file;  ///< path; empty = none
  std::optional<drivers::HookTarget> promote, demote;
  Milliseconds hook_timeout{2000};
};

/// What the rest of the agent shows and obeys.
struct RoleState {
  Role role = Role::kStandby;
  bool serving = false;
  Epoch epoch{};            ///< ours while primary, else that of the record
  HolderId holder{};        ///< as the record has it
  std::string holder_name;
  std::int64_t since_ms = 0;  ///< wall clock of the last change of role or epoch, for people
  std::uint64_t index = 1;    ///< grows with every change
};

/// All are called on the loop; none may destroy the driver.
struct PrimaryDriverCallbacks {
  std::function<void()> on_change;     ///< role_state() or lease_view() changed: publish it
  std::function<void()> drain_orders;  ///< stop new orders; `on_orders_drained` follows from the proxy
  std::function<void(std::string_view what, const std::string& detail)> log;
  /// Empty = the lease is released at once. Otherwise the release waits until `go` is called: the kernel still lets pass what the old epoch sends.
  /// `go` may be called inside of this call, later, or never (the lease runs out then); not after the driver is gone.
  std::function<void(std::function<void()> go)> before_release;
};

/// Ownership: of the agent; the store driver and the loop outlive it. Thread: the control loop.
class PrimaryDriver {
 public:
  PrimaryDriver(io::Loop& loop, PrimaryDriverSettings settings, drivers::StoreDriver& store,
                std::function<std::uint64_t(std::uint64_t)> chance, PrimaryDriverCallbacks callbacks);
  ~PrimaryDriver();  ///< closes the gate, cuts hooks off

  void on_instance(drivers::InstanceHealth health);
  void on_trouble(std::string trouble);  ///< as Primary::on_trouble
  /// The lease row as applied here (nullptr = none yet) was changed, or a leader was found.
  void on_lease(const store::kv::Lease* lease);
  void on_orders_drained(Epoch epoch);
  void drain();
  void resume();
  bool switchover(HolderId target);
  /// A hook runs or waits to be begun.
  [[nodiscard]] bool telling() const { return hooks_.busy(); }
  /// Ends hooks that are not done, and says so in the log.
  void stop_telling() { hooks_.cut_off("the agent stops"); }

  [[nodiscard]] const Primary& core() const { return core_; }
  [[nodiscard]] const RoleState& role_state() const { return state_; }
  /// The lease to check before each write; null before the first epoch of ours.
  [[nodiscard]] const std::shared_ptr<proxy::LeaseView>& lease_view() const { return lease_view_; }
  [[nodiscard]] const std::string& service() const { return settings_.service; }

 private:
  void run();
  void obey(PrimaryOutput& output);
  void obey_role(const RoleChange& change);
  void send_acquire(const Acquire& acquire);
  void send_renew(const Renew& renew);
  void send_release(const Release& release);
  void close_gate();
  void announce(const RoleChange& change);
  void write_role_file();
  [[nodiscard]] io::TimePoint request_deadline() const;

  io::Loop& loop_;
  PrimaryDriverSettings settings_;
  drivers::StoreDriver& store_;
  PrimaryDriverCallbacks callbacks_;
  Primary core_;
  RoleState state_;
  std::shared_ptr<proxy::LeaseView> lease_view_;
  drivers::HookDriver hooks_;
  io::Timer timer_;
  bool changed_ = false;
  bool announced_primary_ = false;
};

}  // namespace agent
