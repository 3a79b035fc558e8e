#include "agent/io/time_limit.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace agent::io {
namespace {

constexpr Milliseconds kStep{100};

class ThreadLimit final : public TimeLimit {
 public:
  ThreadLimit(Milliseconds limit, std::function<void()> last_words, int exit_code)
      : thread_([this, limit, last_words = std::move(last_words), exit_code] {
          for (Milliseconds gone{0}; gone < limit; gone += kStep) {  // a pause of the machine is one step, however long
            std::unique_lock lock(mutex_);
            if (lifted_.wait_for(lock, kStep, [this] { return is_lifted_; })) return;
          }
          last_words();
          ::_exit(exit_code);
        }) {}
  ~ThreadLimit() override {
    {
      const std::scoped_lock lock(mutex_);
      is_lifted_ = true;
    }
    lifted_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable lifted_;
  bool is_lifted_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace

std::unique_ptr<TimeLimit> TimeLimit::set(Milliseconds limit, std::function<void()> last_words, int exit_code) {
  try {
    return std::make_unique<ThreadLimit>(limit, std::move(last_words), exit_code);
  } catch (const std::system_error&) {
    return nullptr;
  }
}

}  // namespace agent::io
