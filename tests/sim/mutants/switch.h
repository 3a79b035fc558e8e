#pragma once

#include <cstdint>

/// Which rule of the product is broken in this process. Only the changed copies of sources that apply.py writes look
/// here: where a mutant's text says MUTANT, the copy asks whether that mutant is on. The product knows nothing of it.
namespace sim_mutant {

extern std::uint64_t active;  ///< hash_of(name of the mutant); 0 = none (main.cc: --mutant=NAME)

[[nodiscard]] inline bool on(std::uint64_t name_hash) { return active == name_hash; }

/// FNV-1a of 64 bits, as apply.py computes it: adding a mutant renumbers no other, so nothing else is compiled anew.
[[nodiscard]] constexpr std::uint64_t hash_of(const char* name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (; *name != '\0'; ++name) hash = (hash ^ static_cast<unsigned char>(*name)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace sim_mutant
