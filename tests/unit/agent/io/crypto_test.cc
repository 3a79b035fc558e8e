#include "agent/io/crypto.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/agent/io/record_sink.h"

namespace agent::io {
namespace {

std::vector<std::byte> hex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

Aes256Gcm cipher(const std::vector<std::byte>& key) {
  return Aes256Gcm(std::span<const std::byte, kAeadKeyBytes>(key));
}
std::span<const std::byte, kAeadNonceBytes> nonce_of(const std::vector<std::byte>& bytes) {
  return std::span<const std::byte, kAeadNonceBytes>(bytes);
}

struct Vector {
  const char *key, *nonce, *associated, *plain, *sealed;
};

// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 13, 14 and 16 (AES-256).
constexpr std::array kVectors = {
    Vector{"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
           "530f8afbc74536b9a963b4f1c4cb738b"},
    Vector{"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "",
           "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    Vector{"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
           "feedfacedeadbeeffeedfacedeadbeefabaddad2",
           "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0d"
           "e657ba637b39",
           "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba"
           "7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"}};

TEST(Aes256Gcm, KnownAnswers) {
  for (const Vector& vector : kVectors) {
    auto aead = cipher(hex(vector.key));
    const auto nonce = hex(vector.nonce), associated = hex(vector.associated), plain = hex(vector.plain);
    std::vector<std::byte> sealed(plain.size() + kAeadTagBytes);
    aead.seal(nonce_of(nonce), associated, plain, sealed);
    EXPECT_EQ(hex_encode(sealed), vector.sealed);
    std::vector<std::byte> opened(plain.size());
    EXPECT_TRUE(aead.open(nonce_of(nonce), associated, sealed, opened));
    EXPECT_EQ(opened, plain);
  }
}

TEST(Aes256Gcm, InPlaceGivesTheSame) {
  const Vector& vector = kVectors[2];
  auto aead = cipher(hex(vector.key));
  const auto nonce = hex(vector.nonce), associated = hex(vector.associated), plain = hex(vector.plain);
  std::vector<std::byte> buffer = plain;
  buffer.resize(plain.size() + kAeadTagBytes);
  aead.seal(nonce_of(nonce), associated, std::span(buffer).first(plain.size()), buffer);
  EXPECT_EQ(hex_encode(buffer), vector.sealed);
  ASSERT_TRUE(aead.open(nonce_of(nonce), associated, buffer, std::span(buffer).first(plain.size())));
  buffer.resize(plain.size());
  EXPECT_EQ(buffer, plain);
}

TEST(Aes256Gcm, EveryChangedByteIsNoticedAndNothingLeaks) {
  const Vector& vector = kVectors[2];
  auto aead = cipher(hex(vector.key));
  const auto nonce = hex(vector.nonce), associated = hex(vector.associated), sealed = hex(vector.sealed);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] ^= std::byte{1};
    std::vector<std::byte> opened(sealed.size() - kAeadTagBytes, std::byte{7});
    EXPECT_FALSE(aead.open(nonce_of(nonce), associated, changed, opened));
    EXPECT_EQ(opened, std::vector<std::byte>(opened.size()));
  }
  std::vector<std::byte> opened(sealed.size() - kAeadTagBytes);
  EXPECT_FALSE(aead.open(nonce_of(nonce), {}, sealed, opened));
  EXPECT_FALSE(aead.open(nonce_of(nonce), associated, std::span(sealed).first(15), {}));
}

TEST(Aes256Gcm, MovesWithItsKey) {
  auto first = cipher(hex(kVectors[1].key));
  auto second = std::move(first);
  const auto nonce = hex(kVectors[1].nonce), plain = hex(kVectors[1].plain);
  std::vector<std::byte> sealed(plain.size() + kAeadTagBytes);
  second.seal(nonce_of(nonce), {}, plain, sealed);
  EXPECT_EQ(hex_encode(sealed), kVectors[1].sealed);
}

// RFC 5869, appendix A, test cases 1 and 3.
TEST(Hkdf, KnownAnswers) {
  std::array<std::byte, 42> out{};
  hkdf_sha256(hex("000102030405060708090a0b0c"), hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
              hex("f0f1f2f3f4f5f6f7f8f9"), out);
  EXPECT_EQ(hex_encode(out), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  hkdf_sha256({}, hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"), {}, out);
  EXPECT_EQ(hex_encode(out), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

// FIPS 180-4 examples.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(hex_encode(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_encode(sha256(bytes_of("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Random, DiffersAndKeepsItsBound) {
  std::array<std::byte, 32> a{}, b{};
  random_bytes(a);
  random_bytes(b);
  EXPECT_NE(a, b);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 500; ++i) seen.insert(random_below(3));
  EXPECT_EQ(seen, (std::set<std::uint64_t>{0, 1, 2}));
  EXPECT_EQ(random_below(1), 0U);
}

// RFC 4648, section 10.
TEST(Base64, KnownAnswersBothWays) {
  const std::array<std::pair<const char*, const char*>, 7> pairs = {
      {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
       {"foobar", "Zm9vYmFy"}}};
  for (const auto& [plain, encoded] : pairs) {
    EXPECT_EQ(base64_encode(bytes_of(plain)), encoded);
    const auto decoded = base64_decode(encoded);
    ASSERT_TRUE(decoded) << encoded;
    EXPECT_EQ(text_of(*decoded), plain);
  }
  for (const char* bad : {"Zg", "Zg=", "Z===", "Zm9v!", "Zm 9v", "Zm9v\n", "Zg==Zg=="}) {
    const auto decoded = base64_decode(bad);
    ASSERT_FALSE(decoded) << bad;
    EXPECT_EQ(decoded.error().code, Errc::kInvalidArgument);
  }
}

TEST(EqualConstantTime, ComparesContentAndLength) {
  EXPECT_TRUE(equal_constant_time(bytes_of("abc"), bytes_of("abc")));
  EXPECT_FALSE(equal_constant_time(bytes_of("abc"), bytes_of("abd")));
  EXPECT_FALSE(equal_constant_time(bytes_of("abc"), bytes_of("ab")));
  EXPECT_TRUE(equal_constant_time({}, {}));
}

}  // namespace
}  // namespace agent::io
