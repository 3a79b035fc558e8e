#include "agent/drivers/app_metrics.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

std::string labelled(std::string_view text) { return labelled_metrics(text, "n1").text; }
std::uint64_t dropped(std::string_view text) { return labelled_metrics(text, "n1").dropped; }

TEST(AppMetricsText, EverySeriesGetsTheNode) {
  EXPECT_EQ(labelled("# HELP orders_total Orders \\n sent\n# TYPE orders_total counter\norders_total 3\norders_total{side=\"buy\"} 1 1700000000000\n"),
            "# HELP orders_total Orders \\n sent\n# TYPE orders_total counter\norders_total{node=\"n1\"} 3\n"
            "orders_total{node=\"n1\",side=\"buy\"} 1 1700000000000\n");
  EXPECT_EQ(labelled("latency_bucket { le = \"+Inf\" , } +Inf"), "latency_bucket{node=\"n1\",le=\"+Inf\"} +Inf\n");
  EXPECT_EQ(labelled("job:rate5m NaN\r\n"), "job:rate5m{node=\"n1\"} NaN\n");
}

TEST(AppMetricsText, ANodeThatIsThereAlreadyKeepsItsValueUnderAnotherName) {
  EXPECT_EQ(labelled("up{node=\"x\"} 1\n"), "up{node=\"n1\",exported_node=\"x\"} 1\n");
  EXPECT_EQ(labelled("up{exported_node=\"y\"} 1\n"), "up{node=\"n1\",exported_node=\"y\"} 1\n");
  EXPECT_EQ(dropped("up{node=\"x\",exported_node=\"y\"} 1\n"), 1U) << "two labels of one name";
}

TEST(AppMetricsText, TheNodesNameIsEscaped) {
  EXPECT_EQ(labelled_metrics("up 1\n", "a\"b\\c\nd").text, "up{node=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(AppMetricsText, WhatOpenMetricsAddsIsLeftOut) {
  EXPECT_EQ(labelled("# TYPE a unknown\n# UNIT a seconds\na 1 # {trace=\"t\"} 0.5\n# EOF\n"), "# TYPE a untyped\na{node=\"n1\"} 1\n");
  EXPECT_EQ(dropped("# TYPE a info\n# UNIT a seconds\na 1 # {trace=\"t\"} 0.5\n# EOF\n\n#\n"), 0U);
}

TEST(AppMetricsText, OneBadLineCostsOnlyItself) {
  const std::string_view bad[] = {"1up 1",      "up",          "up one",      "up 1 2 3",       "up 1 then",  "up{} ",           "up{a} 1",
                                  "up{a=} 1",   "up{a=\"} 1",  "up{a=b} 1",   "up{a=\"\\x\"} 1", "up{a=\"b\" c=\"d\"} 1", "up{=\"b\"} 1", "up{a=\"b\"} 1 1.5",
                                  "up 0x10",    "up 1_000",    "up ++1",      "up infinity",    "up nan(1)",  "{\"my.name\"} 1", "outrigger_up 1",
                                  "up{a=\"\xff\"} 1", "up{a=\"\xc0\x80\"} 1", "up{a=\"\xed\xa0\x80\"} 1", "# TYPE up", "# TYPE up speed", "# TYPE outrigger_x gauge",
                                  "# HELP 1 x", "up{a=\"\xe2\x82\"} 1", "up{a=\"b\"", "up{", "up 1e"};
  for (const std::string_view line : bad) {
    const AppMetricsText told = labelled_metrics(std::string("before 1\n") + std::string(line) + "\nafter 2\n", "n1");
    EXPECT_EQ(told.dropped, 1U) << line;
    EXPECT_EQ(told.text, "before{node=\"n1\"} 1\nafter{node=\"n1\"} 2\n") << line;
  }
  EXPECT_EQ(dropped(std::string_view("a\0b 1\n", 6)), 1U);
}

TEST(AppMetricsText, NumbersAsTheFormatHasThem) {
  for (const char* value : {"0", "-1", "+1", "1.", ".5", "1e9", "-1.5E-7", "1e400", "NaN", "+Inf", "-Inf", "Inf"}) {
    EXPECT_EQ(labelled(std::string("a ") + value), std::string("a{node=\"n1\"} ") + value + "\n");
  }
}

TEST(AppMetricsText, TextsBeyondAsciiStay) { EXPECT_EQ(labelled("a{b=\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"} 1"), "a{node=\"n1\",b=\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"} 1\n"); }

}  // namespace
}  // namespace agent::drivers
