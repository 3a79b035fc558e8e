#pragma once
/// Holds a span exporter's thread for as long as a test wants.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "agent/drivers/span_exporter.h"

namespace agent::drivers {

/// The thread copies what a question is answered to; the copy of this waits there.
class Hold {
 public:
  Hold() : state_(std::make_shared<State>()) {}
  ~Hold() { let_go(); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  /// Asks `exporter` a question whose answer says nothing. @return whether it was asked
  bool hold(SpanExporter& exporter) { return exporter.list({}, Waiter(state_)); }
  [[nodiscard]] bool holds() const {
    const std::lock_guard lock(state_->mutex);
    return state_->held;
  }
  void let_go() {
    const std::lock_guard lock(state_->mutex);
    state_->free = true;
    state_->changed.notify_all();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::thread::id home = std::this_thread::get_id();
    bool held = false, free = false;
  };
  struct Waiter {
    explicit Waiter(std::shared_ptr<State> state_in) : state(std::move(state_in)) {}
    Waiter(const Waiter& other) : state(other.state) {
      if (std::this_thread::get_id() == state->home) return;
      std::unique_lock lock(state->mutex);
      state->held = true;
      state->changed.wait(lock, [this] { return state->free; });
    }
    Waiter(Waiter&&) = default;
    Waiter& operator=(const Waiter&) = default;
    void operator()(const TraceListing&) const {}
    std::shared_ptr<State> state;
  };
  std::shared_ptr<State> state_;
};

}  // namespace agent::drivers
