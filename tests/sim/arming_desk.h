#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/arming.h"
#include "store/store.h"
#include "tests/sim/exchange.h"
#include "tests/sim/machine.h"

namespace sim {

/// Drives the product's agent::Arming in one life of an agent's process, as agent/arming_driver.cc does: pages from the own copy of
/// the ledger, verdicts into it. The hook asks the exchange; it is slow, fails, does not answer, or does not know, now and then.
/// Judges, when the core says that it is armed: nothing of an older epoch is unknown but what the hook was asked about under this
/// epoch, or what the own trader may still have in hand; every verdict is decided.
/// Ownership: lives with one life of the process; everything here runs inside of it.
class ArmingDesk {
 public:
  /// @param on_change  armed() is another one
  ArmingDesk(Machine* machine, Lines* lines, const agent::ArmingRules& rules, agent::Milliseconds quiet, std::uint64_t seed, std::function<void()> on_change);

  void on_role();
  /// What the own copy of the state says by now.
  void look();
  [[nodiscard]] bool armed(agent::Epoch epoch) const { return core_.armed() && core_.epoch() == epoch; }
  [[nodiscard]] const agent::Arming& core() const { return core_; }

 private:
  void run();
  void obey(const agent::ArmingOutput& output);
  void obey_change();
  void read_page(const agent::ReadPage& read);
  void ask(const agent::AskHook& ask);
  agent::HookAnswer hook_answer(const agent::AskHook& ask);
  void write(const agent::WriteVerdict& verdict);
  [[nodiscard]] bool is_quiet(const store::kv::Order& order);
  void judge_armed();

  Machine* machine_;
  Lines* lines_;
  agent::Milliseconds quiet_;
  support::Random random_;
  std::function<void()> on_change_;
  agent::Arming core_;
  std::map<store::kv::Index, store::TimePoint> noticed_, noticed_before_;
  std::set<std::string> asked_;  // under the present epoch, with an answer
  std::set<agent::VerdictNo> undecided_;
  std::optional<agent::HookNo> calling_;
  agent::Epoch armed_{}, role_{};
  Nanos wakes_at_ = 0;
  bool looking_ = false, running_ = false, walked_all_ = true;
};

}  // namespace sim
