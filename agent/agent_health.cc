// What agents tell each other of endpoints: where the exchange gets it from, and what becomes of it here.
#include <utility>

#include "agent/io/crypto.h"
#include "agent/log.h"
#include "agent/running.h"

namespace agent {

io::Result<void> Agent::start_upstreams() {
  upstreams_ = std::make_unique<UpstreamChecks>(
      *loop_, io::random_below, [this](const std::string& pool, const std::string& address, drivers::InstanceHealth health, const std::string& reason) {
        log_line(health == drivers::InstanceHealth::kPassing ? LogLevel::kInfo : LogLevel::kWarn, "upstream",
                 pool + ", " + address + ": " + std::string(drivers::name_of(health)) + (reason.empty() ? "" : ": " + reason));
        publish_endpoints();
        if (health_) health_->look();
      });
  auto tls = upstream_tls(config_.upstreams, io::wall_ms());
  if (!tls) return tl::make_unexpected(tls.error());
  upstream_tls_ = std::move(*tls);
  if (auto fine = UpstreamChecks::valid(config_.upstreams); !fine) return fine;
  UpstreamNames::Parts parts;
  parts.on_change = [this] { use_upstreams(config_.upstreams); };
  parts.warn = [](const std::string& note) { log_line(LogLevel::kWarn, "upstream_name", note); };
  names_ = std::make_unique<UpstreamNames>(*loop_, std::move(parts));
  names_->set(config_.upstreams);
  use_upstreams(config_.upstreams);
  return start_egress();
}

void Agent::use_upstreams(const std::vector<UpstreamConfig>& upstreams) {
  upstream_places_ = names_->places(upstreams);
  if (const auto set = upstreams_->set(upstream_places_, upstream_tls_); !set) log_line(LogLevel::kError, "upstream", set.error().detail);
  publish_endpoints();
}

void Agent::add_upstreams(proxy::EndpointTable& table) const {
  for (proxy::PoolEndpoints& pool : upstream_pools(upstream_places_, upstream_tls_)) {
    if (upstreams_) upstreams_->judge(pool);
    table.pools.push_back(std::move(pool));
  }
}

void Agent::start_health() {
  halts_->publish();  // before anybody is served
  HealthExchangeParts parts;
  parts.self = identity_.id;
  parts.proxy = proxy_.get();
  parts.outlier.max_ejected_percent = config_.outlier.max_ejected_percent;
  parts.first_serial = static_cast<std::uint16_t>(io::random_below(65'536));
  parts.members = [this] { return gossip_->core().members(); };
  parts.endpoints = [this]() -> const proxy::EndpointTable* { return endpoints_ ? &*endpoints_ : nullptr; };
  parts.routes = [this] { return route_table_; };
  parts.app_breakers = &app_breakers_;
  parts.add_checks = [this](HealthShare::Endpoint& endpoint) {
    const drivers::CheckDriver* checks = upstreams_ ? upstreams_->find(endpoint.id) : nullptr;
    if (checks == nullptr) return;
    endpoint.failing = checks->health() == drivers::InstanceHealth::kCritical || checks->health() == drivers::InstanceHealth::kGone;
    endpoint.well_at = checks->well_at();
  };
  parts.check_now = [this](proxy::EndpointId id) {
    if (checks_ && id == proxy::EndpointId{raft_id_.value}) checks_->check_now();
    if (upstreams_) upstreams_->check_now(id);
  };
  parts.tell = [this](const std::string& text) {
    const gossip::TagChange change{std::string(kHealthTag), text.empty() ? std::nullopt : std::optional(text)};
    const auto set = gossip_->set_tags(std::span(&change, 1), gossip::Urgency::kUrgent);
    if (!set) log_line(LogLevel::kWarn, "tags_refused", set.error().detail);
    return set.has_value();
  };
  parts.log = [](const std::string& note) { log_line(LogLevel::kInfo, "endpoint_word", note); };
  health_ = std::make_unique<HealthExchange>(*loop_, std::move(parts));
}

}  // namespace agent
