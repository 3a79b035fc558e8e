#include "agent/io/time_limit.h"

#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <system_error>
#include <utility>

namespace agent::io {
namespace {

constexpr Milliseconds kStep{100};
constexpr unsigned kLastWordsSeconds = 3;

}  // namespace

TimeLimit::TimeLimit(Milliseconds limit, std::function<void()> last_words, int exit_code)
    : thread_([limit, last_words = std::move(last_words), exit_code](const std::stop_token& lifted) {
        std::mutex mutex;
        std::condition_variable_any step;
        std::unique_lock lock(mutex);
        for (Milliseconds gone{0}; gone < limit; gone += kStep) {  // a pause of the machine is one step, however long
          step.wait_for(lock, lifted, kStep, [] { return false; });
          if (lifted.stop_requested()) return;
        }
        std::signal(SIGALRM, SIG_DFL);
        ::alarm(kLastWordsSeconds);
        last_words();
        ::_exit(exit_code);
      }) {}

std::unique_ptr<TimeLimit> TimeLimit::set(Milliseconds limit, std::function<void()> last_words, int exit_code) {
  try {
    return std::make_unique<TimeLimit>(limit, std::move(last_words), exit_code);
  } catch (const std::system_error&) {
    return nullptr;
  }
}

}  // namespace agent::io
