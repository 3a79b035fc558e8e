#pragma once
/// Keys, certificates and rules shared by many TLS streams.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/io/error.h"

namespace agent::io {

enum class TlsRole : std::uint8_t { kClient, kServer };
enum class TlsVerify : std::uint8_t {
  kRequired,  ///< the other side must prove itself to our CA (mesh: both directions)
  kNone,      ///< no certificate is asked for (an HTTPS listener; a check of a self-signed endpoint)
};
enum class TlsVersion : std::uint8_t { kTls12, kTls13 };

/// What a context is loaded from. Paths of PEM files; a certificate file may hold its chain, leaf first.
struct TlsOptions {
  TlsRole role = TlsRole::kServer;
  TlsVerify verify = TlsVerify::kRequired;
  TlsVersion min_version = TlsVersion::kTls13;
  std::string ca_file;    ///< trust anchors; needed for kRequired
  std::string cert_file;  ///< own certificate; needed by a server, optional for a client
  std::string key_file;   ///< its private key; needed with cert_file
  /// Protocols offered or accepted, best first, at most 8. A server with a list refuses a client that offers none of
  /// them; a client that offers none at all is accepted with an empty alpn().
  std::vector<std::string> alpn;
  bool session_tickets = false;  ///< off on mutual TLS: a resumed session shows no peer certificate (design.md section 8)
};

/// Immutable once loaded, so any number of streams on any thread may use it at once. Reload = load a new one and hand
/// it to new streams; running streams keep theirs (that is what the shared_ptr is for).
class TlsContext {
 public:
  /// Reads and checks everything: key fits certificate, certificate is within its time, chain leads to the CA where
  /// one is given. Errors: kCertificate, naming the file, what is wrong and what to do; kInvalidArgument.
  /// @param wall_ms  Unix time in ms used for the validity check (and only for it).
  static Result<std::shared_ptr<const TlsContext>> load(const TlsOptions& options, std::int64_t wall_ms);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  [[nodiscard]] const TlsOptions& options() const { return options_; }
  /// Unix time in ms at which the own certificate ends; 0 without one. For a warning metric.
  [[nodiscard]] std::int64_t not_after_ms() const { return not_after_ms_; }
  [[nodiscard]] const std::string& own_common_name() const { return own_common_name_; }

  struct Impl;                                         ///< mbedTLS's structures; only tls_*.cc sees them
  [[nodiscard]] Impl& impl() const { return *impl_; }

 private:
  explicit TlsContext(TlsOptions options);
  Result<void> load_own(std::int64_t wall_ms);
  Result<void> load_ca();
  Result<void> configure();

  TlsOptions options_;
  std::int64_t not_after_ms_ = 0;
  std::string own_common_name_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent::io
