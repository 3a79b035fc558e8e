// What is wrong with settings is told to everybody who reaches the API, of files that only the agent's user may read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config_load.h"
#include "agent/config_plan.h"
#include "agent/route_content.h"

namespace agent {
namespace {

using testing::HasSubstr;
using testing::Not;

/// All that is wrong with the text, as a plan would tell it.
std::string problems(const std::string& toml) {
  ConfigSource source;
  source.check_header = check_header;
  const SettingsTexts texts{{"/f.toml", toml}};
  std::string out;
  if (const auto read = read_settings(source, &texts); !read)
    for (const ConfigProblem& problem : read.error()) out += problem.text() + "\n";
  return out;
}

TEST(ConfigSecrets, LinesThatAreWrongAreNotRepeated) {
  const std::string route = "[[route]]\npath = \"/\"\npool = \"all\"\n", service = "[service]\naddress = \"127.0.0.1:9001\"\n",
                    egress = service + "[[egress]]\nname = \"b\"\nlisten = \"127.0.0.1:9100\"\n", trace = "[tracing]\nenabled = true\n";
  for (const std::string& text : {
           route + "request_headers = { set = [\"Authorization Bearer geheim\"] }\n",
           route + "request_headers = { set = [\"Authorization Bearer geheim: x\"] }\n",
           route + "request_headers = { set = [\"geheim\", \"geheim\"], del = [\"X geheim\"] }\n",
           route + "request_headers = { set = [\"Authorization Bearer geheim\", \"Authorization Bearer geheim\"], del = [\"Authorization Bearer geheim\"] }\n",
           route + "response_headers = { add = [\"Set-Cookie=geheim\\tgeheim\"] }\n",
           route + "request_headers = { del = [\"X-Token: geheim\"] }\n",
           route + "request_headers = { set = [\"X-Token: a{geheim}b\"] }\n",
           route + "request_headers = { set = [\"X-Token: a{geheim\"] }\n",
           route + "auth = { tokens = [\"geheim\"], users = [\"a:geheim\"] }\n",
           egress + "url = \"http://127.0.0.1:1\"\ninject = [\"Bearer geheim:: kv:x\", \"Bearer geheim:: kv:x\"]\n",
           egress + "url = \"http://127.0.0.1:1\"\ninject = [\"Authorization: Bearer geheim\"]\n",
           egress + "url = \"http://u:geheim@127.0.0.1:1/?geheim\"\n",
           trace + "endpoint = \"http://u:geheim@127.0.0.1:4318/v1/traces\"\n",
           trace + "endpoint = \"127.0.0.1:4318/v1/traces?key=geheim\"\n",
           trace + "endpoint = \"http://127.0.0.1:4318/x\"\nheaders = [\"Authorization Bearer geheim\", \"Host: geheim\", \"X: geheim\\u0001\"]\n",
           service + "hooks = { promote = { url = \"https://u:gehe/im?geheim@127.0.0.1/\" } }\n",
           service + "health = { path = \"health?token=geheim\" }\nmetrics = \"metrics?token=geheim\"\ncheck = [{ http = \"?token=geheim\" }]\n",
           std::string("[mesh]\ngossip_key = \"geheim\"\n"),
       }) {
    const std::string told = problems(text);
    EXPECT_NE(told, "") << text;
    EXPECT_THAT(told, Not(HasSubstr("geheim"))) << text;
    EXPECT_THAT(told, Not(HasSubstr("gehe"))) << text;
  }
  EXPECT_THAT(problems(route + "request_headers = { set = [\"X-Token abc\"] }\n"), HasSubstr("the line that begins with \"X-Token\" has no colon"));
}

TEST(ConfigSecrets, UrlsAreShownWithoutUserAndQuery) {
  EXPECT_EQ(plan_shown("arming.reconcile.url", "\"http://u:geheim@127.0.0.1:1/x\""), "\"http://(hidden)@127.0.0.1:1/x\"");
  EXPECT_EQ(plan_shown("service.hooks.promote.url", "\"http://127.0.0.1/x?k=geheim\""), "\"http://127.0.0.1/x?(hidden)\"");
  EXPECT_EQ(plan_shown("service.hooks.demote.url", "\"http://u:ge?heim@127.0.0.1/x\""), "\"http://(hidden)?(hidden)\"");
  EXPECT_EQ(plan_shown("tracing.endpoint", "\"https://c.example/v1?k=geheim\""), "\"https://c.example/v1?(hidden)\"");
  EXPECT_EQ(plan_shown("upstream[0].check[1].http", "\"/health?token=geheim\""), "\"/health?(hidden)\"");
  EXPECT_EQ(plan_shown("service.health.path", "\"/health?token=geheim\""), "\"/health?(hidden)\"");
  EXPECT_EQ(plan_shown("service.metrics", "\"/metrics?token=geheim\""), "\"/metrics?(hidden)\"");
  EXPECT_EQ(plan_shown("egress[0].url", "\"https://api.example/v2\""), "\"https://api.example/v2\"");
  EXPECT_EQ(plan_shown("route[0].path", "\"/orders\""), "\"/orders\"");
}

TEST(ConfigSecrets, OfProgramsTheNameIsShown) {
  EXPECT_EQ(plan_shown("service.check[0].exec", "[\"/bin/check\"]"), "[\"/bin/check\"]");
  EXPECT_EQ(plan_shown("service.check[0].exec", "[\"/bin/check\", \"geheim\"]"), "[\"/bin/check\", (arguments hidden)]");
  EXPECT_EQ(plan_shown("service.hooks.promote.exec", "[\"/bin/sh -c geheim\"]"), "[\"/bin/sh\", (arguments hidden)]");
  EXPECT_EQ(plan_shown("kernel_permit.exec", "[\"/bin/sh -c geheim\", \"x\"]"), "[\"/bin/sh\", (arguments hidden)]");
}

}  // namespace
}  // namespace agent
