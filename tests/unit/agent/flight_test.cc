#include "agent/flight.h"

#include <gtest/gtest.h>

#include "agent/flight_wire.h"

namespace agent {
namespace {

FlightEvent event_of(const std::string& node, std::uint64_t seq, HybridTime at, std::uint64_t life = 1) {
  return {node, life, seq, at, "noted", 0, "", ""};
}
std::vector<std::string> names_of(const FlightRecorder& recorder) {
  std::vector<std::string> out;
  for (const FlightEvent& event : recorder.merged()) out.push_back(event.node + std::to_string(event.seq));
  return out;
}

// ---- the clock: Kulkarni et al. 2014, figure 5 ----

TEST(HybridClock, FollowsTheWallClockAndNeverGoesBack) {
  HybridClock clock;
  EXPECT_EQ(clock.tick(100), (HybridTime{100, 0}));
  EXPECT_EQ(clock.tick(100), (HybridTime{100, 1}));
  EXPECT_EQ(clock.tick(90), (HybridTime{100, 2}));
  EXPECT_EQ(clock.tick(101), (HybridTime{101, 0}));
}

TEST(HybridClock, IsBehindNothingThatItHeard) {
  HybridClock clock;
  EXPECT_TRUE(clock.hear({500, 7}, 100));
  EXPECT_EQ(clock.tick(100), (HybridTime{500, 8}));
  EXPECT_TRUE(clock.hear({400, 0}, 100));
  EXPECT_EQ(clock.tick(100), (HybridTime{500, 9}));
}

TEST(HybridClock, IsNotTakenAlongByAClockThatIsWrong) {
  HybridClock clock;
  EXPECT_FALSE(clock.hear({HybridClock::kAheadMaxMs + 101, 0}, 100));
  EXPECT_FALSE(clock.hear({-1, 0}, 100));
  EXPECT_TRUE(clock.hear({HybridClock::kAheadMaxMs + 100, 0}, 100));
}

TEST(HybridClock, CountsOverIntoTheNextMillisecond) {
  HybridClock clock;
  EXPECT_TRUE(clock.hear({100, UINT32_MAX}, 100));
  EXPECT_EQ(clock.tick(100), (HybridTime{101, 0}));
}

// ---- the order at all agents ----

TEST(FlightRecorder, CauseStandsBeforeEffectWhateverTheClocksSay) {
  // n2's clock is five seconds behind, and it acts on what it hears from n1.
  FlightRecorder first("n1", 1), second("n2", 1);
  const FlightEvent cause = first.note(10'000, "demoted", 1, "n1", "");
  ASSERT_TRUE(second.hear(5'000, cause));
  const FlightEvent effect = second.note(5'001, "promoted", 2, "n2", "");
  ASSERT_TRUE(first.hear(10'001, effect));
  for (const FlightRecorder* one : {&first, &second}) {
    ASSERT_EQ(one->merged().size(), 2U);
    EXPECT_EQ(one->merged()[0], cause);
    EXPECT_EQ(one->merged()[1], effect);
  }
}

TEST(FlightRecorder, AllWhoHeardTheSameHaveTheSameOrder) {
  FlightRecorder first("n1", 1), second("n2", 1), third("n3", 1);
  const FlightEvent a = first.note(100, "a", 0, "", ""), b = second.note(100, "b", 0, "", "");
  EXPECT_TRUE(third.hear(90, b));
  EXPECT_TRUE(third.hear(90, a));
  EXPECT_TRUE(first.hear(100, b));
  EXPECT_EQ(third.merged(), first.merged());
  EXPECT_EQ(names_of(first), (std::vector<std::string>{"n11", "n21"}));
}

TEST(FlightRecorder, HearsEachEventOnceAndARestartAnew) {
  FlightRecorder recorder("n1", 1);
  EXPECT_TRUE(recorder.hear(10, event_of("n2", 1, {10, 0})));
  EXPECT_TRUE(recorder.hear(10, event_of("n2", 3, {12, 0})));
  EXPECT_FALSE(recorder.hear(10, event_of("n2", 3, {12, 0})));
  EXPECT_FALSE(recorder.hear(10, event_of("n2", 1, {10, 0})));
  EXPECT_TRUE(recorder.hear(10, event_of("n2", 1, {8, 0}, 7))) << "another life, whose clock was set back";
  EXPECT_EQ(recorder.counters().known, 2U);
  EXPECT_EQ(recorder.merged().size(), 3U);
}

TEST(FlightRecorder, WhatWasMissedIsTakenAfterLaterNews) {
  // A peer that was cut off hears the first news after it, and then what was said in between.
  FlightRecorder recorder("n1", 1);
  for (const std::uint64_t seq : {1, 5, 2, 4, 3, 3, 5})
    static_cast<void>(recorder.hear(100, event_of("n2", seq, {static_cast<std::int64_t>(seq), 0})));
  EXPECT_EQ(names_of(recorder), (std::vector<std::string>{"n21", "n22", "n23", "n24", "n25"}));
  EXPECT_EQ(recorder.counters().known, 2U);
}

TEST(FlightRecorder, WhatIsOlderThanAFullRecordIsNotTakenAnew) {
  FlightRecorder recorder("n1", 1);
  for (std::uint64_t seq = 2; seq < FlightRecorder::kEventsMax + 2; ++seq)
    EXPECT_TRUE(recorder.hear(1000, event_of("n2", seq, {static_cast<std::int64_t>(seq), 0})));
  EXPECT_FALSE(recorder.hear(1000, event_of("n2", 1, {1, 0})));
  EXPECT_EQ(recorder.merged().front().seq, 2U);
}

TEST(FlightRecorder, RefusesWhatCannotBe) {
  FlightRecorder recorder("n1", 1);
  EXPECT_FALSE(recorder.hear(10, event_of("n1", 1, {10, 0}))) << "nobody speaks for us";
  EXPECT_FALSE(recorder.hear(10, event_of("", 1, {10, 0})));
  EXPECT_FALSE(recorder.hear(10, event_of("n2", 0, {10, 0})));
  FlightEvent longer = event_of("n2", 1, {10, 0});
  longer.text = std::string(FlightRecorder::kTextBytesMax + 1, 'x');
  EXPECT_FALSE(recorder.hear(10, longer));
  EXPECT_FALSE(recorder.hear(10, event_of("n2", 1, {10 + HybridClock::kAheadMaxMs + 1, 0})));
  EXPECT_EQ(recorder.counters().refused, 5U);
  EXPECT_TRUE(recorder.merged().empty());
}

TEST(FlightRecorder, KeepsTheLastOfEachNode) {
  FlightRecorder recorder("n1", 1);
  for (std::size_t i = 0; i < FlightRecorder::kEventsMax + 10; ++i) recorder.note(static_cast<std::int64_t>(i), "noted", 0, "", "");
  EXPECT_TRUE(recorder.hear(10, event_of("n2", 1, {1, 0})));
  EXPECT_EQ(recorder.merged().size(), FlightRecorder::kEventsMax + 1);
  EXPECT_EQ(recorder.own_last(3).front().seq, FlightRecorder::kEventsMax + 8);
  EXPECT_EQ(recorder.own_last(10'000).size(), FlightRecorder::kEventsMax);
  EXPECT_TRUE(FlightRecorder("n9", 1).own_last(5).empty());
}

TEST(FlightRecorder, ForgetsTheNodeThatWasSilentLongestAndNeverItself) {
  FlightRecorder recorder("n1", 1);
  recorder.note(1, "noted", 0, "", "");
  for (std::size_t i = 0; i < FlightRecorder::kNodesMax; ++i)
    EXPECT_TRUE(recorder.hear(1000, event_of("peer" + std::to_string(i), 1, {static_cast<std::int64_t>(100 + i), 0})));
  const auto names = names_of(recorder);
  EXPECT_EQ(names.size(), FlightRecorder::kNodesMax);
  EXPECT_EQ(names.front(), "n11");
  EXPECT_EQ(names[1], "peer11") << "peer0 had to go";
}

TEST(FlightRecorder, CutsTexts) {
  FlightRecorder recorder("n1", 1);
  const FlightEvent& event = recorder.note(1, std::string(100, 'w'), 0, std::string(100, 'a'), std::string(1000, 't'));
  EXPECT_EQ(event.what.size(), FlightRecorder::kNameBytesMax);
  EXPECT_EQ(event.about.size(), FlightRecorder::kNameBytesMax);
  EXPECT_EQ(event.text.size(), FlightRecorder::kTextBytesMax);
}

// ---- the wire ----

TEST(FlightWire, RoundTrip) {
  std::vector<FlightEvent> events{{"n2", 5, 6, {1'234'567, 8}, "lease", 9, "n3", "a text"}, event_of("n2", 7, {0, 0})};
  const std::string frame = encode_flight(events);
  EXPECT_TRUE(is_flight_frame(frame));
  const auto read = decode_flight(frame, "n2");
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, events);
}

TEST(FlightWire, RefusesEveryCutAndEveryAddition) {
  const std::string frame = encode_flight(std::vector{FlightEvent{"", 5, 6, {7, 8}, "lease", 9, "n3", "a text"}});
  for (std::size_t size = 0; size < frame.size(); ++size) EXPECT_FALSE(decode_flight(frame.substr(0, size), "n2")) << size;
  EXPECT_FALSE(decode_flight(frame + "x", "n2"));
}

TEST(FlightWire, RefusesOtherVersionsAndImpossibleCounts) {
  std::string frame = encode_flight(std::vector{event_of("n2", 1, {1, 0})});
  for (const auto& [at, byte] : {std::pair{0, 'R'}, {1, '\2'}, {2, '\1'}, {3, '\0'}}) {
    std::string broken = frame;
    broken[static_cast<std::size_t>(at)] = byte;
    EXPECT_FALSE(decode_flight(broken, "n2")) << at;
  }
}

TEST(FlightWire, RefusesTextsBeyondTheBound) {
  FlightEvent longer = event_of("n2", 1, {1, 0});
  longer.what = std::string(FlightRecorder::kNameBytesMax + 1, 'x');
  EXPECT_FALSE(decode_flight(encode_flight(std::vector{longer}), "n2"));
}

}  // namespace
}  // namespace agent
