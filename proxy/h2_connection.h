#pragma once
/// One HTTP/2 connection of a client: a session, and a client for each of its streams. Private to the library.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/h2_client.h"
#include "proxy/http2/session.h"
#include "proxy/outlet.h"
#include "proxy/pace.h"

namespace proxy {

/// What all streams have to say in one turn of the host leaves in flush(), with as few writes as there are 64 KiB.
/// Invariant: while the client does not take what was written, nothing more is framed and nothing is read.
/// End: announce (GOAWAY that lets requests on their way in), kGrace later refuse new ones, close behind the last stream.
/// Ownership: by Core::downstreams; owns its stream.
class H2Connection final : private AcceptedFacts, public ClientConnection, public StreamSink, public http2::Acceptor, public Timer::Owner {
 public:
  static constexpr Milliseconds kGrace{500};  ///< more than most round trips
  H2Connection(Core& core, std::unique_ptr<Stream> stream, Accepted accepted);
  ~H2Connection() override;

  // From the clients.
  [[nodiscard]] http2::Session& session() { return session_; }
  void touch(H2Client& client);    ///< gather() of it is due at the end of this read
  void release(H2Client& client);  ///< its stream is gone

  // From the core.
  void drain() override;
  void drain_deadline() override;
  void abort(std::string_view reason) override;
  void renew() override { drain(); }
  void flush() override;

  void on_connected() override {}
  void on_data(Bytes bytes) override;
  void on_eof() override;
  void on_writable() override;
  void on_closed(StreamEnd end) override;
  http2::Receiver* on_request(http2::Stream& stream, const http1::RequestHead& head) override;
  http2::Receiver* on_bad_head(http2::Stream& stream, const Error& error) override;
  void on_deadline(Timer& timer, TimePoint now) override;

 private:
  H2Client& take_client();
  void note_news();
  void leave(std::string_view reason);
  void close();
  void send_frames();
  void arm_timer();
  void watch_pace(TimePoint now);
  [[nodiscard]] bool reader_too_slow(TimePoint now, TimePoint& next);

  Core& core_;
  std::unique_ptr<Stream> stream_;
  Outlet outlet_;
  http2::Session session_;
  std::vector<std::unique_ptr<H2Client>> clients_;  ///< at most streams_max and those that end in this turn
  std::vector<H2Client*> free_, touched_;
  Timer timer_;         ///< of the preface, of a head, of idleness
  Timer grace_timer_;   ///< end of kGrace
  Timer pace_timer_;
  Pace reader_pace_;    ///< of the connection as a whole
  std::uint64_t offered_bytes_ = 0;
  std::string_view fault_;          ///< literal: why the connection is ended, where that is the client's doing
  bool reading_ = true, heard_ = false, in_head_ = false, idle_ = false;
  bool leaving_ = false, last_said_ = false, closed_ = false;
};

}  // namespace proxy
