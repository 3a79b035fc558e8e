#pragma once
/// Keeps the sessions of all agents in step: a core between this agent's table (proxy/sticky.h) and the replicated rows.
///
/// A row is the KV key `outrigger/sticky/ZONE/HASH` with the node's name as its value, so that people can read and write it; its
/// flags hold the time to live (seconds, upper half) and a count that makes a refresh a change (lower half). Every agent
/// follows the rows, and the log's order decides: each write names the index of the row that it replaces, so of two agents
/// that move a session at once the second is refused, sees the first one's row, and stays there.
/// Source:    write rules as in CatalogKeeper; leases by last refresh after Gray and Cheriton (1989), without wall clock: each
///            agent counts from when it saw the row change.
/// Invariant: a request never causes a write by itself: only sessions seen twice, moved or learned are wanted, at most
///            kNewPerSecond and kChangesPerSecond rows a second are written, a refresh at most once per ttl / 4.
/// Bound:     kRowsMax rows; kQueueMax sessions that wait for theirs; kBatchesMax batches of kBatchMax rows under way.
/// Contract:  rows in by row_set() and row_gone(), tick() when news come and at next_deadline(), take_output() after each,
///            on_done() with the end of each batch.

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/sticky.h"
#include "store/kv/txn.h"

namespace agent {

inline constexpr std::string_view kStickyPrefix = "outrigger/sticky/";

/// What the key of a row says.
struct StickyKey {
  std::string zone;
  proxy::SessionHash session{};
  [[nodiscard]] std::string text() const;
  /// nullopt: anything else that somebody put below the prefix.
  [[nodiscard]] static std::optional<StickyKey> parse(std::string_view key);
};

struct StickyCounters {
  std::uint64_t rows_written = 0;  ///< refreshes and removals among them
  std::uint64_t expired = 0;
  std::uint64_t hash_only = 0;  ///< sessions left without a row: as many rows as may be, or too many sessions waited
  std::uint64_t refused = 0;    ///< rows that somebody else had changed first
};

class StickyKeeper {
 public:
  using TimePoint = proxy::TimePoint;
  static constexpr std::size_t kRowsMax = 100'000, kQueueMax = 65'536, kBatchMax = 128, kBatchesMax = 4;
  static constexpr std::uint32_t kNewPerSecond = 200, kChangesPerSecond = 2000;
  static constexpr std::chrono::milliseconds kSweepEvery{250}, kRetryAfter{500}, kDrainQueueEvery{10};
  /// A row nobody refreshed goes after ttl + ttl / 4 (uses that no refresh was written for) and this, or ttl if that is shorter.
  static constexpr std::chrono::seconds kExpiryMargin{10};

  struct Batch {
    std::uint64_t number = 0;  ///< for on_done
    std::vector<store::kv::TxnOp> ops;
  };

  /// The table of this agent; null = no route of it keeps sessions. Rows are followed either way: who leads removes those of all.
  void set_table(std::shared_ptr<proxy::StickyTable> table, TimePoint now);
  /// A row as it is now. @param index  its modify index
  void row_set(const StickyKey& key, const std::string& node, std::uint64_t flags, std::uint64_t index, TimePoint now);
  void row_gone(proxy::SessionHash session);
  /// Rows that are not among `kept` are gone: after the whole prefix was read again.
  void keep_only(const std::set<proxy::SessionHash>& kept);
  /// @param leading  this agent leads the store's cluster
  void tick(bool leading, TimePoint now);
  /// @param failed  steps of the batch that were refused; none and `ok` = all of it is done. Not ok: all are tried again later
  void on_done(std::uint64_t batch, bool ok, const std::vector<std::size_t>& failed, TimePoint now);
  [[nodiscard]] std::vector<Batch> take_output() { return std::exchange(output_, {}); }
  [[nodiscard]] TimePoint next_deadline() const { return next_; }

  [[nodiscard]] std::size_t row_count() const { return rows_.size(); }
  [[nodiscard]] const StickyCounters& counters() const { return counters_; }
  [[nodiscard]] const std::shared_ptr<proxy::StickyTable>& table() const { return table_; }

 private:
  struct Row {
    std::string zone, node;
    std::uint64_t flags = 0, index = 0;
    TimePoint changed{};  ///< when this agent saw it
    [[nodiscard]] std::chrono::milliseconds ttl() const;
  };
  using Rows = std::map<proxy::SessionHash, Row>;
  struct UnderWay {
    std::vector<std::pair<proxy::SessionHash, std::uint64_t>> rows;  ///< and the index that each step names
    std::size_t fresh = 0;                                            ///< rows that did not exist
  };
  struct Queue {
    std::deque<proxy::SessionHash> waiting;
    std::uint32_t per_second = 0;
    std::uint64_t debt = 0;  ///< state of the rate
  };
  void pin(proxy::SessionHash session, const Row& row, TimePoint now);
  void want(proxy::SessionHash session);
  void sweep(TimePoint now);
  void look_at(const proxy::StickyPlace& place);
  void expire(TimePoint now);
  void drain(Queue& queue, TimePoint now);
  [[nodiscard]] std::optional<store::kv::TxnOp> step_for(proxy::SessionHash session, TimePoint now);
  void send(Batch batch, UnderWay under_way);

  std::shared_ptr<proxy::StickyTable> table_;
  Rows rows_;
  Queue changes_{{}, kChangesPerSecond, 0}, new_{{}, kNewPerSecond, 0};  // wanted rows: that exist, that do not
  std::set<proxy::SessionHash> queued_;     // in either, or under way
  std::map<std::uint64_t, UnderWay> under_way_;
  std::vector<Batch> output_;
  std::uint64_t batch_count_ = 0;
  std::size_t fresh_ = 0;                         // of what is under way, rows that do not exist yet
  std::size_t sweep_at_ = 0;
  std::optional<proxy::SessionHash> expire_at_;   // where the next look at old rows begins
  TimePoint sweep_due_{}, retry_due_{}, next_ = TimePoint::max();
  StickyCounters counters_;
};

}  // namespace agent
