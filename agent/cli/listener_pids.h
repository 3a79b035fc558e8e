#pragma once
#include <string>
#include <sys/types.h>
#include <vector>

/// Which processes of this machine listen on an address: for drills that end the instance. Private to cli.
namespace agent::cli {

/// @param address  "127.0.0.1:9001" or "[::1]:9001"; a listener on all addresses of the machine counts as well
/// @return processes that have the listening socket open, as far as this user may see; parents of pre-forked workers among them
/// Source: proc(5), /proc/net/tcp and tcp6 (state 0A is LISTEN), /proc/PID/fd.
[[nodiscard]] std::vector<pid_t> listener_pids(const std::string& address);
/// The command line of a process, with blanks between its words; empty when it is gone.
[[nodiscard]] std::string command_of(pid_t pid);

}  // namespace agent::cli
