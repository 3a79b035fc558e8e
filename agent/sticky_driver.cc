#include "agent/sticky_driver.h"

#include "agent/io/clock.h"

namespace agent {
namespace {

namespace kv = store::kv;

constexpr std::size_t kChangesPerSlice = 1024;
constexpr std::size_t kRingsMax = 4;  // one would do: whoever rings looks at all news

kv::Topic topic() { return {kv::Topic::Kind::kPrefix, std::string(kStickyPrefix)}; }

}  // namespace

StickyDriver::StickyDriver(io::Loop& loop, drivers::StoreDriver& store, store::NodeId self, io::Milliseconds write_timeout,
                           std::function<void(std::string_view what, const std::string& detail)> log)
    : store_(store),
      self_(self),
      write_timeout_(write_timeout),
      log_(std::move(log)),
      bell_(loop, kRingsMax, [this](Rung&&) { tick(); }),
      timer_(loop, [this] { tick(); }) {
  bell_.unref();
  read_all();
  watch();
  tick();
}

StickyDriver::~StickyDriver() {
  *alive_ = false;
  if (watch_) store_.unwatch(*watch_);
}

const std::shared_ptr<proxy::StickyTable>& StickyDriver::need_table() {
  if (table_ == nullptr) table_ = std::make_shared<proxy::StickyTable>([bell = bell_.sender()] { static_cast<void>(bell.send(Rung{})); });
  return table_;
}

void StickyDriver::routes_changed() {
  if (table_ == nullptr) return;
  keeper_.set_table(table_, io::boottime_now());
  tick();
}

void StickyDriver::tick() {
  const io::TimePoint now = io::boottime_now();
  keeper_.tick(store_.core().leader() == self_, now);
  for (StickyKeeper::Batch& batch : keeper_.take_output()) write(std::move(batch));
  if (keeper_.next_deadline() == io::TimePoint::max()) timer_.disarm();
  else timer_.arm(std::max(keeper_.next_deadline(), now));
  if (hash_only_told_ == 0 && keeper_.counters().hash_only > 0) {
    hash_only_told_ = keeper_.counters().hash_only;
    log_("sticky_full", "more sessions than rows may be: further ones go where their hash says and move when nodes come and go");
  }
}

// ---- rows ----

void StickyDriver::watch() {
  const auto id = store_.watch(topic(), store_.core().state().topic_index(topic()), [this] {
    watch_.reset();
    follow();
    watch();
    tick();
  });
  if (!id) return log_("sticky_unwatched", "too many waits at this agent; sessions stick by hash alone");
  watch_ = *id;
}

void StickyDriver::follow() {
  for (;;) {
    const auto slice = store_.core().state().changes_since(kStickyPrefix, seen_, kChangesPerSlice);
    if (slice.too_old) return read_all();
    for (const kv::Change& change : slice.changes) take(change.key);
    const bool more = !slice.changes.empty() && slice.next < store_.core().state().applied();
    seen_ = slice.next;
    if (!more) return;
  }
}

void StickyDriver::take(const std::string& key) {
  const auto parsed = StickyKey::parse(key);
  if (!parsed) return;
  if (const kv::Entry* entry = store_.core().state().get(key)) {
    keeper_.row_set(*parsed, entry->value, entry->flags, kv::value(entry->modify), io::boottime_now());
  } else {
    keeper_.row_gone(parsed->session);
  }
}

void StickyDriver::read_all() {
  const io::TimePoint now = io::boottime_now();
  seen_ = store_.core().state().applied();
  std::set<proxy::SessionHash> kept;
  for (const kv::Found& found : store_.core().state().list(kStickyPrefix)) {
    const auto parsed = StickyKey::parse(*found.key);
    if (!parsed) continue;
    kept.insert(parsed->session);
    keeper_.row_set(*parsed, found.entry->value, found.entry->flags, kv::value(found.entry->modify), now);
  }
  keeper_.keep_only(kept);
}

void StickyDriver::write(StickyKeeper::Batch batch) {
  store_.write(kv::Txn{std::move(batch.ops)}, io::boottime_now() + write_timeout_,
               [this, number = batch.number, alive = alive_](const store::Result<store::Written>& written) {
                 if (!*alive) return;
                 std::vector<std::size_t> failed;
                 const bool refused = written && written->outcome == kv::Outcome::kConditionFailed && written->txn != nullptr;
                 if (refused) {
                   for (const kv::TxnFailure& failure : written->txn->failures) failed.push_back(failure.op);
                 }
                 const bool done = written && (written->outcome == kv::Outcome::kDone || written->outcome == kv::Outcome::kUnchanged);
                 keeper_.on_done(number, refused || done, failed, io::boottime_now());
                 tick();
               });
}

}  // namespace agent
