#include "store/kv/record.h"

#include <gtest/gtest.h>

#include "store/kv/wire.h"

namespace store::kv {
namespace {

std::vector<Record> samples() {
  Entry entry{"value", 7, Index{3}, Index{9}};
  Lease lease{Epoch{4}, NodeId{2}, "n2", NodeId{}, 1500, 500, Index{1}, Index{8}};
  ClusterId cluster;
  cluster.bytes[0] = 1;
  return {{entry_key("k"), encode_entry(entry, nullptr)},
          {tombstone_key("gone"), encode_index(Index{5})},
          {floor_key(), encode_index(Index{2})},
          {lease_key("trader"), encode_lease(lease)},
          {epoch_key("trader"), encode_epoch({Epoch{4}, Index{8}})},
          {member_key(NodeId{2}), encode_member("n2")},
          {cluster_key(), encode_cluster(cluster)},
          {request_key(NodeId{2}, 10), encode_remembered({10, Index{9}, Outcome::kHeld, Epoch{3}})}};
}

TEST(Record, RoundTripOfEveryKind) {
  const auto rows = samples();
  const auto row = [&](std::size_t i) { return *decode_row(rows[i].key, *rows[i].value); };
  EXPECT_EQ(std::get<EntryRow>(row(0)).entry, (Entry{"value", 7, Index{3}, Index{9}}));
  EXPECT_EQ(std::get<EntryRow>(row(0)).key, "k");
  EXPECT_EQ(std::get<TombstoneRow>(row(1)).index, Index{5});
  EXPECT_EQ(std::get<FloorRow>(row(2)).index, Index{2});
  EXPECT_EQ(std::get<LeaseRow>(row(3)).lease.epoch, Epoch{4});
  EXPECT_EQ(std::get<LeaseRow>(row(3)).lease.holder_name, "n2");
  EXPECT_EQ(std::get<EpochRow>(row(4)).counter, (EpochCounter{Epoch{4}, Index{8}}));
  EXPECT_EQ(std::get<MemberRow>(row(5)).id, NodeId{2});
  EXPECT_EQ(std::get<ClusterRow>(row(6)).id.bytes[0], 1);
  EXPECT_EQ(std::get<RequestRow>(row(7)).slot, 10U);
  EXPECT_EQ(std::get<RequestRow>(row(7)).remembered, (Remembered{10, Index{9}, Outcome::kHeld, Epoch{3}}));
}

TEST(Record, TruncatedAndFlippedValuesNeverCrash) {
  for (const Record& record : samples()) {
    for (std::size_t size = 0; size < record.value->size(); ++size)
      EXPECT_FALSE(decode_row(record.key, std::string_view(*record.value).substr(0, size)));
    for (std::size_t at = 0; at < record.value->size(); ++at) {
      std::string flipped = *record.value;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x41);
      static_cast<void>(decode_row(record.key, flipped));
    }
  }
}

TEST(Record, RefusalsByKind) {
  const std::string index = encode_index(Index{1});
  EXPECT_EQ(decode_row("", index).error().code, Errc::kMalformed);
  EXPECT_EQ(decode_row("?", index).error().code, Errc::kUnknownKind);
  EXPECT_EQ(decode_row("t", index).error().code, Errc::kBadKey) << "a tombstone of nothing";
  EXPECT_EQ(decode_row("fx", index).error().code, Errc::kBadKey);
  EXPECT_EQ(decode_row("k" + std::string(kKeyBytesMax + 1, 'k'), index).error().code, Errc::kBadKey);
  EXPECT_EQ(decode_row("m123", encode_member("n")).error().code, Errc::kBadKey);
  EXPECT_EQ(decode_row("d123", encode_member("n")).error().code, Errc::kMalformed);
  EXPECT_EQ(decode_row("f", ArrayWriter(2).add(2U).add(1U).take()).error().code, Errc::kUnknownVersion);
  EXPECT_EQ(decode_row("c", ArrayWriter(2).add(1U).add("short").take()).error().code, Errc::kMalformed);
  const std::string remembered = encode_remembered({10, Index{9}, Outcome::kDone, Epoch{}});
  EXPECT_EQ(decode_row(request_key(NodeId{1}, 11), remembered).error().code, Errc::kMalformed) << "wrong slot";
  const std::string bad_outcome = ArrayWriter(5).add(1U).add(10U).add(1U).add(99U).add(0U).take();
  EXPECT_EQ(decode_row(request_key(NodeId{1}, 10), bad_outcome).error().code, Errc::kUnknownKind);
}

TEST(Record, KeysOfNumbersSortLikeTheNumbers) {
  EXPECT_LT(member_key(NodeId{255}), member_key(NodeId{256}));
  EXPECT_LT(request_key(NodeId{1}, 2047), request_key(NodeId{2}, 0));
}

TEST(Record, NamesOfOutcomesAndErrors) {
  for (int i = 0; i <= static_cast<int>(Outcome::kNotFound); ++i)
    EXPECT_STRNE(to_string(static_cast<Outcome>(i)), "?") << i;
  for (int i = 0; i <= static_cast<int>(Errc::kWatchesFull); ++i)
    EXPECT_STRNE(to_string(static_cast<Errc>(i)), "?") << i;
}

}  // namespace
}  // namespace store::kv
