// Requests of the service to its broker: what they become, whether they may go, and how they end when they may not any more.
#include "proxy/egress.h"
#include "proxy/exchange.h"

namespace proxy {

// The head was written before the route was known: once more, for the broker.
void Exchange::note_egress(const http1::RequestHead& head) {
  const EgressRule& rule = *route_->egress;
  EgressCounters& counters = state_->egress;
  const std::string id(request_id());
  early_text_.clear();
  const auto claimed = claimed_epoch(head);
  const bool readable = claimed && append_egress_target(early_text_, head, rule);
  if (!readable || !rule.complete()) {
    ++(readable ? counters.incomplete : counters.unreadable);
    early_.status = readable ? 503 : 400;
    early_.code = readable ? "no_credential" : claimed ? "bad_path" : "bad_epoch";
    early_.message = readable  ? "a credential that is added to requests of this egress is not there"
                     : claimed ? "the path is not under that of the egress, or leads out of it"
                               : "X-Outrigger-Epoch is no number";
    early_.hint = readable  ? "look at inject of the egress: its key or file may be missing or empty"
                  : claimed ? "write the path as the broker has it behind /egress/NAME, without dot segments that leave it"
                            : "send the number that came with the order, once, or leave the field out";
    if (readable) early_.retry_after = Milliseconds{1000};
    return;
  }
  // It may yet wait for its turn. Whatever it was decided under, it was no later epoch than the one in which it came.
  told_epoch_ = *claimed;
  if (!told_epoch_ && !http1::is_safe(method_)) told_epoch_ = service_->view.epoch;
  target_bytes_ = early_text_.size();
  host_bytes_ = rule.host.size();
  head_.clear();
  id_ = append_egress_head(head_, head, early_text_, rule, core_.settings.request_id.field, id);
  common_bytes_ = head_.size();
}

EgressAct Exchange::egress_act() const {
  const bool reads = http1::is_safe(method_) && !upgrade_;
  return {route_->egress->name, up_ == nullptr ? Epoch{} : up_->epoch(), told_epoch_, reads ? EgressDeed::kRead : EgressDeed::kAct};
}

EgressVerdict Exchange::egress_verdict() const { return egress_permit(service_->view, egress_act(), core_.host.now()); }

// Asked before a place is looked for; the connection asks again with each write.
bool Exchange::egress_open() {
  const EgressVerdict verdict = egress_verdict();
  if (verdict == EgressVerdict::kOpen) return true;
  refuse_egress(verdict);
  return false;
}

void Exchange::refuse_egress(EgressVerdict verdict) {
  state_->egress.count(verdict);
  note(Step::kLeaseLost, name_of(verdict));
  outcome_ = Outcome::kNotSent;
  send_reply(egress_reply(verdict));
}

void Exchange::guard_attempt(const LeaseView* lease) {
  if (route_->egress == nullptr) return up_->guard(lease);
  up_->guard_egress(*service_, route_->egress->name, egress_act().deed);
}

// Those of another epoch are cut when it ends; this is the second look.
std::unique_ptr<Connection> Exchange::take_egress_idle(EndpointState& endpoint, Milliseconds idled_max) {
  while (auto connection = take_idle(core_, endpoint, idled_max)) {
    if (connection->epoch() == service_->view.epoch) return connection;
    ++state_->egress.resets;
    connection->reset();
    core_.bury(std::move(connection));
  }
  return nullptr;
}

bool Exchange::cut_if_forbidden() {
  if (up_ == nullptr || egress_verdict() == EgressVerdict::kOpen) return false;
  ++state_->egress.resets;
  up_->reset();
  return true;
}

// A write was refused, and its bytes are gone: this one ends, also when the lease has been renewed in the meantime.
void Exchange::egress_denied() {
  core_.cut_egress(*service_);
  if (!in_flight_) return;
  ++state_->egress.resets;
  up_->reset();
  egress_lost();
}

// The wire is cut already. What may be at the broker is unknown; all else was not sent and never will be by us.
void Exchange::egress_lost() {
  if (!in_flight_) return;
  ++core_.counters.lease_stops;
  if (phase_ == Phase::kTunnel || may_have_arrived(end_now()))
    return end_under_lease("lease_lost", "the permit to act at the broker ended while the request was there");
  const EgressVerdict verdict = egress_verdict();
  drop_attempt(true);
  phase_ = Phase::kNew;
  refuse_egress(verdict == EgressVerdict::kOpen ? EgressVerdict::kLeaseOver : verdict);
}

}  // namespace proxy
