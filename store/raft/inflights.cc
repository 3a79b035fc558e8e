#include "store/raft/inflights.h"

#include <cassert>

namespace store::raft {

void Inflights::add(Index last) {
  assert(!full());
  assert(lasts_.empty() || lasts_.back() < last);
  lasts_.push_back(last);
}

void Inflights::free_to(Index to) {
  while (!lasts_.empty() && lasts_.front() <= to) lasts_.pop_front();
}

}  // namespace store::raft
