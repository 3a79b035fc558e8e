#include "agent/pid_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace agent {
namespace {

class PidFileTest : public ::testing::Test {
 protected:
  PidFileTest() {
    std::string pattern = ::testing::TempDir() + "/outrigger-pid-XXXXXX";
    folder = ::mkdtemp(pattern.data());
    path = folder + "/agent.pid";
  }
  ~PidFileTest() override { std::filesystem::remove_all(folder); }
  void put(const std::string& text) { std::ofstream(path) << text; }
  std::string text() {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string own = std::to_string(::getpid()) + "\n";
  std::string folder, path;
};

TEST_F(PidFileTest, IsThereWhileItsOwnerLivesAndLeavesNothing) {
  {
    const auto file = PidFile::write(path);
    ASSERT_TRUE(file) << file.error().detail;
    EXPECT_EQ(text(), own);
    struct stat found {};
    ASSERT_EQ(::stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0644) << "others read it";
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(PidFileTest, AStaleOneIsWrittenOver) {
  for (const char* stale : {"1\n", "99999999", "", "12\r\n"}) {
    put(stale);
    const auto file = PidFile::write(path);
    ASSERT_TRUE(file) << stale;
    EXPECT_EQ(text(), own);
  }
}

TEST_F(PidFileTest, WhatIsNoPidFileIsLeftAlone) {
  for (const std::string& other : {std::string("[node]\nname = \"a\"\n"), std::string(100, '1')}) {
    put(other);
    const auto file = PidFile::write(path);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code, io::Errc::kExists);
    EXPECT_NE(file.error().detail.find("node.pid_file"), std::string::npos) << file.error().detail;
    EXPECT_EQ(text(), other);
  }
}

TEST_F(PidFileTest, APlaceThatCannotBeWrittenIsSaidWithTheSetting) {
  for (const std::string& bad : {folder + "/none/agent.pid", folder, std::string("/proc/agent.pid")}) {
    const auto file = PidFile::write(bad);
    ASSERT_FALSE(file) << bad;
    EXPECT_NE(file.error().detail.find(bad), std::string::npos) << file.error().detail;
    EXPECT_NE(file.error().detail.find("--pid-file"), std::string::npos) << file.error().detail;
  }
}

TEST_F(PidFileTest, AnotherProcessesIdIsNotRemoved) {
  {
    const auto file = PidFile::write(path);
    ASSERT_TRUE(file);
    put("77\n");
  }
  EXPECT_EQ(text(), "77\n");
}

}  // namespace
}  // namespace agent
