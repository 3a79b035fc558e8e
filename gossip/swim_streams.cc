#include <algorithm>

#include "gossip/swim_core.h"

namespace gossip {
namespace {

constexpr std::size_t kLengthBytes = 4;

}  // namespace

// --- Streams and frames: 4 bytes length (big-endian), then one packet as in a datagram, up to kFrameBytesMax ---

StreamId Swim::Core::open_stream(TimePoint now, Stream stream, Duration limit) {
  const StreamId id{++stream_last_};
  stream.deadline = now + limit;
  outputs_.emplace_back(OpenStream{id, stream.peer});
  streams_.emplace(id, std::move(stream));
  return id;
}

void Swim::Core::close_stream(StreamId id) {
  if (streams_.erase(id) > 0) outputs_.emplace_back(CloseStream{id});
}

std::size_t Swim::Core::count_streams(Stream::Role role) const {
  return static_cast<std::size_t>(
      std::count_if(streams_.begin(), streams_.end(), [role](const auto& entry) { return entry.second.role == role; }));
}

std::optional<StreamId> Swim::Core::accept_stream(TimePoint now, const Address& from) {
  const Address host = from.without_port();
  const auto same_host = std::count_if(streams_.begin(), streams_.end(), [&](const auto& entry) {
    return entry.second.role == Stream::Role::kInbound && entry.second.peer.without_port() == host;
  });
  if (left_ || count_streams(Stream::Role::kInbound) >= config_.inbound_streams_max ||
      static_cast<std::size_t>(same_host) >= config_.inbound_streams_per_host_max) {
    count_drop(Drop::kStreamLimit);
    return std::nullopt;
  }
  const StreamId id{++stream_last_};
  Stream stream;
  stream.peer = from;
  stream.deadline = now + config_.stream_sync_deadline;
  streams_.emplace(id, std::move(stream));
  return id;
}

/// Sends one frame per kFrameBytesMax of messages; an empty lead makes one frame that carries the link only.
void Swim::Core::send_frame(StreamId id, const Address& to, std::span<const Message> lead) {
  if (!streams_.contains(id)) return;
  do {
    std::size_t sent = 0;
    const auto packet = make_packet(to, lead, false, kFrameBytesMax, &sent);
    std::vector<std::byte> bytes;
    bytes.reserve(packet.size() + kLengthBytes);
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::byte>(packet.size() >> shift));
    bytes.insert(bytes.end(), packet.begin(), packet.end());
    counters_.stream_bytes_out += bytes.size();
    outputs_.emplace_back(SendStream{id, std::move(bytes)});
    lead = lead.subspan(sent);
  } while (!lead.empty());
}

void Swim::Core::on_stream_opened(TimePoint now, StreamId id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  if (stream.role == Stream::Role::kProbe) {
    Member* target = nullptr;
    for (auto& probe : probes_) {
      if (probe.stream != id) continue;
      probe.stream_opened = true;
      target = table_.find(probe.target);
    }
    const auto messages = make_ping(stream.probe_sequence, target);
    send_frame(id, stream.peer, messages);
  } else if (stream.role == Stream::Role::kSyncOut) {
    SyncRequest request;
    request.buckets = table_.buckets();
    const Message message = request;
    send_frame(id, stream.peer, {&message, 1});
  }
  finish_input(now);
}

void Swim::Core::on_stream_data(TimePoint now, StreamId id, std::span<const std::byte> bytes) {
  counters_.stream_bytes_in += bytes.size();
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second.bytes_in += bytes.size();
  if (found->second.bytes_in > config_.sync_bytes_max + 2 * kFrameBytesMax) {
    count_drop(Drop::kStreamOverrun);
    return close_stream(id);
  }
  found->second.buffer.insert(found->second.buffer.end(), bytes.begin(), bytes.end());
  // Processing a frame may close the stream: look it up again for each.
  while ((found = streams_.find(id)) != streams_.end()) {
    auto& buffer = found->second.buffer;
    if (buffer.size() < kLengthBytes) break;
    std::size_t length = 0;
    for (std::size_t i = 0; i < kLengthBytes; ++i) length = length << 8 | static_cast<std::uint8_t>(buffer[i]);
    if (length > kFrameBytesMax) {
      count_drop(Drop::kTooBig);
      close_stream(id);
      break;
    }
    if (buffer.size() < kLengthBytes + length) break;
    const auto frame_end = buffer.begin() + static_cast<std::ptrdiff_t>(kLengthBytes + length);
    const std::vector<std::byte> packet(buffer.begin() + kLengthBytes, frame_end);
    buffer.erase(buffer.begin(), frame_end);
    on_packet(now, Source{found->second.peer, id, {}}, packet);
  }
  finish_input(now);
}

void Swim::Core::on_stream_closed(TimePoint now, StreamId id, Failure failure) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  for (auto& probe : probes_) {
    if (probe.stream != id) continue;
    probe.stream = StreamId{};
    probe.stream_refused = failure == Failure::kRefused;
  }
  streams_.erase(found);
  advance_probes(now);  // a refusal is a verdict at once
  finish_input(now);
}

void Swim::Core::advance_streams(TimePoint now) {
  std::vector<StreamId> over;
  for (const auto& [id, stream] : streams_) {
    if (now >= stream.deadline) over.push_back(id);
  }
  for (const auto id : over) {
    for (auto& probe : probes_) {
      if (probe.stream == id) probe.stream = StreamId{};
    }
    close_stream(id);
  }
}

// --- Anti-entropy (gossip.md 5.8): sums in every ping and ack, bucket hashes and the differing buckets on a stream ---

void Swim::Core::note_digest(TimePoint now, const Source& source, std::uint64_t digest) {
  const Member* sender = table_.find(source.sender);
  if (sender == nullptr || !sender->is_live()) return;
  if (digest == table_.digest()) {
    digest_differs_since_.reset();
    return;
  }
  if (!digest_differs_since_) digest_differs_since_ = now;
  if (now - *digest_differs_since_ >= config_.sum_grace) start_sync(now, sender->address);
}

void Swim::Core::start_sync(TimePoint now, const Address& to) {
  if (now < next_sync_ || count_streams(Stream::Role::kSyncOut) >= config_.sync_streams_max) return;
  next_sync_ = now + config_.probe_interval;
  Stream stream;
  stream.role = Stream::Role::kSyncOut;
  stream.peer = to;
  open_stream(now, std::move(stream), config_.stream_sync_deadline);
}

std::vector<Message> Swim::Core::make_records(TimePoint now, const Member& member) const {
  if (!member.is_live()) {
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - member.state_since).count();
    return {Tombstone{member.id, member.rank(), member.state, member.name, member.address,
                      static_cast<std::uint32_t>(std::max<std::int64_t>(age, 0))}};
  }
  std::vector<Message> records{make_alive(member, true)};
  constexpr std::size_t kRoomForRest = 96;  // sender and link; the record may travel in a datagram
  if (encode(records.front()).size() + kRoomForRest + envelope_.overhead() > config_.datagram_bytes_max) {
    records = {make_alive(member, false)};
    for (const auto& tag : member.tags.entries()) records.push_back(Tags{member.id, member.generation, false, {tag}});
  }
  if (const auto suspect = cases_.find(member.id); suspect != cases_.end()) {
    const auto& accusations = suspect->second.suspicion.accusations();
    const std::size_t count = std::min<std::size_t>(accusations.size(), config_.confirmations + 1);
    for (std::size_t i = 0; i < count; ++i) {
      records.push_back(Suspect{member.id, member.rank(), accusations[i].accuser, accusations[i].evidence});
    }
  }
  return records;
}

/// Sends the records of the stream's buckets, from a random one on so that a bound never starves the same ones.
/// @param only_unknown  leave out what the other side sent just now in the same form
void Swim::Core::send_records(TimePoint now, StreamId id, Stream& stream, bool only_unknown,
                              std::vector<Message> lead) {
  const std::size_t start = static_cast<std::size_t>(rng_(std::max<std::size_t>(table_.members().size(), 1)));
  std::size_t bytes = 0;
  const auto members = table_.members();
  for (std::size_t i = 0; i < members.size() && bytes < config_.sync_bytes_max * 3 / 4; ++i) {
    const Member& member = members[(start + i) % members.size()];
    if ((stream.mask >> MemberTable::bucket_of(member.id) & 1) == 0) continue;
    const auto received = stream.received.find(member.id);
    if (only_unknown && received != stream.received.end() && received->second == MemberTable::hash_of(member)) continue;
    for (auto& record : make_records(now, member)) {
      bytes += encode(record).size();
      lead.push_back(std::move(record));
    }
  }
  lead.push_back(SyncDone{});
  send_frame(id, stream.peer, lead);
}

void Swim::Core::take_sync_request(TimePoint now, const Source& source, const SyncRequest& request) {
  const auto found = streams_.find(source.stream);
  if (found == streams_.end() || found->second.role != Stream::Role::kInbound || found->second.offered) return;
  Stream& stream = found->second;
  stream.offered = true;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (request.buckets[i] != table_.buckets()[i]) stream.mask |= std::uint64_t{1} << i;
  }
  send_records(now, source.stream, stream, false, {SyncOffer{stream.mask}});
}

void Swim::Core::take_sync_done(TimePoint now, const Source& source) {
  const auto found = streams_.find(source.stream);
  if (found == streams_.end() || found->second.role == Stream::Role::kProbe) return;
  ++counters_.syncs;
  if (found->second.role == Stream::Role::kSyncOut) {
    send_records(now, source.stream, found->second, true, {});
    first_sync_done_ = true;
    digest_differs_since_.reset();
  }
  close_stream(source.stream);
}

}  // namespace gossip
