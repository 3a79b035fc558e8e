#include "agent/drivers/check_driver.h"

#include <gtest/gtest.h>

#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;

CheckSettings settings_for(const FakeInstance& instance) {
  CheckSettings settings;
  settings.address = instance.address;
  settings.host = instance.address.to_string();
  settings.every = 20ms;
  settings.timeout = 60s;  // only a hang is to run into it
  settings.rise = 2;
  settings.fall = 2;
  return settings;
}

class CheckDriverTest : public ::testing::Test {
 protected:
  void begin(const CheckSettings& settings) {
    driver.emplace(*loop, settings, [this](InstanceHealth health, const std::string&) { seen.push_back(health); });
    driver->start();
  }
  bool reaches(InstanceHealth health) {
    return run_until(*loop, [&] { return driver->health() == health; });
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  std::vector<InstanceHealth> seen;
  std::optional<CheckDriver> driver;
};

TEST_F(CheckDriverTest, AHealthyInstancePassesAfterRiseChecksOnOneConnection) {
  begin(settings_for(instance));
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
  EXPECT_EQ(seen, std::vector{InstanceHealth::kPassing}) << "no detour over critical while it proves itself";
  EXPECT_EQ(instance.connections, 1);
  EXPECT_GE(instance.requests.size(), 2u);
  EXPECT_EQ(instance.requests[0], "GET /health ");
}

TEST_F(CheckDriverTest, ACrashIsSeenBetweenChecks) {
  CheckSettings settings = settings_for(instance);
  settings.every = 3600s;
  settings.rise = 1;
  begin(settings);
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  instance.die();
  EXPECT_TRUE(reaches(InstanceHealth::kGone)) << "the next check would be an hour away";
}

TEST_F(CheckDriverTest, AClosedIdleConnectionAloneIsNoFailure) {
  CheckSettings settings = settings_for(instance);
  settings.rise = 1;
  begin(settings);
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  instance.drop_connections();
  EXPECT_TRUE(run_until(*loop, [&] { return instance.connections == 2 && !seen.empty(); }));
  EXPECT_EQ(driver->health(), InstanceHealth::kPassing);
  EXPECT_EQ(driver->failure_count(), 0u);
}

TEST_F(CheckDriverTest, AServerThatClosesWhatItSaidItWouldKeepIsNotAskedWithoutAPause) {
  CheckSettings settings = settings_for(instance);
  settings.every = 3600s;
  settings.rise = 1;
  instance.hangs_up = true;
  const io::TimePoint began = io::boottime_now();
  begin(settings);
  ASSERT_TRUE(run_until(*loop, [&] { return instance.requests.size() == 6; }));
  EXPECT_GE(io::boottime_now() - began, 10ms + 20ms + 40ms + 80ms);
  EXPECT_EQ(driver->health(), InstanceHealth::kPassing);
  EXPECT_EQ(driver->failure_count(), 0u);
  instance.die();
  EXPECT_TRUE(reaches(InstanceHealth::kGone)) << "and a real death is still found long before the next check";
}

TEST_F(CheckDriverTest, AHangIsFoundByTimeOutsInARow) {
  CheckSettings settings = settings_for(instance);
  settings.timeout = 20ms;
  begin(settings);
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  instance.answers = false;
  EXPECT_TRUE(reaches(InstanceHealth::kCritical));
  EXPECT_GE(driver->failure_count(), 2u);
  instance.answers = true;
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
}

TEST_F(CheckDriverTest, AnInstanceThatComesBackMustProveItself) {
  begin(settings_for(instance));
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  instance.die();
  ASSERT_TRUE(reaches(InstanceHealth::kGone));
  const std::size_t before = instance.requests.size();
  instance.come_back();
  EXPECT_TRUE(reaches(InstanceHealth::kPassing));
  EXPECT_GE(instance.requests.size(), before + 2);
}

TEST_F(CheckDriverTest, TroubleSeenByTrafficIsCheckedAtOnce) {
  CheckSettings settings = settings_for(instance);
  settings.every = 3600s;
  settings.rise = settings.fall = 1;
  begin(settings);
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  instance.status = 500;
  driver->check_now();
  EXPECT_TRUE(reaches(InstanceHealth::kCritical));
  EXPECT_EQ(driver->reason(), "/health answered 500");
}

TEST_F(CheckDriverTest, ABrokenConditionDegradesAndAnswersThatAreNoHttpFail) {
  CheckSettings settings = settings_for(instance);
  settings.asserts.push_back(*JsonAssert::parse("$.status=='healthy'"));
  instance.body = R"({"status":"healthy"})";
  begin(settings);
  ASSERT_TRUE(reaches(InstanceHealth::kPassing));
  instance.body = R"({"status":"sick"})";
  EXPECT_TRUE(reaches(InstanceHealth::kDegraded));
  EXPECT_EQ(driver->reason(), "$.status=='healthy' does not hold");
  instance.raw = "SSH-2.0-x\r\n\r\n";
  EXPECT_TRUE(reaches(InstanceHealth::kCritical));
}

struct JudgeRow {
  int status;
  const char* body;
  proxy::CheckResult result;
};
TEST(Judge, StatusAndBody) {
  CheckSettings settings;
  settings.asserts.push_back(*JsonAssert::parse("$.db==true"));
  settings.critical_asserts.push_back(*JsonAssert::parse("$.dead!=true"));
  const JudgeRow rows[] = {{200, R"({"db":true})", proxy::CheckResult::kOk},
                           {204, R"({"db":true})", proxy::CheckResult::kOk},
                           {200, R"({"db":false})", proxy::CheckResult::kDegraded},
                           {200, R"({"db":true,"dead":true})", proxy::CheckResult::kFailed},
                           {200, "not json", proxy::CheckResult::kFailed},
                           {200, "", proxy::CheckResult::kFailed},
                           {301, R"({"db":true})", proxy::CheckResult::kFailed},
                           {500, R"({"db":true})", proxy::CheckResult::kFailed}};
  for (const JudgeRow& row : rows) {
    EXPECT_EQ(judge(HttpAnswer{row.status, row.body}, settings).result, row.result) << row.status << " " << row.body;
  }
  EXPECT_EQ(judge(io::fail(io::Errc::kRefused, "x"), settings).result, proxy::CheckResult::kGone);
  EXPECT_EQ(judge(io::fail(io::Errc::kTimedOut, "x"), settings).result, proxy::CheckResult::kFailed);
}

TEST(HttpClient, AnswersOfEveryFraming) {
  auto loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  HttpClient client(*loop, instance.address, "h");
  const std::pair<const char*, const char*> rows[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "ab"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", ""}};
  for (const auto& [raw, body] : rows) {
    instance.raw = raw;
    std::optional<io::Result<HttpAnswer>> got;
    client.request("POST", "/x", {}, "in", in_good_time(), [&](io::Result<HttpAnswer> answer) { got = std::move(answer); });
    EXPECT_TRUE(client.busy());
    ASSERT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
    ASSERT_TRUE(*got) << got->error().detail;
    EXPECT_EQ((*got)->body, body);
  }
  EXPECT_EQ(instance.connections, 1);
  EXPECT_EQ(instance.requests.back(), "POST /x in");
}

TEST(HttpClient, ABodyAboveTheBoundAndADeadlineAreErrors) {
  auto loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  instance.body = std::string(HttpClient::kBodyBytesMax + 1, 'x');
  HttpClient client(*loop, instance.address, "h");
  std::optional<io::Result<HttpAnswer>> got;
  const auto keep = [&](io::Result<HttpAnswer> answer) { got = std::move(answer); };
  client.request("GET", "/", {}, "", in_good_time(), keep);
  ASSERT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
  EXPECT_FALSE(*got);
  got.reset();
  instance.answers = false;
  client.request("GET", "/", {}, "", io::boottime_now() + 30ms, keep);
  ASSERT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
  ASSERT_FALSE(*got);
  EXPECT_EQ(got->error().code, io::Errc::kTimedOut);
}

}  // namespace
}  // namespace agent::drivers
