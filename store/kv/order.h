#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>

#include "store/kv/types.h"

/// Orders: requests that may be sent at most once by themselves, whoever repeats them and wherever (invariant I3).
/// Source: rules R1 to R3 and R8 of the trading design; the Idempotency-Key header field (IETF draft) for the key.
/// States: RESERVED -> DONE | NOT_SENT | UNKNOWN; UNKNOWN -> DONE | NOT_SENT; NOT_SENT -> RESERVED (the next attempt).
///   Only a fresh reservation allows bytes to be sent. "Sent" has no state: a RESERVED order may have been sent.
/// Time is a value in the commands (wall clock of the proposer, ms since 1970); it decides nothing but retention.
namespace store::kv {

/// What names an order for ever. None of its parts is looked at.
struct OrderName {
  std::string service;  ///< whose trader it concerns: the lease of that name fences it; 1..kNameBytesMax, no NUL
  std::string zone;     ///< within it: name of the route, or one that routes share; 1..kNameBytesMax, no NUL
  std::string key;      ///< the client's own: 1..kOrderKeyBytesMax bytes of any value
  auto operator<=>(const OrderName&) const = default;
};

/// SHA-256 over what the client asked for (method, path with query, body), made by the proposer.
using Fingerprint = std::array<std::uint8_t, 32>;

enum class OrderState : std::uint8_t {
  kReserved = 0,  ///< somebody was told to send it, and has not said yet what came of it
  kDone = 1,      ///< it was sent and answered: for ever, its answer is given to all who ask again
  kNotSent = 2,   ///< surely no byte of it arrived: it may be reserved anew
  kUnknown = 3,   ///< it may or may not have been carried out: never sent again until somebody finds out
};
inline constexpr OrderState kOrderStateLast = OrderState::kUnknown;
[[nodiscard]] const char* to_string(OrderState state);  ///< "reserved", "done", "not-sent", "unknown"

/// Who brought an order into its state.
enum class OrderSource : std::uint8_t {
  kSender = 0,    ///< whoever reserved it
  kLease = 1,     ///< the lease went to a new epoch while it was reserved
  kHook = 2,      ///< a reconcile hook, which asked the exchange
  kOperator = 3,  ///< a person
};
inline constexpr OrderSource kOrderSourceLast = OrderSource::kOperator;
[[nodiscard]] const char* to_string(OrderSource source);  ///< "sender", "lease", "hook", "operator"

/// How much of an answer there is.
enum class AnswerKept : std::uint8_t {
  kNone = 0,    ///< nobody knows one: the order is not done, or a verdict came without it
  kWhole = 1,   ///< status, headers, body: to be replayed byte for byte
  kStatus = 2,  ///< the status only: the rest was above kOrderAnswerBytesMax, or the ledger's bytes were used up
};
inline constexpr AnswerKept kAnswerKeptLast = AnswerKept::kStatus;

/// The exchange's answer, as it will be replayed.
struct OrderAnswer {
  AnswerKept kept = AnswerKept::kNone;
  std::uint32_t status = 0;  ///< 100..999 unless kNone
  std::string headers;       ///< opaque here; kWhole only
  std::string body;          ///< kWhole only; headers + body <= kOrderAnswerBytesMax
  friend bool operator==(const OrderAnswer&, const OrderAnswer&) = default;
};

/// One row of the ledger. Never changed in place: a change makes a new one, so a pointer to it stays true of its moment.
struct Order {
  OrderName name;
  Fingerprint fingerprint{};
  OrderState state = OrderState::kReserved;
  OrderSource source = OrderSource::kSender;
  std::uint32_t attempt = 1;       ///< how often it was reserved
  Epoch epoch{};                   ///< of the lease under which it was reserved last
  NodeId node{};                   ///< who held that lease, and was to send
  Index reserved{};                ///< entry of the last reservation: the fence that its outcome has to name
  Index changed{};                 ///< entry of the last change: the fence that a verdict has to name
  std::uint64_t reserved_ms = 0;   ///< wall clock of whoever reserved it last
  std::uint64_t settled_ms = 0;    ///< of whoever said what came of it, >= reserved_ms; 0 = reserved, or made UNKNOWN
                                   ///< by the lease, whose command has no time
  std::uint64_t retention_ms = 0;  ///< how long it is kept after settled_ms
  OrderAnswer answer;
  friend bool operator==(const Order&, const Order&) = default;
};
using OrderRow = std::shared_ptr<const Order>;  ///< never null in the ledger; null = no such order

/// How many orders are in which state.
struct OrderCounts {
  std::uint64_t reserved = 0, done = 0, not_sent = 0, unknown = 0;
  [[nodiscard]] std::uint64_t all() const { return reserved + done + not_sent + unknown; }
  friend bool operator==(const OrderCounts&, const OrderCounts&) = default;
};

}  // namespace store::kv
