#include "proxy/rate_limit.h"

#include <algorithm>
#include <bit>

namespace proxy {
namespace {

using Nanoseconds = std::chrono::nanoseconds;
constexpr std::uint64_t kDebtUnit = 1024;

// a * b / c without overflow on the way.
std::uint64_t scaled(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{a} * b / c);
}

std::uint64_t count_of(Nanoseconds time) { return static_cast<std::uint64_t>(std::max(time, Nanoseconds::zero()).count()); }
Nanoseconds time_of(std::uint64_t count) { return Nanoseconds(static_cast<std::int64_t>(count)); }

// ---- bucket: the state is the moment at which it is full again ----

std::uint64_t interval_of(const RateRule& rule) {
  return std::max<std::uint64_t>(1, count_of(Nanoseconds(rule.period)) / rule.count);
}

RateVerdict apply_bucket(const RateRule& rule, std::uint64_t now, std::uint64_t& state) {
  const std::uint64_t interval = interval_of(rule);
  const std::uint64_t tolerance = interval * *rule.burst;
  const std::uint64_t debt = state > now ? state - now : 0;
  RateVerdict verdict;
  if (debt > tolerance) {
    verdict.admitted = false;
    verdict.retry_after = time_of(debt - tolerance);
    verdict.reset = time_of(debt);
    return verdict;
  }
  state = now + debt + interval;
  if (!rule.nodelay) verdict.delay = time_of(debt);
  verdict.remaining = static_cast<std::uint32_t>((tolerance - debt) / interval);
  verdict.reset = time_of(debt + interval);
  return verdict;
}

// ---- window: number of the window, requests in the one before it, requests in it ----

constexpr unsigned kCountBits = 19;
constexpr std::uint64_t kCountMask = (1ULL << kCountBits) - 1;
constexpr std::uint64_t kIndexMask = (1ULL << (64 - 2 * kCountBits)) - 1;
static_assert(RateRule::kCountMax <= kCountMask);

struct Window {
  std::uint64_t index, before, in;
  static Window at(const RateRule& rule, std::uint64_t now, std::uint64_t state) {
    const std::uint64_t length = count_of(Nanoseconds(rule.period));
    Window w{(now / length + 1) & kIndexMask, 0, 0};  // + 1: a state of 0 lies in no window of the first turn
    const std::uint64_t index = state >> (2 * kCountBits);
    if (index == w.index) {
      w.before = (state >> kCountBits) & kCountMask;
      w.in = state & kCountMask;
    } else if (((index + 1) & kIndexMask) == w.index) {
      w.before = state & kCountMask;
    }
    return w;
  }
  [[nodiscard]] std::uint64_t packed() const { return index << (2 * kCountBits) | before << kCountBits | in; }
};

// Time from `now` until one more fits.
std::uint64_t window_wait(const RateRule& rule, const Window& w, std::uint64_t elapsed, std::uint64_t length) {
  // `most` requests may still count: those before fade in proportion to the time gone.
  const auto fades = [&](std::uint64_t before, std::uint64_t most) {
    return length - scaled(length, std::min(most, before), std::max<std::uint64_t>(before, 1));
  };
  if (w.in < rule.count) {
    const std::uint64_t at = fades(w.before, rule.count - 1 - w.in);
    if (w.before > 0 && at > elapsed) return at - elapsed;
    return 1;
  }
  return length - elapsed + fades(w.in, rule.count - 1);
}

RateVerdict apply_window(const RateRule& rule, std::uint64_t now, std::uint64_t& state) {
  const std::uint64_t length = count_of(Nanoseconds(rule.period));
  const std::uint64_t elapsed = now % length;
  Window w = Window::at(rule, now, state);
  const auto weighted = [&](std::uint64_t in) { return w.before - scaled(w.before, elapsed, length) + in; };
  RateVerdict verdict;
  if (weighted(w.in) >= rule.count) {
    verdict.admitted = false;
    verdict.retry_after = time_of(window_wait(rule, w, elapsed, length));
    verdict.reset = time_of((w.in > 0 ? 2 : 1) * length - elapsed);
    return verdict;
  }
  ++w.in;
  state = w.packed();
  verdict.remaining = static_cast<std::uint32_t>(rule.count - weighted(w.in));
  verdict.reset = time_of(2 * length - elapsed);
  return verdict;
}

}  // namespace

bool is_rate(const RateRule& rule) {
  return rule.count >= 1 && rule.count <= RateRule::kCountMax && rule.burst.value_or(0) <= RateRule::kCountMax &&
         rule.period >= Milliseconds{1} && rule.period <= std::chrono::hours{24};
}

RateVerdict apply_rate(const RateRule& rule, std::chrono::nanoseconds now, std::uint64_t& state) {
  return rule.burst ? apply_bucket(rule, count_of(now), state) : apply_window(rule, count_of(now), state);
}

std::uint64_t rate_debt(const RateRule& rule, std::chrono::nanoseconds now, std::uint64_t state) {
  const std::uint64_t at = count_of(now);
  if (rule.burst) {
    if (state <= at) return 0;
    return scaled(state - at, kDebtUnit, interval_of(rule)) + 1;
  }
  const std::uint64_t length = count_of(Nanoseconds(rule.period));
  const Window w = Window::at(rule, at, state);
  return scaled(w.before * kDebtUnit, length - at % length, length) + w.in * kDebtUnit;
}

std::uint64_t rate_debt_after(const RateRule& rule, std::uint64_t debt, std::chrono::nanoseconds time) {
  const std::uint64_t gone = rule.burst ? scaled(count_of(time), kDebtUnit, interval_of(rule))
                                        : scaled(debt, std::min(count_of(time), count_of(Nanoseconds(rule.period))), count_of(Nanoseconds(rule.period)));
  return debt - std::min(debt, gone);
}

std::uint64_t rate_state_of(const RateRule& rule, std::chrono::nanoseconds now, std::uint64_t debt) {
  const std::uint64_t at = count_of(now);
  if (debt == 0) return 0;
  if (rule.burst) return at + scaled(std::min(debt, (std::uint64_t{*rule.burst} + 1) * kDebtUnit), interval_of(rule), kDebtUnit);
  Window w = Window::at(rule, at, 0);
  w.in = std::min<std::uint64_t>((debt + kDebtUnit - 1) / kDebtUnit, rule.count);
  return w.packed();
}

RateRule rate_share_of(const RateRule& rule, std::uint32_t parts) {
  RateRule share = rule;
  if (rule.burst) {
    share.period = rule.period * parts;
    share.burst = *rule.burst / parts;
  } else {
    share.count = std::max<std::uint32_t>(1, rule.count / parts);
  }
  return share;
}

std::uint64_t keyed_hash(std::uint64_t key0, std::uint64_t key1, std::string_view text) {
  std::uint64_t v0 = 0x736f6d6570736575ULL ^ key0, v1 = 0x646f72616e646f6dULL ^ key1;
  std::uint64_t v2 = 0x6c7967656e657261ULL ^ key0, v3 = 0x7465646279746573ULL ^ key1;
  const auto rounds = [&](int count) {
    for (; count > 0; --count) {
      v0 += v1; v1 = std::rotl(v1, 13) ^ v0; v0 = std::rotl(v0, 32);
      v2 += v3; v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3; v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1; v1 = std::rotl(v1, 17) ^ v2; v2 = std::rotl(v2, 32);
    }
  };
  const auto word_at = [&](std::size_t at, std::size_t size) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < size; ++i) word |= std::uint64_t{static_cast<unsigned char>(text[at + i])} << (8 * i);
    return word;
  };
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    const std::uint64_t word = word_at(at, 8);
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  const std::uint64_t last = (std::uint64_t{text.size()} << 56) | word_at(at, text.size() - at);
  v3 ^= last;
  rounds(2);
  v0 ^= last;
  v2 ^= 0xff;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

RateTable::RateTable(const RateRule& rule, std::uint64_t seed0, std::uint64_t seed1)
    : rule_(rule), seed0_(seed0), seed1_(seed1), sets_(std::make_unique<std::array<Set, kSlots / kWays>>()) {}

RateTable::Slot& RateTable::place_of(std::uint64_t hash, std::chrono::nanoseconds now) {
  Set& set = (*sets_)[hash % sets_->size()];
  const std::uint64_t tag = hash | 1;
  // Another worker may take the same place at the same moment: then look again. A place lost four times in a row is shared,
  // which counts two keys as one for a moment and nobody too low.
  Slot* victim = nullptr;
  for (int attempt = 0; attempt < 4; ++attempt) {
    std::uint64_t victim_tag = 0, least = UINT64_MAX;
    for (Slot& slot : set.slots) {
      const std::uint64_t seen = slot.tag.load(std::memory_order_relaxed);
      if (seen == tag) return slot;
      const std::uint64_t debt = seen == 0 ? 0 : rate_debt(rule_, now, slot.state.load(std::memory_order_relaxed));
      if (debt < least) {
        least = debt;
        victim = &slot;
        victim_tag = seen;
      }
    }
    if (!victim->tag.compare_exchange_strong(victim_tag, tag, std::memory_order_relaxed)) continue;
    if (least > 0) evicted_.fetch_add(1, std::memory_order_relaxed);
    break;
  }
  return *victim;
}

RateVerdict RateTable::take_at(Slot& slot, const RateRule& rule, std::chrono::nanoseconds now, std::uint32_t known, std::uint64_t& state) {
  std::uint64_t seen = slot.state.load(std::memory_order_relaxed);
  for (;;) {
    // Of one owner, what others were told is never more than it knows, but for roundings. More than that comes of another owner.
    const std::uint64_t owes = known > 0 ? rate_debt(rule, now, seen) : 0;
    state = known > owes && (owes == 0 || known - owes >= kDebtUnit) ? rate_state_of(rule, now, known) : seen;
    const RateVerdict verdict = apply_rate(rule, now, state);
    // What is refused is not counted; but what was learned of the key stays.
    if (!verdict.admitted) rejected_.fetch_add(1, std::memory_order_relaxed);
    if (state == seen || slot.state.compare_exchange_strong(seen, state, std::memory_order_relaxed)) return verdict;
    if (!verdict.admitted) rejected_.fetch_sub(1, std::memory_order_relaxed);
  }
}

std::uint64_t RateTable::hash_of(std::uint64_t key) const {
  return keyed_hash(seed0_, seed1_, {reinterpret_cast<const char*>(&key), sizeof key});
}

RateVerdict RateTable::take(std::string_view key, TimePoint now) {
  const auto at = std::chrono::duration_cast<Nanoseconds>(now.time_since_epoch());
  std::uint64_t state = 0;
  return take_at(place_of(keyed_hash(seed0_, seed1_, key), at), rule_, at, 0, state);
}

RateTable::Taken RateTable::take(std::uint64_t key, TimePoint now, std::uint32_t known) {
  const auto at = std::chrono::duration_cast<Nanoseconds>(now.time_since_epoch());
  std::uint64_t state = 0;
  Taken taken;
  taken.verdict = take_at(place_of(hash_of(key), at), rule_, at, known, state);
  taken.debt = static_cast<std::uint32_t>(std::min<std::uint64_t>(rate_debt(rule_, at, state), UINT32_MAX));
  return taken;
}

RateVerdict RateTable::take_share(std::uint64_t key, TimePoint now, const RateRule& share) {
  const auto at = std::chrono::duration_cast<Nanoseconds>(now.time_since_epoch());
  std::uint64_t state = 0;
  return take_at(place_of(hash_of(key), at), share, at, 0, state);
}

std::uint32_t RateTable::debt(std::uint64_t key, TimePoint now) const {
  const auto at = std::chrono::duration_cast<Nanoseconds>(now.time_since_epoch());
  const std::uint64_t hash = hash_of(key);
  for (const Slot& slot : (*sets_)[hash % sets_->size()].slots) {
    if (slot.tag.load(std::memory_order_relaxed) != (hash | 1)) continue;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(rate_debt(rule_, at, slot.state.load(std::memory_order_relaxed)), UINT32_MAX));
  }
  return 0;
}

}  // namespace proxy
