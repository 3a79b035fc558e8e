#include "agent/io/x509.h"

#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <span>

#include "agent/io/address.h"
#include "agent/io/crypto.h"
#include "agent/io/file.h"
#include "agent/io/mbedtls_library.h"

namespace agent::io {

namespace {

constexpr std::size_t kPemBytesMax = 256U << 10;
constexpr std::size_t kNamesMax = 64;

struct Key {
  Key() { mbedtls_pk_init(&context); }
  ~Key() { mbedtls_pk_free(&context); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  mbedtls_pk_context context;
};

struct Certificate {
  Certificate() { mbedtls_x509_crt_init(&parsed); }
  ~Certificate() { mbedtls_x509_crt_free(&parsed); }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  mbedtls_x509_crt parsed;
};

struct Writer {
  Writer() { mbedtls_x509write_crt_init(&context); }
  ~Writer() { mbedtls_x509write_crt_free(&context); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  mbedtls_x509write_cert context;
};

/// "YYYYMMDDhhmmss" in UTC, as mbedTLS wants it.
std::string certificate_time(std::int64_t unix_ms) {
  using namespace std::chrono;
  const sys_time<milliseconds> moment{milliseconds(unix_ms)};
  const sys_days day = floor<days>(moment);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<seconds>(moment - day));
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d%02u%02u%02d%02d%02d", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

bool plain_name(const std::string& name, std::size_t size_max) {
  if (name.empty() || name.size() > size_max) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return c > ' ' - 1 && c < 0x7f && std::strchr(",=\"+<>#;\\", c) == nullptr;
  });
}

Result<void> check(const CertificateRequest& request) {
  if (!plain_name(request.common_name, 64)) {
    return fail(Errc::kInvalidArgument, "certificate name '" + request.common_name +
                                            "': 1 to 64 printable characters without , = \" + < > # ; \\");
  }
  for (const std::string& name : request.dns_names) {
    if (!plain_name(name, 253)) return fail(Errc::kInvalidArgument, "'" + name + "' is no DNS name");
  }
  if (request.dns_names.size() + request.ip_names.size() > kNamesMax) {
    return fail(Errc::kInvalidArgument, "a certificate takes at most 64 names");
  }
  constexpr std::int64_t kYear9999Ms = 253'402'300'799'000;
  if (request.not_before_ms < 0 || request.not_after_ms <= request.not_before_ms ||
      request.not_after_ms > kYear9999Ms) {
    return fail(Errc::kInvalidArgument, "a certificate must begin before it ends");
  }
  return {};
}

tl::unexpected<Error> library_failure(int status, const char* doing) {
  return fail(Errc::kCertificate, std::string(doing) + ": " + mbedtls_library_message(status));
}

Result<void> generate(Key& key) {
  int status = mbedtls_pk_setup(&key.context, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
  if (status == 0) {
    status = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key.context), mbedtls_library_random, nullptr);
  }
  if (status != 0) return library_failure(status, "make a key");
  return {};
}

Result<std::string> key_pem(const Key& key) {
  std::array<unsigned char, 4096> text{};
  const int status = mbedtls_pk_write_key_pem(&key.context, text.data(), text.size());
  if (status != 0) return library_failure(status, "write a key");
  std::string pem = reinterpret_cast<const char*>(text.data());
  std::fill(text.begin(), text.end(), 0);
  return pem;
}

/// Everything of a certificate but what tells a CA from a leaf.
int fill_common(Writer& writer, const CertificateRequest& request, Key& subject, Key& issuer,
                const std::string& issuer_name) {
  mbedtls_x509write_cert* cert = &writer.context;
  mbedtls_x509write_crt_set_version(cert, MBEDTLS_X509_CRT_VERSION_3);
  mbedtls_x509write_crt_set_md_alg(cert, MBEDTLS_MD_SHA256);
  mbedtls_x509write_crt_set_subject_key(cert, &subject.context);
  mbedtls_x509write_crt_set_issuer_key(cert, &issuer.context);
  std::array<unsigned char, 16> serial{};
  random_bytes(std::as_writable_bytes(std::span(serial)));
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);  // positive, and of one length
  int status = mbedtls_x509write_crt_set_serial_raw(cert, serial.data(), serial.size());
  if (status == 0) status = mbedtls_x509write_crt_set_subject_name(cert, ("CN=" + request.common_name).c_str());
  if (status == 0) status = mbedtls_x509write_crt_set_issuer_name(cert, issuer_name.c_str());
  if (status == 0) {
    status = mbedtls_x509write_crt_set_validity(cert, certificate_time(request.not_before_ms).c_str(),
                                                certificate_time(request.not_after_ms).c_str());
  }
  if (status == 0) status = mbedtls_x509write_crt_set_subject_key_identifier(cert);
  if (status == 0) status = mbedtls_x509write_crt_set_authority_key_identifier(cert);
  return status;
}

Result<std::string> certificate_pem(Writer& writer) {
  std::array<unsigned char, 16384> text{};
  const int status =
      mbedtls_x509write_crt_pem(&writer.context, text.data(), text.size(), mbedtls_library_random, nullptr);
  if (status != 0) return library_failure(status, "write a certificate");
  return std::string(reinterpret_cast<const char*>(text.data()));
}

/// subjectAltName entries as mbedTLS's linked list; the nodes point into `names` and `addresses`.
struct AltNames {
  std::vector<std::string> names;
  std::vector<Address> addresses;
  std::deque<mbedtls_x509_san_list> nodes;

  void link() {
    const auto add = [this](int type, const void* bytes, std::size_t size) {
      mbedtls_x509_san_list node{};
      node.node.type = type;
      // The library only reads here; its structure is shared with parsing and so not const.
      node.node.san.unstructured_name.p = static_cast<unsigned char*>(const_cast<void*>(bytes));
      node.node.san.unstructured_name.len = size;
      nodes.push_back(node);
    };
    for (const std::string& name : names) add(MBEDTLS_X509_SAN_DNS_NAME, name.data(), name.size());
    for (const Address& address : addresses) {
      add(MBEDTLS_X509_SAN_IP_ADDRESS, address.bytes().data(), address.bytes().size());
    }
    for (std::size_t i = 0; i + 1 < nodes.size(); ++i) nodes[i].next = &nodes[i + 1];
  }
};

int fill_leaf(Writer& writer, AltNames& alt) {
  mbedtls_x509write_cert* cert = &writer.context;
  int status = mbedtls_x509write_crt_set_basic_constraints(cert, 0, -1);
  if (status == 0) status = mbedtls_x509write_crt_set_key_usage(cert, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
  alt.link();
  if (status == 0) status = mbedtls_x509write_crt_set_subject_alternative_name(cert, &alt.nodes.front());
  std::string server_use(MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH));
  std::string client_use(MBEDTLS_OID_CLIENT_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH));
  std::array<mbedtls_asn1_sequence, 2> uses{};
  const auto point = [](mbedtls_asn1_sequence& at, std::string& oid) {
    at.buf = {MBEDTLS_ASN1_OID, oid.size(), reinterpret_cast<unsigned char*>(oid.data())};
  };
  point(uses[0], server_use);
  point(uses[1], client_use);
  uses[0].next = &uses[1];
  if (status == 0) status = mbedtls_x509write_crt_set_ext_key_usage(cert, uses.data());
  return status;
}

const unsigned char* raw(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.c_str()); }

}  // namespace

Result<PemPair> create_ca(const CertificateRequest& request) {
  if (auto good = check(request); !good) return tl::unexpected(good.error());
  Key key;
  if (auto made = generate(key); !made) return tl::unexpected(made.error());
  Writer writer;
  int status = fill_common(writer, request, key, key, "CN=" + request.common_name);
  if (status == 0) status = mbedtls_x509write_crt_set_basic_constraints(&writer.context, 1, 0);
  if (status == 0) {
    status = mbedtls_x509write_crt_set_key_usage(&writer.context, MBEDTLS_X509_KU_KEY_CERT_SIGN |
                                                                      MBEDTLS_X509_KU_CRL_SIGN);
  }
  if (status != 0) return library_failure(status, "fill a CA certificate");
  auto certificate = certificate_pem(writer);
  auto text = key_pem(key);
  if (!certificate) return tl::unexpected(certificate.error());
  if (!text) return tl::unexpected(text.error());
  return PemPair{std::move(*certificate), std::move(*text)};
}

Result<PemPair> issue_certificate(const PemPair& ca, const CertificateRequest& request) {
  if (auto good = check(request); !good) return tl::unexpected(good.error());
  AltNames alt;
  alt.names = request.dns_names;
  if (std::find(alt.names.begin(), alt.names.end(), request.common_name) == alt.names.end()) {
    alt.names.insert(alt.names.begin(), request.common_name);
  }
  for (const std::string& ip : request.ip_names) {
    auto address = Address::ip(ip, 0);
    if (!address) return tl::unexpected(address.error());
    alt.addresses.push_back(*address);
  }
  Certificate issuer;
  Key issuer_key, key;
  int status = mbedtls_x509_crt_parse(&issuer.parsed, raw(ca.certificate), ca.certificate.size() + 1);
  if (status != 0) return library_failure(status, "read the CA certificate");
  status = mbedtls_pk_parse_key(&issuer_key.context, raw(ca.key), ca.key.size() + 1, nullptr, 0, mbedtls_library_random,
                                nullptr);
  if (status != 0) return library_failure(status, "read the CA key");
  if (mbedtls_pk_check_pair(&issuer.parsed.pk, &issuer_key.context, mbedtls_library_random, nullptr) != 0) {
    return fail(Errc::kCertificate, "the CA key is not the key of the CA certificate");
  }
  if (auto made = generate(key); !made) return tl::unexpected(made.error());
  std::array<char, 512> issuer_name{};
  status = mbedtls_x509_dn_gets(issuer_name.data(), issuer_name.size(), &issuer.parsed.subject);
  if (status < 0) return library_failure(status, "read the CA's name");
  Writer writer;
  status = fill_common(writer, request, key, issuer_key, issuer_name.data());
  if (status == 0) status = fill_leaf(writer, alt);
  if (status != 0) return library_failure(status, "fill a certificate");
  auto certificate = certificate_pem(writer);
  auto text = key_pem(key);
  if (!certificate) return tl::unexpected(certificate.error());
  if (!text) return tl::unexpected(text.error());
  return PemPair{std::move(*certificate), std::move(*text)};
}

Result<void> write_pem_pair(const PemPair& pair, const std::string& cert_file, const std::string& key_file) {
  for (const std::string& path : {cert_file, key_file}) {
    const auto found = read_file(path, kPemBytesMax);
    if (found || found.error().code != Errc::kNotFound) {
      return fail(Errc::kExists, path + " is there already; move it away or choose another directory");
    }
  }
  if (auto written = replace_file(key_file, pair.key, 0600); !written) return written;
  return replace_file(cert_file, pair.certificate, 0644);
}

Result<PemPair> read_pem_pair(const std::string& cert_file, const std::string& key_file) {
  auto certificate = read_file(cert_file, kPemBytesMax);
  if (!certificate) return tl::unexpected(certificate.error());
  auto key = read_file(key_file, kPemBytesMax);
  if (!key) return tl::unexpected(key.error());
  return PemPair{std::move(*certificate), std::move(*key)};
}

}  // namespace agent::io
