#pragma once
/// Upstream connections, busy and idle. Private to the library.

#include <memory>
#include <span>

#include "proxy/core.h"
#include "proxy/egress.h"
#include "proxy/http1/codec.h"
#include "proxy/outlet.h"

namespace proxy {

/// What became of bytes given to a connection.
enum class SendResult : std::uint8_t {
  kSent,       ///< taken, or kept for when there is room
  kLeaseOver,  ///< refused by the lease check; nothing of this call was written
};

/// One upstream connection.
/// Invariant: between exchanges it reads on, so that a close is noticed before the next request is risked on it.
/// Ownership: by its exchange while busy, by the pool (its EndpointState) while idle.
class Connection final : public StreamSink, public Timer::Owner {
 public:
  Connection(Core& core, EndpointState& endpoint);
  ~Connection() override;

  /// Begins to connect, for `exchange`; gives up at `deadline`.
  void open(Exchange& exchange, TimePoint deadline);
  /// Takes an idle connection into use.
  void reuse(Exchange& exchange);
  /// The attempt is over: forget the exchange.
  void detach() { exchange_ = nullptr; }

  /// From now on every write is checked against `lease`; null = none. The lease must outlive the attempt.
  void guard(const LeaseView* lease) { lease_ = lease; }
  /// From now on every write asks egress_permit, for the service as it is then. A fresh connection takes on the present epoch.
  void guard_egress(const ServiceState& service, std::string_view egress, EgressDeed deed);
  [[nodiscard]] Epoch epoch() const { return epoch_; }  ///< of a connection to a broker; 0 = none yet
  [[nodiscard]] SendResult send(std::span<const Bytes> pieces);
  /// Says what the next response answers.
  void expect(http1::Method method) { parser_.expect(method); }

  void pause_reading();
  void resume_reading();
  void shutdown() { stream_->shutdown(); }
  void close() { stream_->close(); }
  void reset() { stream_->reset(); }

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] bool reused() const { return reused_; }
  [[nodiscard]] bool drained() const { return outlet_.empty(); }       ///< nothing waits to be sent
  [[nodiscard]] std::uint64_t sent_bytes() const { return sent_bytes_; }  ///< taken by the stream in this attempt
  [[nodiscard]] bool quiet() const { return !parser_.in_message(); }
  [[nodiscard]] bool reusable() const {
    const std::uint32_t most = core_.settings.upstream_requests_max;
    return generation_ == endpoint_.generation && endpoint_.wanted && (most == 0 || requests_ < most);
  }
  [[nodiscard]] TimePoint idle_since() const { return idle_since_; }
  [[nodiscard]] EndpointState& endpoint() { return endpoint_; }

  void become_idle();   ///< the pool (EndpointState::idle) owns it from here
  void leave_pool();    ///< the caller owns it from here

  void on_connected() override;
  void on_data(Bytes bytes) override;
  void on_eof() override;
  void on_writable() override;
  void on_closed(StreamEnd end) override;
  void on_deadline(Timer& timer, TimePoint now) override;

 private:
  void note_late_write(std::size_t taken);
  void opening_ended();
  [[nodiscard]] bool guarded() const { return lease_ != nullptr || egress_ != nullptr; }
  [[nodiscard]] bool may_write() const;  ///< asked with the clock as it stands now

  Core& core_;
  EndpointState& endpoint_;
  std::unique_ptr<Stream> stream_;
  Exchange* exchange_ = nullptr;
  const LeaseView* lease_ = nullptr;
  const ServiceState* egress_ = nullptr;  ///< whose permit is asked
  EgressAct act_;
  Epoch epoch_{};
  http1::ResponseParser parser_;
  Outlet outlet_;
  Timer timer_;               ///< connect time-out, then idle time-out
  std::uint64_t sent_bytes_ = 0;
  TimePoint idle_since_{};
  std::uint32_t generation_;
  std::uint32_t requests_ = 1;  ///< begun over it
  bool connected_ = false;
  bool opening_ = false;  ///< it counts in EndpointState::opening
  bool reused_ = false;
  bool idle_ = false;
  bool reading_ = true;
};

/// The newest idle connection fit for the request, or none. Newest first: the others may time out in peace.
/// @param idled_max  longest time it may have been idle
std::unique_ptr<Connection> take_idle(Core& core, EndpointState& endpoint, Milliseconds idled_max);
/// Puts a connection back, or closes it if it cannot be kept.
void give_back(Core& core, std::unique_ptr<Connection> connection);
/// Cuts the idle connections of a broker that were not opened under `kept`; 0 = all of them. @return how many
std::uint64_t reset_idle(Core& core, EndpointState& endpoint, Epoch kept);
/// Closes all idle connections of an endpoint.
void close_idle(Core& core, EndpointState& endpoint);

}  // namespace proxy
