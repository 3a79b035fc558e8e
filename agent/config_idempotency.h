#pragma once
/// Settings of orders under keys, and of orders to stop, as config.h has them.
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace agent {

/// [route.idempotency]: orders of this route are written down under a key before they are sent, and answered from there when
/// the key comes again. Needs pool = "primary".
struct IdempotencyConfig {
  std::string key = "header:Idempotency-Key";  ///< "header:NAME", "query:NAME", "json:/POINTER" (RFC 6901)
  bool required = true;                ///< an order without a key is refused (400); else it passes as on any other route
  std::chrono::milliseconds retention{86'400'000};  ///< how long an answer is kept at least; 1 min .. 366 days
  std::string zone = "orders";         ///< routes of one zone share their keys
  std::uint64_t answer_bytes_max = 256 * 1024;  ///< head and body that are kept; 1 .. 256 KiB
  std::string account_header{};        ///< of requests: whose order it is; empty = that of [halt]
  std::vector<int> unknown_statuses{500, 502, 504};  ///< ["500", "502", "504"]: answers that do not say what became of the order; 400..599, 0..16
  friend bool operator==(const IdempotencyConfig&, const IdempotencyConfig&) = default;
};

/// [halt]: how orders to stop are given and lifted.
struct HaltConfig {
  std::string account_header = "X-Account";  ///< of requests: what halts of an account go by, and whose orders are told apart
  bool second_person = false;                ///< one proposes to lift a halt, another one confirms it
  friend bool operator==(const HaltConfig&, const HaltConfig&) = default;
};

}  // namespace agent
