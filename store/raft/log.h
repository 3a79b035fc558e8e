#pragma once

#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "store/raft/error.h"
#include "store/raft/message.h"

namespace store::raft {

/// The log window in memory: everything after the last snapshot or compaction, and how far each entry has come:
///   first <= ... <= applied <= commit <= last;   durable <= handed <= last
/// Source:    thesis 3.5 (log matching, conflict hints), 7 (compaction); disk marks: see Persists in raft.cc.
/// Invariant: committed entries are never replaced. A caller that would break this gets false and must stop.
/// Bound:     the host's: it compacts; the leader refuses proposals over Config::log_bytes_max (bytes()).
/// Ownership: a value inside Raft.
class Log {
 public:
  Log() = default;
  /// @param before   index and term of the entry before the window (0/0 for the very beginning)
  /// @param entries  contiguous from before.index + 1, all durable
  Log(Index before, Term before_term, std::vector<Entry> entries);

  [[nodiscard]] Index first_index() const { return before_.next(); }  ///< may be last_index() + 1: empty window
  [[nodiscard]] Index last_index() const { return before_.plus(entries_.size()); }
  [[nodiscard]] Term last_term() const { return entries_.empty() ? before_term_ : entries_.back().term; }
  [[nodiscard]] Index commit() const { return commit_; }
  [[nodiscard]] Index applied() const { return applied_; }
  [[nodiscard]] Index durable() const { return durable_; }  ///< on the own disk, acknowledged
  [[nodiscard]] Index handed() const { return handed_; }    ///< given to the disk
  [[nodiscard]] std::size_t bytes() const { return bytes_; }  ///< payload in the window

  /// Term of the entry at `index`, also for the one just before the window. Errors: kCompacted, kUnavailable.
  [[nodiscard]] Result<Term> term(Index index) const;
  [[nodiscard]] bool matches(Index index, Term term) const;
  /// Is a log that ends with (index, term) at least as complete as this one? (3.6.1)
  [[nodiscard]] bool up_to_date(Index index, Term term) const;
  /// Entries [from, to], cut after bytes_max of payload, but at least one. Errors: kCompacted, kUnavailable.
  [[nodiscard]] Result<std::vector<Entry>> slice(Index from, Index to, std::size_t bytes_max) const;
  [[nodiscard]] const Entry& at(Index index) const;  ///< index inside the window (asserted)

  /// Greatest index <= `index` whose term is <= `term`, with its term (0 if compacted): the place where two logs may
  /// agree. Index 0 / term 0 if there is none.
  struct Position {
    Index index;
    Term term;
  };
  [[nodiscard]] Position conflict_by_term(Index index, Term term) const;
  /// First of `entries` that this log lacks or holds with another term; none if it has all.
  [[nodiscard]] std::optional<Index> find_conflict(const std::vector<Entry>& entries) const;

  /// Appends contiguous entries; those at and after entries.front().index are replaced and lose their disk marks.
  /// @return false, with nothing changed, if a committed entry would be replaced or a gap would arise.
  [[nodiscard]] bool append(std::span<const Entry> entries);
  /// @return false if `to` lies after the last entry.
  [[nodiscard]] bool commit_to(Index to);
  void applied_to(Index to);  ///< grows only, to commit() at most (asserted)
  void handed_to(Index to) { handed_ = to; }
  void durable_to(Index to);  ///< grows only, to handed() at most
  /// Errors: kUnavailable (beyond applied), kCompacted (dropped before).
  Result<void> compact(Index to);
  /// The snapshot is the log now; it is not durable until a later durable_to().
  void restore(Index index, Term term);

 private:
  Index before_;  // entry before the window
  Term before_term_;
  std::deque<Entry> entries_;
  Index commit_;
  Index applied_;
  Index durable_;
  Index handed_;
  std::size_t bytes_ = 0;
};

}  // namespace store::raft
