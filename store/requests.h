#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/frames.h"
#include "store/types.h"

/// Tables of what waits for an answer at this node: writes, reads, renewals. Plain bookkeeping, all bounded.
namespace store {

/// Writes of this node that are not decided yet, in the order of their request numbers.
/// Invariant: every open write is either unsent or with the leader of `sent_term`; sending twice is harmless, since the
///            state machine knows request ids.
class Writes {
 public:
  struct Write {
    std::optional<RequestNo> request;  // none: a write of the Store itself
    std::string command;               // encoded; also kept for sending again
    TimePoint deadline;
    TimePoint sent_at;
    bool unsent = true;
    std::uint32_t copies = 0;  // sent and not refused: while > 0 its outcome may be unknown
  };
  Writes(std::uint64_t first_seq, std::size_t count_max) : next_seq_(first_seq), count_max_(count_max) {}

  /// True while one more of `bytes` fits: at most count_max and kBytesMax, and the dedupe window holds them all.
  [[nodiscard]] bool fits(std::size_t bytes) const;
  [[nodiscard]] std::uint64_t next_seq() { return next_seq_++; }
  void add(std::uint64_t seq, Write write);
  [[nodiscard]] std::optional<Write> take(std::uint64_t seq);  ///< none if unknown
  [[nodiscard]] Write* find(std::uint64_t seq);
  void resend_all() {
    for (auto& [seq, write] : open_) mark_unsent(seq, write);
  }
  void mark_unsent(std::uint64_t seq, Write& write);
  void mark_sent(std::uint64_t seq, Write& write, TimePoint now);
  /// Those sent before `before` count as lost and become unsent. @return how many.
  std::size_t resend_before(TimePoint before);
  [[nodiscard]] std::vector<std::uint64_t> expired(TimePoint now) const;
  [[nodiscard]] const std::set<std::uint64_t>& unsent() const { return unsent_; }
  [[nodiscard]] TimePoint next_deadline() const {
    return deadlines_.empty() ? TimePoint::max() : deadlines_.begin()->first;
  }
  [[nodiscard]] TimePoint oldest_sent() const { return sent_.empty() ? TimePoint::max() : sent_.begin()->first; }
  [[nodiscard]] std::size_t size() const { return open_.size(); }
  static constexpr std::size_t kBytesMax = std::size_t{32} << 20;

 private:
  std::map<std::uint64_t, Write> open_;
  std::set<std::uint64_t> unsent_;
  std::set<std::pair<TimePoint, std::uint64_t>> deadlines_;
  std::set<std::pair<TimePoint, std::uint64_t>> sent_;
  std::size_t bytes_ = 0;
  std::uint64_t next_seq_;
  std::size_t count_max_;
};

/// A renewal that the leader must answer after a quorum round. `from` may be this node itself.
struct RenewalCheck {
  NodeId from;
  std::uint64_t token = 0;
  std::string service;
  kv::Epoch epoch{};
  kv::SessionId session{};  // not none: a session's renewal, and then the two above mean nothing
};

/// Reads that wait for an index from Raft, or for that index to be applied. Clients' reads and renewal checks alike.
class Reads {
 public:
  struct Read {
    std::optional<RequestNo> request;     // a client's read
    std::optional<RenewalCheck> renewal;  // or a renewal's
    raft::ReadMode mode = raft::ReadMode::kQuorum;
    TimePoint deadline;
  };
  /// @param first_context  above every context that an earlier process of this node can have used: an answer to that
  ///                       one may still be under way, and its old index must serve nobody
  explicit Reads(std::size_t count_max, std::uint64_t first_context = 1)
      : next_context_(first_context), count_max_(count_max) {}
  [[nodiscard]] bool full() const { return open_.size() >= count_max_; }
  void add(Read read);
  /// Reads of this mode that no round was asked for yet; they share one `context` from now on.
  [[nodiscard]] std::optional<std::uint64_t> ask(raft::ReadMode mode, TimePoint now);
  [[nodiscard]] bool wants(raft::ReadMode mode) const { return !unasked(mode).empty(); }
  void on_index(std::uint64_t context, kv::Index index);  ///< they wait for `index` to be applied
  void on_dropped(std::uint64_t context);                 ///< they must ask again
  void ask_again_before(TimePoint before);                ///< rounds asked before then are lost
  [[nodiscard]] std::vector<Read> take_applied(kv::Index applied);
  [[nodiscard]] std::vector<Read> take_expired(TimePoint now);
  [[nodiscard]] std::vector<Read> take_renewals();  ///< all renewal checks: this node does not lead any more
  [[nodiscard]] TimePoint next_deadline() const {
    return deadlines_.empty() ? TimePoint::max() : deadlines_.begin()->first;
  }
  [[nodiscard]] TimePoint oldest_asked() const;
  [[nodiscard]] std::size_t size() const { return open_.size(); }

 private:
  using Id = std::uint64_t;
  struct Round {
    raft::ReadMode mode;
    TimePoint asked_at;
    std::vector<Id> reads;
  };
  [[nodiscard]] const std::set<Id>& unasked(raft::ReadMode mode) const {
    return mode == raft::ReadMode::kLease ? unasked_lease_ : unasked_quorum_;
  }
  [[nodiscard]] std::set<Id>& unasked(raft::ReadMode mode) {
    return mode == raft::ReadMode::kLease ? unasked_lease_ : unasked_quorum_;
  }
  std::optional<Read> take(Id id);

  std::map<Id, Read> open_;
  std::set<Id> unasked_lease_, unasked_quorum_;
  std::map<std::uint64_t, Round> rounds_;
  std::multimap<kv::Index, Id> waiting_;  // for this index to be applied
  std::set<std::pair<TimePoint, Id>> deadlines_;
  Id next_id_ = 1;
  std::uint64_t next_context_;
  std::size_t count_max_;
};

/// Renewals asked for at this node.
struct OwnRenewal {
  RequestNo request{};
  std::string service;
  kv::Epoch epoch{};
  kv::SessionId session{};  // not none: a session's
  TimePoint deadline, sent_at;
  bool unsent = true;
};

}  // namespace store
