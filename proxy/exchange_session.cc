// Which node a session is at: its key, its cookie, and what the table of sessions is told.
#include "proxy/exchange.h"

namespace proxy {

void Exchange::note_session(const http1::RequestHead& head) {
  const StickyRule& rule = *route_->sticky;
  std::optional<std::string_view> value;
  switch (rule.key.kind) {
    case ClientKey::Kind::kCookie:
      value = cookie_of(head, rule.key.name);
      if (rule.issue && value && !is_session_id(*value)) value.reset();
      break;
    case ClientKey::Kind::kHeader: value = head.find(rule.key.name); break;
    case ClientKey::Kind::kIp:
    case ClientKey::Kind::kPath:
    case ClientKey::Kind::kRoute: {
      const Accepted& from = down_->accepted();
      value = session_address(client_address(head, from.client, from.trusted.get()), session_text_);
      break;
    }
  }
  if (!value || value->empty()) {
    session_issue_ = rule.issue;
    return;
  }
  session_ = session_hash(rule.zone, *value);
  session_known_ = rule.table->use(session_, core_.now) != NodeNumber::kNone;
  session_used_ = core_.now;
}

Core::Picked Exchange::pick() {
  if (!in_session()) return core_.pick(*pool_, *route_, tried_, hash_);
  const bool patient = queue_deadline_ == TimePoint{} || core_.now < queue_deadline_;
  return core_.pick_session(*pool_, *route_, tried_, session_, patient ? Core::NoRoom::kWait : Core::NoRoom::kMove);
}

// It goes to `endpoint`: a new session is there from now on, and one that could not stay where it was.
void Exchange::settle_session(EndpointState& endpoint) {
  if (session_issue_) issue_session(endpoint);
  if (!in_session() || session_stays_) return;
  const StickyRule& rule = *route_->sticky;
  if (rule.table->node_of(session_, core_.now) == endpoint.endpoint.number) return;
  rule.table->put(session_, rule.zone_number, endpoint.endpoint.number, core_.now,
                  session_known_ ? StickyTable::Why::kMoved : StickyTable::Why::kNew);
}

// The balancer has chosen; the id is drawn until its hash chooses the same. So the rule of the route holds for new sessions,
// and every agent knows where this one is before anybody has told it.
void Exchange::issue_session(const EndpointState& endpoint) {
  constexpr int kDrawsMax = 64;  // with as many endpoints the last draw fits anyway or the hash decides
  const StickyRule& rule = *route_->sticky;
  session_issue_ = false;
  for (int draw = 0; draw < kDrawsMax; ++draw) {
    const MadeId id(core_.chance);
    session_text_.assign(id.text.data(), id.text.size());
    session_ = session_hash(rule.zone, session_text_);
    if (core_.pick_session(*pool_, *route_, tried_, session_, Core::NoRoom::kWait).endpoint == &endpoint) break;
  }
  ((((admission_text_ += "Set-Cookie: ") += rule.key.name) += '=') += session_text_) += "; Path=/; HttpOnly; SameSite=Lax";
  admission_text_ += down_->accepted().scheme == Scheme::kHttps ? "; Secure\r\n" : "\r\n";
}

// The application's own cookie, made by this answer: its session is where it was made.
void Exchange::learn_session(const http1::ResponseHead& head) {
  const StickyRule& rule = *route_->sticky;
  if (rule.key.kind != ClientKey::Kind::kCookie || rule.issue || down_->accepted().kind != ListenerKind::kDownstream) return;
  for (const http1::Header& header : head.headers) {
    if (!http1::same_text(header.name, "set-cookie")) continue;
    const auto value = cookie_set(header.value, rule.key.name);
    if (!value) continue;
    const SessionHash made = session_hash(rule.zone, *value);
    if (rule.table->node_of(made, core_.now) == endpoint_->endpoint.number) continue;
    rule.table->put(made, rule.zone_number, endpoint_->endpoint.number, core_.now, StickyTable::Why::kLearned);
  }
}

// A tunnel is one request that lasts: its bytes are uses of the session.
void Exchange::keep_session() {
  const StickyRule& rule = *route_->sticky;
  if (core_.now - session_used_ < rule.ttl / 64) return;
  session_used_ = core_.now;
  (void)rule.table->use(session_, core_.now);
}

}  // namespace proxy
