#include "agent/flight.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

namespace agent {

namespace {

/// Told before, or older than all that is kept of a node whose record is full. A life that was never heard of is the present one:
/// only a process that runs speaks, and a clock that was set back must not silence it.
bool is_known(const std::map<std::string, std::deque<FlightEvent>>& nodes, const FlightEvent& event) {
  const auto node = nodes.find(event.node);
  if (node == nodes.end()) return false;
  const std::deque<FlightEvent>& events = node->second;
  const bool is_oldest = events.front().life == event.life && event.seq < events.front().seq;
  return (is_oldest && events.size() >= FlightRecorder::kEventsMax) ||
         std::any_of(events.begin(), events.end(), [&event](const FlightEvent& one) { return one.life == event.life && one.seq == event.seq; });
}

}  // namespace

HybridTime HybridClock::tick(std::int64_t wall_ms) {
  if (wall_ms > last_.wall_ms) {
    last_ = {wall_ms, 0};
  } else if (last_.count == std::numeric_limits<std::uint32_t>::max()) {
    last_ = {last_.wall_ms + 1, 0};
  } else {
    ++last_.count;
  }
  return last_;
}

bool HybridClock::hear(HybridTime theirs, std::int64_t wall_ms) {
  if (theirs.wall_ms < 0 || theirs.wall_ms - kAheadMaxMs > wall_ms) return false;
  last_ = std::max(last_, theirs);
  return true;
}

const FlightEvent& FlightRecorder::note(std::int64_t wall_ms, std::string_view what, std::uint64_t epoch, std::string_view about,
                                        std::string_view text) {
  ++counters_.noted;
  keep({node_, life_, ++seq_, clock_.tick(wall_ms), std::string(what.substr(0, kNameBytesMax)), epoch,
        std::string(about.substr(0, kNameBytesMax)), std::string(text.substr(0, kTextBytesMax))});
  return nodes_.find(node_)->second.back();
}

bool FlightRecorder::hear(std::int64_t wall_ms, FlightEvent event) {
  // Nobody speaks for us, and what goes beyond the bounds was not made by one of these.
  const bool fits = !event.node.empty() && event.node.size() <= kNameBytesMax && event.what.size() <= kNameBytesMax &&
                    event.about.size() <= kNameBytesMax && event.text.size() <= kTextBytesMax && event.seq > 0;
  if (!fits || event.node == node_) return ++counters_.refused, false;
  if (is_known(nodes_, event)) return ++counters_.known, false;
  if (!clock_.hear(event.at, wall_ms)) return ++counters_.refused, false;
  ++counters_.heard;
  keep(std::move(event));
  return true;
}

void FlightRecorder::keep(FlightEvent event) {
  if (!nodes_.contains(event.node) && nodes_.size() >= kNodesMax) {
    auto quietest = nodes_.end();
    for (auto one = nodes_.begin(); one != nodes_.end(); ++one)
      if (one->first != node_ && (quietest == nodes_.end() || one->second.back().at < quietest->second.back().at)) quietest = one;
    nodes_.erase(quietest);  // kNodesMax > 1, so there is another one than ourselves
  }
  auto& events = nodes_[event.node];
  if (events.size() >= kEventsMax) events.pop_front();
  // What was missed while nobody heard comes after the first news: it goes to its place.
  auto place = events.end();
  while (place != events.begin() && std::prev(place)->life == event.life && std::prev(place)->seq > event.seq) --place;
  events.insert(place, std::move(event));
}

std::vector<FlightEvent> FlightRecorder::merged() const {
  std::vector<FlightEvent> all;
  for (const auto& [node, events] : nodes_) all.insert(all.end(), events.begin(), events.end());
  std::sort(all.begin(), all.end(), [](const FlightEvent& a, const FlightEvent& b) {
    return std::tie(a.at, a.node, a.life, a.seq) < std::tie(b.at, b.node, b.life, b.seq);
  });
  return all;
}

std::vector<FlightEvent> FlightRecorder::own_last(std::size_t count) const {
  const auto own = nodes_.find(node_);
  if (own == nodes_.end()) return {};
  const auto& events = own->second;
  return {events.end() - static_cast<std::ptrdiff_t>(std::min(count, events.size())), events.end()};
}

}  // namespace agent
