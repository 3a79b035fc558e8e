// What the agent believes about its trading instance, and how late.

#include "tests/sim/instance.h"

#include <gtest/gtest.h>

namespace sim {
namespace {

using agent::InstanceState;

TEST(Instance, HealthIsBelievedAtTheFirstCheck) {
  Instance instance;
  EXPECT_EQ(instance.check(), InstanceState::kPassing);
  instance.become(Mood::kDegraded);
  EXPECT_EQ(instance.check(), InstanceState::kDegraded);
}

TEST(Instance, SicknessAndHangTakeTwoChecksEachWay) {
  for (const Mood mood : {Mood::kSick, Mood::kHung}) {
    Instance instance;
    instance.check();
    instance.become(mood);
    EXPECT_EQ(instance.check(), InstanceState::kPassing);
    EXPECT_EQ(instance.check(), InstanceState::kCritical);
    instance.become(Mood::kHealthy);
    EXPECT_EQ(instance.check(), InstanceState::kCritical);
    EXPECT_EQ(instance.check(), InstanceState::kPassing);
  }
}

TEST(Instance, CrashIsSeenAtOnce) {
  Instance instance;
  instance.check();
  instance.become(Mood::kCrashed);
  EXPECT_EQ(instance.check(), InstanceState::kGone);
}

TEST(Instance, ANewAgentKnowsNothing) {
  Instance instance;
  instance.become(Mood::kSick);
  instance.check();
  instance.check();
  instance.forget();
  EXPECT_EQ(instance.check(), InstanceState::kUnknown);
  EXPECT_EQ(instance.check(), InstanceState::kCritical);
}

}  // namespace
}  // namespace sim
