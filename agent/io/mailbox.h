#pragma once
/// Values from any thread into one loop: the only file with a mutex (style.md section 7).
#include <cassert>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace agent::io {

/// The wake-up under a mailbox: one uv_async that many threads may ring and one loop answers.
class MailboxBell {
 public:
  MailboxBell(Loop& loop, std::function<void()> on_ring);
  ~MailboxBell();
  MailboxBell(const MailboxBell&) = delete;
  MailboxBell& operator=(const MailboxBell&) = delete;
  void ring();      ///< Thread: any, while the bell lives (Mailbox guarantees it with its lock)
  void unref();     ///< an idle mailbox then does not keep run() from returning. Thread: the loop's.

 private:
  std::shared_ptr<std::function<void()>> on_ring_;
  Handle<uv_async_s> handle_;
};

/// Many senders, one receiver. Values of one sender arrive in the order sent.
/// Bound: `capacity` values; over it send() refuses and the sender decides (drop, count, retry).
/// Ownership: the receiver owns the Mailbox; senders hold Sender values, which may outlive it: their send() then
/// answers false. The queue itself is the one thing shared, so it is the one shared_ptr.
/// Thread: Mailbox belongs to its loop; Sender to any thread, and may be copied.
template <class T>
class Mailbox {
  struct Shared {
    explicit Shared(std::size_t limit) : capacity(limit) {}
    std::mutex mutex;  // held for a push, a swap or a look; never while a callback runs
    std::deque<T> queue;
    MailboxBell* bell = nullptr;  // null after the receiver has gone
    std::size_t capacity;
  };

 public:
  class Sender {
   public:
    Sender() = default;
    /// Takes the value if there is room. @return false, value untouched: full, receiver gone, or empty Sender.
    bool send(T&& value) const {
      if (!shared_) return false;
      const std::lock_guard lock(shared_->mutex);
      if (shared_->bell == nullptr || shared_->queue.size() >= shared_->capacity) return false;
      shared_->queue.push_back(std::move(value));
      if (shared_->queue.size() == 1) shared_->bell->ring();
      return true;
    }
    bool send(const T& value) const { return send(T(value)); }

   private:
    friend class Mailbox;
    explicit Sender(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
    std::shared_ptr<Shared> shared_;
  };

  /// @param capacity   most values waiting at once, >= 1
  /// @param on_value   called on the loop, once per value; may destroy the Mailbox
  /// @param turn_max   values handled per turn before other events get their chance, >= 1
  Mailbox(Loop& loop, std::size_t capacity, std::function<void(T&&)> on_value, std::size_t turn_max = 1024)
      : shared_(std::make_shared<Shared>(capacity)),
        on_value_(std::make_shared<std::function<void(T&&)>>(std::move(on_value))),
        turn_max_(turn_max),
        bell_(loop, [this] { deliver(); }) {
    assert(capacity >= 1 && turn_max >= 1);
    shared_->bell = &bell_;
  }
  /// Senders are refused from now on; values not delivered are destroyed here, on the receiver's thread.
  ~Mailbox() {
    const std::lock_guard lock(shared_->mutex);
    shared_->bell = nullptr;
    shared_->queue.clear();
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// For other threads, and for this one. Cheap to copy.
  [[nodiscard]] Sender sender() const { return Sender(shared_); }
  void unref() { bell_.unref(); }  ///< see MailboxBell::unref

 private:
  /// Takes what waits, at most turn_max_, and hands it over without holding the lock; the bell rings again for the
  /// rest. A mailbox destroyed by its own callback drops what that batch still held.
  void deliver() {
    std::deque<T> batch;
    {
      const std::lock_guard lock(shared_->mutex);
      if (shared_->queue.size() <= turn_max_) {
        batch.swap(shared_->queue);
      } else {
        for (std::size_t i = 0; i < turn_max_; ++i) {
          batch.push_back(std::move(shared_->queue.front()));
          shared_->queue.pop_front();
        }
        bell_.ring();
      }
    }
    // The receiver may destroy the mailbox from inside: what the loop below touches is held by itself.
    const std::shared_ptr<Shared> shared = shared_;
    const auto on_value = on_value_;
    for (T& value : batch) {
      {
        const std::lock_guard lock(shared->mutex);
        if (shared->bell == nullptr) return;
      }
      (*on_value)(std::move(value));
    }
  }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<std::function<void(T&&)>> on_value_;
  std::size_t turn_max_;
  MailboxBell bell_;
};

}  // namespace agent::io
