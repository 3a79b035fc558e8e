#include "gossip/snapshot.h"

#include <algorithm>
#include <array>
#include <limits>
#include <msgpack.hpp>

namespace gossip {
namespace {

constexpr std::array<char, 4> kMagic = {'O', 'G', 'S', '1'};
constexpr std::size_t kCrcBytes = 4;
constexpr std::size_t kSnapshotBytesMax = kSnapshotMembersMax * 192;

std::uint32_t crc32(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}

template <std::size_t Size>
void pack_bytes(msgpack::packer<msgpack::sbuffer>& packer, const std::array<std::uint8_t, Size>& bytes,
                std::size_t used) {
  packer.pack_bin(static_cast<std::uint32_t>(used));
  packer.pack_bin_body(reinterpret_cast<const char*>(bytes.data()), static_cast<std::uint32_t>(used));
}

Error malformed() { return {Errc::kMalformed, "not a snapshot of gossip members"}; }

/// @return true and fills the value if the object has that type and fits
bool read(const msgpack::object& object, std::uint64_t max, std::uint64_t& value) {
  if (object.type != msgpack::type::POSITIVE_INTEGER || object.via.u64 > max) return false;
  value = object.via.u64;
  return true;
}
bool read(const msgpack::object& object, MemberId& id) {
  if (object.type != msgpack::type::BIN || object.via.bin.size != id.bytes.size()) return false;
  std::copy_n(reinterpret_cast<const std::uint8_t*>(object.via.bin.ptr), id.bytes.size(), id.bytes.begin());
  return !id.is_none();
}
bool read(const msgpack::object& object, Address& address) {
  if (object.type != msgpack::type::BIN) return false;
  const std::span raw(reinterpret_cast<const std::uint8_t*>(object.via.bin.ptr), object.via.bin.size);
  if (raw.size() != 6 && raw.size() != 18) return false;
  const auto port = static_cast<std::uint16_t>(raw[raw.size() - 2] << 8 | raw[raw.size() - 1]);
  const auto read = Address::from_bytes(raw.first(raw.size() - 2), port);
  if (!read || port == 0) return false;
  address = *read;
  return true;
}

bool read_peer(const msgpack::object& object, Snapshot::Peer& peer) {
  if (object.type != msgpack::type::ARRAY || object.via.array.size < 5) return false;
  const auto* field = object.via.array.ptr;
  std::uint64_t generation = 0, incarnation = 0;
  if (field[0].type != msgpack::type::STR || field[0].via.str.size > kNameBytesMax) return false;
  peer.name.assign(field[0].via.str.ptr, field[0].via.str.size);
  if (!read(field[1], peer.id) || !read(field[2], peer.address)) return false;
  if (!read(field[3], std::numeric_limits<std::uint64_t>::max(), generation)) return false;
  if (!read(field[4], std::numeric_limits<std::uint32_t>::max(), incarnation)) return false;
  peer.rank = {Generation{generation}, Incarnation{static_cast<std::uint32_t>(incarnation)}};
  return true;
}

Result<Snapshot> read_snapshot(const msgpack::object& root) {
  if (root.type != msgpack::type::ARRAY || root.via.array.size < 3) return tl::unexpected(malformed());
  const auto* field = root.via.array.ptr;
  Snapshot snapshot;
  std::uint64_t generation = 0;
  if (!read(field[0], snapshot.id) || !read(field[1], std::numeric_limits<std::uint64_t>::max(), generation) ||
      field[2].type != msgpack::type::ARRAY) {
    return tl::unexpected(malformed());
  }
  snapshot.generation = Generation{generation};
  for (std::uint32_t i = 0; i < field[2].via.array.size; ++i) {
    Snapshot::Peer peer;
    if (!read_peer(field[2].via.array.ptr[i], peer)) return tl::unexpected(malformed());
    snapshot.peers.push_back(std::move(peer));
  }
  return snapshot;
}

}  // namespace

std::vector<std::byte> encode_snapshot(const Snapshot& snapshot) {
  msgpack::sbuffer buffer;
  buffer.write(kMagic.data(), kMagic.size());
  msgpack::packer<msgpack::sbuffer> packer(buffer);
  packer.pack_array(3);
  pack_bytes(packer, snapshot.id.bytes, snapshot.id.bytes.size());
  packer.pack_uint64(static_cast<std::uint64_t>(snapshot.generation));
  const std::size_t count = std::min(snapshot.peers.size(), kSnapshotMembersMax);
  packer.pack_array(static_cast<std::uint32_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    const auto& peer = snapshot.peers[i];
    packer.pack_array(5);
    packer.pack(peer.name);
    pack_bytes(packer, peer.id.bytes, peer.id.bytes.size());
    std::array<std::uint8_t, 18> raw{};
    const auto ip = peer.address.bytes();
    std::copy(ip.begin(), ip.end(), raw.begin());
    raw[ip.size()] = static_cast<std::uint8_t>(peer.address.port() >> 8);
    raw[ip.size() + 1] = static_cast<std::uint8_t>(peer.address.port() & 0xff);
    pack_bytes(packer, raw, ip.size() + 2);
    packer.pack_uint64(static_cast<std::uint64_t>(peer.rank.generation));
    packer.pack_uint32(static_cast<std::uint32_t>(peer.rank.incarnation));
  }
  const auto* data = reinterpret_cast<const std::byte*>(buffer.data());
  std::vector<std::byte> bytes(data, data + buffer.size());
  std::uint32_t crc = crc32(bytes);
  for (std::size_t i = 0; i < kCrcBytes; ++i, crc >>= 8) bytes.push_back(static_cast<std::byte>(crc));
  return bytes;
}

Result<Snapshot> decode_snapshot(std::span<const std::byte> bytes) {
  if (bytes.size() < kMagic.size() + kCrcBytes) return tl::unexpected(Error{Errc::kTruncated, "snapshot"});
  if (bytes.size() > kSnapshotBytesMax) return tl::unexpected(Error{Errc::kTooBig, "snapshot"});
  for (std::size_t i = 0; i < kMagic.size(); ++i) {
    if (bytes[i] != static_cast<std::byte>(kMagic[i])) return tl::unexpected(Error{Errc::kUnknownVersion, "snapshot"});
  }
  const auto covered = bytes.first(bytes.size() - kCrcBytes);
  std::uint32_t crc = crc32(covered);
  for (std::size_t i = 0; i < kCrcBytes; ++i, crc >>= 8) {
    if (bytes[covered.size() + i] != static_cast<std::byte>(crc))
      return tl::unexpected(Error{Errc::kChecksum, "snapshot"});
  }
  static const msgpack::unpack_limit kLimit(kSnapshotMembersMax, 0, kNameBytesMax, 32, 0, 4);
  const auto body = covered.subspan(kMagic.size());
  try {
    std::size_t offset = 0;
    const auto handle =
        msgpack::unpack(reinterpret_cast<const char*>(body.data()), body.size(), offset, nullptr, nullptr, kLimit);
    if (offset != body.size()) return tl::unexpected(malformed());
    return read_snapshot(handle.get());
  } catch (const msgpack::size_overflow&) {
    return tl::unexpected(Error{Errc::kTooBig, "snapshot"});
  } catch (const msgpack::unpack_error&) {
    return tl::unexpected(malformed());
  }
}

}  // namespace gossip
