#include <gmock/gmock.h>

#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TxnOp op(TxnVerb verb, const std::string& key, const std::string& value = {}, std::uint64_t index = 0,
         std::uint8_t session = 0) {
  TxnOp made;
  made.verb = verb;
  made.key = key;
  made.value = value;
  made.index = Index{index};
  if (session != 0) made.session = session_id(session);
  return made;
}

class Txns : public testing::Test {
 protected:
  void SetUp() override {
    m.run(SessionCreate{session(1)});
    m.run(SessionCreate{session(2)});
    m.run(Set{"a", "1", 0});  // entry 3
    m.run(Set{"b", "2", 0});  // entry 4
  }
  /// Failure text of the only step; "" = it worked.
  std::string alone(const TxnOp& step) {
    const Applied done = m.run(Txn{{step}});
    if (!done.txn) return "no answer";
    EXPECT_EQ(done.outcome == Outcome::kDone, done.txn->failures.empty());
    return done.txn->failures.empty() ? "" : done.txn->failures[0].what;
  }
  Machine m;
};

TEST_F(Txns, StepsSeeEachOtherAndResultsComeInOrder) {
  const Applied done = m.run(Txn{{op(TxnVerb::kSet, "c", "3"), op(TxnVerb::kGet, "c"), op(TxnVerb::kDelete, "a"),
                                  op(TxnVerb::kGetTree, ""), op(TxnVerb::kGetOrEmpty, "a")}});
  ASSERT_EQ(done.outcome, Outcome::kDone);
  ASSERT_TRUE(done.txn);
  const auto& results = done.txn->results;
  ASSERT_THAT(results, SizeIs(5));
  EXPECT_EQ(results[0].op, 0U);
  EXPECT_EQ(results[0].entry->value, "") << "a write's result has no value";
  EXPECT_EQ(results[0].entry->modify, m.now());
  EXPECT_EQ(results[1].entry->value, "3");
  EXPECT_EQ(results[2].key, "b");
  EXPECT_EQ(results[2].op, 3U);
  EXPECT_EQ(results[3].key, "c");
  EXPECT_EQ(results[4].entry, std::nullopt);
  m.expect_mirrored();
}

TEST_F(Txns, AFailedStepTakesEverythingBackAndTheOthersAreStillLookedAt) {
  m.run(Acquire{"locked", "v", 0, session_id(1), KeepValue::kOverwrite});
  m.run(Delete{"b"});
  m.run(QuotaSet{"a", {1000, 10}});
  m.expect_mirrored();
  const auto rows = m.state.records();
  const auto watch = m.state.watch({Topic::Kind::kPrefix, ""}, m.now());
  const std::size_t bytes = m.state.entry_bytes();
  const Index before = m.state.prefix_index("");
  const Applied done = m.run(Txn{{op(TxnVerb::kSet, "a", "changed"), op(TxnVerb::kSet, "b", "again"),
                                  op(TxnVerb::kDelete, "locked"), op(TxnVerb::kGet, "none"),
                                  op(TxnVerb::kSet, "a", "twice"), op(TxnVerb::kLock, "locked", "", 0, 2),
                                  op(TxnVerb::kDeleteTree, ""), op(TxnVerb::kCas, "a", "", 77)}});
  EXPECT_EQ(done.outcome, Outcome::kConditionFailed);
  ASSERT_TRUE(done.txn);
  EXPECT_THAT(done.txn->results, IsEmpty());
  ASSERT_THAT(done.txn->failures, SizeIs(2));
  EXPECT_EQ(done.txn->failures[0].op, 3U);
  EXPECT_THAT(done.txn->failures[0].what, HasSubstr("doesn't exist"));
  EXPECT_EQ(done.txn->failures[1].op, 7U);
  EXPECT_EQ(m.state.get("a")->value, "1");
  EXPECT_EQ(*m.state.lock("locked"), (Lock{1, session_id(1)}));
  EXPECT_EQ(m.state.entry_bytes(), bytes);
  EXPECT_EQ(m.state.quotas().find("a")->use.bytes, 2U);
  EXPECT_EQ(m.state.prefix_index(""), before);
  EXPECT_THAT(m.state.take_woken(), IsEmpty());
  m.state.unwatch(*watch);
  EXPECT_THAT(m.state.changes_since("", before, 100).changes, IsEmpty());
  m.expect_mirrored();
  auto now = m.state.records();  // only the request's own row is new
  std::erase_if(now, [](const Record& r) { return r.key[0] == 'd'; });
  auto then = rows;
  std::erase_if(then, [](const Record& r) { return r.key[0] == 'd'; });
  EXPECT_EQ(now, then);
}

TEST_F(Txns, EachVerbFailsWithItsReason) {
  EXPECT_EQ(alone(op(TxnVerb::kCas, "a", "x", 4)), "failed to set key \"a\", index is stale");
  EXPECT_EQ(alone(op(TxnVerb::kCas, "a", "x", 0)), "failed to set key \"a\", index is stale");
  EXPECT_EQ(alone(op(TxnVerb::kGet, "z")), "key \"z\" doesn't exist");
  EXPECT_EQ(alone(op(TxnVerb::kCheckIndex, "a", "", 9)),
            "failed index check for key \"a\", current modify index 3 != 9");
  EXPECT_EQ(alone(op(TxnVerb::kCheckIndex, "z", "", 9)), "failed to check index, key \"z\" doesn't exist");
  EXPECT_EQ(alone(op(TxnVerb::kCheckSession, "z", "", 0, 1)), "failed to check session, key \"z\" doesn't exist");
  EXPECT_THAT(alone(op(TxnVerb::kCheckSession, "a", "", 0, 1)), HasSubstr("failed session check for key \"a\""));
  EXPECT_EQ(alone(op(TxnVerb::kCheckNotExists, "a")), "key \"a\" exists");
  EXPECT_EQ(alone(op(TxnVerb::kDeleteCas, "a", "", 9)), "failed to delete key \"a\", index is stale");
  EXPECT_EQ(alone(op(TxnVerb::kLock, "a", "", 0, 9)), "invalid session \"" + session_id(9).text() + "\"");
  EXPECT_EQ(alone(op(TxnVerb::kUnlock, "a", "", 0, 1)),
            "failed to unlock key \"a\", lock isn't held, or is held by another session");
  EXPECT_EQ(alone(op(TxnVerb::kLock, "a", "v", 0, 1)), "");
  EXPECT_EQ(alone(op(TxnVerb::kLock, "a", "v", 0, 2)), "failed to lock key \"a\", lock is already held");
}

TEST_F(Txns, EachVerbWorks) {
  EXPECT_EQ(alone(op(TxnVerb::kCas, "a", "x", 3)), "");
  EXPECT_EQ(alone(op(TxnVerb::kCas, "new", "x", 0)), "");
  EXPECT_EQ(alone(op(TxnVerb::kCheckIndex, "b", "", 4)), "");
  EXPECT_EQ(alone(op(TxnVerb::kCheckNotExists, "z")), "");
  EXPECT_EQ(alone(op(TxnVerb::kGetTree, "none/")), "");
  EXPECT_EQ(alone(op(TxnVerb::kLock, "b", "2", 0, 1)), "");
  EXPECT_EQ(alone(op(TxnVerb::kCheckSession, "b", "", 0, 1)), "");
  EXPECT_EQ(alone(op(TxnVerb::kUnlock, "b", "2", 0, 1)), "");
  EXPECT_EQ(alone(op(TxnVerb::kDeleteCas, "b", "", m.index())), "");
  EXPECT_EQ(alone(op(TxnVerb::kDeleteCas, "z", "", 9)), "") << "nor is it here";
  EXPECT_EQ(alone(op(TxnVerb::kDelete, "z")), "") << "a missing key is no failure";
  EXPECT_EQ(alone(op(TxnVerb::kDeleteTree, "")), "");
  EXPECT_EQ(m.state.entry_count(), 0U);
  m.expect_mirrored();
}

TEST_F(Txns, OnlyHowAKeyWasLeftIsTold) {
  const auto watch = m.state.watch({Topic::Kind::kKey, "c"}, m.now());
  m.run(Txn{{op(TxnVerb::kSet, "c", "1"), op(TxnVerb::kSet, "c", "2"), op(TxnVerb::kDelete, "a")}});
  EXPECT_THAT(m.state.take_woken(), testing::ElementsAre(*watch));
  const auto slice = m.state.changes_since("", Index{4}, 100);
  ASSERT_THAT(slice.changes, SizeIs(2));
  EXPECT_EQ(slice.changes[0], (Change{m.now(), ChangeKind::kDelete, "a"}));
  EXPECT_EQ(slice.changes[1], (Change{m.now(), ChangeKind::kSet, "c"}));
}

TEST_F(Txns, AKeyMadeAndRemovedLeavesAGrave) {
  m.run(Txn{{op(TxnVerb::kSet, "c", "1"), op(TxnVerb::kDelete, "c")}});
  EXPECT_EQ(m.state.get("c"), nullptr);
  EXPECT_EQ(m.state.key_index("c"), m.now());
  m.expect_mirrored();
  m.run(Txn{{op(TxnVerb::kSet, "c", "1")}});
  m.expect_mirrored();
}

TEST_F(Txns, OnlyTheirOriginIsAnsweredAndARepeatHasNoAnswer) {
  const RequestId mine{NodeId{1}, 900};
  const Txn get{{op(TxnVerb::kGet, "a")}};
  EXPECT_TRUE(m.at(20, mine, get).txn);
  const Applied again = m.at(21, mine, get);
  EXPECT_TRUE(again.repeated);
  EXPECT_EQ(again.outcome, Outcome::kDone);
  EXPECT_EQ(again.index, Index{20});
  EXPECT_FALSE(again.txn);
  const Applied others = m.at(22, RequestId{NodeId{2}, 1}, get);
  EXPECT_EQ(others.outcome, Outcome::kDone);
  EXPECT_FALSE(others.txn);
}

TEST_F(Txns, WhatOneReadsIsBoundedOnEveryReplicaAlike) {
  for (int i = 0; i < 17; ++i) m.run(Set{"big/" + std::to_string(i), std::string(kValueBytesMax, 'x'), 0});
  Txn txn{{op(TxnVerb::kSet, "a", "changed"), op(TxnVerb::kGetTree, "big/")}};
  EXPECT_EQ(m.outcome(txn), Outcome::kConditionFailed);
  EXPECT_EQ(m.at(100, RequestId{NodeId{2}, 1}, txn).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(m.state.get("a")->value, "1");
}

TEST_F(Txns, BoundsOfTheCommand) {
  EXPECT_EQ(check(Txn{}).error().code, Errc::kMalformed);
  EXPECT_EQ(check(Txn{std::vector<TxnOp>(kTxnOpsMax + 1, op(TxnVerb::kGet, "a"))}).error().code, Errc::kTooLarge);
  EXPECT_EQ(check(Txn{{op(TxnVerb::kGet, "")}}).error().code, Errc::kBadKey);
  EXPECT_TRUE(check(Txn{{op(TxnVerb::kGetTree, "")}}));
  EXPECT_EQ(check(Txn{{op(TxnVerb::kLock, "a")}}).error().code, Errc::kMalformed) << "no session";
}

TEST(Txn, NamesOfVerbs) {
  EXPECT_STREQ(to_string(TxnVerb::kCheckNotExists), "check-not-exists");
  EXPECT_STREQ(to_string(TxnVerb::kGetOrEmpty), "get-or-empty");
}

}  // namespace
}  // namespace store::kv
