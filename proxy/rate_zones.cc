#include "proxy/rate_zones.h"

#include <algorithm>

namespace proxy {

void RateZones::set_routes(const RouteTable& routes) {
  own_.clear();
  for (const Route& route : routes.routes()) {
    const auto& zone = route.admission.cluster_zone;
    if (zone == nullptr) continue;
    own_[zone->id] = zone->counts;
    foreign_.erase(zone->id);
  }
}

RateTable* RateZones::table_of(const RateQuestion& question, TimePoint now) {
  const auto own = own_.find(question.zone);
  if (own != own_.end()) return own->second->rule() == question.rule ? own->second.get() : nullptr;
  const auto known = foreign_.find(question.zone);
  if (known != foreign_.end()) {
    known->second.asked = now;
    return known->second.counts->rule() == question.rule ? known->second.counts.get() : nullptr;
  }
  if (!is_rate(question.rule)) return nullptr;
  if (foreign_.size() == kForeignMax) {
    const auto oldest = std::min_element(foreign_.begin(), foreign_.end(),
                                         [](const auto& a, const auto& b) { return a.second.asked < b.second.asked; });
    if (now - oldest->second.asked < kForeignIdle) return nullptr;
    foreign_.erase(oldest);
  }
  Foreign& made = foreign_[question.zone];
  made = {std::make_shared<RateTable>(question.rule, seed_[0], seed_[1]), now};
  return made.counts.get();
}

RateAnswer RateZones::answer(const RateQuestion& question, TimePoint now) {
  RateAnswer answer;
  answer.ticket = question.ticket;
  RateTable* table = table_of(question, now);
  if (table == nullptr) {
    ++turned_away_;
    answer.counted = false;
    return answer;
  }
  ++answered_;
  const RateTable::Taken taken = table->take(question.key, now, question.known);
  answer.verdict = taken.verdict;
  answer.debt = taken.debt;
  return answer;
}

}  // namespace proxy
