// When a primary may be given orders: the rules of arming.h one by one.
#include <set>

#include "tests/unit/agent/arming_fixture.h"

namespace agent {
namespace {

TEST_F(ArmingTest, WithoutHookAndInModeAutoItIsArmedWithItsState) {
  make({}, false);
  EXPECT_FALSE(core->armed());
  core->on_primary(now, Epoch{3});
  EXPECT_EQ(core->phase(), ArmingPhase::kFenced);
  core->on_state(now, Epoch{2}, 0);
  EXPECT_FALSE(core->armed()) << "the own copy has not seen the epoch yet";
  core->on_state(now, Epoch{3}, 5);
  EXPECT_TRUE(core->armed());
  EXPECT_EQ(core->reason(), "with 5 unknown orders");
  core->on_standby(now);
  EXPECT_FALSE(core->armed());
}

TEST_F(ArmingTest, TheHookIsShownUnknownOrdersAndItsVerdictsAreRecordedFirst) {
  promote(3, 2);
  const AskHook first = pages({order("a", 10), order("b", 11)});
  ASSERT_EQ(first.orders.size(), 2u);
  EXPECT_FALSE(first.more);
  EXPECT_FALSE(first.armed);
  core->on_hook(now, first.number, says({found("a", OrderStanding::kDone, 201), found("b", OrderStanding::kNotSent)}));
  EXPECT_FALSE(core->armed()) << "not before the ledger has them";
  EXPECT_TRUE(take<ReadPage>().empty());
  const auto verdicts = take<WriteVerdict>();
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[0].seen, 1010u);
  core->on_verdict(now, verdicts[0].number, VerdictEnd::kRecorded);
  EXPECT_TRUE(take<ReadPage>().empty());
  core->on_verdict(now, verdicts[1].number, VerdictEnd::kRecorded);
  EXPECT_TRUE(core->armed()) << "what is settled already keeps nobody waiting";
  const AskHook second = pages({}, {order("c", 9, OrderStanding::kDone)});
  EXPECT_EQ(second.orders.size(), 1u);
  EXPECT_FALSE(second.more);
  EXPECT_TRUE(second.armed);
  core->on_hook(now, second.number, says({}));
  EXPECT_TRUE(take<ReadPage>().empty());
  EXPECT_EQ(core->counters().done, 1u);
  EXPECT_EQ(core->counters().not_sent, 1u);
}

TEST_F(ArmingTest, TheHookIsAskedOnceAlsoWhenNothingIsOpen) {
  promote(1);
  const AskHook asked = pages({});
  EXPECT_TRUE(asked.orders.empty());
  EXPECT_FALSE(core->armed());
  core->on_hook(now, asked.number, says({}, true));
  EXPECT_TRUE(core->armed());
  EXPECT_EQ(core->flat(), true);
}

// What the old holder let out in its last moment arrives in that time; a hook that asks the broker before would be told half of the truth.
TEST_F(ArmingTest, NobodyIsAskedBeforeWhatWasUnderWayHasArrived) {
  ArmingRules rules;
  rules.settle = 200ms;
  for (const bool hook : {true, false}) {
    make(rules, hook);
    const TimePoint promoted = now;
    promote(3, 1);
    EXPECT_EQ(core->phase(), ArmingPhase::kFenced);
    EXPECT_EQ(core->reason(), "what the old epoch let out may still be under way");
    EXPECT_EQ(core->next_deadline(), promoted + 200ms);
    now += 100ms;
    core->on_state(now, Epoch{3}, 1);
    core->on_approval(now, {Epoch{3}, true, "ann"});
    pass(promoted + 199ms);
    EXPECT_TRUE(take<ReadPage>().empty());
    EXPECT_FALSE(core->armed()) << "not by force either";
    pass(promoted + 200ms);
    EXPECT_TRUE(core->armed()) << "the approval was by force, and is obeyed now";
    core->on_standby(now);
    // The same epoch again is a renewal that was late: nothing of another holder can be under way.
    core->on_primary(now, Epoch{3});
    EXPECT_TRUE(core->armed());
  }
}

TEST_F(ArmingTest, TheWaitBeginsWithThePromotionAndNotWithTheState) {
  ArmingRules rules;
  rules.settle = 200ms;
  make(rules);
  core->on_primary(now, Epoch{4});
  EXPECT_EQ(core->next_deadline(), TimePoint::max()) << "without the state there is nothing to wait for";
  now += 300ms;
  core->tick(now);
  EXPECT_EQ(core->phase(), ArmingPhase::kFenced);
  core->on_state(now, Epoch{4}, 1);
  EXPECT_EQ(take<ReadPage>().size(), 1u);
  EXPECT_EQ(core->phase(), ArmingPhase::kReconciling);
}

TEST_F(ArmingTest, PagesGoOnUntilOneIsShort) {
  ArmingRules rules;
  rules.batch = 2;
  make(rules);
  promote(1, 3);
  auto read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].limit, 2u);
  core->on_page(now, read[0].number, {order("a", 10), order("b", 20)});
  core->on_hook(now, take<AskHook>().at(0).number, says({}));
  read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].bound, 20u);
  EXPECT_EQ(read[0].kind, ReadPage::Kind::kUnknown);
  core->on_page(now, read[0].number, {order("c", 30)});
  core->on_hook(now, take<AskHook>().at(0).number, says({}));
  EXPECT_TRUE(core->armed());
  read = take<ReadPage>();
  EXPECT_EQ(read.at(0).kind, ReadPage::Kind::kRecent);
  EXPECT_EQ(read[0].bound, UINT64_MAX);
  EXPECT_EQ(core->unknown_left(), 3u);
  EXPECT_EQ(core->reason(), "with 3 unknown orders");
}

TEST_F(ArmingTest, AHookThatFailsArmsNothingAndIsAskedAgainLaterAndLater) {
  promote(1, 1);
  const AskHook asked = pages({order("a", 10)});
  core->on_hook(now, asked.number, {false, "exit code 1", {}, {}});
  EXPECT_FALSE(core->armed());
  EXPECT_EQ(core->reason(), "the reconcile hook failed: exit code 1");
  EXPECT_EQ(core->next_deadline(), now + 500ms);
  pass(now + 500ms);
  const AskHook again = pages({order("a", 10)});
  core->on_hook(now, again.number, {false, "exit code 2", {}, {}});
  EXPECT_EQ(core->next_deadline(), now + 1000ms);
  EXPECT_EQ(core->counters().failures, 2u);
  pass(now + 1000ms);
  const AskHook third = pages({order("a", 10)});
  core->on_hook(now, third.number, says({found("a", OrderStanding::kNotSent)}));
  EXPECT_FALSE(core->armed());
  record();
  EXPECT_TRUE(core->armed());
}

TEST_F(ArmingTest, AHookThatIsLateIsDroppedAndItsWordIsNotTaken) {
  promote(1, 1);
  const AskHook asked = pages({order("a", 10)});
  EXPECT_EQ(core->next_deadline(), now + 10s);
  pass(now + 10s);
  ASSERT_EQ(take<DropHook>().size(), 1u);
  core->on_hook(now, asked.number, says({found("a", OrderStanding::kNotSent)}));
  EXPECT_TRUE(take<WriteVerdict>().empty());
  EXPECT_FALSE(core->armed());
  EXPECT_NE(core->reason().find("no answer within 10000 ms"), std::string::npos);
}

TEST_F(ArmingTest, AVerdictWithoutAnswerIsWrittenAgainAndOneThatWasOvertakenIsNot) {
  promote(1, 1);
  const AskHook asked = pages({order("a", 10)});
  core->on_hook(now, asked.number, says({found("a", OrderStanding::kDone)}));
  record(VerdictEnd::kNoAnswer);
  EXPECT_TRUE(take<ReadPage>().empty());
  pass(now + 500ms);
  const auto again = take<WriteVerdict>();
  ASSERT_EQ(again.size(), 1u);
  core->on_verdict(now, again[0].number, VerdictEnd::kOvertaken);
  EXPECT_EQ(core->counters().overtaken, 1u);
  EXPECT_EQ(take<ReadPage>().size(), 1u);
}

TEST_F(ArmingTest, FindingsAboutOthersAndTwoWordsAboutOneOrderDecideNothing) {
  promote(1, 1);
  const AskHook asked = pages({order("a", 10)});
  core->on_hook(now, asked.number, says({found("x", OrderStanding::kNotSent), found("a", OrderStanding::kDone), found("a", OrderStanding::kNotSent)}));
  EXPECT_TRUE(take<WriteVerdict>().empty());
  EXPECT_EQ(core->counters().strays, 2u);
}

TEST_F(ArmingTest, ASettledOrderOfWhichTheHookSaysOtherwiseIsToldAndNotTouched) {
  promote(1);
  core->on_hook(now, pages({}).number, says({}));
  const AskHook asked = pages({}, {order("a", 10, OrderStanding::kNotSent), order("b", 9, OrderStanding::kDone)});
  core->on_hook(now, asked.number, says({found("a", OrderStanding::kDone), found("b", OrderStanding::kDone)}));
  EXPECT_TRUE(take<WriteVerdict>().empty());
  EXPECT_EQ(core->counters().contradictions, 1u);
  EXPECT_TRUE(core->armed());
}

TEST_F(ArmingTest, SupervisedWaitsForAnApprovalOfThisEpoch) {
  ArmingRules rules;
  rules.mode = ArmingMode::kSupervised;
  make(rules);
  promote(4);
  core->on_hook(now, pages({}).number, says({}));
  EXPECT_EQ(core->phase(), ArmingPhase::kWaiting);
  EXPECT_EQ(core->reason(), "approval of epoch 4 is awaited");
  core->on_approval(now, {Epoch{3}, true, "eve"});
  EXPECT_FALSE(core->armed());
  core->on_approval(now, {Epoch{4}, false, "ann"});
  EXPECT_TRUE(core->armed());
  core->on_standby(now);
  promote(5);
  core->on_hook(now, pages({}).number, says({}));
  EXPECT_FALSE(core->armed()) << "the approval was of another epoch";
}

TEST_F(ArmingTest, AnApprovalThatComesFirstCountsOnceReconciled) {
  ArmingRules rules;
  rules.mode = ArmingMode::kSupervised;
  make(rules);
  core->on_primary(now, Epoch{4});
  core->on_approval(now, {Epoch{4}, false, "ann"});
  core->on_state(now, Epoch{4}, 0);
  EXPECT_FALSE(core->armed());
  core->on_hook(now, pages({}).number, says({}));
  EXPECT_TRUE(core->armed());
}

TEST_F(ArmingTest, ForceArmsWhateverTheHookSaysButNotBeforeTheFence) {
  core->on_primary(now, Epoch{4});
  core->on_approval(now, {Epoch{4}, true, "ann"});
  EXPECT_FALSE(core->armed());
  core->on_state(now, Epoch{4}, 1);
  EXPECT_TRUE(core->armed());
  EXPECT_EQ(core->reason(), "forced by ann");
}

TEST_F(ArmingTest, ForceDropsTheQuestionThatIsOpen) {
  promote(4, 1);
  const AskHook asked = pages({order("a", 10)});
  core->on_approval(now, {Epoch{4}, true, "ann"});
  EXPECT_TRUE(core->armed());
  EXPECT_EQ(take<DropHook>().size(), 1u);
  core->on_hook(now, asked.number, {false, "x", {}, {}});
  EXPECT_TRUE(core->armed());
}

TEST_F(ArmingTest, WhenFlatAsksUntilTheHookSaysSo) {
  ArmingRules rules;
  rules.mode = ArmingMode::kWhenFlat;
  make(rules);
  promote(2);
  core->on_hook(now, pages({}).number, says({}, false));
  EXPECT_EQ(core->reason(), "the position is not flat");
  pass(core->next_deadline());
  core->on_hook(now, pages({}).number, says({}));
  EXPECT_FALSE(core->armed()) << "it did not say";
  pass(core->next_deadline());
  core->on_hook(now, pages({}).number, says({}, true));
  EXPECT_TRUE(core->armed());
}

TEST_F(ArmingTest, UnknownOrdersBlockIfTheyAreToldToUntilSomebodyDecidesThem) {
  ArmingRules rules;
  rules.unknown_blocks = true;
  make(rules);
  promote(2, 1);
  core->on_hook(now, pages({order("a", 10)}).number, says({}));
  for (const ReadPage& read : take<ReadPage>()) core->on_page(now, read.number, {});
  EXPECT_EQ(core->reason(), "1 order is unknown; resolve them or approve by force");
  EXPECT_NE(core->next_deadline(), TimePoint::max()) << "the hook may know more later";
  core->on_state(now, Epoch{2}, 0);  // a person resolved it
  EXPECT_TRUE(core->armed());
}

TEST_F(ArmingTest, OrdersThatBecomeUnknownWhileArmedAreAskedAboutBesideOrders) {
  promote(2);
  core->on_hook(now, pages({}).number, says({}));
  ASSERT_TRUE(core->armed());
  nothing_recent();
  core->on_state(now, Epoch{2}, 1);
  EXPECT_EQ(core->next_deadline(), now + 2s);
  pass(now + 2s);
  auto read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].kind, ReadPage::Kind::kUnknown);
  core->on_page(now, read[0].number, {});  // too fresh
  EXPECT_TRUE(core->armed());
  EXPECT_EQ(core->next_deadline(), now + 4s) << "later and later";
  pass(now + 4s);
  const AskHook asked = pages({order("a", 10)});
  EXPECT_TRUE(asked.armed);
  core->on_hook(now, asked.number, {false, "exit code 1", {}, {}});
  EXPECT_TRUE(core->armed()) << "a failure beside orders stops none";
  pass(core->next_deadline());
  core->on_hook(now, pages({order("a", 10)}).number, says({found("a", OrderStanding::kNotSent)}));
  record();
  core->on_state(now, Epoch{2}, 0);
  EXPECT_EQ(core->next_deadline(), TimePoint::max());
  EXPECT_EQ(core->counters().not_sent, 1u);
}

TEST_F(ArmingTest, OfThePresentEpochOnlyDoneIsBelievedUnlessTheInstanceLetsGo) {
  const auto verdicts = [&](bool gives_up) {
    ArmingRules rules;
    rules.gives_up = gives_up;
    make(rules);
    outputs.clear();
    promote(2);
    core->on_hook(now, pages({}).number, says({}));
    nothing_recent();
    core->on_state(now, Epoch{2}, 3);
    pass(core->next_deadline());
    OrderSeen ours = order("ours", 10), older = order("older", 11), done = order("done", 12);
    ours.epoch = done.epoch = 2;
    older.epoch = 1;
    core->on_hook(now, pages({ours, older, done}).number,
                  says({found("ours", OrderStanding::kNotSent), found("older", OrderStanding::kNotSent), found("done", OrderStanding::kDone)}));
    std::set<std::string> keys;
    for (const WriteVerdict& verdict : take<WriteVerdict>()) keys.insert(verdict.finding.key);
    return keys;
  };
  EXPECT_EQ(verdicts(false), (std::set<std::string>{"older", "done"})) << "it may leave the instance a moment later";
  EXPECT_EQ(core->counters().unfenced, 1u);
  EXPECT_EQ(verdicts(true), (std::set<std::string>{"older", "done", "ours"}));
}

TEST_F(ArmingTest, ALeaseThatComesBackUnderItsEpochFindsItArmed) {
  ArmingRules rules;
  rules.mode = ArmingMode::kWhenFlat;
  make(rules);
  promote(2);
  core->on_hook(now, pages({}).number, says({}, true));
  ASSERT_TRUE(core->armed());
  core->on_standby(now);
  EXPECT_FALSE(core->armed());
  promote(2, 1);
  EXPECT_TRUE(core->armed()) << "nobody else was primary meanwhile, and a position may be open by now";
  core->on_standby(now);
  promote(3);
  EXPECT_FALSE(core->armed());
}

TEST_F(ArmingTest, HeldBackOrdersEndNoWalkAndCountAsUnknown) {
  ArmingRules rules;
  rules.batch = 3;
  rules.unknown_blocks = true;
  make(rules);
  promote(2, 4);
  auto read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u);
  core->on_page(now, read[0].number, {order("a", 10), order("b", 12)}, {1, 11});
  core->on_hook(now, take<AskHook>().at(0).number, says({found("a", OrderStanding::kDone), found("b", OrderStanding::kDone)}));
  record();
  read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u) << "two and one make a full page";
  EXPECT_EQ(read[0].kind, ReadPage::Kind::kUnknown);
  EXPECT_EQ(read[0].bound, 12u);
  core->on_page(now, read[0].number, {order("c", 13)});
  core->on_hook(now, take<AskHook>().at(0).number, says({found("c", OrderStanding::kDone)}));
  record();
  for (const ReadPage& recent : take<ReadPage>()) core->on_page(now, recent.number, {});
  EXPECT_EQ(core->unknown_left(), 1u);
  EXPECT_FALSE(core->armed());
}

TEST_F(ArmingTest, AnOvertakenVerdictLeavesTheOrderUnknownAsFarAsIsKnown) {
  ArmingRules rules;
  rules.unknown_blocks = true;
  make(rules);
  promote(2, 1);
  core->on_hook(now, pages({order("a", 10)}).number, says({found("a", OrderStanding::kDone)}));
  record(VerdictEnd::kOvertaken);
  for (const ReadPage& recent : take<ReadPage>()) core->on_page(now, recent.number, {});
  EXPECT_FALSE(core->armed());
  core->on_state(now, Epoch{2}, 0);
  EXPECT_TRUE(core->armed()) << "it was not unknown any more";
}

TEST_F(ArmingTest, AnApprovalOfAnotherEpochStandsInNobodysWay) {
  ArmingRules rules;
  rules.mode = ArmingMode::kSupervised;
  make(rules);
  promote(4);
  core->on_hook(now, pages({}).number, says({}));
  core->on_approval(now, {Epoch{UINT64_MAX}, true, "eve"});
  EXPECT_FALSE(core->armed());
  core->on_approval(now, {Epoch{4}, false, "ann"});
  EXPECT_TRUE(core->armed());
}

/// A ledger with so many settled orders, the newest first, answered page by page; every call is answered at once.
struct Walk {
  std::size_t before = 0, after = 0;  ///< calls, by whether it was armed by then
  std::vector<std::string> shown;     ///< settled orders, as the hook saw them
};

class ArmingRecent : public ArmingTest {
 protected:
  Walk walk(std::size_t settled, HookAnswer answer, std::vector<OrderSeen> unknown = {}) {
    Walk seen;
    for (bool busy = true; busy;) {
      busy = false;
      for (const ReadPage& read : take<ReadPage>()) {
        busy = true;
        std::vector<OrderSeen> page;
        if (read.kind == ReadPage::Kind::kUnknown) page = std::exchange(unknown, {});
        else for (std::uint64_t at = std::min<std::uint64_t>(read.bound, settled + 1); at > 1 && page.size() < read.limit; --at) page.push_back(settled_order(at - 1));
        core->on_page(now, read.number, std::move(page));
      }
      for (const AskHook& asked : take<AskHook>()) {
        busy = true;
        EXPECT_EQ(asked.armed, core->armed());
        ++(core->armed() ? seen.after : seen.before);
        for (const OrderSeen& one : asked.orders) {
          if (one.standing != OrderStanding::kUnknown) seen.shown.push_back(one.key);
        }
        core->on_hook(now, asked.number, answer);
      }
    }
    return seen;
  }
  OrderSeen settled_order(std::uint64_t at) const {
    OrderSeen one = order("k" + std::to_string(at), at, OrderStanding::kDone);
    one.epoch = epoch_of(at);
    return one;
  }
  std::uint64_t epoch_of(std::uint64_t at) const { return at > present_from ? 2 : 1; }
  std::uint64_t present_from = UINT64_MAX;
};

TEST_F(ArmingRecent, SettledOrdersAreShownOnceItIsArmed) {
  promote(2, 1);
  const Walk seen = walk(650, says({}), {order("u", 1000)});
  EXPECT_EQ(seen.before, 1u) << "the unknown ones, and nothing else";
  EXPECT_EQ(seen.after, 7u);
  ASSERT_EQ(seen.shown.size(), 650u);
  EXPECT_EQ(seen.shown.front(), "k650");
  EXPECT_EQ(seen.shown.back(), "k1");
  EXPECT_EQ(walk(650, says({})).after, 0u) << "once per epoch";
  core->on_standby(now);
  promote(3);
  EXPECT_EQ(walk(5000, says({})).after, 10u) << "a day of them would tell it no more";
}

TEST_F(ArmingRecent, WhereAFlatPositionIsWaitedForTheyComeFirst) {
  ArmingRules rules;
  rules.mode = ArmingMode::kWhenFlat;
  make(rules);
  promote(2, 1);
  const Walk seen = walk(250, says({}, true), {order("u", 1000)});
  EXPECT_TRUE(core->armed());
  EXPECT_EQ(seen.before, 4u);
  EXPECT_EQ(seen.after, 0u) << "they were shown";
}

TEST_F(ArmingRecent, AHookThatWantsThemFirstGetsThemFirstFromThenOn) {
  HookAnswer answer = says({});
  answer.recent_first = true;
  promote(2, 1);
  Walk seen = walk(250, answer, {order("u", 1000)});
  EXPECT_EQ(std::pair(seen.before, seen.after), std::pair(std::size_t{4}, std::size_t{0}));
  core->on_standby(now);
  promote(3);
  seen = walk(250, says({}));
  EXPECT_EQ(std::pair(seen.before, seen.after), std::pair(std::size_t{3}, std::size_t{0})) << "it need not say so each time";
  answer.recent_first = false;
  core->on_standby(now);
  promote(4);
  seen = walk(250, answer);
  core->on_standby(now);
  promote(5);
  seen = walk(250, says({}));
  EXPECT_EQ(std::pair(seen.before, seen.after), std::pair(std::size_t{1}, std::size_t{3})) << "it has changed its mind";
}

TEST_F(ArmingRecent, APageThatFailsIsShownAgainAndWhatIsUnknownGoesFirst) {
  promote(2);
  core->on_hook(now, pages({}).number, says({}));
  ASSERT_TRUE(core->armed());
  auto read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u);
  present_from = 300;  // orders of the present epoch are newer, and in somebody's hands
  std::vector<OrderSeen> page;
  for (std::uint64_t at = 310; page.size() < 100; --at) page.push_back(settled_order(at));
  core->on_page(now, read[0].number, page);
  const auto asked = take<AskHook>();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].orders.size(), 90u);
  EXPECT_TRUE(asked[0].more);
  core->on_state(now, Epoch{2}, 1);
  pass(now + 9s);
  EXPECT_TRUE(take<ReadPage>().empty()) << "one question at a time";
  pass(now + 2s);
  EXPECT_EQ(take<DropHook>().size(), 1u) << "its deadline holds here, too";
  EXPECT_TRUE(core->armed());
  read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u) << "it was due meanwhile";
  EXPECT_EQ(read[0].kind, ReadPage::Kind::kUnknown);
  core->on_page(now, read[0].number, {});
  EXPECT_TRUE(take<ReadPage>().empty());
  EXPECT_EQ(core->next_deadline(), now + 500ms);
  pass(core->next_deadline());
  read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u) << "then the page that failed";
  EXPECT_EQ(read[0].kind, ReadPage::Kind::kRecent);
  EXPECT_EQ(read[0].bound, 311u) << "and not what came since";
}

// A hook that knows of unknown orders and stumbles over settled ones.
TEST_F(ArmingRecent, SettledPagesThatFailHastenNothingAndAreGivenUp) {
  promote(2, 1);
  core->on_hook(now, pages({order("u", 1000)}).number, says({}));
  ASSERT_TRUE(core->armed());
  std::size_t unknown_calls = 0, recent_calls = 0, given_up = 0;
  for (const TimePoint end = now + 600s; now < end;) {
    for (const ReadPage& read : take<ReadPage>()) {
      const bool recent = read.kind == ReadPage::Kind::kRecent;
      core->on_page(now, read.number, {recent ? settled_order(7) : order("u", 1000)});
    }
    for (const AskHook& asked : take<AskHook>()) {
      const bool recent = asked.orders.front().standing != OrderStanding::kUnknown;
      ++(recent ? recent_calls : unknown_calls);
      core->on_hook(now, asked.number, recent ? HookAnswer{false, "no such field", {}, {}} : says({}));
    }
    for (const ArmingNews& news : take<ArmingNews>()) given_up += std::string_view(news.what) == "recent_given_up" ? 1 : 0;
    const TimePoint next = core->next_deadline();
    pass(std::clamp(next, now + 1ms, end));
  }
  EXPECT_EQ(recent_calls, 8u);
  EXPECT_EQ(given_up, 1u);
  EXPECT_LE(unknown_calls, 25u) << "later and later, up to every 30 s";
  EXPECT_GE(unknown_calls, 20u);
  EXPECT_TRUE(core->armed());
  core->on_standby(now);
  promote(3);
  core->on_hook(now, pages({}).number, says({}));
  EXPECT_EQ(walk(50, says({})).after, 1u) << "another epoch, another try";
}

TEST_F(ArmingRecent, ANewUnknownOrderIsAskedAboutSoonAlsoWhileTheHookFails) {
  promote(2);
  core->on_hook(now, pages({}).number, says({}));
  nothing_recent();
  core->on_state(now, Epoch{2}, 1);
  for (int i = 0; i < 8; ++i) {
    pass(core->next_deadline());
    core->on_hook(now, pages({order("a", 10)}).number, {false, "exit code 1", {}, {}});
  }
  EXPECT_EQ(core->next_deadline(), now + 30s);
  pass(now + 1s);
  core->on_state(now, Epoch{2}, 2);
  EXPECT_EQ(core->next_deadline(), now + 2s);
  pass(core->next_deadline());
  EXPECT_EQ(pages({order("a", 10), order("b", 11)}).orders.size(), 2u);
  core->on_state(now, Epoch{2}, 3);  // while the hook is asked about the others
  const TimePoint due = now + 2s;
  pass(now + 10s);
  EXPECT_EQ(take<DropHook>().size(), 1u);
  EXPECT_LE(due, now);
  EXPECT_EQ(take<ReadPage>().size(), 1u);
}

TEST_F(ArmingRecent, ForcedItAsksAboutUnknownOrdersBeforeAnythingElse) {
  promote(4, 1);
  const AskHook asked = pages({order("a", 10)});
  core->on_hook(now, asked.number, {false, "exit code 1", {}, {}});
  core->on_approval(now, {Epoch{4}, true, "ann"});
  ASSERT_TRUE(core->armed());
  const auto read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].kind, ReadPage::Kind::kUnknown);
}

TEST_F(ArmingRecent, ALateRenewalGoesOnWhereItWas) {
  promote(2);
  core->on_hook(now, pages({}).number, says({}));
  auto read = take<ReadPage>();
  ASSERT_EQ(read.size(), 1u);
  core->on_standby(now);
  promote(2);
  EXPECT_TRUE(core->armed());
  core->on_page(now, read[0].number, {settled_order(1)});
  EXPECT_TRUE(take<AskHook>().empty()) << "a page of the walk before";
  EXPECT_EQ(walk(50, says({})).after, 1u);
}

TEST_F(ArmingTest, WhatIsUnderWayEndsWithTheEpoch) {
  promote(2, 1);
  const AskHook asked = pages({order("a", 10)});
  core->on_standby(now);
  EXPECT_EQ(take<DropHook>().size(), 1u);
  core->on_hook(now, asked.number, says({found("a", OrderStanding::kDone)}));
  EXPECT_TRUE(take<WriteVerdict>().empty());
  EXPECT_EQ(core->next_deadline(), TimePoint::max());
  promote(3, 1);
  core->on_hook(now, asked.number, says({found("a", OrderStanding::kDone)}));
  EXPECT_TRUE(take<WriteVerdict>().empty()) << "a word under another epoch";
}

}  // namespace
}  // namespace agent
