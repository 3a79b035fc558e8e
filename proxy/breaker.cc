#include "proxy/breaker.h"

#include <algorithm>

namespace proxy {
namespace {

// state: 2 bits, failures: 14 bits, time in ms: 48 bits (first failure, end of open, or when the probe is given up).
constexpr unsigned kTimeBits = 48, kCountBits = 14;
constexpr std::uint64_t kTimeMask = (1ULL << kTimeBits) - 1, kCountMask = (1ULL << kCountBits) - 1;
constexpr std::size_t kProbeSlots = 16;
constexpr std::uint64_t kByWord = 1;

struct Parts {
  BreakerState state;
  std::uint64_t failures, time;
  explicit Parts(std::uint64_t word)
      : state(static_cast<BreakerState>(word >> (kTimeBits + kCountBits))), failures((word >> kTimeBits) & kCountMask),
        time(word & kTimeMask) {}
};
std::uint64_t packed(BreakerState state, std::uint64_t failures, std::uint64_t time) {
  return static_cast<std::uint64_t>(state) << (kTimeBits + kCountBits) | failures << kTimeBits | (time & kTimeMask);
}
std::uint64_t ms_of(Milliseconds time) { return static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0)); }
std::uint64_t ms_of(TimePoint now) { return ms_of(std::chrono::duration_cast<Milliseconds>(now.time_since_epoch())); }

}  // namespace

BreakerState breaker_state(std::uint64_t word) { return Parts(word).state; }

// The count of failures means nothing while it is open: there it holds whose word it is.
bool breaker_by_word(std::uint64_t word) { return Parts(word).state == BreakerState::kOpen && Parts(word).failures == kByWord; }

bool breaker_lets(std::uint64_t word, std::uint64_t now_ms) {
  const Parts parts(word);
  return parts.state == BreakerState::kClosed || now_ms >= parts.time;
}

BreakerPass breaker_enter(const BreakerRule& rule, std::uint64_t& word, std::uint64_t now_ms) {
  if (breaker_state(word) == BreakerState::kClosed) return BreakerPass::kFree;
  if (!breaker_lets(word, now_ms)) return BreakerPass::kDenied;
  word = packed(BreakerState::kHalfOpen, 0, now_ms + ms_of(rule.open));
  return BreakerPass::kProbe;
}

void breaker_result(const BreakerRule& rule, std::uint64_t& word, std::uint64_t now_ms, bool good, bool probe) {
  Parts parts(word);
  if (parts.state != BreakerState::kClosed) {
    if (!probe || parts.state != BreakerState::kHalfOpen) return;
    word = good ? 0 : packed(BreakerState::kOpen, 0, now_ms + ms_of(rule.open));
    return;
  }
  if (good) {
    word = 0;
    return;
  }
  if (parts.failures == 0 || now_ms > parts.time + ms_of(rule.window)) parts = Parts(packed(BreakerState::kClosed, 0, now_ms));
  ++parts.failures;
  word = parts.failures >= rule.fail ? packed(BreakerState::kOpen, 0, now_ms + ms_of(rule.open))
                                     : packed(BreakerState::kClosed, parts.failures, parts.time);
}

void breaker_abandon(std::uint64_t& word, std::uint64_t now_ms) {
  if (breaker_state(word) == BreakerState::kHalfOpen) word = packed(BreakerState::kOpen, 0, now_ms);
}

void breaker_advise(std::uint64_t& word, std::uint64_t until_ms) {
  if (breaker_state(word) != BreakerState::kHalfOpen) word = packed(BreakerState::kOpen, kByWord, until_ms);
}

void breaker_relent(std::uint64_t& word, std::uint64_t now_ms) {
  const Parts parts(word);
  if (parts.state != BreakerState::kOpen) return;
  if (parts.failures == kByWord) word = 0;
  else if (parts.time > now_ms) word = packed(BreakerState::kOpen, 0, now_ms);
}

const BreakerTable::Slot* BreakerTable::find(EndpointId id) const {
  const auto wanted = static_cast<std::uint64_t>(id);
  for (std::size_t i = 0; i < kProbeSlots; ++i) {
    const Slot& slot = slots_[(wanted + i) % kSlots];
    if (slot.id.load(std::memory_order_acquire) == wanted) return &slot;
  }
  return nullptr;
}

BreakerTable::Slot* BreakerTable::place_of(EndpointId id) {
  if (const Slot* found = find(id); found != nullptr) return const_cast<Slot*>(found);
  const auto wanted = static_cast<std::uint64_t>(id);
  for (std::size_t i = 0; i < kProbeSlots; ++i) {
    Slot& slot = slots_[(wanted + i) % kSlots];
    std::uint64_t seen = slot.id.load(std::memory_order_acquire);
    // A closed breaker without failures is as good as none: its place may be taken.
    if (seen != 0 && slot.word.load(std::memory_order_acquire) != 0) continue;
    if (slot.id.compare_exchange_strong(seen, wanted, std::memory_order_acq_rel)) return &slot;
  }
  return nullptr;
}

template <class Change>
bool BreakerTable::change(Slot& slot, Change change_word) {
  std::uint64_t seen = slot.word.load(std::memory_order_acquire);
  for (;;) {
    std::uint64_t next = seen;
    change_word(next);
    if (next == seen) return false;
    if (!slot.word.compare_exchange_weak(seen, next, std::memory_order_acq_rel)) continue;
    if (breaker_state(next) == BreakerState::kOpen && breaker_state(seen) == BreakerState::kClosed) {
      opened_.fetch_add(1, std::memory_order_relaxed);
    }
    return breaker_state(next) != breaker_state(seen);
  }
}

bool BreakerTable::lets(EndpointId id, TimePoint now) const {
  const Slot* slot = find(id);
  return slot == nullptr || breaker_lets(slot->word.load(std::memory_order_acquire), ms_of(now));
}

BreakerPass BreakerTable::enter(EndpointId id, TimePoint now) {
  const Slot* found = find(id);
  if (found == nullptr) return BreakerPass::kFree;
  BreakerPass pass = BreakerPass::kFree;
  change(*const_cast<Slot*>(found), [&](std::uint64_t& word) { pass = breaker_enter(rule_, word, ms_of(now)); });
  return pass;
}

bool BreakerTable::result(EndpointId id, TimePoint now, bool good, bool probe) {
  Slot* slot = good ? const_cast<Slot*>(find(id)) : place_of(id);
  return slot != nullptr && change(*slot, [&](std::uint64_t& word) { breaker_result(rule_, word, ms_of(now), good, probe); });
}

void BreakerTable::advise(EndpointId id, TimePoint until) {
  if (Slot* slot = place_of(id); slot != nullptr) change(*slot, [&](std::uint64_t& word) { breaker_advise(word, ms_of(until)); });
}

void BreakerTable::relent(EndpointId id, TimePoint now) {
  if (const Slot* slot = find(id); slot != nullptr) {
    change(*const_cast<Slot*>(slot), [&](std::uint64_t& word) { breaker_relent(word, ms_of(now)); });
  }
}

bool BreakerTable::reset(EndpointId id) {
  const Slot* slot = find(id);
  return slot != nullptr && change(*const_cast<Slot*>(slot), [](std::uint64_t& word) { word = 0; });
}

void BreakerTable::abandon(EndpointId id, TimePoint now) {
  if (const Slot* slot = find(id); slot != nullptr) {
    change(*const_cast<Slot*>(slot), [&](std::uint64_t& word) { breaker_abandon(word, ms_of(now)); });
  }
}

BreakerTable::Look BreakerTable::look(EndpointId id) const {
  const Slot* slot = find(id);
  if (slot == nullptr) return {};
  const std::uint64_t word = slot->word.load(std::memory_order_acquire);
  const Parts parts(word);
  return {parts.state, breaker_by_word(word), TimePoint(Milliseconds(static_cast<std::int64_t>(parts.time)))};
}

}  // namespace proxy
