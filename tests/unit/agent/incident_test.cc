#include "agent/incident.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

/// Events in the order in which they are written; ten milliseconds apart unless `at` says more.
class Story {
 public:
  Story& at(std::int64_t wall_ms) { return wall_ms_ = wall_ms, *this; }
  Story& tell(const std::string& node, const std::string& what, std::uint64_t epoch, const std::string& about = {}, const std::string& text = {}) {
    events.push_back({node, 1, ++seq_, {wall_ms_, static_cast<std::uint32_t>(seq_)}, what, epoch, about, text});
    return *this;
  }
  /// A lease that all three see.
  Story& grant(std::uint64_t epoch, const std::string& holder) {
    for (const char* node : {"n1", "n2", "n3"}) tell(node, "lease", epoch, holder);
    return *this;
  }
  std::vector<FlightEvent> events;

 private:
  std::int64_t wall_ms_ = 1'000'000;
  std::uint64_t seq_ = 0;
};

Story reign_of_n1() { return Story().grant(1, "n1").tell("n1", "promoted", 1, "n1"); }
std::vector<std::int64_t> times(const Incident& incident) {
  std::vector<std::int64_t> out;
  for (const IncidentPhase& phase : incident.phases) out.push_back(phase.happened ? phase.at_ms : -1);
  return out;
}

TEST(Incident, NoneBeforeOnePrimaryFollowsAnother) {
  EXPECT_FALSE(last_incident({}));
  EXPECT_FALSE(last_incident(reign_of_n1().events));
}

TEST(Incident, AnInstanceDiesAndItsAgentYields) {
  Story story = reign_of_n1();
  story.at(1'050'000).tell("n1", "instance", 1, "n1", "gone: connection refused");
  story.at(1'050'004).tell("n1", "demoted", 1, "n1").tell("n2", "lease", 1);
  story.at(1'050'010).grant(2, "n3");
  story.at(1'050'012).tell("n3", "promoted", 2, "n3");
  const auto incident = last_incident(story.events);
  ASSERT_TRUE(incident);
  EXPECT_EQ(incident->from + incident->to, "n1n3");
  EXPECT_EQ(incident->from_epoch, 1U);
  EXPECT_EQ(incident->epoch, 2U);
  EXPECT_EQ(incident->began_ms, 1'050'000);
  EXPECT_EQ(times(*incident), (std::vector<std::int64_t>{0, 4, 10, -1, 12}));
  EXPECT_TRUE(incident->over);
  EXPECT_EQ(incident->total_ms, 12);
  EXPECT_EQ(incident->phases[0].name + incident->phases[1].name + incident->phases[2].name, "detectfenceelect");
}

TEST(Incident, ADeadNodeSaysNothingAndItsLeaseIsWaitedOut) {
  Story story = reign_of_n1();
  story.at(1'050'300).tell("n2", "gossip_suspect", 0, "n1").tell("n3", "gossip_dead", 0, "n1");
  story.at(1'052'000).grant(2, "n2").tell("n2", "promoted", 2, "n2");
  const auto incident = last_incident(story.events);
  ASSERT_TRUE(incident);
  EXPECT_EQ(times(*incident), (std::vector<std::int64_t>{0, 1'700, 1'700, -1, 1'700}));
  EXPECT_NE(incident->phases[1].text.find("no word of n1"), std::string::npos);
}

TEST(Incident, TroubleOfOthersAndOfEarlierReignsIsNoSign) {
  Story story;
  story.grant(1, "n1").tell("n1", "instance", 1, "n1", "gone");  // before it was promoted
  story.at(1'000'100).tell("n1", "promoted", 1, "n1");
  story.at(1'000'200).tell("n2", "instance", 0, "n2", "gone").tell("n1", "gossip_dead", 0, "n3").tell("n1", "instance", 1, "n1", "passing");
  story.at(1'000'300).grant(2, "n2");
  const auto incident = last_incident(story.events);
  ASSERT_TRUE(incident);
  EXPECT_FALSE(incident->phases[0].happened);
  EXPECT_EQ(incident->began_ms, 1'000'300);
  EXPECT_FALSE(incident->over) << "nobody serves yet";
}

TEST(Incident, AZombieThatWakesLaterFencesNothing) {
  Story story = reign_of_n1();
  story.at(1'050'000).tell("n2", "gossip_suspect", 0, "n1");
  story.at(1'052'000).grant(2, "n2").tell("n2", "promoted", 2, "n2");
  story.at(1'058'000).tell("n1", "demoted", 1, "n1", "the lease was over");
  const auto incident = last_incident(story.events);
  ASSERT_TRUE(incident);
  EXPECT_EQ(times(*incident), (std::vector<std::int64_t>{0, 2'000, 2'000, -1, 2'000}));
  EXPECT_EQ(incident->events.back().text, "the lease was over") << "it is shown all the same";
}

TEST(Incident, OrdersThatWaitToBeArmedAreNotServedYet) {
  Story story = reign_of_n1();
  story.at(1'050'000).tell("n1", "yielding", 1, "n1").grant(2, "n2").tell("n2", "promoted", 2, "n2").tell("n2", "arming", 2, "n2");
  EXPECT_FALSE(last_incident(story.events)->over);
  story.at(1'050'040).tell("n2", "reconciled", 2, "n2", "3 orders").at(1'050'041).tell("n2", "armed", 2, "n2");
  const auto incident = last_incident(story.events);
  EXPECT_TRUE(incident->over);
  EXPECT_EQ(incident->phases[3].at_ms, 40);
  EXPECT_EQ(incident->phases[4].took_ms, 1);
}

TEST(Incident, PhasesNeverGoBackUnderClockSkew) {
  // n3's clock is ahead by 5 s and nothing of n1 and n2 had reached it when it noted the lease.
  Story story = reign_of_n1();
  story.at(1'050'000).tell("n1", "instance", 1, "n1", "gone").tell("n1", "demoted", 1, "n1");
  story.at(1'050'010).tell("n2", "lease", 2, "n3").at(1'050'011).tell("n1", "lease", 2, "n3");
  story.at(1'050'005).tell("n3", "promoted", 2, "n3");
  const auto incident = last_incident(story.events);
  ASSERT_TRUE(incident);
  std::int64_t before = 0;
  for (const IncidentPhase& phase : incident->phases) {
    EXPECT_GE(phase.at_ms, before);
    EXPECT_GE(phase.took_ms, 0);
    before = phase.at_ms;
  }
}

TEST(Incident, TheNewestOfSeveral) {
  Story story = reign_of_n1();
  story.at(1'010'000).grant(2, "n2").tell("n2", "promoted", 2, "n2");
  story.at(1'020'000).tell("n3", "gossip_dead", 0, "n2").grant(5, "n3").tell("n3", "promoted", 5, "n3");
  const auto incident = last_incident(story.events);
  ASSERT_TRUE(incident);
  EXPECT_EQ(incident->from_epoch, 2U);
  EXPECT_EQ(incident->epoch, 5U);
  EXPECT_EQ(incident->from + incident->to, "n2n3");
}

TEST(Incident, ShowsABoundedNumberOfEvents) {
  Story story = reign_of_n1();
  story.at(1'050'000).tell("n1", "yielding", 1, "n1");
  for (int i = 0; i < 1000; ++i) story.tell("n2", "gossip_alive", 0, "n3");
  story.grant(2, "n2");
  EXPECT_EQ(last_incident(story.events)->events.size(), kIncidentEventsMax);
}

}  // namespace
}  // namespace agent
