#include "store/raft/persists.h"

#include <algorithm>
#include <cassert>

namespace store::raft {

PersistSeq Persists::begin(Index last, Term last_term) {
  assert(!full());
  newest_ = PersistSeq{newest_.value + 1};
  batches_.push_back({newest_, last, last_term, last});
  return newest_;
}

void Persists::truncate(Index from) {
  for (Batch& batch : batches_) batch.confirms = std::min(batch.confirms, from.previous());
}

std::optional<Index> Persists::acknowledge(PersistSeq seq, Index index, Term term) {
  if (seq > newest_ || seq.value == 0) return std::nullopt;
  if (seq <= acknowledged_) return Index{};
  // Batches reach the disk in order: an ack covers all before it, and a later batch holds no less of the log.
  const auto found = std::find_if(batches_.begin(), batches_.end(), [&](const Batch& b) { return b.seq == seq; });
  if (found == batches_.end() || found->last != index || found->last_term != term) return std::nullopt;
  const Index durable = found->confirms;
  batches_.erase(batches_.begin(), found + 1);
  acknowledged_ = seq;
  return durable;
}

}  // namespace store::raft
