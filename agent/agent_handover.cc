// One process goes on where another stops: the sockets change hands, the store and the lease never have two owners.
// Decision 0052 says why each step is where it is.
#include <unistd.h>

#include <utility>

#include "agent/handover_word.h"
#include "agent/io/supervisor.h"
#include "agent/log.h"
#include "agent/running.h"

namespace agent {
namespace {

using Kind = HandoverWord::Kind;

constexpr Milliseconds kTakeOverWait{15'000};   // successor: for the predecessor's "go", besides orders in flight; its steps take 3 s at most
constexpr Milliseconds kReadyLook{10};
constexpr Milliseconds kRetireIdle{5000};       // predecessor: idle connections may bring one more request so long
constexpr Milliseconds kTakeBackAgain{50};
constexpr int kTakeBackTries = 40;              // 2 s for the dead successor's lock to be freed
constexpr std::size_t kSocketsPerWord = 64;

std::string door_path(const std::filesystem::path& data_dir) { return (data_dir / "handover.sock").string(); }

}  // namespace

// --- the successor ---------------------------------------------------------------------------------------------------

/// Before anything is opened here: asks whoever runs on this data directory for its sockets and its place.
io::Result<void> Agent::take_over() {
  auto channel = io::FdChannel::connect(*loop_, door_path(config_.node.data_dir));
  if (!channel && (channel.error().code == io::Errc::kNotFound || channel.error().code == io::Errc::kRefused)) {
    log_line(LogLevel::kInfo, "nobody_to_take_over_from", "no agent runs on this data directory; starting as usual");
    return {};
  }
  if (!channel) return tl::make_unexpected(channel.error());
  predecessor_ = std::move(*channel);
  bool go = false;
  std::string fault;
  const auto hear = [&go, &fault](std::string_view text, std::vector<io::OwnedFd> fds) {
    auto word = decode_handover(text);
    if (!word) fault = word.error().detail;
    else if (word->kind == Kind::kRefused) fault = word->text;
    else if (word->kind == Kind::kGo) go = true;
    else if (word->kind == Kind::kSockets && word->names.size() == fds.size()) {
      for (std::size_t i = 0; i < fds.size(); ++i) {
        if (auto left = io::SocketShelf::here().leave(word->names[i], fds[i].take()); !left) fault = left.error().detail;
      }
    }
  };
  if (auto heard = predecessor_->listen_to(hear, [&fault] { fault = "the running agent ended or broke off"; }); !heard) return heard;
  if (auto sent = predecessor_->send(encode({Kind::kTakeOver, OUTRIGGER_VERSION, {}, {}})); !sent) return sent;
  io::Timer deadline(*loop_, [&fault] { fault = "the running agent did not give way in time"; });
  deadline.arm_after(kTakeOverWait + order_wait());
  while (!go && fault.empty()) static_cast<void>(loop_->run_once());
  if (!fault.empty()) {
    predecessor_.reset();
    return io::fail(io::Errc::kIo, "take over: " + fault);
  }
  taking_over_ = true;
  return predecessor_->listen_to([](std::string_view, std::vector<io::OwnedFd>) {}, [this] { predecessor_.reset(); });
}

/// Clients wait in the queues of the sockets until this agent knows as much as the one before it did.
void Agent::await_clients(io::TimePoint deadline) {
  if (phase_ != Phase::kRunning) return;
  bool ready = endpoints_.has_value();
  std::string missing = ready ? "" : "no endpoints yet";
  for (const api::HealthItem& item : backend_->ready()) {
    if (item.ok) continue;
    ready = false;
    missing = item.name + ": " + item.detail;
  }
  if (!ready && io::boottime_now() < deadline && predecessor_) {
    return later(io::boottime_now() + kReadyLook, [this, deadline] { await_clients(deadline); });
  }
  if (!ready) log_line(LogLevel::kWarn, "taken_over_unready", missing);
  proxy_->start_accepting();
  for (const std::string& name : io::SocketShelf::here().clear_left()) log_line(LogLevel::kInfo, "socket_not_needed", name);
  io::tell_supervisor("MAINPID=" + std::to_string(::getpid()) + "\nREADY=1");
  if (predecessor_) static_cast<void>(predecessor_->send(encode({Kind::kReady, {}, {}, {}})));
  log_line(LogLevel::kInfo, "taken_over", "this process serves now");
  if (view_) tell_predecessor(*view_);
}

/// What waits there for a primary is sent to us, as a peer's requests are.
void Agent::tell_predecessor(const proxy::PrimaryView& view) {
  if (!predecessor_ || !taking_over_) return;
  HandoverWord word;
  word.kind = Kind::kPrimary;
  word.primary = seen_from_outside(view, mesh_->local_address().to_string());
  static_cast<void>(predecessor_->send(encode(word)));
}

// --- the predecessor -------------------------------------------------------------------------------------------------

void Agent::open_door() {
  auto door = io::FdDoor::open(*loop_, door_path(identity_.data_dir), [this](std::unique_ptr<io::FdChannel> channel) {
    if (successor_) return;  // one at a time; the other finds its channel closed
    successor_ = std::move(channel);
    const auto hear = [this](std::string_view text, const std::vector<io::OwnedFd>&) { on_successor_word(text); };
    if (!successor_->listen_to(hear, [this] { on_successor_gone(); })) successor_.reset();
  });
  if (door) door_ = std::move(*door);
  else log_line(LogLevel::kWarn, "no_hand_over", door.error().detail + "; this agent can be stopped and started, but nobody can take over from it");
}

void Agent::on_successor_word(std::string_view text) {
  const auto word = decode_handover(text);
  const std::string fault = !word ? word.error().detail : phase_ != Phase::kRunning && word->kind == Kind::kTakeOver ? "this agent is stopping" : "";
  if (!fault.empty()) {
    static_cast<void>(successor_->send(encode({Kind::kRefused, fault, {}, {}})));
    log_line(LogLevel::kWarn, "hand_over_refused", fault);
    return on_successor_gone();
  }
  if (word->kind == Kind::kTakeOver) return begin_hand_over(word->text);
  if (phase_ != Phase::kHandedOver) return;
  if (word->kind == Kind::kReady) return retire();
  if (word->kind == Kind::kPrimary) follow_primary(word->primary);
}

/// A successor that has just begun knows the epoch from its disk before gossip tells it where the holder is. "Nobody" under an epoch
/// that we know is no news then: orders at that holder go on, and it guards its lease itself.
void Agent::follow_primary(const proxy::PrimaryView& view) {
  const bool older = view_ && view.epoch < view_->epoch;
  const bool no_news = view_ && view.epoch == view_->epoch && view.holder == proxy::PrimaryView::Holder::kNone;
  if (older || no_news) return;
  view_ = view;
  proxy_->publish_primary(view);
}

void Agent::begin_hand_over(const std::string& version) {
  log_line(LogLevel::kInfo, "handing_over", "to version " + version);
  handing_over_ = true;
  phase_ = Phase::kReleasing;
  phase_until_ = io::boottime_now() + order_wait() + kReleaseWait;
  if (primary_) primary_->drain();
  if (halts_) halts_->keep_again();
  refresh_tags();
  stop_timer_->arm_after(kStopStep);
}

io::Result<void> Agent::send_sockets() {
  // Copies for ourselves, should the successor fail.
  for (const auto& one : io::SocketShelf::here().open()) {
    const int copy = ::dup(one.fd);
    if (copy < 0) return io::fail(io::Errc::kLimit, "no descriptor left for " + one.name);
    if (auto left = io::SocketShelf::here().leave(one.name, copy); !left) return left;
  }
  HandoverWord word;
  word.kind = Kind::kSockets;
  std::vector<int> fds;
  const auto flush = [&]() -> io::Result<void> {
    if (fds.empty()) return {};
    auto sent = successor_->send(encode(word), fds);
    word.names.clear();
    fds.clear();
    return sent;
  };
  for (const auto& one : io::SocketShelf::here().open()) {
    word.names.push_back(one.name);
    fds.push_back(one.fd);
    if (fds.size() < kSocketsPerWord) continue;
    if (auto sent = flush(); !sent) return sent;
  }
  return flush();
}

/// The lease is given up by now, or will be over by itself: the gate closes with the driver, before the store does.
void Agent::hand_over() {
  // The successor, and what this process knows of halts after that, come from the file.
  const HaltDisk::State kept = halts_ ? halts_->kept() : HaltDisk::State::kKept;
  if (kept == HaltDisk::State::kWriting) return stop_timer_->arm_after(kStopStep);  // late after a while
  if (kept != HaltDisk::State::kKept) {
    const std::string fault = "halts stand here that could not be written to the data directory; the one that takes over would not know of them";
    static_cast<void>(successor_->send(encode({Kind::kRefused, fault, {}, {}})));
    log_line(LogLevel::kError, "hand_over_refused", fault);
    return on_successor_gone();
  }
  if (auto sent = send_sockets(); !sent) {
    log_line(LogLevel::kError, "hand_over_failed", sent.error().detail);
    return on_successor_gone();
  }
  phase_ = Phase::kHandedOver;
  io::SocketShelf::here().renounce(true);
  close_control();
  static_cast<void>(successor_->send(encode({Kind::kGo, {}, {}, {}})));
  log_line(LogLevel::kInfo, "handed_over", "this process serves clients until the other one is ready");
}

/// Everything but the proxy's workers, which go on with what they know.
void Agent::close_control() {
  door_.reset();
  waits_.clear();
  keeper_timer_.reset();
  dns_.reset();
  dns_catalog_.reset();
  server_.reset();
  backend_.reset();
  operator_.reset();
  requests_.reset();
  traces_.reset();
  order_api_.reset();
  traffic_.reset();
  guard_.reset();
  names_.reset();
  upstreams_.reset();
  egress_.reset();         // its workers keep what they were told last
  kernel_permit_.reset();  // before the role: the successor renews it, and ours must not take it back
  health_.reset();
  keeper_.reset();
  catalog_.reset();
  local_.reset();
  arming_.reset();
  primary_.reset();
  checks_.reset();
  sticky_.reset();
  if (orders_) orders_->use(nullptr);
  follow_halts();
  audit_.reset();
  gossip_.reset();
  store_.reset();
  mesh_.reset();
  tags_.clear();
  kept_.reset();
  pid_file_.reset();
  identity_.lock.reset();
}

/// The successor serves: what waits in the queues is its from now on.
void Agent::retire() {
  if (retiring_) return;
  retiring_ = true;
  io::SocketShelf::here().clear_left();
  const io::TimePoint now = io::boottime_now();
  log_line(LogLevel::kInfo, "retiring", "clients here have " + std::to_string(config_.proxy.retire_timeout.count() / 1000) + " s to end");
  proxy_->retire(now + std::min<Milliseconds>(kRetireIdle, config_.proxy.retire_timeout), now + config_.proxy.retire_timeout, [this] { loop_->stop(); });
}

void Agent::on_successor_gone() {
  successor_.reset();
  if (!handing_over_ || retiring_) return;
  if (phase_ == Phase::kHandedOver) return take_back(kTakeBackTries);
  log_line(LogLevel::kWarn, "hand_over_ended", "the successor is gone; this agent goes on");
  handing_over_ = false;
  phase_ = Phase::kRunning;
  if (primary_ && !draining_) primary_->resume();
  refresh_tags();
}

/// The successor died before it could serve. Its locks die with it, its sockets are ours as well: start again in place.
void Agent::take_back(int tries) {
  auto identity = open_identity(config_.node.data_dir);
  if (!identity && identity.error().code == io::Errc::kLocked && tries > 0) {
    return later(io::boottime_now() + kTakeBackAgain, [this, tries] { take_back(tries - 1); });
  }
  handing_over_ = false;
  phase_ = Phase::kRunning;
  io::SocketShelf::here().renounce(false);
  endpoints_.reset();
  view_.reset();
  keep_endpoints_ = config_.service.has_value();  // until the first check has ended, what the workers know is better
  auto started = identity ? io::Result<void>() : tl::make_unexpected(identity.error());
  if (identity) identity_ = std::move(*identity);
  if (started) started = start_parts();
  io::SocketShelf::here().clear_left();
  if (!started) {
    log_line(LogLevel::kError, "take_back_failed", started.error().detail);
    exit_code_ = 1;
    return loop_->stop();
  }
  log_line(LogLevel::kError, "taken_back", "the successor ended before it could serve; this agent goes on");
}

/// Starts the program that is now where ours was started from, with the same arguments, to take over.
void Agent::start_successor() {
  if (phase_ != Phase::kRunning) return log_line(LogLevel::kWarn, "successor_not_started", "this process is on its way out; the one that has its place can be followed");
  if (source_.command.empty()) return log_line(LogLevel::kError, "successor_not_started", "this program's own path is unknown");
  auto started = io::start_detached(*loop_, source_.command);
  if (!started) return log_line(LogLevel::kError, "successor_not_started", started.error().detail);
  child_ = std::move(*started);
  log_line(LogLevel::kInfo, "successor_started", source_.command.front() + ", process " + std::to_string(child_.pid));
}

}  // namespace agent
