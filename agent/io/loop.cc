#include "agent/io/loop.h"

#include <uv.h>

#include <cassert>

#include "agent/io/signal.h"

namespace agent::io {

namespace {
constexpr std::size_t kSlabBytes = 64U << 10;
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
  auto* self = loop.get();
  loop->prepare_ = Handle<uv_prepare_s>(new uv_prepare_t);
  loop->check_ = Handle<uv_check_s>(new uv_check_t);
  loop->idle_ = Handle<uv_idle_s>(new uv_idle_t);
  uv_prepare_init(self->raw(), self->prepare_.get());
  uv_check_init(self->raw(), self->check_.get());
  uv_idle_init(self->raw(), self->idle_.get());
  self->prepare_->data = self->check_->data = self->idle_->data = self;
  // Prepare runs after timers and before the loop sleeps, check right after its events: between them everything
  // queued by a callback runs within the turn.
  uv_prepare_start(self->prepare_.get(), [](uv_prepare_t* handle) { static_cast<Loop*>(handle->data)->drain(); });
  uv_check_start(self->check_.get(), [](uv_check_t* handle) { static_cast<Loop*>(handle->data)->drain(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(self->prepare_.get()));
  uv_unref(reinterpret_cast<uv_handle_t*>(self->check_.get()));
  return loop;
}

Loop::~Loop() {
  if (!loop_) return;
  posted_.clear();
  assert(first_ == nullptr && "a Deferral outlives its loop");
  prepare_.reset();
  check_.reset();
  idle_.reset();
  uv_walk(
      loop_.get(), [](uv_handle_t* handle, void*) { assert(uv_is_closing(handle) && "a handle outlives its loop"); },
      nullptr);
  while (uv_loop_alive(loop_.get()) != 0) uv_run(loop_.get(), UV_RUN_DEFAULT);
  const int status = uv_loop_close(loop_.get());
  assert(status == 0);
  static_cast<void>(status);
}

void Loop::run() { uv_run(loop_.get(), UV_RUN_DEFAULT); }
bool Loop::run_once() { return uv_run(loop_.get(), UV_RUN_ONCE) != 0; }
bool Loop::poll() { return uv_run(loop_.get(), UV_RUN_NOWAIT) != 0; }
void Loop::stop() { uv_stop(loop_.get()); }

void Loop::post(std::function<void()> task) {
  posted_.push_back(std::move(task));
  keep_awake();
}

void Loop::link(Deferral& deferral) {
  deferral.linked_ = true;
  deferral.previous_ = last_;
  deferral.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &deferral;
  last_ = &deferral;
  ++linked_count_;
  keep_awake();
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
  keep_awake();
}

void Loop::keep_awake() {
  if (!idle_) return;
  const bool wanted = first_ != nullptr || !posted_.empty();
  const bool active = uv_is_active(reinterpret_cast<const uv_handle_t*>(idle_.get())) != 0;
  if (wanted && !active) uv_idle_start(idle_.get(), [](uv_idle_t*) {});
  if (!wanted && active) uv_idle_stop(idle_.get());
}

}  // namespace agent::io
