#include "proxy/egress.h"

#include <algorithm>
#include <charconv>

#include "proxy/http1/writer.h"
#include "proxy/route.h"

namespace proxy {

using http1::append_header;
using http1::Header;
using http1::HeaderId;

std::string_view name_of(EgressVerdict verdict) {
  switch (verdict) {
    case EgressVerdict::kOpen: return "open";
    case EgressVerdict::kNotPrimary: return "not_primary";
    case EgressVerdict::kLeaseOver: return "lease_over";
    case EgressVerdict::kNotArmed: return "not_armed";
    case EgressVerdict::kOldEpoch: return "old_epoch";
  }
  return "unknown";
}

// The lease comes last among what has to do with the role: it is the one that another thread may end at any moment.
EgressVerdict egress_permit(const PrimaryView& view, const EgressAct& act, TimePoint now) {
  if (view.holder != PrimaryView::Holder::kLocal || view.lease == nullptr) return EgressVerdict::kNotPrimary;
  if (act.claimed && *act.claimed != view.epoch) return EgressVerdict::kOldEpoch;
  if (act.connection != Epoch{} && act.connection != view.epoch) return EgressVerdict::kOldEpoch;
  if (!view.lease->valid_at(now)) return EgressVerdict::kLeaseOver;
  if (!view.armed && act.deed != EgressDeed::kRead) return EgressVerdict::kNotArmed;
  return EgressVerdict::kOpen;
}

bool EgressRule::complete() const {
  return std::all_of(fields.begin(), fields.end(), [](const EgressField& field) { return field.known; });
}

void EgressCounters::add(const EgressCounters& other) {
  for (std::size_t i = 0; i < refused.size(); ++i) refused[i] += other.refused[i];
  unreadable += other.unreadable;
  incomplete += other.incomplete;
  resets += other.resets;
  bytes_out += other.bytes_out;
  bytes_in += other.bytes_in;
}

LocalReply egress_reply(EgressVerdict verdict) {
  LocalReply reply;
  reply.status = verdict == EgressVerdict::kOldEpoch ? 409 : 503;
  reply.code = name_of(verdict);
  if (verdict != EgressVerdict::kOldEpoch) reply.retry_after = Milliseconds{1000};
  reply.outcome = name_of(Outcome::kNotSent);
  switch (verdict) {
    case EgressVerdict::kOpen: break;
    case EgressVerdict::kNotPrimary:
      reply.message = "this agent does not hold the role: nothing goes out to the broker from here";
      reply.hint = "leave trading to the primary; outrigger role shows who that is";
      break;
    case EgressVerdict::kLeaseOver:
      reply.message = "the lease of this agent is over: another one may be primary already";
      reply.hint = "wait until the role is known again, and decide anew";
      break;
    case EgressVerdict::kNotArmed:
      reply.message = "this agent is primary but may not act: reads pass, everything else waits";
      reply.hint = "look at the role of this agent; it may wait for a reconciliation or for an approval";
      break;
    case EgressVerdict::kOldEpoch:
      reply.message = "this was decided under an epoch that is over";
      reply.hint = "do not send it again; decide anew under the present epoch";
      break;
  }
  return reply;
}

bool append_egress_target(std::string& out, const http1::RequestHead& head, const EgressRule& rule) {
  // As it was written, not as a rule reads it: what the service has signed must arrive as it is.
  if (!head.path.starts_with(rule.prefix)) return false;
  const std::string_view rest = head.path.substr(rule.prefix.size());
  if (!rest.empty() && rest.front() != '/') return false;
  std::string scratch;
  if (!rest.empty() && !canonical_path(rest, scratch)) return false;
  out += rule.base;
  if (rest.empty() && rule.base.empty()) out += '/';
  out += rest;
  if (head.target.find('?') != std::string_view::npos) {
    out += '?';
    out += head.query;
  }
  return true;
}

namespace {

// What belongs to this hop, what other proxies would say, and what is ours: none of the broker's business.
bool goes_to_broker(const Header& header, const http1::RequestHead& head, const EgressRule& rule, std::string_view hop_names) {
  if (header.id == HeaderId::kTrailer) return head.framing == http1::Framing::kChunked;
  if (header.id != HeaderId::kOther || http1::is_lookalike(header.name) || http1::list_has(hop_names, header.name)) return false;
  if (!rule.epoch_field.empty() && reads_as(header.name, rule.epoch_field)) return false;
  return std::none_of(rule.fields.begin(), rule.fields.end(), [&](const EgressField& field) { return reads_as(header.name, field.name); });
}

}  // namespace

RequestIdPlace append_egress_head(std::string& out, const http1::RequestHead& head, std::string_view target, const EgressRule& rule,
                                  std::string_view id_field, std::string_view made_id) {
  http1::append_request_line(out, head.method_text, target);
  append_header(out, "Host", rule.host);
  std::string hop_names;
  append_hop_names(hop_names, head.headers);
  const auto sent = head.find(id_field);
  for (const Header& header : head.headers) {
    if (reads_as(header.name, id_field)) continue;
    if (header.id == HeaderId::kRequestId || goes_to_broker(header, head, rule, hop_names)) append_header(out, header.name, header.value);
  }
  for (const EgressField& field : rule.fields) append_header(out, field.name, field.value);
  append_request_framing(out, head);
  // An id of the service's own passes as it is: to some brokers it is the name of the order.
  const std::string_view id = sent ? *sent : made_id;
  out += id_field;
  out += ": ";
  const RequestIdPlace place{out.size(), id.size()};
  out += id;
  out += "\r\n";
  return place;
}

void append_egress_attempt(std::string& out, const EgressRule& rule, Epoch epoch) {
  if (!rule.epoch_field.empty()) append_header(out, rule.epoch_field, static_cast<std::uint64_t>(epoch));
  http1::append_end_of_head(out);
}

std::optional<std::optional<Epoch>> claimed_epoch(const http1::RequestHead& head) {
  std::optional<Epoch> claimed;
  for (const Header& header : head.headers) {
    if (header.id != HeaderId::kOutrigger || !http1::same_text(header.name, kEpochField)) continue;
    std::uint64_t value = 0;
    const char* end = header.value.data() + header.value.size();
    const auto [stop, code] = std::from_chars(header.value.data(), end, value);
    // Two that differ are a contradiction: whichever was meant, the other one was not.
    if (code != std::errc{} || stop != end || header.value.empty() || (claimed && *claimed != Epoch{value})) return std::nullopt;
    claimed = Epoch{value};
  }
  return claimed;
}

}  // namespace proxy
