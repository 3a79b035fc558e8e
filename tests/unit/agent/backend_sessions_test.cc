#include "agent/backend_sessions.h"

#include <gmock/gmock.h>

#include "tests/unit/agent/lone_store.h"

namespace agent {
namespace {

namespace kv = store::kv;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Verb = api::TxnOp::Verb;

class BackendSessionsTest : public LoneStore {
 protected:
  BackendSessionsTest() {
    config.node.name = "n1";
    config.raft.write_timeout = io::kPatience;
    parts.config = &config;
    parts.loop = loop.get();
    parts.store = store.get();
    sessions = std::make_unique<BackendSessions>(parts);
  }
  /// A leader, and the node's row, which sessions are tied to.
  void found_node() {
    found();
    kv::Node row;
    row.name = "n1";
    row.address = "10.0.0.1";
    ASSERT_EQ(put(kv::NodeSet{row}), kv::Outcome::kDone);
  }
  void set_check(const std::string& id, kv::CheckStatus status) {
    kv::Check check;
    check.node = "n1";
    check.id = id;
    check.status = status;
    ASSERT_EQ(put(kv::CheckSet{check, kv::KeepStatus::kReplace}), kv::Outcome::kDone);
  }
  api::Result<api::SessionCreated> create(api::SessionSpec spec = {}) {
    return answer<api::SessionCreated>([&](api::Completion<api::SessionCreated> done) { sessions->session_create(std::move(spec), std::move(done)); });
  }
  api::Result<api::SessionInfo> renew(const std::string& id) {
    return answer<api::SessionInfo>([&](api::Completion<api::SessionInfo> done) { sessions->session_renew(id, std::move(done)); });
  }
  api::Result<api::Index> destroy(const std::string& id) {
    return answer<api::Index>([&](api::Completion<api::Index> done) { sessions->session_destroy(id, std::move(done)); });
  }
  api::Result<api::TxnAnswer> txn(std::vector<api::TxnOp> ops) {
    return answer<api::TxnAnswer>([&](api::Completion<api::TxnAnswer> done) { sessions->txn(std::move(ops), std::move(done)); });
  }
  static api::TxnOp op(Verb verb, const std::string& key, const std::string& value = {}) {
    api::TxnOp out;
    out.verb = verb;
    out.key = key;
    out.value = value;
    return out;
  }
  void set(const std::string& key, const std::string& value) { ASSERT_EQ(put(kv::Set{key, value, 0}), kv::Outcome::kDone); }

  Config config;
  BackendParts parts;
  std::unique_ptr<BackendSessions> sessions;
};

TEST_F(BackendSessionsTest, ASessionIsMadeShownRenewedAndDestroyed) {
  found_node();
  api::SessionSpec spec;
  spec.name = "mine";
  spec.ttl = 20s;
  spec.lock_delay = 3s;
  spec.behavior = api::SessionBehavior::kDelete;
  const auto made = create(spec);
  ASSERT_TRUE(made) << made.error().detail;
  EXPECT_EQ(made->id.size(), 36u);
  EXPECT_EQ(made->id[14], '4') << "a UUID of version 4: clients look at it";
  const auto shown = sessions->session_info(made->id);
  ASSERT_EQ(shown.sessions.size(), 1u);
  EXPECT_EQ(shown.sessions[0].spec.name, "mine");
  EXPECT_EQ(shown.sessions[0].spec.node, "n1") << "this agent, unless another is named";
  EXPECT_EQ(shown.sessions[0].spec.ttl, 20s);
  EXPECT_EQ(shown.sessions[0].spec.lock_delay, 3s);
  EXPECT_EQ(shown.sessions[0].spec.behavior, api::SessionBehavior::kDelete);
  EXPECT_EQ(shown.index, made->index);
  EXPECT_EQ(sessions->session_index({api::Topic::Kind::kSession, made->id}), made->index);
  EXPECT_EQ(sessions->session_list().sessions.size(), 1u);
  EXPECT_EQ(sessions->sessions_of_node("n1").sessions.size(), 1u);
  EXPECT_THAT(sessions->sessions_of_node("n2").sessions, IsEmpty());
  ASSERT_TRUE(renew(made->id));
  ASSERT_TRUE(destroy(made->id));
  EXPECT_THAT(sessions->session_info(made->id).sessions, IsEmpty());
  EXPECT_GT(sessions->session_info(made->id).index, made->index) << "its end moves the index of who waits for it";
  EXPECT_EQ(renew(made->id).error().code, api::Errc::kNotFound);
  EXPECT_TRUE(destroy(made->id)) << "it is gone, as was asked";
}

TEST_F(BackendSessionsTest, IdsThatAreNoneAreNobodys) {
  found_node();
  EXPECT_EQ(renew("no uuid").error().code, api::Errc::kNotFound);
  EXPECT_TRUE(destroy("no uuid"));
  EXPECT_THAT(sessions->session_info("no uuid").sessions, IsEmpty());
  EXPECT_GE(sessions->session_info("no uuid").index, api::Index{1});
}

TEST_F(BackendSessionsTest, TiesThatDoNotHoldAreRefusedInConsulsWords) {
  found_node();
  const auto why = [&](api::SessionSpec spec) {
    const auto made = create(std::move(spec));
    return made ? std::string("it was made") : made.error().detail;
  };
  api::SessionSpec spec;
  spec.node = "nobody";
  EXPECT_EQ(why(spec), "Missing node registration");
  spec.node.clear();
  spec.node_checks = {"gone"};
  EXPECT_EQ(why(spec), "Missing check 'gone' registration");
  set_check("sick", kv::CheckStatus::kCritical);
  spec.node_checks = {"sick"};
  EXPECT_EQ(why(spec), "Check 'sick' is in critical state");
  EXPECT_THAT(sessions->session_list().sessions, IsEmpty());
}

TEST_F(BackendSessionsTest, ACheckThatTurnsCriticalEndsTheSessionAndItsLocks) {
  found_node();
  set_check("well", kv::CheckStatus::kPassing);
  api::SessionSpec spec;
  spec.node_checks = {"well"};
  spec.lock_delay = 0ms;
  const auto made = create(spec);
  ASSERT_TRUE(made);
  api::TxnOp lock = op(Verb::kLock, "leader", "me");
  lock.session = made->id;
  ASSERT_THAT(txn({lock})->faults, IsEmpty());
  EXPECT_EQ(entry_of("leader", *state().get("leader"), state().lock("leader")).session, made->id);
  set_check("well", kv::CheckStatus::kCritical);
  EXPECT_THAT(sessions->session_list().sessions, IsEmpty());
  EXPECT_EQ(entry_of("leader", *state().get("leader"), state().lock("leader")).session, "");
}

TEST_F(BackendSessionsTest, ATransactionTakesPlaceAsAWholeOrNotAtAll) {
  found_node();
  set("a", "1");
  const auto done = txn({op(Verb::kGet, "a"), op(Verb::kSet, "b", "2"), op(Verb::kDelete, "a")});
  ASSERT_TRUE(done);
  EXPECT_THAT(done->faults, IsEmpty());
  ASSERT_EQ(done->results.size(), 2u) << "a deletion has no result";
  EXPECT_EQ(done->results[0].entry.value, "1");
  EXPECT_EQ(done->results[1].entry.value, "") << "a write answers without its value";
  EXPECT_EQ(state().get("a"), nullptr);
  const auto index = kv::value(state().applied());
  api::TxnOp cas = op(Verb::kCas, "b", "3");
  cas.index = api::Index{1};
  const auto refused = txn({op(Verb::kSet, "c", "3"), cas});
  ASSERT_TRUE(refused) << "that it did not apply is an answer";
  ASSERT_EQ(refused->faults.size(), 1u);
  EXPECT_EQ(refused->faults[0].op, 1u);
  EXPECT_THAT(refused->results, IsEmpty());
  EXPECT_EQ(state().get("c"), nullptr);
  EXPECT_GT(kv::value(state().applied()), index);
}

TEST_F(BackendSessionsTest, ALockBySomebodyUnknownIsNotEvenProposed) {
  found_node();
  const auto applied = state().applied();
  for (const char* session : {"", "no uuid", "00000000-0000-0000-0000-000000000000"}) {
    api::TxnOp lock = op(Verb::kLock, "k", "v");
    lock.session = session;
    const auto refused = txn({op(Verb::kSet, "x", "y"), lock});
    ASSERT_EQ(refused->faults.size(), 1u) << session;
    EXPECT_EQ(refused->faults[0].op, 1u);
    EXPECT_EQ(refused->faults[0].what, "invalid session \"" + std::string(session) + "\"");
  }
  EXPECT_EQ(state().applied(), applied);
}

TEST_F(BackendSessionsTest, ReadsAloneNeedNoEntryAndNameEveryFault) {
  found_node();
  set("a/1", "one");
  set("a/2", "two");
  const auto applied = state().applied();
  const auto good = sessions->txn_read({op(Verb::kGet, "a/1"), op(Verb::kGetTree, "a/"), op(Verb::kCheckNotExists, "b")});
  EXPECT_THAT(good.faults, IsEmpty());
  EXPECT_EQ(good.results.size(), 3u);
  api::TxnOp stale = op(Verb::kCheckIndex, "a/1"), held = op(Verb::kCheckSession, "a/2");
  stale.index = api::Index{1};
  held.session = "s";
  const auto bad = sessions->txn_read({op(Verb::kGet, "none"), op(Verb::kGet, "a/1"), stale, held, op(Verb::kCheckNotExists, "a/1"), op(Verb::kCheckIndex, "none"), op(Verb::kCheckSession, "none")});
  std::vector<std::string> said;
  for (const auto& fault : bad.faults) said.push_back(fault.what);
  EXPECT_THAT(said, ElementsAre("key \"none\" doesn't exist", HasSubstr("failed index check for key \"a/1\", current modify index "),
                                "failed session check for key \"a/2\", current session \"\" != \"s\"", "key \"a/1\" exists",
                                "failed to check index, key \"none\" doesn't exist", "failed to check session, key \"none\" doesn't exist"));
  EXPECT_THAT(bad.results, IsEmpty());
  EXPECT_EQ(state().applied(), applied);
}

TEST_F(BackendSessionsTest, TheFeedIsCutBetweenIndexesAndResumes) {
  found_node();
  const api::Index before{kv::value(state().applied())};
  set("f/a", "1");
  set("other", "x");
  ASSERT_THAT(txn({op(Verb::kSet, "f/b", "22"), op(Verb::kSet, "f/c", "33")})->faults, IsEmpty());
  ASSERT_EQ(put(kv::Delete{"f/a"}), kv::Outcome::kDone);
  const auto all = sessions->kv_changes("f/", before, 1000);
  ASSERT_EQ(all.changes.size(), 4u);
  EXPECT_EQ(all.changes[0].key, "f/a");
  EXPECT_FALSE(all.changes[0].entry) << "it has changed again since";
  EXPECT_EQ(all.changes[3].op, api::KvChange::Op::kDelete);
  EXPECT_FALSE(all.more);
  // Two changes of one entry of the log are never torn apart, whatever the bound.
  std::vector<std::string> seen;
  api::Index at = before;
  for (int i = 0; i < 10; ++i) {
    const auto part = sessions->kv_changes("f/", at, 1);
    for (const auto& change : part.changes) seen.push_back(change.key);
    EXPECT_EQ(part.changes.size() == 1 || part.changes.size() == 2 || part.changes.empty(), true);
    at = part.upto;
    if (!part.more) break;
  }
  EXPECT_THAT(seen, ElementsAre("f/a", "f/b", "f/c", "f/a"));
  EXPECT_TRUE(sessions->kv_changes("f/", api::Index{0}, 1).changes.size() <= 1);
}

TEST_F(BackendSessionsTest, QuotasAreSetShownKeptAndRemoved) {
  found_node();
  const auto quota = [&](std::uint64_t entries, std::uint64_t bytes) {
    return answer<api::Index>([&](api::Completion<api::Index> done) { sessions->set_quota({"q/", 0, 0, entries, bytes}, std::move(done)); });
  };
  ASSERT_TRUE(quota(1, 0));
  set("q/1", "v");
  EXPECT_EQ(put(kv::Set{"q/2", "v", 0}), kv::Outcome::kFull);
  const auto usage = sessions->usage();
  ASSERT_EQ(usage.quotas.size(), 1u);
  EXPECT_EQ(usage.quotas[0].entries, 1u);
  EXPECT_EQ(usage.quotas[0].entries_max, 1u);
  EXPECT_EQ(usage.whole.entries, 1u);
  ASSERT_TRUE(quota(0, 0));
  EXPECT_THAT(sessions->usage().quotas, IsEmpty());
  set("q/2", "v");
}

TEST_F(BackendSessionsTest, ElectionsAreShownAsKeysBelowTheirPrefixOnly) {
  found_node();
  EXPECT_EQ(derived_entry(state(), "outrigger/election/web"), std::nullopt) << "nobody has ever stood for it";
  lease("web", "n1");
  lease("webcam", "n2");
  const auto shown = derived_entry(state(), "outrigger/election/web");
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->value, R"({"holder":"n1","epoch":1,"lease_ms":600000})");
  EXPECT_EQ(shown->flags, 1u) << "the epoch";
  ASSERT_EQ(put(kv::LeaseRelease{"web", kv::Epoch{1}, {}}), kv::Outcome::kDone);
  EXPECT_EQ(derived_entry(state(), "outrigger/election/web")->value, R"({"holder":null,"epoch":1,"lease_ms":600000})");
  EXPECT_EQ(derived_entries(state(), "outrigger/election/").size(), 2u);
  EXPECT_EQ(derived_entries(state(), "outrigger/election/webc").size(), 1u);
  EXPECT_THAT(derived_entries(state(), ""), IsEmpty());
  EXPECT_THAT(derived_entries(state(), "outrigger/"), IsEmpty());
}

TEST_F(BackendSessionsTest, WithoutALeaderCommandsSaySo) {
  config.raft.write_timeout = Milliseconds(60);
  EXPECT_EQ(create().error().code, api::Errc::kNoLeader);
  EXPECT_EQ(txn({op(Verb::kSet, "a", "b")}).error().code, api::Errc::kNoLeader);
  EXPECT_FALSE(renew("01234567-89ab-4def-8123-456789abcdef"));
}

TEST_F(BackendSessionsTest, ACompletionAfterItsEndFindsNobody) {
  found_node();
  sessions->session_create({}, [](const api::Result<api::SessionCreated>&) { FAIL() << "nobody is there any more"; });
  sessions->session_renew("no uuid", [](const api::Result<api::SessionInfo>&) { FAIL(); });
  sessions.reset();
  settle();
}

}  // namespace
}  // namespace agent
