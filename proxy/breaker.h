#pragma once
/// Circuit breakers: an endpoint that keeps failing a route is left alone for a while, then asked by one request only.
/// States of one (route, endpoint): closed; open until a moment; half-open, one probe under way. All of it is one word, so
/// that all workers of an agent see the same breaker with one load per request and exactly one of them wins the probe.
/// Source: Nygard, Release It!, "Circuit Breaker".

#include <array>
#include <atomic>
#include <cstdint>

#include "proxy/stream.h"
#include "proxy/upstream.h"

namespace proxy {

/// What counts as a failure; bits of BreakerRule::on.
enum class Failure : std::uint8_t { kConnect = 1, kTimeout = 2, kReset = 4, kStatus5xx = 8 };

struct BreakerRule {
  std::uint32_t fail = 5;        ///< failures in a row that open it; 0 = no breaker; at most 10,000
  Milliseconds window{10000};    ///< the first and the last of them lie within this time
  Milliseconds open{60000};      ///< how long nobody is let through
  std::uint8_t on = 15;          ///< which failures count
  [[nodiscard]] bool counts(Failure failure) const { return (on & static_cast<std::uint8_t>(failure)) != 0; }
  friend bool operator==(const BreakerRule&, const BreakerRule&) = default;
};

enum class BreakerState : std::uint8_t { kClosed, kOpen, kHalfOpen };

/// How one request may go on.
enum class BreakerPass : std::uint8_t {
  kFree,    ///< closed
  kProbe,   ///< the one probe: its result decides, and it must report one or call abandon
  kDenied,
};

// The rules over one word; 0 = closed without failures. `now_ms` fits 48 bits for 8,900 years.
[[nodiscard]] BreakerState breaker_state(std::uint64_t word);
/// It is open because another agent says so, and nobody here has asked the endpoint since.
[[nodiscard]] bool breaker_by_word(std::uint64_t word);
/// Whether a request could pass now; changes nothing.
[[nodiscard]] bool breaker_lets(std::uint64_t word, std::uint64_t now_ms);
/// Takes a pass. A probe whose result does not come within `open` is given up and another one let through.
[[nodiscard]] BreakerPass breaker_enter(const BreakerRule& rule, std::uint64_t& word, std::uint64_t now_ms);
/// Takes in a result. Results of requests that began before it opened change nothing, except that of the probe.
void breaker_result(const BreakerRule& rule, std::uint64_t& word, std::uint64_t now_ms, bool good, bool probe);
/// The probe ended without a result (its client left): the next request is the probe.
void breaker_abandon(std::uint64_t& word, std::uint64_t now_ms);
/// Another agent says that it is to be left alone until then. What is closed opens, what is open stays so until then; a
/// probe under way here goes on, since its result will be worth more than a word.
void breaker_advise(std::uint64_t& word, std::uint64_t until_ms);
/// Another agent's probe went well. What was open at a word closes; what was opened by failures seen here has its own probe
/// now. A probe under way goes on.
void breaker_relent(std::uint64_t& word, std::uint64_t now_ms);

/// The breakers of one route. Bound: kSlots endpoints, 16 KiB; one beyond that has no breaker and is counted.
/// Thread: any.
class BreakerTable {
 public:
  static constexpr std::size_t kSlots = 1024;
  explicit BreakerTable(const BreakerRule& rule) : rule_(rule) {}
  [[nodiscard]] const BreakerRule& rule() const { return rule_; }
  [[nodiscard]] bool lets(EndpointId id, TimePoint now) const;
  [[nodiscard]] BreakerPass enter(EndpointId id, TimePoint now);
  /// @return true if its state has changed
  bool result(EndpointId id, TimePoint now, bool good, bool probe);
  void abandon(EndpointId id, TimePoint now);
  void advise(EndpointId id, TimePoint until);
  void relent(EndpointId id, TimePoint now);
  /// An operator's word: closed, without failures. @return true if it was not closed
  bool reset(EndpointId id);
  [[nodiscard]] BreakerState state(EndpointId id) const { return look(id).state; }
  /// What there is to tell of one.
  struct Look {
    BreakerState state = BreakerState::kClosed;
    bool by_word = false;
    TimePoint until{};  ///< kOpen: from when on a probe may go; kHalfOpen: when the probe is given up
  };
  [[nodiscard]] Look look(EndpointId id) const;
  [[nodiscard]] std::uint64_t opened() const { return opened_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    std::atomic<std::uint64_t> id{0};
    std::atomic<std::uint64_t> word{0};
  };
  [[nodiscard]] const Slot* find(EndpointId id) const;
  Slot* place_of(EndpointId id);
  template <class Change>
  bool change(Slot& slot, Change change_word);

  BreakerRule rule_;
  std::array<Slot, kSlots> slots_;
  std::atomic<std::uint64_t> opened_{0};
};

}  // namespace proxy
