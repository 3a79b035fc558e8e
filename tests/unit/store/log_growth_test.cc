#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/store/fake_cluster.h"

/// Twenty-four hours of writes at virtual time: what stands on the disks stays bounded.
namespace store::test {
namespace {

std::size_t payload_of(const disk::LoadedState& content) {
  std::size_t bytes = 0;
  for (const raft::Entry& entry : content.entries) bytes += entry.data.size();
  return bytes;
}

std::size_t row_bytes(const Store& store) {
  std::size_t bytes = 0;
  for (const kv::Record& row : store.state().records()) bytes += row.key.size() + (row.value ? row.value->size() : 0);
  return bytes;
}

/// A write every 10 s for a day over 50 keys, a value that changes its size, and a delete now and then; one follower is
/// away for hours at a time. Bounds: the log window as configured (twice what is kept, before it is cut), a row per
/// key and per grave, and the remembered requests, of which there are at most kDedupeWindow per node.
TEST(LogGrowth, ADayOfWritesLeavesBoundedDisks) {
  FakeCluster cluster(5);
  const auto settings = [](Config& config) {
    config.bootstrap_expect = 3;
    config.log_keep_entries = 200;
    config.log_keep_bytes = std::size_t{64} << 10;
    config.heartbeat = 1s;  // a day in few steps
    config.election_min = 5s;
    config.election_max = 10s;
    config.read_lease_margin = 1s;
    config.replace_after = 48h;
  };
  for (int i = 0; i < 3; ++i) cluster.add(settings);
  ASSERT_TRUE(cluster.await_leader(60s));
  std::size_t rows_after_an_hour = 0;
  constexpr int kWrites = 24 * 360;
  for (int i = 0; i < kWrites; ++i) {
    const std::string key = "k" + std::to_string(i % 50);
    const std::uint64_t node = static_cast<std::uint64_t>(i) % 2 + 1;
    kv::CommandBody command = kv::Set{key, std::string(static_cast<std::size_t>(i % 7) * 100, 'v'), 0};
    if (i % 11 == 0) command = kv::Delete{key};
    ASSERT_TRUE(cluster.await(node, cluster.write(node, command, 60s), 120s)) << i;
    if (i % 2'000 == 700) cluster.crash(NodeId{3});
    if (i % 2'000 == 1'900) cluster.restart(NodeId{3});
    cluster.run(10s);
    if (i % 60 != 59) continue;
    for (std::uint64_t id = 1; id <= 2; ++id) {
      ASSERT_LE(cluster.at(id).disk.log_size(), 2 * 200U + 64U) << "write " << i;
      ASSERT_LE(payload_of(cluster.at(id).disk.content()), 3 * (std::size_t{64} << 10)) << "write " << i;
    }
    if (i == 6 * 360 - 1) rows_after_an_hour = row_bytes(cluster.store(1));
  }
  // From six hours to twenty-four: keys, graves and remembered requests have all come to their bound.
  EXPECT_LE(row_bytes(cluster.store(1)), 2 * rows_after_an_hour);
  cluster.restart(NodeId{3});
  cluster.run(60s);
  EXPECT_TRUE(cluster.same_state());
  EXPECT_LE(cluster.at(3).disk.log_size(), 2 * 200U + 64U);
  EXPECT_GT(cluster.store(1).raft().log().first_index().value, static_cast<std::uint64_t>(kWrites) / 2);
}

}  // namespace
}  // namespace store::test
