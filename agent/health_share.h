#pragma once
/// What agents tell each other about endpoints, and what each makes of it: a core without socket, clock or chance.
///
/// An agent tells what it has seen itself, never what it has heard: nothing goes round. What it hears:
/// - **ejected, failing**: the endpoint is left out here, too (proxy::OutlierTrack::advise), until the word ends: its time is
///   over, its owner no longer says it, or its owner is gone. A check of our own that goes well later outranks `failing`.
/// - **open, probing**: the route's breaker opens here (BreakerTable::advise), a little longer than at its owner: 250 ms and
///   100 ms more for each place in the order of the agents. So its owner has the one probe, and if no request comes there, the
///   next agent in order; the others hear of the probe before their turn. Two agents probe only if they begin within the
///   milliseconds that gossip takes, or cannot hear each other.
/// - **closed**: what was opened at a word closes; what was opened by failures seen here may send its own probe at once.
///
/// Invariant (the panic rule): words take out at most max_ejected_percent of a pool, what was ejected here included, and
///            never the last endpoint that could still be asked, however many say so; the same holds for the breakers of a
///            route. Only what an agent sees itself can do that to a breaker.
/// Invariant: one agent is believed kBelievedMax times in a row about one thing; then not before kForgetAfter without such a
///            word. An agent whose own way to an endpoint is broken does not keep the others away from it for good.
/// Bounds:    kWordsMax words of each peer; kHeardMax remembered in all; those beyond are not believed and counted.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "agent/health_words.h"
#include "proxy/breaker.h"
#include "proxy/outlier.h"

namespace agent {

class HealthShare {
 public:
  using TimePoint = proxy::TimePoint;
  using Milliseconds = std::chrono::milliseconds;
  static constexpr Milliseconds kClosedTold{10000};   ///< how long good news are told
  static constexpr Milliseconds kFailingTold{30000};  ///< told anew when a third of it is left
  static constexpr Milliseconds kForgetAfter{60000};
  static constexpr Milliseconds kBehindOwner{250}, kBehindNext{100};
  static constexpr std::size_t kRanksMax = 16;        ///< agents beyond have the same place in the order
  static constexpr std::uint32_t kBelievedMax = 3;
  static constexpr std::size_t kHeardMax = 4096;

  /// How things are at this agent now.
  struct Endpoint {
    proxy::EndpointId id{};
    std::string name;           ///< for people
    bool usable = true;         ///< proxy::is_usable
    TimePoint ejected_until{};  ///< by what was seen here; past = not ejected
    bool failing = false;       ///< checks that this agent makes fail
    TimePoint well_at{};        ///< the last that went well; long ago = none
  };
  struct Pool {
    std::vector<Endpoint> endpoints;
  };
  struct Route {
    RouteKey key = RouteKey::kNone;
    std::string name;
    std::size_t pool = 0;                            ///< index of its pool
    std::vector<proxy::BreakerTable::Look> breakers;  ///< in the order of the pool's endpoints
  };
  struct View {
    std::vector<Pool> pools;
    std::vector<Route> routes;  ///< those with breakers
    proxy::OutlierSettings outlier;
    std::size_t rank = 0;       ///< place of this agent among the live ones
  };
  /// Another live agent and its tag.
  struct Peer {
    std::uint64_t id = 0;
    std::string_view name, text;
  };

  struct Order {  ///< for a breaker
    std::size_t route = 0;  ///< index in View::routes
    proxy::EndpointId id{};
    bool open = false;      ///< advise until `until`; else relent
    TimePoint until{};
    friend bool operator==(const Order&, const Order&) = default;
  };
  struct Decision {
    std::map<proxy::EndpointId, TimePoint> advice;  ///< all that is to be left out at words; others are not
    std::vector<Order> orders;
    std::vector<proxy::EndpointId> check_now;       ///< whoever checks these looks at once: somebody has had trouble
    std::vector<std::string> notes;                 ///< what is done at new words, for the log
    std::string text;                               ///< own tag; empty = none
  };
  struct Counters {
    std::uint64_t told = 0, untold = 0;  ///< own words; those that had no room
    std::uint64_t heard = 0, malformed = 0;
    std::uint64_t doubted = 0;           ///< not believed: too often from one agent, or no room to remember
    std::uint64_t spared = 0;            ///< not followed: the pool had nobody to spare
  };

  explicit HealthShare(std::uint16_t first_serial) : serial_(first_serial) {}

  /// Looks at everything. To be called when either side may have changed, and at next_deadline().
  [[nodiscard]] Decision look(TimePoint now, const View& view, const std::vector<Peer>& peers);
  [[nodiscard]] TimePoint next_deadline() const { return next_; }
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  enum class About : std::uint8_t { kTraffic, kChecks, kBreaker };
  struct Heard {
    WordKind kind{};
    std::uint16_t serial = 0;
    TimePoint at{}, until{};
    std::uint32_t count = 0;  ///< times in a row
    bool believed = false, standing = false, fresh = false;
    std::string who;
  };
  struct Told {
    WordKind kind{};
    std::uint16_t serial = 0;
    TimePoint until{};
    bool said = true;  ///< false: over, kept so that its end is noticed
  };
  using HeardKey = std::tuple<std::uint64_t, About, RouteKey, EndpointKey>;
  using ToldKey = std::tuple<About, RouteKey, EndpointKey>;
  struct Word {  ///< the strongest word about one thing
    TimePoint until{};
    bool probing = false, closed = false, fresh = false;
    std::string who;
  };

  static About about(WordKind kind);
  void hear(TimePoint now, const std::vector<Peer>& peers);
  void take_in(TimePoint now, const Peer& peer, const HealthWord& word);
  [[nodiscard]] Word word_about(TimePoint now, About what, RouteKey route, EndpointKey endpoint, TimePoint later_than) const;
  void decide_advice(TimePoint now, const View& view, Decision& out);
  void decide_breakers(TimePoint now, const View& view, std::size_t index, Decision& out);
  void order_checks(const View& view, Decision& out) const;
  void tell(TimePoint now, const View& view);
  void say(ToldKey key, WordKind kind, TimePoint until, bool changed);
  void tell_breaker(TimePoint now, ToldKey key, const proxy::BreakerTable::Look& look);
  void write_text(TimePoint now);

  std::uint16_t serial_;
  std::map<HeardKey, Heard> heard_;
  std::map<std::uint64_t, std::string> texts_;  // newest of each peer
  std::map<ToldKey, Told> told_;                // bounded by the endpoints, and their breakers, in trouble
  std::vector<std::pair<ToldKey, std::uint16_t>> written_;  // what text_ says
  std::string text_;
  TimePoint next_ = TimePoint::max();
  Counters counters_;
};

}  // namespace agent
