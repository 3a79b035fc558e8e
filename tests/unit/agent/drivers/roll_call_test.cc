#include "agent/drivers/roll_call.h"

#include <gtest/gtest.h>

#include "tests/unit/agent/io/loop_until.h"

namespace agent::drivers {
namespace {

using Asked = std::vector<std::pair<RollCall::Number, std::size_t>>;

class RollCallTest : public ::testing::Test {
 protected:
  void call() {
    const std::size_t number = ended.size();
    ended.emplace_back();
    roll_call.call(
        [this](RollCall::Number question, std::size_t worker) {
          asked.emplace_back(question, worker);
          return full.count(worker) == 0;
        },
        [this, number](std::size_t missing) { ended[number] = missing; });
    EXPECT_FALSE(ended[number]) << "never inside the call";
  }
  Asked take() { return std::exchange(asked, {}); }
  static io::TimePoint late() { return io::boottime_now() + RollCall::kPatience; }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  RollCall roll_call{*loop, 2};
  Asked asked;
  std::set<std::size_t> full;
  std::vector<std::optional<std::size_t>> ended;
};

TEST_F(RollCallTest, EndsWithTheLastAnswer) {
  call();
  ASSERT_EQ(asked, (Asked{{1, 0}, {1, 1}}));
  roll_call.answered(1, 1);
  roll_call.answered(1, 1);
  EXPECT_FALSE(ended[0]) << "two answers of one are not two";
  roll_call.answered(1, 0);
  EXPECT_EQ(ended[0], 0U);
  roll_call.look(late());
  EXPECT_EQ(ended[0], 0U) << "once";
}

TEST_F(RollCallTest, WhoDoesNotAnswerIsWaitedForOnce) {
  const io::TimePoint begun = io::boottime_now();
  call();
  roll_call.answered(1, 0);
  roll_call.look(begun + RollCall::kPatience / 2);
  EXPECT_FALSE(ended[0]);
  roll_call.look(late());
  EXPECT_EQ(ended[0], 1U);
  take();
  call();
  EXPECT_EQ(take(), (Asked{{2, 0}})) << "its queue is not filled";
  roll_call.answered(2, 0);
  EXPECT_EQ(ended[1], 1U) << "at once";
  roll_call.answered(1, 1);  // what it was asked first
  call();
  EXPECT_EQ(take(), (Asked{{3, 0}, {3, 1}})) << "it is back";
}

TEST_F(RollCallTest, WhoeverWasStoppedHimselfReadsTheAnswersFirst) {
  call();
  const io::TimePoint woken = late() + RollCall::kPatience;
  roll_call.look(woken);
  EXPECT_FALSE(ended[0]);
  roll_call.look(woken + RollCall::kPatience);
  EXPECT_EQ(ended[0], 2U) << "there are none";
}

TEST_F(RollCallTest, OneWithAFullQueueIsAskedTheNextTime) {
  full = {0};
  call();
  roll_call.answered(1, 1);
  EXPECT_EQ(ended[0], 1U);
  full = {};
  take();
  call();
  EXPECT_EQ(take(), (Asked{{2, 0}, {2, 1}}));
}

TEST_F(RollCallTest, WithoutAnybodyToWaitForItEndsInALaterTurn) {
  full = {0, 1};
  call();
  call();
  EXPECT_TRUE(io::run_until(*loop, [&] { return ended[0] && ended[1]; }));
  EXPECT_EQ(ended[0], 2U);
  EXPECT_EQ(ended[1], 2U);
}

TEST_F(RollCallTest, AQuestionThatIsNotLateGoesOn) {
  call();
  const io::TimePoint end = late();  // of the first
  while (late() == end) continue;    // the clock has gone on
  call();
  roll_call.look(end);
  EXPECT_EQ(ended[0], 2U);
  EXPECT_FALSE(ended[1]);
  roll_call.answered(2, 0);
  roll_call.answered(2, 1);
  EXPECT_EQ(ended[1], 0U);
}

}  // namespace
}  // namespace agent::drivers
