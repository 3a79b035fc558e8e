#pragma once
/// What one agent knows of the others, put into the words of whoever asks: gossip's members become the store's
/// members, the proxy's endpoints and the mesh's addresses. Pure functions over gossip's view; no state.
///
/// Tags that an agent sets about itself (all optional, so that versions can differ):
///   v version · mp mesh port · api "ip:port" of an API that others can reach · cid cluster id (hex) · exp
///   bootstrap_expect · vote "0" = never a voter · zone · svc service · w weight · tier "backup" · h health of the
///   instance · drain "1" · role "primary" · ep epoch.

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/check_driver.h"
#include "gossip/member.h"
#include "proxy/rate_share.h"
#include "proxy/upstream.h"
#include "store/types.h"

namespace agent {

/// The Raft id of an agent: the first eight bytes of its 128-bit id, big-endian, without the top bit (which marks
/// holders of leases that are no agents); never 0.
[[nodiscard]] store::NodeId raft_id_of(const gossip::MemberId& id);

/// Tags of one member, read once. Unreadable values count as absent: they come from other machines.
struct MemberTags {
  std::string version, api, zone, service;
  std::optional<store::kv::ClusterId> cluster_id;
  std::uint16_t mesh_port = 0;  ///< 0 = not told yet
  std::uint32_t bootstrap_expect = 0;
  bool wants_vote = true;
  std::uint32_t weight = 1;  ///< 0..1000
  bool backup = false, draining = false, primary = false;
  drivers::InstanceHealth health = drivers::InstanceHealth::kUnknown;
};
[[nodiscard]] MemberTags read_tags(const gossip::TagSet& tags);
[[nodiscard]] drivers::InstanceHealth health_of_name(std::string_view name);  ///< unknown names are kUnknown

/// For Store::on_members. Suspects count as alive: gossip's doubt must not move the configuration.
[[nodiscard]] std::vector<store::MemberInfo> store_members(std::span<const gossip::Member> members);

/// "ip:port" of a member's mesh listener; empty while it has not told its port.
[[nodiscard]] std::string mesh_address(const gossip::Member& member);

/// What this agent adds for its own instance, which it does not look up in gossip.
struct OwnInstance {
  gossip::MemberId id;
  std::string service;          ///< empty = no instance here
  proxy::Endpoint endpoint;     ///< complete
};
/// The pool of `service`: the own instance and one endpoint per live member that has one. A member that gossip doubts
/// is degraded, one that is stalled or cannot be reached from here is critical: routed around before it is dead.
[[nodiscard]] proxy::EndpointTable endpoint_table(std::span<const gossip::Member> members, const OwnInstance& own,
                                                  const std::string& service);
/// Tag of agents that answer questions about limits which the cluster counts together.
inline constexpr std::string_view kCountsTag = "rl";
/// Who counts the limits of the cluster: the live members of ours that can. This agent is always among them.
/// @param up  agents to which a connection stands
[[nodiscard]] proxy::RateMembers rate_members(std::span<const gossip::Member> members, const gossip::MemberId& self,
                                              const std::set<store::NodeId>& up);
/// Equal for everyone who routes by them.
[[nodiscard]] bool same_endpoints(const proxy::EndpointTable& a, const proxy::EndpointTable& b);
[[nodiscard]] bool same_view(const proxy::PrimaryView& a, const proxy::PrimaryView& b);
/// The endpoint of one peer agent. Its id is its Raft id, the same in every table.
[[nodiscard]] proxy::Endpoint peer_endpoint(const gossip::Member& member);

}  // namespace agent
