#include "store/row_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace store {
namespace {

RowStreamHead head() {
  RowStreamHead head;
  head.cluster.bytes[3] = 9;
  head.index = raft::Index{77};
  head.term = raft::Term{3};
  return head;
}

std::vector<kv::Record> rows() {
  return {{std::string("k\0b", 3), std::string(5000, 'x')}, {"ka", "1"}, {"kc", ""}, {"l", "4"}};
}

std::string stream(const std::vector<kv::Record>& records) {
  RowStreamWriter writer(head());
  for (const kv::Record& record : records) writer.add(record);
  writer.finish();
  return writer.take(SIZE_MAX);
}

TEST(RowStreamTest, RoundTripWhateverThePieces) {
  const std::string bytes = stream(rows());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, bytes.size()}) {
    RowStreamReader reader;
    std::vector<kv::Record> got;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      EXPECT_FALSE(reader.finished());
      auto more = reader.feed(std::string_view(bytes).substr(at, piece));
      ASSERT_TRUE(more) << more.error().detail;
      got.insert(got.end(), more->begin(), more->end());
    }
    EXPECT_EQ(got, rows()) << piece;
    EXPECT_TRUE(reader.finished());
    EXPECT_EQ(reader.head(), head());
    EXPECT_EQ(reader.rows(), 4U);
  }
}

TEST(RowStreamTest, TakeGivesPiecesInOrder) {
  RowStreamWriter writer(head());
  std::string got = writer.take(10);
  for (const kv::Record& record : rows()) {
    writer.add(record);
    got += writer.take(3);
  }
  writer.finish();
  EXPECT_EQ(writer.rows(), 4U);
  while (writer.size() > 0) got += writer.take(1000);
  EXPECT_EQ(got, stream(rows()));
}

TEST(RowStreamTest, CutShortNeverEnds) {
  const std::string bytes = stream(rows());
  for (std::size_t size = 0; size < bytes.size(); size += 13) {
    RowStreamReader reader;
    EXPECT_TRUE(reader.feed(std::string_view(bytes).substr(0, size))) << "more may still come";
    EXPECT_FALSE(reader.finished()) << size;
  }
}

TEST(RowStreamTest, EveryFlippedBitIsNoticed) {
  const std::string bytes = stream({{"ka", "1"}, {"kb", "22"}});
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    RowStreamReader reader;
    const bool taken = reader.feed(flipped).has_value() && reader.finished();
    EXPECT_FALSE(taken) << "bit " << bit;
  }
}

TEST(RowStreamTest, WhatIsNoStreamOfOursIsRefused) {
  const auto error = [](std::string_view bytes) {
    RowStreamReader reader;
    auto fed = reader.feed(bytes);
    EXPECT_FALSE(fed && reader.finished());
    EXPECT_FALSE(reader.feed("more") && reader.finished()) << "an error sticks";
    return fed ? std::string("waits") : fed.error().detail;
  };
  EXPECT_THAT(error(std::string("\0\0\0\1\0\0\0\1kv", 10)), testing::HasSubstr("no snapshot of ours"));
  EXPECT_THAT(error(std::string(100, '\xff')), testing::HasSubstr("larger than any row"));
  EXPECT_THAT(error(stream(rows()) + "x"), testing::HasSubstr("after the snapshot's end"));
  EXPECT_THAT(error(stream({{"b", "1"}, {"a", "2"}})), testing::HasSubstr("out of order"));
  std::string newer = stream({});
  const std::size_t at = newer.find("outrigger-state") + 15;
  ASSERT_EQ(newer[at], 1);
  newer[at] = 2;
  EXPECT_THAT(error(newer), testing::HasSubstr("version 2"));
}

}  // namespace
}  // namespace store
