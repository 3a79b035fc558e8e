#pragma once
/// How a libuv handle is owned (style.md section 6): alone on the heap, in a unique_ptr whose deleter clears `data`
/// and calls uv_close; only the close callback frees the memory. So an owner may die at any moment, even inside its
/// own callback: a late event finds `data == nullptr` and nobody to call.
#include <memory>

struct uv_async_s;
struct uv_check_s;
struct uv_idle_s;
struct uv_loop_s;
struct uv_pipe_s;
struct uv_poll_s;
struct uv_prepare_s;
struct uv_process_s;
struct uv_signal_s;
struct uv_timer_s;

namespace agent::io {

/// Closes the handle; its memory lives until the loop has run the close callback (one turn later).
struct HandleCloser {
  void operator()(uv_async_s* handle) const;
  void operator()(uv_check_s* handle) const;
  void operator()(uv_idle_s* handle) const;
  void operator()(uv_pipe_s* handle) const;
  void operator()(uv_poll_s* handle) const;
  void operator()(uv_prepare_s* handle) const;
  void operator()(uv_process_s* handle) const;
  void operator()(uv_signal_s* handle) const;
  void operator()(uv_timer_s* handle) const;
};

template <class H>
using Handle = std::unique_ptr<H, HandleCloser>;

}  // namespace agent::io
