#include "gossip/swim.h"

#include "gossip/swim_core.h"

namespace gossip {

Swim::Swim(Config config, Rng rng, Aead* aead, TimePoint now, std::uint64_t wall_start_ms)
    : core_(std::make_unique<Core>(std::move(config), std::move(rng), aead, now, wall_start_ms)) {}
Swim::~Swim() = default;
Swim::Swim(Swim&&) noexcept = default;
Swim& Swim::operator=(Swim&&) noexcept = default;

void Swim::on_datagram(TimePoint now, const Address& from, std::span<const std::byte> bytes) {
  core_->on_datagram(now, from, bytes);
}
void Swim::on_datagram_error(TimePoint now, const Address& to, Failure failure) {
  core_->on_datagram_error(now, to, failure);
}
std::optional<StreamId> Swim::accept_stream(TimePoint now, const Address& from) {
  return core_->accept_stream(now, from);
}
void Swim::on_stream_opened(TimePoint now, StreamId id) { core_->on_stream_opened(now, id); }
void Swim::on_stream_data(TimePoint now, StreamId id, std::span<const std::byte> bytes) {
  core_->on_stream_data(now, id, bytes);
}
void Swim::on_stream_closed(TimePoint now, StreamId id, Failure failure) { core_->on_stream_closed(now, id, failure); }
void Swim::tick(TimePoint now) { core_->tick(now); }
TimePoint Swim::next_deadline() const { return core_->next_deadline(); }
Result<void> Swim::join(TimePoint now, std::span<const Address> seeds) { return core_->join(now, seeds); }
Result<void> Swim::restore(TimePoint now, std::span<const std::byte> snapshot) { return core_->restore(now, snapshot); }
void Swim::leave(TimePoint now) { core_->leave(now); }
Result<void> Swim::push_out(TimePoint now, const MemberId& id) { return core_->push_out(now, id); }
Result<void> Swim::set_tags(TimePoint now, std::span<const TagChange> changes, Urgency urgency) {
  return core_->set_tags(now, changes, urgency);
}
std::vector<Output> Swim::take_output() { return core_->take_output(); }
std::span<const Member> Swim::members() const { return core_->table().members(); }
const Member* Swim::find(const MemberId& id) const { return core_->table().find(id); }
const Member& Swim::self() const { return core_->self(); }
std::size_t Swim::live_count() const { return core_->table().live_count(); }
std::uint32_t Swim::health_score() const { return core_->health().value(); }
std::uint64_t Swim::digest() const { return core_->table().digest(); }
const Counters& Swim::counters() const { return core_->counters(); }

}  // namespace gossip
