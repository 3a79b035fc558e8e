// The halts' numbers as metric families.
#include <map>
#include <string>

#include "agent/halt_driver.h"
#include "agent/metrics_families.h"

namespace agent {

void HaltDriver::add_metrics(Families& out, const proxy::Counters& proxy) const {
  std::map<std::string, double> standing{{"global", 0}, {"broker", 0}, {"account", 0}, {"route", 0}};
  for (const auto& [tag, halt] : keeper_.set().halts()) standing[to_string(halt.scope)] += 1;
  std::vector<api::MetricSample> samples;
  for (const auto& [scope, count] : standing) samples.push_back({{{"scope", scope}}, count, {}});
  out.add("halts", "Orders to stop that stand, by scope", api::MetricFamily::Type::kGauge, std::move(samples));
  out.counter("halts_given_total", "Orders to stop given at this agent", keeper_.counters().given);
  out.counter("halts_heard_total", "Orders to stop heard from others", keeper_.counters().heard);
  out.counter("halts_lifted_total", "Orders to stop that were lifted", keeper_.counters().lifted);
  out.counter("halts_put_back_total", "Orders to stop that stand in the log and were missing at this agent", keeper_.counters().put_back);
  out.counter("halt_claims_unheeded_total", "What peers said of halts that would have lifted some; the log alone lifts", keeper_.counters().unheeded);
  out.counter("halt_frames_refused_total", "What others said of halts and could not be taken", keeper_.counters().malformed + keeper_.counters().refused);
  out.counter("requests_halted_total", "Requests refused because of an order to stop; not sent", proxy.halted);
  const HaltDisk::State kept = disk_.state();
  out.gauge("halts_kept", "1 while the disk of this agent takes what stands; 0: it refuses or is late, and a restart would forget it",
            kept == HaltDisk::State::kKept || kept == HaltDisk::State::kWriting ? 1 : 0);
  out.counter("halts_not_kept_total", "Times that the file of halts could not be written, or not in time", disk_.failures());
}

}  // namespace agent
