// What goes out to brokers: where the parts come from, and which level of fencing this set-up has.
#include <algorithm>
#include <utility>

#include "agent/io/clock.h"
#include "agent/log.h"
#include "agent/parts.h"
#include "agent/running.h"
#include "proxy/egress.h"

namespace agent {

io::Result<void> Agent::start_egress() {
  const auto log = [](std::string_view what, const std::string& detail, bool bad) { log_line(bad ? LogLevel::kWarn : LogLevel::kInfo, what, detail); };
  egress_ = std::make_unique<EgressKeeper>(EgressKeeper::Parts{loop_.get(), proxy_.get(), store_.get(), log});
  kernel_permit_.reset();
  if (config_.kernel_permit) kernel_permit_ = std::make_unique<KernelPermit>(*loop_, *config_.kernel_permit, config_.service->lease, log);
  return egress_->set(config_);
}

api::EgressInfo Agent::egress_info(const drivers::EgressTotals* totals) const {
  api::EgressInfo info;
  info.service = routed_service(config_);
  const proxy::PrimaryView view = view_.value_or(proxy::PrimaryView{});
  info.epoch = api::Epoch{static_cast<std::uint64_t>(view.epoch)};
  info.permit = std::string(proxy::name_of(proxy::egress_permit(view, {}, io::boottime_now())));
  info.entries = egress_->entries(totals);
  if (totals != nullptr) info.writes_denied = totals->writes_denied, info.late_writes = totals->late_writes;
  const bool routed = std::any_of(config_.routes.begin(), config_.routes.end(), [](const RouteConfig& one) { return one.pool == Pool::kPrimary; });
  info.levels.push_back({"header", config_.service.has_value(), config_.service ? "requests carry X-Outrigger-Epoch; who looks at it is fenced by it"
                                                                                : "no [service] here"});
  info.levels.push_back({"route", routed && config_.service.has_value(), routed ? "orders that come in reach the primary alone" : "no route has pool = \"primary\""});
  info.levels.push_back({"egress", !egress_->empty(), egress_->empty() ? "no [[egress]]: the service reaches its broker by itself"
                                                                       : "what goes by the listeners of [[egress]] is let out under the lease alone"});
  if (kernel_permit_ == nullptr) {
    info.levels.push_back({"kernel", false, "no [kernel_permit]: a service that goes past its egress is not stopped"});
  } else {
    const KernelPermit::State state = kernel_permit_->state();
    const std::string text = !state.fault.empty() ? "the program fails: " + state.fault
                             : state.renewed == 0 ? "nothing was renewed yet: this agent was never primary"
                                                  : "renewed " + std::to_string(state.renewed) + " times" + (state.granted ? ", in force" : ", not in force: not primary");
    info.levels.push_back({"kernel", state.fault.empty() && state.renewed > 0, text});
  }
  return info;
}

}  // namespace agent
