#include "agent/guard_words.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

using std::chrono::seconds;

std::vector<GuardWord> some() {
  return {{GuardWordKind::kBan, proxy::guard_key("192.0.2.7"), seconds(3600)}, {GuardWordKind::kUnban, proxy::guard_key("2001:db8:1:2::"), seconds(0)}};
}

TEST(GuardWords, SurviveTheWire) {
  const std::string frame = encode_guard(some());
  EXPECT_TRUE(is_guard_frame(frame));
  EXPECT_EQ(frame.size(), 4U + 2 * 13U);
  const auto read = decode_guard(frame);
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, some());
}

TEST(GuardWords, LongBansAreToldAsTheLongest) {
  const GuardWord word{GuardWordKind::kBan, proxy::guard_key("192.0.2.7"), kBanMax + seconds(5)};
  EXPECT_EQ(decode_guard(encode_guard(std::span(&word, 1)))->at(0).left, kBanMax);
}

TEST(GuardWords, WhatIsNoneIsRefusedWhole) {
  const std::string frame = encode_guard(some());
  EXPECT_FALSE(decode_guard(""));
  EXPECT_FALSE(decode_guard(frame + "x"));
  for (std::size_t size = 0; size < frame.size(); ++size) EXPECT_FALSE(decode_guard(frame.substr(0, size))) << size;
  const auto with = [&](std::size_t at, char value) {
    std::string text = frame;
    text[at] = value;
    return decode_guard(text);
  };
  EXPECT_FALSE(with(1, 2)) << "another version";
  EXPECT_FALSE(with(3, 1)) << "fewer than there are";
  EXPECT_FALSE(with(4, 3)) << "another kind";
  EXPECT_FALSE(with(4, 2)) << "an unban with a length";
  EXPECT_FALSE(with(13, 127)) << "a ban of years";
  const GuardWord nobody{GuardWordKind::kBan, proxy::GuardKey::kNone, seconds(1)}, never{GuardWordKind::kBan, proxy::guard_key("192.0.2.7"), seconds(0)};
  EXPECT_FALSE(decode_guard(encode_guard(std::span(&nobody, 1))));
  EXPECT_FALSE(decode_guard(encode_guard(std::span(&never, 1))));
}

}  // namespace
}  // namespace agent
