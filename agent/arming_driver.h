#pragma once
/// Drives the Arming core: its questions go to the application's hook, its verdicts and pages to the store's ledger, its word
/// to the proxy. Approvals come through a key of the replicated state, so that any agent can take them; what the primary waits
/// for is written beside it, so that any agent can say it.
///
/// Keys: outrigger/arming/SERVICE/approval  {"epoch": 7, "force": false, "who": "...", "reason": "..."}
///       outrigger/arming/SERVICE/state     {"epoch": 7, "node": "...", "phase": "waiting", "reason": "...", ...}; for people, nothing obeys it
/// Without [arming] there is no such driver and a primary is armed at once.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/arming.h"
#include "agent/drivers/asking_hook.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "agent/primary_driver.h"

namespace agent {

[[nodiscard]] std::string approval_key(const std::string& service);
[[nodiscard]] std::string arming_state_key(const std::string& service);
/// Content of the first one.
[[nodiscard]] std::string approval_text(const Approval& approval, const std::string& reason);
/// @param text  of a key that anybody may have written; nullopt = it approves nothing
[[nodiscard]] std::optional<Approval> parse_approval(std::string_view text);

struct ArmingDriverSettings {
  ArmingRules rules;
  std::optional<drivers::HookTarget> hook;  ///< present as rules.has_hook says
  std::string service, node;
  Milliseconds recent{600'000};  ///< orders that were reserved within it are shown to the hook; 0 = only UNKNOWN ones
  Milliseconds quiet{0};         ///< with rules.gives_up: an order of our own instance is UNKNOWN for so long before the hook is asked; else 10 s
  Milliseconds write_timeout{2'000};
};

/// Called on the loop; none may destroy the driver.
struct ArmingDriverCallbacks {
  std::function<void()> on_change;  ///< armed() or reason() changed: publish it
  std::function<void(std::string_view what, const std::string& detail)> log;
};

/// Ownership: of the agent; store driver and loop outlive it. Thread: the control loop.
class ArmingDriver {
 public:
  ArmingDriver(io::Loop& loop, ArmingDriverSettings settings, drivers::StoreDriver& store, std::function<std::uint64_t(std::uint64_t)> chance,
               ArmingDriverCallbacks callbacks);
  ~ArmingDriver();
  ArmingDriver(const ArmingDriver&) = delete;
  ArmingDriver& operator=(const ArmingDriver&) = delete;

  /// The role of this agent has changed, or the lease as the own state shows it.
  void on_role(const RoleState& state);
  [[nodiscard]] const Arming& core() const { return core_; }
  [[nodiscard]] bool armed(Epoch epoch) const { return core_.armed() && core_.epoch() == epoch; }

 private:
  void look();
  void watch_approval();
  void run();
  void obey(const ArmingOutput& output);
  void read_page(const ReadPage& read);
  [[nodiscard]] bool is_quiet(const store::kv::Order& order);
  void ask_hook(const AskHook& ask);
  void write_verdict(const WriteVerdict& verdict);
  void show_state();

  io::Loop& loop_;
  ArmingDriverSettings settings_;
  drivers::StoreDriver& store_;
  ArmingDriverCallbacks callbacks_;
  Arming core_;
  std::optional<drivers::AskingHook> hook_;
  io::Timer timer_, look_timer_;
  std::optional<store::kv::WatchId> watch_;
  /// When UNKNOWN orders of our own instance were first seen, by the entry that made them so: in this walk and those before it, as far back
  /// as the last one that came to the end of the list. As many as the ledger has.
  std::map<store::kv::Index, TimePoint> noticed_, noticed_before_;
  bool walked_all_ = true;
  std::string shown_;              // the state row as it was written last
  bool showing_ = false;           // it is being written
  bool running_ = false;           // run() is at work: what it causes is done by it
  std::shared_ptr<bool> alive_;    // false once destroyed: completions that come later find nobody
};

}  // namespace agent
