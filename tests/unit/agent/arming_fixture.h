#pragma once
/// What tests of arming.h share: orders and findings in short, and a core with its outputs in hand. Values only.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "agent/arming.h"

namespace agent {

using namespace std::chrono_literals;

inline OrderSeen order(const std::string& key, std::uint64_t reserved, OrderStanding standing = OrderStanding::kUnknown) {
  OrderSeen seen;
  seen.zone = "orders";
  seen.key = key;
  seen.reserved = reserved;
  seen.seen = reserved + 1000;
  seen.standing = standing;
  return seen;
}

inline OrderFinding found(const std::string& key, OrderStanding standing, int status = 0) { return {"orders", key, standing, status, status == 0 ? "" : "{}"}; }

inline HookAnswer says(std::vector<OrderFinding> findings, std::optional<bool> flat = std::nullopt) { return {true, {}, std::move(findings), flat}; }

class ArmingTest : public ::testing::Test {
 protected:
  ArmingTest() { make({}); }
  void make(ArmingRules rules, bool hook = true) {
    rules.has_hook = hook;
    core.emplace(rules, [](std::uint64_t bound) { return bound - 1; });
  }
  /// Primary under `epoch`, with the state of it.
  void promote(std::uint64_t epoch, std::uint64_t unknown = 0) {
    core->on_primary(now, Epoch{epoch});
    core->on_state(now, Epoch{epoch}, unknown);
  }
  template <typename T>
  std::vector<T> take() {
    gather();
    std::vector<T> wanted;
    std::vector<ArmingOutput> rest;
    for (ArmingOutput& output : outputs) {
      if (auto* match = std::get_if<T>(&output)) wanted.push_back(*match);
      else rest.push_back(std::move(output));
    }
    outputs = std::move(rest);
    return wanted;
  }
  void gather() {
    for (ArmingOutput& output : core->take_output()) outputs.push_back(std::move(output));
  }
  /// Answers every page that is asked for: the unknown ones, then `recent`.
  AskHook pages(std::vector<OrderSeen> unknown, std::vector<OrderSeen> recent = {}) {
    for (int i = 0; i < 10; ++i) {
      for (const ReadPage& read : take<ReadPage>()) {
        const bool of_recent = read.kind == ReadPage::Kind::kRecent;
        core->on_page(now, read.number, of_recent ? std::exchange(recent, {}) : std::exchange(unknown, {}));
      }
      const auto asked = take<AskHook>();
      if (!asked.empty()) return asked.front();
    }
    ADD_FAILURE() << "the hook was not asked";
    return {};
  }
  /// Armed, and there is no settled order to be shown.
  void nothing_recent() {
    for (const ReadPage& read : take<ReadPage>()) {
      EXPECT_EQ(read.kind, ReadPage::Kind::kRecent);
      core->on_page(now, read.number, {});
    }
    EXPECT_TRUE(take<AskHook>().empty());
  }
  void record(VerdictEnd end = VerdictEnd::kRecorded) {
    for (const WriteVerdict& verdict : take<WriteVerdict>()) core->on_verdict(now, verdict.number, end);
  }
  void pass(TimePoint to) {
    now = to;
    core->tick(now);
  }

  TimePoint now{1000s};
  std::optional<Arming> core;
  std::vector<ArmingOutput> outputs;
};

}  // namespace agent
