#include "tests/sim/judge.h"

#include <algorithm>
#include <cstdio>

#include "tests/sim/trace.h"

namespace sim {
namespace {

using store::raft::ConfState;
using store::raft::Entry;
using store::raft::Index;
using store::raft::NodeId;
using store::raft::Term;

std::uint64_t hash_of(const Entry& entry) {
  return hash_bytes(entry.data.view(), entry.term.value * 4 + static_cast<std::uint64_t>(entry.kind));
}

std::string at(std::uint64_t index, std::uint64_t term) {
  return "index " + std::to_string(index) + " term " + std::to_string(term);
}

}  // namespace

Judge::Judge(int nodes) : logs_(static_cast<std::size_t>(nodes)) {}

void Judge::fail(Nanos now, const std::string& rule, const std::string& what) {
  if (!violation_) {
    char time[40];
    std::snprintf(time, sizeof time, "%.6f ms: ", static_cast<double>(now) / 1e6);
    violation_ = time + rule + ": " + what;
  }
}

const Judge::Slot* Judge::slot(const NodeLog& log, std::uint64_t index) const {
  if (index <= log.base || index > log.base + log.slots.size()) {
    return nullptr;
  }
  return &log.slots[index - log.base - 1];
}

void Judge::appended(Nanos now, int node, const std::vector<Entry>& entries) {
  NodeLog& log = logs_[static_cast<std::size_t>(node)];
  for (const Entry& entry : entries) {
    const std::uint64_t index = entry.index.value;
    if (index <= log.base || index > log.base + log.slots.size() + 1) {
      fail(now, "log matching", "n" + std::to_string(node) + " appends with a gap at " + at(index, entry.term.value));
      return;
    }
    if (index <= log.commit_seen && slot(log, index) != nullptr && slot(log, index)->term != entry.term.value) {
      fail(now, "state-machine safety", "n" + std::to_string(node) + " replaces a committed entry at " +
                                            at(index, entry.term.value));
    }
    log.slots.resize(index - log.base - 1);
    const std::uint64_t previous_term = log.slots.empty() ? log.base_term : log.slots.back().term;
    const Slot added{entry.term.value, hash_of(entry)};
    check_matching(now, node, index, previous_term, added);
    log.slots.push_back(added);
  }
}

void Judge::check_matching(Nanos now, int node, std::uint64_t index, std::uint64_t previous_term, const Slot& added) {
  const auto [it, fresh] = entries_.try_emplace({index, added.term}, added.hash, previous_term);
  if (!fresh && (it->second.first != added.hash || it->second.second != previous_term)) {
    fail(now, "log matching", "n" + std::to_string(node) + " has another entry or predecessor at " +
                                  at(index, added.term));
  }
}

void Judge::log_starts_after(int node, Index index, Term term) {
  NodeLog& log = logs_[static_cast<std::size_t>(node)];
  log.base = index.value;
  log.base_term = term.value;
  log.slots.clear();
  log.commit_seen = index.value;
}

std::optional<Term> Judge::term_at(int node, Index index) const {
  const NodeLog& log = logs_[static_cast<std::size_t>(node)];
  if (index.value == log.base) {
    return Term{log.base_term};
  }
  const Slot* found = slot(log, index.value);
  return found == nullptr ? std::nullopt : std::optional(Term{found->term});
}

Index Judge::log_end(int node) const {
  const NodeLog& log = logs_[static_cast<std::size_t>(node)];
  return Index{log.base + log.slots.size()};
}

void Judge::committed(Nanos now, int node, Index commit) {
  NodeLog& log = logs_[static_cast<std::size_t>(node)];
  if (commit.value <= log.commit_seen) {
    return;  // a new process may know less than the one before
  }
  if (commit.value > log.base + log.slots.size()) {
    fail(now, "state-machine safety", "n" + std::to_string(node) + " calls committed what it does not have: index " +
                                          std::to_string(commit.value));
    return;
  }
  if (committed_.size() < commit.value) {
    std::uint64_t term = 0;
    for (const auto& [t, leader] : leaders_) {
      term = std::max(term, t);
    }
    committed_.resize(commit.value);
    committed_in_term_.resize(commit.value, term);
  }
  for (std::uint64_t i = std::max(log.commit_seen, log.base) + 1; i <= commit.value; ++i) {
    const Slot& ours = *slot(log, i);
    Slot& known = committed_[i - 1];
    if (known.term == 0) {
      known = ours;
    } else if (known.term != ours.term || known.hash != ours.hash) {
      fail(now, "state-machine safety", "n" + std::to_string(node) + " committed " + at(i, ours.term) +
                                            " where others committed " + at(i, known.term));
    }
  }
  log.commit_seen = commit.value;
}

bool Judge::durable_majority(int leader, Index commit, const ConfState& conf,
                             const std::function<bool(NodeId, Index, Term)>& durable) const {
  const NodeLog& log = logs_[static_cast<std::size_t>(leader)];
  const Slot* last = slot(log, commit.value);
  if (last == nullptr) {
    return true;
  }
  for (const std::vector<NodeId>* voters : {&conf.voters, &conf.voters_outgoing}) {
    const auto copies = std::count_if(voters->begin(), voters->end(), [&](NodeId voter) {
      return durable(voter, commit, Term{last->term});
    });
    if (!voters->empty() && static_cast<std::size_t>(copies) * 2 <= voters->size()) {
      return false;
    }
  }
  return true;
}

void Judge::counted(Nanos now, int leader, Index commit, Term term) {
  const auto last = term_at(leader, commit);
  if (last && *last != term) {
    fail(now, "own-term commit", "leader n" + std::to_string(leader) + " of term " + std::to_string(term.value) +
                                     " counted copies of " + at(commit.value, last->value));
  }
}

Index Judge::commit_seen(int node) const { return Index{logs_[static_cast<std::size_t>(node)].commit_seen}; }

void Judge::log_ends_at(int node, Index last) {
  NodeLog& log = logs_[static_cast<std::size_t>(node)];
  if (last.value >= log.base && last.value < log.base + log.slots.size()) {
    log.slots.resize(last.value - log.base);
  }
}

void Judge::leads(Nanos now, int node, Term term) {
  const auto [it, fresh] = leaders_.try_emplace(term.value, node);
  if (!fresh && it->second != node) {
    fail(now, "election safety", "term " + std::to_string(term.value) + " has two leaders, n" +
                                     std::to_string(it->second) + " and n" + std::to_string(node));
  }
  if (fresh) {
    check_complete(now, node, term.value);
  }
}

void Judge::check_complete(Nanos now, int node, std::uint64_t term) {
  const NodeLog& log = logs_[static_cast<std::size_t>(node)];
  for (std::uint64_t i = log.base + 1; i <= committed_.size(); ++i) {
    const Slot& known = committed_[i - 1];
    if (known.term == 0 || committed_in_term_[i - 1] >= term) {
      continue;
    }
    const Slot* ours = slot(log, i);
    if (ours == nullptr || ours->term != known.term || ours->hash != known.hash) {
      fail(now, "leader completeness", "n" + std::to_string(node) + " leads term " + std::to_string(term) +
                                           " without committed " + at(i, known.term));
      return;
    }
  }
}

void Judge::means_to_vote(int node, Term term, NodeId candidate) {
  if (candidate) {
    meant_[{node, term.value}] = candidate.value;
  }
}

void Judge::voted(Nanos now, int node, Term term, NodeId candidate) {
  disk_terms_[node] = std::max(disk_terms_[node], term.value);
  if (!candidate) {
    return;
  }
  const auto [it, fresh] = votes_.try_emplace({node, term.value}, candidate.value);
  if (!fresh && it->second != candidate.value) {
    fail(now, "one vote per term", "n" + std::to_string(node) + " voted twice in term " + std::to_string(term.value));
  }
}

bool Judge::elected(NodeId leader, Term term, const ConfState& conf,
                    const std::function<int(NodeId)>& node_of) const {
  for (const std::vector<NodeId>* voters : {&conf.voters, &conf.voters_outgoing}) {
    const auto votes = std::count_if(voters->begin(), voters->end(), [&](NodeId voter) {
      const int node = node_of(voter);
      const auto vote = votes_.find({node, term.value});
      if (vote != votes_.end()) return vote->second == leader.value;
      const auto meant = meant_.find({node, term.value});
      const auto later = disk_terms_.find(node);
      return meant != meant_.end() && meant->second == leader.value && later != disk_terms_.end() &&
             later->second > term.value;
    });
    if (!voters->empty() && static_cast<std::size_t>(votes) * 2 <= voters->size()) {
      return false;
    }
  }
  return true;
}

void Judge::conf_is(Nanos now, int node, Index index, const ConfState& conf) {
  const auto [it, fresh] = confs_.try_emplace(index.value, conf);
  if (!fresh && it->second != conf) {
    fail(now, "equal configurations", "n" + std::to_string(node) + " has other members than others after index " +
                                          std::to_string(index.value));
  }
}

void Judge::state_is(Nanos now, int node, Index index, std::uint64_t hash) {
  const auto [it, fresh] = states_.try_emplace(index.value, hash);
  if (!fresh && it->second != hash) {
    fail(now, "state-machine safety", "n" + std::to_string(node) + " has another state than others after index " +
                                          std::to_string(index.value));
  }
}

void Judge::passes(Nanos now, const std::vector<std::pair<int, agent::Epoch>>& nodes) {
  if (nodes.size() > 1) {
    std::string who;
    for (const auto& [node, epoch] : nodes) {
      who += " n" + std::to_string(node) + " epoch " + std::to_string(static_cast<std::uint64_t>(epoch));
    }
    fail(now, "I1", "more than one node passes the lease check:" + who);
  }
  for (const auto& [node, epoch] : nodes) {
    const auto number = static_cast<std::uint64_t>(epoch);
    if (number < last_passed_epoch_) {
      fail(now, "I1", "n" + std::to_string(node) + " passes under epoch " + std::to_string(number) + " after epoch " +
                          std::to_string(last_passed_epoch_));
    }
    last_passed_epoch_ = std::max(last_passed_epoch_, number);
  }
}

void Judge::granted(Nanos now, int node, agent::Epoch epoch) {
  const auto number = static_cast<std::uint64_t>(epoch);
  ++grants_;
  if (number == 0) {
    fail(now, "I4", "n" + std::to_string(node) + " was granted epoch 0");
  }
  const auto [it, fresh] = granted_.try_emplace(number, node);
  if (!fresh && it->second != node) {
    fail(now, "I4", "epoch " + std::to_string(number) + " was granted to n" + std::to_string(it->second) +
                        " and to n" + std::to_string(node));
  }
}

void Judge::lease_is(Nanos now, int node, Index index, agent::Epoch epoch, agent::HolderId holder) {
  NodeLog& log = logs_[static_cast<std::size_t>(node)];
  const auto number = static_cast<std::uint64_t>(epoch);
  if (index.value >= log.lease_index && number < log.lease_epoch) {
    fail(now, "I4", "the lease at n" + std::to_string(node) + " goes back from epoch " +
                        std::to_string(log.lease_epoch) + " to " + std::to_string(number));
  }
  log.lease_index = index.value;
  log.lease_epoch = number;
  if (static_cast<std::uint64_t>(holder) == 0) {
    return;
  }
  const auto [it, fresh] = holders_.try_emplace(number, static_cast<std::uint64_t>(holder));
  if (!fresh && it->second != static_cast<std::uint64_t>(holder)) {
    fail(now, "I4", "epoch " + std::to_string(number) + " has two holders");
  }
}

}  // namespace sim
