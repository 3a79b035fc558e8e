// Orders to stop: where they are kept, and the wires between them, the mesh, the log and the workers.
#include <utility>

#include "agent/io/crypto.h"
#include "agent/log.h"
#include "agent/running.h"

namespace agent {

/// Before the first frame of a peer and before the first client: what stood at the last end stands from the beginning.
io::Result<void> Agent::start_halts() {
  HaltDriverParts parts;
  parts.path = (identity_.data_dir / kHaltFileName).string();
  parts.node = config_.node.name;
  parts.settings = config_.halt;
  if (halt_follower_) parts.known = halt_follower_->known();
  halt_follower_.reset();
  parts.write_timeout = config_.raft.write_timeout;
  parts.chance = io::random_below;
  parts.send = [this](store::NodeId to, std::string frame) {
    send_to_peer(to, std::move(frame), drivers::Lane::kUrgent);
  };
  parts.publish = [this](std::shared_ptr<const proxy::HaltView> view) {
    if (proxy_) proxy_->publish_halts(std::move(view));
  };
  parts.log = [](std::string_view event, const std::string& detail) { log_line(LogLevel::kWarn, event, detail); };
  auto halts = HaltDriver::start(*loop_, std::move(parts));
  if (!halts) return io::fail(halts.error().code, "halts: " + halts.error().detail);
  halts_ = std::move(*halts);
  return {};
}

/// This process has no mesh and no store from here on, and its clients stay a while: whoever has its place now writes down what stands.
void Agent::follow_halts() {
  HaltFollowerParts parts;
  parts.path = (identity_.data_dir / kHaltFileName).string();
  parts.settings = config_.halt;
  parts.publish = [this](std::shared_ptr<const proxy::HaltView> view) { proxy_->publish_halts(std::move(view)); };
  parts.log = [](std::string_view event, const std::string& detail) { log_line(LogLevel::kWarn, event, detail); };
  const store::kv::HaltSet known = halts_->keeper().set();
  halts_.reset();
  halt_follower_ = std::make_unique<HaltFollower>(*loop_, std::move(parts), known);
}

}  // namespace agent
