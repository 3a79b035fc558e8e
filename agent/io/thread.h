#pragma once
/// A named thread that owns a Loop: proxy workers, the storage thread.
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "agent/io/loop.h"
#include "agent/io/mailbox.h"

namespace agent::io {

/// Life: start() runs `body(loop)` on the new thread. The body builds what it needs on its stack, calls loop.run(),
/// and returns when stop() ended the run; then its objects die on their own thread and the loop is run dry.
/// Thread: start, post, stop, join belong to the thread that started it (post and stop may come from any).
class Thread {
 public:
  /// @param name  shown by the system's tools, cut to 15 characters
  /// Errors: kLimit (no thread, or no descriptors for its loop).
  static Result<std::unique_ptr<Thread>> start(const std::string& name, std::function<void(Loop&)> body);
  /// Stops and joins.
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// Runs `task` on the thread's loop. Bound: 4096 waiting. @return false: full, or the loop has ended.
  bool post(std::function<void()> task);
  /// Asks the loop to end its run; returns at once, repeats change nothing.
  void stop();
  /// Waits until the body has returned and its loop is closed; repeats return at once.
  void join();

 private:
  using Tasks = Mailbox<std::function<void()>>;
  Thread() = default;
  Tasks::Sender tasks_;
  Tasks::Sender stops_;  // apart from tasks_, so that a full queue cannot keep a stop out
  std::function<void()> stop_;  // stops the loop; runs on the thread
  std::thread thread_;
};

}  // namespace agent::io
