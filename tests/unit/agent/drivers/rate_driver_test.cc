// Limits of the cluster on the wire: what survives being written, what is refused, and who answers what.
#include "agent/drivers/rate_driver.h"

#include <gtest/gtest.h>

#include "tests/support/random.h"

namespace agent::drivers {
namespace {

using proxy::RateAnswer;
using proxy::RateMemberId;
using proxy::RateQuestion;
using std::chrono::milliseconds;

RateQuestion question(std::uint64_t zone, std::uint32_t ticket, std::optional<std::uint32_t> burst = std::nullopt) {
  RateQuestion one;
  one.ticket = ticket;
  one.zone = zone;
  one.rule = {20, milliseconds(10'000), burst, ticket % 2 == 0};
  one.key = 0x0123456789abcdefULL * ticket;
  one.known = ticket * 1024;
  return one;
}

TEST(RateWire, QuestionsSurviveAndOfAZoneTheRuleIsSaidOnce) {
  std::vector<RateQuestion> asked{question(1, 2), question(1, 4), question(2, 6, 20), question(1, 8)};
  asked[0].rule.nodelay = asked[1].rule.nodelay = true;
  const std::string frame = encode_questions(7, asked);
  EXPECT_TRUE(is_rate_frame(frame));
  EXPECT_TRUE(is_rate_questions(frame));
  const auto read = decode_questions(frame);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->worker, 7);
  EXPECT_EQ(read->questions, asked);
  EXPECT_EQ(encode_questions(7, std::span(asked).first(2)).size(), 7U + 21 + 2 * 17);
}

TEST(RateWire, AnswersSurvive) {
  std::vector<RateAnswer> told(3);
  told[0].ticket = 1;
  told[0].verdict = {true, milliseconds(5), {}, 19, milliseconds(20)};
  told[0].debt = 1024;
  told[1].ticket = UINT32_MAX;
  told[1].verdict = {false, {}, milliseconds(1234), 0, milliseconds(2000)};
  told[2].counted = false;
  const std::string frame = encode_answers(3, told);
  EXPECT_FALSE(is_rate_questions(frame));
  const auto read = decode_answers(frame);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->worker, 3);
  ASSERT_EQ(read->answers.size(), 3U);
  EXPECT_EQ(read->answers[0].verdict.delay, milliseconds(5));
  EXPECT_EQ(read->answers[0].verdict.remaining, 19U);
  EXPECT_EQ(read->answers[0].debt, 1024U);
  EXPECT_FALSE(read->answers[1].verdict.admitted);
  EXPECT_EQ(read->answers[1].verdict.retry_after, milliseconds(1234));
  EXPECT_EQ(read->answers[1].verdict.reset, milliseconds(2000));
  EXPECT_TRUE(read->answers[1].counted);
  EXPECT_FALSE(read->answers[2].counted);
}

TEST(RateWire, WhatIsNoneIsRefused) {
  const std::vector<RateQuestion> asked{question(1, 2)};
  const std::string good = encode_questions(0, asked);
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode_questions(good.substr(0, size))) << size;
  EXPECT_FALSE(decode_questions(good + "x"));
  EXPECT_FALSE(decode_answers(good));
  const auto changed = [&](std::size_t at, char byte) {
    std::string bad = good;
    bad[at] = byte;
    return decode_questions(bad);
  };
  EXPECT_TRUE(changed(0, 'R'));
  EXPECT_FALSE(changed(0, 'S'));
  EXPECT_FALSE(changed(1, 2)) << "a later version";
  EXPECT_FALSE(changed(2, 2)) << "another kind";
  EXPECT_FALSE(changed(6, 0)) << "none";
  EXPECT_FALSE(changed(5, 5)) << "more than a frame may hold";
  EXPECT_FALSE(changed(7, 0)) << "no zone";
  EXPECT_FALSE(changed(16, 0x7f)) << "a limit that no rule may have";
  std::vector<RateAnswer> told(1);
  std::string far = encode_answers(0, told);
  far[16] = 0x7f;
  EXPECT_FALSE(decode_answers(far)) << "a time that no clock can be added to";
  support::Random random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::string noise = good;
    for (int j = 0; j < 3; ++j) noise[random.below(noise.size())] = static_cast<char>(random.below(256));
    static_cast<void>(decode_questions(noise));
    static_cast<void>(decode_answers(noise));
  }
}

class RateDriverTest : public ::testing::Test {
 protected:
  RateDriver driver{{1, 2},
                    {[this](store::NodeId to, std::string frame) {
                       sent.emplace_back(to, std::move(frame));
                       return takes;
                     },
                     [this](std::uint16_t worker, RateMemberId owner, std::vector<RateAnswer> answers) {
                       delivered.emplace_back(worker, owner, std::move(answers));
                     }}};
  std::vector<std::pair<store::NodeId, std::string>> sent;
  std::vector<std::tuple<std::uint16_t, RateMemberId, std::vector<RateAnswer>>> delivered;
  bool takes = true;
  io::TimePoint now{std::chrono::hours(1)};
};

TEST_F(RateDriverTest, AnswersWhoAskedInOneFrame) {
  std::vector<RateQuestion> asked(25, question(1, 2));
  for (std::uint32_t i = 0; i < asked.size(); ++i) asked[i].ticket = i + 1;
  for (RateQuestion& one : asked) one.known = 0;
  driver.on_frame({5}, encode_questions(3, asked), now);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].first.value, 5U);
  const auto answers = decode_answers(sent[0].second);
  ASSERT_TRUE(answers);
  EXPECT_EQ(answers->worker, 3);
  ASSERT_EQ(answers->answers.size(), 25U);
  for (std::uint32_t i = 0; i < 25; ++i) {
    EXPECT_EQ(answers->answers[i].ticket, i + 1);
    EXPECT_EQ(answers->answers[i].verdict.admitted, i < 20) << i;
  }
  EXPECT_EQ(driver.counters().answered, 25U);
}

TEST_F(RateDriverTest, HandsAnswersToTheWorkerThatAsked) {
  const std::vector<RateAnswer> told(2);
  driver.on_frame({6}, encode_answers(1, told), now);
  ASSERT_EQ(delivered.size(), 1U);
  EXPECT_EQ(std::get<0>(delivered[0]), 1);
  EXPECT_EQ(std::get<1>(delivered[0]), RateMemberId{6});
  EXPECT_EQ(std::get<2>(delivered[0]).size(), 2U);
}

TEST_F(RateDriverTest, CountsWhatItCannotReadOrSend) {
  driver.on_frame({6}, "R", now);
  driver.on_frame({6}, std::string("R\1\0garbage", 10), now);
  EXPECT_EQ(driver.counters().malformed, 2U);
  EXPECT_TRUE(sent.empty());
  takes = false;
  driver.ask(RateMemberId{9}, "frame");
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].first.value, 9U);
  EXPECT_EQ(driver.counters().unsent, 1U);
}

}  // namespace
}  // namespace agent::drivers
