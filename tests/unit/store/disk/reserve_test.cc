#include "store/disk/reserve.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace store::disk {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class ReserveTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "outrigger-reserve-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  Reserve make(std::uint64_t bytes = 64 * kMiB) {
    return Reserve(root_ / "reserve", bytes, [this]() -> std::optional<std::uint64_t> {
      if (unknown_) return std::nullopt;
      // The file takes its room from what is free.
      std::error_code code;
      const auto size = std::filesystem::file_size(root_ / "reserve", code);
      const std::uint64_t taken = code ? 0 : size;
      return free_ > taken ? free_ - taken : 0;
    });
  }
  std::filesystem::path root_;
  std::uint64_t free_ = 1024 * kMiB;  // the file not counted
  bool unknown_ = false;
};

TEST_F(ReserveTest, WithRoomItTakesHalfOfItselfAsAFile) {
  Reserve reserve = make();
  EXPECT_EQ(reserve.look(), Space::kPlenty);
  EXPECT_TRUE(reserve.holds_file());
  EXPECT_EQ(std::filesystem::file_size(root_ / "reserve"), 32 * kMiB);
}

TEST_F(ReserveTest, FirstLowThenTheFileGoesThenFull) {
  Reserve reserve = make();
  ASSERT_EQ(reserve.look(), Space::kPlenty);
  free_ = (32 + 63) * kMiB;
  EXPECT_EQ(reserve.look(), Space::kLow);
  EXPECT_TRUE(reserve.holds_file());
  free_ = (32 + 15) * kMiB;
  EXPECT_EQ(reserve.look(), Space::kLow) << "the file made room";
  EXPECT_FALSE(reserve.holds_file());
  free_ = 15 * kMiB;
  EXPECT_EQ(reserve.look(), Space::kFull);
}

TEST_F(ReserveTest, TheWayBackTakesMoreThanTheWayDown) {
  free_ = 15 * kMiB;
  Reserve reserve = make();
  ASSERT_EQ(reserve.look(), Space::kFull);
  free_ = 20 * kMiB;
  EXPECT_EQ(reserve.look(), Space::kFull);
  free_ = 24 * kMiB;
  EXPECT_EQ(reserve.look(), Space::kLow);
  free_ = 71 * kMiB;
  EXPECT_EQ(reserve.look(), Space::kLow);
  free_ = 80 * kMiB;
  EXPECT_EQ(reserve.look(), Space::kLow) << "not enough for the file and the marks";
  free_ = 104 * kMiB;
  EXPECT_EQ(reserve.look(), Space::kPlenty);
  EXPECT_TRUE(reserve.holds_file());
  EXPECT_EQ(reserve.look(), Space::kPlenty) << "and having the file does not bring it down again";
}

TEST_F(ReserveTest, AFileSystemThatDoesNotAnswerChangesNothing) {
  Reserve reserve = make();
  ASSERT_EQ(reserve.look(), Space::kPlenty);
  unknown_ = true;
  free_ = 0;
  EXPECT_EQ(reserve.look(), Space::kPlenty);
}

TEST_F(ReserveTest, SwitchedOffItLeavesNoFile) {
  { EXPECT_EQ(make().look(), Space::kPlenty); }
  ASSERT_TRUE(std::filesystem::exists(root_ / "reserve"));
  Reserve off = make(0);
  free_ = 0;
  EXPECT_EQ(off.look(), Space::kPlenty);
  EXPECT_FALSE(std::filesystem::exists(root_ / "reserve"));
}

TEST_F(ReserveTest, TheRealFileSystemAnswers) {
  Reserve real(root_ / "reserve", kMiB);
  EXPECT_EQ(real.look(), Space::kPlenty);
}

}  // namespace
}  // namespace store::disk
