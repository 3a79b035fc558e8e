#include "agent/io/crypto.h"

#include <mbedtls/base64.h>
#include <mbedtls/gcm.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
extern "C" {  // the one header of mbedTLS 3.6 that forgets to say so
#include <mbedtls/constant_time.h>
}
#include <sys/random.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace agent::io {

namespace {

const unsigned char* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

}  // namespace

struct Aes256Gcm::Impl {
  Impl() { mbedtls_gcm_init(&context); }
  ~Impl() { mbedtls_gcm_free(&context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  mbedtls_gcm_context context;
};

Aes256Gcm::Aes256Gcm(std::span<const std::byte, kAeadKeyBytes> key) : impl_(std::make_unique<Impl>()) {
  const int status = mbedtls_gcm_setkey(&impl_->context, MBEDTLS_CIPHER_ID_AES, raw(key), kAeadKeyBytes * 8);
  assert(status == 0);  // the size is fixed by the type
  static_cast<void>(status);
}

Aes256Gcm::~Aes256Gcm() = default;
Aes256Gcm::Aes256Gcm(Aes256Gcm&&) noexcept = default;
Aes256Gcm& Aes256Gcm::operator=(Aes256Gcm&&) noexcept = default;

void Aes256Gcm::seal(std::span<const std::byte, kAeadNonceBytes> nonce, std::span<const std::byte> associated,
                     std::span<const std::byte> plain, std::span<std::byte> out) {
  assert(out.size() == plain.size() + kAeadTagBytes);
  const int status = mbedtls_gcm_crypt_and_tag(&impl_->context, MBEDTLS_GCM_ENCRYPT, plain.size(), raw(nonce),
                                               nonce.size(), raw(associated), associated.size(), raw(plain), raw(out),
                                               kAeadTagBytes, raw(out.subspan(plain.size())));
  assert(status == 0);
  static_cast<void>(status);
}

bool Aes256Gcm::open(std::span<const std::byte, kAeadNonceBytes> nonce, std::span<const std::byte> associated,
                     std::span<const std::byte> sealed, std::span<std::byte> out) {
  if (sealed.size() < kAeadTagBytes) return false;
  const std::size_t size = sealed.size() - kAeadTagBytes;
  assert(out.size() == size);
  return mbedtls_gcm_auth_decrypt(&impl_->context, size, raw(nonce), nonce.size(), raw(associated), associated.size(),
                                  raw(sealed.subspan(size)), kAeadTagBytes, raw(sealed), raw(out)) == 0;
}

void hkdf_sha256(std::span<const std::byte> salt, std::span<const std::byte> key, std::span<const std::byte> info,
                 std::span<std::byte> out) {
  assert(!out.empty() && out.size() <= 255 * kSha256Bytes);
  const int status = mbedtls_hkdf(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), raw(salt), salt.size(), raw(key),
                                  key.size(), raw(info), info.size(), raw(out), out.size());
  assert(status == 0);
  static_cast<void>(status);
}

Sha256 sha256(std::span<const std::byte> bytes) {
  Sha256 digest{};
  const int status = mbedtls_sha256(raw(bytes), bytes.size(), raw(std::span<std::byte>(digest)), 0);
  assert(status == 0);
  static_cast<void>(status);
  return digest;
}

void random_bytes(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) std::abort();  // no kernel generator: nothing here could be safe
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

namespace {

// A draw of a choice or of an identifier costs no system call: a thread asks for many at a time and forgets each.
std::uint64_t random_word() {
  thread_local std::array<std::uint64_t, 64> words;
  thread_local std::size_t left = 0;
  if (left == 0) {
    random_bytes(std::as_writable_bytes(std::span(words)));
    left = words.size();
  }
  return std::exchange(words[--left], 0);
}

}  // namespace

std::uint64_t random_below(std::uint64_t bound) {
  assert(bound >= 1);
  // Rejects the last, incomplete stretch of the 64-bit range, so that every value is equally likely.
  const std::uint64_t rejected = (0 - bound) % bound;
  while (true) {
    const std::uint64_t value = random_word();
    if (value >= rejected) return value % bound;
  }
}

std::string base64_encode(std::span<const std::byte> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  std::size_t written = 0;
  const int status = mbedtls_base64_encode(reinterpret_cast<unsigned char*>(text.data()), text.size(), &written,
                                           raw(bytes), bytes.size());
  assert(status == 0);
  static_cast<void>(status);
  text.resize(written);
  return text;
}

Result<std::vector<std::byte>> base64_decode(std::string_view text) {
  std::vector<std::byte> bytes(text.size() / 4 * 3 + 3);
  std::size_t written = 0;
  // mbedTLS lets line breaks and spaces pass; a key or a value has none.
  const bool spaced = text.find_first_of(" \r\n") != std::string_view::npos;
  if (spaced || text.size() % 4 != 0 ||
      mbedtls_base64_decode(raw(std::span(bytes)), bytes.size(), &written,
                            reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 0) {
    return fail(Errc::kInvalidArgument, "not valid base64 (RFC 4648, with padding)");
  }
  bytes.resize(written);
  return bytes;
}

std::string hex_encode(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    const auto value = std::to_integer<unsigned>(byte);
    text += kDigits[value >> 4];
    text += kDigits[value & 15];
  }
  return text;
}

bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && mbedtls_ct_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace agent::io
