// What a request is called, and what is written down when it ends.
#include <algorithm>
#include <array>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/http1/writer.h"

namespace proxy {
namespace {

// 4 random bits per digit.
template <std::size_t N>
std::array<char, N> random_digits(const Chance& chance) {
  static_assert(N % 8 == 0);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::array<char, N> text;
  for (std::size_t i = 0; i < N; i += 8) {
    auto word = chance(std::uint64_t{1} << 32);
    for (std::size_t j = 0; j < 8; ++j, word >>= 4) text[i + j] = kDigits[word & 15];
  }
  return text;
}

// An id of zeros alone is none (W3C Trace Context, section 3.2.2).
template <std::size_t N>
void make_nonzero(std::array<char, N>& text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return c == '0'; })) text.back() = '1';
}

}  // namespace

Naming Exchange::naming(std::string_view made_id) const {
  const RequestIdSettings& settings = core_.settings.request_id;
  return {made_id, settings.field, settings.from_anyone, core_.settings.trace.on};
}

// The upstream head's common part, and with it the names of the request.
void Exchange::begin_naming(const http1::RequestHead& head) {
  const Accepted& from = down_->accepted();
  const auto made = random_digits<32>(core_.chance);
  const std::string_view made_id(made.data(), made.size());
  id_ = append_request_head(head_, head, {from.kind, from.scheme, from.client, down_->trusted(), from.client_certificate}, naming(made_id));
  host_bytes_ = head.host.size();
  if (from.kind == ListenerKind::kPeer) {
    client_ = head.find(http1::HeaderId::kRealIp).value_or(std::string_view());
  } else if (down_->trusted()) {
    client_ = client_address(head, from.client, from.trusted.get());
  }
  if (core_.settings.trace.on) begin_trace(head, made_id);
}

// Goes on with the caller's trace, or begins one. Either way the instance hears of a span of ours.
void Exchange::begin_trace(const http1::RequestHead& head, std::string_view made_id) {
  const TraceSettings& settings = core_.settings.trace;
  traced_ = true;
  const bool believed = settings.from_anyone || down_->trusted() || down_->accepted().kind == ListenerKind::kPeer;
  const auto given = believed ? traceparent_of(head.headers) : std::nullopt;
  if (given) {
    trace_ = *given;
    parent_ = given->span;
  } else {
    std::copy(made_id.begin(), made_id.end(), trace_.trace.begin());
    make_nonzero(trace_.trace);
    parent_ = SpanId{};
    const bool sampled = settings.sample_every > 0 && core_.chance(settings.sample_every) == 0;
    trace_.flags = static_cast<std::uint8_t>(sampled ? kSampled | kRandom : kRandom);
  }
  trace_.span = make_span_id();
  if (!given) return;
  const std::size_t before = head_.size();
  head_ += "tracestate: ";
  const std::size_t value = head_.size();
  if (append_tracestate_of(head_, head.headers) && head_.size() > value) {
    head_ += "\r\n";
  } else {
    head_.resize(before);
  }
}

// Of each attempt anew: where attempts are spans, each endpoint hears of its own.
void Exchange::begin_span() {
  spanned_ = core_.settings.trace.spans && trace_.sampled() && endpoint_->endpoint.site == nullptr;
  if (!spanned_) return;
  attempt_span_ = make_span_id();
  attempt_status_ = 0;
  attempt_code_ = {};
}

SpanId Exchange::make_span_id() {
  SpanId id = random_digits<16>(core_.chance);
  make_nonzero(id);
  return id;
}

void Exchange::append_traceparent_field() {
  TraceContext told = trace_;
  if (spanned_) told.span = attempt_span_;
  head_ += "traceparent: ";
  append_traceparent(head_, told);
  head_ += "\r\n";
}

// The attempt is over; what it was is still here.
void Exchange::note_span() {
  ChildSpan span;
  span.span = attempt_span_;
  span.begun = attempt_at_ - started_;
  span.connected = connected_time_;
  span.head = attempt_status_ == 0 ? kNotMeasured : head_time_;
  span.total = attempt_time_;
  span.number = attempt_number_;
  span.status = attempt_status_;
  span.at_peer = endpoint_->endpoint.kind == EndpointKind::kPeer;
  span.reused = up_ != nullptr && up_->reused();
  span.address = endpoint_->endpoint.address;
  span.node = endpoint_->endpoint.node;
  if (!response_complete_ && phase_ != Phase::kTunnel) span.failure = !attempt_code_.empty() ? attempt_code_ : !reason_.empty() ? reason_ : "cancelled";
  spans_.add(span);
  spanned_ = false;
}

// The ledger has answered, or is not waited for any more. The log's part lies beneath.
void Exchange::note_ledger_span(SpanOf of, std::string_view state, const OrderCommit& commit) {
  if (!wants_spans()) return;
  ChildSpan span;
  span.of = of;
  span.span = make_span_id();
  span.begun = ledger_at_ - started_;
  span.total = core_.now - ledger_at_;
  span.state = state;
  span.index = commit.index;
  spans_.add(span);
  if (commit.index == 0) return;
  span.of = SpanOf::kCommit;
  span.parent = std::exchange(span.span, make_span_id());
  span.begun = commit.proposed - started_;
  span.total = commit.decided - commit.proposed;
  spans_.add(span);
}

void Exchange::record_order(AccessRecord& record) const {
  if (!keyed_ || order_.key.empty() || core_.settings.digest == nullptr) return;
  static constexpr char kDigits[] = "0123456789abcdef";
  const Digest digest = core_.settings.digest(order_.key);
  for (std::size_t i = 0; i < record.order.size(); ++i) {
    const auto byte = std::to_integer<unsigned>(digest[i / 2]);
    record.order[i] = kDigits[i % 2 == 0 ? byte >> 4 : byte & 15];
  }
  record.order_state = order_state_;
}

void Exchange::name_response(ResponseFacts& facts) const {
  const RequestIdSettings& settings = core_.settings.request_id;
  // Another agent knows the name already: it has given it.
  if (!settings.to_client || down_->accepted().kind == ListenerKind::kPeer) return;
  facts.id_field = settings.field;
  facts.request_id = request_id();
}

// The first of them; a pool of hundreds says no more to a reader than eight do.
void Exchange::note_candidates(const EndpointState* picked) {
  constexpr std::size_t kShown = 8;
  const auto& all = pool_->endpoints;
  for (std::size_t i = 0; i < std::min(all.size(), kShown); ++i) {
    const EndpointState& state = *all[i];
    const auto weight = ramped_weight(state.endpoint.weight, core_.now - state.fit_since, route_->balance.slow_start);
    note(Step::kCandidate, state.endpoint.address, core_.unfit_reason(state, *route_, tried_), state.in_flight - state.tunnels, weight);
  }
  if (picked != nullptr) note(Step::kPicked, picked->endpoint.address, picked->endpoint.node, all.size());
}

// Once per stay: while it waits it asks again and again.
void Exchange::note_held() {
  if (!core_.settings.trails || std::exchange(held_noted_, true)) return;
  const PrimaryView& view = service_->view;
  note(Step::kHeld, view.holder == PrimaryView::Holder::kNone ? "there is none" : !view.accepts_new ? "it is handing over" : waits_for_arming() ? "it is not armed yet" : "it could not take the request yet");
}

void Exchange::count_ending() {
  if (state_ == nullptr) return;
  RouteCounters& c = state_->counters;
  c.request_bytes += request_body_bytes_;
  c.response_bytes += response_body_bytes_;
  if (status_ == 0) ++c.unanswered;
  if (status_ < 200) return;
  ++(status_ < 300 ? c.responses_2xx : status_ < 400 ? c.responses_3xx : status_ < 500 ? c.responses_4xx : c.responses_5xx);
  state_->times.add(core_.now - started_);
}

void Exchange::record() {
  AccessRecord record;
  const std::string_view head(head_);
  const Accepted& from = down_->accepted();
  record.method = head.substr(0, method_bytes_);
  record.target = head.substr(method_bytes_ + 1, target_bytes_);
  // "METHOD target HTTP/1.1 CR LF Host: " stands before it.
  record.host = head.substr(method_bytes_ + target_bytes_ + 18, host_bytes_);
  if (route_ != nullptr) {
    record.route = route_->name;
    record.route_path = route_->path;
    record.logged = route_->access_log;
    record.egress = route_->egress != nullptr;
  }
  record.https = from.scheme == Scheme::kHttps;
  record.http_version = down_->is_stream() ? 20 : static_cast<std::uint8_t>(10 + client_minor_);
  record.request_id = request_id();
  record.peer = from.client;
  record.client = client_.empty() ? std::string_view(from.client) : std::string_view(client_);
  record.from_peer = from.kind == ListenerKind::kPeer;
  if (endpoint_ != nullptr) {
    record.endpoint = endpoint_->endpoint.address;
    record.endpoint_node = endpoint_->endpoint.node;
    record.at_peer = endpoint_->endpoint.kind == EndpointKind::kPeer;
  }
  if (other_endpoint_ != nullptr) {
    record.hedge_endpoint = other_endpoint_->endpoint.address;
    record.hedge_won = second_leg_;
  }
  record.reason = reason_;
  record.status = status_;
  record.attempt_count = attempt_count_;
  record.epoch = epoch_;
  record.outcome = outcome_;
  record.request_body_bytes = request_body_bytes_;
  record.response_body_bytes = response_body_bytes_;
  record.held = held_time_;
  record.first_byte = first_byte_;
  record.total = core_.now - started_;
  record.connected = connected_time_;
  record.upstream_head = head_time_;
  record.upstream_total = attempt_time_;
  record.started = started_;
  record.trace = trace_;
  record.parent = parent_;
  record.traced = traced_;
  record.spans = spans_.bytes();
  record.span_count = spans_.count();
  if (wants_spans()) record_order(record);
  note(Step::kEnd, name_of(outcome_), {}, static_cast<std::uint64_t>(status_));
  record.trail = trail_.bytes();
  record.trail_left_out = trail_.left_out();
  core_.host.on_access(record);
}

void Exchange::count_response(int status) {
  Counters& c = core_.counters;
  if (status < 200) {
    ++c.responses_1xx;
  } else if (status < 300) {
    ++c.responses_2xx;
  } else if (status < 400) {
    ++c.responses_3xx;
  } else if (status < 500) {
    ++c.responses_4xx;
  } else {
    ++c.responses_5xx;
  }
}

}  // namespace proxy
