#include <gmock/gmock.h>

#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

Acquire acquire(const std::string& key, std::uint8_t session, const std::string& value = "v") {
  return {key, value, 0, session_id(session), KeepValue::kOverwrite};
}
Release release(const std::string& key, std::uint8_t session, const std::string& value = "v") {
  return {key, value, 0, session_id(session), KeepValue::kOverwrite};
}

class Locks : public testing::Test {
 protected:
  void SetUp() override {
    m.run(SessionCreate{session(1)});
    m.run(SessionCreate{session(2)});
  }
  Machine m;
};

TEST_F(Locks, AcquireCreatesTheKeyWithLockIndexOne) {
  EXPECT_EQ(m.outcome(Acquire{"k", "v", 7, session_id(1), KeepValue::kOverwrite}), Outcome::kDone);
  EXPECT_EQ(*m.state.get("k"), (Entry{"v", 7, m.now(), m.now()}));
  EXPECT_EQ(*m.state.lock("k"), (Lock{1, session_id(1)}));
  EXPECT_THAT(*m.state.held_by(session_id(1)), ElementsAre("k"));
  m.expect_mirrored();
}

TEST_F(Locks, AnUnknownSessionIsAnOutcomeOfItsOwn) {
  EXPECT_EQ(m.outcome(acquire("k", 9)), Outcome::kInvalidSession);
  EXPECT_EQ(m.state.get("k"), nullptr);
}

TEST_F(Locks, AnotherSessionIsRefusedAndTheHolderMayAgain) {
  m.run(acquire("k", 1));
  const Index before = m.now();
  EXPECT_EQ(m.outcome(acquire("k", 2)), Outcome::kHeld);
  EXPECT_EQ(m.outcome(acquire("k", 1)), Outcome::kUnchanged) << "nothing differs: no index moves";
  EXPECT_EQ(m.state.get("k")->modify, before);
  EXPECT_EQ(m.outcome(acquire("k", 1, "other")), Outcome::kDone);
  EXPECT_EQ(*m.state.lock("k"), (Lock{1, session_id(1)})) << "re-acquiring counts nothing";
  EXPECT_EQ(m.state.get("k")->value, "other");
}

TEST_F(Locks, ReleaseKeepsTheLockIndexAndTheNextAcquireRaisesIt) {
  m.run(acquire("k", 1));
  EXPECT_EQ(m.outcome(release("k", 2)), Outcome::kHeld);
  EXPECT_EQ(m.outcome(release("k", 1, "left")), Outcome::kDone);
  EXPECT_EQ(*m.state.lock("k"), (Lock{1, {}}));
  EXPECT_EQ(m.state.get("k")->value, "left");
  EXPECT_EQ(m.state.held_by(session_id(1)), nullptr);
  EXPECT_EQ(m.outcome(release("k", 1)), Outcome::kConditionFailed) << "it is not locked";
  EXPECT_EQ(m.outcome(release("missing", 1)), Outcome::kNotFound);
  EXPECT_EQ(m.outcome(acquire("k", 2)), Outcome::kDone) << "no lock-delay after a release";
  EXPECT_EQ(*m.state.lock("k"), (Lock{2, session_id(2)}));
  m.expect_mirrored();
}

TEST_F(Locks, APlainWriteKeepsSessionAndLockIndex) {
  m.run(acquire("k", 1));
  EXPECT_EQ(m.outcome(Set{"k", "stolen", 0}), Outcome::kDone);
  EXPECT_EQ(*m.state.lock("k"), (Lock{1, session_id(1)}));
  EXPECT_EQ(m.outcome(Cas{"k", "again", 0, m.now()}), Outcome::kDone);
  EXPECT_EQ(*m.state.lock("k"), (Lock{1, session_id(1)}));
  m.expect_mirrored();
}

TEST_F(Locks, DeletingALockedKeyFreesItAndTheCountBeginsAnew) {
  m.run(acquire("k", 1));
  m.run(release("k", 1));
  m.run(acquire("k", 1));
  EXPECT_EQ(m.state.lock("k")->lock_index, 2U);
  m.run(Delete{"k"});
  EXPECT_EQ(m.state.lock("k"), nullptr);
  EXPECT_EQ(m.state.held_by(session_id(1)), nullptr);
  EXPECT_EQ(m.outcome(acquire("k", 2)), Outcome::kDone);
  EXPECT_EQ(m.state.lock("k")->lock_index, 1U);
  m.expect_mirrored();
}

TEST_F(Locks, TheValueCanBeKept) {
  m.run(Set{"k", "data", 5});
  EXPECT_EQ(m.outcome(Acquire{"k", "ignored", 9, session_id(1), KeepValue::kKeep}), Outcome::kDone);
  EXPECT_EQ(m.state.get("k")->value, "data");
  EXPECT_EQ(m.state.get("k")->flags, 5U);
  EXPECT_EQ(m.outcome(Release{"k", "ignored", 9, session_id(1), KeepValue::kKeep}), Outcome::kDone);
  EXPECT_EQ(m.state.get("k")->value, "data");
  EXPECT_EQ(m.outcome(Acquire{"new", "first", 9, session_id(1), KeepValue::kKeep}), Outcome::kDone);
  EXPECT_EQ(m.state.get("new")->value, "first") << "a new key has nothing to keep";
}

TEST_F(Locks, ListsShowLocksBesideTheirEntries) {
  m.run(Set{"a", "1", 0});
  m.run(acquire("b", 1));
  m.run(Set{"c", "1", 0});
  const auto found = m.state.list("");
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].lock, nullptr);
  ASSERT_NE(found[1].lock, nullptr);
  EXPECT_EQ(found[1].lock->session, session_id(1));
  EXPECT_EQ(found[2].lock, nullptr);
}

TEST_F(Locks, OneSessionHoldsAtMostItsBound) {
  for (std::size_t i = 0; i < kSessionKeysMax; ++i) m.run(acquire("k" + std::to_string(i), 1));
  const Applied refused = m.run(acquire("one more", 1));
  EXPECT_EQ(refused.outcome, Outcome::kFull);
  EXPECT_THAT(refused.detail, testing::HasSubstr("session's"));
  EXPECT_EQ(m.outcome(acquire("k0", 1, "held already")), Outcome::kDone);
}

// --- sessions end -------------------------------------------------------------------------------------------------

TEST(Sessions, DestroyFreesKeysAndHoldsThemBack) {
  Machine m;
  m.run(SessionCreate{session(1, 15'000)});
  m.run(SessionCreate{session(2)});
  m.run(acquire("k", 1, "kept"));
  const Applied ended = m.run(SessionDestroy{session_id(1)});
  EXPECT_THAT(ended.sessions_changed, ElementsAre(session_id(1)));
  EXPECT_THAT(ended.delays_changed, ElementsAre("k"));
  EXPECT_EQ(m.state.sessions().find(session_id(1)), nullptr);
  EXPECT_EQ(m.state.get("k")->value, "kept");
  EXPECT_EQ(m.state.get("k")->modify, m.now());
  EXPECT_EQ(*m.state.lock("k"), (Lock{1, {}}));
  EXPECT_EQ(*m.state.sessions().delay("k"), (LockDelay{15'000, m.now()}));
  const Index since = m.now();
  EXPECT_EQ(m.outcome(acquire("k", 2)), Outcome::kHeldBack);
  EXPECT_EQ(m.outcome(Set{"k", "plain", 0}), Outcome::kDone) << "locks are advisory, so are delays";
  m.expect_mirrored();
  EXPECT_EQ(m.outcome(LockDelayEnd{"k", Index{1}}), Outcome::kNotFound) << "of an earlier delay";
  EXPECT_EQ(m.outcome(LockDelayEnd{"k", since}), Outcome::kDone);
  EXPECT_EQ(m.outcome(acquire("k", 2)), Outcome::kDone);
  EXPECT_EQ(m.outcome(SessionDestroy{session_id(9)}), Outcome::kDone) << "unknown: as Consul has it";
  m.expect_mirrored();
}

TEST(Sessions, BehaviourDeleteRemovesTheKeysAndHoldsThemBackToo) {
  Machine m;
  m.run(SessionCreate{session(1, 1'000, SessionBehavior::kDelete)});
  m.run(acquire("a", 1));
  m.run(acquire("b", 1));
  m.run(Set{"c", "1", 0});
  EXPECT_EQ(m.outcome(SessionExpire{session_id(1)}), Outcome::kDone);
  EXPECT_EQ(m.state.get("a"), nullptr);
  EXPECT_EQ(m.state.get("b"), nullptr);
  EXPECT_NE(m.state.get("c"), nullptr);
  EXPECT_EQ(m.state.key_index("a"), m.now()) << "a delete leaves a higher index";
  EXPECT_THAT(m.state.sessions().delays(), SizeIs(2));
  EXPECT_EQ(m.outcome(SessionExpire{session_id(1)}), Outcome::kNotFound);
  m.expect_mirrored();
}

TEST(Sessions, WithoutLockDelayTheNextMayAtOnce) {
  Machine m;
  m.run(SessionCreate{session(1, 0)});
  m.run(SessionCreate{session(2)});
  m.run(acquire("k", 1));
  m.run(SessionDestroy{session_id(1)});
  EXPECT_EQ(m.outcome(acquire("k", 2)), Outcome::kDone);
}

TEST(Sessions, NodeAndChecksMustBeThereAndNotCritical) {
  Machine m;
  Session wanted = session(1);
  wanted.node = "n1";
  EXPECT_EQ(m.run(SessionCreate{wanted}).detail, "node 'n1'");
  m.run(NodeSet{node("n1")});
  wanted.node_checks = {"serfHealth"};
  EXPECT_EQ(m.run(SessionCreate{wanted}).detail, "check 'serfHealth'");
  m.run(CheckSet{check_row("n1", "serfHealth", "", CheckStatus::kCritical), KeepStatus::kReplace});
  EXPECT_EQ(m.outcome(SessionCreate{wanted}), Outcome::kConditionFailed);
  m.run(CheckStatusSet{"n1", "serfHealth", CheckStatus::kWarning, ""});
  EXPECT_EQ(m.outcome(SessionCreate{wanted}), Outcome::kDone);
  EXPECT_EQ(m.outcome(SessionCreate{wanted}), Outcome::kExists);
  EXPECT_THAT(m.state.sessions().of_node("n1"), SizeIs(1));
  EXPECT_THAT(m.state.sessions().of_node("n2"), IsEmpty());
  m.expect_mirrored();
}

class TiedSession : public testing::Test {
 protected:
  void SetUp() override {
    m.run(NodeSet{node("n1")});
    m.run(CheckSet{check_row("n1", "serfHealth"), KeepStatus::kReplace});
    m.run(ServiceSet{instance("n1", "web1", "web"), {check_row("n1", "service:web1", "web1")}, {}, {}});
    Session wanted = session(1);
    wanted.node = "n1";
    wanted.node_checks = {"serfHealth"};
    wanted.service_checks = {"service:web1"};
    ASSERT_EQ(m.outcome(SessionCreate{wanted}), Outcome::kDone);
    m.run(acquire("k", 1));
  }
  void expect_ended() {
    EXPECT_EQ(m.state.sessions().find(session_id(1)), nullptr);
    EXPECT_TRUE(m.state.lock("k")->session.is_none());
    EXPECT_EQ(m.state.sessions().index(), m.now()) << "in the same step";
    m.expect_mirrored();
  }
  Machine m;
};

TEST_F(TiedSession, ACriticalCheckEndsItInTheSameStep) {
  m.run(CheckStatusSet{"n1", "serfHealth", CheckStatus::kWarning, "slow"});
  EXPECT_NE(m.state.sessions().find(session_id(1)), nullptr) << "a warning does not";
  m.run(CheckStatusSet{"n1", "serfHealth", CheckStatus::kCritical, "gone"});
  expect_ended();
}
TEST_F(TiedSession, ACriticalServiceCheckToo) {
  m.run(CheckSet{check_row("n1", "service:web1", "web1", CheckStatus::kCritical), KeepStatus::kReplace});
  expect_ended();
}
TEST_F(TiedSession, ARemovedCheckToo) {
  m.run(CheckRemove{"n1", "serfHealth"});
  expect_ended();
}
TEST_F(TiedSession, ARemovedServiceToo) {
  m.run(ServiceRemove{"n1", "web1"});
  expect_ended();
}
TEST_F(TiedSession, ARemovedNodeToo) {
  m.run(NodeRemove{"n1"});
  expect_ended();
}

TEST(Sessions, TopicsOfOneAndOfAll) {
  Machine m;
  const auto one = m.state.watch({Topic::Kind::kSession, session_id(1).text()}, Index{1});
  const auto all = m.state.watch({Topic::Kind::kSessions, ""}, Index{1});
  m.run(SessionCreate{session(1)});
  EXPECT_THAT(m.state.take_woken(), UnorderedElementsAre(*one, *all));
  EXPECT_EQ(m.state.topic_index({Topic::Kind::kSession, session_id(1).text()}), Index{1});
  EXPECT_EQ(m.state.topic_index({Topic::Kind::kSessions, ""}), m.now());
  m.run(Set{"k", "v", 0});
  m.run(SessionDestroy{session_id(1)});
  EXPECT_EQ(m.state.topic_index({Topic::Kind::kSession, session_id(1).text()}), m.now()) << "gone: higher than before";
  EXPECT_EQ(m.state.topic_index({Topic::Kind::kSession, "no uuid"}), Index{1});
}

TEST(Sessions, TextOfIds) {
  EXPECT_EQ(session_id(255).text(), "01000000-0000-0000-0000-0000000000ff");
  EXPECT_EQ(parse_session_id("01000000-0000-0000-0000-0000000000FF"), session_id(255));
  EXPECT_EQ(parse_session_id("01000000-0000-0000-0000-0000000000fg"), std::nullopt);
  EXPECT_EQ(parse_session_id("01000000x0000-0000-0000-0000000000ff"), std::nullopt);
  EXPECT_EQ(parse_session_id(""), std::nullopt);
}

TEST(Sessions, RowsOfTheFirstVersionLoadWithoutLocks) {
  StateMachine state;
  const Record old{entry_key("k"), encode_entry({"v", 1, Index{2}, Index{3}}, nullptr)};
  ASSERT_TRUE(state.load(Index{3}, std::vector<Record>{old}));
  EXPECT_EQ(state.lock("k"), nullptr);
  const Lock lock{4, session_id(1)};
  const Record orphan{entry_key("k"), encode_entry({"v", 1, Index{2}, Index{3}}, &lock)};
  EXPECT_EQ(state.load(Index{3}, std::vector<Record>{orphan}).error().code, Errc::kBadState)
      << "a lock whose session is not there";
}

}  // namespace
}  // namespace store::kv
