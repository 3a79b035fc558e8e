// The pure rules: health, outliers, retries, budget, deadlines.
#include <gtest/gtest.h>

#include "proxy/health.h"
#include "proxy/outlier.h"
#include "proxy/retry.h"
#include "proxy/wheel.h"

namespace proxy {
namespace {

// ---- health ----

TEST(HealthTracker, FallsAfterFallFailuresInARow) {
  HealthTracker health(2, 3, Health::kPassing);
  EXPECT_FALSE(health.feed(CheckResult::kFailed));
  EXPECT_FALSE(health.feed(CheckResult::kFailed));
  EXPECT_EQ(health.contrary_count(), 2U);
  EXPECT_FALSE(health.feed(CheckResult::kOk)) << "one good result begins the count anew";
  EXPECT_EQ(health.contrary_count(), 0U);
  EXPECT_FALSE(health.feed(CheckResult::kFailed));
  EXPECT_FALSE(health.feed(CheckResult::kFailed));
  EXPECT_TRUE(health.feed(CheckResult::kFailed));
  EXPECT_EQ(health.state(), Health::kCritical);
}

TEST(HealthTracker, RisesAfterRiseGoodResultsInARow) {
  HealthTracker health(2, 3, Health::kCritical);
  EXPECT_FALSE(health.feed(CheckResult::kOk));
  EXPECT_FALSE(health.feed(CheckResult::kFailed));
  EXPECT_FALSE(health.feed(CheckResult::kOk));
  EXPECT_TRUE(health.feed(CheckResult::kDegraded)) << "degraded is good enough to live";
  EXPECT_EQ(health.state(), Health::kDegraded);
  EXPECT_TRUE(health.feed(CheckResult::kOk));
  EXPECT_EQ(health.state(), Health::kPassing);
  EXPECT_TRUE(health.feed(CheckResult::kDegraded)) << "and follows at once while alive";
}

TEST(HealthTracker, GoneNeedsNoSecondOpinion) {
  HealthTracker health(1, 100, Health::kPassing);
  EXPECT_TRUE(health.feed(CheckResult::kGone));
  EXPECT_EQ(health.state(), Health::kCritical);
  EXPECT_FALSE(health.feed(CheckResult::kGone));
  EXPECT_TRUE(health.feed(CheckResult::kOk));
  EXPECT_EQ(name_of(health.state()), "passing");
  EXPECT_EQ(name_of(Health::kDegraded), "degraded");
  EXPECT_EQ(name_of(Health::kCritical), "critical");
}

// ---- outliers ----

const TimePoint kStart{std::chrono::hours(10)};

TEST(OutlierTrack, EjectsAfterConsecutiveFailuresWithinTheWindow) {
  OutlierSettings settings;
  settings.consecutive = 3;
  OutlierTrack track;
  EXPECT_FALSE(track.feed(settings, kStart, AttemptResult::kFailed));
  EXPECT_FALSE(track.feed(settings, kStart, AttemptResult::kFailed));
  EXPECT_FALSE(track.feed(settings, kStart, AttemptResult::kGood));
  EXPECT_FALSE(track.feed(settings, kStart, AttemptResult::kFailed));
  EXPECT_FALSE(track.feed(settings, kStart, AttemptResult::kFailed));
  EXPECT_FALSE(track.feed(settings, kStart + settings.window + Milliseconds{1}, AttemptResult::kFailed)) << "too far apart";
  const TimePoint later = kStart + settings.window + Milliseconds{2};
  EXPECT_FALSE(track.feed(settings, later, AttemptResult::kFailed));
  EXPECT_TRUE(track.feed(settings, later, AttemptResult::kFailed));
}

TEST(OutlierTrack, EjectionEndsAndGrowsWithRepetition) {
  OutlierSettings settings;
  OutlierTrack track;
  EXPECT_FALSE(track.ejected_at(kStart));
  track.eject(settings, kStart);
  EXPECT_TRUE(track.ejected_at(kStart + settings.eject - Milliseconds{1}));
  EXPECT_FALSE(track.ejected_at(kStart + settings.eject));
  track.eject(settings, kStart + settings.eject);
  EXPECT_EQ(track.ejected_until(), kStart + settings.eject * 3);
  EXPECT_FALSE(track.eject(settings, kStart + settings.eject)) << "somebody else was quicker";
  EXPECT_EQ(track.ejected_until(), kStart + settings.eject * 3);
  TimePoint last{};
  for (int i = 0; i < 50; ++i) track.eject(settings, last = track.ejected_until());
  EXPECT_EQ(track.ejected_until(), last + settings.eject_max);
  track.feed(settings, last + settings.eject_max * 3, AttemptResult::kGood);
  track.eject(settings, last + settings.eject_max * 3);
  EXPECT_EQ(track.ejected_until(), last + settings.eject_max * 3 + settings.eject) << "long good conduct is remembered";
  track.reinstate();
  EXPECT_FALSE(track.ejected_at(kStart));
}

TEST(OutlierTrack, AWordOfOthersEndsByItselfAndCountsNoFailure) {
  OutlierTrack track;
  track.advise(kStart + Milliseconds{500});
  EXPECT_TRUE(track.ejected_at(kStart + Milliseconds{499}));
  EXPECT_FALSE(track.ejected_here_at(kStart));
  EXPECT_FALSE(track.ejected_at(kStart + Milliseconds{500}));
  OutlierSettings settings;
  settings.consecutive = 1;
  EXPECT_TRUE(track.feed(settings, kStart, AttemptResult::kFailed)) << "what is seen here counts meanwhile";
  track.advise(TimePoint{});
  EXPECT_FALSE(track.ejected_at(kStart));
}

TEST(OutlierTrack, ZeroMeansNever) {
  OutlierSettings settings;
  settings.consecutive = 0;
  OutlierTrack track;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(track.feed(settings, kStart, AttemptResult::kFailed));
}

TEST(MayEject, IsSensibleWithFewEndpoints) {
  OutlierSettings settings;  // 50 %
  EXPECT_FALSE(may_eject(settings, 0, 0));
  EXPECT_FALSE(may_eject(settings, 1, 0)) << "never the only one";
  EXPECT_TRUE(may_eject(settings, 2, 0));
  EXPECT_FALSE(may_eject(settings, 2, 1)) << "never the last one";
  EXPECT_TRUE(may_eject(settings, 3, 0));
  EXPECT_FALSE(may_eject(settings, 3, 1));
  EXPECT_TRUE(may_eject(settings, 10, 4));
  EXPECT_FALSE(may_eject(settings, 10, 5));
  settings.max_ejected_percent = 10;
  EXPECT_TRUE(may_eject(settings, 3, 0)) << "one of a few is always allowed";
  settings.max_ejected_percent = 0;
  EXPECT_FALSE(may_eject(settings, 10, 0));
  settings.max_ejected_percent = 100;
  EXPECT_TRUE(may_eject(settings, 3, 1));
  EXPECT_FALSE(may_eject(settings, 3, 2)) << "never the last one, whatever the share";
}

// ---- retries ----

TEST(Judge, IsTheTableOfR3) {
  using enum AttemptEnd;
  const AttemptEnd arrived[] = {kClosedEarly, kFirstByteLate, kEndpointGone};
  const AttemptEnd nothing_sent[] = {kConnectFailed, kNotWritten, kRefusedByPeer};
  for (const http1::Method method : {http1::Method::kGet, http1::Method::kHead, http1::Method::kOptions, http1::Method::kPost,
                                     http1::Method::kPut, http1::Method::kDelete, http1::Method::kPatch, http1::Method::kOther}) {
    for (const PoolKind kind : {PoolKind::kAll, PoolKind::kPrimary}) {
      RetryCase attempt;
      attempt.kind = kind;
      attempt.method = method;
      for (const AttemptEnd end : arrived) {
        EXPECT_TRUE(may_have_arrived(end));
        const bool again = kind == PoolKind::kAll && http1::is_safe(method);
        EXPECT_EQ(judge(attempt, end), again ? RetryVerdict::kTryElsewhere : RetryVerdict::kGiveUp);
      }
      for (const AttemptEnd end : nothing_sent) {
        EXPECT_FALSE(may_have_arrived(end));
        EXPECT_EQ(judge(attempt, end), kind == PoolKind::kAll ? RetryVerdict::kTryElsewhereFree : RetryVerdict::kHold);
      }
      EXPECT_EQ(judge(attempt, kResponseBroken), RetryVerdict::kGiveUp);
      EXPECT_TRUE(may_have_arrived(kResponseBroken));
      attempt.replayable = false;
      EXPECT_EQ(judge(attempt, kConnectFailed), RetryVerdict::kGiveUp) << "what is not at hand cannot be repeated";
    }
  }
}

TEST(Judge, CountsAttemptsAndAsksTheRoute) {
  RetryCase attempt;
  attempt.attempt_count = attempt.attempts_max;
  EXPECT_EQ(judge(attempt, AttemptEnd::kConnectFailed), RetryVerdict::kGiveUp);
  attempt.attempt_count = 1;
  attempt.route_allows = false;
  EXPECT_EQ(judge(attempt, AttemptEnd::kClosedEarly), RetryVerdict::kGiveUp);
  EXPECT_EQ(judge(attempt, AttemptEnd::kConnectFailed), RetryVerdict::kTryElsewhereFree) << "that is no repetition";
}

TEST(RetryBudget, IsAFloorAndAShareOfTheLastTenSeconds) {
  RetryBudget budget(20, 3);
  const TimePoint now = kStart;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.spend(now));
  EXPECT_FALSE(budget.spend(now));
  for (int i = 0; i < 4; ++i) budget.on_request(now);
  EXPECT_FALSE(budget.spend(now));
  budget.on_request(now);
  EXPECT_TRUE(budget.spend(now)) << "one for five requests";
  EXPECT_FALSE(budget.spend(now + Milliseconds{8000}));
  const TimePoint later = now + Milliseconds{11'000};
  int count = 0;
  while (budget.spend(later)) ++count;
  EXPECT_EQ(count, 3) << "what was spent is forgotten, and so are the requests";
}

TEST(RetryBudget, NeverMoreThanItsShareInAnyWindow) {
  RetryBudget budget(20, 5);
  TimePoint now = kStart;
  std::uint64_t state = 1;
  std::vector<TimePoint> requests, retries;
  for (int i = 0; i < 20'000; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    now += Milliseconds{(state >> 33) % 40};
    if ((state >> 20) % 3 == 0) {
      budget.on_request(now);
      requests.push_back(now);
    }
    if (budget.spend(now)) retries.push_back(now);
  }
  ASSERT_GT(retries.size(), 1000U);
  std::size_t from = 0, first_request = 0, last_request = 0;
  for (std::size_t to = 0; to < retries.size(); ++to) {
    while (retries[to] - retries[from] > Milliseconds{9000}) ++from;
    while (last_request < requests.size() && requests[last_request] <= retries[to]) ++last_request;
    while (requests[first_request] < retries[to] - Milliseconds{10'000}) ++first_request;
    ASSERT_LE((to - from + 1) * 100, 500 + (last_request - first_request) * 20) << to;
  }
}

// ---- deadlines ----

struct Probe final : Timer::Owner {
  void on_deadline(Timer&, TimePoint now) override {
    fired.push_back(now);
    if (action) action();
  }
  std::vector<TimePoint> fired;
  std::function<void()> action;
  Timer timer{*this};
};

TEST(Wheel, FiresNotBeforeAndSoonAfter) {
  Wheel wheel(kStart);
  std::vector<std::unique_ptr<Probe>> probes;
  std::vector<TimePoint> deadlines;
  for (int i = 0; i < 500; ++i) {
    probes.push_back(std::make_unique<Probe>());
    deadlines.push_back(kStart + Milliseconds{(i * 7919) % 60000 + 1});
    wheel.arm(probes.back()->timer, deadlines.back());
  }
  TimePoint now = kStart;
  for (TimePoint next = wheel.next_deadline(); next != TimePoint::max(); next = wheel.next_deadline()) {
    ASSERT_GT(next, now);
    now = next;
    wheel.tick(now);
  }
  for (std::size_t i = 0; i < probes.size(); ++i) {
    ASSERT_EQ(probes[i]->fired.size(), 1U);
    EXPECT_GE(probes[i]->fired[0], deadlines[i]);
    EXPECT_LE(probes[i]->fired[0], deadlines[i] + Wheel::kGrain);
    EXPECT_FALSE(probes[i]->timer.armed());
  }
}

TEST(Wheel, MovingADeadlineEitherWayHolds) {
  Wheel wheel(kStart);
  Probe later, sooner, off;
  wheel.arm(later.timer, kStart + Milliseconds{100});
  wheel.arm(later.timer, kStart + Milliseconds{500});
  wheel.arm(sooner.timer, kStart + Milliseconds{500});
  wheel.arm(sooner.timer, kStart + Milliseconds{100});
  wheel.arm(off.timer, kStart + Milliseconds{50});
  wheel.disarm(off.timer);
  wheel.tick(kStart + Milliseconds{200});
  EXPECT_EQ(later.fired.size(), 0U);
  EXPECT_EQ(sooner.fired.size(), 1U);
  wheel.tick(kStart + Milliseconds{600});
  EXPECT_EQ(later.fired.size(), 1U);
  EXPECT_EQ(off.fired.size(), 0U);
  EXPECT_EQ(later.timer.deadline(), TimePoint::max());
}

TEST(Wheel, ALongPauseFiresEverythingOnce) {
  Wheel wheel(kStart);
  Probe soon, late, never;
  wheel.arm(soon.timer, kStart + Milliseconds{1});
  wheel.arm(late.timer, kStart + Milliseconds{20000});
  wheel.arm(never.timer, kStart + std::chrono::hours(1000));
  wheel.tick(kStart + std::chrono::hours(1));
  EXPECT_EQ(soon.fired.size() + late.fired.size(), 2U);
  EXPECT_EQ(never.fired.size(), 0U);
}

TEST(Wheel, OwnersMayArmAgainAndDieInTheirCall) {
  Wheel wheel(kStart);
  auto doomed = std::make_unique<Probe>();
  Probe killer, again;
  killer.action = [&] { doomed.reset(); };
  again.action = [&] {
    if (again.fired.size() < 3) wheel.arm(again.timer, again.fired.back() + Milliseconds{8});
  };
  // All in one slot; the last armed fires first.
  wheel.arm(doomed->timer, kStart + Milliseconds{8});
  wheel.arm(again.timer, kStart + Milliseconds{8});
  wheel.arm(killer.timer, kStart + Milliseconds{8});
  for (int i = 1; i < 10; ++i) wheel.tick(kStart + Milliseconds{8 * i});
  EXPECT_EQ(doomed, nullptr);
  EXPECT_EQ(again.fired.size(), 3U);
  EXPECT_EQ(wheel.next_deadline(), TimePoint::max());
}

TEST(Wheel, ADeadlineInThePastFiresAtTheNextGrain) {
  Wheel wheel(kStart);
  Probe probe;
  wheel.tick(kStart + Milliseconds{1000});
  wheel.arm(probe.timer, kStart);
  EXPECT_LE(wheel.next_deadline(), kStart + Milliseconds{1008});
  wheel.tick(kStart + Milliseconds{1008});
  EXPECT_EQ(probe.fired.size(), 1U);
}

}  // namespace
}  // namespace proxy
