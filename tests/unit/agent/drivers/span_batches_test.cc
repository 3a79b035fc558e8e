// What goes to the collector together, when, and what is dropped.
#include "agent/drivers/span_batches.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

using io::Milliseconds;

class Batches : public ::testing::Test {
 protected:
  Batches() {
    settings.batch_spans = 10;
    settings.batch_bytes = 1000;
    settings.queue_bytes = 3000;
    remake();
  }
  void remake() { batches = std::make_unique<SpanBatches>(settings, [this](std::uint64_t bound) { return draw % bound; }); }
  void pass(int ms) { now += Milliseconds(ms); }
  SpanBatchSettings settings;
  std::uint64_t draw = 0;
  io::TimePoint now = io::TimePoint{} + std::chrono::hours(1);
  std::unique_ptr<SpanBatches> batches;
};

TEST_F(Batches, GoWhenTheyAreFullOrHaveWaitedLongEnough) {
  EXPECT_EQ(batches->next(now), nullptr);
  EXPECT_EQ(batches->next_deadline(), io::TimePoint::max());
  batches->add("a", 2, now);
  pass(400);
  batches->add("b,c", 3, now);
  EXPECT_EQ(batches->next(now), nullptr);
  EXPECT_EQ(batches->next_deadline(), now + Milliseconds(600));
  pass(600);
  const SpanBatches::Batch* one = batches->next(now);
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(one->spans, "a,b,c");
  EXPECT_EQ(one->count, 5U);
  EXPECT_EQ(batches->next(now), nullptr) << "one at a time";
  batches->add("d", 10, now);
  EXPECT_EQ(one->spans, "a,b,c") << "what is under way takes nothing more";
  batches->answered(SpanBatches::Delivered{}, now);
  one = batches->next(now);
  ASSERT_NE(one, nullptr) << "full by number";
  EXPECT_EQ(one->spans, "d");
  batches->answered(SpanBatches::Delivered{}, now);
  batches->add(std::string(1000, 'x'), 1, now);
  EXPECT_NE(batches->next(now), nullptr) << "full by size";
  batches->answered(SpanBatches::Delivered{}, now);
  EXPECT_TRUE(batches->empty());
  EXPECT_EQ(batches->counters().exported, 16U);
}

TEST_F(Batches, AFullQueueDropsWhatComesAndCounts) {
  for (int i = 0; i < 5; ++i) batches->add(std::string(900, 'x'), 3, now);
  EXPECT_EQ(batches->counters().dropped_full, 6U);
  pass(1000);
  std::size_t sent = 0;
  while (const auto* one = batches->next(now)) {
    sent += one->count;
    batches->answered(SpanBatches::Delivered{}, now);
    pass(1000);
  }
  EXPECT_EQ(sent, 9U);
  batches->add(std::string(900, 'x'), 3, now);
  EXPECT_EQ(batches->counters().dropped_full, 6U) << "there is room again";
}

TEST_F(Batches, PausesDoubleWithChanceInThemAndEndWithSuccess) {
  batches->add("a", 10, now);
  for (const int pause : {500, 1000, 2000, 4000, 8000, 16'000, 30'000, 30'000}) {
    ASSERT_NE(batches->next(now), nullptr);
    draw = 0;
    batches->answered(SpanBatches::TryAgain{}, now);
    EXPECT_EQ(batches->next_deadline(), now + Milliseconds(pause / 2)) << "half of it at least";
    EXPECT_EQ(batches->next(now), nullptr);
    pass(pause / 2);
  }
  ASSERT_NE(batches->next(now), nullptr);
  draw = 15'000;
  batches->answered(SpanBatches::TryAgain{}, now);
  EXPECT_EQ(batches->next_deadline(), now + Milliseconds(30'000)) << "and all of it at most";
  pass(30'000);
  ASSERT_NE(batches->next(now), nullptr);
  batches->answered(SpanBatches::Delivered{}, now);
  batches->add("b", 10, now);
  EXPECT_NE(batches->next(now), nullptr) << "no pause after a success";
  draw = 0;
  batches->answered(SpanBatches::TryAgain{}, now);
  EXPECT_EQ(batches->next_deadline(), now + Milliseconds(250)) << "the first pause again";
}

TEST_F(Batches, TheCollectorsOwnPauseIsKept) {
  batches->add("a", 10, now);
  ASSERT_NE(batches->next(now), nullptr);
  batches->answered(SpanBatches::TryAgain{Milliseconds(12'000)}, now);
  EXPECT_EQ(batches->next_deadline(), now + Milliseconds(12'000));
  pass(11'999);
  EXPECT_EQ(batches->next(now), nullptr);
  pass(1);
  ASSERT_NE(batches->next(now), nullptr);
  batches->answered(SpanBatches::TryAgain{std::chrono::hours(24)}, now);
  EXPECT_EQ(batches->next_deadline(), now + SpanBatches::kKeep) << "but not for ever";
}

TEST_F(Batches, WhatNobodyTakesIsGivenUpInTheEnd) {
  batches->add("a", 4, now);
  pass(1000);
  while (batches->next(now) != nullptr) {
    batches->answered(SpanBatches::TryAgain{}, now);
    pass(60'000);
  }
  EXPECT_EQ(batches->counters().dropped_late, 4U);
  EXPECT_TRUE(batches->empty());
}

TEST_F(Batches, RefusedOnesAreNotTriedAgain) {
  batches->add("a", 10, now);
  ASSERT_NE(batches->next(now), nullptr);
  batches->answered(SpanBatches::Refused{}, now);
  EXPECT_TRUE(batches->empty());
  EXPECT_EQ(batches->counters().rejected, 10U);
  batches->add("b", 10, now);
  ASSERT_NE(batches->next(now), nullptr);
  batches->answered(SpanBatches::Delivered{3}, now);
  EXPECT_EQ(batches->counters().rejected, 13U) << "in part";
  EXPECT_EQ(batches->counters().exported, 7U);
  batches->add("c", 10, now);
  ASSERT_NE(batches->next(now), nullptr);
  batches->answered(SpanBatches::Delivered{1000}, now);
  EXPECT_EQ(batches->counters().exported, 7U) << "more than there were is all of them";
  EXPECT_EQ(batches->counters().rejected, 23U);
}

TEST_F(Batches, TheEndDoesNotWait) {
  batches->add("a", 1, now);
  ASSERT_EQ(batches->next(now), nullptr);
  batches->hurry();
  ASSERT_NE(batches->next(now), nullptr);
  batches->answered(SpanBatches::TryAgain{Milliseconds(9000)}, now);
  EXPECT_NE(batches->next(now), nullptr);
  batches->add("b", 1, now);
  batches->give_up();
  EXPECT_TRUE(batches->empty());
  EXPECT_EQ(batches->counters().dropped_late, 2U);
}

TEST_F(Batches, WhatAnApplicationSendsIsABatchOfItsOwn) {
  batches->add("a", 1, now);
  batches->add_whole(SpanBatches::Form::kProtobuf, "body", 3, now);
  batches->add("b", 1, now);
  const SpanBatches::Batch* one = batches->next(now);
  ASSERT_NE(one, nullptr) << "something waits behind it";
  EXPECT_EQ(one->spans, "a");
  EXPECT_EQ(one->form, SpanBatches::Form::kSpans);
  batches->answered(SpanBatches::Delivered{}, now);
  one = batches->next(now);
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(one->spans, "body") << "nothing joins it";
  EXPECT_EQ(one->form, SpanBatches::Form::kProtobuf);
  batches->answered(SpanBatches::Delivered{1}, now);
  EXPECT_EQ(batches->counters().exported, 3U);
  EXPECT_EQ(batches->counters().rejected, 1U);
  batches->add_whole(SpanBatches::Form::kJson, std::string(3000, 'x'), 7, now);
  EXPECT_EQ(batches->counters().dropped_full, 7U) << "the bound is for all together";
}

}  // namespace
}  // namespace agent::drivers
