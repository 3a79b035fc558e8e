// sim                       every test: the world's own, the judges', the seeds, the mutants
// sim --seed=N [--trace]    one run, replayed; exit 1 if it breaks a promise
// sim --seeds=A..B          these runs, one line each that breaks; exit 1 if any does
// sim --seeds=A..B --jobs=J the same in J processes (0 = one per processor), with progress
// sim --hunt=N              the first of the seeds 1..N that breaks a promise; exit 0 if there is one (for mutants)
// --focus=members|promises|orders|stops  with one of the above: runs that look for one kind of defect (scenario.h)
// sim_mutated --mutant=NAME with one of the above: the same with this rule of the product broken (mutants/)

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/sim/many.h"
#include "tests/sim/mutants/switch.h"
#include "tests/sim/scenario.h"

std::uint64_t sim_mutant::active = 0;

namespace {

bool starts_with(const char* text, const char* prefix) { return std::strncmp(text, prefix, std::strlen(prefix)) == 0; }

int run_range(std::uint64_t from, std::uint64_t to, bool print, bool verbose, sim::Focus focus) {
  int broken = 0;
  for (std::uint64_t seed = from; seed <= to; ++seed) {
    const sim::Report report = sim::run_seed(seed, print, focus);
    broken += report.violation ? 1 : 0;
    if (report.violation || verbose) {
      std::printf("%s\n", sim::describe(seed, report).c_str());
      std::fflush(stdout);
    }
  }
  std::printf("%d of %llu runs broke a promise\n", broken, static_cast<unsigned long long>(to - from + 1));
  return broken == 0 ? 0 : 1;
}

int hunt(std::uint64_t seeds, sim::Focus focus) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    // Said before the run: a mutant may well end it by an assertion.
    std::printf("hunting with seed %llu\n", static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    const sim::Report report = sim::run_seed(seed, false, focus);
    if (report.violation) {
      std::printf("caught: %s\n", sim::describe(seed, report).c_str());
      return 0;
    }
  }
  std::printf("not caught by %llu seeds\n", static_cast<unsigned long long>(seeds));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  bool trace = false;
  bool verbose = false;
  const char* jobs = nullptr;
  sim::Focus focus = sim::Focus::kNone;
  for (int i = 1; i < argc; ++i) {
    trace |= std::strcmp(argv[i], "--trace") == 0;
    verbose |= std::strcmp(argv[i], "--verbose") == 0;
    for (const sim::Focus known : {sim::Focus::kMembers, sim::Focus::kPromises, sim::Focus::kOrders, sim::Focus::kStops}) {
      if (std::strcmp(argv[i], sim::option(known) + 1) == 0) focus = known;
    }
    if (starts_with(argv[i], "--jobs=")) jobs = argv[i] + 7;
    if (starts_with(argv[i], "--mutant=")) sim_mutant::active = sim_mutant::hash_of(argv[i] + 9);
  }
  for (int i = 1; i < argc; ++i) {
    if (starts_with(argv[i], "--seed=")) {
      const std::uint64_t seed = std::strtoull(argv[i] + 7, nullptr, 10);
      return run_range(seed, seed, trace, true, focus);
    }
    if (starts_with(argv[i], "--seeds=")) {
      char* end = nullptr;
      const std::uint64_t from = std::strtoull(argv[i] + 8, &end, 10);
      const std::uint64_t to = starts_with(end, "..") ? std::strtoull(end + 2, nullptr, 10) : from;
      if (jobs != nullptr) return sim::run_many(from, to, static_cast<unsigned>(std::atoi(jobs)), focus) == 0 ? 0 : 1;
      return run_range(from, to, false, verbose, focus);
    }
    if (starts_with(argv[i], "--hunt=")) {
      return hunt(std::strtoull(argv[i] + 7, nullptr, 10), focus);
    }
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
