// raft_vectors DIR...: runs folders of public vectors (quorum, confchange, interaction) against store/raft.
// Without DIR: $RAFT_VECTORS, else ../shared/vectors/raft next to the repository or the working directory.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <set>

#include "tests/script/raft_vectors/cluster.h"

namespace {

namespace fs = std::filesystem;
using script::Block;
using script::Command;

struct Count {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
};

/// Log text is no contract: only what the state machine does is compared.
std::string without_log_lines(const std::string& text) {
  static const std::regex kLog("^ *(INFO|DEBUG|WARN|ERROR) .*");
  std::istringstream in(text);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    if (!std::regex_match(line, kLog)) out += line + "\n";
  }
  return out.empty() ? "ok\n" : out;
}

/// Why a file is left out, or nothing.
std::string reason_to_skip(const script::File& file) {
  for (const Block& block : file.blocks) {
    if (block.command.name != "add-nodes") continue;
    for (const script::Arg& arg : block.command.args) {
      if (arg.key == "async-storage-writes") {
        return "prints etcd's own messages to its storage threads; our disk acks carry a batch number instead "
               "(the race itself: tests/script/store/disk_ack_aba.txt)";
      }
      if (!arg.values.empty() && !script::Cluster::knows_option(arg.key)) return "option " + arg.key + " is not ours";
    }
  }
  return {};
}

/// What a file tests follows from its commands, wherever it lies.
std::string kind_of(const script::File& file) {
  for (const Block& block : file.blocks) {
    const std::string& name = block.command.name;
    if (name == "committed" || name == "vote") return "quorum";
    if (name == "simple" || name == "enter-joint" || name == "leave-joint") return "confchange";
  }
  return "interaction";
}

std::string run_one(const std::string& folder, const Command& command, script::ConfChangeScript& changes,
                    script::Cluster& cluster) {
  if (folder == "quorum") return script::run_quorum(command);
  if (folder == "confchange") return changes.run(command);
  return cluster.run(command);
}

/// Runs one file; every directive is one case.
void run_file(const fs::path& path, Count& total, Count& cases) {
  std::ifstream in(path);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const script::File file = script::parse(text);
  const std::string folder = kind_of(file);
  if (const std::string reason = folder == "interaction" ? reason_to_skip(file) : ""; !reason.empty()) {
    std::cout << "skip " << folder << "/" << path.filename().string() << ": " << reason << "\n";
    ++total.skipped;
    return;
  }
  script::ConfChangeScript changes;
  script::Cluster cluster(script::Dialect::kVectors);
  int failed = 0;
  for (const Block& block : file.blocks) {
    const std::string actual = run_one(folder, block.command, changes, cluster);
    const std::string expected = folder == "interaction" ? without_log_lines(block.command.expected)
                                                         : block.command.expected;
    if (actual == expected) {
      ++cases.passed;
      continue;
    }
    ++cases.failed;
    if (++failed > 3) continue;
    std::cout << path.string() << ":" << block.command.line << ": " << block.head << "--- expected\n" << expected
              << "--- got\n" << actual << "---\n";
  }
  ++(failed == 0 ? total.passed : total.failed);
  std::cout << (failed == 0 ? "pass " : "FAIL ") << folder << "/" << path.filename().string() << " ("
            << file.blocks.size() << " cases" << (failed > 0 ? ", " + std::to_string(failed) + " failed" : "") << ")\n";
}

std::vector<fs::path> default_folders() {
  std::vector<fs::path> candidates;
  if (const char* given = std::getenv("RAFT_VECTORS")) {
    candidates.emplace_back(given);
  } else {
    const fs::path root = fs::path(OUTRIGGER_ROOT);
    candidates = {root.parent_path() / "shared/vectors/raft", "../shared/vectors/raft"};
  }
  for (const fs::path& path : candidates) {
    if (fs::is_directory(path)) return {path};
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<fs::path> folders(argv + 1, argv + argc);
  if (folders.empty()) folders = default_folders();
  if (folders.empty()) {
    std::cout << "raft_vectors: skipped, no vectors found (set RAFT_VECTORS or name a folder)\n";
    return 0;
  }
  std::set<fs::path> files;
  for (const fs::path& folder : folders) {
    if (!fs::exists(folder)) {
      std::cerr << "raft_vectors: " << folder.string() << " does not exist\n";
      return 2;
    }
    if (fs::is_regular_file(folder)) {
      files.insert(folder);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.path().extension() == ".txt") files.insert(entry.path());
    }
  }
  Count total;
  Count cases;
  for (const fs::path& file : files) run_file(file, total, cases);
  std::cout << total.passed << " files passed, " << total.failed << " failed, " << total.skipped << " skipped; "
            << cases.passed << " cases passed, " << cases.failed << " failed\n";
  return total.failed == 0 ? 0 : 1;
}
