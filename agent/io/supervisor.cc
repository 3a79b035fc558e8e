#include "agent/io/supervisor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "agent/io/listen_socket.h"

namespace agent::io {
namespace {

constexpr int kFirstActivated = 3;  // SD_LISTEN_FDS_START

/// A number in a variable; -1 when it is not set or none.
int number_in(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return -1;
  const std::string_view text = value;
  int number = -1;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && stop == text.data() + text.size() ? number : -1;
}

}  // namespace

void tell_supervisor(const std::string& text) {
  const char* place = std::getenv("NOTIFY_SOCKET");
  if (place == nullptr || (place[0] != '/' && place[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(place);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, place, length);
  if (place[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  static_cast<void>(::sendto(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&address), size));
  ::close(fd);
}

Result<int> take_activated_sockets() {
  const bool meant = number_in("LISTEN_PID") == static_cast<int>(::getpid());
  const int count = meant ? number_in("LISTEN_FDS") : 0;
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  if (count < 0 || count > static_cast<int>(SocketShelf::kSocketsMax))
    return fail(Errc::kInvalidArgument, "LISTEN_FDS is no number of sockets from 0 to " + std::to_string(SocketShelf::kSocketsMax));
  if (auto left = SocketShelf::here().leave_activated(kFirstActivated, count); !left) return tl::unexpected(left.error());
  return count;
}

Result<DetachedProgram> start_detached(Loop& loop, const std::vector<std::string>& argv) {
  if (argv.empty()) return fail(Errc::kInvalidArgument, "no program to start");
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));  // libuv copies them
  words.push_back(nullptr);
  std::array<uv_stdio_container_t, 3> streams{};
  for (int fd = 0; fd < 3; ++fd) {
    streams[static_cast<std::size_t>(fd)].flags = UV_INHERIT_FD;
    streams[static_cast<std::size_t>(fd)].data.fd = fd;
  }
  uv_process_options_t options{};
  options.file = words[0];
  options.args = words.data();
  options.flags = UV_PROCESS_DETACHED;
  options.stdio_count = 3;
  options.stdio = streams.data();
  DetachedProgram started{Handle<uv_process_s>(new uv_process_t{}), -1};
  if (const int status = uv_spawn(loop.raw(), started.handle.get(), &options); status != 0) {
    return tl::unexpected(from_uv(status, "start " + argv[0]));
  }
  uv_unref(reinterpret_cast<uv_handle_t*>(started.handle.get()));  // nobody waits for its end
  started.pid = started.handle->pid;
  return started;
}

std::string own_program() {
  std::error_code code;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", code);
  return code ? std::string() : path.string();
}

}  // namespace agent::io
