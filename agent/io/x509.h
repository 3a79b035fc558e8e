#pragma once
/// Making certificates: for `outrigger init`, and for tests. ECDSA P-256 with SHA-256 throughout.
#include <cstdint>
#include <string>
#include <vector>

#include "agent/io/error.h"

namespace agent::io {

/// A certificate and its private key, both PEM text. The key is secret: write it with mode 0600 (write_pem_pair).
struct PemPair {
  std::string certificate;
  std::string key;
};

struct CertificateRequest {
  std::string common_name;             ///< 1..64 printable characters without ',' '=' or '"'; a node's name
  std::vector<std::string> dns_names;  ///< subjectAltName dNSName entries
  std::vector<std::string> ip_names;   ///< subjectAltName iPAddress entries, numeric
  std::int64_t not_before_ms = 0;      ///< Unix time in ms
  std::int64_t not_after_ms = 0;       ///< > not_before_ms
};

/// A self-signed CA that may sign leaves only (path length 0). Only common_name and the times are used.
/// Errors: kInvalidArgument (name or times).
Result<PemPair> create_ca(const CertificateRequest& request);
/// A leaf for both directions of TLS (serverAuth, clientAuth) under `ca`. The SAN always carries common_name as a
/// dNSName too. Errors: kInvalidArgument; kCertificate (`ca` does not parse or its key does not fit).
Result<PemPair> issue_certificate(const PemPair& ca, const CertificateRequest& request);
/// Writes certificate (0644) and key (0600), each atomically. Errors: kExists if either is there; those of file.h.
Result<void> write_pem_pair(const PemPair& pair, const std::string& cert_file, const std::string& key_file);
/// Reads them back, bounded to 256 KiB each. Errors: those of read_file.
Result<PemPair> read_pem_pair(const std::string& cert_file, const std::string& key_file);

}  // namespace agent::io
