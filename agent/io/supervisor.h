#pragma once
/// What a service manager and an agent tell each other, and processes that outlive the one that starts them.
#include <string>
#include <vector>

#include "agent/io/error.h"
#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace agent::io {

/// One datagram in systemd's protocol ("READY=1", "MAINPID=7\nREADY=1") to the socket that NOTIFY_SOCKET names.
/// Without such a variable, or when nobody hears it, nothing happens: it is a courtesy.
void tell_supervisor(const std::string& text);

/// Puts the sockets that were opened for this process (LISTEN_PID, LISTEN_FDS; sd_listen_fds) on this thread's
/// SocketShelf, and takes the variables out of the environment, since they are not meant for our own children.
/// @return how many. Errors: kInvalidArgument, naming the variable or the descriptor.
Result<int> take_activated_sockets();

/// A program that is not ended with us. Destroying this only forgets it.
struct DetachedProgram {
  Handle<uv_process_s> handle;
  int pid = -1;
};
/// Starts a program in a session of its own, with our environment and our standard streams.
/// Errors: kInvalidArgument (no words), kNotFound, kPermission, kLimit.
Result<DetachedProgram> start_detached(Loop& loop, const std::vector<std::string>& argv);

/// Absolute path of the file that this process was started from, as it is called now; empty if it cannot be known.
/// To be asked at the start: a file that is replaced later keeps its name in the answer.
std::string own_program();

}  // namespace agent::io
