#pragma once
/// A key pair of one agent: what it signs, others can show to anybody. ECDSA over P-256 with SHA-256.
/// Source: FIPS 186-5 (ECDSA), RFC 6979 (the nonce follows from key and bytes: no bad random source can give the key away),
///         SEC 1, 2.3.3 (public keys as 65 bytes, uncompressed). mbedTLS's in both TLS builds.
/// Thread: any; an object is not shared. A signature takes some 0.3 ms, a check some 1.0 ms.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "agent/io/error.h"

namespace agent::io {

using SigningPublic = std::array<std::uint8_t, 65>;
using Signature = std::array<std::uint8_t, 64>;  ///< r and s, 32 bytes each, big-endian

class SigningKey {
 public:
  /// Errors: kCertificate (the library has none to give).
  static Result<SigningKey> create();
  /// Errors: kCertificate: no PEM, no private key on P-256. The detail holds no key material.
  static Result<SigningKey> from_pem(std::string_view pem);
  /// Reads the file, or makes a key and writes it durably with mode 0600.
  /// Errors: kCertificate (damaged: says what to do), kPermission, kDiskFull, kIo.
  static Result<SigningKey> load_or_create(const std::string& path);
  ~SigningKey();
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;

  [[nodiscard]] std::string pem() const;
  [[nodiscard]] const SigningPublic& public_key() const;
  [[nodiscard]] bool fresh() const;  ///< load_or_create() has made it just now
  /// Cannot fail for a key that was made or read.
  [[nodiscard]] Signature sign(std::string_view bytes) const;

 private:
  struct Impl;
  explicit SigningKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Takes any bytes. @return false: no point of the curve, or not signed by it.
[[nodiscard]] bool is_signed_by(const SigningPublic& key, std::string_view bytes, const Signature& signature);

}  // namespace agent::io
