#pragma once

#include <cstddef>
#include <deque>
#include <optional>

#include "store/raft/ids.h"

namespace store::raft {

/// Batches that the disk has not acknowledged, and how much of the present log each one will make durable.
/// An entry may be replaced by another with the same index, and even come back with the same term, while writes of
/// all of them are under way. So an ack never speaks for an index alone: it names its batch, and a batch loses what
/// was replaced after it was handed out.
/// Source:    thesis 3.5 (a follower answers for what is on its disk); the ABA race is etcd-io/raft's vector
///            async_storage_writes_append_aba_race.
/// Bound:     kInFlightMax batches; at the bound the core hands out no further batch until an ack arrives.
/// Ownership: a value inside Raft.
class Persists {
 public:
  static constexpr std::size_t kInFlightMax = 64;
  struct Batch {
    PersistSeq seq;
    Index last;       ///< end of the log when handed out
    Term last_term;   ///< term of that entry
    Index confirms;   ///< what an ack makes durable: `last`, or less after a truncation
  };

  /// Notes a batch. @return its number.
  PersistSeq begin(Index last, Term last_term);
  /// Entries at and after `from` were replaced.
  void truncate(Index from);
  /// @return index that is durable now, or none if this batch (seq, index, term) was never handed out. Old acks
  ///         answer Index 0.
  std::optional<Index> acknowledge(PersistSeq seq, Index index, Term term);

  [[nodiscard]] bool full() const { return batches_.size() >= kInFlightMax; }
  [[nodiscard]] bool idle() const { return batches_.empty(); }
  [[nodiscard]] PersistSeq newest() const { return newest_; }  ///< number of the latest batch; 0 = none yet
  [[nodiscard]] PersistSeq acknowledged() const { return acknowledged_; }

 private:
  std::deque<Batch> batches_;  // oldest first
  PersistSeq newest_;
  PersistSeq acknowledged_;
};

}  // namespace store::raft
