#include "agent/drivers/service_checks.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>

#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;
using Kind = CheckPlan::Kind;
using State = CheckState;

class ServiceChecksTest : public ::testing::Test {
 protected:
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  std::vector<std::string> changed;
  std::optional<ServiceChecks> checks;

  ServiceChecksTest() {
    checks.emplace(*loop, CheckTls{}, [](std::uint64_t) { return std::uint64_t{0}; },
                   ServiceChecksCallbacks{[this](const std::string& id) { changed.push_back(id); },
                                          [](const std::string&, const std::string&) {}});
  }
  CheckPlan plan(Kind kind, std::string target = {}) {
    CheckPlan out;
    out.id = "c";
    out.service_id = "web";
    out.kind = kind;
    out.target = std::move(target);
    out.interval = 100ms;
    out.timeout = 2s;
    return out;
  }
  std::string url(const std::string& path) { return "http://" + instance.address.to_string() + path; }
  void run(CheckPlan what) { checks->set({{std::move(what), State::kCritical, {}}}); }
  bool reaches(State state) {
    return run_until(*loop, [&] { return checks->find("c")->runs > 0 && checks->find("c")->state == state; });
  }
  std::string output() { return checks->find("c")->output; }
};

TEST_F(ServiceChecksTest, AnHttpCheckAsksAsItIsToldAndReadsTheStatus) {
  auto what = plan(Kind::kHttp, url("/ready?deep=1"));
  what.method = "POST";
  what.body = "ping";
  instance.body = "all fine";
  run(what);
  ASSERT_TRUE(reaches(State::kPassing));
  EXPECT_EQ(instance.requests[0], "POST /ready?deep=1 ping");
  EXPECT_EQ(output(), "HTTP POST " + url("/ready?deep=1") + ": 200 OK Output: all fine");
  instance.status = 429;
  EXPECT_TRUE(reaches(State::kWarning));
  instance.status = 302;
  EXPECT_TRUE(reaches(State::kCritical));
  instance.status = 204;
  instance.body.clear();
  EXPECT_TRUE(reaches(State::kPassing));
}

TEST_F(ServiceChecksTest, ADeadServiceTurnsCriticalAndComesBack) {
  run(plan(Kind::kHttp, url("/")));
  ASSERT_TRUE(reaches(State::kPassing));
  instance.die();
  ASSERT_TRUE(reaches(State::kCritical));
  instance.come_back();
  ASSERT_TRUE(reaches(State::kPassing));
  EXPECT_EQ(changed.size(), 3u);
}

TEST_F(ServiceChecksTest, AHangingServiceIsCriticalAfterTheTimeout) {
  instance.answers = false;
  auto what = plan(Kind::kHttp, url("/"));
  what.timeout = 50ms;
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs >= 2; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
  EXPECT_LE(checks->running(), 1u) << "its run is over, whatever the other side does";
}

TEST_F(ServiceChecksTest, AnEndlessBodyIsReadToItsBeginningOnly) {
  instance.body = "begin" + std::string(2 << 20, '.');
  run(plan(Kind::kHttp, url("/")));
  ASSERT_TRUE(reaches(State::kPassing));
  EXPECT_EQ(output().size(), CheckSchedule::kOutputBytesMax);
  EXPECT_NE(output().find("Output: begin"), std::string::npos);
}

TEST_F(ServiceChecksTest, WhatIsNoHttpIsCritical) {
  instance.raw = "SSH-2.0-nonsense\r\n\r\n";
  run(plan(Kind::kHttp, url("/")));
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
  EXPECT_NE(output().find("no HTTP"), std::string::npos) << output();
}

TEST_F(ServiceChecksTest, ATcpCheckPassesWhereSomebodyListens) {
  run(plan(Kind::kTcp, instance.address.to_string()));
  ASSERT_TRUE(reaches(State::kPassing));
  EXPECT_EQ(output(), "TCP connect " + instance.address.to_string() + ": Success");
  instance.die();
  ASSERT_TRUE(reaches(State::kCritical));
}

TEST_F(ServiceChecksTest, ANameWithSeveralAddressesIsTriedAtEach) {
  // localhost is ::1 as well on most machines, where this instance does not listen.
  run(plan(Kind::kTcp, "localhost:" + std::to_string(instance.address.port())));
  EXPECT_TRUE(reaches(State::kPassing)) << output();
}

TEST_F(ServiceChecksTest, ANameThatNobodyKnowsIsCritical) {
  run(plan(Kind::kTcp, "no-such-host.invalid:80"));
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
}

TEST_F(ServiceChecksTest, AProgramSpeaksByItsExitCode) {
  auto what = plan(Kind::kProgram);
  what.args = {"/bin/sh", "-c", "echo $OUTRIGGER_CHECK_ID of $OUTRIGGER_SERVICE_ID; exit 0"};
  run(what);
  ASSERT_TRUE(reaches(State::kPassing));
  EXPECT_EQ(output(), "c of web\n");
  what.args.back() = "echo slow >&2; exit 1";
  run(what);
  ASSERT_TRUE(reaches(State::kWarning));
  EXPECT_EQ(output(), "slow\n");
  what.args.back() = "exit 2";
  run(what);
  ASSERT_TRUE(reaches(State::kCritical));
  what.args = {"/no/such/program"};
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
}

TEST_F(ServiceChecksTest, AProgramThatHangsIsKilledWithItsChildren) {
  std::string folder = ::testing::TempDir() + "outrigger-check-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string alive = folder + "/alive";
  auto what = plan(Kind::kProgram);
  what.timeout = 150ms;
  what.interval = 1h;
  // The grandchild would leave its mark a second later, long after its group has been killed.
  what.args = {"/bin/sh", "-c", "(sleep 1; echo x > " + alive + ") & wait"};
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
  EXPECT_NE(output().find("killed"), std::string::npos) << output();
  bool late = false;
  io::Timer timer(*loop, [&] { late = true; });
  timer.arm_after(io::Milliseconds(1300));
  ASSERT_TRUE(run_until(*loop, [&] { return late; }));
  EXPECT_FALSE(std::ifstream(alive).good());
}

TEST_F(ServiceChecksTest, ARemovedCheckEndsAtOnce) {
  instance.answers = false;
  run(plan(Kind::kHttp, url("/")));
  ASSERT_TRUE(run_until(*loop, [&] { return !instance.requests.empty(); }));
  checks->set({});
  EXPECT_EQ(checks->running(), 0u);
  loop->poll();
  EXPECT_TRUE(changed.empty());
}

TEST_F(ServiceChecksTest, DestructionInMidRunIsClean) {
  instance.answers = false;
  run(plan(Kind::kHttp, url("/")));
  ASSERT_TRUE(run_until(*loop, [&] { return !instance.requests.empty(); }));
  checks.reset();
}

TEST(ParseCheckUrl, SplitsWhatClientsWrite) {
  const auto url = parse_check_url("https://[::1]:8443/a/b?c=d#e");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->authority, "[::1]:8443");
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(parse_check_url("http://web")->port, 80);
  EXPECT_EQ(parse_check_url("https://web")->port, 443);
  EXPECT_EQ(parse_check_url("http://web?x=1")->target, "/?x=1");
}

TEST(ParseCheckUrl, RefusesWhatItWouldNotAskFor) {
  for (const char* text : {"", "web:80", "ftp://web/", "http://", "http:///x", "http://web:0/", "http://web:x/",
                           "http://me:secret@web/", "http://web/a b", "http://web/\r\nX: y"})
    EXPECT_FALSE(parse_check_url(text)) << text;
}

TEST(JudgeProgram, ASignalIsCritical) {
  io::ProcessExit exit;
  exit.signal_number = 11;
  EXPECT_EQ(judge_program(exit).state, State::kCritical);
  exit = {};
  exit.exit_code = 0;
  exit.deadline_passed = true;
  EXPECT_EQ(judge_program(exit).state, State::kCritical) << "it was asked to end and did not";
}

}  // namespace
}  // namespace agent::drivers
