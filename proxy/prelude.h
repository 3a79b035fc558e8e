#pragma once
/// The first bytes of a connection that may be HTTP/1 or HTTP/2 without TLS. Private to the library.

#include <memory>
#include <string>

#include "proxy/client.h"
#include "proxy/core.h"

namespace proxy {

/// Makes the object that speaks what the connection speaks. @return who hears of its bytes
StreamSink& welcome(Core& core, std::unique_ptr<Stream> stream, Accepted accepted);

/// Waits until the bytes are HTTP/2's preface or something else; a "G" decides as well as a whole request.
/// Source: RFC 9113, section 3.3 (prior knowledge). There is no upgrade from HTTP/1.1: RFC 9113 has taken it out.
/// Bound: 23 bytes, for head_timeout after the first.
class Prelude final : private AcceptedFacts, public ClientConnection, public StreamSink, public Timer::Owner {
 public:
  Prelude(Core& core, std::unique_ptr<Stream> stream, Accepted accepted);
  ~Prelude() override;
  void part(TimePoint idle_until) override;
  void drain() override;
  void drain_deadline() override;
  void abort(std::string_view reason) override;
  void on_connected() override {}
  void on_data(Bytes bytes) override;
  void on_eof() override;
  void on_writable() override {}
  void on_closed(StreamEnd end) override;
  void on_deadline(Timer& timer, TimePoint now) override;

 private:
  void close();
  Core& core_;
  std::unique_ptr<Stream> stream_;  ///< null once somebody else has it
  std::string text_;
  Timer timer_;
};

}  // namespace proxy
