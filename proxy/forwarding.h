#pragma once
/// Heads on their way through: what is kept, stripped and added, in both directions. Text in, text out.
/// Source: RFC 9110, section 7.6 (message forwarding); RFC 9112, section 6 (framing belongs to one hop).
/// Every head is written anew from validated parts: nothing that the codec did not understand can pass.

#include <span>
#include <string>
#include <string_view>

#include "proxy/field_rules.h"
#include "proxy/http1/message.h"
#include "proxy/proxy.h"

namespace proxy {

/// Names of our own fields.
inline constexpr std::string_view kNodeField = "X-Outrigger-Node";        ///< to the instance: agent beside it
inline constexpr std::string_view kRoleField = "X-Outrigger-Role";        ///< to the instance: "primary" or "standby"
inline constexpr std::string_view kEpochField = "X-Outrigger-Epoch";      ///< to the instance: decimal
inline constexpr std::string_view kHopField = "X-Outrigger-Hop";          ///< to a peer: name of the agent that entered it
inline constexpr std::string_view kOrderField = "X-Outrigger-Order";      ///< to a peer: the request is an order under a key: order_identity, and digest of who asks or "-"
inline constexpr std::string_view kRefusedField = "X-Outrigger-Refused";  ///< from a peer: its instance got nothing, and why
inline constexpr std::string_view kOutcomeField = "X-Outrigger-Outcome";  ///< to the client: "not-sent" or "unknown"

/// Where a request came from.
struct Origin {
  ListenerKind kind = ListenerKind::kDownstream;
  Scheme scheme = Scheme::kHttp;
  std::string_view client;    ///< address
  bool trusted = false;       ///< what it says about its own client is believed
  std::string_view client_certificate;  ///< Accepted::client_certificate
};

/// Appends the names that Connection declares to be of this hop, as a list; nothing when it names no field. They hold for
/// trailers too (RFC 9110, section 7.6.1).
void append_hop_names(std::string& out, std::span<const http1::Header> headers);

/// Where the id of a request stands in the head that append_request_head has written.
struct RequestIdPlace {
  std::size_t at = 0, size = 0;
};
/// What becomes of fields that tell where a request stands in the world of logs and traces.
struct Naming {
  std::string_view made_id;                 ///< used when nobody who is believed sent an id
  std::string_view id_field = "X-Request-Id";
  bool id_from_anyone = false;              ///< RequestIdSettings::from_anyone
  bool own_trace = false;                   ///< traceparent and tracestate are left out: the caller appends its own
};
/// Writes the part of the upstream head that is the same for every attempt: request line and fields, no blank line.
/// An id is 1..128 of letters, digits and -_.:/+=@; what is none is replaced.
/// @param rules    whose deleted and replaced fields are left out; null = none
RequestIdPlace append_request_head(std::string& out, const http1::RequestHead& head, const Origin& origin, const Naming& naming,
                                   const FieldRules* rules = nullptr);
/// Content-Length, Transfer-Encoding, Expect and Upgrade, from what the codec made of them.
void append_request_framing(std::string& out, const http1::RequestHead& head);
/// `name` is `field`, perhaps with '_' for '-' (which some applications cannot tell apart). Any case.
[[nodiscard]] bool reads_as(std::string_view name, std::string_view field);

/// What the endpoint of one attempt is told.
struct AttemptFacts {
  EndpointKind kind = EndpointKind::kLocal;
  std::string_view node;      ///< this agent
  bool is_primary = false;
  Epoch epoch{};
  std::string_view order;     ///< value of kOrderField; empty = none
};
/// Completes the head, blank line included.
void append_attempt_head(std::string& out, const AttemptFacts& facts);

/// How the response goes to the client.
struct ResponseFacts {
  EndpointKind from = EndpointKind::kLocal;
  std::uint8_t client_minor = 1;   ///< of the request
  bool keep_alive = true;          ///< the client's connection stays open
  http1::Framing framing = http1::Framing::kNone;  ///< of the body as the client gets it
  std::string_view fields;         ///< whole header lines of our own, of valid text; not for interim heads
  bool packed = false;             ///< the body goes out packed: its length and strong validators are no longer true
  const FieldRules* rules = nullptr;  ///< whose deleted and replaced fields are left out; null = none
  std::string_view id_field;       ///< name of the next; the instance's own such field gives way. Not for interim heads
  std::string_view request_id;     ///< empty = the field is not ours to set
  std::string_view hsts;           ///< ListenerRules::hsts; takes the place of the instance's own
};
/// Framing for a client of HTTP/1.`client_minor`: what has no length is chunked for 1.1 and ends with the connection for 1.0.
[[nodiscard]] http1::Framing client_framing(const http1::ResponseHead& head, std::uint8_t client_minor);
/// Writes a whole response head, interim heads and 101 included.
void append_response_head(std::string& out, const http1::ResponseHead& head, const ResponseFacts& facts);

/// Our own answer to the client.
struct LocalReply {
  int status = 0;               ///< 0 = no reply
  std::string_view code;        ///< snake_case, stable: "no_primary"
  std::string_view message;     ///< what happened
  std::string_view hint;        ///< what to do
  Milliseconds retry_after{0};  ///< 0 = the client should not simply try again
  std::string_view outcome;     ///< "not-sent", "unknown"; empty = no request was understood
  std::string_view refused;     ///< to peers: reason for kRefusedField; empty otherwise
  std::string_view allow;       ///< value of Allow; empty = none
  std::string_view location;    ///< value of Location; empty = none
  std::string_view fields;      ///< further header lines, whole, of valid text
};
/// Makes a text fit for LocalReply and for a field: quotes, backslashes and what is not visible ASCII become spaces.
void make_plain(std::string& text);
/// Writes head and JSON body {code, message, hint, retry_after_ms}; all values are our own text, free of quotes.
/// @param method  of the request; an answer to HEAD has no body
void append_reply(std::string& out, const LocalReply& reply, const ResponseFacts& facts, http1::Method method);

}  // namespace proxy
