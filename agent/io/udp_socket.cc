#include "agent/io/udp_socket.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <vector>

#include "agent/io/listen_socket.h"

namespace agent::io {

namespace {
constexpr std::size_t kBatch = 32;
constexpr int kErrorsPerTurn = 256;
}  // namespace

/// Receive buffers of one recvmmsg call; allocated once per socket (about 300 KiB, touched only as far as used).
struct UdpSocket::Batch {
  std::array<mmsghdr, kBatch> headers{};
  std::array<iovec, kBatch> vectors{};
  std::array<sockaddr_storage, kBatch> from{};
  std::vector<std::byte> bytes = std::vector<std::byte>(kBatch * kDatagramBytesMax);

  void prepare() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {bytes.data() + i * kDatagramBytesMax, kDatagramBytesMax};
      headers[i] = {};
      headers[i].msg_hdr.msg_name = &from[i];
      headers[i].msg_hdr.msg_namelen = sizeof from[i];
      headers[i].msg_hdr.msg_iov = &vectors[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

UdpSocket::UdpSocket(UdpSink& sink) : sink_(sink), batch_(std::make_unique<Batch>()) {}

UdpSocket::~UdpSocket() {
  poll_.reset();  // before the descriptor: libuv takes it out of epoll here
  if (fd_ < 0) return;
  SocketShelf::here().note_closed(fd_);
  ::close(fd_);
}

Result<std::unique_ptr<UdpSocket>> UdpSocket::bind(Loop& loop, const Address& local, UdpSink& sink) {
  return bind(loop, local, sink, Options{});
}

Result<std::unique_ptr<UdpSocket>> UdpSocket::bind(Loop& loop, const Address& local, UdpSink& sink,
                                                   const Options& options) {
  if (local.empty() || local.is_unix()) return fail(Errc::kInvalidArgument, "a UDP socket needs an IP address");
  const std::string what = "bind udp " + local.to_string();
  std::unique_ptr<UdpSocket> socket(new UdpSocket(sink));
  const int family = local.is_ipv6() ? AF_INET6 : AF_INET;
  const std::string shelved = SocketShelf::name_of(SocketKind::kDatagram, local);
  socket->fd_ = SocketShelf::here().take(shelved);
  const bool inherited = socket->fd_ >= 0;
  if (!inherited) socket->fd_ = ::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket->fd_ < 0) return tl::unexpected(from_errno(errno, what));
  const auto set = [fd = socket->fd_](int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof value);
  };
  socket->drain_max_ = options.drain_max;
  if (options.reuse_port) set(SOL_SOCKET, SO_REUSEPORT, 1);
  if (local.is_ipv6()) {
    set(IPPROTO_IPV6, IPV6_V6ONLY, 0);
    set(IPPROTO_IPV6, IPV6_RECVERR, 1);
  }
  set(IPPROTO_IP, IP_RECVERR, 1);
  set(SOL_SOCKET, SO_RCVBUF, static_cast<int>(options.receive_buffer_bytes));
  set(SOL_SOCKET, SO_SNDBUF, static_cast<int>(options.send_buffer_bytes));
  if (!inherited && ::bind(socket->fd_, local.raw(), local.raw_length()) != 0) return tl::unexpected(from_errno(errno, what));
  SocketShelf::here().note_open(shelved, socket->fd_);
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  ::getsockname(socket->fd_, reinterpret_cast<sockaddr*>(&bound), &length);
  socket->local_ = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&bound), length);
  auto raw = std::make_unique<uv_poll_t>();
  if (const int status = uv_poll_init(loop.raw(), raw.get(), socket->fd_); status != 0) {
    return tl::unexpected(from_uv(status, what));
  }
  socket->poll_ = Handle<uv_poll_s>(raw.release());
  socket->poll_->data = socket.get();
  socket->start_poll();
  return socket;
}

void UdpSocket::start_poll() {
  uv_poll_start(poll_.get(), UV_READABLE, [](uv_poll_t* handle, int status, int) {
    auto* self = static_cast<UdpSocket*>(handle->data);
    if (self == nullptr) return;
    if (status < 0) {
      // libuv stops watching when the kernel raises its error flag: here that is the error queue's way to call.
      self->start_poll();
    }
    self->drain();
  });
}

Result<void> UdpSocket::send(const Address& to, std::span<const std::byte> bytes) {
  const sockaddr* target = to.raw();
  socklen_t length = to.raw_length();
  sockaddr_in6 mapped{};
  if (local_.is_ipv6() && to.bytes().size() == 4) {  // an IPv6 socket reaches IPv4 through mapped addresses
    mapped.sin6_family = AF_INET6;
    mapped.sin6_port = htons(to.port());
    mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&mapped.sin6_addr.s6_addr[12], to.bytes().data(), 4);
    target = reinterpret_cast<const sockaddr*>(&mapped);
    length = sizeof mapped;
  }
  int number = 0;
  // An ICMP answer to an *earlier* datagram makes one call fail; its cause waits in the error queue for drain().
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (::sendto(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL, target, length) >= 0) {
      ++counters_.sent;
      return {};
    }
    number = errno;
    if (number != ECONNREFUSED && number != EHOSTUNREACH && number != EINTR) break;
  }
  ++counters_.send_failed;
  return tl::unexpected(from_errno(number, "send to " + to.to_string()));
}

std::size_t UdpSocket::drain() {
  const LifeMark life(life_);
  std::size_t total = 0;
  drain_errors(life);
  while (life.alive() && total < drain_max_) {
    const std::size_t got = receive_batch(life);
    total += got;
    if (got < kBatch) break;
  }
  if (life.alive()) sink_.on_drained();
  return total;
}

std::size_t UdpSocket::receive_batch(const LifeMark& life) {
  // The batch stays with this call even if a callback destroys the socket.
  std::unique_ptr<Batch> batch = batch_ ? std::move(batch_) : std::make_unique<Batch>();
  batch->prepare();
  int got = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    got = ::recvmmsg(fd_, batch->headers.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (got >= 0 || errno == EAGAIN) break;  // others: a pending ICMP error, reported through the error queue
  }
  std::size_t handed = 0;
  for (int i = 0; i < got && life.alive(); ++i) {
    const auto index = static_cast<std::size_t>(i);
    const msghdr& header = batch->headers[index].msg_hdr;
    ++handed;
    if ((header.msg_flags & MSG_TRUNC) != 0) {
      ++counters_.oversized;
      continue;
    }
    ++counters_.received;
    const Address from = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&batch->from[index]), header.msg_namelen);
    sink_.on_datagram(from, {batch->bytes.data() + index * kDatagramBytesMax, batch->headers[index].msg_len});
  }
  if (life.alive() && !batch_) batch_ = std::move(batch);
  return handed;
}

void UdpSocket::drain_errors(const LifeMark& life) {
  for (int i = 0; life.alive() && i < kErrorsPerTurn; ++i) {
    sockaddr_storage to{};
    std::array<std::byte, 64> payload{};
    alignas(cmsghdr) std::array<std::byte, 512> control{};
    iovec vector{payload.data(), payload.size()};
    msghdr header{};
    header.msg_name = &to;
    header.msg_namelen = sizeof to;
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    if (::recvmsg(fd_, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
      const bool ours = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                        (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
      if (!ours) continue;
      sock_extended_err cause{};
      std::memcpy(&cause, CMSG_DATA(part), sizeof cause);
      ++counters_.errors_reported;
      const Address destination = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&to), header.msg_namelen);
      Errc code = Errc::kUnreachable;
      if (cause.ee_errno == ECONNREFUSED) code = Errc::kRefused;
      if (cause.ee_errno == EMSGSIZE) code = Errc::kTooLarge;
      sink_.on_datagram_error(destination, code);
      break;
    }
  }
}

}  // namespace agent::io
