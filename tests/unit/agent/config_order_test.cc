#include <gtest/gtest.h>

#include "agent/config.h"

namespace agent {
namespace {

TEST(ConfigOrder, IdempotencySaysWhereTheKeyOfAnOrderStands) {
  const auto route = [](const std::string& line) { return parse_config("[[route]]\npath = \"/\"\n" + line + "\n", "test.toml"); };
  const auto full = route("pool = \"primary\"\nidempotency = { key = \"json:/id~1x\", required = false, retention = \"48h\", zone = \"z\", answer_max = \"4KiB\" }");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->routes.at(0).idempotency, (IdempotencyConfig{"json:/id~1x", false, Milliseconds(172'800'000), "z", 4096}));
  EXPECT_EQ(route("pool = \"primary\"\nidempotency = {}")->routes.at(0).idempotency, IdempotencyConfig{});
  EXPECT_FALSE(route("pool = \"primary\"")->routes.at(0).idempotency);
  for (const char* bad : {"pool = \"all\"\nidempotency = {}", "pool = \"primary\"\nidempotency = { key = \"Idempotency-Key\" }",
                          "pool = \"primary\"\nidempotency = { key = \"header:a b\" }", "pool = \"primary\"\nidempotency = { key = \"json:id\" }",
                          "pool = \"primary\"\nidempotency = { key = \"json:/a~2\" }", "pool = \"primary\"\nidempotency = { key = \"query:a&b\" }",
                          "pool = \"primary\"\nidempotency = { retention = \"1s\" }", "pool = \"primary\"\nidempotency = { zone = \"a/b\" }",
                          "pool = \"primary\"\nidempotency = { answer_max = \"1MiB\" }", "pool = \"primary\"\nidempotency = { kee = \"x\" }"})
    EXPECT_FALSE(route(bad)) << bad;
}

}  // namespace
}  // namespace agent
