#include "agent/halt_disk.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/halt_driver.h"
#include "tests/unit/agent/halt_fixture.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent {
namespace {

using io::run_until;

/// A disk that answers when the test says so: each write waits for a word, and gives up after kPatience so that a broken build fails.
class Disk {
 public:
  std::function<io::Result<void>(const std::string&, std::string_view)> writer() {
    return [this](const std::string&, std::string_view bytes) -> io::Result<void> {
      std::unique_lock lock(mutex_);
      ++begun_;
      if (!changed_.wait_for(lock, io::kPatience / 4, [this] { return open_; })) return io::fail(io::Errc::kIo, "nobody let it go on");
      if (full_) return io::fail(io::Errc::kDiskFull, "no space left");
      written_.emplace_back(bytes);
      return {};
    };
  }
  void open(bool on = true) {
    const std::lock_guard lock(mutex_);
    open_ = on;
    changed_.notify_all();
  }
  void full(bool on) {
    const std::lock_guard lock(mutex_);
    full_ = on;
  }
  [[nodiscard]] std::vector<std::string> written() {
    const std::lock_guard lock(mutex_);
    return written_;
  }
  [[nodiscard]] int begun() {
    const std::lock_guard lock(mutex_);
    return begun_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, full_ = false;
  int begun_ = 0;
  std::vector<std::string> written_;
};

class HaltDiskTest : public testing::Test {
 protected:
  std::unique_ptr<io::Loop> loop = io::new_loop();
  Disk disk;
  std::vector<std::string> log;

  std::unique_ptr<HaltDisk> make(io::Milliseconds late = io::kPatience) {
    return std::make_unique<HaltDisk>(*loop, HaltDiskParts{"halts", disk.writer(), late, [this](std::string_view event, const std::string& detail) { log.push_back(std::string(event) + " " + detail); }},
                                      kv::HaltSet{});
  }
  /// The file after one more halt.
  const HaltFile& more(HaltFile& file) {
    EXPECT_TRUE(file.set.add(file.replica, halt()));
    return file;
  }
};

TEST_F(HaltDiskTest, TheNewestStateFollowsTheOneThatIsBeingWritten) {
  const auto kept = make();
  EXPECT_EQ(kept->state(), HaltDisk::State::kKept);
  HaltFile file{1, {}};
  int told = 0;
  kept->keep(more(file));
  kept->when_told([&] { ++told; });
  ASSERT_TRUE(io::look_until(*loop, [&] { return disk.begun() == 1; }));
  kept->keep(more(file));
  kept->keep(more(file));
  EXPECT_EQ(kept->state(), HaltDisk::State::kWriting);
  EXPECT_EQ(told, 0);
  const kv::Halt first = file.set.halts().begin()->second, last = file.set.halts().rbegin()->second;
  EXPECT_FALSE(kept->holds(first));
  kept->when_told([&] { told += 10; });
  disk.open();
  ASSERT_TRUE(run_until(*loop, [&] { return told == 11; }));
  EXPECT_EQ(kept->state(), HaltDisk::State::kKept);
  EXPECT_TRUE(kept->holds(first) && kept->holds(last));
  const auto written = disk.written();
  ASSERT_EQ(written.size(), 2U) << "the second of three states is left out";
  EXPECT_EQ(decode_halt_file(written[1])->set, file.set);
  kv::Halt other = first;
  other.cancels_pass = !other.cancels_pass;
  EXPECT_FALSE(kept->holds(other)) << "it is stricter now, and the file does not say so";
  kept->when_told([&] { ++told; });
  EXPECT_EQ(told, 11) << "never inside the call";
  ASSERT_TRUE(run_until(*loop, [&] { return told == 12; }));
  EXPECT_TRUE(log.empty());
}

TEST_F(HaltDiskTest, WhoeverWaitsForADiskThatHangsIsToldAfterAWhile) {
  const auto kept = make(io::Milliseconds(10));
  HaltFile file{1, {}};
  bool told = false;
  kept->keep(more(file));
  kept->when_told([&] { told = true; });
  ASSERT_TRUE(run_until(*loop, [&] { return told && !log.empty(); }));
  EXPECT_EQ(kept->state(), HaltDisk::State::kLate);
  EXPECT_FALSE(kept->holds(file.set.halts().begin()->second));
  EXPECT_EQ(log[0], "halts_not_kept halts: the disk has not answered for 10 ms; they stand, and a restart would forget them");
  EXPECT_EQ(kept->failures(), 1U);
  disk.open();
  ASSERT_TRUE(run_until(*loop, [&] { return kept->state() == HaltDisk::State::kKept; }));
  EXPECT_EQ(log.size(), 2U);
  EXPECT_TRUE(log[1].starts_with("halts_kept "));
}

TEST_F(HaltDiskTest, AFullDiskIsToldAtOnceAndTriedAgain) {
  disk.open();
  disk.full(true);
  const auto kept = make();
  HaltFile file{1, {}};
  bool told = false;
  kept->keep(more(file));
  kept->when_told([&] { told = true; });
  ASSERT_TRUE(run_until(*loop, [&] { return told; }));
  EXPECT_EQ(kept->state(), HaltDisk::State::kFailed);
  EXPECT_EQ(log.size(), 1U);
  kept->again();
  EXPECT_EQ(kept->state(), HaltDisk::State::kWriting);
  ASSERT_TRUE(run_until(*loop, [&] { return kept->state() == HaltDisk::State::kFailed; }));
  EXPECT_EQ(log.size(), 1U) << "once";
  disk.full(false);
  ASSERT_TRUE(run_until(*loop, [&] { return kept->state() == HaltDisk::State::kKept; })) << "by itself";
  EXPECT_EQ(disk.written().size(), 1U);
}

TEST_F(HaltDiskTest, WhatIsNotWrittenYetIsAtItsEnd) {
  auto kept = make();
  HaltFile file{1, {}};
  kept->keep(more(file));
  ASSERT_TRUE(io::look_until(*loop, [&] { return disk.begun() == 1; }));
  kept->keep(more(file));
  disk.open();
  kept.reset();
  ASSERT_EQ(disk.written().size(), 2U);
  EXPECT_EQ(decode_halt_file(disk.written().back())->set, file.set);
}

/// The driver without a store: what its agent does in the moment of a halt.
TEST_F(HaltDiskTest, AHaltStandsAndIsToldToOthersWhileTheDiskHangs) {
  const std::string path = testing::TempDir() + "halt_disk_test-" + std::to_string(::getpid()) + ".halts";
  std::filesystem::remove(path);
  HaltDriverParts parts;
  parts.path = path;
  parts.node = "n1";
  parts.chance = [](std::uint64_t bound) { return 7 % bound; };
  std::size_t frames = 0, views = 0;
  parts.send = [&](store::NodeId, const std::string&) { ++frames; };
  parts.publish = [&](const std::shared_ptr<const proxy::HaltView>&) { ++views; };
  parts.log = [](std::string_view, const std::string&) {};
  parts.write = disk.writer();
  parts.late = io::Milliseconds(10);
  disk.open();  // the first file
  auto driver = std::move(*HaltDriver::start(*loop, std::move(parts)));
  driver->on_connected(store::NodeId{2});
  EXPECT_EQ(frames, 0U);
  disk.open(false);
  const auto given = driver->halt({"global", "prices look wrong", "ada", true});
  ASSERT_TRUE(given) << given.error().detail;
  EXPECT_EQ(frames, 1U);
  EXPECT_EQ(views, 1U);
  EXPECT_EQ(disk.written().size(), 1U);
  EXPECT_FALSE(given->on_disk);
  std::vector<bool> told;
  const auto note = [&told](const api::Result<api::HaltInfo>& info) { told.push_back(info->on_disk); };
  driver->when_kept(*given, note);
  ASSERT_TRUE(run_until(*loop, [&] { return told.size() == 1; })) << "answered all the same";
  EXPECT_FALSE(told[0]);
  disk.open();
  ASSERT_TRUE(run_until(*loop, [&] { return driver->halts()[0].on_disk; }));
  driver->when_kept(*given, note);
  ASSERT_TRUE(run_until(*loop, [&] { return told.size() == 2; }));
  EXPECT_TRUE(told[1]);
}

}  // namespace
}  // namespace agent
