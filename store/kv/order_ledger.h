#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/kv/journal.h"
#include "store/kv/order.h"
#include "store/kv/record.h"

namespace store::kv {

struct OrderReserve;
struct OrderOutcome;
struct OrderResolve;
struct OrderSweep;

/// The orders: what was reserved, what came of it, and what is kept until when.
/// Invariant: of one name at most one reservation is open. An order leaves RESERVED once per attempt, DONE never. DONE
///            and NOT_SENT go after their retention, RESERVED and UNKNOWN never. RESERVED orders of a service are all of
///            one epoch: that of its lease, or of the last one if it is vacant.
/// Bound:     kOrdersMax rows, kOrderBytesMax bytes, kOrdersReservedMax open reservations per service. What is full
///            refuses new reservations (kFull names it); an outcome is always taken, at worst without its answer's bytes.
/// Ownership: a value inside StateMachine. Rows are shared with whoever reads them and never change.
class OrderLedger {
 public:
  /// Equal on every replica for ever: they decide what is refused.
  struct Bounds {
    std::size_t orders = kOrdersMax, bytes = kOrderBytesMax, room_bytes = kOrderRoomBytes, reserved = kOrdersReservedMax;
  };
  OrderLedger() = default;
  explicit OrderLedger(const Bounds& bounds) : bounds_(bounds) {}

  // --- reading --------------------------------------------------------------------------------------------------------
  [[nodiscard]] OrderRow find(const OrderName& name) const;  ///< null = no such order
  /// UNKNOWN (RESERVED) orders of `service` whose reservation is above `after`, oldest first, at most `limit`: the next
  /// page goes on after the last one's `reserved`.
  [[nodiscard]] std::vector<OrderRow> unknown(std::string_view service, Index after, std::size_t limit) const;
  [[nodiscard]] std::vector<OrderRow> reserved(std::string_view service, Index after, std::size_t limit) const;
  /// Orders of `service` in any state whose reservation is below `before`, newest first; Index max = from the end.
  [[nodiscard]] std::vector<OrderRow> recent(std::string_view service, Index before, std::size_t limit) const;
  [[nodiscard]] const OrderCounts& counts() const { return counts_; }
  [[nodiscard]] OrderCounts counts(std::string_view service) const;
  [[nodiscard]] std::vector<std::string> services() const;  ///< those that have orders, in byte order
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }  ///< names, answers, kOrderOverheadBytes each
  /// When the first order may be swept, ms since 1970; nullopt: none is settled.
  [[nodiscard]] std::optional<std::uint64_t> next_due_ms() const;

  // --- changes: for StateMachine alone ----------------------------------------------------------------------------------
  struct Verdict {
    Outcome outcome = Outcome::kDone;
    std::string detail;
    OrderRow order;  ///< as it is afterwards; null = there is none
    std::vector<OrderRow> forgotten{};  ///< by a sweep
  };
  /// The lease's row is looked at by the caller. @param fenced  the command's epoch is not the lease's
  Verdict reserve(Index index, const OrderReserve& command, const std::optional<std::string>& fenced, Journal& journal);
  Verdict settle(Index index, const OrderOutcome& command, Journal& journal);
  Verdict resolve(Index index, const OrderResolve& command, Journal& journal);
  Verdict sweep(const OrderSweep& command, Journal& journal);
  /// `service` has a new epoch: what is RESERVED becomes UNKNOWN. @return these orders, at most kOrdersReservedMax
  std::vector<OrderRow> fence(Index index, std::string_view service, Journal& journal);

  // --- rows -------------------------------------------------------------------------------------------------------------
  void load(Order order);
  /// False: rows that no correct writer can have produced. `epoch_of` names a service's epoch counter.
  template <class EpochOf>
  [[nodiscard]] bool consistent(Index applied, const EpochOf& epoch_of) const {
    if (broken_ || last_ > applied) return false;
    for (const auto& [service, orders] : services_) {
      if (!orders.reserved.empty() && epoch_of(service) < orders.reserved.begin()->second->epoch) return false;
    }
    return true;
  }
  void append_rows(std::vector<Record>& rows) const;  ///< sorted by key

 private:
  struct ByName {
    using is_transparent = void;
    bool operator()(const OrderRow& a, const OrderRow& b) const { return a->name < b->name; }
    bool operator()(const OrderRow& a, const OrderName& b) const { return a->name < b; }
    bool operator()(const OrderName& a, const OrderRow& b) const { return a < b->name; }
  };
  using ByReservation = std::map<Index, const Order*>;  // every reservation is an entry of its own
  struct OfService {
    ByReservation all, reserved, unknown;
    OrderCounts counts;
  };
  using Rows = std::set<OrderRow, ByName>;
  [[nodiscard]] std::vector<OrderRow> page(const ByReservation& from, Index after, std::size_t limit) const;
  [[nodiscard]] std::optional<std::string> full(const Order& order, bool is_new) const;
  void put(OrderRow order);
  void take_out(Rows::iterator at);
  void enter(const Order& order);
  void leave(const Order& order);
  /// An order as somebody's word leaves it: the answer without its bytes if these find no room.
  Verdict settled(Index index, Order order, const OrderAnswer& answer, std::uint64_t time_ms, Journal& journal);
  Verdict write(Order order, std::string detail, Journal& journal);

  Bounds bounds_;
  Rows rows_;
  std::map<std::string, OfService, std::less<>> services_;
  std::map<std::pair<std::uint64_t, Index>, const Order*> due_;  // settled ones, by the end of their retention
  OrderCounts counts_;
  std::size_t bytes_ = 0;
  Index last_{};         // newest entry that any row names
  bool broken_ = false;  // two rows that were loaded claim the same reservation
};

/// Did this answer to an OrderReserve allow its proposer to send? Only then, only once, and only while its lease holds.
[[nodiscard]] inline bool may_send(Outcome outcome, Index decided, const OrderRow& order) {
  return outcome == Outcome::kDone && order != nullptr && order->state == OrderState::kReserved &&
         order->reserved == decided;
}

}  // namespace store::kv
