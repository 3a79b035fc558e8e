// A simulator that finds nothing may be blind. Each mutant is the product with one rule broken in its source; every one
// of them must be caught by the first 200 seeds. mutants.cmake builds them beside this executable.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#ifndef OUTRIGGER_SIM_MUTANTS
#define OUTRIGGER_SIM_MUTANTS ""
#endif

namespace sim {
namespace {

std::vector<std::string> mutant_names() {
  std::vector<std::string> names;
  std::istringstream list(OUTRIGGER_SIM_MUTANTS);
  for (std::string name; std::getline(list, name, ',');) {
    names.push_back(name);
  }
  return names;
}

std::filesystem::path mutant_directory() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "sim_mutants";
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Runs a mutant's hunt. @return its exit status as waitpid() has it; `output` is what it wrote
int hunt(const std::filesystem::path& program, std::string* output) {
  const std::string command = "'" + program.string() + "' --hunt=200 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) {
    return -1;
  }
  char buffer[4096];
  for (std::size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    output->append(buffer, n);
  }
  return pclose(pipe);
}

std::string last_line_with(const std::string& output, const std::string& word) {
  const std::size_t at = output.rfind(word);
  return at == std::string::npos ? std::string() : output.substr(at, output.find('\n', at) - at);
}

class Mutants : public ::testing::TestWithParam<std::string> {};

TEST_P(Mutants, IsCaught) {
  const std::filesystem::path directory = mutant_directory();
  const std::filesystem::path program = directory / GetParam();
  const std::string stale = read_file(directory / (GetParam() + ".d") / "stale");
  ASSERT_TRUE(stale.empty()) << "the mutant no longer fits the source: " << stale;
  ASSERT_TRUE(std::filesystem::exists(program)) << "not built: sim_mutants";
  std::string output;
  const int status = hunt(program, &output);
  const std::string caught = last_line_with(output, "caught: seed");
  const std::string hunting = last_line_with(output, "hunting with seed");
  const std::string broken = last_line_with(output, "BROKEN at");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    ASSERT_FALSE(caught.empty()) << output;
    std::printf("%s: caught by %s; %s\n", GetParam().c_str(), caught.substr(8, caught.find(" (") - 8).c_str(),
                broken.c_str());
  } else {
    // popen's shell reports a child that ended by a signal as 128 + signal: an assertion of the product itself.
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) > 128) << "not caught: " << hunting << "\n" << output;
    std::printf("%s: stopped by its own assertions, %s\n", GetParam().c_str(), hunting.c_str());
  }
}

/// A list that got lost on the way through the build would silence the tests above.
TEST(MutantList, TheThreeThatMustBeThereAreBuilt) {
#ifdef OUTRIGGER_SIM_NO_MUTANTS
  GTEST_SKIP() << "mutants are hunted in builds without sanitizers";
#endif
  const std::vector<std::string> names = mutant_names();
  ASSERT_FALSE(names.empty()) << "tests/CMakeLists.txt must say include(sim/mutants.cmake) after the target sim";
  for (const char* needed : {"lease_check_without_time", "skipped_fsync", "double_vote"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), needed), names.end()) << needed;
  }
}

INSTANTIATE_TEST_SUITE_P(Every, Mutants, ::testing::ValuesIn(mutant_names()),
                         [](const auto& one) { return one.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Mutants);

}  // namespace
}  // namespace sim
