#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "tests/sim/scheduler.h"
#include "tests/sim/trace.h"
#include "tests/support/random.h"

namespace sim {

using Bytes = std::vector<std::byte>;

enum class ConnectionId : std::uint64_t {};
enum class Port : std::uint8_t {
  kGossip,  ///< handshake done by the kernel alone: a stopped process still accepts
  kMesh,    ///< handshake needs the process (mTLS): a stopped process leaves the dialler waiting
};
enum class CloseReason : std::uint8_t {
  kRefused,   ///< nobody listens: the process is gone, its machine is up
  kReset,     ///< the other process ended, or its machine came back without the connection
  kFinished,  ///< the other side closed it in order
  kTimeout,   ///< bytes or the handshake went unanswered for too long
};

/// What one machine's network does with a process, as one process sees it. Calls arrive from the scheduler, never
/// from inside a call that the process made. A stopped process is the business of whoever implements this.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual void on_datagram(int from, Bytes bytes) = 0;
  virtual void on_datagram_refused(int to) = 0;  ///< ICMP port unreachable for something sent to `to`
  virtual void on_accepted(ConnectionId id, int from, Port port) = 0;
  virtual void on_connected(ConnectionId id) = 0;
  virtual void on_received(ConnectionId id, Bytes bytes) = 0;  ///< one send() of the other side, whole and in order
  virtual void on_closed(ConnectionId id, CloseReason reason) = 0;  ///< the id is dead after this
};

/// Quality of one direction between two machines.
struct Link {
  Nanos delay = 150 * kMicrosecond;
  Nanos jitter = 100 * kMicrosecond;  ///< mean of an exponential on top of `delay`
  std::uint32_t loss_ppm = 0;         ///< a lost datagram is gone; a lost stream segment costs a retransmission
  std::uint32_t duplicate_ppm = 0;    ///< datagrams only
  std::uint32_t corrupt_ppm = 0;      ///< datagrams only: one bit flipped
  std::uint32_t reorder_ppm = 0;      ///< datagrams only: held back by up to `reorder_extra`
  Nanos reorder_extra = 0;
  bool blocked = false;           ///< nothing gets through
  bool datagrams_blocked = false; ///< datagrams do not get through, streams do
};

/// Datagrams and ordered streams between machines 0 .. size-1, each direction with its own Link.
/// Streams behave like TCP: in order, never lost while the connection lives, broken when a segment is unanswered for
/// kStreamPatience; a killed process resets its connections, a machine without power says nothing until it is back.
/// Late after loss: what is missing is sent again after a round trip if enough behind it got there, else after 200 ms;
/// on a blocked link after 200 ms, doubling up to 2 s. So what a stream owes to a fault, it has made up for 2 s after.
/// Ownership: endpoints are borrowed; an endpoint must be detached (down()) before it dies.
/// Bound:     datagrams in flight per receiver kDatagramsInFlightMax, then dropped; streams as their users bound them.
class Network {
 public:
  static constexpr Nanos kStreamPatience = 4 * kSecond;
  static constexpr Nanos kConnectPatience = 2 * kSecond;
  static constexpr std::size_t kDatagramsInFlightMax = 4096;

  /// @param size  number of machines; all down at first
  Network(int size, Scheduler* scheduler, Trace* trace, std::uint64_t seed);

  /// The process on `machine` is up (and its machine too).
  void up(int machine, Endpoint* endpoint);
  /// It ended. @param powered  true: killed, its kernel refuses and resets; false: power lost, silence.
  void down(int machine, bool powered);
  /// The process on `machine` is stopped or goes on: only decides about handshakes that need it.
  void stopped(int machine, bool is_stopped) { machines_[static_cast<std::size_t>(machine)].stopped = is_stopped; }

  Link& link(int from, int to);

  void send_datagram(int from, int to, Bytes bytes);
  /// Dials; answered by on_connected or on_closed.
  ConnectionId connect(int from, int to, Port port);
  /// Sends on an open connection; ignored when it is gone already (the close event is on its way).
  void send(ConnectionId id, int from, Bytes bytes);
  /// Closes our side; the other side gets on_closed(kFinished) after everything sent before. We get no event.
  void close(ConnectionId id, int from);

  struct Counters {
    std::uint64_t datagrams_sent = 0, datagrams_lost = 0, segments_sent = 0, connections = 0, broken = 0;
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  struct Machine {
    Endpoint* endpoint = nullptr;
    bool powered = false;
    bool stopped = false;
    std::uint64_t life = 0;  ///< counts starts of the process: an event for an earlier life finds nobody
    std::size_t datagrams_in_flight = 0;
  };
  struct Segment {
    Bytes bytes;
    bool finish = false;
    bool there = false;  ///< the receiver has it, but not yet all before it
  };
  struct Direction {
    std::deque<Segment> waiting;
    Nanos last_arrival = 0;
    Nanos stalled_since = -1;
    Nanos backoff = 0;
    bool pumping = false;
  };
  struct Connection {
    int ends[2] = {};        ///< dialler, acceptor
    bool open[2] = {};       ///< this side still has the connection
    bool established = false;
    Port port{};
    Direction directions[2];  ///< [0]: from the dialler
  };

  Machine& machine(int index) { return machines_[static_cast<std::size_t>(index)]; }
  Connection* find(ConnectionId id);
  Nanos draw_delay(const Link& quality);
  void datagram_arrives(int from, int to, std::uint64_t life, Bytes bytes);
  void try_handshake(ConnectionId id, Nanos give_up);
  void finish_handshake(ConnectionId id);
  void pump(ConnectionId id, int side);
  void stall(ConnectionId id, int side);
  void segment_arrives(ConnectionId id, int side, Segment segment);
  void break_side(ConnectionId id, int side, CloseReason reason);
  void tell_closed(ConnectionId id, int side, CloseReason reason, Nanos earliest);
  void forget_if_dead(ConnectionId id);

  Scheduler* scheduler_;
  Trace* trace_;
  support::Random random_;
  int size_;
  std::vector<Machine> machines_;
  std::vector<Link> links_;
  std::map<ConnectionId, Connection> connections_;
  std::uint64_t next_connection_ = 1;
  Counters counters_;
};

}  // namespace sim
