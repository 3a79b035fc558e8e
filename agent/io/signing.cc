#include "agent/io/signing.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/io/crypto.h"
#include "agent/io/file.h"
#include "agent/io/mbedtls_library.h"

namespace agent::io {
namespace {

constexpr std::size_t kKeyFileBytesMax = 8192;
constexpr std::size_t kHalf = 32;

struct Number {
  Number() { mbedtls_mpi_init(&value); }
  ~Number() { mbedtls_mpi_free(&value); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
  mbedtls_mpi value;
};

struct Curve {
  Curve() {
    mbedtls_ecp_group_init(&group);
    mbedtls_ecp_point_init(&point);
  }
  ~Curve() {
    mbedtls_ecp_point_free(&point);
    mbedtls_ecp_group_free(&group);
  }
  Curve(const Curve&) = delete;
  Curve& operator=(const Curve&) = delete;
  mbedtls_ecp_group group;
  mbedtls_ecp_point point;
};

Sha256 digest_of(std::string_view bytes) { return sha256(std::as_bytes(std::span(bytes))); }
const unsigned char* raw(const Sha256& digest) { return reinterpret_cast<const unsigned char*>(digest.data()); }

}  // namespace

struct SigningKey::Impl {
  Impl() { mbedtls_pk_init(&context); }
  ~Impl() { mbedtls_pk_free(&context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] mbedtls_ecp_keypair& pair() const { return *mbedtls_pk_ec(context); }
  /// @return false: not a whole key on P-256
  bool publish() {
    if (!mbedtls_pk_can_do(&context, MBEDTLS_PK_ECKEY)) return false;
    const mbedtls_ecp_keypair& key = pair();
    if (mbedtls_ecp_keypair_get_group_id(&key) != MBEDTLS_ECP_DP_SECP256R1) return false;
    std::size_t size = 0;
    return mbedtls_ecp_write_public_key(&key, MBEDTLS_ECP_PF_UNCOMPRESSED, &size, shown.data(), shown.size()) == 0 && size == shown.size();
  }

  mbedtls_pk_context context;
  SigningPublic shown{};
  bool fresh = false;
};

SigningKey::SigningKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SigningKey::~SigningKey() = default;
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
const SigningPublic& SigningKey::public_key() const { return impl_->shown; }
bool SigningKey::fresh() const { return impl_->fresh; }

Result<SigningKey> SigningKey::create() {
  mbedtls_library_start();
  auto impl = std::make_unique<Impl>();
  int status = mbedtls_pk_setup(&impl->context, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
  if (status == 0) status = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, &impl->pair(), mbedtls_library_random, nullptr);
  if (status != 0) return fail(Errc::kCertificate, "make a key to sign with: " + mbedtls_library_message(status));
  if (!impl->publish()) return fail(Errc::kCertificate, "make a key to sign with: it has no public half");
  return SigningKey(std::move(impl));
}

Result<SigningKey> SigningKey::from_pem(std::string_view pem) {
  mbedtls_library_start();
  auto impl = std::make_unique<Impl>();
  const std::string text(pem);  // the library wants the zero behind it
  const int status = mbedtls_pk_parse_key(&impl->context, reinterpret_cast<const unsigned char*>(text.c_str()), text.size() + 1, nullptr, 0,
                                          mbedtls_library_random, nullptr);
  if (status != 0) return fail(Errc::kCertificate, "read a key to sign with: " + mbedtls_library_message(status));
  if (!impl->publish()) return fail(Errc::kCertificate, "this is no private key on the curve P-256");
  return SigningKey(std::move(impl));
}

Result<SigningKey> SigningKey::load_or_create(const std::string& path) {
  const auto text = read_file(path, kKeyFileBytesMax);
  if (text) {
    auto key = from_pem(*text);
    if (key) return key;
    return fail(Errc::kCertificate, path + " is damaged (" + key.error().detail + "): restore it from a backup, or remove it; then a new key is "
                                           "made, and the peers say that this agent's key has changed");
  }
  if (text.error().code != Errc::kNotFound) return tl::unexpected(text.error());
  auto key = create();
  if (!key) return key;
  if (auto written = replace_file(path, key->pem(), 0600); !written) return tl::unexpected(written.error());
  key->impl_->fresh = true;
  return key;
}

std::string SigningKey::pem() const {
  std::array<unsigned char, 4096> text{};
  const int status = mbedtls_pk_write_key_pem(&impl_->context, text.data(), text.size());
  assert(status == 0);  // it fits: the curve is fixed
  static_cast<void>(status);
  std::string pem = reinterpret_cast<const char*>(text.data());
  text.fill(0);
  return pem;
}

Signature SigningKey::sign(std::string_view bytes) const {
  const Sha256 digest = digest_of(bytes);
  Number r, s, secret;
  Curve curve;
  int status = mbedtls_ecp_export(&impl_->pair(), &curve.group, &secret.value, &curve.point);
  if (status == 0) {
    status = mbedtls_ecdsa_sign_det_ext(&curve.group, &r.value, &s.value, &secret.value, raw(digest), digest.size(), MBEDTLS_MD_SHA256,
                                        mbedtls_library_random, nullptr);
  }
  Signature signature{};
  if (status == 0) status = mbedtls_mpi_write_binary(&r.value, signature.data(), kHalf);
  if (status == 0) status = mbedtls_mpi_write_binary(&s.value, signature.data() + kHalf, kHalf);
  assert(status == 0);
  static_cast<void>(status);
  return signature;
}

bool is_signed_by(const SigningPublic& key, std::string_view bytes, const Signature& signature) {
  mbedtls_library_start();
  const Sha256 digest = digest_of(bytes);
  Number r, s;
  Curve curve;
  int status = mbedtls_ecp_group_load(&curve.group, MBEDTLS_ECP_DP_SECP256R1);
  if (status == 0) status = mbedtls_ecp_point_read_binary(&curve.group, &curve.point, key.data(), key.size());
  if (status == 0) status = mbedtls_ecp_check_pubkey(&curve.group, &curve.point);
  if (status == 0) status = mbedtls_mpi_read_binary(&r.value, signature.data(), kHalf);
  if (status == 0) status = mbedtls_mpi_read_binary(&s.value, signature.data() + kHalf, kHalf);
  return status == 0 && mbedtls_ecdsa_verify(&curve.group, raw(digest), digest.size(), &curve.point, &r.value, &s.value) == 0;
}

}  // namespace agent::io
