// News between the parts: what one of them finds out, the others are told in their own words.
#include <utility>

#include "agent/log.h"
#include "agent/route_content.h"
#include "agent/parts.h"
#include "agent/recover.h"
#include "agent/running.h"

namespace agent {
namespace {

std::string text_of(const gossip::Event& event) {
  std::string text = event.name;
  if (!event.detail.empty()) text += ": " + event.detail;
  if (event.kind == gossip::EventKind::kSuspect) text += " (" + std::string(gossip::to_string(event.evidence)) + ")";
  return text;
}

LogLevel level_of(gossip::EventKind kind) {
  switch (kind) {
    case gossip::EventKind::kTagsChanged:
    case gossip::EventKind::kReaped: return LogLevel::kDebug;
    case gossip::EventKind::kDead:
    case gossip::EventKind::kStalled:
    case gossip::EventKind::kNameConflict:
    case gossip::EventKind::kIdConflict:
    case gossip::EventKind::kUnreachable:
    case gossip::EventKind::kUdpBlocked:
    case gossip::EventKind::kSeedsSilent:
    case gossip::EventKind::kPaused: return LogLevel::kWarn;
    default: return LogLevel::kInfo;
  }
}

}  // namespace

void Agent::on_store_event(const store::Event& event) {
  const std::string service = routed_service(config_);
  if (const auto* leader = std::get_if<store::LeaderChanged>(&event)) {
    const gossip::Member* member = member_with(leader->leader);
    log_line(LogLevel::kInfo, "leader_changed", (leader->leader ? (member != nullptr ? member->name : "unknown name") : std::string("none")) +
                                                    ", term " + std::to_string(leader->term.value));
    note("leader_changed", 0, leader->leader ? (member != nullptr ? member->name : "unknown name") : "", "term " + std::to_string(leader->term.value));
    // With a leader the record is as good as it gets, also when there is none yet.
    if (leader->leader && primary_) primary_->on_lease(store_->core().state().lease(service));
    if (local_) local_->look();
    if (sticky_) sticky_->look();
    keep_catalog();
  } else if (const auto* lease = std::get_if<store::LeaseChanged>(&event)) {
    if (lease->service != service) return;
    const bool vacant = store::kv::value(lease->lease.holder) == 0;
    note("lease", store::kv::value(lease->lease.epoch), vacant ? std::string() : lease->lease.holder_name, vacant ? "nobody holds it" : "");
    if (primary_) primary_->on_lease(&lease->lease);
    publish_primary();
    backend_->on_role_changed();
  } else if (const auto* founded = std::get_if<store::ClusterFounded>(&event)) {
    log_line(LogLevel::kInfo, "cluster", "member of " + founded->id.hex());
    if (std::exchange(reseeding_, false))
      static_cast<void>(io::remove_file((identity_.data_dir / kReseedMark).string()).has_value());
    refresh_tags();
  } else if (const auto* foreign = std::get_if<store::ForeignPeer>(&event)) {
    log_line(LogLevel::kError, "foreign_cluster", "peer " + std::to_string(foreign->peer.value) + " belongs to cluster " + foreign->theirs.hex() +
                                                      ", this agent to " + foreign->ours.hex() + "; check the seeds. If that cluster was left behind by "
                                                      "\"outrigger raft recover\", its agents need \"outrigger raft recover --reseed\"");
  } else if (const auto* waits = std::get_if<store::FoundingWaits>(&event)) {
    log_line(LogLevel::kWarn, "founding_waits", waits->reason);
  } else if (const auto* aside = std::get_if<store::SteppedAside>(&event)) {
    const gossip::Member* member = member_with(aside->to);
    const std::string why = !aside->own ? "hangs" : "is far slower than the others' (99 % of its syncs within " + std::to_string(aside->own->fsync_p99.count() / 1'000) + " ms)";
    log_line(LogLevel::kWarn, "slow_disk", "this agent led the cluster and its disk " + why + ": leadership goes to " +
                                               (member != nullptr ? member->name : std::to_string(aside->to.value)));
  } else if (const auto* disk = std::get_if<store::DiskHangs>(&event)) {
    on_disk_hangs(*disk);
  } else if (std::holds_alternative<store::SnapshotInstalled>(event)) {
    log_line(LogLevel::kInfo, "snapshot_installed", "the whole state came from a peer");
    if (primary_) primary_->on_lease(store_->core().state().lease(service));
    publish_primary();
    refresh_tags();
  } else if (const auto* conf = std::get_if<store::ConfChanged>(&event)) {
    log_line(LogLevel::kInfo, "configuration", std::to_string(conf->conf.voters.size()) + " voters, " +
                                                   std::to_string(conf->conf.learners.size()) + " learners" +
                                                   (conf->conf.voters_outgoing.empty() ? "" : ", joint"));
  }
}

void Agent::on_gossip_event(const gossip::Event& event) {
  if (event.kind == gossip::EventKind::kSeedsSilent) {
    std::string seeds;
    for (const HostPort& seed : config_.mesh.seeds) seeds += (seeds.empty() ? "" : ", ") + seed.text();
    log_line(LogLevel::kWarn, "gossip_seeds_silent", "no answer from " + seeds + "; do agents run there, with the same gossip key and " +
                                                         "cluster label, and may UDP and TCP pass? Trying goes on");
    return;
  }
  log_line(level_of(event.kind), "gossip_" + std::string(gossip::to_string(event.kind)), text_of(event));
  note_gossip(event);
  if (event.kind == gossip::EventKind::kLeaveDone) left_ = true;
}

/// Gossip may have news about anybody: everyone who lives from it looks again. All of them ignore what has not changed.
void Agent::refresh_members() {
  if (!store_ || !proxy_) return;
  const auto members = gossip_->core().members();
  store_->on_members(store_members(members));
  for (const gossip::Member& member : members) {
    if (member.id == identity_.id) continue;
    notice_foreign(member);
    const auto address = io::Address::parse(mesh_address(member));
    if (member.is_live() && address) mesh_->set_peer(raft_id_of(member.id), *address, member.name);
    else if (member.state == gossip::MemberState::kLeft) mesh_->remove_peer(raft_id_of(member.id));
  }
  publish_endpoints();
  publish_primary();
  if (health_) health_->on_members();
  publish_rate_members();
  push_out_the_dead();
  keep_catalog();
}

/// A member of another cluster shares our mesh: one of the two carries a data directory from elsewhere.
void Agent::notice_foreign(const gossip::Member& member) {
  const auto theirs = read_tags(member.tags).cluster_id;
  const store::kv::ClusterId& ours = store_->core().cluster_id();
  if (!theirs || ours.is_none() || *theirs == ours || !member.is_live()) return;
  if (!foreign_.insert(member.id).second) return;
  log_line(LogLevel::kError, "foreign_cluster", member.name + " belongs to cluster " + theirs->hex() + ", this agent to " + ours.hex() +
                                                    "; they share nothing. Check the seeds, or move the data directory of one of them away");
}

void Agent::refresh_tags() {
  if (!gossip_ || !mesh_) return;
  std::map<std::string, std::string> tags{{"v", OUTRIGGER_VERSION}, {"mp", std::to_string(mesh_->local_address().port())},
                                          {std::string(kCountsTag), "1"}};
  if (!settings_hash_.empty()) tags["cfg"] = settings_hash_;
  if (!config_.node.zone.empty()) tags["zone"] = config_.node.zone;
  if (config_.raft.bootstrap_expect != 0) tags["exp"] = std::to_string(config_.raft.bootstrap_expect);
  if (!config_.api.listen.is_local()) tags["api"] = config_.api.listen.text();
  if (store_ && !store_->core().cluster_id().is_none()) tags["cid"] = store_->core().cluster_id().hex();
  if (draining_ || handing_over_) tags["drain"] = "1";
  if (config_.service) {
    tags["svc"] = config_.service->name;
    if (config_.service->weight != 1) tags["w"] = std::to_string(config_.service->weight);
    if (config_.service->tier == Tier::kBackup) tags["tier"] = "backup";
    if (checks_) tags["h"] = drivers::name_of(checks_->health());
  }
  if (primary_ && primary_->role_state().role == Role::kPrimary) {
    tags["role"] = "primary";
    tags["ep"] = std::to_string(static_cast<std::uint64_t>(primary_->role_state().epoch));
  }
  std::vector<gossip::TagChange> changes;
  for (const auto& [key, value] : tags) {
    if (const auto old = tags_.find(key); old == tags_.end() || old->second != value) changes.push_back({key, value});
  }
  for (const auto& [key, value] : tags_) {
    if (!tags.contains(key)) changes.push_back({key, std::nullopt});
  }
  if (changes.empty()) return;
  if (auto set = gossip_->set_tags(changes, gossip::Urgency::kUrgent); !set) {
    log_line(LogLevel::kWarn, "tags_refused", set.error().detail);
    return;
  }
  tags_ = std::move(tags);
}

proxy::Endpoint Agent::own_endpoint() const {
  proxy::Endpoint endpoint;
  endpoint.id = proxy::EndpointId{raft_id_.value};
  endpoint.kind = proxy::EndpointKind::kLocal;
  endpoint.address = config_.service->address.text();
  endpoint.node = config_.node.name;
  endpoint.weight = config_.service->weight;
  endpoint.tier = config_.service->tier == Tier::kBackup ? proxy::Tier::kBackup : proxy::Tier::kActive;
  endpoint.draining = draining_;
  endpoint.zone = config_.node.zone;
  switch (checks_->health()) {
    case drivers::InstanceHealth::kPassing: endpoint.health = proxy::Health::kPassing; break;
    case drivers::InstanceHealth::kDegraded: endpoint.health = proxy::Health::kDegraded; break;
    default: endpoint.health = proxy::Health::kCritical;
  }
  return endpoint;
}

void Agent::publish_endpoints() {
  if (!proxy_ || keep_endpoints_) return;
  OwnInstance own;
  own.id = identity_.id;
  if (checks_) {
    own.service = config_.service->name;
    own.endpoint = own_endpoint();
  }
  proxy::EndpointTable table = endpoint_table(gossip_->core().members(), own, routed_service(config_));
  for (proxy::PoolEndpoints& pool : static_pools(config_)) table.pools.push_back(std::move(pool));
  add_upstreams(table);
  for (proxy::PoolEndpoints& pool : table.pools)
    std::erase_if(pool.endpoints, [this](const proxy::Endpoint& endpoint) { return cut_off_.names.contains(endpoint.node); });
  if (endpoints_ && same_endpoints(*endpoints_, table)) return;
  if (const auto& known = sticky_->keeper().table(); known != nullptr) {
    for (proxy::PoolEndpoints& pool : table.pools) {
      for (proxy::Endpoint& endpoint : pool.endpoints) endpoint.number = known->number_of(endpoint.node);
    }
  }
  endpoints_ = table;
  proxy_->publish_endpoints(std::move(table));
  if (traffic_) traffic_->reapply();
  if (health_) health_->look();
}

const gossip::Member* Agent::member_with(store::NodeId id) const {
  for (const gossip::Member& member : gossip_->core().members()) {
    if (raft_id_of(member.id) == id) return &member;
  }
  return nullptr;
}

proxy::PrimaryView Agent::primary_view() const {
  proxy::PrimaryView view;
  view.service = routed_service(config_);
  const store::kv::Lease* lease = store_->core().state().lease(view.service);
  if (primary_ && primary_->role_state().role == Role::kPrimary) {
    view.epoch = proxy::Epoch{static_cast<std::uint64_t>(primary_->role_state().epoch)};
    view.holder = proxy::PrimaryView::Holder::kLocal;
    view.endpoint = own_endpoint();
    view.lease = primary_->lease_view();
    view.accepts_new = primary_->role_state().serving;
    if (auto waits_for = unarmed()) {
      view.armed = false;
      view.unarmed_reason = std::move(*waits_for);
    }
  } else if (lease != nullptr) {
    view.epoch = proxy::Epoch{store::kv::value(lease->epoch)};
    const gossip::Member* holder = lease->holder == store::kv::NodeId{raft_id_.value}
                                       ? nullptr
                                       : member_with(store::NodeId{store::kv::value(lease->holder)});
    if (holder != nullptr && !mesh_address(*holder).empty() && !cut_off_.names.contains(holder->name)) {
      view.holder = proxy::PrimaryView::Holder::kPeer;
      view.endpoint = peer_endpoint(*holder);
    }
  }
  return view;
}

void Agent::publish_primary() {
  if (!proxy_ || !store_) return;
  proxy::PrimaryView view = primary_view();
  if (view_ && same_view(*view_, view)) return;
  view_ = view;
  tell_predecessor(view);
  if (kernel_permit_) kernel_permit_->follow(view);
  proxy_->publish_primary(std::move(view));
}

// Nothing that is decided gets here while it lasts: no order could be written down, so somebody else has to take them.
void Agent::on_disk_hangs(const store::DiskHangs& news) {
  const std::string lasted = std::to_string(news.lasted.count()) + " ms";
  if (news.hangs) {
    log_line(LogLevel::kError, "disk_hangs", "the disk has not ended a sync for " + lasted + ": orders are left to other agents until it does; look at the volume of node.data_dir");
  } else {
    log_line(LogLevel::kWarn, "disk_answers", "the disk answers again, after " + lasted);
  }
  if (primary_) primary_->on_trouble(own_trouble());
}

// A worker that is stuck keeps what it has taken, and the control loop would renew the lease for ever.
void Agent::watch_workers() {
  const auto ask = [this](std::size_t number, std::function<void()> task) { return proxy_->tell(number, [task = std::move(task)](proxy::Proxy&) { task(); }); };
  pulse_ = std::make_unique<drivers::Pulse>(*loop_, worker_count(config_), ask, [this](std::size_t number, bool hangs) {
    const std::string who = "worker " + std::to_string(number);
    if (hangs) log_line(LogLevel::kError, "worker_hangs", who + " has not answered for seconds: orders are left to other agents until it does");
    else log_line(LogLevel::kWarn, "worker_answers", who + " answers again");
    if (primary_) primary_->on_trouble(own_trouble());
  });
}

std::string Agent::own_trouble() const {
  if (store_ && store_->core().disk_hangs()) return "the own disk hangs";
  return pulse_ && pulse_->hung() > 0 ? "a worker of this agent hangs" : "";
}

void Agent::on_instance(drivers::InstanceHealth health, const std::string& reason) {
  log_line(health == drivers::InstanceHealth::kPassing ? LogLevel::kInfo : LogLevel::kWarn, "instance",
           std::string(drivers::name_of(health)) + (reason.empty() ? "" : ": " + reason));
  note_role("instance", std::string(drivers::name_of(health)) + (reason.empty() ? "" : ": " + reason));
  // First the role: a dead instance must lose it before anybody is told anything else.
  keep_endpoints_ = false;
  if (primary_) primary_->on_instance(health);
  publish_endpoints();
  publish_instance();
  refresh_tags();
}

void Agent::on_role_change() {
  if (arming_) arming_->on_role(primary_->role_state());  // first: a new epoch is not armed for a moment
  publish_primary();
  refresh_tags();
  if (backend_) backend_->on_role_changed();
}

}  // namespace agent
