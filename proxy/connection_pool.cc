#include "proxy/connection_pool.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "proxy/exchange.h"

namespace proxy {

Connection::Connection(Core& core, EndpointState& endpoint)
    : core_(core), endpoint_(endpoint), parser_(core.settings.response_limits), timer_(*this),
      generation_(endpoint.generation) {
  ++endpoint_.open;
  ++core_.counters.upstream_open;
}

Connection::~Connection() {
  assert(!idle_);
  --endpoint_.open;
  --core_.counters.upstream_open;
  opening_ended();
}

void Connection::opening_ended() {
  if (!std::exchange(opening_, false)) return;
  --endpoint_.opening;
  core_.note_slot_freed();
}

void Connection::open(Exchange& exchange, TimePoint deadline) {
  exchange_ = &exchange;
  ++core_.counters.upstream_connects;
  // A local instance may get orders over this connection later, a broker nothing else: nothing may wait in user space on the way there.
  const bool checked = endpoint_.endpoint.kind == EndpointKind::kLocal || endpoint_.endpoint.egress != nullptr;
  const Queueing queueing = checked ? Queueing::kNone : Queueing::kSome;
  opening_ = endpoint_.endpoint.kind == EndpointKind::kPeer;
  if (opening_) ++endpoint_.opening;
  stream_ = core_.connector.connect(endpoint_.endpoint, queueing, *this);
  assert(stream_ != nullptr);
  stream_->set_sink(this);
  core_.wheel.arm(timer_, deadline);
}

void Connection::reuse(Exchange& exchange) {
  exchange_ = &exchange;
  reused_ = true;
  ++requests_;
  sent_bytes_ = 0;
  lease_ = nullptr;
  core_.wheel.disarm(timer_);
  ++core_.counters.upstream_reuses;
}

void Connection::guard_egress(const ServiceState& service, std::string_view egress, EgressDeed deed) {
  if (epoch_ == Epoch{}) epoch_ = service.view.epoch;
  egress_ = &service;
  act_ = {egress, epoch_, std::nullopt, deed};
}

bool Connection::may_write() const {
  const TimePoint now = core_.host.now();
  if (egress_ != nullptr) return egress_permit(egress_->view, act_, now) == EgressVerdict::kOpen;
  return lease_->valid_at(now);
}

SendResult Connection::send(std::span<const Bytes> pieces) {
  if (guarded() && !may_write()) {
    ++core_.counters.writes_denied;
    return SendResult::kLeaseOver;
  }
  const std::size_t taken = outlet_.send(*stream_, pieces);
  note_late_write(taken);
  return SendResult::kSent;
}

void Connection::note_late_write(std::size_t taken) {
  sent_bytes_ += taken;
  if (guarded() && taken > 0 && !may_write()) ++core_.counters.late_lease_writes;
}

void Connection::pause_reading() {
  if (reading_) stream_->pause_reading();
  reading_ = false;
}

void Connection::resume_reading() {
  if (!reading_) stream_->resume_reading();
  reading_ = true;
}

void Connection::become_idle() {
  idle_ = true;
  exchange_ = nullptr;
  lease_ = nullptr;
  egress_ = nullptr;
  idle_since_ = core_.now;
  resume_reading();
  endpoint_.idle.push_back(this);
  ++core_.counters.upstream_idle;
  core_.wheel.arm(timer_, core_.now + core_.settings.upstream_idle_timeout);
}

void Connection::leave_pool() {
  if (!idle_) return;
  idle_ = false;
  std::erase(endpoint_.idle, this);
  --core_.counters.upstream_idle;
}

void Connection::on_connected() {
  Core::Event event(core_);
  connected_ = true;
  opening_ended();
  core_.wheel.disarm(timer_);
  if (exchange_ == nullptr) return;
  exchange_->focus(*this);
  exchange_->upstream_connected();
}

void Connection::on_data(Bytes bytes) {
  Core::Event event(core_);
  if (idle_) {
    // Nobody has asked: not a server to send the next request to.
    leave_pool();
    stream_->close();
    core_.bury(std::unique_ptr<Connection>(this));
    return;
  }
  if (exchange_ == nullptr) return;
  exchange_->focus(*this);
  exchange_->upstream_data(parser_, bytes);
}

void Connection::on_eof() {
  Core::Event event(core_);
  if (idle_) {
    leave_pool();
    stream_->close();
    core_.bury(std::unique_ptr<Connection>(this));
    return;
  }
  if (exchange_ == nullptr) return;
  exchange_->focus(*this);
  exchange_->upstream_eof(parser_);
}

void Connection::on_writable() {
  Core::Event event(core_);
  if (exchange_ == nullptr) return;
  if (guarded() && !outlet_.empty() && !may_write()) {
    ++core_.counters.writes_denied;
    exchange_->lease_lost();
    return;
  }
  note_late_write(outlet_.flush(*stream_));
  exchange_->upstream_writable();
}

void Connection::on_closed(StreamEnd end) {
  Core::Event event(core_);
  if (idle_) {
    leave_pool();
    core_.bury(std::unique_ptr<Connection>(this));
    return;
  }
  if (exchange_ == nullptr) return;
  exchange_->focus(*this);
  exchange_->upstream_closed(end);
}

void Connection::on_deadline(Timer&, TimePoint) {
  if (idle_) {
    leave_pool();
    stream_->close();
    core_.bury(std::unique_ptr<Connection>(this));
    return;
  }
  if (connected_ || exchange_ == nullptr) return;
  exchange_->focus(*this);
  exchange_->upstream_closed(StreamEnd::kUnreachable);
}

std::unique_ptr<Connection> take_idle(Core& core, EndpointState& endpoint, Milliseconds idled_max) {
  if (endpoint.idle.empty()) return nullptr;
  Connection* newest = endpoint.idle.back();
  if (core.now - newest->idle_since() > idled_max) return nullptr;
  newest->leave_pool();
  return std::unique_ptr<Connection>(newest);
}

void give_back(Core& core, std::unique_ptr<Connection> connection) {
  EndpointState& endpoint = connection->endpoint();
  const bool keep = !core.draining && connection->reusable() && connection->drained() && connection->quiet() &&
                    endpoint.idle.size() < core.settings.upstream_idle_max;
  if (keep) {
    connection.release()->become_idle();
    return;
  }
  connection->detach();
  connection->close();
  core.bury(std::move(connection));
}

std::uint64_t reset_idle(Core& core, EndpointState& endpoint, Epoch kept) {
  const std::vector<Connection*> all = endpoint.idle;
  std::uint64_t count = 0;
  for (Connection* connection : all) {
    if (connection->epoch() == kept) continue;
    ++count;
    connection->leave_pool();
    connection->reset();
    core.bury(std::unique_ptr<Connection>(connection));
  }
  return count;
}

void close_idle(Core& core, EndpointState& endpoint) {
  while (!endpoint.idle.empty()) {
    Connection* connection = endpoint.idle.back();
    connection->leave_pool();
    connection->close();
    core.bury(std::unique_ptr<Connection>(connection));
  }
}

}  // namespace proxy
