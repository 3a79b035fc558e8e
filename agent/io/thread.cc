#include "agent/io/thread.h"

#include <pthread.h>

#include <system_error>

namespace agent::io {

namespace {
constexpr std::size_t kTasksMax = 4096;
}

Result<std::unique_ptr<Thread>> Thread::start(const std::string& name, std::function<void(Loop&)> body) {
  auto loop = Loop::create();
  if (!loop) return tl::unexpected(loop.error());
  std::unique_ptr<Thread> thread(new Thread());
  // Loop and mailboxes are made here, so that post and stop work at once, and then move to the thread as a whole:
  // starting a thread orders what was written before it.
  struct Owned {
    std::unique_ptr<Loop> loop;
    std::unique_ptr<Tasks> tasks, stops;
  };
  auto owned = std::make_unique<Owned>();
  owned->loop = std::move(*loop);
  Loop* raw = owned->loop.get();
  owned->tasks = std::make_unique<Tasks>(*raw, kTasksMax, [](std::function<void()>&& task) { task(); });
  owned->stops = std::make_unique<Tasks>(*raw, 16, [](std::function<void()>&& task) { task(); });
  thread->tasks_ = owned->tasks->sender();
  thread->stops_ = owned->stops->sender();
  try {
    thread->thread_ = std::thread(
        [](const std::string& title, std::unique_ptr<Owned> mine, const std::function<void(Loop&)>& run) {
          ::pthread_setname_np(::pthread_self(), title.substr(0, 15).c_str());
          run(*mine->loop);
          mine->tasks.reset();
          mine->stops.reset();
          mine->loop.reset();
        },
        name, std::move(owned), std::move(body));
  } catch (const std::system_error& error) {
    return fail(Errc::kLimit, "start thread " + name + ": " + error.what());
  }
  Loop* const target = raw;
  thread->stop_ = [target] { target->stop(); };
  return thread;
}

Thread::~Thread() {
  stop();
  join();
}

bool Thread::post(std::function<void()> task) { return tasks_.send(std::move(task)); }

void Thread::stop() {
  if (stop_) stops_.send(std::function<void()>(stop_));
}

void Thread::join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace agent::io
