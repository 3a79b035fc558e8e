#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ostream>

#include "agent/cli/lease_client.h"

extern char** environ;

/// lock run: hold a lock while a program runs; the lock lost, the program ends before anybody else can get the lock.
namespace agent::cli {
namespace {

using std::chrono::milliseconds;

constexpr useconds_t kLookEveryUs = 10'000;
volatile sig_atomic_t asked_to_stop = 0;  ///< the signal that this process was sent
void note_signal(int number) { asked_to_stop = number; }

struct LockOptions {
  std::string name, holder;
  std::uint32_t lease_ms = 5000;
  std::uint32_t wait_ms = 0;
  bool try_once = false;
  std::vector<std::string> command;
};

/// The program in a process group of its own, with our input and output.
class Child {
 public:
  /// @return what failed; empty = it runs
  std::string start(const LockOptions& options, std::uint64_t epoch) {
    std::vector<std::string> surroundings{"OUTRIGGER_LOCK=" + options.name, "OUTRIGGER_EPOCH=" + std::to_string(epoch)};
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      const std::string_view text = *entry;
      if (!text.starts_with("OUTRIGGER_LOCK=") && !text.starts_with("OUTRIGGER_EPOCH="))
        surroundings.emplace_back(text);
    }
    std::vector<char*> argv, envp;
    std::vector<std::string> words = options.command;
    for (auto& word : words) argv.push_back(word.data());
    for (auto& word : surroundings) envp.push_back(word.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    const int failed = posix_spawnp(&pid_, argv[0], nullptr, &attributes, argv.data(), envp.data());
    posix_spawnattr_destroy(&attributes);
    return failed == 0 ? "" : words[0] + ": " + std::strerror(failed);
  }
  /// True once it has ended; its exit code is then in `code` (128 + signal when one ended it).
  bool ended(int& code) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  }
  void kill_group(int signal_number) const { ::kill(-pid_, signal_number); }

 private:
  pid_t pid_ = 0;
};

/// Waits for the lock. @return false after a printed reason (in `code`).
bool acquire(Session& session, const LockOptions& options, LeaseClient& lease, int& code) {
  const io::TimePoint until =
      options.wait_ms == 0 ? io::TimePoint::max() : io::boottime_now() + milliseconds(options.wait_ms);
  for (;;) {
    const auto outcome = lease.campaign();
    if (outcome == LeaseClient::Outcome::kWon) return true;
    if (outcome == LeaseClient::Outcome::kRefused) return code = session.fail(lease.fault()), false;
    const bool late = io::boottime_now() >= until;
    if (options.try_once || late || asked_to_stop != 0) {
      const std::string why = outcome == LeaseClient::Outcome::kHeld ? lease.holder_name() : lease.fault();
      return code = session.fail("not locked: " + why), false;
    }
    if (outcome == LeaseClient::Outcome::kUnknown) {
      usleep(200'000);
      continue;
    }
    const auto left = until == io::TimePoint::max()
                          ? milliseconds(30'000)
                          : std::chrono::duration_cast<milliseconds>(until - io::boottime_now());
    lease.await_change(std::clamp(left, milliseconds(1), milliseconds(30'000)));
  }
}

/// Renews until the program has ended or the lock is lost: then it is asked to end a quarter of a lease before the end,
/// and killed at it. @return its exit code, or kExitFailed when the lock was lost.
int hold(Session& session, const LockOptions& options, LeaseClient& lease, Child& child) {
  const LeaseTimes times = lease_times(milliseconds(options.lease_ms));
  io::TimePoint renew_at = io::boottime_now() + times.renew_every;
  bool lost = false, asked = false, killed = false;
  int code = kExitOk;
  while (!child.ended(code)) {
    io::TimePoint now = io::boottime_now();
    if (asked_to_stop != 0) child.kill_group(std::exchange(asked_to_stop, 0));
    if (!lost && now >= renew_at) {
      const auto outcome = lease.renew();
      now = io::boottime_now();
      renew_at = now + (outcome == LeaseClient::Outcome::kUnknown ? milliseconds(50) : times.renew_every);
      lost = outcome == LeaseClient::Outcome::kHeld || outcome == LeaseClient::Outcome::kRefused;
    }
    if ((lost || now >= lease.valid_until() - times.stop_before) && !std::exchange(asked, true)) {
      session.host.err << "outrigger: the lock \"" << options.name << "\" is lost (" << lease.fault() << "); ending "
                       << options.command[0] << "\n";
      lost = true;
      child.kill_group(SIGTERM);
    }
    if (now >= lease.valid_until() && !std::exchange(killed, true)) child.kill_group(SIGKILL);
    usleep(kLookEveryUs);
  }
  child.kill_group(SIGKILL);  // what it left behind must not act without the lock either
  if (lost) return kExitFailed;
  lease.resign();
  return code;
}

int run_lock(Session& session, const LockOptions& options) {
  struct sigaction action {};
  action.sa_handler = &note_signal;
  asked_to_stop = 0;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
  LeaseClient lease(session, options.name, options.holder.empty() ? default_holder(session) : options.holder,
                    milliseconds(options.lease_ms));
  int code = kExitOk;
  if (!acquire(session, options, lease, code)) return code;
  Child child;
  if (const std::string fault = child.start(options, lease.epoch()); !fault.empty()) {
    lease.resign();
    return session.fail("cannot start " + fault);
  }
  return hold(session, options, lease, child);
}

}  // namespace

void add_lock_verbs(CLI::App& app, Session& session) {
  CLI::App& lock = *app.add_subcommand("lock", "do something while holding a lock");
  lock.require_subcommand(1);
  const auto options = std::make_shared<LockOptions>();
  CLI::App& run = *lock.add_subcommand("run", "hold a lock while a program runs; the lock lost, the program is ended");
  session.add_client_options(run);
  run.add_option("name", options->name, "the lock: an election of that name")->required();
  run.add_option("command", options->command, "the program and its arguments, behind --")->required();
  run.add_option("--holder", options->holder, "who holds it; default: host name, process id and 64 bits of chance");
  run.add_option("--lease-ms", options->lease_ms, "how long it stays held when this process hangs or dies")
      ->check(CLI::Range(400U, 60000U))
      ->capture_default_str();
  run.add_option("--wait-ms", options->wait_ms, "give up after so long; default: wait for ever");
  run.add_flag("--try", options->try_once, "do not wait at all");
  run.footer(
      "The program sees OUTRIGGER_LOCK and OUTRIGGER_EPOCH, the number that grows with every holder: let it send the\n"
      "epoch along with what it does, and let the other side check it with \"election verify\".\n"
      "The exit code is the program's own, or 1 when the lock was not had or was lost.\n"
      "Example: outrigger lock run nightly-report --lease-ms 3000 -- ./report.sh --day yesterday");
  run.callback([&session, options] { session.chosen = [&session, options] { return run_lock(session, *options); }; });
}

}  // namespace agent::cli
