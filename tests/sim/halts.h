#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/halt_keeper.h"
#include "proxy/halt.h"
#include "store/store.h"
#include "tests/sim/machine.h"
#include "tests/support/random.h"

namespace sim {

/// What people do with halts in a run.
struct HaltSettings {
  bool on = false;
  Nanos every = 4 * kSecond;             ///< mean time from one halt to the next
  Nanos lasts = 1'200 * kMillisecond;    ///< mean time until somebody begins to lift it
  bool second_person = false;            ///< it takes two of them
};

inline constexpr const char* kBroker = "exchange";
inline constexpr const char* kRoute = "orders";
/// Which account an order is for.
[[nodiscard]] std::string account_of(const std::string& key);

/// Halts at every agent: the product's agent::HaltKeeper, wired as agent/halt_driver.cc wires it, over the file that outlives the
/// process, the mesh and the log; people who give halts anywhere at random and lift them again where they happen to be.
/// Rules (S4), each judged where it shows:
///   stands at once     after an agent has heard of a halt, nothing that it covers leaves there until it is lifted (kMailbox later at most)
///   lifted by the log  what an agent has heard of stands there, over restarts of everything, until the log as that agent has applied it
///                      has lifted it; and the log lifts only what people wanted lifted, two of them where it takes two
///   by a majority      who was told that he lifted one was told so of an entry that is committed
///   reaches everybody  when all is well again, what stands at one agent stands at all within kSpread
/// Ownership: borrows world and machines. Bound: one open resume per halt.
class Halts {
 public:
  static constexpr Nanos kMailbox = 1 * kMillisecond;
  static constexpr Nanos kSpread = 4 * kSecond;
  using View = std::shared_ptr<const proxy::HaltView>;

  Halts(World* world, std::vector<std::unique_ptr<Machine>>* machines, HaltSettings settings, std::uint64_t seed);

  void start();
  void stop() { stopped_ = true; }  ///< no more halts; those that stand do
  /// Called in the process when its workers have another view.
  void on_view(std::function<void(int machine, const View& view)> told) { told_ = std::move(told); }
  [[nodiscard]] View view(int machine) const { return desks_[static_cast<std::size_t>(machine)].seen; }
  /// The first byte of an order leaves there, for the exchange or for the trader.
  void leaves(int machine, const std::string& key, bool to_broker);
  /// Every agent has what any of them has; else what is missing.
  [[nodiscard]] std::string missing() const;
  [[nodiscard]] std::uint64_t given() const { return given_; }
  [[nodiscard]] std::uint64_t lifted() const { return lifted_.size(); }

 private:
  struct Desk {
    std::uint64_t life = 0;
    std::unique_ptr<agent::HaltKeeper> keeper;
    View seen;                                    // by the workers
    Nanos mail_at = 0, wakes_at = 0;
    store::kv::Index looked{};                    // at the halts of the log
    std::string file;                             // outlives the process
    std::map<store::kv::HaltTag, store::kv::Halt> known;  // what it has heard of, over all lives, and no log has lifted
    std::map<store::kv::HaltTag, Nanos> heard;    // in this life
  };
  Desk& desk(int machine) { return desks_[static_cast<std::size_t>(machine)]; }
  Machine& at(int machine) { return *(*machines_)[static_cast<std::size_t>(machine)]; }
  void began(int machine);
  void catch_up(int machine);
  void obey(int machine);
  void keep(int machine);
  void publish(int machine);
  void look(int machine);
  void wake(int machine);
  void judge_known(int machine);
  void judge_log(int machine);

  void next_halt();
  void give(int machine);
  void resume_later(const store::kv::HaltTag& tag);
  void resume(int machine, const store::kv::HaltTag& tag);
  void lift(int machine, const store::kv::HaltTag& tag, const std::string& who);
  void fail(const std::string& rule, const std::string& what);

  World* world_;
  std::vector<std::unique_ptr<Machine>>* machines_;
  HaltSettings settings_;
  support::Random random_;
  std::vector<Desk> desks_;
  std::function<void(int, const View&)> told_ = [](int, const View&) {};
  std::map<store::kv::HaltTag, std::set<std::string>> wanted_;  // lifted, by whom
  std::map<store::kv::HaltTag, store::kv::Halt> all_;           // that ever stood anywhere
  std::set<store::kv::HaltTag> lifted_;                          // by the log
  std::uint64_t given_ = 0;
  bool stopped_ = false;
};

}  // namespace sim
