#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string_view>

#include "agent/io/clock.h"
#include "agent/io/file.h"
#include "agent/io/tls_files.h"
#include "agent/io/tls_openssl.h"

namespace agent::io {

namespace {

/// Of TLS 1.2 what has forward secrecy and authenticated encryption. TLS 1.3's own list stands as it is.
constexpr const char* kServerSuites =
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256";
constexpr std::size_t kStapleBytesMax = 64U << 10;

std::int64_t unix_ms(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return static_cast<std::int64_t>(::timegm(&parts)) * 1000;
}

std::int64_t unix_ms(const ASN1_GENERALIZEDTIME* time, std::int64_t absent) { return time == nullptr ? absent : unix_ms(time); }

/// A file's text as OpenSSL reads it.
OpensslBio bio_of(const std::string& text) { return OpensslBio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

/// Never asks at the terminal.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*unused*/) { return -1; }

Result<void> parse_leaf_and_chain(OpensslPair& pair, const std::string& file) {
  const char* const holds = "the certificate of this node";
  const auto text = read_pem(file, holds);
  if (!text) return tl::unexpected(text.error());
  const OpensslBio bio = bio_of(*text);
  pair.leaf.reset(PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
  if (!pair.leaf) return certificate_error(file, openssl_message(), std::string("it must be a PEM file with ") + holds);
  while (X509* above = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)) sk_X509_push(pair.chain.stack, above);
  const unsigned long last = ERR_peek_last_error();
  ERR_clear_error();
  if (ERR_GET_REASON(last) == PEM_R_NO_START_LINE) return {};
  return certificate_error(file, "one of its certificates cannot be read", "remove or replace it");
}

Result<void> parse_key(OpensslPair& pair, const TlsCertificate& files) {
  auto text = read_pem(files.key_file, "its private key");
  if (!text) return tl::unexpected(text.error());
  {
    const OpensslBio bio = bio_of(*text);
    pair.key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  }
  std::fill(text->begin(), text->end(), '\0');
  if (!pair.key) return certificate_error(files.key_file, openssl_message(), "it must be an unencrypted PEM private key");
  if (X509_check_private_key(pair.leaf.get(), pair.key.get()) != 1) {
    ERR_clear_error();
    return certificate_error(files.key_file, "is not the key of " + files.cert_file, "give the pair that was issued together");
  }
  return {};
}

/// The file is the responder's answer for this certificate as it came; whoever fetches it has checked its signature,
/// and so will the client. Here: is it one, does it speak of this certificate, and until when.
Result<void> load_staple(OpensslPair& pair, const std::string& file) {
  const auto text = read_file(file, kStapleBytesMax);
  if (!text) return certificate_error(file, text.error().detail, "it must be a readable file with an OCSP answer (DER)");
  const auto* bytes = reinterpret_cast<const unsigned char*>(text->data());
  const unsigned char* at = bytes;
  const std::unique_ptr<OCSP_RESPONSE, OpensslFree<OCSP_RESPONSE_free>> answer(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(text->size())));
  const char* const fix = "fetch it anew from the responder of the certificate's authority, as DER";
  if (!answer || OCSP_response_status(answer.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    ERR_clear_error();
    return certificate_error(file, answer ? "the responder refused to answer" : "is no OCSP answer", fix);
  }
  const std::unique_ptr<OCSP_BASICRESP, OpensslFree<OCSP_BASICRESP_free>> basic(OCSP_response_get1_basic(answer.get()));
  const int count = basic ? OCSP_resp_count(basic.get()) : 0;
  for (int i = 0; i < count; ++i) {
    OCSP_SINGLERESP* const one = OCSP_resp_get0(basic.get(), i);
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(one)));
    if (serial == nullptr || ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(pair.leaf.get())) != 0) continue;
    ASN1_GENERALIZEDTIME* until = nullptr;
    if (OCSP_single_get0_status(one, nullptr, nullptr, nullptr, &until) != V_OCSP_CERTSTATUS_GOOD) {
      return certificate_error(file, "says that the certificate is revoked or unknown", "replace the certificate");
    }
    pair.staple.assign(bytes, bytes + text->size());
    pair.staple_until_ms = unix_ms(until, 0);
    return {};
  }
  ERR_clear_error();
  return certificate_error(file, "says nothing about this certificate", fix);
}

Result<void> check_leads_to(const OpensslPair& pair, SSL_CTX* context, const std::string& file, const std::string& ca_file) {
  const std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>> check(X509_STORE_CTX_new());
  X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(context), pair.leaf.get(), pair.chain.stack);
  // Dates are judged with the caller's clock.
  X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(check.get()), X509_V_FLAG_NO_CHECK_TIME);
  if (X509_verify_cert(check.get()) == 1) return {};
  const std::string words = X509_verify_cert_error_string(X509_STORE_CTX_get_error(check.get()));
  ERR_clear_error();
  return certificate_error(file, "does not lead to " + ca_file + " (" + words + ")", "issue it from that CA, or give the CA that issued it");
}

int choose_alpn(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size, void* context) {
  const std::string& ours = static_cast<const TlsContext*>(context)->impl().alpn;
  unsigned char* chosen = nullptr;
  const int status = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours.data()),
                                           static_cast<unsigned>(ours.size()), in, in_size);
  *out = chosen;
  return status == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// Before a certificate is chosen: all that fit the name asked for; OpenSSL takes the one whose key the client can check.
int choose_certificate(SSL* ssl, void* context) {
  const auto& self = *static_cast<const TlsContext*>(context);
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  SSL_certs_clear(ssl);
  for (const std::size_t i : self.matching(name != nullptr ? name : "")) {
    const OpensslPair& pair = *self.impl().own[i];
    if (SSL_use_cert_and_key(ssl, pair.leaf.get(), pair.key.get(), pair.chain.stack, 1) != 1) return 0;
  }
  return 1;
}

int staple(SSL* ssl, void* context) {
  const X509* const shown = SSL_get_certificate(ssl);
  for (const auto& pair : static_cast<const TlsContext*>(context)->impl().own) {
    if (pair->leaf.get() != shown || pair->staple.empty()) continue;
    if (pair->staple_until_ms != 0 && wall_ms() > pair->staple_until_ms) break;  // too old: none is better than a stale one
    auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(pair->staple.data(), pair->staple.size()));
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(pair->staple.size()));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

int verify_mode(TlsVerify verify) {
  switch (verify) {
    case TlsVerify::kRequired: return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    case TlsVerify::kOptional: return SSL_VERIFY_PEER;
    case TlsVerify::kNone: break;
  }
  return SSL_VERIFY_NONE;
}

}  // namespace

std::string openssl_message() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown error";
}

std::string common_name_of(const X509& certificate) {
  const X509_NAME* const subject = X509_get_subject_name(&certificate);
  const int place = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (place < 0) return {};
  const ASN1_STRING* const text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place));
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), std::min<std::size_t>(static_cast<std::size_t>(ASN1_STRING_length(text)), 256));
}

std::vector<std::string> dns_names_of(const X509& certificate, std::size_t count_max) {
  std::vector<std::string> names;
  auto* const all = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all) && names.size() < count_max; ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(all, i);
    if (name->type != GEN_DNS) continue;
    names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                       std::min<std::size_t>(static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)), 256));
  }
  GENERAL_NAMES_free(all);
  return names;
}

std::string_view TlsContext::backend() { return "openssl"; }
bool TlsContext::can_staple() { return true; }

TlsContext::TlsContext(TlsOptions options) : options_(std::move(options)), impl_(std::make_unique<Impl>()) {
  impl_->context.reset(SSL_CTX_new(options_.role == TlsRole::kServer ? TLS_server_method() : TLS_client_method()));
}
TlsContext::~TlsContext() = default;

Result<void> TlsContext::load_ca(std::int64_t wall_ms) {
  const char* const holds = "CA certificates";
  const auto text = read_pem(options_.ca_file, holds);
  if (!text) return tl::unexpected(text.error());
  const OpensslBio bio = bio_of(*text);
  std::size_t count = 0;
  while (const OpensslCertificate one{PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)}) {
    if (count++ == 0) {
      const auto valid = check_validity(options_.ca_file, unix_ms(X509_get0_notBefore(one.get())), unix_ms(X509_get0_notAfter(one.get())), wall_ms);
      if (!valid) return valid;
    }
    X509_STORE_add_cert(SSL_CTX_get_cert_store(impl_->context.get()), one.get());
    if (options_.role == TlsRole::kServer) SSL_CTX_add_client_CA(impl_->context.get(), one.get());
  }
  const unsigned long last = ERR_peek_last_error();
  if (count > 0 && ERR_GET_REASON(last) == PEM_R_NO_START_LINE) return ERR_clear_error(), Result<void>{};
  return certificate_error(options_.ca_file, openssl_message(), std::string("it must be a PEM file with ") + holds);
}

Result<void> TlsContext::load_certificate(const TlsCertificate& files, std::int64_t wall_ms) {
  auto pair = std::make_unique<OpensslPair>();
  if (auto parsed = parse_leaf_and_chain(*pair, files.cert_file); !parsed) return parsed;
  if (auto parsed = parse_key(*pair, files); !parsed) return parsed;
  const std::int64_t until = unix_ms(X509_get0_notAfter(pair->leaf.get()));
  if (auto valid = check_validity(files.cert_file, unix_ms(X509_get0_notBefore(pair->leaf.get())), until, wall_ms); !valid) return valid;
  if (options_.own_from_ca && !options_.ca_file.empty()) {
    if (auto led = check_leads_to(*pair, impl_->context.get(), files.cert_file, options_.ca_file); !led) return led;
  }
  if (!files.ocsp_file.empty()) {
    if (auto stapled = load_staple(*pair, files.ocsp_file); !stapled) return stapled;
  }
  TlsCertificateInfo info{files.cert_file, common_name_of(*pair->leaf), dns_names_of(*pair->leaf, kCertificateNamesMax), until};
  if (info.names.empty() && !info.common_name.empty()) info.names.push_back(info.common_name);
  certificates_.push_back(std::move(info));
  impl_->own.push_back(std::move(pair));
  return {};
}

std::vector<std::string> tls_groups() { return {"X25519", "secp256r1", "secp384r1", "secp521r1"}; }

Result<void> TlsContext::configure() {
  SSL_CTX* const context = impl_->context.get();
  if (context == nullptr) return fail(Errc::kTlsProtocol, "TLS set-up: " + openssl_message());
  const bool server = options_.role == TlsRole::kServer;
  SSL_CTX_set_min_proto_version(context, options_.min_version == TlsVersion::kTls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // Idle connections give their buffers back; what a write did not finish is never offered from elsewhere.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, verify_mode(options_.verify), nullptr);
  bool ok = !server || SSL_CTX_set_cipher_list(context, kServerSuites) == 1;
  for (const std::size_t i : matching({})) {
    const OpensslPair& pair = *impl_->own[i];
    ok = ok && SSL_CTX_use_cert_and_key(context, pair.leaf.get(), pair.key.get(), pair.chain.stack, 1) == 1;
  }
  if (server && impl_->own.size() > 1) SSL_CTX_set_cert_cb(context, choose_certificate, this);
  if (server && std::any_of(impl_->own.begin(), impl_->own.end(), [](const auto& pair) { return !pair->staple.empty(); })) {
    SSL_CTX_set_tlsext_status_cb(context, staple);
    SSL_CTX_set_tlsext_status_arg(context, this);
  }
  if (!options_.groups.empty()) {
    std::string groups;
    for (const std::string& name : options_.groups) {
      // This library knows the curve by another name, too, in whichever of them older versions do.
      groups += (groups.empty() ? "" : ":") + (name == "secp256r1" ? std::string("P-256") : name);
    }
    if (SSL_CTX_set1_groups_list(context, groups.c_str()) != 1)
      return fail(Errc::kInvalidArgument, "key exchange groups " + groups + ": " + openssl_message());
  }
  for (const std::string& name : options_.alpn) impl_->alpn += static_cast<char>(name.size()) + name;
  if (!impl_->alpn.empty() && server) SSL_CTX_set_alpn_select_cb(context, choose_alpn, this);
  if (!impl_->alpn.empty() && !server) {
    ok = ok && SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(impl_->alpn.data()), static_cast<unsigned>(impl_->alpn.size())) == 0;
  }
  if (options_.tickets) {
    SSL_CTX_set_num_tickets(context, 1);
    set_openssl_tickets(context, options_.tickets.get());
  } else {
    // No resumption in either direction: every connection shows its certificate.
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
  }
  if (!ok) return fail(Errc::kTlsProtocol, "TLS set-up: " + openssl_message());
  return {};
}

}  // namespace agent::io
