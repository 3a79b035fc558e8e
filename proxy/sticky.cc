#include "proxy/sticky.h"

#include <algorithm>
#include <bit>

#include "proxy/http1/message.h"

namespace proxy {
namespace {

using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

// What a value holds: flags in bits 0..3, zone in 4..13, node in 14..25, last use in milliseconds in 26..63 (eight years).
constexpr std::uint64_t kBusy = 1, kPinned = 2, kWanted = 4;

std::uint64_t ms_of(TimePoint at) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(1, std::chrono::duration_cast<Milliseconds>(at.time_since_epoch()).count()));
}

struct Fields {
  std::uint64_t flags, zone, node, ms;
  static Fields of(std::uint64_t value) { return {value & 15, (value >> 4) & 1023, (value >> 14) & 4095, value >> 26}; }
  [[nodiscard]] std::uint64_t packed() const { return flags | zone << 4 | node << 14 | ms << 26; }
};

StickyPlace place_of(std::uint64_t key, std::uint64_t value) {
  const Fields f = Fields::of(value);
  return {SessionHash{key}, ZoneNumber{static_cast<std::uint16_t>(f.zone)}, NodeNumber{static_cast<std::uint16_t>(f.node)},
          TimePoint(Milliseconds(static_cast<std::int64_t>(f.ms))), (f.flags & kPinned) != 0, (f.flags & kWanted) != 0};
}

std::uint64_t number(SessionHash session) { return static_cast<std::uint64_t>(session); }

}  // namespace

SessionHash session_hash(std::string_view zone, std::string_view value) {
  const std::uint64_t seed = keyed_hash(0x6f75747269676765ULL, 0x737469636b792d7aULL, zone);
  return SessionHash{std::max<std::uint64_t>(1, keyed_hash(seed, 0x73657373696f6e73ULL, value))};
}

std::string_view session_address(std::string_view address, std::string& scratch) {
  const auto ip = parse_ip(address);
  if (!ip || ip->is_v4) return address;
  static constexpr char kDigits[] = "0123456789abcdef";
  scratch.clear();
  for (std::size_t i = 0; i < 8; ++i) {
    if (i > 0 && i % 2 == 0) scratch += ':';
    scratch += kDigits[ip->bytes[i] >> 4U];
    scratch += kDigits[ip->bytes[i] & 15U];
  }
  scratch += "::/64";
  return scratch;
}

bool is_session_id(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::optional<std::string_view> cookie_set(std::string_view line, std::string_view name) {
  const std::string_view pair = line.substr(0, line.find(';'));
  const std::size_t equals = pair.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  const auto trimmed = [](std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::string_view() : text.substr(first, text.find_last_not_of(" \t") - first + 1);
  };
  if (trimmed(pair.substr(0, equals)) != name) return std::nullopt;
  const std::string_view value = trimmed(pair.substr(equals + 1));
  // An application ends a session by an empty value or by a lifetime of nothing.
  std::size_t at = pair.size();
  while (at < line.size()) {
    const std::size_t end = std::min(line.find(';', at + 1), line.size());
    const std::string_view attribute = trimmed(line.substr(at + 1, end - at - 1));
    if (attribute.size() > 8 && http1::same_text(attribute.substr(0, 8), "max-age=") && (attribute[8] == '0' || attribute[8] == '-')) return std::nullopt;
    at = end;
  }
  return value.empty() ? std::nullopt : std::optional(value);
}

StickyTable::StickyTable(std::function<void()> on_news)
    : on_news_(std::move(on_news)), sets_(std::make_unique<std::array<Set, kSets>>()), node_names_{""} {}

// ---- any thread ----

StickyTable::Found StickyTable::find(std::uint64_t key) const {
  for (Slot& slot : (*sets_)[key % kSets].slots) {
    if (slot.key.load(memory_order_acquire) != key) continue;
    const std::uint64_t value = slot.value.load(memory_order_acquire);
    if (value == 0 || (value & kBusy) != 0 || slot.key.load(memory_order_relaxed) != key) continue;
    return {&slot, value};
  }
  return {};
}

// A pinned session lives as long as its row: others may use it elsewhere.
bool StickyTable::is_over(std::uint64_t value, TimePoint now) const {
  const Fields f = Fields::of(value);
  if ((f.flags & kPinned) != 0) return false;
  return static_cast<std::int64_t>(ms_of(now)) - static_cast<std::int64_t>(f.ms) > ttl_ms_[f.zone].load(memory_order_relaxed);
}

NodeNumber StickyTable::node_of(SessionHash session, TimePoint now) const {
  const Found found = find(number(session));
  if (found.slot == nullptr || is_over(found.value, now)) return NodeNumber::kNone;
  return place_of(0, found.value).node;
}

NodeNumber StickyTable::use(SessionHash session, TimePoint now) {
  const Found found = find(number(session));
  if (found.slot == nullptr || is_over(found.value, now)) return NodeNumber::kNone;
  Fields next = Fields::of(found.value);
  const std::uint64_t ms = ms_of(now);
  const bool again = (next.flags & (kPinned | kWanted)) == 0;
  // Not more often than anybody will look: a line that is only read stays in every worker's cache.
  const auto grain = static_cast<std::uint64_t>(ttl_ms_[next.zone].load(memory_order_relaxed)) / 64;
  if (!again && ms < next.ms + grain) return place_of(0, found.value).node;
  next.ms = std::max(next.ms, ms);
  if (again) next.flags |= kWanted;
  std::uint64_t seen = found.value;
  // Lost: somebody else has just noted something newer.
  if (found.slot->value.compare_exchange_strong(seen, next.packed(), memory_order_release, memory_order_relaxed) && again) tell(number(session));
  return place_of(0, found.value).node;
}

void StickyTable::put(SessionHash session, ZoneNumber zone, NodeNumber node, TimePoint now, Why why) {
  if (node == NodeNumber::kNone) return;
  const std::uint64_t key = number(session);
  Fields next{why == Why::kNew ? 0 : kWanted, static_cast<std::uint64_t>(zone), static_cast<std::uint64_t>(node), ms_of(now)};
  if (why == Why::kMoved) moved_.fetch_add(1, memory_order_relaxed);
  const Found found = find(key);
  if (found.slot == nullptr) {
    insert(key, next.packed(), now);
  } else {
    const Fields old = Fields::of(found.value);
    if (old.node == next.node && (old.flags & (kPinned | kWanted)) != 0) return;
    std::uint64_t seen = found.value;
    if (!found.slot->value.compare_exchange_strong(seen, next.packed(), memory_order_release, memory_order_relaxed)) return;
  }
  if (next.flags != 0) tell(key);
}

// The lower, the sooner it makes room: free, over, then the one not used for longest; pinned ones behind all others.
std::uint64_t StickyTable::rank_of(std::uint64_t value, TimePoint now) const {
  if (value == 0) return 0;
  if (is_over(value, now)) return 1;
  const Fields f = Fields::of(value);
  return 2 + f.ms + ((f.flags & kPinned) != 0 ? std::uint64_t{1} << 40 : 0);
}

void StickyTable::insert(std::uint64_t key, std::uint64_t value, TimePoint now) {
  // Another worker may take the same place at the same moment: then look again. Lost four times in a row, the session stays
  // unknown until its next request, which is sent to the same node.
  for (int attempt = 0; attempt < 4; ++attempt) {
    Slot* victim = nullptr;
    std::uint64_t least = UINT64_MAX, seen = 0;
    for (Slot& slot : (*sets_)[key % kSets].slots) {
      const std::uint64_t held = slot.value.load(memory_order_acquire);
      if ((held & kBusy) != 0) continue;
      const std::uint64_t rank = rank_of(held, now);
      if (rank >= least) continue;
      victim = &slot;
      least = rank;
      seen = held;
    }
    if (victim == nullptr || !victim->value.compare_exchange_strong(seen, kBusy, memory_order_acq_rel, memory_order_relaxed)) continue;
    victim->key.store(key, memory_order_release);
    victim->value.store(value, memory_order_release);
    if (least == 0) entries_.fetch_add(1, memory_order_relaxed);
    if (least > 1) evicted_.fetch_add(1, memory_order_relaxed);
    if (const Found first = find(key); first.slot != nullptr) drop_twins(key, first.slot);
    return;
  }
}

// Two workers that met the session at the same moment have both put it down; the first in order is the one that is found.
void StickyTable::drop_twins(std::uint64_t key, const Slot* kept) {
  for (Slot& slot : (*sets_)[key % kSets].slots) {
    if (&slot == kept || slot.key.load(memory_order_acquire) != key) continue;
    std::uint64_t value = slot.value.load(memory_order_acquire);
    if (value == 0 || (value & kBusy) != 0 || slot.key.load(memory_order_relaxed) != key) continue;
    if (slot.value.compare_exchange_strong(value, 0, memory_order_acq_rel, memory_order_relaxed)) entries_.fetch_sub(1, memory_order_relaxed);
  }
}

void StickyTable::tell(std::uint64_t key) {
  const std::size_t set = key % kSets;
  // In one order with take_news(): either it sees the bit, or we see that it has begun.
  news_[set / 64].fetch_or(std::uint64_t{1} << (set % 64));
  if (!told_.load() && !told_.exchange(true) && on_news_) on_news_();
}

// ---- the control loop ----

std::optional<ZoneNumber> StickyTable::zone(const std::string& name, Milliseconds ttl) {
  auto known = zones_.find(name);
  if (known == zones_.end()) {
    if (zone_names_.size() == kZonesMax) return std::nullopt;
    known = zones_.emplace(name, ZoneNumber{static_cast<std::uint16_t>(zone_names_.size())}).first;
    zone_names_.push_back(name);
  }
  ttl_ms_[static_cast<std::size_t>(known->second)].store(ttl.count(), memory_order_relaxed);
  return known->second;
}

Milliseconds StickyTable::ttl(ZoneNumber zone) const { return Milliseconds(ttl_ms_[static_cast<std::size_t>(zone)].load(memory_order_relaxed)); }

std::optional<ZoneNumber> StickyTable::find_zone(const std::string& name) const {
  const auto known = zones_.find(name);
  return known == zones_.end() ? std::nullopt : std::optional(known->second);
}

Milliseconds StickyTable::least_ttl() const {
  Milliseconds least{0};
  for (const auto& [name, number] : zones_) least = least.count() == 0 ? ttl(number) : std::min(least, ttl(number));
  return least;
}

NodeNumber StickyTable::number_of(const std::string& node) {
  const auto known = nodes_.find(node);
  if (known != nodes_.end()) return known->second;
  if (node_names_.size() > kNodesMax) return NodeNumber::kNone;
  const NodeNumber number{static_cast<std::uint16_t>(node_names_.size())};
  node_names_.push_back(node);
  nodes_.emplace(node, number);
  return number;
}

void StickyTable::take_news(const Visit& visit) {
  told_.store(false);
  for (std::size_t word = 0; word < news_.size(); ++word) {
    if (news_[word].load() == 0) continue;
    for (std::uint64_t bits = news_[word].exchange(0); bits != 0; bits &= bits - 1) {
      for (Slot& slot : (*sets_)[word * 64 + static_cast<std::size_t>(std::countr_zero(bits))].slots) {
        const std::uint64_t key = slot.key.load(memory_order_acquire), value = slot.value.load(memory_order_acquire);
        const bool wanted = (value & (kWanted | kBusy)) == kWanted && slot.key.load(memory_order_relaxed) == key;
        if (wanted) visit(place_of(key, value));
      }
    }
  }
}

void StickyTable::sweep(std::size_t first, std::size_t count, TimePoint now, const Visit& visit) {
  for (std::size_t i = 0; i < count; ++i) {
    for (Slot& slot : (*sets_)[(first + i) % kSets].slots) {
      const std::uint64_t key = slot.key.load(memory_order_acquire);
      std::uint64_t value = slot.value.load(memory_order_acquire);
      if (value == 0 || (value & kBusy) != 0 || slot.key.load(memory_order_relaxed) != key) continue;
      if (!is_over(value, now)) {
        visit(place_of(key, value));
      } else if (slot.value.compare_exchange_strong(value, 0, memory_order_acq_rel, memory_order_relaxed)) {
        entries_.fetch_sub(1, memory_order_relaxed);
      }
    }
  }
}

std::optional<StickyPlace> StickyTable::look(SessionHash session) const {
  const Found found = find(number(session));
  return found.slot == nullptr ? std::nullopt : std::optional(place_of(number(session), found.value));
}

void StickyTable::pin(SessionHash session, ZoneNumber zone, NodeNumber node, TimePoint now) {
  const std::uint64_t key = number(session);
  const std::uint64_t value = Fields{kPinned, static_cast<std::uint64_t>(zone), static_cast<std::uint64_t>(node), ms_of(now)}.packed();
  for (;;) {
    const Found found = find(key);
    if (found.slot == nullptr) break;
    std::uint64_t seen = found.value;
    // Workers note uses all the time; each round of this loop means that one has.
    if (!found.slot->value.compare_exchange_strong(seen, value, memory_order_release, memory_order_relaxed)) continue;
    drop_twins(key, found.slot);
    return;
  }
  insert(key, value, now);
}

void StickyTable::forget(SessionHash session) {
  drop_twins(number(session), nullptr);
}

}  // namespace proxy
