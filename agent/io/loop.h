#pragma once
/// One event loop of one thread, with what its streams share: read slabs and the end-of-turn queue.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "agent/io/error.h"
#include "agent/io/handle.h"
#include "agent/io/watch.h"

namespace agent::io {

class Loop;

/// A callback that runs once, soon: in the same turn of the loop, after the events now being handled and before the
/// loop sleeps. Scheduling allocates nothing and twice is once: made for "gather what this turn produced for a
/// connection and write it with one call".
/// Ownership: a member of what it serves; destruction cancels. Thread: the loop's.
class Deferral {
 public:
  /// @param run kept for the life of the object; may destroy the Deferral.
  Deferral(Loop& loop, std::function<void()> run);
  ~Deferral();
  Deferral(const Deferral&) = delete;
  Deferral& operator=(const Deferral&) = delete;
  void schedule();                                         ///< idempotent until it has run
  void cancel();                                           ///< idempotent
  [[nodiscard]] bool scheduled() const { return linked_; }

 private:
  friend class Loop;
  Loop& loop_;
  std::shared_ptr<std::function<void()>> run_;  // shared with the call in progress, so that run may destroy us
  Deferral* previous_ = nullptr;
  Deferral* next_ = nullptr;
  bool linked_ = false;
};

/// An epoll set that holds the watched descriptors and, as one more of them, libuv's own: a turn waits there, tells the
/// sinks of what is ready, and lets libuv have its turn only when something of libuv's is due.
/// Thread: constructed, run and destroyed on one thread; only Mailbox crosses threads.
/// Invariant: destruction runs the loop until every handle has reported its close, then uv_loop_close returns 0
/// (asserted). Every stream, timer and mailbox on the loop must be destroyed before the loop.
class Loop {
 public:
  /// Also ignores SIGPIPE for the whole process: a write to a closed pipe is an error code, not its end.
  /// Errors: kLimit (no descriptors left for epoll and its wake-up).
  static Result<std::unique_ptr<Loop>> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Handles events until stop(), or until nothing is left that could produce one.
  void run();
  /// One turn: waits for at least one event (unless something is due already), then handles it and its neighbours.
  /// @return false if nothing is left that could produce an event.
  bool run_once();
  /// One turn without waiting; same answer.
  bool poll();
  /// Ends run() after the current turn. A stop before run() ends that run at once. Thread: the loop's.
  void stop();

  /// Runs `task` once in this turn (see Deferral). Unbounded by itself: one call per event is the rule; whoever
  /// needs a bound or comes from another thread uses a Mailbox.
  void post(std::function<void()> task);

  /// Receive buffers shared by all streams of this loop: valid for one callback, never kept.
  [[nodiscard]] std::span<std::byte> cipher_slab() { return cipher_slab_; }  ///< 80 KiB: what recv fills
  [[nodiscard]] std::span<std::byte> plain_slab() { return plain_slab_; }    ///< 80 KiB: what TLS decrypts into
  /// Scratch for one write call (TLS records on their way out); cleared by its user, capacity kept <= 256 KiB.
  [[nodiscard]] std::vector<std::byte>& write_scratch() { return write_scratch_; }

  [[nodiscard]] uv_loop_s* raw() { return loop_.get(); }  ///< for agent/io itself; nothing else includes uv.h

 private:
  friend class Deferral;
  friend class Watch;
  /// A place in the table of watches. The generation tells an event of a closed descriptor from one of its successor.
  struct Slot {
    Watch* watch = nullptr;
    std::uint32_t generation = 0;
  };
  Loop();
  void link(Deferral& deferral);
  void unlink(Deferral& deferral);
  void drain();
  void turn(bool may_wait);
  void dispatch(std::uint64_t token, std::uint32_t events);
  [[nodiscard]] bool uv_alive();
  [[nodiscard]] bool alive();
  std::uint32_t take_slot(Watch& watch);
  void free_slot(Watch& watch);
  [[nodiscard]] std::uint64_t token_of(const Watch& watch) const;
  void note_interest(bool before, bool after);

  std::unique_ptr<uv_loop_s> loop_;
  int epoll_ = -1;
  Handle<uv_prepare_s> awake_;  // does nothing, but libuv takes a turn only while it has something active
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::size_t watched_ = 0;     // watches with an interest: they keep run() going
  bool stopped_ = false;
  Deferral* first_ = nullptr;
  Deferral* last_ = nullptr;
  std::size_t linked_count_ = 0;
  std::vector<std::function<void()>> posted_;
  std::vector<std::byte> cipher_slab_;
  std::vector<std::byte> plain_slab_;
  std::vector<std::byte> write_scratch_;
};

}  // namespace agent::io
