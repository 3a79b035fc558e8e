#include "agent/io/signal.h"

#include <uv.h>

#include <csignal>

namespace agent::io {

Result<std::unique_ptr<Signal>> Signal::watch(Loop& loop, int signal_number, std::function<void()> on_signal) {
  std::unique_ptr<Signal> signal(new Signal());
  signal->on_signal_ = std::make_shared<std::function<void()>>(std::move(on_signal));
  auto raw = std::make_unique<uv_signal_t>();
  if (const int status = uv_signal_init(loop.raw(), raw.get()); status != 0) {
    return tl::unexpected(from_uv(status, "watch a signal"));
  }
  signal->handle_ = Handle<uv_signal_s>(raw.release());
  signal->handle_->data = signal.get();
  const auto on_uv_signal = [](uv_signal_t* handle, int) {
    if (handle->data == nullptr) return;
    const auto call = static_cast<Signal*>(handle->data)->on_signal_;
    (*call)();
  };
  if (const int status = uv_signal_start(signal->handle_.get(), on_uv_signal, signal_number); status != 0) {
    return tl::unexpected(from_uv(status, "watch signal " + std::to_string(signal_number)));
  }
  uv_unref(reinterpret_cast<uv_handle_t*>(signal->handle_.get()));
  return signal;
}

Signal::~Signal() = default;

void ignore_sigpipe() { std::signal(SIGPIPE, SIG_IGN); }

}  // namespace agent::io
