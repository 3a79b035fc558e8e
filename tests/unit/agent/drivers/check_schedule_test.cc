#include "agent/drivers/check_schedule.h"

#include <gtest/gtest.h>

#include <optional>

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;
using Kind = CheckPlan::Kind;
using State = CheckState;
using Entry = CheckSchedule::Entry;

CheckPlan plan(const std::string& id, Kind kind, std::chrono::milliseconds interval = 10s) {
  CheckPlan out;
  out.id = id;
  out.service_id = "web";
  out.kind = kind;
  out.interval = interval;
  out.ttl = interval;
  return out;
}

class CheckScheduleTest : public ::testing::Test {
 protected:
  CheckSchedule::TimePoint now{1000s};
  std::uint64_t luck = 0;  ///< what chance answers, below its bound
  CheckSchedule schedule{[this](std::uint64_t bound) { return std::min(luck, bound - 1); }};
  std::vector<CheckSchedule::Run> runs;
  std::vector<CheckSchedule::RunId> cancelled;
  std::vector<std::string> changed;
  std::vector<std::string> deregistered;

  void take() {
    for (auto& output : schedule.take_output()) {
      if (auto* run = std::get_if<CheckSchedule::Run>(&output)) runs.push_back(*run);
      if (auto* cancel = std::get_if<CheckSchedule::Cancel>(&output)) cancelled.push_back(cancel->run);
      if (auto* change = std::get_if<CheckSchedule::Changed>(&output)) changed.push_back(change->id);
      if (auto* gone = std::get_if<CheckSchedule::Deregister>(&output)) deregistered.push_back(gone->service_id);
    }
  }
  void set(std::vector<Entry> entries) {
    schedule.set(std::move(entries), now);
    take();
  }
  void pass(std::chrono::milliseconds time) {
    now += time;
    schedule.tick(now);
    take();
  }
  void finish(State state, std::string output = {}) {
    ASSERT_FALSE(runs.empty());
    const auto run = runs.back().run;
    runs.pop_back();
    schedule.on_result(run, state, std::move(output), now);
    take();
  }
  State state_of(const std::string& id) { return schedule.find(id)->state; }
};

TEST_F(CheckScheduleTest, ACheckStartsCriticalAndPassesWithItsFirstGoodResult) {
  set({{plan("c", Kind::kHttp), State::kCritical, {}}});
  EXPECT_EQ(state_of("c"), State::kCritical);
  pass(0ms);
  ASSERT_EQ(runs.size(), 1u);
  finish(State::kPassing, "200 OK");
  EXPECT_EQ(changed, std::vector<std::string>{"c"});
  EXPECT_EQ(state_of("c"), State::kPassing);
  EXPECT_EQ(schedule.find("c")->output, "200 OK");
}

TEST_F(CheckScheduleTest, TheFirstRunIsSpreadByChanceWithinOneSecondAndItsInterval) {
  luck = 1'000'000;
  set({{plan("slow", Kind::kHttp, 60s), State::kCritical, {}}, {plan("fast", Kind::kTcp, 200ms), State::kCritical, {}}});
  pass(198ms);
  EXPECT_TRUE(runs.empty());
  pass(1ms);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].plan.id, "fast");
  pass(800ms);
  EXPECT_EQ(runs.size(), 2u) << "a check of one minute does not wait a minute at first";
}

TEST_F(CheckScheduleTest, RunsKeepTheirRhythmFromStartToStart) {
  set({{plan("c", Kind::kTcp, 10s), State::kCritical, {}}});
  pass(0ms);
  now += 3s;
  finish(State::kPassing);
  EXPECT_EQ(schedule.next_deadline(), now + 7s);
  pass(6999ms);
  EXPECT_TRUE(runs.empty());
  pass(1ms);
  EXPECT_EQ(runs.size(), 1u);
}

TEST_F(CheckScheduleTest, ARunLongerThanItsIntervalIsFollowedByAWholeOne) {
  set({{plan("c", Kind::kTcp, 1s), State::kCritical, {}}});
  pass(0ms);
  pass(2500ms);
  EXPECT_EQ(runs.size(), 1u) << "one check never runs twice at a time";
  finish(State::kCritical);
  EXPECT_EQ(schedule.next_deadline(), now + 1s);
}

TEST_F(CheckScheduleTest, AnIntervalBelowTheLeastCountsAsTheLeast) {
  set({{plan("c", Kind::kTcp, 1ms), State::kCritical, {}}});
  pass(0ms);
  finish(State::kPassing);
  EXPECT_EQ(schedule.next_deadline(), now + CheckSchedule::kIntervalMin);
  set({{plan("c", Kind::kTcp, 1ms), State::kCritical, {}}});
  EXPECT_EQ(state_of("c"), State::kPassing) << "the same plan, although its interval was raised";
}

TEST_F(CheckScheduleTest, ResultsInARowAreCountedBeforeTheyAreBelieved) {
  auto counting = plan("c", Kind::kHttp, 1s);
  counting.success_before_passing = 3;
  counting.failures_before_critical = 2;
  set({{counting, State::kCritical, {}}});
  const auto result = [&](State state) {
    pass(1s);
    finish(state);
  };
  result(State::kPassing);
  result(State::kPassing);
  EXPECT_EQ(state_of("c"), State::kCritical);
  result(State::kCritical);  // the row is broken
  result(State::kPassing);
  result(State::kWarning);  // warnings count as good, as Consul has it
  EXPECT_EQ(state_of("c"), State::kCritical);
  result(State::kPassing);
  EXPECT_EQ(state_of("c"), State::kPassing);
  result(State::kCritical);
  EXPECT_EQ(state_of("c"), State::kPassing);
  result(State::kCritical);
  EXPECT_EQ(state_of("c"), State::kCritical);
  EXPECT_EQ(changed.size(), 2u) << "only changes are told";
}

TEST_F(CheckScheduleTest, ASilentTtlTurnsCriticalAndSaysWhatItHeardLast) {
  set({{plan("t", Kind::kTtl, 5s), State::kPassing, "started"}});
  EXPECT_EQ(schedule.next_deadline(), now + 5s);
  pass(4s);
  EXPECT_TRUE(schedule.update_ttl("t", State::kPassing, "fine", now));
  pass(4999ms);
  EXPECT_EQ(state_of("t"), State::kPassing);
  pass(1ms);
  EXPECT_EQ(state_of("t"), State::kCritical);
  EXPECT_EQ(schedule.find("t")->output, "TTL expired (last output before timeout follows): fine");
  EXPECT_EQ(schedule.next_deadline(), CheckSchedule::TimePoint::max());
  EXPECT_TRUE(schedule.update_ttl("t", State::kWarning, "again", now));
  take();
  EXPECT_EQ(state_of("t"), State::kWarning);
  EXPECT_EQ(changed.size(), 2u);
}

TEST_F(CheckScheduleTest, OnlyTtlChecksAreUpdatedFromOutside) {
  set({{plan("h", Kind::kHttp), State::kCritical, {}}});
  EXPECT_FALSE(schedule.update_ttl("h", State::kPassing, {}, now));
  EXPECT_FALSE(schedule.update_ttl("nobody", State::kPassing, {}, now));
  EXPECT_EQ(state_of("h"), State::kCritical);
}

TEST_F(CheckScheduleTest, TheSameSetAgainDisturbsNothing) {
  set({{plan("c", Kind::kHttp), State::kCritical, {}}, {plan("t", Kind::kTtl), State::kCritical, {}}});
  pass(0ms);
  schedule.update_ttl("t", State::kPassing, "fine", now);
  take();
  set({{plan("c", Kind::kHttp), State::kCritical, {}}, {plan("t", Kind::kTtl), State::kCritical, {}}});
  EXPECT_TRUE(cancelled.empty());
  EXPECT_EQ(state_of("t"), State::kPassing) << "a reload does not make passing checks critical";
  finish(State::kPassing);
  EXPECT_EQ(state_of("c"), State::kPassing);
}

TEST_F(CheckScheduleTest, AChangedOrRemovedCheckIsCancelledAndItsLateResultIgnored) {
  set({{plan("a", Kind::kHttp), State::kCritical, {}}, {plan("b", Kind::kHttp), State::kCritical, {}}});
  pass(0ms);
  ASSERT_EQ(runs.size(), 2u);
  const auto first = runs[0].run, second = runs[1].run;
  auto other = plan("a", Kind::kHttp);
  other.target = "http://elsewhere/";
  set({{other, State::kWarning, {}}});
  EXPECT_EQ(cancelled.size(), 2u);
  EXPECT_EQ(schedule.running(), 0u);
  schedule.on_result(first, State::kPassing, {}, now);
  schedule.on_result(second, State::kPassing, {}, now);
  EXPECT_EQ(state_of("a"), State::kWarning);
  EXPECT_EQ(schedule.find("b"), nullptr);
}

TEST_F(CheckScheduleTest, RunsAreBoundedAndTheRestWaitsInOrder) {
  std::vector<Entry> entries;
  for (int i = 0; i < 100; ++i) entries.push_back({plan("h" + std::to_string(i), Kind::kHttp), State::kCritical, {}});
  set(entries);
  pass(0ms);
  EXPECT_EQ(runs.size(), CheckSchedule::kRunningMax);
  finish(State::kPassing);
  EXPECT_EQ(runs.size(), CheckSchedule::kRunningMax) << "the next one took the place";
  while (!runs.empty()) finish(State::kPassing);
  for (const auto& entry : entries) EXPECT_EQ(state_of(entry.plan.id), State::kPassing);
}

TEST_F(CheckScheduleTest, ProgramsHaveATighterBoundThatHoldsUpNobodyElse) {
  std::vector<Entry> entries;
  for (int i = 0; i < 20; ++i) entries.push_back({plan("a" + std::to_string(i), Kind::kProgram), State::kCritical, {}});
  entries.push_back({plan("z", Kind::kTcp), State::kCritical, {}});
  set(entries);
  pass(0ms);
  EXPECT_EQ(runs.size(), CheckSchedule::kProgramsMax + 1);
  EXPECT_EQ(runs.back().plan.id, "z");
  set({});
  EXPECT_EQ(cancelled.size(), CheckSchedule::kProgramsMax + 1);
  set(entries);
  runs.clear();
  pass(0ms);
  EXPECT_EQ(runs.size(), CheckSchedule::kProgramsMax + 1) << "cancelled runs gave their places back";
}

TEST_F(CheckScheduleTest, AServiceThatStaysCriticalIsDeregisteredAndAskedForAgain) {
  auto mortal = plan("c", Kind::kTtl, 1h);
  mortal.deregister_after = 2min;
  set({{mortal, State::kCritical, {}}});
  pass(119s);
  EXPECT_TRUE(deregistered.empty());
  pass(1s);
  EXPECT_EQ(deregistered, std::vector<std::string>{"web"});
  pass(29s);
  EXPECT_EQ(deregistered.size(), 1u);
  pass(1s);
  EXPECT_EQ(deregistered.size(), 2u) << "the first try may have met no leader";
}

TEST_F(CheckScheduleTest, RecoveryEndsTheCountdownToDeregistration) {
  auto mortal = plan("c", Kind::kTtl, 1h);
  mortal.deregister_after = 1ms;  // raised to the least
  set({{mortal, State::kPassing, {}}});
  EXPECT_EQ(schedule.next_deadline(), now + 1h);
  schedule.update_ttl("c", State::kCritical, {}, now);
  pass(59s);
  schedule.update_ttl("c", State::kWarning, {}, now);
  pass(10min);
  EXPECT_TRUE(deregistered.empty());
  schedule.update_ttl("c", State::kCritical, {}, now);
  pass(60s);
  EXPECT_EQ(deregistered.size(), 1u);
}

TEST_F(CheckScheduleTest, ACheckOfTheNodeRemovesNothing) {
  auto node = plan("c", Kind::kTtl, 1h);
  node.service_id.clear();
  node.deregister_after = 1min;
  set({{node, State::kCritical, {}}});
  pass(30min);
  EXPECT_TRUE(deregistered.empty());
}

TEST_F(CheckScheduleTest, OutputIsBounded) {
  set({{plan("h", Kind::kHttp), State::kCritical, {}}, {plan("x", Kind::kProgram), State::kCritical, {}}});
  pass(0ms);
  ASSERT_EQ(runs.size(), 2u);
  const std::string text = "begin" + std::string(10000, '.') + "end";
  finish(State::kPassing, text);
  finish(State::kPassing, text);
  EXPECT_EQ(schedule.find("h")->output.size(), CheckSchedule::kOutputBytesMax);
  EXPECT_TRUE(schedule.find("h")->output.starts_with("begin"));
  EXPECT_EQ(schedule.find("x")->output.size(), CheckSchedule::kOutputBytesMax);
  EXPECT_TRUE(schedule.find("x")->output.ends_with("end"));
}

TEST(CutOutput, SplitsNoCharacter) {
  EXPECT_EQ(cut_output("a\u00e9b", 2, CutEnd::kTail), "a");
  EXPECT_EQ(cut_output("a\u00e9b", 3, CutEnd::kTail), "a\u00e9");
  EXPECT_EQ(cut_output("a\u00e9b", 2, CutEnd::kHead), "b");
  EXPECT_EQ(cut_output("a\u00e9b", 4, CutEnd::kHead), "a\u00e9b");
  EXPECT_EQ(cut_output("\x80\x80\x80", 2, CutEnd::kTail), "") << "bytes that are no UTF-8 do no harm";
}

TEST_F(CheckScheduleTest, MoreChecksThanTheBoundAreNotKept) {
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < CheckSchedule::kChecksMax + 5; ++i)
    entries.push_back({plan(std::to_string(i), Kind::kTtl), State::kCritical, {}});
  set(entries);
  EXPECT_EQ(schedule.size(), CheckSchedule::kChecksMax);
}

}  // namespace
}  // namespace agent::drivers
