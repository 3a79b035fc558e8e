#include "agent/io/line_sink.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include "agent/io/clock.h"

namespace agent::io {
namespace {

std::size_t lines_in(std::string_view text) { return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')); }

class LogFile final : public LineSink {
 public:
  explicit LogFile(LogFileOptions options) : options_(std::move(options)) {}
  ~LogFile() override { shut(); }

  Result<void> open() {
    shut();
    const int fd = ::open(options_.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
    if (fd < 0) return tl::unexpected(from_errno(errno, "open " + options_.path));
    struct stat is {};
    if (::fstat(fd, &is) != 0 || !S_ISREG(is.st_mode)) {
      ::close(fd);
      return fail(Errc::kInvalidArgument, options_.path + " is not a regular file");
    }
    fd_ = fd;
    size_ = static_cast<std::uint64_t>(is.st_size);
    device_ = is.st_dev;
    inode_ = is.st_ino;
    return {};
  }

  LinesWritten write(std::string_view lines) override {
    if (fd_ >= 0 && was_moved()) shut();
    if (fd_ >= 0 && size_ > 0 && size_ + lines.size() > options_.bytes_max) rotate();
    if (fd_ < 0) {
      if (auto opened = open(); !opened) return {0, opened.error()};
    }
    std::size_t done = 0;
    while (done < lines.size()) {
      const ssize_t count = ::write(fd_, lines.data() + done, lines.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        const int code = errno;
        return give_up(lines, done, code);
      }
      done += static_cast<std::size_t>(count);
    }
    size_ += done;
    return {lines_in(lines)};
  }

  void reopen() override { shut(); }
  [[nodiscard]] std::uint64_t rotations() const override { return rotations_; }

 private:
  void shut() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  [[nodiscard]] bool was_moved() const {
    struct stat is {};
    return ::stat(options_.path.c_str(), &is) != 0 || is.st_ino != inode_ || is.st_dev != device_;
  }

  // Half a line in a log would make the next one unreadable too.
  LinesWritten give_up(std::string_view lines, std::size_t done, int code) {
    const std::size_t whole = done == 0 ? 0 : lines.rfind('\n', done - 1);
    const std::size_t kept = done == 0 || whole == std::string_view::npos ? 0 : whole + 1;
    if (kept < done && ::ftruncate(fd_, static_cast<off_t>(size_ + kept)) != 0) shut();
    size_ += kept;
    return {lines_in(lines.substr(0, kept)), from_errno(code, "write " + options_.path)};
  }

  void rotate() {
    ++rotations_;
    if (options_.files_max <= 1) {
      if (::ftruncate(fd_, 0) == 0) size_ = 0;
      return;
    }
    for (std::uint32_t i = options_.files_max - 1; i >= 1; --i) {
      const std::string from = i == 1 ? options_.path : options_.path + "." + std::to_string(i - 1);
      // One that is not there yet is no fault; one that cannot be moved shows as a file that grows.
      (void)std::rename(from.c_str(), (options_.path + "." + std::to_string(i)).c_str());
    }
    shut();
  }

  LogFileOptions options_;
  int fd_ = -1;
  std::uint64_t size_ = 0, rotations_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

class StandardOutput final : public LineSink {
 public:
  explicit StandardOutput(int patience_ms) : patience_ms_(patience_ms) {}

  LinesWritten write(std::string_view lines) override {
    LinesWritten written;
    while (!lines.empty()) {
      // A pipe that is writable takes this much without waiting (PIPE_BUF), so a reader that stands still stops nobody.
      const std::size_t limit = std::min<std::size_t>(lines.size(), 4096);
      std::size_t piece = lines.rfind('\n', limit - 1);
      piece = piece == std::string_view::npos ? lines.find('\n') + 1 : piece + 1;
      if (const int code = put(lines.substr(0, piece)); code != 0) {
        written.error = from_errno(code, "write to the standard output");
        return written;
      }
      written.lines += lines_in(lines.substr(0, piece));
      lines.remove_prefix(piece);
    }
    return written;
  }

 private:
  int put(std::string_view text) const {
    while (!text.empty()) {
      pollfd ready{STDOUT_FILENO, POLLOUT, 0};
      const int polled = ::poll(&ready, 1, patience_ms_);
      if (polled < 0 && errno == EINTR) continue;
      if (polled <= 0) return polled < 0 ? errno : EAGAIN;
      const ssize_t count = ::write(STDOUT_FILENO, text.data(), std::min<std::size_t>(text.size(), 4096));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return errno;
      text.remove_prefix(static_cast<std::size_t>(count));
    }
    return 0;
  }
  int patience_ms_;
};

class Syslog final : public LineSink {
 public:
  Syslog(Address to, std::string host, std::string app) : to_(to), host_(std::move(host)), app_(std::move(app)) {}
  ~Syslog() override { shut(); }

  LinesWritten write(std::string_view lines) override {
    LinesWritten written;
    while (!lines.empty()) {
      const std::size_t end = std::min(lines.find('\n'), lines.size() - 1);
      if (const int code = put(lines.substr(0, end)); code == 0) {
        ++written.lines;
      } else {
        written.error = from_errno(code, "send to syslog at " + to_.to_string());
      }
      lines.remove_prefix(end + 1);
    }
    return written;
  }
  void reopen() override { shut(); }

 private:
  void shut() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  int connect() {
    fd_ = ::socket(to_.raw()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd_ < 0) return errno;
    if (::connect(fd_, to_.raw(), to_.raw_length()) == 0) return 0;
    const int code = errno;
    shut();
    return code;
  }

  int put(std::string_view line) {
    if (fd_ < 0) {
      if (const int code = connect(); code != 0) return code;
    }
    message_.clear();
    append_header();
    message_ += line;
    if (::send(fd_, message_.data(), message_.size(), MSG_NOSIGNAL) >= 0) return 0;
    const int code = errno;
    if (code != EAGAIN && code != EMSGSIZE) shut();
    return code;
  }

  // RFC 5424, section 6.2: PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID, no structured data.
  void append_header() {
    const std::int64_t now = wall_ms();
    const std::time_t seconds = now / 1000;
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[40];
    const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    message_ += "<134>1 ";
    message_.append(text, size);
    std::snprintf(text, sizeof text, ".%03dZ ", static_cast<int>(now % 1000));
    message_ += text + host_ + " " + app_ + " " + std::to_string(::getpid()) + " access - ";
  }

  Address to_;
  std::string host_, app_, message_;
  int fd_ = -1;
};

}  // namespace

Result<std::unique_ptr<LineSink>> open_log_file(LogFileOptions options) {
  auto file = std::make_unique<LogFile>(std::move(options));
  if (auto opened = file->open(); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<LineSink>(std::move(file));
}

std::unique_ptr<LineSink> standard_output_sink(int patience_ms) { return std::make_unique<StandardOutput>(patience_ms); }

std::unique_ptr<LineSink> syslog_sink(Address to, std::string host, std::string app) {
  return std::make_unique<Syslog>(to, std::move(host), std::move(app));
}

}  // namespace agent::io
