// Lives and deaths of an agent's process on a simulated machine.

#include "tests/sim/machine.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/sim/process.h"

namespace sim {
namespace {

class MachineTest : public ::testing::Test {
 protected:
  MachineTest() : world(5, agents(), false) {
    for (int i = 0; i < 2; ++i) machines.push_back(std::make_unique<Machine>(&world, i, 5));
    for (auto& machine : machines) machine->start();
    run(2 * kSecond);
  }
  ~MachineTest() override { world.scheduler.clear(); }
  static AgentSettings agents() {
    AgentSettings settings;
    settings.machines = 2;
    settings.bootstrap_expect = 2;
    return settings;
  }
  void run(Nanos duration) {
    const Nanos end = world.scheduler.now() + duration;
    world.scheduler.at(end, [] {});
    while (!world.scheduler.empty() && world.scheduler.next_time() <= end) world.scheduler.run_one();
  }
  [[nodiscard]] std::uint64_t heard(int i) {
    return machines[static_cast<std::size_t>(i)]->process()->swim().counters().datagrams_in;
  }

  World world;
  std::vector<std::unique_ptr<Machine>> machines;
};

TEST_F(MachineTest, AgentsFindEachOther) {
  EXPECT_EQ(machines[0]->process()->swim().live_count(), 2U);
  EXPECT_EQ(machines[1]->process()->swim().live_count(), 2U);
  EXPECT_FALSE(world.judge.violation().has_value()) << *world.judge.violation();
}

TEST_F(MachineTest, StoppedProcessRunsNothingAndGetsItAllAfterwards) {
  const std::uint64_t before = heard(1);
  const auto clock = machines[1]->local_now();
  machines[1]->stop();
  int ran = 0;
  machines[1]->run([&] { ++ran; });
  run(3 * kSecond);
  EXPECT_EQ(heard(1), before);
  EXPECT_EQ(ran, 0);
  EXPECT_NEAR(std::chrono::duration<double>(machines[1]->local_now() - clock).count(), 3.0, 0.001);
  machines[1]->resume();
  EXPECT_EQ(ran, 1);
  EXPECT_GT(heard(1), before);
}

TEST_F(MachineTest, WhatWaitsForADeadProcessDiesWithIt) {
  machines[1]->stop();
  int ran = 0;
  machines[1]->run([&] { ++ran; });
  machines[1]->kill();
  EXPECT_FALSE(machines[1]->up());
  machines[1]->start();
  run(kSecond);
  EXPECT_EQ(ran, 0);
  machines[1]->kill();
  machines[1]->run([&] { ++ran; });
  EXPECT_EQ(ran, 0);
}

TEST_F(MachineTest, ClockGoesOnOverAKillAndBeginsAnewWithThePower) {
  const std::uint64_t life = machines[0]->life();
  const auto before = machines[0]->local_now();
  machines[0]->kill();
  run(kSecond);
  machines[0]->start();
  EXPECT_GT(machines[0]->life(), life);
  EXPECT_NEAR(std::chrono::duration<double>(machines[0]->local_now() - before).count(), 1.0, 0.001);
  machines[0]->power_off();
  run(100 * kSecond);
  machines[0]->start();
  EXPECT_LE(std::chrono::duration<double>(machines[0]->local_now().time_since_epoch()).count(), 100.0);
}

TEST_F(MachineTest, ServiceManagerStartsADeadAgentAgain) {
  machines[0]->run([this] { machines[0]->die("for a test", true); });
  run(kMillisecond);
  EXPECT_FALSE(machines[0]->up());
  EXPECT_FALSE(world.judge.violation().has_value());
  run(2 * kSecond);
  EXPECT_TRUE(machines[0]->up());
}

TEST_F(MachineTest, FailStopWithoutACauseIsAViolation) {
  machines[0]->run([this] { machines[0]->die("a rule was broken", false); });
  ASSERT_TRUE(world.judge.violation().has_value());
  EXPECT_NE(world.judge.violation()->find("fail-stop"), std::string::npos);
}

TEST_F(MachineTest, WhoWaitsForAnAnswerIsToldThatTheProcessEnded) {
  bool answered = false;
  bool silent = true;
  machines[0]->stop();
  machines[0]->resume();
  machines[0]->run([&] {
    machines[0]->process()->write(store::kv::Set{"k", "v", 0}, std::chrono::milliseconds(1'000),
                                  [&](const store::Reply* reply) {
                                    answered = true;
                                    silent = reply == nullptr;
                                  });
    machines[0]->die("for a test", true);
  });
  run(100 * kMillisecond);
  EXPECT_TRUE(answered);
  EXPECT_TRUE(silent);
}

}  // namespace
}  // namespace sim
