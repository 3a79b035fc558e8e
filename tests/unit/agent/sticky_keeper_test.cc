#include "agent/sticky_keeper.h"

#include <gtest/gtest.h>

#include <random>

namespace agent {
namespace {

using namespace std::chrono_literals;
using proxy::NodeNumber;
using proxy::SessionHash;
using proxy::StickyTable;
using TimePoint = StickyKeeper::TimePoint;
using Why = StickyTable::Why;

/// The replicated rows, as the store decides about them: a transaction in which any step fails does nothing.
struct Log {
  struct Row {
    std::string node;
    std::uint64_t flags = 0, index = 0;
  };
  std::map<std::string, Row> rows;
  std::vector<std::pair<std::string, std::optional<Row>>> changes;  ///< in order
  std::uint64_t index = 10, writes = 0;

  std::vector<std::size_t> apply(const std::vector<store::kv::TxnOp>& ops) {
    std::vector<std::size_t> failed;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const auto row = rows.find(ops[i].key);
      const std::uint64_t present = row == rows.end() ? 0 : row->second.index;
      const bool removes = ops[i].verb == store::kv::TxnVerb::kDeleteCas;
      const bool checks = ops[i].verb != store::kv::TxnVerb::kSet;
      if (checks && present != store::kv::value(ops[i].index) && !(removes && present == 0)) failed.push_back(i);
    }
    if (!failed.empty()) return failed;
    ++index;
    for (const auto& op : ops) {
      ++writes;
      if (op.verb == store::kv::TxnVerb::kDeleteCas) {
        rows.erase(op.key);
        changes.emplace_back(op.key, std::nullopt);
      } else {
        rows[op.key] = Row{op.value, op.flags, index};
        changes.emplace_back(op.key, rows[op.key]);
      }
    }
    return {};
  }
};

/// One agent: its table, its keeper, and what it believes about the nodes.
struct Entry {
  std::shared_ptr<StickyTable> table = std::make_shared<StickyTable>(nullptr);
  StickyKeeper keeper;
  proxy::ZoneNumber zone = *table->zone("web", 60s);
  std::set<std::string> usable{"n1", "n2", "n3"};
  std::size_t followed = 0;   ///< changes of the log that it has seen
  bool leading = false;
  std::vector<StickyKeeper::Batch> sent;

  explicit Entry(TimePoint now) { keeper.set_table(table, now); }
  void follow(const Log& log, std::size_t upto, TimePoint now) {
    for (; followed < upto; ++followed) {
      const auto& [key, row] = log.changes[followed];
      const auto parsed = StickyKey::parse(key);
      if (row) keeper.row_set(*parsed, row->node, row->flags, row->index, now);
      else keeper.row_gone(parsed->session);
    }
  }
  void tick(TimePoint now) {
    keeper.tick(leading, now);
    for (auto& batch : keeper.take_output()) sent.push_back(std::move(batch));
  }
  /// A request of the session through this agent. @return the node that it goes to
  std::string request(SessionHash session, TimePoint now) {
    const NodeNumber known = table->use(session, now);
    if (known != NodeNumber::kNone && usable.contains(table->node_name(known))) return table->node_name(known);
    std::string best;
    std::uint64_t highest = 0;
    for (const std::string& node : usable) {
      const std::uint64_t drawn = proxy::keyed_hash(static_cast<std::uint64_t>(session), 1, node);
      if (!best.empty() && drawn <= highest) continue;
      best = node;
      highest = drawn;
    }
    table->put(session, zone, table->number_of(best), now, known == NodeNumber::kNone ? Why::kNew : Why::kMoved);
    return best;
  }
};

/// Carries out everything that is sent, in order, and tells everybody.
void settle(Log& log, std::vector<std::unique_ptr<Entry>>& entries, TimePoint& now, std::chrono::milliseconds length) {
  for (const TimePoint end = now + length; now < end; now += 10ms) {
    for (auto& entry : entries) {
      entry->tick(now);
      for (auto& batch : std::exchange(entry->sent, {})) {
        const auto failed = log.apply(batch.ops);
        for (auto& other : entries) other->follow(log, log.changes.size(), now);
        entry->keeper.on_done(batch.number, true, failed, now);
      }
    }
  }
}

SessionHash session(int number) { return proxy::session_hash("web", "s" + std::to_string(number)); }

class StickyKeeperTest : public ::testing::Test {
 protected:
  TimePoint now{1000s};
  Log log;
  std::vector<std::unique_ptr<Entry>> entries;
  void start(int count) {
    for (int i = 0; i < count; ++i) entries.push_back(std::make_unique<Entry>(now));
  }
  std::string key(int number) { return StickyKey{"web", session(number)}.text(); }
};

TEST(StickyKey, RoundTripAndWhatIsNone) {
  const StickyKey key{"web.a", SessionHash{0x00ab}};
  EXPECT_EQ(key.text(), "outrigger/sticky/web.a/00000000000000ab");
  const auto parsed = StickyKey::parse(key.text());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->zone, "web.a");
  EXPECT_EQ(parsed->session, key.session);
  for (const char* text : {"", "outrigger/sticky/", "outrigger/sticky/web", "outrigger/sticky/web/", "outrigger/sticky//00000000000000ab",
                           "outrigger/sticky/web/00000000000000ag", "outrigger/sticky/web/0000000000000000", "outrigger/sticky/web/ab",
                           "outrigger/sticky/web/00000000000000ab1", "outrigger/sticky/web/00000000000000AB", "other/sticky/web/00000000000000ab"})
    EXPECT_FALSE(StickyKey::parse(text)) << text;
}

TEST_F(StickyKeeperTest, ASessionSeenOnceIsNotWrittenOneSeenTwiceIsOnce) {
  start(3);
  for (int i = 0; i < 20; ++i) entries[0]->request(session(i), now);
  settle(log, entries, now, 200ms);
  EXPECT_EQ(log.writes, 0U);
  std::string node;
  for (int i = 0; i < 100; ++i) {
    const std::string at = entries[static_cast<std::size_t>(i % 3)]->request(session(7), now);
    EXPECT_TRUE(node.empty() || at == node);
    node = at;
    settle(log, entries, now, 20ms);
  }
  EXPECT_EQ(log.writes, 1U);
  EXPECT_EQ(log.rows.at(key(7)).node, node);
  EXPECT_EQ(log.rows.at(key(7)).flags >> 32U, 60U);
}

TEST_F(StickyKeeperTest, OfTwoThatMoveASessionAtOnceTheLogKeepsTheFirst) {
  start(2);
  entries[0]->request(session(1), now);
  const std::string old = entries[0]->request(session(1), now);
  settle(log, entries, now, 100ms);
  ASSERT_EQ(log.rows.at(key(1)).node, old);
  // Each believes in another survivor.
  std::vector<std::string> left;
  for (const std::string node : {"n1", "n2", "n3"})
    if (node != old) left.push_back(node);
  entries[0]->usable = {left[0]};
  entries[1]->usable = {left[1]};
  EXPECT_EQ(entries[0]->request(session(1), now), left[0]);
  EXPECT_EQ(entries[1]->request(session(1), now), left[1]);
  for (auto& entry : entries) entry->usable = {left[0], left[1]};
  for (auto& entry : entries) entry->tick(now);  // both write before either has heard of the other
  settle(log, entries, now, 100ms);
  EXPECT_EQ(log.rows.at(key(1)).node, left[0]);
  EXPECT_EQ(entries[1]->request(session(1), now), left[0]);
  EXPECT_EQ(entries[1]->keeper.counters().refused, 1U);
  settle(log, entries, now, 1000ms);
  EXPECT_EQ(log.writes, 2U) << "agents that disagree must not write in turns";
}

TEST_F(StickyKeeperTest, ARefreshByOneThatHasNotHeardDoesNotUndoAMove) {
  start(2);
  entries[0]->request(session(1), now);
  const std::string old = entries[0]->request(session(1), now);
  settle(log, entries, now, 100ms);
  auto& mover = *entries[0];
  mover.usable.erase(old);
  const std::string next = mover.request(session(1), now);
  // The other one's refresh comes into the log first.
  const auto& row = log.rows.at(key(1));
  store::kv::TxnOp op;
  op.verb = store::kv::TxnVerb::kCas;
  op.key = key(1);
  op.value = old;
  op.flags = row.flags + 1;
  op.index = store::kv::Index{row.index};
  mover.tick(now);
  ASSERT_TRUE(log.apply({op}).empty());
  settle(log, entries, now, 300ms);
  for (auto& batch : std::exchange(mover.sent, {})) mover.keeper.on_done(batch.number, true, log.apply(batch.ops), now);
  settle(log, entries, now, 300ms);
  EXPECT_EQ(log.rows.at(key(1)).node, next);
  EXPECT_EQ(entries[1]->table->node_name(entries[1]->table->node_of(session(1), now)), next);
}

TEST_F(StickyKeeperTest, AUsedSessionIsRefreshedSeldomAndAnUnusedOneRemovedByTheLeader) {
  start(2);
  entries[0]->leading = true;
  for (int i : {1, 2}) {
    entries[1]->request(session(i), now);
    entries[1]->request(session(i), now);
  }
  settle(log, entries, now, 100ms);
  ASSERT_EQ(log.writes, 2U);
  const std::uint64_t before = log.writes;
  for (int second = 0; second < 120; ++second) {
    for (int i = 0; i < 5; ++i) entries[static_cast<std::size_t>(i % 2)]->request(session(1), now);
    settle(log, entries, now, 1000ms);
  }
  EXPECT_TRUE(log.rows.contains(key(1)));
  EXPECT_FALSE(log.rows.contains(key(2))) << "60 s, a quarter and the margin have passed";
  const std::uint64_t refreshes = log.writes - before - 1;
  EXPECT_GE(refreshes, 4U);
  EXPECT_LE(refreshes, 9U) << "at most once in a quarter of the time to live";
  EXPECT_EQ(entries[0]->keeper.row_count(), 1U);
  EXPECT_EQ(entries[1]->keeper.row_count(), 1U);
  EXPECT_FALSE(entries[0]->table->look(session(2)));
}

TEST_F(StickyKeeperTest, AFloodOfSessionsIsWrittenAtARateAndMovesPassItBy) {
  start(1);
  Entry& entry = *entries[0];
  entry.request(session(-1), now);
  entry.request(session(-1), now);
  settle(log, entries, now, 100ms);
  for (int i = 0; i < 20'000; ++i) {
    entry.request(session(i), now);
    entry.request(session(i), now);
  }
  const std::uint64_t before = log.writes;
  settle(log, entries, now, 2000ms);
  EXPECT_LE(log.writes - before, 3 * StickyKeeper::kNewPerSecond);
  EXPECT_GE(log.writes - before, 2 * StickyKeeper::kNewPerSecond);
  entry.usable.erase(log.rows.at(key(-1)).node);
  const std::string next = entry.request(session(-1), now);
  settle(log, entries, now, 50ms);
  EXPECT_EQ(log.rows.at(key(-1)).node, next) << "a move waits for nobody's first row";
}

TEST_F(StickyKeeperTest, AWriteThatFailsIsTriedAgainAndAWholePrefixReadAnewDropsWhatIsGone) {
  start(1);
  Entry& entry = *entries[0];
  entry.request(session(1), now);
  entry.request(session(1), now);
  entry.tick(now);
  ASSERT_EQ(entry.sent.size(), 1U);
  entry.keeper.on_done(std::exchange(entry.sent, {})[0].number, false, {}, now);
  entry.tick(now + 100ms);
  EXPECT_TRUE(entry.sent.empty()) << "not before a while has passed";
  now += 600ms;
  settle(log, entries, now, 100ms);
  EXPECT_EQ(log.writes, 1U);
  EXPECT_TRUE(entry.table->look(session(1))->pinned);
  entry.keeper.keep_only({});
  EXPECT_EQ(entry.keeper.row_count(), 0U);
  EXPECT_FALSE(entry.table->look(session(1)));
}

TEST_F(StickyKeeperTest, ATableThatComesLaterLearnsWhatIsKnown) {
  StickyKeeper keeper;
  keeper.row_set({"web", session(1)}, "n2", 0, 5, now);
  auto table = std::make_shared<StickyTable>(nullptr);
  ASSERT_TRUE(table->zone("web", 60s));
  keeper.set_table(table, now);
  EXPECT_EQ(table->node_name(table->node_of(session(1), now)), "n2");
}

// ---- three entry nodes that see different things at different times ----

class StickySimulation : public ::testing::TestWithParam<std::uint64_t> {};

/// Writes take a random time to the log, the log a random time to each agent, and each notices at another moment that a
/// node is dead, and later that it is back.
TEST_P(StickySimulation, SessionsMoveOnceAndAllAgentsConverge) {
  constexpr int kSessions = 60;
  std::mt19937_64 random(GetParam());
  TimePoint now{1000s};
  Log log;
  std::vector<std::unique_ptr<Entry>> entries;
  for (int i = 0; i < 3; ++i) entries.push_back(std::make_unique<Entry>(now));
  entries[random() % 3]->leading = true;
  struct Flight {
    TimePoint at;
    std::size_t from;
    StickyKeeper::Batch batch;
  };
  std::vector<Flight> flights;
  const auto step = [&](bool quiet) {
    now += 5ms;
    if (!quiet) {
      for (int i = 0; i < 4; ++i) entries[random() % 3]->request(session(static_cast<int>(random() % kSessions)), now);
    }
    for (std::size_t e = 0; e < entries.size(); ++e) {
      entries[e]->tick(now);
      for (auto& batch : std::exchange(entries[e]->sent, {})) flights.push_back({now + std::chrono::milliseconds(random() % 40), e, std::move(batch)});
    }
    for (std::size_t f = 0; f < flights.size();) {
      if (flights[f].at > now) {
        ++f;
        continue;
      }
      const Flight flight = std::move(flights[f]);
      flights.erase(flights.begin() + static_cast<std::ptrdiff_t>(f));
      const bool lost = random() % 8 == 0;  // applied, but the answer was lost, or never proposed at all
      const auto failed = lost && random() % 2 == 0 ? std::vector<std::size_t>{} : log.apply(flight.batch.ops);
      entries[flight.from]->keeper.on_done(flight.batch.number, !lost, failed, now);
    }
    for (auto& entry : entries) {
      if (random() % 4 == 0) entry->follow(log, entry->followed + random() % (log.changes.size() - entry->followed + 1), now);
    }
  };
  for (int i = 0; i < 600; ++i) step(false);
  const std::map<std::string, Log::Row> before = log.rows;
  ASSERT_GT(before.size(), 50U);
  const std::size_t changes_before = log.changes.size();
  for (int i = 0; i < 600; ++i) {
    for (std::size_t e = 0; e < 3; ++e) {
      if (i == static_cast<int>(20 + 30 * e)) entries[e]->usable.erase("n1");
    }
    step(false);
  }
  for (int i = 0; i < 600; ++i) {
    if (i < 3) entries[static_cast<std::size_t>(i)]->usable.insert("n1");
    step(false);
  }
  for (int i = 0; i < 400; ++i) step(true);
  for (auto& entry : entries) entry->follow(log, log.changes.size(), now);

  std::map<std::string, std::set<std::string>> places;  // of each session since the death, in its rows
  for (std::size_t c = changes_before; c < log.changes.size(); ++c) {
    if (log.changes[c].second) places[log.changes[c].first].insert(log.changes[c].second->node);
  }
  for (const auto& [key, row] : before) {
    if (row.node != "n1") EXPECT_EQ(log.rows.at(key).node, row.node) << key << " moved without a reason";
    else EXPECT_NE(log.rows.at(key).node, "n1") << key << " stayed at, or went back to, a node that had died";
    EXPECT_LE(places[key].size() - places[key].count("n1"), 1U) << key << " moved more than once";
  }
  for (int i = 0; i < kSessions; ++i) {
    std::set<std::string> told;
    for (auto& entry : entries) told.insert(entry->request(session(i), now));
    EXPECT_EQ(told.size(), 1U) << "session " << i << " depends on where it comes in";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, StickySimulation, ::testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace agent
