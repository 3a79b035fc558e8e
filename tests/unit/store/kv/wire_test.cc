#include "store/kv/wire.h"

#include <gtest/gtest.h>

namespace store::kv {
namespace {

std::string sample() {
  return ArrayWriter(4).add(7U).add(std::string_view("ab\0c", 4)).add_list(2).add(1U).add(2U).add("end").take();
}

TEST(Wire, RoundTrip) {
  const std::string bytes = sample();
  ArrayReader reader(bytes, 8);
  EXPECT_EQ(reader.number(), 7U);
  EXPECT_EQ(reader.bytes(4), std::string_view("ab\0c", 4));
  EXPECT_EQ(reader.begin_list(2), 2U);
  EXPECT_EQ(reader.number32(), 1U);
  EXPECT_EQ(reader.number(), 2U);
  EXPECT_TRUE(reader.at_end());
  reader.end_list();
  EXPECT_EQ(reader.bytes(3), "end");
  EXPECT_TRUE(reader.finish());
}

TEST(Wire, FullRangeOfNumbers) {
  const std::uint64_t largest = ~std::uint64_t{0};
  const std::string bytes = ArrayWriter(1).add(largest).take();
  ArrayReader reader(bytes, 1);
  EXPECT_EQ(reader.number(), largest);
  EXPECT_TRUE(reader.finish());
}

TEST(Wire, EveryTruncationIsRefused) {
  const std::string bytes = sample();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ArrayReader reader(std::string_view(bytes).substr(0, size), 8);
    const auto done = reader.finish();
    ASSERT_FALSE(done) << size;
    EXPECT_EQ(done.error().code, Errc::kTruncated) << size;
  }
}

Errc error_of(const ArrayReader& reader) {
  const auto done = reader.finish();
  EXPECT_FALSE(done);
  return done ? Errc::kBadState : done.error().code;
}

TEST(Wire, ErrorsOfEachKind) {
  const std::string bytes = sample();
  {
    ArrayReader reader(bytes + "x", 8);
    EXPECT_EQ(error_of(reader), Errc::kMalformed) << "bytes left over";
  }
  {
    ArrayReader reader(bytes, 3);
    EXPECT_EQ(error_of(reader), Errc::kTooLarge) << "more elements than allowed";
  }
  {
    ArrayReader reader(bytes, 8);
    EXPECT_EQ(reader.bytes(10), "");
    EXPECT_EQ(error_of(reader), Errc::kMalformed) << "a number is no bytes";
  }
  {
    ArrayReader reader(bytes, 8);
    static_cast<void>(reader.number());
    EXPECT_EQ(reader.bytes(3), "");
    EXPECT_EQ(error_of(reader), Errc::kTooLarge) << "bytes above their bound";
  }
  {
    ArrayReader reader(bytes, 8);
    static_cast<void>(reader.number());
    EXPECT_EQ(reader.number(), 0U);
    EXPECT_EQ(error_of(reader), Errc::kMalformed) << "bytes are no number";
  }
  {
    ArrayReader reader(bytes, 8);
    static_cast<void>(reader.number());
    EXPECT_EQ(error_of(reader), Errc::kMalformed) << "values left over";
  }
  {
    const std::string wide = ArrayWriter(1).add(std::uint64_t{1} << 32U).take();
    ArrayReader reader(wide, 1);
    EXPECT_EQ(reader.number32(), 0U);
    EXPECT_EQ(error_of(reader), Errc::kMalformed) << "above 32 bits";
  }
  {
    ArrayReader reader("\x01", 1);
    EXPECT_EQ(error_of(reader), Errc::kMalformed) << "not an array";
  }
  {
    const std::string one = ArrayWriter(1).add(1U).take();
    ArrayReader reader(one, 1);
    static_cast<void>(reader.number());
    static_cast<void>(reader.number());
    EXPECT_EQ(error_of(reader), Errc::kTruncated) << "too few values";
  }
  {
    ArrayReader reader("\xc1", 1);
    EXPECT_EQ(error_of(reader), Errc::kMalformed) << "a byte that msgpack never uses";
  }
}

TEST(Wire, DeepNestingIsRefused) {
  ArrayReader reader(std::string(64, '\x91') + '\x01', 8);
  EXPECT_FALSE(reader.finish());
}

TEST(Wire, TheFirstErrorSticks) {
  const std::string bytes = sample();
  ArrayReader reader(bytes, 8);
  reader.reject(Errc::kUnknownKind, "first");
  reader.reject(Errc::kTooLarge, "second");
  EXPECT_EQ(reader.number(), 0U);
  EXPECT_EQ(reader.begin_list(9), 0U);
  EXPECT_EQ(error_of(reader), Errc::kUnknownKind);
}

}  // namespace
}  // namespace store::kv
