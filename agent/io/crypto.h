#pragma once
/// The few primitives that gossip sealing, tokens and bootstrap need. Thread: any; objects are not shared.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/error.h"

namespace agent::io {

inline constexpr std::size_t kAeadKeyBytes = 32;
inline constexpr std::size_t kAeadNonceBytes = 12;
inline constexpr std::size_t kAeadTagBytes = 16;
inline constexpr std::size_t kSha256Bytes = 32;
using Sha256 = std::array<std::byte, kSha256Bytes>;

/// AES-256-GCM under one key. Source: NIST SP 800-38D.
/// The caller guarantees that no nonce is used twice with a key (gossip: session key + counter).
/// Neither seal nor open allocates. Movable; the key schedule is wiped on destruction.
class Aes256Gcm {
 public:
  explicit Aes256Gcm(std::span<const std::byte, kAeadKeyBytes> key);
  ~Aes256Gcm();
  Aes256Gcm(Aes256Gcm&&) noexcept;
  Aes256Gcm& operator=(Aes256Gcm&&) noexcept;

  /// Writes ciphertext then tag. @param out exactly plain.size() + kAeadTagBytes; may start where `plain` starts
  /// (in place), no other overlap. Cannot fail.
  void seal(std::span<const std::byte, kAeadNonceBytes> nonce, std::span<const std::byte> associated,
            std::span<const std::byte> plain, std::span<std::byte> out);
  /// @param sealed ciphertext and tag.  @param out exactly sealed.size() - kAeadTagBytes; in place allowed.
  /// @return false, with `out` zeroed: the tag does not fit, or `sealed` is shorter than a tag.
  [[nodiscard]] bool open(std::span<const std::byte, kAeadNonceBytes> nonce, std::span<const std::byte> associated,
                          std::span<const std::byte> sealed, std::span<std::byte> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// HKDF with SHA-256 (RFC 5869). @param out 1..8160 bytes, filled.
void hkdf_sha256(std::span<const std::byte> salt, std::span<const std::byte> key, std::span<const std::byte> info,
                 std::span<std::byte> out);

[[nodiscard]] Sha256 sha256(std::span<const std::byte> bytes);

/// Bytes from the kernel's generator (getrandom). Never fails after boot; ends the process if the kernel has none.
void random_bytes(std::span<std::byte> out);
/// Even over [0, bound), bound >= 1, from random_bytes: the chance function of cores in production.
[[nodiscard]] std::uint64_t random_below(std::uint64_t bound);

/// RFC 4648 with padding. Errors of decode: kInvalidArgument (no position is told: it may be a key).
[[nodiscard]] std::string base64_encode(std::span<const std::byte> bytes);
Result<std::vector<std::byte>> base64_decode(std::string_view text);
[[nodiscard]] std::string hex_encode(std::span<const std::byte> bytes);  ///< lower case

/// Compares in time that depends on the length only.
[[nodiscard]] bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b);

}  // namespace agent::io
