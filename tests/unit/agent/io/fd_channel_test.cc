#include "agent/io/fd_channel.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/agent/io/loop_until.h"

namespace agent::io {
namespace {

class FdChannelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = FdDoor::open(*loop, path, [this](std::unique_ptr<FdChannel> channel) {
      inside = std::move(channel);
      ASSERT_TRUE(inside->listen_to(
          [this](std::string_view text, std::vector<OwnedFd> got) {
            texts.emplace_back(text);
            for (OwnedFd& fd : got) fds.push_back(std::move(fd));
          },
          [this] {
            ended = true;
            inside.reset();
          }));
    });
    ASSERT_TRUE(opened) << opened.error().detail;
    door = std::move(*opened);
    auto made = FdChannel::connect(*loop, path);
    ASSERT_TRUE(made) << made.error().detail;
    outside = std::move(*made);
  }
  std::unique_ptr<Loop> loop = std::move(*Loop::create());
  std::string path = ::testing::TempDir() + "door-" + std::to_string(::getpid());
  std::unique_ptr<FdDoor> door;
  std::unique_ptr<FdChannel> inside, outside;
  std::vector<std::string> texts;
  std::vector<OwnedFd> fds;
  bool ended = false;
};

TEST_F(FdChannelTest, TextsKeepTheirBordersAndDescriptorsArriveAsTheSameFiles) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const OwnedFd reader(ends[0]), writer(ends[1]);
  ASSERT_TRUE(outside->send("one"));
  ASSERT_TRUE(outside->send("two", {writer.get()}));
  ASSERT_TRUE(run_until(*loop, [&] { return texts.size() == 2; }));
  EXPECT_EQ(texts[0], "one");
  EXPECT_EQ(texts[1], "two");
  ASSERT_EQ(fds.size(), 1U);
  ASSERT_EQ(::write(fds[0].get(), "x", 1), 1);
  char got = 0;
  EXPECT_EQ(::read(reader.get(), &got, 1), 1);
  EXPECT_EQ(got, 'x');
}

TEST_F(FdChannelTest, TheEndIsToldOnceAndTheChannelMayGoInIt) {
  outside.reset();
  EXPECT_TRUE(run_until(*loop, [&] { return ended; }));
  EXPECT_EQ(inside, nullptr);
}

TEST_F(FdChannelTest, BoundsAreKept) {
  EXPECT_EQ(outside->send("").error().code, Errc::kTooLarge);
  EXPECT_EQ(outside->send(std::string(FdChannel::kTextBytesMax + 1, 'x')).error().code, Errc::kTooLarge);
  EXPECT_EQ(outside->send("x", std::vector<int>(FdChannel::kFdsMax + 1, 0)).error().code, Errc::kTooLarge);
  EXPECT_EQ(FdChannel::connect(*loop, "/" + std::string(120, 'x')).error().code, Errc::kInvalidArgument);
}

TEST_F(FdChannelTest, ADoorIsForItsOwnerAndGoesWithIt) {
  struct stat found{};
  ASSERT_EQ(::stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0600U);
  door.reset();
  EXPECT_NE(::stat(path.c_str(), &found), 0);
  EXPECT_EQ(FdChannel::connect(*loop, path).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace agent::io
