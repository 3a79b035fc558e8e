#pragma once
/// What every file of agent/io that uses mbedTLS shares: the library's start and its random source. Private to agent/io.
#include <cstddef>
#include <string>

namespace agent::io {

/// Starts mbedTLS's PSA layer once per process (TLS 1.3 needs it). Thread: any.
void mbedtls_library_start();

/// mbedTLS's random callback over getrandom(2): no state, so no lock between threads. Always 0 (success).
int mbedtls_library_random(void* unused, unsigned char* out, std::size_t size);

/// The library's words for one of its codes (< 0).
std::string mbedtls_library_message(int code);

}  // namespace agent::io
