#pragma once
/// Halts as this agent knows them: given here, heard from peers, read from the log; and what has to be done about them.
/// A core: it decides, HaltDriver carries out.
///
/// A halt stands here at once, whoever else can be reached (rule R6). It goes to every peer that the mesh reaches, in the same
///   turn; sets are compared with a few peers every kCompareEvery and with each one to which a connection comes up, so that
///   whatever was parted agrees again soon after it can. It is written into the log as soon as there is a leader.
/// Of peers an agent learns what stands, and nothing else: what a peer says is over goes on standing here. Halts are lifted by the
///   log alone (HaltLift), at each agent when it has applied the entry. What the log has standing stands at every agent, also at
///   one that has lost it; a halt that the log never saw stands until it has been written down and lifted there.
/// A number must not be given twice, also by a directory that was set back to an old copy of itself. So an agent goes on counting
///   only once it has the log as a majority has it (on_recorded, caught_up); before that, and once somebody remembers more of it than
///   it does itself, it gives its halts as a new replica. Only where the set has no room for another replica it counts on all the same, and
///   remembers which these were: what the log then says to be over may be the halt that had the number first, and ours is given again.
/// Frames of the mesh: 'H' · version u8 (1) · kind u8: 0 = digest u64 BE of what stands at the sender, 1 = its set as encode() has it.
///   Who hears a digest that is not its own answers with its set; who hears a set learns from it, and answers with its own if the
///   sender would learn from that. Each answer teaches something, so that ends. An agent that knows of no halt sends nothing.
///   Agents of before this rule digest the numbers too: with them a set is exchanged at each comparison, and no more.
/// Bound:     that of HaltSet; kPeersMax peers; one frame per peer and event.

#include <chrono>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/kv/halt_set.h"
#include "store/types.h"

namespace agent {

inline constexpr char kHaltFrame = 'H';
inline constexpr std::uint8_t kHaltFrameVersion = 1;
/// What HaltLift has to carry: the halts that are named, and what stands of the same replicas with a lower number, so that the log never has
/// the later one without the earlier one. Nothing else, so that it fits wherever these do.
[[nodiscard]] store::kv::HaltSet set_for_lift(const store::kv::HaltSet& set, const std::vector<store::kv::HaltTag>& tags);
[[nodiscard]] inline bool is_halt_frame(std::string_view frame) { return !frame.empty() && frame.front() == kHaltFrame; }

/// What is kept in the data directory, in kHaltFileName.
inline constexpr const char* kHaltFileName = "halts";
struct HaltFile {
  std::uint64_t replica = 0;  ///< under which this agent gives halts; not 0
  store::kv::HaltSet set;
};
/// Format: msgpack array [version 1, replica, set, SHA-256 of the set's bytes]; of a set with gaps, which nobody has for long,
/// [version 2, replica, set, gaps, SHA-256 of the set's and the gaps' bytes].
[[nodiscard]] std::string encode(const HaltFile& file);
/// Errors: kTruncated, kMalformed, kUnknownVersion, kTooLarge.
[[nodiscard]] store::kv::Result<HaltFile> decode_halt_file(std::string_view bytes);
inline constexpr std::size_t kHaltFileBytesMax = store::kv::kHaltSetBytesMax + store::kv::kHaltGapsBytesMax + 1024;

class HaltKeeper {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kCompareEvery{500};
  static constexpr std::size_t kCompareWith = 3;       ///< peers, each time
  static constexpr std::size_t kPeersMax = 4096;
  /// How long an agent waits for somebody else's halt to be in the log before it writes it there itself; up to twice that.
  static constexpr std::chrono::milliseconds kRecordForOthers{1000};
  static constexpr std::chrono::milliseconds kRecordAgain{300};

  /// @param chance  even over [0, bound)
  HaltKeeper(HaltFile file, std::function<std::uint64_t(std::uint64_t)> chance)
      : file_(std::move(file)), chance_(std::move(chance)), name_at_start_(file_.replica), seen_at_start_(file_.set.seen(file_.replica)) {}

  [[nodiscard]] const store::kv::HaltSet& set() const { return file_.set; }
  [[nodiscard]] const HaltFile& file() const { return file_; }
  /// The log has it, too: it outlives all of us.
  [[nodiscard]] bool recorded(const store::kv::HaltTag& tag) const { return recorded_.has_seen(tag); }

  /// Gives one. Errors: those of HaltSet::add.
  store::kv::Result<store::kv::HaltTag> halt(store::kv::Halt halt, TimePoint now);
  void on_frame(store::NodeId from, std::string_view frame, TimePoint now);
  void on_connected(store::NodeId peer);
  void on_lost(store::NodeId peer) { peers_.erase(peer); }
  /// The halts of the log, as this agent has applied it: what it has seen and does not hold is lifted here, what it holds stands.
  /// @param caught_up  a majority has said since the start of this run that these are all
  void on_recorded(const store::kv::HaltSet& recorded, TimePoint now, bool caught_up = false);
  [[nodiscard]] bool caught_up() const { return caught_up_; }
  /// What of the set the log has room for: all of it, or as much as fits, global halts first.
  [[nodiscard]] store::kv::HaltSet to_record() const;
  /// What came of Output::record.
  void record_done(bool written, TimePoint now);
  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;

  struct Output {
    bool changed = false;  ///< the set: to be kept and published
    bool record = false;   ///< to be written to the log
    std::vector<std::pair<store::NodeId, std::string>> frames;
    std::vector<store::kv::Halt> raised, lifted;  ///< by others; for the log of events
    std::string unrecordable;  ///< not empty: from now on something stands here for which the log has no room
  };
  [[nodiscard]] Output take_output();

  struct Counters {
    std::uint64_t given = 0, heard = 0, lifted = 0;  ///< halts
    std::uint64_t put_back = 0;                      ///< halts that stand in the log and were missing here
    std::uint64_t malformed = 0;                     ///< frames
    std::uint64_t refused = 0;                       ///< sets that did not fit whole
    std::uint64_t given_again = 0;                   ///< halts whose number was another one's
    std::uint64_t unheeded = 0;                      ///< sets of peers that would have lifted what the log has not lifted
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  void learn(const store::kv::HaltSet& other, TimePoint now);
  store::kv::Result<store::kv::HaltTag> add(store::kv::Halt halt);
  [[nodiscard]] std::vector<store::kv::Halt> numbered_twice(const store::kv::HaltSet& recorded) const;
  void give_again(const store::kv::Halt& halt);
  void changed(TimePoint now);
  void look_at_record(TimePoint now);
  void send_set(store::NodeId to);
  void send_digest(store::NodeId to);

  HaltFile file_;
  std::function<std::uint64_t(std::uint64_t)> chance_;
  store::kv::HaltSet recorded_;
  std::set<store::NodeId> peers_;  // that the mesh reaches
  store::NodeId compared_{};       // last
  TimePoint compare_at_{};
  TimePoint record_at_ = TimePoint::max();  // when the log is to be told
  bool recording_ = false;
  bool unrecordable_ = false;
  bool caught_up_ = false;   // a majority has told what the log has of us
  std::uint64_t name_at_start_, seen_at_start_;
  bool named_here_ = false;  // the replica was named in this run: none of its numbers was ever given before
  bool in_doubt_ = false;    // somebody remembers more of the present name than we do
  bool set_back_ = false;    // and of name_at_start_ more than the file did
  std::set<store::kv::HaltTag> doubtful_;  // given as name_at_start_ before it caught up, not yet seen in the log; at most kHaltsOfReplicaMax
  Output output_;
  Counters counters_;
};

}  // namespace agent
