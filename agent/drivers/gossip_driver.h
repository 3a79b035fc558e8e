#pragma once
/// Drives gossip::Swim: one UDP socket, one TCP listener on the same port, one timer, one snapshot file.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/drivers/gossip_seal.h"
#include "agent/drivers/proxy_stream.h"
#include "agent/io/address.h"
#include "agent/io/loop.h"
#include "agent/io/resolver.h"
#include "agent/io/tcp_listener.h"
#include "agent/io/timer.h"
#include "agent/io/udp_socket.h"
#include "gossip/swim.h"

namespace agent::drivers {

struct GossipSettings {
  gossip::Config core;          ///< advertise.port 0 is replaced by the real one
  io::Address bind;             ///< port 0 takes a free one
  std::string snapshot_file;    ///< written by the driver, read at start; empty = none
  std::optional<std::array<std::byte, io::kAeadKeyBytes>> key;  ///< none = plaintext (core.plaintext must agree)
};

/// All are called on the loop; none may destroy the driver.
struct GossipCallbacks {
  std::function<void(const gossip::Event&)> on_event;
  std::function<void()> on_turn;  ///< after each turn in which something happened: members() may have changed
  std::function<void(std::string_view what, const std::string& detail)> log;
  /// A fault on purpose: nothing goes to or comes from there. Empty = there are no such faults. A stream that the other side
  /// opens is known by its address only where that is not shared, as on loopback; there the other side drops it.
  std::function<bool(const gossip::Address&)> drops{};
};

/// Ownership: of the agent. Thread: the control loop.
class GossipDriver final : private io::UdpSink {
 public:
  static constexpr io::Milliseconds kStreamConnectTimeout{10000};  ///< the core's own deadlines are shorter
  static constexpr io::Milliseconds kSeedLookupEvery{5000};        ///< names that did not resolve are tried again

  /// Binds both sockets, reads the snapshot of a former life, starts the core; nobody is contacted before join().
  /// Errors: those of UdpSocket::bind and TcpListener::listen; kInvalidArgument (core settings; names the field).
  static io::Result<std::unique_ptr<GossipDriver>> start(io::Loop& loop, GossipSettings settings, GossipCallbacks callbacks);
  ~GossipDriver() override;
  GossipDriver(const GossipDriver&) = delete;
  GossipDriver& operator=(const GossipDriver&) = delete;

  /// Contacts seeds, names or numbers, now and for ever. Names are looked up again until they are found.
  void join(const std::vector<io::HostPort>& seeds);
  /// See Swim::set_tags. Errors: the same, nothing changed.
  gossip::Result<void> set_tags(std::span<const gossip::TagChange> changes, gossip::Urgency urgency);
  /// See Swim::push_out.
  gossip::Result<void> push_out(const gossip::MemberId& member);
  void leave();  ///< kLeaveDone follows; the loop must go on until then

  [[nodiscard]] const gossip::Swim& core() const { return *swim_; }
  [[nodiscard]] const io::Address& local_address() const { return local_; }  ///< of both sockets, the real port

 private:
  class Stream;
  struct Lookup {
    io::HostPort seed;
    std::unique_ptr<io::Resolution> running;  // null between tries
  };
  GossipDriver(io::Loop& loop, GossipSettings settings, GossipCallbacks callbacks);
  io::Result<void> open();
  io::Result<void> bind_sockets();
  void restore();
  void on_datagram(const io::Address& from, std::span<const std::byte> bytes) override;
  void on_datagram_error(const io::Address& to, io::Errc code) override;
  /// Everything that waited has been heard: only now is anybody judged.
  void on_drained() override { input(); }
  void on_accept(std::unique_ptr<io::TcpStream> stream);
  void on_due();
  void input() { pump_.schedule(); }
  void pump();
  void carry_out(gossip::Output& output);
  void send_datagram(const gossip::SendDatagram& send);
  void look_up_names();
  [[nodiscard]] Lookup* find_lookup(const io::HostPort& seed);
  void on_looked_up(const io::HostPort& seed, const io::Result<std::vector<io::Address>>& found);

  io::Loop& loop_;
  GossipSettings settings_;
  GossipCallbacks callbacks_;
  std::unique_ptr<GossipKeyring> keyring_;
  std::unique_ptr<gossip::Swim> swim_;
  io::Address local_;
  std::unique_ptr<io::UdpSocket> udp_;
  std::unique_ptr<io::TcpListener> listener_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Stream>> streams_;  // bounded by the core
  std::vector<Lookup> lookups_;  // seeds by name that are not found yet; bounded by the settings' 64 seeds
  bool generation_saved_ = false;
  io::Timer timer_, lookup_timer_;
  ClosingStreams closing_;  // inbound streams that the core has no room for
  io::Deferral pump_;
};

[[nodiscard]] gossip::Address to_gossip(const io::Address& address);
[[nodiscard]] io::Address to_io(const gossip::Address& address);

}  // namespace agent::drivers
