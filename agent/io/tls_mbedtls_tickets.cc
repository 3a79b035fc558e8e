#include <array>
#include <span>

#include "agent/io/crypto.h"
#include "agent/io/mbedtls_library.h"
#include "agent/io/tls_mbedtls.h"

namespace agent::io {

TlsTickets::TlsTickets(std::chrono::seconds lifetime) : lifetime_(lifetime) {
  mbedtls_library_start();
  impl_ = std::make_unique<Impl>();
}
TlsTickets::~TlsTickets() = default;

Result<std::shared_ptr<TlsTickets>> TlsTickets::create(std::chrono::seconds lifetime) {
  if (lifetime < std::chrono::seconds(1) || lifetime > std::chrono::hours(24 * 7)) {
    return fail(Errc::kInvalidArgument, "tickets live between 1 second and 7 days");
  }
  std::shared_ptr<TlsTickets> tickets(new TlsTickets(lifetime));
  const int status = mbedtls_ssl_ticket_setup(&tickets->impl_->context, mbedtls_library_random, nullptr, MBEDTLS_CIPHER_AES_256_GCM,
                                              static_cast<std::uint32_t>(lifetime.count()));
  if (status != 0) return fail(Errc::kTlsProtocol, "TLS tickets: " + mbedtls_library_message(status));
  return tickets;
}

void TlsTickets::rotate() {
  std::array<unsigned char, MBEDTLS_SSL_TICKET_KEY_NAME_BYTES> name{};
  std::array<unsigned char, MBEDTLS_SSL_TICKET_MAX_KEY_BYTES> key{};
  random_bytes(std::as_writable_bytes(std::span(name)));
  random_bytes(std::as_writable_bytes(std::span(key)));
  // Fails only when the library is out of memory: the keys then stay as they were.
  static_cast<void>(mbedtls_ssl_ticket_rotate(&impl_->context, name.data(), name.size(), key.data(), key.size(),
                                              static_cast<std::uint32_t>(lifetime_.count())));
  key.fill(0);
}

int TlsTickets::Impl::write(void* tickets, const mbedtls_ssl_session* session, unsigned char* start, const unsigned char* end,
                            std::size_t* size, std::uint32_t* lifetime) {
  auto& self = *static_cast<TlsTickets*>(tickets);
  const int status = mbedtls_ssl_ticket_write(&self.impl().context, session, start, end, size, lifetime);
  if (status == 0) ++self.counters().issued;
  return status;
}

int TlsTickets::Impl::parse(void* tickets, mbedtls_ssl_session* session, unsigned char* ticket, std::size_t size) {
  auto& self = *static_cast<TlsTickets*>(tickets);
  const int status = mbedtls_ssl_ticket_parse(&self.impl().context, session, ticket, size);
  ++(status == 0 ? self.counters().accepted : self.counters().refused);
  return status;
}

}  // namespace agent::io
