#include "agent/io/tls_stream.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <utility>

#include "agent/io/tls_engine.h"
#include "agent/io/tls_work.h"

namespace agent::io {

namespace {

constexpr std::size_t kRecordBytesMax = 16384;           // RFC 8446, section 5.1
constexpr std::size_t kFlushBytes = 128U << 10;          // ciphertext gathered before it goes to the kernel
constexpr std::size_t kScratchBytesKept = 256U << 10;
constexpr std::size_t kHandshakeBytesMax = 128U << 10;   // a chain of certificates fits many times over

}  // namespace

/// What TlsStream hears from the TcpStream below.
struct TlsStream::Lower final : StreamSink {
  explicit Lower(TlsStream& upper) : owner(upper) {}
  void on_open() override { owner.lower_open(); }
  void on_read(std::span<const std::byte> bytes) override { owner.lower_read(bytes); }
  void on_end() override { owner.lower_end(); }
  void on_error(const Error& error) override { owner.lower_error(error); }
  void on_drained() override {
    if (owner.state_ == State::kOpen && owner.sink_ != nullptr) owner.sink_->on_drained();
  }
  TlsStream& owner;
};

TlsStream::TlsStream(std::unique_ptr<TlsEngine> engine, std::unique_ptr<TcpStream> tcp, TlsOffload* offload,
                     State state)
    : loop_(tcp->loop()),
      state_(state),
      offload_(offload),
      engine_(std::move(engine)),
      lower_(std::make_unique<Lower>(*this)),
      tcp_(std::move(tcp)),
      deferred_(loop_, [this] { run_deferred(); }) {
  tcp_->set_sink(lower_.get());
  // One bound for both layers, checked in write(); records are a little longer than what they carry.
  tcp_->set_write_queue_bytes_max(std::numeric_limits<std::size_t>::max() / 2);
}

TlsStream::~TlsStream() { drop_work(); }

std::unique_ptr<TlsStream> TlsStream::server(std::shared_ptr<const TlsContext> context, std::unique_ptr<TcpStream> tcp,
                                             TimePoint deadline, TlsOffload* offload, StreamSink* sink) {
  assert(context->options().role == TlsRole::kServer);
  return begin(std::move(context), std::move(tcp), "", deadline, offload, sink);
}

std::unique_ptr<TlsStream> TlsStream::client(std::shared_ptr<const TlsContext> context, std::unique_ptr<TcpStream> tcp,
                                             const std::string& server_name, TimePoint deadline, TlsOffload* offload,
                                             StreamSink* sink) {
  assert(context->options().role == TlsRole::kClient);
  return begin(std::move(context), std::move(tcp), server_name, deadline, offload, sink);
}

std::unique_ptr<TlsStream> TlsStream::begin(std::shared_ptr<const TlsContext> context, std::unique_ptr<TcpStream> tcp,
                                            const std::string& server_name, TimePoint deadline, TlsOffload* offload,
                                            StreamSink* sink) {
  auto engine = TlsEngine::create(std::move(context), server_name);
  const State state = tcp->open() ? State::kHandshake : State::kConnecting;
  std::unique_ptr<TlsStream> stream(
      new TlsStream(engine ? std::move(*engine) : nullptr, std::move(tcp), offload, state));
  stream->sink_ = sink;
  if (!engine) {
    stream->fail_later(engine.error());
    return stream;
  }
  stream->deadline_ = std::make_unique<Timer>(stream->loop_, [self = stream.get()] {
    self->die(Error{Errc::kTimedOut, "TLS handshake: not done before the deadline"});
  });
  stream->deadline_->arm(deadline);
  if (state == State::kHandshake) stream->deferred_.schedule();
  return stream;
}

void TlsStream::set_sink(StreamSink* sink) {
  sink_ = sink;
  if (sink_ != nullptr && (failure_ || (reading_ && state_ == State::kOpen))) deferred_.schedule();
}

void TlsStream::read_start() {
  reading_ = true;
  if (state_ != State::kOpen) return;
  tcp_->read_start();
  if (!cipher_in_.empty() || !pushed_back_.empty() || lower_ended_) deferred_.schedule();
}

void TlsStream::read_stop() {
  reading_ = false;
  if (state_ == State::kOpen) tcp_->read_stop();
}

void TlsStream::lower_open() {
  state_ = State::kHandshake;
  advance_handshake();
}

void TlsStream::lower_read(std::span<const std::byte> bytes) {
  if (state_ == State::kOpen) {
    if (cipher_in_.empty()) {
      pump(bytes);
    } else {
      cipher_in_.insert(cipher_in_.end(), bytes.begin(), bytes.end());
      const std::vector<std::byte> all = std::exchange(cipher_in_, {});
      pump(all);
    }
    return;
  }
  if (state_ != State::kHandshake) return;
  if (cipher_in_.size() + bytes.size() > kHandshakeBytesMax) {
    die(Error{Errc::kTlsProtocol, "TLS handshake: more bytes than any handshake needs"});
    return;
  }
  cipher_in_.insert(cipher_in_.end(), bytes.begin(), bytes.end());
  if (work_ == nullptr) advance_handshake();
}

void TlsStream::lower_end() {
  lower_ended_ = true;
  if (state_ == State::kHandshake) {
    die(Error{Errc::kTlsProtocol, "TLS handshake: the other side closed the connection"});
  } else if (state_ == State::kOpen && cipher_in_.empty()) {
    judge_lower_end();
  }
}

/// FIN without close_notify may be an attacker's cut; it must not look like the end of a message.
void TlsStream::judge_lower_end() {
  if (!ended_) die(Error{Errc::kTlsProtocol, "TLS: the connection was cut without close_notify"});
}

void TlsStream::lower_error(const Error& error) { die(error); }

void TlsStream::advance_handshake() {
  if (offload_ == nullptr) {
    const TlsEngine::Step step = engine_->handshake(cipher_in_);
    cipher_in_.erase(cipher_in_.begin(), cipher_in_.begin() + static_cast<std::ptrdiff_t>(engine_->consumed()));
    after_step(static_cast<int>(step));
    return;
  }
  auto work = std::make_unique<TlsWork>();
  work->stream = this;
  work->engine = std::move(engine_);
  work->input = std::exchange(cipher_in_, {});
  work_ = work.get();
  tcp_->read_stop();  // what comes meanwhile waits in the kernel
  if (offload_->submit(work)) return;
  work_ = nullptr;
  engine_ = std::move(work->engine);
  die(Error{Errc::kQueueFull, "TLS handshake: too many are waiting"});
}

void TlsStream::handshake_stepped(TlsWork& work) {
  work_ = nullptr;
  engine_ = std::move(work.engine);
  cipher_in_.assign(work.input.begin() + static_cast<std::ptrdiff_t>(engine_->consumed()), work.input.end());
  after_step(static_cast<int>(work.step));
}

void TlsStream::after_step(int step) {
  flush_engine();
  switch (static_cast<TlsEngine::Step>(step)) {
    case TlsEngine::Step::kNeedsInput:
      tcp_->read_start();
      return;
    case TlsEngine::Step::kDone:
      handshake_done();
      return;
    case TlsEngine::Step::kFailed:
      tcp_->shutdown();  // after the alert that tells the other side why
      die(engine_->failure());
      return;
  }
}

void TlsStream::handshake_done() {
  state_ = State::kOpen;
  deadline_.reset();
  if (!reading_) tcp_->read_stop();
  if (!early_plain_.empty()) {
    const std::vector<std::byte> early = std::exchange(early_plain_, {});
    const std::span<const std::byte> bytes = early;
    if (auto sent = encrypt(Buffers(&bytes, 1)); !sent) {
      fail_later(sent.error());
      return;
    }
  }
  if (shutdown_wanted_) send_close();
  if (reading_) {
    tcp_->read_start();
    deferred_.schedule();  // bytes that came with the end of the handshake
  }
  if (sink_ != nullptr) sink_->on_open();
}

/// Decrypts and delivers; keeps what nobody wants yet. May end in the stream's death: last statement of its caller.
void TlsStream::pump(std::span<const std::byte> cipher) {
  const LifeMark life(life_);
  while (life.alive() && state_ == State::kOpen && reading_ && sink_ != nullptr && !ended_) {
    if (!pushed_back_.empty()) {
      const std::vector<std::byte> first = std::exchange(pushed_back_, {});
      sink_->on_read(first);
      continue;
    }
    if (!pump_slab(cipher, life)) break;
  }
  if (!life.alive() || state_ != State::kOpen) return;
  cipher_in_.insert(cipher_in_.begin(), cipher.begin(), cipher.end());
  if (lower_ended_ && cipher_in_.empty()) judge_lower_end();
}

/// Fills the plain slab once and hands it over. @return whether it makes sense to go on with what is left of `cipher`.
bool TlsStream::pump_slab(std::span<const std::byte>& cipher, const LifeMark& life) {
  const std::span<std::byte> slab = loop_.plain_slab();
  std::size_t filled = 0;
  TlsEngine::Read last = TlsEngine::Read::kData;
  // A whole record always finds room, so none is ever left half-delivered inside the engine.
  while (last == TlsEngine::Read::kData && slab.size() - filled >= kRecordBytesMax) {
    std::size_t count = 0;
    last = engine_->read(cipher, slab.subspan(filled), &count);
    cipher = cipher.subspan(engine_->consumed());
    filled += count;
  }
  flush_engine();  // TLS may have something to answer by itself (an alert)
  if (filled > 0) sink_->on_read(slab.first(filled));
  if (!life.alive()) return false;
  switch (last) {
    case TlsEngine::Read::kData:
      return true;
    case TlsEngine::Read::kNeedsInput:
      return false;
    case TlsEngine::Read::kEnd:
      ended_ = true;
      if (sink_ != nullptr) sink_->on_end();
      return false;
    case TlsEngine::Read::kFailed:
      if (state_ == State::kOpen) die(engine_->failure());
      return false;
  }
  return false;
}

Result<void> TlsStream::write(Buffers buffers) {
  if (state_ == State::kDead || shutdown_wanted_) return fail(Errc::kClosed, "write to a closed connection");
  std::size_t total = 0;
  for (const auto& buffer : buffers) total += buffer.size();
  if (total > queue_bytes_max_ || write_queue_bytes() > queue_bytes_max_ - total) {
    return fail(Errc::kQueueFull, "write queue is full");
  }
  if (state_ == State::kOpen) return encrypt(buffers);
  for (const auto& buffer : buffers) early_plain_.insert(early_plain_.end(), buffer.begin(), buffer.end());
  return {};
}

Result<void> TlsStream::encrypt(Buffers buffers) {
  std::vector<std::byte>& scratch = loop_.write_scratch();
  scratch.clear();
  engine_->redirect(&scratch);
  std::array<std::byte, kRecordBytesMax> staged;  // small neighbours share a record
  std::size_t staged_bytes = 0;
  Result<void> result;
  const auto send = [&](std::span<const std::byte> plain) {
    result = engine_->write(plain);
    if (!result) {
      fail_later(result.error());
    } else if (scratch.size() >= kFlushBytes) {
      result = tcp_->write(scratch);
      scratch.clear();
    }
  };
  for (const auto& buffer : buffers) {
    for (std::span<const std::byte> left = buffer; result && !left.empty();) {
      const bool whole = staged_bytes == 0 && (left.size() >= kRecordBytesMax || buffers.size() == 1);
      const std::size_t taken = std::min(left.size(), kRecordBytesMax - staged_bytes);
      if (whole) {
        send(left.first(taken));
      } else {
        std::copy_n(left.begin(), taken, staged.begin() + static_cast<std::ptrdiff_t>(staged_bytes));
        staged_bytes += taken;
        if (staged_bytes == kRecordBytesMax) send(std::span(staged).first(std::exchange(staged_bytes, 0)));
      }
      left = left.subspan(taken);
    }
  }
  if (result && staged_bytes > 0) send(std::span(staged).first(staged_bytes));
  engine_->redirect(nullptr);
  if (result && !scratch.empty()) result = tcp_->write(scratch);
  scratch.clear();
  if (scratch.capacity() > kScratchBytesKept) std::vector<std::byte>().swap(scratch);
  return result;
}

/// @return whether nothing of it is left
Result<bool> TlsStream::send_tail() {
  const std::span<const std::byte> waiting = tail_;
  const auto sent = tcp_->write_some(Buffers(&waiting, 1));
  if (!sent) return tl::unexpected(sent.error());
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(*sent));
  if (!tail_.empty()) return false;
  std::vector<std::byte>().swap(tail_);  // a connection holds no buffer while nothing waits
  return true;
}

/// Seals one record and sends what the kernel takes of it. @return whether all of it is gone
Result<bool> TlsStream::send_record(std::span<const std::byte> plain) {
  std::vector<std::byte>& record = loop_.write_scratch();
  record.clear();
  engine_->redirect(&record);
  const auto sealed = engine_->write(plain);
  engine_->redirect(nullptr);
  if (!sealed) {
    fail_later(sealed.error());
    return tl::unexpected(sealed.error());
  }
  const std::span<const std::byte> bytes = record;
  const auto sent = tcp_->write_some(Buffers(&bytes, 1));
  if (!sent) return tl::unexpected(sent.error());
  if (*sent == record.size()) return true;
  tail_.assign(record.begin() + static_cast<std::ptrdiff_t>(*sent), record.end());
  owed_ = plain.size();
  return false;
}

Result<std::size_t> TlsStream::write_some(Buffers buffers) {
  if (state_ == State::kDead || shutdown_wanted_) return fail(Errc::kClosed, "write to a closed connection");
  if (state_ != State::kOpen) return 0;
  std::size_t taken = 0;
  std::size_t skip = 0;  // of the present buffer: the record that left in part was made of it
  if (!tail_.empty()) {
    const auto all = send_tail();
    if (!all) return tl::unexpected(all.error());
    if (!*all) return 0;
    skip = taken = std::exchange(owed_, 0);
  }
  std::array<std::byte, kRecordBytesMax> staged;
  std::size_t filled = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const std::size_t passed = std::min(skip, buffers[i].size());
    skip -= passed;
    for (std::span<const std::byte> left = buffers[i].subspan(passed); !left.empty();) {
      const std::size_t count = std::min(left.size(), kRecordBytesMax - filled);
      std::copy_n(left.begin(), count, staged.begin() + static_cast<std::ptrdiff_t>(filled));
      filled += count;
      left = left.subspan(count);
      if (filled < kRecordBytesMax && (i + 1 < buffers.size() || !left.empty())) continue;
      // One record at a time: how much of several has left could not be told.
      const auto all = send_record(std::span(staged).first(filled));
      // Records before it have left: who takes them for unsent may send them twice. on_error follows.
      if (!all && taken == 0) return tl::unexpected(all.error());
      if (!all || !*all) return taken;
      taken += std::exchange(filled, 0);
    }
  }
  return taken;
}

void TlsStream::flush_engine() {
  std::vector<std::byte>& out = engine_->out();
  if (out.empty()) return;
  if (!tail_.empty()) {  // behind the record that has left in part
    tail_.insert(tail_.end(), out.begin(), out.end());
    std::vector<std::byte>().swap(out);
    return;
  }
  // A failure shows up as on_error of the connection below.
  static_cast<void>(tcp_->write(std::span<const std::byte>(out)));
  std::vector<std::byte>().swap(out);
}

std::size_t TlsStream::unconfirmed_bytes() const { return early_plain_.size() + tcp_->unconfirmed_bytes(); }
std::size_t TlsStream::write_queue_bytes() const { return early_plain_.size() + tcp_->write_queue_bytes(); }

void TlsStream::shutdown() {
  if (shutdown_wanted_ || state_ == State::kDead) return;
  shutdown_wanted_ = true;
  if (state_ == State::kOpen) send_close();
}

void TlsStream::send_close() {
  engine_->close_notify();
  flush_engine();
  tcp_->shutdown();
}

void TlsStream::reset() {
  tcp_->reset();
  drop_work();
  deadline_.reset();
  deferred_.cancel();
  failure_.reset();
  state_ = State::kDead;
}

void TlsStream::set_write_gate(const WriteGate* gate) { tcp_->set_write_gate(gate); }

void TlsStream::unread(std::span<const std::byte> bytes) {
  pushed_back_.insert(pushed_back_.begin(), bytes.begin(), bytes.end());
  if (reading_) deferred_.schedule();
}

Result<DetachedStream> TlsStream::detach() {
  if (state_ == State::kDead) return fail(Errc::kClosed, "detach: the connection is closed");
  if (state_ != State::kOpen || write_queue_bytes() > 0 || shutdown_wanted_) {
    return fail(Errc::kInvalidArgument, "detach: handshake or written bytes are still pending");
  }
  auto lower = tcp_->detach();
  if (!lower) return lower;
  lower->tls_ = std::move(engine_);
  lower->unread_.insert(lower->unread_.begin(), cipher_in_.begin(), cipher_in_.end());
  lower->plain_unread_ = std::move(pushed_back_);
  deferred_.cancel();
  state_ = State::kDead;
  return lower;
}

void TlsStream::drop_work() {
  if (work_ == nullptr) return;
  work_->stream = nullptr;
  offload_->forget(std::exchange(work_, nullptr));
}

/// From an event of the loop. Last statement of its caller.
void TlsStream::die(Error error) {
  drop_work();
  deadline_.reset();
  deferred_.cancel();
  state_ = State::kDead;
  if (sink_ == nullptr) {
    failure_ = std::make_unique<Error>(std::move(error));
    return;
  }
  failure_.reset();
  StreamSink* const sink = sink_;
  sink->on_error(error);
}

/// From inside a call of ours: the sink hears of it at the end of the turn.
void TlsStream::fail_later(Error error) {
  if (failure_) return;
  drop_work();
  deadline_.reset();
  state_ = State::kDead;
  failure_ = std::make_unique<Error>(std::move(error));
  deferred_.schedule();
}

void TlsStream::run_deferred() {
  if (failure_) {
    if (sink_ == nullptr) return;
    Error error = std::move(*failure_);
    die(std::move(error));
  } else if (state_ == State::kHandshake && work_ == nullptr) {
    advance_handshake();
  } else if (state_ == State::kOpen) {
    const std::vector<std::byte> waiting = std::exchange(cipher_in_, {});
    pump(waiting);
  }
}

std::string TlsStream::alpn() const { return engine_ && state_ == State::kOpen ? engine_->alpn() : std::string(); }

std::string_view TlsStream::version() const { return engine_ && state_ == State::kOpen ? engine_->version() : std::string_view(); }

PeerIdentity TlsStream::peer_identity() const {
  return engine_ && state_ == State::kOpen ? engine_->peer_identity() : PeerIdentity{};
}

std::unique_ptr<ByteStream> adopt(Loop& loop, DetachedStream detached) {
  auto tcp = TcpStream::from_fd(loop, std::exchange(detached.fd_, -1));
  if (!detached.tls_) {
    tcp->unread(detached.unread_);
    return tcp;
  }
  std::unique_ptr<TlsStream> stream(
      new TlsStream(std::move(detached.tls_), std::move(tcp), nullptr, TlsStream::State::kOpen));
  stream->cipher_in_ = std::move(detached.unread_);
  stream->pushed_back_ = std::move(detached.plain_unread_);
  return stream;
}

}  // namespace agent::io
