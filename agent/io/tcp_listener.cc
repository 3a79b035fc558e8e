#include "agent/io/tcp_listener.h"

#include <sys/socket.h>

#include <cerrno>

namespace agent::io {

namespace {

constexpr Milliseconds kDescriptorPause{100};

}  // namespace

TcpListener::TcpListener(Loop& loop, const ListenSocket& socket, OnAccept on_accept)
    : loop_(loop),
      on_accept_(std::make_shared<OnAccept>(std::move(on_accept))),
      socket_(&socket),
      retry_(loop, [this] {
        // A kernel without room for one more watch is asked again as one without descriptors is.
        if (!paused_ && !start_watch()) retry_.arm_after(kDescriptorPause);
      }) {}

TcpListener::~TcpListener() {
  // One whose socket lives on, in another listener or another process, must leave the kernel's set itself.
  if (watch_) static_cast<void>(watch_->set(Watch::kNothing));
}

Result<std::unique_ptr<TcpListener>> TcpListener::listen(Loop& loop, const Address& local, const Options& options,
                                                         OnAccept on_accept) {
  auto socket = ListenSocket::open(local, options);
  if (!socket) return tl::unexpected(socket.error());
  auto listener = on(loop, **socket, std::move(on_accept));
  if (listener) (*listener)->own_ = std::move(*socket);
  return listener;
}

Result<std::unique_ptr<TcpListener>> TcpListener::on(Loop& loop, const ListenSocket& socket, OnAccept on_accept) {
  std::unique_ptr<TcpListener> listener(new TcpListener(loop, socket, std::move(on_accept)));
  listener->watch_.emplace(loop, socket.fd(), static_cast<WatchSink*>(listener.get()));
  if (auto watching = listener->start_watch(); !watching) return tl::unexpected(watching.error());
  return listener;
}

Result<void> TcpListener::start_watch() { return watch_->set(Watch::kReadable); }

void TcpListener::pause() {
  paused_ = true;
  retry_.disarm();
  static_cast<void>(watch_->set(Watch::kNothing));
}

void TcpListener::resume() {
  if (!paused_) return;
  paused_ = false;
  if (!start_watch()) retry_.arm_after(kDescriptorPause);
}

void TcpListener::on_ready(Ready ready) {
  if (ready.error) static_cast<void>(start_watch());  // a listening socket keeps no error
  accept_waiting(kAcceptsPerTurn);
}

void TcpListener::accept_waiting(int most) {
  const LifeMark life(life_);
  const auto on_accept = on_accept_;
  for (int i = 0; i < most; ++i) {
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    const int fd = ::accept4(socket_->fd(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      ++counters_.accepted;
      const Address from = peer.ss_family == AF_UNIX ? Address() : Address::from_sockaddr(reinterpret_cast<sockaddr*>(&peer), length);
      (*on_accept)(TcpStream::from_fd(loop_, fd, from));
      if (!life.alive()) return;
      if (paused_) break;
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // Without a pause the waiting connection would wake the loop again and again.
      ++counters_.out_of_descriptors;
      static_cast<void>(watch_->set(Watch::kNothing));
      retry_.arm_after(kDescriptorPause);
    } else if (errno != EAGAIN) {
      ++counters_.failed;
    }
    break;
  }
}

}  // namespace agent::io
