#pragma once
/// Egress: what the service beside this agent sends out to a broker, fenced at the wire.
///
/// The service reaches its broker through its agent alone, and the agent lets bytes out only while it holds the role: one
/// rule, egress_permit(), stands before every write towards a broker, whatever the mode (requests, CONNECT tunnels, TCP).
/// When it says no, every egress connection of the service is reset before anybody is told anything, idle ones too, and what
/// waited is thrown away: a process that wakes from a pause finds neither an open door nor an old connection.
/// E1 A connection belongs to the epoch in which it was opened; it never carries a byte of another one.
/// E2 A request of which a byte may have left is not sent again, unless its method is safe and its route allows it.
/// E3 Values of injected fields are written into heads for the broker and nowhere else.
/// What no check in user space can close: a pause between the check and the system call, and bytes that are on their way.
/// Thread: values; the permit is asked by workers.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/egress_counters.h"
#include "proxy/forwarding.h"
#include "proxy/upstream.h"

namespace proxy {

/// What the bytes would do there.
enum class EgressDeed : std::uint8_t {
  kRead,  ///< a request with a safe method: it looks, and may while the holder is not armed
  kAct,   ///< everything else; of a tunnel nobody can tell
};

/// One write that is about to be made.
struct EgressAct {
  std::string_view egress;            ///< name of the [[egress]] it goes through
  Epoch connection{};                 ///< under which its connection was opened; 0 = it is about to be
  std::optional<Epoch> claimed{};     ///< what the service says its order was decided under
  EgressDeed deed = EgressDeed::kAct;
};

/// The one gate. Called in the call that writes, with a clock read there. @param now  CLOCK_BOOTTIME
[[nodiscard]] EgressVerdict egress_permit(const PrimaryView& view, const EgressAct& act, TimePoint now);

/// Where a broker is. The host derives what it needs to connect there (TLS and the like).
/// Ownership: shared by the endpoints of one pool.
struct EgressTarget {
  EgressTarget(std::string whose, std::string of) : service(std::move(whose)), egress(std::move(of)) {}
  virtual ~EgressTarget() = default;
  /// Whether connections that were made by the other one would be made the same by this one.
  [[nodiscard]] virtual bool is_like(const EgressTarget& other) const { return service == other.service && egress == other.egress; }
  const std::string service;  ///< whose connections these are
  const std::string egress;   ///< name of the route that they serve
};

/// A field of requests to the broker that the service does not know the value of.
struct EgressField {
  std::string name;
  std::string value;   ///< a secret
  bool known = false;  ///< false: there is no value, and requests are refused
};

/// How the requests of one [[egress]] are written. Immutable.
struct EgressRule {
  std::string name;
  std::string prefix;       ///< canonical path under which the service calls it: "/egress/broker"
  std::string base;         ///< put in its place: "" or "/v2"; does not end in '/'
  std::string host;         ///< value of Host
  std::string epoch_field;  ///< told to the broker; empty = it is not
  std::vector<EgressField> fields;
  [[nodiscard]] bool complete() const;  ///< the value of every field is known
};

/// Our answer to a service whose request or connection was refused; status 503 or 409.
[[nodiscard]] LocalReply egress_reply(EgressVerdict verdict);
/// Path and query for the broker. @return false: the path is not under `rule.prefix`, or leads out of `rule.base`
[[nodiscard]] bool append_egress_target(std::string& out, const http1::RequestHead& head, const EgressRule& rule);
/// Writes the part of the head that is the same for every attempt: what the service sent, to the broker's host, without our
/// own fields and without a word about who is behind us; injected fields take the place of its own.
/// @param target   from append_egress_target
/// @param made_id  the request's id if the service has sent none
RequestIdPlace append_egress_head(std::string& out, const http1::RequestHead& head, std::string_view target, const EgressRule& rule,
                                  std::string_view id_field, std::string_view made_id);
/// Completes the head, blank line included.
void append_egress_attempt(std::string& out, const EgressRule& rule, Epoch epoch);
/// X-Outrigger-Epoch as the service sent it: outer none = what it sent is no number; inner none = it sent none.
[[nodiscard]] std::optional<std::optional<Epoch>> claimed_epoch(const http1::RequestHead& head);

}  // namespace proxy
