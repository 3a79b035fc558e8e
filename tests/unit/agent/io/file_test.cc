#include "agent/io/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace agent::io {
namespace {

struct Files : ::testing::Test {
  std::string directory;
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/outrigger-file-XXXXXX";
    directory = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  [[nodiscard]] std::string path(const std::string& name) const { return directory + "/" + name; }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
  }
};

TEST_F(Files, ReplacedContentIsReadBackWithItsMode) {
  ASSERT_TRUE(replace_file(path("a"), "one", 0600));
  EXPECT_EQ(*read_file(path("a"), 100), "one");
  struct stat made{};
  ::stat(path("a").c_str(), &made);
  EXPECT_EQ(made.st_mode & 0777U, 0600U);
  ASSERT_TRUE(replace_file_fast(path("a"), std::string(100'000, 'x'), 0644));
  EXPECT_EQ(read_file(path("a"), 100'000)->size(), 100'000U);
  EXPECT_EQ(entries(), 1U);  // no temporary file stays
}

TEST_F(Files, ReaderSeesOldOrNewButNeverHalf) {
  // A hard link to the old content survives the replacement: it was not written in place.
  ASSERT_TRUE(replace_file(path("a"), "old"));
  ASSERT_EQ(::link(path("a").c_str(), path("held").c_str()), 0);
  ASSERT_TRUE(replace_file(path("a"), "new"));
  EXPECT_EQ(*read_file(path("held"), 10), "old");
  EXPECT_EQ(*read_file(path("a"), 10), "new");
}

TEST_F(Files, FailedReplacementLeavesTheOldContent) {
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  ASSERT_TRUE(replace_file(path("d/inside"), "kept"));
  EXPECT_FALSE(replace_file(path("d"), "a file over a directory"));
  EXPECT_EQ(*read_file(path("d/inside"), 10), "kept");
  EXPECT_EQ(entries(), 1U);
  EXPECT_EQ(replace_file(path("nowhere/a"), "x").error().code, Errc::kNotFound);
}

TEST_F(Files, PlantedLinkAtTheTemporaryNameIsNotFollowed) {
  ASSERT_TRUE(replace_file(path("victim"), "precious"));
  const std::string temporary = path("a") + "." + std::to_string(::getpid()) + ".tmp";
  ASSERT_EQ(::symlink(path("victim").c_str(), temporary.c_str()), 0);
  EXPECT_FALSE(replace_file(path("a"), "overwritten"));
  EXPECT_EQ(*read_file(path("victim"), 100), "precious");
}

TEST_F(Files, ReadingIsBounded) {
  ASSERT_TRUE(replace_file(path("a"), "12345"));
  EXPECT_EQ(read_file(path("a"), 4).error().code, Errc::kTooLarge);
  EXPECT_TRUE(read_file(path("a"), 5));
  EXPECT_EQ(read_file(path("none"), 5).error().code, Errc::kNotFound);
  EXPECT_EQ(read_file(directory, 5).error().code, Errc::kInvalidArgument);
  ASSERT_TRUE(replace_file(path("empty"), ""));
  EXPECT_EQ(*read_file(path("empty"), 0), "");
}

TEST_F(Files, APipeIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  const int held = ::open(path("pipe").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);  // so that reading would begin
  ASSERT_EQ(::write(held, "secret", 6), 6);
  const auto read = read_file(path("pipe"), 3);
  ::close(held);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kInvalidArgument) << read.error().detail;
  EXPECT_NE(read.error().detail.find("it is no file but a pipe"), std::string::npos) << read.error().detail;
}

TEST_F(Files, DirectoriesAreMadeWithTheirParents) {
  ASSERT_TRUE(make_directories(path("x/y/z"), 0700));
  ASSERT_TRUE(make_directories(path("x/y/z")));
  ASSERT_TRUE(make_directories(path("x/y/z/")));
  struct stat made{};
  ASSERT_EQ(::stat(path("x/y/z").c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 0777U, 0700U);
  ASSERT_TRUE(replace_file(path("f"), ""));
  EXPECT_EQ(make_directories(path("f")).error().code, Errc::kExists);
  EXPECT_EQ(make_directories(path("f/g")).error().code, Errc::kExists);
  EXPECT_EQ(make_directories("").error().code, Errc::kInvalidArgument);
}

TEST_F(Files, RemovingTwiceIsFine) {
  ASSERT_TRUE(replace_file(path("a"), ""));
  EXPECT_TRUE(remove_file(path("a")));
  EXPECT_TRUE(remove_file(path("a")));
  EXPECT_FALSE(remove_file(directory));
}

TEST_F(Files, LockIsExclusiveAndNamesItsHolder) {
  auto lock = LockFile::acquire(path("lock"));
  ASSERT_TRUE(lock);
  const auto second = LockFile::acquire(path("lock"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kLocked);
  EXPECT_NE(second.error().detail.find(std::to_string(::getpid())), std::string::npos) << second.error().detail;
  lock->reset();
  EXPECT_TRUE(LockFile::acquire(path("lock")));
  EXPECT_EQ(LockFile::acquire(path("nowhere/lock")).error().code, Errc::kNotFound);
}

TEST_F(Files, LockOfADeadProcessIsFree) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto held = LockFile::acquire(path("lock"));
    ::_exit(held ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(LockFile::acquire(path("lock")));
}

}  // namespace
}  // namespace agent::io
