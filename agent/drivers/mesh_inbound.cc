#include "agent/drivers/mesh_inbound.h"

#include <algorithm>
#include <utility>

#include "agent/io/tcp_stream.h"
#include "agent/io/tls_stream.h"

namespace agent::drivers {

MeshInbound::MeshInbound(Mesh& mesh, std::unique_ptr<io::TcpStream> tcp)
    : mesh_(mesh),
      stage_(mesh.settings_.tls.listener ? Stage::kTls : Stage::kPreface),
      where_(tcp->peer_address().to_string()),
      deadline_(mesh.loop_, [this] {
        refuse(mesh_.counters_.refused_hello, "says nothing that fits in time");
      }) {
  const io::TimePoint deadline = io::boottime_now() + mesh_.settings_.connect_timeout;
  deadline_.arm(deadline);
  tcp->set_unanswered_max(mesh_.settings_.unanswered_max);
  if (stage_ == Stage::kTls) {
    stream_ = io::TlsStream::server(mesh_.settings_.tls.listener, std::move(tcp), deadline, &mesh_.offload_, this);
    return;
  }
  stream_ = std::move(tcp);
  stream_->set_sink(this);
  stream_->read_start();
}

void MeshInbound::on_open() {
  const std::string protocol = stream_->alpn();
  if (protocol == kHttpAlpn) {
    hand_to_http();
  } else if (protocol == kRaftAlpn) {
    stage_ = Stage::kHello;
    stream_->read_start();
  } else {
    refuse(mesh_.counters_.refused_hello, "names no protocol of ours (ALPN)");
  }
}

void MeshInbound::on_read(std::span<const std::byte> bytes) {
  if (stage_ == Stage::kClosing) return;
  if (stage_ == Stage::kPreface && !read_preface(bytes)) return;
  read_frames(bytes);
}

/// @return whether the stream is Raft's and `bytes` now begins behind the preface.
bool MeshInbound::read_preface(std::span<const std::byte>& bytes) {
  const std::size_t taken = std::min(bytes.size(), kPrefaceBytes - preface_.size());
  preface_.append(reinterpret_cast<const char*>(bytes.data()), taken);
  bytes = bytes.subspan(taken);
  // Judged as soon as it cannot become one of ours: nobody keeps us waiting with nonsense.
  const bool raft = kRaftPreface.substr(0, preface_.size()) == preface_;
  const bool http = kHttpPreface.substr(0, preface_.size()) == preface_;
  if (!raft && !http) {
    refuse(mesh_.counters_.refused_hello, "speaks another protocol (is TLS set up on one side only?)");
    return false;
  }
  if (preface_.size() < kPrefaceBytes) return false;
  if (raft) {
    stage_ = Stage::kHello;
    return true;
  }
  stream_->read_stop();
  if (!bytes.empty()) stream_->unread(bytes);
  hand_to_http();
  return false;
}

void MeshInbound::read_frames(std::span<const std::byte> bytes) {
  reader_.feed(bytes);
  while (const auto body = reader_.next()) {
    if (stage_ == Stage::kHello) {
      auto hello = decode_hello(*body);
      if (!hello || !hello->lane) {
        refuse(mesh_.counters_.refused_hello, "sends no hello of this protocol");
        return;
      }
      hello_ = std::move(*hello);
      mesh_.on_inbound_hello(*this);
      if (stage_ != Stage::kFrames) return;
      reader_.set_bytes_max(kFrameBytesMax);
      continue;
    }
    ++mesh_.counters_.frames_in;
    mesh_.counters_.bytes_in += kFrameHeaderBytes + body->size();
    mesh_.callbacks_.on_frame(hello_.node, {reinterpret_cast<const char*>(body->data()), body->size()});
  }
  reader_.keep_rest();
  if (reader_.broken()) refuse(mesh_.counters_.refused_hello, "sends a frame of an impossible length");
}

void MeshInbound::admit() {
  stage_ = Stage::kFrames;
  deadline_.disarm();
  static_cast<void>(stream_->write(encode_hello(mesh_.own_hello(std::nullopt))));
}

void MeshInbound::turn_away() {
  stage_ = Stage::kClosing;
  static_cast<void>(stream_->write(encode_hello(mesh_.own_hello(std::nullopt))));
  stream_->shutdown();  // the deadline still runs: it ends with the other side's close or then
}

void MeshInbound::hand_to_http() {
  stage_ = Stage::kHttp;
  const std::string name = stream_->peer_identity().common_name;
  auto detached = stream_->detach();
  if (!detached && detached.error().code == io::Errc::kInvalidArgument) return;  // again when all is written
  if (detached) {
    ++mesh_.counters_.http;
    const std::string host = where_.substr(0, where_.rfind(':'));
    if (mesh_.callbacks_.on_http) mesh_.callbacks_.on_http(std::move(*detached), name.empty() ? host : name);
  }
  mesh_.close_inbound(*this);
}

void MeshInbound::on_drained() {
  if (stage_ == Stage::kHttp) hand_to_http();
}

void MeshInbound::on_end() { mesh_.close_inbound(*this); }

void MeshInbound::on_error(const io::Error& error) {
  if (stage_ == Stage::kTls) {
    ++mesh_.counters_.refused_tls;
    mesh_.note_inbound(where_ + ": " + error.detail);
  }
  mesh_.close_inbound(*this);
}

void MeshInbound::refuse(std::uint64_t& counter, const std::string& why) {
  if (stage_ != Stage::kClosing) {  // one that was turned away has been counted already
    ++counter;
    mesh_.note_inbound(where_ + " " + why);
  }
  mesh_.close_inbound(*this);
}

}  // namespace agent::drivers
