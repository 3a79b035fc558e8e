#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>

#include "agent/io/address.h"
#include "agent/io/crypto.h"
#include "agent/io/tls_engine.h"
#include "agent/io/tls_openssl.h"

namespace agent::io {

namespace {

constexpr std::size_t kNamesMax = 16;

/// Alerts by which the other side says that our certificate is the trouble (RFC 8446, section 6.2).
bool blames_our_certificate(int alert) { return (alert >= 42 && alert <= 46) || alert == 48 || alert == 49 || alert == 116; }

}  // namespace

/// Memory to memory: the library reads from the span given to the present call and appends to out().
struct TlsEngine::Impl {
  std::unique_ptr<SSL, OpensslFree<SSL_free>> ssl;

  static int send(BIO* bio, const char* bytes, int size) {
    auto& out = *static_cast<TlsEngine*>(BIO_get_data(bio))->out_;
    const auto* first = reinterpret_cast<const std::byte*>(bytes);
    out.insert(out.end(), first, first + size);
    return size;
  }
  static int receive(BIO* bio, char* bytes, int size) {
    auto& self = *static_cast<TlsEngine*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const std::size_t taken = std::min(static_cast<std::size_t>(size), self.input_.size() - self.consumed_);
    if (taken == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(bytes, self.input_.data() + self.consumed_, taken);
    self.consumed_ += taken;
    return static_cast<int>(taken);
  }
  static long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "outrigger");
      BIO_meth_set_write(fresh, &Impl::send);
      BIO_meth_set_read(fresh, &Impl::receive);
      BIO_meth_set_ctrl(fresh, &Impl::control);
      return fresh;
    }();
    return made;
  }
};

TlsEngine::TlsEngine(std::shared_ptr<const TlsContext> context) : context_(std::move(context)), impl_(std::make_unique<Impl>()) {}
TlsEngine::~TlsEngine() = default;

Result<std::unique_ptr<TlsEngine>> TlsEngine::create(std::shared_ptr<const TlsContext> context, const std::string& server_name) {
  std::unique_ptr<TlsEngine> engine(new TlsEngine(std::move(context)));
  SSL* const ssl = SSL_new(engine->context_->impl().context.get());
  BIO* const bio = ssl != nullptr ? BIO_new(Impl::method()) : nullptr;
  engine->impl_->ssl.reset(ssl);
  if (bio == nullptr) return fail(Errc::kTlsProtocol, "TLS set-up: " + openssl_message());
  BIO_set_data(bio, engine.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  if (engine->context_->options().role == TlsRole::kServer) {
    SSL_set_accept_state(ssl);
    return engine;
  }
  SSL_set_connect_state(ssl);
  bool ok = true;
  if (Address::ip(server_name, 0)) {  // no address in SNI (RFC 6066, section 3), but the certificate must carry it
    ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name.c_str()) == 1;
  } else if (!server_name.empty()) {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ok = SSL_set1_host(ssl, server_name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, server_name.c_str()) == 1;
  }
  if (!ok) return fail(Errc::kTlsProtocol, "TLS set-up: " + openssl_message());
  return engine;
}

TlsEngine::Step TlsEngine::handshake(std::span<const std::byte> input) {
  ERR_clear_error();
  input_ = input;
  consumed_ = 0;
  const int status = SSL_do_handshake(impl_->ssl.get());
  input_ = {};
  if (status == 1) return Step::kDone;
  const int why = SSL_get_error(impl_->ssl.get(), status);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return Step::kNeedsInput;
  note_failure(why, "TLS handshake");
  return Step::kFailed;
}

TlsEngine::Read TlsEngine::read(std::span<const std::byte> input, std::span<std::byte> plain, std::size_t* count) {
  ERR_clear_error();
  input_ = input;
  consumed_ = 0;
  *count = 0;
  const int status = SSL_read_ex(impl_->ssl.get(), plain.data(), plain.size(), count);
  input_ = {};
  if (status == 1) {
    heard_ = true;
    return Read::kData;
  }
  *count = 0;
  switch (const int why = SSL_get_error(impl_->ssl.get(), status); why) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return Read::kNeedsInput;
    case SSL_ERROR_ZERO_RETURN: return Read::kEnd;
    default: note_failure(why, "TLS read"); return Read::kFailed;
  }
}

Result<void> TlsEngine::write(std::span<const std::byte> plain) {
  if (plain.empty()) return {};
  ERR_clear_error();
  std::size_t taken = 0;
  // The way out takes everything, so this writes all or fails.
  const int status = SSL_write_ex(impl_->ssl.get(), plain.data(), plain.size(), &taken);
  if (status == 1 && taken == plain.size()) return {};
  note_failure(SSL_get_error(impl_->ssl.get(), status), "TLS write");
  return tl::unexpected(failure_);
}

void TlsEngine::close_notify() {
  ERR_clear_error();
  SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

/// @param code  of SSL_get_error; the story is in this thread's queue
void TlsEngine::note_failure(int code, const char* doing) {
  const unsigned long first = ERR_peek_error();
  const int reason = ERR_GET_LIB(first) == ERR_LIB_SSL ? ERR_GET_REASON(first) : 0;
  const char* const words = ERR_reason_error_string(first);
  failure_ = Error{Errc::kTlsProtocol, std::string(doing) + ": " + (words != nullptr ? words : "error " + std::to_string(code))};
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    failure_ = Error{Errc::kTlsPeer, std::string("the other side's certificate is refused: ") +
                                         X509_verify_cert_error_string(SSL_get_verify_result(impl_->ssl.get()))};
  } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    failure_ = Error{Errc::kTlsPeer, "the other side shows no certificate"};
  } else if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
    const int alert = reason - SSL_AD_REASON_OFFSET;
    failure_.detail += ", alert " + std::to_string(alert);
    if (blames_our_certificate(alert)) {
      failure_ = Error{Errc::kTlsPeer, "the other side refuses our certificate (alert " + std::to_string(alert) + ")"};
    }
  }
  ERR_clear_error();
}

std::string TlsEngine::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(impl_->ssl.get(), &name, &size);
  return name != nullptr ? std::string(reinterpret_cast<const char*>(name), size) : std::string();
}

std::string_view TlsEngine::version() const { return SSL_get_version(impl_->ssl.get()); }

PeerIdentity TlsEngine::peer_identity() const {
  PeerIdentity identity;
  const X509* const peer = SSL_get0_peer_certificate(impl_->ssl.get());
  if (peer == nullptr) return identity;
  identity.common_name = common_name_of(*peer);
  identity.dns_names = dns_names_of(*peer, kNamesMax);
  const OpensslBio text(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(text.get(), X509_get_subject_name(peer), 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(text.get(), &bytes);
  identity.subject.assign(bytes, static_cast<std::size_t>(std::clamp(size, 0L, 511L)));
  unsigned char* der = nullptr;
  const int der_size = i2d_X509(peer, &der);
  if (der_size > 0) identity.fingerprint = hex_encode(sha256(std::as_bytes(std::span(der, static_cast<std::size_t>(der_size)))));
  OPENSSL_free(der);
  return identity;
}

}  // namespace agent::io
