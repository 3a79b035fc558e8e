#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace gossip {

/// Names a cluster key in the packet header, so that one decryption is tried and not one per key. 0 = plaintext.
enum class KeyId : std::uint16_t {};
/// One sender process under one key: 64 random bits drawn at its start and at every 2^32 packets.
enum class SessionId : std::uint64_t {};

inline constexpr std::size_t kSealTagBytes = 16;

/// AES-256-GCM under the key of one session. Not shared between sessions; used from the core's thread only.
/// The nonce is the packet counter: 4 zero bytes, then the counter big-endian. The core never repeats a counter
/// under one session key, and never goes past 2^32 packets.
class SessionCipher {
 public:
  virtual ~SessionCipher() = default;
  /// Encrypts in place and writes the tag. Cannot fail for inputs <= 64 KiB.
  /// @param text  plaintext in, ciphertext out, same length. @param tag  exactly kSealTagBytes, written.
  virtual void seal(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
                    std::span<std::byte> tag) = 0;
  /// Decrypts in place. @return false if the tag does not fit; `text` is then worthless and must not be read.
  virtual bool open(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
                    std::span<const std::byte> tag) = 0;
};

/// The keyring and key derivation, implemented by the host (agent/io over mbedTLS; a toy in tests).
/// Ownership: outlives the core; the core only borrows it.
class Aead {
 public:
  virtual ~Aead() = default;
  /// The key we seal with now; never KeyId{0}. It may change between calls: the core then starts a new session.
  [[nodiscard]] virtual KeyId sending_key() const = 0;
  /// Session key = HKDF-SHA-256(secret = cluster key, salt = none, info = "outrigger-gossip-1" ‖ session as 8
  /// bytes big-endian ‖ label). @param label  Config::cluster. @return null when the key id is not in the keyring.
  [[nodiscard]] virtual std::unique_ptr<SessionCipher> derive(KeyId key, SessionId session, std::string_view label) = 0;
};

}  // namespace gossip
