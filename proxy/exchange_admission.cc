// Who may come in: the rules of the route, in their order, and what a client is told that may not.
#include <algorithm>

#include "proxy/exchange.h"

namespace proxy {

void Exchange::refuse(int status, std::string_view code, std::string_view message, std::string_view hint,
                      Milliseconds retry_after) {
  early_.status = status;
  early_.code = code;
  early_.message = message;
  early_.hint = hint;
  early_.retry_after = retry_after;
}

void Exchange::admit(const http1::RequestHead& head, std::string_view path) {
  const Admission& rules = route_->admission;
  const Accepted& from = down_->accepted();
  const std::string_view address = client_address(head, from.client, from.trusted.get());
  if (!lets_in(rules, address)) {
    ++state_->counters.address_denied;
    refuse(403, "address_denied", "this route is not open to the address of the client",
           "see allow and deny of the route, and trusted_proxies of the listener", Milliseconds{0});
    return;
  }
  const Credentials::Entry* secret =
      rules.credentials.entries.empty() ? nullptr : credentials_of(rules.credentials, core_.settings.digest, head, admission_text_);
  if (!rules.credentials.entries.empty() && secret == nullptr) {
    ++state_->counters.unauthorized;
    refuse(401, "unauthorized", "this route asks for credentials that the request did not carry",
           "send Authorization with a token or password of this route", Milliseconds{0});
    // A browser asks its user only if it is told that a password would do.
    admission_text_ = rules.credentials.has_users() ? "WWW-Authenticate: Basic realm=\"" : "WWW-Authenticate: Bearer realm=\"";
    admission_text_ += rules.credentials.realm;
    admission_text_ += "\"\r\n";
    return;
  }
  admission_text_.clear();
  if (secret != nullptr && route_->order) principal_ = principal_of(*secret);
  if (rules.rate_table == nullptr || admit_rate(head, address, path)) admit_concurrency();
}

// Before anything else of the request is looked at: a ban is for everything that this agent serves.
bool Exchange::is_banned(const http1::RequestHead& head) {
  const Accepted& from = down_->accepted();
  if (from.kind == ListenerKind::kPeer || !core_.settings.guard->bans_any(core_.now)) return false;
  if (!core_.settings.guard->bans(client_address(head, from.client, from.trusted.get()), core_.now)) return false;
  core_.settings.guard->count_refusal();
  keep_client_ = false;
  refuse(403, kBannedReason, "too many failures have come from the address of this client; it is kept out for a while",
         "wait, or have an operator run: outrigger guard unban ADDRESS", Milliseconds{0});
  return true;
}

void Exchange::admit_concurrency() {
  const Admission& rules = route_->admission;
  if (rules.concurrency_max == 0) return;
  if (rules.share->running.fetch_add(1, std::memory_order_relaxed) < rules.concurrency_max) {
    running_counted_ = true;
    return;
  }
  rules.share->running.fetch_sub(1, std::memory_order_relaxed);
  ++state_->counters.busy;
  refuse(503, "route_busy", "as many requests of this route are under way as it allows", "try again in a moment",
         Milliseconds{1000});
}

// @return true if it may come in; false if it is refused, or another agent has been asked
bool Exchange::admit_rate(const http1::RequestHead& head, std::string_view address, std::string_view path) {
  const Admission& rules = route_->admission;
  const std::string_view key = client_key(rules.rate_key, head, address, path, admission_text_);
  if (rules.cluster_zone == nullptr) return settle_rate(rules.rate_table->take(key, core_.now), nullptr);
  RateZone& zone = *rules.cluster_zone;
  const auto decision = core_.desk.ask(zone, zone.key_of(key), core_.now, *this, rate_ticket_);
  if (decision) return settle_rate(decision->verdict, &*decision);
  rate_deadline_ = core_.now + zone.how.timeout;
  note(Step::kRateAsked);
  return false;
}

/// @param decision  who has decided it for the cluster; null = the limit is this agent's own
bool Exchange::settle_rate(const RateVerdict& verdict, const RateDecision* decision) {
  const Admission& rules = route_->admission;
  admission_text_.clear();
  append_rate_fields(admission_text_, rules, verdict);
  const std::string_view how = decision == nullptr ? std::string_view() : sentence_of(decision->source);
  const std::string_view who = decision == nullptr || !core_.settings.trails ? std::string_view() : core_.desk.name(decision->owner);
  if (verdict.admitted) {
    note(Step::kRate, how, who, verdict.remaining, static_cast<std::uint64_t>(verdict.delay.count()));
    if (verdict.delay > std::chrono::nanoseconds::zero()) {
      ++state_->counters.rate_delayed;
      dispatch_at_ = core_.now + verdict.delay;
    }
    return true;
  }
  note(Step::kOverRate, how, who, static_cast<std::uint64_t>(verdict.retry_after.count()));
  ++state_->counters.rate_limited;
  const Milliseconds wait = std::max(Milliseconds{1}, std::chrono::ceil<Milliseconds>(verdict.retry_after));
  if (decision != nullptr && decision->undecided) {
    refuse(503, "rate_unknown", "the agent that counts the requests of this client does not answer", "try again in a moment", wait);
  } else {
    refuse(429, "rate_limited", "more requests of this client than the route allows", "wait as long as Retry-After says", wait);
  }
  return false;
}

// The answer of another agent, or what takes its place.
void Exchange::rate_decided(const RateDecision& decision) {
  rate_ticket_ = 0;
  if (settle_rate(decision.verdict, &decision)) admit_concurrency();
  if (phase_ != Phase::kAsked) return;  // the rest of what one read has brought is still on its way here
  phase_ = Phase::kNew;
  if (early_.status != 0) {
    send_reply(early_);
    return;
  }
  dispatch();
  if (phase_ != Phase::kOver && down_ != nullptr) down_->update_reading();
}

void Exchange::note_hash(const http1::RequestHead& head, std::string_view path) {
  const Accepted& from = down_->accepted();
  const std::string_view address = client_address(head, from.client, from.trusted.get());
  // The same at every agent and worker, so that all of them send a client to the same place.
  hash_ = keyed_hash(0x6f75747269676765ULL, 0x72696e672d686173ULL, client_key(route_->hash_key, head, address, path, admission_text_));
  admission_text_.clear();
}

// ---- a place at an endpoint ----

void Exchange::dispatch_all() {
  if (route_->egress && !egress_open()) return;
  Core::Picked picked;
  // Another worker may take the last place, or the probe, between the look and the claim.
  for (int round = 0; round < 4; ++round) {
    picked = pick();
    if (core_.settings.trails) note_candidates(picked.endpoint);
    if (picked.endpoint == nullptr) break;
    if (!claim(*picked.endpoint)) {
      picked.full = true;
      continue;
    }
    if (route_->sticky) settle_session(*picked.endpoint);
    attempt(*picked.endpoint, route_->egress ? service_->view.lease.get() : nullptr);
    return;
  }
  if (picked.full) {
    wait_in_queue();
  } else if (attempt_count_ > 0) {
    give_up(last_end_, last_code_, last_message_);
  } else if (picked.broken) {
    ++state_->counters.breaker_denied;
    reply(503, "breaker_open", "the endpoints of this route failed again and again and are left alone for a while",
          "try again later", Outcome::kNotSent, Milliseconds{1000});
  } else {
    reply(503, "no_endpoint", "no healthy endpoint can take this request", "look at the upstreams of this agent",
          Outcome::kNotSent, Milliseconds{1000});
  }
}

// Takes a place among max_conns and a pass of the breaker.
bool Exchange::claim(EndpointState& endpoint) {
  if (route_->max_conns > 0) {
    if (endpoint.share->in_flight.fetch_add(1, std::memory_order_relaxed) >= route_->max_conns) {
      endpoint.share->in_flight.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    slot_ = true;
  }
  if (route_->breakers == nullptr) return true;
  const BreakerPass pass = route_->breakers->enter(endpoint.endpoint.id, core_.now);
  if (pass == BreakerPass::kDenied) {
    if (std::exchange(slot_, false)) endpoint.share->in_flight.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  breaker_asked_ = true;
  probe_ = pass == BreakerPass::kProbe;
  if (probe_) {
    note(Step::kProbe, endpoint.endpoint.address);
    core_.host.on_health_news();
  }
  return true;
}

void Exchange::wait_in_queue() {
  const bool first = queue_deadline_ == TimePoint{};
  if (first) queue_deadline_ = core_.now + route_->queue_timeout;
  const bool room = state_->queued < route_->queue_max;
  if (!room || core_.now >= queue_deadline_ || core_.draining) {
    phase_ = Phase::kNew;
    ++(room ? state_->counters.queue_timeouts : state_->counters.queue_full);
    reply(503, room ? "queue_timeout" : "queue_full", room ? "no endpoint had room for this request in time"
          : "too many requests wait for an endpoint with room", "try again in a moment", Outcome::kNotSent, Milliseconds{1000});
    return;
  }
  if (first) ++state_->counters.queued;
  if (first) note(Step::kQueued, {}, {}, state_->queued);
  phase_ = Phase::kQueued;
  state_->queue.push_back(service_link);
  ++state_->queued;
  core_.note_queued(1);
  arm_timer();
}

void Exchange::leave_queue() {
  if (!service_link.linked()) return;
  service_link.unlink();
  --state_->queued;
  core_.note_queued(-1);
}

bool Exchange::has_somewhere() { return core_.can_pick(*pool_, *route_, tried_); }
bool Exchange::can_leave_queue() { return in_session() ? pick().endpoint != nullptr : has_somewhere(); }

void Exchange::dispatch_queued() {
  leave_queue();
  phase_ = Phase::kNew;
  dispatch();
  if (phase_ != Phase::kOver && down_ != nullptr) down_->update_reading();
}

// ---- breakers ----

void Exchange::report_breaker(bool good) {
  if (!std::exchange(breaker_asked_, false)) return;
  if (route_->breakers->result(endpoint_->endpoint.id, core_.now, good, std::exchange(probe_, false))) core_.host.on_health_news();
}

void Exchange::judge_breaker(AttemptEnd end, bool blamed) {
  if (!breaker_asked_ || !blamed) return;
  Failure failure = Failure::kReset;
  if (end == AttemptEnd::kConnectFailed) failure = Failure::kConnect;
  if (end == AttemptEnd::kFirstByteLate) failure = Failure::kTimeout;
  if (route_->breaker.counts(failure)) report_breaker(false);
}

}  // namespace proxy
