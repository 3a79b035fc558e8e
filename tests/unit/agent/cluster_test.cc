#include "agent/cluster.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

gossip::Member member(std::uint8_t number, std::initializer_list<std::pair<const char*, std::string>> tags,
                      gossip::MemberState state = gossip::MemberState::kAlive) {
  gossip::Member made;
  made.id.bytes.fill(number);
  made.name = "n" + std::to_string(number);
  made.address = gossip::Address::ipv4(10, 0, 0, number, 7946);
  made.state = state;
  std::uint32_t version = 0;
  for (const auto& [key, value] : tags) EXPECT_TRUE(made.tags.merge({key, value, ++version, false}));
  return made;
}
gossip::Member trader(std::uint8_t number, const char* health = "passing",
                      gossip::MemberState state = gossip::MemberState::kAlive) {
  return member(number, {{"svc", "trader"}, {"mp", "7947"}, {"h", health}}, state);
}

TEST(Cluster, RaftIdsAreTheHeadOfTheMemberIdAndNeverZero) {
  gossip::MemberId id;
  EXPECT_EQ(raft_id_of(id).value, 1u);
  id.bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9};
  EXPECT_EQ(raft_id_of(id).value, 0x0102030405060708u);
  id.bytes[0] = 0xff;
  EXPECT_EQ(raft_id_of(id).value, 0x7f02030405060708u);
}

TEST(Cluster, WhoCountsIsLiveOfOursAndSaysThatItCan) {
  using gossip::MemberState;
  const std::string ours(32, 'a'), theirs(32, 'b');
  const std::vector<gossip::Member> members{
      member(4, {{"rl", "1"}, {"cid", ours}}), member(1, {{"cid", ours}}), member(2, {{"rl", "1"}, {"cid", ours}}, MemberState::kSuspect),
      member(3, {{"rl", "1"}}, MemberState::kDead), member(5, {{"rl", "1"}, {"cid", theirs}}), member(6, {{"cid", ours}}), member(7, {{"rl", "1"}})};
  const proxy::RateMembers found = rate_members(members, members[1].id, {raft_id_of(members[2].id)});
  EXPECT_EQ(found.self, proxy::RateMemberId{raft_id_of(members[1].id).value});
  ASSERT_EQ(found.members.size(), 4u) << "a suspect counts on; the dead, strangers and older versions do not";
  EXPECT_EQ(found.members[0], (proxy::RateMember{found.self, "n1", true})) << "this agent always does";
  EXPECT_EQ(found.members[1].name, "n2");
  EXPECT_TRUE(found.members[1].reachable);
  EXPECT_EQ(found.members[2].name, "n4");
  EXPECT_FALSE(found.members[2].reachable);
  EXPECT_EQ(found.members[3].name, "n7");
}

TEST(Cluster, TagsFromOutsideAreReadWithCare) {
  const gossip::Member odd = member(1, {{"mp", "70000"}, {"exp", "1e9"}, {"w", "5000"}, {"cid", "xyz"}, {"h", "fine"}, {"vote", "0"}});
  const MemberTags tags = read_tags(odd.tags);
  EXPECT_EQ(tags.mesh_port, 0);
  EXPECT_EQ(tags.bootstrap_expect, 0u);
  EXPECT_EQ(tags.weight, 1000u);
  EXPECT_FALSE(tags.cluster_id);
  EXPECT_EQ(tags.health, drivers::InstanceHealth::kUnknown);
  EXPECT_FALSE(tags.wants_vote);
}

TEST(Cluster, GossipsDoubtDoesNotMoveTheConfiguration) {
  const std::vector<gossip::Member> members{member(1, {{"exp", "3"}}), member(2, {}, gossip::MemberState::kSuspect),
                                            member(3, {}, gossip::MemberState::kDead), member(4, {}, gossip::MemberState::kLeft)};
  const auto infos = store_members(members);
  ASSERT_EQ(infos.size(), 4u);
  EXPECT_EQ(infos[0].bootstrap_expect, 3u);
  EXPECT_EQ(infos[1].liveness, store::Liveness::kAlive);
  EXPECT_EQ(infos[2].liveness, store::Liveness::kDead);
  EXPECT_EQ(infos[3].liveness, store::Liveness::kLeft);
}

TEST(Cluster, TheMeshAddressTakesTheHostFromGossipAndThePortFromTheTag) {
  EXPECT_EQ(mesh_address(trader(2)), "10.0.0.2:7947");
  EXPECT_EQ(mesh_address(member(2, {})), "");
}

TEST(Cluster, ThePoolHoldsLiveMembersWithThatService) {
  OwnInstance own;
  own.id.bytes.fill(1);
  own.service = "trader";
  own.endpoint.address = "127.0.0.1:9001";
  const std::vector<gossip::Member> members{trader(1), trader(2), member(3, {{"svc", "other"}, {"mp", "7947"}}),
                                            member(4, {{"svc", "trader"}}), trader(5, "passing", gossip::MemberState::kDead)};
  const auto table = endpoint_table(members, own, "trader");
  ASSERT_EQ(table.pools.size(), 1u);
  ASSERT_EQ(table.pools[0].endpoints.size(), 2u) << "itself once, n2; not another service, no port, dead";
  EXPECT_EQ(table.pools[0].endpoints[0].address, "127.0.0.1:9001");
  EXPECT_EQ(table.pools[0].endpoints[1].address, "10.0.0.2:7947");
  EXPECT_EQ(table.pools[0].endpoints[1].kind, proxy::EndpointKind::kPeer);
}

TEST(Cluster, DoubtDegradesAndAStallIsRoutedAround) {
  gossip::Member suspect = trader(2, "passing", gossip::MemberState::kSuspect);
  EXPECT_EQ(peer_endpoint(suspect).health, proxy::Health::kDegraded);
  suspect.stalled = true;
  EXPECT_EQ(peer_endpoint(suspect).health, proxy::Health::kCritical);
  gossip::Member cut = trader(2);
  cut.unreachable = true;
  EXPECT_EQ(peer_endpoint(cut).health, proxy::Health::kCritical);
  EXPECT_EQ(peer_endpoint(trader(2)).health, proxy::Health::kPassing);
  EXPECT_EQ(peer_endpoint(trader(2, "degraded")).health, proxy::Health::kDegraded);
  EXPECT_EQ(peer_endpoint(trader(2, "gone")).health, proxy::Health::kCritical);
  EXPECT_EQ(peer_endpoint(member(2, {{"svc", "trader"}, {"mp", "1"}})).health, proxy::Health::kCritical) << "not checked yet";
}

}  // namespace
}  // namespace agent
