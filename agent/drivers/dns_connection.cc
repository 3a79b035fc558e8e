#include "agent/drivers/dns_connection.h"

#include <array>
#include <utility>

namespace agent::drivers {

DnsConnection::DnsConnection(DnsDriver& driver, std::unique_ptr<io::ByteStream> stream)
    : driver_(driver), stream_(std::move(stream)), more_(driver.loop_, [this] { work(); }), last_query_(io::boottime_now()) {
  stream_->set_write_queue_bytes_max(DnsDriver::kAnswersBytesMax + 2 + dns::MessageWriter::kMessageBytesMax);
  stream_->set_sink(this);
}

DnsConnection::~DnsConnection() { stream_->set_sink(nullptr); }

void DnsConnection::on_read(std::span<const std::byte> bytes) {
  received_.insert(received_.end(), bytes.begin(), bytes.end());
  stream_->read_stop();  // until this is worked off: what is received stays bounded
  work();
}

void DnsConnection::on_end() {
  ended_ = true;
  work();
}

void DnsConnection::on_error(const io::Error&) { driver_.on_closed(*this); }

void DnsConnection::on_drained() { work(); }

/// Answers what is there, as far as the bounds of one turn and of the unsent answers allow. May end in on_closed.
void DnsConnection::work() {
  for (std::size_t left = DnsDriver::kQueriesPerTurn; !broken_; --left) {
    if (stream_->write_queue_bytes() > DnsDriver::kAnswersBytesMax) return;  // on_drained goes on
    if (left == 0) return more_.schedule();
    if (!take_query()) break;
  }
  if (broken_) return driver_.on_closed(*this);
  received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(taken_));
  taken_ = 0;
  if (received_.empty()) received_ = {};  // a quiet connection holds no memory
  if (!ended_) return stream_->read_start();
  if (stream_->write_queue_bytes() == 0) driver_.on_closed(*this);
}

/// @return false: there is no whole query, or the connection is broken
bool DnsConnection::take_query() {
  constexpr std::size_t kLengthBytes = 2;
  const auto rest = std::span(std::as_const(received_)).subspan(taken_);
  if (rest.size() < kLengthBytes) return false;
  const std::size_t length = std::to_integer<std::size_t>(rest[0]) << 8 | std::to_integer<std::size_t>(rest[1]);
  if (length < dns::kHeaderBytes || length > DnsDriver::kQueryBytesMax) {
    ++driver_.counters_.refused;
    broken_ = true;
    return false;
  }
  if (rest.size() < kLengthBytes + length) return false;
  taken_ += kLengthBytes + length;
  last_query_ = io::boottime_now();
  return answer(rest.subspan(kLengthBytes, length));
}

bool DnsConnection::answer(std::span<const std::byte> query) {
  const auto bytes = driver_.resolver_.answer(query, dns::Transport::kTcp);
  if (bytes.empty()) return true;
  const std::array<std::byte, 2> length{static_cast<std::byte>(bytes.size() >> 8), static_cast<std::byte>(bytes.size())};
  const std::array<std::span<const std::byte>, 2> parts{length, bytes};
  if (!stream_->write(parts)) broken_ = true;  // the bound of its queue is never met here, so the connection is dead
  return !broken_;
}

}  // namespace agent::drivers
