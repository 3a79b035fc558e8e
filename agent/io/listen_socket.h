#pragma once
/// Bound sockets as things of their own: opened here, or brought along from a predecessor or the service manager.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/address.h"
#include "agent/io/error.h"

namespace agent::io {

enum class SocketKind : std::uint8_t {
  kStream,    ///< listens: TCP or a unix path
  kDatagram,  ///< UDP
};

/// Sockets that outlive the process that opened them: what a predecessor or the service manager (LISTEN_FDS) has left
/// for this thread to take, and what this thread has open for a successor.
///
/// Why passing the sockets themselves: a listening socket holds the connections that nobody has accepted yet. Closing
/// one resets them, also with SO_REUSEPORT, whose queues are one per socket. A socket that two processes hold loses none.
/// Names: the kind and the address as it was asked for, so that a port 0 is found again by its own settings.
/// Bound: kSocketsMax each way. Thread: one shelf per thread; the agent's is the control loop's.
class SocketShelf {
 public:
  static constexpr std::size_t kSocketsMax = 4096;
  struct Entry {
    std::string name;
    int fd = -1;
  };
  static SocketShelf& here();
  static std::string name_of(SocketKind kind, const Address& asked);

  /// Puts a socket there to be taken; the shelf owns it. Errors: kLimit (then it is closed).
  Result<void> leave(std::string name, int fd);
  /// Puts what the service manager has opened there: `count` descriptors from `first` on, named by their own addresses.
  /// Errors: kInvalidArgument, naming the descriptor that is no bound socket.
  Result<void> leave_activated(int first, int count);
  /// @return the descriptor, non-blocking and close-on-exec, now the caller's; -1 = none of that name is left.
  int take(const std::string& name);
  [[nodiscard]] bool has(const std::string& name) const;
  /// Closes what nobody has taken. @return the names
  std::vector<std::string> clear_left();

  /// What this thread has open now, as borrowed descriptors.
  [[nodiscard]] const std::vector<Entry>& open() const { return open_; }
  void note_open(std::string name, int fd);
  void note_closed(int fd);
  /// A successor has them all: unix paths stay when their sockets are closed here.
  void renounce(bool yes) { renounced_ = yes; }
  [[nodiscard]] bool renounced() const { return renounced_; }

 private:
  std::vector<Entry> left_, open_;
  bool renounced_ = false;
};

/// How a listening socket is opened.
struct ListenOptions {
  bool reuse_port = false;        ///< SO_REUSEPORT: the kernel spreads connections over several such sockets
  bool defer_accept = false;      ///< TCP_DEFER_ACCEPT: accept only when the first bytes are there
  int backlog = 1024;             ///< capped by net.core.somaxconn
  std::uint32_t unix_mode = 0600; ///< permissions of a unix path
};

/// One listening socket, taken from the shelf where one of that name is left there, else opened.
/// Ownership: destruction closes it and removes its own unix path (not after SocketShelf::renounce).
/// Thread: opened and destroyed on one; the descriptor may be accepted from on any.
class ListenSocket {
 public:
  /// @param local port 0 takes a free one (see local_address). A unix path left over by a dead process is replaced;
  /// one that somebody listens on is kAddressInUse. Other errors: kAddressMissing, kPermission, kLimit, kNotFound.
  /// @param asked  the address in its name, where `local` has the port of a brother already; empty = `local`
  static Result<std::unique_ptr<ListenSocket>> open(const Address& local, const ListenOptions& options, const Address& asked = {});
  /// Whether an IP address is free for somebody who will share it with nobody else: what SO_REUSEPORT would not tell.
  /// @return the address with its port. Errors: as open().
  static Result<Address> probe(const Address& local);
  ~ListenSocket();
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const Address& local_address() const { return local_; }  ///< with the real port
  [[nodiscard]] bool inherited() const { return inherited_; }            ///< it was on the shelf

 private:
  ListenSocket() = default;
  Result<void> open_new(const Address& local, const ListenOptions& options);

  int fd_ = -1;
  bool inherited_ = false;
  std::uint64_t unix_inode_ = 0;  // of the path we made; a later one at the same place is not ours
  Address local_;
};

}  // namespace agent::io
