// A simulator that finds nothing may be blind. Each mutant is the product with one rule broken in its source; every one
// of them must be caught by the first 200 seeds. mutants.cmake builds `sim_mutated`, with all of them inside, beside this
// executable. All selected mutants are hunted at once, as many at a time as there are processors.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <ostream>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace sim {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kSeeds = "--hunt=500";  // permit_outlives_lease needs 366 of them, most need one
constexpr std::chrono::seconds kHuntMax{1800};  // a mutant may well run in circles; others need their time on a slow machine

struct Mutant {
  std::string name;
  std::string rule;
  std::string stale;
  std::string focus;
};
void PrintTo(const Mutant& mutant, std::ostream* out) { *out << mutant.name << ": " << mutant.rule; }

std::vector<Mutant> mutants() {
  return {
#ifdef OUTRIGGER_SIM_MUTANTS
#include OUTRIGGER_SIM_MUTANTS
#endif
  };
}

std::filesystem::path program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "sim_mutated";
}

struct Hunt {
  std::string output;
  int status = -1;  ///< as waitpid() has it
  bool late = false;
  pid_t pid = -1;
  int pipe = -1;
  Clock::time_point began;
};

void begin(const Mutant& mutant, Hunt* hunt) {
  const std::string path = program().string();
  const std::string option = "--mutant=" + mutant.name;
  const std::string focus = "--focus=" + mutant.focus;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  hunt->began = Clock::now();
  hunt->pid = fork();
  if (hunt->pid == 0) {
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    close(ends[0]);
    close(ends[1]);
    execl(path.c_str(), path.c_str(), option.c_str(), focus.c_str(), kSeeds, static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  hunt->pipe = ends[0];
}

/// Reads what has come. @return false when the hunt is over
bool go_on(Hunt* hunt) {
  pollfd wait{hunt->pipe, POLLIN, 0};
  if (poll(&wait, 1, 50) > 0) {
    char buffer[4096];
    const ssize_t n = read(hunt->pipe, buffer, sizeof buffer);
    if (n > 0) {
      hunt->output.append(buffer, static_cast<std::size_t>(n));
      return true;
    }
    close(hunt->pipe);
    waitpid(hunt->pid, &hunt->status, 0);
    return false;
  }
  if (!hunt->late && Clock::now() - hunt->began > kHuntMax) {
    hunt->late = true;
    kill(hunt->pid, SIGKILL);
  }
  return true;
}

/// Hunts all mutants whose tests are to run; done once, by whichever of them comes first.
const std::map<std::string, Hunt>& hunts() {
  static const std::map<std::string, Hunt> done = [] {
    const auto& info = *::testing::UnitTest::GetInstance()->current_test_suite();
    std::set<std::string> selected;
    for (int i = 0; i < info.total_test_count(); ++i) {
      if (info.GetTestInfo(i)->should_run()) selected.insert(info.GetTestInfo(i)->name());
    }
    std::deque<Mutant> waiting;
    for (const Mutant& mutant : mutants()) {
      if (selected.contains("IsCaught/" + mutant.name) && mutant.stale.empty()) waiting.push_back(mutant);
    }
    std::map<std::string, Hunt> all;
    std::vector<std::string> running;
    const std::size_t at_once = std::max(1U, std::thread::hardware_concurrency());
    while (!waiting.empty() || !running.empty()) {
      for (; running.size() < at_once && !waiting.empty(); waiting.pop_front()) {
        begin(waiting.front(), &all[waiting.front().name]);
        running.push_back(waiting.front().name);
      }
      std::erase_if(running, [&all](const std::string& name) { return !go_on(&all.at(name)); });
    }
    return all;
  }();
  return done;
}

std::string last_line_with(const std::string& output, const std::string& word) {
  const std::size_t at = output.rfind(word);
  return at == std::string::npos ? std::string() : output.substr(at, output.find('\n', at) - at);
}

class Mutants : public ::testing::TestWithParam<Mutant> {};

TEST_P(Mutants, IsCaught) {
  const Mutant& mutant = GetParam();
  ASSERT_TRUE(mutant.stale.empty()) << "the mutant no longer fits the source: " << mutant.stale;
  ASSERT_TRUE(std::filesystem::exists(program())) << "not built: sim_mutated";
  const Hunt& hunt = hunts().at(mutant.name);
  const std::string hunting = last_line_with(hunt.output, "hunting with seed");
  if (WIFEXITED(hunt.status) && WEXITSTATUS(hunt.status) == 0) {
    const std::string caught = last_line_with(hunt.output, "caught: seed");
    ASSERT_FALSE(caught.empty()) << hunt.output;
    std::printf("%s: caught by %s; %s\n", mutant.name.c_str(), caught.substr(8, caught.find(" (") - 8).c_str(),
                last_line_with(hunt.output, "BROKEN at").c_str());
  } else {
    // Ended by a signal: an assertion of the product itself.
    ASSERT_TRUE(WIFSIGNALED(hunt.status) && !hunt.late) << "not caught: " << hunting << "\n"
                                                        << last_line_with(hunt.output, "not caught");
    std::printf("%s: stopped by its own assertions, %s\n", mutant.name.c_str(), hunting.c_str());
  }
}

/// A list that got lost on the way through the build would silence the tests above.
TEST(MutantList, IsLong) {
#ifdef OUTRIGGER_SIM_NO_MUTANTS
  GTEST_SKIP() << "mutants are hunted in builds without sanitizers";
#endif
  const std::vector<Mutant> all = mutants();
  EXPECT_GE(all.size(), 80U) << "tests/CMakeLists.txt must say include(sim/mutants.cmake) after the target sim";
  for (const char* needed : {"lease_check_without_time", "skipped_fsync", "double_vote", "commit_old_term",
                             "read_without_round", "early_conf_change", "egress_checked_once", "egress_leaves_sockets", "arming_skips_reconcile",
                             "arming_without_settle", "permit_outlives_lease", "halt_lifted_by_mesh", "halt_not_kept", "halt_resumed_alone"}) {
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [needed](const Mutant& m) { return m.name == needed; })) << needed;
  }
}

/// The mutants' executable with no mutant chosen is the product: whatever it finds then, it finds wrongly.
TEST(MutantList, NoneChosenBreaksNothing) {
#ifdef OUTRIGGER_SIM_NO_MUTANTS
  GTEST_SKIP() << "mutants are hunted in builds without sanitizers";
#endif
  const std::string command = "'" + program().string() + "' --seeds=1..40";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

INSTANTIATE_TEST_SUITE_P(Every, Mutants, ::testing::ValuesIn(mutants()),
                         [](const auto& one) { return one.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Mutants);

}  // namespace
}  // namespace sim
