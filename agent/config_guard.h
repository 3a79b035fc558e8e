#pragma once
/// Settings of whom and what is left alone after failures, as config.h has them: endpoints, breakers, clients.
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace agent {

/// [route.breaker]: leaves an endpoint alone that keeps failing the route's requests.
struct BreakerConfig {
  std::uint32_t fail = 5;      ///< failures in a row; 1..10,000
  std::chrono::milliseconds window{10000};  ///< they must fall into this time
  std::chrono::milliseconds open{60000};    ///< how long nobody is let through; then one probe
  std::vector<std::string> on{"connect", "timeout", "reset", "5xx"};  ///< what counts as a failure
  friend bool operator==(const BreakerConfig&, const BreakerConfig&) = default;
};

/// [[breaker]]: one that programs beside the agent use for calls of their own, over the API.
struct NamedBreakerConfig {
  std::string name;            ///< 1..64 of [A-Za-z0-9._-]; no route with a breaker is named so
  std::uint32_t fail = 5;      ///< failures in a row; 1..10,000
  std::chrono::milliseconds window{60000};  ///< they must fall into this time; 10 ms .. 24 h
  std::chrono::milliseconds open{60000};    ///< how long nobody is let through; then one probe; 10 ms .. 24 h
  friend bool operator==(const NamedBreakerConfig&, const NamedBreakerConfig&) = default;
};

/// [outlier]: taking an endpoint out of rotation because of live traffic.
struct OutlierConfig {
  std::uint32_t consecutive = 5;           ///< failures in a row; 0 = off
  std::chrono::milliseconds window{10000}; ///< they must fall into this time; 100 ms .. 1 h
  std::chrono::milliseconds eject{5000};   ///< how long it stays out the first time, longer each time after; the same range
  std::uint32_t max_ejected_percent = 50;  ///< 0..100 of a pool's endpoints; the last one is never ejected
  friend bool operator==(const OutlierConfig&, const OutlierConfig&) = default;
};

/// [guard]: clients whose requests fail too often are kept out of everything that this cluster serves.
struct GuardConfig {
  std::uint32_t fails = 5;                     ///< 1..10,000 failures of one address ...
  std::chrono::milliseconds within{600'000};   ///< ... in this time, 1 s .. 24 h ...
  std::chrono::milliseconds ban{3'600'000};    ///< ... keep it out for so long, 1 s .. 30 days
  std::vector<int> statuses{401, 403};         ///< key `statuses`, ["401", "403"]: answers that count, 400..499; 1..16
  std::vector<std::string> never{"127.0.0.0/8", "::1"};  ///< IP or CIDR literals that are never banned; <= 64
  friend bool operator==(const GuardConfig&, const GuardConfig&) = default;
};

}  // namespace agent
