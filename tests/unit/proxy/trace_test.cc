// W3C Trace Context, rule by rule.
#include "proxy/trace.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace proxy {
namespace {

constexpr std::string_view kGood = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

std::string state_of(const std::vector<std::string>& fields) {
  std::vector<http1::Header> headers;
  for (const std::string& field : fields) headers.push_back({http1::HeaderId::kOther, "TraceState", field});
  std::string out = "x";
  return append_tracestate_of(out, headers) ? out.substr(1) : out == "x" ? "refused" : "left a piece";
}

TEST(TraceparentTest, Section32IsReadAndWritten) {
  const auto context = parse_traceparent(kGood);
  ASSERT_TRUE(context);
  EXPECT_EQ(std::string_view(context->trace.data(), 32), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(std::string_view(context->span.data(), 16), "b7ad6b7169203331");
  EXPECT_TRUE(context->sampled());
  std::string out;
  append_traceparent(out, *context);
  EXPECT_EQ(out, kGood);
}

TEST(TraceparentTest, Section32RefusesWhatIsNotInItsForm) {
  for (const std::string& bad :
       {std::string(), std::string("00"), std::string(kGood.substr(0, 54)), std::string(kGood) + "-", std::string(kGood) + "-00",
        std::string("0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011"),
        std::string("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
        std::string("00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01"),
        std::string("00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01"),
        std::string("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        std::string("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
        std::string("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x"),
        std::string("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        std::string("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), std::string(55, '-')}) {
    EXPECT_FALSE(parse_traceparent(bad)) << bad;
  }
}

TEST(TraceparentTest, Section324ALaterVersionIsReadAsFarAsOursGoes) {
  std::string later = "cc" + std::string(kGood.substr(2));
  ASSERT_TRUE(parse_traceparent(later));
  EXPECT_TRUE(parse_traceparent(later + "-what-the-future-will-be-like"));
  EXPECT_FALSE(parse_traceparent(later + ".what"));
  later.replace(53, 2, "ff");
  EXPECT_EQ(parse_traceparent(later)->flags, kSampled) << "only the sampled bit is known";
}

TEST(TraceparentTest, Section3225FlagsThatNobodyKnowsAreNotPassedOn) {
  std::string value(kGood);
  value.replace(53, 2, "fe");
  const auto context = parse_traceparent(value);
  ASSERT_TRUE(context);
  EXPECT_FALSE(context->sampled());
  std::string out;
  append_traceparent(out, *context);
  EXPECT_EQ(out.substr(53), "02") << "the random flag of Level 2 goes on";
}

TEST(TraceparentTest, MoreThanOneFieldIsNone) {
  const http1::Header one{http1::HeaderId::kOther, "TraceParent", kGood};
  EXPECT_TRUE(traceparent_of(std::vector<http1::Header>{one}));
  EXPECT_FALSE(traceparent_of(std::vector<http1::Header>{one, one}));
  EXPECT_FALSE(traceparent_of({}));
}

TEST(TracestateTest, Section33FieldsAreOneListInOrder) {
  EXPECT_EQ(state_of({}), "");
  EXPECT_EQ(state_of({"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
  EXPECT_EQ(state_of({"a=1", "b=2"}), "a=1,b=2");
  EXPECT_EQ(state_of({"a=1, ,b=2,"}), "a=1, ,b=2,") << "empty members are allowed";
  EXPECT_EQ(state_of({"fw529a3039@dt=FfI8"}), "fw529a3039@dt=FfI8");
  EXPECT_EQ(state_of({"0t@s=x"}), "0t@s=x") << "a tenant may begin with a digit";
}

TEST(TracestateTest, Section33MalformedListsAreLeftOutWhole) {
  for (const std::string bad : {"a", "=1", "A=1", "1a=1", "a=", "a=b=c", "a@B=1", "a@1b=1", "@a=1", "a@=1", "a =1", "a=\x7f", "a=1,a=2"}) {
    EXPECT_EQ(state_of({bad}), "refused") << bad;
  }
  EXPECT_EQ(state_of({"a=1", "a=2"}), "refused");
  EXPECT_EQ(state_of({"good=1", "bad"}), "refused");
  EXPECT_EQ(state_of({std::string(257, 'a') + "=1"}), "refused");
  EXPECT_EQ(state_of({"a=" + std::string(257, 'v')}), "refused");
  std::string list;
  for (int i = 0; i < 32; ++i) list += "k" + std::to_string(i) + "=1,";
  EXPECT_EQ(state_of({list}), list) << "32 members are allowed";
  EXPECT_EQ(state_of({list + "one-more=1"}), "refused");
}

}  // namespace
}  // namespace proxy
