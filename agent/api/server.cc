#include "agent/api/server.h"

#include <malloc.h>

#include <algorithm>

#include "agent/io/clock.h"
#include "agent/io/tcp_stream.h"

namespace agent::api {
namespace {

constexpr io::Milliseconds kSweepEvery{500};      // deadlines of connections are coarse: seconds
constexpr io::Milliseconds kSweepManyEvery{100};  // what waiting requests do not need is given back sooner
constexpr std::size_t kManyConnections = 1000;    // when so many have gone, what they used goes back to the system

}  // namespace

Server::Server(io::Loop& loop, Backend& backend, std::function<std::uint64_t(std::uint64_t)> chance,
               ServerOptions options)
    : loop_(loop),
      options_(std::move(options)),
      tick_timer_(loop, [this] { flush(); }),
      sweep_timer_(loop, [this] { sweep(); }),
      flush_(loop, [this] { flush(); }),
      api_(
          backend, std::move(chance), [this] { flush_.schedule(); }, options_.limits) {}

Server::~Server() = default;

io::Result<std::unique_ptr<Server>> Server::start(io::Loop& loop, Backend& backend,
                                                  std::function<std::uint64_t(std::uint64_t)> chance,
                                                  ServerOptions options) {
  std::unique_ptr<Server> server(new Server(loop, backend, std::move(chance), std::move(options)));
  io::TcpListener::Options listen;
  listen.unix_mode = 0660;
  auto listener = io::TcpListener::listen(loop, server->options_.listen, listen,
                                          [raw = server.get()](auto stream) { raw->on_accept(std::move(stream)); });
  if (!listener) {
    io::Error error = listener.error();
    const std::string where = server->options_.listen.to_string();
    error.detail = "the API cannot listen on " + where + ": " + error.detail +
                   (error.code == io::Errc::kAddressInUse
                        ? "; stop the program that uses it, or set api.listen (--api) to another address"
                        : "; set api.listen (--api) to an address of this machine that you may use");
    return tl::unexpected(std::move(error));
  }
  server->listener_ = std::move(*listener);
  server->local_ = server->listener_->local_address();
  return server;
}

void Server::on_accept(std::unique_ptr<io::TcpStream> stream) {
  ++counters_.accepted;
  if (connections_.size() >= options_.connections_max) {
    ++counters_.over_limit;
    return;
  }
  auto connection = std::make_unique<Connection>(*this, options_.connection, std::move(stream));
  Connection* raw = connection.get();
  connections_.emplace(raw, std::move(connection));
  if (!sweep_timer_.armed()) sweep_timer_.arm_after(kSweepEvery);
  raw->start();
}

ExchangeId Server::on_request(Connection& connection, const Request& request) {
  ++counters_.requests;
  const ExchangeId id{++last_exchange_};
  exchanges_.emplace(id, &connection);
  api_.on_request(id, request, io::boottime_now());
  flush_.schedule();
  return id;
}

bool Server::on_client_end(ExchangeId id) {
  if (!api_.on_client_end(id)) return false;
  exchanges_.erase(id);
  return true;
}

void Server::on_stream_drained(ExchangeId id) {
  api_.on_stream_drained(id);
  flush_.schedule();
}

void Server::on_closed(Connection& connection, ExchangeId exchange) {
  if (exchange != ExchangeId{} && exchanges_.erase(exchange) != 0) api_.on_hangup(exchange);
  connections_.erase(&connection);
  if (connections_.empty() && stopped_) loop_.post(std::exchange(stopped_, nullptr));
}

void Server::flush() {
  // What is ready goes out first: a stream whose client turns out to be behind is then not asked for more by tick().
  for (const auto& output : api_.take_output()) deliver(output);
  api_.tick(io::boottime_now());
  for (const auto& output : api_.take_output()) deliver(output);
  arm_tick();
}

void Server::deliver(const Output& output) {
  const auto it = exchanges_.find(output.exchange);
  if (it == exchanges_.end()) return;
  Connection& connection = *it->second;
  switch (output.kind) {
    case Output::Kind::kReply:
      exchanges_.erase(it);
      if (output.response.status >= 500) ++counters_.server_errors;
      return connection.reply(output.response);
    case Output::Kind::kStreamBegin:
      return connection.stream_begin(output.response);
    case Output::Kind::kStreamData:
      connection.stream_data(output.response.body);
      if (exchanges_.contains(output.exchange) && connection.stream_backlog() > options_.connection.stream_full_bytes)
        api_.on_stream_full(output.exchange);
      return;
    case Output::Kind::kStreamEnd:
      exchanges_.erase(it);
      return connection.stream_end();
  }
}

void Server::arm_tick() {
  const auto next = api_.next_deadline();
  if (next == TimePoint::max())
    tick_timer_.disarm();
  else
    tick_timer_.arm(next);
}

void Server::sweep() {
  const auto now = io::boottime_now();
  swept_.clear();  // kept: ten thousand that wait are looked at ten times in a second
  for (const auto& [raw, connection] : connections_) swept_.push_back(raw);
  for (Connection* connection : swept_)
    if (connections_.contains(connection)) connection->check_deadline(now);
  give_memory_back();
  if (!connections_.empty())
    sweep_timer_.arm_after(connections_.size() < kManyConnections ? kSweepEvery : kSweepManyEvery);
}

/// The few that stay when many have gone lie scattered over pages which go back only without them: each time that half of
/// those few have gone too, it is done again.
void Server::give_memory_back() {
  const std::size_t open = connections_.size();
  connections_peak_ = std::max(connections_peak_, swept_.size());
  const bool many_gone = connections_peak_ >= kManyConnections + open;
  const bool half_gone = stragglers_ > 0 && open <= stragglers_ / 2;
  if (!many_gone && !half_gone) return;
  connections_peak_ = stragglers_ = open;
  malloc_trim(0);
}

void Server::stop(std::function<void()> stopped) {
  if (stopping_) return;
  stopping_ = true;
  stopped_ = std::move(stopped);
  listener_.reset();
  api_.stop();
  std::vector<Connection*> all;
  for (const auto& [raw, connection] : connections_) all.push_back(raw);
  for (Connection* connection : all)
    if (connections_.contains(connection)) connection->close_when_idle();
  flush_.schedule();
  if (connections_.empty() && stopped_) loop_.post(std::exchange(stopped_, nullptr));
}

ServerCounters Server::counters() const {
  ServerCounters out = counters_;
  out.connections = connections_.size();
  out.waiting = api_.waiting();
  return out;
}

}  // namespace agent::api
