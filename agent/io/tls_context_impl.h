#pragma once
/// mbedTLS's structures behind a TlsContext. Private to tls_*.cc.
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "agent/io/tls_context.h"

namespace agent::io {

struct TlsContext::Impl {
  Impl() {
    mbedtls_ssl_config_init(&config);
    mbedtls_x509_crt_init(&own);
    mbedtls_x509_crt_init(&ca);
    mbedtls_pk_init(&key);
    mbedtls_ssl_ticket_init(&tickets);
  }
  ~Impl() {
    mbedtls_ssl_config_free(&config);
    mbedtls_x509_crt_free(&own);
    mbedtls_x509_crt_free(&ca);
    mbedtls_pk_free(&key);
    mbedtls_ssl_ticket_free(&tickets);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  mbedtls_ssl_config config;
  mbedtls_x509_crt own;
  mbedtls_x509_crt ca;
  mbedtls_pk_context key;
  mbedtls_ssl_ticket_context tickets;
  std::vector<const char*> alpn;  // mbedTLS keeps the pointer to this list
};

/// Unix time in ms of a certificate's date (UTC).
inline std::int64_t unix_ms(const mbedtls_x509_time& time) {
  using namespace std::chrono;
  const sys_days day = year_month_day(year(time.year), month(static_cast<unsigned>(time.mon)),
                                      std::chrono::day(static_cast<unsigned>(time.day)));
  const auto moment = day + hours(time.hour) + minutes(time.min) + seconds(time.sec);
  return duration_cast<milliseconds>(moment.time_since_epoch()).count();
}

/// Subject's CN as text, at most 256 bytes; empty if it has none.
std::string common_name_of(const mbedtls_x509_crt& certificate);

}  // namespace agent::io
