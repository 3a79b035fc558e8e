#pragma once
/// Who is primary, under which epoch, and until when this agent may write orders to its instance.
///
/// A sans-IO core: it is told about the health of the local instance, the lease as the replicated state
/// shows it, and the answers to its own requests; it answers with requests for the store (acquire, renew,
/// release) and with the role that the rest of the agent must show and obey.
///
/// Source: fencing and lease rules of the design, section 5; leases after Gray and Cheriton (1989): the
/// holder counts from the moment at which it *sent* a request, the granter from the moment at which it
/// *received* it, so the holder's period always ends first.
/// Invariant I1: `valid_until()` never exceeds (send time of an acknowledged acquire or renew) + lease.
/// Ownership: values only; nothing is kept of what the caller passes in.
/// Thread: the control loop.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace agent {

using TimePoint = std::chrono::steady_clock::time_point;  ///< filled from CLOCK_BOOTTIME, never from wall time
using Milliseconds = std::chrono::milliseconds;

enum class Epoch : std::uint64_t {};     ///< fencing token of one service; 0 = never held; only grows
enum class HolderId : std::uint64_t {};  ///< Raft id of the agent that holds a lease; 0 = nobody
enum class RequestNo : std::uint64_t {}; ///< numbers one request of this core; unique while the process lives

/// What the health checks say about the local instance.
enum class InstanceState : std::uint8_t {
  kUnknown,   ///< not checked yet: not eligible
  kPassing,   ///< may be primary
  kDegraded,  ///< serves reads, must not trade: yields gracefully
  kCritical,  ///< answers wrongly or not at all: yields without waiting for orders in flight
  kGone,      ///< process gone (connection refused or reset): yields without waiting
};

/// The role shown to the instance, the API and the hooks.
enum class Role : std::uint8_t { kStandby, kPrimary };

/// The lease of the service as the replicated state shows it.
struct LeaseRecord {
  Epoch epoch{};       ///< epoch of the present or the last holder
  HolderId holder{};   ///< 0 = vacant
  HolderId preferred{};  ///< whom the last holder wants as its successor; 0 = anyone
  friend bool operator==(const LeaseRecord&, const LeaseRecord&) = default;
};

/// How a request to the store ended.
enum class Answer : std::uint8_t {
  kGranted,  ///< done; for an acquire `epoch` is the new epoch
  kRefused,  ///< decided against us: somebody else holds it, or the epoch is over
  kUnknown,  ///< no leader, timed out, connection lost: it may or may not have happened
};

struct PrimaryConfig {
  HolderId self{};                       ///< our Raft id, non-zero
  Milliseconds lease{1500};              ///< 100 ms .. 60 s
  Milliseconds yield_wait{100};          ///< longest wait for orders in flight when yielding gracefully, 0 .. 10 s
  Milliseconds acquire_delay{0};         ///< how long to leave a vacant lease to better candidates (backup tier), 0 .. 10 s
  Milliseconds retry_min{20};            ///< first pause after a request of unknown outcome; doubles
  Milliseconds retry_max{500};           ///< longest such pause
  bool eligible = true;                  ///< false: never becomes primary (a witness)
};

/// Requests for the store, and orders for the rest of the agent, in the order in which they must be obeyed.
struct Acquire { RequestNo request; };
struct Renew { RequestNo request; Epoch epoch; };
struct Release { RequestNo request; Epoch epoch; HolderId preferred; };
/// The role changed, or its epoch. `serving` is false while a primary lets its last orders finish.
struct RoleChange { Role role; Epoch epoch; bool serving; std::string reason; };
/// Stop passing new orders to the local instance and report `on_orders_drained` once none is in flight.
struct DrainOrders {};
/// The lease is over or given up: forget `valid_until` before anything else is done, reset order connections.
struct CloseGate {};
/// Orders may be written to the local instance under `epoch` until `valid_until`.
struct OpenGate { Epoch epoch; TimePoint valid_until; };
using PrimaryOutput = std::variant<Acquire, Renew, Release, RoleChange, DrainOrders, CloseGate, OpenGate>;

class Primary {
 public:
  /// @param chance  uniform number below its argument (> 0); jitters retries only
  Primary(PrimaryConfig config, std::function<std::uint64_t(std::uint64_t)> chance);

  void on_instance(TimePoint now, InstanceState state);
  /// What of this agent itself does not work, for people: "the own disk hangs". Empty: all does. Meanwhile it is as if the instance were critical:
  /// orders are given to whoever can take them.
  void on_trouble(TimePoint now, std::string trouble);
  /// The lease as of the newest applied entry. Calls with older state than a call before are a bug of the host.
  void on_lease(TimePoint now, const LeaseRecord& record);
  /// Answer to an Acquire, Renew or Release. Answers to requests no longer of interest are ignored.
  /// @param epoch  the granted epoch of an acquire; not read otherwise
  void on_answer(TimePoint now, RequestNo request, Answer answer, Epoch epoch);
  /// No order is in flight any more (after DrainOrders).
  void on_orders_drained(TimePoint now);
  /// Give the role away and do not seek it again until `resume`.
  void drain(TimePoint now);
  void resume(TimePoint now);
  [[nodiscard]] bool draining() const { return draining_; }
  /// Give the role to `target` (0 = to anyone else). @return false when we are not primary.
  bool switchover(TimePoint now, HolderId target);

  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;  ///< time_point::max() when nothing waits
  std::vector<PrimaryOutput> take_output();

  /// The check of rule 4: true while orders may be written under `epoch()`. The proxy makes the same
  /// comparison against the published copy of `valid_until()` before every write.
  [[nodiscard]] bool may_write(TimePoint now) const { return now < valid_until_; }
  [[nodiscard]] TimePoint valid_until() const { return valid_until_; }  ///< time_point::min() when not holding
  [[nodiscard]] Epoch epoch() const { return held_epoch_; }             ///< our epoch while primary, else 0
  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] bool serving() const { return role_ == Role::kPrimary && phase_ == Phase::kHolding; }
  [[nodiscard]] const LeaseRecord& record() const { return record_; }
  [[nodiscard]] InstanceState instance() const { return instance_; }

 private:
  enum class Phase : std::uint8_t {
    kIdle,       ///< not holding; may be seeking
    kAcquiring,  ///< an acquire is under way
    kHolding,    ///< primary under a valid lease
    kLapsed,     ///< the lease ran out here, but the record still names us: a renewal may revive it
    kYielding,   ///< primary, letting orders in flight finish
    kReleasing,  ///< a release is under way; the gate is closed
  };
  struct SentRenew { RequestNo request; TimePoint sent; };

  RequestNo next_request() { return RequestNo{++request_count_}; }
  [[nodiscard]] bool electable() const;
  [[nodiscard]] bool vacancy_is_ours(TimePoint now) const;
  void consider(TimePoint now);
  void send_acquire(TimePoint now);
  void send_renew(TimePoint now);
  void send_release(TimePoint now);
  void begin_yield(TimePoint now, const std::string& reason, bool wait_for_orders);
  void finish_yield(TimePoint now);
  void give_up(TimePoint now, const std::string& reason, bool wait_for_orders);
  void become_primary(TimePoint now, const std::string& reason);
  void lose(TimePoint now, Phase next, const std::string& reason);
  void extend(TimePoint valid_until);
  void back_off(TimePoint now);

  PrimaryConfig config_;
  std::function<std::uint64_t(std::uint64_t)> chance_;
  InstanceState instance_ = InstanceState::kUnknown;
  std::string trouble_;
  LeaseRecord record_;
  Phase phase_ = Phase::kIdle;
  Role role_ = Role::kStandby;
  Epoch held_epoch_{};
  TimePoint valid_until_ = TimePoint::min();
  std::uint64_t request_count_ = 0;
  std::optional<RequestNo> pending_;       ///< the acquire or release under way
  TimePoint pending_sent_{};
  std::deque<SentRenew> renewals_;         ///< unanswered, oldest first, at most kRenewalsMax
  TimePoint renew_at_ = TimePoint::max();
  TimePoint retry_at_ = TimePoint::max();
  Milliseconds retry_pause_{};
  TimePoint yield_deadline_ = TimePoint::max();
  TimePoint vacant_since_ = TimePoint::max();
  HolderId successor_{};                   ///< named by switchover, used by the release that follows
  TimePoint abstain_until_ = TimePoint::min();  ///< after a switchover: leave the lease to others until then
  bool draining_ = false;
  std::vector<PrimaryOutput> output_;
};

}  // namespace agent
