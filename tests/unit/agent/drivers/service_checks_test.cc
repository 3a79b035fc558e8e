#include "agent/drivers/service_checks.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/io/tls_fixture.h"

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

  explicit ServiceChecksTest(const CheckTls& tls = {}) {
    checks.emplace(*loop, tls, [](std::uint64_t) { return std::uint64_t{0}; },
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
    out.timeout = 60s;
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
  instance.status = 302;  // to nowhere: there is no Location
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
  auto what = plan(Kind::kTcp, "no-such-host.invalid:80");
  what.timeout = 2s;  // some networks swallow the question
  run(what);
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
  const std::string pipe = folder + "/held";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  // The grandchild holds the pipe as long as it lives. Where a shell takes long to begin, a later run gets as far as that.
  auto what = plan(Kind::kProgram);
  what.timeout = 150ms;
  what.args = {"/bin/sh", "-c", "(echo; exec sleep 1000) > " + pipe + " & wait"};
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
  EXPECT_NE(output().find("killed"), std::string::npos) << output();
  char byte = 0;
  bool begun = false, alone = false;
  ASSERT_TRUE(look_until(*loop, [&] { return begun = begun || ::read(reader, &byte, 1) == 1; })) << "a grandchild has begun";
  EXPECT_TRUE(look_until(*loop, [&] { return alone = alone || ::read(reader, &byte, 1) == 0; })) << "and has gone with its run";
  ::close(reader);
  std::filesystem::remove_all(folder);
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

// ---------------------------------------------------------------- redirects

std::string to(int status, const std::string& location, const std::string& body = {}) {
  std::string out;
  proxy::http1::append_response(out, status, std::vector<proxy::http1::TextHeader>{{"Location", location}}, body);
  return out;
}
std::string fine() {
  std::string out;
  proxy::http1::append_response(out, 200, {}, "fine");
  return out;
}

TEST_F(ServiceChecksTest, RedirectsAreFollowedAndTheLastAnswerCounts) {
  instance.answer = [&](std::string_view target) {
    if (target == "/a/old?x=1") return to(302, "new");
    if (target == "/a/new") return to(307, "http://localhost:" + std::to_string(instance.address.port()) + "/b c");
    return fine();
  };
  auto what = plan(Kind::kHttp, url("/a/old?x=1"));
  what.method = "POST";
  what.body = "ping";
  what.interval = 1h;
  run(what);
  ASSERT_TRUE(reaches(State::kPassing)) << output();
  EXPECT_EQ(instance.requests, (std::vector<std::string>{"POST /a/old?x=1 ping", "GET /a/new ", "GET /b%20c "}));
  EXPECT_EQ(output(), "HTTP POST " + url("/a/old?x=1") + ": 200 OK Output: fine");
  EXPECT_EQ(checks->counters().redirects, 2u);
}

TEST_F(ServiceChecksTest, ALoopEndsAfterTenRequestsWithAClearWord) {
  instance.answer = [](std::string_view) { return to(301, "/again"); };
  auto what = plan(Kind::kHttp, url("/"));
  what.interval = 1h;
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
  EXPECT_EQ(instance.requests.size(), ServiceChecks::kRequestsMax);
  EXPECT_NE(output().find("stopped after 10 redirects; the last one leads to \"/again\""), std::string::npos) << output();
  EXPECT_EQ(checks->counters().redirect_loops, 1u);
}

TEST_F(ServiceChecksTest, ALoopOfSlowAnswersEndsAtTheTimeoutOfTheWholeRun) {
  instance.answers = false;
  int asked = 0;
  auto what = plan(Kind::kHttp, url("/"));
  what.timeout = 100ms;
  what.interval = 1h;
  instance.answer = [&](std::string_view) {
    instance.answers = ++asked < 3;  // the third request hangs
    return to(302, "/");
  };
  instance.answers = true;
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
  EXPECT_EQ(checks->running(), 0u);
}

TEST_F(ServiceChecksTest, ARedirectToAnotherSchemeOrToNobodyIsCriticalAndSaysWhere) {
  instance.answer = [](std::string_view) { return to(302, "ftp://elsewhere/x"); };
  auto what = plan(Kind::kHttp, url("/"));
  what.interval = 1h;
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_NE(output().find("not followed: URL \"ftp://elsewhere/x\""), std::string::npos) << output();
  EXPECT_EQ(checks->counters().redirects_refused, 1u);
  instance.answer = [](std::string_view) { return to(302, "http://no-such-host.invalid/x"); };
  what.body = "another plan";
  what.timeout = 2s;
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(checks->find("c")->state, State::kCritical);
}

TEST_F(ServiceChecksTest, TheBodyOfARedirectIsNotWaitedFor) {
  instance.answer = [](std::string_view target) {
    return target == "/" ? std::string("HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 1000000000\r\n\r\nabc") : fine();
  };
  run(plan(Kind::kHttp, url("/")));
  EXPECT_TRUE(reaches(State::kPassing)) << output();
}

TEST_F(ServiceChecksTest, ACheckMayAskForTheRedirectItself) {
  instance.answer = [](std::string_view) { return to(302, "/elsewhere", "moved"); };
  auto what = plan(Kind::kHttp, url("/"));
  what.disable_redirects = true;
  what.interval = 1h;
  run(what);
  ASSERT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
  EXPECT_EQ(output(), "HTTP GET " + url("/") + ": 302 Output: moved");
  EXPECT_EQ(instance.requests.size(), 1u);
}

TEST_F(ServiceChecksTest, ABodyThatBreaksOffDoesNotChangeWhatTheStatusSays) {
  instance.raw = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf";
  auto what = plan(Kind::kHttp, url("/"));
  what.timeout = 100ms;
  run(what);
  ASSERT_TRUE(reaches(State::kPassing)) << output();
  EXPECT_NE(output().find("Output: half"), std::string::npos);
}

// ---------------------------------------------------------------- TLS

class TlsServiceChecksTest : public ServiceChecksTest {
 protected:
  TlsServiceChecksTest() : ServiceChecksTest(CheckTls{io::tls_files().path("ca.pem")}) { serve("server"); }

  void serve(const std::string& file, std::int64_t at_days = 0) {
    io::TlsOptions options = io::tls_files().options(io::TlsRole::kServer, file);
    options.verify = io::TlsVerify::kNone;
    options.ca_file.clear();
    instance.tls = io::TlsFixture::load(options, at_days);
  }
  std::string secure(const std::string& host = "127.0.0.1") { return "https://" + host + ":" + std::to_string(instance.address.port()) + "/"; }
  /// Runs once. @return the state
  State once(CheckPlan what) {
    what.interval = 1h;
    what.service_id = "run " + std::to_string(++count_);  // another plan: run at once
    run(what);
    EXPECT_TRUE(run_until(*loop, [&] { return checks->find("c")->runs > 0; }));
    return checks->find("c")->state;
  }

 private:
  int count_ = 0;
};

TEST_F(TlsServiceChecksTest, ATrustedCertificateWithTheRightNamePasses) {
  EXPECT_EQ(once(plan(Kind::kHttp, secure())), State::kPassing) << output() << ": by address";
  auto what = plan(Kind::kHttp, secure());
  what.tls_server_name = "node-a.example";
  EXPECT_EQ(once(what), State::kPassing) << output();
  EXPECT_EQ(checks->counters().certificates_refused, 0u);
}

TEST_F(TlsServiceChecksTest, AnotherNameIsRefusedAndTheOutputSaysWhatToDo) {
  EXPECT_EQ(once(plan(Kind::kHttp, secure("localhost"))), State::kCritical);
  for (const char* word : {"certificate", "\"localhost\"", "TLSServerName", "TLSSkipVerify"})
    EXPECT_NE(output().find(word), std::string::npos) << output();
  auto what = plan(Kind::kHttp, secure());
  for (const char* name : {"node-z.example", "127.0.0.2"}) {
    what.tls_server_name = name;
    EXPECT_EQ(once(what), State::kCritical) << name;
  }
  EXPECT_EQ(checks->counters().certificates_refused, 3u);
  what.tls_server_name.clear();
  what.tls_skip_verify = true;
  EXPECT_EQ(once(what), State::kPassing) << output();
}

TEST_F(TlsServiceChecksTest, AnEndedOrForeignCertificateIsRefusedUnlessTheCheckDoesNotLook) {
  io::TlsFixture& files = io::tls_files();
  if (!io::read_file(files.path("check-ended.pem"), 1U << 20)) {
    const io::PemPair foreign = files.make_ca("check-foreign-ca", "another ca");
    files.issue("check-foreign", "node-a", &foreign);
    files.issue("check-ended", "node-a", nullptr, -10, -5);
  }
  for (const char* file : {"check-foreign", "check-ended"}) {
    serve(file, std::string(file) == "check-ended" ? -7 : 0);
    auto what = plan(Kind::kHttp, secure());
    EXPECT_EQ(once(what), State::kCritical) << file;
    what.tls_skip_verify = true;
    EXPECT_EQ(once(what), State::kPassing) << file << " " << output();
  }
  EXPECT_EQ(checks->counters().certificates_refused, 2u);
}

TEST_F(TlsServiceChecksTest, WhoSpeaksNoTlsIsCritical) {
  instance.tls.reset();
  instance.raw = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  auto what = plan(Kind::kHttp, secure());
  what.timeout = 300ms;  // the server waits for the end of a request that is none
  EXPECT_EQ(once(what), State::kCritical) << output();
}

TEST_F(TlsServiceChecksTest, AMissingListOfAuthoritiesIsSaid) {
  checks.emplace(*loop, CheckTls{"/no/such/file"}, [](std::uint64_t) { return std::uint64_t{0}; },
                 ServiceChecksCallbacks{[](const std::string&) {}, [](const std::string&, const std::string&) {}});
  EXPECT_EQ(once(plan(Kind::kHttp, secure())), State::kCritical);
  EXPECT_NE(output().find("/no/such/file"), std::string::npos) << output();
  EXPECT_EQ(checks->counters().tls_failed, 1u);
}

TEST_F(TlsServiceChecksTest, ARedirectMayLeadFromHttpsToHttp) {
  FakeInstance plain(*loop);
  instance.answer = [&](std::string_view) { return to(302, "http://" + plain.address.to_string() + "/plain"); };
  EXPECT_EQ(once(plan(Kind::kHttp, secure())), State::kPassing) << output();
  EXPECT_EQ(plain.requests, std::vector<std::string>{"GET /plain "});
  // And to https again, whose certificate is looked at as if the check had named it.
  plain.answer = [&](std::string_view) { return to(302, secure("localhost")); };
  EXPECT_EQ(once(plan(Kind::kHttp, "http://" + plain.address.to_string() + "/")), State::kCritical);
  EXPECT_NE(output().find("redirected to " + secure("localhost")), std::string::npos) << output();
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
