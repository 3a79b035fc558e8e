#pragma once
/// Running a foreign program for a hook or a check: bounded in time and output, never left behind.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/io/clock.h"
#include "agent/io/error.h"
#include "agent/io/loop.h"

namespace agent::io {

struct ProcessOptions {
  std::vector<std::string> argv;                             ///< argv[0] is looked up in PATH unless it has a '/'
  std::vector<std::pair<std::string, std::string>> env_add;  ///< added to (or replacing in) our own environment
  std::string stdin_bytes;                                   ///< written to its stdin, then closed; <= 1 MiB
  std::string working_directory;                             ///< empty = ours
  Milliseconds deadline{5000};                               ///< > 0; then SIGKILL to its whole process group
  std::size_t output_bytes_max = 64U << 10;                  ///< kept of stdout and of stderr each; the rest is read and dropped
};

struct ProcessExit {
  int exit_code = -1;            ///< 0..255; -1 if a signal ended it
  int signal_number = 0;         ///< the signal that ended it, else 0
  bool deadline_passed = false;  ///< we killed it
  bool output_cut = false;       ///< more output came than was kept
  std::string standard_output, standard_error;
  Milliseconds duration{0};
  [[nodiscard]] bool ok() const { return exit_code == 0 && !deadline_passed; }
};

/// One child in a process group of its own. Destroying it kills the group; no callback then.
/// The exit is reported when the child has ended and its pipes are closed, or 200 ms after its end if a grandchild
/// holds them open (which is killed with the group).
class Process {
 public:
  using OnExit = std::function<void(ProcessExit)>;
  /// @param on_exit once, never inside this call; may destroy the Process.
  /// Errors: kInvalidArgument (no argv, stdin too long), kNotFound, kPermission, kLimit.
  static Result<std::unique_ptr<Process>> spawn(Loop& loop, const ProcessOptions& options, OnExit on_exit);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  [[nodiscard]] int pid() const;
  void kill_group(int signal_number);  ///< no effect after its end

 private:
  struct Impl;
  explicit Process(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent::io
