// All rules of arming.h at once, under chance: a ledger, a hook and a lease that do what they like.
#include <random>
#include <set>

#include "tests/unit/agent/arming_fixture.h"

namespace agent {
namespace {

/// A ledger, a hook and a lease that do what chance says, in any order; after each step the invariants of arming.h.
class World {
 public:
  World(std::uint64_t seed, ArmingRules rules) : random_(seed), rules_(rules), core_(rules, [this](std::uint64_t bound) { return below(bound); }) {}

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      now_ += Milliseconds(static_cast<std::int64_t>(below(400)));
      step();
      settle();
      check();
    }
    // Quiet: a hook that knows everything, and somebody who approves.
    kind_hook_ = true;
    if (epoch_ == 0) promote();
    for (int i = 0; i < 2000 && !core_.armed(); ++i) {
      now_ = std::max(now_, std::min(core_.next_deadline(), now_ + 1s));
      core_.tick(now_);
      core_.on_approval(now_, {Epoch{epoch_}, false, "ann"});
      core_.on_state(now_, Epoch{epoch_}, unknown());
      settle();
      answer_hook();
      answer_verdicts();
      check();
    }
    EXPECT_TRUE(core_.armed()) << core_.reason();
  }

 private:
  struct Row { std::uint64_t reserved = 0, changed = 0, epoch = 0; OrderStanding standing = OrderStanding::kUnknown; bool at_exchange = false; };

  std::uint64_t below(std::uint64_t bound) { return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(random_); }
  std::uint64_t unknown() const {
    return static_cast<std::uint64_t>(std::count_if(rows_.begin(), rows_.end(), [](const auto& row) { return row.second.standing == OrderStanding::kUnknown; }));
  }

  void promote() {
    epoch_ = ++last_epoch_;
    for (auto& [key, row] : rows_) {
      if (row.standing != OrderStanding::kReserved) continue;
      row.standing = OrderStanding::kUnknown;
      row.changed = ++index_;
    }
    whole_.clear();
    core_.on_primary(now_, Epoch{epoch_});
  }

  void step() {
    switch (below(12)) {
      case 0: if (epoch_ == 0) promote(); else if (below(4) == 0) lose(); break;
      case 1:
      case 2: if (epoch_ != 0) core_.on_state(now_, Epoch{epoch_}, unknown()); break;
      case 3: send_order(); break;
      case 4: if (epoch_ != 0 && below(3) == 0) core_.on_approval(now_, {Epoch{epoch_}, below(8) == 0, "ann"}); break;
      case 5:
      case 6: answer_hook(); break;
      case 7:
      case 8: answer_verdicts(); break;
      case 9: if (hook_) core_.on_hook(now_, HookNo{static_cast<std::uint64_t>(hook_->number) - 1 - below(3)}, says({})); break;  // of another call
      default: core_.tick(now_);
    }
  }

  void lose() {
    epoch_ = 0;
    core_.on_standby(now_);
  }

  /// Only an armed primary sends, and what becomes of it is open.
  void send_order() {
    if (!core_.armed()) return;
    EXPECT_EQ(static_cast<std::uint64_t>(core_.epoch()), epoch_);
    Row row;
    row.reserved = row.changed = ++index_;
    row.epoch = epoch_;
    row.at_exchange = below(2) == 0;
    row.standing = below(3) == 0 ? OrderStanding::kUnknown : below(2) == 0 ? OrderStanding::kReserved : row.at_exchange ? OrderStanding::kDone : OrderStanding::kNotSent;
    rows_["k" + std::to_string(row.reserved)] = row;
  }

  void settle() {
    for (auto outputs = core_.take_output(); !outputs.empty(); outputs = core_.take_output()) {
      for (ArmingOutput& output : outputs) obey(output);
    }
  }

  void obey(ArmingOutput& output) {
    if (const auto* read = std::get_if<ReadPage>(&output)) return core_.on_page(now_, read->number, page(*read));
    if (auto* ask = std::get_if<AskHook>(&output)) {
      EXPECT_EQ(static_cast<std::uint64_t>(ask->epoch), epoch_);
      EXPECT_FALSE(hook_) << "one question at a time";
      EXPECT_LE(ask->orders.size(), rules_.batch);
      hook_ = std::move(*ask);
    } else if (const auto* drop = std::get_if<DropHook>(&output)) {
      if (hook_ && hook_->number == drop->number) hook_.reset();
    } else if (const auto* verdict = std::get_if<WriteVerdict>(&output)) {
      EXPECT_NE(epoch_, 0u) << "a verdict under an epoch that is over";
      verdicts_.push_back(*verdict);
    }
  }

  std::vector<OrderSeen> page(const ReadPage& read) const {
    std::vector<std::pair<std::uint64_t, std::string>> sorted;
    for (const auto& [key, row] : rows_) sorted.emplace_back(row.reserved, key);
    std::sort(sorted.begin(), sorted.end());
    const bool recent = read.kind == ReadPage::Kind::kRecent;
    if (recent) std::reverse(sorted.begin(), sorted.end());
    std::vector<OrderSeen> out;
    for (const auto& [reserved, key] : sorted) {
      const Row& row = rows_.at(key);
      if (out.size() == read.limit || (recent ? reserved >= read.bound : reserved <= read.bound)) continue;
      if (!recent && row.standing != OrderStanding::kUnknown) continue;
      OrderSeen seen = order(key, reserved, row.standing);
      seen.seen = row.changed;
      out.push_back(std::move(seen));
    }
    return out;
  }

  void answer_hook() {
    if (!hook_) return;
    const AskHook ask = std::move(*hook_);
    hook_.reset();
    if (!kind_hook_ && below(4) == 0) return core_.on_hook(now_, ask.number, {false, "exit code 1", {}, {}});
    HookAnswer answer = says({}, kind_hook_ ? true : below(2) == 0);
    for (const OrderSeen& seen : ask.orders) {
      if (!kind_hook_ && below(4) == 0) continue;
      const OrderStanding truth = rows_.at(seen.key).at_exchange ? OrderStanding::kDone : OrderStanding::kNotSent;
      answer.findings.push_back(found(seen.key, !kind_hook_ && below(5) == 0 ? OrderStanding::kUnknown : truth));
    }
    if (!ask.armed) {
      for (const OrderSeen& seen : ask.orders) {
        const bool named = std::any_of(answer.findings.begin(), answer.findings.end(), [&](const OrderFinding& f) { return f.key == seen.key && f.standing != OrderStanding::kUnknown; });
        if (named && seen.standing == OrderStanding::kUnknown) owed_.insert(seen.key);
      }
      whole_.insert(ask.orders.empty() ? "" : ask.orders.front().key);
      asked_epoch_ = epoch_;
    }
    core_.on_hook(now_, ask.number, std::move(answer));
  }

  void answer_verdicts() {
    for (const WriteVerdict& verdict : std::exchange(verdicts_, {})) {
      if (!kind_hook_ && below(3) == 0) {  // written or not, nobody knows
        if (below(2) == 0) apply(verdict);
        core_.on_verdict(now_, verdict.number, VerdictEnd::kNoAnswer);
        continue;
      }
      core_.on_verdict(now_, verdict.number, apply(verdict) ? VerdictEnd::kRecorded : VerdictEnd::kOvertaken);
    }
  }

  bool apply(const WriteVerdict& verdict) {
    Row& row = rows_.at(verdict.finding.key);
    owed_.erase(verdict.finding.key);
    if (row.standing == verdict.finding.standing) return true;
    if (row.standing != OrderStanding::kUnknown || row.changed != verdict.seen) return false;
    EXPECT_EQ(row.at_exchange, verdict.finding.standing == OrderStanding::kDone);
    row.standing = verdict.finding.standing;
    row.changed = ++index_;
    return true;
  }

  void check() {
    EXPECT_FALSE(epoch_ == 0 && core_.armed()) << "armed without being primary";
    if (core_.armed()) {
      EXPECT_EQ(static_cast<std::uint64_t>(core_.epoch()), epoch_) << "armed under an epoch that is over";
      const bool forced = core_.approval().force && static_cast<std::uint64_t>(core_.approval().epoch) == epoch_;
      if (!was_armed_ && !forced) {
        EXPECT_EQ(asked_epoch_, epoch_) << "armed without asking the hook under this epoch";
        for (const auto& key : owed_) EXPECT_NE(rows_.at(key).standing, OrderStanding::kUnknown) << "the hook knew " << key << ", the ledger does not";
        EXPECT_FALSE(rules_.unknown_blocks && core_.unknown_left() > 0);
        EXPECT_TRUE(rules_.mode != ArmingMode::kSupervised || static_cast<std::uint64_t>(core_.approval().epoch) == epoch_);
      }
    } else {
      EXPECT_TRUE(!was_armed_ || epoch_ != armed_epoch_) << "disarmed within an epoch";
    }
    was_armed_ = core_.armed();
    if (was_armed_) armed_epoch_ = epoch_;
    if (epoch_ == 0) owed_.clear();
  }

  std::mt19937_64 random_;
  ArmingRules rules_;
  Arming core_;
  TimePoint now_{1000s};
  std::map<std::string, Row> rows_;
  std::optional<AskHook> hook_;
  std::vector<WriteVerdict> verdicts_;
  std::set<std::string> owed_, whole_;  // owed: the hook has decided it, and the ledger has not heard
  std::uint64_t epoch_ = 0, last_epoch_ = 0, index_ = 0, asked_epoch_ = 0, armed_epoch_ = 0;
  bool kind_hook_ = false, was_armed_ = false;
};

TEST(ArmingWorld, InvariantsHoldUnderManySeeds) {
  for (std::uint64_t seed = 1; seed <= 3000 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ArmingRules rules;
    rules.has_hook = true;
    rules.mode = static_cast<ArmingMode>(seed % 3);
    rules.unknown_blocks = seed % 2 == 0;
    rules.batch = 1 + seed % 4;
    rules.hook_timeout = 1000ms;
    World(seed, rules).run(300);
  }
}

}  // namespace
}  // namespace agent
