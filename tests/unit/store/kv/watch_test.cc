#include "store/kv/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace store::kv {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Topic key(std::string name) { return {Topic::Kind::kKey, std::move(name)}; }
Topic prefix(std::string name) { return {Topic::Kind::kPrefix, std::move(name)}; }
Topic lease(std::string name) { return {Topic::Kind::kLease, std::move(name)}; }

TEST(Watch, AKeyWakesItsOwnWaitAndAllPrefixesAboveIt) {
  WatchTable table;
  const WatchId own = *table.add(key("a/b"), false);
  const WatchId near = *table.add(prefix("a/"), false);
  const WatchId root = *table.add(prefix(""), false);
  const WatchId whole = *table.add(prefix("a/b"), false);
  static_cast<void>(table.add(key("a/c"), false));
  static_cast<void>(table.add(prefix("b"), false));
  static_cast<void>(table.add(prefix("a/b/c"), false));
  static_cast<void>(table.add(lease("a/b"), false));
  table.touch_key("a/b");
  EXPECT_THAT(table.take_woken(), UnorderedElementsAre(own, near, root, whole));
  EXPECT_EQ(table.size(), 4U);
  table.touch_key("a/b");
  EXPECT_THAT(table.take_woken(), IsEmpty()) << "a wait is woken once";
}

TEST(Watch, TwoWaitsOnOneTopicWakeTogether) {
  WatchTable table;
  const WatchId a = *table.add(lease("trader"), false);
  const WatchId b = *table.add(lease("trader"), false);
  table.touch(Topic::Kind::kLease, "other");
  EXPECT_FALSE(table.has_woken());
  table.touch(Topic::Kind::kLease, "trader");
  EXPECT_THAT(table.take_woken(), ElementsAre(a, b));
}

TEST(Watch, APendingOneWakesAtOnce) {
  WatchTable table;
  const WatchId id = *table.add(key("k"), true);
  EXPECT_TRUE(table.has_woken());
  EXPECT_THAT(table.take_woken(), ElementsAre(id));
}

TEST(Watch, CancelFreesTheWaitEvenIfWokenAlready) {
  WatchTable table;
  const WatchId waiting = *table.add(prefix("p"), false);
  const WatchId woken = *table.add(key("k"), true);
  table.cancel(waiting);
  table.cancel(woken);
  table.cancel(WatchId{999});
  EXPECT_EQ(table.size(), 0U);
  table.touch_key("p1");
  EXPECT_THAT(table.take_woken(), IsEmpty());
}

TEST(Watch, ReplacedStateWakesAll) {
  WatchTable table;
  const WatchId a = *table.add(prefix("p"), false);
  const WatchId b = *table.add(lease("s"), false);
  table.touch_all();
  EXPECT_THAT(table.take_woken(), UnorderedElementsAre(a, b));
  EXPECT_EQ(table.size(), 0U);
  table.cancel(a);  // late hang-up
  const WatchId again = *table.add(prefix("p"), false);
  table.touch_key("p");
  EXPECT_THAT(table.take_woken(), ElementsAre(again));
}

TEST(Watch, TheTableIsBounded) {
  WatchTable table;
  std::vector<WatchId> ids;
  for (std::size_t i = 0; i < kWatchesMax; ++i) ids.push_back(*table.add(key(std::to_string(i % 100)), false));
  EXPECT_EQ(table.add(key("more"), false).error().code, Errc::kWatchesFull);
  EXPECT_EQ(table.add(key("more"), true).error().code, Errc::kWatchesFull) << "woken ones count, too";
  table.cancel(ids[17]);
  EXPECT_TRUE(table.add(key("more"), false));
}

}  // namespace
}  // namespace store::kv
