#include "agent/io/watch.h"

#include <sys/epoll.h>

#include <cerrno>

#include "agent/io/loop.h"

namespace agent::io {

Watch::Watch(Loop& loop, int fd, WatchSink* sink) : loop_(loop), sink_(sink), fd_(fd), slot_(loop.take_slot(*this)) {}

Watch::~Watch() { loop_.free_slot(*this); }

Result<void> Watch::set(std::uint32_t interest) {
  if (interest == interest_) return {};
  const int what = interest == kNothing ? EPOLL_CTL_DEL : added_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  epoll_event event{};
  if ((interest & kReadable) != 0) event.events |= EPOLLIN;
  if ((interest & kWritable) != 0) event.events |= EPOLLOUT;
  event.data.u64 = loop_.token_of(*this);
  loop_.note_interest(interest_ != kNothing, interest != kNothing);
  interest_ = interest;
  added_ = interest != kNothing;
  if (::epoll_ctl(loop_.epoll_, what, fd_, &event) == 0) return {};
  const int number = errno;
  loop_.note_interest(interest_ != kNothing, false);
  interest_ = kNothing;
  added_ = false;
  return tl::unexpected(from_errno(number, "watch a descriptor"));
}

}  // namespace agent::io
