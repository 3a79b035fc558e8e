#include "proxy/forwarding.h"

#include <algorithm>

#include "proxy/http1/fields.h"
#include "proxy/http1/writer.h"
#include "proxy/trace.h"

namespace proxy {

using http1::append_header;
using http1::Framing;
using http1::Header;
using http1::HeaderId;

namespace {

constexpr std::string_view kClientCertField = "X-Forwarded-Client-Cert";
constexpr std::string_view kHstsField = "Strict-Transport-Security";

bool is_request_id(std::string_view text) {
  static constexpr std::string_view kMarks = "-_.:/+=@";
  if (text.empty() || text.size() > 128) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

// Names that a Connection field declares to be of this hop only, beyond the ones that have an id.
class HopNames {
 public:
  explicit HopNames(std::span<const Header> headers) : headers_(headers) {
    for (const Header& header : headers) {
      if (header.id != HeaderId::kConnection) continue;
      static constexpr std::string_view kPlain[] = {"close", "keep-alive", "upgrade"};
      if (std::none_of(std::begin(kPlain), std::end(kPlain),
                       [&](std::string_view word) { return http1::same_text(word, header.value); })) {
        any_ = true;
      }
    }
  }
  [[nodiscard]] bool any() const { return any_; }
  [[nodiscard]] bool has(std::string_view name) const {
    return any_ && http1::any_lists(headers_, HeaderId::kConnection, name);
  }

 private:
  std::span<const Header> headers_;
  bool any_ = false;
};

// RFC 7239, section 4: "for", "host" and "proto" of this hop, behind what trusted proxies said.
// @param for_known  the fields say who asked a trusted proxy, but not by Forwarded: an element of ours alone would make
//                   that proxy the client for whoever reads Forwarded first
void append_rfc7239(std::string& out, const http1::RequestHead& head, const Origin& origin, bool believed, bool for_known) {
  bool begun = false;
  for (const Header& header : head.headers) {
    if (!believed || header.id != HeaderId::kForwarded || header.value.empty()) continue;
    out += begun ? ", " : "Forwarded: ";
    out += header.value;
    begun = true;
  }
  if (!begun && for_known) return;
  out += begun ? ", for=" : "Forwarded: for=";
  const bool is_v6 = origin.client.find(':') != std::string_view::npos;
  const bool is_v4 = !is_v6 && origin.client.find('.') != std::string_view::npos;
  if (is_v6) out += "\"[";
  out += is_v4 || is_v6 ? origin.client : std::string_view("unknown");
  if (is_v6) out += "]\"";
  if (!head.host.empty()) {
    const bool plain = http1::all_token_bytes(head.host);
    out += plain ? ";host=" : ";host=\"";
    out += head.host;
    if (!plain) out += '"';
  }
  out += origin.scheme == Scheme::kHttps ? ";proto=https\r\n" : ";proto=http\r\n";
}

void append_forwarded(std::string& out, const http1::RequestHead& head, const Origin& origin) {
  const bool believed = origin.trusted || origin.kind == ListenerKind::kPeer;
  // A peer has done all this already, for the client it has met.
  if (origin.kind == ListenerKind::kPeer) {
    for (const Header& header : head.headers) {
      switch (header.id) {
        case HeaderId::kForwarded:
        case HeaderId::kForwardedFor:
        case HeaderId::kForwardedProto:
        case HeaderId::kForwardedHost:
        case HeaderId::kForwardedClientCert:
        case HeaderId::kRealIp: append_header(out, header.name, header.value); break;
        default: break;
      }
    }
    return;
  }
  out += "X-Forwarded-For: ";
  for (const Header& header : head.headers) {
    if (!believed || header.id != HeaderId::kForwardedFor || header.value.empty()) continue;
    out += header.value;
    out += ", ";
  }
  out += origin.client;
  out += "\r\n";
  const auto kept = [&](HeaderId id) { return believed ? head.find(id) : std::nullopt; };
  append_header(out, "X-Forwarded-Proto",
                kept(HeaderId::kForwardedProto).value_or(origin.scheme == Scheme::kHttps ? "https" : "http"));
  if (const auto host = kept(HeaderId::kForwardedHost); host) {
    append_header(out, "X-Forwarded-Host", *host);
  } else if (!head.host.empty()) {
    append_header(out, "X-Forwarded-Host", head.host);
  }
  append_header(out, "X-Real-IP", kept(HeaderId::kRealIp).value_or(origin.client));
  append_rfc7239(out, head, origin, believed, kept(HeaderId::kForwardedFor).has_value());
  // A certificate that we have seen ourselves goes before what anybody tells of one.
  if (!origin.client_certificate.empty()) {
    append_header(out, kClientCertField, origin.client_certificate);
  } else if (const auto told = kept(HeaderId::kForwardedClientCert); told) {
    append_header(out, kClientCertField, *told);
  }
}

}  // namespace

void append_request_framing(std::string& out, const http1::RequestHead& head) {
  const bool announced = head.find(HeaderId::kContentLength).has_value();
  if (head.framing == Framing::kLength || (head.framing == Framing::kNone && announced)) {
    append_header(out, "Content-Length", head.content_length);
  }
  if (head.framing == Framing::kChunked) append_header(out, "Transfer-Encoding", "chunked");
  if (head.expect_continue) append_header(out, "Expect", "100-continue");
  if (head.upgrade) {
    append_header(out, "Connection", "Upgrade");
    append_header(out, "Upgrade", "websocket");
  }
}

namespace {

// Fields that tell of the bytes of a body that goes out packed. @return true: nothing else is to be done about this one
bool append_packed(std::string& out, const Header& header) {
  static constexpr std::string_view kOfBytes[] = {"Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"};
  if (http1::same_text(header.name, "ETag") && header.value.starts_with('"')) {
    out += "ETag: W/";
    out += header.value;
    out += "\r\n";
    return true;
  }
  return std::any_of(std::begin(kOfBytes), std::end(kOfBytes), [&](std::string_view name) { return http1::same_text(name, header.name); });
}

}  // namespace

void append_hop_names(std::string& out, std::span<const Header> headers) {
  if (!HopNames(headers).any()) return;
  for (const Header& header : headers) {
    if (header.id != HeaderId::kConnection) continue;
    out += header.value;
    out += ',';
  }
}

bool reads_as(std::string_view name, std::string_view field) {
  if (name.size() != field.size()) return false;
  const auto plain = [](char c) { return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (plain(name[i]) != plain(field[i])) return false;
  }
  return true;
}

namespace {

constexpr std::string_view kUsualIdField = "X-Request-Id";

// The id that somebody who is believed has sent; empty = none, or none that is one.
std::string_view sent_id(const http1::RequestHead& head, const Origin& origin, const Naming& naming, bool usual) {
  if (!origin.trusted && origin.kind != ListenerKind::kPeer && !naming.id_from_anyone) return {};
  const auto sent = usual ? head.find(HeaderId::kRequestId) : head.find(naming.id_field);
  return sent && is_request_id(*sent) ? *sent : std::string_view();
}

bool is_trace_field(std::string_view name) { return http1::same_text(name, kTraceparent) || http1::same_text(name, kTracestate); }

}  // namespace

RequestIdPlace append_request_head(std::string& out, const http1::RequestHead& head, const Origin& origin, const Naming& naming,
                                   const FieldRules* rules) {
  const bool usual = http1::same_text(naming.id_field, kUsualIdField);
  out += head.method_text;
  out += ' ';
  out += head.path;
  if (head.target.find('?') != std::string_view::npos) {
    out += '?';
    out += head.query;
  }
  out += " HTTP/1.1\r\n";
  append_header(out, "Host", head.host.empty() ? std::string_view("localhost") : head.host);
  const HopNames hop(head.headers);
  for (const Header& header : head.headers) {
    bool plain = header.id == HeaderId::kOther && !http1::is_lookalike(header.name);
    // Under another name of ours, the usual one is a field like any other.
    if (!usual) plain = (plain && !reads_as(header.name, naming.id_field)) || header.id == HeaderId::kRequestId;
    if (naming.own_trace && plain && is_trace_field(header.name)) continue;
    const bool trailer = header.id == HeaderId::kTrailer && head.framing == Framing::kChunked;
    if (rules != nullptr && rules->drops(header.name)) continue;
    if ((plain && !hop.has(header.name)) || trailer) append_header(out, header.name, header.value);
  }
  append_request_framing(out, head);
  append_header(out, "Via", head.major == 2 ? "2 outrigger" : "1.1 outrigger");
  append_forwarded(out, head, origin);
  const std::string_view sent = sent_id(head, origin, naming, usual);
  const std::string_view id = sent.empty() ? naming.made_id : sent;
  out += naming.id_field;
  out += ": ";
  const RequestIdPlace place{out.size(), id.size()};
  out += id;
  out += "\r\n";
  return place;
}

void append_attempt_head(std::string& out, const AttemptFacts& facts) {
  if (facts.kind == EndpointKind::kPeer) {
    append_header(out, kHopField, facts.node);
    if (!facts.order.empty()) append_header(out, kOrderField, facts.order);
  } else {
    append_header(out, kNodeField, facts.node);
    append_header(out, kRoleField, facts.is_primary ? "primary" : "standby");
    append_header(out, kEpochField, static_cast<std::uint64_t>(facts.epoch));
  }
  http1::append_end_of_head(out);
}

Framing client_framing(const http1::ResponseHead& head, std::uint8_t client_minor) {
  if (head.framing != Framing::kChunked && head.framing != Framing::kToEof) return head.framing;
  return client_minor == 0 ? Framing::kToEof : Framing::kChunked;
}

void append_response_head(std::string& out, const http1::ResponseHead& head, const ResponseFacts& facts) {
  http1::append_status_line(out, head.status, head.reason);
  const HopNames hop(head.headers);
  for (const Header& header : head.headers) {
    switch (header.id) {
      case HeaderId::kConnection:
      case HeaderId::kKeepAlive:
      case HeaderId::kProxyConnection:
      case HeaderId::kTransferEncoding:
      case HeaderId::kTe: continue;
      case HeaderId::kContentLength:
        // 1xx and 204 must not carry one; elsewhere it is the length, or what it would have been (HEAD, 304).
        if (head.status < 200 || head.status == 204 || facts.packed) continue;
        break;
      case HeaderId::kUpgrade:
        if (head.status != 101 && head.status != 426) continue;
        break;
      case HeaderId::kTrailer:
        if (facts.framing != Framing::kChunked && facts.framing != Framing::kStream) continue;
        break;
      case HeaderId::kOutrigger:
        // An instance has no say about what we did; and a refusal is for us, not for the client.
        if (facts.from != EndpointKind::kPeer || http1::same_text(header.name, kRefusedField)) continue;
        break;
      case HeaderId::kOther:
        if (!facts.hsts.empty() && http1::same_text(header.name, kHstsField)) continue;
        if (!facts.request_id.empty() && http1::same_text(header.name, facts.id_field)) continue;
        break;
      case HeaderId::kRequestId:
        if (!facts.request_id.empty() && http1::same_text(header.name, facts.id_field)) continue;
        break;
      default: break;
    }
    if (header.id == HeaderId::kOther && hop.has(header.name)) continue;
    if (facts.packed && header.id == HeaderId::kOther && append_packed(out, header)) continue;
    if (facts.rules != nullptr && !head.interim() && facts.rules->drops(header.name)) continue;
    append_header(out, header.name, header.value);
  }
  if (!head.interim() && !facts.request_id.empty()) append_header(out, facts.id_field, facts.request_id);
  if (head.status == 101) {
    append_header(out, "Connection", "Upgrade");
  } else if (!head.interim()) {
    out += facts.fields;
    if (!facts.hsts.empty()) append_header(out, kHstsField, facts.hsts);
    if (facts.framing == Framing::kChunked) append_header(out, "Transfer-Encoding", "chunked");
    if (!facts.keep_alive) append_header(out, "Connection", "close");
    if (facts.keep_alive && facts.client_minor == 0) append_header(out, "Connection", "keep-alive");
  }
  http1::append_end_of_head(out);
}

void make_plain(std::string& text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '"' || c == '\\' || c < 0x20 || c > 0x7e; }, ' ');
}

void append_reply(std::string& out, const LocalReply& reply, const ResponseFacts& facts, http1::Method method) {
  std::string body;
  if (reply.refused.empty()) {
    body.reserve(256);
    body += R"({"code":")";
    body += reply.code;
    body += R"(","message":")";
    body += reply.message;
    body += R"(","hint":")";
    body += reply.hint;
    body += R"(","retry_after_ms":)";
    http1::append_decimal(body, static_cast<std::uint64_t>(reply.retry_after.count()));
    body += "}\n";
  }
  http1::append_status_line(out, reply.status, http1::reason_of(reply.status));
  if (!body.empty()) append_header(out, "Content-Type", "application/json");
  append_header(out, "Content-Length", body.size());
  if (!reply.outcome.empty()) append_header(out, kOutcomeField, reply.outcome);
  if (!reply.refused.empty()) append_header(out, kRefusedField, reply.refused);
  if (!reply.allow.empty()) append_header(out, "Allow", reply.allow);
  if (!reply.location.empty()) append_header(out, "Location", reply.location);
  if (!facts.hsts.empty()) append_header(out, kHstsField, facts.hsts);
  if (!facts.request_id.empty()) append_header(out, facts.id_field, facts.request_id);
  out += reply.fields;
  if (reply.retry_after > Milliseconds::zero()) {
    append_header(out, "Retry-After", static_cast<std::uint64_t>((reply.retry_after.count() + 999) / 1000));
  }
  if (!facts.keep_alive) append_header(out, "Connection", "close");
  if (facts.keep_alive && facts.client_minor == 0) append_header(out, "Connection", "keep-alive");
  http1::append_end_of_head(out);
  if (method != http1::Method::kHead) out += body;
}

}  // namespace proxy
