#pragma once
/// Keys, certificates and rules shared by many TLS streams.
///
/// The seam to the TLS library is this file, tls_tickets.h and tls_engine.h: what stands behind them is either mbedTLS
/// (tls_mbedtls_*.cc) or OpenSSL (tls_openssl_*.cc), chosen when CMake runs (OUTRIGGER_TLS). Nobody above can tell which.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/error.h"
#include "agent/io/tls_tickets.h"

namespace agent::io {

enum class TlsRole : std::uint8_t { kClient, kServer };
enum class TlsVerify : std::uint8_t {
  kRequired,  ///< the other side must prove itself to our CA (mesh: both directions)
  kOptional,  ///< server only: a client may show no certificate, but one that it shows must be good
  kNone,      ///< no certificate is asked for (an HTTPS listener; a check of a self-signed endpoint)
};
enum class TlsVersion : std::uint8_t { kTls12, kTls13 };

/// One certificate with its key: paths of PEM files; the certificate file may hold its chain, leaf first.
struct TlsCertificate {
  std::string cert_file;
  std::string key_file;
  std::string ocsp_file;  ///< answer of the CA's OCSP responder (DER) to be stapled; empty = none. OpenSSL only
};

/// Names of groups that TlsOptions::groups may hold, as TLS itself has them (RFC 8446, section 4.2.7).
[[nodiscard]] std::vector<std::string> tls_groups();

/// What a context is loaded from.
struct TlsOptions {
  static constexpr std::size_t kCertificatesMax = 32;
  static constexpr std::size_t kAlpnMax = 8;

  TlsRole role = TlsRole::kServer;
  TlsVerify verify = TlsVerify::kRequired;
  TlsVersion min_version = TlsVersion::kTls13;
  std::string ca_file;  ///< trust anchors; needed for kRequired and kOptional
  /// Own certificates, at most kCertificatesMax; a server needs one, a client may have one. Of several a server shows
  /// the one whose names fit the name that the client asks for (SNI), RSA and ECDSA ones side by side; else the first.
  std::vector<TlsCertificate> certificates;
  bool own_from_ca = false;  ///< own certificates must lead to ca_file, too (mesh: one CA for both directions)
  /// Key exchange groups, best first, of tls_groups(); empty = what the library does by itself. Which of several is taken is up
  /// to the client in TLS 1.3.
  std::vector<std::string> groups;
  /// Protocols offered or accepted, best first, at most kAlpnMax. A server with a list refuses a client that offers none
  /// of them; a client that offers none at all is accepted with an empty alpn().
  std::vector<std::string> alpn;
  /// Server: seals session tickets, so that clients that come again are spared half the handshake. Null = no resumption.
  /// Refused with any verification: a resumed session shows no peer certificate (design.md section 8).
  std::shared_ptr<TlsTickets> tickets;
};

/// What is known of one of our own certificates.
struct TlsCertificateInfo {
  std::string file;
  std::string common_name;         ///< subject's CN, at most 256 bytes; may be empty
  std::vector<std::string> names;  ///< dNSNames in lower case (the CN where there is none), at most 256
  std::int64_t not_after_ms = 0;   ///< Unix time at which it ends
};

/// Immutable once loaded, so any number of streams on any thread may use it at once. Reload = load a new one and hand
/// it to new streams; running streams keep theirs (that is what the shared_ptr is for).
class TlsContext {
 public:
  /// Reads and checks everything: key fits certificate, certificate is within its time, chain leads to the CA where
  /// that is asked for. Errors: kCertificate, naming the file, what is wrong and what to do; kInvalidArgument.
  /// @param wall_ms  Unix time in ms used for the validity check (and only for it).
  static Result<std::shared_ptr<const TlsContext>> load(const TlsOptions& options, std::int64_t wall_ms);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// The library behind the seam, "mbedtls" or "openssl": for `version`, metrics and the sentence that refuses a staple.
  static std::string_view backend();
  static bool can_staple();  ///< whether TlsCertificate::ocsp_file is of use

  [[nodiscard]] const TlsOptions& options() const { return options_; }
  [[nodiscard]] const std::vector<TlsCertificateInfo>& certificates() const { return certificates_; }
  /// Unix time in ms at which the first of the own certificates ends; 0 without one.
  [[nodiscard]] std::int64_t not_after_ms() const;
  [[nodiscard]] std::string own_common_name() const;
  /// Which certificates to show to a client that asks for `server_name`, as places in certificates(): those that carry
  /// it, else those with a wildcard over it, else the first and those that share a name with it (RSA, ECDSA).
  /// Never empty on a server.
  [[nodiscard]] std::vector<std::size_t> matching(std::string_view server_name) const;

  struct Impl;                                         ///< the library's structures; only tls_BACKEND_*.cc see them
  [[nodiscard]] Impl& impl() const { return *impl_; }

 private:
  explicit TlsContext(TlsOptions options);
  Result<void> load_ca(std::int64_t wall_ms);
  Result<void> load_certificate(const TlsCertificate& files, std::int64_t wall_ms);
  Result<void> configure();

  TlsOptions options_;
  std::vector<TlsCertificateInfo> certificates_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent::io
