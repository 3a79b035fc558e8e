#include "agent/pid_file.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "agent/io/file.h"

namespace agent {
namespace {

constexpr std::size_t kBytesMax = 64;  // a pid and blanks around it

std::string own_text() { return std::to_string(::getpid()) + "\n"; }

/// Digits and blanks, or nothing at all: what a process may have written there, whole or not.
bool looks_like_a_pid(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || c == ' ' || c == '\n' || c == '\r'; });
}

}  // namespace

io::Result<std::unique_ptr<PidFile>> PidFile::write(std::string path) {
  const auto fail = [&path](io::Error error) {
    error.detail = "pid file: " + error.detail + "; give node.pid_file (--pid-file) a path that this user may write, or leave it out";
    return tl::make_unexpected(std::move(error));
  };
  const auto present = io::read_file(path, kBytesMax);
  const bool foreign = present ? !looks_like_a_pid(*present) : present.error().code == io::Errc::kTooLarge;
  if (foreign) return fail({io::Errc::kExists, path + " is there and holds something else than a process id"});
  if (!present && present.error().code != io::Errc::kNotFound && present.error().code != io::Errc::kPermission) return fail(present.error());
  if (auto written = io::replace_file_fast(path, own_text()); !written) return fail(written.error());
  return std::unique_ptr<PidFile>(new PidFile(std::move(path)));
}

PidFile::~PidFile() {
  const auto present = io::read_file(path_, kBytesMax);
  // Nobody is left to be told that it could not be removed; the next start writes over it.
  if (present && *present == own_text()) static_cast<void>(io::remove_file(path_));
}

}  // namespace agent
