#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class OwnApi : public testing::Test, public ApiHarness {
 protected:
  OwnApi() {
    backend.role_info = {.service = "trader",
                         .role = "primary",
                         .serving = true,
                         .epoch = Epoch{9007199254740993ULL},
                         .holder = NodeId{0xabcULL},
                         .holder_name = "n1",
                         .self_name = "n1",
                         .instance = "passing",
                         .draining = false,
                         .since_ms = 5,
                         .valid_for = Milliseconds(900),
                         .index = Index{20}};
  }
  Json problem(const Response& response) {
    EXPECT_EQ(response.content_type, "application/problem+json");
    return Json::parse(response.body, nullptr, false);
  }
};

// --- role ---

TEST_F(OwnApi, RoleTellsEverything) {
  const auto response = ask("GET", "/outrigger/v1/role");
  EXPECT_EQ(response.body,
            R"({"service":"trader","role":"primary","serving":true,"armed":true,"unarmed_reason":null,"epoch":9007199254740993,"holder":"n1",)"
            R"("holder_id":"0000000000000abc","self":"n1","instance":"passing","draining":false,"halted":[],"since_ms":5,)"
            R"("valid_for_ms":900,"index":20})");
  EXPECT_EQ(header(response, "X-Consul-Index"), "20");
  EXPECT_THAT(backend.barriers, IsEmpty()) << "the own role needs no other agent";
}

TEST_F(OwnApi, RoleWithoutHolderIsNull) {
  backend.role_info = {};
  const auto role = ask_json("/outrigger/v1/role");
  EXPECT_EQ(role.at("role"), "none");
  EXPECT_TRUE(role.at("holder").is_null());
  EXPECT_TRUE(role.at("holder_id").is_null());
}

TEST_F(OwnApi, RoleBlocksUntilItChanges) {
  const auto id = send("GET", "/outrigger/v1/role?index=20&wait=10s");
  EXPECT_FALSE(answered(id));
  auto role = backend.role_info;
  role.serving = false;
  backend.set_role(role);
  EXPECT_EQ(Json::parse(answer(id).body).at("serving"), false);
  const auto idle = send("GET", "/outrigger/v1/role?index=21&wait=10s");
  advance(seconds(10));
  EXPECT_EQ(answer(idle).status, 200);
}

TEST_F(OwnApi, RoleWatchStreamsEveryChange) {
  const auto id = send("GET", "/outrigger/v1/role/watch");
  settle();
  ASSERT_EQ(outputs[id].size(), 2U);
  EXPECT_EQ(outputs[id][0].kind, Output::Kind::kStreamBegin);
  EXPECT_EQ(outputs[id][0].response.content_type, "text/event-stream");
  EXPECT_THAT(outputs[id][1].response.body, testing::StartsWith("id: 20\nevent: role\ndata: {\"service\":\"trader\""));
  EXPECT_TRUE(outputs[id][1].response.body.ends_with("}\n\n"));
  auto role = backend.role_info;
  role.role = "standby";
  backend.set_role(role);
  settle();
  ASSERT_EQ(outputs[id].size(), 3U);
  EXPECT_THAT(outputs[id][2].response.body, HasSubstr("\"role\":\"standby\""));
  advance(seconds(15));
  EXPECT_EQ(outputs[id].back().response.body, ":\n\n") << "a sign of life";
  EXPECT_EQ(api.waiting(), 0U);
  api.on_hangup(id);
  EXPECT_EQ(backend.watch_count(), 0U);
  EXPECT_EQ(api.next_deadline(), TimePoint::max());
}

TEST_F(OwnApi, StreamsAreBounded) {
  ApiHarness small(Limits{.streams_max = 1});
  const auto first = small.send("GET", "/outrigger/v1/role/watch");
  EXPECT_EQ(small.ask("GET", "/outrigger/v1/role/watch").status, 503);
  EXPECT_TRUE(small.api.on_client_end(first));
  const auto second = small.send("GET", "/outrigger/v1/role/watch");
  small.settle();
  EXPECT_EQ(small.outputs[second].size(), 2U);
}

// --- elections ---

TEST_F(OwnApi, ElectionStateWithIndexAndWait) {
  const auto missing = ask("GET", "/outrigger/v1/election/trader");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(header(missing, "X-Consul-Index"), "1");
  EXPECT_EQ(problem(missing).at("code"), "not_found");
  const auto waiting = send("GET", "/outrigger/v1/election/trader?index=1");
  EXPECT_FALSE(answered(waiting));
  backend.set_election({.name = "trader",
                        .epoch = Epoch{4},
                        .holder = NodeId{1},
                        .holder_name = "n2",
                        .preferred = {},
                        .lease = Milliseconds(1500),
                        .index = {}});
  EXPECT_EQ(answer(waiting).body,
            R"({"name":"trader","holder":"n2","holder_id":"0000000000000001","epoch":4,"preferred_id":null,)"
            R"("lease_ms":1500,"index":11})");
}

TEST_F(OwnApi, ElectionCommandsFromQueryAndBody) {
  using Kind = ElectionCommand::Kind;
  EXPECT_EQ(ask("PUT", "/outrigger/v1/election/trader/switchover?target=n3").status, 200);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/election/trader/release").status, 200);
  EXPECT_EQ(ask("POST", "/outrigger/v1/election/job/campaign", R"({"holder":"c1","lease_ms":2000})").status, 200);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/election/job/renew?holder=c1&epoch=18446744073709551615").status, 200);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/election/job/resign", R"({"holder":"c1","epoch":7})").status, 200);
  ASSERT_EQ(backend.commands.size(), 5U);
  EXPECT_EQ(backend.commands[0].kind, Kind::kSwitchover);
  EXPECT_EQ(backend.commands[0].target, "n3");
  EXPECT_EQ(backend.commands[1].kind, Kind::kRelease);
  EXPECT_EQ(backend.commands[2].holder, "c1");
  EXPECT_EQ(backend.commands[2].lease, seconds(2));
  EXPECT_EQ(backend.commands[3].epoch, Epoch{18446744073709551615ULL});
  EXPECT_EQ(backend.commands[4].epoch, Epoch{7});
}

TEST_F(OwnApi, SwitchoverOfTheOwnService) {
  EXPECT_EQ(ask("PUT", "/outrigger/v1/switchover", R"({"target":"n2"})").status, 200);
  EXPECT_EQ(backend.commands.at(0).name, "trader");
  backend.role_info = {};
  EXPECT_EQ(problem(ask("PUT", "/outrigger/v1/switchover")).at("code"), "unavailable");
}

TEST_F(OwnApi, BadElectionCommandsAreRefused) {
  struct Case {
    const char* target;
    const char* body;
    const char* message;
  };
  for (const auto& [target, body, message] :
       {Case{"job/campaign", "{}", "\"holder\" is missing"},
        Case{"job/campaign", R"({"holder":"c"})", "\"lease_ms\" must be"},
        Case{"job/campaign", R"({"holder":"c","lease_ms":99})", "\"lease_ms\" must be"},
        Case{"job/campaign", R"({"holder":"c","lease_ms":60001})", "\"lease_ms\" must be"},
        Case{"job/campaign", R"({"holder":"c","lease_ms":1.5})", "are numbers"},
        Case{"job/renew", R"({"holder":"c"})", "\"epoch\" is missing"},
        Case{"job/resign", R"({"holder":"c","epoch":"x"})", "are numbers"},
        Case{"job/release", "[1]", "no JSON object"}, Case{"job/release", "{", "no JSON object"}}) {
    const auto response = ask("PUT", std::string("/outrigger/v1/election/") + target, body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_THAT(problem(response).at("message").get<std::string>(), HasSubstr(message)) << body;
  }
  EXPECT_EQ(ask("PUT", "/outrigger/v1/election/" + std::string(65, 'x') + "/release").status, 400);
  EXPECT_THAT(backend.commands, IsEmpty());
}

// --- every error of the backend as a problem ---

TEST_F(OwnApi, ErrorsAreProblems) {
  struct Case {
    Errc code;
    int status;
    const char* name;
  };
  for (const auto& [code, status, name] :
       {Case{Errc::kBadRequest, 400, "bad_request"}, Case{Errc::kNotFound, 404, "not_found"},
        Case{Errc::kConflict, 409, "conflict"}, Case{Errc::kTooLarge, 413, "too_large"},
        Case{Errc::kNoLeader, 503, "no_leader"}, Case{Errc::kNoQuorum, 504, "no_quorum"},
        Case{Errc::kTimeout, 504, "timeout"}, Case{Errc::kBusy, 503, "busy"}, Case{Errc::kStopping, 503, "stopping"},
        Case{Errc::kUnsupported, 501, "unsupported"}, Case{Errc::kUnavailable, 503, "unavailable"},
        Case{Errc::kInternal, 500, "internal"}}) {
    backend.failure = Error{code, "because", Milliseconds(0)};
    const auto response = ask("PUT", "/outrigger/v1/drain");
    EXPECT_EQ(response.status, status) << name;
    const auto json = problem(response);
    EXPECT_EQ(json.at("code"), name);
    EXPECT_EQ(json.at("message"), "because");
    EXPECT_FALSE(json.at("hint").get<std::string>().empty()) << name;
    EXPECT_EQ(header(response, "Retry-After") == "(none)", json.at("retry_after_ms") == 0) << name;
  }
}

TEST_F(OwnApi, UnknownPathsAndMethodsAreProblems) {
  EXPECT_EQ(problem(ask("GET", "/nothing")).at("code"), "not_found");
  const auto response = ask("DELETE", "/outrigger/v1/role");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(header(response, "Allow"), "OPTIONS,GET");
  EXPECT_EQ(problem(response).at("code"), "method_not_allowed");
}

// --- views ---

TEST_F(OwnApi, PeersShowSuspicionAndTags) {
  MemberInfo member;
  member.name = "n2";
  member.id = "ff";
  member.raft_id = NodeId{2};
  member.address = "10.0.0.2";
  member.gossip_port = 7946;
  member.state = MemberState::kSuspect;
  member.accusers = {"n3"};
  member.rtt = Milliseconds(3);
  member.tags = {{"zone", "z"}};
  backend.member_list = {member};
  const auto peer = ask_json("/outrigger/v1/peers").at("peers").at(0);
  EXPECT_EQ(peer.at("state"), "suspect");
  EXPECT_EQ(peer.at("accusers"), Json({"n3"}));
  EXPECT_EQ(peer.at("rtt_ms"), 3);
  EXPECT_EQ(peer.at("tags").at("zone"), "z");
  const std::pair<MemberState, const char*> states[] = {{MemberState::kAlive, "alive"},
                                                        {MemberState::kLeaving, "leaving"},
                                                        {MemberState::kLeft, "left"},
                                                        {MemberState::kDead, "dead"}};
  for (const auto& [state, name] : states) {
    backend.member_list[0].state = state;
    backend.member_list[0].rtt.reset();
    const auto again = ask_json("/outrigger/v1/peers").at("peers").at(0);
    EXPECT_EQ(again.at("state"), name);
    EXPECT_TRUE(again.at("rtt_ms").is_null());
  }
}

TEST_F(OwnApi, RaftShowsWhoIsMissing) {
  backend.raft_info = {.self = NodeId{1},
                       .leader = NodeId{2},
                       .leader_address = "10.0.0.2:7947",
                       .role = "follower",
                       .term = 3,
                       .first_index = 1,
                       .last_index = 9,
                       .commit_index = 8,
                       .applied_index = 8,
                       .peers = {{NodeId{1}, "n1", "10.0.0.1:7947", true, false, {}, {}},
                                 {NodeId{2}, "n2", "10.0.0.2:7947", true, true, 9, Milliseconds(4)}},
                       .missing = {"n3"}};
  const auto raft = ask_json("/outrigger/v1/raft");
  EXPECT_EQ(raft.at("leader_name"), "n2");
  EXPECT_EQ(raft.at("missing"), Json({"n3"}));
  EXPECT_EQ(raft.at("peers").at(1).at("match_index"), 9);
  EXPECT_TRUE(raft.at("peers").at(0).at("match_index").is_null());
  EXPECT_EQ(raft.at("commit_index"), 8);
}

TEST_F(OwnApi, UpstreamsShowEndpoints) {
  EndpointInfo endpoint;
  endpoint.name = "n1";
  endpoint.health = "degraded";
  endpoint.ejected_for = Milliseconds(40);
  endpoint.requests = 18446744073709551615ULL;
  backend.upstream_list = {{"trader", {endpoint}, 2}};
  const auto upstream = ask_json("/outrigger/v1/upstreams").at("upstreams").at(0);
  EXPECT_EQ(upstream.at("held"), 2);
  EXPECT_EQ(upstream.at("endpoints").at(0).at("ejected_for_ms"), 40);
  EXPECT_EQ(upstream.at("endpoints").at(0).at("requests"), 18446744073709551615ULL);
}

TEST_F(OwnApi, HealthIs200Or503AndTakesHead) {
  backend.live_items = {{"loop", true, ""}};
  backend.ready_items = {{"store", true, ""}, {"leader", false, "nobody leads"}};
  EXPECT_EQ(ask("GET", "/outrigger/v1/health/live").status, 200);
  EXPECT_EQ(ask("HEAD", "/outrigger/v1/health/live").status, 200);
  const auto ready = ask("GET", "/outrigger/v1/health/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(Json::parse(ready.body).at("checks").at(1).at("detail"), "nobody leads");
}

TEST_F(OwnApi, WhatAWorkerHasThatDoesNotAnswerMayNotBeOver) {
  backend.self_info.draining = true;
  backend.role_info.role = "standby";
  backend.upstream_list.emplace_back();
  EXPECT_EQ(Json::parse(ask("GET", "/outrigger/v1/drain").body).at("empty"), true);
  backend.upstream_list.back().workers_missing = 1;
  EXPECT_EQ(Json::parse(ask("GET", "/outrigger/v1/drain").body).at("empty"), false);
}

TEST_F(OwnApi, ActionsReachTheAgent) {
  EXPECT_EQ(ask("PUT", "/outrigger/v1/drain").body, R"({"draining":true})");
  EXPECT_EQ(ask("PUT", "/outrigger/v1/drain?enable=false").body, R"({"draining":false})");
  EXPECT_EQ(ask("PUT", "/outrigger/v1/drain", R"({"enable":false})").body, R"({"draining":false})");
  EXPECT_EQ(ask("PUT", "/outrigger/v1/drain?enable=maybe").status, 400);
  EXPECT_THAT(backend.drains, ElementsAre(true, false, false));
  EXPECT_EQ(ask("PUT", "/outrigger/v1/join", R"({"addresses":["a:1","b:2"]})").body, R"({"joined":2})");
  EXPECT_EQ(ask("PUT", "/outrigger/v1/join?address=c:3").body, R"({"joined":1})");
  EXPECT_EQ(ask("PUT", "/outrigger/v1/join", R"({"addresses":[1]})").status, 400);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/join", "nonsense").status, 400);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/leave").body, R"({"left":true})");
  EXPECT_EQ(backend.leaves, 1);
}

TEST_F(OwnApi, MetricsUnderAllTheirNames) {
  backend.metric_list = {{"outrigger_up", "Up.", MetricFamily::Type::kGauge, {{{}, 1, {}}}}};
  for (const char* path : {"/metrics", "/outrigger/v1/metrics", "/v1/agent/metrics?format=prometheus"}) {
    const auto response = ask("GET", path);
    EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8") << path;
    EXPECT_THAT(response.body, HasSubstr("outrigger_up 1\n")) << path;
  }
  const Request request{
      .method = "GET", .path = "/metrics", .host = "127.0.0.1", .accept = "application/openmetrics-text;version=1.0.0"};
  const auto response = answer(send(request));
  EXPECT_THAT(response.content_type, HasSubstr("openmetrics-text"));
  EXPECT_TRUE(response.body.ends_with("# EOF\n"));
}

TEST_F(OwnApi, PrometheusFindsReachableAgents) {
  MemberInfo near, far, gone;
  near.name = "n1";
  far.name = "n2", far.api_address = "10.0.0.2:8500", far.tags = {{"zone", "z"}};
  gone.name = "n3", gone.api_address = "10.0.0.3:8500", gone.state = MemberState::kLeft;
  backend.member_list = {near, far, gone};
  EXPECT_EQ(ask_json("/outrigger/v1/sd/prometheus/agents"),
            Json::parse(R"([{"targets":["10.0.0.2:8500"],"labels":{"node":"n2","zone":"z"}}])"));
}

// --- browsers ---

TEST_F(OwnApi, WebPagesOfOthersAreRefused) {
  struct Case {
    const char* method;
    const char* host;
    const char* origin;
    const char* site;
    bool allowed;
  };
  for (const auto& [method, host, origin, site, allowed] :
       {Case{"PUT", "127.0.0.1:8500", "", "", true},
        Case{"PUT", "127.0.0.1:8500", "http://127.0.0.1:8500", "same-origin", true},
        Case{"PUT", "localhost:8500", "http://localhost:8500", "", true},
        Case{"PUT", "[::1]:8500", "http://[::1]:8500", "", true},
        Case{"PUT", "127.0.0.1:8500", "https://evil.example", "cross-site", false},
        Case{"PUT", "127.0.0.1:8500", "null", "", false}, Case{"PUT", "127.0.0.1:8500", "", "cross-site", false},
        Case{"PUT", "evil.example:8500", "http://evil.example:8500", "same-origin", false},
        Case{"GET", "evil.example:8500", "", "same-origin", false}, Case{"PUT", "node1.lan:8500", "", "", true}}) {
    const Request request{.method = method,
                          .path = *method == 'G' ? "/outrigger/v1/role" : "/outrigger/v1/drain",
                          .host = host,
                          .origin = origin,
                          .fetch_site = site};
    EXPECT_EQ(answer(send(request)).status, allowed ? 200 : 400) << method << host << origin << site;
  }
}

}  // namespace
}  // namespace agent::api
