#include "agent/drivers/order_desk.h"

#include <algorithm>
#include <utility>

namespace agent::drivers {

namespace kv = store::kv;
using proxy::OrderVerdict;

namespace {

// A reservation without a word may still be on its way through the log of whoever leads.
constexpr io::Milliseconds kDoubtTime{60'000};

kv::OrderName name_of(const proxy::OrderRequest& request) { return {request.service, request.zone, request.key}; }

kv::Fingerprint fingerprint_of(const proxy::Digest& digest) {
  kv::Fingerprint out{};
  std::transform(digest.begin(), digest.end(), out.begin(), [](std::byte byte) { return static_cast<std::uint8_t>(byte); });
  return out;
}

// The same node, as holders of leases are named.
kv::NodeId node_of(store::NodeId node) { return kv::NodeId{node.value}; }

std::uint64_t wall_now() { return static_cast<std::uint64_t>(std::max<std::int64_t>(io::wall_ms(), 0)); }

// What a row means for somebody who asks for its key.
proxy::OrderReply reply_of(const kv::Order& order) {
  switch (order.state) {
    case kv::OrderState::kReserved: return {OrderVerdict::kInFlight, 0, nullptr, {}};
    case kv::OrderState::kUnknown: return {OrderVerdict::kUnknown, 0, nullptr, {}};
    case kv::OrderState::kDone: return {OrderVerdict::kAnswered, 0, answer_of(order), {}};
    case kv::OrderState::kNotSent: break;
  }
  return {OrderVerdict::kNothing, 0, nullptr, {}};
}

}  // namespace

std::shared_ptr<const proxy::OrderAnswer> answer_of(const kv::Order& order) {
  auto answer = std::make_shared<proxy::OrderAnswer>();
  // A verdict without an answer says that the order was placed, and no more.
  answer->status = order.answer.kept == kv::AnswerKept::kNone ? 200 : static_cast<int>(order.answer.status);
  answer->kept = order.answer.kept == kv::AnswerKept::kWhole;
  answer->head = answer->kept ? order.answer.headers : "\r\n";
  answer->body = order.answer.body;
  return answer;
}

kv::OrderAnswer answer_row(const proxy::OrderAnswer& answer) {
  kv::OrderAnswer row;
  row.status = static_cast<std::uint32_t>(answer.status);
  row.kept = answer.kept && answer.head.size() + answer.body.size() <= kv::kOrderAnswerBytesMax ? kv::AnswerKept::kWhole : kv::AnswerKept::kStatus;
  if (row.kept != kv::AnswerKept::kWhole) return row;
  row.headers = answer.head;
  row.body = answer.body;
  return row;
}

// ---- the workers' side ----

class OrderDesk::WorkerLedger final : public proxy::OrderLedger {
 public:
  WorkerLedger(io::Mailbox<Call>::Sender calls, std::size_t worker) : calls_(std::move(calls)), worker_(worker) {}
  // A mailbox that is full is a control loop that stands still: then no order is sent, because no answer comes.
  void reserve(proxy::OrderTicket ticket, proxy::OrderRequest request) override {
    calls_.send(Call{Call::Kind::kReserve, worker_, ticket, std::move(request)});
  }
  void abandon(proxy::OrderTicket ticket) override { calls_.send(Call{Call::Kind::kAbandon, worker_, ticket}); }
  void settle(proxy::OrderTicket ticket, const proxy::OrderRequest& request, std::uint64_t reservation, proxy::OrderEnd end,
              std::shared_ptr<const proxy::OrderAnswer> answer) override {
    calls_.send(Call{Call::Kind::kSettle, worker_, ticket, request, reservation, end, std::move(answer)});
  }

 private:
  io::Mailbox<Call>::Sender calls_;
  std::size_t worker_;
};

OrderDesk::OrderDesk(io::Loop& loop, const OrderDeskSettings& settings, OrderDeskCallbacks callbacks)
    : settings_(settings),
      callbacks_(std::move(callbacks)),
      calls_(loop, kCallsMax, [this](Call&& call) { take(std::move(call)); }),
      timer_(loop, [this] { on_timer(); }) {}

OrderDesk::~OrderDesk() {
  if (alive_ != nullptr) *alive_ = false;
}

void OrderDesk::use(StoreDriver* store) {
  if (alive_ != nullptr) *alive_ = false;
  store_ = store;
  alive_ = std::make_shared<bool>(true);
  // Nobody will hear what became of these reservations: none of them may send, and that may be said at once.
  for (const Waiter& waiter : std::exchange(waiting_, {})) {
    proxy::OrderReply gone{OrderVerdict::kUnavailable, 0, nullptr, "this agent has given its store away"};
    static_cast<void>(callbacks_.told(waiter.first, waiter.second, std::move(gone), [] {}));
  }
  for (const auto& [number, call] : pending_) again_.insert(number);
  if (store_ != nullptr && !again_.empty()) timer_.arm_after(settings_.retry_pause);
}

std::unique_ptr<proxy::OrderLedger> OrderDesk::ledger_for(std::size_t worker) { return std::make_unique<WorkerLedger>(calls_.sender(), worker); }

void OrderDesk::take(Call&& call) {
  switch (call.kind) {
    case Call::Kind::kReserve: return reserve(std::move(call));
    case Call::Kind::kAbandon: waiting_.erase({call.worker, call.ticket}); return;
    case Call::Kind::kSettle: return settle(std::move(call));
  }
}

// ---- reservations ----

void OrderDesk::reserve(Call&& call) {
  const Waiter waiter{call.worker, call.ticket};
  waiting_.insert(waiter);
  // Given to a successor: nothing was written, so whoever has the lease next may be asked.
  if (store_ == nullptr) return tell(waiter, {OrderVerdict::kStale, 0, nullptr, {}}, call.request);
  const kv::OrderRow known = store_->core().state().orders().find(name_of(call.request));
  const bool same = known != nullptr && known->fingerprint == fingerprint_of(call.request.fingerprint);
  if (call.request.look_only) {
    if (known == nullptr) return tell(waiter, {OrderVerdict::kNothing, 0, nullptr, {}}, call.request);
    return tell(waiter, same ? reply_of(*known) : proxy::OrderReply{OrderVerdict::kOther, 0, nullptr, {}}, call.request);
  }
  if (same && known->state == kv::OrderState::kDone) return tell(waiter, reply_of(*known), call.request);
  if (pending_.size() >= kPendingMax) {
    return tell(waiter, {OrderVerdict::kFull, 0, nullptr, "outcomes of " + std::to_string(kPendingMax) + " orders wait for the store"}, call.request);
  }
  kv::OrderReserve command;
  command.name = name_of(call.request);
  command.fingerprint = fingerprint_of(call.request.fingerprint);
  command.epoch = kv::Epoch{static_cast<std::uint64_t>(call.request.epoch)};
  command.node = node_of(settings_.self);
  command.time_ms = wall_now();
  command.retention_ms = static_cast<std::uint64_t>(call.request.retention.count());
  const io::TimePoint now = io::boottime_now();
  store_->write(std::move(command), now + settings_.reserve_timeout,
               [this, alive = alive_, waiter, now, request = std::move(call.request)](store::Result<store::Written> written) {
                 if (*alive) decided(waiter, request, now, std::move(written));
               });
}

void OrderDesk::decided(const Waiter& waiter, const proxy::OrderRequest& request, io::TimePoint proposed, store::Result<store::Written> written) {
  if (!written) {
    // Not a word does not mean not done.
    if (doubtful_.size() < kDoubtfulMax) {
      doubtful_.push_back({name_of(request), kv::Epoch{static_cast<std::uint64_t>(request.epoch)}, io::boottime_now() + kDoubtTime});
    } else {
      ++counters_.lost;
    }
    if (!timer_.armed()) timer_.arm_after(settings_.retry_pause);
    return tell(waiter, {OrderVerdict::kUnavailable, 0, nullptr, written.error().detail}, request);
  }
  const kv::OrderRow& row = written->order;
  const auto say = [&](proxy::OrderReply reply) {
    if (request.timed) reply.commit = {proposed, io::boottime_now(), static_cast<std::uint64_t>(written->index)};
    tell(waiter, std::move(reply), request);
  };
  if (kv::may_send(written->outcome, written->index, row)) {
    const auto reservation = static_cast<std::uint64_t>(row->reserved);
    // A look at doubtful ones may have met the entry before its own word came here, and is taking it back.
    if (!ours_.insert(reservation).second) return say({OrderVerdict::kUnavailable, 0, nullptr, "the reservation was taken back"});
    ++counters_.reserved;
    return say({OrderVerdict::kReserved, reservation, nullptr, {}});
  }
  switch (written->outcome) {
    case kv::Outcome::kExists:
      return say(row == nullptr ? proxy::OrderReply{OrderVerdict::kInFlight, 0, nullptr, {}} : reply_of(*row));
    case kv::Outcome::kConditionFailed: return say({OrderVerdict::kOther, 0, nullptr, {}});
    case kv::Outcome::kStaleEpoch: return say({OrderVerdict::kStale, 0, nullptr, {}});
    case kv::Outcome::kFull: return say({OrderVerdict::kFull, 0, nullptr, written->detail});
    // Reserved by this very entry, and over meanwhile: the decision came late, in a snapshot. Nobody has sent it.
    default: return say({OrderVerdict::kUnavailable, 0, nullptr, {}});
  }
}

// If nobody waits any more the reservation has nobody who would end it.
void OrderDesk::tell(const Waiter& waiter, proxy::OrderReply reply, const proxy::OrderRequest& request) {
  const std::uint64_t reservation = reply.reservation;
  const bool waits = waiting_.erase(waiter) > 0;
  Call back{Call::Kind::kSettle, waiter.first, proxy::OrderTicket{}, request, reservation, proxy::OrderEnd::kNotSent, nullptr};
  const auto unclaimed = [back, calls = calls_.sender()] {
    if (back.reservation != 0) calls.send(back);
  };
  if (waits && callbacks_.told(waiter.first, waiter.second, std::move(reply), unclaimed)) return;
  if (reservation == 0) return;
  ++counters_.taken_back;
  settle(std::move(back));
}

// ---- outcomes ----

void OrderDesk::settle(Call&& call) {
  if (pending_.size() >= kPendingMax) {
    ++counters_.lost;
    return;
  }
  const std::uint64_t number = ++last_number_;
  pending_.emplace(number, std::move(call));
  counters_.pending = pending_.size();
  write_outcome(number);
}

void OrderDesk::write_outcome(std::uint64_t number) {
  if (store_ == nullptr) {
    again_.insert(number);
    return;
  }
  Call& call = pending_.at(number);
  const io::TimePoint now = io::boottime_now();
  if (call.proposed == io::TimePoint{}) call.proposed = now;
  kv::OrderOutcome command;
  command.name = name_of(call.request);
  command.reserved = kv::Index{call.reservation};
  command.time_ms = wall_now();
  switch (call.end) {
    case proxy::OrderEnd::kAnswered:
      command.state = kv::OrderState::kDone;
      command.answer = answer_row(*call.answer);
      break;
    case proxy::OrderEnd::kNotSent: command.state = kv::OrderState::kNotSent; break;
    case proxy::OrderEnd::kUnknown: command.state = kv::OrderState::kUnknown; break;
  }
  store_->write(std::move(command), now + settings_.settle_timeout, [this, alive = alive_, number](const store::Result<store::Written>& written) {
    if (*alive) outcome_decided(number, written);
  });
}

// A leader whose disk is low takes outcomes without long answers, and nothing was appended yet: that it was answered counts more.
void OrderDesk::shorten(Call& call) {
  if (call.answer == nullptr || !call.answer->kept) return;
  call.answer = std::make_shared<const proxy::OrderAnswer>(proxy::OrderAnswer{call.answer->status, {}, {}, false});
}

void OrderDesk::outcome_decided(std::uint64_t number, const store::Result<store::Written>& written) {
  if (!written) {
    ++counters_.retried;
    if (written.error().code == store::Errc::kDiskFull) shorten(pending_.at(number));
    again_.insert(number);
    if (!timer_.armed()) timer_.arm_after(settings_.retry_pause);
    return;
  }
  const auto found = pending_.find(number);
  const Call call = std::move(found->second);
  pending_.erase(found);
  counters_.pending = pending_.size();
  ours_.erase(call.reservation);
  const bool recorded = written->outcome == kv::Outcome::kDone || written->outcome == kv::Outcome::kUnchanged;
  ++(recorded ? counters_.settled : counters_.refused);
  if (!recorded) callbacks_.log("order_outcome_refused", "the ledger has another end for the order of key \"" + call.request.key + "\" in zone \"" + call.request.zone + "\"");
  if (call.ticket == proxy::OrderTicket{}) return;
  proxy::OrderCommit commit;
  if (call.request.timed) commit = {call.proposed, io::boottime_now(), static_cast<std::uint64_t>(written->index)};
  callbacks_.recorded(call.worker, call.ticket, recorded, commit);
}

// ---- later ----

void OrderDesk::on_timer() {
  if (store_ == nullptr) return;
  for (const std::uint64_t number : std::exchange(again_, {})) write_outcome(number);
  if (!doubtful_.empty()) look_at_doubtful();
}

// What was reserved without our knowing is ours to take back: of our epoch, by this node, and no exchange has it.
void OrderDesk::look_at_doubtful() {
  store_->read(store::Consistency::kDefault, io::boottime_now() + settings_.settle_timeout, [this, alive = alive_](const store::Result<store::Readable>& readable) {
    if (!*alive) return;
    if (readable) {
      std::erase_if(doubtful_, [&](const Doubtful& doubt) {
        const kv::OrderRow row = store_->core().state().orders().find(doubt.name);
        const bool ours = row != nullptr && row->state == kv::OrderState::kReserved && row->node == node_of(settings_.self) && row->epoch == doubt.epoch &&
                          !ours_.contains(static_cast<std::uint64_t>(row->reserved));
        if (ours) {
          ++counters_.taken_back;
          proxy::OrderRequest request;
          request.service = doubt.name.service;
          request.zone = doubt.name.zone;
          request.key = doubt.name.key;
          ours_.insert(static_cast<std::uint64_t>(row->reserved));
          settle({Call::Kind::kSettle, 0, proxy::OrderTicket{}, std::move(request), static_cast<std::uint64_t>(row->reserved), proxy::OrderEnd::kNotSent, nullptr});
        }
        return ours || doubt.until <= io::boottime_now();
      });
    }
    if (!doubtful_.empty() && !timer_.armed()) timer_.arm_after(4 * settings_.retry_pause);
  });
}

}  // namespace agent::drivers
