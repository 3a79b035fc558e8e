#include <gmock/gmock.h>

#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// A machine with something of everything in it.
void fill(Machine& m) {
  m.run(NodeSet{node("n1")});
  m.run(ServiceSet{instance("n1", "web1", "web", {"a"}), {check_row("n1", "service:web1", "web1")}, {}, {}});
  m.run(SessionCreate{session(1)});
  m.run(Set{"a", "saved", 1});
  m.run(Acquire{"lock", "holder", 0, session_id(1), KeepValue::kOverwrite});
  m.run(QuotaSet{"a", {100, 100}});
  m.run(LeaseAcquire{"trader", NodeId{1}, "one", 1500, 500});
}

Applied restore(Machine& m, const std::vector<std::string>& chunks, std::uint8_t id = 9) {
  EXPECT_EQ(m.outcome(RestoreBegin{uuid(id)}), Outcome::kDone);
  for (std::size_t i = 0; i < chunks.size(); ++i)
    EXPECT_EQ(m.outcome(RestoreChunk{uuid(id), i, chunks[i]}), Outcome::kDone);
  return m.run(RestoreCommit{uuid(id), chunks.size()});
}

TEST(Restore, ReplacesEverythingAtOnceAndEveryIndexJumps) {
  Machine saved;
  fill(saved);
  const auto chunks = chunk_rows(saved.state.saved_rows());
  Machine m;
  m.run(ClusterSet{ClusterId{{1, 2, 3}}});
  m.run(LeaseAcquire{"trader", NodeId{2}, "two", 1500, 500});
  m.run(LeaseRelease{"trader", Epoch{1}, NodeId{}});
  m.run(LeaseAcquire{"trader", NodeId{2}, "two", 1500, 500});  // epoch 2, above the saved one
  m.run(SessionCreate{session(7, 5'000)});
  m.run(Acquire{"mine", "x", 0, session_id(7), KeepValue::kOverwrite});
  m.run(SessionDestroy{session_id(7)});
  m.run(SessionCreate{session(8)});
  m.run(Set{"gone", "x", 0});
  m.expect_mirrored();
  const auto key = m.state.watch({Topic::Kind::kKey, "gone"}, m.now());
  m.run(RestoreBegin{uuid(9)});
  for (std::size_t i = 0; i < chunks.size(); ++i) m.run(RestoreChunk{uuid(9), i, chunks[i]});
  EXPECT_NE(m.state.get("gone"), nullptr) << "nothing is seen before the commit";
  EXPECT_EQ(m.state.get("a"), nullptr);
  EXPECT_THAT(m.state.take_woken(), IsEmpty());
  m.expect_mirrored();
  const Applied done = m.run(RestoreCommit{uuid(9), chunks.size()});
  ASSERT_EQ(done.outcome, Outcome::kDone) << done.detail;
  EXPECT_TRUE(done.replaced);
  EXPECT_THAT(m.state.take_woken(), ElementsAre(*key));
  EXPECT_EQ(m.state.get("gone"), nullptr);
  EXPECT_EQ(*m.state.get("a"), (Entry{"saved", 1, m.now(), m.now()}));
  EXPECT_EQ(*m.state.lock("lock"), (Lock{1, session_id(1)}));
  EXPECT_EQ(m.state.key_index("gone"), m.now());
  EXPECT_EQ(m.state.prefix_index("any"), m.now());
  EXPECT_EQ(m.state.catalog().service_index("never heard of"), m.now());
  EXPECT_EQ(m.state.catalog().nodes_index(), m.now());
  EXPECT_EQ(m.state.sessions().index(), m.now());
  EXPECT_EQ(m.state.catalog().instance("n1", "web1")->modify, m.now());
  EXPECT_TRUE(m.state.changes_since("", Index{m.index() - 1}, 10).too_old);
  EXPECT_THAT(done.sessions_changed, testing::UnorderedElementsAre(session_id(8), session_id(1)));
  EXPECT_THAT(done.delays_changed, ElementsAre("mine"));
  EXPECT_EQ(m.state.sessions().delay("mine"), nullptr);
  // Not restored: members, cluster id, leases; epochs never fall.
  EXPECT_EQ(m.state.cluster_id(), (ClusterId{{1, 2, 3}}));
  EXPECT_EQ(m.state.lease("trader")->holder, NodeId{2});
  EXPECT_EQ(m.state.epoch("trader"), Epoch{2});
  EXPECT_TRUE(m.state.staged().id.is_none());
  m.expect_mirrored();
  m.run(Set{"a", "after", 0});
  m.expect_mirrored();
}

TEST(Restore, EpochsGrowToTheSavedOnes) {
  Machine saved;
  for (int i = 0; i < 5; ++i) saved.run(LeaseAcquire{"trader", NodeId{1}, "one", 1500, 500});
  Machine m;
  m.run(Set{"k", "v", 0});
  ASSERT_EQ(restore(m, chunk_rows(saved.state.saved_rows())).outcome, Outcome::kDone);
  EXPECT_EQ(m.state.epoch("trader"), Epoch{5});
  EXPECT_EQ(m.run(LeaseAcquire{"trader", NodeId{1}, "one", 1500, 500}).epoch, Epoch{6});
  m.expect_mirrored();
}

TEST(Restore, AStateLargerThanOneEntryComesInChunks) {
  Machine saved;
  for (int i = 0; i < 8; ++i) saved.run(Set{"k" + std::to_string(i), std::string(kValueBytesMax, 'x'), 0});
  const auto chunks = chunk_rows(saved.state.saved_rows());
  EXPECT_GE(chunks.size(), 6U);
  for (const std::string& chunk : chunks) EXPECT_LE(chunk.size(), kRestoreChunkBytesMax);
  Machine m;
  ASSERT_EQ(restore(m, chunks).outcome, Outcome::kDone);
  EXPECT_EQ(m.state.entry_count(), 8U);
  EXPECT_EQ(m.state.get("k7")->value.size(), kValueBytesMax);
}

TEST(Restore, ARestartInBetweenForgetsNothing) {
  Machine saved;
  fill(saved);
  const auto chunks = chunk_rows(saved.state.saved_rows());
  Machine m;
  m.run(RestoreBegin{uuid(9)});
  m.run(RestoreChunk{uuid(9), 0, chunks[0]});
  m.expect_mirrored();
  EXPECT_EQ(m.state.staged().chunks, chunks);
}

TEST(Restore, StepsOutOfTurnAreRefused) {
  Machine m;
  m.run(Set{"k", "v", 0});
  EXPECT_EQ(m.outcome(RestoreCommit{uuid(9), 0}), Outcome::kConditionFailed) << "none is under way";
  EXPECT_EQ(m.outcome(RestoreAbort{uuid(9)}), Outcome::kNotFound);
  m.run(RestoreBegin{uuid(9)});
  EXPECT_EQ(m.outcome(RestoreChunk{uuid(8), 0, "\x90"}), Outcome::kConditionFailed);
  EXPECT_EQ(m.outcome(RestoreChunk{uuid(9), 1, "\x90"}), Outcome::kConditionFailed);
  EXPECT_EQ(m.outcome(RestoreChunk{uuid(9), 0, "\x90"}), Outcome::kDone);
  EXPECT_EQ(m.outcome(RestoreCommit{uuid(9), 2}), Outcome::kConditionFailed);
  m.run(RestoreBegin{uuid(10)});
  EXPECT_EQ(m.outcome(RestoreCommit{uuid(9), 1}), Outcome::kConditionFailed) << "a new one drops the old one";
  EXPECT_THAT(m.state.staged().chunks, IsEmpty());
  EXPECT_EQ(m.outcome(RestoreAbort{uuid(10)}), Outcome::kDone);
  EXPECT_NE(m.state.get("k"), nullptr);
  m.expect_mirrored();
}

TEST(Restore, GarbageChangesNothingAndStopsNobody) {
  Machine m;
  m.run(Set{"k", "v", 0});
  const Lock lock{1, session_id(1)};
  const std::vector<std::vector<Record>> bad = {
      {{"d123", "x"}},                                               // a kind that is not restored
      {{entry_key("k"), "garbage"}},                                 // no row
      {{entry_key("k"), encode_entry({"v", 0, {}, {}}, &lock)}},     // held by nobody
      {{check_key("n1", "c"), encode_check(check_row("n1", "c"))}},  // on no node
  };
  for (const auto& rows : bad) {
    const Applied refused = restore(m, {encode_rows(rows)});
    EXPECT_EQ(refused.outcome, Outcome::kConditionFailed);
    EXPECT_THAT(refused.detail, testing::Not(IsEmpty()));
    EXPECT_EQ(m.state.get("k")->value, "v");
    EXPECT_TRUE(m.state.staged().id.is_none()) << "it cannot become better";
  }
  Machine other;
  other.run(Set{"k2", "v", 0});
  const std::string twice = chunk_rows(other.state.saved_rows())[0];
  EXPECT_THAT(restore(m, {twice, twice}).detail, HasSubstr("chunk 1: rows out of order"));
  Node nul = node("n1");
  nul.name = std::string("n\0x", 3);
  EXPECT_THAT(restore(m, {encode_rows(std::vector<Record>{{node_key(nul.name), encode_node(nul)}})}).detail,
              HasSubstr("NUL"));
  EXPECT_THAT(restore(m, {"garbage"}).detail, HasSubstr("chunk 0"));
  m.expect_mirrored();
}

TEST(Restore, RowsAsOneString) {
  const std::vector<Record> rows = {{"ka", "1"}, {"kb", "2"}};
  EXPECT_EQ(*decode_rows(encode_rows(rows)), rows);
  EXPECT_THAT(chunk_rows({}), IsEmpty());
  EXPECT_THAT(*decode_rows(encode_rows({})), IsEmpty());
  EXPECT_FALSE(decode_rows(""));
  EXPECT_EQ(decode_rows(encode_rows(std::vector<Record>{{"ka", ""}})).error().code, Errc::kMalformed);
  EXPECT_TRUE(is_saved_kind("ka"));
  EXPECT_FALSE(is_saved_kind("d"));
  EXPECT_FALSE(is_saved_kind(""));
  EXPECT_THAT(chunk_rows(rows), SizeIs(1));
}

}  // namespace
}  // namespace store::kv
