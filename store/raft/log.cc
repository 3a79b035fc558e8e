#include "store/raft/log.h"

#include <algorithm>
#include <cassert>

namespace store::raft {

Log::Log(Index before, Term before_term, std::vector<Entry> entries)
    : before_(before),
      before_term_(before_term),
      entries_(std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end())),
      commit_(before),
      applied_(before) {
  durable_ = handed_ = last_index();
  for (const Entry& entry : entries_) bytes_ += entry.data.size();
}

Result<Term> Log::term(Index index) const {
  if (index < before_) return fail(Errc::kCompacted, "index " + std::to_string(index.value));
  if (index == before_) return before_term_;
  if (index > last_index()) return fail(Errc::kUnavailable, "index " + std::to_string(index.value));
  return at(index).term;
}

bool Log::matches(Index index, Term wanted) const {
  const auto have = term(index);
  return have && *have == wanted;
}

bool Log::up_to_date(Index index, Term term) const {
  return term > last_term() || (term == last_term() && index >= last_index());
}

const Entry& Log::at(Index index) const {
  assert(index > before_ && index <= last_index());
  return entries_[index.value - before_.value - 1];
}

Result<std::vector<Entry>> Log::slice(Index from, Index to, std::size_t bytes_max) const {
  if (from <= before_) return fail(Errc::kCompacted, "index " + std::to_string(from.value));
  if (to > last_index()) return fail(Errc::kUnavailable, "index " + std::to_string(to.value));
  std::vector<Entry> entries;
  std::size_t bytes = 0;
  for (Index i = from; i <= to; i = i.next()) {
    const Entry& entry = at(i);
    bytes += entry.data.size();
    if (!entries.empty() && bytes > bytes_max) break;
    entries.push_back(entry);
  }
  return entries;
}

Log::Position Log::conflict_by_term(Index index, Term wanted) const {
  for (; index.value > 0; index = index.previous()) {
    const auto have = term(index);
    // Compacted or not there yet: it may agree; term 0 says that it is not known.
    if (!have) return {index, Term{}};
    if (*have <= wanted) return {index, *have};
  }
  return {};
}

std::optional<Index> Log::find_conflict(const std::vector<Entry>& entries) const {
  for (const Entry& entry : entries) {
    if (!matches(entry.index, entry.term)) return entry.index;
  }
  return std::nullopt;
}

bool Log::append(std::span<const Entry> entries) {
  if (entries.empty()) return true;
  const Index first = entries.front().index;
  if (first <= commit_ || first > last_index().next()) return false;
  while (last_index() >= first) {
    bytes_ -= entries_.back().data.size();
    entries_.pop_back();
  }
  durable_ = std::min(durable_, first.previous());
  handed_ = std::min(handed_, first.previous());
  for (const Entry& entry : entries) {
    assert(entry.index == last_index().next());
    entries_.push_back(entry);
    bytes_ += entry.data.size();
  }
  return true;
}

bool Log::commit_to(Index to) {
  if (to > last_index()) return false;
  commit_ = std::max(commit_, to);
  return true;
}

void Log::applied_to(Index to) {
  assert(to >= applied_ && to <= commit_);
  applied_ = to;
}

void Log::durable_to(Index to) {
  assert(to <= handed_);
  durable_ = std::max(durable_, to);
}

Result<void> Log::compact(Index to) {
  if (to <= before_) return fail(Errc::kCompacted, "index " + std::to_string(to.value));
  if (to > std::min(applied_, durable_)) return fail(Errc::kUnavailable, "index " + std::to_string(to.value));
  before_term_ = at(to).term;
  while (before_ < to) {
    bytes_ -= entries_.front().data.size();
    entries_.pop_front();
    before_ = before_.next();
  }
  return {};
}

void Log::restore(Index index, Term term) {
  entries_.clear();
  bytes_ = 0;
  before_ = commit_ = applied_ = handed_ = index;
  before_term_ = term;
  durable_ = Index{};
}

}  // namespace store::raft
