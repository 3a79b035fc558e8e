#include "proxy/observe.h"

#include <iterator>

namespace proxy {

std::string_view name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAnswered: return "answered";
    case Outcome::kNotSent: return "not-sent";
    case Outcome::kUnknown: return "unknown";
    case Outcome::kTunnelled: return "tunnelled";
  }
  return "unknown";
}

void RouteCounters::add(const RouteCounters& other) {
  constexpr std::uint64_t RouteCounters::* kFields[] = {
      &RouteCounters::requests, &RouteCounters::address_denied, &RouteCounters::unauthorized, &RouteCounters::rate_limited,
      &RouteCounters::rate_delayed, &RouteCounters::busy, &RouteCounters::queued, &RouteCounters::queue_full,
      &RouteCounters::queue_timeouts, &RouteCounters::breaker_denied, &RouteCounters::halted, &RouteCounters::hedges, &RouteCounters::hedges_won, &RouteCounters::hedges_denied,
      &RouteCounters::packed, &RouteCounters::packed_denied,
      &RouteCounters::packed_bytes_in, &RouteCounters::packed_bytes_out,
      &RouteCounters::responses_2xx, &RouteCounters::responses_3xx,
      &RouteCounters::responses_4xx, &RouteCounters::responses_5xx, &RouteCounters::unanswered, &RouteCounters::request_bytes,
      &RouteCounters::response_bytes};
  static_assert(std::size(kFields) * sizeof(std::uint64_t) == sizeof(RouteCounters), "a counter is missing above");
  for (auto field : kFields) this->*field += other.*field;
}

void Counters::add(const Counters& other) {
  constexpr std::uint64_t Counters::* kFields[] = {
      &Counters::connections, &Counters::connections_refused, &Counters::requests, &Counters::responses_1xx,
      &Counters::responses_2xx, &Counters::responses_3xx, &Counters::responses_4xx, &Counters::responses_5xx,
      &Counters::bytes_in, &Counters::bytes_out, &Counters::requests_malformed, &Counters::slow_bodies, &Counters::slow_readers,
      &Counters::upstream_connects,
      &Counters::upstream_connect_failures, &Counters::upstream_reuses, &Counters::upstream_resets, &Counters::retries,
      &Counters::retries_denied, &Counters::ejections, &Counters::first_byte_timeouts, &Counters::idle_timeouts,
      &Counters::total_timeouts, &Counters::held, &Counters::held_expired, &Counters::held_refused,
      &Counters::halted, &Counters::orders_sent, &Counters::orders_unknown, &Counters::orders_reserved,
      &Counters::orders_recorded, &Counters::orders_replayed, &Counters::orders_unkeyed, &Counters::orders_keyless, &Counters::orders_key_reused,
      &Counters::orders_repeated_early, &Counters::orders_unreserved, &Counters::orders_unrecorded, &Counters::orders_without_client,
      &Counters::orders_rules_differ, &Counters::orders_not_armed,
      &Counters::peer_refusals_sent,
      &Counters::peer_refusals_received, &Counters::lease_stops, &Counters::writes_denied, &Counters::late_lease_writes,
      &Counters::tunnels, &Counters::tunnels_told, &Counters::h2_connections, &Counters::h2_streams, &Counters::h2_resets, &Counters::h2_streams_refused,
      &Counters::h2_malformed, &Counters::h2_head_timeouts, &Counters::h2_streams_open, &Counters::open_connections, &Counters::open_exchanges, &Counters::held_now,
      &Counters::held_bytes_now, &Counters::upstream_open, &Counters::upstream_idle, &Counters::tunnels_open};
  static_assert(std::size(kFields) * sizeof(std::uint64_t) + sizeof(h2_floods) == sizeof(Counters), "a counter is missing above");
  for (auto field : kFields) this->*field += other.*field;
  for (std::size_t i = 0; i < h2_floods.size(); ++i) h2_floods[i] += other.h2_floods[i];
}

}  // namespace proxy
