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
  const std::string_view address = client_address(head, from.client, from.trusted);
  if (!lets_in(rules, address)) {
    ++state_->counters.address_denied;
    refuse(403, "address_denied", "this route is not open to the address of the client",
           "see allow and deny of the route, and trusted_proxies of the listener", Milliseconds{0});
    return;
  }
  if (!rules.credentials.entries.empty() && !is_authorized(rules.credentials, core_.settings.digest, head, admission_text_)) {
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
  if (rules.rate_table != nullptr && !admit_rate(head, address, path)) return;
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

bool Exchange::admit_rate(const http1::RequestHead& head, std::string_view address, std::string_view path) {
  const Admission& rules = route_->admission;
  const std::string_view key = client_key(rules.rate_key, head, address, path, admission_text_);
  const RateVerdict verdict = rules.rate_table->take(key, core_.now);
  admission_text_.clear();
  append_rate_fields(admission_text_, rules, verdict);
  if (verdict.admitted) {
    if (verdict.delay > std::chrono::nanoseconds::zero()) {
      ++state_->counters.rate_delayed;
      dispatch_at_ = core_.now + verdict.delay;
    }
    return true;
  }
  ++state_->counters.rate_limited;
  refuse(429, "rate_limited", "more requests of this client than the route allows", "wait as long as Retry-After says",
         std::max(Milliseconds{1}, std::chrono::ceil<Milliseconds>(verdict.retry_after)));
  return false;
}

void Exchange::dispatch_queued() {
  phase_ = Phase::kNew;
  dispatch();
  if (phase_ != Phase::kOver && down_ != nullptr) down_->update_reading();
}

}  // namespace proxy
