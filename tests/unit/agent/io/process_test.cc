#include "agent/io/process.h"

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <csignal>
#include <optional>

#include "tests/unit/agent/io/loop_until.h"

namespace agent::io {
namespace {

struct Run : ::testing::Test {
  std::unique_ptr<Loop> loop = new_loop();
  std::unique_ptr<Process> process;
  std::optional<ProcessExit> exit;

  static ProcessOptions shell(const std::string& script) {
    ProcessOptions options;
    options.argv = {"sh", "-c", script};
    options.deadline = kPatience;
    return options;
  }
  void spawn(const ProcessOptions& options) {
    auto spawned = Process::spawn(*loop, options, [this](ProcessExit done) { exit = std::move(done); });
    ASSERT_TRUE(spawned) << spawned.error().detail;
    process = std::move(*spawned);
  }
  void run(const ProcessOptions& options) {
    spawn(options);
    ASSERT_TRUE(run_until(*loop, [this] { return exit.has_value(); }));
  }
};

TEST_F(Run, TellsStatusAndBothOutputs) {
  run(shell("echo out; echo err >&2; exit 3"));
  EXPECT_EQ(exit->exit_code, 3);
  EXPECT_EQ(exit->standard_output, "out\n");
  EXPECT_EQ(exit->standard_error, "err\n");
  EXPECT_FALSE(exit->ok());
  EXPECT_FALSE(exit->deadline_passed);
  EXPECT_FALSE(exit->output_cut);
}

TEST_F(Run, FeedsStdinAndEnvironment) {
  auto options = shell("cat; printf '%s' \"$GREETING\"; pwd");
  options.stdin_bytes = "from stdin|";
  options.env_add = {{"GREETING", "hello "}};
  options.working_directory = "/";
  run(options);
  EXPECT_TRUE(exit->ok());
  EXPECT_EQ(exit->standard_output, "from stdin|hello /\n");
}

TEST_F(Run, ChildThatReadsNoStdinIsNoProblem) {
  auto options = shell("exit 0");
  options.stdin_bytes = std::string(500'000, 'x');
  run(options);
  EXPECT_TRUE(exit->ok());
}

TEST_F(Run, DeadlineKillsTheWholeGroup) {
  auto options = shell("sh -c 'exec sleep 1000' & echo started; wait");
  // How long a shell takes to begin depends on the machine: it gets more until it has begun before its deadline.
  for (options.deadline = Milliseconds(100); options.deadline < kPatience; options.deadline *= 4) {
    exit.reset();
    run(options);
    ASSERT_TRUE(exit->deadline_passed);
    if (!exit->standard_output.empty()) break;
  }
  EXPECT_EQ(exit->signal_number, SIGKILL);
  EXPECT_EQ(exit->exit_code, -1);
  EXPECT_EQ(exit->standard_output, "started\n");
  EXPECT_GE(exit->duration, options.deadline);
}

TEST_F(Run, OneThatEndedInTimeDidSoHoweverLateWeLook) {
  auto options = shell("echo done");
  options.deadline = Milliseconds(1);
  bool in_time = false;
  // Where it takes longer to end, it gets more: the loop stands still until it has ended and its deadline is over.
  for (; !in_time && options.deadline < kPatience; options.deadline *= 4) {
    exit.reset();
    const TimePoint deadline = boottime_now() + options.deadline;
    spawn(options);
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(process->pid()), &info, WEXITED | WNOWAIT), 0);
    in_time = boottime_now() < deadline;
    while (boottime_now() < deadline + Milliseconds(2)) {
    }
    ASSERT_TRUE(run_until(*loop, [this] { return exit.has_value(); }));
  }
  ASSERT_TRUE(in_time);
  EXPECT_FALSE(exit->deadline_passed);
  EXPECT_TRUE(exit->ok());
  EXPECT_EQ(exit->standard_output, "done\n");
}

TEST_F(Run, GrandchildThatHoldsThePipesIsCutOff) {
  run(shell("sh -c 'exec sleep 1000' & echo $!"));
  EXPECT_TRUE(exit->ok());
  const int grandchild = std::stoi(exit->standard_output);
  EXPECT_TRUE(look_until(*loop, [&] {
    // Either gone, or a zombie that its new parent has not collected yet.
    if (::kill(grandchild, 0) != 0) return true;
    const std::string path = "/proc/" + std::to_string(grandchild) + "/stat";
    FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) return true;
    char state = ' ';
    const int got = std::fscanf(file, "%*d %*s %c", &state);
    std::fclose(file);
    return got == 1 && state == 'Z';
  }));
}

TEST_F(Run, OutputIsBounded) {
  auto options = shell("i=0; while [ $i -lt 2000 ]; do echo 0123456789; i=$((i+1)); done");
  options.output_bytes_max = 1000;
  run(options);
  EXPECT_TRUE(exit->ok());
  EXPECT_TRUE(exit->output_cut);
  EXPECT_EQ(exit->standard_output.size(), 1000U);
}

TEST_F(Run, DestroyedProcessIsKilledAndSilent) {
  spawn(shell("exec sleep 1000"));
  const int pid = process->pid();
  ASSERT_GT(pid, 0);
  process.reset();
  loop->run();
  EXPECT_FALSE(exit);
}

TEST_F(Run, CallbackMayDestroyTheProcess) {
  bool done = false;
  process = std::move(*Process::spawn(*loop, shell("true"), [&](ProcessExit) {
    process.reset();
    done = true;
  }));
  EXPECT_TRUE(run_until(*loop, [&] { return done; }));
}

TEST_F(Run, SignalOfOursIsReported) {
  spawn(shell("exec sleep 1000"));
  process->kill_group(SIGTERM);
  ASSERT_TRUE(run_until(*loop, [this] { return exit.has_value(); }));
  EXPECT_EQ(exit->signal_number, SIGTERM);
  EXPECT_FALSE(exit->deadline_passed);
}

TEST_F(Run, WhatCannotRunIsSaid) {
  const auto refused = [&](const ProcessOptions& options) {
    const auto spawned = Process::spawn(*loop, options, [](ProcessExit) { FAIL(); });
    return spawned ? Errc::kIo : spawned.error().code;
  };
  ProcessOptions options;
  EXPECT_EQ(refused(options), Errc::kInvalidArgument);
  options.argv = {"/nowhere/at/all"};
  EXPECT_EQ(refused(options), Errc::kNotFound);
  options.argv = {"/dev/null"};
  EXPECT_EQ(refused(options), Errc::kPermission);
  options.argv = {"sh"};
  options.stdin_bytes = std::string((1U << 20) + 1, 'x');
  EXPECT_EQ(refused(options), Errc::kInvalidArgument);
  loop->run();
}

}  // namespace
}  // namespace agent::io
