// Guard, breakers of programs, and an operator's hand on traffic: built, and wired to the workers and the mesh.
#include <utility>

#include "agent/log.h"
#include "agent/running.h"

namespace agent {

void Agent::start_traffic() {
  app_breakers_.set(config_.breakers);
  const auto log = [](std::string_view what, const std::string& detail) { log_line(LogLevel::kInfo, what, detail); };
  if (guard_table_ && !guard_) {
    GuardExchangeParts parts;
    parts.table = guard_table_;
    parts.peers = [this]() -> const std::set<store::NodeId>& { return mesh_up_; };
    parts.send = [this](store::NodeId to, std::string frame) { return mesh_ && mesh_->send(to, std::move(frame), drivers::Lane::kUrgent); };
    parts.log = log;
    guard_ = std::make_unique<GuardExchange>(*loop_, std::move(parts));
  }
  TrafficParts parts;
  parts.proxy = proxy_.get();
  parts.endpoints = [this]() -> const proxy::EndpointTable* { return endpoints_ ? &*endpoints_ : nullptr; };
  parts.routes = [this] { return route_table_; };
  parts.app_breakers = &app_breakers_;
  parts.guard = guard_.get();
  parts.on_change = [this] {
    if (health_) health_->look();
  };
  parts.log = log;
  traffic_ = std::make_unique<AgentTraffic>(std::move(parts));
}

}  // namespace agent
