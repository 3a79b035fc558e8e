#include "tests/sim/many.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <new>
#include <thread>

#include "tests/sim/scenario.h"

namespace sim {
namespace {

constexpr unsigned kJobsMax = 256;

/// Lies in memory that all processes share.
struct Board {
  std::atomic<std::uint64_t> next{0};   ///< seed that nobody has taken yet
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> broken{0};
  std::atomic<std::uint64_t> at[kJobsMax] = {};  ///< what each process runs; 0 = nothing
};

[[noreturn]] void work(Board* board, unsigned job, std::uint64_t to, Focus focus) {
  for (;;) {
    const std::uint64_t seed = board->next.fetch_add(1);
    if (seed > to) {
      board->at[job] = 0;
      std::fflush(stdout);
      _exit(0);
    }
    board->at[job] = seed;
    const Report report = run_seed(seed, false, focus);
    if (report.violation) {
      ++board->broken;
      std::printf("%s\n  replay: sim --seed=%llu%s --trace\n", describe(seed, report).c_str(),
                  static_cast<unsigned long long>(seed), option(focus));
      std::fflush(stdout);
    }
    ++board->done;
  }
}

pid_t start(Board* board, unsigned job, std::uint64_t to, Focus focus) {
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) work(board, job, to, focus);
  return pid;
}

class Progress {
 public:
  Progress(const Board* board, std::uint64_t runs) : board_(board), runs_(runs) {}
  void show(std::chrono::seconds every) {
    const auto now = std::chrono::steady_clock::now();
    if (now < shown_ + every) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - began_).count();
    std::printf("%llu of %llu runs, %llu broken, %.0f s, %.1f seeds/s\n",
                static_cast<unsigned long long>(board_->done), static_cast<unsigned long long>(runs_),
                static_cast<unsigned long long>(board_->broken), seconds,
                static_cast<double>(board_->done) / std::max(seconds, 0.001));
    std::fflush(stdout);
  }

 private:
  const Board* board_;
  std::uint64_t runs_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point shown_ = began_;
};

}  // namespace

std::uint64_t run_many(std::uint64_t from, std::uint64_t to, unsigned jobs, Focus focus) {
  if (jobs == 0) jobs = std::max(1U, std::thread::hardware_concurrency());
  jobs = std::min(jobs, kJobsMax);
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return to - from + 1;
  Board* board = new (memory) Board;
  board->next = from;
  Progress progress(board, to - from + 1);
  pid_t workers[kJobsMax] = {};
  unsigned running = 0;
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, nullptr);
  for (unsigned job = 0; job < jobs; ++job, ++running) workers[job] = start(board, job, to, focus);
  while (running > 0) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, WNOHANG);
    if (ended <= 0) {
      const timespec patience{10, 0};
      sigtimedwait(&children, nullptr, &patience);
      progress.show(std::chrono::seconds(10));
      continue;
    }
    const auto job = static_cast<unsigned>(std::find(workers, workers + jobs, ended) - workers);
    if (job == jobs) continue;
    if (const std::uint64_t seed = board->at[job]; seed != 0) {
      ++board->broken;
      ++board->done;
      std::printf("seed %llu ended its process (status %d): an assertion\n", static_cast<unsigned long long>(seed), status);
      board->at[job] = 0;
      workers[job] = start(board, job, to, focus);
    } else {
      --running;
    }
  }
  sigprocmask(SIG_UNBLOCK, &children, nullptr);
  progress.show(std::chrono::seconds(0));
  const std::uint64_t broken = board->broken;
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(to - from + 1 - broken),
              static_cast<unsigned long long>(broken));
  munmap(memory, sizeof(Board));
  return broken;
}

}  // namespace sim
