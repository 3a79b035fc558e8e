#include "agent/app_breakers.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

using proxy::BreakerPass;
using proxy::BreakerState;

proxy::TimePoint at(std::int64_t ms) { return proxy::TimePoint(Milliseconds(1'000'000 + ms)); }

NamedBreakerConfig database() {
  NamedBreakerConfig config;
  config.name = "database";
  config.fail = 3;
  config.window = Milliseconds(60'000);
  config.open = Milliseconds(30'000);
  return config;
}

TEST(AppBreakers, Guide001ThreeFailuresOpenItAndOneProbeCloses) {
  AppBreakers breakers;
  breakers.set({database()});
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(breakers.report("database", false, std::nullopt, at(i)));
  EXPECT_EQ(breakers.enter("database", at(2)), BreakerPass::kFree);
  EXPECT_TRUE(breakers.report("database", false, std::nullopt, at(3)));
  EXPECT_EQ(breakers.look("database").state, BreakerState::kOpen);
  EXPECT_EQ(breakers.enter("database", at(4)), BreakerPass::kDenied);
  EXPECT_FALSE(breakers.report("database", true, std::nullopt, at(5))) << "of a call that began before: changes nothing";
  EXPECT_EQ(breakers.enter("database", at(30'003)), BreakerPass::kProbe);
  EXPECT_EQ(breakers.enter("database", at(30'004)), BreakerPass::kDenied) << "one probe";
  EXPECT_FALSE(breakers.report("database", true, false, at(30'005))) << "another call than the probe";
  EXPECT_TRUE(breakers.report("database", true, true, at(30'006)));
  EXPECT_EQ(breakers.enter("database", at(30'007)), BreakerPass::kFree);
}

TEST(AppBreakers, WhoDoesNotSayIsTheProbeWhileOneIsAwaited) {
  AppBreakers breakers;
  breakers.set({database()});
  for (int i = 0; i < 3; ++i) breakers.report("database", false, std::nullopt, at(i));
  ASSERT_EQ(breakers.enter("database", at(30'002)), BreakerPass::kProbe);
  EXPECT_TRUE(breakers.report("database", false, std::nullopt, at(30'003)));
  EXPECT_EQ(breakers.look("database").state, BreakerState::kOpen);
}

TEST(AppBreakers, AReloadKeepsWhatHasTheSameRule) {
  AppBreakers breakers;
  NamedBreakerConfig other = database();
  other.name = "quotes";
  breakers.set({database(), other});
  for (const char* name : {"database", "quotes"})
    for (int i = 0; i < 3; ++i) breakers.report(name, false, std::nullopt, at(i));
  other.fail = 5;
  breakers.set({database(), other});
  EXPECT_EQ(breakers.look("database").state, BreakerState::kOpen);
  EXPECT_EQ(breakers.look("quotes").state, BreakerState::kClosed) << "another rule begins anew";
  breakers.set({other});
  EXPECT_FALSE(breakers.has("database"));
}

TEST(AppBreakers, ResetCloses) {
  AppBreakers breakers;
  breakers.set({database()});
  for (int i = 0; i < 3; ++i) breakers.report("database", false, std::nullopt, at(i));
  EXPECT_TRUE(breakers.reset("database"));
  EXPECT_FALSE(breakers.reset("database"));
  EXPECT_EQ(breakers.enter("database", at(4)), BreakerPass::kFree);
}

}  // namespace
}  // namespace agent
