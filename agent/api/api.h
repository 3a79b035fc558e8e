#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/api/backend.h"
#include "agent/api/message.h"
#include "agent/api/query.h"
#include "agent/api/router.h"

/// The API without its sockets: requests in, answers out, time as an argument.
namespace agent::api {

using TimePoint = std::chrono::steady_clock::time_point;
using Json = nlohmann::ordered_json;

/// Below /v1 we speak as Consul does, everywhere else as ourselves (see error.h for what differs).
enum class Dialect { kConsul, kOwn };

/// One request as its handler sees it. Valid during the handler only.
struct Call {
  ExchangeId id{};
  const Request& request;
  const Query& query;
  std::vector<std::string> parameters;  ///< of the router's pattern, decoded
  TimePoint now;
};

/// All counts are bounds; over one the request is refused with kBusy or kTooLarge, never queued.
struct Limits {
  std::size_t waits_max = 10000;                ///< blocking queries that wait at the same time
  std::size_t streams_max = 1000;               ///< event streams
  std::size_t answer_bytes_max = 32U << 20;     ///< body of one answer
  std::size_t key_bytes_max = 1024;             ///< KV key
  std::size_t value_bytes_max = 512U * 1024;    ///< KV value (Consul's bound)
  std::size_t txn_ops_max = 64;                 ///< operations of one transaction (Consul's bound)
  Milliseconds session_ttl_min{10000};          ///< least TTL that is not 0 (Consul's bound; less by config)
  Milliseconds session_ttl_max{86400000};       ///< 24 hours
  std::size_t stream_piece_bytes = 256U << 10;  ///< about as much of keys and values goes into one piece of a stream
  Milliseconds wait_default{300000};            ///< blocking query without `wait`
  Milliseconds wait_max{600000};                ///< longer ones are cut to this
  Milliseconds stream_comment_every{15000};     ///< sign of life on an idle event stream
};

/// How a read is answered, once and again when it blocks.
struct Read {
  /// What to wait for; nullopt = the answer never blocks.
  std::optional<Topic> topic;
  /// Makes the answer from the local state as it is then.
  std::function<Response(const ReadInfo& info)> render;
  bool needs_barrier = true;  ///< false: about this agent only; any mode reads what is here
  /// Block behind this index instead of the query's `index`; 0 = answer at once. For waits on something else.
  std::optional<Index> after{};
};

/// What an event stream sends next.
struct StreamPiece {
  std::string text;   ///< whole events, as they go on the wire; may be empty
  Index upto{};       ///< everything up to here is told: wait until the topic is above
  bool more = false;  ///< there is more already: ask again in the next turn
  bool over = false;  ///< nothing will follow: end the stream behind `text`
};
/// An event stream: `pull` is asked once at the start and then after every change of `topic`, never while the client is
/// behind with what it was sent.
struct Stream {
  Topic topic;
  Index after{};  ///< where the client is
  std::function<StreamPiece(Index after)> pull;
  /// Events for a sign of life, asked for once in a while; empty text or no function = a bare comment.
  std::function<std::string(Index after)> idle;
};

/// Router, handlers, blocking queries and event streams.
/// Source:    blocking queries after Consul's contract (docs: api.md section 5): index=N answers when the topic's index
///            is above N, at once for N = 0; else after `wait` plus up to a sixteenth of it, by chance. A read that was
///            allowed once and then waits needs no second permission: what it answers is newer still.
/// Source:    event streams after the HTML standard, "Server-sent events": id, event and data lines, Last-Event-ID.
/// Invariant: every request gets exactly one kReply or one stream, unless its client hangs up first; after on_hangup
///            nothing of the exchange is left, neither here nor in the Backend.
/// Ownership: keeps a reference to the Backend, which may outlive this object: completions that arrive later are void.
class Api {
 public:
  /// @param chance  a number in [0, bound)
  /// @param wake    called when a completion has made output outside of the calls below; may be empty
  Api(Backend& backend, std::function<std::uint64_t(std::uint64_t)> chance, std::function<void()> wake, Limits limits);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  void on_request(ExchangeId id, const Request& request, TimePoint now);
  /// The client will send no more but may still read. An exchange that waits (or would) ends: @return true, and nothing
  /// of it is left. Otherwise its answer is on the way and will not wait any more.
  bool on_client_end(ExchangeId id);
  /// The connection is gone.
  void on_hangup(ExchangeId id);
  /// The client of a stream has more unread than it should, or has read it: pulling pauses or goes on.
  void on_stream_full(ExchangeId id);
  void on_stream_drained(ExchangeId id);
  /// Answers the waits whose time is up and keeps streams alive.
  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;  ///< time_point::max() when nothing waits; long past = tick again now
  [[nodiscard]] std::vector<Output> take_output();
  /// Answers everything that waits with kStopping and every later request too.
  void stop();

  [[nodiscard]] std::size_t waiting() const { return waits_; }
  [[nodiscard]] std::size_t open() const { return exchanges_.size(); }

  // --- for handlers ---

  [[nodiscard]] Backend& backend() { return backend_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }
  void reply(ExchangeId id, Response response);
  void reply_json(ExchangeId id, const Json& body, int status = 200);
  void fail(ExchangeId id, const Error& error);
  /// Answers now or later, as `index`, `wait`, `stale` and `consistent` of the query say.
  void read(const Call& call, Read read);
  /// Answers with an endless event stream, now. A handler that must read first does it with permit() and calls this
  /// then.
  void stream(ExchangeId id, TimePoint now, Stream stream);
  /// The same for a topic whose newest state alone matters: `render` gives the event's data.
  void stream(const Call& call, Topic topic, std::string event, std::function<std::string()> render);
  /// Runs `then` once the local state may be read as the query's `stale` and `consistent` say; answers errors itself.
  void permit(const Call& call, std::function<void(const ReadInfo& info)> then);
  /// A completion that answers `id`: with `render` of the value, or with the error.
  template <typename T>
  Completion<T> answer(ExchangeId id, std::function<Response(const T&)> render) {
    return [this, alive = std::weak_ptr<bool>(alive_), id, render = std::move(render)](Result<T> result) {
      if (alive.expired() || !exchanges_.contains(id)) return;
      if (result)
        reply(id, render(*result));
      else
        fail(id, result.error());
      wake_after_completion();
    };
  }

 private:
  struct Exchange {
    Dialect dialect = Dialect::kOwn;
    bool pretty = false;
    bool client_ended = false;
    bool is_stream = false, waits = false, expired = false;
    bool full = false, has_more = false;  ///< streams: the client is behind; pull again when it is not
    ReadMode mode = ReadMode::kDefault;
    Index after{};  ///< blocking: answer when the topic is above, 0 = do not block; streams: where the client is
    Read read;
    std::unique_ptr<Stream> stream;  ///< streams only; thousands of exchanges wait, few of them stream
    std::optional<WatchId> watch;
    TimePoint deadline = TimePoint::max();  ///< of the wait, or of the next sign of life of a stream
  };

  void route(ExchangeId id, Exchange& exchange, const Request& request, const Query& query, TimePoint now);
  [[nodiscard]] std::optional<Error> refuse_browser(const Request& request) const;
  [[nodiscard]] static std::optional<Error> read_mode(const Query& query, Exchange& exchange);
  [[nodiscard]] std::optional<Error> read_parameters(const Call& call, Exchange& exchange);
  void start_read(ExchangeId id);
  void answer_or_wait(ExchangeId id, const ReadInfo& info);
  bool begin_watch(ExchangeId id, Exchange& exchange, Index after);
  void on_woken(ExchangeId id);
  void pull_stream(ExchangeId id);
  void end_stream(ExchangeId id);
  void drop(ExchangeId id);
  void set_deadline(ExchangeId id, Exchange& exchange, TimePoint deadline);
  [[nodiscard]] Index index_of(const Topic& topic) const;
  void wake_after_completion();

  Backend& backend_;
  std::function<std::uint64_t(std::uint64_t)> chance_;
  std::function<void()> wake_;
  Limits limits_;
  Router router_;
  std::unordered_map<ExchangeId, Exchange> exchanges_;
  std::set<std::pair<TimePoint, ExchangeId>> deadlines_;
  std::size_t waits_ = 0, streams_ = 0;
  std::vector<Output> output_;
  std::vector<ExchangeId> pulls_;                               ///< streams that have more to tell in the next turn
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< completions hold it weakly
  bool stopping_ = false;
};

// Each file of handlers adds its own routes.
void add_kv_routes(Router& router);
void add_session_routes(Router& router);   ///< /v1/session
void add_txn_routes(Router& router);       ///< /v1/txn
void add_consul_routes(Router& router);    ///< /v1/agent, /v1/status
void add_agent_routes(Router& router);     ///< /v1/agent/service, check, health, maintenance
void add_catalog_routes(Router& router);   ///< /v1/catalog, /v1/health, http_sd
void add_event_routes(Router& router);     ///< /v1/event, /outrigger/v1/events
void add_own_kv_routes(Router& router);    ///< /outrigger/v1/kv, quotas
void add_feed_routes(Router& router);      ///< /outrigger/v1/watch
void add_election_routes(Router& router);  ///< /outrigger/v1/election, switchover
void add_operator_routes(Router& router);  ///< /v1/snapshot, /v1/operator, /outrigger/v1/raft
void add_own_routes(Router& router);       ///< /outrigger/v1, /metrics
void add_order_routes(Router& router);     ///< /outrigger/v1/orders, arming
void add_request_routes(Router& router);   ///< /outrigger/v1/routes, why, tap
void add_flight_routes(Router& router);    ///< /outrigger/v1/incident, faults
void add_traffic_routes(Router& router);   ///< /outrigger/v1/upstreams/eject, uneject, breakers, guard

}  // namespace agent::api
