#include "store/kv/order_ledger.h"

#include <algorithm>
#include <cassert>

#include "store/kv/command.h"

namespace store::kv {
namespace {

// Status alone is the same answer, if that is all that was kept of it.
bool same_answer(const OrderAnswer& kept, const OrderAnswer& said) {
  return kept == said || (kept.kept == AnswerKept::kStatus && said.kept != AnswerKept::kNone && kept.status == said.status);
}

std::size_t bytes_of(const Order& order) {
  return kOrderOverheadBytes + order.name.service.size() + order.name.zone.size() + order.name.key.size() +
         order.answer.headers.size() + order.answer.body.size();
}

bool ends(const Order& order) { return order.state == OrderState::kDone || order.state == OrderState::kNotSent; }

// `changed` makes it unique: every settling is an entry of its own.
std::pair<std::uint64_t, Index> due_of(const Order& order) {
  return {order.settled_ms + order.retention_ms, order.changed};
}

std::uint64_t& count_of(OrderCounts& counts, OrderState state) {
  switch (state) {
    case OrderState::kReserved:
      return counts.reserved;
    case OrderState::kDone:
      return counts.done;
    case OrderState::kNotSent:
      return counts.not_sent;
    case OrderState::kUnknown:
      break;
  }
  return counts.unknown;
}

std::string at_entry(Index index) { return " by entry " + std::to_string(value(index)); }

}  // namespace

const char* to_string(OrderState state) {
  switch (state) {
    case OrderState::kReserved:
      return "reserved";
    case OrderState::kDone:
      return "done";
    case OrderState::kNotSent:
      return "not-sent";
    case OrderState::kUnknown:
      return "unknown";
  }
  return "?";
}

const char* to_string(OrderSource source) {
  switch (source) {
    case OrderSource::kSender:
      return "sender";
    case OrderSource::kLease:
      return "lease";
    case OrderSource::kHook:
      return "hook";
    case OrderSource::kOperator:
      return "operator";
  }
  return "?";
}

// --- reading ------------------------------------------------------------------------------------------------------

OrderRow OrderLedger::find(const OrderName& name) const {
  const auto found = rows_.find(name);
  return found == rows_.end() ? nullptr : *found;
}

std::vector<OrderRow> OrderLedger::page(const ByReservation& from, Index after, std::size_t limit) const {
  std::vector<OrderRow> orders;
  for (auto at = from.upper_bound(after); at != from.end() && orders.size() < limit; ++at)
    orders.push_back(*rows_.find(at->second->name));
  return orders;
}

std::vector<OrderRow> OrderLedger::unknown(std::string_view service, Index after, std::size_t limit) const {
  const auto found = services_.find(service);
  return found == services_.end() ? std::vector<OrderRow>{} : page(found->second.unknown, after, limit);
}

std::vector<OrderRow> OrderLedger::reserved(std::string_view service, Index after, std::size_t limit) const {
  const auto found = services_.find(service);
  return found == services_.end() ? std::vector<OrderRow>{} : page(found->second.reserved, after, limit);
}

std::vector<OrderRow> OrderLedger::recent(std::string_view service, Index before, std::size_t limit) const {
  std::vector<OrderRow> orders;
  const auto found = services_.find(service);
  if (found == services_.end()) return orders;
  const ByReservation& all = found->second.all;
  for (auto at = all.lower_bound(before); at != all.begin() && orders.size() < limit;)
    orders.push_back(*rows_.find((--at)->second->name));
  return orders;
}

OrderCounts OrderLedger::counts(std::string_view service) const {
  const auto found = services_.find(service);
  return found == services_.end() ? OrderCounts{} : found->second.counts;
}

std::vector<std::string> OrderLedger::services() const {
  std::vector<std::string> names;
  for (const auto& [name, orders] : services_) names.push_back(name);
  return names;
}

std::optional<std::uint64_t> OrderLedger::next_due_ms() const {
  return due_.empty() ? std::nullopt : std::optional(due_.begin()->first.first);
}

// --- the tables ---------------------------------------------------------------------------------------------------

void OrderLedger::enter(const Order& order) {
  OfService& of = services_[order.name.service];
  if (!of.all.emplace(order.reserved, &order).second) broken_ = true;
  if (order.state == OrderState::kReserved) of.reserved.emplace(order.reserved, &order);
  if (order.state == OrderState::kUnknown) of.unknown.emplace(order.reserved, &order);
  if (ends(order) && !due_.emplace(due_of(order), &order).second) broken_ = true;
  ++count_of(of.counts, order.state);
  ++count_of(counts_, order.state);
  bytes_ += bytes_of(order);
  last_ = std::max(last_, order.changed);
}

void OrderLedger::leave(const Order& order) {
  const auto found = services_.find(order.name.service);
  assert(found != services_.end());
  OfService& of = found->second;
  of.all.erase(order.reserved);
  of.reserved.erase(order.reserved);
  of.unknown.erase(order.reserved);
  if (ends(order)) due_.erase(due_of(order));
  --count_of(of.counts, order.state);
  --count_of(counts_, order.state);
  bytes_ -= bytes_of(order);
  if (of.all.empty()) services_.erase(found);
}

void OrderLedger::put(OrderRow order) {
  const auto present = rows_.find(order->name);
  if (present != rows_.end()) take_out(present);
  enter(*order);
  rows_.insert(std::move(order));
}

void OrderLedger::take_out(Rows::iterator at) {
  leave(**at);
  rows_.erase(at);
}

OrderLedger::Verdict OrderLedger::write(Order order, std::string detail, Journal& journal) {
  auto row = std::make_shared<const Order>(std::move(order));
  journal.mark(order_key(row->name), encode_order(*row));
  put(row);
  return {Outcome::kDone, std::move(detail), std::move(row)};
}

std::optional<std::string> OrderLedger::full(const Order& order, bool is_new) const {
  const auto of = services_.find(order.name.service);
  if (of != services_.end() && of->second.reserved.size() >= bounds_.reserved)
    return "the " + std::to_string(bounds_.reserved) + " orders under way of " + order.name.service;
  if (!is_new) return std::nullopt;
  // The others end by themselves, with their retention.
  const std::string whose = counts_.unknown == 0 ? "" : ", " + std::to_string(counts_.unknown) + " of them unknown: those end by a decision alone";
  if (rows_.size() >= bounds_.orders) return "the ledger's " + std::to_string(bounds_.orders) + " orders" + whose;
  if (bytes_ + bytes_of(order) + bounds_.room_bytes > bounds_.bytes)
    return "the ledger's " + std::to_string(bounds_.bytes) + " bytes of " + std::to_string(rows_.size()) + " orders and answers" + whose;
  return std::nullopt;
}

// --- commands -----------------------------------------------------------------------------------------------------

OrderLedger::Verdict OrderLedger::reserve(Index index, const OrderReserve& command,
                                          const std::optional<std::string>& fenced, Journal& journal) {
  OrderRow present = find(command.name);
  if (present != nullptr && present->fingerprint != command.fingerprint)
    return {Outcome::kConditionFailed, "the key was used for another request", std::move(present)};
  // Whatever holds the lease: what is known of an order is told to everybody.
  if (present != nullptr && present->state != OrderState::kNotSent) return {Outcome::kExists, {}, std::move(present)};
  if (fenced) return {Outcome::kStaleEpoch, *fenced, std::move(present)};
  Order order;
  order.name = command.name;
  order.fingerprint = command.fingerprint;
  order.attempt = present != nullptr ? present->attempt + 1 : 1;
  order.epoch = command.epoch;
  order.node = command.node;
  order.reserved = order.changed = index;
  order.reserved_ms = command.time_ms;
  order.retention_ms = command.retention_ms;
  if (auto bound = full(order, present == nullptr)) return {Outcome::kFull, std::move(*bound), std::move(present)};
  return write(std::move(order), {}, journal);
}

OrderLedger::Verdict OrderLedger::settled(Index index, Order order, const OrderAnswer& answer, std::uint64_t time_ms,
                                          Journal& journal) {
  std::string detail;
  order.changed = index;
  order.settled_ms = std::max(time_ms, order.reserved_ms);
  order.answer = answer;
  if (bytes_ + answer.headers.size() + answer.body.size() > bounds_.bytes) {
    // An order that was sent must be remembered, with or without the bytes of its answer.
    order.answer = {AnswerKept::kStatus, answer.status, {}, {}};
    detail = "the ledger's " + std::to_string(bounds_.bytes) + " bytes are used up: of the answer only the status is kept";
  }
  return write(std::move(order), std::move(detail), journal);
}

OrderLedger::Verdict OrderLedger::settle(Index index, const OrderOutcome& command, Journal& journal) {
  OrderRow present = find(command.name);
  if (present == nullptr) return {Outcome::kNotFound, "no such order", nullptr};
  if (present->reserved != command.reserved) {
    std::string what = "that reservation is over, the present one was made" + at_entry(present->reserved);
    return {Outcome::kConditionFailed, std::move(what), std::move(present)};
  }
  if (present->state == command.state && same_answer(present->answer, command.answer))
    return {Outcome::kUnchanged, {}, std::move(present)};
  const bool open = present->state == OrderState::kReserved || present->source == OrderSource::kLease;
  if (!open) {
    std::string what = std::string("it is ") + to_string(present->state) + " already" + at_entry(present->changed);
    return {Outcome::kConditionFailed, std::move(what), std::move(present)};
  }
  Order order = *present;
  order.state = command.state;
  order.source = OrderSource::kSender;
  return settled(index, std::move(order), command.answer, command.time_ms, journal);
}

OrderLedger::Verdict OrderLedger::resolve(Index index, const OrderResolve& command, Journal& journal) {
  OrderRow present = find(command.name);
  if (present == nullptr) return {Outcome::kNotFound, "no such order", nullptr};
  if (present->state == command.state && present->source == command.source &&
      same_answer(present->answer, command.answer))
    return {Outcome::kUnchanged, {}, std::move(present)};
  if (present->state != OrderState::kUnknown || present->changed != command.seen) {
    std::string what = std::string("it is ") + to_string(present->state) + " since entry " + std::to_string(value(present->changed));
    return {Outcome::kConditionFailed, std::move(what), std::move(present)};
  }
  Order order = *present;
  order.state = command.state;
  order.source = command.source;
  return settled(index, std::move(order), command.answer, command.time_ms, journal);
}

OrderLedger::Verdict OrderLedger::sweep(const OrderSweep& command, Journal& journal) {
  std::vector<OrderRow> forgotten;
  while (forgotten.size() < command.count_max && !due_.empty() && due_.begin()->first.first <= command.before_ms) {
    const auto at = rows_.find(due_.begin()->second->name);
    journal.mark_gone(order_key((*at)->name));
    forgotten.push_back(*at);
    take_out(at);
  }
  const Outcome outcome = forgotten.empty() ? Outcome::kUnchanged : Outcome::kDone;
  std::string detail = std::to_string(forgotten.size()) + " orders forgotten";
  return {outcome, std::move(detail), nullptr, std::move(forgotten)};
}

std::vector<OrderRow> OrderLedger::fence(Index index, std::string_view service, Journal& journal) {
  const auto found = services_.find(service);
  std::vector<OrderRow> fenced;
  if (found == services_.end()) return fenced;
  std::vector<OrderName> open;
  for (const auto& [reservation, order] : found->second.reserved) open.push_back(order->name);
  for (const OrderName& name : open) {
    Order order = *find(name);
    order.state = OrderState::kUnknown;
    order.source = OrderSource::kLease;
    order.changed = index;
    fenced.push_back(write(std::move(order), {}, journal).order);
  }
  return fenced;
}

// --- rows ---------------------------------------------------------------------------------------------------------

void OrderLedger::load(Order order) { put(std::make_shared<const Order>(std::move(order))); }

void OrderLedger::append_rows(std::vector<Record>& rows) const {
  for (const OrderRow& order : rows_) rows.push_back({order_key(order->name), encode_order(*order)});
}

}  // namespace store::kv
