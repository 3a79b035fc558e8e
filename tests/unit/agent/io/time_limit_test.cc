#include "agent/io/time_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

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
        const auto other = TimeLimit::set(Milliseconds(1000), [] {}, 5);
        static_cast<void>(TimeLimit::set(Milliseconds(500), say_it, 3));
        for (;;) ::pause();
      },
      ::testing::ExitedWithCode(5), "^$");
}

TEST(TimeLimit, EndsAProcessWhoseLastWordsHang) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto hang = [] {
    for (;;) ::pause();
  };
  EXPECT_EXIT(
      {
        const auto limit = TimeLimit::set(Milliseconds(100), hang, 3);
        hang();
      },
      ::testing::KilledBySignal(SIGALRM), "");
}

}  // namespace
}  // namespace agent::io
