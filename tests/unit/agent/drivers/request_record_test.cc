// Records as bytes, as lines, in rings: nothing forged, nothing torn, nothing secret.
#include "agent/drivers/request_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "agent/drivers/recent_requests.h"
#include "agent/drivers/record_ring.h"
#include "proxy/trail.h"

namespace agent::drivers {
namespace {

using nlohmann::json;

proxy::AccessRecord sample() {
  proxy::AccessRecord record;
  record.method = "GET";
  record.target = "/quotes?token=secret";
  record.host = "shop";
  record.route = "reads";
  record.request_id = "id-1";
  record.client = record.peer = "192.0.2.9";
  record.endpoint = "10.0.0.1:9000";
  record.endpoint_node = "n2";
  record.status = 200;
  record.attempt_count = 2;
  record.epoch = proxy::Epoch{UINT64_MAX};
  record.outcome = proxy::Outcome::kAnswered;
  record.response_body_bytes = 1024;
  record.total = std::chrono::microseconds(1234567);
  record.connected = std::chrono::nanoseconds{0};
  record.upstream_head = std::chrono::microseconds(200);
  return record;
}

std::string line_of(const proxy::AccessRecord& record, const RecordRules& rules = {}) {
  std::string bytes, line;
  append_record(bytes, record, rules);
  std::uint64_t target_bytes = 0;
  const proxy::AccessRecord read = read_record(bytes, target_bytes);
  append_access_json(line, read, target_bytes, "\"n1\"", {1'767'225'600'500, io::TimePoint{} + std::chrono::seconds(10)});
  return line;
}

TEST(RequestRecordTest, EverythingStandsInTheLine) {
  proxy::AccessRecord record = sample();
  record.started = io::TimePoint{} + std::chrono::seconds(10);
  const json line = json::parse(line_of(record));
  EXPECT_EQ(line["ts"], "2026-01-01T00:00:01.734Z") << "when it ended";
  EXPECT_EQ(line["node"], "n1");
  EXPECT_EQ(line["request_id"], "id-1");
  EXPECT_EQ(line["path"], "/quotes");
  EXPECT_EQ(line["rt"], 1.234567);
  EXPECT_EQ(line["uct"], 0.0);
  EXPECT_EQ(line["uht"], 0.0002);
  EXPECT_TRUE(line["urt"].is_null()) << "what did not happen is null";
  EXPECT_EQ(line["epoch"], UINT64_MAX) << "never through a double";
  EXPECT_EQ(line["bytes_out"], 1024);
  EXPECT_EQ(line["attempts"], 2);
  EXPECT_FALSE(line.contains("peer"));
  EXPECT_FALSE(line.contains("trace_id"));
}

TEST(RequestRecordTest, OfTwoAttemptsBothAreNamed) {
  proxy::AccessRecord record = sample();
  EXPECT_FALSE(json::parse(line_of(record)).contains("hedge_endpoint"));
  record.hedge_endpoint = "10.0.0.2:9000";
  record.hedge_won = true;
  const json line = json::parse(line_of(record));
  EXPECT_EQ(line["endpoint"], "10.0.0.1:9000") << "of the one that has answered";
  EXPECT_EQ(line["hedge_endpoint"], "10.0.0.2:9000");
  EXPECT_EQ(line["hedge_won"], true);
}

TEST(RequestRecordTest, QueryStringsAreLeftOutUnlessAskedFor) {
  EXPECT_EQ(line_of(sample()).find("secret"), std::string::npos);
  EXPECT_EQ(json::parse(line_of(sample(), {true, false, false, 2048}))["path"], "/quotes?token=secret");
}

TEST(RequestRecordTest, NoByteOfARequestCanForgeALine) {
  proxy::AccessRecord record = sample();
  std::string evil;
  for (int byte = 0; byte < 256; ++byte) evil += static_cast<char>(byte);
  evil += "\"}\n{\"status\":500}";
  record.target = record.host = record.client = record.request_id = record.method = evil;
  record.route = evil;
  const std::string line = line_of(record, {true, false, false, 4096});
  for (const char c : line) ASSERT_TRUE(c >= ' ' && c <= '~') << static_cast<int>(c);
  const json parsed = json::parse(line);
  EXPECT_EQ(parsed["status"], 200);
  EXPECT_EQ(parsed["host"].get<std::string>().substr(0, 128), evil.substr(0, 128)) << "ASCII comes back as it was";
}

TEST(RequestRecordTest, LongTargetsAreCutAndSaySo) {
  proxy::AccessRecord record = sample();
  const std::string target = "/" + std::string(5000, 'x');
  record.target = target;
  const json line = json::parse(line_of(record));
  EXPECT_EQ(line["path"].get<std::string>().size(), 2048U);
  EXPECT_EQ(line["path_bytes"], 5001);
}

TEST(RequestRecordTest, TracesAreNamedWithTheirParent) {
  proxy::AccessRecord record = sample();
  record.traced = true;
  record.trace = *proxy::parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  json line = json::parse(line_of(record));
  EXPECT_EQ(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(line["span_id"], "b7ad6b7169203331");
  EXPECT_EQ(line["sampled"], true);
  EXPECT_FALSE(line.contains("parent_span_id"));
  record.parent.fill('a');
  EXPECT_EQ(json::parse(line_of(record))["parent_span_id"], "aaaaaaaaaaaaaaaa");
}

// ---- the ring between two threads ----

TEST(RecordRingTest, WholeRecordsComeOutInOrderAroundTheEnd) {
  RecordRing ring(4096);
  std::uint64_t in = 0, out = 0;
  for (int round = 0; round < 1000; ++round) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(ring.push(std::to_string(in++) + std::string(static_cast<std::size_t>(round % 300), 'x')));
    ring.drain([&](std::string_view record) { EXPECT_TRUE(record.starts_with(std::to_string(out++))); });
  }
  EXPECT_EQ(out, in);
  EXPECT_EQ(ring.dropped(), 0U);
}

TEST(RecordRingTest, WhatFindsNoRoomIsCounted) {
  RecordRing ring(4096);
  int taken = 0;
  while (ring.push(std::string(100, 'a'))) ++taken;
  EXPECT_GT(taken, 30);
  EXPECT_TRUE(ring.half_full());
  EXPECT_FALSE(ring.push("b"  + std::string(100, 'b')));
  EXPECT_EQ(ring.dropped(), 2U);
  EXPECT_EQ(ring.drain([](std::string_view record) { EXPECT_EQ(record, std::string(100, 'a')); }), static_cast<std::size_t>(taken));
  EXPECT_TRUE(ring.push("c"));
  EXPECT_FALSE(ring.push(std::string(2000, 'd'))) << "never more than a quarter of the ring";
}

TEST(RecordRingTest, TwoThreadsLoseNothingButWhatIsCounted) {
  RecordRing ring(1 << 14);
  constexpr std::uint64_t kRecords = 200'000;
  std::atomic<bool> done{false};
  std::thread producer([&] {
    for (std::uint64_t i = 0; i < kRecords; ++i) (void)ring.push(std::to_string(i) + std::string(i % 50, '.'));
    done = true;
  });
  std::uint64_t got = 0, last = 0;
  const auto take = [&](std::string_view record) {
    const std::uint64_t number = std::stoull(std::string(record.substr(0, record.find('.'))));
    EXPECT_TRUE(got == 0 || number > last);
    EXPECT_EQ(record.size(), std::to_string(number).size() + number % 50);
    last = number;
    ++got;
  };
  while (!done) ring.drain(take);
  ring.drain(take);
  producer.join();
  EXPECT_EQ(got + ring.dropped(), kRecords);
  EXPECT_GT(got, 0U);
}

// ---- recent requests ----

TEST(RecentRequestsTest, TheNewestOfAnIdIsFoundWithItsTrail) {
  RecentRequests recent(64 << 10, {});
  proxy::Trail trail;
  trail.add(std::chrono::microseconds(5), proxy::Step::kRoute, "reads", "all", 0, 0);
  proxy::AccessRecord record = sample();
  record.trail = trail.bytes();
  recent.add(record);
  record.status = 503;
  recent.add(record);
  const auto found = recent.find("id-1");
  ASSERT_TRUE(found);
  std::uint64_t target_bytes = 0;
  const proxy::AccessRecord read = read_record(*found, target_bytes);
  EXPECT_EQ(read.status, 503);
  EXPECT_EQ(read.target, "/quotes");
  const auto steps = proxy::read_trail(read.trail);
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(proxy::sentence_of(steps[0]), "route \"reads\", to all");
  EXPECT_FALSE(recent.find("id-2"));
}

TEST(RecentRequestsTest, TheOldestMakeRoomAndTheRestStaysWhole) {
  RecentRequests recent(16 << 10, {});
  proxy::AccessRecord record = sample();
  for (int i = 0; i < 5000; ++i) {
    const std::string id = "id-" + std::to_string(i), reason(static_cast<std::size_t>(i % 700), 'r');
    record.request_id = id;
    record.reason = reason;
    recent.add(record);
    ASSERT_TRUE(recent.find(id)) << i;
    ASSERT_TRUE(i < 3 || recent.find("id-" + std::to_string(i - 3))) << i;
  }
  EXPECT_FALSE(recent.find("id-0"));
  EXPECT_LT(recent.size(), 60U);
  RecentRequests none(0, {});
  none.add(record);
  EXPECT_FALSE(none.find("id-4999"));
}

}  // namespace
}  // namespace agent::drivers
