#pragma once
/// What happened lately, at every agent: a bounded record of events of its own and of its peers, in one order for all of them.
///
/// Every agent notes its events and tells them to its peers at once (flight_wire.h), so that whoever is left after a crash
/// still knows what the dead one said last. Pure: time is an argument, nothing here is sent or stored.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace agent {

/// A moment that is near the wall clock and never before anything that was known when it was taken.
struct HybridTime {
  std::int64_t wall_ms = 0;  ///< milliseconds since 1970
  std::uint32_t count = 0;   ///< orders what happened within one of them
  friend auto operator<=>(const HybridTime&, const HybridTime&) = default;
};

/// Source:    hybrid logical clocks (Kulkarni, Demirbas, Madappa, Avva, Leone 2014), figure 5, with the bound of its section 5.
/// Invariant: each tick() is later than all before it and than everything that was heard.
class HybridClock {
 public:
  static constexpr std::int64_t kAheadMaxMs = 60'000;  ///< a clock that is farther ahead is wrong, and must not take ours along
  [[nodiscard]] HybridTime tick(std::int64_t wall_ms);
  /// @return false: too far ahead of our own clock; nothing was learnt
  bool hear(HybridTime theirs, std::int64_t wall_ms);

 private:
  HybridTime last_;
};

/// One thing that happened. `what` has the name that the agent's log gives it.
struct FlightEvent {
  std::string node;         ///< who noted it
  std::uint64_t life = 0;   ///< of that agent's process: another one after every start
  std::uint64_t seq = 0;    ///< from 1, without gaps where it was noted
  HybridTime at;
  std::string what;         ///< "lease", "promoted", "gossip_suspect", ...
  std::uint64_t epoch = 0;  ///< that it is about; 0 = none
  std::string about;        ///< node that it is about; may be empty
  std::string text;         ///< for people
  friend bool operator==(const FlightEvent&, const FlightEvent&) = default;
};

/// Bounds: kEventsMax events of each of kNodesMax nodes; the oldest of the same node go first, and of the nodes the one that
/// has been silent longest. Texts are cut. About 6 MiB at the very most, some tens of KiB in a cluster of three.
/// Ownership: a value of the agent. Thread: the control loop.
class FlightRecorder {
 public:
  static constexpr std::size_t kEventsMax = 256, kNodesMax = 64;
  static constexpr std::size_t kNameBytesMax = 64, kTextBytesMax = 240;

  struct Counters {
    std::uint64_t noted = 0, heard = 0, known = 0;  ///< known: told twice, or older than all that is kept
    std::uint64_t refused = 0;                      ///< impossible ones, and clocks that are too far ahead
  };

  /// @param life  of this process: any number that no process of this node had before
  FlightRecorder(std::string node, std::uint64_t life) : node_(std::move(node)), life_(life) {}

  /// @return the event, to be told to others; valid until the next call
  const FlightEvent& note(std::int64_t wall_ms, std::string_view what, std::uint64_t epoch, std::string_view about, std::string_view text);
  /// What a peer told about itself. @return false: known, or refused
  bool hear(std::int64_t wall_ms, FlightEvent event);
  /// All events in the order of their times, then nodes: the same at every agent that has heard the same.
  [[nodiscard]] std::vector<FlightEvent> merged() const;
  /// The last of this agent's own, oldest first: for a peer that was away.
  [[nodiscard]] std::vector<FlightEvent> own_last(std::size_t count) const;
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  void keep(FlightEvent event);

  std::string node_;
  std::uint64_t life_;
  std::uint64_t seq_ = 0;
  HybridClock clock_;
  std::map<std::string, std::deque<FlightEvent>> nodes_;
  Counters counters_;
};

}  // namespace agent
