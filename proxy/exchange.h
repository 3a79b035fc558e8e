#pragma once
/// One request and its response: where it goes, what may be sent when, and its one ending. Private to the library.
///
/// Phases: kNew -> (kAsked | kQueued | kHeld | kReserving | kConnecting -> kWaiting -> kResponding -> (kTunnel)) -> kOver, and back to kNew or kHeld when an
/// attempt fails in a way that retry.h lets us repair. Split over exchange.cc (request, attempts),
/// exchange_unrouted.cc (who has to go elsewhere), exchange_admission.cc (who may come in), exchange_session.cc (which node a session is at), exchange_ending.cc (endings),
/// exchange_response.cc (response), exchange_tunnel.cc, exchange_hedge.cc (two attempts at once), exchange_content.cc (what the route makes of heads and bodies),
/// exchange_cache.cc (answers kept for others), exchange_order.cc (orders under keys), exchange_egress.cc (requests to a broker) and exchange_record.cc (what is written down).

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/client.h"
#include "proxy/connection_pool.h"
#include "proxy/core.h"
#include "proxy/egress.h"
#include "proxy/forwarding.h"
#include "proxy/http1/codec.h"
#include "proxy/order.h"
#include "proxy/outlet.h"
#include "proxy/response_cache.h"
#include "proxy/span.h"
#include "proxy/trail.h"
#include "proxy/websocket.h"

namespace proxy {

struct HaltOrder;

/// 128 random bits as 32 hexadecimal digits: for requests without an id, and for sessions without a cookie.
struct MadeId {
  explicit MadeId(const Chance& chance);
  std::array<char, 32> text;
};

/// How long the answer of a peer that is primary no longer may take to arrive: milliseconds where it gave the role away, and where it
/// hangs its clients are told so much later.
inline constexpr Milliseconds kFormerWait{1000};
inline constexpr std::string_view kOrderRulesDiffer = "order-rules-differ";  ///< to a peer: an order under a key that would be another one here
inline constexpr std::string_view kPrimaryChanged = "primary_changed";
inline constexpr std::string_view kPrimaryChangedText = "the primary changed while the request was there";

/// Recycled: Core keeps ended ones with their buffers, so that a request allocates nothing in the steady state.
class Exchange final : public http1::ResponseSink, public Timer::Owner, public RateDesk::Waiter {
 public:
  explicit Exchange(Core& core);
  void recycle();   ///< as new, buffers kept

  // From the downstream connection.
  /// Takes in the head. Nothing is sent before request_gathered().
  void begin(Client& down, const http1::RequestHead& head);
  void request_body(Bytes bytes);   ///< valid until request_gathered() returns
  void request_end(std::span<const http1::Header> trailers);
  /// All that one read has brought is here: dispatch, or send on. The exchange may be over afterwards.
  void request_gathered();
  void request_broken(const Error& error);  ///< the body is malformed or too large; ends the exchange
  /// Ends the exchange without an answer. @param reason  for the record; a literal
  void client_gone(std::string_view reason = "client_gone");
  void request_too_slow();                  ///< the body comes below the least rate; ends the exchange
  void client_writable();
  void tunnel_from_client(Bytes bytes);
  void tunnel_client_eof();
  [[nodiscard]] bool request_complete() const { return request_complete_; }
  [[nodiscard]] bool wants_request() const;   ///< has room for more of the request's bytes
  /// It is the client's turn to send: a body has begun, and nobody has told it to wait.
  [[nodiscard]] bool awaits_body() const {
    return !request_complete_ && phase_ != Phase::kTunnel && !(expect_continue_ && request_body_bytes_ == 0);
  }
  [[nodiscard]] bool at_endpoint() const { return phase_ >= Phase::kWaiting && phase_ <= Phase::kTunnel; }
  [[nodiscard]] bool at_ledger() const { return phase_ == Phase::kReserving; }

  // From the upstream connection.
  /// Something has happened at `from`: of two attempts, it is the one spoken of until the other one has something to say.
  void focus(const Connection& from) {
    if (other_ != nullptr) focus_other(from);
  }
  void upstream_connected();
  void upstream_data(http1::ResponseParser& parser, Bytes bytes);
  void upstream_eof(http1::ResponseParser& parser);
  void upstream_writable();
  void upstream_closed(StreamEnd end);
  void lease_lost();
  http1::Flow on_head(const http1::ResponseHead& head) override;
  void on_body(Bytes bytes) override;
  void on_end(std::span<const http1::Header> trailers) override;

  // From the core.
  /// The view of the attempt is no longer true. What a peer has been sent in full it may have answered before it gave the role away:
  /// that answer is waited for, kFormerWait at most. It guards its own lease, so it tells us what it had to cut.
  void holder_changed();
  void endpoint_unfit();            ///< its endpoint has turned critical, was ejected or has gone
  void dispatch_held();             ///< a primary is there, or may be
  void end_if_cut();                ///< there are halts, newer ones
  void dispatch_queued();           ///< its turn has come, or an endpoint may have room
  [[nodiscard]] bool can_leave_queue();
  [[nodiscard]] bool in_session() const { return session_ != SessionHash{}; }
  [[nodiscard]] bool has_somewhere();   ///< somebody has room, though perhaps not for its session
  void on_deadline(Timer& timer, TimePoint now) override;
  void rate_decided(const RateDecision& decision) override;
  void drain_deadline();            ///< it ends now
  void order_told(const OrderReply& told);
  void order_recorded(bool recorded, const OrderCommit& commit);
  void end_tunnel_by(TimePoint deadline);  ///< if it is one: says good-bye at a random moment before
  /// Resets its connection to the broker if that may be written to no more, and tells nobody. @return true: egress_lost() is due
  [[nodiscard]] bool cut_if_forbidden();
  void egress_lost();
  /// Marks the endpoints that this exchange may still look at.
  template <class Set>
  void collect_endpoints(Set& set) const {
    if (endpoint_ != nullptr) set.insert(endpoint_);
    if (other_endpoint_ != nullptr) set.insert(other_endpoint_);
    if (other_ != nullptr) set.insert(other_->endpoint);
    set.insert(tried_.begin(), tried_.end());
  }
  [[nodiscard]] bool over() const { return phase_ == Phase::kOver; }

  Link endpoint_link{this};         ///< in EndpointState::attempts
  Link service_link{this};          ///< in ServiceState::active, ServiceState::held or RouteState::queue

 private:
  enum class Phase : std::uint8_t { kNew, kAsked, kQueued, kHeld, kReserving, kConnecting, kWaiting, kResponding, kTunnel, kOver };

  /// What belongs to one attempt of two, while the other one is the present one.
  struct Leg {
    std::unique_ptr<Connection> up;
    EndpointState* endpoint = nullptr;
    Phase phase = Phase::kNew;
    bool in_flight = false, slot = false, breaker_asked = false, probe = false, head_sent = false, second = false;
    TimePoint attempt_at{}, sent_at{};
    std::chrono::nanoseconds connected_time = kNotMeasured;
    SpanId span{};
    std::uint32_t number = 0;
    int status = 0;
    bool spanned = false;
    std::string_view code{};
  };
  /// What a leg that is over says about its endpoint.
  enum class LegEnd : std::uint8_t { kNothing, kGood, kFailed };

  // Two attempts at once (exchange_hedge.cc).
  [[nodiscard]] bool is_hedged() const;
  [[nodiscard]] bool may_hedge() const;
  void plan_hedge();
  void start_hedge();
  [[nodiscard]] EndpointState* pick_second();
  void swap_legs();
  void focus_other(const Connection& from);
  void cancel_other();
  void lose_leg(std::string_view code, LegEnd end);
  [[nodiscard]] bool settle_legs(int status, bool refused);
  void leave_lost_leg();
  // Whether it may come in.
  /// Sets early_ if the route's rules refuse it. @param path  canonical
  void admit(const http1::RequestHead& head, std::string_view path);
  /// @return true if the guard keeps this client out; early_ says so
  bool is_banned(const http1::RequestHead& head);
  void refuse(int status, std::string_view code, std::string_view message, std::string_view hint, Milliseconds retry_after);
  void note_hash(const http1::RequestHead& head, std::string_view path);
  bool admit_rate(const http1::RequestHead& head, std::string_view address, std::string_view path);
  bool settle_rate(const RateVerdict& verdict, const RateDecision* decision);
  void admit_concurrency();
  // Sessions (exchange_session.cc).
  void note_session(const http1::RequestHead& head);
  Core::Picked pick();
  void settle_session(EndpointState& endpoint);
  void issue_session(const EndpointState& endpoint);
  void learn_session(const http1::ResponseHead& head);
  void keep_session();
  // What its route makes of heads.
  void note_content(const http1::RequestHead& head, const Origin& origin);
  void rewrite_head(const http1::RequestHead& head, const Origin& origin);
  void append_request_fields();
  /// Decides about packing, appends the route's own fields. @return the framing of what is sent
  http1::Framing shape_response(const http1::ResponseHead& head, ResponseFacts& facts);
  void pack_response();
  void stop_packing();
  // Answers kept for others.
  /// Between request and cache. kLook: not asked yet; kFetch: asks the instance on behalf of others; kAlone: asks for itself.
  enum class CacheStep : std::uint8_t { kNone, kLook, kFetch, kAlone, kServe };
  void note_cache(const http1::RequestHead& head);
  void drop_conditions();
  [[nodiscard]] bool look_up();
  [[nodiscard]] bool wait_for_other(bool first);
  void serve(std::shared_ptr<const StoredAnswer> answer);
  void send_stored();
  void begin_recording(const http1::ResponseHead& head);
  void record_body(Bytes bytes);
  void end_recording(bool with_trailers);
  void release_claim(bool keepable);
  [[nodiscard]] bool has_stale() const { return (cache_step_ == CacheStep::kFetch || cache_step_ == CacheStep::kAlone) && stored_ != nullptr && core_.now < stored_->error_until; }
  void serve_stale_instead();
  void serve_stale();
  void append_cache_fields();
  void forget_cache();
  [[nodiscard]] FieldFacts field_facts() const;
  // Orders under keys (exchange_order.cc).
  [[nodiscard]] bool differs_from_entry(const http1::RequestHead& head, const Route* route);
  void note_order(const http1::RequestHead& head);
  void note_order_who(const http1::RequestHead& head);
  [[nodiscard]] std::string order_words() const;
  void take_order_key(std::optional<std::string> key);
  void lack_order_key();
  [[nodiscard]] std::string_view order_body();
  [[nodiscard]] bool complete_order_key();
  [[nodiscard]] bool may_be_sent(Epoch epoch);
  [[nodiscard]] bool look_before_hold();
  [[nodiscard]] bool look_again();
  [[nodiscard]] bool may_be_its_own() const;
  void refuse_in_flight();
  [[nodiscard]] bool has_whole_order();
  void give_back_reservation();
  void ask_ledger();
  void reservation_late();
  void order_head(const http1::ResponseHead& head);
  void order_gathered();
  [[nodiscard]] bool leaves_unknown(const OrderAnswer& answer) const;
  void replay(const OrderAnswer& answer, bool again);
  void go_on_after(const OrderAnswer& answer);
  enum class AnswerText : std::uint8_t { kWhole, kHead };
  [[nodiscard]] bool read_answer(std::string_view text, AnswerText what);
  void answer_unreadable(int status, std::string_view code, std::string_view message, std::string_view hint);
  void answer_head(const http1::ResponseHead& head);
  void settle_order(OrderEnd end);
  [[nodiscard]] bool outlives_client(std::string_view reason);
  void leave_order();
  void forget_order();
  /// What the instance says is gathered for the ledger, not passed on.
  [[nodiscard]] bool is_reserved() const { return reservation_ != 0 && !reading_answer_; }
  // Requests to a broker (exchange_egress.cc).
  void note_egress(const http1::RequestHead& head);
  [[nodiscard]] EgressAct egress_act() const;
  [[nodiscard]] EgressVerdict egress_verdict() const;
  [[nodiscard]] bool egress_open();
  void refuse_egress(EgressVerdict verdict);
  void egress_denied();
  void guard_attempt(const LeaseView* lease);
  [[nodiscard]] std::unique_ptr<Connection> take_egress_idle(EndpointState& endpoint, Milliseconds idled_max);
  // What is written down of it (exchange_record.cc).
  [[nodiscard]] Naming naming(std::string_view made_id) const;
  void begin_naming(const http1::RequestHead& head);
  void begin_trace(const http1::RequestHead& head, std::string_view made_id);
  void begin_span();
  void append_traceparent_field();
  void note_span();
  /// Whether parts of this request are spans.
  [[nodiscard]] bool wants_spans() const { return traced_ && core_.settings.trace.spans && trace_.sampled(); }
  [[nodiscard]] SpanId make_span_id();
  void record_order(AccessRecord& record) const;
  void note_ledger_span(SpanOf of, std::string_view state, const OrderCommit& commit);
  void record();
  void count_ending();
  void count_response(int status);
  void name_response(ResponseFacts& facts) const;
  /// Writes a step down, if anybody wants to know.
  void note(Step step, std::string_view text = {}, std::string_view more = {}, std::uint64_t a = 0, std::uint64_t b = 0) {
    if (core_.settings.trails) trail_.add(core_.now - started_, step, text, more, a, b);
  }
  void note_candidates(const EndpointState* picked);
  void note_held();
  // Where it goes.
  void answer_elsewhere(const http1::RequestHead& head, std::uint16_t port);
  void answer_unroutable(const RouteMatch& match);
  void dispatch();
  void dispatch_primary();
  void dispatch_all();
  void dispatch_from_peer();
  void attempt(EndpointState& endpoint, const LeaseView* lease);
  void make_attempt_head();
  [[nodiscard]] bool claim(EndpointState& endpoint);
  void wait_in_queue();
  void leave_queue();
  void judge_breaker(AttemptEnd end, bool blamed);
  void report_breaker(bool good);
  // Orders to stop (exchange_halt.cc).
  [[nodiscard]] const HaltOrder* halted_by() const;  ///< null = none
  bool stop_if_halted();
  bool stop_before_first_byte();
  // Waiting for a primary (exchange_hold.cc).
  void hold();
  void leave_hold();
  [[nodiscard]] bool is_for_armed() const;
  [[nodiscard]] bool waits_for_arming() const;
  void refuse_unarmed_to_peer();
  void note_refusal(std::string_view field);
  void reply_not_taken();
  // What is sent.
  void write_request();
  void keep_request();
  void note_progress();
  void arm_timer();
  void first_byte_late(TimePoint now);
  [[nodiscard]] bool can_go_elsewhere();
  // How an attempt ends.
  void attempt_failed(AttemptEnd end, std::string_view code, std::string_view message);
  std::unique_ptr<Connection> detach_attempt();
  void drop_attempt(bool with_reset);
  [[nodiscard]] AttemptEnd end_now() const;
  void give_up(AttemptEnd end, std::string_view code, std::string_view message);
  // How the exchange ends.
  void refuse_to_peer(std::string_view reason);
  void reply(int status, std::string_view code, std::string_view message, std::string_view hint,
             Outcome outcome, Milliseconds retry_after = Milliseconds{0});
  void send_reply(const LocalReply& reply);
  void finish(Client::Next next);
  void finish_without_client();
  void leave_everything();
  void end_under_lease(std::string_view code, std::string_view message);
  [[nodiscard]] bool keeps_client() const;
  [[nodiscard]] std::string_view request_id() const;
  [[nodiscard]] bool is_order() const { return service_ != nullptr && route_->kind == PoolKind::kPrimary; }
  /// Its attempts end with the view under which they were begun.
  [[nodiscard]] bool is_leased() const { return is_order() || route_->egress != nullptr; }
  // Response.
  void response_gathered();
  void begin_response(const http1::ResponseHead& head, EndpointKind from);
  bool write_response();   ///< @return false: the client has no more room, client_writable() follows
  void release_attempt();
  void finish_response();
  void peer_refused();
  void response_broken(const Error& error);
  // Tunnel (exchange_tunnel.cc).
  void start_tunnel();
  void tunnel_from_server(Bytes bytes);
  void tunnel_server_eof();
  void tunnel_late(TimePoint now);
  void say_goodbye();
  void end_tunnel_if_answered();
  void end_tunnel();
  [[nodiscard]] Client::Next tell_client_of_loss();

  Core& core_;
  Client* down_ = nullptr;
  Timer timer_;
  // The request.
  TableUse* use_ = nullptr;
  const Route* route_ = nullptr;
  ServiceState* service_ = nullptr;   ///< of the route; null = it names none
  PoolState* pool_ = nullptr;
  RouteState* state_ = nullptr;       ///< of the route
  bool running_counted_ = false;      ///< in RouteShare::running
  RateDesk::Ticket rate_ticket_ = 0;  ///< of a question about its client's rate; 0 = nothing is asked
  TimePoint rate_deadline_{};         ///< of that
  TimePoint dispatch_at_{};           ///< not before: a burst that goes on at its rate
  TimePoint queue_deadline_{};        ///< of its waiting for max_conns; unset = has not waited
  std::uint64_t hash_ = 0;            ///< of the client's key, for routes that balance by it
  SessionHash session_{};             ///< of sticky routes; none while the client has no key yet
  bool session_known_ = false;        ///< the table knew where it was
  bool session_issue_ = false;        ///< a cookie of ours is missing
  bool session_stays_ = false;        ///< whatever other node serves this one request
  TimePoint session_used_{};          ///< as last noted, for tunnels
  std::string session_text_;          ///< scratch
  bool slot_ = false;                 ///< counted in EndpointShare::in_flight
  bool breaker_asked_ = false;        ///< the attempt passed a breaker and owes it a result
  bool probe_ = false;                ///< it is the one probe of a half-open breaker
  TimePoint attempt_at_{};
  std::string admission_text_;        ///< scratch, then header lines of our own for the client
  bool shaped_ = false;               ///< its route has a say in the content, and this agent is where it came in
  bool takes_gzip_ = false, pack_broken_ = false;
  bool short_read_ = false;           ///< the last read did not fill its buffer: the instance pauses
  std::unique_ptr<Packer> packer_;    ///< of the response, while it is packed
  std::string packed_;                ///< what it has given in this turn
  CacheStep cache_step_ = CacheStep::kNone;
  CacheWish wish_;
  std::string cache_key_, if_none_match_;
  std::shared_ptr<const StoredAnswer> stored_;  ///< being sent; with kFetch a stale one, in case that fetching fails
  std::size_t stored_sent_ = 0;                 ///< of its body
  std::unique_ptr<StoredAnswer> recording_;     ///< the answer that comes, as far as it has come
  std::uint64_t claim_ = 0, generation_ = 0;
  bool claimed_ = false, collapsed_ = false, stale_instead_ = false;
  TimePoint wait_until_{};
  Milliseconds wait_pause_{0};
  std::string client_text_;           ///< address of the client; only with rules that may name it
  std::string principal_;             ///< who has shown a secret of its route; only with a rule for orders
  std::string order_who_;             ///< digest of who asks for this order, in digits; empty = nothing is known of that
  bool order_met_ = false;            ///< the agent that the client has met treats it as an order under a key, too
  bool rules_differ_there_ = false;   ///< the holder elsewhere has refused it: its rule for orders is another one
  bool keyed_ = false;                ///< its route wants a key, and it has or may have one
  bool order_looked_ = false;         ///< the ledger was asked though nobody leads
  bool recording_answer_ = false;     ///< answer_ is on its way into the ledger
  bool reading_answer_ = false;       ///< what the parser says comes from a recorded answer
  bool answer_says_unknown_ = false;  ///< the answer that streams has left the order unknown
  bool may_be_reserved_there_ = false;  ///< another agent has sent it back, perhaps after it had reserved it
  enum class Doubt : std::uint8_t { kNone, kHeld, kLookedAgain };
  Doubt doubt_ = Doubt::kNone;        ///< the ledger has called it reserved: by another try, or by the agent that has sent it back
  OrderTicket ticket_{};              ///< of the question to the ledger that is open; 0 = none
  std::uint64_t reservation_ = 0;     ///< 0 = none, or it has been settled
  OrderRequest order_;
  std::shared_ptr<OrderAnswer> answer_;
  http1::Framing answer_framing_ = http1::Framing::kNone;
  std::uint64_t answer_length_ = 0;
  std::string order_text_;            ///< scratch
  std::unique_ptr<Client> absent_;    ///< in the place of a client that left
  http1::Method method_ = http1::Method::kGet;
  std::uint8_t client_minor_ = 1;
  http1::Framing request_framing_ = http1::Framing::kNone;
  bool client_keep_alive_ = true, upgrade_ = false, expect_continue_ = false, request_complete_ = false;
  std::size_t method_bytes_ = 0;      ///< where the target begins in head_ is one behind
  std::size_t target_bytes_ = 0;
  RequestIdPlace id_;
  std::size_t host_bytes_ = 0;        ///< of the host in head_, right behind the request line
  std::string client_;                ///< address behind a trusted proxy or a peer; empty = that of the connection
  TraceContext trace_;                ///< meaningful with traced_
  SpanId parent_{};
  bool traced_ = false;
  ChildSpans spans_;
  TimePoint ledger_at_{};             ///< the ledger was asked, or told, last
  std::string_view order_state_;      ///< literal: what is known to have become of the order
  SpanId attempt_span_{};
  std::uint32_t attempt_number_ = 0;  ///< of the present attempt, which of two may be the first
  bool spanned_ = false;              ///< the present attempt is a span of its own
  int attempt_status_ = 0;            ///< of the endpoint's final head
  std::string_view attempt_code_;     ///< literal: why the attempt failed
  Trail trail_;
  std::string unarmed_there_;         ///< the holder elsewhere has refused it for this reason; empty = it has not
  bool held_noted_ = false;           ///< trail_ says that it is held, and not yet that it is no more
  std::string head_;                  ///< upstream head: the common part, then that of the attempt
  std::size_t common_bytes_ = 0;
  std::string kept_;                  ///< framed body so far, as long as it may be needed again
  std::size_t kept_sent_ = 0;         ///< of kept_, given to the present attempt
  bool replayable_ = true;            ///< kept_ is the whole body so far
  bool head_sent_ = false;            ///< given to the present attempt
  Gather body_;                       ///< of the present read
  std::string hop_names_;             ///< of the head, for trailers; nearly always empty
  std::string framing_;               ///< chunk size before body_
  std::string tail_;                  ///< last chunk and trailers
  std::uint64_t request_body_bytes_ = 0;
  // The attempt.
  Phase phase_ = Phase::kNew;
  std::unique_ptr<Connection> up_;
  EndpointState* endpoint_ = nullptr; ///< of the present or the last attempt
  std::vector<EndpointState*> tried_; ///< endpoints of failed attempts; cleared for each request
  std::uint32_t attempt_count_ = 0;
  AttemptEnd last_end_ = AttemptEnd::kConnectFailed;       ///< the worst of the failed attempts: one that may have arrived
  std::string_view last_code_, last_message_;              ///< literals: of the last one
  bool in_flight_ = false;            ///< counted at endpoint_
  bool tunnel_counted_ = false;       ///< the same, as a tunnel
  bool local_order_ = false;          ///< counted at service_
  bool order_counted_ = false;
  std::unique_ptr<Leg> other_;        ///< the attempt beside the present one; null = there is one
  bool second_leg_ = false;           ///< the present attempt is the later one of two
  bool leg_lost_ = false;             ///< the present attempt has answered that it cannot, while the other one may
  LegEnd leg_end_ = LegEnd::kNothing;  ///< with leg_lost_
  EndpointState* other_endpoint_ = nullptr;  ///< of the one of two attempts that is over; for the record
  TimePoint hedge_at_ = TimePoint::max();    ///< a second attempt begins
  TimePoint hedged_since_{};                 ///< of two attempts, when the first one was sent
  bool alone_ = false;                ///< nobody else could do better than the present attempt
  Epoch epoch_{};
  std::optional<Epoch> told_epoch_;    ///< of a request to a broker: under which it was decided, as the service says, or in which it came
  Milliseconds dispatch_pause_{0};
  TimePoint started_{}, held_since_{}, hold_deadline_{}, retry_at_ = TimePoint::max(), progress_{}, sent_at_{};
  std::chrono::nanoseconds held_time_{0}, first_byte_{0};
  std::chrono::nanoseconds connected_time_ = kNotMeasured, head_time_ = kNotMeasured, attempt_time_ = kNotMeasured;
  std::uint64_t held_bytes_ = 0;
  // The response.
  std::string response_;              ///< heads to be sent
  Gather response_body_;
  std::string response_framing_, response_tail_;
  http1::Framing client_framing_ = http1::Framing::kNone;
  int status_ = 0;                    ///< of the final head
  std::uint64_t response_body_bytes_ = 0;
  bool response_begun_ = false;       ///< a final head is on its way to the client
  bool response_complete_ = false, upstream_keep_alive_ = false, keep_client_ = true, refused_ = false, switched_ = false;
  bool switched_rightly_ = false;     ///< with switched_: to what the client asked for
  AttemptEnd refused_end_ = AttemptEnd::kRefusedByPeer;  // meaningful with refused_: why the peer's answer is not passed on
  bool client_eof_ = false, upstream_eof_ = false;
  // The tunnel.
  enum class Goodbye : std::uint8_t {
    kNone,
    kPlanned,  ///< at goodbye_at_
    kDue,      ///< as soon as no frame is on its way
    kSaid,     ///< Close went to both sides; nothing follows it; goodbye_at_ is how long theirs are waited for
  };
  Goodbye goodbye_ = Goodbye::kNone;
  TimePoint goodbye_at_ = TimePoint::max();
  TimePoint former_until_ = TimePoint::max();  ///< the answer of a holder that is one no longer is waited for until then
  FrameTrack from_client_, from_server_;
  std::string_view reason_;           ///< literal: code of our own answer
  Outcome outcome_ = Outcome::kNotSent;
  LocalReply early_;                  ///< answer that waits for request_gathered(); status 0 = none
  std::string early_text_;            ///< what early_ refers to
};

}  // namespace proxy
