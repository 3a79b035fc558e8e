// One gzip stream, a piece at a time.
#include "agent/io/gzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <vector>

namespace agent::io {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

/// What a client has after `packed`, which may end in the middle of the stream.
std::string unpacked(const std::string& packed) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::vector<char> out(1 << 22);
  std::string copy = packed;
  stream.next_in = reinterpret_cast<Bytef*>(copy.data());
  stream.avail_in = static_cast<uInt>(copy.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = inflate(&stream, Z_SYNC_FLUSH);
  EXPECT_TRUE(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR) << status;
  const std::string text(out.data(), stream.total_out);
  inflateEnd(&stream);
  return text;
}

TEST(Gzip, WhatIsFlushedCanBeReadAndTheWholeComesBack) {
  auto stream = GzipStream::create(6);
  ASSERT_TRUE(stream);
  std::string out, all;
  for (int i = 0; i < 200; ++i) {
    const std::string piece = "line " + std::to_string(i * 7919) + "\n";
    all += piece;
    ASSERT_TRUE((*stream)->write(bytes_of(piece), i % 10 == 9 ? GzipStream::Flush::kSync : GzipStream::Flush::kNone, out));
    if (i % 10 == 9) {
      ASSERT_EQ(unpacked(out), all);
    }
  }
  ASSERT_TRUE((*stream)->write({}, GzipStream::Flush::kFinish, out));
  EXPECT_EQ(unpacked(out), all);
  EXPECT_LT(out.size(), all.size());
}

TEST(Gzip, IsUsedAgain) {
  auto stream = GzipStream::create(1);
  ASSERT_TRUE(stream);
  for (const std::string_view text : {"one", "", "three"}) {
    std::string out;
    ASSERT_TRUE((*stream)->write(bytes_of(text), GzipStream::Flush::kFinish, out));
    EXPECT_EQ(unpacked(out), text);
    (*stream)->restart();
  }
}

TEST(Gzip, ALargePieceComesOutInMany) {
  auto stream = GzipStream::create(1);
  ASSERT_TRUE(stream);
  std::string noise(1 << 20, '\0'), out;
  std::uint32_t state = 1;
  for (char& c : noise) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  ASSERT_TRUE((*stream)->write(bytes_of(noise), GzipStream::Flush::kFinish, out));
  EXPECT_EQ(unpacked(out), noise);
}

TEST(Gzip, AWrongLevelIsRefused) { EXPECT_EQ(GzipStream::create(11).error().code, Errc::kInvalidArgument); }

}  // namespace
}  // namespace agent::io
