// Limits that the cluster counts together: who counts, and the wires between the workers, the mesh and the driver.
#include <utility>

#include "agent/cluster.h"
#include "agent/io/crypto.h"
#include "agent/running.h"

namespace agent {

void Agent::start_limits() {
  drivers::RateDriverCallbacks callbacks;
  callbacks.send = [this](store::NodeId to, std::string frame) { return send_to_peer(to, std::move(frame), drivers::Lane::kUrgent); };
  callbacks.deliver = [this](std::uint16_t worker, proxy::RateMemberId owner, std::vector<proxy::RateAnswer> answers) {
    if (proxy_) proxy_->deliver_rates(worker, owner, std::move(answers));
  };
  rates_ = std::make_unique<drivers::RateDriver>(std::array{io::random_below(UINT64_MAX), io::random_below(UINT64_MAX)}, std::move(callbacks));
}

/// Gossip says who is there, the mesh who can be asked. Called at every change of either.
void Agent::publish_rate_members() {
  if (!gossip_ || !proxy_) return;
  proxy::RateMembers members = rate_members(gossip_->core().members(), identity_.id, mesh_up_);
  if (rate_members_ && *rate_members_ == members) return;
  rate_members_ = std::make_shared<const proxy::RateMembers>(std::move(members));
  proxy_->publish_rate_members(rate_members_);
}

}  // namespace agent
