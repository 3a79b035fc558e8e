#include "agent/primary_driver.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "agent/io/clock.h"
#include "agent/io/file.h"

namespace agent {
namespace {

InstanceState instance_state(drivers::InstanceHealth health) {
  switch (health) {
    case drivers::InstanceHealth::kUnknown: return InstanceState::kUnknown;
    case drivers::InstanceHealth::kPassing: return InstanceState::kPassing;
    case drivers::InstanceHealth::kDegraded: return InstanceState::kDegraded;
    case drivers::InstanceHealth::kCritical: return InstanceState::kCritical;
    case drivers::InstanceHealth::kGone: return InstanceState::kGone;
  }
  return InstanceState::kUnknown;
}

/// A decision of the state machine is an answer; everything else leaves it open whether the command was applied.
Answer answer_of(const store::Result<store::Written>& written) {
  using store::kv::Outcome;
  if (!written) return Answer::kUnknown;
  if (written->outcome == Outcome::kDone) return Answer::kGranted;
  return written->outcome == Outcome::kForgotten ? Answer::kUnknown : Answer::kRefused;
}

}  // namespace

PrimaryDriver::PrimaryDriver(io::Loop& loop, PrimaryDriverSettings settings, drivers::StoreDriver& store,
                             std::function<std::uint64_t(std::uint64_t)> chance, PrimaryDriverCallbacks callbacks)
    : loop_(loop),
      settings_(std::move(settings)),
      store_(store),
      callbacks_(std::move(callbacks)),
      core_(settings_.core, std::move(chance)),
      hooks_(loop, settings_.hook_timeout,
             [this](const drivers::HookReport& report) {
               callbacks_.log(report.ok ? "hook_done" : "hook_failed",
                              report.name + ": " + report.detail + ", " + std::to_string(report.took.count()) + " ms");
             }),
      timer_(loop, [this] {
        core_.tick(io::boottime_now());
        run();
      }) {
  state_.since_ms = io::wall_ms();
  write_role_file();
}

PrimaryDriver::~PrimaryDriver() {
  close_gate();
  stop_telling();
}

void PrimaryDriver::on_trouble(std::string trouble) {
  core_.on_trouble(io::boottime_now(), std::move(trouble));
  run();
}

void PrimaryDriver::on_instance(drivers::InstanceHealth health) {
  core_.on_instance(io::boottime_now(), instance_state(health));
  changed_ = true;
  run();
}

void PrimaryDriver::on_lease(const store::kv::Lease* lease) {
  LeaseRecord record;
  std::string holder_name;
  if (lease != nullptr) {
    record = {Epoch{store::kv::value(lease->epoch)}, HolderId{store::kv::value(lease->holder)},
              HolderId{store::kv::value(lease->preferred)}};
    holder_name = lease->holder_name;
  }
  state_.holder = record.holder;
  state_.holder_name = record.holder == HolderId{} ? std::string() : holder_name;
  if (core_.role() != Role::kPrimary) state_.epoch = record.epoch;
  changed_ = true;
  core_.on_lease(io::boottime_now(), record);
  run();
}

void PrimaryDriver::on_orders_drained(Epoch epoch) {
  if (epoch != core_.epoch()) return;  // of an epoch that is over
  core_.on_orders_drained(io::boottime_now());
  run();
}

void PrimaryDriver::drain() {
  core_.drain(io::boottime_now());
  changed_ = true;
  run();
}

void PrimaryDriver::resume() {
  core_.resume(io::boottime_now());
  changed_ = true;
  run();
}

bool PrimaryDriver::switchover(HolderId target) {
  const bool begun = core_.switchover(io::boottime_now(), target);
  run();
  return begun;
}

void PrimaryDriver::run() {
  for (;;) {
    auto outputs = core_.take_output();
    if (outputs.empty()) break;
    for (PrimaryOutput& output : outputs) obey(output);
  }
  const TimePoint deadline = core_.next_deadline();
  if (deadline == TimePoint::max()) timer_.disarm();
  else timer_.arm(deadline);
  if (!changed_) return;
  changed_ = false;
  ++state_.index;
  callbacks_.on_change();
}

void PrimaryDriver::obey(PrimaryOutput& output) {
  if (const auto* acquire = std::get_if<Acquire>(&output)) {
    send_acquire(*acquire);
  } else if (const auto* renew = std::get_if<Renew>(&output)) {
    send_renew(*renew);
  } else if (const auto* release = std::get_if<Release>(&output)) {
    // The gate is closed by now. What is held back here may be of an epoch that is over when it goes: the store refuses it then.
    if (callbacks_.before_release) callbacks_.before_release([this, held = *release] { send_release(held); });
    else send_release(*release);
  } else if (const auto* role = std::get_if<RoleChange>(&output)) {
    obey_role(*role);
  } else if (const auto* gate = std::get_if<OpenGate>(&output)) {
    const auto epoch = proxy::Epoch{static_cast<std::uint64_t>(gate->epoch)};
    if (!lease_view_ || lease_view_->epoch != epoch) {
      close_gate();
      lease_view_ = std::make_shared<proxy::LeaseView>(epoch);
      changed_ = true;
    }
    const auto until = std::chrono::duration_cast<std::chrono::nanoseconds>(gate->valid_until.time_since_epoch());
    lease_view_->valid_until_ns.store(until.count(), std::memory_order_release);
  } else if (std::holds_alternative<CloseGate>(output)) {
    close_gate();
    changed_ = true;
  } else {
    callbacks_.drain_orders();
  }
}

void PrimaryDriver::close_gate() {
  if (lease_view_) lease_view_->valid_until_ns.store(0, std::memory_order_seq_cst);
}

io::TimePoint PrimaryDriver::request_deadline() const { return io::boottime_now() + settings_.core.lease; }

void PrimaryDriver::send_acquire(const Acquire& acquire) {
  store::kv::LeaseAcquire command;
  command.service = settings_.service;
  command.holder = store::kv::NodeId{static_cast<std::uint64_t>(settings_.core.self)};
  command.holder_name = settings_.self_name;
  command.lease_ms = static_cast<std::uint32_t>(settings_.core.lease.count());
  command.margin_ms = static_cast<std::uint32_t>(settings_.margin.count());
  store_.write(std::move(command), request_deadline(), [this, request = acquire.request](store::Result<store::Written> written) {
    const Epoch epoch{written ? store::kv::value(written->epoch) : 0};
    core_.on_answer(io::boottime_now(), request, answer_of(written), epoch);
    run();
  });
}

void PrimaryDriver::send_renew(const Renew& renew) {
  store_.renew(settings_.service, store::kv::Epoch{static_cast<std::uint64_t>(renew.epoch)}, request_deadline(),
               [this, request = renew.request](store::Result<void> renewed) {
                 Answer answer = Answer::kGranted;
                 if (!renewed) answer = renewed.error().code == store::Errc::kStaleEpoch ? Answer::kRefused : Answer::kUnknown;
                 core_.on_answer(io::boottime_now(), request, answer, Epoch{});
                 run();
               });
}

void PrimaryDriver::send_release(const Release& release) {
  store::kv::LeaseRelease command{settings_.service, store::kv::Epoch{static_cast<std::uint64_t>(release.epoch)},
                                  store::kv::NodeId{static_cast<std::uint64_t>(release.preferred)}};
  store_.write(std::move(command), request_deadline(), [this, request = release.request](store::Result<store::Written> written) {
    core_.on_answer(io::boottime_now(), request, answer_of(written), Epoch{});
    run();
  });
}

void PrimaryDriver::obey_role(const RoleChange& change) {
  state_.role = change.role;
  state_.serving = change.serving;
  if (change.role == Role::kPrimary) {
    state_.epoch = change.epoch;
    state_.holder = settings_.core.self;
    state_.holder_name = settings_.self_name;
  }
  state_.since_ms = io::wall_ms();
  changed_ = true;
  callbacks_.log(change.role == Role::kPrimary ? (change.serving ? "promoted" : "yielding") : "demoted",
                 change.reason + ", epoch " + std::to_string(static_cast<std::uint64_t>(change.epoch)));
  write_role_file();
  announce(change);
}

void PrimaryDriver::announce(const RoleChange& change) {
  const bool primary = change.role == Role::kPrimary;
  if (primary == announced_primary_) return;  // a primary that yields is announced once it is none any more
  announced_primary_ = primary;
  const auto& target = primary ? settings_.promote : settings_.demote;
  if (!target) return;
  const std::string epoch = std::to_string(static_cast<std::uint64_t>(change.epoch));
  const char* role = primary ? "primary" : "standby";
  const nlohmann::json document{{"service", settings_.service}, {"role", role},
                                {"epoch", static_cast<std::uint64_t>(change.epoch)}, {"node", settings_.self_name},
                                {"reason", change.reason}};
  hooks_.call({*target, primary ? "promote" : "demote", document.dump(),
               {{"OUTRIGGER_ROLE", role}, {"OUTRIGGER_EPOCH", epoch}, {"OUTRIGGER_SERVICE", settings_.service}}});
}

void PrimaryDriver::write_role_file() {
  if (settings_.role_file.empty()) return;
  const std::string text = std::string(state_.role == Role::kPrimary ? "primary" : "standby") + " " +
                           std::to_string(static_cast<std::uint64_t>(state_.epoch)) + " " + std::to_string(state_.since_ms) + "\n";
  if (const auto written = io::replace_file_fast(settings_.role_file, text); !written) {
    callbacks_.log("role_file_failed", written.error().detail);
  }
}

}  // namespace agent
