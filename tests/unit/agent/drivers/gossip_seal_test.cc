#include "agent/drivers/gossip_seal.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "agent/io/crypto.h"

namespace agent::drivers {
namespace {

using Key = std::array<std::byte, io::kAeadKeyBytes>;

Key key_of(int fill) {
  Key key;
  key.fill(static_cast<std::byte>(fill));
  return key;
}
std::vector<std::byte> bytes(std::string_view text) {
  const auto raw = std::as_bytes(std::span(text));
  return {raw.begin(), raw.end()};
}

TEST(GossipSeal, AgentsWithOneKeyAgreeOnItsId) {
  const GossipKeyring a(key_of(1)), b(key_of(1)), other(key_of(2));
  EXPECT_EQ(a.sending_key(), b.sending_key());
  EXPECT_NE(a.sending_key(), other.sending_key());
  EXPECT_NE(a.sending_key(), gossip::KeyId{0});
}

TEST(GossipSeal, UnknownKeyIdHasNoSession) {
  GossipKeyring ring(key_of(1));
  const auto other = static_cast<gossip::KeyId>(static_cast<std::uint16_t>(ring.sending_key()) ^ 1U);
  EXPECT_EQ(ring.derive(other, gossip::SessionId{1}, "desk"), nullptr);
}

TEST(GossipSeal, SessionLabelCounterAndHeaderAllBind) {
  GossipKeyring ring(key_of(1));
  const auto session = ring.derive(ring.sending_key(), gossip::SessionId{7}, "desk");
  const auto header = bytes("header");
  const auto opens = [&](gossip::SessionId id, const char* label, std::uint64_t counter, const char* aad) {
    auto text = bytes("suspect");
    std::array<std::byte, gossip::kSealTagBytes> tag;
    session->seal(5, header, text, tag);
    auto receiver = ring.derive(ring.sending_key(), id, label);
    return receiver->open(counter, bytes(aad), text, tag) && text == bytes("suspect");
  };
  EXPECT_TRUE(opens(gossip::SessionId{7}, "desk", 5, "header"));
  EXPECT_FALSE(opens(gossip::SessionId{8}, "desk", 5, "header"));
  EXPECT_FALSE(opens(gossip::SessionId{7}, "other", 5, "header"));
  EXPECT_FALSE(opens(gossip::SessionId{7}, "desk", 6, "header"));
  EXPECT_FALSE(opens(gossip::SessionId{7}, "desk", 5, "Header"));
}

/// The derivation as gossip/seal.h words it, spelled out with the primitives.
TEST(GossipSeal, DerivationAndNonceAreTheDocumentedOnes) {
  const Key key = key_of(9);
  GossipKeyring ring(key);
  auto info = bytes("outrigger-gossip-1");
  for (const int byte : {0, 0, 0, 0, 0, 0, 1, 2}) info.push_back(static_cast<std::byte>(byte));
  const auto label = bytes("desk");
  info.insert(info.end(), label.begin(), label.end());
  Key session_key;
  io::hkdf_sha256({}, key, info, session_key);
  io::Aes256Gcm plain(session_key);
  std::array<std::byte, io::kAeadNonceBytes> nonce{};
  nonce[10] = std::byte{3};
  nonce[11] = std::byte{4};
  const auto text = bytes("twelve bytes");
  std::vector<std::byte> expected(text.size() + io::kAeadTagBytes);
  plain.seal(nonce, bytes("aad"), text, expected);

  const auto session = ring.derive(ring.sending_key(), gossip::SessionId{0x102}, "desk");
  for (const bool adjacent : {true, false}) {
    std::vector<std::byte> buffer = text;
    buffer.resize(text.size() + gossip::kSealTagBytes + 1);
    const auto tag = std::span(buffer).subspan(text.size() + (adjacent ? 0 : 1), gossip::kSealTagBytes);
    session->seal(0x304, bytes("aad"), std::span(buffer).first(text.size()), tag);
    std::vector<std::byte> got(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(text.size()));
    got.insert(got.end(), tag.begin(), tag.end());
    EXPECT_EQ(io::hex_encode(got), io::hex_encode(expected)) << adjacent;
    EXPECT_TRUE(session->open(0x304, bytes("aad"), std::span(buffer).first(text.size()), tag));
    buffer.resize(text.size());
    EXPECT_EQ(buffer, text);
  }
}

}  // namespace
}  // namespace agent::drivers
