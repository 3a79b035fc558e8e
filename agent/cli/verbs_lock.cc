#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ostream>
#include <utility>

#include "agent/cli/guarded_child.h"
#include "agent/cli/lease_client.h"

extern char** environ;

/// lock run: hold a lock while a program runs; the lock lost, the program ends before anybody else can get the lock.
namespace agent::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookEvery{50};  ///< at most that late is a signal seen that came beside a wait
volatile sig_atomic_t asked_to_stop = 0;   ///< the signal that this process was sent
volatile sig_atomic_t asked_to_pause = 0;
volatile sig_atomic_t holds_nothing = 0;   ///< a signal may end this process at once

void note_signal(int number) {
  if (number == SIGTSTP) asked_to_pause = 1;
  else if (holds_nothing != 0) _exit(128 + number);
  else asked_to_stop = number;
}

/// What was ignored when we started (nohup) stays so.
void listen_to(int number) {
  struct sigaction action {};
  if (sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = &note_signal;
  sigaction(number, &action, nullptr);
}

struct LockOptions {
  std::string name, holder;
  std::uint32_t lease_ms = 5000;
  std::uint32_t wait_ms = 0;
  bool try_once = false;
  std::vector<std::string> command;
};

std::vector<std::string> surroundings_of(const LockOptions& options, std::uint64_t epoch) {
  std::vector<std::string> out{"OUTRIGGER_LOCK=" + options.name, "OUTRIGGER_EPOCH=" + std::to_string(epoch)};
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("OUTRIGGER_LOCK=") && !text.starts_with("OUTRIGGER_EPOCH=")) out.emplace_back(text);
  }
  return out;
}

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
      code = session.fail("not locked: " + why);
      if (asked_to_stop != 0) code = 128 + asked_to_stop;
      return false;
    }
    holds_nothing = 1;
    if (outcome == LeaseClient::Outcome::kUnknown) {
      usleep(200'000);
      holds_nothing = 0;
      continue;
    }
    const auto left = until == io::TimePoint::max()
                          ? milliseconds(30'000)
                          : std::chrono::duration_cast<milliseconds>(until - io::boottime_now());
    lease.await_change(std::clamp(left, milliseconds(1), milliseconds(30'000)));
    holds_nothing = 0;
  }
}

/// One run of a program under a lock that is held.
class Holding {
 public:
  Holding(Session& session, const LockOptions& options, LeaseClient& lease)
      : session_(session), options_(options), lease_(lease), times_(lease_times(milliseconds(options.lease_ms))) {}

  /// Renews until the program has ended or the lock is lost; then the guard asks it to end a quarter of a lease before the end
  /// at the latest, and kills it at the end. @return its exit code, or kExitFailed when the lock was lost.
  int run() {
    if (const std::string fault = child_.start(options_.command, surroundings_of(options_, lease_.epoch()), lease_.valid_until(), times_.stop_before);
        !fault.empty()) {
      lease_.resign();
      return session_.fail("cannot start " + options_.command[0] + ": " + fault);
    }
    renew_at_ = io::boottime_now() + times_.renew_every;
    while (!over_) {
      if (const auto event = child_.next(std::clamp(until(renew_at_), milliseconds(1), kLookEvery))) take(*event);
      if (over_) break;
      if (asked_to_stop != 0) child_.send(std::exchange(asked_to_stop, 0));
      if (std::exchange(asked_to_pause, 0) != 0) child_.pause();
      if (!lost_ && io::boottime_now() >= renew_at_) renew();
      if (io::boottime_now() >= lease_.valid_until() - times_.stop_before) lose(lease_.fault());
      if (io::boottime_now() >= lease_.valid_until()) child_.kill_all();  // should the guard hang
    }
    // What it left behind has ended, too: the lock is given back behind the last of it.
    if (!lost_ || (all_gone_ && io::boottime_now() < lease_.valid_until())) lease_.resign();
    return code_;
  }

 private:
  static milliseconds until(io::TimePoint at) { return std::chrono::duration_cast<milliseconds>(at - io::boottime_now()); }
  void say(const std::string& text) { session_.host.err << "outrigger: " << text << "\n" << std::flush; }

  void renew() {
    const auto outcome = lease_.renew();
    const bool won = outcome == LeaseClient::Outcome::kWon;
    renew_at_ = io::boottime_now() + (won || outcome != LeaseClient::Outcome::kUnknown ? times_.renew_every : milliseconds(50));
    if (won) child_.prolong(lease_.valid_until());
    else if (outcome != LeaseClient::Outcome::kUnknown) lose(lease_.fault());
    if (!child_.can_be_ended() && !std::exchange(told_of_user_, true))
      say(options_.command[0] + " runs as a user whom this one may not signal: it could not be ended if the lock were lost. Start outrigger as that user instead");
  }
  void lose(const std::string& why) {
    if (std::exchange(lost_, true)) return;
    const std::string reason = why.empty() || why == "-" ? "nothing was renewed for too long: stopped, or hung" : why;
    say("the lock \"" + options_.name + "\" is lost (" + reason + "); ending " + options_.command[0]);
    code_ = kExitFailed;
    child_.end_now();
  }
  void take(const GuardedChild::Event& event) {
    using Kind = GuardedChild::Event::Kind;
    switch (event.kind) {
      case Kind::kStarted: return;
      case Kind::kFailed: failed_ = event.value; return;
      case Kind::kStopped: return child_.follow_stop(event.value);
      case Kind::kAsked: return lose(lease_.fault());
      case Kind::kLeft: return say("something that " + options_.command[0] + " started cannot be killed; the lock is held until it has ended");
      case Kind::kEnded: return end(event.value);
      case Kind::kGone: return guard_gone();
    }
  }
  void end(int code) {
    over_ = all_gone_ = true;
    if (failed_ != 0) code_ = session_.fail("cannot start " + options_.command[0] + ": " + std::strerror(failed_));
    else if (!lost_) code_ = code;
  }
  /// The kernel has killed the program then; the rest of its group is ours.
  void guard_gone() {
    child_.kill_all();
    while (!(all_gone_ = child_.group_is_gone()) && io::boottime_now() < lease_.valid_until()) usleep(10'000);
    if (!std::exchange(lost_, true)) say("the guard of " + options_.command[0] + " was killed, and the program with it");
    code_ = kExitFailed;
    over_ = true;
  }

  Session& session_;
  const LockOptions& options_;
  LeaseClient& lease_;
  LeaseTimes times_;
  GuardedChild child_;
  io::TimePoint renew_at_{};
  bool over_ = false, lost_ = false, all_gone_ = false, told_of_user_ = false;
  int code_ = kExitOk, failed_ = 0;
};

int run_lock(Session& session, const LockOptions& options) {
  asked_to_stop = 0;
  asked_to_pause = 0;
  holds_nothing = 0;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) listen_to(number);
  LeaseClient lease(session, options.name, options.holder.empty() ? default_holder(session) : options.holder,
                    milliseconds(options.lease_ms));
  int code = kExitOk;
  if (!acquire(session, options, lease, code)) return code;
  if (asked_to_stop != 0) {
    lease.resign();
    return 128 + asked_to_stop;
  }
  listen_to(SIGTSTP);
  return Holding(session, options, lease).run();
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
      "The program is ended with this process, too, however that ends, with everything in its process group.\n"
      "The program sees OUTRIGGER_LOCK and OUTRIGGER_EPOCH, the number that grows with every holder: let it send the\n"
      "epoch along with what it does, and let the other side check it with \"election verify\".\n"
      "The exit code is the program's own, or 1 when the lock was not had or was lost.\n"
      "Example: outrigger lock run nightly-report --lease-ms 3000 -- ./report.sh --day yesterday");
  run.callback([&session, options] { session.chosen = [&session, options] { return run_lock(session, *options); }; });
}

}  // namespace agent::cli
