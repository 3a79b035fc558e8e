// Where the next request of a pool goes, and who waits when there is nowhere.
#include <algorithm>

#include "proxy/core.h"
#include "proxy/exchange.h"

namespace proxy {

Core::Picked Core::gather(const PoolState& from, const Route& route, const std::vector<EndpointState*>& tried) {
  Picked found;
  candidates_.clear();
  for (EndpointState* state : from.endpoints) {
    const Endpoint& endpoint = state->endpoint;
    Candidate candidate;
    candidate.id = static_cast<std::uint64_t>(endpoint.id);
    candidate.weight = ramped_weight(endpoint.weight, now - state->fit_since, route.balance.slow_start);
    candidate.in_flight = state->in_flight - state->tunnels;
    candidate.tier = endpoint.tier;
    candidate.health = endpoint.health;
    candidate.ejected = state->outlier.ejected_at(now);
    candidate.same_zone = endpoint.kind == EndpointKind::kLocal || endpoint.zone == settings.zone;
    candidate.turn = &state->turn;
    if (route.balance.kind == Balance::kPeakEwma) candidate.latency_ns = state->latency.at(now);
    const bool fit = !endpoint.draining && std::find(tried.begin(), tried.end(), state) == tried.end();
    candidate.available = fit && has_room(*state);
    // All its connections are busy: a place in the queue rather than a 503, since HTTP/2 streams come by the thousand.
    if (fit && !candidate.available && is_usable(endpoint)) found.full = true;
    if (candidate.available && is_usable(endpoint)) {
      if (route.breakers != nullptr && !route.breakers->lets(endpoint.id, now)) {
        candidate.available = false;
        found.broken = true;
      } else if (route.max_conns > 0 && state->share->in_flight.load(std::memory_order_relaxed) >= route.max_conns) {
        candidate.available = false;
        found.full = true;
      }
    }
    candidates_.push_back(candidate);
  }
  return found;
}

Core::Picked Core::pick(const PoolState& from, const Route& route, const std::vector<EndpointState*>& tried, std::uint64_t hash) {
  Picked found = gather(from, route, tried);
  const auto index = pick_endpoint(route.balance, candidates_, hash, chance);
  if (index) found.endpoint = from.endpoints[*index];
  return found;
}

bool Core::can_pick(const PoolState& from, const Route& route, const std::vector<EndpointState*>& tried) {
  (void)gather(from, route, tried);
  return any_endpoint(candidates_);
}

void Core::note_queued(int difference) {
  queued_ = static_cast<std::uint32_t>(static_cast<int>(queued_) + difference);
  queue_poll_ = queued_ == 0 ? TimePoint::max() : std::min(queue_poll_, now + Wheel::kGrain);
}

// In order of arrival; the first that has nowhere to go ends the turn of its queue.
void Core::serve_queues() {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    for (const auto& state : tables_[t]->states) {
      for (std::uint32_t left = state->queued; left > 0; --left) {
        Exchange* first = state->queue.front();
        if (first == nullptr || !first->can_leave_queue()) break;
        first->dispatch_queued();
      }
    }
  }
}

}  // namespace proxy
