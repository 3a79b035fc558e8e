// Orders under keys: reserved before their first byte leaves, recorded before their answer is passed on (order.h).
#include <algorithm>
#include <cassert>

#include "proxy/exchange.h"
#include "proxy/http1/writer.h"

namespace proxy {
namespace {

constexpr std::string_view kUnknownField = "X-Outrigger-Outcome: unknown\r\n";
constexpr std::string_view kReplayedField = "Idempotent-Replayed: true\r\n";
constexpr std::string_view kUnkept =
    "{\"code\":\"order_answer_not_kept\",\"message\":\"the order was answered with this status; its body was too long to be kept\"}\n";

// Fields that are about the connection to the instance, or that are written anew.
constexpr std::string_view kOfOneHop[] = {"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "TE", "Trailer",
                                          "Upgrade", "Content-Length"};

bool is_of_one_hop(const http1::Header& field, std::string_view hop_names) {
  return std::any_of(std::begin(kOfOneHop), std::end(kOfOneHop), [&](std::string_view name) { return http1::same_text(field.name, name); }) ||
         (!hop_names.empty() && http1::list_has(hop_names, field.name));
}

// The payload of a body that was kept in chunks of our own making.
void append_payload(std::string& out, std::string_view framed) {
  while (!framed.empty()) {
    std::size_t size = 0;
    const auto line = framed.find("\r\n");
    for (const char c : framed.substr(0, line)) size = size * 16 + static_cast<std::size_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    if (size == 0 || line == std::string_view::npos) return;
    out.append(framed, line + 2, size);
    framed.remove_prefix(std::min(line + 2 + size + 2, framed.size()));
  }
}

constexpr std::string_view kNobody = "-";  // in kOrderField: nothing is known of who asks

constexpr std::string_view kNotSentState = "not_sent", kDoneState = "done", kUnknownState = "unknown", kRefusedState = "refused";

// For traces: what the ledger says about an order, in the words of its rows as far as there is one.
std::string_view state_told(OrderVerdict verdict) {
  switch (verdict) {
    case OrderVerdict::kReserved:
    case OrderVerdict::kInFlight: return "reserved";
    case OrderVerdict::kNothing: return "none";
    case OrderVerdict::kAnswered: return kDoneState;
    case OrderVerdict::kUnknown: return kUnknownState;
    case OrderVerdict::kOther: return "key_reused";
    case OrderVerdict::kStale: return "epoch_over";
    case OrderVerdict::kFull: return "ledger_full";
    case OrderVerdict::kUnavailable: break;
  }
  return "ledger_unavailable";
}

// Stands in for a client that has left while its order was at the instance: how that ends must be known all the same.
class AbsentClient final : private AcceptedFacts, public Client {
 public:
  explicit AbsentClient(const Client& left)
      : AcceptedFacts{left.accepted()}, Client(met, left.is_stream() ? http1::Framing::kStream : http1::Framing::kChunked) {}
  bool send(std::span<const Bytes>, const AnswerPart&) override { return true; }
  [[nodiscard]] bool drained() const override { return true; }
  void update_reading() override {}
  void exchange_over(Next) override {}
  void shutdown() override {}
  void set_body_limit(std::uint64_t) override {}
  void start_tunnel() override {}
};

}  // namespace

// ---- the key ----

// An agent with another rule, or none, would look for the key in another row or another place: a key that is known would be sent again.
// @return true: it is refused, early_ says so
bool Exchange::differs_from_entry(const http1::RequestHead& head, const Route* route) {
  const auto met = head.find(kOrderField);
  order_met_ = met.has_value();
  if (!met) return false;
  const std::size_t end = std::min(met->find(' '), met->size());
  const std::string_view who = met->substr(std::min(end + 1, met->size()));
  const bool is_known = who.size() == 2 * Digest().size() && who.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (route != nullptr && route->order && met->substr(0, end) == order_identity(*route->order) && (is_known || who == kNobody)) {
    if (is_known) order_who_ = who;
    return false;
  }
  ++core_.counters.peer_refusals_sent;
  early_.status = 421;
  early_.code = early_.refused = kOrderRulesDiffer;
  early_.outcome = name_of(Outcome::kNotSent);
  return true;
}

// The agent that the client has met knows more than the others: it has checked credentials, and its rules may rewrite fields.
void Exchange::note_order_who(const http1::RequestHead& head) {
  if (order_met_ || core_.settings.digest == nullptr) return;
  std::string text;
  for (const http1::Header& field : head.headers) {
    if (!reads_as(field.name, route_->order->account_field)) continue;  // who cannot tell '_' from '-' would take it for the account
    text += "account ";
    text += field.value;
    text += '\n';
  }
  text += principal_;
  if (!text.empty()) order_who_ = hex_text(core_.settings.digest(text));
}

// What a peer is told of it.
std::string Exchange::order_words() const {
  std::string out = order_identity(*route_->order);
  out += ' ';
  out += order_who_.empty() ? kNobody : std::string_view(order_who_);
  return out;
}

void Exchange::note_order(const http1::RequestHead& head) {
  const OrderRule& rule = *route_->order;
  keyed_ = true;
  note_order_who(head);
  // It is fingerprinted and may wait for its reservation: all of it is kept.
  down_->set_body_limit(std::min<std::uint64_t>(route_->body_bytes_max, core_.settings.replay_bytes_max));
  if (rule.from == OrderKeyFrom::kJson) return;
  if (rule.from == OrderKeyFrom::kHeader) {
    std::size_t count = 0;
    for (const http1::Header& field : head.headers) {
      if (!http1::same_text(field.name, rule.name)) continue;
      if (++count == 1) take_order_key(order_key_of(field.value));
    }
    // One that this hop takes out would be another order's, or nobody's, at the next agent.
    if (count > 1 || http1::any_lists(head.headers, http1::HeaderId::kConnection, rule.name)) take_order_key(std::nullopt);
    if (count == 0) lack_order_key();
    return;
  }
  const auto value = query_parameter(head.query, rule.name);
  value ? take_order_key(order_key_of(*value)) : lack_order_key();
}

void Exchange::take_order_key(std::optional<std::string> key) {
  if (key) {
    order_.key = std::move(*key);
    return;
  }
  ++core_.counters.orders_unkeyed;
  order_.key.clear();
  refuse(400, "order_key_malformed", "the key of the order is none: 1 to 255 visible characters, once, in what goes on to the instance", "send one key, the same for each repetition of this order",
         Milliseconds{0});
}

void Exchange::lack_order_key() {
  keyed_ = false;
  const bool from_body = route_->order->from == OrderKeyFrom::kJson;
  // A key that the agent saw which the client has met has been lost on the way.
  const bool lost = order_met_ && !from_body;
  if (!route_->order->required && !lost) {
    // Where the key is a field that agent has counted it.
    if (from_body || down_->accepted().kind == ListenerKind::kDownstream) ++core_.counters.orders_keyless;
    return;
  }
  ++core_.counters.orders_unkeyed;
  refuse(400, "order_key_missing", "this route takes no order without a key", "send a fresh random key with each order, and the same again when you repeat it",
         Milliseconds{0});
}

std::string_view Exchange::order_body() {
  if (request_framing_ != http1::Framing::kChunked) return kept_;
  order_text_.clear();
  append_payload(order_text_, kept_);
  return order_text_;
}

// @return false: the request has been answered
bool Exchange::complete_order_key() {
  if (!order_.key.empty() || route_->order->from != OrderKeyFrom::kJson) return true;
  const JsonTextFunction read = core_.settings.json_text;
  const JsonText key = read == nullptr ? JsonText{JsonText::Is::kUnusable} : read(order_body(), route_->order->name);
  early_ = LocalReply{};
  switch (key.is) {
    case JsonText::Is::kAbsent: lack_order_key(); break;
    case JsonText::Is::kText: take_order_key(order_key_of(key.text)); break;
    // Without a key that can be told apart a repetition would be sent again, whatever the route says of orders without one.
    case JsonText::Is::kUnusable: take_order_key(std::nullopt); break;
  }
  if (early_.status == 0) return true;
  send_reply(early_);
  return false;
}

// ---- before it is sent ----

// @return true: nothing stands between this order and the local instance
bool Exchange::may_be_sent(Epoch epoch) {
  if (!keyed_) return true;
  if (reservation_ != 0 && order_.epoch == epoch) return true;
  if (reservation_ != 0) {
    give_back_reservation();
    return false;
  }
  if (!has_whole_order()) return false;
  if (!complete_order_key()) return false;
  if (!keyed_) return true;
  order_.epoch = epoch;
  order_.look_only = false;
  ask_ledger();
  return false;
}

// An answer may be known though nobody leads. @return true: the ledger is asked
bool Exchange::look_before_hold() {
  if (!keyed_ || order_looked_ || reservation_ != 0 || down_->accepted().kind == ListenerKind::kPeer || core_.host.orders() == nullptr) return false;
  if (!has_whole_order()) return true;
  if (!complete_order_key()) return true;
  if (!keyed_) return false;
  order_looked_ = true;
  order_.epoch = Epoch{};
  order_.look_only = true;
  ask_ledger();
  return true;
}

// What stood in the way of a refusal may be over by now. @return true: the ledger is asked
bool Exchange::look_again() {
  if (doubt_ != Doubt::kHeld) return false;
  doubt_ = Doubt::kLookedAgain;
  order_looked_ = false;
  return look_before_hold();
}

// The agent that has sent it back had reserved it, perhaps, and has not yet given that back in our copy of the ledger. Holding it is
// safe whoever's reservation it is: the next primary reserves, too, before a byte leaves.
bool Exchange::may_be_its_own() const { return order_.look_only && may_be_reserved_there_ && doubt_ == Doubt::kNone && halted_by() == nullptr; }

void Exchange::refuse_in_flight() {
  doubt_ = Doubt::kNone;
  ++core_.counters.orders_repeated_early;
  reply(409, "order_in_flight", "an order of this key is on its way", "send it again in a moment, with the same key", Outcome::kUnknown, Milliseconds{1000});
}

// @return false: it waits for the rest, in kNew
bool Exchange::has_whole_order() {
  if (request_complete_) return true;
  if (expect_continue_ && request_body_bytes_ == 0) {
    expect_continue_ = false;
    const Bytes go_on = http1::bytes_of("HTTP/1.1 100 Continue\r\n\r\n");
    down_->send({&go_on, 1}, {.heads = true, .trailer = false, .last = false});
  }
  arm_timer();
  return false;
}

// Its epoch is over, and nothing has left: whoever has it next must not find it in flight.
void Exchange::give_back_reservation() {
  phase_ = Phase::kReserving;
  ticket_ = core_.take_ticket(*this);
  ledger_at_ = core_.now;
  core_.host.orders()->settle(ticket_, order_, reservation_, OrderEnd::kNotSent, nullptr);
  arm_timer();
}

void Exchange::ask_ledger() {
  if (core_.host.orders() == nullptr || core_.settings.digest == nullptr) {
    reply(503, "no_ledger", "this agent has no ledger for orders", "see the settings of the agent", Outcome::kNotSent);
    return;
  }
  const OrderRule& rule = *route_->order;
  order_.service = route_->service;
  order_.zone = rule.zone;
  order_.retention = rule.retention;
  order_.timed = wants_spans();
  const std::string_view body = order_body();
  // A second client's key is no repetition of the first one's order, though every byte be the same. No method begins with '@'.
  std::string text = order_who_.empty() ? std::string() : "@" + order_who_ + " ";
  text += std::string_view(head_).substr(0, method_bytes_ + 1 + target_bytes_);
  text += '\n';
  text += body;
  order_.fingerprint = core_.settings.digest(text);
  phase_ = Phase::kReserving;
  ticket_ = core_.take_ticket(*this);
  ledger_at_ = core_.now;
  core_.host.orders()->reserve(ticket_, order_);
  arm_timer();
}

void Exchange::order_told(const OrderReply& told) {
  assert(phase_ == Phase::kReserving);
  core_.drop_ticket(std::exchange(ticket_, OrderTicket{}));
  phase_ = Phase::kNew;
  if (told.verdict != OrderVerdict::kNothing) order_state_ = state_told(told.verdict);
  if (order_.timed) note_ledger_span(SpanOf::kReserve, state_told(told.verdict), told.commit);
  Counters& counters = core_.counters;
  // Who only looks waits for a primary whatever the ledger could not tell.
  const bool blind = order_.look_only && told.verdict == OrderVerdict::kUnavailable;
  if (told.verdict == OrderVerdict::kReserved || told.verdict == OrderVerdict::kNothing) doubt_ = Doubt::kNone;
  switch (blind ? OrderVerdict::kNothing : told.verdict) {
    case OrderVerdict::kReserved:
      ++counters.orders_reserved;
      note(Step::kReserved, order_.key, {}, told.reservation);
      reservation_ = told.reservation;
      [[fallthrough]];
    case OrderVerdict::kNothing:
      dispatch();
      break;
    case OrderVerdict::kStale:
      down_->accepted().kind == ListenerKind::kPeer ? refuse_to_peer("not-primary") : hold();
      break;
    case OrderVerdict::kAnswered:
      ++counters.orders_replayed;
      note(Step::kReplayed, order_.key, {}, static_cast<std::uint64_t>(told.answer->status));
      replay(*told.answer, true);
      return;
    case OrderVerdict::kInFlight:
      if (!may_be_its_own()) return refuse_in_flight();
      doubt_ = Doubt::kHeld;
      dispatch();
      break;
    case OrderVerdict::kUnknown:
      ++counters.orders_repeated_early;
      reply(409, "order_unknown", "an order of this key may have been placed, and no answer is known; it is not sent again by itself",
            "wait for the reconciliation, or ask the broker", Outcome::kUnknown, Milliseconds{1000});
      return;
    case OrderVerdict::kOther:
      ++counters.orders_key_reused;
      reply(422, "order_key_reused", "this key stands for another order: method, target, body, account or credentials differ", "use a fresh key for each order", Outcome::kNotSent);
      return;
    case OrderVerdict::kFull:
      ++counters.orders_unreserved;
      early_text_ = told.detail;
      make_plain(early_text_);
      reply(503, "ledger_full", early_text_, "orders are refused rather than forgotten: those that are unknown end by a decision (outrigger orders resolve), the others with their retention", Outcome::kNotSent,
            Milliseconds{1000});
      return;
    case OrderVerdict::kUnavailable:
      ++counters.orders_unreserved;
      reply(503, "ledger_unavailable", "the order could not be written down in time, so it was not sent", "try again with the same key", Outcome::kNotSent,
            Milliseconds{1000});
      return;
  }
  if (phase_ != Phase::kOver && down_ != nullptr) down_->update_reading();
}

void Exchange::reservation_late() {
  ++core_.counters.orders_unreserved;
  reply(503, "ledger_unavailable", "the order could not be written down in time, so it was not sent", "try again with the same key", Outcome::kNotSent,
        Milliseconds{1000});
}

// ---- its answer ----

void Exchange::order_head(const http1::ResponseHead& head) {
  if (head.interim()) return;
  first_byte_ = core_.now - started_;
  head_time_ = core_.now - attempt_at_;
  attempt_status_ = head.status;
  note(Step::kHead, {}, {}, static_cast<std::uint64_t>(head.status));
  const bool gateway_error = head.status >= 502 && head.status <= 504;
  phase_ = Phase::kResponding;
  core_.report(*endpoint_, gateway_error ? AttemptResult::kFailed : AttemptResult::kGood);
  upstream_keep_alive_ = head.keep_alive;
  switched_ = head.status == 101;
  answer_ = std::make_shared<OrderAnswer>();
  answer_->status = head.status;
  answer_->head = head.reason;
  answer_->head += "\r\n";
  std::string hop_names;
  append_hop_names(hop_names, head.headers);
  for (const http1::Header& field : head.headers) {
    if (!is_of_one_hop(field, hop_names)) http1::append_header(answer_->head, field.name, field.value);
  }
  answer_framing_ = head.framing;
  answer_length_ = head.content_length;
}

void Exchange::order_gathered() {
  if (answer_ == nullptr || recording_answer_) return;
  if (switched_) {
    switched_ = false;
    response_broken({Errc::kBadResponse, "101 to an order"});
    return;
  }
  for (const Bytes piece : response_body_.pieces()) answer_->body += http1::text_of(piece);
  response_body_.clear();
  const bool fits = answer_->head.size() + answer_->body.size() <= route_->order->answer_bytes_max;
  if (!response_complete_ && fits) {
    arm_timer();
    return;
  }
  std::shared_ptr<const OrderAnswer> record = answer_;
  if (leaves_unknown(*answer_)) {
    record.reset();
  } else if (!fits) {
    record = std::make_shared<const OrderAnswer>(OrderAnswer{answer_->status, answer_->head, {}, false});
  }
  response_complete_ ? release_attempt() : up_->pause_reading();
  recording_answer_ = true;
  ticket_ = core_.take_ticket(*this);
  ledger_at_ = core_.now;
  const OrderEnd end = record == nullptr ? OrderEnd::kUnknown : OrderEnd::kAnswered;
  core_.host.orders()->settle(ticket_, order_, reservation_, end, std::move(record));
  arm_timer();
}

// The instance answers, and does not know either: final would be a guess.
bool Exchange::leaves_unknown(const OrderAnswer& answer) const {
  const std::vector<int>& statuses = route_->order->unknown_statuses;
  return std::find(statuses.begin(), statuses.end(), answer.status) != statuses.end();
}

void Exchange::order_recorded(bool recorded, const OrderCommit& commit) {
  core_.drop_ticket(std::exchange(ticket_, OrderTicket{}));
  const bool unknown = answer_ != nullptr && leaves_unknown(*answer_);
  order_state_ = !recorded ? kRefusedState : phase_ == Phase::kReserving ? kNotSentState : unknown ? kUnknownState : kDoneState;
  if (order_.timed) note_ledger_span(SpanOf::kRecord, order_state_, commit);
  if (phase_ == Phase::kReserving) {
    reservation_ = 0;
    phase_ = Phase::kNew;
    dispatch();
    if (phase_ != Phase::kOver && down_ != nullptr) down_->update_reading();
    return;
  }
  recording_answer_ = false;
  reservation_ = 0;
  if (!recorded) {
    ++core_.counters.orders_unrecorded;
    drop_attempt(true);
    reply(504, "order_not_recorded", "the instance has answered, but the ledger did not take the answer: somebody else decided about this order",
          "ask for this order with the same key", Outcome::kUnknown);
    return;
  }
  if (!unknown) ++core_.counters.orders_recorded;
  note(Step::kRecorded, unknown ? kUnknownState : std::string_view());
  const auto answer = std::move(answer_);
  if (unknown) admission_text_ += kUnknownField;
  answer_says_unknown_ = unknown;
  response_complete_ ? replay(*answer, false) : go_on_after(*answer);
}

// Head and body as if they came from the instance now; so the first answer and every later one are made the same way.
void Exchange::replay(const OrderAnswer& answer, bool again) {
  const std::string_view body = answer.kept ? std::string_view(answer.body) : kUnkept;
  const bool bare = answer.status == 204 || answer.status == 304;
  order_text_ = "HTTP/1.1 " + std::to_string(answer.status) + " " + answer.head;
  if (!answer.kept) http1::append_header(order_text_, "X-Outrigger-Answer", "not-kept");
  if (!bare) http1::append_header(order_text_, "Content-Length", body.size());
  order_text_ += "\r\n";
  if (!bare) order_text_ += body;
  if (again) admission_text_ += kReplayedField;
  if (!read_answer(order_text_, AnswerText::kWhole)) {
    return answer_unreadable(500, "order_answer_broken", "what is recorded as the answer to this order is none", "look at the ledger entry of its key");
  }
  if (packer_ != nullptr) pack_response();
  write_response();
  outcome_ = !again && leaves_unknown(answer) ? Outcome::kUnknown : Outcome::kAnswered;
  finish(keep_client_ && keeps_client() ? Client::Next::kRequest : Client::Next::kClose);
}

// It was too long to be kept: what came so far goes out, the rest streams.
void Exchange::go_on_after(const OrderAnswer& answer) {
  order_text_ = "HTTP/1.1 " + std::to_string(answer.status) + " " + answer.head;
  if (answer_framing_ == http1::Framing::kLength) http1::append_header(order_text_, "Content-Length", answer_length_);
  if (answer_framing_ == http1::Framing::kChunked) http1::append_header(order_text_, "Transfer-Encoding", "chunked");
  order_text_ += "\r\n";
  if (!read_answer(order_text_, AnswerText::kHead)) return answer_unreadable(502, name_of(Errc::kBadResponse), "the head of the answer cannot be passed on", "look at the instance");
  order_text_ = answer.body;
  response_body_bytes_ += order_text_.size();
  response_body_.add(http1::bytes_of(order_text_));
  if (packer_ != nullptr) pack_response();
  if (write_response()) up_->resume_reading();
  arm_timer();
}

bool Exchange::read_answer(std::string_view text, AnswerText what) {
  http1::ResponseParser parser(core_.settings.response_limits);
  parser.expect(method_);
  reading_answer_ = true;
  const auto read = parser.feed(http1::bytes_of(text), *this);
  reading_answer_ = false;
  return read && *read == text.size() && response_begun_ && (what == AnswerText::kHead || !parser.in_message());
}

// Nothing of it has gone out yet.
void Exchange::answer_unreadable(int status, std::string_view code, std::string_view message, std::string_view hint) {
  drop_attempt(true);
  response_.clear();
  response_body_.clear();
  response_tail_.clear();
  response_begun_ = false;
  reply(status, code, message, hint, Outcome::kUnknown);
}

void Exchange::answer_head(const http1::ResponseHead& head) {
  phase_ = Phase::kResponding;
  response_begun_ = true;
  progress_ = core_.now;
  if (first_byte_ == std::chrono::nanoseconds{0}) first_byte_ = core_.now - started_;
  status_ = head.status;
  count_response(status_);
  begin_response(head, EndpointKind::kLocal);
}

// ---- its end ----

void Exchange::settle_order(OrderEnd end) {
  core_.host.orders()->settle(OrderTicket{}, order_, reservation_, end, nullptr);
  reservation_ = 0;
}

// @return true: the exchange goes on without its client
bool Exchange::outlives_client(std::string_view reason) {
  if (reservation_ == 0 || absent_ != nullptr || !may_have_arrived(end_now())) return false;
  ++core_.counters.orders_without_client;
  note(Step::kFailed, reason, "its order goes on");
  absent_ = std::make_unique<AbsentClient>(*down_);
  down_ = absent_.get();
  keep_client_ = false;
  ++core_.absent_clients;
  return true;
}

void Exchange::leave_order() {
  if (ticket_ != OrderTicket{}) {
    const OrderTicket ticket = std::exchange(ticket_, OrderTicket{});
    core_.drop_ticket(ticket);
    if (order_.timed) note_ledger_span(recording_answer_ || reservation_ != 0 ? SpanOf::kRecord : SpanOf::kReserve, "no_word", {});
    if (recording_answer_ || reservation_ != 0) reservation_ = 0;  // it is being settled: the ledger's affair now
    else core_.host.orders()->abandon(ticket);
  }
  if (reservation_ != 0) {
    order_state_ = outcome_ == Outcome::kNotSent ? kNotSentState : kUnknownState;
    settle_order(outcome_ == Outcome::kNotSent ? OrderEnd::kNotSent : OrderEnd::kUnknown);
  }
  if (absent_ != nullptr) --core_.absent_clients;
  answer_.reset();
}

void Exchange::forget_order() {
  keyed_ = order_looked_ = recording_answer_ = reading_answer_ = answer_says_unknown_ = false;
  doubt_ = Doubt::kNone;
  order_.key.clear();
  order_.timed = false;
  order_state_ = {};
  ticket_ = OrderTicket{};
  reservation_ = 0;
  answer_.reset();
  absent_.reset();
}

}  // namespace proxy
