// Questions about traces between agents.
#include "agent/trace_wire.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

const std::string kTrace = "0af7651916cd43dd8448eb211c80319c";

TEST(TraceWireTest, WhatIsAskedAndAnsweredArrives) {
  const auto question = decode_trace_word(encode_trace_word({7, false, kTrace, 0, {}}));
  ASSERT_TRUE(question);
  EXPECT_FALSE(question->is_answer);
  EXPECT_EQ(question->number, 7U);
  EXPECT_EQ(question->trace, kTrace);
  const auto answer = decode_trace_word(encode_trace_word({UINT64_MAX, true, {}, 3, "{},{}"}));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->is_answer);
  EXPECT_EQ(answer->number, UINT64_MAX);
  EXPECT_EQ(answer->left_out, 3U);
  EXPECT_EQ(answer->chunks, "{},{}");
  EXPECT_EQ(decode_trace_word(encode_trace_word({1, true, {}, 0, {}}))->chunks, "") << "nothing is known";
}

TEST(TraceWireTest, WhatIsNoWordIsRefused) {
  const std::string question = encode_trace_word({7, false, kTrace, 0, {}}), answer = encode_trace_word({7, true, {}, 3, "{}"});
  for (std::size_t size = 0; size < question.size(); ++size) EXPECT_FALSE(decode_trace_word(question.substr(0, size))) << size;
  EXPECT_FALSE(decode_trace_word(question + "0"));
  for (std::size_t size = 0; size < 15; ++size) EXPECT_FALSE(decode_trace_word(answer.substr(0, size))) << size;
  std::string other = answer;
  other[0] = 'F';
  EXPECT_FALSE(decode_trace_word(other));
  other = answer;
  other[1] = 2;
  EXPECT_FALSE(decode_trace_word(other)) << "another version";
  other = answer;
  other[2] = 2;
  EXPECT_FALSE(decode_trace_word(other)) << "another kind";
  EXPECT_FALSE(decode_trace_word(answer + std::string(kTraceAnswerBytesMax, ' ')));
  other = question;
  other.back() = 'C';
  EXPECT_FALSE(decode_trace_word(other)) << "capitals are no id";
}

}  // namespace
}  // namespace agent
