// Runs every *.txt in this folder as one test; --rewrite writes what the core did as the new expectation.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/script/raft_vectors/cluster.h"

namespace {

namespace fs = std::filesystem;

bool rewrite = false;

class ScriptTest : public testing::Test {
 public:
  explicit ScriptTest(fs::path path) : path_(std::move(path)) {}

  void TestBody() override {
    std::ifstream in(path_);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const script::File file = script::parse(text);
    script::Cluster cluster(script::Dialect::kOurs);
    std::string rewritten;
    for (const script::Block& block : file.blocks) {
      const std::string actual = cluster.run(block.command);
      if (!rewrite) {
        EXPECT_EQ(block.command.expected, actual) << path_.filename().string() << ":" << block.command.line << ": "
                                                  << block.head;
      }
      rewritten += block.before + block.head + "----\n" + actual;
    }
    EXPECT_FALSE(file.blocks.empty()) << "no commands";
    if (rewrite) std::ofstream(path_) << rewritten + file.after;
  }

 private:
  fs::path path_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) rewrite = rewrite || std::string(argv[i]) == "--rewrite";
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(OUTRIGGER_ROOT) / "tests/script/store")) {
    if (entry.path().extension() == ".txt") files.insert(entry.path());
  }
  for (const fs::path& path : files) {
    testing::RegisterTest("RaftScript", path.stem().c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [path] { return new ScriptTest(path); });
  }
  return RUN_ALL_TESTS();
}
