#include "agent/halt_keeper.h"

#include <algorithm>

#include "store/kv/sha256.h"
#include "store/kv/wire.h"

namespace agent {
namespace {

namespace kv = store::kv;

constexpr std::uint8_t kDigest = 0, kSet = 1;
constexpr std::size_t kHeadBytes = 3, kDigestBytes = 8;
constexpr std::uint64_t kFileVersion = 1, kFileVersionWithGaps = 2;

std::string frame_of(std::uint8_t kind) {
  return {kHaltFrame, static_cast<char>(kHaltFrameVersion), static_cast<char>(kind)};
}

void put(kv::HaltSet& into, const kv::Halt& halt) {
  into.load(halt);
  into.load_seen(halt.tag.replica, std::max(into.seen(halt.tag.replica), halt.tag.number));
}

/// Halt by halt, global ones first: one for which there is no room keeps no other one out.
kv::HaltSet::Change learn_what_fits(kv::HaltSet& into, const kv::HaltSet& from) {
  kv::HaltSet::Change together;
  for (const bool global : {true, false}) {
    for (const auto& [tag, halt] : from.halts()) {
      if ((halt.scope == kv::HaltScope::kGlobal) != global) continue;
      kv::HaltSet one;
      put(one, halt);
      if (const auto change = into.learn(one); change && change->learned) together.added.push_back(tag);
    }
  }
  together.learned = !together.added.empty();
  return together;
}

std::string_view text_of(const kv::Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

}  // namespace

std::string encode(const HaltFile& file) {
  const std::string set = encode(file.set), gaps = file.set.has_gaps() ? kv::encode_gaps(file.set) : std::string();
  const auto digest = kv::sha256(set + gaps);
  kv::ArrayWriter writer(gaps.empty() ? 4 : 5);
  writer.add(gaps.empty() ? kFileVersion : kFileVersionWithGaps).add(file.replica).add(set);
  if (!gaps.empty()) writer.add(gaps);
  return writer.add(text_of(digest)).take();
}

kv::Result<HaltFile> decode_halt_file(std::string_view bytes) {
  kv::ArrayReader reader(bytes, 5);
  const std::uint64_t version = reader.number();
  if (reader.ok() && version != kFileVersion && version != kFileVersionWithGaps)
    return kv::fail(kv::Errc::kUnknownVersion, "version " + std::to_string(version) + " of the file of halts");
  HaltFile file;
  file.replica = reader.number();
  const std::string_view set = reader.bytes(kv::kHaltSetBytesMax);
  const std::string_view gaps = version == kFileVersionWithGaps ? reader.bytes(kv::kHaltGapsBytesMax) : std::string_view();
  const std::string_view digest = reader.bytes(sizeof(kv::Digest));
  if (auto done = reader.finish(); !done) return tl::unexpected<kv::Error>(done.error());
  if (file.replica == 0 || text_of(kv::sha256(std::string(set) + std::string(gaps))) != digest)
    return kv::fail(kv::Errc::kMalformed, "the file of halts is not as it was written");
  auto decoded = kv::decode_halt_set(set);
  if (!decoded) return tl::unexpected<kv::Error>(decoded.error());
  file.set = std::move(*decoded);
  if (version != kFileVersionWithGaps) return file;
  if (auto added = kv::decode_gaps(gaps, file.set); !added) return tl::unexpected<kv::Error>(added.error());
  return file;
}

kv::HaltSet set_for_lift(const kv::HaltSet& set, const std::vector<kv::HaltTag>& tags) {
  kv::HaltSet part;
  for (const auto& [tag, halt] : set.halts()) {
    const bool wanted = std::any_of(tags.begin(), tags.end(), [&tag = tag](const kv::HaltTag& one) { return one.replica == tag.replica && tag.number <= one.number; });
    if (wanted) put(part, halt);
  }
  return part;
}

kv::Result<kv::HaltTag> HaltKeeper::halt(kv::Halt halt, TimePoint now) {
  auto tag = add(std::move(halt));
  if (!tag) return tag;
  ++counters_.given;
  if (!named_here_ && !caught_up_) doubtful_.insert(*tag);
  changed(now);
  for (const store::NodeId peer : peers_) send_set(peer);
  return tag;
}

// Under a name of its own where it may be that the next number was given before; where there is no room for one, under the old name.
kv::Result<kv::HaltTag> HaltKeeper::add(kv::Halt halt) {
  if (in_doubt_ || (!named_here_ && !caught_up_)) {
    const std::uint64_t name = 1 + chance_(UINT64_MAX);
    if (auto tag = file_.set.add(name, halt); tag) {
      file_.replica = name;
      named_here_ = true;
      in_doubt_ = false;
      return tag;
    }
  }
  return file_.set.add(file_.replica, std::move(halt));
}

void HaltKeeper::learn(const kv::HaltSet& other, TimePoint now) {
  set_back_ = set_back_ || other.seen(name_at_start_) > file_.set.seen(name_at_start_);
  in_doubt_ = in_doubt_ || other.seen(file_.replica) > file_.set.seen(file_.replica);
  const auto change = file_.set.learn(other);
  const bool whole = change.has_value();
  if (!whole) ++counters_.refused;
  const kv::HaltSet::Change learned = whole ? *change : learn_what_fits(file_.set, other);
  const auto denied = [&](const auto& one) { return other.find(one.first) == nullptr && other.has_seen(one.first); };
  if (std::any_of(file_.set.halts().begin(), file_.set.halts().end(), denied)) ++counters_.unheeded;
  if (!learned.learned) return;
  for (const kv::HaltTag& tag : learned.added) output_.raised.push_back(*file_.set.find(tag));
  counters_.heard += learned.added.size();
  changed(now);
}

// The directory was set back and numbers were given twice: what the log says to be over is the halt that had the number first.
std::vector<kv::Halt> HaltKeeper::numbered_twice(const kv::HaltSet& recorded) const {
  std::vector<kv::Halt> out;
  for (const kv::HaltTag& tag : doubtful_) {
    const kv::Halt* halt = file_.set.find(tag);
    if (set_back_ && halt != nullptr && recorded.find(tag) == nullptr && recorded.has_seen(tag)) out.push_back(*halt);
  }
  return out;
}

// Ours was never in the log, so it goes on under a number that is its own. Without room for that it stands as it is: too long, and not
// too short.
void HaltKeeper::give_again(const kv::Halt& halt) {
  if (const auto tag = add(halt); tag) {
    doubtful_.erase(halt.tag);
    ++counters_.given_again;
    output_.raised.push_back(*file_.set.find(*tag));
  } else if (file_.set.halts().size() < kv::kHaltsMax) {
    file_.set.load(halt);
  }
}

void HaltKeeper::changed(TimePoint now) {
  output_.changed = true;
  if (compare_at_ == TimePoint{}) compare_at_ = now + kCompareEvery;
  look_at_record(now);
}

// Own halts at once; those of others only if nobody else does it in time.
void HaltKeeper::look_at_record(TimePoint now) {
  kv::HaltSet together = recorded_;
  const auto all = together.learn(file_.set);
  const kv::HaltSet::Change change = all ? *all : learn_what_fits(together, file_.set);
  const bool stuck = !all && !change.learned;
  if (stuck && !unrecordable_) output_.unrecordable = all.error().detail;
  unrecordable_ = stuck;
  if (!change.learned) {
    record_at_ = TimePoint::max();
    return;
  }
  const bool own = std::any_of(change.added.begin(), change.added.end(), [this](const kv::HaltTag& tag) { return tag.replica == file_.replica; });
  const auto wait = kRecordForOthers + std::chrono::milliseconds(chance_(static_cast<std::uint64_t>(kRecordForOthers.count())));
  if (own) record_at_ = now;
  else if (record_at_ == TimePoint::max()) record_at_ = now + wait;
  if (!recording_ && record_at_ <= now) output_.record = recording_ = true;
}

kv::HaltSet HaltKeeper::to_record() const {
  kv::HaltSet together = recorded_;
  if (together.learn(file_.set)) return file_.set;
  kv::HaltSet part;
  for (const kv::HaltTag& tag : learn_what_fits(together, file_.set).added) put(part, *file_.set.find(tag));
  return part;
}

void HaltKeeper::record_done(bool written, TimePoint now) {
  recording_ = false;
  if (!written && record_at_ != TimePoint::max()) record_at_ = std::max(record_at_, now + kRecordAgain);
}

void HaltKeeper::on_recorded(const kv::HaltSet& recorded, TimePoint now, bool caught_up) {
  recorded_ = recorded;
  // Of what was given before it caught up the log can have more than the file had at the start only by halts that are not ours.
  const std::uint64_t ours = caught_up_ ? file_.set.seen(name_at_start_) : seen_at_start_;
  set_back_ = set_back_ || recorded.seen(name_at_start_) > ours;
  in_doubt_ = in_doubt_ || recorded.seen(file_.replica) > file_.set.seen(file_.replica);
  caught_up_ = caught_up_ || caught_up;
  const kv::HaltSet before = file_.set;
  std::erase_if(doubtful_, [&](const kv::HaltTag& tag) { return recorded.find(tag) != nullptr || file_.set.find(tag) == nullptr; });
  const std::vector<kv::Halt> twice = numbered_twice(recorded);
  const auto change = file_.set.follow(recorded);
  if (change.left_out > 0) ++counters_.refused;
  for (const kv::HaltTag& tag : change.added) output_.raised.push_back(*file_.set.find(tag));
  for (const kv::Halt& halt : twice) give_again(halt);  // lifting has made room
  for (const kv::HaltTag& tag : change.removed) {
    if (file_.set.find(tag) != nullptr) continue;
    output_.lifted.push_back(*before.find(tag));
    ++counters_.lifted;
  }
  counters_.put_back += change.added.size();
  if (!(file_.set == before)) return changed(now);
  look_at_record(now);
}

void HaltKeeper::send_set(store::NodeId to) { output_.frames.emplace_back(to, frame_of(kSet) + encode(file_.set)); }

void HaltKeeper::send_digest(store::NodeId to) {
  std::string frame = frame_of(kDigest);
  const std::uint64_t digest = file_.set.digest();
  for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>(digest >> static_cast<unsigned>(shift) & 0xffU);
  output_.frames.emplace_back(to, std::move(frame));
}

void HaltKeeper::on_connected(store::NodeId peer) {
  if (peers_.size() >= kPeersMax) return;
  peers_.insert(peer);
  if (!file_.set.unused()) send_digest(peer);
}

void HaltKeeper::on_frame(store::NodeId from, std::string_view frame, TimePoint now) {
  const bool known = frame.size() >= kHeadBytes && is_halt_frame(frame) && frame[1] == static_cast<char>(kHaltFrameVersion);
  const auto kind = known ? static_cast<std::uint8_t>(frame[2]) : std::uint8_t{255};
  const std::string_view body = frame.substr(std::min(frame.size(), kHeadBytes));
  if (kind == kDigest && body.size() == kDigestBytes) {
    std::uint64_t digest = 0;
    for (const char byte : body) digest = digest << 8U | static_cast<std::uint8_t>(byte);
    if (digest != file_.set.digest()) send_set(from);
    return;
  }
  const auto set = kind == kSet ? kv::decode_halt_set(body) : kv::Result<kv::HaltSet>(kv::fail(kv::Errc::kMalformed));
  if (!set) {
    ++counters_.malformed;
    return;
  }
  const std::uint64_t refused = counters_.refused;
  learn(*set, now);
  if (counters_.refused != refused) return;
  kv::HaltSet theirs = *set;
  if (const auto change = theirs.learn(file_.set); change && change->learned) send_set(from);
}

void HaltKeeper::tick(TimePoint now) {
  if (!recording_ && record_at_ <= now) output_.record = recording_ = true;
  if (file_.set.unused() || now < compare_at_) return;
  compare_at_ = now + kCompareEvery;
  auto next = peers_.upper_bound(compared_);
  for (std::size_t i = 0; i < std::min(kCompareWith, peers_.size()); ++i, ++next) {
    if (next == peers_.end()) next = peers_.begin();
    compared_ = *next;
    send_digest(compared_);
  }
}

HaltKeeper::TimePoint HaltKeeper::next_deadline() const {
  const TimePoint record = recording_ ? TimePoint::max() : record_at_;
  return file_.set.unused() ? record : std::min(record, compare_at_);
}

HaltKeeper::Output HaltKeeper::take_output() { return std::exchange(output_, Output{}); }

}  // namespace agent
