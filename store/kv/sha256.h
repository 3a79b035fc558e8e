#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace store::kv {

/// A digest of 256 bits.
using Digest = std::array<std::uint8_t, 32>;

/// SHA-256. Source: FIPS 180-4, section 6.2. Part of the replicated rules (the chain of the audit), so the store carries its own:
/// it needs nothing but the standard library, and gives the same on every replica. Not for secrets: its time is not constant.
[[nodiscard]] Digest sha256(std::string_view bytes);
[[nodiscard]] std::string hex(const Digest& digest);  ///< 64 lower-case digits

}  // namespace store::kv
