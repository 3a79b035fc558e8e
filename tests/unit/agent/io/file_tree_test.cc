// Files beneath one folder, by names that come from strangers.
#include "agent/io/file_tree.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>

#include "tests/unit/agent/io/loop_until.h"

namespace agent::io {
namespace {

namespace fs = std::filesystem;
using Patience = FileTree::Patience;

class BeneathRoot : public testing::Test {
 protected:
  BeneathRoot() {
    std::string pattern = testing::TempDir() + "outrigger-files-XXXXXX";
    base_ = mkdtemp(pattern.data());
    fs::create_directories(base_ / "www/sub");
    write("www/a.txt", "hello");
    write("www/sub/b.txt", "there");
    write("secret", "no");
    fs::create_symlink("../secret", base_ / "www/out");
    fs::create_symlink((base_ / "secret").string(), base_ / "www/absolute");
    fs::create_directory_symlink("..", base_ / "www/up");
    fs::create_symlink("sub/b.txt", base_ / "www/in");
    fs::create_symlink("loop", base_ / "www/loop");
    mkfifo((base_ / "www/pipe").c_str(), 0600);
    tree_ = FileTree::open((base_ / "www").string()).value();
  }
  ~BeneathRoot() override { fs::remove_all(base_); }
  void write(const std::string& name, std::string_view text) { std::ofstream(base_ / name) << text; }
  std::optional<Errc> fault(const std::string& name) {
    const auto file = tree_->open_file(name, Patience::kWait);
    return file ? std::nullopt : std::optional(file.error().code);
  }

  fs::path base_;
  std::shared_ptr<const FileTree> tree_;
};

TEST_F(BeneathRoot, OpensWhatIsThere) {
  const auto file = tree_->open_file("a.txt", Patience::kWait).value();
  EXPECT_EQ(file->bytes(), 5U);
  EXPECT_FALSE(file->is_folder());
  EXPECT_GT(file->modified_ns(), 0);
  std::array<std::byte, 100> slab;
  EXPECT_EQ(FileTree::read(*file, 1, slab, Patience::kWait).value(), 4U);
  EXPECT_EQ(FileTree::read(*file, 5, slab, Patience::kWait).value(), 0U);
  EXPECT_TRUE(tree_->open_file("sub", Patience::kWait).value()->is_folder());
  EXPECT_EQ(tree_->open_file("in", Patience::kWait).value()->bytes(), 5U);
}

TEST_F(BeneathRoot, NothingLeadsOutOfTheRoot) {
  for (const std::string name : {"out", "absolute", "up/secret", "../secret", "/etc/passwd", "sub/../../secret", "pipe", "loop", "missing", "a.txt/x"}) {
    EXPECT_EQ(fault(name), Errc::kNotFound) << name;
  }
}

TEST_F(BeneathRoot, AChangeIsSeen) {
  const auto file = tree_->open_file("a.txt", Patience::kWait).value();
  EXPECT_TRUE(file->unchanged());
  write("www/a.txt", "longer than before");
  EXPECT_FALSE(file->unchanged());
  const auto other = tree_->open_file("a.txt", Patience::kWait).value();
  fs::remove(base_ / "www/a.txt");
  EXPECT_TRUE(other->unchanged()) << "a file that has lost its name is still the same";
}

TEST_F(BeneathRoot, FromThePool) {
  const auto loop = new_loop();
  {
    FileWork work(*loop);
    std::shared_ptr<OpenFile> file;
    work.open(tree_, "sub/b.txt", [&](Result<std::shared_ptr<OpenFile>> opened) { file = opened.value(); });
    EXPECT_TRUE(work.running());
    ASSERT_TRUE(run_until(*loop, [&] { return file != nullptr; }));
    std::string text;
    work.read(file, 1, 100, [&](Result<std::span<const std::byte>> bytes) {
      text.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    });
    ASSERT_TRUE(run_until(*loop, [&] { return !text.empty(); }));
    EXPECT_EQ(text, "here");
  }
  {
    FileWork forgotten(*loop);
    forgotten.open(tree_, "a.txt", [](Result<std::shared_ptr<OpenFile>>) { ADD_FAILURE() << "nobody waits any more"; });
  }
  while (loop->poll()) {
  }
}

TEST(FileTree, ARootMustBeAFolder) {
  EXPECT_EQ(FileTree::open("/nonexistent").error().code, Errc::kNotFound);
  EXPECT_EQ(FileTree::open("/etc/passwd").error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace agent::io
