#include "agent/cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/cli/http_client.h"
#include "tests/unit/agent/cli/fixture.h"

namespace agent::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Cli : public CliTest {};

// --- usage ---

TEST_F(Cli, NothingAtAllIsUsage) {
  const auto result = outrigger({});
  EXPECT_EQ(result.code, kExitUsage);
  EXPECT_THAT(result.err, AllOf(HasSubstr("members"), HasSubstr("switchover"), HasSubstr("validate")));
}

TEST_F(Cli, UnknownVerbNamesTheNearest) {
  auto result = outrigger({"mebmers"});
  EXPECT_EQ(result.code, kExitUsage);
  EXPECT_EQ(result.err,
            "outrigger: unknown verb \"mebmers\"; did you mean \"members\"?\n"
            "  outrigger --help says what each one does\n");
  result = outrigger({"kv", "gte", "x"});
  EXPECT_EQ(result.code, kExitUsage);
  EXPECT_THAT(result.err, AllOf(HasSubstr("did you mean \"get\"?"), HasSubstr("outrigger kv --help")));
  result = outrigger({"elephants"});
  EXPECT_EQ(result.code, kExitUsage);
  EXPECT_THAT(result.err, HasSubstr("there are: agent"));
}

TEST_F(Cli, EveryVerbHasHelp) {
  const std::vector<std::vector<std::string>> verbs{
      {"agent"},     {"members"},      {"join"},       {"leave"},  {"kv"},       {"kv", "get"},  {"kv", "put"},
      {"kv", "cas"}, {"kv", "delete"}, {"kv", "list"}, {"role"},   {"election"}, {"switchover"}, {"drain"},
      {"upstreams"}, {"sticky", "get"}, {"raft"},         {"validate"},   {"keygen"}, {"init"},     {"version"}};
  for (auto verb : verbs) {
    const std::string name = verb.back();
    verb.push_back("--help");
    const auto result = outrigger(verb);
    EXPECT_EQ(result.code, kExitOk) << name;
    EXPECT_THAT(result.out, HasSubstr("--help")) << name;
    if (name != "kv") {
      EXPECT_THAT(result.out, HasSubstr("-o,--output")) << name;
    }
    EXPECT_THAT(result.err, IsEmpty()) << name;
  }
}

TEST_F(Cli, BadArgumentsAreUsage) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"kv", "get"},
                                                                     {"kv"},
                                                                     {"kv", "put", "k"},
                                                                     {"join"},
                                                                     {"members", "--nope"},
                                                                     {"members", "-o", "xml"},
                                                                     {"members", "--timeout", "0"},
                                                                     {"kv", "get", "k", "--stale", "--consistent"},
                                                                     {"kv", "delete", "k", "--recurse", "--cas", "1"},
                                                                     {"agent", "--set", "novalue"}}) {
    const auto result = outrigger(arguments);
    EXPECT_EQ(result.code, kExitUsage) << testing::PrintToString(arguments);
    EXPECT_THAT(result.err, HasSubstr("outrigger")) << testing::PrintToString(arguments);
  }
  EXPECT_THAT(fake.requests(), IsEmpty());
}

TEST_F(Cli, VersionInBothForms) {
  EXPECT_EQ(outrigger({"version"}).out, "outrigger " OUTRIGGER_VERSION "\n");
  EXPECT_EQ(outrigger({"--version"}).code, kExitOk);
  EXPECT_EQ(nlohmann::json::parse(outrigger({"version", "-o", "json"}).out).at("version"), OUTRIGGER_VERSION);
}

// --- the agent verb ---

TEST_F(Cli, AgentStartsWithDefaults) {
  run_result = 7;
  EXPECT_EQ(outrigger({"agent"}).code, 7);
  ASSERT_TRUE(started.has_value());
  EXPECT_EQ(started->node.name, "box");
  EXPECT_EQ(started->api.listen.text(), "127.0.0.1:8500");
}

TEST_F(Cli, AgentTakesConsulsSpelling) {
  const auto result =
      outrigger({"agent", "-server", "-bind", "127.0.0.2", "-data=/tmp/d", "-pid-file", "/tmp/p", "-node", "n2", "-join", "127.0.0.1", "-join",
                 "127.0.0.3:7", "--bootstrap-expect", "3", "--api", "127.0.0.2:8500", "--set", "raft.heartbeat=20ms"});
  EXPECT_EQ(result.code, 0) << result.err;
  ASSERT_TRUE(started.has_value());
  EXPECT_EQ(started->mesh.bind, "127.0.0.2");
  EXPECT_EQ(started->node.data_dir, "/tmp/d");
  EXPECT_EQ(started->node.name, "n2");
  EXPECT_EQ(started->node.pid_file, "/tmp/p");
  ASSERT_EQ(started->mesh.seeds.size(), 2U);
  EXPECT_EQ(started->mesh.seeds[0].text(), "127.0.0.1:7946");
  EXPECT_EQ(started->raft.bootstrap_expect, 3U);
  EXPECT_FALSE(started->raft.bootstrap);
  EXPECT_EQ(started->api.listen.text(), "127.0.0.2:8500");
  EXPECT_EQ(started->raft.heartbeat, std::chrono::milliseconds(20));
}

TEST_F(Cli, AgentReportsEveryConfigProblem) {
  auto result = outrigger({"agent", "--api", "nowhere", "--bind", "x"});
  EXPECT_EQ(result.code, kExitFailed);
  EXPECT_FALSE(started.has_value());
  EXPECT_THAT(result.err, AllOf(HasSubstr("(set by --api)"), HasSubstr("(set by --bind)"),
                                HasSubstr("2 problems in the settings; nothing was started")));
  result = outrigger({"agent", "--api", "nowhere", "-o", "json"});
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("code"), "bad_config");
  EXPECT_EQ(json.at("problems").at(0).at("key"), "api.listen");
}

TEST_F(Cli, AgentReadsItsFileFromTheEnvironment) {
  environment["OUTRIGGER_CONFIG"] = "/nonexistent.toml";
  EXPECT_THAT(outrigger({"agent"}).err, HasSubstr("/nonexistent.toml: cannot read the file"));
}

TEST_F(Cli, DevAgentLeavesNothingBehind) {
  EXPECT_EQ(outrigger({"agent", "-dev"}).code, 0);
  ASSERT_TRUE(started.has_value());
  EXPECT_TRUE(started->raft.bootstrap);
  EXPECT_THAT(started->node.data_dir.string(), HasSubstr("outrigger-dev-"));
  EXPECT_FALSE(std::filesystem::exists(started->node.data_dir));
}

TEST_F(Cli, ValidateChecksWithoutStarting) {
  auto result = outrigger({"validate", "-"}, "[node]\nname = \"a\"\n");
  EXPECT_EQ(result.code, kExitOk);
  EXPECT_THAT(result.out, HasSubstr("the settings are fine: node a, API 127.0.0.1:8500"));
  result = outrigger({"validate", "-"}, "[node]\nnmae = \"a\"\n");
  EXPECT_EQ(result.code, kExitFailed);
  EXPECT_THAT(result.err, HasSubstr("-:2:1: node.nmae: unknown key \"nmae\"; did you mean \"name\"?"));
  result = outrigger({"validate", "-", "-o", "json"}, "");
  EXPECT_EQ(nlohmann::json::parse(result.out).at("ok"), true);
  EXPECT_FALSE(started.has_value());
}

// --- verbs that ask ---

TEST_F(Cli, NoAgentSaysWhereItLooked) {
  std::string api;
  {
    const FakeAgent gone;
    api = gone.api();
  }
  const auto result = outrigger({"members", "--api", api});
  EXPECT_EQ(result.code, kExitFailed);
  EXPECT_THAT(result.err, AllOf(HasSubstr("cannot reach the agent at " + api), HasSubstr("--api or OUTRIGGER_API")));
}

TEST_F(Cli, AddressComesFromFlagThenOursThenConsuls) {
  environment["CONSUL_HTTP_ADDR"] = "http://" + fake.api() + "/";
  fake.answer(200, "{\"peers\":[]}");
  EXPECT_EQ(outrigger({"members"}).code, kExitOk);
  environment["OUTRIGGER_API"] = "unix:/nonexistent.sock";
  EXPECT_EQ(outrigger({"members"}).code, kExitFailed);
  fake.answer(200, "{\"peers\":[]}");
  EXPECT_EQ(outrigger({"members", "--api", fake.api()}).code, kExitOk);
  EXPECT_EQ(fake.requests().size(), 2U);
}

TEST_F(Cli, AnswersThatAreNoneFail) {
  EXPECT_THAT(ask({"members"}).err, HasSubstr("without an answer"));
  fake.answer("SSH-2.0-x\r\n");
  EXPECT_THAT(ask({"members"}).err, HasSubstr("no valid HTTP"));
  fake.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(ask({"members"}).err, HasSubstr("within its answer"));
  fake.answer(200, "no json");
  EXPECT_THAT(ask({"members"}).err, HasSubstr("is no JSON"));
}

TEST_F(Cli, AnswersOfAnotherShapeDoNoHarm) {
  for (const char* body : {"[1]", "null", R"({"peers":[1,null,{"tags":[2]}]})", R"({"peers":{}})"}) {
    fake.answer(200, body);
    EXPECT_EQ(ask({"members"}).code, kExitOk) << body;
    fake.answer(200, body);
    EXPECT_EQ(ask({"kv", "get", "k"}).code, kExitOk) << body;
    fake.answer(200, body);
    EXPECT_EQ(ask({"raft"}).code, kExitOk) << body;
  }
}

TEST_F(Cli, MembersAsTableAndAsJson) {
  const std::string body = R"({"peers":[{"name":"n1","address":"10.0.0.1","gossip_port":7946,"state":"alive",)"
                           R"("rtt_ms":2,"api_address":"","tags":{"zone":"z1","role":"primary"}}]})";
  fake.answer(200, body);
  EXPECT_EQ(ask({"members"}).out,
            "NAME  ADDRESS        STATE  ROLE     HEALTH  RTT   API  ZONE\n"
            "n1    10.0.0.1:7946  alive  primary  -       2 ms  -    z1\n");
  fake.answer(200, body);
  EXPECT_EQ(nlohmann::json::parse(ask({"members", "-o", "json"}).out), nlohmann::json::parse(body));
  EXPECT_EQ(fake.requests().front(), "GET /outrigger/v1/peers");
}

TEST_F(Cli, RaftAndUpstreamsAsTables) {
  fake.answer(200, R"({"role":"leader","term":3,"leader_name":"n1","commit_index":9,"applied_index":9,"last_index":9,
    "peers":[{"name":"n1","id":"00aa","address":"1:2","is_voter":true,"is_leader":true}],"missing":["n2","n3"]})");
  EXPECT_THAT(ask({"raft"}).out, AllOf(HasSubstr("role leader, term 3, leader n1"), HasSubstr("n1    00aa  1:2"),
                                       HasSubstr("no answer from: n2, n3")));
  fake.answer(200, R"({"upstreams":[{"service":"trader","endpoints":[{"name":"n1","address":"1:2","health":"passing",
    "weight":1,"in_flight":0,"requests":5,"failures":1,"reason":"x","ejected_for_ms":100,"is_backup":true}]}]})");
  EXPECT_THAT(ask({"upstreams"}).out, AllOf(HasSubstr("trader"), HasSubstr("backup; ejected for 100 ms; x")));
}

TEST_F(Cli, KvGetDecodesTheValue) {
  fake.answer(200, R"([{"Key":"a b","Value":"aGVsbG8=","Flags":18446744073709551615,"ModifyIndex":7}])");
  EXPECT_EQ(ask({"kv", "get", "a b"}).out, "hello\n");
  fake.answer(200, R"([{"Key":"k","Value":null,"Flags":18446744073709551615}])");
  EXPECT_THAT(ask({"kv", "get", "k", "--consistent", "-o", "json"}).out, HasSubstr("18446744073709551615"));
  fake.answer(404, "");
  const auto missing = ask({"kv", "get", "none", "--recurse", "--stale"});
  EXPECT_EQ(missing.code, kExitFailed);
  EXPECT_EQ(missing.err, "outrigger: there is no key \"none\"\n");
  EXPECT_THAT(fake.requests(),
              ElementsAre("GET /v1/kv/a%20b", "GET /v1/kv/k?consistent", "GET /v1/kv/none?recurse&stale"));
}

TEST_F(Cli, KvListOfNothingIsEmpty) {
  fake.answer(404, "");
  const auto none = ask({"kv", "list"});
  EXPECT_EQ(none.code, kExitOk);
  EXPECT_EQ(none.out, "");
  fake.answer(200, R"(["a/1","a/2"])");
  EXPECT_EQ(ask({"kv", "list", "a/"}).out, "a/1\na/2\n");
  EXPECT_THAT(fake.requests(), ElementsAre("GET /v1/kv/?keys", "GET /v1/kv/a/?keys"));
}

TEST_F(Cli, KvWritesSayHowTheyEnded) {
  fake.answer(200, "true", "X-Consul-Index: 12\r\n");
  EXPECT_EQ(ask({"kv", "put", "k", "v", "--flags", "18446744073709551615"}).out, "written at index 12\n");
  fake.answer(200, "true");
  EXPECT_EQ(ask({"kv", "put", "k", "-"}, "from stdin").out, "written\n");
  fake.answer(200, "false", "X-Consul-Index: 13\r\n");
  const auto lost = ask({"kv", "cas", "k", "5", "v"});
  EXPECT_EQ(lost.code, kExitFailed);
  EXPECT_THAT(lost.err, HasSubstr("another ModifyIndex"));
  fake.answer(200, "true", "X-Consul-Index: 14\r\n");
  EXPECT_EQ(nlohmann::json::parse(ask({"kv", "delete", "k", "--cas", "9", "-o", "json"}).out),
            nlohmann::json::parse(R"({"ok":true,"key":"k","index":14})"));
  EXPECT_THAT(fake.requests(), ElementsAre("PUT /v1/kv/k?flags=18446744073709551615 v", "PUT /v1/kv/k from stdin",
                                           "PUT /v1/kv/k?cas=5 v", "DELETE /v1/kv/k?cas=9"));
}

TEST_F(Cli, ProblemsShowMessageAndHint) {
  const std::string problem = R"({"code":"no_leader","message":"nobody leads","hint":"start n2","retry_after_ms":500})";
  fake.answer(503, problem);
  const auto text = ask({"switchover", "--service", "trader"});
  EXPECT_EQ(text.code, kExitFailed);
  EXPECT_EQ(text.err, "outrigger: nobody leads\n  start n2\n");
  fake.answer(503, problem);
  const auto json = nlohmann::json::parse(ask({"drain", "-o", "json"}).out);
  EXPECT_EQ(json.at("ok"), false);
  EXPECT_EQ(json.at("code"), "no_leader");
  fake.answer(400, "Conflicting flags: x");
  EXPECT_EQ(ask({"kv", "put", "k", "v"}).code, kExitUsage);
}

TEST_F(Cli, ActionsAskTheRightThing) {
  for (int i = 0; i < 4; ++i) fake.answer(200, "{}");
  EXPECT_EQ(ask({"join", "10.0.0.1", "b:2"}).out, "joined\n");
  EXPECT_EQ(ask({"leave"}).out, "the agent has left\n");
  EXPECT_EQ(ask({"drain"}).out, "drained\n");
  EXPECT_EQ(ask({"drain", "--off"}).out, "no longer draining\n");
  EXPECT_THAT(fake.requests(),
              ElementsAre(R"(PUT /outrigger/v1/join {"addresses":["10.0.0.1","b:2"]})", "PUT /outrigger/v1/leave",
                          "PUT /outrigger/v1/drain?enable=true", "PUT /outrigger/v1/drain?enable=false"));
}

TEST_F(Cli, ElectionDefaultsToTheOwnService) {
  const std::string state = R"({"name":"trader","holder":"n2","epoch":4,"lease_ms":1500,"index":99})";
  fake.answer(200, R"({"service":"trader","role":"standby","epoch":4,"holder":"n2","self":"n1","instance":"passing"})");
  fake.answer(200, state);
  EXPECT_EQ(ask({"election"}).out, "trader: holder n2, epoch 4, lease 1500 ms, index 99\n");
  fake.answer(200, R"({"service":"","role":"none"})");
  EXPECT_THAT(ask({"election"}).err, HasSubstr("this agent has no service"));
  fake.answer(200, state);
  EXPECT_EQ(ask({"switchover", "n2", "--service", "trader"}).out, "trader: holder n2, epoch 4\n");
  fake.answer(200, R"({"service":"trader","role":"standby","epoch":4,"holder":"n2","self":"n1","instance":"passing"})");
  EXPECT_EQ(ask({"role"}).out, "n1: standby of trader, epoch 4, holder n2, instance passing\n");
  EXPECT_EQ(fake.requests().at(1), "GET /outrigger/v1/election/trader");
  EXPECT_EQ(fake.requests().at(3), "PUT /outrigger/v1/election/trader/switchover?target=n2");
}

TEST(HttpClient, EncodesWhatAUrlCannotHold) { EXPECT_EQ(url_encode("a/b c?&=+%\xc3"), "a/b%20c%3F%26%3D%2B%25%C3"); }

TEST(HttpClient, StreamsUntilTheReaderHasEnough) {
  FakeAgent fake;
  fake.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n");
  std::string seen;
  HttpRequest request;
  request.target = "/";
  request.on_body = [&seen](std::string_view piece) { return (seen += piece).size() < 6; };
  const auto reply = http_call(fake.api(), request);
  ASSERT_TRUE(reply.has_value()) << reply.error();
  EXPECT_EQ(seen, "abcdef");
  EXPECT_THAT(reply->body, IsEmpty());
}

TEST(HttpClient, SaysWhyAnAddressIsNone) {
  EXPECT_FALSE(http_call("https://x", {}).has_value());
  EXPECT_FALSE(http_call("127.0.0.1:99999", {}).has_value());
  EXPECT_FALSE(http_call("unix:", {}).has_value());
}

// --- init and keygen ---

class Init : public Cli {
 protected:
  Init() {
    std::string pattern = (std::filesystem::temp_directory_path() / "outrigger-init-XXXXXX").string();
    dir = mkdtemp(pattern.data());
  }
  ~Init() override { std::filesystem::remove_all(dir); }
  static std::string read(const std::filesystem::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static unsigned mode(const std::filesystem::path& file) {
    struct stat info {};
    stat(file.c_str(), &info);
    return info.st_mode & 0777U;
  }
  std::filesystem::path dir;
};

TEST_F(Init, MakesAClusterWhoseSettingsAreFine) {
  const auto result =
      outrigger({"init", "--dir", dir / "c", "--names", "n1,n2,n3", "--service-address", "127.0.0.1:9001"});
  ASSERT_EQ(result.code, kExitOk) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("made the authority"), HasSubstr("n3/outrigger.toml")));
  EXPECT_EQ(mode(dir / "c/ca.key"), 0600U);
  EXPECT_EQ(mode(dir / "c/n1/key.pem"), 0600U);
  EXPECT_EQ(mode(dir / "c/n1/gossip.key"), 0600U);
  EXPECT_EQ(read(dir / "c/n1/gossip.key"), read(dir / "c/gossip.key"));
  EXPECT_NE(read(dir / "c/n1/key.pem"), read(dir / "c/n2/key.pem"));
  for (const char* name : {"n1", "n2", "n3"}) {
    const auto checked = outrigger({"validate", dir / "c" / name / "outrigger.toml"});
    EXPECT_EQ(checked.code, kExitOk) << checked.err;
    EXPECT_THAT(checked.out, HasSubstr("(TLS), service trader at 127.0.0.1:9001"));
  }
  EXPECT_THAT(read(dir / "c/n3/outrigger.toml"),
              AllOf(HasSubstr("gossip_port = 7966"), HasSubstr("127.0.0.1:8502"), HasSubstr("bootstrap_expect = 3"),
                    HasSubstr("seeds = [\"127.0.0.1:7946\", \"127.0.0.1:7956\", \"127.0.0.1:7966\"]")));
  environment = {{"OUTRIGGER_NODE_NAME", "n1"},
                 {"OUTRIGGER_MESH_CERT", dir / "c/n1/cert.pem"},
                 {"OUTRIGGER_MESH_KEY", dir / "c/n1/key.pem"}};
  const auto shared = outrigger({"validate", dir / "c/outrigger.toml"});
  EXPECT_EQ(shared.code, kExitOk) << shared.err;
}

TEST_F(Init, AddsANodeUnderTheSameAuthority) {
  ASSERT_EQ(outrigger({"init", "--dir", dir, "--names", "n1", "--ip", "10.0.0.1"}).code, kExitOk);
  const std::string authority = read(dir / "ca.pem"), shared = read(dir / "outrigger.toml");
  const auto result =
      outrigger({"init", "--dir", dir, "--names", "n2", "--ip", "10.0.0.2", "--seeds", "10.0.0.1:7946"});
  ASSERT_EQ(result.code, kExitOk) << result.err;
  EXPECT_THAT(result.out, HasSubstr("used the authority"));
  EXPECT_EQ(read(dir / "ca.pem"), authority);
  EXPECT_EQ(read(dir / "outrigger.toml"), shared);
  EXPECT_THAT(read(dir / "n2/outrigger.toml"), AllOf(HasSubstr("bootstrap = false"), HasSubstr("10.0.0.1:7946")));
  const auto checked = outrigger({"validate", dir / "n2/outrigger.toml"});
  EXPECT_EQ(checked.code, kExitOk) << checked.err;
}

TEST_F(Init, NeverReplacesANode) {
  ASSERT_EQ(outrigger({"init", "--dir", dir, "--names", "n1"}).code, kExitOk);
  const std::string key = read(dir / "n1/key.pem");
  const auto again = outrigger({"init", "--dir", dir, "--names", "n1"});
  EXPECT_EQ(again.code, kExitFailed);
  EXPECT_EQ(read(dir / "n1/key.pem"), key);
}

TEST_F(Init, RefusesNamesAndAddressesThatAreNone) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--names", "../x"},
                                                                     {"--names", "a,a"},
                                                                     {"--names", "a b"},
                                                                     {"--names", "a", "--ip", "nowhere"},
                                                                     {"--names", "a,b,c", "--ip", "10.0.0.1,10.0.0.2"},
                                                                     {"--days", "0"}}) {
    std::vector<std::string> all{"init", "--dir", dir / "none"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    EXPECT_EQ(outrigger(all).code, kExitUsage) << testing::PrintToString(arguments);
  }
  EXPECT_FALSE(std::filesystem::exists(dir / "none"));
}

TEST_F(Init, KeygenMakesKeysThatTheConfigTakes) {
  const auto first = outrigger({"keygen"}), second = outrigger({"keygen"});
  EXPECT_EQ(first.out.size(), 45U);
  EXPECT_NE(first.out, second.out);
  const auto checked = outrigger({"validate", "-"}, "[mesh]\ngossip_key = \"" + first.out.substr(0, 44) + "\"\n");
  EXPECT_EQ(checked.code, kExitOk) << checked.err;
  EXPECT_EQ(outrigger({"keygen", "--out", dir / "k"}).code, kExitOk);
  EXPECT_EQ(mode(dir / "k"), 0600U);
  const std::string key = read(dir / "k");
  EXPECT_EQ(outrigger({"keygen", "--out", dir / "k"}).code, kExitFailed);
  EXPECT_EQ(read(dir / "k"), key);
}

}  // namespace
}  // namespace agent::cli
