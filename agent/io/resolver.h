#pragma once
/// Host names to addresses, off the loop.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/io/address.h"
#include "agent/io/loop.h"

namespace agent::io {

/// One running look-up (getaddrinfo in libuv's thread pool). Destroying it before the answer means no callback; the
/// pool's thread ends by itself, and the loop's close waits for it.
class Resolution {
 public:
  /// At most 64 addresses, in the system's order, without doubles. Errors: kNotFound (no such name), kTimedOut
  /// (name server silent), kIo.
  using OnResolved = std::function<void(Result<std::vector<Address>>)>;

  ~Resolution();
  Resolution(const Resolution&) = delete;
  Resolution& operator=(const Resolution&) = delete;

 private:
  friend std::unique_ptr<Resolution> resolve(Loop&, const std::string&, std::uint16_t, OnResolved);
  struct Request;
  explicit Resolution(Request* request) : request_(request) {}
  Request* request_;  // owned by the loop until its callback; null afterwards
};

/// @param host  name or numeric address (numbers skip the pool but still answer in a later turn).
/// @param on_resolved called once, never inside this call; may destroy the Resolution.
std::unique_ptr<Resolution> resolve(Loop& loop, const std::string& host, std::uint16_t port,
                                    Resolution::OnResolved on_resolved);

}  // namespace agent::io
