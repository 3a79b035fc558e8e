#pragma once
/// Orders under keys: what is written down before the first byte of an order leaves, and before its answer is passed on.
///
/// A route with an OrderRule takes a key from each unsafe request. Before the request is given to the local instance the key is
/// reserved, with a fingerprint of method, target, body and who asks (account, credentials of the route), in a ledger that all agents share; the answer is recorded there before the client
/// sees it. Whoever sends the same key again, to whichever agent, gets the recorded answer byte for byte. So a key is sent at
/// most once by itself; what became of one whose answer never came is said as it is: not known.
/// Source: draft-ietf-httpapi-idempotency-key-header (field, 400, 409, 422); Outbox pattern (recorded before passed on).
/// The ledger is the host's (replicated, durable); this library knows only its face.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admission.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"

namespace proxy {

/// Where an order's key stands.
enum class OrderKeyFrom : std::uint8_t {
  kHeader,  ///< a field: 1..255 visible ASCII characters, or the same as a string in double quotes (RFC 8941)
  kQuery,   ///< a parameter of the target, as it is written there
  kJson,    ///< a string or integer in the body, by JSON Pointer (RFC 6901)
};

/// Of rules that name none: one for all routes, so that a key is the same order whatever a route is called, and whichever of
/// several routes, methods or hosts it comes by.
inline constexpr std::string_view kOrderZone = "orders";

/// What a route asks of orders. Unsafe methods only; upgrades are no orders.
struct OrderRule {
  OrderKeyFrom from = OrderKeyFrom::kHeader;
  std::string name = "Idempotency-Key";    ///< field, parameter, or pointer
  bool required = true;                    ///< without a key: 400; else the request passes as on any other route
  std::string zone{kOrderZone};            ///< routes of one zone share their keys; 1..64 letters, digits, '.', '_', '-'
  std::string account_field = "X-Account"; ///< of the client's request; its value says who orders; empty = none does
  Milliseconds retention{24LL * 3600 * 1000};  ///< how long an answer is kept at least
  std::uint32_t answer_bytes_max = 256 * 1024;  ///< head and body; of a longer answer only status and head are kept
  /// Answers that say nothing of what became of the order: they reach the client as they are, and the order is unknown. Ours is the
  /// default: what servers make of an exception (500), of an answer that they did not understand (502) or that did not come (504).
  std::vector<int> unknown_statuses{500, 502, 504};

  static constexpr std::size_t kKeyBytesMax = 255;
  friend bool operator==(const OrderRule&, const OrderRule&) = default;
};
/// By what two agents find the same row for the same request: zone, and place of the key, without blanks. What else a rule says may differ.
[[nodiscard]] std::string order_identity(const OrderRule& rule);
/// The key in the value of a field; nullopt if that is none.
[[nodiscard]] std::optional<std::string> order_key_of(std::string_view value);
/// What a document has at a place.
struct JsonText {
  enum class Is : std::uint8_t {
    kAbsent,    ///< nothing: the document is empty, or has no such place
    kText,      ///< a string, or an integer of up to 64 bits as its digits
    kUnusable,  ///< something that is no key: another kind of value, or a document that cannot be read
  };
  Is is = Is::kAbsent;
  std::string text{};  ///< with kText
  friend bool operator==(const JsonText&, const JsonText&) = default;
};
/// What stands at a JSON Pointer (RFC 6901). From the host.
using JsonTextFunction = JsonText (*)(std::string_view text, std::string_view pointer);
/// The value of a parameter; nullopt if it is not there. @param query  without '?'
[[nodiscard]] std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name);

/// An answer as it was recorded.
struct OrderAnswer {
  int status = 0;             ///< 200..599
  std::string head;           ///< reason, CR LF, then field lines with CR LF: those of the instance that are not of one hop
  std::string body;           ///< without any framing
  bool kept = true;           ///< false: it was longer than the rule allows, and body is empty
};

/// What is asked of the ledger.
struct OrderRequest {
  std::string service, zone, key;
  Digest fingerprint{};
  Epoch epoch{};              ///< under which it would be sent; 0 with look_only
  Milliseconds retention{0};
  bool look_only = false;     ///< nothing is reserved: only what is known already is wanted
  bool timed = false;         ///< OrderCommit is wanted
};

/// The log's part of an answer of the ledger, with OrderRequest::timed. Default = there was none.
struct OrderCommit {
  TimePoint proposed{}, decided{};
  std::uint64_t index = 0;  ///< of the entry; 0 = it was not decided
};

/// What the ledger says.
enum class OrderVerdict : std::uint8_t {
  kReserved,    ///< ours to send, once
  kNothing,     ///< look_only: no such key, or it was not sent
  kAnswered,    ///< `answer` is there
  kInFlight,    ///< somebody is at it
  kUnknown,     ///< it may have been sent, and no answer is known
  kOther,       ///< the key stands for another request
  kStale,       ///< the epoch is over
  kFull,        ///< a bound is reached; `detail` names it
  kUnavailable, ///< no majority in time; nothing was sent
};
struct OrderReply {
  OrderVerdict verdict = OrderVerdict::kUnavailable;
  std::uint64_t reservation = 0;   ///< names it in settle(); > 0 with kReserved
  std::shared_ptr<const OrderAnswer> answer;
  std::string detail;
  OrderCommit commit{};
};

/// How an order under a reservation ended.
enum class OrderEnd : std::uint8_t {
  kAnswered,
  kNotSent,   ///< not one byte has left: it may be sent again
  kUnknown,   ///< bytes have left, and no whole answer came
};

/// Names a question whose answer somebody waits for; never 0.
enum class OrderTicket : std::uint64_t {};

/// The host's. Calls return at once and never call back; answers come through Proxy::order_told and order_recorded.
class OrderLedger {
 public:
  virtual ~OrderLedger() = default;
  virtual void reserve(OrderTicket ticket, OrderRequest request) = 0;
  /// Nobody waits for that ticket any more: a reservation that is made under it ends as kNotSent.
  virtual void abandon(OrderTicket ticket) = 0;
  /// The host records it however long that takes, as long as the process lives. @param ticket  0 = nobody waits
  virtual void settle(OrderTicket ticket, const OrderRequest& request, std::uint64_t reservation, OrderEnd end,
                      std::shared_ptr<const OrderAnswer> answer) = 0;
};

}  // namespace proxy
