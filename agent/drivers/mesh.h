#pragma once
/// The mesh's TCP port: Raft frames between agents, and HTTP streams from peers' proxies.
///
/// Each agent dials two streams (urgent, bulk) to every peer it knows and sends its own frames there; what it hears
/// comes over the streams that the peers have dialed. Streams are mutual TLS 1.3, told apart by ALPN; without
/// certificates (loopback only; the settings check refuses more) a preface line does it (mesh_wire.h).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/mesh_wire.h"
#include "agent/io/address.h"
#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_listener.h"
#include "agent/io/timer.h"
#include "agent/io/tls_context.h"
#include "agent/io/tls_stream.h"
#include "store/types.h"

namespace agent::drivers {

class MeshDialer;
class MeshInbound;

/// The three sides of mesh TLS, from one set of files; all null = a plain mesh.
struct MeshTls {
  std::shared_ptr<const io::TlsContext> listener;   ///< offers both protocols, asks for a certificate
  std::shared_ptr<const io::TlsContext> raft_dialer;
  std::shared_ptr<const io::TlsContext> http_dialer;  ///< for ProxyDriverSettings::peer_tls
  /// Errors: those of TlsContext::load.
  static io::Result<MeshTls> load(const std::string& ca_file, const std::string& cert_file,
                                  const std::string& key_file, std::int64_t wall_ms);
};

struct MeshSettings {
  store::NodeId self{};        ///< not 0
  std::string name;            ///< of this agent, as in its certificate
  std::string cluster;         ///< label, <= 64 bytes
  io::Address bind;            ///< port 0 takes a free one
  MeshTls tls;
  bool check_names = true;     ///< a peer's certificate must carry the name that its hello claims (CN or dNSName)
  io::Milliseconds connect_timeout{2000};  ///< TCP, TLS and hello together; also for inbound streams
  /// Between dials, doubled with jitter; the first is at once. After a dial that nobody answered (no refusal: the network
  /// is at fault) the pause stays retry_min for silence_patience, since a partition may heal at any moment.
  io::Milliseconds retry_min{20}, retry_max{1000}, silence_patience{600'000};
  /// An unanswered SYN is given up and sent anew after so long, or four times what the last good dial took, whichever is
  /// more: the kernel's own first repetition comes after a whole second. Every 16th dial has connect_timeout.
  io::Milliseconds syn_timeout{120};
  /// Sent bytes without an acknowledgement for so long: the stream is cut. Short on the urgent lane, whose retransmissions
  /// would else back off for seconds beyond a partition's end; a stopped process does not matter, its kernel answers.
  io::Milliseconds urgent_unanswered_max{750}, unanswered_max{5000};
  std::size_t urgent_bytes_max = 8U << 20;   ///< waiting per peer; over it a new frame is refused
  std::size_t bulk_bytes_max = 16U << 20;    ///< waiting per peer; over it the oldest frames are dropped
  std::size_t inbound_max = 4096;            ///< streams with a hello; 2 per peer are used
  std::size_t unproved_max = 128;            ///< accepted streams whose hello or first bytes are awaited; more wait in the backlog
  std::function<std::uint64_t(std::uint64_t bound)> chance;  ///< for the jitter of retries
};

/// All are called on the loop; none may destroy the Mesh, all may call it.
struct MeshCallbacks {
  /// One frame; the bytes are valid for the call. `from` has shown the cluster's label and, with TLS, its name.
  std::function<void(store::NodeId from, std::string_view bytes)> on_frame;
  /// The urgent stream *to* the peer stands: what is sent from now on can arrive.
  std::function<void(store::NodeId)> on_connected;
  std::function<void(store::NodeId)> on_lost;  ///< after on_connected: that stream is gone, its queue dropped
  /// After on_lost: a new stream to the same address was refused: the process that was there is gone. Once per loss.
  std::function<void(store::NodeId)> on_refused;
  /// A peer's proxy wants to speak HTTP: adopt it on a worker's loop. `client` names the peer for logs.
  std::function<void(io::DetachedStream stream, std::string client)> on_http;
  std::function<void(std::string_view what, const std::string& detail)> log;  ///< rare: once per peer and change
};

/// Totals since start.
struct MeshCounters {
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t dropped_unknown_peer = 0;  ///< send() to a node without address
  std::uint64_t dropped_urgent = 0;        ///< refused: the urgent queue was full
  std::uint64_t dropped_bulk = 0;          ///< old bulk frames thrown away for new ones
  std::uint64_t dropped_lost = 0;          ///< waiting when their stream was lost
  std::uint64_t dials = 0, dials_failed = 0;
  std::uint64_t accepted = 0, http = 0;
  std::uint64_t refused_tls = 0;       ///< handshake failed: no or bad certificate, no TLS at all
  std::uint64_t refused_hello = 0;     ///< broken preface, hello or frame
  std::uint64_t refused_cluster = 0;   ///< another label
  std::uint64_t refused_name = 0;      ///< certificate without the claimed name, or not the peer we know
  std::uint64_t refused_limit = 0;     ///< over inbound_max
};

/// Ownership: of the agent. Thread: the control loop; handshakes run in the thread pool, two at a time.
class Mesh {
 public:
  /// Errors: those of TcpListener::listen (kAddressInUse names the address); kInvalidArgument (self 0, no chance).
  static io::Result<std::unique_ptr<Mesh>> start(io::Loop& loop, MeshSettings settings, MeshCallbacks callbacks);
  ~Mesh();
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  /// Where `node` is, and its name if known (empty = any). Dials at once; the same values again change nothing,
  /// another address or name starts anew (on_lost follows if it was connected). Own id: ignored.
  void set_peer(store::NodeId node, const io::Address& address, const std::string& name);
  /// Forgets it and closes what it has dialed; on_lost follows if it was connected. Unknown: nothing.
  void remove_peer(store::NodeId node);

  /// Queues one frame (1 .. kFrameBytesMax bytes) for the end of this turn; frames of one lane arrive in order or not
  /// at all. @return false: not queued (unknown peer, urgent queue full, size), counted.
  bool send(store::NodeId to, std::string bytes, Lane lane);
  /// As StoreCallbacks::send wants it.
  void send(store::NodeId to, std::string bytes, bool urgent) {
    send(to, std::move(bytes), urgent ? Lane::kUrgent : Lane::kBulk);
  }

  /// Renewed certificates: new streams use them, standing ones go on. Plain and TLS do not change into each other.
  void set_tls(MeshTls tls);

  struct PeerStatus {
    store::NodeId node{};
    std::string name;
    std::string address;
    bool connected = false;              ///< the urgent stream stands
    std::size_t queued_bytes = 0;        ///< both lanes
    std::string last_error;              ///< of the last failed dial; empty while connected
  };
  [[nodiscard]] std::vector<PeerStatus> peers() const;  ///< by node id
  [[nodiscard]] const io::Address& local_address() const { return listener_->local_address(); }  ///< the real port
  [[nodiscard]] const MeshCounters& counters() const { return counters_; }

 private:
  friend class MeshDialer;
  friend class MeshInbound;
  struct Peer;
  Mesh(io::Loop& loop, MeshSettings settings, MeshCallbacks callbacks);
  void on_accept(std::unique_ptr<io::TcpStream> stream);
  void on_inbound_hello(MeshInbound& inbound);
  void close_inbound(MeshInbound& inbound);
  void bury(std::unique_ptr<MeshInbound> inbound);
  [[nodiscard]] bool name_fits(const io::ByteStream& stream, const Hello& hello) const;
  [[nodiscard]] Hello own_hello(std::optional<Lane> lane) const;
  void note_inbound(const std::string& detail);

  io::Loop& loop_;
  MeshSettings settings_;
  MeshCallbacks callbacks_;
  MeshCounters counters_;
  io::TlsOffload offload_;
  io::TimePoint next_note_{};  // inbound trouble is logged at most once a second
  std::map<store::NodeId, std::unique_ptr<Peer>> peers_;  // bounded by the host's member table
  std::map<const MeshInbound*, std::unique_ptr<MeshInbound>> unproved_;
  std::map<std::pair<store::NodeId, Lane>, std::unique_ptr<MeshInbound>> inbound_;
  std::vector<std::unique_ptr<MeshInbound>> graveyard_;  // closed inside their own callbacks, freed by sweep_
  io::Deferral sweep_;
  std::unique_ptr<io::TcpListener> listener_;
};

}  // namespace agent::drivers
