#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Consul : public testing::Test, public ApiHarness {
 protected:
  Consul() {
    MemberInfo one;
    one.name = "n1";
    one.id = "00112233445566778899aabbccddeeff";
    one.address = "10.0.0.1";
    one.gossip_port = 7946;
    one.mesh_port = 7947;
    one.tags = {{"zone", "z1"}, {"role", "primary"}};
    backend.member_list = {one};
    backend.raft_info.self = backend.raft_info.leader = NodeId{1};
    backend.raft_info.role = "leader";
    backend.raft_info.leader_address = "10.0.0.1:7947";
    backend.raft_info.peers = {{NodeId{1}, "n1", "10.0.0.1:7947", true, true, {}, {}},
                               {NodeId{2}, "n2", "10.0.0.2:7947", false, false, {}, {}},
                               {NodeId{3}, "n3", "", true, false, {}, {}}};
  }
};

TEST_F(Consul, SelfHasWhatClientsLookFor) {
  const auto self = ask_json("/v1/agent/self");
  EXPECT_EQ(self.at("Config").at("Datacenter"), "dc1");
  EXPECT_EQ(self.at("Config").at("NodeName"), "n1");
  EXPECT_EQ(self.at("Config").at("NodeID"), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(self.at("Config").at("Server"), true);
  EXPECT_EQ(self.at("Config").at("Version"), "9.9.9");
  EXPECT_EQ(self.at("Member").at("Name"), "n1");
  EXPECT_EQ(self.at("Stats").at("raft").at("state"), "leader");
  EXPECT_TRUE(self.at("DebugConfig").is_object());
}

TEST_F(Consul, MembersHaveSerfsNumbers) {
  const auto member = ask_json("/v1/agent/members").at(0);
  EXPECT_EQ(member.at("Name"), "n1");
  EXPECT_EQ(member.at("Addr"), "10.0.0.1");
  EXPECT_EQ(member.at("Port"), 7946);
  EXPECT_EQ(member.at("Tags").at("role"), "consul");
  EXPECT_EQ(member.at("Tags").at("zone"), "z1");
  EXPECT_EQ(member.at("Tags").at("outrigger_role"), "primary") << "kept under a name that no client misreads";
  EXPECT_EQ(member.at("Tags").at("port"), "7947");
  const std::pair<MemberState, int> states[] = {{MemberState::kAlive, 1},
                                                {MemberState::kSuspect, 1},
                                                {MemberState::kLeaving, 2},
                                                {MemberState::kLeft, 3},
                                                {MemberState::kDead, 4}};
  for (const auto& [state, number] : states) {
    backend.member_list[0].state = state;
    EXPECT_EQ(ask_json("/v1/agent/members?segment=_all").at(0).at("Status"), number);
  }
  EXPECT_EQ(ask_json("/v1/agent/members?wan=1").at(0).at("Name"), "n1.dc1") << "the one datacenter that there is";
}

TEST_F(Consul, StatusNamesLeaderAndVoters) {
  EXPECT_EQ(ask("GET", "/v1/status/leader").body, "\"10.0.0.1:7947\"");
  EXPECT_EQ(ask("GET", "/v1/status/peers").body, "[\"10.0.0.1:7947\"]");
  backend.raft_info.leader_address.clear();
  const auto leaderless = ask("GET", "/v1/status/leader");
  EXPECT_EQ(leaderless.status, 200);
  EXPECT_EQ(leaderless.body, "\"\"");
}

TEST_F(Consul, JoinAlsoByGetButNotFromABrowser) {
  const auto put = ask("PUT", "/v1/agent/join/10.0.0.2:7946");
  EXPECT_EQ(put.status, 200);
  EXPECT_THAT(put.body, IsEmpty());
  EXPECT_THAT(put.content_type, IsEmpty());
  EXPECT_EQ(ask("GET", "/v1/agent/join/10.0.0.3").status, 200);
  const Request request{
      .method = "GET", .path = "/v1/agent/join/evil", .host = "127.0.0.1:8500", .fetch_site = "cross-site"};
  EXPECT_EQ(answer(send(request)).status, 400);
  EXPECT_THAT(backend.joins, ElementsAre(ElementsAre("10.0.0.2:7946"), ElementsAre("10.0.0.3")));
  backend.failure = Error{Errc::kUnavailable, "10.0.0.9:7946 does not answer", {}};
  const auto failed = ask("PUT", "/v1/agent/join/10.0.0.9");
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(failed.body, "10.0.0.9:7946 does not answer");
}

TEST_F(Consul, LeaveIsAPut) {
  EXPECT_EQ(ask("PUT", "/v1/agent/leave").status, 200);
  EXPECT_EQ(backend.leaves, 1);
  EXPECT_EQ(ask("GET", "/v1/agent/leave").status, 405);
}

}  // namespace
}  // namespace agent::api
