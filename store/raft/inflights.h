#pragma once

#include <cstddef>
#include <deque>

#include "store/raft/ids.h"

namespace store::raft {

/// Appends that are on their way to one follower: the sliding window of pipelined replication.
/// Source:    thesis 10.2.1 (pipelining); window rules as in etcd-io/raft.
/// Invariant: size() <= capacity(); indexes grow from front to back.
/// Ownership: a value inside Progress.
class Inflights {
 public:
  /// @param capacity  greatest number of appends under way, >= 1
  explicit Inflights(std::size_t capacity) : capacity_(capacity) {}
  /// Notes an append whose last entry is `last`. Must not be called while full().
  void add(Index last);
  /// Forgets all appends whose last entry is at or before `to`.
  void free_to(Index to);
  void reset() { lasts_.clear(); }
  [[nodiscard]] bool full() const { return lasts_.size() >= capacity_; }
  [[nodiscard]] std::size_t size() const { return lasts_.size(); }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  std::size_t capacity_;
  std::deque<Index> lasts_;
};

}  // namespace store::raft
