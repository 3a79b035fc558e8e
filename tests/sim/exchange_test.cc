// The exchange is the witness: it must see what it is there for. And the lines must lose and keep what kernels lose and keep.

#include "tests/sim/exchange.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace sim {
namespace {

TEST(Exchange, SaysWhatMayNotArrive) {
  Exchange exchange;
  EXPECT_NE(exchange.arrive({"early", 1, 1}, 0), "") << "nobody is armed yet";
  exchange.armed(1);
  EXPECT_EQ(exchange.arrive({"a", 1, 1}, 0), "");
  EXPECT_NE(exchange.arrive({"a", 1, 1}, 0), "") << "twice";
  exchange.armed(3);
  exchange.armed(2);
  EXPECT_NE(exchange.arrive({"b", 2, 2}, 0), "") << "let out under an epoch that is over";
  EXPECT_NE(exchange.arrive({"c", 2, 3}, 0), "") << "decided under one";
  EXPECT_NE(exchange.arrive({"d", 4, 4}, 0), "") << "before its epoch is armed";
  EXPECT_EQ(exchange.arrive({"e", 3, 3}, 0), "");
  EXPECT_TRUE(exchange.refused("f"));
  EXPECT_NE(exchange.arrive({"f", 3, 3}, 0), "") << "its client was told that it would not";
  EXPECT_FALSE(exchange.refused("e")) << "it has arrived";
}

class LinesTest : public ::testing::Test {
 protected:
  void make(LineSettings settings) {
    settings.refused_ppm = settings.lost_reply_ppm = settings.slow_ppm = 0;
    machines.push_back(std::make_unique<Machine>(&world, 0, 1));
    machines[0]->start();
    lines = std::make_unique<Lines>(&world, &machines, settings, 1);
    lines->exchange().armed(1);
  }
  LineId open() {
    const LineId id = lines->connect(0, {[this](LineId) { ++connected; }, [this](LineId, const std::string&) { ++replied; }, [this](LineId) { ++resets; }});
    run_for(kSecond);
    return id;
  }
  void run_for(Nanos length) {
    const Nanos end = world.scheduler.now() + length;
    while (world.scheduler.next_time() <= end) world.scheduler.run_one();
    world.scheduler.at(end, [] {});
    while (world.scheduler.now() < end) world.scheduler.run_one();
  }
  [[nodiscard]] bool has(const std::string& key) const { return lines->exchange().find(key) != nullptr; }
  ~LinesTest() override { world.scheduler.clear(); }

  World world{1, AgentSettings{}, false};
  std::vector<std::unique_ptr<Machine>> machines;
  std::unique_ptr<Lines> lines;
  int connected = 0, replied = 0, resets = 0;
};

TEST_F(LinesTest, AnOrderArrivesWithItsLastBytes) {
  make({});
  const LineId id = open();
  ASSERT_EQ(connected, 1);
  lines->write(id, {"a", 1, 1}, false);
  run_for(kSecond);
  EXPECT_FALSE(has("a"));
  lines->write(id, {"a", 1, 1}, true);
  run_for(kSecond);
  EXPECT_TRUE(has("a"));
  EXPECT_EQ(replied, 1);
  lines->write(id, {"b", 2, 2}, true);
  EXPECT_TRUE(world.judge.violation().has_value()) << "a second epoch on one connection";
}

TEST_F(LinesTest, AResetTakesBackWhatHasNotLeftAndNothingElse) {
  LineSettings settings;
  settings.stall_ppm = 1'000'000;
  settings.stall_max = 2 * kSecond;
  make(settings);
  const LineId id = open();
  lines->write(id, {"kept", 1, 1}, true);
  lines->reset(id);
  run_for(10 * kSecond);
  EXPECT_FALSE(has("kept"));
  settings.stall_ppm = 0;
  lines = std::make_unique<Lines>(&world, &machines, settings, 1);
  lines->exchange().armed(1);
  const LineId free = open();
  lines->write(free, {"gone", 1, 1}, true);
  lines->reset(free);
  run_for(Lines::kWayMax);
  EXPECT_TRUE(has("gone")) << "it was on its way";
  EXPECT_EQ(replied, 0);
}

TEST_F(LinesTest, WithoutThePermitOfItsEpochAConnectionIsResetByItsKernel) {
  LineSettings settings;
  settings.kernel_permit = true;
  make(settings);
  open();
  EXPECT_EQ(resets, 1) << "the door is shut";
  lines->permit(0, 7, machines[0]->local_now() + std::chrono::seconds(5));
  const LineId id = open();
  ASSERT_EQ(connected, 1);
  lines->write(id, {"a", 1, 1}, true);
  run_for(kSecond);
  EXPECT_TRUE(has("a"));
  lines->permit(0, 6, machines[0]->local_now() + std::chrono::seconds(50));  // of a program that is too late
  run_for(5 * kSecond);
  lines->write(id, {"b", 1, 1}, true);
  run_for(kSecond);
  EXPECT_FALSE(has("b"));
  EXPECT_EQ(resets, 2);
  lines->permit(0, 8, machines[0]->local_now() + std::chrono::seconds(5));
  open();
  EXPECT_EQ(connected, 2);
}

}  // namespace
}  // namespace sim
