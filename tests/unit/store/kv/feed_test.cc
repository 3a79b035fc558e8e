#include <gmock/gmock.h>

#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// --- change feed --------------------------------------------------------------------------------------------------

TEST(Feed, TellsEveryChangedKeyWithItsOperationAndIndex) {
  Machine m;
  m.run(SessionCreate{session(1)});
  m.run(Set{"a/1", "v", 0});
  m.run(Set{"b", "v", 0});
  m.run(Acquire{"a/1", "v", 0, session_id(1), KeepValue::kOverwrite});
  m.run(Release{"a/1", "v", 0, session_id(1), KeepValue::kOverwrite});
  m.run(Set{"a/1", "v", 0});  // changes nothing
  m.run(Delete{"a/1"});
  const auto slice = m.state.changes_since("a/", Index{}, 100);
  EXPECT_FALSE(slice.too_old);
  EXPECT_THAT(slice.changes, ElementsAre(Change{Index{2}, ChangeKind::kSet, "a/1"}, Change{Index{4}, ChangeKind::kLock, "a/1"},
                                         Change{Index{5}, ChangeKind::kUnlock, "a/1"},
                                         Change{Index{7}, ChangeKind::kDelete, "a/1"}));
  EXPECT_EQ(slice.next, m.now());
  EXPECT_THAT(m.state.changes_since("a/", Index{4}, 100).changes, SizeIs(2));
  EXPECT_THAT(m.state.changes_since("a/", m.now(), 100).changes, IsEmpty());
}

TEST(Feed, ALimitNeverTearsOneEntryApart) {
  Machine m;
  for (int i = 0; i < 5; ++i) m.run(Set{"k" + std::to_string(i), "v", 0});
  m.run(DeleteTree{""});
  m.run(Set{"z", "v", 0});
  auto slice = m.state.changes_since("", Index{}, 2);
  EXPECT_THAT(slice.changes, SizeIs(2));
  EXPECT_EQ(slice.next, Index{2});
  slice = m.state.changes_since("", Index{5}, 1);
  EXPECT_THAT(slice.changes, SizeIs(5)) << "all of the delete";
  EXPECT_EQ(slice.next, Index{6});
  slice = m.state.changes_since("", slice.next, 10);
  EXPECT_THAT(slice.changes, SizeIs(1));
  EXPECT_EQ(slice.next, Index{7});
}

TEST(Feed, AnOldResumeIsToldToListAnew) {
  ChangeFeed feed;
  for (std::uint64_t i = 1; i <= kFeedEntriesMax + 10; ++i) feed.add(Index{i}, ChangeKind::kSet, "k");
  EXPECT_EQ(feed.size(), kFeedEntriesMax);
  EXPECT_TRUE(feed.since("", Index{9}, 1, Index{99'999}).too_old);
  EXPECT_FALSE(feed.since("", Index{10}, 1, Index{99'999}).too_old);
  ChangeFeed wide;
  for (std::uint64_t i = 1; i <= 3'000; ++i) wide.add(Index{i}, ChangeKind::kSet, std::string(kKeyBytesMax, 'k'));
  EXPECT_LE(wide.bytes(), kFeedBytesMax);
  EXPECT_EQ(wide.since("", Index{}, 1, Index{99'999}).next, Index{99'999}) << "go on from there";
}

TEST(Feed, BeginsAnewAfterARestart) {
  Machine m;
  m.run(Set{"k", "v", 0});
  StateMachine again;
  ASSERT_TRUE(again.load(m.state.applied(), m.disk_rows()));
  EXPECT_TRUE(again.changes_since("", Index{}, 10).too_old);
  EXPECT_FALSE(again.changes_since("", Index{1}, 10).too_old);
}

TEST(Feed, Names) {
  EXPECT_STREQ(to_string(ChangeKind::kSet), "set");
  EXPECT_STREQ(to_string(ChangeKind::kUnlock), "unlock");
}

// --- quotas -------------------------------------------------------------------------------------------------------

TEST(QuotaTest, BoundsBytesAndEntriesBelowAPrefixAndNamesItself) {
  Machine m;
  m.run(Set{"app/a", "12345", 0});  // 10 bytes
  m.run(QuotaSet{"app/", {25, 2}});
  EXPECT_EQ(m.state.quotas().find("app/")->use.bytes, 10U) << "what is there counts";
  EXPECT_EQ(m.outcome(Set{"app/b", "12345", 0}), Outcome::kDone);
  const Applied third = m.run(Set{"app/c", "", 0});
  EXPECT_EQ(third.outcome, Outcome::kFull);
  EXPECT_THAT(third.detail, HasSubstr("'app/'"));
  EXPECT_EQ(m.outcome(Set{"app/a", "1234567890a", 0}), Outcome::kFull);
  EXPECT_EQ(m.outcome(Set{"app/a", "1234567890", 0}), Outcome::kDone);
  EXPECT_EQ(m.outcome(Set{"other", "123456789012345678901234567890", 0}), Outcome::kDone);
  EXPECT_EQ(m.outcome(Set{"app/a", "1", 0}), Outcome::kDone) << "what shrinks always fits";
  m.run(Delete{"app/b"});
  EXPECT_EQ(m.state.quotas().find("app/")->use.entries, 1U);
  EXPECT_EQ(m.outcome(Set{"app/c", "", 0}), Outcome::kDone);
  m.expect_mirrored();
  StateMachine again;
  ASSERT_TRUE(again.load(m.state.applied(), m.state.records()));
  EXPECT_EQ(again.quotas().find("app/")->use.bytes, m.state.quotas().find("app/")->use.bytes);
}

TEST(QuotaTest, AboveItsLimitNothingIsLostButNothingIsAdded) {
  Machine m;
  m.run(Set{"a", "1234567890", 0});
  m.run(QuotaSet{"a", {5, 0}});
  EXPECT_EQ(m.state.get("a")->value, "1234567890");
  EXPECT_EQ(m.outcome(Set{"ab", "", 0}), Outcome::kFull);
  EXPECT_EQ(m.outcome(QuotaSet{"a", {5, 0}}), Outcome::kUnchanged);
  EXPECT_EQ(m.outcome(QuotaRemove{"a"}), Outcome::kDone);
  EXPECT_EQ(m.outcome(QuotaRemove{"a"}), Outcome::kNotFound);
  EXPECT_EQ(m.outcome(Set{"ab", "", 0}), Outcome::kDone);
  for (std::size_t i = 0; i < kQuotasMax; ++i) m.run(QuotaSet{"q" + std::to_string(i), {1, 1}});
  EXPECT_THAT(m.run(QuotaSet{"one more", {1, 1}}).detail, HasSubstr("64 quotas"));
  m.expect_mirrored();
}

TEST(QuotaTest, AFullStepOfATransactionSaysSo) {
  Machine m;
  m.run(QuotaSet{"a", {0, 1}});
  TxnOp one, two;
  one.verb = two.verb = TxnVerb::kSet;
  one.key = "a1";
  two.key = "a2";
  const Applied done = m.run(Txn{{one, two}});
  EXPECT_EQ(done.outcome, Outcome::kConditionFailed);
  EXPECT_THAT(done.txn->failures[0].what, HasSubstr("quota of prefix 'a'"));
  EXPECT_EQ(m.state.entry_count(), 0U);
  EXPECT_EQ(m.state.quotas().find("a")->use.entries, 0U);
}

// --- events -------------------------------------------------------------------------------------------------------

TEST(Events, TheLastOnesAreKeptInOrderAndTheirIndexIsTheirTime) {
  Machine m;
  const auto watch = m.state.watch({Topic::Kind::kEvents, ""}, Index{1});
  UserEvent event;
  event.name = "deploy";
  event.payload = "v2";
  event.service_filter = "web";
  m.run(Set{"k", "v", 0});
  for (std::size_t i = 0; i < kEventsMax + 3; ++i) {
    event.id = uuid(static_cast<std::uint8_t>(i % 250 + 1));
    EXPECT_EQ(m.outcome(EventFire{event}), Outcome::kDone);
  }
  EXPECT_THAT(m.state.take_woken(), ElementsAre(*watch));
  EXPECT_THAT(m.state.events(), SizeIs(kEventsMax));
  EXPECT_EQ(m.state.events().front().index, Index{5});
  EXPECT_EQ(m.state.events().back().index, m.now());
  EXPECT_EQ(m.state.events_index(), m.now());
  EXPECT_EQ(m.state.events().back().service_filter, "web");
  m.expect_mirrored();
  event.payload.assign(kEventPayloadBytesMax + 1, 'x');
  EXPECT_EQ(check(EventFire{event}).error().code, Errc::kTooLarge);
  EXPECT_EQ(check(EventFire{UserEvent{}}).error().code, Errc::kMalformed);
}

}  // namespace
}  // namespace store::kv
