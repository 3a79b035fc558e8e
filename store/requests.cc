#include "store/requests.h"

namespace store {

// --- writes -------------------------------------------------------------------------------------------------------

bool Writes::fits(std::size_t bytes) const {
  if (open_.size() >= count_max_ || bytes_ + bytes > kBytesMax) return false;
  // The oldest open write must still be remembered when it is repeated after all newer ones.
  return open_.empty() || next_seq_ - open_.begin()->first < kv::kDedupeWindow;
}

void Writes::add(std::uint64_t seq, Write write) {
  bytes_ += write.command.size();
  deadlines_.emplace(write.deadline, seq);
  unsent_.insert(seq);
  open_.emplace(seq, std::move(write));
}

std::optional<Writes::Write> Writes::take(std::uint64_t seq) {
  const auto found = open_.find(seq);
  if (found == open_.end()) return std::nullopt;
  Write write = std::move(found->second);
  bytes_ -= write.command.size();
  deadlines_.erase({write.deadline, seq});
  sent_.erase({write.sent_at, seq});
  unsent_.erase(seq);
  open_.erase(found);
  return write;
}

Writes::Write* Writes::find(std::uint64_t seq) {
  const auto found = open_.find(seq);
  return found == open_.end() ? nullptr : &found->second;
}

void Writes::mark_unsent(std::uint64_t seq, Write& write) {
  if (write.unsent) return;
  write.unsent = true;
  sent_.erase({write.sent_at, seq});
  unsent_.insert(seq);
}

void Writes::mark_sent(std::uint64_t seq, Write& write, TimePoint now) {
  unsent_.erase(seq);
  write.unsent = false;
  ++write.copies;
  write.sent_at = now;
  sent_.emplace(now, seq);
}

std::size_t Writes::resend_before(TimePoint before) {
  std::size_t count = 0;
  while (!sent_.empty() && sent_.begin()->first <= before) {
    const std::uint64_t seq = sent_.begin()->second;
    mark_unsent(seq, open_.at(seq));
    ++count;
  }
  return count;
}

std::vector<std::uint64_t> Writes::expired(TimePoint now) const {
  std::vector<std::uint64_t> seqs;
  for (const auto& [deadline, seq] : deadlines_) {
    if (deadline > now) break;
    seqs.push_back(seq);
  }
  return seqs;
}

// --- reads --------------------------------------------------------------------------------------------------------

void Reads::add(Read read) {
  const Id id = next_id_++;
  unasked(read.mode).insert(id);
  deadlines_.emplace(read.deadline, id);
  open_.emplace(id, std::move(read));
}

std::optional<std::uint64_t> Reads::ask(raft::ReadMode mode, TimePoint now) {
  std::set<Id>& ids = unasked(mode);
  if (ids.empty()) return std::nullopt;
  const std::uint64_t context = next_context_++;
  rounds_.emplace(context, Round{mode, now, std::vector<Id>(ids.begin(), ids.end())});
  ids.clear();
  return context;
}

void Reads::on_index(std::uint64_t context, kv::Index index) {
  const auto round = rounds_.find(context);
  if (round == rounds_.end()) return;
  for (const Id id : round->second.reads) {
    if (open_.contains(id)) waiting_.emplace(index, id);
  }
  rounds_.erase(round);
}

void Reads::on_dropped(std::uint64_t context) {
  const auto round = rounds_.find(context);
  if (round == rounds_.end()) return;
  for (const Id id : round->second.reads) {
    if (open_.contains(id)) unasked(round->second.mode).insert(id);
  }
  rounds_.erase(round);
}

void Reads::ask_again_before(TimePoint before) {
  std::vector<std::uint64_t> lost;
  for (const auto& [context, round] : rounds_) {
    if (round.asked_at <= before) lost.push_back(context);
  }
  for (const std::uint64_t context : lost) on_dropped(context);
}

raft::TimePoint Reads::oldest_asked() const {
  return rounds_.empty() ? TimePoint::max() : rounds_.begin()->second.asked_at;
}

std::optional<Reads::Read> Reads::take(Id id) {
  const auto found = open_.find(id);
  if (found == open_.end()) return std::nullopt;
  Read read = std::move(found->second);
  deadlines_.erase({read.deadline, id});
  unasked_lease_.erase(id);
  unasked_quorum_.erase(id);
  open_.erase(found);
  return read;
}

std::vector<Reads::Read> Reads::take_applied(kv::Index applied) {
  std::vector<Read> ready;
  while (!waiting_.empty() && waiting_.begin()->first <= applied) {
    if (auto read = take(waiting_.begin()->second)) ready.push_back(std::move(*read));
    waiting_.erase(waiting_.begin());
  }
  return ready;
}

std::vector<Reads::Read> Reads::take_expired(TimePoint now) {
  std::vector<Read> late;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const Id id = deadlines_.begin()->second;
    std::erase_if(waiting_, [id](const auto& item) { return item.second == id; });
    late.push_back(*take(id));
  }
  return late;
}

std::vector<Reads::Read> Reads::take_renewals() {
  std::vector<Id> ids;
  for (const auto& [id, read] : open_) {
    if (read.renewal) ids.push_back(id);
  }
  std::vector<Read> renewals;
  for (const Id id : ids) renewals.push_back(*take(id));
  std::erase_if(waiting_, [this](const auto& item) { return !open_.contains(item.second); });
  return renewals;
}

}  // namespace store
