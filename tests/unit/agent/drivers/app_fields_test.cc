#include "agent/drivers/app_fields.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

TEST(AppFields, Guide000NumbersAndBooleansOfTheHealthBody) {
  const auto fields = app_fields_of(R"({"status": "healthy", "timestamp": 1712.5, "instance_id": "a", "uptime_seconds": 12,
                                        "active_positions": -3, "database_connected": false, "none": null, "list": [1]})");
  EXPECT_EQ(fields, (AppFields{{"active_positions", -3}, {"database_connected", 0}, {"timestamp", 1712.5}, {"uptime_seconds", 12}}));
}

TEST(AppFields, ObjectsInObjectsHavePaths) {
  EXPECT_EQ(app_fields_of(R"({"checks": {"db": {"ok": true, "deep": {"no": 1}}, "n": 2}})"), (AppFields{{"checks.db.ok", 1}, {"checks.n", 2}}));
}

TEST(AppFields, NothingIsMadeOfWhatIsNone) {
  for (const char* body : {"", "{", "[1]", "12", "{\"a\": \"1\"}", "{\"a b\": 1, \"\": 2, \"x\\\"y\": 3}", "\xff\xfe{"}) EXPECT_TRUE(app_fields_of(body).empty()) << body;
}

TEST(AppFields, AreBounded) {
  std::string body = "{\"" + std::string(kAppFieldNameBytesMax + 1, 'x') + "\": 1";
  for (int i = 0; i < 1000; ++i) body += ", \"f" + std::to_string(i) + "\": " + std::to_string(i);
  const auto fields = app_fields_of(body + "}");
  EXPECT_EQ(fields.size(), kAppFieldsMax);
  EXPECT_EQ(fields.front().first, "f0");
}

}  // namespace
}  // namespace agent::drivers
