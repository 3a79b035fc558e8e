#pragma once
/// Who asks: one worker's questions about limits that the cluster counts together. A core: time is an argument, questions
/// are taken out, answers put in.
///
/// In order: a key that this agent owns is counted here at once. Where its owner has said "not before", the answer is known
/// until then, so that a flood of refused requests asks nobody anything. Else the owner is asked; if it is unreachable, was
/// silent kSilentAfter times in a row, has too many questions waiting or says nothing within ClusterRate::timeout, RateFallback
/// decides.
/// Invariants: a waiter hears exactly once, unless it forgets its ticket. Nobody waits for an owner that is silent: every
///   kProbeEvery one question goes there for which nobody waits, and an answer to that in time ends the silence. A refusal
///   that is remembered never outlives what its owner meant (its time counts from when the question was asked).
/// Bounds: kAskedMax questions without answer; kRemembered keys, 128 KiB, from the first question on; one OwnerState per member.
/// Thread: its worker's.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "proxy/histogram.h"
#include "proxy/rate_share.h"

namespace proxy {

/// How it was decided.
enum class RateSource : std::uint8_t {
  kOwn,          ///< this agent counts the key
  kOwner,        ///< the owner has answered
  kRemembered,   ///< the owner had refused, for longer than until now
  // The rest are RateFallback's.
  kUnreachable,  ///< no connection to the owner
  kSilent,       ///< it has not answered lately
  kLate,         ///< it has not answered in time
  kFull,         ///< too many questions wait
  kTurnedAway,   ///< it has no room for the zone
};
inline constexpr std::size_t kRateSources = 8;
[[nodiscard]] std::string_view name_of(RateSource source);      ///< for metrics: "own", "owner", "remembered", "unreachable", ...
[[nodiscard]] std::string_view sentence_of(RateSource source);  ///< for people
[[nodiscard]] constexpr bool is_fallback(RateSource source) { return source >= RateSource::kUnreachable; }

struct RateDecision {
  RateVerdict verdict;
  RateSource source = RateSource::kOwn;
  RateMemberId owner{};    ///< who counts the key
  bool undecided = false;  ///< refused, but not because the client has come too often (RateFallback::kRefuse)
};

/// Totals of one worker.
struct RateDeskCounters {
  std::array<std::uint64_t, kRateSources> decided{};  ///< by RateSource
  std::uint64_t asked = 0;      ///< questions, probes among them
  Histogram answered_in{};      ///< question taken down -> answer
  void add(const RateDeskCounters& other);
};

class RateDesk {
 public:
  static constexpr std::size_t kAskedMax = 4096, kRemembered = 4096;
  static constexpr std::uint32_t kSilentAfter = 3;
  static constexpr Milliseconds kProbeEvery{100};
  /// Index and generation of a question; 0 = none.
  using Ticket = std::uint32_t;
  class Waiter {
   public:
    virtual ~Waiter() = default;
    /// The ticket is void; may ask again, may destroy anything but the desk.
    virtual void rate_decided(const RateDecision& decision) = 0;
  };

  void set_members(std::shared_ptr<const RateMembers> members);
  /// Counts one request of `key`.
  /// @param zone    must live until the ticket is void
  /// @return the decision; nullopt: the owner is asked, `ticket` is set and `waiter` hears of it
  std::optional<RateDecision> ask(RateZone& zone, std::uint64_t key, TimePoint now, Waiter& waiter, Ticket& ticket);
  /// The time for an answer is over, as who waits has noticed. @param ticket  not void
  RateDecision give_up(Ticket ticket, TimePoint now);
  /// Nobody waits for it any longer. @param ticket  not void
  void forget(Ticket ticket);
  /// Answers of `owner`; those to questions that are void are passed over.
  void answer(RateMemberId owner, const RateAnswer& answer, TimePoint now);
  /// Questions to be sent, in the order asked; the buffer given is used for the next ones.
  void take_questions(std::vector<RateQuestion>& out) {
    out.clear();
    out.swap(questions_);
  }
  /// Empty = not a member now.
  [[nodiscard]] std::string_view name(RateMemberId id) const;
  [[nodiscard]] bool has_questions() const { return !questions_.empty(); }
  [[nodiscard]] std::size_t waiting() const { return waiting_; }
  [[nodiscard]] const RateDeskCounters& counters() const { return counters_; }

 private:
  struct Asked {
    std::uint32_t generation = 0;
    bool taken = false;
    Waiter* waiter = nullptr;  ///< null = a probe
    RateZone* zone = nullptr;
    std::uint64_t key = 0;
    RateMemberId owner{};
    TimePoint at{};
    Milliseconds timeout{0};
  };
  struct OwnerState {
    std::uint32_t late = 0;    ///< in a row
    TimePoint probe_at{};      ///< meaningful while silent
    Ticket probe = 0;
  };
  struct Memory {
    std::uint64_t key = 0;
    TimePoint refused_until{}, told_at{};
    std::uint32_t debt = 0;
  };
  Asked* find(Ticket ticket);
  Ticket put_down(RateZone& zone, std::uint64_t key, RateMemberId owner, TimePoint now, Waiter* waiter);
  void free(Ticket ticket);
  void probe(OwnerState& state, RateZone& zone, std::uint64_t key, RateMemberId owner, TimePoint now);
  [[nodiscard]] std::uint32_t told(const RateZone& zone, std::uint64_t key, TimePoint now) const;
  RateDecision fall_back(RateZone& zone, std::uint64_t key, TimePoint now, RateSource source, RateMemberId owner);
  RateDecision decided(const RateVerdict& verdict, RateSource source, RateMemberId owner);

  std::shared_ptr<const RateMembers> members_;
  std::unordered_map<std::uint64_t, OwnerState> owners_;  ///< by RateMemberId
  std::vector<Asked> asked_;                              ///< grows to kAskedMax
  std::vector<std::uint32_t> free_;
  std::size_t waiting_ = 0;
  std::vector<RateQuestion> questions_;
  std::unique_ptr<std::array<Memory, kRemembered>> memory_;
  RateDeskCounters counters_;
};

}  // namespace proxy
