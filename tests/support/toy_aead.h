#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include "gossip/seal.h"

namespace support {

/// A keyed checksum cipher with the shape of AES-GCM, for tests only: no strength, no dependency, repeatable.
/// It fails to open under another key, label, session, counter or header, and after any change of a bit.
class ToyCipher : public gossip::SessionCipher {
 public:
  explicit ToyCipher(std::uint64_t key) : key_(key) {}
  void seal(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
            std::span<std::byte> tag) override {
    write_tag(counter, aad, text, tag);
    crypt(counter, text);
  }
  bool open(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
            std::span<const std::byte> tag) override {
    crypt(counter, text);
    std::byte expected[gossip::kSealTagBytes];
    write_tag(counter, aad, text, expected);
    bool same = tag.size() == gossip::kSealTagBytes;
    for (std::size_t i = 0; same && i < tag.size(); ++i) same = tag[i] == expected[i];
    return same;
  }
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

 private:
  void crypt(std::uint64_t counter, std::span<std::byte> text) const {
    for (std::size_t i = 0; i < text.size(); ++i) {
      text[i] ^= static_cast<std::byte>(mix(key_ + counter * 0x9e3779b97f4a7c15u + i / 8) >> (i % 8 * 8));
    }
  }
  void write_tag(std::uint64_t counter, std::span<const std::byte> aad, std::span<const std::byte> text,
                 std::span<std::byte> tag) const {
    std::uint64_t low = mix(key_ ^ mix(counter)), high = mix(low + aad.size());
    const auto absorb = [&](std::span<const std::byte> bytes) {
      for (const auto byte : bytes) {
        low = (low ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3u;
        high = mix(high + low);
      }
    };
    absorb(aad);
    absorb(text);
    for (std::size_t i = 0; i < tag.size(); ++i) tag[i] = static_cast<std::byte>((i < 8 ? low : high) >> (i % 8 * 8));
  }
  std::uint64_t key_;
};

class ToyAead : public gossip::Aead {
 public:
  explicit ToyAead(std::uint64_t secret, std::uint16_t key_id = 1) { add(key_id, secret), use(key_id); }
  void add(std::uint16_t key_id, std::uint64_t secret) { keys_[key_id] = secret; }
  void use(std::uint16_t key_id) { sending_ = key_id; }
  [[nodiscard]] gossip::KeyId sending_key() const override { return gossip::KeyId{sending_}; }
  [[nodiscard]] std::unique_ptr<gossip::SessionCipher> derive(gossip::KeyId key, gossip::SessionId session,
                                                              std::string_view label) override {
    ++derived;
    const auto found = keys_.find(static_cast<std::uint16_t>(key));
    if (found == keys_.end()) return nullptr;
    std::uint64_t mixed = ToyCipher::mix(found->second ^ static_cast<std::uint64_t>(session));
    for (const char c : label) mixed = ToyCipher::mix(mixed + static_cast<std::uint8_t>(c));
    return std::make_unique<ToyCipher>(mixed);
  }
  std::size_t derived = 0;  ///< calls so far

 private:
  std::map<std::uint16_t, std::uint64_t> keys_;
  std::uint16_t sending_ = 0;
};

}  // namespace support
