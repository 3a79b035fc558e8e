#include "agent/io/tls_context.h"

#include <mbedtls/oid.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdio>
#include <cstring>

#include "agent/io/file.h"
#include "agent/io/tls_context_impl.h"
#include "agent/io/tls_library.h"

namespace agent::io {

namespace {

constexpr std::size_t kPemBytesMax = 256U << 10;
constexpr std::size_t kAlpnMax = 8;
constexpr std::uint32_t kTicketSeconds = 24 * 3600;

tl::unexpected<Error> bad(const std::string& file, const std::string& what, const std::string& fix) {
  return fail(Errc::kCertificate, file + ": " + what + "; " + fix);
}

Result<std::string> read_pem(const std::string& file, const char* holds) {
  auto text = read_file(file, kPemBytesMax);
  if (!text) return bad(file, text.error().detail, std::string("it must be a readable PEM file with ") + holds);
  return text;
}

const unsigned char* raw(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.c_str()); }

Result<void> parse_certificates(mbedtls_x509_crt& into, const std::string& file, const char* holds) {
  const auto text = read_pem(file, holds);
  if (!text) return tl::unexpected(text.error());
  // PEM is told from DER by a terminating zero that counts.
  const int status = mbedtls_x509_crt_parse(&into, raw(*text), text->size() + 1);
  if (status < 0) return bad(file, tls_library_message(status), std::string("it must be a PEM file with ") + holds);
  if (status > 0) {
    return bad(file, std::to_string(status) + " of its certificates cannot be read", "remove or replace them");
  }
  return {};
}

std::string date_of(const mbedtls_x509_time& time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02d", time.year, time.mon, time.day);
  return text.data();
}

Result<void> check_time(const mbedtls_x509_crt& certificate, const std::string& file, std::int64_t wall_ms) {
  if (wall_ms > unix_ms(certificate.valid_to)) {
    return bad(file, "expired on " + date_of(certificate.valid_to), "issue a new one (outrigger init) or set the clock");
  }
  if (wall_ms < unix_ms(certificate.valid_from)) {
    return bad(file, "not valid before " + date_of(certificate.valid_from), "set the clock of this machine");
  }
  return {};
}

}  // namespace

std::string common_name_of(const mbedtls_x509_crt& certificate) {
  for (const mbedtls_asn1_named_data* part = &certificate.subject; part != nullptr; part = part->next) {
    if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &part->oid) != 0) continue;
    return std::string(reinterpret_cast<const char*>(part->val.p), std::min<std::size_t>(part->val.len, 256));
  }
  return {};
}

TlsContext::TlsContext(TlsOptions options) : options_(std::move(options)), impl_(std::make_unique<Impl>()) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsOptions& options, std::int64_t wall_ms) {
  tls_library_start();
  if (options.alpn.size() > kAlpnMax) return fail(Errc::kInvalidArgument, "at most 8 ALPN protocols");
  for (const std::string& name : options.alpn) {
    if (name.empty() || name.size() > 255) return fail(Errc::kInvalidArgument, "an ALPN name has 1 to 255 bytes");
  }
  if (options.cert_file.empty() != options.key_file.empty()) {
    return fail(Errc::kInvalidArgument, "certificate and key file belong together: give both or none");
  }
  if (options.role == TlsRole::kServer && options.cert_file.empty()) {
    return fail(Errc::kInvalidArgument, "a TLS server needs a certificate and a key file");
  }
  if (options.verify == TlsVerify::kRequired && options.ca_file.empty()) {
    return fail(Errc::kInvalidArgument, "checking the other side needs a CA file");
  }
  std::shared_ptr<TlsContext> context(new TlsContext(options));
  if (!options.ca_file.empty()) {
    auto& ca = context->impl_->ca;
    if (auto parsed = parse_certificates(ca, options.ca_file, "CA certificates"); !parsed) {
      return tl::unexpected(parsed.error());
    }
    if (auto valid = check_time(ca, options.ca_file, wall_ms); !valid) return tl::unexpected(valid.error());
  }
  if (!options.cert_file.empty()) {
    if (auto loaded = context->load_own(wall_ms); !loaded) return tl::unexpected(loaded.error());
  }
  if (auto configured = context->configure(); !configured) return tl::unexpected(configured.error());
  return context;
}

Result<void> TlsContext::load_own(std::int64_t wall_ms) {
  const std::string& cert = options_.cert_file;
  const std::string& key = options_.key_file;
  if (auto parsed = parse_certificates(impl_->own, cert, "the certificate of this node"); !parsed) return parsed;
  auto text = read_pem(key, "its private key");
  if (!text) return tl::unexpected(text.error());
  const int status =
      mbedtls_pk_parse_key(&impl_->key, raw(*text), text->size() + 1, nullptr, 0, tls_library_random, nullptr);
  std::fill(text->begin(), text->end(), '\0');
  if (status != 0) return bad(key, tls_library_message(status), "it must be an unencrypted PEM private key");
  if (mbedtls_pk_check_pair(&impl_->own.pk, &impl_->key, tls_library_random, nullptr) != 0) {
    return bad(key, "is not the key of " + cert, "give the pair that was issued together");
  }
  if (auto valid = check_time(impl_->own, cert, wall_ms); !valid) return valid;
  if (!options_.ca_file.empty()) {
    std::uint32_t flags = 0;
    mbedtls_x509_crt_verify(&impl_->own, &impl_->ca, nullptr, nullptr, &flags, nullptr, nullptr);
    // Dates were judged above, with the caller's clock.
    flags &= ~static_cast<std::uint32_t>(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    if (flags != 0) {
      std::array<char, 256> why{};
      mbedtls_x509_crt_verify_info(why.data(), why.size(), "", flags);
      std::string words = why.data();
      while (!words.empty() && words.back() == '\n') words.pop_back();
      return bad(cert, "does not lead to " + options_.ca_file + " (" + words + ")",
                 "issue it from that CA, or give the CA that issued it");
    }
  }
  not_after_ms_ = unix_ms(impl_->own.valid_to);
  own_common_name_ = common_name_of(impl_->own);
  return {};
}

Result<void> TlsContext::configure() {
  mbedtls_ssl_config& config = impl_->config;
  const bool server = options_.role == TlsRole::kServer;
  int status = mbedtls_ssl_config_defaults(&config, server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
                                           MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  if (status == 0 && !options_.cert_file.empty()) {
    status = mbedtls_ssl_conf_own_cert(&config, &impl_->own, &impl_->key);
  }
  if (!options_.ca_file.empty()) mbedtls_ssl_conf_ca_chain(&config, &impl_->ca, nullptr);
  mbedtls_ssl_conf_rng(&config, tls_library_random, nullptr);
  mbedtls_ssl_conf_authmode(&config, options_.verify == TlsVerify::kRequired ? MBEDTLS_SSL_VERIFY_REQUIRED
                                                                             : MBEDTLS_SSL_VERIFY_NONE);
  const bool only_13 = options_.min_version == TlsVersion::kTls13;
  mbedtls_ssl_conf_min_tls_version(&config, only_13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2);
  mbedtls_ssl_conf_max_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_3);
  if (!options_.alpn.empty()) {
    for (const std::string& name : options_.alpn) impl_->alpn.push_back(name.c_str());
    impl_->alpn.push_back(nullptr);
    if (status == 0) status = mbedtls_ssl_conf_alpn_protocols(&config, impl_->alpn.data());
  }
  if (!options_.session_tickets) {
    // No resumption in either direction: every connection shows its certificate.
    mbedtls_ssl_conf_tls13_key_exchange_modes(&config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
    if (!server) mbedtls_ssl_conf_session_tickets(&config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
  } else if (server && status == 0) {
    status = mbedtls_ssl_ticket_setup(&impl_->tickets, tls_library_random, nullptr, MBEDTLS_CIPHER_AES_256_GCM,
                                      kTicketSeconds);
    mbedtls_ssl_conf_session_tickets_cb(&config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, &impl_->tickets);
  }
  if (status != 0) return fail(Errc::kTlsProtocol, "TLS set-up: " + tls_library_message(status));
  return {};
}

}  // namespace agent::io
