#pragma once
/// One outgoing stream of the mesh and what waits for it. Private to mesh*.cc.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "agent/drivers/mesh.h"
#include "agent/drivers/mesh_wire.h"
#include "agent/io/byte_stream.h"
#include "agent/io/life_mark.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"

namespace agent::drivers {

/// Dials, says hello, checks the answer, sends frames, dials again. The urgent lane leads: the bulk lane dials only
/// while the urgent one stands.
/// Bound of the queue: MeshSettings::urgent_bytes_max or bulk_bytes_max, plus kStreamBytesMax inside the stream.
class MeshDialer final : private io::StreamSink {
 public:
  static constexpr std::size_t kStreamBytesMax = 1U << 20;  ///< given to the stream before its queue has drained

  MeshDialer(Mesh& mesh, Mesh::Peer& peer, Lane lane);

  void dial_now();                    ///< unless it stands or dials already
  /// The peer has dialled us a moment ago: it can be reached, so a pause or a dial without answer ends and a new one begins.
  void peer_was_heard();
  [[nodiscard]] bool push(std::string bytes);  ///< false: refused (urgent queue full)
  [[nodiscard]] bool up() const { return state_ == State::kUp; }
  [[nodiscard]] std::size_t queued_bytes() const { return queued_bytes_; }
  void drop_queue();                  ///< counted as lost
  [[nodiscard]] const std::string& last_error() const { return last_error_; }

 private:
  enum class State : std::uint8_t { kIdle, kDialing, kHello, kUp };
  struct Frame {
    std::array<std::byte, kFrameHeaderBytes> header;
    std::string bytes;
  };
  void on_open() override;
  void on_read(std::span<const std::byte> bytes) override;
  void on_end() override;
  void on_error(const io::Error& error) override;
  void on_drained() override { flush(); }
  [[nodiscard]] std::string judge(const Hello& answer) const;
  void came_up();
  void down(io::Errc code, std::string why);
  void retry_later(bool at_once, bool silence);
  [[nodiscard]] io::Milliseconds syn_timeout() const;
  void flush();

  Mesh& mesh_;
  Mesh::Peer& peer_;
  Lane lane_;
  State state_ = State::kIdle;
  std::uint32_t failures_ = 0;    // dials in a row that came to nothing, or stood too short to count
  bool loss_unexplained_ = false; // it stood, was lost, and no dial since has told why
  io::TimePoint up_since_{};
  io::TimePoint down_since_{};    // end of the last stay, or the first dial; silence_patience counts from here
  io::TimePoint dialed_at_{};
  io::Milliseconds dial_took_{0}; // the last dial that came up, hello included; 0 = none yet
  std::string last_error_;
  std::unique_ptr<io::ByteStream> stream_;
  FrameReader reader_{kHelloBytesMax};
  std::deque<Frame> queue_;
  std::size_t queued_bytes_ = 0;
  io::Timer retry_;
  io::Timer deadline_;
  io::Deferral flush_;
  io::Life life_;
};

struct Mesh::Peer {
  Peer(Mesh& mesh, store::NodeId id, const io::Address& at, std::string its_name)
      : node(id), address(at), name(std::move(its_name)), urgent(mesh, *this, Lane::kUrgent),
        bulk(mesh, *this, Lane::kBulk) {}
  store::NodeId node;
  io::Address address;
  std::string name;
  MeshDialer urgent, bulk;
};

}  // namespace agent::drivers
