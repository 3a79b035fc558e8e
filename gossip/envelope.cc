#include "gossip/envelope.h"

#include <algorithm>
#include <cassert>

namespace gossip {
namespace {

constexpr std::size_t kTableMin = 256;
constexpr std::size_t kHeldPerSessionMax = 4;
constexpr std::size_t kHeldMax = 256;
constexpr std::uint32_t kFailuresPerSecondMax = 64;
constexpr std::uint64_t kPacketsPerSessionMax = std::uint64_t{1} << 32;

}  // namespace

Envelope::Envelope(Rng rng, Aead* aead, std::string label)
    : rng_(std::move(rng)), aead_(aead), label_(std::move(label)), sessions_(kTableMin), peers_(2 * kTableMin) {
  if (aead_ != nullptr) renew_session();
}

std::uint64_t Envelope::draw_nonzero() {
  std::uint64_t value = 0;
  while (value == 0) value = rng_(std::uint64_t{1} << 32) << 32 | rng_(std::uint64_t{1} << 32);
  return value;
}

void Envelope::renew_session() {
  key_ = aead_->sending_key();
  session_ = SessionId{draw_nonzero()};
  cipher_ = aead_->derive(key_, session_, label_);
  assert(cipher_ != nullptr && "the keyring must hold its own sending key");
  counter_ = 0;
}

std::span<const std::byte> Envelope::associated(std::span<const std::byte> header) {
  aad_.assign(header.begin(), header.end());
  const auto label = std::as_bytes(std::span(label_));
  aad_.insert(aad_.end(), label.begin(), label.end());
  return aad_;
}

std::uint64_t Envelope::checksum(std::span<const std::byte> bytes) const {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : label_) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3u;
  for (const std::byte b : bytes) hash = (hash ^ static_cast<std::uint8_t>(b)) * 0x100000001b3u;
  return hash ^ (hash >> 31);
}

bool Envelope::is_throttled(TimePoint now, const Address& from) {
  const std::uint64_t host = AddressHash{}(from.without_port());
  const Source& source = sources_[host % sources_.size()];
  return source.host == host && now - source.since < std::chrono::seconds(1) &&
         source.failures >= kFailuresPerSecondMax;
}

void Envelope::count_failure(TimePoint now, const Address& from) {
  const std::uint64_t host = AddressHash{}(from.without_port());
  Source& source = sources_[host % sources_.size()];
  if (source.host != host || now - source.since >= std::chrono::seconds(1)) source = {host, now, 0};
  ++source.failures;
}

Result<Envelope::Opened> Envelope::open(TimePoint now, const Address& from, std::span<const std::byte> packet) {
  if (is_throttled(now, from)) return tl::unexpected(Error{Errc::kThrottled, "too many packets that do not open"});
  const auto header = decode_header(packet);
  auto opened = [&]() -> Result<Opened> {
    if (!header) return tl::unexpected(header.error());
    if (packet.size() < kHeaderBytes + kSealTagBytes)
      return tl::unexpected(Error{Errc::kTruncated, "no room for a seal"});
    if (packet.size() > kFrameBytesMax) return tl::unexpected(Error{Errc::kTooBig, "packet"});
    if (header->sealed != (aead_ != nullptr)) {
      return tl::unexpected(
          Error{Errc::kPlaintextMixed, header->sealed ? "sealed packet, we have no key" : "plaintext packet"});
    }
    return header->sealed ? open_sealed(*header, packet) : open_plain(packet);
  }();
  // A replay comes from someone who only copies; it must not throttle the peer whose address it borrows.
  if (!opened && opened.error().code != Errc::kReplayed) count_failure(now, from);
  return opened;
}

Result<Envelope::Opened> Envelope::open_plain(std::span<const std::byte> packet) {
  const auto covered = packet.first(packet.size() - kSealTagBytes);
  std::uint64_t sum = checksum(covered);
  for (std::size_t i = 0; i < kSealTagBytes; ++i, sum >>= 8) {
    const auto expected = i < 8 ? static_cast<std::byte>(sum) : std::byte{0};
    if (packet[covered.size() + i] != expected)
      return tl::unexpected(Error{Errc::kNotAuthentic, "checksum or cluster label"});
  }
  buffer_.assign(covered.begin() + kHeaderBytes, covered.end());
  return Opened{buffer_, SessionId{}};
}

Result<Envelope::Opened> Envelope::open_sealed(const Header& header, std::span<const std::byte> packet) {
  Session* known = sessions_.find(header.session);
  if (known != nullptr && known->key != header.key) known = nullptr;
  if (known != nullptr && !known->window.is_fresh(header.counter)) {
    return tl::unexpected(Error{Errc::kReplayed, "counter seen or behind the window"});
  }
  if (header.counter == 0 || header.counter > kPacketsPerSessionMax) {
    return tl::unexpected(Error{Errc::kMalformed, "counter out of range"});
  }
  std::unique_ptr<SessionCipher> derived;
  if (known == nullptr) {
    derived = aead_->derive(header.key, header.session, label_);
    if (derived == nullptr) return tl::unexpected(Error{Errc::kUnknownKey, "key id"});
  }
  SessionCipher& cipher = known != nullptr ? *known->cipher : *derived;
  // Text and tag stay side by side: most ciphers want them so and need no copy then.
  buffer_.assign(packet.begin() + kHeaderBytes, packet.end());
  const auto text = std::span(buffer_).first(buffer_.size() - kSealTagBytes);
  const auto tag = std::span<const std::byte>(buffer_).last(kSealTagBytes);
  if (!cipher.open(header.counter, associated(packet.first(kHeaderBytes)), text, tag)) {
    return tl::unexpected(Error{Errc::kNotAuthentic, "wrong key, wrong cluster or altered"});
  }
  if (known == nullptr) {
    known = &sessions_.at(header.session);
    *known = Session{};
    known->key = header.key;
    known->cipher = std::move(derived);
  }
  known->window.mark(header.counter);
  return Opened{text, header.session};
}

bool Envelope::admit(const Address& from, SessionId session, const Link& link) {
  if (aead_ == nullptr) return true;
  Session* known = sessions_.find(session);
  if (known == nullptr) return false;
  Peer& peer = peers_.at(from);
  if (!known->confirmed && link.echo != 0 && link.echo == peer.cookie) {
    known->confirmed = true;
    peer.cookie = 0;  // used once: a recording of this packet proves nothing later
  }
  if (known->confirmed) {
    peer.confirmed = session;
    peer.echo_sent = peer.echo_sent && peer.echo == link.offer;
    peer.echo = link.offer;
  } else {
    // The packet may be a recording. Echoing its offer gives nothing away, but a wish to be confirmed stays open.
    if (peer.confirmed != session) peer.confirmed = SessionId{};
    peer.echo_sent = peer.echo_sent && (link.offer == 0 || peer.echo == link.offer);
    if (link.offer != 0) peer.echo = link.offer;
  }
  return known->confirmed;
}

bool Envelope::hold(SessionId session, Held held) {
  const auto same =
      std::count_if(held_.begin(), held_.end(), [&](const auto& entry) { return entry.first == session; });
  if (static_cast<std::size_t>(same) >= kHeldPerSessionMax) return false;
  if (held_.size() >= kHeldMax) held_.pop_front();
  held_.emplace_back(session, std::move(held));
  return true;
}

std::vector<Envelope::Held> Envelope::release(SessionId session) {
  std::vector<Held> released;
  std::erase_if(held_, [&](auto& entry) {
    if (entry.first != session) return false;
    released.push_back(std::move(entry.second));
    return true;
  });
  return released;
}

Link Envelope::link_to(const Address& to) {
  if (aead_ == nullptr) return {};
  Peer& peer = peers_.at(to);
  Link link;
  link.echo = peer.echo;
  peer.echo_sent = true;
  if (peer.confirmed == SessionId{}) {
    if (peer.cookie == 0) peer.cookie = draw_nonzero();
    link.offer = peer.cookie;
  }
  return link;
}

bool Envelope::owes_echo(const Address& to) {
  const Peer* peer = peers_.find(to);
  return peer != nullptr && peer->echo != 0 && !peer->echo_sent;
}

void Envelope::begin(std::vector<std::byte>& out) {
  Header header;
  header.sealed = aead_ != nullptr;
  if (aead_ != nullptr) {
    if (counter_ >= kPacketsPerSessionMax || aead_->sending_key() != key_) renew_session();
    header.key = key_;
    header.session = session_;
    header.counter = ++counter_;
  }
  encode_header(header, out);
}

void Envelope::seal(std::vector<std::byte>& out, std::size_t start) {
  const auto packet = std::span(out).subspan(start);
  if (aead_ == nullptr) {
    std::uint64_t sum = checksum(packet);
    for (std::size_t i = 0; i < kSealTagBytes; ++i, sum >>= 8)
      out.push_back(i < 8 ? static_cast<std::byte>(sum) : std::byte{0});
    return;
  }
  const std::size_t text_bytes = packet.size() - kHeaderBytes;
  out.resize(out.size() + kSealTagBytes);
  const auto room = std::span(out).subspan(start);
  cipher_->seal(counter_, associated(room.first(kHeaderBytes)), room.subspan(kHeaderBytes, text_bytes),
                room.last(kSealTagBytes));
}

}  // namespace gossip
