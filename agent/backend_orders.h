#pragma once
/// The operator's side of the ledger of orders and of arming, on the real store. Any agent answers: reads come from its own copy
/// of the state once it may be read, decisions and approvals are entries of the log.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/api/order_backend.h"
#include "agent/arming_driver.h"
#include "agent/drivers/order_desk.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/timer.h"
#include "agent/metrics_families.h"

namespace agent {

/// What it needs of the agent; all outlive it.
struct OrderParts {
  io::Loop* loop = nullptr;                ///< null in tests that need no warnings
  drivers::StoreDriver* store = nullptr;   ///< never null
  const drivers::OrderDesk* desk = nullptr;      ///< null in tests that need none
  std::function<const ArmingDriver*()> arming;   ///< null without [arming]
  std::function<std::string(store::NodeId)> name_of;  ///< of a member; empty = not known
  std::string service;                           ///< of this agent's routes
  bool arming_configured = false;
  std::chrono::milliseconds write_timeout{2000};
  std::function<void(std::string_view what, const std::string& detail)> log;
  std::uint64_t unknown_warn = 10'000;  ///< unknown orders in the ledger: from so many on a person is warned, at each doubling again
  io::Milliseconds look_every{10'000};
};

/// Ownership: of the agent. Thread: the loop.
class AgentOrders final : public api::OrderBackend {
 public:
  explicit AgentOrders(OrderParts parts);
  ~AgentOrders() override;  ///< completions that are open are not called

  [[nodiscard]] api::OrderList orders(const api::OrderQuestion& question) const override;
  [[nodiscard]] std::optional<api::OrderInfo> order(const std::string& service, const std::string& zone, const std::string& key) const override;
  [[nodiscard]] api::ArmingInfo arming(const std::string& service) const override;
  void decide(api::OrderDecision decision, api::Completion<api::OrderInfo> done) override;
  void approve(api::ApprovalOrder approval, api::Completion<api::ArmingInfo> done) override;

  /// The ledger by service and state, the desk, arming.
  void add_metrics(Families& out) const;

 private:
  [[nodiscard]] const std::string& service_of(const std::string& asked) const { return asked.empty() ? parts_.service : asked; }
  [[nodiscard]] api::OrderInfo info_of(const store::kv::Order& order) const;
  void weigh_approval(api::ApprovalOrder order, int round, api::Completion<api::ArmingInfo> done);
  void note_approval(api::ApprovalOrder order, store::kv::Index expected, api::Completion<api::ArmingInfo> done);
  void write_approval(api::ApprovalOrder order, store::kv::Index expected, int round, api::Completion<api::ArmingInfo> done);

  /// Unknown orders end by a decision alone: without one they fill the ledger.
  void look_at_unknown();

  OrderParts parts_;
  std::uint64_t warn_at_;
  std::optional<io::Timer> look_;
  std::shared_ptr<bool> alive_;  // false once destroyed
};

}  // namespace agent
