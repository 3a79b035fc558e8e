#pragma once
/// gossip::Aead over the primitives of agent/io: AES-256-GCM, session keys by HKDF-SHA-256.

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "agent/io/crypto.h"
#include "gossip/seal.h"

namespace agent::drivers {

/// A keyring with one key. Its id is the head of the key's SHA-256, so that agents with the same key agree on it
/// without configuration and a packet under another key is told apart at once; never 0.
/// Ownership: outlives the Swim that borrows it. The key is wiped on destruction.
class GossipKeyring final : public gossip::Aead {
 public:
  explicit GossipKeyring(std::span<const std::byte, io::kAeadKeyBytes> key);
  ~GossipKeyring() override;
  GossipKeyring(const GossipKeyring&) = delete;
  GossipKeyring& operator=(const GossipKeyring&) = delete;

  [[nodiscard]] gossip::KeyId sending_key() const override { return id_; }
  [[nodiscard]] std::unique_ptr<gossip::SessionCipher> derive(gossip::KeyId key, gossip::SessionId session,
                                                              std::string_view label) override;

 private:
  std::array<std::byte, io::kAeadKeyBytes> key_;
  gossip::KeyId id_;
};

}  // namespace agent::drivers
