#include "agent/io/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace agent::io {
namespace {

tl::unexpected<Error> failed(const std::string& what, int number) {
  Errc code = Errc::kIo;
  if (number == ENOSPC || number == EDQUOT) code = Errc::kDiskFull;
  if (number == ENOENT) code = Errc::kNotFound;
  if (number == EACCES || number == EROFS || number == EPERM) code = Errc::kPermission;
  return fail(code, what + ": " + std::strerror(number));
}

}  // namespace

Result<std::shared_ptr<Spool>> Spool::create(const std::string& directory) {
  std::string name = directory + "/spool-XXXXXX";
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return failed(directory, errno);
  unlink(name.c_str());
  return std::shared_ptr<Spool>(new Spool(fd));
}

Spool::~Spool() { close(fd_); }

Result<void> Spool::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("a file on its way", errno);
    size_ += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<std::size_t> Spool::read(std::uint64_t offset, std::span<std::byte> into) const {
  std::size_t total = 0;
  while (total < into.size()) {
    const ssize_t count = pread(fd_, into.data() + total, into.size() - total, static_cast<off_t>(offset + total));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("a file on its way", errno);
    if (count == 0) break;
    total += static_cast<std::size_t>(count);
  }
  return total;
}

}  // namespace agent::io
