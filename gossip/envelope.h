#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gossip/error.h"
#include "gossip/lru_map.h"
#include "gossip/member.h"
#include "gossip/replay_window.h"
#include "gossip/seal.h"
#include "gossip/wire.h"

namespace gossip {

/// Seals and opens packets, and decides which sessions are fresh.
/// Sealing:   one session key per sender process; the counter is the nonce, so no random nonces and no repeats;
///            the header and the cluster label are authenticated. A new session starts after 2^32 packets or when
///            the sending key changes.
/// Freshness: the replay window stops repeats inside a session we remember. For a session we do not remember, the
///            packet could be an old recording; so it counts as *unconfirmed* until it echoes a cookie that we
///            drew for that address and that was not used before. Our packets offer that cookie until then.
/// Plaintext: a configuration without Aead; packets carry a label checksum against mix-ups instead of a seal
///            (no protection against anyone), and sealed ones are refused, as plaintext is in a sealed cluster.
/// Bounds:    sessions and addresses <= 2 * members, at least 256, least recently used first out; <= 4 packets
///            held per unconfirmed session, <= 256 in all; 256 source slots for the throttle.
class Envelope {
 public:
  struct Opened {
    std::span<const std::byte> body;  ///< valid until the next open() or seal_into()
    SessionId session{};
  };
  /// A body kept until its session is confirmed.
  struct Held {
    Address from;
    std::uint64_t context = 0;  ///< caller's own: which stream it came by, 0 for a datagram
    std::vector<std::byte> body;
  };

  /// @param aead  borrowed; null for plaintext
  Envelope(Rng rng, Aead* aead, std::string label);

  /// Checks, opens and remembers one packet. Errors: kTruncated, kUnknownVersion, kMalformed, kPlaintextMixed,
  /// kUnknownKey, kNotAuthentic, kReplayed, kThrottled.
  Result<Opened> open(TimePoint now, const Address& from, std::span<const std::byte> packet);

  /// Takes note of the link of an opened packet. @return true if its session is confirmed (now or before).
  bool admit(const Address& from, SessionId session, const Link& link);
  /// Keeps a body for later: <= 4 per session; beyond 256 in all the oldest of anyone goes. @return true if kept
  bool hold(SessionId session, Held held);
  /// Hands over what was held for a session, oldest first. Call after admit() said true.
  [[nodiscard]] std::vector<Held> release(SessionId session);

  /// What the next packet to this address has to carry; draws a cookie if one is needed.
  [[nodiscard]] Link link_to(const Address& to);
  /// True if the peer waits for our echo, which so far rode on no packet.
  [[nodiscard]] bool owes_echo(const Address& to);

  /// Writes the header of our next packet to `out` (appended); the body goes behind it, then seal().
  void begin(std::vector<std::byte>& out);
  /// Seals the packet that begins at `start` in place and appends the tag.
  void seal(std::vector<std::byte>& out, std::size_t start);
  /// What a packet costs beside its body.
  [[nodiscard]] std::size_t overhead() const { return kHeaderBytes + kSealTagBytes; }

  void members_now(std::size_t count) { sessions_.grow(2 * count), peers_.grow(4 * count); }

 private:
  struct Session {
    KeyId key{};
    std::unique_ptr<SessionCipher> cipher;
    ReplayWindow window;
    bool confirmed = false;
  };
  struct Peer {
    std::uint64_t cookie = 0;  // ours, offered, not yet used; 0 = none drawn
    std::uint64_t echo = 0;    // theirs, to be echoed; 0 = nothing owed
    bool echo_sent = false;
    SessionId confirmed{};  // the session that answers from there
  };
  struct Source {
    std::uint64_t host = 0;
    TimePoint since{};
    std::uint32_t failures = 0;
  };
  struct IntegerHash {
    std::size_t operator()(SessionId id) const noexcept { return static_cast<std::size_t>(id); }
  };

  [[nodiscard]] std::uint64_t draw_nonzero();
  Result<Opened> open_plain(std::span<const std::byte> packet);
  Result<Opened> open_sealed(const Header& header, std::span<const std::byte> packet);
  [[nodiscard]] bool is_throttled(TimePoint now, const Address& from);
  void count_failure(TimePoint now, const Address& from);
  void renew_session();
  [[nodiscard]] std::span<const std::byte> associated(std::span<const std::byte> header);
  [[nodiscard]] std::uint64_t checksum(std::span<const std::byte> bytes) const;

  Rng rng_;
  Aead* aead_;
  std::string label_;
  KeyId key_{};
  SessionId session_{};
  std::unique_ptr<SessionCipher> cipher_;
  std::uint64_t counter_ = 0;
  std::deque<std::pair<SessionId, Held>> held_;
  LruMap<SessionId, Session, IntegerHash> sessions_;
  LruMap<Address, Peer, AddressHash> peers_;
  std::array<Source, 256> sources_{};
  std::vector<std::byte> buffer_;
  std::vector<std::byte> aad_;
};

}  // namespace gossip
