#include "agent/drivers/hook_driver.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;

class HookDriverTest : public ::testing::Test {
 protected:
  HookDriverTest() {
    char pattern[] = "/tmp/outrigger-hook-XXXXXX";
    directory = ::mkdtemp(pattern);
  }
  ~HookDriverTest() override { std::filesystem::remove_all(directory); }
  HookCall shell(const std::string& script, const std::string& name = "promote") {
    return {{{"/bin/sh", "-c", script}, {}, {}, {}}, name, R"({"role":"primary"})", {{"OUTRIGGER_EPOCH", "7"}}};
  }
  std::string content(const std::string& file) {
    std::ifstream in(directory + "/" + file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::string directory;
  std::vector<HookReport> reports;
  std::optional<HookDriver> driver;
  void make(io::Milliseconds timeout) {
    driver.emplace(*loop, timeout, [this](const HookReport& report) { reports.push_back(report); });
  }
};

TEST_F(HookDriverTest, AProgramGetsTheDocumentAndTheEpoch) {
  make(60s);
  driver->call(shell("cat > " + directory + "/in; printf %s \"$OUTRIGGER_EPOCH\" > " + directory + "/epoch"));
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 1; }));
  EXPECT_TRUE(reports[0].ok) << reports[0].detail;
  EXPECT_EQ(content("in"), R"({"role":"primary"})");
  EXPECT_EQ(content("epoch"), "7");
}

TEST_F(HookDriverTest, FailureDeadlineAndAMissingProgramAreReported) {
  make(60s);
  driver->call(shell("echo broken >&2; exit 3"));
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 1; }));
  EXPECT_FALSE(reports[0].ok);
  EXPECT_EQ(reports[0].detail, "exit code 3: broken\n");
  make(100ms);
  driver->call(shell("exec sleep 1000"));
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 2; }));
  EXPECT_EQ(reports[1].detail, "killed at its deadline");
  driver->call({{{"/nonexistent/hook"}, {}, {}, {}}, "demote", "{}", {}});
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 3; }));
  EXPECT_FALSE(reports[2].ok);
}

TEST_F(HookDriverTest, OneRunsAtATimeAndOnlyTheNewestWaits) {
  make(60s);
  const std::string add = " >> " + directory + "/order; ";
  driver->call(shell("while [ ! -e " + directory + "/go ]; do sleep 0.02; done; echo 1" + add));  // until the others have been called
  loop->run_once();
  driver->call(shell("echo 2" + add));
  driver->call(shell("echo 3" + add, "demote"));
  std::ofstream(directory + "/go") << "\n";
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 2; }));
  EXPECT_EQ(content("order"), "1\n3\n");
  EXPECT_EQ(reports[1].name, "demote");
}

TEST_F(HookDriverTest, BusyUntilTheLastOneThatWaitsIsDone) {
  make(2s);
  EXPECT_FALSE(driver->busy());
  driver->call(shell("true"));
  EXPECT_TRUE(driver->busy()) << "it waits to be begun";
  loop->run_once();
  driver->call(shell("true", "demote"));
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 1; }));
  EXPECT_TRUE(driver->busy()) << "the second one waits";
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 2; }));
  EXPECT_FALSE(driver->busy());
}

TEST_F(HookDriverTest, WhatIsCutOffIsSaid) {
  make(60s);
  driver->cut_off("nothing runs");
  EXPECT_TRUE(reports.empty());
  driver->call(shell("echo $$ > " + directory + "/pid.new; mv " + directory + "/pid.new " + directory + "/pid; exec sleep 60"));
  ASSERT_TRUE(look_until(*loop, [&] { return !content("pid").empty(); }));
  driver->call(shell(": > " + directory + "/demoted", "demote"));
  driver->cut_off("the agent stops");
  EXPECT_FALSE(driver->busy());
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_FALSE(reports[0].ok || reports[1].ok);
  EXPECT_EQ(reports[0].name + ": " + reports[0].detail, "promote: cut off: the agent stops");
  EXPECT_EQ(reports[1].name + ": " + reports[1].detail, "demote: cut off before it was begun: the agent stops");
  driver->call(shell("true"));
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 3; })) << "later ones run as ever";
  EXPECT_FALSE(std::filesystem::exists(directory + "/demoted"));
}

TEST_F(HookDriverTest, AnUrlIsPosted) {
  FakeInstance instance{*loop};
  make(60s);
  auto target = parse_hook_url("http://" + instance.address.to_string() + "/ha/role?x=1");
  ASSERT_TRUE(target);
  driver->call({*target, "promote", "{\"a\":1}", {}});
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 1; }));
  EXPECT_TRUE(reports[0].ok) << reports[0].detail;
  EXPECT_EQ(instance.requests.at(0), "POST /ha/role?x=1 {\"a\":1}");
  instance.status = 503;
  driver->call({*target, "promote", "{}", {}});
  ASSERT_TRUE(run_until(*loop, [&] { return reports.size() == 2; }));
  EXPECT_FALSE(reports[1].ok);
}

TEST(HookUrl, OnlyPlainNumericHttp) {
  EXPECT_TRUE(parse_hook_url("http://127.0.0.1:80"));
  EXPECT_EQ(parse_hook_url("http://127.0.0.1:80")->path, "/");
  for (const char* bad : {"https://127.0.0.1:80/", "127.0.0.1:80", "http://name:80/", "http://127.0.0.1/"}) {
    const auto target = parse_hook_url(bad);
    ASSERT_FALSE(target) << bad;
    EXPECT_EQ(target.error().code, io::Errc::kInvalidArgument);
  }
}

}  // namespace
}  // namespace agent::drivers
