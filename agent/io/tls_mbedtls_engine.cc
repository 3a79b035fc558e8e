#include "agent/io/tls_engine.h"

#include <mbedtls/ssl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "agent/io/address.h"
#include "agent/io/crypto.h"
#include "agent/io/tls_mbedtls.h"
#include "agent/io/mbedtls_library.h"

namespace agent::io {

namespace {

constexpr std::size_t kNamesMax = 16;
constexpr int kAlertDescription = 1;  // byte 1 of an alert (RFC 8446, section 6)

/// Alerts by which the other side says that our certificate is the trouble (RFC 8446, section 6.2).
bool blames_our_certificate(unsigned alert) {
  return (alert >= 42 && alert <= 46) || alert == 48 || alert == 49 || alert == 116;
}

/// An address as certificates carry it: 4 or 16 bytes (RFC 5280, section 4.2.1.6). Empty: `name` is none.
std::vector<std::byte> address_bytes(const std::string& name) {
  const auto address = Address::ip(name, 0);
  if (!address) return {};
  const auto bytes = address->bytes();
  return {bytes.begin(), bytes.end()};
}

bool carries_address(const mbedtls_x509_crt& certificate, std::span<const std::byte> address) {
  for (const mbedtls_x509_sequence* item = &certificate.subject_alt_names; item != nullptr && item->buf.p != nullptr; item = item->next) {
    mbedtls_x509_subject_alternative_name name{};
    if (mbedtls_x509_parse_subject_alt_name(&item->buf, &name) != 0) continue;
    const mbedtls_x509_buf& bytes = name.san.unstructured_name;
    const bool same = name.type == MBEDTLS_X509_SAN_IP_ADDRESS && bytes.len == address.size() && std::memcmp(bytes.p, address.data(), bytes.len) == 0;
    mbedtls_x509_free_subject_alt_name(&name);
    if (same) return true;
  }
  return false;
}

}  // namespace

struct TlsEngine::Impl {
  Impl() { mbedtls_ssl_init(&ssl); }
  ~Impl() { mbedtls_ssl_free(&ssl); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  mbedtls_ssl_context ssl;
  std::vector<std::byte> address;  // that the other side's certificate must carry; empty: names are mbedTLS's to check
  std::uint32_t refused_flags = 0;  // why a certificate that need not have been shown is refused

  /// mbedTLS's name check would say an address in SNI, where none may stand (RFC 6066, section 3).
  static int check_address(void* impl, mbedtls_x509_crt* certificate, int depth, std::uint32_t* flags) {
    if (depth == 0 && !carries_address(*certificate, static_cast<Impl*>(impl)->address)) *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
  }
  /// Where a certificate is optional mbedTLS lets a bad one pass; we do not.
  static int refuse_bad(void* impl, mbedtls_x509_crt* /*certificate*/, int /*depth*/, std::uint32_t* flags) {
    if (*flags == 0) return 0;
    static_cast<Impl*>(impl)->refused_flags = *flags;
    return MBEDTLS_ERR_X509_FATAL_ERROR;
  }
  static int send(void* engine, const unsigned char* bytes, std::size_t size) {
    auto& out = *static_cast<TlsEngine*>(engine)->out_;
    const auto* first = reinterpret_cast<const std::byte*>(bytes);
    out.insert(out.end(), first, first + size);
    return static_cast<int>(size);
  }
  static int receive(void* engine, unsigned char* bytes, std::size_t size) {
    auto* self = static_cast<TlsEngine*>(engine);
    const std::size_t taken = std::min(size, self->input_.size() - self->consumed_);
    if (taken == 0) return MBEDTLS_ERR_SSL_WANT_READ;
    std::memcpy(bytes, self->input_.data() + self->consumed_, taken);
    self->consumed_ += taken;
    return static_cast<int>(taken);
  }
};

TlsEngine::TlsEngine(std::shared_ptr<const TlsContext> context)
    : context_(std::move(context)), impl_(std::make_unique<Impl>()) {}
TlsEngine::~TlsEngine() = default;

Result<std::unique_ptr<TlsEngine>> TlsEngine::create(std::shared_ptr<const TlsContext> context,
                                                     const std::string& server_name) {
  std::unique_ptr<TlsEngine> engine(new TlsEngine(std::move(context)));
  mbedtls_ssl_context& ssl = engine->impl_->ssl;
  int status = mbedtls_ssl_setup(&ssl, &engine->context_->impl().config);
  if (status == 0 && engine->context_->options().role == TlsRole::kClient) {
    engine->impl_->address = address_bytes(server_name);
    const bool by_address = !engine->impl_->address.empty();
    if (by_address) mbedtls_ssl_set_verify(&ssl, &Impl::check_address, engine->impl_.get());
    // A null name is mbedTLS's way to say on purpose that the chain is checked and the name is not.
    status = mbedtls_ssl_set_hostname(&ssl, server_name.empty() || by_address ? nullptr : server_name.c_str());
  }
  if (engine->context_->options().verify == TlsVerify::kOptional) mbedtls_ssl_set_verify(&ssl, &Impl::refuse_bad, engine->impl_.get());
  if (status != 0) return fail(Errc::kTlsProtocol, "TLS set-up: " + mbedtls_library_message(status));
  mbedtls_ssl_set_bio(&ssl, engine.get(), &Impl::send, &Impl::receive, nullptr);
  return engine;
}

TlsEngine::Step TlsEngine::handshake(std::span<const std::byte> input) {
  input_ = input;
  consumed_ = 0;
  const int status = mbedtls_ssl_handshake(&impl_->ssl);
  input_ = {};
  if (status == 0) return Step::kDone;
  if (status == MBEDTLS_ERR_SSL_WANT_READ || status == MBEDTLS_ERR_SSL_WANT_WRITE) return Step::kNeedsInput;
  note_failure(status, "TLS handshake");
  return Step::kFailed;
}

TlsEngine::Read TlsEngine::read(std::span<const std::byte> input, std::span<std::byte> plain, std::size_t* count) {
  input_ = input;
  consumed_ = 0;
  *count = 0;
  int status = 0;
  do {  // a session ticket is an event of its own: what follows it must be asked for again at once
    status = mbedtls_ssl_read(&impl_->ssl, reinterpret_cast<unsigned char*>(plain.data()), plain.size());
  } while (status == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
  input_ = {};
  if (status > 0) {
    *count = static_cast<std::size_t>(status);
    heard_ = true;
    return Read::kData;
  }
  if (status == MBEDTLS_ERR_SSL_WANT_READ || status == MBEDTLS_ERR_SSL_WANT_WRITE) return Read::kNeedsInput;
  if (status == 0 || status == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return Read::kEnd;
  note_failure(status, "TLS read");
  return Read::kFailed;
}

Result<void> TlsEngine::write(std::span<const std::byte> plain) {
  while (!plain.empty()) {
    const int status =
        mbedtls_ssl_write(&impl_->ssl, reinterpret_cast<const unsigned char*>(plain.data()), plain.size());
    if (status <= 0) {
      note_failure(status, "TLS write");
      return tl::unexpected(failure_);
    }
    plain = plain.subspan(static_cast<std::size_t>(status));
  }
  return {};
}

void TlsEngine::close_notify() { mbedtls_ssl_close_notify(&impl_->ssl); }

void TlsEngine::note_failure(int code, const char* doing) {
  failure_ = Error{Errc::kTlsProtocol, std::string(doing) + ": " + mbedtls_library_message(code)};
  if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
    failure_ = Error{Errc::kTlsPeer, "the other side's certificate is refused: " + verify_words(mbedtls_ssl_get_verify_result(&impl_->ssl))};
  } else if (code == MBEDTLS_ERR_X509_FATAL_ERROR && impl_->refused_flags != 0) {
    failure_ = Error{Errc::kTlsPeer, "the other side's certificate is refused: " + verify_words(impl_->refused_flags)};
  } else if (code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
    failure_ = Error{Errc::kTlsPeer, "the other side shows no certificate"};
  } else if (code == MBEDTLS_ERR_SSL_BAD_CERTIFICATE) {
    failure_ = Error{Errc::kTlsPeer, "the other side's certificate cannot be used (" + mbedtls_library_message(code) + ")"};
  } else if (code == MBEDTLS_ERR_SSL_INVALID_MAC && !heard_ && context_->options().role == TlsRole::kClient) {
    // A TLS 1.3 server of mbedTLS that refuses our certificate encrypts its alert under a key that our finished
    // handshake has left behind: all that can be read from it is that it came.
    failure_ = Error{Errc::kTlsPeer, "the other side ended the handshake: it most likely refuses our certificate"};
  } else if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
    // mbedTLS tells the alert's number in its buffer only.
    const unsigned alert = impl_->ssl.MBEDTLS_PRIVATE(in_msg)[kAlertDescription];
    failure_.detail += ", alert " + std::to_string(alert);
    if (blames_our_certificate(alert)) {
      failure_ = Error{Errc::kTlsPeer, "the other side refuses our certificate (alert " + std::to_string(alert) + ")"};
    }
  }
}

std::string TlsEngine::alpn() const {
  const char* name = mbedtls_ssl_get_alpn_protocol(&impl_->ssl);
  return name != nullptr ? name : "";
}

std::string_view TlsEngine::version() const { return mbedtls_ssl_get_version(&impl_->ssl); }

PeerIdentity TlsEngine::peer_identity() const {
  PeerIdentity identity;
  const mbedtls_x509_crt* peer = mbedtls_ssl_get_peer_cert(&impl_->ssl);
  if (peer == nullptr) return identity;
  identity.common_name = common_name_of(*peer);
  std::array<char, 512> subject{};
  if (mbedtls_x509_dn_gets(subject.data(), subject.size(), &peer->subject) > 0) identity.subject = subject.data();
  identity.dns_names = dns_names_of(*peer, kNamesMax);
  identity.fingerprint = hex_encode(sha256(std::as_bytes(std::span(peer->raw.p, peer->raw.len))));
  return identity;
}

}  // namespace agent::io
