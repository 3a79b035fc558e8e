#pragma once
/// Runs the keeper of sessions: the replicated rows on one side, this agent's table on the other.
///
/// Ownership: of the agent; the store and its loop outlive it. Thread: the control loop, except that workers ring.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/timer.h"
#include "agent/sticky_keeper.h"

namespace agent {

class StickyDriver {
 public:
  /// @param self  for who leads  @param log  for what an operator should know
  StickyDriver(io::Loop& loop, drivers::StoreDriver& store, store::NodeId self, io::Milliseconds write_timeout,
               std::function<void(std::string_view what, const std::string& detail)> log);
  ~StickyDriver();
  StickyDriver(const StickyDriver&) = delete;
  StickyDriver& operator=(const StickyDriver&) = delete;

  /// The table for the routes of this agent, made at the first call: an agent without sticky routes has none.
  const std::shared_ptr<proxy::StickyTable>& need_table();
  /// Routes have changed, and with them zones: rows may belong to this agent's table now.
  void routes_changed();
  /// Somebody else leads, or the whole state is another one.
  void look() { tick(); }

  [[nodiscard]] const StickyKeeper& keeper() const { return keeper_; }

 private:
  struct Rung {};
  void tick();
  void follow();
  void read_all();
  void take(const std::string& key);
  void watch();
  void write(StickyKeeper::Batch batch);

  drivers::StoreDriver& store_;
  store::NodeId self_;
  io::Milliseconds write_timeout_;
  std::function<void(std::string_view what, const std::string& detail)> log_;
  StickyKeeper keeper_;
  std::shared_ptr<proxy::StickyTable> table_;
  io::Mailbox<Rung> bell_;      // from the workers; one ring waits at most
  io::Timer timer_;
  store::kv::Index seen_{};     // rows are known up to here
  std::uint64_t hash_only_told_ = 0;
  std::optional<store::kv::WatchId> watch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // completions that come later find nobody
};

}  // namespace agent
