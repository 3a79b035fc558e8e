#pragma once
/// Bans spread from agent to agent: what the workers here have banned is told to every agent that the mesh reaches, what others
/// tell is put into the table that the workers read.
///
/// An agent tells what was banned here, by failures or by an operator, never what it has heard: nothing goes round. Whoever is
/// connected later is told all of it then. An unban goes to whoever is connected; an agent that is cut off at that moment keeps
/// its ban until that ends by itself, or somebody unbans there, too.
/// Ownership: of the agent; everything in its parts outlives it. Thread: the control loop.
/// Bounds: those of the table; frames of kGuardWordsMax words.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guard_words.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "proxy/guard.h"
#include "store/types.h"

namespace agent {

struct GuardExchangeParts {
  std::shared_ptr<proxy::GuardTable> table;  ///< never null
  std::function<const std::set<store::NodeId>&()> peers;  ///< that can be told now
  std::function<bool(store::NodeId to, std::string frame)> send;  ///< false: not queued
  std::function<void(std::string_view what, const std::string& detail)> log;
};

class GuardExchange {
 public:
  static constexpr io::Milliseconds kLookEvery{50};  ///< a burst of bans makes one frame; a look reads the whole table

  GuardExchange(io::Loop& loop, GuardExchangeParts parts);
  /// A worker has banned somebody.
  void look();
  void on_connected(store::NodeId peer);
  void on_frame(store::NodeId from, std::string_view frame);

  [[nodiscard]] const proxy::GuardTable& table() const { return *parts_.table; }
  /// At an operator's word.
  [[nodiscard]] proxy::GuardTable::Banned ban(proxy::GuardKey key, io::Milliseconds how_long);
  /// Here and at all agents that can be told. @return false: nobody here was banned under that key
  bool unban(proxy::GuardKey key);
  [[nodiscard]] std::uint64_t heard() const { return heard_; }          ///< bans and unbans of others
  [[nodiscard]] std::uint64_t malformed() const { return malformed_; }  ///< frames

 private:
  void look_now();
  void tell(store::NodeId peer, std::span<const GuardWord> words);
  [[nodiscard]] std::vector<GuardWord> own_bans(io::TimePoint now) const;

  GuardExchangeParts parts_;
  std::map<proxy::GuardKey, io::TimePoint> told_;  // own bans and their ends; bounded by the table
  io::TimePoint looked_at_{};
  io::Timer timer_;
  std::uint64_t heard_ = 0, malformed_ = 0;
};

}  // namespace agent
