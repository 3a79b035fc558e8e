#pragma once
/// Open descriptors from one process of this machine to another, with a text beside them.
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/error.h"
#include "agent/io/life_mark.h"
#include "agent/io/loop.h"
#include "agent/io/watch.h"

namespace agent::io {

/// A descriptor that is closed unless somebody takes it.
class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) : fd_(fd) {}
  ~OwnedFd();
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.take()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept;
  [[nodiscard]] int get() const { return fd_; }
  int take() { const int fd = fd_; fd_ = -1; return fd; }

 private:
  int fd_;
};

/// Messages over a unix socket of the kind that keeps their borders (SOCK_SEQPACKET).
/// Bounds: kTextBytesMax and kFdsMax per message; nothing queues here, a full kernel buffer is an error of send().
/// Ownership: destruction closes; both callbacks may destroy the channel. Thread: the loop's.
class FdChannel final : private WatchSink {
 public:
  static constexpr std::size_t kTextBytesMax = 32U << 10;
  static constexpr std::size_t kFdsMax = 128;  ///< the kernel takes 253
  using OnMessage = std::function<void(std::string_view text, std::vector<OwnedFd> fds)>;
  using OnEnd = std::function<void()>;

  /// Errors: kNotFound or kRefused (nobody listens there), kPermission, kInvalidArgument (a path over 107 bytes).
  static Result<std::unique_ptr<FdChannel>> connect(Loop& loop, const std::string& path);
  static std::unique_ptr<FdChannel> from_fd(Loop& loop, OwnedFd fd);
  ~FdChannel() override;
  /// Nothing is read before. @param on_end  once, last: the other side is gone, or has sent what no side of ours sends
  Result<void> listen_to(OnMessage on_message, OnEnd on_end);
  /// Errors: kTooLarge, kWouldBlock, kReset.
  Result<void> send(std::string_view text, const std::vector<int>& fds = {});

 private:
  FdChannel(Loop& loop, OwnedFd fd);
  void on_ready(Ready ready) override;
  bool receive();

  OwnedFd fd_;
  std::shared_ptr<OnMessage> on_message_;
  std::shared_ptr<OnEnd> on_end_;
  std::optional<Watch> watch_;
  Life life_;
};

/// Where such channels are opened: a path that only our own user can reach; others are turned away.
/// Ownership: destruction closes and removes the path. Thread: the loop's.
class FdDoor final : private WatchSink {
 public:
  /// A path that is there already is replaced: who opens a door holds the lock that goes with it.
  /// Errors: kInvalidArgument (a path over 107 bytes), kPermission, kNotFound, kLimit.
  static Result<std::unique_ptr<FdDoor>> open(Loop& loop, const std::string& path,
                                              std::function<void(std::unique_ptr<FdChannel>)> on_channel);
  ~FdDoor() override;

 private:
  FdDoor(Loop& loop, OwnedFd fd, std::string path, std::function<void(std::unique_ptr<FdChannel>)> on_channel);
  void on_ready(Ready ready) override;

  Loop& loop_;
  OwnedFd fd_;
  std::string path_;
  std::shared_ptr<std::function<void(std::unique_ptr<FdChannel>)>> on_channel_;
  std::optional<Watch> watch_;
};

}  // namespace agent::io
