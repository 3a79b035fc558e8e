#pragma once
/// One accepted stream of the mesh. Private to mesh*.cc.

#include <cstdint>
#include <memory>
#include <string>

#include "agent/drivers/mesh.h"
#include "agent/drivers/mesh_wire.h"
#include "agent/io/byte_stream.h"
#include "agent/io/timer.h"

namespace agent::drivers {

/// Finds out what an accepted stream is: Raft (hello, then frames) or HTTP (detached and handed on).
/// Until then it counts as unproved and has a deadline.
class MeshInbound final : private io::StreamSink {
 public:
  MeshInbound(Mesh& mesh, std::unique_ptr<io::TcpStream> tcp);

  [[nodiscard]] const Hello& hello() const { return hello_; }
  [[nodiscard]] const io::ByteStream& stream() const { return *stream_; }
  [[nodiscard]] std::string where() const { return where_; }
  /// The hello is good: answers it and delivers frames from now on.
  void admit();
  /// The hello is not: answers, so that the other side can say why, and closes politely.
  void turn_away();
  void silence() { stream_->set_sink(nullptr); }  ///< before it is buried

 private:
  enum class Stage : std::uint8_t { kTls, kPreface, kHello, kFrames, kHttp, kClosing };
  void on_open() override;
  void on_read(std::span<const std::byte> bytes) override;
  void on_end() override;
  void on_error(const io::Error& error) override;
  void on_drained() override;
  [[nodiscard]] bool read_preface(std::span<const std::byte>& bytes);
  void read_frames(std::span<const std::byte> bytes);
  void hand_to_http();
  void refuse(std::uint64_t& counter, const std::string& why);

  Mesh& mesh_;
  Stage stage_;
  std::string where_;
  std::string preface_;
  Hello hello_;
  FrameReader reader_{kHelloBytesMax};
  std::unique_ptr<io::ByteStream> stream_;
  io::Timer deadline_;
};

}  // namespace agent::drivers
