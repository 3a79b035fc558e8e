#include "agent/io/mbedtls_library.h"

#include <mbedtls/error.h>
#include <psa/crypto.h>

#include <array>
#include <cassert>
#include <span>

#include "agent/io/crypto.h"

namespace agent::io {

void mbedtls_library_start() {
  static const psa_status_t started = psa_crypto_init();
  assert(started == PSA_SUCCESS);
  static_cast<void>(started);
}

int mbedtls_library_random(void* /*unused*/, unsigned char* out, std::size_t size) {
  random_bytes(std::as_writable_bytes(std::span(out, size)));
  return 0;
}

std::string mbedtls_library_message(int code) {
  std::array<char, 160> text{};
  mbedtls_strerror(code, text.data(), text.size());
  return text.data();
}

}  // namespace agent::io
