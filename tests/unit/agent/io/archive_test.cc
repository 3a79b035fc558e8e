#include "agent/io/archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "agent/io/spool.h"

namespace agent::io {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

std::string pack(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string packed;
  ArchiveWriter writer([&packed](std::span<const std::byte> bytes) -> Result<void> {
    packed.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  });
  for (const auto& [name, content] : files) {
    EXPECT_TRUE(writer.begin_file(name, content.size(), 1'700'000'000));
    EXPECT_TRUE(writer.add(bytes_of(content).first(content.size() / 2)));
    EXPECT_TRUE(writer.add(bytes_of(content).subspan(content.size() / 2)));
  }
  EXPECT_TRUE(writer.finish());
  return packed;
}

struct Unpacked {
  std::map<std::string, std::string> files;
  std::string error;
};

Unpacked unpack(std::string_view packed, std::size_t piece, std::uint64_t bytes_max = 1 << 30) {
  Unpacked found;
  std::string current;
  ArchiveReader reader({[&](const std::string& name, std::uint64_t) -> Result<void> {
                          current = name;
                          found.files[name];
                          return {};
                        },
                        [&](std::span<const std::byte> bytes) -> Result<void> {
                          found.files[current].append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                          return {};
                        }},
                       bytes_max);
  for (std::size_t at = 0; at < packed.size(); at += piece) {
    if (auto fed = reader.feed(bytes_of(packed.substr(at, piece))); !fed) {
      found.error = fed.error().detail;
      return found;
    }
  }
  if (auto whole = reader.finish(); !whole) found.error = whole.error().detail;
  return found;
}

const std::vector<std::pair<std::string, std::string>> kFiles{
    {"meta.json", "{}"}, {"state.bin", std::string(200'000, 'x') + "end"}, {"empty", ""}, {"SHA256SUMS", std::string(512, 's')}};

TEST(ArchiveTest, RoundTripWhateverThePieces) {
  const std::string packed = pack(kFiles);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{100}, std::size_t{65536}, packed.size()}) {
    const Unpacked found = unpack(packed, piece);
    EXPECT_EQ(found.error, "") << piece;
    EXPECT_EQ(found.files, (std::map<std::string, std::string>(kFiles.begin(), kFiles.end()))) << piece;
  }
}

TEST(ArchiveTest, CutShortAnywhereIsNoticed) {
  const std::string packed = pack(kFiles);
  for (std::size_t size = 0; size < packed.size(); size += 7) EXPECT_NE(unpack(packed.substr(0, size), 4096).error, "") << size;
}

TEST(ArchiveTest, OtherBytesAreRefused) {
  EXPECT_THAT(unpack("no archive at all", 5).error, testing::HasSubstr("no gzip"));
  EXPECT_THAT(unpack(pack(kFiles) + "x", 4096).error, testing::HasSubstr("after the end"));
  // Bytes without repetition: in a run of equal ones another match distance would say the same, rightly accepted.
  std::string noise(4096, '\0');
  std::uint32_t state = 1;
  for (char& byte : noise) byte = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24U);
  std::string flipped = pack({{"state.bin", noise}});
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 0x10);
  EXPECT_NE(unpack(flipped, 4096).error, "");
}

TEST(ArchiveTest, ABombIsStopped) {
  EXPECT_THAT(unpack(pack({{"state.bin", std::string(5'000'000, '0')}}), 4096, 1'000'000).error, testing::HasSubstr("more than any"));
}

TEST(ArchiveTest, AFileHasExactlyTheSizeItWasSaidToHave) {
  ArchiveWriter writer([](std::span<const std::byte>) -> Result<void> { return {}; });
  ASSERT_TRUE(writer.begin_file("a", 3, 0));
  EXPECT_EQ(writer.add(bytes_of("abcd")).error().code, Errc::kInvalidArgument);
  ASSERT_TRUE(writer.add(bytes_of("ab")));
  EXPECT_EQ(writer.begin_file("b", 1, 0).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(writer.finish().error().code, Errc::kInvalidArgument);
}

TEST(ArchiveTest, TheSinksErrorEndsIt) {
  ArchiveWriter writer([](std::span<const std::byte>) -> Result<void> { return fail(Errc::kDiskFull, "no room"); });
  static_cast<void>(writer.begin_file("a", 0, 0));
  EXPECT_EQ(writer.finish().error().code, Errc::kDiskFull);
}

TEST(RunningSha256Test, KnownAnswer) {
  RunningSha256 sum;
  sum.add(bytes_of("ab"));
  sum.add(bytes_of("c"));
  EXPECT_EQ(sum.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(SpoolTest, KeepsBytesWithoutAName) {
  auto spool = Spool::create(testing::TempDir());
  ASSERT_TRUE(spool);
  ASSERT_TRUE((*spool)->append(bytes_of("hello ")));
  ASSERT_TRUE((*spool)->append(bytes_of("world")));
  EXPECT_EQ((*spool)->size(), 11U);
  std::string back(20, '\0');
  const auto count = (*spool)->read(6, std::as_writable_bytes(std::span(back)));
  ASSERT_TRUE(count);
  EXPECT_EQ(back.substr(0, *count), "world");
  EXPECT_EQ(Spool::create("/nowhere/at/all").error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace agent::io
