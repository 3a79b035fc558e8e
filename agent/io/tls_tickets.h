#pragma once
/// The keys that seal session tickets (RFC 5077; RFC 8446, section 4.6.1), shared by contexts, workers and reloads.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "agent/io/error.h"

namespace agent::io {

/// Two keys: the newest seals and opens, the one before it only opens. A new one takes over by itself once the newest
/// has served for its lifetime, so a stolen key tells about two lifetimes at most; none of them is ever written down.
/// Ownership: shared by the contexts that use it. Thread: any.
class TlsTickets {
 public:
  /// @param lifetime  1 s .. 7 days (RFC 8446's bound); also how long a ticket says that it is good.
  /// Errors: kInvalidArgument; kTlsProtocol (the library).
  static Result<std::shared_ptr<TlsTickets>> create(std::chrono::seconds lifetime);
  ~TlsTickets();
  TlsTickets(const TlsTickets&) = delete;
  TlsTickets& operator=(const TlsTickets&) = delete;

  /// A new key takes over now. Twice in a row makes every ticket that is out worthless.
  void rotate();
  [[nodiscard]] std::chrono::seconds lifetime() const { return lifetime_; }

  struct Counters {
    std::atomic<std::uint64_t> issued{0};    ///< tickets made
    std::atomic<std::uint64_t> accepted{0};  ///< handshakes shortened by one
    std::atomic<std::uint64_t> refused{0};   ///< unreadable, too old, sealed by a key that is gone: a full handshake then
  };
  [[nodiscard]] Counters& counters() { return counters_; }

  struct Impl;  ///< the library's; only tls_BACKEND_*.cc see it
  [[nodiscard]] Impl& impl() const { return *impl_; }

 private:
  explicit TlsTickets(std::chrono::seconds lifetime);
  std::chrono::seconds lifetime_;
  Counters counters_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent::io
