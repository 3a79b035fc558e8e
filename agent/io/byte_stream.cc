#include "agent/io/byte_stream.h"

#include <unistd.h>

#include <utility>

#include "agent/io/tls_engine.h"

namespace agent::io {

DetachedStream::DetachedStream(int fd, std::unique_ptr<TlsEngine> tls, std::vector<std::byte> unread)
    : fd_(fd), tls_(std::move(tls)), unread_(std::move(unread)) {}

DetachedStream::DetachedStream() = default;

DetachedStream::~DetachedStream() {
  if (fd_ >= 0) ::close(fd_);
}

DetachedStream::DetachedStream(DetachedStream&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      tls_(std::move(other.tls_)),
      unread_(std::move(other.unread_)),
      plain_unread_(std::move(other.plain_unread_)) {}

DetachedStream& DetachedStream::operator=(DetachedStream&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = std::exchange(other.fd_, -1);
  tls_ = std::move(other.tls_);
  unread_ = std::move(other.unread_);
  plain_unread_ = std::move(other.plain_unread_);
  return *this;
}

}  // namespace agent::io
