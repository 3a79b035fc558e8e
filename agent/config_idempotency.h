#pragma once
/// Settings of orders under keys, as config.h has them.
#include <chrono>
#include <cstdint>
#include <string>

namespace agent {

/// [route.idempotency]: orders of this route are written down under a key before they are sent, and answered from there when
/// the key comes again. Needs pool = "primary".
struct IdempotencyConfig {
  std::string key = "header:Idempotency-Key";  ///< "header:NAME", "query:NAME", "json:/POINTER" (RFC 6901)
  bool required = true;                ///< an order without a key is refused (400); else it passes as on any other route
  std::chrono::milliseconds retention{86'400'000};  ///< how long an answer is kept at least; 1 min .. 366 days
  std::string zone;                    ///< routes of one zone share their keys; empty = this route alone
  std::uint64_t answer_bytes_max = 256 * 1024;  ///< head and body that are kept; 1 .. 256 KiB
  friend bool operator==(const IdempotencyConfig&, const IdempotencyConfig&) = default;
};

}  // namespace agent
