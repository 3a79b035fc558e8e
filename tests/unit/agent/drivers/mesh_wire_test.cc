#include "agent/drivers/mesh_wire.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace agent::drivers {
namespace {

std::vector<std::byte> frame(std::string_view body) {
  const auto header = frame_header(body.size());
  std::vector<std::byte> bytes(header.begin(), header.end());
  const auto text = std::as_bytes(std::span(body));
  bytes.insert(bytes.end(), text.begin(), text.end());
  return bytes;
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::byte> body_of(const std::vector<std::byte>& framed) {
  return std::span(framed).subspan(kFrameHeaderBytes);
}

TEST(MeshHello, GoesThereAndBack) {
  const Hello hello{kMeshVersion, Lane::kBulk, store::NodeId{0x0123456789abcdefULL}, "desk", "node-a"};
  const auto framed = encode_hello(hello);
  EXPECT_EQ(framed.size(), kFrameHeaderBytes + 10 + 5 + 7);
  EXPECT_EQ(std::to_integer<int>(framed[3]), 22);
  const auto back = decode_hello(body_of(framed));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->lane, Lane::kBulk);
  EXPECT_EQ(back->node, hello.node);
  EXPECT_EQ(back->cluster, "desk");
  EXPECT_EQ(back->name, "node-a");
  const auto answer = encode_hello({kMeshVersion, std::nullopt, store::NodeId{1}, "", ""});
  EXPECT_FALSE(decode_hello(body_of(answer))->lane);
}

TEST(MeshHello, FieldsOfLaterVersionsAreSkipped) {
  auto framed = encode_hello({2, Lane::kUrgent, store::NodeId{9}, "c", "n"});
  framed.resize(framed.size() + 40, std::byte{0x5a});
  const auto back = decode_hello(body_of(framed));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->version, 2);
  EXPECT_EQ(back->name, "n");
}

TEST(MeshHello, EveryCutAndEveryBadFieldIsRefused) {
  const auto whole = encode_hello({kMeshVersion, Lane::kUrgent, store::NodeId{9}, "cluster", "name"});
  const auto body = body_of(whole);
  for (std::size_t size = 0; size < body.size(); ++size) EXPECT_FALSE(decode_hello(body.first(size))) << size;
  const auto with = [&](std::size_t at, int value) {
    std::vector<std::byte> changed(body.begin(), body.end());
    changed[at] = static_cast<std::byte>(value);
    return decode_hello(changed).has_value();
  };
  EXPECT_FALSE(with(0, 0));    // version 0
  EXPECT_FALSE(with(1, 3));    // unknown lane
  EXPECT_FALSE(with(9, 0));    // node id 0
  EXPECT_FALSE(with(10, 255)); // label longer than the body
  EXPECT_TRUE(with(1, 2));
}

TEST(FrameReader, AnySplitGivesTheSameFrames) {
  std::vector<std::string> bodies = {"a", std::string(300, 'b'), "cc", std::string(70'000, 'd'), "e"};
  std::vector<std::byte> stream;
  for (const auto& body : bodies) {
    const auto framed = frame(body);
    stream.insert(stream.end(), framed.begin(), framed.end());
  }
  for (const std::size_t piece : {1UL, 2UL, 3UL, 4UL, 5UL, 7UL, 303UL, 304UL, 305UL, 65536UL, 1'000'000UL}) {
    FrameReader reader(kFrameBytesMax);
    std::vector<std::string> got;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      // A copy per feed, so that a reader that kept a pointer into an old one would be caught.
      const std::vector<std::byte> part(stream.begin() + static_cast<std::ptrdiff_t>(at),
                                        stream.begin() + static_cast<std::ptrdiff_t>(std::min(at + piece, stream.size())));
      reader.feed(part);
      while (const auto body = reader.next()) got.push_back(text_of(*body));
      reader.keep_rest();
    }
    EXPECT_FALSE(reader.broken());
    EXPECT_EQ(got, bodies) << piece;
  }
}

TEST(FrameReader, ImpossibleLengthsBreakIt) {
  for (const std::size_t length : {std::size_t{0}, std::size_t{101}, std::size_t{0xffffffff}}) {
    for (const bool split : {false, true}) {
      FrameReader reader(100);
      const auto header = frame_header(length);
      if (split) {
        reader.feed(std::span(header).first(2));
        EXPECT_FALSE(reader.next());
        reader.keep_rest();
        std::vector<std::byte> rest(header.begin() + 2, header.end());
        rest.resize(50);
        reader.feed(rest);
      } else {
        reader.feed(header);
      }
      EXPECT_FALSE(reader.next());
      EXPECT_TRUE(reader.broken()) << length << split;
      reader.keep_rest();
      reader.feed(header);
      EXPECT_FALSE(reader.next());
    }
  }
}

TEST(FrameReader, BoundCanBeRaisedBetweenFramesOfOneFeed) {
  FrameReader reader(10);
  auto stream = frame("hello");
  const auto large = frame(std::string(500, 'x'));
  stream.insert(stream.end(), large.begin(), large.end());
  reader.feed(stream);
  ASSERT_TRUE(reader.next());
  reader.set_bytes_max(500);
  const auto body = reader.next();
  ASSERT_TRUE(body);
  EXPECT_EQ(body->size(), 500U);
}

}  // namespace
}  // namespace agent::drivers
