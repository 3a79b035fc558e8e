#include "agent/io/tcp_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>

#include "agent/io/tls_engine.h"

namespace agent::io {

namespace {

constexpr std::size_t kGather = 64;                     // buffers per system call
constexpr std::size_t kQueueBytesKept = 64U << 10;      // capacity an empty queue may keep

Address name_of(int fd, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (fd < 0 || ask(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return {};
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), length);
}

int take_socket_error(int fd) {
  int number = 0;
  socklen_t length = sizeof number;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length);
  return number;
}

}  // namespace

TcpStream::TcpStream(Loop& loop, int fd, State state)
    : loop_(loop), fd_(fd), state_(state), deferred_(loop, [this] { run_deferred(); }) {
  if (fd_ >= 0) watch_.emplace(loop_, fd_, static_cast<WatchSink*>(this));
}

TcpStream::~TcpStream() {
  watch_.reset();
  if (fd_ >= 0) ::close(fd_);
}

std::unique_ptr<TcpStream> TcpStream::from_fd(Loop& loop, int fd, const Address& peer) {
  std::unique_ptr<TcpStream> stream(new TcpStream(loop, fd, State::kOpen));
  stream->peer_ = peer;
  return stream;
}

std::unique_ptr<TcpStream> TcpStream::connect(Loop& loop, const Address& to, TimePoint deadline, StreamSink* sink) {
  int fd = -1;
  Error error{Errc::kInvalidArgument, "connect: empty address"};
  if (!to.empty()) {
    fd = ::socket(to.raw()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) error = from_errno(errno, "connect to " + to.to_string());
  }
  std::unique_ptr<TcpStream> stream(new TcpStream(loop, fd, State::kConnecting));
  stream->sink_ = sink;
  if (fd < 0) {
    stream->fail_later(std::move(error));
  } else {
    stream->start_connect(to, deadline);
  }
  return stream;
}

void TcpStream::start_connect(const Address& to, TimePoint deadline) {
  const int on = 1;
  if (!to.is_unix()) ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int status = ::connect(fd_, to.raw(), to.raw_length());
  if (status != 0 && errno != EINPROGRESS) {
    fail_later(from_errno(errno, "connect to " + to.to_string()));
    return;
  }
  connect_timer_ = std::make_unique<Timer>(loop_, [this, name = to.to_string()] {
    die(Error{Errc::kTimedOut, "connect to " + name + ": no answer before the deadline"});
  });
  connect_timer_->arm(deadline);
  watch();  // also after an instant success: on_open comes from the loop
}

void TcpStream::set_sink(StreamSink* sink) {
  sink_ = sink;
  if (sink_ != nullptr && failure_) deferred_.schedule();
  if (state_ == State::kOpen) watch();
}

void TcpStream::read_start() {
  reading_ = true;
  if (!unread_.empty()) deferred_.schedule();
  if (state_ == State::kOpen) watch();
}

// The watch stays until data arrives that nobody wants: a short pause then costs no system call.
void TcpStream::read_stop() { reading_ = false; }

void TcpStream::watch() {
  if (!watch_) return;
  std::uint32_t wanted = Watch::kNothing;
  if (state_ == State::kConnecting) wanted = Watch::kWritable;
  if (state_ == State::kOpen) {
    if (reading_ && !ended_ && sink_ != nullptr) wanted |= Watch::kReadable;
    if (write_queue_bytes() > 0 || room_wanted_) wanted |= Watch::kWritable;
  }
  if (const auto set = watch_->set(wanted); !set) fail_later(set.error());
}

void TcpStream::on_ready(Ready ready) {
  if (state_ == State::kConnecting) {
    finish_connect();
    return;
  }
  if (ready.error) {
    on_socket_error();
    return;
  }
  const LifeMark life(life_);
  if (ready.readable) on_readable();
  if (life.alive() && watch_ && ready.writable) on_writable();
}

void TcpStream::finish_connect() {
  connect_timer_.reset();
  const Address peer = peer_address();
  if (const int number = take_socket_error(fd_); number != 0) {
    die(from_errno(number, "connect"));
    return;
  }
  // Loopback without a listener can connect to itself when the kernel picks the wanted port as the source.
  if (!peer.is_unix() && peer.is_loopback() && peer == local_address()) {
    cut();
    die(Error{Errc::kRefused, "connect to " + peer.to_string() + ": nobody listens there"});
    return;
  }
  state_ = State::kOpen;
  watch();
  const LifeMark life(life_);
  if (sink_ != nullptr) sink_->on_open();
  if (life.alive() && watch_ && write_queue_bytes() > 0) on_writable();
}

bool TcpStream::deliver_unread() {
  if (unread_.empty()) return true;
  const LifeMark life(life_);
  const std::vector<std::byte> bytes = std::move(unread_);
  unread_.clear();
  sink_->on_read(bytes);
  return life.alive() && watch_;
}

void TcpStream::on_readable() {
  const LifeMark life(life_);
  const std::span<std::byte> slab = loop_.cipher_slab();
  for (int i = 0; i < kReadsPerEvent; ++i) {
    if (!reading_ || sink_ == nullptr || ended_) {
      watch();
      return;
    }
    if (!deliver_unread()) return;
    if (!reading_ || sink_ == nullptr) continue;
    const ssize_t got = ::recv(fd_, slab.data(), slab.size(), 0);
    if (got > 0) {
      const auto count = static_cast<std::size_t>(got);
      sink_->on_read(slab.first(count));
      if (!(life.alive() && watch_) || count < slab.size()) return;
    } else if (got == 0) {
      ended_ = true;
      sink_->on_end();
      if (life.alive() && watch_) watch();  // mostly it is closed by now, which costs no call here
      return;
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      die(from_errno(errno, "read"));
      return;
    }
  }
}

void TcpStream::on_socket_error() {
  // What arrived before the connection broke still counts; reading it also tells how it broke. A socket buffer is
  // finite and a broken connection gets no more, so this ends.
  const LifeMark life(life_);
  int number = 0;
  while (reading_ && !ended_ && sink_ != nullptr) {
    char probe = 0;
    const ssize_t waiting = ::recv(fd_, &probe, 1, MSG_PEEK | MSG_DONTWAIT);
    if (waiting < 0) {
      if (errno != EAGAIN) number = errno;
      break;
    }
    on_readable();
    if (!(life.alive() && watch_)) return;
  }
  if (number == 0) number = take_socket_error(fd_);
  if (number != 0) {
    die(from_errno(number, "connection"));
  } else {
    watch();
  }
}

void TcpStream::on_writable() {
  if (write_queue_bytes() == 0) {
    const bool wanted = std::exchange(room_wanted_, false);
    watch();
    if (wanted && sink_ != nullptr) sink_->on_drained();
    return;
  }
  if (gate_ != nullptr && !gate_->may_write()) {
    cut();
    die(Error{Errc::kGateClosed, "queued bytes held back"});
    return;
  }
  const std::span<const std::byte> waiting = std::span(queue_).subspan(queue_head_);
  const auto sent = send_some(Buffers(&waiting, 1));
  if (!sent) {
    fail_later(sent.error());
    return;
  }
  queue_head_ += *sent;
  if (write_queue_bytes() == 0) after_queue_empty();
}

void TcpStream::after_queue_empty() {
  queue_head_ = 0;
  queue_.clear();
  if (queue_.capacity() > kQueueBytesKept) std::vector<std::byte>().swap(queue_);
  watch();
  if (shutdown_wanted_) ::shutdown(fd_, SHUT_WR);
  if (sink_ != nullptr) sink_->on_drained();
}

Result<void> TcpStream::write(Buffers buffers) {
  if (state_ == State::kDead || shutdown_wanted_) return fail(Errc::kClosed, "write to a closed connection");
  std::size_t total = 0;
  for (const auto& buffer : buffers) total += buffer.size();
  if (total > queue_bytes_max_ || write_queue_bytes() > queue_bytes_max_ - total) {
    return fail(Errc::kQueueFull, "write queue is full");
  }
  if (total == 0) return {};
  if (state_ == State::kConnecting || write_queue_bytes() > 0) {
    enqueue(buffers, 0);
    return {};
  }
  if (gate_ != nullptr && !gate_->may_write()) {
    cut();
    fail_later(Error{Errc::kGateClosed, "write held back"});
    return fail(Errc::kGateClosed, "write held back");
  }
  const auto sent = send_some(buffers);
  if (!sent) {
    fail_later(sent.error());
    return tl::unexpected(sent.error());
  }
  if (*sent < total) {
    enqueue(buffers, *sent);
    watch();
  }
  return {};
}

Result<std::size_t> TcpStream::write_some(Buffers buffers) {
  if (state_ == State::kDead || shutdown_wanted_) return fail(Errc::kClosed, "write to a closed connection");
  if (state_ == State::kConnecting) return 0;
  if (gate_ != nullptr && !gate_->may_write()) {
    cut();
    fail_later(Error{Errc::kGateClosed, "write held back"});
    return fail(Errc::kGateClosed, "write held back");
  }
  std::size_t total = 0;
  for (const auto& buffer : buffers) total += buffer.size();
  std::size_t taken = 0;
  if (write_queue_bytes() == 0) {
    const auto sent = send_some(buffers);
    if (!sent) {
      fail_later(sent.error());
      return tl::unexpected(sent.error());
    }
    taken = *sent;
  }
  if (taken < total) {
    room_wanted_ = true;
    watch();
  }
  return taken;
}

/// As much as the kernel takes now. @return bytes taken, 0 if its buffer is full.
Result<std::size_t> TcpStream::send_some(Buffers buffers) {
  std::size_t taken = 0;
  while (!buffers.empty()) {
    std::array<iovec, kGather> vectors;
    const std::size_t count = std::min(buffers.size(), kGather);
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < count; ++i) {
      // sendmsg reads only, iovec is merely not const-correct.
      vectors[i] = {const_cast<std::byte*>(buffers[i].data()), buffers[i].size()};
      wanted += buffers[i].size();
    }
    msghdr header{};
    header.msg_iov = vectors.data();
    header.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(fd_, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == ENOBUFS) return taken;
      if (taken > 0) return taken;  // these have left, whatever comes of the rest: the next call finds the failure again
      return tl::unexpected(from_errno(errno, "write"));
    }
    taken += static_cast<std::size_t>(sent);
    if (static_cast<std::size_t>(sent) < wanted) return taken;
    buffers = buffers.subspan(count);
  }
  return taken;
}

void TcpStream::enqueue(Buffers buffers, std::size_t skip) {
  if (queue_head_ > 0 && queue_head_ >= queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_head_));
    queue_head_ = 0;
  }
  for (const auto& buffer : buffers) {
    const std::size_t passed = std::min(skip, buffer.size());
    skip -= passed;
    queue_.insert(queue_.end(), buffer.begin() + static_cast<std::ptrdiff_t>(passed), buffer.end());
  }
}

void TcpStream::shutdown() {
  if (shutdown_wanted_ || state_ == State::kDead) return;
  shutdown_wanted_ = true;
  if (state_ == State::kOpen && write_queue_bytes() == 0) ::shutdown(fd_, SHUT_WR);
}

void TcpStream::reset_at_end() {
  const linger now{1, 0};
  if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/// RST on the wire, now; the object is left dead and silent.
void TcpStream::cut() {
  watch_.reset();
  connect_timer_.reset();
  state_ = State::kDead;
  queue_.clear();
  queue_head_ = 0;
  if (fd_ < 0) return;
  reset_at_end();
  ::close(fd_);
  fd_ = -1;
}

void TcpStream::reset() {
  cut();
  failure_.reset();
  deferred_.cancel();
}

/// From an event of the loop: tells the sink at once. Last statement of its caller.
void TcpStream::die(Error error) {
  watch_.reset();
  connect_timer_.reset();
  state_ = State::kDead;
  queue_.clear();
  queue_head_ = 0;
  deferred_.cancel();
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  if (sink_ == nullptr) {
    failure_ = std::make_unique<Error>(std::move(error));
    return;
  }
  StreamSink* const sink = sink_;
  failure_.reset();
  sink->on_error(error);
}

/// From inside a call of ours: the sink hears of it at the end of the turn.
void TcpStream::fail_later(Error error) {
  if (failure_) return;
  failure_ = std::make_unique<Error>(std::move(error));
  connect_timer_.reset();
  if (watch_) static_cast<void>(watch_->set(Watch::kNothing));
  if (state_ == State::kConnecting) reading_ = false;
  state_ = State::kDead;
  queue_.clear();
  queue_head_ = 0;
  deferred_.schedule();
}

void TcpStream::run_deferred() {
  if (!failure_) {
    if (state_ == State::kOpen && reading_ && sink_ != nullptr && !deliver_unread()) return;
    if (state_ == State::kOpen) watch();
    return;
  }
  if (sink_ == nullptr) return;
  // A failed write does not unsay what the other side had already sent (an early reply, then its close).
  const LifeMark life(life_);
  const std::span<std::byte> slab = loop_.cipher_slab();
  while (watch_ && fd_ >= 0 && reading_ && sink_ != nullptr) {
    if (!deliver_unread()) return;
    if (!reading_ || sink_ == nullptr) break;
    const ssize_t got = ::recv(fd_, slab.data(), slab.size(), MSG_DONTWAIT);
    if (got <= 0) break;
    sink_->on_read(slab.first(static_cast<std::size_t>(got)));
    if (!(life.alive() && watch_)) return;
  }
  if (failure_) {
    Error error = std::move(*failure_);
    die(std::move(error));
  }
}

void TcpStream::set_unanswered_max(Milliseconds limit) {
  const int on = 1;
  const int probes = 3;
  const int limit_ms = static_cast<int>(limit.count());
  const int seconds = static_cast<int>(std::max<std::int64_t>(1, (limit.count() + 999) / 1000));
  ::setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
  ::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

void TcpStream::unread(std::span<const std::byte> bytes) {
  unread_.insert(unread_.begin(), bytes.begin(), bytes.end());
  if (reading_ && !unread_.empty()) deferred_.schedule();
}

Result<DetachedStream> TcpStream::detach() {
  if (state_ == State::kDead) return fail(Errc::kClosed, "detach: the connection is closed");
  if (state_ != State::kOpen || write_queue_bytes() > 0 || shutdown_wanted_) {
    return fail(Errc::kInvalidArgument, "detach: not open yet, or bytes still wait to be written");
  }
  static_cast<void>(watch_->set(Watch::kNothing));  // the descriptor lives on
  watch_.reset();
  deferred_.cancel();
  state_ = State::kDead;
  return DetachedStream(std::exchange(fd_, -1), nullptr, std::move(unread_));
}

std::size_t TcpStream::unconfirmed_bytes() const {
  int in_kernel = 0;
  if (fd_ < 0 || ::ioctl(fd_, SIOCOUTQ, &in_kernel) != 0) in_kernel = 0;
  return write_queue_bytes() + static_cast<std::size_t>(in_kernel);
}

Address TcpStream::local_address() const { return name_of(fd_, ::getsockname); }
Address TcpStream::peer_address() const { return peer_.empty() ? name_of(fd_, ::getpeername) : peer_; }

}  // namespace agent::io
