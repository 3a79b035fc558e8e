#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/script/raft_vectors/describe.h"
#include "tests/script/raft_vectors/pure.h"

/// A small cluster of Raft cores driven by text: the environment of the public `interaction` vectors and of our own
/// scripts (tests/script/store). Each node has a clock and a disk of its own; messages move only when told to.
namespace script {

using std::chrono::milliseconds;

/// A message under way; `proposal` is a proposal that a follower's host passed to the leader (not the core's work).
struct Envelope {
  Message message;
  std::optional<Entry> proposal;
};

inline std::string describe(const Envelope& envelope) {
  if (!envelope.proposal) return describe(envelope.message);
  return name_of(envelope.message.from) + "->" + name_of(envelope.message.to) + " MsgProp Term:0 Log:0/0 Entries:[" +
         describe(*envelope.proposal) + "]";
}

/// What a node's disk holds; a crash keeps exactly this.
struct Disk {
  SnapshotMeta snapshot;
  HardState hard;
  std::vector<Entry> entries;
  ConfState conf;  ///< as of `applied`
  Index applied;

  [[nodiscard]] Index first() const { return snapshot.index.next(); }
  void write(const std::optional<HardState>& state, const std::optional<SnapshotMeta>& installed,
             const std::vector<Entry>& added) {
    if (state) hard = *state;
    if (installed) {
      snapshot = *installed;
      entries.clear();
      applied = installed->index;
      conf = installed->conf;
    }
    if (added.empty()) return;
    std::erase_if(entries, [&](const Entry& entry) { return entry.index >= added.front().index; });
    entries.insert(entries.end(), added.begin(), added.end());
  }
};

struct Batch {
  Persisted ack;
  std::optional<HardState> hard;
  std::optional<SnapshotMeta> snapshot;
  std::vector<Entry> entries;
};

struct Node {
  Config config;
  std::unique_ptr<Raft> raft;
  Disk disk;
  TimePoint now{};
  HardState shown;                    // last hard state in the trace: shown again when it changes
  std::vector<Envelope> proposals;    // for the leader, not sent yet
  std::deque<Batch> batches;          // disk=manual: handed out, not written
  std::deque<std::pair<PersistSeq, Message>> waiting;  // messages that wait for a batch
  bool manual_disk = false;
};

enum class Dialect { kVectors, kOurs };

class Cluster {
 public:
  explicit Cluster(Dialect dialect) : dialect_(dialect) {}
  static constexpr milliseconds kTick{10};  ///< one tick of the vectors; an election takes 3, a heartbeat 1

  std::string run(const Command& command) {
    static const std::map<std::string, void (Cluster::*)(const Command&)> kCommands = {
        {"add-nodes", &Cluster::add_nodes},
        {"campaign", &Cluster::campaign},
        {"compact", &Cluster::compact},
        {"deliver-msgs", &Cluster::deliver_msgs},
        {"log-level", &Cluster::log_level},
        {"process-ready", &Cluster::process_ready},
        {"stabilize", &Cluster::stabilize},
        {"propose", &Cluster::propose},
        {"propose-conf-change", &Cluster::propose_conf_change},
        {"raft-log", &Cluster::raft_log},
        {"raft-state", &Cluster::raft_state},
        {"status", &Cluster::status},
        {"report-unreachable", &Cluster::report_unreachable},
        {"set-randomized-election-timeout", &Cluster::nothing},  // ours is constant: 5 ticks, see chance
        {"tick-heartbeat", &Cluster::tick_heartbeat},
        {"tick-election", &Cluster::tick_election},
        {"tick", &Cluster::tick},
        {"persist", &Cluster::persist},
        {"crash", &Cluster::crash},
        {"transfer-leadership", &Cluster::transfer},
        {"read", &Cluster::read},
        {"refused", &Cluster::refused},
        {"connected", &Cluster::connected},
        {"report-snapshot", &Cluster::report_snapshot},
        {"deadline", &Cluster::deadline},
        {"disk-marks", &Cluster::disk_marks},
    };
    const auto found = kCommands.find(command.name);
    if (found == kCommands.end()) return "unknown command: " + command.name + "\n";
    out_.clear();
    (this->*found->second)(command);
    if (quiet_ || out_.empty()) return "ok\n";
    return out_;
  }

  [[nodiscard]] static bool knows_option(const std::string& key) {
    static const std::vector<std::string> kKnown = {
        "voters", "learners", "index", "prevote", "checkquorum", "inflight", "max-committed-size-per-ready",
        "disable-conf-change-validation", "step-down-on-removal", "disk", "uncommitted", "send", "hand-over", "append-bytes"};
    return std::find(kKnown.begin(), kKnown.end(), key) != kKnown.end();
  }

 private:
  // --- helpers ---
  static NodeId id_of(const std::string& text) { return NodeId{std::strtoull(text.c_str(), nullptr, 10)}; }
  Node& node(NodeId id) { return *nodes_.at(id.value - 1); }
  Node& first_node(const Command& command) { return node(id_of(command.args.at(0).key)); }

  std::vector<NodeId> nodes_named(const Command& command) const {
    std::vector<NodeId> ids;
    for (const Arg& arg : command.args) {
      if (arg.values.empty()) ids.push_back(id_of(arg.key));
    }
    if (!ids.empty()) return ids;
    for (std::size_t i = 1; i <= nodes_.size(); ++i) ids.push_back(NodeId{i});
    return ids;
  }

  void say(const std::string& text) { out_ += text + "\n"; }

  void say_error(const Error& error, const char* in_vectors) {
    if (dialect_ == Dialect::kOurs) {
      say(std::string("error: ") + to_string(error.code) + (error.detail.empty() ? "" : " (" + error.detail + ")"));
    } else if (in_vectors != nullptr) {
      say(in_vectors);
    }
  }

  // --- set-up ---
  Config config_from(const Command& command, NodeId id) const {
    Config config;
    config.id = id;
    if (dialect_ == Dialect::kVectors) {
      config.heartbeat_interval = kTick;
      config.election_timeout_min = 3 * kTick;
      config.election_timeout_max = 6 * kTick;
      config.pre_vote = command.truth("prevote");
      config.check_quorum = command.truth("checkquorum");
      config.quiet_start = false;
      config.hand_over_on_removal = false;
      config.commit_in_refusals = false;
      config.step_down_on_removal = command.truth("step-down-on-removal");
      config.apply_before_persist = true;
      config.send_policy = SendPolicy::kAtOnce;
      config.conf_change_guard = command.truth("disable-conf-change-validation") ? ConfChangeGuard::kNone
                                                                                 : ConfChangeGuard::kOneAtATime;
      config.append_bytes_max = config.uncommitted_bytes_max = config.log_bytes_max = SIZE_MAX;
    }
    if (command.has("prevote")) config.pre_vote = command.truth("prevote");
    if (command.has("checkquorum")) config.check_quorum = command.truth("checkquorum");
    if (command.has("hand-over")) config.hand_over_on_removal = command.truth("hand-over");
    if (command.text("send") == "at-once") config.send_policy = SendPolicy::kAtOnce;
    config.inflight_appends_max = command.number("inflight", dialect_ == Dialect::kVectors ? SIZE_MAX : 2);
    config.append_bytes_max = command.number("append-bytes", config.append_bytes_max);
    config.uncommitted_bytes_max = command.number("uncommitted", config.uncommitted_bytes_max);
    config.committed_bytes_max = command.number("max-committed-size-per-ready", SIZE_MAX);
    return config;
  }

  void start(Node& node) {
    const std::uint64_t id = node.config.id.value;
    const bool vectors = dialect_ == Dialect::kVectors;
    // No chance in scripts: 5 ticks in the vectors; 250, 300, 350 ms ... for nodes 1, 2, 3 ... in ours.
    const Chance chance = [=](std::uint64_t bound) { return vectors ? bound * 2 / 3 : bound * ((id - 1) % 5) / 5; };
    InitialState state{node.disk.hard, node.disk.snapshot, node.disk.entries, node.disk.applied, node.disk.conf};
    auto raft = Raft::create(node.config, std::move(state), chance, node.now);
    if (!raft) {
      say_error(raft.error(), "cannot start");
      return;
    }
    node.raft = std::move(*raft);
    node.shown = {node.raft->term(), node.raft->vote(), node.raft->commit()};
  }

  void add_nodes(const Command& command) {
    const std::size_t count = std::strtoull(command.args.at(0).key.c_str(), nullptr, 10);
    for (std::size_t i = 0; i < count; ++i) {
      auto added = std::make_unique<Node>();
      added->config = config_from(command, NodeId{nodes_.size() + 1});
      added->manual_disk = command.text("disk") == "manual";
      ConfState conf;
      for (const auto& [key, list] : {std::pair{"voters", &conf.voters}, std::pair{"learners", &conf.learners}}) {
        const Arg* arg = command.find(key);
        if (arg == nullptr) continue;
        for (const std::string& value : arg->values) list->push_back(id_of(value));
      }
      const Index index{command.number("index")};
      if (index.value > 0) {
        added->disk.snapshot = {index, Term{1}, conf};
        added->disk.hard.commit = index;
        if (dialect_ == Dialect::kOurs) added->disk.hard.term = Term{1};
        added->disk.applied = index;
        added->disk.conf = conf;
      }
      start(*added);
      nodes_.push_back(std::move(added));
    }
  }

  // --- one node ---
  void campaign(const Command& command) {
    Node& n = first_node(command);
    if (auto ok = n.raft->step(Campaign{}, n.now); !ok) say_error(ok.error(), nullptr);
  }

  void propose_entry(NodeId id, Entry entry) {
    Node& n = node(id);
    const bool forwards = dialect_ == Dialect::kVectors && n.raft->role() == Role::kFollower && n.raft->leader();
    if (forwards) {
      Envelope envelope;
      envelope.message.from = id;
      envelope.message.to = n.raft->leader();
      envelope.proposal = std::move(entry);
      n.proposals.push_back(std::move(envelope));
      return;
    }
    take_proposal(n, std::move(entry));
  }

  void take_proposal(Node& n, Entry entry) {
    Result<Proposed> done = fail(Errc::kStopped);
    if (entry.kind == EntryKind::kConfChange) {
      done = n.raft->step(ProposeConfChange{*decode_conf_change(entry.data.view())}, n.now);
    } else {
      done = n.raft->step(Propose{{entry.data}}, n.now);
    }
    const bool refused_change = !done && (done.error().code == Errc::kConfChangePending ||
                                          done.error().code == Errc::kConfChangeInvalid);
    if (dialect_ == Dialect::kVectors && refused_change) {
      // etcd-io/raft appends an empty entry in place of a change that it does not take; our core answers an error.
      done = n.raft->step(Propose{{Payload()}}, n.now);
    }
    if (!done) say_error(done.error(), "raft proposal dropped");
  }

  void propose(const Command& command) {
    Entry entry;
    if (command.args.size() > 1) entry.data = Payload(command.args[1].key);
    propose_entry(id_of(command.args.at(0).key), std::move(entry));
  }

  void propose_conf_change(const Command& command) {
    ConfChange change;
    change.steps = parse_steps(command.input);
    const std::string transition = command.text("transition", "auto");
    change.transition = transition == "auto"       ? Transition::kAuto
                        : transition == "implicit" ? Transition::kJointImplicit
                                                   : Transition::kJointExplicit;
    if (command.truth("v1")) change.context = kFormerFormat;
    Entry entry;
    entry.kind = EntryKind::kConfChange;
    entry.data = Payload(encode(change));
    propose_entry(id_of(command.args.at(0).key), std::move(entry));
  }

  void compact(const Command& command) {
    Node& n = first_node(command);
    const Index to{std::strtoull(command.args.at(1).key.c_str(), nullptr, 10)};
    const SnapshotMeta meta{to, n.raft->log().term(to).value_or(Term{}), n.raft->conf_state()};
    if (auto ok = n.raft->step(Compact{to}, n.now); !ok) {
      say_error(ok.error(), "cannot compact");
      return;
    }
    n.disk.snapshot = meta;
    std::erase_if(n.disk.entries, [&](const Entry& entry) { return entry.index <= to; });
    raft_log(command);
  }

  void raft_log(const Command& command) {
    const Node& n = first_node(command);
    if (n.disk.entries.empty()) {
      say("log is empty: first index=" + std::to_string(n.disk.first().value) +
          ", last index=" + std::to_string(n.disk.snapshot.index.value));
    }
    out_ += describe(n.disk.entries);
  }

  void raft_state(const Command&) {
    for (const auto& n : nodes_) {
      const Raft& raft = *n->raft;
      say(name_of(raft.id()) + ": " + to_string(raft.role()) + (raft.voter() ? " (Voter)" : " (Non-Voter)") +
          " Term:" + std::to_string(raft.term().value) + " Lead:" + name_of(raft.leader()));
    }
  }

  void status(const Command& command) {
    for (const auto& [id, progress] : first_node(command).raft->tracker().progress()) {
      say(name_of(id) + ": " + progress.describe());
    }
  }

  void report_unreachable(const Command& command) {
    Node& n = first_node(command);
    const NodeId peer = id_of(command.args.at(1).key);
    if (auto ok = n.raft->step(ReportUnreachable{peer}, n.now); !ok) say_error(ok.error(), "unreachable");
  }

  void report_snapshot(const Command& command) {
    Node& n = first_node(command);
    const auto outcome = command.truth("failed") ? SnapshotOutcome::kFailed : SnapshotOutcome::kDelivered;
    if (auto ok = n.raft->step(ReportSnapshot{id_of(command.text("to")), outcome}, n.now); !ok) {
      say_error(ok.error(), nullptr);
    }
  }

  void transfer(const Command& command) {
    Node& n = node(id_of(command.text("from")));
    if (auto ok = n.raft->step(TransferLeader{id_of(command.text("to"))}, n.now); !ok) say_error(ok.error(), nullptr);
  }

  void read(const Command& command) {
    Node& n = first_node(command);
    const ReadMode mode = command.text("mode") == "lease" ? ReadMode::kLease : ReadMode::kQuorum;
    if (auto ok = n.raft->step(ReadIndex{command.number("ctx"), mode}, n.now); !ok) say_error(ok.error(), nullptr);
  }

  void refused(const Command& command) {
    Node& n = first_node(command);
    if (auto ok = n.raft->step(PeerRefused{id_of(command.text("peer"))}, n.now); !ok) say_error(ok.error(), nullptr);
  }

  void connected(const Command& command) {
    Node& n = first_node(command);
    if (auto ok = n.raft->step(PeerConnected{id_of(command.text("peer"))}, n.now); !ok) say_error(ok.error(), nullptr);
  }

  void nothing(const Command&) {}

  // --- time ---
  void advance(Node& n, milliseconds by) {
    n.now += by;
    n.raft->tick(n.now);
  }

  void tick_heartbeat(const Command& command) { advance(first_node(command), kTick); }
  void tick_election(const Command& command) {
    for (int i = 0; i < 3; ++i) advance(first_node(command), kTick);
  }
  /// tick [nodes] ms=N: time passes in steps of at most 5 ms, on all nodes together.
  void tick(const Command& command) {
    const auto ids = nodes_named(command);
    for (auto left = milliseconds(static_cast<std::int64_t>(command.number("ms"))); left.count() > 0;) {
      const auto step = std::min(left, milliseconds(5));
      for (NodeId id : ids) advance(node(id), step);
      left -= step;
    }
  }
  /// When a node wants its next tick, from its present time on.
  void deadline(const Command& command) {
    const Node& n = first_node(command);
    const TimePoint at = n.raft->next_deadline();
    say(at == TimePoint::max() ? "never"
                               : std::to_string(std::chrono::duration_cast<milliseconds>(at - n.now).count()) + " ms");
  }

  /// How much of a node's log it believes to be on its disk.
  void disk_marks(const Command& command) {
    const Log& log = first_node(command).raft->log();
    say("durable=" + std::to_string(log.durable().value) + " handed=" + std::to_string(log.handed().value) +
        " last=" + std::to_string(log.last_index().value));
  }

  void log_level(const Command& command) { quiet_ = command.args.at(0).key == "none"; }

  // --- outputs ---
  [[nodiscard]] static bool has_ready(const Node& n) { return n.raft->has_output() || !n.proposals.empty(); }

  static Message snapshot_message(const Node& n, const SnapshotRequest& request) {
    Message message;
    message.kind = MessageKind::kSnapshot;
    message.from = n.config.id;
    message.to = request.to;
    message.term = request.term;
    message.snapshot = request.meta;
    return message;
  }

  void process_ready(const Command& command) {
    const auto ids = nodes_named(command);
    for (NodeId id : ids) {
      const std::string text = ready_text(node(id));
      out_ += ids.size() == 1 ? text : "> " + name_of(id) + " handling Ready\n" + indent(text);
    }
  }

  /// Carries out one output of the core. @return what it said.
  std::string ready_text(Node& n) {
    const Term before = n.disk.hard.term;
    const NodeId vote = n.disk.hard.vote;
    Output output = n.raft->take_output();
    const bool changed = output.hard_state && *output.hard_state != n.shown;
    if (changed) n.shown = *output.hard_state;
    std::vector<Envelope> sent;
    for (Message& message : output.messages) sent.push_back({std::move(message), {}});
    for (const SnapshotRequest& request : output.snapshot_requests) sent.push_back({snapshot_message(n, request), {}});
    if (!n.manual_disk) {
      for (Message& message : output.messages_after) sent.push_back({std::move(message), {}});
    }
    for (Envelope& proposal : std::exchange(n.proposals, {})) sent.push_back(std::move(proposal));
    const bool must_sync = !output.entries.empty() ||
                           (output.hard_state && (output.hard_state->term != before || output.hard_state->vote != vote));
    const std::string body = ready_body(n, output, sent, changed);
    write_out(n, output);
    messages_.insert(messages_.end(), sent.begin(), sent.end());
    if (body.empty()) return "<empty Ready>\n";
    return std::string("Ready MustSync=") + (must_sync ? "true" : "false") + ":\n" + body;
  }

  static std::string ready_body(const Node& n, const Output& output, const std::vector<Envelope>& sent,
                                bool hard_state_changed) {
    std::string body;
    if (output.fatal) body += "FATAL " + output.fatal->invariant + ": " + output.fatal->detail + "\n";
    if (output.soft_state) body += describe(*output.soft_state) + "\n";
    if (hard_state_changed) body += "HardState " + describe(*output.hard_state) + "\n";
    for (const ReadState& read : output.reads) {
      body += "Read " + std::to_string(read.context) + ": " +
              (read.index ? "index " + std::to_string(read.index->value) : "dropped") + "\n";
    }
    if (!output.entries.empty()) body += "Entries:\n" + describe(output.entries);
    if (output.snapshot) body += "Snapshot " + describe(*output.snapshot) + "\n";
    if (!output.committed.empty()) body += "CommittedEntries:\n" + describe(output.committed);
    if (!sent.empty()) body += "Messages:\n";
    for (const Envelope& envelope : sent) body += describe(envelope) + "\n";
    if (!n.manual_disk) return body;
    if (output.seq) body += "Batch " + std::to_string(output.seq->value) + "\n";
    if (!output.messages_after.empty()) body += "After batch " + std::to_string(output.after_seq.value) + ":\n";
    for (const Message& message : output.messages_after) body += describe(message) + "\n";
    return body;
  }

  void write_out(Node& n, Output& output) {
    if (n.manual_disk) {
      if (output.seq) {
        n.batches.push_back({{*output.seq, output.last, output.last_term},
                             output.hard_state, output.snapshot, std::move(output.entries)});
      }
      for (Message& message : output.messages_after) n.waiting.emplace_back(output.after_seq, std::move(message));
      return;
    }
    n.disk.write(output.hard_state, output.snapshot, output.entries);
    n.disk.applied = n.raft->applied();
    n.disk.conf = n.raft->conf_state();
    if (output.seq) must(n.raft->step(Persisted{*output.seq, output.last, output.last_term}, n.now));
  }

  void must(const Result<void>& ok) {
    if (!ok) say(std::string("unexpected error: ") + to_string(ok.error().code) + " " + ok.error().detail);
  }

  /// persist N [count=K]: the disk writes the K oldest batches (default all), acknowledges and frees what waits.
  void persist(const Command& command) {
    Node& n = first_node(command);
    for (std::uint64_t left = command.number("count", SIZE_MAX); left > 0 && !n.batches.empty(); --left) {
      Batch batch = std::move(n.batches.front());
      n.batches.pop_front();
      n.disk.write(batch.hard, batch.snapshot, batch.entries);
      say("durable: batch " + std::to_string(batch.ack.seq.value));
      must(n.raft->step(batch.ack, n.now));
      while (!n.waiting.empty() && n.waiting.front().first <= batch.ack.seq) {
        say("free: " + describe(n.waiting.front().second));
        messages_.push_back({std::move(n.waiting.front().second), {}});
        n.waiting.pop_front();
      }
    }
  }

  /// crash N [lose=K]: the process dies and starts again from what its disk holds; a disk that lies loses K entries.
  void crash(const Command& command) {
    Node& n = first_node(command);
    n.batches.clear();
    n.waiting.clear();
    n.proposals.clear();
    for (std::uint64_t lost = command.number("lose"); lost > 0 && !n.disk.entries.empty(); --lost) {
      n.disk.entries.pop_back();
      const Index last = n.disk.first().previous().plus(n.disk.entries.size());
      n.disk.hard.commit = std::min(n.disk.hard.commit, last);
      n.disk.applied = std::min(n.disk.applied, last);
    }
    start(n);
    say(name_of(n.config.id) + ": " + describe(n.disk.hard) +
        " last:" + std::to_string(n.raft->log().last_index().value) + " applied:" +
        std::to_string(n.raft->applied().value));
  }

  // --- network ---
  void deliver_msgs(const Command& command) {
    for (const Arg& arg : command.args) {
      if (arg.key == "drop") {
        for (const std::string& id : arg.values) deliver(id_of(id), true);
      } else {
        deliver(id_of(arg.key), false);
      }
    }
  }

  std::vector<Envelope> take_messages(NodeId to) {
    std::vector<Envelope> taken;
    std::vector<Envelope> kept;
    for (Envelope& envelope : messages_) {
      (envelope.message.to == to ? taken : kept).push_back(std::move(envelope));
    }
    messages_ = std::move(kept);
    return taken;
  }

  void deliver(NodeId to, bool drop) {
    for (Envelope& envelope : take_messages(to)) {
      say((drop ? "dropped: " : "") + describe(envelope));
      if (drop || to.value > nodes_.size()) continue;
      Node& n = node(to);
      if (envelope.proposal) {
        take_proposal(n, std::move(*envelope.proposal));
        continue;
      }
      // Over the wire and back: every script tests the format too.
      auto decoded = decode_message(encode(envelope.message));
      if (!decoded || *decoded != envelope.message) say("wire format lost something");
      const auto ok = n.raft->step(std::move(envelope.message), n.now);
      if (!ok) say_error(ok.error(), "raft: cannot step as peer not found");
    }
  }

  void stabilize(const Command& command) {
    const bool before = quiet_;
    if (command.text("log-level") == "none") quiet_ = true;
    std::vector<NodeId> ids = nodes_named(command);
    bool idle = false;
    for (int round = 0; !idle && round < 1000; ++round) {
      idle = true;
      for (NodeId id : ids) {
        if (!has_ready(node(id))) continue;
        out_ += "> " + name_of(id) + " handling Ready\n" + indent(ready_text(node(id)));
        idle = false;
      }
      for (NodeId id : ids) {
        const bool any = std::any_of(messages_.begin(), messages_.end(),
                                     [&](const Envelope& envelope) { return envelope.message.to == id; });
        if (any) idle = false;
        if (any) nested("> " + name_of(id) + " receiving messages", [&] { deliver(id, false); });
      }
      for (NodeId id : ids) {
        if (node(id).batches.empty()) continue;
        Command write;
        write.args.push_back({name_of(id), {}});
        nested("> " + name_of(id) + " writing", [&] { persist(write); });
        idle = false;
      }
    }
    if (!idle) say("does not settle");
    if (command.text("log-level") == "none") out_.clear();
    quiet_ = before;
  }

  void nested(const std::string& head, const std::function<void()>& body) {
    const std::string before = std::exchange(out_, {});
    body();
    out_ = before + head + "\n" + indent(out_);
  }

  Dialect dialect_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Envelope> messages_;
  std::string out_;
  bool quiet_ = false;
};

}  // namespace script
