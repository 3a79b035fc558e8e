#include "agent/io/mailbox.h"

#include <uv.h>

namespace agent::io {

MailboxBell::MailboxBell(Loop& loop, std::function<void()> on_ring)
    : on_ring_(std::make_shared<std::function<void()>>(std::move(on_ring))), handle_(new uv_async_t) {
  const int status = uv_async_init(loop.raw(), handle_.get(), [](uv_async_t* handle) {
    if (handle->data == nullptr) return;
    const auto call = static_cast<MailboxBell*>(handle->data)->on_ring_;
    (*call)();
  });
  // The loop's wake-up descriptor exists since Loop::create, so nothing is left that could fail here.
  assert(status == 0);
  static_cast<void>(status);
  handle_->data = this;
}

MailboxBell::~MailboxBell() = default;

void MailboxBell::ring() { uv_async_send(handle_.get()); }

void MailboxBell::unref() { uv_unref(reinterpret_cast<uv_handle_t*>(handle_.get())); }

}  // namespace agent::io
