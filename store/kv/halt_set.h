#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/kv/error.h"
#include "store/kv/types.h"

/// Halts: orders to stop, given at any agent, by itself, whoever else can be reached.
/// Source:    observed-remove set without tombstones (Bieniusa and others, "An optimized conflict-free replicated set", 2012);
///            rule R6 of the trading design: a halt needs nobody, a resume a majority.
/// A halt has a tag that is never given twice. A copy of the set remembers of each replica the numbers that it has seen, so
///   "not there, but seen" means lifted, and a lift takes only what it has seen: a halt given meanwhile elsewhere stays.
/// A number counts as seen when its halt was shown, never by somebody's word. Numbers below it that were not shown are a gap: the
///   set goes on being ready for them. Where everybody is honest the log has no gaps, and a copy has them only until it follows the log.
/// Time is a value for people; it decides nothing.
namespace store::kv {

inline constexpr std::size_t kHaltsMax = 512;            ///< that stand at once, in one set: encoded less than 400 KiB
inline constexpr std::size_t kHaltsOfReplicaMax = 64;    ///< of them, given by one replica; the last one must be global
inline constexpr std::size_t kHaltReplicasMax = 1024;    ///< replicas that ever gave one
inline constexpr std::size_t kHaltGapsMax = 1024;        ///< runs of numbers that were passed over, in one set
inline constexpr std::uint64_t kHaltNumberMax = std::uint64_t{1} << 48U;  ///< of any tag: whoever says more is not believed
inline constexpr std::size_t kHaltNameBytesMax = 128, kHaltReasonBytesMax = 256, kHaltWhoBytesMax = 64;
inline constexpr std::size_t kHaltSetBytesMax = std::size_t{512} << 10;  ///< encoded, of any set

/// What is stopped.
enum class HaltScope : std::uint8_t {
  kGlobal = 0,   ///< everything; has no name
  kBroker = 1,   ///< one broker: the name of an egress
  kAccount = 2,  ///< requests that name this account
  kRoute = 3,    ///< one route
};
inline constexpr HaltScope kHaltScopeLast = HaltScope::kRoute;
[[nodiscard]] const char* to_string(HaltScope scope);  ///< "global", "broker", "account", "route"

/// Names one halt for ever.
struct HaltTag {
  std::uint64_t replica = 0;  ///< drawn at random for each data directory; not 0
  std::uint64_t number = 0;   ///< 1, 2, ..., kHaltNumberMax of that replica, without gaps
  [[nodiscard]] std::string text() const;  ///< "9f86d081884c7d65-3"
  auto operator<=>(const HaltTag&) const = default;
};
/// Inverse of HaltTag::text(); a tag with replica 0 for anything else.
[[nodiscard]] HaltTag parse_halt_tag(std::string_view text);

struct Halt {
  HaltTag tag;
  HaltScope scope = HaltScope::kGlobal;
  std::string name;    ///< of what is stopped; empty with kGlobal
  std::string reason;  ///< for people, 1..kHaltReasonBytesMax bytes
  std::string who;     ///< gave it, as he calls himself: 1..kHaltWhoBytesMax
  std::string node;    ///< name of the agent where he did, <= kHaltWhoBytesMax
  std::uint64_t time_ms = 0;   ///< wall clock there
  bool cancels_pass = true;    ///< what only takes orders back goes through
  bool second_person = false;  ///< it takes two people to lift it
  friend bool operator==(const Halt&, const Halt&) = default;
};
/// Scope and name as people write them: "global", "broker:alpha".
[[nodiscard]] std::string scope_text(const Halt& halt);
/// Errors: kMalformed, kTooLarge; the detail says which field.
[[nodiscard]] Result<void> check(const Halt& halt);

/// What stands under a tag that two have given: the strictest of both. Whatever `a` or `b` stops is stopped (two scopes that are
/// not the same make it global), cancels pass only if both let them, one that takes two people to lift goes on taking two.
/// The words of the earlier one stay. Commutative, associative, idempotent. @param b  has the tag of `a`
[[nodiscard]] Halt stricter(const Halt& a, const Halt& b);

/// One copy of the set. It learns from anybody and only gains by it; what the log says it follows, also where halts are lifted.
/// Learning is commutative, associative and idempotent between copies of which none has lifted, as long as no bound is hit.
/// Bound:     kHaltsMax halts, kHaltReplicasMax replicas, kHaltGapsMax gaps. What does not fit is refused whole; nothing is dropped.
/// Ownership: a plain value.
class HaltSet {
 public:
  struct Change {
    std::vector<HaltTag> added, removed;  ///< added: also what stood, and is stricter now
    bool learned = false;  ///< something changed, if only a number that was seen
    std::size_t left_out = 0;  ///< follow: halts and replicas of the log for which there was no room
  };
  using Span = std::pair<std::uint64_t, std::uint64_t>;  ///< first and last of a run of numbers

  [[nodiscard]] const std::map<HaltTag, Halt>& halts() const { return halts_; }
  [[nodiscard]] const std::map<std::uint64_t, std::uint64_t>& seen() const { return seen_; }  ///< last number by replica
  [[nodiscard]] const Halt* find(const HaltTag& tag) const;  ///< null = lifted, or never seen
  /// It is there, or was and has been lifted.
  [[nodiscard]] bool has_seen(const HaltTag& tag) const;
  [[nodiscard]] std::uint64_t seen(std::uint64_t replica) const;  ///< the highest number
  /// Numbers of `replica` below the highest that were never shown here, in order.
  [[nodiscard]] std::vector<Span> gaps(std::uint64_t replica) const;
  [[nodiscard]] bool has_gaps() const { return !gaps_.empty(); }
  [[nodiscard]] bool unused() const { return seen_.empty(); }  ///< nobody has ever halted anything
  /// Of what stands: sets with the same halts have equal digests, others have not, but for 1 in 2^64.
  [[nodiscard]] std::uint64_t digest() const;

  /// Gives a halt of `replica` its next number. @param halt  its tag is set here
  /// Errors: those of check(); kTooLarge (a bound; the detail says what to do). @return the tag
  Result<HaltTag> add(std::uint64_t replica, Halt halt);
  /// Takes in the halts of `other`, and lifts nothing: a number alone, without its halt, says nothing here. Change::removed is
  /// empty. Errors: kTooLarge; nothing has changed then.
  Result<Change> learn(const HaltSet& other);
  /// Does as the log says: what it has seen and does not hold is lifted here, what it holds stands here, also if it was missing.
  /// What it never saw stays. Lifting needs no room; what finds none is counted in Change::left_out.
  Change follow(const HaltSet& log);
  /// @return true: it stood
  bool lift(const HaltTag& tag);

  /// For rows: a halt or a number as they were written.
  void load(Halt halt) { halts_.insert_or_assign(halt.tag, std::move(halt)); }
  void load_seen(std::uint64_t replica, std::uint64_t number) { seen_.insert_or_assign(replica, number); }
  void load_gap(std::uint64_t replica, Span gap) { gaps_.insert_or_assign({replica, gap.first}, gap.second); }
  /// False: it holds a halt whose number it has not seen, more than may be, a number above kHaltNumberMax, or gaps that overlap
  /// or end beyond what was seen.
  [[nodiscard]] bool sound() const;

  friend bool operator==(const HaltSet&, const HaltSet&) = default;

 private:
  Change take_halts(const HaltSet& other);
  void see(const HaltTag& tag);
  [[nodiscard]] std::map<HaltTag, std::uint64_t>::const_iterator gap_of(const HaltTag& tag) const;
  [[nodiscard]] std::vector<Span> missing(std::uint64_t replica, std::uint64_t last) const;
  bool follow_numbers(std::uint64_t replica, const HaltSet& log);
  [[nodiscard]] bool has_room(std::uint64_t replica) const;
  [[nodiscard]] bool gaps_sound() const;
  [[nodiscard]] Result<void> within_bounds() const;

  std::map<HaltTag, Halt> halts_;
  std::map<std::uint64_t, std::uint64_t> seen_;
  std::map<HaltTag, std::uint64_t> gaps_;  // first number of a gap -> its last one
};

/// Format: msgpack array [version 1, replicas, (replica, number)..., halts, (replica, number, scope, name, reason, who, node,
///   time, flags)...], sorted; flags: 1 cancels pass, 2 second person. At most kHaltSetBytesMax bytes. Gaps are not in it: whoever
///   reads it as anybody's word learns the halts alone.
[[nodiscard]] std::string encode(const HaltSet& set);
/// The gaps, for a disk. Format: msgpack array [gaps, (replica, first, last)...], sorted.
[[nodiscard]] std::string encode_gaps(const HaltSet& set);
/// Adds them to the set whose they are. Errors: kTruncated, kMalformed, kTooLarge.
[[nodiscard]] Result<void> decode_gaps(std::string_view bytes, HaltSet& set);
inline constexpr std::size_t kHaltGapsBytesMax = 16 + kHaltGapsMax * 27;
/// Bytes from anyone. Errors: kTruncated, kMalformed, kUnknownVersion, kUnknownKind, kTooLarge.
[[nodiscard]] Result<HaltSet> decode_halt_set(std::string_view bytes);

class ArrayWriter;
class ArrayReader;
inline constexpr std::size_t kHaltFields = 9;
void add(ArrayWriter& writer, const Halt& halt);  ///< kHaltFields values
[[nodiscard]] Halt take_halt(ArrayReader& reader);  ///< leaves an error in the reader

}  // namespace store::kv
