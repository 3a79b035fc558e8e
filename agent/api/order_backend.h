#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/backend.h"

/// Orders under keys, and whether the primary may be given new ones: what an operator sees and decides.
/// Implemented by agent/backend_orders.cc and by fakes in tests. Thread: the control loop.
namespace agent::api {

struct OrderInfo {
  std::string service, zone, key;
  std::string state;        ///< "reserved", "done", "not_sent", "unknown"
  std::string source;       ///< who said so: "sender", "lease", "hook", "operator"
  std::uint32_t attempt = 1;
  Epoch epoch{};            ///< under which it was reserved last
  NodeId node{};
  std::string node_name;    ///< empty: that node is not known here
  Index reserved{};         ///< entry of the last reservation
  Index changed{};          ///< entry of the last change: the fence of a decision
  std::uint64_t reserved_ms = 0, settled_ms = 0, kept_until_ms = 0;  ///< wall clock; 0 = not settled
  std::string fingerprint;  ///< hex
  std::string answer_kept;  ///< "none", "whole", "status"
  int answer_status = 0;    ///< 0 with "none"
  std::string answer_head, answer_body;  ///< of one order alone; lists have their sizes
  std::uint64_t answer_bytes = 0;
};
struct OrderList {
  std::vector<OrderInfo> orders;  ///< without heads and bodies of answers
  std::optional<Index> next;      ///< the next page goes on there; none = the end
  std::uint64_t reserved = 0, done = 0, not_sent = 0, unknown = 0;  ///< of the service, in all
};
enum class OrderFilter : std::uint8_t {
  kUnknown,   ///< oldest first
  kReserved,  ///< oldest first
  kRecent,    ///< any state, newest first
};
struct OrderQuestion {
  std::string service;  ///< empty = that of this agent
  OrderFilter filter = OrderFilter::kRecent;
  std::optional<Index> from;  ///< `next` of the page before
  std::size_t limit = 100;    ///< 1..kOrderPageMax
};
inline constexpr std::size_t kOrderPageMax = 1000;

/// A person's decision about an UNKNOWN order.
struct OrderDecision {
  std::string service, zone, key;
  bool done = false;        ///< false: it was not sent, and may be sent again under its key
  std::optional<int> status;  ///< done: the answer that is given to whoever repeats it, 200..599; none = nobody knows it
  std::string content_type = "application/json", body;
  Index fence{};            ///< OrderInfo::changed as it was seen
  std::string who, reason;  ///< for log and events
};

struct ArmingInfo {
  std::string service;
  bool configured = false;  ///< false: no [arming]; a primary is armed at once
  Epoch epoch{};            ///< of the lease
  std::string holder;       ///< empty = nobody
  bool armed = false;
  std::string mode, phase, reason, last_error;  ///< as the holder said last; empty = not yet under this epoch
  std::uint64_t unknown_left = 0;               ///< that the hook left unknown
  std::optional<bool> flat;
  Epoch approved{};         ///< the epoch that was approved last; 0 = none
  bool approved_by_force = false;
  std::string approved_by;
};
struct ApprovalOrder {
  std::string service;      ///< empty = that of this agent
  Epoch epoch{};            ///< that whoever approves has seen waiting; not 0
  bool force = false;
  std::string who, reason;
};

class OrderBackend {
 public:
  OrderBackend() = default;
  OrderBackend(const OrderBackend&) = delete;
  OrderBackend& operator=(const OrderBackend&) = delete;
  virtual ~OrderBackend() = default;

  // Reads of the local state; how fresh it is, is the caller's affair.
  [[nodiscard]] virtual OrderList orders(const OrderQuestion& question) const = 0;
  [[nodiscard]] virtual std::optional<OrderInfo> order(const std::string& service, const std::string& zone, const std::string& key) const = 0;
  [[nodiscard]] virtual ArmingInfo arming(const std::string& service) const = 0;

  /// Completes with the order as it is then. Errors: kNotFound, kConflict (not unknown, or changed since `fence`), kNoLeader ...
  virtual void decide(OrderDecision decision, Completion<OrderInfo> done) = 0;
  /// It is of its epoch and of no other. Errors: kConflict (another epoch waits, nobody holds one, or somebody else approves at the
  /// same time), kNoLeader ...
  virtual void approve(ApprovalOrder approval, Completion<ArmingInfo> done) = 0;
};

}  // namespace agent::api
