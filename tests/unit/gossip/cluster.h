#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "gossip/swim.h"
#include "tests/support/toy_aead.h"

namespace gossip::test {

using namespace std::chrono_literals;

/// xoshiro-like generator, the same everywhere.
class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  std::uint64_t operator()(std::uint64_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return support::ToyCipher::mix(state_) % bound;
  }
  bool percent(double p) { return static_cast<double>((*this)(1000000)) < p * 10000.0; }

 private:
  std::uint64_t state_;
};

/// Cores on a virtual network, one process, no wall clock. A run is a function of its seed.
/// Datagrams: 150 us + up to 100 us one way, lost with `loss_percent`, cut by `blocked`. Streams: SYN and data are
/// repeated after 1 s and 200 ms when lost; killed hosts refuse, crashed ones are black holes, frozen ones
/// complete the handshake and say nothing.
class Cluster {
 public:
  enum class Power { kOn, kKilled, kCrashed, kFrozen };
  struct Node {
    std::string name;
    Address address;
    Config config;
    std::unique_ptr<support::ToyAead> aead;
    std::unique_ptr<Swim> swim;
    Power power = Power::kOn;
    std::uint64_t life = 0;                      ///< raised by every start: events of former lives find nobody
    TimePoint wake{};                            ///< the time of the newest armed timer
    std::vector<std::function<void()>> pending;  ///< what a frozen node will find
    std::vector<std::pair<TimePoint, Event>> events;
    std::vector<std::byte> disk;                                 ///< last Persist
    std::map<StreamId, std::pair<std::size_t, StreamId>> peers;  ///< my stream -> (other node, its stream)
    std::map<StreamId, TimePoint> stream_clear;                  ///< when the last byte sent on it arrives
    std::size_t datagrams = 0;
  };

  explicit Cluster(std::uint64_t seed, double loss = 0) : loss_percent(loss), chance_(seed), seed_(seed) {}

  /// Adds a node that is not yet started. Defaults: id and name from the number, key 1, 10.0.x.y:7946.
  std::size_t add(const std::function<void(Config&)>& change = {});
  /// Starts it (again); `seeds` are numbers of nodes.
  void start(std::size_t node, const std::vector<std::size_t>& seeds, bool with_disk = false);
  /// `count` nodes that all join through the first; runs until all see all.
  void form(std::size_t count, const std::function<void(Config&)>& change = {});
  void set_power(std::size_t node, Power power);

  void run(Duration time);
  /// Runs until the condition holds, looking every 5 ms. @return the time it took; `limit` if it never did
  Duration run_until(const std::function<bool()>& condition, Duration limit);

  Swim& swim(std::size_t node) { return *nodes.at(node).swim; }
  /// Gives a node a command and carries out what it answers.
  void command(std::size_t node, const std::function<void(Swim&)>& act) { act(swim(node)), drain(node); }
  MemberId id(std::size_t node) const { return nodes.at(node).config.id; }
  /// How `viewer` sees `subject`; kLeft if it does not know it.
  MemberState state(std::size_t viewer, std::size_t subject) const;
  bool knows(std::size_t viewer, std::size_t subject) const {
    return nodes.at(viewer).swim->find(id(subject)) != nullptr;
  }
  /// All running nodes see exactly the running nodes as alive, with equal digests.
  bool converged() const;
  /// All running nodes but the subject hold it in that state.
  bool all_see(std::size_t subject, MemberState state) const;
  std::size_t count_events(EventKind kind,
                           const std::function<bool(std::size_t viewer, const Event&)>& match = {}) const;
  /// Deaths reported at running nodes about members that were on at that time.
  std::size_t false_deaths() const;

  TimePoint now{std::chrono::hours(1)};
  double loss_percent;
  Duration latency = 150us;
  std::function<bool(std::size_t from, std::size_t to)> blocked;      ///< everything
  std::function<bool(std::size_t from, std::size_t to)> udp_blocked;  ///< datagrams only
  std::function<double(std::size_t from)> loss_of;                    ///< more loss of what one node sends, percent
  std::vector<Node> nodes;
  std::uint64_t wall_ms = 1'700'000'000'000;
  std::vector<std::tuple<std::size_t, Address, std::vector<std::byte>>> recording;  ///< to, from, bytes
  bool record = false;

 private:
  struct Event_ {
    TimePoint at;
    std::uint64_t sequence;
    std::function<void()> act;
    bool operator<(const Event_& other) const { return at != other.at ? at > other.at : sequence > other.sequence; }
  };
  void at(TimePoint when, std::function<void()> act) { events_.push({when, ++sequence_, std::move(act)}); }
  void deliver(std::size_t node, std::uint64_t life, std::function<void(Swim&)> act);
  void drain(std::size_t node);
  void arm(std::size_t node);
  void send_datagram(std::size_t from, SendDatagram& datagram);
  void open_stream(std::size_t from, const OpenStream& open, int attempt);
  void accept(std::size_t from, std::size_t to, StreamId id);
  void send_stream(std::size_t from, SendStream& send);
  void close_stream(std::size_t from, StreamId id);
  Duration delay();
  bool lost(std::size_t from);
  bool cut(std::size_t from, std::size_t to) const { return blocked && blocked(from, to); }

  Chance chance_;
  std::uint64_t seed_;
  std::uint64_t sequence_ = 0;
  std::priority_queue<Event_> events_;
  std::map<Address, std::size_t> by_address_;
  std::vector<std::pair<TimePoint, std::size_t>> false_deaths_;
};

}  // namespace gossip::test
