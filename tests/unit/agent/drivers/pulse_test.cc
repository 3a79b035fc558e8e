#include "agent/drivers/pulse.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

class PulseTest : public ::testing::Test {
 protected:
  void beats(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) pulse.beat();
  }
  void answer(std::size_t number) {
    for (const auto& task : std::exchange(asked[number], {})) task();
  }
  using News = std::vector<std::pair<std::size_t, bool>>;

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::vector<std::vector<std::function<void()>>> asked{2};
  bool takes = true;
  News news;
  Pulse pulse{*loop, 2,
              [this](std::size_t number, std::function<void()> task) {
                if (takes) asked[number].push_back(std::move(task));
                return takes;
              },
              [this](std::size_t number, bool hangs) { news.emplace_back(number, hangs); }};
};

TEST_F(PulseTest, AThreadThatAnswersIsAskedAgain) {
  for (int i = 0; i < 50; ++i) {
    pulse.beat();
    EXPECT_EQ(asked[0].size(), 1U) << "one task at a time";
    answer(0);
    answer(1);
  }
  EXPECT_EQ(news, News{});
}

TEST_F(PulseTest, OneThatDoesNotIsToldOnceAndWhenItAnswersAgain) {
  for (std::uint32_t i = 0; i < Pulse::kBeatsMax; ++i) {
    pulse.beat();
    answer(0);
  }
  EXPECT_EQ(news, News{}) << "it may have much to do";
  for (int i = 0; i < 20; ++i) {
    pulse.beat();
    answer(0);
  }
  EXPECT_EQ(news, (News{{1, true}}));
  EXPECT_EQ(pulse.hung(), 1U);
  EXPECT_EQ(asked[1].size(), 1U) << "nothing is piled up before it";
  answer(1);
  pulse.beat();
  EXPECT_EQ(news, (News{{1, true}, {1, false}}));
  EXPECT_EQ(pulse.hung(), 0U);
  beats(Pulse::kBeatsMax);
  EXPECT_EQ(pulse.hung(), 2U) << "and both the next time";
}

TEST_F(PulseTest, AFullQueueIsNoAnswer) {
  takes = false;
  beats(Pulse::kBeatsMax + 1);
  EXPECT_EQ(pulse.hung(), 2U);
  takes = true;
  pulse.beat();
  answer(0);
  answer(1);
  pulse.beat();
  EXPECT_EQ(pulse.hung(), 0U);
}

TEST_F(PulseTest, ATaskMayOutliveThePulse) {
  std::vector<std::function<void()>> kept;
  {
    Pulse other(*loop, 1, [&](std::size_t, std::function<void()> task) { kept.push_back(std::move(task)); return true; }, [](std::size_t, bool) {});
    other.beat();
  }
  ASSERT_EQ(kept.size(), 1U);
  kept[0]();
}

}  // namespace
}  // namespace agent::drivers
