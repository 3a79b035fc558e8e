#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/raft/raft.h"

/// Raft cores on a network and on disks that the test rules. Nothing moves unless the test says so.
namespace store::raft::test {

using std::chrono::milliseconds;

/// What survives a crash.
struct Disk {
  HardState hard;
  SnapshotMeta snapshot;
  std::vector<Entry> entries;
  Index applied;
  ConfState conf;

  void write(const Output& output) {
    if (output.hard_state) hard = *output.hard_state;
    if (output.snapshot) {
      snapshot = *output.snapshot;
      entries.clear();
      applied = snapshot.index;
      conf = snapshot.conf;
    }
    if (output.entries.empty()) return;
    std::erase_if(entries, [&](const Entry& entry) { return entry.index >= output.entries.front().index; });
    entries.insert(entries.end(), output.entries.begin(), output.entries.end());
  }
  [[nodiscard]] InitialState state() const { return {hard, snapshot, entries, applied, conf}; }
};

struct Member {
  Config config;
  Disk disk;
  std::unique_ptr<Raft> raft;
  std::deque<Output> batches;                          // handed out, not durable
  std::deque<std::pair<PersistSeq, Message>> waiting;  // messages behind a batch
  std::vector<Entry> applied;                          // all that was handed out in this life, in order
  std::vector<ReadState> reads;
  std::vector<SnapshotRequest> snapshot_requests;
  std::optional<Fatal> fatal;
  TimePoint now{};
};

inline std::vector<NodeId> ids(std::initializer_list<std::uint64_t> values) {
  std::vector<NodeId> out;
  for (std::uint64_t value : values) out.push_back(NodeId{value});
  return out;
}

/// Time-outs without chance: 250 ms for node 1, 300 ms for node 2, ...
inline Chance staggered(NodeId id) {
  return [id](std::uint64_t bound) { return bound * ((id.value - 1) % 5) / 5; };
}

class Network {
 public:
  enum class DiskMode { kPrompt, kManual };

  Network() = default;
  /// A group of these voters, numbered from 1, with one change of settings for all.
  explicit Network(std::uint64_t count, const std::function<void(Config&)>& change = {}) {
    std::vector<NodeId> voters;
    for (std::uint64_t i = 1; i <= count; ++i) voters.push_back(NodeId{i});
    for (NodeId id : voters) add(id, bootstrap_state(voters), change);
  }

  Member& add(NodeId id, const InitialState& state, const std::function<void(Config&)>& change = {}) {
    Member& member = members_[id];
    member.config.id = id;
    if (change) change(member.config);
    member.disk = {state.hard, state.snapshot, state.entries, state.applied, state.conf};
    start(id);
    return member;
  }

  void start(NodeId id) {
    Member& member = members_.at(id);
    member.batches.clear();
    member.waiting.clear();
    member.applied.clear();
    member.now = now;
    auto raft = Raft::create(member.config, member.disk.state(), staggered(id), now);
    if (!raft) std::abort();
    member.raft = std::move(*raft);
  }

  Member& operator[](std::uint64_t id) { return members_.at(NodeId{id}); }
  Raft& raft(std::uint64_t id) { return *members_.at(NodeId{id}).raft; }
  std::map<NodeId, Member>& members() { return members_; }

  /// Carries out all that node `id` wants done; the disk is prompt or waits for persist().
  void collect(std::uint64_t id) {
    Member& member = (*this)[id];
    while (member.raft->has_output()) {
      Output output = member.raft->take_output();
      if (output.fatal) member.fatal = output.fatal;
      for (Message& message : output.messages) post(std::move(message));
      for (Message& message : output.messages_after) member.waiting.emplace_back(output.after_seq, std::move(message));
      member.applied.insert(member.applied.end(), output.committed.begin(), output.committed.end());
      member.reads.insert(member.reads.end(), output.reads.begin(), output.reads.end());
      for (SnapshotRequest& request : output.snapshot_requests) {
        if (send_snapshots) send_snapshot(id, request);
        member.snapshot_requests.push_back(std::move(request));
      }
      if (output.seq) member.batches.push_back(std::move(output));
      if (disk == DiskMode::kPrompt) persist(id);
    }
  }

  void persist(std::uint64_t id, std::size_t count = SIZE_MAX) {
    Member& member = (*this)[id];
    for (; count > 0 && !member.batches.empty(); --count) {
      const Output batch = std::move(member.batches.front());
      member.batches.pop_front();
      member.disk.write(batch);
      const auto ok = member.raft->step(Persisted{*batch.seq, batch.last, batch.last_term}, now);
      if (!ok && !member.fatal) std::abort();
      while (!member.waiting.empty() && member.waiting.front().first <= *batch.seq) {
        post(std::move(member.waiting.front().second));
        member.waiting.pop_front();
      }
    }
  }

  /// Delivers what is under way until nothing moves any more.
  void settle() {
    for (int round = 0; round < 10000; ++round) {
      for (auto& [id, member] : members_) collect(id.value);
      if (messages.empty()) return;
      std::vector<Message> batch = std::exchange(messages, {});
      for (Message& message : batch) deliver(std::move(message));
    }
    std::abort();  // messages without end
  }

  void deliver(Message message) {
    const auto found = members_.find(message.to);
    if (found == members_.end() || is_cut(message.from, message.to)) return;
    if (filter && !filter(message)) return;
    static_cast<void>(found->second.raft->step(std::move(message), now));
  }

  /// Time passes everywhere in small steps, messages flow.
  void run(milliseconds span) {
    for (; span.count() > 0; span -= milliseconds(5)) {
      now += milliseconds(5);
      for (auto& [id, member] : members_) {
        if (!stopped.contains(id)) member.raft->tick(now);
      }
      settle();
    }
  }

  void cut(std::uint64_t from, std::uint64_t to) { cuts_.insert({NodeId{from}, NodeId{to}}); }
  void isolate(std::uint64_t id) {
    for (auto& [other, member] : members_) {
      cut(id, other.value);
      cut(other.value, id);
    }
  }
  void heal() { cuts_.clear(); }
  [[nodiscard]] bool is_cut(NodeId from, NodeId to) const { return cuts_.contains({from, to}); }

  /// The one leader of the highest term; kNobody if there is none.
  NodeId leader() {
    NodeId leader;
    Term term;
    for (auto& [id, member] : members_) {
      if (member.raft->role() != Role::kLeader || stopped.contains(id)) continue;
      if (!leader || member.raft->term() > term) {
        leader = id;
        term = member.raft->term();
      }
    }
    return leader;
  }

  /// Makes node `id` leader: a wish, then whatever messages it takes.
  bool elect(std::uint64_t id) {
    if (!raft(id).step(Campaign{}, now)) return false;
    settle();
    return raft(id).role() == Role::kLeader;
  }

  Result<Proposed> propose(std::uint64_t id, const std::string& text) {
    return raft(id).step(Propose{{Payload(text)}}, now);
  }

  /// Payloads that node `id` applied, without the no-ops.
  std::vector<std::string> applied(std::uint64_t id) {
    std::vector<std::string> texts;
    for (const Entry& entry : (*this)[id].applied) {
      if (entry.kind == EntryKind::kNormal && entry.data.size() > 0) texts.emplace_back(entry.data.view());
    }
    return texts;
  }

  std::size_t count(MessageKind kind, std::uint64_t to) const {
    return static_cast<std::size_t>(std::count_if(messages.begin(), messages.end(), [&](const Message& message) {
      return message.kind == kind && message.to == NodeId{to};
    }));
  }

  TimePoint now = TimePoint{} + std::chrono::hours(1);
  DiskMode disk = DiskMode::kPrompt;
  bool send_snapshots = true;
  std::vector<Message> messages;                   // under way
  std::function<bool(const Message&)> filter;      // false = lost
  std::set<NodeId> stopped;                        // paused: no ticks

 private:
  void post(Message message) { messages.push_back(std::move(message)); }
  void send_snapshot(std::uint64_t from, const SnapshotRequest& request) {
    Message message;
    message.kind = MessageKind::kSnapshot;
    message.from = NodeId{from};
    message.to = request.to;
    message.term = request.term;
    message.snapshot = raft(from).snapshot_meta();
    post(std::move(message));
  }

  std::map<NodeId, Member> members_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
};

}  // namespace store::raft::test
