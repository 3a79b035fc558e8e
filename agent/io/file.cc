#include "agent/io/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace agent::io {

namespace {

enum class Durability : std::uint8_t { kAtomicOnly, kOnDisk };

/// Closes on every way out; close_now() for the one place where close's own error matters.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool close_now() { return ::close(std::exchange(fd_, -1)) == 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> write_all(int fd, std::string_view content, const std::string& what) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return tl::unexpected(from_errno(errno, what));
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> write_temporary(const std::string& temporary, std::string_view content, std::uint32_t mode,
                             Durability durability) {
  const std::string what = "write " + temporary;
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (file.get() < 0) return tl::unexpected(from_errno(errno, what));
  if (::fchmod(file.get(), mode) != 0) return tl::unexpected(from_errno(errno, what));  // umask and left-overs
  if (auto written = write_all(file.get(), content, what); !written) return written;
  if (durability == Durability::kOnDisk && ::fsync(file.get()) != 0) return tl::unexpected(from_errno(errno, what));
  if (!file.close_now()) return tl::unexpected(from_errno(errno, what));
  return {};
}

Result<void> replace(const std::string& path, std::string_view content, std::uint32_t mode, Durability durability) {
  // One fixed name per process and path: a crash leaves at most one, and the next write takes it over.
  const std::string temporary = path + "." + std::to_string(::getpid()) + ".tmp";
  if (auto written = write_temporary(temporary, content, mode, durability); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int number = errno;
    ::unlink(temporary.c_str());
    return tl::unexpected(from_errno(number, "replace " + path));
  }
  if (durability == Durability::kAtomicOnly) return {};
  const Descriptor directory(::open(parent_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) {
    return tl::unexpected(from_errno(errno, "sync the directory of " + path));
  }
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  const std::string what = "read " + path;
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (file.get() < 0) return tl::unexpected(from_errno(errno, what));
  struct stat found{};
  if (::fstat(file.get(), &found) != 0) return tl::unexpected(from_errno(errno, what));
  // Whoever writes into it would say when the reading ends.
  if (S_ISFIFO(found.st_mode)) return fail(Errc::kInvalidArgument, what + ": it is no file but a pipe");
  std::string content;
  std::array<char, 16384> block;
  while (true) {
    const ssize_t got = ::read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return tl::unexpected(from_errno(errno, what));
    if (got == 0) return content;
    if (content.size() + static_cast<std::size_t>(got) > bytes_max) {
      return fail(Errc::kTooLarge, what + ": larger than " + std::to_string(bytes_max) + " bytes");
    }
    content.append(block.data(), static_cast<std::size_t>(got));
  }
}

Result<void> replace_file(const std::string& path, std::string_view content, std::uint32_t mode) {
  return replace(path, content, mode, Durability::kOnDisk);
}

Result<void> replace_file_fast(const std::string& path, std::string_view content, std::uint32_t mode) {
  return replace(path, content, mode, Durability::kAtomicOnly);
}

Result<void> make_directories(const std::string& path, std::uint32_t mode) {
  if (path.empty()) return fail(Errc::kInvalidArgument, "create directory: empty path");
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
      return tl::unexpected(from_errno(errno, "create directory " + parent));
    }
  }
  if (::mkdir(path.c_str(), mode) == 0) return {};
  const int number = errno;
  struct stat found{};
  if (number == EEXIST && ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) return {};
  return tl::unexpected(from_errno(number, "create directory " + path));
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return tl::unexpected(from_errno(errno, "remove " + path));
}

Result<std::unique_ptr<LockFile>> LockFile::acquire(const std::string& path) {
  const std::string what = "lock " + path;
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (file.get() < 0) return tl::unexpected(from_errno(errno, what));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return tl::unexpected(from_errno(errno, what));
    std::array<char, 32> holder{};
    const ssize_t got = ::pread(file.get(), holder.data(), holder.size() - 1, 0);
    std::string pid(holder.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!pid.empty() && pid.back() == '\n') pid.pop_back();
    return fail(Errc::kLocked, what + ": in use by process " + (pid.empty() ? "unknown" : pid));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), pid.data(), pid.size(), 0) < 0) {
    return tl::unexpected(from_errno(errno, what));
  }
  return std::unique_ptr<LockFile>(new LockFile(file.release()));
}

LockFile::~LockFile() { ::close(fd_); }

}  // namespace agent::io
