#include "agent/io/fd_channel.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/io/address.h"

namespace agent::io {
namespace {

constexpr int kMessagesPerTurn = 64;

Result<OwnedFd> new_socket(const std::string& what) {
  OwnedFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return tl::unexpected(from_errno(errno, what));
  return fd;
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) ::close(fd_);
}

OwnedFd& OwnedFd::operator=(OwnedFd&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = other.take();
  return *this;
}

FdChannel::FdChannel(Loop& loop, OwnedFd fd) : fd_(std::move(fd)) { watch_.emplace(loop, fd_.get(), static_cast<WatchSink*>(this)); }
FdChannel::~FdChannel() = default;

std::unique_ptr<FdChannel> FdChannel::from_fd(Loop& loop, OwnedFd fd) {
  return std::unique_ptr<FdChannel>(new FdChannel(loop, std::move(fd)));
}

Result<std::unique_ptr<FdChannel>> FdChannel::connect(Loop& loop, const std::string& path) {
  const auto address = Address::unix_path(path);
  if (!address) return tl::unexpected(address.error());
  auto fd = new_socket("connect to " + path);
  if (!fd) return tl::unexpected(fd.error());
  // A unix socket connects at once or not at all.
  if (::connect(fd->get(), address->raw(), address->raw_length()) != 0) return tl::unexpected(from_errno(errno, "connect to " + path));
  return from_fd(loop, std::move(*fd));
}

Result<void> FdChannel::listen_to(OnMessage on_message, OnEnd on_end) {
  on_message_ = std::make_shared<OnMessage>(std::move(on_message));
  on_end_ = std::make_shared<OnEnd>(std::move(on_end));
  return watch_->set(Watch::kReadable);
}

Result<void> FdChannel::send(std::string_view text, const std::vector<int>& fds) {
  if (text.empty() || text.size() > kTextBytesMax || fds.size() > kFdsMax) return fail(Errc::kTooLarge, "message to another process");
  iovec vector{const_cast<char*>(text.data()), text.size()};  // sendmsg reads only
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
  }
  if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return tl::unexpected(from_errno(errno, "message to another process"));
  return {};
}

/// One message. @return whether there may be more
bool FdChannel::receive() {
  std::vector<char> text(kTextBytesMax + 1);
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
  iovec vector{text.data(), text.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  std::vector<OwnedFd> fds;
  for (cmsghdr* part = got < 0 ? nullptr : CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  if (got <= 0 || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || static_cast<std::size_t>(got) > kTextBytesMax) {
    static_cast<void>(watch_->set(Watch::kNothing));
    const auto on_end = on_end_;
    (*on_end)();
    return false;
  }
  const auto on_message = on_message_;
  (*on_message)({text.data(), static_cast<std::size_t>(got)}, std::move(fds));
  return true;
}

void FdChannel::on_ready(Ready) {
  const LifeMark life(life_);
  for (int i = 0; i < kMessagesPerTurn && life.alive(); ++i) {
    if (!receive()) return;
  }
}

FdDoor::FdDoor(Loop& loop, OwnedFd fd, std::string path, std::function<void(std::unique_ptr<FdChannel>)> on_channel)
    : loop_(loop),
      fd_(std::move(fd)),
      path_(std::move(path)),
      on_channel_(std::make_shared<std::function<void(std::unique_ptr<FdChannel>)>>(std::move(on_channel))) {
  watch_.emplace(loop, fd_.get(), static_cast<WatchSink*>(this));
}

FdDoor::~FdDoor() { ::unlink(path_.c_str()); }

Result<std::unique_ptr<FdDoor>> FdDoor::open(Loop& loop, const std::string& path,
                                             std::function<void(std::unique_ptr<FdChannel>)> on_channel) {
  const std::string what = "listen on " + path;
  const auto address = Address::unix_path(path);
  if (!address) return tl::unexpected(address.error());
  auto fd = new_socket(what);
  if (!fd) return tl::unexpected(fd.error());
  ::unlink(path.c_str());
  if (::bind(fd->get(), address->raw(), address->raw_length()) != 0 || ::chmod(path.c_str(), 0600) != 0 || ::listen(fd->get(), 4) != 0)
    return tl::unexpected(from_errno(errno, what));
  std::unique_ptr<FdDoor> door(new FdDoor(loop, std::move(*fd), path, std::move(on_channel)));
  if (auto watching = door->watch_->set(Watch::kReadable); !watching) return tl::unexpected(watching.error());
  return door;
}

void FdDoor::on_ready(Ready) {
  OwnedFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.get() < 0) return;
  ucred who{};
  socklen_t length = sizeof who;
  const bool known = ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) == 0;
  if (!known || (who.uid != ::geteuid() && who.uid != 0)) return;
  const auto on_channel = on_channel_;
  (*on_channel)(FdChannel::from_fd(loop_, std::move(fd)));
}

}  // namespace agent::io
