#include "agent/io/tcp_listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace agent::io {

namespace {

constexpr Milliseconds kDescriptorPause{100};

/// A unix path stays behind when its process is killed; only a connect tells whether somebody still listens.
bool left_over(const Address& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool refused = ::connect(fd, address.raw(), address.raw_length()) != 0 && errno == ECONNREFUSED;
  ::close(fd);
  return refused;
}

Result<void> bind_unix(int fd, const Address& local, std::uint32_t mode) {
  const std::string path = local.host();
  const std::string what = "listen on " + local.to_string();
  if (::bind(fd, local.raw(), local.raw_length()) != 0) {
    if (errno != EADDRINUSE || !left_over(local)) return tl::unexpected(from_errno(errno, what));
    ::unlink(path.c_str());
    if (::bind(fd, local.raw(), local.raw_length()) != 0) return tl::unexpected(from_errno(errno, what));
  }
  // Before listen(): until then every connect is refused, so nobody gets in under a wider mode.
  if (::chmod(path.c_str(), mode) != 0) return tl::unexpected(from_errno(errno, what));
  return {};
}

Result<void> bind_ip(int fd, const Address& local, const TcpListener::Options& options) {
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (options.reuse_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (local.is_ipv6()) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted sockets inherit it
  if (options.defer_accept) ::setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on);
  if (::bind(fd, local.raw(), local.raw_length()) != 0) {
    return tl::unexpected(from_errno(errno, "listen on " + local.to_string()));
  }
  return {};
}

}  // namespace

TcpListener::TcpListener(Loop& loop, OnAccept on_accept)
    : loop_(loop),
      on_accept_(std::make_shared<OnAccept>(std::move(on_accept))),
      retry_(loop, [this] {
        // A kernel without room for one more watch is asked again as one without descriptors is.
        if (!paused_ && !start_watch()) retry_.arm_after(kDescriptorPause);
      }) {}

TcpListener::~TcpListener() {
  watch_.reset();
  if (fd_ >= 0) ::close(fd_);
  struct stat now{};
  if (unix_inode_ != 0 && ::stat(local_.host().c_str(), &now) == 0 && now.st_ino == unix_inode_) {
    ::unlink(local_.host().c_str());
  }
}

Result<std::unique_ptr<TcpListener>> TcpListener::listen(Loop& loop, const Address& local, const Options& options,
                                                         OnAccept on_accept) {
  const std::string what = "listen on " + local.to_string();
  if (local.empty()) return fail(Errc::kInvalidArgument, "listen: empty address");
  std::unique_ptr<TcpListener> listener(new TcpListener(loop, std::move(on_accept)));
  listener->fd_ = ::socket(local.raw()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener->fd_ < 0) return tl::unexpected(from_errno(errno, what));
  const auto bound = local.is_unix() ? bind_unix(listener->fd_, local, options.unix_mode)
                                     : bind_ip(listener->fd_, local, options);
  if (!bound) return tl::unexpected(bound.error());
  listener->local_ = local;
  if (local.is_unix()) {
    struct stat made{};
    if (::stat(local.host().c_str(), &made) == 0) listener->unix_inode_ = made.st_ino;
  }
  if (::listen(listener->fd_, options.backlog) != 0) return tl::unexpected(from_errno(errno, what));
  if (!local.is_unix()) {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    ::getsockname(listener->fd_, reinterpret_cast<sockaddr*>(&name), &length);
    listener->local_ = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), length);
  }
  listener->watch_.emplace(loop, listener->fd_, static_cast<WatchSink*>(listener.get()));
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
  const LifeMark life(life_);
  const auto on_accept = on_accept_;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    const int fd = ::accept4(fd_, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
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
