// Answers kept for other clients of the route: looked for before anybody is asked, and taken down on their way.
#include <algorithm>

#include "proxy/accept_encoding.h"
#include "proxy/exchange.h"
#include "proxy/http1/writer.h"

namespace proxy {

using http1::Framing;
using std::chrono::seconds;

namespace {

constexpr Milliseconds kWaitPauseMin{8}, kWaitPauseMax{64};  // between two looks for what somebody else is fetching
constexpr std::size_t kSliceBytes = kReadBytesMax;           // of a stored body, sent at once

// What would make the answer one for this client only.
constexpr std::string_view kConditions[] = {"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range"};

seconds age_of(const StoredAnswer& answer, TimePoint now) { return answer.age + std::chrono::duration_cast<seconds>(now - answer.since); }

bool is_fresh(const StoredAnswer& answer, const CacheWish& wish, TimePoint now) {
  return now + wish.fresh_min < answer.fresh_until && (wish.age_max < seconds{0} || age_of(answer, now) <= wish.age_max);
}

}  // namespace

void Exchange::note_cache(const http1::RequestHead& head) {
  wish_ = wish_of(head, route_->request_fields);
  // Who somebody has proved to be by a certificate is a credential too.
  if (!field_of(head_, "X-Forwarded-Client-Cert").empty()) wish_.kind = CacheWish::Kind::kBypass;
  if (wish_.kind == CacheWish::Kind::kBypass) {
    route_->cache->counts().bypassed.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const FieldFacts facts = field_facts();
  append_cache_key(cache_key_, route_->name, facts.scheme, facts.host, std::string_view(head_).substr(method_bytes_ + 1, target_bytes_));
  if_none_match_ = field_of(head_, "If-None-Match");
  drop_conditions();
  cache_step_ = wish_.kind == CacheWish::Kind::kUse ? CacheStep::kLook : CacheStep::kAlone;
  generation_ = route_->cache->generation();
}

// The instance is asked for the whole answer, so that it can be kept; the condition of this client is judged here.
void Exchange::drop_conditions() {
  for (const std::string_view name : kConditions) {
    for (std::size_t at = head_.find("\r\n"); at != std::string::npos && at + 2 < head_.size();) {
      const std::size_t next = head_.find("\r\n", at + 2);
      const bool named = next != std::string::npos && head_.size() > at + 2 + name.size() && head_[at + 2 + name.size()] == ':' &&
                         http1::same_text(std::string_view(head_).substr(at + 2, name.size()), name);
      if (named) {
        head_.erase(at, next - at);
        if (id_.at > at) id_.at -= next - at;
      } else {
        at = next;
      }
    }
  }
  common_bytes_ = head_.size();
}

// @return true if this request asks nobody now: it has been answered, or waits.
bool Exchange::look_up() {
  ResponseCache& cache = *route_->cache;
  auto found = cache.find(cache_key_, head_);
  if (found != nullptr && is_fresh(*found, wish_, core_.now)) {
    cache.counts().hits.fetch_add(1, std::memory_order_relaxed);
    serve(std::move(found));
    return true;
  }
  if (wish_.only_if_cached) {
    cache_step_ = CacheStep::kNone;
    reply(504, "not_cached", "the request wants what is kept here, and nothing is", "ask without only-if-cached", Outcome::kNotSent);
    return true;
  }
  cache_step_ = CacheStep::kAlone;
  generation_ = cache.generation();
  const bool waits_on = collapsed_ && core_.now >= wait_until_;
  if (method_ == http1::Method::kGet && !waits_on) {
    // A fetch that does not end is given up a little after those who wait for it have lost their patience.
    switch (cache.claim(cache_key_, core_.now, core_.now + route_->cache_rule.wait + seconds{1}, claim_)) {
      case ResponseCache::Turn::kAlone: break;
      case ResponseCache::Turn::kFetch:
        claimed_ = true;
        cache_step_ = CacheStep::kFetch;
        break;
      case ResponseCache::Turn::kWait:
        if (found != nullptr && core_.now < found->stale_until) {
          cache.counts().stale.fetch_add(1, std::memory_order_relaxed);
          serve(std::move(found));
          return true;
        }
        if (wait_for_other(!collapsed_)) return true;
        break;
    }
  }
  collapsed_ = false;
  stored_ = std::move(found);
  cache.counts().misses.fetch_add(1, std::memory_order_relaxed);
  return false;
}

bool Exchange::wait_for_other(bool first) {
  if (route_->cache_rule.wait <= Milliseconds::zero() || core_.draining) return false;
  if (first) {
    route_->cache->counts().collapsed.fetch_add(1, std::memory_order_relaxed);
    wait_until_ = core_.now + route_->cache_rule.wait;
  }
  collapsed_ = true;
  cache_step_ = CacheStep::kLook;
  wait_pause_ = std::clamp(wait_pause_ * 2, kWaitPauseMin, kWaitPauseMax);
  dispatch_at_ = core_.now + wait_pause_;
  phase_ = Phase::kQueued;
  arm_timer();
  return true;
}

void Exchange::serve(std::shared_ptr<const StoredAnswer> answer) {
  if (claimed_) release_claim(true);
  stored_ = std::move(answer);
  stored_sent_ = 0;
  cache_step_ = CacheStep::kServe;
  phase_ = Phase::kResponding;
  response_begun_ = true;
  progress_ = core_.now;
  first_byte_ = core_.now - started_;
  const bool same = stored_->status == 200 && !if_none_match_.empty() && !stored_->etag.empty() && matches_weakly(if_none_match_, stored_->etag);
  const bool bare = same || method_ == http1::Method::kHead || stored_->body.empty();
  http1::ResponseHead head;
  head.status = same ? 304 : stored_->status;
  head.reason = same ? http1::reason_of(304) : std::string_view(stored_->reason);
  head.framing = bare ? Framing::kNone : Framing::kLength;
  head.content_length = stored_->body.size();
  head.has_content_length = true;
  head.headers = stored_->headers;
  status_ = head.status;
  count_response(status_);
  begin_response(head, EndpointKind::kLocal);
  if (bare) stored_sent_ = stored_->body.size();
  send_stored();
}

// As much as the client takes; the rest when it has room. The body is not copied.
void Exchange::send_stored() {
  bool room = true;
  do {
    const std::string_view slice = std::string_view(stored_->body).substr(stored_sent_, kSliceBytes);
    stored_sent_ += slice.size();
    response_complete_ = stored_sent_ == stored_->body.size();
    if (packer_ == nullptr) response_body_bytes_ += slice.size();
    response_body_.add(http1::bytes_of(slice));
    if (response_complete_ && client_framing_ == Framing::kChunked) http1::append_last_chunk(response_tail_, {});
    short_read_ = false;
    if (packer_ != nullptr) pack_response();
    if (pack_broken_) {
      response_body_.clear();
      outcome_ = Outcome::kUnknown;
      finish(Client::Next::kReset);
      return;
    }
    room = write_response();
  } while (!response_complete_ && room);
  if (!response_complete_) {
    arm_timer();
    return;
  }
  outcome_ = Outcome::kAnswered;
  finish(keep_client_ && keeps_client() ? Client::Next::kRequest : Client::Next::kClose);
}

void Exchange::serve_stale_instead() {
  stale_instead_ = refused_ = response_complete_ = false;
  drop_attempt(true);
  serve_stale();
}

void Exchange::serve_stale() {
  route_->cache->counts().stale.fetch_add(1, std::memory_order_relaxed);
  serve(stored_);
}

void Exchange::begin_recording(const http1::ResponseHead& head) {
  recording_.reset();
  if (method_ != http1::Method::kGet) return;
  recording_ = begin_storing(route_->cache_rule, route_->request_fields, cache_key_, std::string_view(head_).substr(0, common_bytes_), head, core_.now);
  // An answer that cannot be kept is no reason to wait for the next one; one that tells of trouble may be.
  if (recording_ == nullptr && claimed_) release_claim(head.status >= 500);
}

void Exchange::record_body(Bytes bytes) {
  if (recording_->body.size() + bytes.size() <= route_->cache_rule.object_bytes_max) {
    recording_->body += http1::text_of(bytes);
    return;
  }
  recording_.reset();
  if (claimed_) release_claim(false);
}

void Exchange::end_recording(bool with_trailers) {
  if (!with_trailers) {
    finish_storing(*recording_);
    route_->cache->store(std::shared_ptr<const StoredAnswer>(std::move(recording_)), generation_, core_.now);
  }
  recording_.reset();
  if (claimed_) release_claim(!with_trailers);
}

void Exchange::release_claim(bool keepable) {
  claimed_ = false;
  route_->cache->release(cache_key_, claim_, keepable, core_.now);
}

// RFC 9211: what the cache has done for this answer; Age for what was kept (RFC 9111, section 5.1).
void Exchange::append_cache_fields() {
  std::string& out = admission_text_;
  out += "Cache-Status: outrigger; ";
  if (cache_step_ == CacheStep::kServe) {
    const auto left = std::chrono::duration_cast<seconds>(stored_->fresh_until - core_.now).count();
    out += collapsed_ ? "fwd=uri-miss; collapsed" : "hit; ttl=" + std::to_string(left);
    out += "\r\n";
    http1::append_header(out, "Age", static_cast<std::uint64_t>(age_of(*stored_, core_.now).count()));
    return;
  }
  const bool reload = wish_.kind == CacheWish::Kind::kReload;
  out += wish_.kind == CacheWish::Kind::kBypass ? "fwd=bypass" : reload ? "fwd=request" : stored_ != nullptr ? "fwd=stale" : "fwd=uri-miss";
  if (recording_ != nullptr) out += "; stored";
  out += "\r\n";
}

void Exchange::forget_cache() {
  cache_step_ = CacheStep::kNone;
  wish_ = {};
  cache_key_.clear();
  if_none_match_.clear();
  stored_.reset();
  recording_.reset();
  claimed_ = collapsed_ = stale_instead_ = false;
  wait_until_ = TimePoint{};
  wait_pause_ = Milliseconds{0};
}

}  // namespace proxy
