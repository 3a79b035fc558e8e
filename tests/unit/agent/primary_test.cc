// Rules of the primary's lease, one test each; the section numbers are those of the design's "Primary: lease and epoch".
#include "agent/primary.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace agent {
namespace {

using namespace std::chrono_literals;

constexpr HolderId kSelf{7};
constexpr HolderId kOther{9};

class PrimaryTest : public ::testing::Test {
 protected:
  PrimaryTest() { make({}); }

  void make(PrimaryConfig config) {
    config.self = kSelf;
    config.lease = 1500ms;
    core.emplace(config, [](std::uint64_t bound) { return bound - 1; });
  }
  template <typename T>
  std::vector<T> take() {
    std::vector<T> found;
    for (PrimaryOutput& out : core->take_output()) {
      if (auto* match = std::get_if<T>(&out)) found.push_back(*match);
      else others.push_back(out);
    }
    return found;
  }
  void vacant(std::uint64_t epoch = 0) { core->on_lease(now, {Epoch{epoch}, HolderId{}, HolderId{}}); }
  /// Brings the core to primary under `epoch`; the acquire is sent at `now`.
  void elect(std::uint64_t epoch = 1) {
    core->on_instance(now, InstanceState::kPassing);
    vacant(epoch - 1);
    const auto acquires = take<Acquire>();
    ASSERT_EQ(acquires.size(), 1u);
    core->on_answer(now, acquires[0].request, Answer::kGranted, Epoch{epoch});
    core->on_lease(now, {Epoch{epoch}, kSelf, HolderId{}});
    ASSERT_TRUE(core->serving());
    core->take_output();
  }
  Renew renew_at(TimePoint at) {
    now = at;
    core->tick(now);
    const auto sent = take<Renew>();
    EXPECT_EQ(sent.size(), 1u);
    return sent.empty() ? Renew{} : sent[0];
  }

  TimePoint now{1000s};
  std::optional<Primary> core;
  std::vector<PrimaryOutput> others;
};

TEST_F(PrimaryTest, Section5_1_OnlyAHealthyInstanceSeeksTheLease) {
  vacant();
  EXPECT_TRUE(take<Acquire>().empty());
  core->on_instance(now, InstanceState::kDegraded);
  EXPECT_TRUE(take<Acquire>().empty());
  core->on_instance(now, InstanceState::kPassing);
  EXPECT_EQ(take<Acquire>().size(), 1u);
}

TEST_F(PrimaryTest, AWitnessNeverSeeksTheLease) {
  PrimaryConfig config;
  config.eligible = false;
  make(config);
  core->on_instance(now, InstanceState::kPassing);
  vacant();
  core->tick(now + 10s);
  EXPECT_TRUE(core->take_output().empty());
}

TEST_F(PrimaryTest, NothingIsSoughtBeforeTheStateIsKnown) {
  core->on_instance(now, InstanceState::kPassing);
  core->tick(now + 1s);
  EXPECT_TRUE(take<Acquire>().empty());
}

TEST_F(PrimaryTest, Section5_2_ValidityCountsFromTheSendTimeOfTheAcquire) {
  core->on_instance(now, InstanceState::kPassing);
  vacant();
  const auto acquire = take<Acquire>();
  ASSERT_EQ(acquire.size(), 1u);
  const TimePoint sent = now;
  now += 400ms;
  core->on_answer(now, acquire[0].request, Answer::kGranted, Epoch{3});
  EXPECT_EQ(core->valid_until(), sent + 1500ms);
  EXPECT_EQ(core->epoch(), Epoch{3});
  EXPECT_TRUE(core->serving());
}

TEST_F(PrimaryTest, AnAcquireThatTookLongerThanTheLeaseServesOnlyAfterARenewal) {
  core->on_instance(now, InstanceState::kPassing);
  vacant();
  const auto acquire = take<Acquire>();
  now += 1600ms;
  core->on_answer(now, acquire.at(0).request, Answer::kGranted, Epoch{1});
  EXPECT_FALSE(core->serving());
  EXPECT_FALSE(core->may_write(now));
  core->tick(now);
  const auto renew = take<Renew>();
  ASSERT_EQ(renew.size(), 1u);
  core->on_answer(now + 5ms, renew[0].request, Answer::kGranted, Epoch{});
  EXPECT_TRUE(core->serving());
  EXPECT_EQ(core->valid_until(), now + 1500ms);
}

TEST_F(PrimaryTest, Section5_2_RenewsEveryThirdAndCountsFromTheSendTime) {
  const TimePoint start = now;
  elect();
  core->tick(now);  // the first renewal goes out at once
  auto first = take<Renew>();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(core->next_deadline(), start + 500ms);
  const Renew second = renew_at(start + 500ms);
  core->on_answer(now + 300ms, second.request, Answer::kGranted, Epoch{});
  EXPECT_EQ(core->valid_until(), start + 2000ms);
  // An older answer never shortens the period.
  core->on_answer(now + 310ms, first[0].request, Answer::kGranted, Epoch{});
  EXPECT_EQ(core->valid_until(), start + 2000ms);
}

TEST_F(PrimaryTest, Section5_4_TheCheckFailsAtTheVeryEndOfThePeriodWithoutATick) {
  const TimePoint start = now;
  elect();
  EXPECT_TRUE(core->may_write(start + 1499ms));
  EXPECT_FALSE(core->may_write(start + 1500ms));
}

TEST_F(PrimaryTest, Section5_4_APausedProcessFindsItsGateClosedBeforeAnythingElse) {
  const TimePoint start = now;
  elect();
  now = start + 9s;
  EXPECT_FALSE(core->may_write(now));
  core->tick(now);
  const auto out = core->take_output();
  ASSERT_FALSE(out.empty());
  EXPECT_TRUE(std::holds_alternative<CloseGate>(out[0]));
  EXPECT_EQ(core->role(), Role::kStandby);
}

TEST_F(PrimaryTest, ALateAnswerToAnOldRenewalDoesNotReopenTheGate) {
  const TimePoint start = now;
  elect();
  core->tick(now);
  const auto renew = take<Renew>();
  now = start + 8s;
  core->on_answer(now, renew.at(0).request, Answer::kGranted, Epoch{});
  EXPECT_FALSE(core->may_write(now));
  core->tick(now);
  EXPECT_FALSE(core->serving());
}

TEST_F(PrimaryTest, ALapsedLeaseThatNobodyExpiredIsRevivedByARenewal) {
  const TimePoint start = now;
  elect(4);
  const Renew renew = renew_at(start + 1600ms);
  EXPECT_FALSE(core->serving());
  EXPECT_EQ(renew.epoch, Epoch{4});
  core->on_answer(now + 1ms, renew.request, Answer::kGranted, Epoch{});
  EXPECT_TRUE(core->serving());
  EXPECT_EQ(core->epoch(), Epoch{4});
  EXPECT_EQ(core->valid_until(), now + 1500ms);
}

TEST_F(PrimaryTest, ARefusedRenewalClosesTheGateAtOnce) {
  elect();
  core->tick(now);
  const auto renew = take<Renew>();
  core->on_answer(now, renew.at(0).request, Answer::kRefused, Epoch{});
  EXPECT_FALSE(core->may_write(now));
  EXPECT_EQ(core->role(), Role::kStandby);
  EXPECT_EQ(take<CloseGate>().size(), 1u);
}

TEST_F(PrimaryTest, AnExpireInTheLogEndsTheRole) {
  elect(2);
  core->on_lease(now, {Epoch{2}, HolderId{}, HolderId{}});
  EXPECT_FALSE(core->may_write(now));
  EXPECT_EQ(core->role(), Role::kStandby);
}

TEST_F(PrimaryTest, AnOldRecordDoesNotEndANewerEpoch) {
  core->on_instance(now, InstanceState::kPassing);
  vacant(5);
  const auto acquire = take<Acquire>();
  core->on_answer(now, acquire.at(0).request, Answer::kGranted, Epoch{6});
  core->on_lease(now, {Epoch{5}, HolderId{}, HolderId{}});
  EXPECT_TRUE(core->serving());
}

TEST_F(PrimaryTest, Section5_5_AGoneInstanceYieldsWithoutWaiting) {
  elect(3);
  core->on_instance(now, InstanceState::kGone);
  const auto out = core->take_output();
  std::size_t gate = out.size(), release = out.size();
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (std::holds_alternative<CloseGate>(out[i])) gate = std::min(gate, i);
    if (std::holds_alternative<Release>(out[i])) release = std::min(release, i);
  }
  ASSERT_LT(release, out.size());
  EXPECT_LT(gate, release) << "the gate closes before the release can be committed";
  EXPECT_EQ(std::get<Release>(out[release]).epoch, Epoch{3});
}

// No order can be written down here: what is healthy about the instance helps nobody.
TEST_F(PrimaryTest, TroubleOfTheAgentItselfIsLikeACriticalInstance) {
  elect(3);
  core->on_trouble(now, "the own disk hangs");
  EXPECT_FALSE(core->may_write(now));
  const auto out = core->take_output();
  std::size_t gate = out.size(), release = out.size();
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (std::holds_alternative<CloseGate>(out[i])) gate = std::min(gate, i);
    if (std::holds_alternative<Release>(out[i])) release = std::min(release, i);
    const auto* role = std::get_if<RoleChange>(&out[i]);
    EXPECT_TRUE(role == nullptr || role->role == Role::kStandby || role->reason == "the own disk hangs");
  }
  ASSERT_LT(release, out.size());
  EXPECT_LT(gate, release);
  core->on_answer(now, std::get<Release>(out[release]).request, Answer::kGranted, Epoch{});
  vacant(3);
  core->tick(now + 10s);
  EXPECT_TRUE(take<Acquire>().empty()) << "not while it lasts";
  core->on_trouble(now + 10s, "the own disk hangs");
  EXPECT_TRUE(core->take_output().empty()) << "told twice";
  core->on_trouble(now + 10s, "");
  EXPECT_EQ(take<Acquire>().size(), 1U);
}

TEST_F(PrimaryTest, TroubleDuringALapseGivesTheLeaseBack) {
  elect(3);
  now += 2s;
  core->tick(now);
  ASSERT_FALSE(core->may_write(now));
  core->take_output();
  core->on_trouble(now, "the own disk hangs");
  EXPECT_EQ(take<Release>().size(), 1U);
}

TEST_F(PrimaryTest, Section5_5_ADegradedInstanceLetsOrdersFinishFirst) {
  const TimePoint start = now;
  elect();
  core->on_instance(now, InstanceState::kDegraded);
  EXPECT_FALSE(core->serving());
  EXPECT_TRUE(core->may_write(now)) << "orders in flight still finish under the lease";
  EXPECT_EQ(take<DrainOrders>().size(), 1u);
  core->on_orders_drained(start + 30ms);
  EXPECT_FALSE(core->may_write(start + 30ms));
  EXPECT_EQ(take<Release>().size(), 1u);
}

TEST_F(PrimaryTest, AYieldDoesNotWaitLongerThanItsBound) {
  const TimePoint start = now;
  elect();
  core->drain(now);
  EXPECT_EQ(core->next_deadline(), start) << "a renewal is due; the lease is kept alive while orders finish";
  core->tick(start);
  core->take_output();
  core->tick(start + 99ms);
  EXPECT_TRUE(take<Release>().empty());
  core->tick(start + 100ms);
  EXPECT_EQ(take<Release>().size(), 1u);
  EXPECT_FALSE(core->may_write(start + 100ms));
}

TEST_F(PrimaryTest, AnInstanceThatDiesDuringAGracefulYieldIsNotWaitedFor) {
  elect();
  core->drain(now);
  EXPECT_TRUE(take<Release>().empty());
  core->on_instance(now, InstanceState::kGone);
  EXPECT_EQ(take<Release>().size(), 1u);
}

TEST_F(PrimaryTest, ADrainedAgentStaysOutUntilResumed) {
  elect();
  core->drain(now);
  core->on_orders_drained(now);
  const auto release = take<Release>();
  core->on_answer(now, release.at(0).request, Answer::kGranted, Epoch{});
  vacant(1);
  core->tick(now + 10s);
  EXPECT_TRUE(take<Acquire>().empty());
  core->resume(now + 10s);
  EXPECT_EQ(take<Acquire>().size(), 1u);
}

TEST_F(PrimaryTest, SwitchoverNamesItsSuccessorAndAbstains) {
  elect();
  EXPECT_TRUE(core->switchover(now, kOther));
  core->on_orders_drained(now);
  const auto release = take<Release>();
  ASSERT_EQ(release.size(), 1u);
  EXPECT_EQ(release[0].preferred, kOther);
  core->on_answer(now, release[0].request, Answer::kGranted, Epoch{});
  core->on_lease(now, {Epoch{1}, HolderId{}, kOther});
  EXPECT_TRUE(take<Acquire>().empty());
  // The successor does not come: the lease is free for all after one period.
  core->tick(core->next_deadline());
  EXPECT_EQ(take<Acquire>().size(), 1u);
}

TEST_F(PrimaryTest, ASwitchoverToAnyoneLeavesTheOthersTheirChance) {
  const TimePoint start = now;
  elect();
  EXPECT_TRUE(core->switchover(now, HolderId{}));
  core->on_orders_drained(now);
  const auto release = take<Release>();
  ASSERT_EQ(release.size(), 1u);
  core->on_answer(now, release[0].request, Answer::kGranted, Epoch{});
  vacant(1);
  core->tick(start + 1599ms);
  EXPECT_TRUE(take<Acquire>().empty());
  EXPECT_EQ(core->next_deadline(), start + 1600ms);
  core->tick(start + 1600ms);
  EXPECT_EQ(take<Acquire>().size(), 1u) << "nobody came";
}

TEST_F(PrimaryTest, TheNamedSuccessorTakesTheLeaseAtOnceAndOthersWait) {
  core->on_instance(now, InstanceState::kPassing);
  core->on_lease(now, {Epoch{1}, HolderId{}, kSelf});
  EXPECT_EQ(take<Acquire>().size(), 1u);
  make({});
  core->on_instance(now, InstanceState::kPassing);
  core->on_lease(now, {Epoch{1}, HolderId{}, kOther});
  EXPECT_TRUE(take<Acquire>().empty());
  EXPECT_EQ(core->next_deadline(), now + 1500ms);
}

TEST_F(PrimaryTest, SwitchoverIsRefusedByAStandby) { EXPECT_FALSE(core->switchover(now, kOther)); }

TEST_F(PrimaryTest, ABackupLeavesAVacantLeaseToOthersFirst) {
  PrimaryConfig config;
  config.acquire_delay = 250ms;
  make(config);
  core->on_instance(now, InstanceState::kPassing);
  vacant();
  EXPECT_TRUE(take<Acquire>().empty());
  EXPECT_EQ(core->next_deadline(), now + 250ms);
  core->tick(now + 250ms);
  EXPECT_EQ(take<Acquire>().size(), 1u);
}

TEST_F(PrimaryTest, UnknownOutcomesAreRetriedWithGrowingPauses) {
  core->on_instance(now, InstanceState::kPassing);
  vacant();
  auto acquire = take<Acquire>();
  Milliseconds last{0};
  for (int round = 0; round < 6; ++round) {
    ASSERT_EQ(acquire.size(), 1u) << "round " << round;
    core->on_answer(now, acquire[0].request, Answer::kUnknown, Epoch{});
    const auto pause = std::chrono::duration_cast<Milliseconds>(core->next_deadline() - now);
    EXPECT_GE(pause, last);
    EXPECT_LE(pause, 500ms);
    last = pause;
    now = core->next_deadline();
    core->tick(now);
    acquire = take<Acquire>();
  }
  EXPECT_GE(last, 250ms);
}

TEST_F(PrimaryTest, ALeaseLeftByAnEarlierProcessOfOursIsTakenUnderANewEpoch) {
  core->on_instance(now, InstanceState::kPassing);
  core->on_lease(now, {Epoch{8}, kSelf, HolderId{}});
  EXPECT_FALSE(core->may_write(now)) << "the old process's epoch is never resumed";
  EXPECT_EQ(take<Acquire>().size(), 1u);
}

TEST_F(PrimaryTest, ALeaseOfOursThatWeCannotUseIsGivenBack) {
  core->on_instance(now, InstanceState::kCritical);
  core->on_lease(now, {Epoch{8}, kSelf, HolderId{}});
  const auto release = take<Release>();
  ASSERT_EQ(release.size(), 1u);
  EXPECT_EQ(release[0].epoch, Epoch{8});
}

TEST_F(PrimaryTest, AGrantThatArrivesAfterTheInstanceDiedIsGivenBackUnopened) {
  core->on_instance(now, InstanceState::kPassing);
  vacant();
  const auto acquire = take<Acquire>();
  core->on_instance(now, InstanceState::kGone);
  core->on_answer(now, acquire.at(0).request, Answer::kGranted, Epoch{2});
  EXPECT_FALSE(core->may_write(now));
  const auto out = core->take_output();
  EXPECT_TRUE(std::none_of(out.begin(), out.end(),
                           [](const PrimaryOutput& one) { return std::holds_alternative<OpenGate>(one); }));
  EXPECT_TRUE(std::any_of(out.begin(), out.end(),
                          [](const PrimaryOutput& one) { return std::holds_alternative<Release>(one); }));
}

TEST_F(PrimaryTest, AReleaseOfUnknownOutcomeIsRepeatedUntilTheRecordShowsIt) {
  elect(2);
  core->on_instance(now, InstanceState::kGone);
  auto release = take<Release>();
  core->on_answer(now, release.at(0).request, Answer::kUnknown, Epoch{});
  now = core->next_deadline();
  core->tick(now);
  EXPECT_EQ(take<Release>().size(), 1u);
  core->on_lease(now, {Epoch{2}, HolderId{}, HolderId{}});
  core->tick(now + 10s);
  EXPECT_TRUE(take<Release>().empty());
}

TEST_F(PrimaryTest, AnotherHolderIsLeftAlone) {
  core->on_instance(now, InstanceState::kPassing);
  core->on_lease(now, {Epoch{4}, kOther, HolderId{}});
  core->tick(now + 60s);
  EXPECT_TRUE(core->take_output().empty());
  EXPECT_EQ(core->next_deadline(), TimePoint::max());
}

}  // namespace
}  // namespace agent
