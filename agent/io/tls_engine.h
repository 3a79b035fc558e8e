#pragma once
/// One TLS connection's state without any socket: bytes in, bytes out. Private to agent/io (tls_*.cc, byte_stream.cc).
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/byte_stream.h"
#include "agent/io/error.h"
#include "agent/io/tls_context.h"

namespace agent::io {

/// Thread: one at a time; it moves between the loop and the pool, and between loops, as a whole.
class TlsEngine {
 public:
  /// Errors: kTlsProtocol (out of memory inside the TLS library).
  static Result<std::unique_ptr<TlsEngine>> create(std::shared_ptr<const TlsContext> context,
                                                   const std::string& server_name);
  ~TlsEngine();
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;

  enum class Step : std::uint8_t { kNeedsInput, kDone, kFailed };
  /// Goes as far in the handshake as `input` allows. Bytes to send (also an alert after a failure) are appended to
  /// out(); what was used of input is told by consumed(). After kFailed see failure().
  Step handshake(std::span<const std::byte> input);

  enum class Read : std::uint8_t { kData, kNeedsInput, kEnd, kFailed };
  /// Decrypts from `input` into `plain`. kData: *count bytes (> 0), call again with what is left of the input.
  /// kEnd: close_notify came.
  Read read(std::span<const std::byte> input, std::span<std::byte> plain, std::size_t* count);
  [[nodiscard]] std::size_t consumed() const { return consumed_; }  ///< of the last call's input

  /// Encrypts into out(). Errors: kTlsProtocol.
  Result<void> write(std::span<const std::byte> plain);
  void close_notify();  ///< appends the closing alert to out()

  [[nodiscard]] std::vector<std::byte>& out() { return *out_; }
  /// Where records go from now on; nullptr = a buffer of the engine's own.
  void redirect(std::vector<std::byte>* out) { out_ = out != nullptr ? out : &own_out_; }
  [[nodiscard]] const Error& failure() const { return failure_; }
  [[nodiscard]] std::string alpn() const;
  [[nodiscard]] std::string_view version() const;  ///< "TLSv1.2" or "TLSv1.3", once the handshake is done
  [[nodiscard]] PeerIdentity peer_identity() const;
  [[nodiscard]] const TlsContext& context() const { return *context_; }

 private:
  struct Impl;
  explicit TlsEngine(std::shared_ptr<const TlsContext> context);
  void note_failure(int code, const char* doing);

  std::shared_ptr<const TlsContext> context_;
  std::unique_ptr<Impl> impl_;
  std::span<const std::byte> input_;
  std::size_t consumed_ = 0;
  bool heard_ = false;  // application data has come in
  std::vector<std::byte> own_out_;
  std::vector<std::byte>* out_ = &own_out_;
  Error failure_;
};

}  // namespace agent::io
