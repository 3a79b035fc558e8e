// The last traces: who makes room for whom, what a list says, what a filter leaves out.
#include "agent/drivers/trace_ring.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

proxy::TraceId id(int number) {
  proxy::TraceId out;
  out.fill('0');
  const std::string digits = std::to_string(number);
  std::copy(digits.begin(), digits.end(), out.end() - static_cast<std::ptrdiff_t>(digits.size()));
  return out;
}

TraceChunk chunk(int number, std::string_view text = "{}") {
  TraceChunk out;
  out.trace = id(number);
  out.text = text;
  out.spans = 2;
  out.start_ns = 1000 * number;
  out.end_ns = 1000 * number + 100;
  out.name = "POST /orders";
  out.route = "orders";
  out.status = 201;
  out.is_request = true;
  return out;
}

TEST(TraceRingTest, TheNewestComesFirstAndWhatComesLaterJoinsItsTrace) {
  TraceRing ring(1 << 20);
  ring.add(chunk(1, "{\"a\":1}"));
  ring.add(chunk(2));
  ring.add(chunk(1, "{\"b\":2}"));
  const auto list = ring.list({});
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].trace, id(2));
  EXPECT_EQ(list[1].trace, id(1)) << "what joins it does not make it newer";
  EXPECT_EQ(list[1].spans, 4U);
  EXPECT_EQ(ring.find(id(1))->chunks, "{\"a\":1},{\"b\":2}");
  EXPECT_FALSE(ring.find(id(3)));
  EXPECT_EQ(ring.list({.route = {}, .orders = {}, .count_max = 1}).size(), 1U);
}

TEST(TraceRingTest, TheEarliestRequestSpeaksForTheTrace) {
  TraceRing ring(1 << 20);
  TraceChunk app = chunk(1);
  app.is_request = false;
  app.name = "decide";
  app.route = {};
  app.status = 0;
  app.start_ns = 1;
  app.end_ns = 9000;
  app.failed = true;
  ring.add(app);
  EXPECT_EQ(ring.list({})[0].name, "decide") << "as long as there is no request";
  TraceChunk inner = chunk(1);
  inner.name = "POST /inner";
  inner.status = 502;
  inner.start_ns = 1050;
  inner.order = "00ff00ff00ff00ff";
  ring.add(inner);
  ring.add(chunk(1));
  TraceChunk late = inner;
  late.start_ns = 1070;
  ring.add(late);
  const TraceSummary one = ring.list({})[0];
  EXPECT_EQ(one.name, "POST /orders");
  EXPECT_EQ(one.route, "orders");
  EXPECT_EQ(one.status, 201);
  EXPECT_EQ(one.order, "00ff00ff00ff00ff") << "whoever knows it";
  EXPECT_EQ(one.start_ns, 1);
  EXPECT_EQ(one.end_ns, 9000);
  EXPECT_TRUE(one.failed);
}

TEST(TraceRingTest, CountAndBytesAreBounded) {
  TraceRing ring(4 * (TraceRing::kOverheadBytes + 100));
  const std::string text(100, 'x');
  for (int i = 1; i <= 5; ++i) ring.add(chunk(i, text));
  EXPECT_EQ(ring.size(), 4U);
  EXPECT_FALSE(ring.find(id(1)));
  EXPECT_TRUE(ring.find(id(2)));
  EXPECT_EQ(ring.bytes(), 4 * (TraceRing::kOverheadBytes + 100));
  ring.add(chunk(5, text));
  EXPECT_EQ(ring.size(), 3U) << "the oldest gives way to what joins a newer one";
  EXPECT_EQ(ring.bytes(), 3 * (TraceRing::kOverheadBytes + 100) + 101);
  TraceRing many(64 << 20);
  for (int i = 0; i < 1500; ++i) many.add(chunk(i));
  EXPECT_EQ(many.size(), TraceRing::kTracesMax);
  TraceRing off(0);
  off.add(chunk(1));
  EXPECT_EQ(off.size(), 0U);
}

TEST(TraceRingTest, OfOneTraceSoMuchIsKeptAndTheRestIsCounted) {
  TraceRing ring(64 << 20);
  const std::string text(100'000, 'x');
  for (int i = 0; i < 4; ++i) ring.add(chunk(1, text));
  EXPECT_EQ(ring.list({})[0].spans, 4U);
  EXPECT_EQ(ring.list({})[0].left_out, 4U);
  EXPECT_EQ(ring.find(id(1))->left_out, 4U);
  EXPECT_EQ(ring.find(id(1))->chunks.size(), 200'001U);
  // One that is larger than all there is room for leaves nothing behind.
  TraceRing small(TraceRing::kOverheadBytes + 10);
  small.add(chunk(1, text));
  EXPECT_EQ(small.size(), 0U);
  EXPECT_EQ(small.bytes(), 0U);
}

TEST(TraceRingTest, ATraceOfWhichNothingFitsIsKnownAllTheSame) {
  TraceRing ring(1 << 20);
  EXPECT_EQ(ring.room_for(id(1)), TraceRing::kTraceBytesMax - 1);
  TraceChunk none = chunk(1, "");
  none.spans = 0;
  none.left_out = 5;
  ring.add(none);
  ASSERT_TRUE(ring.find(id(1)));
  EXPECT_EQ(ring.find(id(1))->chunks, "");
  EXPECT_EQ(ring.find(id(1))->left_out, 5U);
  ring.add(chunk(1, "{}"));
  ring.add(none);
  EXPECT_EQ(ring.find(id(1))->chunks, "{}") << "no comma before or behind";
  EXPECT_EQ(ring.find(id(1))->left_out, 10U);
  EXPECT_EQ(ring.room_for(id(1)), TraceRing::kTraceBytesMax - 3);
  const std::string rest(ring.room_for(id(1)), 'x');
  ring.add(chunk(1, rest));
  EXPECT_EQ(ring.list({})[0].spans, 4U) << "what there is room for fits";
  EXPECT_EQ(ring.room_for(id(1)), 0U);
}

TEST(TraceRingTest, FiltersLeaveOut) {
  TraceRing ring(1 << 20);
  ring.add(chunk(1));
  TraceChunk slow = chunk(2);
  slow.end_ns = slow.start_ns + 5'000'000;
  slow.status = 503;
  slow.route = "reads";
  slow.order = "00ff00ff00ff00ff";
  ring.add(slow);
  const auto only = [&](const TraceFilter& filter) {
    const auto list = ring.list(filter);
    return list.size() == 1 ? std::string(list[0].route) : std::to_string(list.size());
  };
  TraceFilter filter;
  filter.duration_ns_min = 5'000'000;
  EXPECT_EQ(only(filter), "reads");
  filter = {};
  filter.status_min = 200, filter.status_max = 299;
  EXPECT_EQ(only(filter), "orders");
  filter = {};
  filter.route = "orders";
  EXPECT_EQ(only(filter), "orders");
  filter = {};
  filter.orders = {"00ff00ff00ff00ff"};
  EXPECT_EQ(only(filter), "reads");
  filter.orders = {"0123456789abcdef", "00ff00ff00ff00ff"};
  EXPECT_EQ(only(filter), "reads") << "any of them";
  filter.route = "orders";
  EXPECT_EQ(only(filter), "0");
}

}  // namespace
}  // namespace agent::drivers
