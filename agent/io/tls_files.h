#pragma once
/// What both TLS backends say about files in the same words. Private to tls_*.cc.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/error.h"

namespace agent::io {

/// kCertificate: "file: what; fix".
tl::unexpected<Error> certificate_error(const std::string& file, const std::string& what, const std::string& fix);
/// At most 256 KiB. Errors: kCertificate, naming the file. @param holds  "its private key"
Result<std::string> read_pem(const std::string& file, const char* holds);
/// Errors: kCertificate when `wall_ms` lies outside of the two (Unix time in ms).
Result<void> check_validity(const std::string& file, std::int64_t from_ms, std::int64_t until_ms, std::int64_t wall_ms);
/// Whether a name of a certificate covers the one asked for: equal, or a wildcard for exactly its first label
/// (RFC 6125, section 6.4.3). Both in lower case.
enum class NameMatch : std::uint8_t { kNo, kWildcard, kExact };
NameMatch match_name(std::string_view of_certificate, std::string_view asked_for);

inline constexpr std::size_t kCertificateNamesMax = 256;

}  // namespace agent::io
