#include "agent/sticky_keeper.h"

#include <algorithm>
#include <charconv>

#include "proxy/rate_limit.h"

namespace agent {
namespace {

using proxy::SessionHash;
using std::chrono::milliseconds;

constexpr milliseconds kTtlUnknown{3'600'000};  // of a row that a person wrote, in a zone without routes here
constexpr std::size_t kExpireSlice = 2048;      // rows looked at per tick by who leads

std::uint64_t flags_of(milliseconds ttl, std::uint64_t count) {
  return static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::seconds>(ttl).count()) << 32U | (count & 0xffffffffU);
}

bool admits(std::uint32_t per_second, std::uint64_t& debt, StickyKeeper::TimePoint now) {
  const proxy::RateRule rule{per_second, milliseconds{1000}, per_second, true};
  return proxy::apply_rate(rule, std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()), debt).admitted;
}

}  // namespace

std::string StickyKey::text() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(kStickyPrefix);
  out += zone;
  out += '/';
  for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[(static_cast<std::uint64_t>(session) >> static_cast<unsigned>(shift)) & 15U];
  return out;
}

std::optional<StickyKey> StickyKey::parse(std::string_view key) {
  if (!key.starts_with(kStickyPrefix)) return std::nullopt;
  const std::string_view rest = key.substr(kStickyPrefix.size());
  const std::size_t slash = rest.rfind('/');
  if (slash == 0 || slash == std::string_view::npos) return std::nullopt;
  const std::string_view digits = rest.substr(slash + 1);
  std::uint64_t hash = 0;
  const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), hash, 16);
  if (code != std::errc{} || stop != digits.data() + digits.size() || hash == 0) return std::nullopt;
  StickyKey parsed{std::string(rest.substr(0, slash)), SessionHash{hash}};
  // Written in any other way it would be a second row of the same session.
  if (parsed.text() != key) return std::nullopt;
  return parsed;
}

milliseconds StickyKeeper::Row::ttl() const {
  const std::uint64_t seconds = flags >> 32U;
  return seconds == 0 ? kTtlUnknown : milliseconds(static_cast<std::int64_t>(seconds) * 1000);
}

void StickyKeeper::set_table(std::shared_ptr<proxy::StickyTable> table, TimePoint now) {
  table_ = std::move(table);
  next_ = now;
  if (table_ == nullptr) return;
  for (const auto& [session, row] : rows_) pin(session, row, now);
}

void StickyKeeper::pin(SessionHash session, const Row& row, TimePoint now) {
  if (table_ == nullptr) return;
  const auto zone = table_->find_zone(row.zone);
  if (!zone) return;  // no route of ours
  const proxy::NodeNumber node = table_->number_of(row.node);
  if (node != proxy::NodeNumber::kNone) table_->pin(session, *zone, node, now);
}

void StickyKeeper::row_set(const StickyKey& key, const std::string& node, std::uint64_t flags, std::uint64_t index, TimePoint now) {
  Row& row = rows_[key.session];
  const bool refreshed = row.node == node && row.zone == key.zone;
  row = Row{key.zone, node, flags, index, now};
  next_ = std::min(next_, now + kSweepEvery);
  if (table_ == nullptr) return;
  // Somebody who has not heard of our move has only refreshed what was: the move goes on.
  const auto place = table_->look(key.session);
  if (refreshed && place && place->wanted && table_->node_name(place->node) != node) return want(key.session);
  pin(key.session, row, now);
}

void StickyKeeper::row_gone(SessionHash session) {
  if (rows_.erase(session) == 0) return;
  if (table_ != nullptr) table_->forget(session);
}

void StickyKeeper::keep_only(const std::set<SessionHash>& kept) {
  std::vector<SessionHash> gone;
  for (const auto& [session, row] : rows_) {
    if (!kept.contains(session)) gone.push_back(session);
  }
  for (const SessionHash session : gone) row_gone(session);
}

void StickyKeeper::want(SessionHash session) {
  if (queued_.contains(session)) return;
  Queue& queue = rows_.contains(session) ? changes_ : new_;
  if (queue.waiting.size() >= kQueueMax) {
    ++counters_.hash_only;  // the sweep comes by again
    return;
  }
  queued_.insert(session);
  queue.waiting.push_back(session);
}

// ---- time ----

void StickyKeeper::tick(bool leading, TimePoint now) {
  if (table_ != nullptr) table_->take_news([this](const proxy::StickyPlace& place) { want(place.session); });
  if (now >= sweep_due_) {
    sweep_due_ = now + kSweepEvery;
    sweep(now);
    if (leading) expire(now);
  }
  drain(changes_, now);
  drain(new_, now);
  next_ = TimePoint::max();
  if (table_ != nullptr || !rows_.empty()) next_ = sweep_due_;
  const bool waiting = !changes_.waiting.empty() || !new_.waiting.empty();
  if (waiting && under_way_.size() < kBatchesMax) next_ = std::min(next_, std::max(now + kDrainQueueEvery, retry_due_));
}

// A piece of the table, so that all of it is seen several times while a session lives.
void StickyKeeper::sweep(TimePoint now) {
  if (table_ == nullptr) return;
  const milliseconds ttl = table_->least_ttl();
  if (ttl == milliseconds::zero()) return;
  const milliseconds round = std::clamp(ttl / 8, milliseconds(kSweepEvery), milliseconds(60'000));
  const auto parts = static_cast<std::size_t>(round / kSweepEvery);
  const std::size_t count = (proxy::StickyTable::kSets + parts - 1) / parts;
  table_->sweep(sweep_at_, count, now, [this](const proxy::StickyPlace& place) { look_at(place); });
  sweep_at_ = (sweep_at_ + count) % proxy::StickyTable::kSets;
}

void StickyKeeper::look_at(const proxy::StickyPlace& place) {
  if (place.wanted) return want(place.session);
  const auto row = rows_.find(place.session);
  if (!place.pinned || row == rows_.end()) return;
  if (place.last_use - row->second.changed > table_->ttl(place.zone) / 4) want(place.session);
}

// By who leads: what nobody has refreshed for too long. One that is refreshed meanwhile has another index and stays.
void StickyKeeper::expire(TimePoint now) {
  auto at = expire_at_ ? rows_.lower_bound(*expire_at_) : rows_.begin();
  Batch batch;
  UnderWay rows;
  for (std::size_t seen = 0; seen < kExpireSlice && at != rows_.end() && batch.ops.size() < kBatchMax; ++seen, ++at) {
    const auto& [session, row] = *at;
    const milliseconds ttl = row.ttl();
    if (now - row.changed < ttl + ttl / 4 + std::min(ttl, milliseconds(kExpiryMargin))) continue;
    if (queued_.contains(session)) continue;
    store::kv::TxnOp op;
    op.verb = store::kv::TxnVerb::kDeleteCas;
    op.key = StickyKey{row.zone, session}.text();
    op.index = store::kv::Index{row.index};
    batch.ops.push_back(std::move(op));
    rows.rows.emplace_back(session, row.index);
  }
  expire_at_ = at == rows_.end() ? std::nullopt : std::optional(at->first);
  if (batch.ops.empty() || now < retry_due_ || under_way_.size() >= kBatchesMax) return;
  counters_.expired += batch.ops.size();
  for (const auto& [session, index] : rows.rows) queued_.insert(session);
  send(std::move(batch), std::move(rows));
}

// ---- writes ----

// As many as the rate of this queue and the batches under way let through.
void StickyKeeper::drain(Queue& queue, TimePoint now) {
  if (table_ == nullptr || now < retry_due_) return;
  bool more = true;
  while (more && !queue.waiting.empty() && under_way_.size() < kBatchesMax) {
    Batch batch;
    UnderWay rows;
    while (!queue.waiting.empty() && batch.ops.size() < kBatchMax) {
      const SessionHash session = queue.waiting.front();
      auto step = step_for(session, now);
      more = !step || admits(queue.per_second, queue.debt, now);
      if (!more) break;
      queue.waiting.pop_front();
      if (!step) {
        queued_.erase(session);
        continue;
      }
      rows.rows.emplace_back(session, store::kv::value(step->index));
      if (store::kv::value(step->index) == 0) ++rows.fresh, ++fresh_;
      batch.ops.push_back(std::move(*step));
    }
    if (!batch.ops.empty()) send(std::move(batch), std::move(rows));
  }
}

// What to write about a session; nothing when there is nothing to write any more.
std::optional<store::kv::TxnOp> StickyKeeper::step_for(SessionHash session, TimePoint now) {
  const auto place = table_->look(session);
  if (!place) return std::nullopt;
  const auto row = rows_.find(session);
  const bool exists = row != rows_.end();
  const std::string& node = table_->node_name(place->node);
  const milliseconds ttl = table_->ttl(place->zone);
  if (!place->wanted) {
    const bool due = exists && place->pinned && place->last_use - row->second.changed > ttl / 4;
    if (!due) return std::nullopt;
  } else if (exists && row->second.node == node && row->second.zone == table_->zone_name(place->zone)) {
    pin(session, row->second, now);
    return std::nullopt;
  }
  if (!exists && rows_.size() + fresh_ >= kRowsMax) {
    ++counters_.hash_only;
    return std::nullopt;
  }
  store::kv::TxnOp op;
  op.verb = store::kv::TxnVerb::kCas;
  op.key = StickyKey{table_->zone_name(place->zone), session}.text();
  op.value = node;
  op.flags = flags_of(ttl, exists ? row->second.flags + 1 : 0);
  op.index = store::kv::Index{exists ? row->second.index : 0};
  return op;
}

void StickyKeeper::send(Batch batch, UnderWay under_way) {
  batch.number = ++batch_count_;
  under_way_.emplace(batch.number, std::move(under_way));
  output_.push_back(std::move(batch));
}

void StickyKeeper::on_done(std::uint64_t number, bool ok, const std::vector<std::size_t>& failed, TimePoint now) {
  const auto found = under_way_.find(number);
  if (found == under_way_.end()) return;
  const UnderWay done = std::move(found->second);
  under_way_.erase(found);
  fresh_ -= done.fresh;
  for (const auto& [session, index] : done.rows) queued_.erase(session);
  next_ = std::min(next_, now + kDrainQueueEvery);
  if (ok && failed.empty()) {
    counters_.rows_written += done.rows.size();
    return;
  }
  if (!ok) retry_due_ = now + kRetryAfter;
  counters_.refused += failed.size();
  // A batch is done as a whole or not at all. The rows that were in the way of the refused ones come by row_set(), or have come.
  for (std::size_t i = 0; i < done.rows.size(); ++i) {
    const auto& [session, index] = done.rows[i];
    const auto row = rows_.find(session);
    const bool known = row != rows_.end() && row->second.index != index;
    if (std::find(failed.begin(), failed.end(), i) == failed.end() || known) want(session);
  }
}

}  // namespace agent
