#include "store/raft/reads.h"

namespace store::raft {

void Reads::add(NodeId from, std::uint64_t context, Index commit) {
  waiting_.push_back({from, context, commit, Round{round_.value + 1}});
}

void Reads::release_held(Index commit) {
  for (const Waiting& read : held_) add(read.from, read.context, commit);
  held_.clear();
}

Round Reads::begin_round(TimePoint now) {
  round_ = Round{round_.value + 1};
  if (rounds_.size() == kRoundsMax) rounds_.pop_front();
  rounds_.push_back({round_, now});
  return round_;
}

std::vector<Reads::Waiting> Reads::confirm(Round round) {
  while (!rounds_.empty() && rounds_.front().round <= round) {
    confirmed_at_ = rounds_.front().at;
    rounds_.pop_front();
  }
  std::vector<Waiting> ready;
  // A round that has not begun proves nothing, whatever number a quorum of one answers.
  const Round proven = std::min(round, round_);
  while (!waiting_.empty() && waiting_.front().round <= proven) {
    ready.push_back(waiting_.front());
    waiting_.pop_front();
  }
  return ready;
}

std::vector<Reads::Waiting> Reads::drop_all() {
  std::vector<Waiting> dropped(held_.begin(), held_.end());
  dropped.insert(dropped.end(), waiting_.begin(), waiting_.end());
  held_.clear();
  waiting_.clear();
  return dropped;
}

bool Reads::round_wanted() const { return !waiting_.empty() && waiting_.back().round > round_; }

}  // namespace store::raft
