#pragma once
/// Where lines of a log go: a file that rotates, the standard output, syslog. Blocking calls, for a thread of their own.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/io/address.h"
#include "agent/io/error.h"

namespace agent::io {

/// What became of lines: those not in `lines` are lost, and `error` says why.
struct LinesWritten {
  std::size_t lines = 0;
  std::optional<Error> error{};
};

/// Ownership: of the thread that writes. Thread: that one, for every call.
class LineSink {
 public:
  LineSink() = default;
  virtual ~LineSink() = default;
  LineSink(const LineSink&) = delete;
  LineSink& operator=(const LineSink&) = delete;
  /// @param lines  whole ones, each with its line feed
  virtual LinesWritten write(std::string_view lines) = 0;
  /// Opens anew what has a name: it may be another file by now.
  virtual void reopen() {}
  [[nodiscard]] virtual std::uint64_t rotations() const { return 0; }
};

struct LogFileOptions {
  std::string path;
  std::uint64_t bytes_max = 10'000'000;  ///< of one file; a longer write makes a longer file
  std::uint32_t files_max = 10;          ///< PATH, PATH.1 (the newest), ... PATH.(files_max - 1); 1 = PATH is emptied when full
};
/// Appends to a regular file, mode 0640. A file that was moved or removed meanwhile is made anew by the next write, so
/// logrotate needs neither copytruncate nor a signal. A write that fails in the middle takes its piece of a line back.
/// Errors: kNotFound (directory), kPermission, kInvalidArgument (no regular file), kDiskFull, kIo.
Result<std::unique_ptr<LineSink>> open_log_file(LogFileOptions options);

/// Writes to the standard output. A reader that takes nothing for `patience_ms` loses the lines of that write.
std::unique_ptr<LineSink> standard_output_sink(int patience_ms = 200);

/// One datagram per line: RFC 5424, facility local0, severity informational, to UDP or a unix datagram socket.
/// What nobody takes is lost; the socket is made anew by the next write after an error.
/// @param host  HOSTNAME of the header, printable and without blanks  @param app  APP-NAME, the same
std::unique_ptr<LineSink> syslog_sink(Address to, std::string host, std::string app);

}  // namespace agent::io
