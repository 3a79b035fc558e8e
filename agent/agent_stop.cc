// Commands to the running agent, and its way down.
#include <algorithm>
#include <utility>

#include "agent/log.h"
#include "agent/running.h"

namespace agent {
namespace {

constexpr Milliseconds kTransferWait{1000};    // for another leader
constexpr Milliseconds kLastWordsWait{100};    // for answers already made
constexpr Milliseconds kDrainWait{2000};       // for requests of clients when stopping
constexpr Milliseconds kHooksWait{10'000};     // for hooks that run, besides their own time-outs: all waits together stay below the unit's TimeoutStopSec
constexpr Milliseconds kPeersHear{200};        // until nobody sends requests to an agent that hands over

}  // namespace

void Agent::watch_switchover() {
  const store::kv::Topic topic{store::kv::Topic::Kind::kKey, switchover_key(config_.service->name)};
  const auto id = store_->watch(topic, store_->core().state().topic_index(topic), [this] { obey_switchover(); });
  if (!id) log_line(LogLevel::kError, "switchover_unwatched", "too many waits at this agent; switchover orders will not be seen");
}

void Agent::obey_switchover() {
  const std::string key = switchover_key(config_.service->name);
  const store::kv::Entry* entry = store_->core().state().get(key);
  const auto order = entry != nullptr ? SwitchoverOrder::parse(entry->value) : std::nullopt;
  watch_switchover();
  if (!order || !primary_->core().serving() || static_cast<std::uint64_t>(primary_->core().epoch()) != order->epoch) return;
  HolderId target{};
  for (const gossip::Member& member : gossip_->core().members()) {
    if (!order->target.empty() && member.name == order->target) target = HolderId{raft_id_of(member.id).value};
  }
  log_line(LogLevel::kInfo, "switchover", order->target.empty() ? "to anyone" : "to " + order->target);
  primary_->switchover(target);
  store_->write(store::kv::Delete{key}, io::boottime_now() + config_.raft.write_timeout, [](const store::Result<store::Written>&) {});
}

void Agent::join(const std::vector<std::string>& addresses, api::Completion<std::size_t> done) {
  std::vector<io::HostPort> seeds;
  for (const std::string& text : addresses) {
    auto seed = io::parse_host_port(text, 7946);
    if (!seed) return done(tl::make_unexpected(api::Error{api::Errc::kBadRequest, seed.error().detail, {}}));
    seeds.push_back(std::move(*seed));
  }
  gossip_->join(seeds);
  // Joining goes on for ever; the answer says how many are being asked, members say who answered.
  later(io::boottime_now(), [done = std::move(done), count = seeds.size()] { done(count); });
}

void Agent::later(io::TimePoint at, std::function<void()> what) {
  const std::uint64_t number = ++wait_count_;
  auto& timer = waits_[number] = std::make_unique<io::Timer>(*loop_, [this, number, what = std::move(what)] {
    waits_.erase(number);
    what();
  });
  timer->arm(at);
}

void Agent::drain(bool enable, api::Completion<std::monostate> done) {
  draining_ = enable;
  log_line(LogLevel::kInfo, "drain", enable ? "on" : "off");
  if (primary_) enable ? primary_->drain() : primary_->resume();
  publish_endpoints();
  publish_instance();
  refresh_tags();
  backend_->on_role_changed();
  if (!enable || !primary_) return later(io::boottime_now(), [done = std::move(done)] { done(std::monostate{}); });
  await_role_given_up(io::boottime_now() + order_wait() + kDrainWait, done);
}

void Agent::await_role_given_up(io::TimePoint deadline, const api::Completion<std::monostate>& done) {
  later(io::boottime_now() + kStopStep, [this, deadline, done] {
    const bool holds = primary_->role_state().role == Role::kPrimary || primary_->core().record().holder == HolderId{raft_id_.value};
    if (!holds || !draining_) return done(std::monostate{});
    if (io::boottime_now() < deadline) return await_role_given_up(deadline, done);
    done(tl::make_unexpected(api::Error{api::Errc::kTimeout, "the role could not be given up yet; it will be as soon as the store has a leader", {}}));
  });
}

// --- stop ----------------------------------------------------------------------------------------------------------

void Agent::begin_stop(bool leave) {
  leaving_ = leaving_ || leave;
  if (phase_ != Phase::kRunning) return;
  log_line(LogLevel::kInfo, "stopping", leave ? "leaving the cluster" : "signal");
  phase_ = Phase::kReleasing;
  phase_until_ = io::boottime_now() + order_wait() + kReleaseWait;
  draining_ = true;
  if (primary_) primary_->drain();
  proxy_->drain(io::boottime_now() + std::max(kDrainWait, order_wait()), [this] { clients_gone_ = true; });
  publish_endpoints();
  refresh_tags();
  stop_timer_->arm_after(kStopStep);
}

/// The role is given up by now, so its hook has begun. It may still have to say so to the instance, or to end it: the service next door
/// would go on as a primary otherwise. The lease has not waited for it and is somebody else's perhaps.
bool Agent::hooks_hold(io::TimePoint now) const { return primary_ && primary_->telling() && now < hooks_until_; }

/// One look at the way down: each phase ends when its aim is reached or its time is over.
void Agent::step_down() {
  const io::TimePoint now = io::boottime_now();
  const bool late = now >= phase_until_;
  const auto enter = [&](Phase next, Milliseconds wait) {
    phase_ = next;
    phase_until_ = now + wait;
  };
  switch (phase_) {
    case Phase::kRunning:
    case Phase::kHandedOver:
    case Phase::kStopped: return;
    case Phase::kParting:
      if (!late || hooks_hold(now)) break;
      return hand_over();
    case Phase::kReleasing: {
      const bool held = primary_ && primary_->core().record().holder == HolderId{raft_id_.value};
      if (held && !late) break;
      // Orders that a service had in hand have ended, or may go to no broker any more: nobody needs the way there.
      if (!handing_over_) proxy_->drain_egress(now + kDrainWait);
      enter(Phase::kTransferring, kTransferWait);
      hooks_until_ = now + kHooksWait;
      if (store_->core().leader() == raft_id_) {
        store_->transfer_leadership({}, [](const store::Result<void>& result) {
          if (!result) log_line(LogLevel::kInfo, "leadership_kept", result.error().detail);
        });
      }
      break;
    }
    case Phase::kTransferring: {
      const bool leads = store_->core().leader() == raft_id_ && store_->core().raft().conf_state().voters.size() > 1;
      if (leads && !late) break;
      if (handing_over_) {
        enter(Phase::kParting, gossip_->core().members().size() > 1 ? kPeersHear : Milliseconds(0));
        break;
      }
      enter(Phase::kLeaving, Milliseconds(2500));
      if (leaving_) gossip_->leave();
      break;
    }
    case Phase::kLeaving:
      if (((leaving_ && !left_) || !clients_gone_) && !late) break;
      if (hooks_hold(now)) break;
      enter(Phase::kLastWords, kLastWordsWait);
      for (auto& done : std::exchange(leave_done_, {})) done(std::monostate{});
      server_->stop([this] { loop_->stop(); });
      break;
    case Phase::kLastWords:
      if (!late) break;
      phase_ = Phase::kStopped;
      loop_->stop();
      return;
  }
  stop_timer_->arm_after(kStopStep);
}

}  // namespace agent
