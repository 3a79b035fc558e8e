#include "agent/io/handle.h"

#include <uv.h>

namespace agent::io {

namespace {

template <class H>
void close_and_free(H* handle) {
  handle->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* closed) { delete reinterpret_cast<H*>(closed); });
}

}  // namespace

void HandleCloser::operator()(uv_async_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_check_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_idle_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_pipe_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_poll_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_prepare_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_process_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_signal_s* handle) const { close_and_free(handle); }
void HandleCloser::operator()(uv_timer_s* handle) const { close_and_free(handle); }

}  // namespace agent::io
