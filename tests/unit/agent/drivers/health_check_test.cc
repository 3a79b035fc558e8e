// Checks by connection and by program, several of one place, and when they are made.
#include "agent/drivers/health_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "agent/drivers/check_driver.h"
#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class HealthCheckTest : public ::testing::Test {
 protected:
  CheckSettings base(CheckKind kind) {
    CheckSettings settings;
    settings.kind = kind;
    settings.address = instance.address;
    settings.host = instance.address.to_string();
    settings.every = 20ms;
    settings.timeout = 60s;
    settings.rise = settings.fall = 1;
    return settings;
  }
  CheckSettings program(std::string script) {
    CheckSettings settings = base(CheckKind::kProgram);
    settings.argv = {"/bin/sh", "-c", std::move(script)};
    return settings;
  }
  void begin(std::vector<CheckSettings> checks) {
    driver.emplace(*loop, std::move(checks), [this](InstanceHealth health, const std::string& reason) {
      seen.push_back(health);
      reasons.push_back(reason);
    });
    driver->start();
  }
  bool reaches(InstanceHealth health) {
    return run_until(*loop, [&] { return driver->health() == health; });
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  std::vector<InstanceHealth> seen;
  std::vector<std::string> reasons;
  std::optional<CheckDriver> driver;
};

TEST_F(HealthCheckTest, AConnectionThatOpensIsEnoughForTcp) {
  instance.answers = false;
  begin({base(CheckKind::kTcp)});
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
  EXPECT_TRUE(instance.requests.empty());
  instance.die();
  EXPECT_TRUE(reaches(InstanceHealth::kGone));
  EXPECT_THAT(driver->reason(), HasSubstr("TCP " + instance.address.to_string()));
  instance.come_back();
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
}

TEST_F(HealthCheckTest, AProgramSaysItByItsExitCode) {
  begin({program("exit 0")});
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
  driver.reset();
  begin({program("echo 'queue is long'; exit 1")});
  EXPECT_TRUE(reaches(InstanceHealth::kDegraded));
  EXPECT_EQ(driver->reason(), "/bin/sh exited with 1: queue is long");
  driver.reset();
  begin({program("echo oops >&2; kill -9 $$")});
  EXPECT_TRUE(reaches(InstanceHealth::kCritical));
  EXPECT_THAT(driver->reason(), HasSubstr("signal 9"));
  driver.reset();
  CheckSettings missing = base(CheckKind::kProgram);
  missing.argv = {"/nonexistent/program"};
  begin({missing});
  EXPECT_TRUE(reaches(InstanceHealth::kCritical));
  EXPECT_THAT(driver->reason(), HasSubstr("/nonexistent/program"));
}

TEST_F(HealthCheckTest, AProgramGetsWhereItShouldLookAndNoShell) {
  CheckSettings settings = program("test \"$OUTRIGGER_ADDRESS\" = here && test \"$1\" = '; exit 3'");
  settings.argv.push_back("name");
  settings.argv.push_back("; exit 3");
  settings.env = {{"OUTRIGGER_ADDRESS", "here"}};
  begin({settings});
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
}

TEST_F(HealthCheckTest, AProgramThatHangsIsKilledWithItsChildren) {
  char folder[] = "/tmp/outrigger-check-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string mark = std::string(folder) + "/child";
  CheckSettings settings = program("sleep 1000 & echo $! > " + mark + "; wait");
  settings.timeout = 300ms;
  begin({settings});
  ASSERT_TRUE(reaches(InstanceHealth::kCritical));
  EXPECT_THAT(driver->reason(), HasSubstr("did not end within 300 ms"));
  // Where a shell takes longer than that to begin, a later run gets as far as its child.
  int child = 0;
  const auto begun = [&] {
    FILE* file = std::fopen(mark.c_str(), "r");
    if (file == nullptr) return false;
    char end = 0;
    const bool whole = std::fscanf(file, "%d%c", &child, &end) == 2 && end == '\n';
    std::fclose(file);
    return whole;
  };
  ASSERT_TRUE(look_until(*loop, begun));
  // A zombie until whoever adopts it looks; either way nothing runs any more.
  const auto runs = [&] {
    std::string state;
    if (FILE* stat = std::fopen(("/proc/" + std::to_string(child) + "/stat").c_str(), "r")) {
      char letter = 0;
      if (std::fscanf(stat, "%*d %*s %c", &letter) == 1) state = letter;
      std::fclose(stat);
    }
    return !state.empty() && state != "Z" && state != "X";
  };
  EXPECT_TRUE(look_until(*loop, [&] { return !runs(); }));
  std::filesystem::remove_all(folder);
}

TEST_F(HealthCheckTest, WhatAProgramSaysIsBoundedAndPlain) {
  begin({program("head -c 100000 /dev/zero | tr '\\0' x; exit 2")});
  ASSERT_TRUE(reaches(InstanceHealth::kCritical));
  EXPECT_LE(driver->reason().size(), HealthCheck::kReasonBytesMax + 64);
  driver.reset();
  begin({program("printf 'a\\033[31mb'; exit 2")});
  ASSERT_TRUE(reaches(InstanceHealth::kCritical));
  EXPECT_EQ(driver->reason(), "/bin/sh exited with 2: a [31mb");
}

TEST_F(HealthCheckTest, SoManyProgramsAtATimeAndNotOneMore) {
  auto slots = std::make_shared<ProgramSlots>();
  std::string gate = testing::TempDir() + "outrigger-gate-XXXXXX";  // they run until it is gone, however slowly they begin
  const int made = mkstemp(gate.data());
  ASSERT_GE(made, 0);
  ::close(made);
  std::vector<CheckSettings> checks(ProgramSlots::kMax + 3, program("while [ -e '" + gate + "' ]; do sleep 0.02; done"));
  for (CheckSettings& one : checks) one.every = one.timeout = 3600s;
  driver.emplace(*loop, std::move(checks), [](InstanceHealth, const std::string&) {}, slots);
  driver->start();
  std::size_t most = 0;
  EXPECT_TRUE(run_until(*loop, [&] { return slots->running == ProgramSlots::kMax; }));
  ::unlink(gate.c_str());
  EXPECT_TRUE(run_until(*loop, [&] {
    most = std::max(most, slots->running);
    return driver->health() == InstanceHealth::kPassing;
  }));
  EXPECT_EQ(most, ProgramSlots::kMax);
  EXPECT_EQ(slots->running, 0U);
  driver.emplace(*loop, std::vector<CheckSettings>{program("sleep 1000")}, [](InstanceHealth, const std::string&) {}, slots);
  driver->start();
  EXPECT_TRUE(run_until(*loop, [&] { return slots->running == 1; }));
  driver.reset();
  EXPECT_EQ(slots->running, 0U) << "one that is killed gives its place back";
}

TEST_F(HealthCheckTest, TheWorstOfSeveralCounts) {
  CheckSettings http = base(CheckKind::kHttp), strict = base(CheckKind::kHttp);
  strict.path = "/deep";
  strict.asserts.push_back(*JsonAssert::parse("$.database_connected==true"));
  instance.body = R"({"database_connected":true})";
  begin({http, strict, base(CheckKind::kTcp)});
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  EXPECT_EQ(seen, std::vector{InstanceHealth::kPassing}) << "unknown until all have said something";
  instance.body = R"({"database_connected":false})";
  EXPECT_TRUE(reaches(InstanceHealth::kDegraded));
  EXPECT_EQ(reasons.back(), "$.database_connected==true does not hold");
  instance.status = 503;
  EXPECT_TRUE(reaches(InstanceHealth::kCritical));
  instance.status = 200;
  instance.body = R"({"database_connected":true})";
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
  const io::TimePoint well = driver->well_at();
  EXPECT_TRUE(run_until(*loop, [&] { return driver->well_at() > well; }));
  instance.die();
  EXPECT_TRUE(reaches(InstanceHealth::kGone));
}

TEST_F(HealthCheckTest, OnlyExpectedStatusesAreGoodAndRedirectsAreNot) {
  CheckSettings settings = base(CheckKind::kHttp);
  settings.expect = {{204, 204}, {401, 403}};
  const std::pair<int, bool> rows[] = {{200, false}, {204, true}, {301, false}, {302, false}, {400, false}, {401, true}, {403, true}, {404, false}};
  for (const auto& [status, good] : rows) {
    EXPECT_EQ(judge(HttpAnswer{status, ""}, settings).result == proxy::CheckResult::kOk, good) << status;
  }
}

TEST_F(HealthCheckTest, RunsAreATenthEarlyOrLateButNotWhenSomethingIsWrong) {
  CheckSettings settings = base(CheckKind::kHttp);
  settings.every = 100ms;
  std::vector<std::uint64_t> bounds;
  settings.chance = [&](std::uint64_t bound) {
    bounds.push_back(bound);
    return std::uint64_t{0};
  };
  begin({settings});
  EXPECT_TRUE(run_until(*loop, [&] { return bounds.size() == 2; }));
  EXPECT_EQ(bounds[0], 21U) << "from a tenth less to a tenth more";
  instance.status = 500;
  settings.fall = 1000;
  bounds.clear();
  driver.reset();
  begin({settings});
  EXPECT_TRUE(run_until(*loop, [&] { return driver->failure_count() >= 2; }));
}

TEST_F(HealthCheckTest, TroubleIsLookedIntoByEveryCheck) {
  CheckSettings http = base(CheckKind::kHttp), tcp = base(CheckKind::kTcp);
  http.every = tcp.every = 3600s;
  begin({http, tcp});
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  const std::uint64_t before = driver->check_count();
  driver->check_now();
  EXPECT_TRUE(run_until(*loop, [&] { return driver->check_count() == before + 2; }));
}

}  // namespace
}  // namespace agent::drivers
