#include "agent/io/loop.h"

#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <span>

#include "agent/io/signal.h"

namespace agent::io {

namespace {
constexpr std::size_t kSlabBytes = 80U << 10;  // a body of 64 KiB comes with its head in one read
constexpr std::size_t kEventsPerTurn = 256;
constexpr std::uint64_t kUvToken = ~std::uint64_t{0};  // no slot has this index
}

Deferral::Deferral(Loop& loop, std::function<void()> run)
    : loop_(loop), run_(std::make_shared<std::function<void()>>(std::move(run))) {}

Deferral::~Deferral() { cancel(); }

void Deferral::schedule() {
  if (!linked_) loop_.link(*this);
}

void Deferral::cancel() {
  if (linked_) loop_.unlink(*this);
}

Loop::Loop() : cipher_slab_(kSlabBytes), plain_slab_(kSlabBytes) {}

Result<std::unique_ptr<Loop>> Loop::create() {
  ignore_sigpipe();
  std::unique_ptr<Loop> loop(new Loop());
  auto raw = std::make_unique<uv_loop_t>();
  if (const int status = uv_loop_init(raw.get()); status != 0) {
    return tl::unexpected(from_uv(status, "create an event loop"));
  }
  loop->loop_ = std::move(raw);
  loop->awake_ = Handle<uv_prepare_s>(new uv_prepare_t);
  uv_prepare_init(loop->raw(), loop->awake_.get());
  uv_prepare_start(loop->awake_.get(), [](uv_prepare_t*) {});
  loop->epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kUvToken;
  if (loop->epoll_ < 0 || ::epoll_ctl(loop->epoll_, EPOLL_CTL_ADD, uv_backend_fd(loop->raw()), &event) != 0) {
    return tl::unexpected(from_errno(errno, "create an event loop"));
  }
  return loop;
}

Loop::~Loop() {
  if (!loop_) return;
  posted_.clear();
  assert(first_ == nullptr && "a Deferral outlives its loop");
  assert(slots_.size() == free_slots_.size() && "a Watch outlives its loop");
  awake_.reset();
  uv_walk(
      loop_.get(), [](uv_handle_t* handle, void*) { assert(uv_is_closing(handle) && "a handle outlives its loop"); },
      nullptr);
  while (uv_loop_alive(loop_.get()) != 0) uv_run(loop_.get(), UV_RUN_DEFAULT);
  const int status = uv_loop_close(loop_.get());
  assert(status == 0);
  static_cast<void>(status);
  if (epoll_ >= 0) ::close(epoll_);
}

// --- turns --------------------------------------------------------------------------------------------------------

void Loop::run() {
  while (!stopped_ && alive()) turn(true);
  stopped_ = false;
}

bool Loop::run_once() {
  if (alive()) turn(true);
  return alive();
}

bool Loop::poll() {
  turn(false);
  return alive();
}

void Loop::stop() { stopped_ = true; }

bool Loop::uv_alive() {
  auto* const awake = reinterpret_cast<uv_handle_t*>(awake_.get());
  uv_unref(awake);
  const bool alive = uv_loop_alive(loop_.get()) != 0;
  uv_ref(awake);
  return alive;
}

bool Loop::alive() { return watched_ > 0 || first_ != nullptr || !posted_.empty() || uv_alive(); }

void Loop::turn(bool may_wait) {
  uv_update_time(loop_.get());
  // 0: something of libuv's is due, or it has descriptors to hand to the kernel.
  const int uv_wait = uv_backend_timeout(loop_.get());
  const bool queued = first_ != nullptr || !posted_.empty();
  std::array<epoll_event, kEventsPerTurn> events;
  int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), may_wait && !queued ? uv_wait : 0);
  count = std::max(count, 0);  // interrupted: nothing is lost, the next turn asks again
  uv_update_time(loop_.get());
  bool uv_ready = uv_wait == 0 || (may_wait && count == 0) || uv_backend_timeout(loop_.get()) == 0;
  for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
    if (event.data.u64 == kUvToken) uv_ready = true;
    else dispatch(event.data.u64, event.events);
  }
  if (count > 0) drain();
  if (uv_ready) uv_run(loop_.get(), UV_RUN_NOWAIT);
  drain();
}

void Loop::dispatch(std::uint64_t token, std::uint32_t events) {
  const auto index = static_cast<std::uint32_t>(token);
  const Slot& slot = slots_[index];
  if (slot.watch == nullptr || slot.generation != token >> 32U) return;  // closed meanwhile, or known to a fork for a moment
  Watch& watch = *slot.watch;
  Ready ready;
  ready.readable = (events & (EPOLLIN | EPOLLRDHUP)) != 0;
  ready.writable = (events & EPOLLOUT) != 0;
  ready.error = (events & EPOLLERR) != 0;
  if ((events & EPOLLHUP) != 0) {  // both directions are over: whoever waits for either will see it in its next call
    ready.readable |= (watch.interest_ & Watch::kReadable) != 0;
    ready.writable |= (watch.interest_ & Watch::kWritable) != 0;
  }
  if (ready.error) static_cast<void>(watch.set(Watch::kNothing));
  watch.sink_->on_ready(ready);
}

std::uint32_t Loop::take_slot(Watch& watch) {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
    free_slots_.reserve(slots_.size());  // giving back never allocates
  }
  const std::uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  slots_[index].watch = &watch;
  return index;
}

void Loop::free_slot(Watch& watch) {
  note_interest(watch.interest_ != Watch::kNothing, false);
  Slot& slot = slots_[watch.slot_];
  slot.watch = nullptr;
  ++slot.generation;
  free_slots_.push_back(watch.slot_);
}

std::uint64_t Loop::token_of(const Watch& watch) const {
  return std::uint64_t{slots_[watch.slot_].generation} << 32U | watch.slot_;
}

void Loop::note_interest(bool before, bool after) {
  if (after && !before) ++watched_;
  if (before && !after) --watched_;
}

// --- what runs at the end of a turn -------------------------------------------------------------------------------

void Loop::post(std::function<void()> task) { posted_.push_back(std::move(task)); }

void Loop::link(Deferral& deferral) {
  deferral.linked_ = true;
  deferral.previous_ = last_;
  deferral.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &deferral;
  last_ = &deferral;
  ++linked_count_;
}

void Loop::unlink(Deferral& deferral) {
  (deferral.previous_ != nullptr ? deferral.previous_->next_ : first_) = deferral.next_;
  (deferral.next_ != nullptr ? deferral.next_->previous_ : last_) = deferral.previous_;
  deferral.linked_ = false;
  deferral.previous_ = deferral.next_ = nullptr;
  --linked_count_;
}

void Loop::drain() {
  if (!posted_.empty()) {
    std::vector<std::function<void()>> tasks;
    tasks.swap(posted_);
    for (auto& task : tasks) task();
  }
  // Only what is queued now: a callback that schedules again waits for the next drain, so events get their turn.
  for (std::size_t left = linked_count_; left > 0 && first_ != nullptr; --left) {
    Deferral& next = *first_;
    unlink(next);
    const auto run = next.run_;
    (*run)();
  }
}

}  // namespace agent::io
