#include "agent/cluster.h"

#include <algorithm>
#include <charconv>

namespace agent {
namespace {

constexpr std::uint32_t kWeightMax = 1000;

template <typename Number>
Number number_of(std::optional<std::string_view> text, Number fallback, Number most) {
  if (!text) return fallback;
  Number value{};
  const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (code != std::errc() || end != text->data() + text->size()) return fallback;
  return std::min(value, most);
}

std::string text_of(std::optional<std::string_view> value) { return value ? std::string(*value) : std::string(); }

proxy::Health proxy_health(drivers::InstanceHealth health) {
  switch (health) {
    case drivers::InstanceHealth::kPassing: return proxy::Health::kPassing;
    case drivers::InstanceHealth::kDegraded: return proxy::Health::kDegraded;
    case drivers::InstanceHealth::kUnknown:
    case drivers::InstanceHealth::kCritical:
    case drivers::InstanceHealth::kGone: return proxy::Health::kCritical;
  }
  return proxy::Health::kCritical;
}

bool same_endpoint(const proxy::Endpoint& a, const proxy::Endpoint& b) {
  return a.id == b.id && a.kind == b.kind && a.address == b.address && a.node == b.node && a.weight == b.weight &&
         a.tier == b.tier && a.health == b.health && a.draining == b.draining && a.zone == b.zone && a.means == b.means;
}

}  // namespace

bool same_endpoints(const proxy::EndpointTable& a, const proxy::EndpointTable& b) {
  const auto same_pool = [](const proxy::PoolEndpoints& one, const proxy::PoolEndpoints& other) {
    return one.pool == other.pool && std::equal(one.endpoints.begin(), one.endpoints.end(), other.endpoints.begin(),
                                                other.endpoints.end(), same_endpoint);
  };
  return std::equal(a.pools.begin(), a.pools.end(), b.pools.begin(), b.pools.end(), same_pool);
}

bool same_view(const proxy::PrimaryView& a, const proxy::PrimaryView& b) {
  return a.service == b.service && a.epoch == b.epoch && a.holder == b.holder && same_endpoint(a.endpoint, b.endpoint) &&
         a.lease == b.lease && a.accepts_new == b.accepts_new && a.armed == b.armed && a.unarmed_reason == b.unarmed_reason;
}

store::NodeId raft_id_of(const gossip::MemberId& id) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value = value << 8U | id.bytes[i];
  value &= ~(std::uint64_t{1} << 63U);
  return store::NodeId{value == 0 ? 1 : value};
}

drivers::InstanceHealth health_of_name(std::string_view name) {
  using drivers::InstanceHealth;
  for (const InstanceHealth health : {InstanceHealth::kPassing, InstanceHealth::kDegraded, InstanceHealth::kCritical,
                                      InstanceHealth::kGone}) {
    if (drivers::name_of(health) == name) return health;
  }
  return InstanceHealth::kUnknown;
}

MemberTags read_tags(const gossip::TagSet& tags) {
  MemberTags read;
  read.version = text_of(tags.get("v"));
  read.api = text_of(tags.get("api"));
  read.zone = text_of(tags.get("zone"));
  read.service = text_of(tags.get("svc"));
  if (const auto id = tags.get("cid")) read.cluster_id = store::kv::parse_cluster_id(*id);
  read.mesh_port = number_of<std::uint16_t>(tags.get("mp"), 0, 65535);
  read.bootstrap_expect = number_of<std::uint32_t>(tags.get("exp"), 0, 9);
  read.wants_vote = tags.get("vote").value_or("1") != "0";
  read.weight = number_of<std::uint32_t>(tags.get("w"), 1, kWeightMax);
  read.backup = tags.get("tier").value_or("") == "backup";
  read.draining = tags.get("drain").value_or("") == "1";
  read.primary = tags.get("role").value_or("") == "primary";
  read.health = health_of_name(tags.get("h").value_or(""));
  return read;
}

std::vector<store::MemberInfo> store_members(std::span<const gossip::Member> members) {
  std::vector<store::MemberInfo> infos;
  infos.reserve(members.size());
  for (const gossip::Member& member : members) {
    const MemberTags tags = read_tags(member.tags);
    store::MemberInfo info;
    info.id = raft_id_of(member.id);
    info.name = member.name;
    info.liveness = member.state == gossip::MemberState::kDead ? store::Liveness::kDead
                    : member.state == gossip::MemberState::kLeft ? store::Liveness::kLeft
                                                                 : store::Liveness::kAlive;
    info.wants_vote = tags.wants_vote;
    info.bootstrap_expect = tags.bootstrap_expect;
    if (tags.cluster_id) info.cluster_id = *tags.cluster_id;
    infos.push_back(std::move(info));
  }
  return infos;
}

proxy::RateMembers rate_members(std::span<const gossip::Member> members, const gossip::MemberId& self, const std::set<store::NodeId>& up) {
  proxy::RateMembers out;
  out.self = proxy::RateMemberId{raft_id_of(self).value};
  std::optional<store::kv::ClusterId> ours;
  for (const gossip::Member& member : members) {
    if (member.id == self) ours = read_tags(member.tags).cluster_id;
  }
  for (const gossip::Member& member : members) {
    const bool own = member.id == self;
    const auto theirs = read_tags(member.tags).cluster_id;
    const bool foreign = ours && theirs && *ours != *theirs;
    if (!own && (!member.is_live() || foreign || member.tags.get(kCountsTag).value_or("") != "1")) continue;
    const store::NodeId id = raft_id_of(member.id);
    out.members.push_back({proxy::RateMemberId{id.value}, member.name, own || up.contains(id)});
  }
  std::sort(out.members.begin(), out.members.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  // Beyond that the same ones everywhere, and this agent where it is none of them asks the others.
  if (out.members.size() > proxy::RateMembers::kMax) out.members.resize(proxy::RateMembers::kMax);
  return out;
}

std::string mesh_address(const gossip::Member& member) {
  const MemberTags tags = read_tags(member.tags);
  if (tags.mesh_port == 0) return {};
  const auto address = gossip::Address::from_bytes(member.address.bytes(), tags.mesh_port);
  return address ? address->to_string() : std::string();
}

proxy::Endpoint peer_endpoint(const gossip::Member& member) {
  const MemberTags tags = read_tags(member.tags);
  proxy::Endpoint endpoint;
  endpoint.id = proxy::EndpointId{raft_id_of(member.id).value};
  endpoint.kind = proxy::EndpointKind::kPeer;
  endpoint.address = mesh_address(member);
  endpoint.node = member.name;
  endpoint.weight = tags.weight;
  endpoint.tier = tags.backup ? proxy::Tier::kBackup : proxy::Tier::kActive;
  endpoint.health = proxy_health(tags.health);
  endpoint.draining = tags.draining;
  endpoint.zone = tags.zone;
  if (member.stalled || member.unreachable || !member.is_live()) {
    endpoint.health = proxy::Health::kCritical;
  } else if (member.state == gossip::MemberState::kSuspect && endpoint.health == proxy::Health::kPassing) {
    endpoint.health = proxy::Health::kDegraded;
  }
  return endpoint;
}

proxy::EndpointTable endpoint_table(std::span<const gossip::Member> members, const OwnInstance& own,
                                    const std::string& service) {
  proxy::PoolEndpoints pool;
  pool.pool = service;
  if (own.service == service) pool.endpoints.push_back(own.endpoint);
  for (const gossip::Member& member : members) {
    if (member.id == own.id || !member.is_live() || pool.endpoints.size() >= proxy::kPoolEndpointsMax) continue;
    if (member.tags.get("svc").value_or("") != service || service.empty()) continue;
    proxy::Endpoint endpoint = peer_endpoint(member);
    if (!endpoint.address.empty()) pool.endpoints.push_back(std::move(endpoint));
  }
  return {{std::move(pool)}};
}

}  // namespace agent
