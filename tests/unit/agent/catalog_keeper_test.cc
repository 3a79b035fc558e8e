#include "agent/catalog_keeper.h"

#include <gtest/gtest.h>

#include "agent/api/catalog_backend.h"
#include "store/kv/state_machine.h"

namespace agent {
namespace {

namespace kv = store::kv;
using namespace std::chrono_literals;
using Seen = CatalogKeeper::Seen;

/// The keeper over a real state machine: what it proposes is applied, as the log would do it.
class CatalogKeeperTest : public ::testing::Test {
 protected:
  CatalogKeeper keeper{"consul"};
  kv::StateMachine state;
  CatalogKeeper::TimePoint now{1000s};
  std::uint64_t index = 1, seq = 0;
  std::vector<Seen> members;

  static Seen member(const std::string& name, Seen::State state = Seen::State::kLive) {
    Seen seen;
    seen.name = name;
    seen.id.bytes.fill(static_cast<std::uint8_t>(name.back()));
    seen.address = "10.0.0." + std::string(1, name.back());
    seen.mesh_port = 7947;
    seen.state = state;
    return seen;
  }
  void apply(kv::CommandBody body) {
    const auto applied = state.apply(kv::Index{++index}, kv::encode({{kv::NodeId{1}, ++seq}, std::move(body)}));
    ASSERT_TRUE(applied) << applied.error().detail;
  }
  void add(const std::string& node, const std::string& id, const std::string& name, std::uint32_t port) {
    kv::ServiceSet command;
    command.instance.node = node;
    command.instance.id = id;
    command.instance.name = name;
    command.instance.port = port;
    apply(std::move(command));
  }
  /// One look; everything proposed is applied and reported.
  std::size_t step(bool leading = true, bool ok = true) {
    keeper.step(state.catalog(), members, leading, now);
    const auto proposals = keeper.take_output();
    for (const auto& proposal : proposals) {
      if (ok) apply(proposal.command);
      keeper.on_done(proposal.node, ok, now);
    }
    return proposals.size();
  }
  std::size_t settle() {
    std::size_t count = 0;
    while (const std::size_t made = step()) count += made;
    return count;
  }
  const kv::Check* serf(const std::string& node) { return state.catalog().check(node, std::string(api::kSerfHealth)); }
};

TEST_F(CatalogKeeperTest, AliveMembersGetTheirRowsAndThenNothingMore) {
  members = {member("n1"), member("n2")};
  members[0].meta["zone"] = "z";
  EXPECT_EQ(settle(), 6u);
  const kv::Node* node = state.catalog().node("n1");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->address, "10.0.0.1");
  EXPECT_EQ(node->meta.at("zone"), "z");
  EXPECT_EQ(node->tagged_addresses.at("lan_ipv4"), "10.0.0.1");
  EXPECT_EQ(serf("n2")->status, kv::CheckStatus::kPassing);
  EXPECT_EQ(state.catalog().instance("n1", "consul")->port, 7947u);
  EXPECT_EQ(step(), 0u) << "a row that is right is not written again";
}

TEST_F(CatalogKeeperTest, TheDeadTurnCriticalAndComeBack) {
  members = {member("n1"), member("n2")};
  settle();
  members[1].state = Seen::State::kDead;
  EXPECT_EQ(settle(), 1u);
  EXPECT_EQ(serf("n2")->status, kv::CheckStatus::kCritical);
  EXPECT_NE(state.catalog().node("n2"), nullptr);
  members[1].state = Seen::State::kLive;
  EXPECT_EQ(settle(), 1u);
  EXPECT_EQ(serf("n2")->status, kv::CheckStatus::kPassing);
}

TEST_F(CatalogKeeperTest, WhoLeavesTakesEverythingAlong) {
  members = {member("n1"), member("n2")};
  settle();
  add("n2", "web", "web", 80);
  members[1].state = Seen::State::kLeft;
  EXPECT_EQ(settle(), 1u);
  EXPECT_EQ(state.catalog().node("n2"), nullptr);
  EXPECT_TRUE(state.catalog().instances_of_service("web").empty());
}

TEST_F(CatalogKeeperTest, ADeadMemberThatWasNeverHereIsNotBroughtUp) {
  members = {member("n1"), member("n2", Seen::State::kDead), member("n3", Seen::State::kLeft)};
  settle();
  EXPECT_EQ(state.catalog().nodes().size(), 1u);
}

TEST_F(CatalogKeeperTest, ANewLifeUnderAnOldNameIsNotBuriedWithTheOldOne) {
  members = {member("n1")};
  settle();
  Seen old = member("n1", Seen::State::kLeft);
  old.id.bytes.fill(9);
  members = {old, members[0]};
  EXPECT_EQ(settle(), 0u);
  members = {old};
  EXPECT_EQ(settle(), 0u) << "another id: that node is not the one that left";
}

TEST_F(CatalogKeeperTest, ExternalNodesAreLeftAlone) {
  kv::Node node;
  node.name = "ext";
  node.address = "1.2.3.4";
  apply(kv::NodeSet{node});
  members = {member("n1")};
  settle();
  now += 100h;
  EXPECT_EQ(settle(), 0u);
  EXPECT_NE(state.catalog().node("ext"), nullptr);
}

TEST_F(CatalogKeeperTest, WhomGossipDoesNotKnowIsDeadAfterAWhileAndGoneAfterDays) {
  members = {member("n1"), member("n2")};
  settle();
  members.pop_back();
  EXPECT_EQ(settle(), 0u) << "a leader that has just started has not met everybody yet";
  now += 29s;
  EXPECT_EQ(settle(), 0u);
  now += 1s;
  EXPECT_EQ(settle(), 1u);
  EXPECT_EQ(serf("n2")->status, kv::CheckStatus::kCritical);
  now += 72h;
  settle();
  EXPECT_EQ(state.catalog().node("n2"), nullptr);
}

TEST_F(CatalogKeeperTest, OnlyTheLeaderProposesAndANewOneStartsAfresh) {
  members = {member("n1")};
  EXPECT_EQ(step(false), 0u);
  EXPECT_EQ(keeper.next_deadline(), CatalogKeeper::TimePoint::max());
  keeper.step(state.catalog(), members, true, now);
  EXPECT_EQ(keeper.take_output().size(), 1u);
  keeper.step(state.catalog(), members, true, now);
  EXPECT_TRUE(keeper.take_output().empty()) << "one proposal per node is under way";
  keeper.step(state.catalog(), members, false, now);
  keeper.step(state.catalog(), members, true, now);
  EXPECT_EQ(keeper.take_output().size(), 1u) << "its answer may never come after a change of leaders";
}

TEST_F(CatalogKeeperTest, AFailedProposalIsMadeAgainAfterAPause) {
  members = {member("n1")};
  EXPECT_EQ(step(true, false), 1u);
  EXPECT_EQ(keeper.next_deadline(), now + CatalogKeeper::kRetryAfter);
  EXPECT_EQ(step(), 0u);
  now += CatalogKeeper::kRetryAfter;
  EXPECT_EQ(step(), 1u);
}

TEST_F(CatalogKeeperTest, ProposalsUnderWayAreBounded) {
  for (int i = 0; i < 100; ++i) {
    members.push_back(member("n1"));
    members.back().name = "node" + std::to_string(i);
  }
  keeper.step(state.catalog(), members, true, now);
  EXPECT_EQ(keeper.take_output().size(), CatalogKeeper::kPendingMax);
}

TEST_F(CatalogKeeperTest, TheServiceOfOurOwnCanBeNamedOrLeftOut) {
  keeper = CatalogKeeper("");
  members = {member("n1")};
  settle();
  EXPECT_TRUE(state.catalog().service_names().empty());
  keeper = CatalogKeeper("mesh");
  settle();
  EXPECT_NE(state.catalog().instance("n1", "mesh"), nullptr);
  members[0].mesh_port = 9;
  settle();
  EXPECT_EQ(state.catalog().instance("n1", "mesh")->port, 9u);
}

TEST_F(CatalogKeeperTest, SomebodysServiceUnderOurIdStaysTheirs) {
  members = {member("n1")};
  members[0].mesh_port = 0;
  settle();
  add("n1", "consul", "theirs", 1);
  members[0].mesh_port = 7947;
  EXPECT_EQ(settle(), 0u);
  EXPECT_EQ(state.catalog().instance("n1", "consul")->name, "theirs");
}

}  // namespace
}  // namespace agent
