#include "store/disk/rows.h"

#include <gtest/gtest.h>

#include "store/raft/wire.h"

namespace store::disk {
namespace {

TEST(Rows, LogKeysSortLikeIndexes) {
  EXPECT_LT(log_key(raft::Index{255}), log_key(raft::Index{256}));
  EXPECT_EQ(*decode_log_key(log_key(raft::Index{123456789012345})), raft::Index{123456789012345});
  EXPECT_EQ(decode_log_key("short").error().code, Errc::kCorrupt);
}

TEST(Rows, RoundTripOfMeta) {
  kv::ClusterId id;
  id.bytes[7] = 9;
  EXPECT_EQ(*decode_cluster(encode_cluster(id)), id);
  EXPECT_EQ(*decode_number(encode_number(77), "node"), 77U);
  EXPECT_EQ(*decode_start(encode_start({raft::Index{5}, raft::Term{2}})), (LogStart{raft::Index{5}, raft::Term{2}}));
  const Grant grant{id, raft::NodeId{1}, {raft::NodeId{1}, raft::NodeId{2}}};
  EXPECT_EQ(*decode_grant(encode_grant(grant)), grant);
  AppliedMark applied{raft::Index{5}, raft::Term{2}, {}};
  applied.conf.voters = {raft::NodeId{1}, raft::NodeId{3}};
  applied.conf.learners = {raft::NodeId{4}};
  EXPECT_EQ(*decode_applied(encode_applied(applied)), applied);
  const raft::HardState hard{raft::Term{3}, raft::NodeId{2}, raft::Index{8}};
  EXPECT_EQ(*decode_hard(raft::encode(hard)), hard);
}

TEST(Rows, DamageIsNamedAndRefused) {
  kv::ClusterId id;
  id.bytes[7] = 9;
  const Grant grant{id, raft::NodeId{1}, {raft::NodeId{1}, raft::NodeId{2}}};
  const std::string bytes = encode_grant(grant);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(decode_grant(bytes.substr(0, size)).error().code, Errc::kCorrupt) << size;
  const auto damaged = decode_number("\x91\xa1x", "node");
  EXPECT_EQ(damaged.error().code, Errc::kCorrupt);
  EXPECT_NE(damaged.error().detail.find("node"), std::string::npos);
  EXPECT_EQ(decode_applied(encode_start({})).error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_hard("x").error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_cluster(encode_number(1)).error().code, Errc::kCorrupt);
}

TEST(Rows, AnEntryUnderAnotherKeyIsRefused) {
  const raft::Entry entry{raft::Term{1}, raft::Index{5}, raft::EntryKind::kNormal, raft::Payload("x")};
  EXPECT_EQ(*decode_log_row(log_key(raft::Index{5}), raft::encode(entry)), entry);
  EXPECT_EQ(decode_log_row(log_key(raft::Index{6}), raft::encode(entry)).error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_log_row(log_key(raft::Index{5}), "x").error().code, Errc::kCorrupt);
}

}  // namespace
}  // namespace store::disk
