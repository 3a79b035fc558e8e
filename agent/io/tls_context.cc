// What does not depend on the TLS library: options, files, choice of certificates. The rest of TlsContext is the
// backend's (tls_mbedtls_context.cc, tls_openssl_context.cc).
#include "agent/io/tls_context.h"

#include <algorithm>
#include <ctime>

#include "agent/io/file.h"
#include "agent/io/tls_files.h"

namespace agent::io {

namespace {

constexpr std::size_t kPemBytesMax = 256U << 10;

std::string date_of(std::int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  char text[32] = "";
  if (::gmtime_r(&seconds, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

std::string lower_case(std::string_view name) {
  std::string out(name.substr(0, name.ends_with('.') ? name.size() - 1 : name.size()));
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

Result<void> check_options(const TlsOptions& options) {
  const auto invalid = [](const char* what) { return fail(Errc::kInvalidArgument, what); };
  if (options.alpn.size() > TlsOptions::kAlpnMax) return invalid("at most 8 ALPN protocols");
  for (const std::string& name : options.alpn) {
    if (name.empty() || name.size() > 255) return invalid("an ALPN name has 1 to 255 bytes");
  }
  if (options.certificates.size() > TlsOptions::kCertificatesMax) return invalid("at most 32 certificates");
  for (const TlsCertificate& one : options.certificates) {
    if (one.cert_file.empty() || one.key_file.empty()) {
      return invalid("certificate and key file belong together: give both or none");
    }
    if (!one.ocsp_file.empty() && !TlsContext::can_staple()) {
      return certificate_error(one.ocsp_file, "this build cannot staple OCSP answers (its TLS library is " + std::string(TlsContext::backend()) + ")",
                               "leave the staple out, or build with -DOUTRIGGER_TLS=openssl");
    }
  }
  const bool server = options.role == TlsRole::kServer;
  if (server && options.certificates.empty()) return invalid("a TLS server needs a certificate and a key file");
  if (!server && options.certificates.size() > 1) return invalid("a TLS client has one certificate at most");
  if (!server && options.verify == TlsVerify::kOptional) return invalid("only a server may leave the certificate to the other side");
  if (options.verify != TlsVerify::kNone && options.ca_file.empty()) return invalid("checking the other side needs a CA file");
  if (options.tickets && (!server || options.verify != TlsVerify::kNone)) {
    return invalid("session tickets are for servers that ask for no client certificate: a resumed session shows none");
  }
  return {};
}

}  // namespace

tl::unexpected<Error> certificate_error(const std::string& file, const std::string& what, const std::string& fix) {
  return fail(Errc::kCertificate, file + ": " + what + "; " + fix);
}

Result<std::string> read_pem(const std::string& file, const char* holds) {
  auto text = read_file(file, kPemBytesMax);
  if (!text) return certificate_error(file, text.error().detail, std::string("it must be a readable PEM file with ") + holds);
  return text;
}

Result<void> check_validity(const std::string& file, std::int64_t from_ms, std::int64_t until_ms, std::int64_t wall_ms) {
  if (wall_ms > until_ms) {
    return certificate_error(file, "expired on " + date_of(until_ms), "put a new one in its place, or set the clock");
  }
  if (wall_ms < from_ms) return certificate_error(file, "not valid before " + date_of(from_ms), "set the clock of this machine");
  return {};
}

NameMatch match_name(std::string_view of_certificate, std::string_view asked_for) {
  if (of_certificate == asked_for) return NameMatch::kExact;
  if (!of_certificate.starts_with("*.")) return NameMatch::kNo;
  const std::size_t dot = asked_for.find('.');
  if (dot == 0 || dot == std::string_view::npos) return NameMatch::kNo;
  return asked_for.substr(dot) == of_certificate.substr(1) ? NameMatch::kWildcard : NameMatch::kNo;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsOptions& options, std::int64_t wall_ms) {
  if (auto sound = check_options(options); !sound) return tl::unexpected(sound.error());
  std::shared_ptr<TlsContext> context(new TlsContext(options));
  if (!options.ca_file.empty()) {
    if (auto loaded = context->load_ca(wall_ms); !loaded) return tl::unexpected(loaded.error());
  }
  for (const TlsCertificate& files : options.certificates) {
    if (auto loaded = context->load_certificate(files, wall_ms); !loaded) return tl::unexpected(loaded.error());
    for (std::string& name : context->certificates_.back().names) name = lower_case(name);
  }
  if (auto configured = context->configure(); !configured) return tl::unexpected(configured.error());
  return context;
}

std::int64_t TlsContext::not_after_ms() const {
  std::int64_t first = 0;
  for (const TlsCertificateInfo& one : certificates_) first = first == 0 ? one.not_after_ms : std::min(first, one.not_after_ms);
  return first;
}

std::string TlsContext::own_common_name() const { return certificates_.empty() ? std::string() : certificates_.front().common_name; }

std::vector<std::size_t> TlsContext::matching(std::string_view server_name) const {
  const std::string wanted = lower_case(server_name);
  std::vector<std::size_t> exact, wild;
  for (std::size_t i = 0; i < certificates_.size(); ++i) {
    NameMatch best = NameMatch::kNo;
    for (const std::string& name : certificates_[i].names) best = std::max(best, match_name(name, wanted));
    if (best == NameMatch::kExact) exact.push_back(i);
    if (best == NameMatch::kWildcard) wild.push_back(i);
  }
  if (!exact.empty()) return exact;
  if (!wild.empty() || certificates_.empty()) return wild;
  std::vector<std::size_t> first{0};
  const auto& own = certificates_[0].names;
  for (std::size_t i = 1; i < certificates_.size(); ++i) {
    const auto& names = certificates_[i].names;
    if (std::find_first_of(names.begin(), names.end(), own.begin(), own.end()) != names.end()) first.push_back(i);
  }
  return first;
}

}  // namespace agent::io
