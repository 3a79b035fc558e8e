// Where lines go: files that rotate and move, a reader that stands still, syslog.
#include "agent/io/line_sink.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace agent::io {
namespace {

class LineSinkTest : public ::testing::Test {
 protected:
  LineSinkTest() {
    char name[] = "/tmp/line_sink_XXXXXX";
    folder_ = ::mkdtemp(name);
    path_ = (folder_ / "access.log").string();
  }
  ~LineSinkTest() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string text(const std::string& suffix = "") const {
    std::ifstream in(path_ + suffix);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
  }
  [[nodiscard]] std::unique_ptr<LineSink> open(std::uint64_t bytes_max, std::uint32_t files_max) const {
    auto sink = open_log_file({path_, bytes_max, files_max});
    EXPECT_TRUE(sink) << sink.error().detail;
    return std::move(*sink);
  }
  std::filesystem::path folder_;
  std::string path_;
};

TEST_F(LineSinkTest, AppendsToWhatIsThere) {
  std::ofstream(path_) << "old\n";
  auto sink = open(1000, 3);
  EXPECT_EQ(sink->write("one\ntwo\n").lines, 2U);
  EXPECT_EQ(text(), "old\none\ntwo\n");
  struct stat is {};
  ASSERT_EQ(::stat(path_.c_str(), &is), 0);
}

TEST_F(LineSinkTest, ElevenTimesTheSizeLeavesTenFilesTheNewestFirst) {
  auto sink = open(100, 10);
  for (int i = 0; i < 11; ++i) EXPECT_EQ(sink->write(std::string(99, static_cast<char>('a' + i)) + "\n").lines, 1U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 10);
  EXPECT_EQ(text()[0], 'k');
  EXPECT_EQ(text(".1")[0], 'j');
  EXPECT_EQ(text(".9")[0], 'b') << "the first is gone";
  EXPECT_EQ(sink->rotations(), 10U);
}

TEST_F(LineSinkTest, OneFileIsEmptiedWhenFull) {
  auto sink = open(10, 1);
  sink->write("12345678\n");
  sink->write("abc\n");
  EXPECT_EQ(text(), "abc\n");
  EXPECT_FALSE(std::filesystem::exists(path_ + ".1"));
}

TEST_F(LineSinkTest, AFileThatSomebodyMovedOrRemovedIsMadeAnew) {
  auto sink = open(1000, 3);
  sink->write("before\n");
  std::filesystem::rename(path_, path_ + ".by-logrotate");
  sink->write("after\n");
  EXPECT_EQ(text(), "after\n");
  EXPECT_EQ(text(".by-logrotate"), "before\n");
  std::filesystem::remove(path_);
  sink->write("again\n");
  EXPECT_EQ(text(), "again\n");
  sink->reopen();
  sink->write("and again\n");
  EXPECT_EQ(text(), "again\nand again\n");
}

TEST_F(LineSinkTest, WhatIsNoFileIsRefused) {
  std::filesystem::create_directory(path_);
  EXPECT_FALSE(open_log_file({path_, 1000, 3}));
  EXPECT_EQ(open_log_file({(folder_ / "nowhere/x.log").string(), 1000, 3}).error().code, Errc::kNotFound);
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(open_log_file({pipe, 1000, 3})) << "a pipe would stop the writer";
}

TEST_F(LineSinkTest, AFullDiskTakesNoHalfLines) {
  auto sink = open(1 << 20, 3);
  ASSERT_EQ(sink->write("kept\n").lines, 1U);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{25, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const LinesWritten written = sink->write("fits well\nis cut in the middle\n");
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_TRUE(written.error);
  EXPECT_EQ(written.lines, 1U);
  EXPECT_EQ(text(), "kept\nfits well\n");
  EXPECT_EQ(sink->write("goes on\n").lines, 1U);
  EXPECT_EQ(text(), "kept\nfits well\ngoes on\n");
}

TEST_F(LineSinkTest, SyslogGetsOneDatagramPerLineInTheFormOfRfc5424) {
  const int receiver = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto address = Address::unix_path((folder_ / "log").string());
  ASSERT_TRUE(address);
  auto sink = syslog_sink(*address, "n1", "outrigger");
  EXPECT_TRUE(sink->write("{}\n").error) << "nobody listens";
  ASSERT_EQ(::bind(receiver, address->raw(), address->raw_length()), 0);
  EXPECT_EQ(sink->write("{\"a\":1}\n{\"b\":2}\n").lines, 2U) << "found again";
  char buffer[512];
  const auto next = [&] { return std::string(buffer, static_cast<std::size_t>(std::max<ssize_t>(0, ::recv(receiver, buffer, sizeof buffer, 0)))); };
  const std::string first = next();
  EXPECT_TRUE(first.starts_with("<134>1 20")) << first;
  EXPECT_NE(first.find("Z n1 outrigger " + std::to_string(::getpid()) + " access - {\"a\":1}"), std::string::npos) << first;
  EXPECT_TRUE(next().ends_with("{\"b\":2}"));
  ::close(receiver);
}

TEST_F(LineSinkTest, AReaderOfTheStandardOutputThatStandsStillStopsNobody) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int saved = ::dup(STDOUT_FILENO);
  ::dup2(ends[1], STDOUT_FILENO);
  auto sink = standard_output_sink(1);
  const std::string line(1000, 'x');
  std::size_t written = 0;
  bool failed = false;
  for (int i = 0; i < 1000 && !failed; ++i) {
    const LinesWritten now = sink->write(line + "\n");
    written += now.lines;
    failed = now.error.has_value();
  }
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  EXPECT_TRUE(failed);
  EXPECT_GT(written, 10U);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace agent::io
