#include "agent/api/api.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/audit_routes.h"
#include "agent/api/catalog_backend.h"
#include "agent/api/halt_routes.h"
#include "agent/api/plan_routes.h"
#include "agent/api/trace_routes.h"
#include "agent/api/session_backend.h"

namespace agent::api {
namespace {

std::string host_without_port(std::string_view host) {
  if (host.starts_with('[')) return std::string(host.substr(0, host.find(']') + 1));
  return std::string(host.substr(0, host.find(':')));
}

/// Names that no foreign web page can have: literals and localhost.
bool is_literal_host(std::string_view host) {
  const std::string name = host_without_port(host);
  return name.empty() || name == "localhost" || name.starts_with('[') ||
         name.find_first_not_of("0123456789.") == std::string::npos;
}

Response text_response(int status, std::string body) {
  return {status, "text/plain; charset=utf-8", {}, std::move(body)};
}

}  // namespace

Api::Api(Backend& backend, std::function<std::uint64_t(std::uint64_t)> chance, std::function<void()> wake,
         Limits limits)
    : backend_(backend), chance_(std::move(chance)), wake_(std::move(wake)), limits_(limits) {
  add_kv_routes(router_);
  add_session_routes(router_);
  add_txn_routes(router_);
  add_own_kv_routes(router_);
  add_feed_routes(router_);
  add_election_routes(router_);
  add_consul_routes(router_);
  add_agent_routes(router_);
  add_catalog_routes(router_);
  add_event_routes(router_);
  add_operator_routes(router_);
  add_own_routes(router_);
  add_order_routes(router_);
  add_request_routes(router_);
  add_trace_routes(router_);
  add_halt_routes(router_);
  add_plan_routes(router_);
  add_audit_routes(router_);
  add_flight_routes(router_);
  add_traffic_routes(router_);
}

Api::~Api() {
  for (const auto& [id, exchange] : exchanges_)
    if (exchange.watch) backend_.unwatch(*exchange.watch);
}

void Api::on_request(ExchangeId id, const Request& request, TimePoint now) {
  Exchange& exchange = exchanges_[id];
  exchange.dialect = request.path.starts_with("/v1/") ? Dialect::kConsul : Dialect::kOwn;
  if (stopping_) return fail(id, {Errc::kStopping, "this agent is stopping", {}});
  const auto query = Query::parse(request.query);
  if (!query) return fail(id, {Errc::kBadRequest, "the query string is malformed", {}});
  exchange.pretty = query->has("pretty");
  if (const auto refusal = refuse_browser(request)) return fail(id, *refusal);
  route(id, exchange, request, *query, now);
}

void Api::route(ExchangeId id, Exchange& exchange, const Request& request, const Query& query, TimePoint now) {
  const bool is_head = request.method == "HEAD" && exchange.dialect == Dialect::kOwn;
  auto match = router_.find(is_head ? "GET" : request.method, request.path);
  switch (match.outcome) {
    case Router::Outcome::kFound:
      if (const auto* dc = query.find("dc"); dc != nullptr && !dc->empty() && exchange.dialect == Dialect::kConsul) {
        const std::string own = backend_.self().cluster;
        if (*dc != (own.empty() ? "dc1" : own)) return reply(id, text_response(500, "No path to datacenter"));
      }
      return match.handler(*this, Call{id, request, query, std::move(match.parameters), now});
    case Router::Outcome::kBadPath:
      return fail(id, {Errc::kBadRequest, "the path has a broken escape or a NUL", {}});
    case Router::Outcome::kNoPath:
      return fail(id, {Errc::kNotFound, "there is nothing at " + request.path.substr(0, 200), {}});
    case Router::Outcome::kNoMethod: {
      Response response = text_response(request.method == "OPTIONS" ? 200 : 405, {});
      response.headers.emplace_back("Allow", match.allow);
      if (response.status == 405) {
        response.body = "method " + request.method + " not allowed";
        if (exchange.dialect == Dialect::kOwn) {
          const Json body = {{"code", "method_not_allowed"},
                             {"message", response.body},
                             {"hint", "allowed: " + match.allow},
                             {"retry_after_ms", 0}};
          response.content_type = "application/problem+json";
          response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
        }
      }
      return reply(id, std::move(response));
    }
  }
}

/// The API asks nobody who they are, so a web page must not be able to use it through its visitor's browser: neither
/// by name (DNS rebinding) nor by sending from another site.
std::optional<Error> Api::refuse_browser(const Request& request) const {
  if (request.origin.empty() && request.fetch_site.empty()) return std::nullopt;
  const std::string_view origin = request.origin;
  const auto scheme = origin.find("://");
  const bool own_origin =
      origin.empty() || (scheme != std::string_view::npos && origin.substr(scheme + 3) == request.host);
  const bool own_site =
      request.fetch_site.empty() || request.fetch_site == "same-origin" || request.fetch_site == "none";
  if (is_literal_host(request.host) && (request.method == "GET" || (own_origin && own_site))) return std::nullopt;
  return Error{
      Errc::kBadRequest,
      "refused to a web page: open the API by IP address or localhost, and change things from its own pages only",
      {}};
}

// ---------------------------------------------------------------- answers

void Api::reply(ExchangeId id, Response response) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  if (response.body.size() > limits_.answer_bytes_max) {
    response.body.clear();
    return fail(
        id, {Errc::kTooLarge, "the answer is larger than " + std::to_string(limits_.answer_bytes_max) + " bytes", {}});
  }
  if (it->second.pretty && response.content_type == "application/json") {
    const Json body = Json::parse(response.body, nullptr, false);
    if (!body.is_discarded()) response.body = body.dump(4, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  drop(id);
  output_.push_back({id, Output::Kind::kReply, std::move(response)});
}

void Api::reply_json(ExchangeId id, const Json& body, int status) {
  reply(id, {status, "application/json", {}, body.dump(-1, ' ', false, Json::error_handler_t::replace)});
}

void Api::fail(ExchangeId id, const Error& error) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  const ErrorRow& row = error_row(error.code);
  const auto retry = error.retry_after.count() != 0 ? error.retry_after : row.retry_after;
  Response response;
  if (it->second.dialect == Dialect::kConsul) {
    // Clients look at the first line; what follows is for people.
    std::string text(row.consul_text.empty() ? std::string_view(error.detail) : row.consul_text);
    if (!row.consul_text.empty() && !error.detail.empty()) text += "\n" + error.detail;
    response = text_response(row.consul_status, std::move(text));
  } else {
    const std::string message = error.detail.empty() ? std::string(row.name) : error.detail;
    const Json body = {{"code", row.name}, {"message", message}, {"hint", row.hint}, {"retry_after_ms", retry.count()}};
    response = {row.status, "application/problem+json", {}, body.dump(-1, ' ', false, Json::error_handler_t::replace)};
  }
  if (retry.count() != 0) response.headers.emplace_back("Retry-After", std::to_string((retry.count() + 999) / 1000));
  drop(id);
  output_.push_back({id, Output::Kind::kReply, std::move(response)});
}

// ---------------------------------------------------------------- reads and waits

std::optional<Error> Api::read_mode(const Query& query, Exchange& exchange) {
  const bool stale = query.has("stale"), consistent = query.has("consistent");
  if (stale && consistent)
    return Error{Errc::kBadRequest, "Cannot specify ?stale with ?consistent, conflicting semantics.", {}};
  exchange.mode = stale ? ReadMode::kStale : consistent ? ReadMode::kConsistent : ReadMode::kDefault;
  return std::nullopt;
}

std::optional<Error> Api::read_parameters(const Call& call, Exchange& exchange) {
  if (auto error = read_mode(call.query, exchange)) return error;
  if (const auto* index = call.query.find("index"); index != nullptr && !index->empty()) {
    const auto parsed = parse_u64(*index);
    if (!parsed) return Error{Errc::kBadRequest, "Invalid index: \"" + *index + "\" is no number", {}};
    exchange.after = Index{*parsed};
  }
  if (exchange.read.after) exchange.after = *exchange.read.after;
  Milliseconds wait = limits_.wait_default;
  if (const auto* text = call.query.find("wait"); text != nullptr && !text->empty()) {
    const auto parsed = parse_duration(*text);
    if (!parsed) return Error{Errc::kBadRequest, "Invalid wait time: \"" + *text + "\" is no duration such as 10s", {}};
    if (parsed->count() != 0) wait = std::min<Milliseconds>(*parsed, limits_.wait_max);
  }
  if (exchange.after != Index{}) {
    // Spread, so that clients that began together do not come back together.
    const auto jitter = chance_(static_cast<std::uint64_t>(wait.count() / 16) + 1);
    set_deadline(call.id, exchange, call.now + wait + Milliseconds(static_cast<std::int64_t>(jitter)));
  }
  return std::nullopt;
}

void Api::read(const Call& call, Read read) {
  const auto it = exchanges_.find(call.id);
  if (it == exchanges_.end()) return;
  it->second.read = std::move(read);
  if (const auto error = read_parameters(call, it->second)) return fail(call.id, *error);
  start_read(call.id);
}

void Api::start_read(ExchangeId id) {
  Exchange& exchange = exchanges_.at(id);
  if (!exchange.read.needs_barrier) return answer_or_wait(id, backend_.read_info());
  backend_.read_barrier(exchange.mode, [this, alive = std::weak_ptr<bool>(alive_), id](Result<ReadInfo> info) {
    if (alive.expired() || !exchanges_.contains(id)) return;
    if (info)
      answer_or_wait(id, *info);
    else
      fail(id, info.error());
    wake_after_completion();
  });
}

void Api::answer_or_wait(ExchangeId id, const ReadInfo& info) {
  Exchange& exchange = exchanges_.at(id);
  const bool blocks = exchange.after != Index{} && exchange.read.topic && !exchange.expired && !exchange.client_ended;
  if (blocks && index_of(*exchange.read.topic) <= exchange.after) {
    if (begin_watch(id, exchange, exchange.after)) return;
    return fail(id, {Errc::kBusy, "too many blocking queries are waiting", {}});
  }
  // The renderer may replace itself through reply(); keep it alive.
  const auto render = std::move(exchange.read.render);
  reply(id, render(info));
}

bool Api::begin_watch(ExchangeId id, Exchange& exchange, Index after) {
  const Topic topic = exchange.read.topic.value_or(Topic{});
  if (!exchange.is_stream && waits_ >= limits_.waits_max) return false;
  if (exchange.watch) return true;
  exchange.watch = backend_.watch(topic, after, [this, alive = std::weak_ptr<bool>(alive_), id] {
    if (!alive.expired()) on_woken(id);
  });
  if (!exchange.watch) return false;
  if (!exchange.is_stream && !exchange.waits) {
    exchange.waits = true;
    ++waits_;
  }
  return true;
}

void Api::on_woken(ExchangeId id) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  Exchange& exchange = it->second;
  exchange.watch.reset();
  if (!exchange.is_stream) {
    if (exchange.waits) --waits_;
    exchange.waits = false;
    answer_or_wait(id, backend_.read_info());
  } else {
    pull_stream(id);
  }
  wake_after_completion();
}

Index Api::index_of(const Topic& topic) const {
  switch (topic.kind) {
    case Topic::Kind::kKey:
    case Topic::Kind::kPrefix:
      return backend_.kv_index(topic);
    case Topic::Kind::kElection: {
      const auto election = backend_.election(topic.name);
      return election ? election->index : Index{1};
    }
    case Topic::Kind::kRole:
      return backend_.role().index;
    case Topic::Kind::kNodes:
    case Topic::Kind::kNode:
    case Topic::Kind::kServices:
    case Topic::Kind::kService:
    case Topic::Kind::kChecks:
    case Topic::Kind::kEvents:
      return backend_.catalog() != nullptr ? backend_.catalog()->catalog_index(topic) : Index{1};
    case Topic::Kind::kSession:
    case Topic::Kind::kSessions:
    case Topic::Kind::kNodeSessions:
      return backend_.sessions() != nullptr ? backend_.sessions()->session_index(topic) : Index{1};
    case Topic::Kind::kFeed:
      return Index{0};  // a feed counts nothing: its topic wakes when there is something to take
  }
  return Index{1};
}

// ---------------------------------------------------------------- event streams

void Api::permit(const Call& call, std::function<void(const ReadInfo& info)> then) {
  const auto it = exchanges_.find(call.id);
  if (it == exchanges_.end()) return;
  if (const auto error = read_mode(call.query, it->second)) return fail(call.id, *error);
  backend_.read_barrier(it->second.mode, [this, alive = std::weak_ptr<bool>(alive_), id = call.id,
                                          then = std::move(then)](Result<ReadInfo> info) {
    if (alive.expired() || !exchanges_.contains(id)) return;
    if (info)
      then(*info);
    else
      fail(id, info.error());
    wake_after_completion();
  });
}

void Api::stream(ExchangeId id, TimePoint now, Stream stream) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  if (stopping_) return fail(id, {Errc::kStopping, "this agent is stopping", {}});
  if (streams_ >= limits_.streams_max) return fail(id, {Errc::kBusy, "too many event streams are open", {}});
  Exchange& exchange = it->second;
  if (exchange.client_ended) return drop(id);
  exchange.is_stream = true;
  exchange.read.topic = std::move(stream.topic);
  exchange.after = stream.after;
  exchange.stream = std::make_unique<Stream>(std::move(stream));
  ++streams_;
  Response head{200, "text/event-stream", {{"Cache-Control", "no-store"}}, {}};
  output_.push_back({id, Output::Kind::kStreamBegin, std::move(head)});
  set_deadline(id, exchange, now + limits_.stream_comment_every);
  pull_stream(id);
}

void Api::stream(const Call& call, Topic topic, std::string event, std::function<std::string()> render) {
  Stream out;
  out.topic = topic;
  out.pull = [this, topic = std::move(topic), event = std::move(event), render = std::move(render)](Index) {
    StreamPiece piece;
    piece.upto = index_of(topic);
    piece.text = "id: " + std::to_string(static_cast<std::uint64_t>(piece.upto)) + "\nevent: " + event +
                 "\ndata: " + render() + "\n\n";
    return piece;
  };
  stream(call.id, call.now, std::move(out));
}

void Api::pull_stream(ExchangeId id) {
  Exchange& exchange = exchanges_.at(id);
  exchange.has_more = exchange.full;
  if (exchange.full) return;
  StreamPiece piece = exchange.stream->pull(exchange.after);
  exchange.after = std::max(exchange.after, piece.upto);
  if (!piece.text.empty()) output_.push_back({id, Output::Kind::kStreamData, {200, {}, {}, std::move(piece.text)}});
  if (piece.over) return end_stream(id);
  exchange.has_more = piece.more;
  if (piece.more) return pulls_.push_back(id);
  if (!begin_watch(id, exchange, exchange.after)) end_stream(id);  // no room: clients of event streams come back
}

void Api::end_stream(ExchangeId id) {
  drop(id);
  output_.push_back({id, Output::Kind::kStreamEnd, {}});
}

void Api::on_stream_full(ExchangeId id) {
  const auto it = exchanges_.find(id);
  if (it != exchanges_.end()) it->second.full = true;
}

void Api::on_stream_drained(ExchangeId id) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end() || !it->second.full) return;
  it->second.full = false;
  if (it->second.has_more) pulls_.push_back(id);
}

// ---------------------------------------------------------------- ends

void Api::set_deadline(ExchangeId id, Exchange& exchange, TimePoint deadline) {
  if (exchange.deadline != TimePoint::max()) deadlines_.erase({exchange.deadline, id});
  exchange.deadline = deadline;
  if (deadline != TimePoint::max()) deadlines_.insert({deadline, id});
}

void Api::drop(ExchangeId id) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  Exchange& exchange = it->second;
  set_deadline(id, exchange, TimePoint::max());
  if (exchange.waits) --waits_;
  if (exchange.is_stream) --streams_;
  if (exchange.watch) backend_.unwatch(*exchange.watch);
  exchanges_.erase(it);
}

bool Api::on_client_end(ExchangeId id) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return false;
  it->second.client_ended = true;
  if (!it->second.waits && !it->second.is_stream) return false;
  drop(id);
  return true;
}

void Api::on_hangup(ExchangeId id) { drop(id); }

void Api::tick(TimePoint now) {
  for (const ExchangeId id : std::exchange(pulls_, {})) {
    const auto it = exchanges_.find(id);
    if (it != exchanges_.end() && it->second.has_more && !it->second.watch) pull_stream(id);
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const ExchangeId id = deadlines_.begin()->second;
    Exchange& exchange = exchanges_.at(id);
    if (exchange.is_stream) {
      if (!exchange.full) {
        std::string sign = exchange.stream->idle ? exchange.stream->idle(exchange.after) : std::string();
        output_.push_back({id, Output::Kind::kStreamData, {200, {}, {}, sign.empty() ? ":\n\n" : std::move(sign)}});
      }
      set_deadline(id, exchange, now + limits_.stream_comment_every);
      continue;
    }
    set_deadline(id, exchange, TimePoint::max());
    exchange.expired = true;
    // Without a watch a barrier is under way; its completion answers.
    if (exchange.watch) answer_or_wait(id, backend_.read_info());
  }
}

TimePoint Api::next_deadline() const {
  if (!pulls_.empty()) return TimePoint::min();
  return deadlines_.empty() ? TimePoint::max() : deadlines_.begin()->first;
}

std::vector<Output> Api::take_output() { return std::exchange(output_, {}); }

void Api::stop() {
  stopping_ = true;
  std::vector<std::pair<ExchangeId, bool>> all;
  for (const auto& [id, exchange] : exchanges_)
    if (exchange.waits || exchange.is_stream) all.emplace_back(id, exchange.is_stream);
  for (const auto& [id, is_stream] : all) {
    if (is_stream)
      end_stream(id);
    else
      fail(id, {Errc::kStopping, "this agent is stopping", {}});
  }
}

void Api::wake_after_completion() {
  if (wake_ && !output_.empty()) wake_();
}

}  // namespace agent::api
