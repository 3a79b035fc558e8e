#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/io/clock.h"

/// A program that may run until a moment and no longer, whatever becomes of us. Private to cli.
/// Between us and the program stands a guard, a process of its own: it is the program's parent, and it ends the program, with
/// everything in its process group, when the moment comes. So a killed, stopped or hung `lock run` leaves nothing behind that acts
/// without the lock. Should the guard be killed, the kernel kills the program (PR_SET_PDEATHSIG) and we the rest of its group.
/// What left the process group (setsid), or runs as a user whom we may not signal, is not reached: that takes a cgroup.
/// Source: prctl(2), setpgid(2), tcsetpgrp(3); glibc manual, "Implementing a Job Control Shell".
namespace agent::cli {

class GuardedChild {
 public:
  struct Event {
    enum class Kind : std::int32_t {
      kStarted,  ///< `value`: its process id
      kFailed,   ///< it could not be started; `value`: errno. kEnded follows
      kStopped,  ///< `value`: the signal that stopped it
      kAsked,    ///< the guard has sent SIGTERM, because the time is nearly over
      kLeft,     ///< it has ended, but something in its group is still there a second after SIGKILL
      kEnded,    ///< with everything in its group; `value`: exit code, 128 + signal when one ended it
      kGone,     ///< the guard was killed
    };
    Kind kind;
    std::int32_t value;
  };

  GuardedChild() = default;
  ~GuardedChild();
  GuardedChild(const GuardedChild&) = delete;
  GuardedChild& operator=(const GuardedChild&) = delete;

  /// @param surroundings  "NAME=value" each
  /// @param until         the program is killed then; asked to end `stop_before` earlier
  /// @return what failed; empty = the guard runs, and kStarted or kFailed comes.
  std::string start(std::vector<std::string> words, std::vector<std::string> surroundings, io::TimePoint until,
                    std::chrono::milliseconds stop_before);
  /// The next event, or nothing within that time or when a signal came.
  std::optional<Event> next(std::chrono::milliseconds for_at_most);
  void prolong(io::TimePoint until);
  void end_now();  ///< SIGTERM now, SIGKILL when the time is over
  void send(int signal_number) const;
  /// Without the guard: SIGKILL to the group, and to the guard, which may hang.
  void kill_all() const;
  /// False when nothing in the group may be signalled by this user: nobody could end it.
  [[nodiscard]] bool can_be_ended() const;
  /// True when nothing of its group is there any more; for use after kGone.
  [[nodiscard]] bool group_is_gone() const;

  /// The program was stopped: it wants the terminal and gets it, or the whole job is stopped as Ctrl-Z would have done with it.
  /// Returns when it goes on.
  void follow_stop(int signal_number);
  /// We were sent SIGTSTP: so is the program, and when it stops, follow_stop stops us.
  void pause();

 private:
  void give_terminal() const;
  void take_terminal() const;

  pid_t guard_ = -1, program_ = -1;
  int orders_ = -1, words_ = -1;  ///< to the guard, and from it
  bool has_terminal_ = false;     ///< standard input is our controlling terminal
  bool pausing_ = false;
};

}  // namespace agent::cli
