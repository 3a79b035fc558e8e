#pragma once
/// When a new primary may be given orders: after the old epoch is fenced, what it left open is found out, and whoever has to
/// agree has agreed.
///
///   FENCED -> RECONCILING -> WAITING (approval, flat, unknown orders) -> ARMED, per epoch; a lost lease ends it anywhere.
///
/// A sans-IO core. FENCED until the own copy of the state has the epoch: from then on every order of an older epoch that was on
/// its way is UNKNOWN, and its list is whole. RECONCILING: a hook of the application is shown these orders, page by page; what it
/// knows is written into the ledger as its verdicts. A hook that fails or overruns its time is asked again from the first page, later
/// and later; it never arms anything. Verdicts are fenced by the ledger entry that the hook was shown, so asking twice does no harm.
/// Once ARMED the same hook is shown the newest orders of older epochs that are settled, so that it can compare, and is asked about orders
/// that become UNKNOWN under the present epoch; of these only DONE is believed, unless the instance is known to let go of them. The settled
/// ones come before arming where that waits for a flat position, or the hook says that it wants them first: nothing else depends on
/// them, and each page of them would be time without orders. A page of them that fails is shown again later and later, and after a few
/// failures none any more under that epoch; what is unknown is asked about meanwhile as if nothing was. A lease that comes back under the same epoch finds it as it was.
///
/// FENCED lasts for `settle` at least. A lease that is given away is taken up within milliseconds, while what its holder let out in
/// the last moment is still under way to the broker: asked now, it would rightly say that it does not have it.
///
/// Source:    rules R2 and R10 of the trading design; recovery before service after Gray and Reuter (1993).
/// Invariant: armed() only under the epoch given last, and only if (a) there is no hook, or every page of UNKNOWN orders of one pass
///            was answered (of settled ones too, where they come first) and every verdict of it decided by the ledger, and (b) the
///            mode's condition was met, or somebody forced it. Neither that nor a question of this epoch to the hook before it is `settle` old here.
///            No verdict leaves under an epoch that is over. Arming never delays or gives up the lease.
/// Ownership: values only. Thread: the control loop. Time is an argument; chance jitters pauses only.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/primary.h"

namespace agent {

enum class ArmingMode : std::uint8_t {
  kAuto,        ///< armed as soon as it is reconciled
  kSupervised,  ///< and somebody approved this epoch
  kWhenFlat,    ///< and the hook says that there is no position, or somebody approved
};
enum class ArmingPhase : std::uint8_t {
  kOff,          ///< not primary
  kFenced,       ///< the own copy of the state is not there yet
  kReconciling,  ///< the hook is asked, or will be again
  kWaiting,      ///< reconciled; see reason()
  kArmed,
};
[[nodiscard]] const char* to_string(ArmingPhase phase);  ///< "off", "fenced", "reconciling", "waiting", "armed"
[[nodiscard]] const char* to_string(ArmingMode mode);    ///< "auto", "supervised", "when_flat"

struct ArmingRules {
  ArmingMode mode = ArmingMode::kAuto;
  bool has_hook = false;
  bool gives_up = false;             ///< the instance surely lets go of an order before it is asked about: NOT_SENT is then believed under
                                     ///< the present epoch too, where nothing else fences it
  bool unknown_blocks = false;       ///< not armed while orders of older epochs stay UNKNOWN
  Milliseconds settle{0};            ///< what an older holder's kernel had taken is at the broker, or never will be; 0 .. 1 min
  Milliseconds hook_timeout{10'000}; ///< of one call; 50 ms .. 5 min
  Milliseconds retry_min{500};       ///< pause after a failure; doubles
  Milliseconds retry_max{30'000};
  Milliseconds look_first{2'000};    ///< armed: until the hook is asked about a new UNKNOWN order; doubles
  Milliseconds look_every{30'000};   ///< longest pause until it is asked again about what it left open
  std::size_t batch = 100;           ///< orders per call, 1..1000
};

/// How an order stands when the hook is asked.
enum class OrderStanding : std::uint8_t { kUnknown, kReserved, kDone, kNotSent };
[[nodiscard]] const char* to_string(OrderStanding standing);  ///< "unknown", "reserved", "done", "not_sent"

struct OrderSeen {
  std::string zone, key;
  std::uint64_t reserved = 0;  ///< log index of its reservation: pages go on after it
  std::uint64_t seen = 0;      ///< log index of its last change: the fence of a verdict
  OrderStanding standing = OrderStanding::kUnknown;
  std::string fingerprint;     ///< hex
  std::uint64_t reserved_ms = 0;  ///< wall clock
  std::uint64_t epoch = 0;
  std::uint32_t attempt = 1;
};
/// What the hook says of one order.
struct OrderFinding {
  std::string zone, key;
  OrderStanding standing = OrderStanding::kUnknown;  ///< never kReserved
  int status = 0;    ///< kDone: 200..599, or 0 = it does not know the answer
  std::string body;  ///< kDone with a status
};
struct HookAnswer {
  bool ok = false;
  std::string detail;                  ///< not ok: why, for people
  std::vector<OrderFinding> findings;  ///< orders that are not named stay as they are
  std::optional<bool> flat;            ///< there is no position and no working order
  std::optional<bool> recent_first{};  ///< it wants to see the settled orders before anything is armed; kept until it says otherwise
};

enum class PageNo : std::uint64_t {};
enum class HookNo : std::uint64_t {};
enum class VerdictNo : std::uint64_t {};

/// Read a page of the ledger; on_page() follows, at once or later.
struct ReadPage {
  PageNo number{};
  enum class Kind : std::uint8_t {
    kUnknown,  ///< UNKNOWN ones above `bound`, oldest first; those that may still be under way are held back
    kRecent,   ///< of the window shown to hooks, in any state, below `bound`, newest first
  } kind = Kind::kUnknown;
  std::uint64_t bound = 0;
  std::size_t limit = 0;
};
/// Of a page: orders that the hook is not asked about yet, since nothing has fenced them and they are UNKNOWN for a moment only.
struct HeldBack {
  std::size_t orders = 0;   ///< with those that were given, at most the limit
  std::uint64_t last = 0;   ///< their highest reservation
};
/// Ask the hook; on_hook() follows unless DropHook comes first. `more`: another page follows this one.
struct AskHook { HookNo number{}; Epoch epoch{}; bool armed = false; bool more = false; std::vector<OrderSeen> orders; };
struct DropHook { HookNo number{}; };
/// Write a verdict into the ledger; on_verdict() follows.
struct WriteVerdict { VerdictNo number{}; OrderFinding finding; std::uint64_t seen = 0; };
/// armed() or reason() changed: publish it.
struct ArmingChange {};
struct ArmingNews { const char* what; std::string detail; };  ///< for log and events
using ArmingOutput = std::variant<ReadPage, AskHook, DropHook, WriteVerdict, ArmingChange, ArmingNews>;

/// How writing a verdict ended.
enum class VerdictEnd : std::uint8_t {
  kRecorded,
  kOvertaken,  ///< the order has changed since: somebody else decided
  kNoAnswer,   ///< no majority in time: it may have been written, and is written again
};

/// Somebody's word for one epoch.
struct Approval {
  Epoch epoch{};
  bool force = false;  ///< whatever the hook says, and whatever is unknown
  std::string who;
  friend bool operator==(const Approval&, const Approval&) = default;
};

struct ArmingCounters {
  std::uint64_t passes = 0, calls = 0, failures = 0;  ///< failures: of calls
  std::uint64_t done = 0, not_sent = 0, overtaken = 0;  ///< verdicts
  std::uint64_t unfenced = 0;        ///< findings of NOT_SENT that were not taken: the order is of the present epoch
  std::uint64_t strays = 0;          ///< findings about orders that were not asked for, or twice and not the same
  std::uint64_t contradictions = 0;  ///< orders that the ledger has as not sent, or done, and the hook as the other
};

class Arming {
 public:
  /// @param chance  uniform number below its argument (> 0)
  Arming(const ArmingRules& rules, std::function<std::uint64_t(std::uint64_t)> chance);

  /// This agent is primary under `epoch`; calls with the same epoch change nothing.
  void on_primary(TimePoint now, Epoch epoch);
  void on_standby(TimePoint now);
  /// The own copy of the state has the lease under `epoch`, and so many UNKNOWN orders of the service.
  void on_state(TimePoint now, Epoch epoch, std::uint64_t unknown_count);
  void on_approval(TimePoint now, const Approval& approval);
  void on_page(TimePoint now, PageNo number, std::vector<OrderSeen> orders, const HeldBack& held = {});
  void on_hook(TimePoint now, HookNo number, HookAnswer answer);
  void on_verdict(TimePoint now, VerdictNo number, VerdictEnd end);
  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;  ///< time_point::max() when nothing waits
  [[nodiscard]] std::vector<ArmingOutput> take_output();

  [[nodiscard]] ArmingPhase phase() const { return phase_; }
  [[nodiscard]] bool armed() const { return phase_ == ArmingPhase::kArmed; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }            ///< 0 while not primary
  [[nodiscard]] const std::string& reason() const { return reason_; }  ///< what is waited for; while armed, what to know
  [[nodiscard]] const ArmingCounters& counters() const { return counters_; }
  [[nodiscard]] std::uint64_t unknown_left() const { return unknown_left_; }  ///< of the last whole pass, still UNKNOWN
  [[nodiscard]] std::optional<bool> flat() const { return flat_; }
  [[nodiscard]] const std::string& last_error() const { return last_error_; }  ///< of the hook; empty = the last call was good
  [[nodiscard]] const Approval& approval() const { return approval_; }         ///< the newest; epoch 0 = none
  [[nodiscard]] const ArmingRules& rules() const { return rules_; }

 private:
  /// One walk over the pages. Its verdicts are decided before the next page is read.
  struct Pass {
    enum class Step : std::uint8_t { kReading, kAsking, kWriting } step = Step::kReading;
    bool armed = false;    ///< it runs beside orders
    bool recent = false;   ///< past the UNKNOWN ones; armed: one page of the settled ones
    bool asked = false;    ///< the hook was called at least once
    bool whole = false;    ///< no page of its kind follows the present one
    bool last = false;     ///< no page follows the one that is asked about
    std::uint64_t bound = 0;
    std::size_t recent_pages = 0;
    std::uint64_t left = 0;
    std::optional<bool> flat;
    PageNo page{};
    HookNo call{};
    TimePoint call_until{};
    std::vector<OrderSeen> orders;
    std::map<VerdictNo, WriteVerdict> open;  ///< not decided yet
    std::vector<VerdictNo> again;            ///< of these, to be written again at retry_at_
  };
  void look_at_fence(TimePoint now);
  void begin_pass(TimePoint now);
  void read_page();
  void ask(TimePoint now);
  void take_findings(TimePoint now, const std::vector<OrderFinding>& findings);
  void judge(const OrderSeen& order, const OrderFinding* finding);
  void page_done(TimePoint now);
  [[nodiscard]] bool recent_first() const { return rules_.mode == ArmingMode::kWhenFlat || wants_recent_; }
  void go_on(TimePoint now);
  void end_pass(TimePoint now);
  void hook_failed(TimePoint now, const std::string& why);
  void recent_failed(TimePoint now);
  void drop_pass();
  void evaluate(TimePoint now);
  void plan_look(TimePoint now, Milliseconds pause);
  void arm(const std::string& reason);
  void set(ArmingPhase phase, std::string reason);
  [[nodiscard]] bool approved() const { return epoch_ != Epoch{} && approval_.epoch == epoch_; }
  [[nodiscard]] Milliseconds jittered(Milliseconds pause);

  ArmingRules rules_;
  std::function<std::uint64_t(std::uint64_t)> chance_;
  ArmingPhase phase_ = ArmingPhase::kOff;
  Epoch epoch_{};
  Epoch armed_epoch_{};  ///< the last under which it was armed; 0 = none
  std::string reason_ = "this agent is not primary";
  Approval approval_;
  std::optional<Pass> pass_;
  bool state_known_ = false;         ///< the own copy of the state has epoch_
  TimePoint settled_at_{};           ///< when what was under way under older epochs is there
  bool reconciled_ = false;          ///< under epoch_, one pass went through
  std::uint64_t unknown_left_ = 0, unknown_count_ = 0;
  std::optional<bool> flat_;
  bool wants_recent_ = false;        ///< the hook's word
  bool recent_due_ = false;          ///< under epoch_, settled orders are still to be shown
  std::uint64_t recent_bound_ = 0;   ///< of their next page, once armed
  std::size_t recent_pages_ = 0;     ///< that were
  std::size_t recent_failures_ = 0;  ///< of that page
  TimePoint recent_at_ = TimePoint::min();  ///< not before
  std::string last_error_;
  Milliseconds retry_pause_{}, look_pause_{}, recent_pause_{};
  TimePoint retry_at_ = TimePoint::max();  ///< a pass that failed, or verdicts that found no majority
  TimePoint look_at_ = TimePoint::max();   ///< the next pass about what was left
  std::uint64_t number_ = 0;
  ArmingCounters counters_;
  std::vector<ArmingOutput> output_;
};

}  // namespace agent
