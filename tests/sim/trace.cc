#include "tests/sim/trace.h"

#include <bit>
#include <cstdio>
#include <cstring>

namespace sim {
namespace {

constexpr std::uint64_t kOdd = 0x9fb21c651e98df25U;

std::uint64_t stir(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * kOdd;
  return hash ^ std::rotl(hash, 29);
}

}  // namespace

std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed) {
  std::uint64_t hash = stir(stir(kOdd, bytes.size()), seed);
  while (bytes.size() >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    hash = stir(hash, word);
    bytes.remove_prefix(8);
  }
  std::uint64_t tail = 0;
  if (!bytes.empty()) {
    std::memcpy(&tail, bytes.data(), bytes.size());
  }
  return stir(stir(hash, tail), 0x2545f4914f6cdd1dU);
}

void Trace::mix(std::uint64_t word) { hash_ = stir(hash_, word); }
void Trace::mix(std::string_view text) { mix(hash_bytes(text)); }

void Trace::add(Nanos now, int node, std::string_view what, std::uint64_t a, std::uint64_t b, std::string_view text) {
  ++events_;
  mix(static_cast<std::uint64_t>(now));
  mix(static_cast<std::uint64_t>(node));
  mix(what);
  mix(a);
  mix(b);
  if (print_) {
    std::printf("%12.6f n%-2d %-16.*s %llu %llu %.*s\n", static_cast<double>(now) / 1e6, node,
                static_cast<int>(what.size()), what.data(), static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b), static_cast<int>(text.size()), text.data());
  }
}

}  // namespace sim
