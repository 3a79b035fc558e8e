#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include "gossip/seal.h"

namespace support {

/// Keyring and sealing for tests: quick, repeatable and worthless as cryptography, but true to the contract of
/// gossip::Aead: bytes sealed under another key, label, session, counter or header do not open, nor do altered ones.
/// Ownership: outlives the cores that borrow it; may be shared by all nodes of one test.
class ToyAead : public gossip::Aead {
 public:
  /// A keyring of one key. @param secret  stands for the 32 bytes of a real one
  explicit ToyAead(std::uint64_t secret = 1, gossip::KeyId id = gossip::KeyId{1}) : sending_(id) { add(id, secret); }

  void add(gossip::KeyId id, std::uint64_t secret) { secrets_[id] = secret; }
  void remove(gossip::KeyId id) { secrets_.erase(id); }
  void send_under(gossip::KeyId id) { sending_ = id; }

  [[nodiscard]] gossip::KeyId sending_key() const override { return sending_; }

  [[nodiscard]] std::unique_ptr<gossip::SessionCipher> derive(gossip::KeyId key, gossip::SessionId session,
                                                              std::string_view label) override {
    const auto found = secrets_.find(key);
    if (found == secrets_.end()) {
      return nullptr;
    }
    std::uint64_t state = stir(found->second, static_cast<std::uint64_t>(session));
    for (const char c : label) {
      state = stir(state, static_cast<unsigned char>(c));
    }
    return std::make_unique<Cipher>(state);
  }

 private:
  static std::uint64_t stir(std::uint64_t a, std::uint64_t b) {
    std::uint64_t z = (a ^ b) * 0x9e3779b97f4a7c15U + 0x632be59bd9b4e019U;
    z = (z ^ (z >> 29U)) * 0xbf58476d1ce4e5b9U;
    return z ^ (z >> 32U);
  }

  class Cipher : public gossip::SessionCipher {
   public:
    explicit Cipher(std::uint64_t key) : key_(key) {}

    void seal(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
              std::span<std::byte> tag) override {
      mask(counter, text);
      std::uint64_t sum[2];
      checksum(counter, aad, text, sum);
      std::memcpy(tag.data(), sum, std::min(tag.size(), sizeof sum));
    }

    bool open(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
              std::span<const std::byte> tag) override {
      std::uint64_t sum[2];
      checksum(counter, aad, text, sum);
      if (tag.size() != sizeof sum || std::memcmp(tag.data(), sum, sizeof sum) != 0) {
        return false;
      }
      mask(counter, text);
      return true;
    }

   private:
    void mask(std::uint64_t counter, std::span<std::byte> text) const {
      std::uint64_t word = 0;
      for (std::size_t i = 0; i < text.size(); ++i) {
        if (i % 8 == 0) {
          word = stir(key_ ^ counter, i / 8);
        }
        text[i] ^= static_cast<std::byte>(word >> (i % 8 * 8));
      }
    }

    static std::uint64_t absorb(std::uint64_t state, std::span<const std::byte> bytes) {
      while (!bytes.empty()) {
        std::uint64_t word = 0;
        const std::size_t take = std::min<std::size_t>(8, bytes.size());
        std::memcpy(&word, bytes.data(), take);
        state = stir(state, word);
        bytes = bytes.subspan(take);
      }
      return state;
    }

    void checksum(std::uint64_t counter, std::span<const std::byte> aad, std::span<const std::byte> text,
                  std::uint64_t (&sum)[2]) const {
      std::uint64_t state = stir(key_, counter);
      state = stir(absorb(state, aad), aad.size());
      state = stir(absorb(state, text), text.size());
      sum[0] = state;
      sum[1] = stir(state, key_);
    }

    std::uint64_t key_;
  };

  std::map<gossip::KeyId, std::uint64_t> secrets_;
  gossip::KeyId sending_;
};

}  // namespace support
