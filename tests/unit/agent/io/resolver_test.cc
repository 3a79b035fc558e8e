#include "agent/io/resolver.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/unit/agent/io/loop_until.h"

namespace agent::io {
namespace {

struct Resolve : ::testing::Test {
  std::unique_ptr<Loop> loop = new_loop();
  std::optional<Result<std::vector<Address>>> answer;
  Resolution::OnResolved keep() {
    return [this](Result<std::vector<Address>> result) { answer = std::move(result); };
  }
};

TEST_F(Resolve, NumbersAnswerLaterWithoutThePool) {
  const auto running = resolve(*loop, "192.0.2.1", 7, keep());
  EXPECT_FALSE(answer);
  ASSERT_TRUE(run_until(*loop, [&] { return answer.has_value(); }));
  ASSERT_TRUE(*answer);
  ASSERT_EQ((*answer)->size(), 1U);
  EXPECT_EQ((**answer)[0].to_string(), "192.0.2.1:7");
}

TEST_F(Resolve, LocalhostIsFoundOncePerAddress) {
  const auto running = resolve(*loop, "localhost", 7, keep());
  ASSERT_TRUE(run_until(*loop, [&] { return answer.has_value(); }));
  ASSERT_TRUE(*answer) << answer->error().detail;
  ASSERT_FALSE((*answer)->empty());
  EXPECT_TRUE((**answer)[0].is_loopback());
  EXPECT_EQ((**answer)[0].port(), 7);
}

TEST_F(Resolve, NonsenseIsAnErrorWithTheName) {
  const auto running = resolve(*loop, "no..such..name..", 7, keep());
  ASSERT_TRUE(run_until(*loop, [&] { return answer.has_value(); }));
  ASSERT_FALSE(*answer);
  EXPECT_NE(answer->error().detail.find("no..such..name.."), std::string::npos);
}

TEST_F(Resolve, DestroyedOneNeverAnswers) {
  { const auto by_pool = resolve(*loop, "localhost", 7, keep()); }
  { const auto by_number = resolve(*loop, "192.0.2.1", 7, keep()); }
  loop->run();
  EXPECT_FALSE(answer);
}

TEST_F(Resolve, CallbackMayDestroyTheResolution) {
  std::unique_ptr<Resolution> running;
  bool done = false;
  running = resolve(*loop, "192.0.2.1", 7, [&](const Result<std::vector<Address>>&) {
    running.reset();
    done = true;
  });
  EXPECT_TRUE(run_until(*loop, [&] { return done; }));
}

}  // namespace
}  // namespace agent::io
