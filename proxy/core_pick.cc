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
    candidate.ejected = state->outlier().ejected_at(now);
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

// In the order in which gather() and the balancer look.
std::string_view Core::unfit_reason(const EndpointState& state, const Route& route, const std::vector<EndpointState*>& tried) const {
  const Endpoint& endpoint = state.endpoint;
  if (std::find(tried.begin(), tried.end(), &state) != tried.end()) return "tried already";
  if (endpoint.draining) return "drains";
  if (endpoint.health == Health::kCritical) return "critical";
  if (endpoint.weight == 0) return "weight 0";
  if (!has_room(state)) return "no connection to be had";
  if (route.breakers != nullptr && !route.breakers->lets(endpoint.id, now)) return "breaker open";
  if (route.max_conns > 0 && state.share->in_flight.load(std::memory_order_relaxed) >= route.max_conns) return "max_conns reached";
  if (state.outlier().ejected_at(now)) return "ejected";
  return {};
}

// ---- sessions ----

Core::Fit Core::fit_of(const EndpointState& state, const Route& route, const std::vector<EndpointState*>& tried) const {
  const Endpoint& endpoint = state.endpoint;
  if (endpoint.health == Health::kCritical || std::find(tried.begin(), tried.end(), &state) != tried.end()) return Fit::kNot;
  if (route.breakers != nullptr && !route.breakers->lets(endpoint.id, now)) return Fit::kNot;
  const bool full = route.max_conns > 0 && state.share->in_flight.load(std::memory_order_relaxed) >= route.max_conns;
  return full || !has_room(state) ? Fit::kFull : Fit::kNow;
}

Core::Picked Core::pick_session(const PoolState& from, const Route& route, const std::vector<EndpointState*>& tried,
                                SessionHash session, NoRoom no_room) {
  Picked found;
  const StickyRule& rule = *route.sticky;
  const NodeNumber node = rule.table->node_of(session, now);
  EndpointState* pinned = nullptr;
  bool others = false;  // somebody else can take it, and is not ejected
  candidates_.clear();
  for (EndpointState* state : from.endpoints) {
    const Endpoint& endpoint = state->endpoint;
    const Fit fit = fit_of(*state, route, tried);
    const bool here = node != NodeNumber::kNone && endpoint.number == node;
    Candidate candidate;
    candidate.id = static_cast<std::uint64_t>(endpoint.id);
    candidate.weight = endpoint.weight;
    candidate.tier = endpoint.tier;
    candidate.health = endpoint.health;
    candidate.ejected = state->outlier().ejected_at(now);
    // What is full stays in the choice: agents must agree, and how full it is they do not know of each other.
    candidate.available = fit == Fit::kNow || (fit == Fit::kFull && no_room == NoRoom::kWait);
    // A node that drains, or has no weight, keeps its sessions and gets no new ones.
    if (here && candidate.available && (!endpoint.draining || now - state->draining_since < rule.drain)) pinned = state;
    if (endpoint.draining) candidate.available = false;
    if (!here && candidate.available && !candidate.ejected && endpoint.weight > 0) others = true;
    if (fit == Fit::kFull) found.full = true;
    if (route.breakers != nullptr && is_usable(endpoint) && !route.breakers->lets(endpoint.id, now)) found.broken = true;
    candidates_.push_back(candidate);
  }
  // A session moves for good, so it does on what was seen here, not at a word.
  if (pinned != nullptr && pinned->outlier().ejected_here_at(now) && others) pinned = nullptr;
  if (pinned == nullptr) {
    const BalanceRule by_hash{Balance::kRingHash, 0, Milliseconds{0}, false};
    const auto index = pick_endpoint(by_hash, candidates_, static_cast<std::uint64_t>(session), chance);
    if (!index) return found;
    pinned = from.endpoints[*index];
  }
  found.full = fit_of(*pinned, route, tried) == Fit::kFull;
  if (!found.full) found.endpoint = pinned;
  return found;
}

// ---- queues ----

void Core::note_queued(int difference) {
  queued_ = static_cast<std::uint32_t>(static_cast<int>(queued_) + difference);
  queue_poll_ = queued_ == 0 ? TimePoint::max() : std::min(queue_poll_, now + Wheel::kGrain);
}

// In order of arrival; the first that has nowhere to go ends the turn of its queue. Sessions wait for a node of their own:
// one that cannot go yet is passed over, as long as anybody has room.
void Core::serve_queues() {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    for (const auto& state : tables_[t]->states) {
      LinkList passed_over;
      for (std::uint32_t left = state->queued; left > 0; --left) {
        Exchange* first = state->queue.front();
        if (first == nullptr) break;
        if (first->can_leave_queue()) {
          first->dispatch_queued();
        } else if (first->in_session() && first->has_somewhere()) {
          passed_over.push_back(first->service_link);
        } else {
          break;
        }
      }
      if (passed_over.empty()) continue;
      LinkList rest;
      rest.take(state->queue);
      state->queue.take(passed_over);
      state->queue.take(rest);
    }
  }
}

}  // namespace proxy
