#include "agent/drivers/json_assert.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace agent::drivers {
namespace {

struct Row {
  const char* condition;
  const char* document;
  bool holds;
};

class JsonAssertHolds : public ::testing::TestWithParam<Row> {};

TEST_P(JsonAssertHolds, Row) {
  const auto parsed = JsonAssert::parse(GetParam().condition);
  ASSERT_TRUE(parsed) << parsed.error().detail;
  EXPECT_EQ(parsed->holds(nlohmann::json::parse(GetParam().document)), GetParam().holds)
      << GetParam().condition << " on " << GetParam().document;
}

INSTANTIATE_TEST_SUITE_P(
    Table, JsonAssertHolds,
    ::testing::Values(
        Row{"$.status=='healthy'", R"({"status":"healthy"})", true},
        Row{"$.status == \"healthy\"", R"({"status":"sick"})", false},
        Row{"$.status=='healthy'", R"({})", false}, Row{"$.status!='sick'", R"({})", true},
        Row{"$.status!='sick'", R"({"status":"sick"})", false},
        Row{"$.database_connected==true", R"({"database_connected":true})", true},
        Row{"$.database_connected==true", R"({"database_connected":"true"})", false},
        Row{"$.database_connected==true", R"({"database_connected":1})", false},
        Row{"$.database_connected!=false", R"({"database_connected":1})", true},
        Row{"$.lag < 2.5", R"({"lag":2})", true}, Row{"$.lag < 2.5", R"({"lag":2.5})", false},
        Row{"$.lag <= 2.5", R"({"lag":2.5})", true}, Row{"$.lag >= -1", R"({"lag":-1})", true},
        Row{"$.lag > 1", R"({"lag":"2"})", false}, Row{"$.lag > 1e3", R"({"lag":1001})", true},
        Row{"$.q[1].depth<100", R"({"q":[{"depth":500},{"depth":5}]})", true},
        Row{"$.q[2].depth<100", R"({"q":[{"depth":5}]})", false},
        Row{"$['odd name']==null", R"({"odd name":null})", true}, Row{"$['odd name']==null", R"({})", false},
        Row{"$.ready", R"({"ready":true})", true}, Row{"$.ready", R"({"ready":false})", false},
        Row{"$.ready", R"({"ready":null})", false}, Row{"$.ready", R"({"ready":0})", true}, Row{"$.ready", R"({})", false},
        Row{"$.name<'b'", R"({"name":"a"})", true}, Row{"$ != 1", R"([])", true}, Row{"$ == 1", "1", true}));

TEST(JsonAssert, EveryErrorNamesTheColumnAndWhatWasExpected) {
  const std::pair<const char*, const char*> rows[] = {
      {"status=='x'", "column 1: expected a path"}, {"$.", "column 3: expected .name"},
      {"$.a=='x", "column 6: expected a number"},  {"$.a==", "column 6: expected a number"},
      {"$.a=1", "column 4: expected .name"},       {"$.a==1 2", "column 8: expected the end"},
      {"$.a[x]", "expected .name"},                {"", "column 1: expected a path"},
      {"$.a==1e999", "expected a number"}};
  for (const auto& [text, expected] : rows) {
    const auto parsed = JsonAssert::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, io::Errc::kInvalidArgument);
    EXPECT_NE(parsed.error().detail.find(expected), std::string::npos) << parsed.error().detail;
  }
  EXPECT_FALSE(JsonAssert::parse("$" + std::string(2000, 'a')));
}

}  // namespace
}  // namespace agent::drivers
