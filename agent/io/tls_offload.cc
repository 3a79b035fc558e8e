#include <uv.h>

#include <algorithm>
#include <cassert>

#include "agent/io/tls_work.h"

namespace agent::io {

TlsOffload::TlsOffload(Loop& loop, std::size_t running_max, std::size_t waiting_max)
    : loop_(loop),
      running_max_(running_max),
      waiting_max_(waiting_max),
      self_(std::make_shared<TlsOffload*>(this)) {
  assert(running_max >= 1);
}

TlsOffload::~TlsOffload() { *self_ = nullptr; }

bool TlsOffload::submit(std::unique_ptr<TlsWork>& work) {
  work->offload = self_;
  if (running_ < running_max_) {
    start(std::move(work));
    return true;
  }
  if (waiting_.size() >= waiting_max_) return false;
  waiting_.push_back(std::move(work));
  return true;
}

void TlsOffload::start(std::unique_ptr<TlsWork> work) {
  ++running_;
  work->request.data = work.get();
  uv_queue_work(
      loop_.raw(), &work->request,
      [](uv_work_t* request) {
        auto* mine = static_cast<TlsWork*>(request->data);
        mine->step = mine->engine->handshake(mine->input);
      },
      [](uv_work_t* request, int) {
        const std::unique_ptr<TlsWork> mine(static_cast<TlsWork*>(request->data));
        if (*mine->offload != nullptr) (*mine->offload)->finished();
        if (mine->stream != nullptr) mine->stream->handshake_stepped(*mine);
      });
  static_cast<void>(work.release());  // owned by the request until its second callback
}

/// The stream of `work` has gone: work that still waits is not worth doing.
void TlsOffload::forget(const TlsWork* work) {
  std::erase_if(waiting_, [work](const auto& waiting) { return waiting.get() == work; });
}

void TlsOffload::finished() {
  --running_;
  if (waiting_.empty()) return;
  std::unique_ptr<TlsWork> next = std::move(waiting_.front());
  waiting_.pop_front();
  start(std::move(next));
}

}  // namespace agent::io
