#include "agent/io/time_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace agent::io {
namespace {

void say_it() { std::fputs("one of them hangs\n", stderr); }

TEST(TimeLimit, EndsAProcessThatDoesNotEnd) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const auto limit = TimeLimit::set(Milliseconds(200), say_it, 3);
        for (;;) ::pause();
      },
      ::testing::ExitedWithCode(3), "one of them hangs");
}

TEST(TimeLimit, IsLiftedByItsEnd) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const auto other = TimeLimit::set(Milliseconds(300), [] {}, 5);
        static_cast<void>(TimeLimit::set(Milliseconds(100), say_it, 3));
        for (;;) ::pause();
      },
      ::testing::ExitedWithCode(5), "^$");
}

}  // namespace
}  // namespace agent::io
