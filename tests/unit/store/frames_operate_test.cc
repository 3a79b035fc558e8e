#include <gtest/gtest.h>

#include "store/frames.h"

namespace store {
namespace {

kv::ClusterId cluster() {
  kv::ClusterId id;
  id.bytes[1] = 4;
  return id;
}

TEST(OperateFrames, SurviveTheRoundTrip) {
  const auto ask = decode_frame(encode_frame(cluster(), OperateFrame{7, Operation::kRemove, raft::NodeId{9}}));
  ASSERT_TRUE(ask) << ask.error().detail;
  const auto& asked = std::get<OperateFrame>(ask->body);
  EXPECT_EQ(asked.token, 7U);
  EXPECT_EQ(asked.operation, Operation::kRemove);
  EXPECT_EQ(asked.server, raft::NodeId{9});
  OperateAnswerFrame answer;
  answer.token = 8;
  answer.error = 3;
  answer.detail = "why not";
  answer.figures = {{raft::NodeId{1}, raft::Index{5}, std::chrono::milliseconds(6), std::chrono::microseconds(7),
                     std::chrono::microseconds(8)},
                    {raft::NodeId{2}, raft::Index{1}, {}, {}, {}}};
  const auto back = decode_frame(encode_frame(cluster(), answer));
  ASSERT_TRUE(back) << back.error().detail;
  const auto& answered = std::get<OperateAnswerFrame>(back->body);
  EXPECT_EQ(answered.error, 3U);
  EXPECT_EQ(answered.detail, "why not");
  EXPECT_EQ(answered.figures, answer.figures);
}

TEST(OperateFrames, TooManyFiguresOrNonsenseAreRefused) {
  OperateAnswerFrame crowd;
  crowd.figures.resize(kFiguresMax + 1);
  EXPECT_FALSE(decode_frame(encode_frame(cluster(), crowd)));
  OperateAnswerFrame long_winded;
  long_winded.detail = std::string(600, 'x');
  EXPECT_FALSE(decode_frame(encode_frame(cluster(), long_winded)));
  EXPECT_FALSE(decode_frame(encode_frame(cluster(), OperateFrame{1, static_cast<Operation>(9), {}})));
}

}  // namespace
}  // namespace store
