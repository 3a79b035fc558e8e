#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstring>

#include "agent/io/clock.h"
#include "agent/io/crypto.h"
#include "agent/io/tls_openssl.h"

namespace agent::io {

namespace {

/// What one key consists of (RFC 5077, section 4): a name that tickets carry in the clear, AES-256-CBC, HMAC-SHA-256.
struct TicketKey {
  std::array<unsigned char, 16> name{};
  std::array<unsigned char, 32> cipher{}, mac{};
  TimePoint born{};
  bool valid = false;
};

int context_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

struct TlsTickets::Impl {
  Impl() : lock(CRYPTO_THREAD_lock_new()) {}
  ~Impl() {
    for (TicketKey& key : keys) OPENSSL_cleanse(&key, sizeof key);
    CRYPTO_THREAD_lock_free(lock);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// The key that seals at `now`, after the change that may be due. @param lifetime of one key
  TicketKey newest(TimePoint now, std::chrono::seconds lifetime) {
    CRYPTO_THREAD_write_lock(lock);
    if (!keys[0].valid || now - keys[0].born >= lifetime) rotate_locked(now);
    const TicketKey key = keys[0];
    CRYPTO_THREAD_unlock(lock);
    return key;
  }
  /// @return whether a key of that name still opens
  bool find(const unsigned char* name, TimePoint now, std::chrono::seconds lifetime, TicketKey* found) {
    CRYPTO_THREAD_read_lock(lock);
    bool good = false;
    for (const TicketKey& key : keys) {
      if (!key.valid || now - key.born >= 2 * lifetime || std::memcmp(key.name.data(), name, key.name.size()) != 0) continue;
      *found = key;
      good = true;
    }
    CRYPTO_THREAD_unlock(lock);
    return good;
  }
  void rotate_locked(TimePoint now) {
    keys[1] = keys[0];
    random_bytes(std::as_writable_bytes(std::span(keys[0].name)));
    random_bytes(std::as_writable_bytes(std::span(keys[0].cipher)));
    random_bytes(std::as_writable_bytes(std::span(keys[0].mac)));
    keys[0].born = now;
    keys[0].valid = true;
  }

  std::array<TicketKey, 2> keys;  // newest first
  CRYPTO_RWLOCK* lock;            // workers read, whoever is first after a lifetime writes
};

namespace {

bool set_mac(EVP_MAC_CTX* mac, const TicketKey& key) {
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key.mac.data()), key.mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, params) == 1;
}

int use_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int sealing) {
  auto& tickets = *static_cast<TlsTickets*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index()));
  const TimePoint now = boottime_now();
  if (sealing != 0) {
    const TicketKey key = tickets.impl().newest(now, tickets.lifetime());
    const int iv_size = EVP_CIPHER_get_iv_length(EVP_aes_256_cbc());
    if (RAND_bytes(iv, iv_size) != 1) return -1;
    std::memcpy(name, key.name.data(), key.name.size());
    if (EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv) != 1 || !set_mac(mac, key)) return -1;
    ++tickets.counters().issued;
    return 1;
  }
  TicketKey key;
  if (!tickets.impl().find(name, now, tickets.lifetime(), &key)) {
    ++tickets.counters().refused;
    return 0;
  }
  if (!set_mac(mac, key) || EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv) != 1) return -1;
  ++tickets.counters().accepted;
  return 2;  // good, and the client gets a fresh one
}

}  // namespace

void set_openssl_tickets(SSL_CTX* context, TlsTickets* tickets) {
  SSL_CTX_set_ex_data(context, context_index(), tickets);
  SSL_CTX_set_timeout(context, static_cast<long>(tickets->lifetime().count()));
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, use_key);
}

TlsTickets::TlsTickets(std::chrono::seconds lifetime) : lifetime_(lifetime), impl_(std::make_unique<Impl>()) {}
TlsTickets::~TlsTickets() = default;

Result<std::shared_ptr<TlsTickets>> TlsTickets::create(std::chrono::seconds lifetime) {
  if (lifetime < std::chrono::seconds(1) || lifetime > std::chrono::hours(24 * 7)) {
    return fail(Errc::kInvalidArgument, "tickets live between 1 second and 7 days");
  }
  return std::shared_ptr<TlsTickets>(new TlsTickets(lifetime));
}

void TlsTickets::rotate() {
  CRYPTO_THREAD_write_lock(impl_->lock);
  impl_->rotate_locked(boottime_now());
  CRYPTO_THREAD_unlock(impl_->lock);
}

}  // namespace agent::io
