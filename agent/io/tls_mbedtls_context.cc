#include <mbedtls/oid.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "agent/io/mbedtls_library.h"
#include "agent/io/tls_files.h"
#include "agent/io/tls_mbedtls.h"

namespace agent::io {

namespace {

/// TLS 1.3, and of TLS 1.2 what has forward secrecy and authenticated encryption: all that a server of today speaks.
constexpr std::array<int, 10> kServerSuites{
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384, MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 0};

const unsigned char* raw(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.c_str()); }

Result<void> parse_certificates(mbedtls_x509_crt& into, const std::string& file, const char* holds) {
  const auto text = read_pem(file, holds);
  if (!text) return tl::unexpected(text.error());
  // PEM is told from DER by a terminating zero that counts.
  const int status = mbedtls_x509_crt_parse(&into, raw(*text), text->size() + 1);
  if (status < 0) return certificate_error(file, mbedtls_library_message(status), std::string("it must be a PEM file with ") + holds);
  if (status > 0) {
    return certificate_error(file, std::to_string(status) + " of its certificates cannot be read", "remove or replace them");
  }
  return {};
}

Result<void> check_time(const mbedtls_x509_crt& certificate, const std::string& file, std::int64_t wall_ms) {
  return check_validity(file, unix_ms(certificate.valid_from), unix_ms(certificate.valid_to), wall_ms);
}

/// The client asks for a name: every certificate that fits is offered, and mbedTLS takes the first whose key the client
/// can check.
int choose_certificate(void* context, mbedtls_ssl_context* ssl, const unsigned char* name, std::size_t size) {
  const auto& self = *static_cast<const TlsContext*>(context);
  for (const std::size_t i : self.matching(std::string_view(reinterpret_cast<const char*>(name), size))) {
    MbedtlsPair& pair = *self.impl().own[i];
    if (const int status = mbedtls_ssl_set_hs_own_cert(ssl, &pair.chain, &pair.key); status != 0) return status;
  }
  return 0;
}

int auth_mode(TlsVerify verify) {
  switch (verify) {
    case TlsVerify::kRequired: return MBEDTLS_SSL_VERIFY_REQUIRED;
    case TlsVerify::kOptional: return MBEDTLS_SSL_VERIFY_OPTIONAL;
    case TlsVerify::kNone: break;
  }
  return MBEDTLS_SSL_VERIFY_NONE;
}

/// Ends with 0, as mbedTLS wants it. Errors: kInvalidArgument naming the group.
Result<std::vector<std::uint16_t>> mbedtls_group_ids(const std::vector<std::string>& names) {
  static const std::pair<std::string_view, std::uint16_t> kIds[] = {{"X25519", MBEDTLS_SSL_IANA_TLS_GROUP_X25519},
                                                                    {"secp256r1", MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1},
                                                                    {"secp384r1", MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1},
                                                                    {"secp521r1", MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1}};
  std::vector<std::uint16_t> ids;
  for (const std::string& name : names) {
    const auto* found = std::find_if(std::begin(kIds), std::end(kIds), [&](const auto& one) { return one.first == name; });
    if (found == std::end(kIds)) return fail(Errc::kInvalidArgument, "no key exchange group is named \"" + name + "\" here");
    ids.push_back(found->second);
  }
  ids.push_back(0);
  return ids;
}

}  // namespace

std::string common_name_of(const mbedtls_x509_crt& certificate) {
  for (const mbedtls_asn1_named_data* part = &certificate.subject; part != nullptr; part = part->next) {
    if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &part->oid) != 0) continue;
    return std::string(reinterpret_cast<const char*>(part->val.p), std::min<std::size_t>(part->val.len, 256));
  }
  return {};
}

std::vector<std::string> dns_names_of(const mbedtls_x509_crt& certificate, std::size_t count_max) {
  std::vector<std::string> names;
  for (const mbedtls_x509_sequence* item = &certificate.subject_alt_names;
       item != nullptr && item->buf.p != nullptr && names.size() < count_max; item = item->next) {
    mbedtls_x509_subject_alternative_name name{};
    if (mbedtls_x509_parse_subject_alt_name(&item->buf, &name) != 0) continue;
    if (name.type == MBEDTLS_X509_SAN_DNS_NAME) {
      const mbedtls_x509_buf& text = name.san.unstructured_name;
      names.emplace_back(reinterpret_cast<const char*>(text.p), std::min<std::size_t>(text.len, 256));
    }
    mbedtls_x509_free_subject_alt_name(&name);
  }
  return names;
}

std::string verify_words(std::uint32_t flags) {
  std::array<char, 512> why{};
  mbedtls_x509_crt_verify_info(why.data(), why.size(), "", flags);
  std::string words = why.data();
  while (!words.empty() && words.back() == '\n') words.pop_back();
  std::replace(words.begin(), words.end(), '\n', ' ');
  return words;
}

std::string_view TlsContext::backend() { return "mbedtls"; }
bool TlsContext::can_staple() { return false; }

TlsContext::TlsContext(TlsOptions options) : options_(std::move(options)) {
  mbedtls_library_start();
  impl_ = std::make_unique<Impl>();
}
TlsContext::~TlsContext() = default;

Result<void> TlsContext::load_ca(std::int64_t wall_ms) {
  if (auto parsed = parse_certificates(impl_->ca, options_.ca_file, "CA certificates"); !parsed) return parsed;
  return check_time(impl_->ca, options_.ca_file, wall_ms);
}

Result<void> TlsContext::load_certificate(const TlsCertificate& files, std::int64_t wall_ms) {
  const std::string& cert = files.cert_file;
  const std::string& key = files.key_file;
  auto pair = std::make_unique<MbedtlsPair>();
  if (auto parsed = parse_certificates(pair->chain, cert, "the certificate of this node"); !parsed) return parsed;
  auto text = read_pem(key, "its private key");
  if (!text) return tl::unexpected(text.error());
  const int status = mbedtls_pk_parse_key(&pair->key, raw(*text), text->size() + 1, nullptr, 0, mbedtls_library_random, nullptr);
  std::fill(text->begin(), text->end(), '\0');
  if (status != 0) return certificate_error(key, mbedtls_library_message(status), "it must be an unencrypted PEM private key");
  if (mbedtls_pk_check_pair(&pair->chain.pk, &pair->key, mbedtls_library_random, nullptr) != 0) {
    return certificate_error(key, "is not the key of " + cert, "give the pair that was issued together");
  }
  if (auto valid = check_time(pair->chain, cert, wall_ms); !valid) return valid;
  if (options_.own_from_ca && !options_.ca_file.empty()) {
    std::uint32_t flags = 0;
    mbedtls_x509_crt_verify(&pair->chain, &impl_->ca, nullptr, nullptr, &flags, nullptr, nullptr);
    // Dates were judged above, with the caller's clock.
    flags &= ~static_cast<std::uint32_t>(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    if (flags != 0) {
      return certificate_error(cert, "does not lead to " + options_.ca_file + " (" + verify_words(flags) + ")",
                               "issue it from that CA, or give the CA that issued it");
    }
  }
  TlsCertificateInfo info{cert, common_name_of(pair->chain), dns_names_of(pair->chain, kCertificateNamesMax), unix_ms(pair->chain.valid_to)};
  if (info.names.empty() && !info.common_name.empty()) info.names.push_back(info.common_name);
  certificates_.push_back(std::move(info));
  impl_->own.push_back(std::move(pair));
  return {};
}

std::vector<std::string> tls_groups() { return {"X25519", "secp256r1", "secp384r1", "secp521r1"}; }

Result<void> TlsContext::configure() {
  mbedtls_ssl_config& config = impl_->config;
  const bool server = options_.role == TlsRole::kServer;
  int status = mbedtls_ssl_config_defaults(&config, server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
                                           MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  for (const std::size_t i : matching({})) {
    if (status == 0) status = mbedtls_ssl_conf_own_cert(&config, &impl_->own[i]->chain, &impl_->own[i]->key);
  }
  if (server && impl_->own.size() > 1) mbedtls_ssl_conf_sni(&config, choose_certificate, this);
  if (!options_.ca_file.empty()) mbedtls_ssl_conf_ca_chain(&config, &impl_->ca, nullptr);
  mbedtls_ssl_conf_rng(&config, mbedtls_library_random, nullptr);
  mbedtls_ssl_conf_authmode(&config, auth_mode(options_.verify));
  const bool only_13 = options_.min_version == TlsVersion::kTls13;
  mbedtls_ssl_conf_min_tls_version(&config, only_13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2);
  mbedtls_ssl_conf_max_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_3);
  if (server) mbedtls_ssl_conf_ciphersuites(&config, kServerSuites.data());
  if (!options_.groups.empty()) {
    auto groups = mbedtls_group_ids(options_.groups);
    if (!groups) return tl::make_unexpected(groups.error());
    impl_->groups = std::move(*groups);
    mbedtls_ssl_conf_groups(&config, impl_->groups.data());
  }
  if (!options_.alpn.empty()) {
    for (const std::string& name : options_.alpn) impl_->alpn.push_back(name.c_str());
    impl_->alpn.push_back(nullptr);
    if (status == 0) status = mbedtls_ssl_conf_alpn_protocols(&config, impl_->alpn.data());
  }
  if (options_.tickets) {
    // Resumption still makes a new key exchange, so a ticket key that leaks later opens no recorded traffic of TLS 1.3.
    mbedtls_ssl_conf_tls13_key_exchange_modes(
        &config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL | MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
    mbedtls_ssl_conf_session_tickets_cb(&config, &TlsTickets::Impl::write, &TlsTickets::Impl::parse, options_.tickets.get());
  } else {
    // No resumption in either direction: every connection shows its certificate.
    mbedtls_ssl_conf_tls13_key_exchange_modes(&config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
    if (!server) mbedtls_ssl_conf_session_tickets(&config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
  }
  if (status != 0) return fail(Errc::kTlsProtocol, "TLS set-up: " + mbedtls_library_message(status));
  return {};
}

}  // namespace agent::io
