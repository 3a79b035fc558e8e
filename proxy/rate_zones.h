#pragma once
/// Who answers: the zones that this agent counts for others. Those of its own routes, and those that others have asked about.
/// Bound: kForeignMax zones without a route here, 256 KiB each; one that nobody asked about for kForeignIdle makes room.
/// Thread: one, the counts themselves are shared with the workers (RateTable).

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>

#include "proxy/rate_share.h"
#include "proxy/route.h"

namespace proxy {

class RateZones {
 public:
  static constexpr std::size_t kForeignMax = 64;
  static constexpr Milliseconds kForeignIdle{600'000};
  /// @param seed  chance, for tables made here
  explicit RateZones(std::array<std::uint64_t, 2> seed) : seed_(seed) {}

  /// The zones of the routes in force.
  void set_routes(const RouteTable& routes);
  /// Counts one request. A question is never refused for its contents, whoever wrote it: limits beyond what rules may be
  /// (RateRule) are answered with `counted` false, and a debt beyond what the rule leads to is cut.
  [[nodiscard]] RateAnswer answer(const RateQuestion& question, TimePoint now);

  [[nodiscard]] std::uint64_t answered() const { return answered_; }
  [[nodiscard]] std::uint64_t turned_away() const { return turned_away_; }  ///< no room, or no such rule
  [[nodiscard]] std::size_t foreign() const { return foreign_.size(); }

 private:
  struct Foreign {
    std::shared_ptr<RateTable> counts;
    TimePoint asked{};
  };
  [[nodiscard]] RateTable* table_of(const RateQuestion& question, TimePoint now);

  std::array<std::uint64_t, 2> seed_;
  std::map<std::uint64_t, std::shared_ptr<RateTable>> own_;
  std::map<std::uint64_t, Foreign> foreign_;
  std::uint64_t answered_ = 0, turned_away_ = 0;
};

}  // namespace proxy
