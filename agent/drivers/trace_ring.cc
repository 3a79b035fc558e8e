#include "agent/drivers/trace_ring.h"

#include <algorithm>

namespace agent::drivers {

void TraceRing::add(const TraceChunk& chunk) {
  if (bytes_max_ == 0) return;
  const auto found = by_id_.find(chunk.trace);
  if (found == by_id_.end()) {
    traces_.emplace_front();
    traces_.front().summary.trace = chunk.trace;
    traces_.front().summary.start_ns = chunk.start_ns;
    traces_.front().summary.end_ns = chunk.end_ns;
    by_id_.emplace(chunk.trace, traces_.begin());
    bytes_ += kOverheadBytes;
  }
  Trace& trace = found == by_id_.end() ? traces_.front() : *found->second;
  TraceSummary& summary = trace.summary;
  summary.left_out += chunk.left_out;
  if (chunk.text.size() > room_in(trace)) {
    summary.left_out += chunk.spans;
  } else if (!chunk.text.empty()) {
    bytes_ += chunk.text.size() + (trace.text.empty() ? 0 : 1);
    if (!trace.text.empty()) trace.text += ',';
    trace.text += chunk.text;
    summary.spans += chunk.spans;
  }
  summary.start_ns = std::min(summary.start_ns, chunk.start_ns);
  summary.end_ns = std::max(summary.end_ns, chunk.end_ns);
  summary.failed = summary.failed || chunk.failed;
  if (summary.order.empty()) summary.order = chunk.order;
  take_name(trace, chunk);
  make_room();
}

std::size_t TraceRing::room_in(const Trace& trace) {
  const std::size_t taken = trace.text.size() + 1;  // the comma
  return taken < kTraceBytesMax ? kTraceBytesMax - taken : 0;
}

std::size_t TraceRing::room_for(const proxy::TraceId& trace) const {
  const auto found = by_id_.find(trace);
  return found == by_id_.end() ? room_in({}) : room_in(*found->second);
}

// The earliest request speaks for all; what an application tells only where there is none.
void TraceRing::take_name(Trace& trace, const TraceChunk& chunk) {
  const bool first = trace.summary.name.empty();
  const bool better = chunk.is_request != trace.named_by_request ? chunk.is_request : chunk.start_ns < trace.named_ns;
  if (!first && !better) return;
  trace.named_ns = chunk.start_ns;
  trace.named_by_request = chunk.is_request;
  trace.summary.name = chunk.name;
  trace.summary.route = chunk.route;
  trace.summary.status = chunk.status;
}

void TraceRing::make_room() {
  while (!traces_.empty() && (traces_.size() > kTracesMax || bytes_ > bytes_max_)) {
    const Trace& oldest = traces_.back();
    bytes_ -= oldest.text.size() + kOverheadBytes;
    by_id_.erase(oldest.summary.trace);
    traces_.pop_back();
  }
}

std::vector<TraceSummary> TraceRing::list(const TraceFilter& filter) const {
  std::vector<TraceSummary> out;
  for (const Trace& trace : traces_) {
    if (out.size() >= filter.count_max) break;
    const TraceSummary& one = trace.summary;
    if (one.end_ns - one.start_ns < filter.duration_ns_min || one.status < filter.status_min || one.status > filter.status_max) continue;
    if (!filter.route.empty() && one.route != filter.route) continue;
    if (!filter.orders.empty() && std::find(filter.orders.begin(), filter.orders.end(), one.order) == filter.orders.end()) continue;
    out.push_back(one);
  }
  // Workers leave theirs at the same time: among those that came together the clock decides.
  std::stable_sort(out.begin(), out.end(), [](const TraceSummary& a, const TraceSummary& b) { return a.start_ns > b.start_ns; });
  return out;
}

std::optional<TraceText> TraceRing::find(const proxy::TraceId& trace) const {
  const auto found = by_id_.find(trace);
  if (found == by_id_.end()) return std::nullopt;
  return TraceText{found->second->text, found->second->summary.left_out};
}

}  // namespace agent::drivers
