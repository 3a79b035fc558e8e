#include "agent/drivers/app_metrics.h"

#include <gtest/gtest.h>

#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;

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

TEST(AppMetricsText, ALabelThatIsThereTwiceCostsItsLineAndNotTheScrape) {
  for (const char* line : {"up{x=\"1\",x=\"2\"} 1", "up{x=\"1\",y=\"2\",x=\"1\"} 1", "up{node=\"1\",node=\"2\"} 1", "up{exported_node=\"1\",exported_node=\"2\"} 1",
                           "up{__name__=\"down\"} 1", "up{a=\"1\",b=\"1\",le=\"1\",le=\"2\"} 1"}) {
    const AppMetricsText told = labelled_metrics(std::string("before 1\n") + line + "\nafter 2\n", "n1");
    EXPECT_EQ(told.dropped, 1U) << line;
    EXPECT_EQ(told.text, "before{node=\"n1\"} 1\nafter{node=\"n1\"} 2\n") << line;
  }
  EXPECT_EQ(labelled("up{x=\"1\",X=\"1\",y=\"1\"} 1"), "up{node=\"n1\",x=\"1\",X=\"1\",y=\"1\"} 1\n");
}

TEST(AppMetricsText, WhateverTheSliceTheTextIsTheSame) {
  const std::string text = "# HELP a A\na 1\n\nb{c=\"d\"} 2\r\nbad\n  e 3\nf 4";
  const AppMetricsText whole = labelled_metrics(text, "n1");
  EXPECT_EQ(whole.dropped, 1U);
  for (std::size_t bytes = 1; bytes <= text.size(); ++bytes) {
    MetricsLabeller labeller(text, "n1");
    std::size_t steps = 1;
    while (!labeller.step(bytes)) ++steps;
    EXPECT_LE(steps, text.size() / bytes + 1);
    const AppMetricsText told = labeller.take();
    EXPECT_EQ(told.text, whole.text);
    EXPECT_EQ(told.dropped, 1U);
  }
  EXPECT_TRUE(MetricsLabeller("", "n1").step(1));
}

TEST(AppMetricsText, LongLinesAndTextsThatGrowHaveBounds) {
  const std::string tail(MetricsLabeller::kLineBytesMax, 'x');
  EXPECT_EQ(labelled("a 1\nb{c=\"" + tail + "\"} 1\nd 2\n"), "a{node=\"n1\"} 1\nd{node=\"n1\"} 2\n");
  std::string text;
  while (text.size() < MetricsLabeller::kTextBytesMax / 4) text += "a 1\n";
  EXPECT_FALSE(labelled_metrics(text, "n1").too_long);
  const AppMetricsText told = labelled_metrics(text, "a node with a longer name");
  EXPECT_TRUE(told.too_long);
  EXPECT_TRUE(told.text.empty()) << "half of it would look like series that ended";
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

class AppMetricsTest : public ::testing::Test {
 protected:
  AppMetrics::Done note() {
    return [this](std::string text) { told.push_back(std::move(text)); };
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  AppMetrics metrics{*loop, {instance.address, "trader", "/metrics", {}, nullptr, {}, "n1"}};
  std::vector<std::string> told;
};

TEST_F(AppMetricsTest, OneFetchForAllWhoAskAndABoundOnTheirCopies) {
  instance.body = "a 1\n";
  for (std::size_t i = 0; i < AppMetrics::kAskersMax; ++i) metrics.fetch(note());
  EXPECT_TRUE(told.empty());
  metrics.fetch(note());
  ASSERT_EQ(told.size(), 1U) << "one too many is told at once";
  EXPECT_EQ(told[0], "");
  ASSERT_TRUE(run_until(*loop, [&] { return told.size() == AppMetrics::kAskersMax + 1; }));
  EXPECT_EQ(told.back(), "a{node=\"n1\"} 1\n");
  EXPECT_EQ(instance.requests.size(), 1U);
  EXPECT_LE(AppMetrics::kAskersMax * MetricsLabeller::kTextBytesMax, 64U << 20);
}

TEST_F(AppMetricsTest, ALongTextIsReadInSlicesAndWhoComesMeanwhileGetsItAsWell) {
  while (instance.body.size() < 1U << 20) instance.body += "some_series_of_the_instance{a=\"b\"} 1\n";
  metrics.fetch(note());
  std::size_t turns = 0;
  io::Timer other(*loop, [&] { ++turns, other.arm_after(1ms); });
  ASSERT_TRUE(run_until(*loop, [&] { return !instance.requests.empty(); }));
  other.arm_after(1ms);
  metrics.fetch(note());
  ASSERT_TRUE(run_until(*loop, [&] { return told.size() == 2; }));
  EXPECT_GE(turns, 2U) << "others had their turns between the slices";
  EXPECT_GT(told[0].size(), 1U << 20);
  EXPECT_EQ(told[0], told[1]);
  EXPECT_EQ(metrics.counters().fetches, 1U);
  EXPECT_TRUE(metrics.counters().up);
}

TEST_F(AppMetricsTest, ATextThatGrowsTooLongIsAFailureAndTheNextOneCounts) {
  while (instance.body.size() < 2U << 20) instance.body += "a 1\n";
  instance.body.resize(instance.body.size() - 1);
  const std::string long_name(64, 'n');
  AppMetrics other(*loop, {instance.address, "trader", "/metrics", {}, nullptr, {}, long_name});
  other.fetch(note());
  ASSERT_TRUE(run_until(*loop, [&] { return told.size() == 1; }));
  EXPECT_EQ(told[0], "");
  EXPECT_FALSE(other.counters().up);
  EXPECT_EQ(other.counters().failures, 1U);
  instance.body = "a 1\n";
  other.fetch(note());
  ASSERT_TRUE(run_until(*loop, [&] { return told.size() == 2; }));
  EXPECT_EQ(told[1], "a{node=\"" + long_name + "\"} 1\n");
  EXPECT_TRUE(other.counters().up);
}

}  // namespace
}  // namespace agent::drivers
