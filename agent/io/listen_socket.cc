#include "agent/io/listen_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace agent::io {
namespace {

Address name_of_socket(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return {};
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), length);
}

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

Result<void> bind_ip(int fd, const Address& local, const ListenOptions& options) {
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

std::uint64_t inode_of(const Address& unix_path) {
  struct stat found{};
  return ::stat(unix_path.host().c_str(), &found) == 0 ? found.st_ino : 0;
}

}  // namespace

// --- the shelf -----------------------------------------------------------------------------------------------------

SocketShelf& SocketShelf::here() {
  // Of the thread and not handed around: descriptors are the process's own state, and every part may open some.
  thread_local SocketShelf shelf;
  return shelf;
}

std::string SocketShelf::name_of(SocketKind kind, const Address& asked) {
  return (kind == SocketKind::kDatagram ? "udp " : "stream ") + asked.to_string();
}

Result<void> SocketShelf::leave(std::string name, int fd) {
  if (left_.size() >= kSocketsMax) {
    ::close(fd);
    return fail(Errc::kLimit, "more than " + std::to_string(kSocketsMax) + " sockets were passed to this process");
  }
  left_.push_back({std::move(name), fd});
  return {};
}

Result<void> SocketShelf::leave_activated(int first, int count) {
  for (int fd = first; fd < first + count; ++fd) {
    int type = 0;
    socklen_t length = sizeof type;
    const bool is_socket = ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0;
    const Address address = is_socket ? name_of_socket(fd) : Address();
    if (address.empty() || (type != SOCK_STREAM && type != SOCK_DGRAM))
      return fail(Errc::kInvalidArgument, "LISTEN_FDS: descriptor " + std::to_string(fd) + " is no bound TCP, UDP or unix socket");
    const auto kind = type == SOCK_DGRAM ? SocketKind::kDatagram : SocketKind::kStream;
    if (auto left = leave(name_of(kind, address), fd); !left) return left;
  }
  return {};
}

bool SocketShelf::has(const std::string& name) const {
  return std::any_of(left_.begin(), left_.end(), [&](const Entry& one) { return one.name == name; });
}

int SocketShelf::take(const std::string& name) {
  const auto found = std::find_if(left_.begin(), left_.end(), [&](const Entry& one) { return one.name == name; });
  if (found == left_.end()) return -1;
  const int fd = found->fd;
  left_.erase(found);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

std::vector<std::string> SocketShelf::clear_left() {
  std::vector<std::string> names;
  for (const Entry& one : std::exchange(left_, {})) {
    ::close(one.fd);
    names.push_back(one.name);
  }
  return names;
}

void SocketShelf::note_open(std::string name, int fd) { open_.push_back({std::move(name), fd}); }

void SocketShelf::note_closed(int fd) {
  std::erase_if(open_, [fd](const Entry& one) { return one.fd == fd; });
}

// --- a socket ------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<ListenSocket>> ListenSocket::open(const Address& local, const ListenOptions& options, const Address& asked) {
  if (local.empty()) return fail(Errc::kInvalidArgument, "listen: empty address");
  std::unique_ptr<ListenSocket> made(new ListenSocket());
  const std::string name = SocketShelf::name_of(SocketKind::kStream, asked.empty() ? local : asked);
  made->fd_ = SocketShelf::here().take(name);
  made->inherited_ = made->fd_ >= 0;
  made->local_ = local;
  if (!made->inherited_) {
    if (auto opened = made->open_new(local, options); !opened) return tl::unexpected(opened.error());
  }
  // Once more also where it has been done: the backlog of one that was brought along may be smaller.
  if (::listen(made->fd_, options.backlog) != 0) return tl::unexpected(from_errno(errno, "listen on " + local.to_string()));
  if (local.is_unix()) {
    made->unix_inode_ = inode_of(local);
  } else {
    const int on = 1;
    ::setsockopt(made->fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    made->local_ = name_of_socket(made->fd_);
  }
  SocketShelf::here().note_open(name, made->fd_);
  return made;
}

Result<void> ListenSocket::open_new(const Address& local, const ListenOptions& options) {
  fd_ = ::socket(local.raw()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return tl::unexpected(from_errno(errno, "listen on " + local.to_string()));
  if (!local.is_unix()) return bind_ip(fd_, local, options);
  auto bound = bind_unix(fd_, local, options.unix_mode);
  if (bound) unix_inode_ = inode_of(local);
  return bound;
}

Result<Address> ListenSocket::probe(const Address& local) {
  const int fd = ::socket(local.raw()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return tl::unexpected(from_errno(errno, "listen on " + local.to_string()));
  const auto bound = bind_ip(fd, local, {});
  const Address found = bound ? name_of_socket(fd) : Address();
  ::close(fd);
  if (!bound) return tl::unexpected(bound.error());
  return found;
}

ListenSocket::~ListenSocket() {
  if (fd_ < 0) return;
  SocketShelf::here().note_closed(fd_);
  ::close(fd_);
  if (unix_inode_ == 0 || SocketShelf::here().renounced()) return;
  if (inode_of(local_) == unix_inode_) ::unlink(local_.host().c_str());
}

}  // namespace agent::io
