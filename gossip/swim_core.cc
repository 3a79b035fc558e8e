#include "gossip/swim_core.h"

#include <algorithm>
#include <cassert>

namespace gossip {
namespace {

constexpr std::size_t kInputsPerFrameMax = kMessagesMax;

Drop drop_of(Errc code) {
  switch (code) {
    case Errc::kTruncated:
      return Drop::kTruncated;
    case Errc::kMalformed:
      return Drop::kMalformed;
    case Errc::kTooBig:
      return Drop::kTooBig;
    case Errc::kUnknownVersion:
      return Drop::kUnknownVersion;
    case Errc::kPlaintextMixed:
      return Drop::kPlaintextMixed;
    case Errc::kUnknownKey:
      return Drop::kUnknownKey;
    case Errc::kNotAuthentic:
      return Drop::kNotAuthentic;
    case Errc::kReplayed:
      return Drop::kReplayed;
    case Errc::kThrottled:
      return Drop::kThrottled;
    case Errc::kChecksum:
    case Errc::kInvalidArgument:
      break;
  }
  return Drop::kMalformed;
}

}  // namespace

Swim::Core::Core(Config config, Rng rng, Aead* aead, TimePoint now, std::uint64_t wall_start_ms)
    : config_(std::move(config)),
      rng_(rng),
      start_(now),
      wall_start_ms_(wall_start_ms),
      envelope_(std::move(rng), aead, config_.cluster),
      table_(config_.members_max),
      health_(config_.health_score_max) {
  assert(validate(config_).has_value());
  assert((aead == nullptr) == config_.plaintext);
  Alive me;
  me.id = config_.id;
  me.rank.generation = Generation{std::max(wall_start_ms, static_cast<std::uint64_t>(config_.generation_saved) + 1)};
  me.name = config_.name;
  me.address = config_.advertise;
  me.protocol_min = me.protocol_max = kWireVersion;
  table_.apply(me, now);
  sequence_ = static_cast<std::uint32_t>(rng_(std::uint64_t{1} << 32));
  // A random first slot: agents started together must not probe in lockstep.
  const auto interval = static_cast<std::uint64_t>(config_.probe_interval.count());
  next_slot_ = now + Milliseconds(rng_(interval) + 1);
  next_gossip_ = next_knock_ = next_persist_ = next_sync_ = new_members_since_ = now;
  next_reap_ = now + std::chrono::minutes(1);
  seeds_silent_at_ = now + config_.seeds_silent_after;
  armed_ = next_slot_;
}

void Swim::Core::count_drop(Errc code) { count_drop(drop_of(code)); }

void Swim::Core::report(EventKind kind, const MemberId& subject, const MemberId& other, std::string detail,
                        Evidence evidence) {
  const Member* member = table_.find(subject);
  outputs_.emplace_back(
      Event{kind, subject, other, evidence, member != nullptr ? member->name : std::string{}, std::move(detail)});
}

// --- Packets in ---

void Swim::Core::on_datagram(TimePoint now, const Address& from, std::span<const std::byte> bytes) {
  ++counters_.datagrams_in;
  counters_.bytes_in += bytes.size();
  on_packet(now, Source{from, StreamId{}, {}}, bytes);
  finish_input(now);
}

void Swim::Core::on_packet(TimePoint now, Source source, std::span<const std::byte> bytes) {
  const auto opened = envelope_.open(now, source.from, bytes);
  if (!opened) return count_drop(opened.error().code);
  const auto packet = decode_body(opened->body);
  if (!packet) return count_drop(packet.error().code);
  if (packet->sender == config_.id) return count_drop(Drop::kSelfEcho);
  count_drop(Drop::kUnknownKind, packet->unknown_kinds);
  source.sender = packet->sender;
  const SessionId session = opened->session;
  if (!envelope_.admit(source.from, session, packet->link)) {
    on_unconfirmed(now, source, session, *packet, {opened->body.begin(), opened->body.end()});
    return;
  }
  for (const auto& held : envelope_.release(session)) {
    const auto earlier = decode_body(held.body);
    if (!earlier) continue;
    const Source origin{held.from, StreamId{held.context}, earlier->sender};
    if (held.context != 0 && !streams_.contains(origin.stream)) continue;
    process(now, origin, *earlier, true);
  }
  process(now, source, *packet, false);
  if (envelope_.owes_echo(source.from)) reply(source, {});
}

/// A packet that may be a recording: it moves nothing here. Pings are answered, since an answer tells nothing new,
/// and the answer carries the cookie whose echo will prove that the sender lives.
void Swim::Core::on_unconfirmed(TimePoint now, const Source& source, SessionId session, const Packet& packet,
                                std::vector<std::byte> body) {
  (void)now;
  bool answered = false;
  for (const auto& message : packet.messages) {
    const auto* ping = std::get_if<Ping>(&message);
    if (ping == nullptr || left_ || answered) continue;
    const Message ack = Ack{ping->sequence, table_.digest(), static_cast<std::uint8_t>(health_.value())};
    reply(source, {&ack, 1});
    answered = true;
  }
  if (!envelope_.hold(session, {source.from, static_cast<std::uint64_t>(source.stream), std::move(body)})) {
    count_drop(Drop::kUnconfirmed);
  }
  if (!answered && !left_) reply(source, {});
}

void Swim::Core::process(TimePoint now, const Source& source, const Packet& packet, bool pings_answered) {
  if (left_) {
    for (const auto& message : packet.messages) {
      if (std::holds_alternative<LeaveAck>(message)) take_leave_ack(source);
    }
    return;
  }
  // Claims first: an answer in this turn then already carries what they made us say, above all a refutation.
  std::size_t updates = 0;
  const std::size_t updates_max = source.stream == StreamId{} ? config_.updates_per_datagram_max : kInputsPerFrameMax;
  for (const auto& message : packet.messages) {
    if (!is_update(message)) continue;
    if (++updates > updates_max)
      count_drop(Drop::kUpdateLimit);
    else
      take_update(now, source, message);
  }
  on_sender(now, source);
  for (const auto& message : packet.messages) {
    if (is_update(message)) continue;
    if (pings_answered && std::holds_alternative<Ping>(message)) continue;
    process_one(now, source, message);
  }
}

void Swim::Core::process_one(TimePoint now, const Source& source, const Message& message) {
  if (const auto* ping = std::get_if<Ping>(&message)) {
    const Message ack = Ack{ping->sequence, table_.digest(), static_cast<std::uint8_t>(health_.value())};
    reply(source, {&ack, 1});
  } else if (const auto* answer = std::get_if<Ack>(&message)) {
    take_ack(now, source, *answer);
  } else if (const auto* nack = std::get_if<Nack>(&message)) {
    take_nack(*nack);
  } else if (const auto* request = std::get_if<PingReq>(&message)) {
    take_ping_req(now, source, *request);
  } else if (const auto* relayed = std::get_if<RelayAck>(&message)) {
    take_relay_ack(now, *relayed);
  } else if (const auto* wanted = std::get_if<Pull>(&message)) {
    take_pull(source, *wanted);
  } else if (const auto* sync = std::get_if<SyncRequest>(&message)) {
    take_sync_request(now, source, *sync);
  } else if (const auto* offer = std::get_if<SyncOffer>(&message)) {
    const auto stream = streams_.find(source.stream);
    if (stream != streams_.end() && stream->second.role == Stream::Role::kSyncOut) stream->second.mask = offer->mask;
  } else if (std::holds_alternative<SyncDone>(message)) {
    take_sync_done(now, source);
  } else {
    assert(std::holds_alternative<LeaveAck>(message));
    count_drop(Drop::kStrayAnswer);
  }
}

/// What the mere existence of an authentic packet tells: who sends is alive, whatever our table says.
void Swim::Core::on_sender(TimePoint now, const Source& source) {
  const Member* sender = table_.find(source.sender);
  if (sender == nullptr) {
    pull(now, source, source.sender);
    return;
  }
  if (sender->is_live()) on_contact(now, source);
  if (sender->state == MemberState::kAlive || sender->state == MemberState::kLeft) return;
  if (sender->state == MemberState::kSuspect && !config_.buddy) return;
  // gossip.md 5.9: tell it what it is held for, so that it refutes; at most once a second each.
  TimePoint& told = notes_.at(source.sender);
  if (told != TimePoint{} && now - told < std::chrono::seconds(1)) return;
  told = now;
  Message note = Dead{sender->id, sender->rank(), Evidence::kSilent, {config_.id}};
  if (const auto suspect = cases_.find(sender->id); suspect != cases_.end()) {
    const auto& first = suspect->second.suspicion.accusations().front();
    note = Suspect{sender->id, sender->rank(), first.accuser, first.evidence};
  }
  reply(source, {&note, 1});
}

// --- Packets out ---

std::vector<std::byte> Swim::Core::make_packet(const Address& to, std::span<const Message> lead, bool piggyback,
                                               std::size_t bytes_max, std::size_t* sent) {
  std::vector<std::byte> bytes;
  bytes.reserve(256);
  envelope_.begin(bytes);
  BodyWriter body(bytes, bytes_max - envelope_.overhead(), config_.id, envelope_.link_to(to));
  *sent = 0;
  while (*sent < lead.size() && body.add(lead[*sent])) ++*sent;
  if (piggyback) {
    const std::size_t room = config_.updates_per_datagram_max - std::min(config_.updates_per_datagram_max, *sent);
    queue_.fill(body, retransmit_limit(config_.retransmit_factor, table_.live_count()), room);
  }
  body.finish();
  envelope_.seal(bytes, 0);
  return bytes;
}

void Swim::Core::send(const Address& to, std::span<const Message> lead, bool piggyback) {
  do {
    std::size_t sent = 0;
    auto bytes = make_packet(to, lead, piggyback, config_.datagram_bytes_max, &sent);
    assert(sent > 0 || lead.empty());
    ++counters_.datagrams_out;
    counters_.bytes_out += bytes.size();
    outputs_.emplace_back(SendDatagram{to, std::move(bytes)});
    lead = lead.subspan(sent);
  } while (!lead.empty());
}

void Swim::Core::reply(const Source& source, std::span<const Message> lead) {
  if (source.stream == StreamId{})
    send(source.from, lead, true);
  else
    send_frame(source.stream, source.from, lead);
}

/// End of every input: urgent news leave with the event that caused them.
void Swim::Core::finish_input(TimePoint now) {
  flush_urgent(now);
  envelope_.members_now(table_.members().size());
  // A deadline that is overdue by less than a pause may vanish with this input before the driver's timer comes.
  if (armed_ >= now || now - armed_ <= config_.probe_timeout_max / 2) armed_ = std::max(now, next_deadline());
}

// --- Time ---

void Swim::Core::guard_pause(TimePoint now) {
  const Duration gap = now - std::exchange(armed_, now);
  if (!config_.pause_guard || left_ || gap <= config_.probe_timeout_max / 2) return;
  ++counters_.pauses;
  // We slept through answers; whoever looks silent now is no more suspect than before.
  for (const auto& probe : probes_) {
    if (probe.stream != StreamId{}) close_stream(probe.stream);
  }
  probes_.clear();
  for (auto& [id, suspect] : cases_) {
    suspect.suspicion.shift(gap);
    suspect.next_round += gap;
  }
  health_.worsen();
  report(EventKind::kPaused, config_.id, {}, std::to_string(std::chrono::duration_cast<Milliseconds>(gap).count()));
}

void Swim::Core::tick(TimePoint now) {
  guard_pause(now);
  if (left_) {
    if (leaving_) leave_round(now);
    finish_input(now);
    return;
  }
  advance_relays(now);
  advance_probes(now);
  advance_cases(now);
  advance_streams(now);
  if (now >= next_slot_) run_slot(now);
  knock(now);
  if (now >= next_gossip_) gossip_round(now);
  advance_housekeeping(now);
  finish_input(now);
}

TimePoint Swim::Core::next_deadline() const {
  if (left_) return leaving_ ? std::min(leave_next_, leave_deadline_) : next_slot_ + std::chrono::hours(24 * 365);
  TimePoint next = next_slot_;
  const auto consider = [&next](TimePoint due) { next = std::min(next, due); };
  for (const auto& probe : probes_) consider(probe.second_stage ? probe.verdict_deadline : probe.direct_deadline);
  for (const auto& relay : relays_) consider(relay.nacked ? relay.expires : relay.nack_at);
  for (const auto& [id, suspect] : cases_) {
    consider(case_due(id, suspect));
    if (config_.verify && !suspect.suspicion.is_confirmed()) consider(suspect.next_round);
  }
  for (const auto& [id, stream] : streams_) consider(stream.deadline);
  if (!queue_.empty() && live_others() > 0) consider(next_gossip_);
  if (const auto due = next_knock()) consider(*due);
  if (persist_wanted_) consider(next_persist_);
  if (!joined_ && !seeds_silent_reported_ && heal_.has_seeds()) consider(seeds_silent_at_);
  consider(next_reap_);
  return next;
}

}  // namespace gossip
