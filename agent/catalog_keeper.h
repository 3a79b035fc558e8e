#pragma once
/// Keeps the catalog's nodes in step with gossip: a core, run by the agent of the Raft leader.
///
/// Source:    what Consul's leader does with Serf's members. An alive member has a node row, a passing serfHealth check
///            and its place in the service of our own servers; a dead one keeps its rows with serfHealth critical; one
///            that left is removed with all that is on it.
/// Invariant: rows of external nodes (no serfHealth check) are never touched. A row that is right is not written again.
///            At most one proposal per node is under way, kPendingMax in all.
/// Contract:  step() with every change of members, leadership or catalog, on_done() with every end of a proposal, and
///            step() again at next_deadline(); take_output() after each. Gossip never decides who votes: nor does this.

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/kv/catalog.h"
#include "store/kv/command.h"

namespace agent {

class CatalogKeeper {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kPendingMax = 64;  ///< proposals under way, so that a new leader does not flood its log
  /// A node that gossip does not know at all may be one that a freshly started leader has not met yet.
  static constexpr std::chrono::seconds kUnknownIsDead{30};
  static constexpr std::chrono::hours kUnknownIsGone{72};  ///< as long as Serf remembers the dead
  static constexpr std::chrono::milliseconds kRetryAfter{500};
  static constexpr std::chrono::seconds kLookAgain{5};  ///< for changes that nobody told

  /// One member as gossip knows it.
  struct Seen {
    enum class State : std::uint8_t { kLive, kDead, kLeft };
    std::string name;
    store::kv::Uuid id;
    std::string address;          ///< IP literal
    std::uint32_t mesh_port = 0;  ///< port of our own service's instance; 0 = not told yet
    store::kv::Meta meta;
    State state = State::kLive;
  };
  struct Proposal {
    std::string node;  ///< for on_done
    store::kv::CommandBody command;
  };

  /// @param server_service  name of the service of our own agents; empty = none. Its instances have the same id.
  explicit CatalogKeeper(std::string server_service) : server_service_(std::move(server_service)) {}

  /// Looks at everything and proposes what is not right. Without leadership it forgets what it waited for.
  void step(const store::kv::Catalog& catalog, const std::vector<Seen>& members, bool leading, TimePoint now);
  /// The proposal for `node` has ended. A failed one is made again after kRetryAfter.
  void on_done(const std::string& node, bool ok, TimePoint now);
  [[nodiscard]] std::vector<Proposal> take_output() { return std::exchange(output_, {}); }
  [[nodiscard]] TimePoint next_deadline() const { return next_; }  ///< time_point::max() while somebody else leads

 private:
  void look_at(const store::kv::Catalog& catalog, const Seen& member, TimePoint now);
  void look_at_unknown(const store::kv::Catalog& catalog, const std::set<std::string>& known, TimePoint now);
  bool propose(const std::string& node, store::kv::CommandBody command);
  bool set_health(const store::kv::Catalog& catalog, const std::string& node, store::kv::CheckStatus status);

  std::string server_service_;
  std::set<std::string> pending_;             // nodes with a proposal under way
  std::map<std::string, TimePoint> retry_;    // nodes whose last proposal failed: not before; bounded by the catalog
  std::map<std::string, TimePoint> unknown_;  // since when gossip does not know a node of the catalog
  std::vector<Proposal> output_;
  TimePoint next_ = TimePoint::max();
};

/// The node row that a member should have.
[[nodiscard]] store::kv::Node node_row_of(const CatalogKeeper::Seen& member);

}  // namespace agent
