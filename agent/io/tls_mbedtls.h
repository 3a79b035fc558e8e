#pragma once
/// mbedTLS's structures behind a TlsContext. Private to tls_mbedtls_*.cc.
///
/// Threads: what a context holds is filled while it is loaded and only read afterwards, by any number of engines at once;
/// the two exceptions lock themselves: tickets (below) and the random source (mbedtls_library.h).
/// Ownership: every structure lives in the object that inits it and frees it; none is copied or moved, because mbedTLS keeps
/// addresses of one inside another.
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "agent/io/tls_context.h"

namespace agent::io {

/// A certificate chain with its key. Never moves: mbedTLS keeps pointers to both.
struct MbedtlsPair {
  MbedtlsPair() {
    mbedtls_x509_crt_init(&chain);
    mbedtls_pk_init(&key);
  }
  ~MbedtlsPair() {
    mbedtls_x509_crt_free(&chain);
    mbedtls_pk_free(&key);
  }
  MbedtlsPair(const MbedtlsPair&) = delete;
  MbedtlsPair& operator=(const MbedtlsPair&) = delete;
  mbedtls_x509_crt chain;  // leaf first
  mbedtls_pk_context key;  // of the leaf: checked when it was loaded
};

/// Outlives every engine made from its context (they share the TlsContext): an mbedtls_ssl_context points to `config`.
struct TlsContext::Impl {
  Impl() {
    mbedtls_ssl_config_init(&config);
    mbedtls_x509_crt_init(&ca);
  }
  ~Impl() {
    mbedtls_ssl_config_free(&config);
    mbedtls_x509_crt_free(&ca);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  mbedtls_ssl_config config;                      // points into everything below
  mbedtls_x509_crt ca;                            // trust anchors; empty without verification
  std::vector<std::unique_ptr<MbedtlsPair>> own;  // same places as TlsContext::certificates()
  std::vector<std::uint16_t> groups;              // ends with 0; the same
  std::vector<const char*> alpn;                  // ends with null; mbedTLS keeps the pointer to this list
};

/// Keys that seal session tickets. One object serves all contexts of a listener, so that a reload does not void tickets.
struct TlsTickets::Impl {
  Impl() { mbedtls_ssl_ticket_init(&context); }
  ~Impl() { mbedtls_ssl_ticket_free(&context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  mbedtls_ssl_ticket_context context;  // locks itself (THREADING_C) and changes keys by itself

  // mbedTLS's callbacks, on the thread of whichever engine asks; `tickets` is the TlsTickets.
  // Both return 0 or an mbedTLS error: a ticket that cannot be sealed is not sent, one that cannot be opened means a full
  // handshake. write: at most end - start bytes; `lifetime` in seconds. parse: `ticket` is overwritten with its content.
  static int write(void* tickets, const mbedtls_ssl_session* session, unsigned char* start, const unsigned char* end,
                   std::size_t* size, std::uint32_t* lifetime);
  static int parse(void* tickets, mbedtls_ssl_session* session, unsigned char* ticket, std::size_t size);
};

/// Unix time in ms of a certificate's date (UTC). Dates before 1970 are negative; mbedTLS has checked that it is one.
inline std::int64_t unix_ms(const mbedtls_x509_time& time) {
  using namespace std::chrono;
  const sys_days day = year_month_day(year(time.year), month(static_cast<unsigned>(time.mon)),
                                      std::chrono::day(static_cast<unsigned>(time.day)));
  const auto moment = day + hours(time.hour) + minutes(time.min) + seconds(time.sec);
  return duration_cast<milliseconds>(moment.time_since_epoch()).count();
}

/// Subject's CN as text, at most 256 bytes; empty if it has none.
std::string common_name_of(const mbedtls_x509_crt& certificate);
/// subjectAltName dNSName entries, in order, each at most 256 bytes; at most `count_max` of them. A NUL inside stays
/// where it is: such a name equals no host name.
std::vector<std::string> dns_names_of(const mbedtls_x509_crt& certificate, std::size_t count_max);
/// mbedTLS's words for the result of a verification, on one line. @param flags  MBEDTLS_X509_BADCERT_*; 0 gives ""
std::string verify_words(std::uint32_t flags);

}  // namespace agent::io
