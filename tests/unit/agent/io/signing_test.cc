#include "agent/io/signing.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "agent/io/file.h"

namespace agent::io {
namespace {

TEST(Signing, WhatOneKeySignsNoOtherHas) {
  const auto key = SigningKey::create(), other = SigningKey::create();
  ASSERT_TRUE(key && other);
  EXPECT_NE(key->public_key(), other->public_key());
  const Signature signature = key->sign("entry 7");
  EXPECT_TRUE(is_signed_by(key->public_key(), "entry 7", signature));
  EXPECT_FALSE(is_signed_by(key->public_key(), "entry 8", signature));
  EXPECT_FALSE(is_signed_by(other->public_key(), "entry 7", signature));
  for (std::size_t i = 0; i < signature.size(); i += 7) {
    Signature changed = signature;
    changed[i] ^= 1U;
    EXPECT_FALSE(is_signed_by(key->public_key(), "entry 7", changed)) << i;
  }
  EXPECT_EQ(key->sign("entry 7"), signature) << "the nonce follows from key and bytes (RFC 6979)";
}

TEST(Signing, KeysThatAreNoPointsSignNothing) {
  const auto key = SigningKey::create();
  const Signature signature = key->sign("x");
  SigningPublic shown = key->public_key();
  shown[40] ^= 1U;
  EXPECT_FALSE(is_signed_by(shown, "x", signature));
  EXPECT_FALSE(is_signed_by(SigningPublic{}, "x", signature));
  EXPECT_FALSE(is_signed_by(key->public_key(), "x", Signature{}));
}

// RFC 6979, A.2.5: P-256, SHA-256, message "sample", as a key file would hold that key.
TEST(Signing, AsInTheStandard) {
  SigningPublic shown{};
  const auto fill = [](auto& out, std::size_t at, const std::string& hex) {
    for (std::size_t i = 0; i < hex.size() / 2; ++i) out[at + i] = static_cast<std::uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  };
  shown[0] = 4;
  fill(shown, 1, "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6");
  fill(shown, 33, "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299");
  Signature signature{};
  fill(signature, 0, "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716");
  fill(signature, 32, "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8");
  EXPECT_TRUE(is_signed_by(shown, "sample", signature));
  EXPECT_FALSE(is_signed_by(shown, "Sample", signature));
}

TEST(Signing, AKeyIsMadeOnceAndKeptForItsOwner) {
  std::string pattern = ::testing::TempDir() + "signing-XXXXXX";
  const std::filesystem::path folder = ::mkdtemp(pattern.data());
  const std::string path = folder / "audit.key";
  const auto made = SigningKey::load_or_create(path);
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->fresh());
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  const auto again = SigningKey::load_or_create(path);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->fresh());
  EXPECT_EQ(again->public_key(), made->public_key());
  ASSERT_TRUE(replace_file(path, "no key", 0600));
  const auto damaged = SigningKey::load_or_create(path);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Errc::kCertificate);
  EXPECT_NE(damaged.error().detail.find("remove it"), std::string::npos);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace agent::io
