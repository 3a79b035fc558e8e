#include "proxy/exchange.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "proxy/http1/writer.h"

namespace proxy {

using http1::bytes_of;

MadeId::MadeId(const Chance& chance) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (std::size_t i = 0; i < text.size(); i += 8) {
    auto word = chance(std::uint64_t{1} << 32);
    for (std::size_t j = 0; j < 8; ++j, word >>= 4) text[i + j] = kDigits[word & 15];
  }
}

Exchange::Exchange(Core& core) : core_(core), timer_(*this) {}

void Exchange::recycle() {
  assert(up_ == nullptr && other_ == nullptr && !in_flight_ && !local_order_ && !endpoint_link.linked() && !service_link.linked());
  down_ = nullptr;
  use_ = nullptr;
  route_ = nullptr;
  service_ = nullptr;
  pool_ = nullptr;
  state_ = nullptr;
  running_counted_ = false;
  second_leg_ = leg_lost_ = false;
  other_endpoint_ = nullptr;
  hedge_at_ = TimePoint::max();
  dispatch_at_ = queue_deadline_ = attempt_at_ = TimePoint{};
  slot_ = breaker_asked_ = probe_ = false;
  session_ = SessionHash{};
  session_known_ = session_issue_ = session_stays_ = false;
  admission_text_.clear();
  principal_.clear();
  if (shaped_) forget_cache();
  if (keyed_ || absent_ != nullptr) forget_order();
  shaped_ = takes_gzip_ = short_read_ = pack_broken_ = false;
  upgrade_ = expect_continue_ = request_complete_ = false;
  for (std::string* text : {&head_, &hop_names_, &kept_, &framing_, &tail_, &response_, &response_framing_, &response_tail_}) text->clear();
  common_bytes_ = kept_sent_ = rate_ticket_ = 0;
  replayable_ = true;
  head_sent_ = false;
  body_.clear();
  response_body_.clear();
  request_body_bytes_ = response_body_bytes_ = held_bytes_ = 0;
  phase_ = Phase::kNew;
  endpoint_ = nullptr;
  tried_.clear();
  attempt_count_ = 0;
  order_counted_ = false;
  epoch_ = Epoch{};
  told_epoch_.reset();
  dispatch_pause_ = Milliseconds{0};
  retry_at_ = TimePoint::max();
  alone_ = false;
  last_end_ = AttemptEnd::kConnectFailed;
  last_code_ = last_message_ = {};
  held_since_ = hold_deadline_ = sent_at_ = TimePoint{};
  held_time_ = first_byte_ = std::chrono::nanoseconds{0};
  connected_time_ = head_time_ = attempt_time_ = kNotMeasured;
  client_.clear();
  traced_ = spanned_ = false;
  spans_.clear();
  trail_.clear();
  held_noted_ = false;
  unarmed_there_.clear();
  order_met_ = rules_differ_there_ = may_be_reserved_there_ = false;
  order_who_.clear();
  client_framing_ = http1::Framing::kNone;
  status_ = 0;
  response_begun_ = response_complete_ = upstream_keep_alive_ = refused_ = switched_ = false;
  keep_client_ = true;
  client_eof_ = upstream_eof_ = false;
  goodbye_ = Goodbye::kNone;
  goodbye_at_ = former_until_ = TimePoint::max();
  from_client_ = from_server_ = FrameTrack();
  reason_ = {};
  outcome_ = Outcome::kNotSent;
  early_ = LocalReply{};
}

// ---- the request comes in ----

void Exchange::begin(Client& down, const http1::RequestHead& head) {
  down_ = &down;
  started_ = progress_ = core_.now;
  ++core_.counters.requests;
  ++core_.counters.open_exchanges;
  core_.budget.on_request(core_.now);
  method_ = head.method;
  client_minor_ = head.minor;
  request_framing_ = head.framing;
  client_keep_alive_ = head.keep_alive;
  upgrade_ = head.upgrade;
  expect_continue_ = head.expect_continue;
  const Accepted& accepted = down.accepted();
  const Origin origin{accepted.kind, accepted.scheme, accepted.client, down.trusted(), accepted.client_certificate};
  begin_naming(head);
  common_bytes_ = head_.size();
  method_bytes_ = head.method_text.size();
  target_bytes_ = head.path.size() + (head.target.find('?') == std::string_view::npos ? 0 : head.query.size() + 1);
  if (request_framing_ == http1::Framing::kChunked) append_hop_names(hop_names_, head.headers);
  if (method_ == http1::Method::kConnect || method_ == http1::Method::kTrace) {
    early_.status = status_of(Errc::kMethodRefused);
    early_.code = name_of(Errc::kMethodRefused);
    early_.message = "CONNECT and TRACE are not served here";
    early_.allow = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
    // What follows a CONNECT is meant for a tunnel and must not be read as requests.
    if (method_ == http1::Method::kConnect) keep_client_ = false;
    return;
  }
  if (core_.settings.guard != nullptr && is_banned(head)) return;
  if (accepted.rules && accepted.rules->redirect_https_port != 0) return answer_elsewhere(head, accepted.rules->redirect_https_port);
  // OPTIONS for the whole server goes where its root goes.
  const auto path = head.path == "*" ? Result<std::string_view>("/") : canonical_path(head.path, early_text_);
  if (!path) {
    early_.status = status_of(path.error().code);
    early_.code = name_of(path.error().code);
    early_.message = "the path holds a broken escape or leads above the root";
    keep_client_ = false;
    return;
  }
  const RouteMatch match = core_.table == nullptr ? RouteMatch{} : core_.table->table->find(method_, head.host, *path);
  if (accepted.kind == ListenerKind::kPeer && !http1::is_safe(method_) && differs_from_entry(head, match.route)) return;
  if (match.route == nullptr) {
    answer_unroutable(match);
    return;
  }
  use_ = core_.table;
  ++use_->users;
  route_ = match.route;
  const auto index = static_cast<std::size_t>(route_ - use_->table->routes().data());
  service_ = use_->services[index];
  pool_ = use_->pools[index];
  state_ = use_->states[index].get();
  ++state_->counters.requests;
  note(Step::kRoute, route_->name, route_->kind == PoolKind::kPrimary ? "primary" : "all");
  if (route_->balance.kind == Balance::kRingHash) note_hash(head, *path);
  if (route_->admission.any() && down.accepted().kind == ListenerKind::kDownstream) admit(head, *path);
  if (route_->shapes() && down.accepted().kind == ListenerKind::kDownstream) note_content(head, origin);
  if (route_->sticky && down.accepted().kind == ListenerKind::kDownstream && early_.status == 0) note_session(head);
  down.set_body_limit(route_->body_bytes_max);
  if (route_->egress && early_.status == 0) note_egress(head);
  if (route_->order && early_.status == 0 && !http1::is_safe(method_) && !upgrade_) note_order(head);
}

void Exchange::request_body(Bytes bytes) {
  request_body_bytes_ += bytes.size();
  body_.add(bytes);
}

void Exchange::request_end(std::span<const http1::Header> trailers) {
  request_complete_ = true;
  if (request_framing_ != http1::Framing::kChunked) return;
  if (hop_names_.empty()) {
    http1::append_last_chunk(tail_, trailers);
    return;
  }
  std::vector<http1::Header> kept(trailers.begin(), trailers.end());
  std::erase_if(kept, [&](const http1::Header& header) { return http1::list_has(hop_names_, header.name); });
  http1::append_last_chunk(tail_, kept);
}

void Exchange::request_gathered() {
  note_progress();
  if (early_.status != 0) {
    body_.clear();
    send_reply(early_);
    return;
  }
  if (phase_ == Phase::kNew) {
    keep_request();
    dispatch();
    return;
  }
  const bool connected = up_ != nullptr && up_->connected();
  if (connected && phase_ != Phase::kHeld) {
    write_request();
  } else {
    keep_request();
  }
  if (phase_ != Phase::kOver) down_->update_reading();
}

bool Exchange::wants_request() const {
  if (phase_ == Phase::kTunnel) return up_ != nullptr && up_->drained();
  if (request_complete_) return true;  // to see the client leave; what it sends is pending
  if (phase_ == Phase::kWaiting || phase_ == Phase::kResponding) return up_->drained();
  // What is kept of a chunked body is framed anew, by reads: an order waits whole, however small they were.
  const std::size_t room = keyed_ ? std::size_t{8} * core_.settings.replay_bytes_max : core_.settings.replay_bytes_max;
  return kept_.size() < room;
}

void Exchange::request_broken(const Error& error) {
  body_.clear();
  keep_client_ = false;
  if (response_begun_) {
    drop_attempt(true);
    outcome_ = Outcome::kUnknown;
    finish(Client::Next::kReset);
    return;
  }
  const Outcome outcome = may_have_arrived(end_now()) ? Outcome::kUnknown : Outcome::kNotSent;
  drop_attempt(true);
  reply(status_of(error.code), name_of(error.code), error.detail, "send a body that conforms to RFC 9112", outcome);
}

// ---- where it goes ----

void Exchange::dispatch() {
  assert(phase_ == Phase::kNew);
  if (rate_ticket_ != 0) {
    phase_ = Phase::kAsked;
    arm_timer();
    return;
  }
  if (dispatch_at_ > core_.now) {
    phase_ = Phase::kQueued;
    arm_timer();
    return;
  }
  if (core_.halts != nullptr && stop_if_halted()) return;
  if (cache_step_ == CacheStep::kLook && look_up()) return;
  if (down_->accepted().kind == ListenerKind::kPeer) {
    dispatch_from_peer();
  } else if (route_->kind == PoolKind::kPrimary) {
    dispatch_primary();
  } else {
    dispatch_all();
  }
}

void Exchange::dispatch_primary() {
  const PrimaryView& view = service_->view;
  const bool local = view.holder == PrimaryView::Holder::kLocal;
  const bool ready = view.holder != PrimaryView::Holder::kNone && view.accepts_new && (view.armed || !is_for_armed()) &&
                     (!local || view.lease->valid_at(core_.host.now())) && core_.has_room(*service_->endpoint);
  if (ready) {
    if (!local && reservation_ != 0) {
      give_back_reservation();
    } else if (!local || may_be_sent(view.epoch)) {
      attempt(*service_->endpoint, local ? view.lease.get() : nullptr);
    }
  } else {
    hold();
  }
}

// Rule R4: the local instance or nobody.
void Exchange::dispatch_from_peer() {
  if (route_->kind == PoolKind::kAll) {
    EndpointState* endpoint = core_.local_of(*pool_);
    if (endpoint == nullptr || attempt_count_ > 0) {
      refuse_to_peer("no-instance");
      return;
    }
    attempt(*endpoint, nullptr);
    return;
  }
  const PrimaryView& view = service_->view;
  if (view.holder != PrimaryView::Holder::kLocal || !view.lease->valid_at(core_.host.now())) {
    refuse_to_peer("not-primary");
  } else if (!view.accepts_new || core_.draining) {
    refuse_to_peer("yielding");
  } else if (!view.armed && is_for_armed()) {
    refuse_unarmed_to_peer();
  } else if (attempt_count_ > 0 || !core_.has_room(*service_->endpoint)) {
    refuse_to_peer("no-instance");
  } else if (may_be_sent(view.epoch)) {
    attempt(*service_->endpoint, view.lease.get());
  }
}

void Exchange::attempt(EndpointState& endpoint, const LeaseView* lease) {
  ++attempt_count_;
  endpoint_ = &endpoint;
  ++endpoint.in_flight;
  ++endpoint.request_count;
  in_flight_ = true;
  attempt_at_ = core_.now;
  former_until_ = TimePoint::max();
  connected_time_ = head_time_ = attempt_time_ = kNotMeasured;
  if (std::exchange(held_noted_, false)) note(Step::kReleased, {}, {}, static_cast<std::uint64_t>(held_time_.count()));
  if (lease != nullptr) note(Step::kLease, {}, {}, static_cast<std::uint64_t>(lease->epoch), static_cast<std::uint64_t>((lease->valid_until() - core_.now).count()));
  endpoint.attempts.push_back(endpoint_link);
  if (is_leased()) {
    epoch_ = service_->view.epoch;
    service_->active.push_back(service_link);
    local_order_ = lease != nullptr;
    if (local_order_) ++service_->local_orders;
  }
  attempt_number_ = attempt_count_;
  if (traced_) begin_span();
  make_attempt_head();
  head_sent_ = false;
  kept_sent_ = 0;
  sent_at_ = TimePoint{};
  order_counted_ = alone_ = false;
  if (state_->hedge != nullptr) plan_hedge();
  const bool careful = is_order() || !http1::is_safe(method_);
  const Milliseconds idled_max = careful ? core_.settings.reuse_unsafe_max : core_.settings.upstream_idle_timeout;
  up_ = route_->egress ? take_egress_idle(endpoint, idled_max) : take_idle(core_, endpoint, idled_max);
  note(Step::kAttempt, endpoint.endpoint.address, endpoint.endpoint.node, attempt_count_, up_ != nullptr ? 1 : 0);
  if (up_ == nullptr) {
    up_ = std::make_unique<Connection>(core_, endpoint);
    guard_attempt(lease);
    phase_ = Phase::kConnecting;
    up_->open(*this, core_.now + route_->timeouts.connect);
    arm_timer();
    return;
  }
  connected_time_ = std::chrono::nanoseconds{0};
  up_->reuse(*this);
  guard_attempt(lease);
  up_->expect(method_);
  phase_ = Phase::kWaiting;
  write_request();
}

void Exchange::make_attempt_head() {
  head_.resize(common_bytes_);
  if (route_->egress) return append_egress_attempt(head_, *route_->egress, epoch_);
  if (traced_) append_traceparent_field();
  if (shaped_) append_request_fields();
  const bool is_primary = service_ != nullptr && service_->view.holder == PrimaryView::Holder::kLocal;
  const std::string order = keyed_ && endpoint_->endpoint.kind == EndpointKind::kPeer ? order_words() : std::string();
  append_attempt_head(head_, {endpoint_->endpoint.kind, core_.settings.node, is_primary,
                              service_ == nullptr ? Epoch{} : service_->view.epoch, order});
}

// ---- what is sent ----

// Moves the gathered body into kept_, framed as it will go upstream.
void Exchange::keep_request() {
  if (request_framing_ == http1::Framing::kChunked && !body_.empty()) http1::append_chunk_size(kept_, body_.size());
  for (const Bytes piece : body_.pieces()) kept_ += http1::text_of(piece);
  if (request_framing_ == http1::Framing::kChunked && !body_.empty()) kept_ += "\r\n";
  body_.clear();
  kept_ += tail_;
  tail_.clear();
  if (phase_ == Phase::kHeld) {
    const std::uint64_t grown = head_.size() + kept_.size() - held_bytes_;
    held_bytes_ += grown;
    service_->held_bytes += grown;
    core_.counters.held_bytes_now += grown;
  }
}

// Sends head, what is kept and what was gathered, with one call. Small bodies are kept for another attempt; a body that
// outgrows replay_bytes_max is passed through without a copy, and the request can no longer be repeated.
void Exchange::write_request() {
  if (replayable_ && kept_.size() + body_.size() + tail_.size() <= core_.settings.replay_bytes_max) {
    keep_request();
  } else if (!body_.empty() || !tail_.empty()) {
    replayable_ = false;
  }
  std::array<Bytes, Gather::kPiecesMax + 6> out;
  std::size_t count = 0;
  const auto add = [&](std::string_view text) {
    if (!text.empty()) out[count++] = bytes_of(text);
  };
  if (!head_sent_) add(head_);
  add(std::string_view(kept_).substr(kept_sent_));
  framing_.clear();
  const bool chunked = request_framing_ == http1::Framing::kChunked && !body_.empty();
  if (chunked) http1::append_chunk_size(framing_, body_.size());
  add(framing_);
  for (const Bytes piece : body_.pieces()) out[count++] = piece;
  if (chunked) add("\r\n");
  add(tail_);
  if (count == 0) return;
  const SendResult result = up_->send({out.data(), count});
  if (result == SendResult::kLeaseOver) {
    // What was gathered has not been kept if it is too large; then nothing can be repeated, and replayable_ says so.
    body_.clear();
    tail_.clear();
    lease_lost();
    return;
  }
  head_sent_ = true;
  kept_sent_ = kept_.size();
  body_.clear();
  tail_.clear();
  if (!replayable_) {
    kept_.clear();
    kept_sent_ = 0;
  }
  if (local_order_ && !order_counted_ && up_->sent_bytes() > 0) {
    order_counted_ = true;
    ++core_.counters.orders_sent;
  }
  if (request_complete_ && sent_at_ == TimePoint{}) {
    sent_at_ = core_.now;
    note(Step::kSent, {}, {}, up_->sent_bytes());
  }
  arm_timer();
}

void Exchange::upstream_connected() {
  if (phase_ != Phase::kConnecting) return;
  phase_ = Phase::kWaiting;
  connected_time_ = core_.now - attempt_at_;
  note(Step::kConnected);
  up_->expect(method_);
  note_progress();
  if (other_ != nullptr) make_attempt_head();  // the one there may be that of the other attempt
  if (core_.halts == nullptr || !stop_before_first_byte()) write_request();
  if (phase_ != Phase::kOver && down_ != nullptr) down_->update_reading();
}

void Exchange::upstream_writable() {
  note_progress();
  if (phase_ == Phase::kTunnel && client_eof_ && up_->drained()) up_->shutdown();
  if (down_ != nullptr) down_->update_reading();
}

// ---- time ----

void Exchange::note_progress() {
  progress_ = core_.now;
  arm_timer();
}

void Exchange::arm_timer() {
  if (route_ == nullptr || phase_ == Phase::kOver) return;
  const RouteTimeouts& limits = route_->timeouts;
  const auto after = [](TimePoint start, Milliseconds limit) {
    return limit > Milliseconds::zero() ? start + limit : TimePoint::max();
  };
  TimePoint deadline = TimePoint::max();
  switch (phase_) {
    case Phase::kAsked: deadline = rate_deadline_; break;
    case Phase::kHeld: deadline = std::min(hold_deadline_, retry_at_); break;
    case Phase::kReserving: deadline = core_.now + std::max(route_->hold, Milliseconds{1000}); break;
    case Phase::kQueued: deadline = service_link.linked() ? queue_deadline_ : dispatch_at_; break;
    case Phase::kWaiting:
      if (other_ != nullptr) {
        deadline = after(hedged_since_, limits.first_byte);
        break;
      }
      if (request_complete_ && up_->drained()) {
        const bool elsewhere = route_->kind == PoolKind::kAll && route_->retry && http1::is_safe(method_) &&
                               attempt_count_ < core_.settings.attempts_max && limits.read_try > Milliseconds::zero() &&
                               down_->accepted().kind == ListenerKind::kDownstream && !alone_ && !in_session();
        const TimePoint start = std::max(sent_at_, progress_);
        deadline = after(start, limits.first_byte);
        if (elsewhere) deadline = std::min(deadline, start + limits.read_try);
        break;
      }
      [[fallthrough]];
    case Phase::kResponding:
    case Phase::kTunnel: deadline = std::min(after(progress_, limits.idle), goodbye_at_); break;
    case Phase::kConnecting:  // the connection has a timer of its own
      if (other_ != nullptr) deadline = after(hedged_since_, limits.first_byte);
      break;
    case Phase::kNew:
    case Phase::kOver: break;
  }
  if (phase_ == Phase::kWaiting || phase_ == Phase::kResponding) deadline = std::min(deadline, former_until_);
  if (phase_ == Phase::kConnecting || phase_ == Phase::kWaiting) deadline = std::min(deadline, hedge_at_);
  if (phase_ != Phase::kTunnel) deadline = std::min(deadline, after(started_, limits.total));
  core_.wheel.arm(timer_, deadline);
}

// Either the patience of one try is over, and somebody else may be quicker; or that of the route.
void Exchange::first_byte_late(TimePoint now) {
  const Milliseconds limit = route_->timeouts.first_byte;
  const TimePoint since = other_ != nullptr ? hedged_since_ : std::max(sent_at_, progress_);
  const bool final = limit > Milliseconds::zero() && since + limit <= now;
  // Of two attempts it is the first one whose time is over; the second one has had less.
  if (other_ != nullptr && !final) return arm_timer();
  if (other_ != nullptr && second_leg_) swap_legs();
  if (!final && !can_go_elsewhere()) {
    alone_ = true;
    arm_timer();
    return;
  }
  ++core_.counters.first_byte_timeouts;
  core_.host.on_trouble(endpoint_->endpoint, Trouble::kTimedOut);
  if (final) {
    give_up(AttemptEnd::kFirstByteLate, "first_byte_timeout", "the instance did not begin to answer in time");
  } else {
    attempt_failed(AttemptEnd::kFirstByteLate, "first_byte_timeout", "the instance did not begin to answer in time");
  }
}

void Exchange::on_deadline(Timer&, TimePoint now) {
  const auto passed = [&](TimePoint start, Milliseconds limit) {
    return limit > Milliseconds::zero() && start + limit <= now;
  };
  const RouteTimeouts& limits = route_->timeouts;
  if (phase_ == Phase::kAsked) {
    rate_decided(core_.desk.give_up(rate_ticket_, now));
    return;
  }
  if (phase_ == Phase::kQueued && !passed(started_, limits.total)) {
    dispatch_queued();
    return;
  }
  if (phase_ == Phase::kHeld) {
    if (now < hold_deadline_ && !passed(started_, limits.total)) {
      dispatch_held();
      return;
    }
    leave_hold();
    ++core_.counters.held_expired;
    reply_not_taken();
    return;
  }
  if (phase_ == Phase::kReserving) {
    reservation_late();
    return;
  }
  if (phase_ == Phase::kTunnel) {
    tunnel_late(now);
    return;
  }
  if (now >= former_until_) {
    end_under_lease(kPrimaryChanged, kPrimaryChangedText);
    return;
  }
  if (passed(started_, limits.total)) {
    ++core_.counters.total_timeouts;
    give_up(end_now(), "total_timeout", "the whole exchange took too long");
    return;
  }
  if (phase_ == Phase::kConnecting || phase_ == Phase::kWaiting) {
    if (hedge_at_ <= now) return start_hedge();
    if (other_ != nullptr) return first_byte_late(now);
  }
  if (phase_ == Phase::kWaiting && request_complete_ && up_->drained()) {
    first_byte_late(now);
    return;
  }
  ++core_.counters.idle_timeouts;
  const bool client_stalls = phase_ == Phase::kWaiting && !request_complete_ && up_->drained();
  if (client_stalls && !response_begun_) {
    const Outcome outcome = may_have_arrived(end_now()) ? Outcome::kUnknown : Outcome::kNotSent;
    drop_attempt(true);
    keep_client_ = false;
    reply(408, "body_timeout", "the request body did not arrive in time", "send the body without long pauses", outcome);
    return;
  }
  give_up(end_now(), "idle_timeout", "the exchange stood still for too long");
}

}  // namespace proxy
