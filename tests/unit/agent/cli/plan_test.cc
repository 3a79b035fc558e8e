// The verb that shows what a reload would change, against a scripted agent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/cli/cli.h"
#include "agent/cli/verbs_plan.h"
#include "tests/unit/agent/cli/fixture.h"

namespace agent::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* kNothing =
    R"({"ok":true,"would_change":false,"problems":[],"changes":[],"touched":[],"notes":[],"now":{},"node":"n1","hash":{"now":"aa","after":"aa"},"nodes":[{"name":"n1","state":"alive","hash":"aa"}]})";
constexpr const char* kSome = R"({"ok":true,"would_change":true,"problems":[],"changes":[
  {"change":"changed","key":"route[1].timeouts.total","element":"quotes","before":"60s","after":"30s","default":null,"part":"route","taken_over_by":"reload"},
  {"change":"added","key":"proxy.threads","element":null,"before":null,"after":"4","default":"0","part":"proxy","taken_over_by":"restart"}],
  "touched":[{"kind":"route","name":"quotes","pool":null,"change":"changed","now":{"in_flight":3,"sessions":0},"kept":["this"],"forgotten":["that"]}],
  "notes":["certificates"],"now":{"open_connections":5},"node":"n1","hash":{"now":"aa","after":"bb"},
  "nodes":[{"name":"n1","state":"alive","hash":"aa"},{"name":"n2","state":"alive","hash":"bb"},{"name":"n3","state":"dead","hash":null}]})";

class PlanVerb : public CliTest {};

TEST_F(PlanVerb, NothingToDoIsExitCodeZero) {
  fake.answer(200, kNothing);
  const auto result = ask({"plan"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, AllOf(HasSubstr("no changes"), HasSubstr("settings: aa, and the same after a reload")));
  EXPECT_EQ(asked(), "GET /outrigger/v1/plan");
}

TEST_F(PlanVerb, SomethingToDoIsExitCodeTwo) {
  fake.answer(200, kSome);
  const auto result = ask({"plan"});
  EXPECT_EQ(result.code, kExitWouldChange);
  EXPECT_EQ(result.out,
            "a reload takes over at once:\n"
            "  ~ route[1].timeouts.total: 60s -> 30s  [quotes]\n"
            "waits for a restart, or for a process that takes over (SIGUSR2, agent --take-over):\n"
            "  + proxy.threads = 4 (was 0)\n"
            "\nwhat it touches:\n"
            "  route quotes changes; now: 3 in flight\n"
            "      kept: this\n"
            "      forgotten: that\n"
            "\na restart ends or forgets what is in memory: 5 open connections\n"
            "  rows of sessions, keys of orders, halts and the epoch stay in the log; a process that takes over lets what runs end first\n"
            "every reload: certificates\n"
            "\nsettings: aa now, bb after a reload\n"
            "  n1  aa  this agent, alive\n"
            "  n2  bb  has them, alive\n"
            "  n3  -  does not tell, dead\n"
            "\n2 changes: 1 by a reload, 1 by a restart\n");
  fake.answer(200, kSome);
  const auto json = ask({"plan", "-o", "json"});
  EXPECT_EQ(json.code, kExitWouldChange);
  EXPECT_EQ(nlohmann::json::parse(json.out), nlohmann::json::parse(kSome));
}

TEST_F(PlanVerb, ARouteCalledOrderIsNoListInAnotherOrder) {
  fake.answer(200, R"({"ok":true,"changes":[
    {"change":"added","key":"route[0].hold","element":"order","before":null,"after":"7s","default":"3s","part":"route","taken_over_by":"reload","moved":false},
    {"change":"changed","key":"route","element":null,"before":"a, order","after":"order, a","default":null,"part":"route","taken_over_by":"reload","moved":true}]})");
  EXPECT_THAT(ask({"plan"}).out, AllOf(HasSubstr("  + route[0].hold = 7s (was 3s)  [order]\n"), HasSubstr("  ~ route, order: a, order -> order, a\n")));
}

TEST_F(PlanVerb, AFileIsSentWithWhatStandsBesideIt) {
  std::string folder = (std::filesystem::temp_directory_path() / "outrigger-plan-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  std::filesystem::create_directories(std::filesystem::path(folder) / "conf.d");
  std::ofstream(std::filesystem::path(folder) / "new.toml") << "[node]\n";
  std::ofstream(std::filesystem::path(folder) / "conf.d/a.toml") << "[raft]\n";
  fake.answer(200, kNothing);
  EXPECT_EQ(ask({"plan", "-c", folder + "/new.toml"}).code, 0);
  ASSERT_THAT(asked(), StartsWith("POST /outrigger/v1/plan {"));
  const auto body = nlohmann::json::parse(asked().substr(asked().find('{')));
  ASSERT_EQ(body.at("files").size(), 2U);
  EXPECT_EQ(body.at("files").at(0), (nlohmann::json{{"name", folder + "/new.toml"}, {"text", "[node]\n"}}));
  EXPECT_EQ(body.at("files").at(1), (nlohmann::json{{"name", folder + "/conf.d/a.toml"}, {"text", "[raft]\n"}}));
  const auto missing = ask({"plan", folder + "/none.toml"});
  EXPECT_EQ(missing.code, kExitFailed);
  EXPECT_THAT(missing.err, HasSubstr("none.toml: cannot read the file"));
  std::filesystem::remove_all(folder);
}

TEST_F(PlanVerb, RefusedSettingsAreTheProblemsThatValidateTells) {
  const auto validated = outrigger({"validate", "-"}, "[node]\nnmae = \"a\"\n");
  fake.answer(200, R"({"changes":[],"problems":[{"source":")" + (std::filesystem::current_path() / "-").string() +
                       R"(","line":2,"column":1,"key":"node.nmae","message":"unknown key \"nmae\"","hint":"did you mean \"name\"?"}]})");
  const auto result = ask({"plan", "-"}, "[node]\nnmae = \"a\"\n");
  EXPECT_EQ(result.code, kExitFailed);
  EXPECT_EQ(result.err.substr(0, result.err.find('\n')), validated.err.substr(0, validated.err.find('\n')));
  EXPECT_THAT(result.err, HasSubstr("a reload would refuse them"));
}

TEST_F(PlanVerb, ErrorsAreNeverExitCodeTwo) {
  std::string api;
  {
    const FakeAgent gone;
    api = gone.api();
  }
  const auto none = outrigger({"plan", "--api", api});
  EXPECT_EQ(none.code, kExitFailed);
  EXPECT_THAT(none.err, AllOf(HasSubstr(api), HasSubstr("outrigger validate FILE")));
  EXPECT_EQ(outrigger({"plan", "--no-such-flag"}).code, kExitFailed) << "2 says that something would change";
  fake.answer(400, R"({"code":"bad_request","message":"no"})");
  EXPECT_EQ(ask({"plan"}).code, kExitFailed);
  for (const char* other : {"[]", "{}", "null", R"({"changes":1})", "no json"}) {
    fake.answer(200, other);
    EXPECT_EQ(ask({"plan"}).code, kExitFailed) << other;
  }
  const auto help = outrigger({"plan", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("2 something would change"));
  EXPECT_THAT(help.err, IsEmpty());
}

}  // namespace
}  // namespace agent::cli
