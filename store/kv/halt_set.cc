#include "store/kv/halt_set.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <tuple>
#include <utility>

#include "store/kv/fields.h"
#include "store/kv/wire.h"

namespace store::kv {
namespace {

constexpr std::uint64_t kSetVersion = 1;
constexpr std::uint64_t kCancelsPass = 1, kSecondPerson = 2;
constexpr std::size_t kFieldsMax = 3 + 2 * kHaltReplicasMax + kHaltFields * kHaltsMax;

Result<void> check_text(std::string_view text, std::size_t bytes_max, const char* what) {
  if (text.size() > bytes_max) return fail(Errc::kTooLarge, std::string(what) + " is longer than " + std::to_string(bytes_max) + " bytes");
  const bool control = std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (control) return fail(Errc::kMalformed, std::string(what) + " holds a control character");
  return {};
}

}  // namespace

const char* to_string(HaltScope scope) {
  switch (scope) {
    case HaltScope::kGlobal: return "global";
    case HaltScope::kBroker: return "broker";
    case HaltScope::kAccount: return "account";
    case HaltScope::kRoute: return "route";
  }
  return "?";
}

std::string HaltTag::text() const {
  std::array<char, 17> hex{};
  std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(replica));
  return std::string(hex.data()) + "-" + std::to_string(number);
}

HaltTag parse_halt_tag(std::string_view text) {
  HaltTag tag;
  if (text.size() < 18 || text[16] != '-') return {};
  const auto replica = std::from_chars(text.data(), text.data() + 16, tag.replica, 16);
  const auto number = std::from_chars(text.data() + 17, text.data() + text.size(), tag.number);
  const bool whole = replica.ec == std::errc{} && replica.ptr == text.data() + 16 && number.ec == std::errc{} && number.ptr == text.data() + text.size();
  return whole && tag.text() == text ? tag : HaltTag{};
}

std::string scope_text(const Halt& halt) {
  return halt.scope == HaltScope::kGlobal ? "global" : std::string(to_string(halt.scope)) + ":" + halt.name;
}

Result<void> check(const Halt& halt) {
  if (halt.tag.replica == 0 || halt.tag.number == 0) return fail(Errc::kMalformed, "the halt has no tag");
  if (halt.tag.number > kHaltNumberMax) return fail(Errc::kMalformed, "the number of the halt is out of bounds");
  if (halt.name.empty() != (halt.scope == HaltScope::kGlobal))
    return fail(Errc::kMalformed, halt.name.empty() ? "the halt does not say which " + std::string(to_string(halt.scope)) : "a global halt has no name");
  if (halt.reason.empty() || halt.who.empty()) return fail(Errc::kMalformed, "a halt needs a reason and somebody who gives it");
  if (halt.time_ms > kOrderTimeMsMax) return fail(Errc::kMalformed, "the time of the halt is out of bounds");
  return check_text(halt.name, kHaltNameBytesMax, "the name of what is halted")
      .and_then([&] { return check_text(halt.reason, kHaltReasonBytesMax, "the reason"); })
      .and_then([&] { return check_text(halt.who, kHaltWhoBytesMax, "the name of who halts"); })
      .and_then([&] { return check_text(halt.node, kHaltWhoBytesMax, "the name of the agent"); });
}

Halt stricter(const Halt& a, const Halt& b) {
  const auto words = [](const Halt& halt) { return std::tie(halt.time_ms, halt.who, halt.node, halt.reason); };
  Halt both = words(b) < words(a) ? b : a;
  const bool same = a.scope == b.scope && a.name == b.name;
  both.scope = same ? a.scope : HaltScope::kGlobal;
  both.name = same ? a.name : std::string{};
  both.cancels_pass = a.cancels_pass && b.cancels_pass;
  both.second_person = a.second_person || b.second_person;
  return both;
}

const Halt* HaltSet::find(const HaltTag& tag) const {
  const auto at = halts_.find(tag);
  return at == halts_.end() ? nullptr : &at->second;
}

std::uint64_t HaltSet::seen(std::uint64_t replica) const {
  const auto at = seen_.find(replica);
  return at == seen_.end() ? 0 : at->second;
}

bool HaltSet::has_seen(const HaltTag& tag) const { return tag.number <= seen(tag.replica) && gap_of(tag) == gaps_.end(); }

std::map<HaltTag, std::uint64_t>::const_iterator HaltSet::gap_of(const HaltTag& tag) const {
  auto gap = gaps_.upper_bound(tag);
  if (gap == gaps_.begin()) return gaps_.end();
  --gap;
  return gap->first.replica == tag.replica && tag.number <= gap->second ? gap : gaps_.end();
}

std::vector<HaltSet::Span> HaltSet::gaps(std::uint64_t replica) const {
  std::vector<Span> out;
  for (auto gap = gaps_.lower_bound({replica, 0}); gap != gaps_.end() && gap->first.replica == replica; ++gap) out.emplace_back(gap->first.number, gap->second);
  return out;
}

// What was never shown of 1..last.
std::vector<HaltSet::Span> HaltSet::missing(std::uint64_t replica, std::uint64_t last) const {
  std::vector<Span> out = gaps(replica);
  if (const std::uint64_t here = seen(replica); here < last) out.emplace_back(here + 1, last);
  return out;
}

void HaltSet::see(const HaltTag& tag) {
  std::uint64_t& last = seen_[tag.replica];
  if (tag.number > last) {
    if (tag.number > last + 1) gaps_.emplace(HaltTag{tag.replica, last + 1}, tag.number - 1);
    last = tag.number;
    return;
  }
  const auto gap = gap_of(tag);
  if (gap == gaps_.end()) return;
  const auto [first, end] = *gap;
  gaps_.erase(gap);
  if (first.number < tag.number) gaps_.emplace(first, tag.number - 1);
  if (tag.number < end) gaps_.emplace(HaltTag{tag.replica, tag.number + 1}, end);
}

std::uint64_t HaltSet::digest() const {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a, then mixed: neighbours among small sets fall far apart
  ArrayWriter writer(kHaltFields * halts_.size());
  for (const auto& [tag, halt] : halts_) store::kv::add(writer, halt);
  for (const char byte : writer.take()) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3ULL;
  hash = (hash ^ hash >> 33U) * 0xff51afd7ed558ccdULL;
  return hash ^ hash >> 33U;
}

Result<HaltTag> HaltSet::add(std::uint64_t replica, Halt halt) {
  if (seen(replica) >= kHaltNumberMax) return fail(Errc::kTooLarge, "the numbers of this replica are used up; it needs a new name");
  halt.tag = {replica, seen(replica) + 1};
  if (auto sound = check(halt); !sound) return tl::unexpected<Error>(sound.error());
  const auto own = static_cast<std::size_t>(std::count_if(halts_.begin(), halts_.end(), [&](const auto& one) { return one.first.replica == replica; }));
  const std::size_t room = halt.scope == HaltScope::kGlobal ? kHaltsOfReplicaMax : kHaltsOfReplicaMax - 1;
  if (own >= room) return fail(Errc::kTooLarge, std::to_string(own) + " halts of this agent stand already; resume some, or halt everything");
  if (halts_.size() >= kHaltsMax) return fail(Errc::kTooLarge, std::to_string(kHaltsMax) + " halts stand already; resume some");
  if (!seen_.contains(replica) && seen_.size() >= kHaltReplicasMax)
    return fail(Errc::kTooLarge, "halts of " + std::to_string(kHaltReplicasMax) + " agents are remembered already");
  seen_[replica] = halt.tag.number;
  const HaltTag tag = halt.tag;
  halts_.emplace(tag, std::move(halt));
  return tag;
}

HaltSet::Change HaltSet::take_halts(const HaltSet& other) {
  Change change;
  for (const auto& [tag, halt] : other.halts_) {
    const auto present = halts_.find(tag);
    if (present != halts_.end()) {
      // One tag stands for one halt. Two agents that began with copies of one directory tell two: none of them may get weaker.
      Halt both = stricter(present->second, halt);
      if (both == present->second) continue;
      present->second = std::move(both);
    } else {
      if (has_seen(tag)) continue;  // lifted
      halts_.emplace(tag, halt);
      see(tag);
    }
    change.added.push_back(tag);
  }
  change.learned = !change.added.empty();
  return change;
}

Result<void> HaltSet::within_bounds() const {
  if (halts_.size() <= kHaltsMax && seen_.size() <= kHaltReplicasMax && gaps_.size() <= kHaltGapsMax) return {};
  return fail(Errc::kTooLarge, "together more than " + std::to_string(kHaltsMax) + " halts, of more than " + std::to_string(kHaltReplicasMax) +
                                   " agents, or with more than " + std::to_string(kHaltGapsMax) + " gaps between their numbers");
}

Result<HaltSet::Change> HaltSet::learn(const HaltSet& other) {
  HaltSet merged = *this;
  Change change = merged.take_halts(other);
  if (auto fits = merged.within_bounds(); !fits) return tl::unexpected<Error>(fits.error());
  if (change.learned) *this = std::move(merged);
  return change;
}

bool HaltSet::has_room(std::uint64_t replica) const {
  return halts_.size() < kHaltsMax && gaps_.size() < kHaltGapsMax && (seen_.contains(replica) || seen_.size() < kHaltReplicasMax);
}

// Seen is what either has seen, so a gap remains where both have one. @return false: there is no room, all is as it was
bool HaltSet::follow_numbers(std::uint64_t replica, const HaltSet& log) {
  const std::uint64_t last = std::max(seen(replica), log.seen(replica));
  const std::vector<Span> here = missing(replica, last), there = log.missing(replica, last);
  std::vector<Span> both;
  for (auto a = here.begin(), b = there.begin(); a != here.end() && b != there.end();) {
    const Span common{std::max(a->first, b->first), std::min(a->second, b->second)};
    if (common.first <= common.second) both.push_back(common);
    a->second < b->second ? ++a : ++b;
  }
  if (gaps_.size() + both.size() > kHaltGapsMax + gaps(replica).size() || (!seen_.contains(replica) && seen_.size() >= kHaltReplicasMax)) return false;
  gaps_.erase(gaps_.lower_bound({replica, 0}), gaps_.upper_bound({replica, UINT64_MAX}));
  for (const Span& gap : both) load_gap(replica, gap);
  seen_[replica] = last;
  return true;
}

HaltSet::Change HaltSet::follow(const HaltSet& log) {
  Change change;
  const auto seen_before = seen_;
  const auto gaps_before = gaps_;
  for (auto at = halts_.begin(); at != halts_.end();) {
    if (log.find(at->first) != nullptr || !log.has_seen(at->first)) {
      ++at;
      continue;
    }
    change.removed.push_back(at->first);
    at = halts_.erase(at);
  }
  for (const auto& [replica, number] : log.seen_) change.left_out += follow_numbers(replica, log) ? 0 : 1;
  for (const auto& [tag, halt] : log.halts_) {
    const auto present = halts_.find(tag);
    if (present == halts_.end() && !has_room(tag.replica)) {
      ++change.left_out;
      continue;
    }
    Halt both = present == halts_.end() ? halt : stricter(present->second, halt);
    if (present != halts_.end() && both == present->second) continue;
    see(tag);
    halts_.insert_or_assign(tag, std::move(both));
    change.added.push_back(tag);
  }
  change.learned = !change.added.empty() || !change.removed.empty() || seen_ != seen_before || gaps_ != gaps_before;
  return change;
}

bool HaltSet::lift(const HaltTag& tag) { return halts_.erase(tag) > 0; }

bool HaltSet::gaps_sound() const {
  HaltTag last{};
  for (const auto& [first, end] : gaps_) {
    const bool apart = first.replica != last.replica || first.number > last.number + 1;
    if (first.number == 0 || end < first.number || end >= seen(first.replica) || !apart) return false;
    last = {first.replica, end};
  }
  return true;
}

bool HaltSet::sound() const {
  return within_bounds() && gaps_sound() && std::all_of(seen_.begin(), seen_.end(), [](const auto& one) { return one.second <= kHaltNumberMax; }) &&
         std::all_of(halts_.begin(), halts_.end(), [this](const auto& one) { return one.first == one.second.tag && has_seen(one.first); });
}

void add(ArrayWriter& writer, const Halt& halt) {
  const std::uint64_t flags = (halt.cancels_pass ? kCancelsPass : 0) | (halt.second_person ? kSecondPerson : 0);
  writer.add(halt.tag.replica).add(halt.tag.number).add(static_cast<std::uint64_t>(halt.scope)).add(halt.name).add(halt.reason);
  writer.add(halt.who).add(halt.node).add(halt.time_ms).add(flags);
}

Halt take_halt(ArrayReader& reader) {
  Halt halt;
  halt.tag.replica = reader.number();
  halt.tag.number = reader.number();
  halt.scope = take_enum(reader, kHaltScopeLast, "scope of a halt");
  halt.name = take_text(reader, kHaltNameBytesMax);
  halt.reason = take_text(reader, kHaltReasonBytesMax);
  halt.who = take_text(reader, kHaltWhoBytesMax);
  halt.node = take_text(reader, kHaltWhoBytesMax);
  halt.time_ms = reader.number();
  const std::uint64_t flags = reader.number();
  halt.cancels_pass = (flags & kCancelsPass) != 0;
  halt.second_person = (flags & kSecondPerson) != 0;
  if (reader.ok() && flags > (kCancelsPass | kSecondPerson)) reader.reject(Errc::kUnknownKind, "flags of a halt");
  if (!reader.ok()) return halt;
  if (const auto sound = check(halt); !sound) reader.reject(sound.error().code, sound.error().detail);
  return halt;
}

std::string encode(const HaltSet& set) {
  ArrayWriter writer(3 + 2 * set.seen().size() + kHaltFields * set.halts().size());
  writer.add(kSetVersion).add(set.seen().size());
  for (const auto& [replica, number] : set.seen()) writer.add(replica).add(number);
  writer.add(set.halts().size());
  for (const auto& [tag, halt] : set.halts()) add(writer, halt);
  return writer.take();
}

Result<HaltSet> decode_halt_set(std::string_view bytes) {
  if (bytes.size() > kHaltSetBytesMax) return fail(Errc::kTooLarge, "the halts take more than 512 KiB");
  ArrayReader reader(bytes, kFieldsMax);
  if (const std::uint64_t version = reader.number(); reader.ok() && version != kSetVersion)
    return fail(Errc::kUnknownVersion, "version " + std::to_string(version) + " of halts");
  HaltSet set;
  for (std::uint64_t left = reader.number(); left > 0 && reader.ok(); --left) {
    const std::uint64_t replica = reader.number(), number = reader.number();
    const std::uint64_t last = set.seen().empty() ? 0 : set.seen().rbegin()->first;
    if (replica <= last || number == 0) reader.reject(Errc::kMalformed, "replicas out of order, or without a number");
    else if (number > kHaltNumberMax) reader.reject(Errc::kMalformed, "a number of halts that is out of bounds");
    else set.load_seen(replica, number);
  }
  for (std::uint64_t left = reader.number(); left > 0 && reader.ok(); --left) {
    Halt halt = take_halt(reader);
    if (!set.halts().empty() && halt.tag <= set.halts().rbegin()->first) reader.reject(Errc::kMalformed, "halts out of order");
    set.load(std::move(halt));
  }
  if (auto done = reader.finish(); !done) return tl::unexpected<Error>(done.error());
  if (!set.sound()) return fail(Errc::kMalformed, "a halt whose number was never seen, or too many");
  return set;
}

std::string encode_gaps(const HaltSet& set) {
  std::vector<std::pair<std::uint64_t, HaltSet::Span>> all;
  for (const auto& [replica, number] : set.seen()) {
    for (const HaltSet::Span& gap : set.gaps(replica)) all.emplace_back(replica, gap);
  }
  ArrayWriter writer(1 + 3 * all.size());
  writer.add(all.size());
  for (const auto& [replica, gap] : all) writer.add(replica).add(gap.first).add(gap.second);
  return writer.take();
}

Result<void> decode_gaps(std::string_view bytes, HaltSet& set) {
  ArrayReader reader(bytes, 1 + 3 * kHaltGapsMax);
  HaltTag last{};
  for (std::uint64_t left = reader.number(); left > 0 && reader.ok(); --left) {
    const HaltTag first{reader.number(), reader.number()};
    if (first <= last) reader.reject(Errc::kMalformed, "gaps out of order");
    last = first;
    set.load_gap(first.replica, {first.number, reader.number()});
  }
  if (auto done = reader.finish(); !done) return done;
  if (!set.sound()) return fail(Errc::kMalformed, "a gap where a halt stands, or beyond the numbers that were seen");
  return {};
}

}  // namespace store::kv
