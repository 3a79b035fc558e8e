#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/raft/ids.h"

/// Values that Raft keeps and sends: entries, hard state, configuration, snapshots' names, messages.
/// All are plain values; copying an Entry copies no payload.
namespace store::raft {

/// Immutable bytes of one entry. Log, outgoing messages, disk batch and apply all hold the same bytes; nobody can
/// change them, so sharing needs no owner and may cross threads.
class Payload {
 public:
  Payload() = default;
  explicit Payload(std::string bytes) : bytes_(std::make_shared<const std::string>(std::move(bytes))) {}
  [[nodiscard]] std::string_view view() const { return bytes_ ? std::string_view(*bytes_) : std::string_view(); }
  [[nodiscard]] std::size_t size() const { return bytes_ ? bytes_->size() : 0; }
  friend bool operator==(const Payload& a, const Payload& b) { return a.view() == b.view(); }

 private:
  std::shared_ptr<const std::string> bytes_;  // null = empty
};

enum class EntryKind : std::uint8_t {
  kNormal = 0,      ///< a command of the host; empty payload = the no-op of a new leader (thesis 6.4)
  kConfChange = 1,  ///< payload = encode(ConfChange), wire.h
};

struct Entry {
  Term term;
  Index index;
  EntryKind kind = EntryKind::kNormal;
  Payload data;
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// What must survive a restart besides the log (thesis figure 3.1). It is written together with the entries of its
/// batch: `commit` may be older than what was known, but never older than the newest entry on disk knew it.
struct HardState {
  Term term;
  NodeId vote;  ///< who got this node's vote in `term`
  Index commit;
  friend bool operator==(const HardState&, const HardState&) = default;
};

/// Members of the group. Vectors are sorted and without repeats. `voters_outgoing` is not empty exactly while the
/// configuration is joint (thesis 4.3). `learners_next` become learners when the joint configuration is left.
struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> voters_outgoing;
  std::vector<NodeId> learners;
  std::vector<NodeId> learners_next;
  bool auto_leave = false;  ///< the leader leaves the joint configuration by itself
  friend bool operator==(const ConfState&, const ConfState&) = default;
};

/// Name of a snapshot: the state after applying `index`, written in `term`, under `conf`. Its bytes are the host's.
struct SnapshotMeta {
  Index index;
  Term term;
  ConfState conf;
  friend bool operator==(const SnapshotMeta&, const SnapshotMeta&) = default;
};

enum class ConfChangeKind : std::uint8_t {
  kAddVoter = 0,    ///< also promotes a learner
  kRemove = 1,      ///< no error if absent
  kUpdate = 2,      ///< changes nothing in Raft; the context speaks to the host
  kAddLearner = 3,  ///< also demotes a voter
};

struct ConfChangeStep {
  ConfChangeKind kind = ConfChangeKind::kAddVoter;
  NodeId node;
  friend bool operator==(const ConfChangeStep&, const ConfChangeStep&) = default;
};

enum class Transition : std::uint8_t {
  kAuto = 0,           ///< simple change where one voter differs at most, otherwise joint with auto-leave
  kJointImplicit = 1,  ///< joint, left by the leader by itself
  kJointExplicit = 2,  ///< joint until an empty ConfChange with kAuto is proposed
};

/// A change of the members. No steps and kAuto = leave the joint configuration.
struct ConfChange {
  Transition transition = Transition::kAuto;
  std::vector<ConfChangeStep> steps;
  std::string context;  ///< for the host (address, name); at most kConfContextBytesMax bytes
  friend bool operator==(const ConfChange&, const ConfChange&) = default;
  [[nodiscard]] bool leaves_joint() const { return transition == Transition::kAuto && steps.empty(); }
  [[nodiscard]] bool enters_joint() const { return transition != Transition::kAuto || steps.size() > 1; }
};

/// How a read is made linearizable (thesis 6.4).
enum class ReadMode : std::uint8_t {
  kQuorum = 0,  ///< a heartbeat round begun after the read arrived must be answered by a quorum (6.4.1)
  kLease = 1,   ///< the leader answers at once while its lease holds, else like kQuorum (6.4.2)
};

/// How long one synced batch takes on a node's disk, as its storage thread measured it over the last while.
struct DiskTimes {
  std::chrono::microseconds fsync_p50{};
  std::chrono::microseconds fsync_p99{};
  friend bool operator==(const DiskTimes&, const DiskTimes&) = default;
};

/// Messages between nodes; the flow is that of etcd-io/raft (MsgApp, MsgAppResp, ...).
enum class MessageKind : std::uint8_t {
  kAppend = 1,
  kAppendResponse = 2,
  kVote = 3,
  kVoteResponse = 4,
  kPreVote = 5,
  kPreVoteResponse = 6,
  kHeartbeat = 7,
  kHeartbeatResponse = 8,
  kSnapshot = 9,  ///< never in Output: the host makes it from a SnapshotRequest, see raft.h
  kTimeoutNow = 10,
  kReadIndex = 11,
  kReadIndexResponse = 12,
  /// Answer to an append that carries a round, sent before its entries are durable: "I follow you". The append's own
  /// answer waits for the disk, and no read should.
  kAppendHeard = 13,
};

/// Which fields mean something for which kind:
///   kAppend              index, log_term = the entry before `entries`; commit; round, if one rides along
///   kAppendResponse      index = last entry that matches; or reject with index = the refused one, reject_hint and
///                        log_term = where the leader should look next (thesis 3.5, conflict hint by term)
///   kVote, kPreVote      index, log_term = last entry of the candidate; forced
///   their responses      reject, then index and log_term = the voter's commit position
///   kAppendHeard         round
///   kHeartbeat           commit, round;  response: round, disk
///   kSnapshot            snapshot
///   kReadIndex           read_context;  response: read_context, index, or reject if the leader cannot answer
struct Message {
  MessageKind kind = MessageKind::kHeartbeat;
  NodeId from;
  NodeId to;
  Term term;
  Term log_term;
  Index index;
  Index commit;
  Index reject_hint;
  bool reject = false;
  bool forced = false;  ///< campaign on the leader's own wish: voters answer although they hear the leader (3.10)
  Round round;
  ReadMode read_mode = ReadMode::kQuorum;  ///< kReadIndex only
  std::uint64_t read_context = 0;  ///< chosen by the asking host, unique there while the read waits
  std::vector<Entry> entries;      ///< contiguous from index + 1
  std::optional<SnapshotMeta> snapshot;
  std::optional<DiskTimes> disk;   ///< kHeartbeatResponse only; none = not measured yet
  friend bool operator==(const Message&, const Message&) = default;
};

/// Names as people know them from etcd-io/raft: "MsgApp", "MsgVoteResp", ...
[[nodiscard]] const char* to_string(MessageKind kind);
/// True for the kinds that answer another message.
[[nodiscard]] bool is_response(MessageKind kind);
/// Sum of the payload sizes of entries, in bytes.
[[nodiscard]] std::size_t payload_bytes(const std::vector<Entry>& entries);

}  // namespace store::raft
