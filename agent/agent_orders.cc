// Orders in the running agent: whether its primary may be given any (arming), and what operators see of them.
#include <utility>

#include "agent/log.h"
#include "agent/parts.h"
#include "agent/running.h"

namespace agent {
namespace {

std::uint64_t chance(std::uint64_t bound) { return io::random_below(bound); }

}  // namespace

/// After primary_: news of the role come there first.
io::Result<void> Agent::start_arming() {
  auto settings = arming_settings(config_);
  if (!settings) return tl::make_unexpected(settings.error());
  if (!*settings) return {};
  ArmingDriverCallbacks callbacks;
  callbacks.on_change = [this] {
    publish_primary();
    if (backend_) backend_->on_role_changed();
  };
  callbacks.log = [this, asking = false](std::string_view what, const std::string& detail) mutable {
    if (what == "arming") {  // as the incident page knows its steps
      const bool armed = detail.starts_with("armed");
      if (asking && (armed || detail.starts_with("waiting"))) note_role("reconciled", detail);
      asking = detail.starts_with("reconciling");
      note_role(armed ? "armed" : "arming", detail);
    } else if (what == "reconcile_failed") {
      note_role(what, detail);
    }
    const bool bad = what == "reconcile_failed" || what == "order_contradicted" || what == "approval_unwatched";
    log_line(bad ? LogLevel::kWarn : LogLevel::kInfo, what, detail);
  };
  arming_ = std::make_unique<ArmingDriver>(*loop_, std::move(**settings), *store_, chance, std::move(callbacks));
  return {};
}

/// What the own primary waits for; nullopt: it is armed, or there is nothing to wait for.
std::optional<std::string> Agent::unarmed() const {
  if (!arming_ || !primary_ || arming_->armed(primary_->role_state().epoch)) return std::nullopt;
  return arming_->core().reason();
}

void Agent::start_order_api() {
  OrderParts parts;
  parts.loop = loop_.get();
  parts.store = store_.get();
  parts.desk = orders_.get();
  parts.arming = [this] { return arming_.get(); };
  parts.name_of = [this](store::NodeId id) {
    if (id == raft_id_) return config_.node.name;
    const gossip::Member* member = member_with(id);
    return member == nullptr ? std::string() : member->name;
  };
  parts.service = routed_service(config_);
  parts.arming_configured = config_.arming.has_value();
  parts.write_timeout = config_.raft.write_timeout;
  parts.log = [](std::string_view what, const std::string& detail) { log_line(what == "orders_unknown" ? LogLevel::kWarn : LogLevel::kInfo, what, detail); };
  order_api_ = std::make_unique<AgentOrders>(std::move(parts));
}

}  // namespace agent
