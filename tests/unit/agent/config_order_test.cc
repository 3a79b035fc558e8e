#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "agent/config.h"
#include "agent/config_reload.h"
#include "agent/parts.h"
#include "agent/route_content.h"
#include "tests/unit/agent/read_config.h"

namespace agent {
namespace {

using ::testing::HasSubstr;

TEST(ConfigOrder, IdempotencySaysWhereTheKeyOfAnOrderStands) {
  const auto route = [](const std::string& line) { return parse_config("[[route]]\npath = \"/\"\n" + line + "\n", "test.toml"); };
  const auto full = route("pool = \"primary\"\nidempotency = { key = \"json:/id~1x\", required = false, retention = \"48h\", zone = \"z\", answer_max = \"4KiB\", "
                          "account_header = \"X-Desk\", unknown_statuses = [\"503\"] }");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->routes.at(0).idempotency, (IdempotencyConfig{"json:/id~1x", false, Milliseconds(172'800'000), "z", 4096, "X-Desk", {503}}));
  EXPECT_EQ(IdempotencyConfig{}.unknown_statuses, (std::vector<int>{500, 502, 504}));
  EXPECT_TRUE(route("pool = \"primary\"\nidempotency = { unknown_statuses = [] }")->routes.at(0).idempotency->unknown_statuses.empty());
  EXPECT_EQ(route("pool = \"primary\"\nidempotency = {}")->routes.at(0).idempotency, IdempotencyConfig{});
  EXPECT_EQ(route("pool = \"primary\"\nname = \"a\"\nidempotency = {}")->routes.at(0).idempotency->zone, "orders") << "whatever a route is called";
  EXPECT_FALSE(route("pool = \"primary\"")->routes.at(0).idempotency);
  for (const char* bad : {"pool = \"all\"\nidempotency = {}", "pool = \"primary\"\nidempotency = { key = \"Idempotency-Key\" }",
                          "pool = \"primary\"\nidempotency = { key = \"header:a b\" }", "pool = \"primary\"\nidempotency = { key = \"json:id\" }",
                          "pool = \"primary\"\nidempotency = { key = \"json:/a~2\" }", "pool = \"primary\"\nidempotency = { key = \"query:a&b\" }",
                          "pool = \"primary\"\nidempotency = { retention = \"1s\" }", "pool = \"primary\"\nidempotency = { zone = \"a/b\" }",
                          "pool = \"primary\"\nidempotency = { answer_max = \"1MiB\" }", "pool = \"primary\"\nidempotency = { account_header = \"a b\" }",
                          "pool = \"primary\"\nidempotency = { zone = \"\" }", "pool = \"primary\"\nidempotency = { kee = \"x\" }",
                          "pool = \"primary\"\nidempotency = { unknown_statuses = [\"200\"] }", "pool = \"primary\"\nidempotency = { unknown_statuses = [\"5xx\"] }"})
    EXPECT_FALSE(route(bad)) << bad;
}

TEST(ConfigOrder, WhoseOrderItIsIsSaidByTheHeaderThatHaltsGoBy) {
  const auto rule = [](const std::string& more, const std::string& options) {
    const auto table = route_table(good("[service]\nname = \"trader\"\naddress = \"127.0.0.1:9000\"\n" + more + "[[route]]\npath = \"/\"\npool = \"primary\"\nname = \"r\"\n" +
                                        "idempotency = { " + options + " }\n"), nullptr, {});
    EXPECT_TRUE(table) << table.error().detail;
    return table ? *(*table)->routes().at(0).order : proxy::OrderRule{};
  };
  EXPECT_EQ(rule("", "").account_field, "X-Account");
  EXPECT_EQ(rule("[halt]\naccount_header = \"X-Desk\"\n", "").account_field, "X-Desk");
  EXPECT_EQ(rule("[halt]\naccount_header = \"X-Desk\"\n", "account_header = \"X-Api-Key\"").account_field, "X-Api-Key");
  EXPECT_EQ(rule("", "").zone, "orders");
  EXPECT_EQ(rule("", "zone = \"z\"").zone, "z");
}

TEST(ConfigOrder, ANewHeaderForAccountsIsForRoutesWithKeysToo) {
  const auto takes_routes = [](const std::string& route) {
    const std::string text = "[service]\naddress = \"127.0.0.1:9000\"\n[[route]]\npath = \"/\"\npool = \"primary\"\n" + route;
    return ConfigDifference(good(text), good(text + "[halt]\naccount_header = \"X-Desk\"\n")).has(ConfigPart::kRoute);
  };
  EXPECT_TRUE(takes_routes("idempotency = {}\n"));
  EXPECT_FALSE(takes_routes(""));
}

// A field that agents write anew is another key at each hop: the order would be sent once per try.
TEST(ConfigOrder, KeysStandWhereNoAgentTouchesThem) {
  const auto faults = [](const std::string& text) {
    std::string folder = (std::filesystem::temp_directory_path() / "outrigger-config-XXXXXX").string();
    ConfigSource source;
    source.file = std::filesystem::path(mkdtemp(folder.data())) / "a.toml";
    source.check_header = check_header;
    std::ofstream(*source.file) << text;
    const auto config = load_config(source);
    std::filesystem::remove_all(folder);
    std::string out;
    if (!config)
      for (const ConfigProblem& problem : config.error()) out += problem.text() + "\n";
    return out;
  };
  const auto keyed = [&](const std::string& name, const std::string& more = {}) {
    return faults("[[route]]\npath = \"/\"\npool = \"primary\"\nidempotency = { key = \"header:" + name + "\" }\n" + more);
  };
  for (const char* name : {"X-Request-Id", "x_request_id", "X-Forwarded-For", "X-Real-IP", "X-Outrigger-Key", "Connection", "Host", "Content-Length",
                           "Via", "traceparent", "Tracestate"})
    EXPECT_THAT(keyed(name), HasSubstr("idempotency.key")) << name;
  for (const char* name : {"Idempotency-Key", "X-Client-Order-Id"}) EXPECT_EQ(keyed(name), "") << name;
  for (const char* rule : {"set = [\"x-key: a\"]", "add = [\"X_Key: a\"]", "del = [\"X-Key\"]"})
    EXPECT_THAT(keyed("X-Key", std::string("request_headers = { ") + rule + " }\n"), HasSubstr("request_headers")) << rule;
  EXPECT_EQ(keyed("X-Key", "response_headers = { set = [\"X-Key: a\"] }\n"), "") << "the other way";
  EXPECT_THAT(keyed("X-Order-Name", "[proxy.request_id]\nfield = \"x-order-name\"\n"), HasSubstr("route[0]"));
}

}  // namespace
}  // namespace agent
