#include "agent/drivers/tls_acceptor.h"

#include <algorithm>
#include <utility>

namespace agent::drivers {

/// One handshake. It hears of the stream until the stream is open or dead.
struct TlsAcceptor::Pending final : io::StreamSink {
  Pending(TlsAcceptor& acceptor, proxy::Accepted given, bool tells) : owner(acceptor), accepted(std::move(given)), tell(tells) {}
  void on_open() override { owner.opened(*this); }
  void on_read(std::span<const std::byte>) override {}  // reading is off
  void on_end() override {}
  void on_error(const io::Error& error) override { owner.failed(*this, error); }

  TlsAcceptor& owner;
  proxy::Accepted accepted;
  bool tell;
  std::unique_ptr<io::TlsStream> stream;
  std::list<std::unique_ptr<Pending>>::iterator place;
};

void TlsCounters::add(const TlsCounters& other) {
  tls12 += other.tls12;
  tls13 += other.tls13;
  certificate += other.certificate;
  protocol += other.protocol;
  timed_out += other.timed_out;
  closed += other.closed;
  refused += other.refused;
}

std::string client_certificate_text(const io::PeerIdentity& peer) {
  if (peer.fingerprint.empty()) return {};
  std::string text = "Hash=" + peer.fingerprint + ";Subject=\"";
  for (const char c : peer.subject) {
    const bool printable = c >= 0x20 && c < 0x7f;
    if (c == '"' || c == '\\') text += '\\';
    text += printable ? c : '?';
  }
  text += '"';
  for (const std::string& name : peer.dns_names) {
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '*';
    });
    if (plain) text += ";DNS=" + name;
  }
  return text;
}

TlsAcceptor::TlsAcceptor(OnOpen on_open) : on_open_(std::move(on_open)) {}
TlsAcceptor::~TlsAcceptor() = default;

void TlsAcceptor::begin(std::unique_ptr<io::TcpStream> stream, const ListenPolicy& policy, proxy::Accepted accepted) {
  if (pending_.size() >= kHandshakesMax) {
    ++counters_.refused;
    return;
  }
  auto& pending = *pending_.emplace_back(std::make_unique<Pending>(*this, std::move(accepted), policy.tell_client_certificate));
  pending.place = std::prev(pending_.end());
  pending.stream = io::TlsStream::server(policy.tls, std::move(stream), io::boottime_now() + policy.handshake_timeout, nullptr, &pending);
}

void TlsAcceptor::clear() { pending_.clear(); }

void TlsAcceptor::opened(Pending& pending) {
  ++(pending.stream->version() == "TLSv1.2" ? counters_.tls12 : counters_.tls13);
  if (pending.tell) pending.accepted.client_certificate = client_certificate_text(pending.stream->peer_identity());
  if (pending.stream->alpn() == "h2") pending.accepted.protocol = proxy::Protocol::kHttp2;
  const std::unique_ptr<Pending> done = std::move(*pending.place);
  pending_.erase(done->place);
  done->stream->set_sink(nullptr);
  on_open_(std::move(done->stream), std::move(done->accepted));
}

void TlsAcceptor::failed(Pending& pending, const io::Error& error) {
  switch (error.code) {
    case io::Errc::kTlsPeer: ++counters_.certificate; break;
    case io::Errc::kTlsProtocol: ++counters_.protocol; break;
    case io::Errc::kTimedOut: ++counters_.timed_out; break;
    default: ++counters_.closed; break;
  }
  const std::unique_ptr<Pending> done = std::move(*pending.place);
  pending_.erase(done->place);
}

}  // namespace agent::drivers
