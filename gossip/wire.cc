#include "gossip/wire.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <msgpack.hpp>

namespace gossip {
namespace {

constexpr std::size_t kCountBytes = 3;  // array16 header, patched by finish()

struct Sink {
  std::vector<std::byte>& out;
  void write(const char* data, std::size_t size) {
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    out.insert(out.end(), bytes, bytes + size);
  }
};

/// Thin writer over msgpack's packer with the types of this format.
class Encoder {
 public:
  explicit Encoder(std::vector<std::byte>& out) : sink_{out}, packer_(sink_) {}
  void array(std::size_t size) { packer_.pack_array(static_cast<std::uint32_t>(size)); }
  void message(Kind kind, std::size_t fields) {
    array(fields + 1);
    packer_.pack_uint8(static_cast<std::uint8_t>(kind));
  }
  void number(std::uint64_t value) { packer_.pack_uint64(value); }
  void hash(std::uint64_t value) { packer_.pack_fix_uint64(value); }
  void bytes(std::span<const std::uint8_t> value) {
    packer_.pack_bin(static_cast<std::uint32_t>(value.size()));
    packer_.pack_bin_body(reinterpret_cast<const char*>(value.data()), static_cast<std::uint32_t>(value.size()));
  }
  void text(const std::string& value) {
    packer_.pack_str(static_cast<std::uint32_t>(value.size()));
    packer_.pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
  }
  void nil() { packer_.pack_nil(); }
  void id(const MemberId& value) { bytes(value.bytes); }
  void rank(const Rank& value) {
    number(static_cast<std::uint64_t>(value.generation));
    number(static_cast<std::uint32_t>(value.incarnation));
  }
  void address(const Address& value) {
    std::array<std::uint8_t, 18> raw{};
    const auto ip = value.bytes();
    std::copy(ip.begin(), ip.end(), raw.begin());
    raw[ip.size()] = static_cast<std::uint8_t>(value.port() >> 8);
    raw[ip.size() + 1] = static_cast<std::uint8_t>(value.port() & 0xff);
    bytes(std::span(raw).first(ip.size() + 2));
  }
  /// Flat: key, value or nil, version, key, ...; so a set of tags adds one level of nesting only.
  void tags(const std::vector<Tag>& tags) {
    array(3 * tags.size());
    for (const auto& tag : tags) {
      text(tag.key);
      if (tag.removed)
        nil();
      else
        text(tag.value);
      number(tag.version);
    }
  }

  void operator()(const Ping& m) { message(Kind::kPing, 2), number(m.sequence), hash(m.digest); }
  void operator()(const Ack& m) { message(Kind::kAck, 3), number(m.sequence), hash(m.digest), number(m.health_score); }
  void operator()(const Nack& m) { message(Kind::kNack, 1), number(m.sequence); }
  void operator()(const PingReq& m) {
    message(Kind::kPingReq, 4), number(m.sequence), id(m.target), address(m.address), number(m.budget_ms);
  }
  void operator()(const RelayAck& m) { message(Kind::kRelayAck, 2), number(m.sequence), id(m.target); }
  void operator()(const Pull& m) { message(Kind::kPull, 2), id(m.target), number(m.has_record ? 1 : 0); }
  void operator()(const LeaveAck&) { message(Kind::kLeaveAck, 0); }
  void operator()(const SyncRequest& m) {
    message(Kind::kSyncRequest, 1);
    array(m.buckets.size());
    for (const auto bucket : m.buckets) hash(bucket);
  }
  void operator()(const SyncOffer& m) { message(Kind::kSyncOffer, 1), hash(m.mask); }
  void operator()(const SyncDone&) { message(Kind::kSyncDone, 0); }
  void operator()(const Alive& m) {
    message(Kind::kAlive, 8), id(m.id), rank(m.rank), text(m.name), address(m.address);
    number(m.protocol_min), number(m.protocol_max), tags(m.tags);
  }
  void operator()(const Suspect& m) {
    message(Kind::kSuspect, 5), id(m.id), rank(m.rank), id(m.accuser), number(static_cast<std::uint8_t>(m.evidence));
  }
  void operator()(const Dead& m) {
    message(Kind::kDead, 5), id(m.id), rank(m.rank), number(static_cast<std::uint8_t>(m.evidence));
    array(m.accusers.size());
    for (const auto& accuser : m.accusers) id(accuser);
  }
  void operator()(const Left& m) { message(Kind::kLeft, 3), id(m.id), rank(m.rank); }
  void operator()(const Tags& m) {
    message(Kind::kTags, 4), id(m.id), number(static_cast<std::uint64_t>(m.generation)), number(m.urgent ? 1 : 0);
    tags(m.tags);
  }
  void operator()(const Tombstone& m) {
    message(Kind::kTombstone, 7), id(m.id), rank(m.rank), number(static_cast<std::uint8_t>(m.state));
    text(m.name), address(m.address), number(m.age_s);
  }

 private:
  Sink sink_;
  msgpack::packer<Sink> packer_;
};

/// Reads fields of one message in order. The first failure sticks; values after it are worthless, so callers
/// read everything and look at ok() once.
class Fields {
 public:
  explicit Fields(const msgpack::object_array& array) : array_(array) {}
  [[nodiscard]] bool ok() const { return ok_; }

  const msgpack::object* next(msgpack::type::object_type type) {
    const msgpack::object* object = any();
    if (object == nullptr || object->type != type) {
      ok_ = false;
      return nullptr;
    }
    return object;
  }
  const msgpack::object* any() {
    if (!ok_ || place_ >= array_.size) {
      ok_ = false;
      return nullptr;
    }
    return &array_.ptr[place_++];
  }
  template <class T>
  T number(std::uint64_t max = std::numeric_limits<T>::max()) {
    const auto* object = next(msgpack::type::POSITIVE_INTEGER);
    if (object == nullptr || object->via.u64 > max) {
      ok_ = false;
      return T{};
    }
    return static_cast<T>(object->via.u64);
  }
  std::string text(std::size_t bytes_min, std::size_t bytes_max) {
    const auto* object = next(msgpack::type::STR);
    if (object == nullptr || object->via.str.size < bytes_min || object->via.str.size > bytes_max) {
      ok_ = false;
      return {};
    }
    return {object->via.str.ptr, object->via.str.size};
  }
  std::string name() {
    auto name = text(1, kNameBytesMax);
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; })) ok_ = false;
    return name;
  }
  MemberId id() {
    MemberId id;
    const auto raw = bytes();
    if (raw.size() != id.bytes.size()) {
      ok_ = false;
      return id;
    }
    std::copy(raw.begin(), raw.end(), id.bytes.begin());
    if (id.is_none()) ok_ = false;
    return id;
  }
  Rank rank() {
    const auto generation = Generation{number<std::uint64_t>()};
    return {generation, Incarnation{number<std::uint32_t>()}};
  }
  Address address() {
    const auto raw = bytes();
    if (raw.size() != 6 && raw.size() != 18) {
      ok_ = false;
      return {};
    }
    const auto port = static_cast<std::uint16_t>(raw[raw.size() - 2] << 8 | raw[raw.size() - 1]);
    const auto address = Address::from_bytes(raw.first(raw.size() - 2), port);
    if (!address || port == 0) ok_ = false;
    return address.value_or(Address{});
  }
  Evidence evidence() {
    const auto value = number<std::uint8_t>(static_cast<std::uint8_t>(Evidence::kStalled));
    if (value == 0) ok_ = false;
    return Evidence{value};
  }
  std::vector<Tag> tags() {
    std::vector<Tag> tags;
    const auto* object = next(msgpack::type::ARRAY);
    if (object == nullptr || object->via.array.size % 3 != 0 || object->via.array.size / 3 > kTagCountMax) {
      ok_ = false;
      return tags;
    }
    Fields inner(object->via.array);
    for (std::size_t i = 0; i < object->via.array.size / 3; ++i) {
      Tag tag;
      tag.key = inner.text(1, kTagKeyBytesMax);
      if (inner.peek_nil())
        tag.removed = true;
      else
        tag.value = inner.text(0, kTagsBytesMax);
      tag.version = inner.number<std::uint32_t>();
      if (tag.version == 0) inner.ok_ = false;
      tags.push_back(std::move(tag));
    }
    ok_ = ok_ && inner.ok_;
    return tags;
  }
  template <class Each>
  void array(std::size_t count_max, Each each) {
    const auto* object = next(msgpack::type::ARRAY);
    if (object == nullptr || object->via.array.size > count_max) {
      ok_ = false;
      return;
    }
    Fields inner(object->via.array);
    for (std::size_t i = 0; i < object->via.array.size; ++i) each(inner, i);
    ok_ = ok_ && inner.ok_;
  }
  [[nodiscard]] std::size_t size() const { return array_.size; }

 private:
  std::span<const std::uint8_t> bytes() {
    const auto* object = next(msgpack::type::BIN);
    if (object == nullptr) return {};
    return {reinterpret_cast<const std::uint8_t*>(object->via.bin.ptr), object->via.bin.size};
  }
  bool peek_nil() {
    if (!ok_ || place_ >= array_.size || array_.ptr[place_].type != msgpack::type::NIL) return false;
    ++place_;
    return true;
  }

  msgpack::object_array array_;
  std::size_t place_ = 0;
  bool ok_ = true;
};

Message decode_update(Kind kind, Fields& f) {
  const MemberId id = f.id();
  if (kind == Kind::kTags) {
    Tags tags{id, Generation{f.number<std::uint64_t>()}, f.number<std::uint8_t>(1) == 1, {}};
    tags.tags = f.tags();
    return tags;
  }
  const Rank rank = f.rank();
  if (kind == Kind::kSuspect) {
    const MemberId accuser = f.id();
    return Suspect{id, rank, accuser, f.evidence()};
  }
  if (kind == Kind::kDead) {
    Dead dead{id, rank, f.evidence(), {}};
    f.array(kAccusersMax, [&](Fields& inner, std::size_t) { dead.accusers.push_back(inner.id()); });
    return dead;
  }
  if (kind == Kind::kTombstone) {
    Tombstone stone{id, rank, MemberState::kDead, {}, {}, 0};
    const auto state = f.number<std::uint8_t>(static_cast<std::uint8_t>(MemberState::kLeft));
    stone.state = state == static_cast<std::uint8_t>(MemberState::kLeft) ? MemberState::kLeft : MemberState::kDead;
    stone.name = f.name();
    stone.address = f.address();
    stone.age_s = f.number<std::uint32_t>();
    return stone;
  }
  if (kind == Kind::kLeft) return Left{id, rank};
  Alive alive{id, rank, {}, {}, 1, 1, {}};
  alive.name = f.name();
  alive.address = f.address();
  alive.protocol_min = f.number<std::uint8_t>();
  alive.protocol_max = f.number<std::uint8_t>();
  alive.tags = f.tags();
  return alive;
}

Message decode_probe(Kind kind, Fields& f) {
  const auto sequence = f.number<std::uint32_t>();
  if (kind == Kind::kPing) return Ping{sequence, f.number<std::uint64_t>()};
  if (kind == Kind::kNack) return Nack{sequence};
  if (kind == Kind::kRelayAck) return RelayAck{sequence, f.id()};
  if (kind == Kind::kAck) {
    const auto digest = f.number<std::uint64_t>();
    return Ack{sequence, digest, f.number<std::uint8_t>()};
  }
  PingReq request{sequence, f.id(), {}, 0};
  request.address = f.address();
  request.budget_ms = f.number<std::uint32_t>();
  return request;
}

/// @return nothing for a kind this version does not know; `f.ok()` tells about the fields.
std::optional<Message> decode_message(std::uint64_t kind_number, Fields& f) {
  switch (static_cast<Kind>(kind_number)) {
    case Kind::kPing:
    case Kind::kAck:
    case Kind::kNack:
    case Kind::kPingReq:
    case Kind::kRelayAck:
      return decode_probe(static_cast<Kind>(kind_number), f);
    case Kind::kPull: {
      const MemberId target = f.id();
      return Pull{target, f.number<std::uint8_t>(1) == 1};
    }
    case Kind::kLeaveAck:
      return LeaveAck{};
    case Kind::kSyncRequest: {
      SyncRequest request;
      std::size_t seen = 0;
      f.array(kBuckets, [&](Fields& inner, std::size_t i) {
        request.buckets[i] = inner.number<std::uint64_t>();
        ++seen;
      });
      if (seen != kBuckets) f.next(msgpack::type::EXT);  // never there: marks the message as malformed
      return request;
    }
    case Kind::kSyncOffer:
      return SyncOffer{f.number<std::uint64_t>()};
    case Kind::kSyncDone:
      return SyncDone{};
    case Kind::kAlive:
    case Kind::kSuspect:
    case Kind::kDead:
    case Kind::kLeft:
    case Kind::kTags:
    case Kind::kTombstone:
      return decode_update(static_cast<Kind>(kind_number), f);
    case Kind::kVouch:
    case Kind::kUserEvent:
    case Kind::kKeyOp:
    case Kind::kEncryptedKey:
      return std::nullopt;
  }
  return std::nullopt;
}

Error malformed(const char* what) { return {Errc::kMalformed, what}; }

Result<Packet> decode_objects(const msgpack::object& root) {
  if (root.type != msgpack::type::ARRAY) return tl::unexpected(malformed("body is no array"));
  Fields body(root.via.array);
  Packet packet;
  packet.sender = body.id();
  const auto* link = body.any();
  if (!body.ok()) return tl::unexpected(malformed("no sender or link"));
  if (link->type == msgpack::type::ARRAY) {
    Fields cookies(link->via.array);
    packet.link.echo = cookies.number<std::uint64_t>();
    packet.link.offer = cookies.number<std::uint64_t>();
    if (!cookies.ok()) return tl::unexpected(malformed("bad link"));
  } else if (link->type != msgpack::type::NIL) {
    return tl::unexpected(malformed("bad link"));
  }
  packet.messages.reserve(body.size() - 2);
  for (std::size_t i = 2; i < body.size(); ++i) {
    const auto* object = body.next(msgpack::type::ARRAY);
    if (object == nullptr) return tl::unexpected(malformed("message is no array"));
    Fields fields(object->via.array);
    const auto kind = fields.number<std::uint64_t>();
    if (!fields.ok()) return tl::unexpected(malformed("message without kind"));
    auto message = kind <= 0xff ? decode_message(kind, fields) : std::nullopt;
    if (!fields.ok()) return tl::unexpected(malformed("bad field in a message"));
    if (message)
      packet.messages.push_back(std::move(*message));
    else
      ++packet.unknown_kinds;
  }
  return packet;
}

bool by_reference(msgpack::type::object_type, std::size_t, void*) { return true; }

}  // namespace

bool is_update(const Message& message) {
  return std::holds_alternative<Alive>(message) || std::holds_alternative<Suspect>(message) ||
         std::holds_alternative<Dead>(message) || std::holds_alternative<Left>(message) ||
         std::holds_alternative<Tags>(message) || std::holds_alternative<Tombstone>(message);
}

void encode_header(const Header& header, std::vector<std::byte>& out) {
  const auto big_endian = [&out](std::uint64_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift));
  };
  out.push_back(static_cast<std::byte>(header.version));
  out.push_back(static_cast<std::byte>(header.sealed ? 1 : 0));
  big_endian(static_cast<std::uint16_t>(header.key), 2);
  big_endian(static_cast<std::uint64_t>(header.session), 8);
  big_endian(header.counter, 8);
}

Result<Header> decode_header(std::span<const std::byte> packet) {
  if (packet.size() < kHeaderBytes) return tl::unexpected(Error{Errc::kTruncated, "shorter than a header"});
  const auto big_endian = [packet](std::size_t at, std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<std::uint8_t>(packet[at + i]);
    return value;
  };
  Header header;
  header.version = static_cast<std::uint8_t>(packet[0]);
  if (header.version != kWireVersion) return tl::unexpected(Error{Errc::kUnknownVersion, "wire version"});
  const auto flags = static_cast<std::uint8_t>(packet[1]);
  if (flags > 1) return tl::unexpected(malformed("unknown flags"));
  header.sealed = flags == 1;
  header.key = KeyId{static_cast<std::uint16_t>(big_endian(2, 2))};
  header.session = SessionId{big_endian(4, 8)};
  header.counter = big_endian(12, 8);
  return header;
}

std::vector<std::byte> encode(const Message& message) {
  std::vector<std::byte> out;
  Encoder encoder(out);
  std::visit(encoder, message);
  return out;
}

BodyWriter::BodyWriter(std::vector<std::byte>& out, std::size_t budget, const MemberId& sender, const Link& link)
    : out_(out), start_(out.size()), budget_(budget) {
  out_.insert(out_.end(), kCountBytes, std::byte{0xdc});
  Encoder encoder(out_);
  encoder.id(sender);
  if (link.echo == 0 && link.offer == 0) {
    encoder.nil();
  } else {
    encoder.array(2);
    encoder.number(link.echo);
    encoder.number(link.offer);
  }
  assert(out_.size() - start_ <= budget_);
}

std::size_t BodyWriter::room() const { return count_ + 2 >= kMessagesMax ? 0 : budget_ - (out_.size() - start_); }

bool BodyWriter::add(std::span<const std::byte> message) {
  if (message.size() > room()) return false;
  out_.insert(out_.end(), message.begin(), message.end());
  ++count_;
  return true;
}

void BodyWriter::finish() {
  const std::size_t elements = count_ + 2;
  out_[start_ + 1] = static_cast<std::byte>(elements >> 8);
  out_[start_ + 2] = static_cast<std::byte>(elements & 0xff);
}

Result<Packet> decode_body(std::span<const std::byte> body) {
  static const msgpack::unpack_limit kLimit(kMessagesMax, 0, kFrameBytesMax, kFrameBytesMax, 0, 4);
  try {
    msgpack::zone zone;
    std::size_t offset = 0;
    bool referenced = false;
    const auto* data = reinterpret_cast<const char*>(body.data());
    const auto root = msgpack::unpack(zone, data, body.size(), offset, referenced, by_reference, nullptr, kLimit);
    if (offset != body.size()) return tl::unexpected(malformed("bytes behind the body"));
    return decode_objects(root);
  } catch (const msgpack::insufficient_bytes&) {
    return tl::unexpected(Error{Errc::kTruncated, "body ends early"});
  } catch (const msgpack::size_overflow&) {
    return tl::unexpected(Error{Errc::kTooBig, "count, length or nesting above its bound"});
  } catch (const msgpack::unpack_error&) {
    return tl::unexpected(malformed("not msgpack"));
  }
}

}  // namespace gossip
