#include "proxy/guard.h"

#include <algorithm>

#include "proxy/proxy_header.h"

namespace proxy {
namespace {

// state: 2 bits, failures: 14 bits, time in ms: 48 bits (the first failure, or the end of the ban).
enum class State : std::uint8_t { kCounting, kBannedHere, kBannedByPeer };
constexpr unsigned kTimeBits = 48, kCountBits = 14;
constexpr std::uint64_t kTimeMask = (1ULL << kTimeBits) - 1, kCountMask = (1ULL << kCountBits) - 1;
constexpr std::size_t kNeighbours = 16;
// IPv4 addresses stand where no network of IPv6 is: 0:1:... is not assigned, and global addresses begin at 2000::.
constexpr std::uint64_t kV4Mark = 1ULL << 32;

struct Parts {
  State state;
  std::uint64_t failures, time;
  explicit Parts(std::uint64_t word)
      : state(static_cast<State>(word >> (kTimeBits + kCountBits))), failures((word >> kTimeBits) & kCountMask), time(word & kTimeMask) {}
  [[nodiscard]] bool bans_at(std::uint64_t now_ms) const { return state != State::kCounting && now_ms < time; }
};
std::uint64_t packed(State state, std::uint64_t failures, std::uint64_t time) {
  return static_cast<std::uint64_t>(state) << (kTimeBits + kCountBits) | std::min(failures, kCountMask) << kTimeBits | (time & kTimeMask);
}
std::uint64_t ms_of(TimePoint time) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(std::chrono::duration_cast<Milliseconds>(time.time_since_epoch()).count(), 0)) & kTimeMask;
}
TimePoint time_of(std::uint64_t ms) { return TimePoint(Milliseconds(static_cast<std::int64_t>(ms))); }

/// The text of a key as an address; the second half of an IPv6 one is zeros.
IpAddress address_of(GuardKey key) {
  IpAddress out;
  const auto value = static_cast<std::uint64_t>(key);
  out.is_v4 = value >> 32U == 1;
  if (out.is_v4) {
    out.bytes[10] = out.bytes[11] = 0xff;
    for (unsigned i = 0; i < 4; ++i) out.bytes[12 + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
  } else {
    for (unsigned i = 0; i < 8; ++i) out.bytes[i] = static_cast<std::uint8_t>(value >> (56 - 8 * i));
  }
  return out;
}

}  // namespace

GuardKey guard_key(std::string_view address) {
  if (address.ends_with("::/64")) address.remove_suffix(3);
  const auto ip = parse_ip(address);
  if (!ip) return GuardKey::kNone;
  std::uint64_t key = 0;
  // As a socket of both families shows an IPv4 client.
  const bool mapped = std::all_of(ip->bytes, ip->bytes + 10, [](std::uint8_t byte) { return byte == 0; }) && ip->bytes[10] == 0xff && ip->bytes[11] == 0xff;
  if (ip->is_v4 || mapped) {
    for (unsigned i = 12; i < 16; ++i) key = key << 8U | ip->bytes[i];
    return key == 0 ? GuardKey::kNone : GuardKey{key | kV4Mark};
  }
  for (unsigned i = 0; i < 8; ++i) key = key << 8U | ip->bytes[i];
  // ::1 and its like: nobody's network, and told apart from "no address".
  if (key != 0) return GuardKey{key};
  return ip->bytes[15] == 1 ? guard_key("127.0.0.1") : GuardKey::kNone;
}

std::string text_of(GuardKey key) {
  if (key == GuardKey::kNone) return "-";
  const IpAddress address = address_of(key);
  return text_of(address) + (address.is_v4 ? "" : "/64");  // the longest run of zeros is always that at the end
}

GuardTable::GuardTable(GuardRule rule, std::uint64_t seed) : rule_(std::move(rule)), seed_(seed | 1U) {}

bool GuardTable::counts(int status) const { return std::find(rule_.statuses.begin(), rule_.statuses.end(), status) != rule_.statuses.end(); }

// Multiplication by an odd secret, the best bits from the middle: enough for a table that nobody can look into.
std::size_t GuardTable::home(GuardKey key) const {
  std::uint64_t mixed = static_cast<std::uint64_t>(key) * seed_;
  mixed ^= mixed >> 32U;
  mixed *= 0x9e3779b97f4a7c15ULL ^ seed_;
  return static_cast<std::size_t>(mixed >> 40U) % kSlots;
}

const GuardTable::Slot* GuardTable::find(GuardKey key) const {
  const std::size_t from = home(key);
  for (std::size_t i = 0; i < kNeighbours; ++i) {
    const Slot& slot = slots_[(from + i) % kSlots];
    const std::uint64_t seen = slot.key.load(std::memory_order_acquire);
    if (seen == static_cast<std::uint64_t>(key)) return &slot;
    if (seen == 0) return nullptr;  // places are taken in order and never given back
  }
  return nullptr;
}

GuardTable::Slot* GuardTable::place_of(GuardKey key, std::uint64_t now_ms) {
  const auto wanted = static_cast<std::uint64_t>(key);
  const std::size_t from = home(key);
  for (int round = 0; round < 4; ++round) {  // another worker may take the same place
    if (const Slot* found = find(key); found != nullptr) return const_cast<Slot*>(found);
    Slot* best = nullptr;
    std::uint64_t least = UINT64_MAX;
    for (std::size_t i = 0; i < kNeighbours && least > 0; ++i) {
      Slot& slot = slots_[(from + i) % kSlots];
      const std::uint64_t owner = slot.key.load(std::memory_order_acquire), word = slot.word.load(std::memory_order_acquire);
      const Parts parts(word);
      if (owner != 0 && parts.bans_at(now_ms)) continue;
      const bool stale = owner == 0 || parts.state != State::kCounting || now_ms > parts.time + static_cast<std::uint64_t>(rule_.within.count());
      const std::uint64_t worth = stale ? 0 : parts.failures + 1;
      if (worth >= least) continue;
      least = worth;
      best = &slot;
    }
    if (best == nullptr) return nullptr;
    std::uint64_t owner = best->key.load(std::memory_order_acquire), word = best->word.load(std::memory_order_acquire);
    // The count goes before its owner does, so that nobody inherits it; a ban that has come meanwhile keeps its place.
    if (Parts(word).bans_at(now_ms) || !best->word.compare_exchange_strong(word, 0)) continue;
    if (best->key.compare_exchange_strong(owner, wanted)) return best;
  }
  return nullptr;
}

bool GuardTable::is_spared(GuardKey key) const {
  if (key == GuardKey::kNone) return true;
  if (rule_.never.empty()) return false;
  return rule_.never.trusts(text_of(address_of(key)));
}

void GuardTable::remember_end(std::uint64_t until_ms) {
  std::uint64_t seen = last_end_.load(std::memory_order_relaxed);
  while (seen < until_ms && !last_end_.compare_exchange_weak(seen, until_ms)) {}
}

bool GuardTable::fail(std::string_view address, TimePoint now) {
  const GuardKey key = guard_key(address);
  // A whole address may be spared where its /64 is not.
  if (is_spared(key) || rule_.never.trusts(address)) return false;
  const std::uint64_t now_ms = ms_of(now), within = static_cast<std::uint64_t>(rule_.within.count());
  Slot* slot = place_of(key, now_ms);
  if (slot == nullptr) {
    untracked_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  std::uint64_t seen = slot->word.load(std::memory_order_acquire), next = 0;
  do {
    Parts parts(seen);
    if (parts.bans_at(now_ms)) return false;
    const bool fresh = parts.state != State::kCounting || parts.failures == 0 || now_ms > parts.time + within;
    const std::uint64_t count = fresh ? 1 : parts.failures + 1;
    next = count >= rule_.fails ? packed(State::kBannedHere, 0, now_ms + static_cast<std::uint64_t>(rule_.ban.count()))
                                : packed(State::kCounting, count, fresh ? now_ms : parts.time);
    // The place may have gone to somebody else: then this failure is not held against that one.
    if (slot->key.load(std::memory_order_acquire) != static_cast<std::uint64_t>(key)) return false;
  } while (!slot->word.compare_exchange_weak(seen, next, std::memory_order_acq_rel));
  failures_.fetch_add(1, std::memory_order_relaxed);
  if (Parts(next).state == State::kCounting) return false;
  remember_end(Parts(next).time);
  banned_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool GuardTable::bans_any(TimePoint now) const { return ms_of(now) < last_end_.load(std::memory_order_relaxed); }

bool GuardTable::bans(std::string_view address, TimePoint now) const {
  const GuardKey key = guard_key(address);
  const Slot* slot = key == GuardKey::kNone ? nullptr : find(key);
  if (slot == nullptr || !Parts(slot->word.load(std::memory_order_acquire)).bans_at(ms_of(now))) return false;
  return rule_.never.empty() || !rule_.never.trusts(address);
}

GuardTable::Banned GuardTable::ban(GuardKey key, TimePoint until, By by, TimePoint now) {
  const std::uint64_t now_ms = ms_of(now), until_ms = ms_of(until);
  if (is_spared(key)) return Banned::kNever;
  if (until_ms <= now_ms) return Banned::kAlready;
  Slot* slot = place_of(key, now_ms);
  if (slot == nullptr) {
    untracked_.fetch_add(1, std::memory_order_relaxed);
    return Banned::kNoRoom;
  }
  std::uint64_t seen = slot->word.load(std::memory_order_acquire), next = 0;
  do {
    const Parts parts(seen);
    const bool own = parts.bans_at(now_ms) && parts.state == State::kBannedHere;
    if (parts.bans_at(now_ms) && parts.time >= until_ms && (own || by == By::kPeer)) return Banned::kAlready;
    next = packed(own || by == By::kHere ? State::kBannedHere : State::kBannedByPeer, 0, std::max(until_ms, parts.bans_at(now_ms) ? parts.time : 0));
    if (slot->key.load(std::memory_order_acquire) != static_cast<std::uint64_t>(key)) return Banned::kNoRoom;
  } while (!slot->word.compare_exchange_weak(seen, next, std::memory_order_acq_rel));
  remember_end(Parts(next).time);
  return Banned::kYes;
}

bool GuardTable::unban(GuardKey key, TimePoint now) {
  Slot* slot = key == GuardKey::kNone ? nullptr : const_cast<Slot*>(find(key));
  if (slot == nullptr) return false;
  const bool stood = Parts(slot->word.load(std::memory_order_acquire)).bans_at(ms_of(now));
  slot->word.store(0, std::memory_order_release);
  return stood;
}

std::vector<GuardTable::Ban> GuardTable::bans_at(TimePoint now) const {
  std::vector<Ban> out;
  if (!bans_any(now)) return out;
  for (const Slot& slot : slots_) {
    const std::uint64_t key = slot.key.load(std::memory_order_acquire);
    const Parts parts(slot.word.load(std::memory_order_acquire));
    if (key == 0 || !parts.bans_at(ms_of(now))) continue;
    out.push_back({GuardKey{key}, time_of(parts.time), parts.state == State::kBannedHere ? By::kHere : By::kPeer});
  }
  return out;
}

}  // namespace proxy
