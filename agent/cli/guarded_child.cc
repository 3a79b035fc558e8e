#include "agent/cli/guarded_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace agent::cli {
namespace {

using Kind = GuardedChild::Event::Kind;
using std::chrono::nanoseconds;

constexpr std::int64_t kAgainNs = 100'000'000;  ///< how often SIGKILL is repeated, for what was forked meanwhile
constexpr int kLeftTurns = 10;                  ///< after so many of them it is told
constexpr std::int64_t kEndNow = 0;             ///< an order in the place of a moment

std::int64_t ns_of(io::TimePoint at) {
  return std::chrono::duration_cast<nanoseconds>(at.time_since_epoch()).count();
}

/// What the guard and the program's first moments need. Everything is made before the fork: behind it, in a process that may
/// have had threads, only calls that are safe in a signal handler are made.
struct Setup {
  char** argv;
  char** envp;
  int orders, words;      ///< the guard's ends
  int our_orders, our_words;
  std::int64_t until_ns, stop_before_ns;
  bool foreground;        ///< the program gets the terminal
  sigset_t mask;          ///< as the program shall have it
};

/// The process between. Source of its rules: the header.
class Guard {
 public:
  explicit Guard(const Setup& setup) : setup_(setup), until_ns_(setup.until_ns) {}

  [[noreturn]] void run() {
    close(setup_.our_orders);
    close(setup_.our_words);
    setpgid(0, 0);  // what the terminal sends to our group does not reach it; all signals but SIGKILL and SIGSTOP are blocked
    prctl(PR_SET_NAME, "lock-guard");
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // what its children leave behind can be waited for
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &plain, nullptr);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    const int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    timer_ = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    const pid_t own = getpid();
    program_ = signals < 0 || timer_ < 0 ? -1 : fork();
    if (program_ == 0) become_program(own);
    if (program_ < 0) {
      tell(Kind::kFailed, errno);
      tell(Kind::kEnded, 127);
      _exit(0);
    }
    setpgid(program_, program_);
    tell(Kind::kStarted, program_);
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    for (;;) turn(signals);
  }

 private:
  [[noreturn]] void become_program(pid_t guard) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guard) _exit(127);                                   // it was killed before the line above
    if (setup_.foreground) (void)tcsetpgrp(STDIN_FILENO, getpid());      // SIGTTOU is blocked, so it may
    struct sigaction action {};
    for (int number = 1; number < NSIG; ++number) {
      if (sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL) continue;
      action = {};
      action.sa_handler = SIG_DFL;  // a handler of ours must not run in here
      sigaction(number, &action, nullptr);
    }
    sigprocmask(SIG_SETMASK, &setup_.mask, nullptr);
    if (now_ns() < until_ns_ - setup_.stop_before_ns) execvpe(setup_.argv[0], setup_.argv, setup_.envp);
    else errno = ETIME;  // we were stopped since the lock was won
    tell(Kind::kFailed, errno);
    _exit(127);
  }

  void turn(int signals) {
    arm();
    std::array<pollfd, 3> all{{{boss_gone_ ? -1 : setup_.orders, POLLIN, 0}, {signals, POLLIN, 0}, {timer_, POLLIN, 0}}};
    (void)poll(all.data(), all.size(), -1);
    read_orders();  // before the time is looked at: one that was stopped itself must not judge by old orders
    signalfd_siginfo ignored;
    while (read(signals, &ignored, sizeof ignored) > 0) continue;
    reap();
    const std::int64_t now = now_ns();
    if (boss_gone_ || end_now_ || now >= until_ns_ - setup_.stop_before_ns) ask();
    if (ended_ || now >= until_ns_) kill(-program_, SIGKILL);
    if (!ended_) return;
    if (kill(-program_, 0) != 0 && errno == ESRCH) {
      tell(Kind::kEnded, WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_));
      _exit(0);
    }
    if (++left_turns_ == kLeftTurns) tell(Kind::kLeft, 0);
  }

  void arm() const {
    const std::int64_t now = now_ns(), stop_at = until_ns_ - setup_.stop_before_ns;
    std::int64_t at = asked_ ? until_ns_ : stop_at;
    if (ended_ || now >= until_ns_) at = now + kAgainNs;
    itimerspec when{};
    at = std::max<std::int64_t>(at, 1);
    when.it_value = {static_cast<time_t>(at / 1'000'000'000), static_cast<long>(at % 1'000'000'000)};
    timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
  }
  void read_orders() {
    std::int64_t order = 0;
    for (;;) {
      const ssize_t got = read(setup_.orders, &order, sizeof order);
      if (got == 0) boss_gone_ = true;
      if (got != sizeof order) return;
      if (order == kEndNow) end_now_ = true;
      else until_ns_ = order;
    }
  }
  void reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
      if (pid != program_) continue;
      if (WIFSTOPPED(status)) {
        tell(Kind::kStopped, WSTOPSIG(status));
      } else {
        ended_ = true;
        status_ = status;
      }
    }
  }
  void ask() {
    if (asked_ || ended_) return;
    asked_ = true;
    tell(Kind::kAsked, 0);
    kill(-program_, SIGTERM);
    kill(-program_, SIGCONT);  // one that is stopped may use the rest of its time to end in good order, too
  }
  void tell(Kind kind, int value) const {
    const GuardedChild::Event event{kind, value};
    while (write(setup_.words, &event, sizeof event) < 0 && errno == EINTR) continue;
  }
  static std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

  const Setup& setup_;
  std::int64_t until_ns_;
  pid_t program_ = -1;
  int timer_ = -1, status_ = 0, left_turns_ = 0;
  bool boss_gone_ = false, end_now_ = false, asked_ = false, ended_ = false;
};

bool is_pipe(int fd) {
  struct stat what {};
  return fstat(fd, &what) == 0 && (S_ISFIFO(what.st_mode) || S_ISSOCK(what.st_mode));
}

/// SIGTTOU must not stop us for handing over the terminal.
void set_foreground(pid_t group) {
  sigset_t one, before;
  sigemptyset(&one);
  sigaddset(&one, SIGTTOU);
  sigprocmask(SIG_BLOCK, &one, &before);
  (void)tcsetpgrp(STDIN_FILENO, group);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

GuardedChild::~GuardedChild() {
  if (guard_ < 0) return;
  kill_all();
  close(orders_);
  close(words_);
  while (waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) continue;
}

std::string GuardedChild::start(std::vector<std::string> words, std::vector<std::string> surroundings, io::TimePoint until,
                                std::chrono::milliseconds stop_before) {
  int down[2], up[2];
  if (pipe2(down, O_CLOEXEC | O_NONBLOCK) != 0) return std::strerror(errno);
  if (pipe2(up, O_CLOEXEC | O_NONBLOCK) != 0) {
    const int code = errno;
    close(down[0]);
    close(down[1]);
    return std::strerror(code);
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // should the guard be killed, the program's end is ours to see
  auto argv = pointers(words), envp = pointers(surroundings);
  has_terminal_ = tcgetpgrp(STDIN_FILENO) >= 0;
  // Behind a pipe somebody may stand who wants the keys ("| less"): then the program gets the terminal when it asks for it.
  const bool foreground = has_terminal_ && tcgetpgrp(STDIN_FILENO) == getpgrp() && !is_pipe(STDOUT_FILENO) && !is_pipe(STDERR_FILENO);
  Setup setup{argv.data(), envp.data(), down[0], up[1], down[1], up[0], ns_of(until), nanoseconds(stop_before).count(), foreground, {}};
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &setup.mask);
  guard_ = fork();
  const int code = errno;
  if (guard_ == 0) Guard(setup).run();
  pthread_sigmask(SIG_SETMASK, &setup.mask, nullptr);
  close(down[0]);
  close(up[1]);
  orders_ = down[1];
  words_ = up[0];
  if (guard_ > 0) return {};
  close(orders_);
  close(words_);
  return std::strerror(code);
}

std::optional<GuardedChild::Event> GuardedChild::next(std::chrono::milliseconds for_at_most) {
  pollfd one{words_, POLLIN, 0};
  if (poll(&one, 1, static_cast<int>(std::max<std::int64_t>(for_at_most.count(), 0))) <= 0) return std::nullopt;
  Event event{};
  const ssize_t got = read(words_, &event, sizeof event);
  if (got == 0) take_terminal();
  if (got == 0) return Event{Kind::kGone, 0};
  if (got != sizeof event) return std::nullopt;
  if (event.kind == Kind::kStarted) program_ = event.value;
  if (event.kind != Kind::kEnded) return event;
  take_terminal();
  while (waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) continue;
  close(orders_);
  close(words_);
  guard_ = program_ = -1;  // the numbers may be somebody else's from here on
  return event;
}

void GuardedChild::prolong(io::TimePoint until) {
  const std::int64_t order = ns_of(until);
  (void)!write(orders_, &order, sizeof order);  // full: it is stopped and will judge by older ones, which end earlier
}
void GuardedChild::end_now() {
  const std::int64_t order = kEndNow;
  if (write(orders_, &order, sizeof order) < 0) kill_all();
}
void GuardedChild::send(int signal_number) const {
  if (program_ > 0) kill(-program_, signal_number);
}
void GuardedChild::kill_all() const {
  send(SIGKILL);
  if (guard_ > 0) kill(guard_, SIGKILL);
}
bool GuardedChild::can_be_ended() const { return program_ <= 0 || kill(-program_, 0) == 0 || errno != EPERM; }
bool GuardedChild::group_is_gone() const {
  if (program_ <= 0) return true;
  while (waitpid(-program_, nullptr, WNOHANG) > 0) continue;  // we are their parent now
  return kill(-program_, 0) != 0 && errno == ESRCH;
}

void GuardedChild::give_terminal() const {
  if (has_terminal_ && program_ > 0 && tcgetpgrp(STDIN_FILENO) == getpgrp()) set_foreground(program_);
}
void GuardedChild::take_terminal() const {
  if (has_terminal_ && program_ > 0 && tcgetpgrp(STDIN_FILENO) == program_) set_foreground(getpgrp());
}

void GuardedChild::follow_stop(int signal_number) {
  const bool of_terminal = signal_number == SIGTSTP || signal_number == SIGTTIN || signal_number == SIGTTOU;
  if (!of_terminal || (!has_terminal_ && !pausing_)) return;
  const bool wants_terminal = signal_number != SIGTSTP && has_terminal_ && tcgetpgrp(STDIN_FILENO) == getpgrp();
  if (!wants_terminal) {
    struct sigaction plain {}, before {};
    plain.sa_handler = SIG_DFL;
    sigaction(SIGTSTP, &plain, &before);
    // The kernel ignores it where no shell could continue us. Ctrl-Z for the program alone is for all of our job.
    kill(std::exchange(pausing_, false) ? getpid() : 0, SIGTSTP);
    sigaction(SIGTSTP, &before, nullptr);
  }
  give_terminal();
  send(SIGCONT);
}

void GuardedChild::pause() {
  pausing_ = true;
  send(SIGTSTP);
}

}  // namespace agent::cli
