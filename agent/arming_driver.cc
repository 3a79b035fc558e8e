#include "agent/arming_driver.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/io/clock.h"
#include "agent/reconcile_words.h"

namespace agent {
namespace {

namespace kv = store::kv;
constexpr Milliseconds kLookEvery{500};     // while primary: for UNKNOWN orders of the present epoch
constexpr Milliseconds kQuietAtLeast{10'000};
constexpr Milliseconds kBeyondDeadline{1'000};  // the core drops a question first

std::uint64_t wall_now() { return static_cast<std::uint64_t>(std::max<std::int64_t>(io::wall_ms(), 0)); }

OrderStanding standing_of(kv::OrderState state) {
  switch (state) {
    case kv::OrderState::kReserved: return OrderStanding::kReserved;
    case kv::OrderState::kDone: return OrderStanding::kDone;
    case kv::OrderState::kNotSent: return OrderStanding::kNotSent;
    case kv::OrderState::kUnknown: return OrderStanding::kUnknown;
  }
  return OrderStanding::kUnknown;
}

OrderSeen seen_of(const kv::Order& order) {
  constexpr char kDigits[] = "0123456789abcdef";
  OrderSeen seen;
  seen.zone = order.name.zone;
  seen.key = order.name.key;
  seen.reserved = kv::value(order.reserved);
  seen.seen = kv::value(order.changed);
  seen.standing = standing_of(order.state);
  for (const std::uint8_t byte : order.fingerprint) {
    seen.fingerprint += kDigits[byte >> 4U];
    seen.fingerprint += kDigits[byte & 15U];
  }
  seen.reserved_ms = order.reserved_ms;
  seen.epoch = kv::value(order.epoch);
  seen.attempt = order.attempt;
  return seen;
}

}  // namespace

std::string approval_key(const std::string& service) { return "outrigger/arming/" + service + "/approval"; }
std::string arming_state_key(const std::string& service) { return "outrigger/arming/" + service + "/state"; }

std::string approval_text(const Approval& approval, const std::string& reason) {
  return nlohmann::ordered_json{{"epoch", static_cast<std::uint64_t>(approval.epoch)}, {"force", approval.force}, {"who", approval.who}, {"reason", reason}}.dump(
      -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::optional<Approval> parse_approval(std::string_view text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("epoch") || !json.at("epoch").is_number_unsigned()) return std::nullopt;
  Approval approval;
  approval.epoch = Epoch{json.at("epoch").get<std::uint64_t>()};
  if (json.contains("force") && json.at("force").is_boolean()) approval.force = json.at("force").get<bool>();
  approval.who = json.contains("who") && json.at("who").is_string() ? json.at("who").get<std::string>().substr(0, 128) : "somebody";
  return approval;
}

ArmingDriver::ArmingDriver(io::Loop& loop, ArmingDriverSettings settings, drivers::StoreDriver& store, std::function<std::uint64_t(std::uint64_t)> chance,
                           ArmingDriverCallbacks callbacks)
    : loop_(loop),
      settings_(std::move(settings)),
      store_(store),
      callbacks_(std::move(callbacks)),
      core_(settings_.rules, std::move(chance)),
      timer_(loop, [this] {
        core_.tick(io::boottime_now());
        run();
      }),
      look_timer_(loop, [this] { look(); }),
      alive_(std::make_shared<bool>(true)) {
  if (settings_.hook) hook_.emplace(loop_, *settings_.hook, kHookAnswerBytesMax);
  watch_approval();
}

ArmingDriver::~ArmingDriver() {
  *alive_ = false;
  if (watch_) store_.unwatch(*watch_);
}

void ArmingDriver::on_role(const RoleState& state) {
  if (state.role == Role::kPrimary && state.epoch != Epoch{}) core_.on_primary(io::boottime_now(), state.epoch);
  else core_.on_standby(io::boottime_now());
  look();
}

/// What the own copy of the state says by now.
void ArmingDriver::look() {
  const auto& state = store_.core().state();
  const kv::Lease* lease = state.lease(settings_.service);
  if (lease != nullptr) core_.on_state(io::boottime_now(), Epoch{kv::value(lease->epoch)}, state.orders().counts(settings_.service).unknown);
  if (const kv::Entry* entry = state.get(approval_key(settings_.service))) {
    if (const auto approval = parse_approval(entry->value)) core_.on_approval(io::boottime_now(), *approval);
  }
  if (core_.epoch() != Epoch{}) look_timer_.arm_after(kLookEvery);
  run();
}

void ArmingDriver::watch_approval() {
  const kv::Topic topic{kv::Topic::Kind::kKey, approval_key(settings_.service)};
  auto id = store_.watch(topic, store_.core().state().topic_index(topic), [this] {
    watch_.reset();
    watch_approval();
    look();
  });
  if (id) watch_ = *id;
  else callbacks_.log("approval_unwatched", "too many waits at this agent; approvals are seen half a second later");
}

void ArmingDriver::run() {
  if (std::exchange(running_, true)) return;
  for (auto outputs = core_.take_output(); !outputs.empty(); outputs = core_.take_output()) {
    for (const ArmingOutput& output : outputs) obey(output);
  }
  running_ = false;
  const TimePoint deadline = core_.next_deadline();
  if (deadline == TimePoint::max()) timer_.disarm();
  else timer_.arm(deadline);
  show_state();
}

void ArmingDriver::obey(const ArmingOutput& output) {
  if (const auto* read = std::get_if<ReadPage>(&output)) return read_page(*read);
  if (const auto* ask = std::get_if<AskHook>(&output)) return ask_hook(*ask);
  if (const auto* verdict = std::get_if<WriteVerdict>(&output)) return write_verdict(*verdict);
  if (const auto* news = std::get_if<ArmingNews>(&output)) return callbacks_.log(news->what, news->detail);
  if (std::holds_alternative<DropHook>(output)) hook_->drop();
  else callbacks_.on_change();
}

void ArmingDriver::read_page(const ReadPage& read) {
  const kv::OrderLedger& ledger = store_.core().state().orders();
  const std::uint64_t now = wall_now();
  const auto age = [now](std::uint64_t since) { return now > since ? now - since : 0; };
  std::vector<OrderSeen> page;
  HeldBack held;
  if (read.kind == ReadPage::Kind::kRecent) {
    for (const kv::OrderRow& row : ledger.recent(settings_.service, kv::Index{read.bound}, read.limit)) {
      if (age(row->reserved_ms) > static_cast<std::uint64_t>(settings_.recent.count())) break;  // older ones follow
      page.push_back(seen_of(*row));
    }
  } else {
    if (read.bound == 0) {
      // A walk that a failing hook broke off has not seen the later ones: what was seen of them before still counts.
      if (walked_all_) noticed_before_.clear();
      noticed_before_.merge(std::exchange(noticed_, {}));
    }
    const std::vector<kv::OrderRow> rows = ledger.unknown(settings_.service, kv::Index{read.bound}, read.limit);
    walked_all_ = rows.size() < read.limit;
    for (const kv::OrderRow& row : rows) {
      if (is_quiet(*row)) {
        page.push_back(seen_of(*row));
      } else {
        ++held.orders;
        held.last = kv::value(row->reserved);
      }
    }
  }
  core_.on_page(io::boottime_now(), read.number, std::move(page), held);
}

/// Orders of an older epoch that another agent sent are fenced by the present one. Those of our own instance may still be in its hands, under the same
/// epoch or an older one, so they wait; by a clock that nobody sets, from when they were first seen here.
bool ArmingDriver::is_quiet(const kv::Order& order) {
  const kv::Lease* lease = store_.core().state().lease(settings_.service);
  if (lease != nullptr && kv::value(lease->holder) != kv::value(order.node)) return true;
  const auto known = noticed_before_.find(order.changed);
  const TimePoint since = known == noticed_before_.end() ? io::boottime_now() : known->second;
  noticed_.emplace(order.changed, since);
  return io::boottime_now() - since >= (settings_.rules.gives_up ? settings_.quiet : kQuietAtLeast);
}

void ArmingDriver::ask_hook(const AskHook& ask) {
  const std::string epoch = std::to_string(static_cast<std::uint64_t>(ask.epoch));
  hook_->ask(reconcile_question(ask, settings_.service, settings_.node), {{"OUTRIGGER_EPOCH", epoch}, {"OUTRIGGER_SERVICE", settings_.service}},
             settings_.rules.hook_timeout + kBeyondDeadline, [this, number = ask.number](bool ok, std::string text) {
               HookAnswer answer;
               if (ok) answer = reconcile_answer(text);
               else answer.detail = std::move(text);
               core_.on_hook(io::boottime_now(), number, std::move(answer));
               look();
             });
}

void ArmingDriver::write_verdict(const WriteVerdict& verdict) {
  kv::OrderResolve command;
  command.name = {settings_.service, verdict.finding.zone, verdict.finding.key};
  command.seen = kv::Index{verdict.seen};
  command.source = kv::OrderSource::kHook;
  command.time_ms = wall_now();
  command.state = verdict.finding.standing == OrderStanding::kDone ? kv::OrderState::kDone : kv::OrderState::kNotSent;
  if (command.state == kv::OrderState::kDone && verdict.finding.status != 0) {
    command.answer = {kv::AnswerKept::kWhole, static_cast<std::uint32_t>(verdict.finding.status), "\r\nContent-Type: application/json\r\n", verdict.finding.body};
  }
  store_.write(std::move(command), io::boottime_now() + settings_.write_timeout, [this, alive = alive_, number = verdict.number](const store::Result<store::Written>& written) {
    if (!*alive) return;
    VerdictEnd end = VerdictEnd::kNoAnswer;
    if (written) {
      const bool ours = written->outcome == kv::Outcome::kDone || written->outcome == kv::Outcome::kUnchanged;
      if (ours) end = VerdictEnd::kRecorded;
      else if (written->outcome != kv::Outcome::kForgotten) end = VerdictEnd::kOvertaken;
    }
    core_.on_verdict(io::boottime_now(), number, end);
    look();
  });
}

/// Never waited for: without a majority it is written a moment later, or by the next primary.
void ArmingDriver::show_state() {
  if (showing_ || core_.epoch() == Epoch{}) return;
  nlohmann::ordered_json json{{"epoch", static_cast<std::uint64_t>(core_.epoch())},
                              {"node", settings_.node},
                              {"mode", to_string(core_.rules().mode)},
                              {"phase", to_string(core_.phase())},
                              {"reason", core_.reason()},
                              {"unknown_left", core_.unknown_left()},
                              {"last_error", core_.last_error()}};
  if (core_.flat()) json["flat"] = *core_.flat();
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  if (text == shown_) return;
  showing_ = true;
  store_.write(kv::Set{arming_state_key(settings_.service), text, 0}, io::boottime_now() + settings_.write_timeout,
               [this, alive = alive_, text](const store::Result<store::Written>& written) {
                 if (!*alive) return;
                 showing_ = false;
                 if (written) shown_ = text;  // else look() comes back to it
               });
}

}  // namespace agent
