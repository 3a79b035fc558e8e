#include "agent/drivers/gossip_seal.h"

#include <algorithm>
#include <string>
#include <vector>

namespace agent::drivers {
namespace {

constexpr std::string_view kInfo = "outrigger-gossip-1";

std::array<std::byte, 8> big_endian(std::uint64_t number) {
  std::array<std::byte, 8> bytes;
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(number >> (56 - 8 * i));
  return bytes;
}

class Cipher final : public gossip::SessionCipher {
 public:
  explicit Cipher(std::span<const std::byte, io::kAeadKeyBytes> key) : gcm_(key) {}

  void seal(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
            std::span<std::byte> tag) override {
    if (tag.data() == text.data() + text.size()) {
      gcm_.seal(nonce(counter), aad, text, std::span(text.data(), text.size() + tag.size()));
      return;
    }
    scratch_.resize(text.size() + tag.size());
    gcm_.seal(nonce(counter), aad, text, scratch_);
    std::copy_n(scratch_.begin(), text.size(), text.begin());
    std::copy_n(scratch_.begin() + static_cast<std::ptrdiff_t>(text.size()), tag.size(), tag.begin());
  }
  bool open(std::uint64_t counter, std::span<const std::byte> aad, std::span<std::byte> text,
            std::span<const std::byte> tag) override {
    if (tag.data() == text.data() + text.size()) {
      return gcm_.open(nonce(counter), aad, std::span<const std::byte>(text.data(), text.size() + tag.size()), text);
    }
    scratch_.assign(text.begin(), text.end());
    scratch_.insert(scratch_.end(), tag.begin(), tag.end());
    return gcm_.open(nonce(counter), aad, scratch_, text);
  }

 private:
  static std::array<std::byte, io::kAeadNonceBytes> nonce(std::uint64_t counter) {
    std::array<std::byte, io::kAeadNonceBytes> bytes{};
    const auto tail = big_endian(counter);
    std::copy(tail.begin(), tail.end(), bytes.begin() + 4);
    return bytes;
  }
  io::Aes256Gcm gcm_;
  std::vector<std::byte> scratch_;
};

}  // namespace

GossipKeyring::GossipKeyring(std::span<const std::byte, io::kAeadKeyBytes> key) {
  std::copy(key.begin(), key.end(), key_.begin());
  const io::Sha256 digest = io::sha256(key);
  const auto id = static_cast<std::uint16_t>(std::to_integer<unsigned>(digest[0]) << 8U | std::to_integer<unsigned>(digest[1]));
  id_ = gossip::KeyId{id == 0 ? std::uint16_t{1} : id};
}

GossipKeyring::~GossipKeyring() {
  volatile std::byte* bytes = key_.data();
  for (std::size_t i = 0; i < key_.size(); ++i) bytes[i] = std::byte{0};
}

std::unique_ptr<gossip::SessionCipher> GossipKeyring::derive(gossip::KeyId key, gossip::SessionId session,
                                                             std::string_view label) {
  if (key != id_) return nullptr;
  std::vector<std::byte> info;
  const auto add = [&info](std::span<const std::byte> bytes) { info.insert(info.end(), bytes.begin(), bytes.end()); };
  add(std::as_bytes(std::span(kInfo)));
  add(big_endian(static_cast<std::uint64_t>(session)));
  add(std::as_bytes(std::span(label)));
  std::array<std::byte, io::kAeadKeyBytes> session_key;
  io::hkdf_sha256({}, key_, info, session_key);
  return std::make_unique<Cipher>(session_key);
}

}  // namespace agent::drivers
