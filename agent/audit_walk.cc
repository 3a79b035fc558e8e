#include "agent/audit_walk.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "store/kv/record.h"

namespace agent {
namespace {

namespace kv = store::kv;

api::Error disk_error(const store::disk::Error& error) { return {api::Errc::kInternal, "the audit could not be read from the disk: " + error.detail, {}}; }

}  // namespace

AuditWalk::AuditWalk(io::Loop& loop, drivers::StoreDriver& store, Kept kept)
    : loop_(loop), store_(store), kept_(std::move(kept)), alive_(std::make_shared<bool>(true)), step_(loop, [this] { step(); }), forget_(loop, [this] { last_.reset(); }) {}

AuditWalk::~AuditWalk() {
  *alive_ = false;
  if (view_open_) store_.close_view(view_);
}

AuditWalk::Walked AuditWalk::last() {
  if (last_) forget_.arm_after(kKeep);
  return last_;
}

void AuditWalk::start(Done done) {
  if (waiting_.size() + next_.size() >= kWaitingMax) {
    loop_.post([done = std::move(done)] { done(tl::make_unexpected(api::Error{api::Errc::kBusy, "too many look at the audit of this agent", {}})); });
    return;
  }
  if (walking_) return next_.push_back(std::move(done));
  waiting_.push_back(std::move(done));
  open();
}

void AuditWalk::open() {
  walking_ = std::make_shared<AuditWalked>();
  look_ = {};
  compared_ = 0;
  head_ = store_.core().state().audit().head();
  walking_->kept = kept_();
  view_ = store_.open_view([this, alive = alive_](store::disk::Result<store::disk::TaskAnswer> opened) {
    if (!*alive) return;
    if (!opened) return end(tl::make_unexpected(disk_error(opened.error())));
    view_open_ = true;
    walking_->applied = kv::Index{opened->mark.index.value};
    read_on();
  }, kv::audit_key(0));
}

void AuditWalk::read_on() {
  store_.read_view(view_, kReadBytes, [this, alive = alive_](store::disk::Result<store::disk::TaskAnswer> read) {
    if (!*alive) return;
    if (!read) return end(tl::make_unexpected(disk_error(read.error())));
    if (take(read->records)) return read_on();
    store_.close_view(view_);
    view_open_ = false;
    step_.schedule();
  });
}

/// @return false: that was all
bool AuditWalk::take(const std::vector<kv::Record>& rows) {
  for (const kv::Record& record : rows) {
    if (record.key > kv::audit_ends_key() || !record.value) return false;
    const auto row = kv::decode_row(record.key, *record.value);
    if (!row) continue;  // no number in its key: the gap is told
    if (const auto* entry = std::get_if<kv::AuditRow>(&*row)) walking_->copy.load(entry->number, *record.value);
    if (const auto* ends = std::get_if<kv::AuditEndsRow>(&*row)) walking_->copy.load_ends(ends->pruned, ends->head);
  }
  return !rows.empty();
}

void AuditWalk::step() {
  if (!walking_) return;
  AuditWalked& walked = *walking_;
  const kv::AuditLog& memory = store_.core().state().audit();
  walked.copy.look(look_, kPiece);
  const auto known = [this](std::uint64_t number) {
    return std::any_of(look_.faults.begin(), look_.faults.end(), [number](const kv::AuditFault& one) { return one.number <= number && number <= one.last; });
  };
  for (compared_ = std::max(compared_, walked.copy.pruned().number); compared_ < look_.at.number; ++compared_) {
    const std::uint64_t number = compared_ + 1;
    if (!walked.copy.same_row(number, memory) && !known(number) && look_.faults.size() < kv::kAuditFaultsMax)
      look_.faults.push_back({kv::AuditFault::Kind::kEdited, number, number});
  }
  if (!look_.done) return step_.schedule();
  // What was in memory before the view was opened is on the disk by then.
  if (walked.copy.head().number < head_.number && look_.faults.size() < kv::kAuditFaultsMax)
    look_.faults.push_back({kv::AuditFault::Kind::kTruncated, walked.copy.head().number + 1, head_.number});
  walked.entries = look_.entries;
  walked.faults = look_.faults;
  end(Walked(walking_));
}

void AuditWalk::end(api::Result<Walked> result) {
  if (std::exchange(view_open_, false)) store_.close_view(view_);
  walking_.reset();
  if (result) {
    last_ = *result;
    forget_.arm_after(kKeep);
  }
  const auto waiting = std::exchange(waiting_, std::exchange(next_, {}));
  if (!waiting_.empty()) open();
  for (const Done& done : waiting) done(result);
}

}  // namespace agent
