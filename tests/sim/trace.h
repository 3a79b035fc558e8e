#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/sim/scheduler.h"

namespace sim {

/// Everything that happened, as one running hash, and as text when somebody wants to read it.
/// Two runs of one seed must end with the same hash; that is the test that nothing outside the seed has leaked in.
/// Ownership: a value; writes to standard output when told to print.
class Trace {
 public:
  /// @param print  one line per event on standard output: time in ms, node, what, two numbers, text
  explicit Trace(bool print = false) : print_(print) {}

  /// @param node  whom it happened to; -1 for the world itself
  /// @param what  a fixed word
  /// @param text  for the reader only: printed, not part of the hash (so it need only be made while printing)
  void add(Nanos now, int node, std::string_view what, std::uint64_t a = 0, std::uint64_t b = 0,
           std::string_view text = {});

  [[nodiscard]] std::uint64_t hash() const { return hash_; }
  [[nodiscard]] bool printing() const { return print_; }  ///< is it worth making a long text for add()?
  [[nodiscard]] std::uint64_t events() const { return events_; }

 private:
  void mix(std::uint64_t word);
  void mix(std::string_view text);

  bool print_;
  std::uint64_t hash_ = 0x9e3779b97f4a7c15U;
  std::uint64_t events_ = 0;
};

/// 64-bit hash of some bytes, for comparing logs and states across nodes; not for hostile input.
std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed = 0);

}  // namespace sim
