#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/cli/incident_svg.h"
#include "agent/cli/listener_pids.h"
#include "tests/unit/agent/cli/fixture.h"

namespace agent::cli {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kIncident =
    R"({"from":"n1","to":"n2","from_epoch":3,"epoch":4,"began_ms":1700000000123,"total_ms":1682,"over":true,"phases":[)"
    R"({"name":"detect","happened":true,"at_ms":0,"took_ms":0,"node":"n3","text":"gossip_suspect n1"},)"
    R"({"name":"fence","happened":true,"at_ms":1680,"took_ms":1680,"node":"n2","text":"no <word> & no lease"},)"
    R"({"name":"elect","happened":true,"at_ms":1680,"took_ms":0,"node":"n2","text":"granted"},)"
    R"({"name":"reconcile","happened":false,"at_ms":1680,"took_ms":0,"node":null,"text":"nothing was reconciled"},)"
    R"({"name":"arm","happened":true,"at_ms":1682,"took_ms":2,"node":"n2","text":"takes orders"}],)"
    R"("events":[{"at_ms":1700000000123,"count":0,"node":"n3","what":"gossip_suspect","epoch":null,"about":"n1","text":""}]})";

class IncidentTest : public CliTest {};

TEST_F(IncidentTest, AsText) {
  fake.answer(200, kIncident);
  const auto done = ask({"incident", "last"});
  EXPECT_EQ(done.code, kExitOk) << done.err;
  EXPECT_EQ(asked(), "GET /outrigger/v1/incident/last");
  EXPECT_THAT(done.out, HasSubstr("primary n1 -> n2, epoch 3 -> 4, 2023-11-14 22:13:20.123 UTC: 1,682 ms"));
  EXPECT_THAT(done.out, HasSubstr("reconcile  -         -         -         nothing was reconciled"));
}

TEST_F(IncidentTest, AsJsonAndAsAPicture) {
  const std::string file = testing::TempDir() + "incident-" + std::to_string(getpid()) + ".svg";
  fake.answer(200, kIncident);
  const auto done = ask({"incident", "last", "-o", "json", "--svg", file});
  EXPECT_EQ(done.code, kExitOk) << done.err;
  EXPECT_EQ(Json::parse(done.out), Json::parse(kIncident));
  std::ifstream written(file);
  const std::string picture((std::istreambuf_iterator<char>(written)), std::istreambuf_iterator<char>());
  EXPECT_TRUE(picture.starts_with("<svg "));
  EXPECT_EQ(picture, incident_svg(Json::parse(kIncident)));
  std::filesystem::remove(file);
  fake.answer(200, kIncident);
  EXPECT_TRUE(ask({"incident", "last", "--svg", "-"}).out.starts_with("<svg "));
  fake.answer(200, kIncident);
  EXPECT_EQ(ask({"incident", "last", "--svg", "/no/such/folder/x.svg"}).code, kExitFailed);
}

TEST_F(IncidentTest, NothingHasHappened) {
  fake.answer(404, R"({"code":"not_found","message":"no primary has followed another"})");
  const auto done = ask({"incident", "last"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("no primary has followed another"));
}

TEST(IncidentSvg, EscapesTextsAndLeavesOutWhatIsNotThere) {
  const std::string picture = incident_svg(Json::parse(kIncident));
  EXPECT_THAT(picture, HasSubstr("no &lt;word&gt; &amp; no lease"));
  EXPECT_THAT(picture, Not(HasSubstr("<word>")));
  for (const char* text : {"null", "{}", "[]", R"({"phases":[1,null,{}],"events":[7,{}],"total_ms":-5})", R"({"total_ms":9223372036854775807,"phases":[{"happened":true,"at_ms":9223372036854775807,"took_ms":-1}]})"}) {
    const std::string odd = incident_svg(Json::parse(text));
    EXPECT_TRUE(odd.starts_with("<svg ") && odd.ends_with("</svg>\n")) << text;
  }
}

TEST(IncidentSvg, NumbersForPeople) {
  EXPECT_EQ(milliseconds_text(Json(0)), "0 ms");
  EXPECT_EQ(milliseconds_text(Json(-1234567)), "-1,234,567 ms");
  EXPECT_EQ(milliseconds_text(Json(999)), "999 ms");
  EXPECT_EQ(milliseconds_text(Json()), "-");
  EXPECT_EQ(moment_text(Json(0)), "1970-01-01 00:00:00.000");
  EXPECT_EQ(moment_text(Json("x")), "-");
}

TEST(ListenerPids, FindsThisProcess) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  void* raw = &address;
  ASSERT_EQ(bind(fd, static_cast<sockaddr*>(raw), size), 0);
  getsockname(fd, static_cast<sockaddr*>(raw), &size);
  const std::string text = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  EXPECT_TRUE(listener_pids(text).empty()) << "bound, but it does not listen";
  ASSERT_EQ(listen(fd, 1), 0);
  EXPECT_THAT(listener_pids(text), Contains(getpid()));
  EXPECT_FALSE(command_of(getpid()).empty());
  close(fd);
  EXPECT_TRUE(listener_pids("127.0.0.1:0").empty());
  EXPECT_TRUE(listener_pids("unix:/x").empty());
}

class DrillTest : public CliTest {
 protected:
  void role(const std::string& role, const std::string& holder) {
    fake.answer(200, R"({"service":"trader","role":")" + role + R"(","epoch":3,"holder":")" + holder + R"(","self":"n1"})");
  }
};

TEST_F(DrillTest, OnlyAtThePrimary) {
  role("standby", "n2");
  const auto done = ask({"drill", "kill-primary", "--yes"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("n1 is not the primary, n2 is"));
}

TEST_F(DrillTest, NothingWithoutYes) {
  role("primary", "n1");
  const auto done = ask({"drill", "kill-primary", "--how", "step-down"});
  EXPECT_EQ(done.code, kExitUsage);
  EXPECT_THAT(done.err, HasSubstr("Nothing was done"));
  EXPECT_EQ(fake.requests().size(), 1U);
}

TEST_F(DrillTest, StepsDownAndWaitsForTheNext) {
  role("primary", "n1");
  fake.answer(200, "{}");
  fake.answer(404, R"({"code":"not_found"})");
  std::string early = kIncident;
  fake.answer(200, early.replace(early.find("\"over\":true"), 11, "\"over\":false"));
  fake.answer(200, kIncident);
  const auto done = ask({"drill", "kill-primary", "--how", "step-down", "--yes"});
  EXPECT_EQ(done.code, kExitOk) << done.err;
  EXPECT_EQ(fake.requests()[1], "PUT /outrigger/v1/switchover");
  EXPECT_THAT(done.out, HasSubstr("1,682 ms"));
}

TEST_F(DrillTest, AnOldStoryIsNotThisOne) {
  role("primary", "n1");
  fake.answer(200, "{}");
  std::string old = kIncident;
  old.replace(old.find("\"epoch\":4"), 9, "\"epoch\":3");
  for (int i = 0; i < 40; ++i) fake.answer(200, old);
  EXPECT_EQ(ask({"drill", "kill-primary", "--how", "step-down", "--yes", "--wait-ms", "200"}).code, kExitFailed);
}

TEST_F(DrillTest, NoProcessToKill) {
  role("primary", "n1");
  fake.answer(200, R"({"upstreams":[{"endpoints":[{"name":"n1","is_local":true,"address":"127.0.0.1:1"}]}]})");
  const auto done = ask({"drill", "kill-primary", "--yes"});
  EXPECT_EQ(done.code, kExitFailed);
  EXPECT_THAT(done.err, HasSubstr("no process of yours listens on 127.0.0.1:1"));
}

}  // namespace
}  // namespace agent::cli
