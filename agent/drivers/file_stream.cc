#include "agent/drivers/file_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "agent/io/clock.h"

namespace agent::drivers {

using proxy::StaticStep;

FileStream::FileStream(FileHost& host, std::shared_ptr<const proxy::StaticSite> site, proxy::StreamSink& sink)
    : host_(host), site_(std::move(site)), sink_(&sink), parser_(proxy::http1::Limits{}), tree_(host.tree_of(*site_)), work_(host.loop()),
      turn_(host.loop(), [this] { run(); }) {
  turn_.schedule();
}

FileStream::~FileStream() = default;

std::size_t FileStream::write(std::span<const proxy::Bytes> pieces) {
  if (phase_ == Phase::kConnecting || phase_ == Phase::kOver) return 0;
  std::size_t total = 0;
  for (proxy::Bytes piece : pieces) {
    total += piece.size();
    while (!piece.empty() && phase_ != Phase::kBroken) {
      const auto consumed = parser_.feed(piece, *this);
      if (!consumed) {
        // The proxy has written it, so this cannot be; what cannot be is not answered.
        phase_ = Phase::kBroken;
        turn_.schedule();
        break;
      }
      piece = piece.subspan(*consumed);
    }
  }
  return total;
}

proxy::http1::Flow FileStream::on_head(const proxy::http1::RequestHead& head) {
  step_ = answer_.begin(*site_, head, io::wall_ms() / 1000);
  phase_ = Phase::kOpening;
  turn_.schedule();
  return proxy::http1::Flow::kContinue;
}

void FileStream::resume_reading() {
  reading_ = true;
  if (phase_ == Phase::kSending && !work_.running()) turn_.schedule();
}

/// Everything that the sink hears begins here or in a completion, never in a call of its own.
void FileStream::run() {
  if (sink_ == nullptr) return;
  switch (phase_) {
    case Phase::kConnecting:
      host_.file_event();
      if (tree_ == nullptr) {
        phase_ = Phase::kOver;
        return sink_->on_closed(proxy::StreamEnd::kRefused);
      }
      phase_ = Phase::kIdle;
      return sink_->on_connected();
    case Phase::kOpening:
      if (!work_.running()) take_step(step_);
      return;
    case Phase::kSending:
      if (!work_.running()) pump();
      return;
    case Phase::kBroken: return break_off();
    case Phase::kIdle:
    case Phase::kOver: return;
  }
}

void FileStream::take_step(StaticStep step) {
  step_ = step;
  switch (step) {
    case StaticStep::kOpenBeside: kept_ = std::move(file_); return open_next();
    case StaticStep::kOpen: return open_next();
    case StaticStep::kSendKept: file_ = std::move(kept_); break;
    case StaticStep::kReply: file_.reset(); break;
    case StaticStep::kSend: break;
  }
  kept_.reset();
  phase_ = Phase::kSending;
  head_sent_ = false;
  reads_ = 0;
  offset_ = answer_.first();
  left_ = file_ ? answer_.length() : 0;
  pump();
}

void FileStream::open_next() {
  auto file = tree_->open_file(answer_.name(), io::FileTree::Patience::kNow);
  if (file || file.error().code != io::Errc::kWouldBlock) return opened(std::move(file));
  work_.open(tree_, answer_.name(), [this](io::Result<std::shared_ptr<io::OpenFile>> later) { opened(std::move(later)); });
}

void FileStream::opened(io::Result<std::shared_ptr<io::OpenFile>> file) {
  if (sink_ == nullptr) return;
  if (file) {
    file_ = std::move(*file);
    return take_step(answer_.found({file_->bytes(), file_->modified_ns(), file_->is_folder()}));
  }
  // Out of descriptors is no reason to say that a file does not exist.
  if (file.error().code == io::Errc::kLimit) return break_off();
  take_step(answer_.missing());
}

/// The head, where it has not been sent, to the front of the slab. @return its bytes
std::size_t FileStream::put_head(std::span<std::byte> slab) const {
  if (head_sent_) return 0;
  const std::size_t bytes = std::min(answer_.head().size(), slab.size());
  std::memcpy(slab.data(), answer_.head().data(), bytes);
  return bytes;
}

/// One piece for each turn of the loop: head and the beginning of the file in one, so that a small file is one event.
void FileStream::pump() {
  if (!reading_ || sink_ == nullptr) return;
  const std::span<std::byte> slab = host_.file_slab();
  const std::size_t head = put_head(slab);
  std::size_t count = 0;
  if (left_ > 0) {
    const std::size_t wanted = std::min<std::uint64_t>(slab.size() - head, left_);
    const auto got = io::FileTree::read(*file_, offset_, slab.subspan(head, wanted), io::FileTree::Patience::kNow);
    if (!got && got.error().code == io::Errc::kWouldBlock) return read_elsewhere(wanted);
    if (!got || *got == 0) return break_off();
    count = *got;
  }
  deliver(slab.first(head + count), count);
}

/// What the disk has to be asked for. The head goes out with it: nothing is said of a file that cannot be read.
void FileStream::read_elsewhere(std::size_t bytes_max) {
  work_.read(file_, offset_, bytes_max, [this](io::Result<std::span<const std::byte>> bytes) {
    if (sink_ == nullptr || phase_ != Phase::kSending) return;
    if (!bytes || bytes->empty()) return break_off();
    const std::span<std::byte> slab = host_.file_slab();
    const std::size_t head = put_head(slab);
    std::memcpy(slab.data() + head, bytes->data(), bytes->size());
    deliver(slab.first(head + bytes->size()), bytes->size());
  });
}

void FileStream::deliver(std::span<const std::byte> bytes, std::size_t of_file) {
  head_sent_ = true;
  reads_ += of_file > 0 ? 1 : 0;
  offset_ += of_file;
  left_ -= of_file;
  const bool last = left_ == 0;
  if (last && !was_whole()) return break_off();
  if (last) {
    phase_ = Phase::kIdle;
    file_.reset();
  }
  const io::LifeMark mark(life_);
  host_.file_event();
  sink_->on_data(bytes);
  if (!last && mark.alive() && phase_ == Phase::kSending) turn_.schedule();
}

/// A file read in one piece right after it was opened is whole by its length.
bool FileStream::was_whole() const { return file_ == nullptr || reads_ <= 1 || file_->unchanged(); }

void FileStream::break_off() {
  phase_ = Phase::kOver;
  file_.reset();
  kept_.reset();
  if (sink_ == nullptr) return;
  host_.file_event();
  sink_->on_closed(proxy::StreamEnd::kReset);
}

void FileStream::end() {
  sink_ = nullptr;
  phase_ = Phase::kOver;
  file_.reset();
  kept_.reset();
  turn_.cancel();
}

}  // namespace agent::drivers
