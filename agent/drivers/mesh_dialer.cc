#include "agent/drivers/mesh_dialer.h"

#include <algorithm>
#include <utility>

#include "agent/io/tcp_stream.h"

namespace agent::drivers {

namespace {

constexpr std::size_t kFramesPerWrite = 500;              // two buffers each; a write takes 1024
constexpr io::Milliseconds kStoodLongEnough{1000};        // a shorter stay counts as a failed dial
constexpr std::uint32_t kDoublingsMax = 16;
constexpr std::uint32_t kPatientDialEvery = 16;           // for a peer that has moved far away since

}  // namespace

MeshDialer::MeshDialer(Mesh& mesh, Mesh::Peer& peer, Lane lane)
    : mesh_(mesh),
      peer_(peer),
      lane_(lane),
      retry_(mesh.loop_, [this] { dial_now(); }),
      deadline_(mesh.loop_,
                [this] { down(io::Errc::kTimedOut, "no connection and hello before the deadline"); }),
      flush_(mesh.loop_, [this] { flush(); }) {}

void MeshDialer::dial_now() {
  if (state_ != State::kIdle) return;
  retry_.disarm();
  ++mesh_.counters_.dials;
  state_ = State::kDialing;
  reader_ = FrameReader(kHelloBytesMax);
  dialed_at_ = io::boottime_now();
  if (down_since_ == io::TimePoint{}) down_since_ = dialed_at_;
  const io::TimePoint deadline = dialed_at_ + mesh_.settings_.connect_timeout;
  auto tcp = io::TcpStream::connect(mesh_.loop_, peer_.address, dialed_at_ + syn_timeout(), nullptr);
  tcp->set_unanswered_max(lane_ == Lane::kUrgent ? mesh_.settings_.urgent_unanswered_max : mesh_.settings_.unanswered_max);
  if (mesh_.settings_.tls.raft_dialer) {
    stream_ = io::TlsStream::client(mesh_.settings_.tls.raft_dialer, std::move(tcp), "", deadline, &mesh_.offload_, this);
  } else {
    tcp->set_sink(this);
    stream_ = std::move(tcp);
  }
  deadline_.arm(deadline);
}

io::Milliseconds MeshDialer::syn_timeout() const {
  const MeshSettings& settings = mesh_.settings_;
  if (failures_ % kPatientDialEvery == kPatientDialEvery - 1) return settings.connect_timeout;
  return std::min(std::max(settings.syn_timeout, dial_took_ * 4), settings.connect_timeout);
}

void MeshDialer::peer_was_heard() {
  if (state_ == State::kUp || state_ == State::kHello) return;
  if (state_ == State::kDialing) {
    if (io::boottime_now() - dialed_at_ < mesh_.settings_.retry_min) return;  // its answer may be under way
    stream_.reset();
    deadline_.disarm();
    state_ = State::kIdle;
  }
  dial_now();
}

void MeshDialer::on_open() {
  state_ = State::kHello;
  const auto hello = encode_hello(mesh_.own_hello(lane_));
  const auto preface = mesh_.settings_.tls.raft_dialer ? std::span<const std::byte>()
                                                       : std::as_bytes(std::span(kRaftPreface));
  const std::array<std::span<const std::byte>, 2> buffers = {preface, hello};
  stream_->read_start();
  // A failure of this write arrives as on_error.
  static_cast<void>(stream_->write(io::ByteStream::Buffers(buffers)));
}

void MeshDialer::on_read(std::span<const std::byte> bytes) {
  reader_.feed(bytes);
  if (state_ == State::kHello) {
    if (const auto body = reader_.next()) {
      const auto answer = decode_hello(*body);
      const std::string objection = answer ? judge(*answer) : "it answers no hello of this protocol";
      if (!objection.empty()) {
        down(io::Errc::kIo, objection);
        return;
      }
      reader_.keep_rest();
      came_up();
      return;
    }
  }
  reader_.keep_rest();
  // The listener's side has nothing more to say on this stream.
  if (reader_.broken() || state_ == State::kUp) down(io::Errc::kIo, "it sends what this stream does not carry");
}

/// @return what is wrong with the listener's answer; empty = nothing.
std::string MeshDialer::judge(const Hello& answer) const {
  if (answer.lane) return "it answers no hello of this protocol";
  if (answer.cluster != mesh_.settings_.cluster) return "it belongs to the cluster labelled '" + answer.cluster + "'";
  if (answer.node != peer_.node) {
    return "another agent ('" + answer.name + "') is at this address";
  }
  if (!peer_.name.empty() && answer.name != peer_.name) return "it calls itself '" + answer.name + "'";
  if (!mesh_.name_fits(*stream_, answer)) return "its certificate does not carry the name '" + answer.name + "'";
  return {};
}

void MeshDialer::came_up() {
  state_ = State::kUp;
  deadline_.disarm();
  up_since_ = io::boottime_now();
  dial_took_ = std::chrono::ceil<io::Milliseconds>(up_since_ - dialed_at_);
  loss_unexplained_ = false;
  if (!last_error_.empty() && mesh_.callbacks_.log) {
    mesh_.callbacks_.log("mesh", "peer " + peer_.name + " at " + peer_.address.to_string() + ": connected");
  }
  last_error_.clear();
  flush_.schedule();
  if (lane_ != Lane::kUrgent) return;
  peer_.bulk.dial_now();
  if (mesh_.callbacks_.on_connected) mesh_.callbacks_.on_connected(peer_.node);  // last: may remove this peer
}

void MeshDialer::on_end() { down(io::Errc::kReset, "it closed the connection"); }

void MeshDialer::on_error(const io::Error& error) { down(error.code, error.detail); }

/// Whatever ended the stream or the dial. Calls out last: the callbacks may remove this peer.
void MeshDialer::down(io::Errc code, std::string why) {
  const bool was_up = state_ == State::kUp;
  state_ = State::kIdle;
  stream_.reset();
  deadline_.disarm();
  drop_queue();
  if (lane_ == Lane::kUrgent) peer_.bulk.drop_queue();
  const bool stood = was_up && io::boottime_now() - up_since_ >= kStoodLongEnough;
  if (stood) failures_ = 0;
  if (!was_up) ++mesh_.counters_.dials_failed;
  const bool refused = !was_up && code == io::Errc::kRefused && std::exchange(loss_unexplained_, false);
  if (was_up) loss_unexplained_ = true;
  if (was_up) down_since_ = io::boottime_now();
  const bool news = why != last_error_;
  last_error_ = std::move(why);
  retry_later(stood, !was_up && (code == io::Errc::kTimedOut || code == io::Errc::kUnreachable));
  const io::LifeMark life(life_);
  if (news && lane_ == Lane::kUrgent && mesh_.callbacks_.log) {
    mesh_.callbacks_.log("mesh", "peer " + peer_.name + " at " + peer_.address.to_string() + ": " + last_error_);
  }
  if (lane_ != Lane::kUrgent || !life.alive()) return;
  const store::NodeId node = peer_.node;
  if (was_up && mesh_.callbacks_.on_lost) mesh_.callbacks_.on_lost(node);
  if (life.alive() && refused && mesh_.callbacks_.on_refused) mesh_.callbacks_.on_refused(node);
}

/// @param silence  nobody answered the dial: nothing says that the process is gone
void MeshDialer::retry_later(bool at_once, bool silence) {
  if (lane_ == Lane::kBulk && !peer_.urgent.up()) return;  // the urgent lane dials it when it stands
  if (at_once) {
    retry_.arm(io::boottime_now());
    return;
  }
  const auto least = static_cast<std::uint64_t>(mesh_.settings_.retry_min.count());
  const auto most = static_cast<std::uint64_t>(mesh_.settings_.retry_max.count());
  const bool patient = silence && io::boottime_now() - down_since_ < mesh_.settings_.silence_patience;
  const std::uint64_t full = patient ? least : std::min(most, least << std::min(failures_, kDoublingsMax));
  ++failures_;
  const std::uint64_t delay = full - full / 2 + mesh_.settings_.chance(full / 2 + 1);
  retry_.arm_after(io::Milliseconds(static_cast<std::int64_t>(delay)));
}

bool MeshDialer::push(std::string bytes) {
  const std::size_t size = kFrameHeaderBytes + bytes.size();
  const std::size_t bound =
      lane_ == Lane::kUrgent ? mesh_.settings_.urgent_bytes_max : mesh_.settings_.bulk_bytes_max;
  if (lane_ == Lane::kUrgent && queued_bytes_ + size > bound) {
    ++mesh_.counters_.dropped_urgent;
    return false;
  }
  while (queued_bytes_ + size > bound && !queue_.empty()) {
    queued_bytes_ -= kFrameHeaderBytes + queue_.front().bytes.size();
    queue_.pop_front();
    ++mesh_.counters_.dropped_bulk;
  }
  queued_bytes_ += size;
  const auto header = frame_header(bytes.size());
  queue_.push_back({header, std::move(bytes)});
  if (state_ == State::kUp) flush_.schedule();
  return true;
}

void MeshDialer::drop_queue() {
  mesh_.counters_.dropped_lost += queue_.size();
  queue_.clear();
  queued_bytes_ = 0;
}

/// Everything that waits, in one gathered write; the rest when the stream has drained.
void MeshDialer::flush() {
  while (state_ == State::kUp && !queue_.empty() && stream_->write_queue_bytes() < kStreamBytesMax) {
    std::vector<std::span<const std::byte>> buffers;
    std::size_t frames = 0;
    std::size_t bytes = 0;
    for (const Frame& frame : queue_) {
      if (frames == kFramesPerWrite || bytes >= kStreamBytesMax) break;
      buffers.emplace_back(frame.header);
      buffers.emplace_back(std::as_bytes(std::span(frame.bytes)));
      bytes += kFrameHeaderBytes + frame.bytes.size();
      ++frames;
    }
    if (!stream_->write(io::ByteStream::Buffers(buffers))) return;  // on_error follows
    mesh_.counters_.frames_out += frames;
    mesh_.counters_.bytes_out += bytes;
    queued_bytes_ -= bytes;
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(frames));
  }
}

}  // namespace agent::drivers
