#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"
#include "tests/support/random.h"

namespace sim {

/// Raft's identity of a node as it stands in frames and leases.
using RaftId = std::uint64_t;

/// The simulated counterpart of agent/drivers/mesh: frames to peers over two outgoing streams each (urgent, bulk),
/// dialled by node id, dialled again with jittered back-off of 20 ms .. 1 s, and the frames of their streams to us.
/// A stream begins with a hello that names its sender.
/// Ownership: lives inside one life of a node's process; borrows world objects; closures it scheduled hold a token
///            that dies with it.
/// Bound:     kQueueFramesMax frames wait per stream while it is not up; beyond that the oldest goes.
class Mesh {
 public:
  static constexpr std::size_t kQueueFramesMax = 128;

  /// What the mesh tells the store. Called from inside on_* below or from the scheduler, never from send().
  struct Events {
    std::function<void(RaftId from, Bytes frame)> frame;
    std::function<void(RaftId peer)> connected;  ///< the urgent stream to the peer stands
    std::function<void(RaftId peer)> lost;       ///< it broke
    std::function<void(RaftId peer)> refused;    ///< it was reset, and the host refuses a new one: process gone
  };

  /// @param run  runs a timer of ours on the node, now or when its process goes on after a stop
  Mesh(int machine, RaftId self, Network* network, Scheduler* scheduler, support::Random* random, Events events,
       std::function<void(std::function<void()>)> run);

  /// The address of a peer; dials at once when it is new.
  void set_peer(RaftId peer, int machine);
  /// @param urgent  which of the two streams; frames of one stream stay in order
  void send(RaftId peer, Bytes frame, bool urgent);

  /// From the network; ids of other streams of this machine are not ours: false.
  void on_accepted(ConnectionId id) { inbound_.emplace(id, std::nullopt); }
  bool on_connected(ConnectionId id);
  bool on_received(ConnectionId id, Bytes& bytes);
  bool on_closed(ConnectionId id, CloseReason reason);

  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  [[nodiscard]] std::size_t queued_max() const { return queued_max_; }  ///< longest queue ever, for the bound check

 private:
  struct Stream {
    ConnectionId id{};
    bool dialling = false;
    bool up = false;
    Nanos pause = 0;
    std::deque<Bytes> queue;
  };
  struct Peer {
    int machine = 0;
    bool was_reset = false;
    Stream streams[2];  ///< [0] bulk, [1] urgent
  };

  void dial(RaftId peer, int which);
  void dial_later(RaftId peer, int which);
  std::optional<std::pair<RaftId, int>> owner(ConnectionId id) const;

  int machine_;
  RaftId self_;
  Network* network_;
  Scheduler* scheduler_;
  support::Random* random_;
  Events events_;
  std::function<void(std::function<void()>)> run_;
  std::map<RaftId, Peer> peers_;
  std::map<ConnectionId, std::pair<RaftId, int>> outbound_;
  std::map<ConnectionId, std::optional<RaftId>> inbound_;  ///< sender, once its hello came
  std::uint64_t dropped_ = 0;
  std::size_t queued_max_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace sim
