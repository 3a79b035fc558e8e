#include "agent/backend_orders.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/backend.h"
#include "agent/io/clock.h"

namespace agent {
namespace {

namespace kv = store::kv;

constexpr int kApprovalRoundsMax = 3;  // of reading and writing; who loses that often has company

tl::unexpected<api::Error> failed(api::Errc code, std::string detail) { return tl::make_unexpected(api::Error{code, std::move(detail), {}}); }

std::uint64_t wall_now() { return static_cast<std::uint64_t>(std::max<std::int64_t>(io::wall_ms(), 0)); }

const char* name_of(kv::OrderState state) { return state == kv::OrderState::kNotSent ? "not_sent" : kv::to_string(state); }

const char* name_of(kv::AnswerKept kept) {
  switch (kept) {
    case kv::AnswerKept::kNone: return "none";
    case kv::AnswerKept::kWhole: return "whole";
    case kv::AnswerKept::kStatus: return "status";
  }
  return "";
}

std::string hex(const kv::Fingerprint& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

/// What an operator's word becomes; the head is the reason, CR LF, then field lines (order.h of the proxy).
kv::OrderAnswer answer_of(const api::OrderDecision& decision) {
  kv::OrderAnswer answer;
  if (!decision.done || !decision.status) return answer;
  answer.kept = kv::AnswerKept::kWhole;
  answer.status = static_cast<std::uint32_t>(*decision.status);
  answer.headers = "\r\n";
  if (!decision.body.empty()) answer.headers += "Content-Type: " + decision.content_type + "\r\n";
  answer.body = decision.body;
  return answer;
}

}  // namespace

AgentOrders::AgentOrders(OrderParts parts) : parts_(std::move(parts)), warn_at_(parts_.unknown_warn), alive_(std::make_shared<bool>(true)) {
  if (parts_.loop == nullptr) return;
  look_.emplace(*parts_.loop, [this] { look_at_unknown(); });
  look_->arm_after(parts_.look_every);
}

AgentOrders::~AgentOrders() { *alive_ = false; }

void AgentOrders::look_at_unknown() {
  look_->arm_after(parts_.look_every);
  const std::uint64_t unknown = parts_.store->core().state().orders().counts().unknown;
  if (unknown < parts_.unknown_warn / 2) warn_at_ = parts_.unknown_warn;
  if (unknown < warn_at_) return;
  while (warn_at_ <= unknown) warn_at_ *= 2;
  parts_.log("orders_unknown", std::to_string(unknown) + " orders are unknown: they end by the hook's or a person's decision alone, and count against the ledger's " +
                                   std::to_string(kv::kOrdersMax) + " orders, at which every new one is refused; ask the broker, then: outrigger orders resolve");
}

api::OrderInfo AgentOrders::info_of(const kv::Order& order) const {
  api::OrderInfo info;
  info.service = order.name.service;
  info.zone = order.name.zone;
  info.key = order.name.key;
  info.state = name_of(order.state);
  info.source = kv::to_string(order.source);
  info.attempt = order.attempt;
  info.epoch = api::Epoch{kv::value(order.epoch)};
  info.node = api::NodeId{kv::value(order.node)};
  if (parts_.name_of) info.node_name = parts_.name_of(store::NodeId{kv::value(order.node)});
  info.reserved = api::Index{kv::value(order.reserved)};
  info.changed = api::Index{kv::value(order.changed)};
  info.reserved_ms = order.reserved_ms;
  info.settled_ms = order.settled_ms;
  const bool goes = order.state == kv::OrderState::kDone || order.state == kv::OrderState::kNotSent;
  info.kept_until_ms = goes ? order.settled_ms + order.retention_ms : 0;
  info.fingerprint = hex(order.fingerprint);
  info.answer_kept = name_of(order.answer.kept);
  info.answer_status = order.answer.kept == kv::AnswerKept::kNone ? 0 : static_cast<int>(order.answer.status);
  info.answer_bytes = order.answer.headers.size() + order.answer.body.size();
  return info;
}

api::OrderList AgentOrders::orders(const api::OrderQuestion& question) const {
  const kv::OrderLedger& ledger = parts_.store->core().state().orders();
  const std::string& service = service_of(question.service);
  std::vector<kv::OrderRow> rows;
  const std::uint64_t from = question.from ? static_cast<std::uint64_t>(*question.from) : 0;
  switch (question.filter) {
    case api::OrderFilter::kUnknown: rows = ledger.unknown(service, kv::Index{from}, question.limit); break;
    case api::OrderFilter::kReserved: rows = ledger.reserved(service, kv::Index{from}, question.limit); break;
    case api::OrderFilter::kRecent: rows = ledger.recent(service, kv::Index{question.from ? from : UINT64_MAX}, question.limit); break;
  }
  api::OrderList list;
  for (const kv::OrderRow& row : rows) list.orders.push_back(info_of(*row));
  if (rows.size() == question.limit) list.next = list.orders.back().reserved;
  const kv::OrderCounts counts = ledger.counts(service);
  list.reserved = counts.reserved;
  list.done = counts.done;
  list.not_sent = counts.not_sent;
  list.unknown = counts.unknown;
  return list;
}

std::optional<api::OrderInfo> AgentOrders::order(const std::string& service, const std::string& zone, const std::string& key) const {
  const kv::OrderRow row = parts_.store->core().state().orders().find({service_of(service), zone, key});
  if (row == nullptr) return std::nullopt;
  api::OrderInfo info = info_of(*row);
  info.answer_head = row->answer.headers;
  info.answer_body = row->answer.body;
  return info;
}

void AgentOrders::decide(api::OrderDecision decision, api::Completion<api::OrderInfo> done) {
  kv::OrderResolve command;
  command.name = {service_of(decision.service), decision.zone, decision.key};
  command.seen = kv::Index{static_cast<std::uint64_t>(decision.fence)};
  command.state = decision.done ? kv::OrderState::kDone : kv::OrderState::kNotSent;
  command.source = kv::OrderSource::kOperator;
  command.answer = answer_of(decision);
  command.time_ms = wall_now();
  parts_.store->write(std::move(command), io::boottime_now() + parts_.write_timeout,
                      [this, alive = alive_, decision = std::move(decision), done = std::move(done)](const store::Result<store::Written>& written) {
                        if (!*alive) return;
                        if (!written) return done(tl::make_unexpected(api_error_of(written.error())));
                        const std::string name = "order of key \"" + decision.key + "\" in zone \"" + decision.zone + "\"";
                        if (written->outcome == kv::Outcome::kNotFound) return done(failed(api::Errc::kNotFound, "no " + name));
                        if (written->outcome != kv::Outcome::kDone && written->outcome != kv::Outcome::kUnchanged)
                          return done(failed(api::Errc::kConflict, "the " + name + " was not changed: " + written->detail));
                        const std::string text = std::string(decision.done ? "resolved as done" : "resolved as not sent") + (decision.reason.empty() ? "" : ": " + decision.reason);
                        if (parts_.log) parts_.log("order_resolved", name + ": " + text + ", by " + decision.who);
                        // The ledger's own entry says that an operator did it; this one says who and why. It is in no order's way.
                        parts_.store->write(kv::AuditNote{kv::AuditKind::kOrder, wall_now(), decision.who, service_of(decision.service) + "/" + decision.zone + "/" + decision.key, text},
                                            io::boottime_now() + parts_.write_timeout, [](const store::Result<store::Written>&) {});
                        if (written->order == nullptr) return done(failed(api::Errc::kOutcomeUnknown, "decided, but the answer came too late to say more"));
                        api::OrderInfo info = info_of(*written->order);
                        info.answer_head = written->order->answer.headers;
                        info.answer_body = written->order->answer.body;
                        done(std::move(info));
                      });
}

// --- arming ---------------------------------------------------------------------------------------------------------

api::ArmingInfo AgentOrders::arming(const std::string& service) const {
  const auto& state = parts_.store->core().state();
  api::ArmingInfo info;
  info.service = service_of(service);
  info.configured = parts_.arming_configured && info.service == parts_.service;
  const kv::Lease* lease = state.lease(info.service);
  if (lease != nullptr) {
    info.epoch = api::Epoch{kv::value(lease->epoch)};
    if (lease->holder != kv::NodeId{}) info.holder = lease->holder_name;
  }
  info.armed = !info.configured && !info.holder.empty();
  if (const kv::Entry* entry = state.get(approval_key(info.service))) {
    if (const auto approval = parse_approval(entry->value)) {
      info.approved = api::Epoch{static_cast<std::uint64_t>(approval->epoch)};
      info.approved_by = approval->who;
      info.approved_by_force = approval->force;
    }
  }
  const kv::Entry* entry = state.get(arming_state_key(info.service));
  const auto json = entry == nullptr ? nlohmann::ordered_json() : nlohmann::ordered_json::parse(entry->value, nullptr, false);
  const auto text = [&json](const char* name) { return json.contains(name) && json.at(name).is_string() ? json.at(name).get<std::string>() : std::string(); };
  const bool present = json.is_object() && json.contains("epoch") && json.at("epoch") == static_cast<std::uint64_t>(info.epoch) && !info.holder.empty();
  if (!present) return info;
  info.configured = true;
  info.mode = text("mode");
  info.phase = text("phase");
  info.reason = text("reason");
  info.last_error = text("last_error");
  info.armed = info.phase == to_string(ArmingPhase::kArmed);
  if (json.contains("unknown_left") && json.at("unknown_left").is_number_unsigned()) info.unknown_left = json.at("unknown_left").get<std::uint64_t>();
  if (json.contains("flat") && json.at("flat").is_boolean()) info.flat = json.at("flat").get<bool>();
  return info;
}

void AgentOrders::approve(api::ApprovalOrder order, api::Completion<api::ArmingInfo> done) {
  order.service = service_of(order.service);
  weigh_approval(std::move(order), 0, std::move(done));
}

// On the newest state: an approval is of the epoch that is, not of one that was. Its row is written only over the one that was read
// here, so that whoever is overtaken looks again, and an approval of an epoch that is over never replaces one of a newer epoch.
void AgentOrders::weigh_approval(api::ApprovalOrder order, int round, api::Completion<api::ArmingInfo> done) {
  parts_.store->read(store::Consistency::kConsistent, io::boottime_now() + parts_.write_timeout,
                     [this, alive = alive_, round, order = std::move(order), done = std::move(done)](const store::Result<store::Readable>& readable) mutable {
                       if (!*alive) return;
                       if (!readable) return done(tl::make_unexpected(api_error_of(readable.error())));
                       const auto& state = parts_.store->core().state();
                       const kv::Lease* lease = state.lease(order.service);
                       if (lease == nullptr || lease->holder == kv::NodeId{})
                         return done(failed(api::Errc::kConflict, "nobody is primary of \"" + order.service + "\": there is no epoch to approve"));
                       const std::uint64_t present = kv::value(lease->epoch), wanted = static_cast<std::uint64_t>(order.epoch);
                       if (wanted != present)
                         return done(failed(api::Errc::kConflict, "the present epoch is " + std::to_string(present) + ", not " + std::to_string(wanted) +
                                                                      "; look again at what it waits for: outrigger arming"));
                       const kv::Entry* entry = state.get(approval_key(order.service));
                       const kv::Index expected = entry == nullptr ? kv::Index{} : entry->modify;
                       if (round == 0) note_approval(std::move(order), expected, std::move(done));
                       else write_approval(std::move(order), expected, round, std::move(done));
                     });
}

// Into the audit first: no approval counts that is not there.
void AgentOrders::note_approval(api::ApprovalOrder order, kv::Index expected, api::Completion<api::ArmingInfo> done) {
  const std::string text = "epoch " + std::to_string(static_cast<std::uint64_t>(order.epoch)) + (order.force ? ", by force" : "") + (order.reason.empty() ? "" : ": " + order.reason);
  kv::AuditNote note{kv::AuditKind::kApproval, wall_now(), order.who, order.service, text};
  parts_.store->write(std::move(note), io::boottime_now() + parts_.write_timeout,
                      [this, alive = alive_, expected, text, order = std::move(order), done = std::move(done)](const store::Result<store::Written>& noted) mutable {
                        if (!*alive) return;
                        if (!noted) return done(tl::make_unexpected(api_error_of(noted.error())));
                        if (parts_.log) parts_.log("approved", order.service + ", " + text + ", by " + order.who);
                        write_approval(std::move(order), expected, 0, std::move(done));
                      });
}

void AgentOrders::write_approval(api::ApprovalOrder order, kv::Index expected, int round, api::Completion<api::ArmingInfo> done) {
  const Approval approval{Epoch{static_cast<std::uint64_t>(order.epoch)}, order.force, order.who};
  kv::Cas command{approval_key(order.service), approval_text(approval, order.reason), 0, expected};
  parts_.store->write(std::move(command), io::boottime_now() + parts_.write_timeout,
                      [this, alive = alive_, round, order = std::move(order), done = std::move(done)](const store::Result<store::Written>& written) mutable {
                        if (!*alive) return;
                        if (!written) return done(tl::make_unexpected(api_error_of(written.error())));
                        if (written->outcome == kv::Outcome::kDone || written->outcome == kv::Outcome::kUnchanged) return done(this->arming(order.service));
                        if (written->outcome != kv::Outcome::kConditionFailed) return done(failed(api::Errc::kConflict, written->detail));
                        if (round + 1 < kApprovalRoundsMax) return weigh_approval(std::move(order), round + 1, std::move(done));
                        done(failed(api::Errc::kConflict, "somebody else approves at the same time; look at outrigger arming"));
                      });
}

// --- metrics --------------------------------------------------------------------------------------------------------

void AgentOrders::add_metrics(Families& out) const {
  using Type = api::MetricFamily::Type;
  const kv::OrderLedger& ledger = parts_.store->core().state().orders();
  std::vector<api::MetricSample> samples;
  std::vector<std::string> services = ledger.services();
  if (std::find(services.begin(), services.end(), parts_.service) == services.end()) services.push_back(parts_.service);
  for (const std::string& service : services) {
    const kv::OrderCounts counts = ledger.counts(service);
    const auto add = [&](const char* state, std::uint64_t count) { samples.push_back({{{"service", service}, {"state", state}}, static_cast<double>(count), {}}); };
    add("reserved", counts.reserved);
    add("done", counts.done);
    add("not_sent", counts.not_sent);
    add("unknown", counts.unknown);
  }
  out.add("orders", "Orders in the ledger, by service and state", Type::kGauge, std::move(samples));
  out.gauge("orders_bytes", "Bytes that the ledger of orders counts against its bound", static_cast<double>(ledger.bytes()));
  if (parts_.desk != nullptr) {
    const drivers::OrderDeskCounters& desk = parts_.desk->counters();
    out.counter("order_reservations_total", "Reservations that were made here", desk.reserved);
    out.counter("order_outcomes_total", "Outcomes that were recorded from here", desk.settled);
    out.counter("order_reservations_returned_total", "Reservations that nobody waited for any more, taken back", desk.taken_back);
    out.counter("order_outcomes_retried_total", "Outcomes that had to be written again", desk.retried);
    out.counter("order_outcomes_refused_total", "Outcomes that the ledger did not take: it has another end", desk.refused);
    out.counter("order_outcomes_lost_total", "Outcomes beyond a bound: their orders stay reserved until the next epoch", desk.lost);
    out.gauge("order_outcomes_pending", "Outcomes that are not decided yet", static_cast<double>(desk.pending));
  }
  const ArmingDriver* arming = parts_.arming ? parts_.arming() : nullptr;
  if (arming == nullptr) return;
  const MetricLabels service{{"service", parts_.service}};
  const Arming& core = arming->core();
  const ArmingCounters& c = core.counters();
  out.add("arming_phase", "0 not primary, 1 fenced, 2 reconciling, 3 waiting, 4 armed", Type::kGauge, {{service, static_cast<double>(core.phase()), {}}});
  out.add("arming_unknown_left", "Orders that the hook left unknown", Type::kGauge, {{service, static_cast<double>(core.unknown_left()), {}}});
  out.counter("reconcile_passes_total", "Walks over the open orders with the reconcile hook", c.passes);
  out.counter("reconcile_calls_total", "Calls of the reconcile hook", c.calls);
  out.counter("reconcile_failures_total", "Calls of it that failed or were late", c.failures);
  const auto verdict = [](const char* state, std::uint64_t count) { return api::MetricSample{{{"state", state}}, static_cast<double>(count), {}}; };
  out.add("reconcile_verdicts_total", "Its verdicts that were recorded, or overtaken by somebody else's", Type::kCounter,
          {verdict("done", c.done), verdict("not_sent", c.not_sent), verdict("overtaken", c.overtaken)});
  out.counter("reconcile_unfenced_total", "Verdicts not_sent about orders of the present epoch, which were not believed", c.unfenced);
  out.counter("reconcile_strays_total", "Verdicts about orders that it was not asked about, or twice and not the same", c.strays);
  out.counter("reconcile_contradictions_total", "Settled orders of which the hook says otherwise", c.contradictions);
}

}  // namespace agent
