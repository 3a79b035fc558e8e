// What the TLS library behind the seam costs, memory to memory: no socket, no loop, one thread. Both sides are our
// engine; the time of each is counted apart, so the server's figure does not hold the client's work.
// Run it from a release build of each backend: build/release/tests/bench_tls

#include <malloc.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "agent/io/clock.h"
#include "agent/io/file.h"
#include "agent/io/tls_engine.h"
#include "agent/io/x509.h"
#include "tests/support/rsa_certificate.h"

namespace {

using agent::io::TlsContext;
using agent::io::TlsEngine;
using Context = std::shared_ptr<const TlsContext>;
using Engine = std::unique_ptr<TlsEngine>;

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + 1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

Context load(const agent::io::TlsOptions& options) {
  auto context = TlsContext::load(options, agent::io::wall_ms());
  if (!context) {
    std::fprintf(stderr, "%s\n", context.error().detail.c_str());
    std::exit(1);
  }
  return *context;
}

Context server_of(const std::string& folder, const std::string& name) {
  agent::io::TlsOptions options;
  options.verify = agent::io::TlsVerify::kNone;
  options.min_version = agent::io::TlsVersion::kTls12;
  options.certificates = {{folder + "/" + name + ".pem", folder + "/" + name + ".key", {}}};
  return load(options);
}

Context client() {
  agent::io::TlsOptions options;
  options.role = agent::io::TlsRole::kClient;
  options.verify = agent::io::TlsVerify::kNone;
  return load(options);
}

Engine make(const Context& context) { return std::move(*TlsEngine::create(context, "")); }

/// Runs one side on what the other has sent. @return CPU seconds
double step(TlsEngine& self, TlsEngine& from, bool* done) {
  std::vector<std::byte> input = std::exchange(from.out(), {});
  const double began = cpu_seconds();
  *done = self.handshake(input) == TlsEngine::Step::kDone || *done;
  return cpu_seconds() - began;
}

/// @return CPU seconds of the server
double shake(TlsEngine& one_client, TlsEngine& server) {
  bool client_done = false, server_done = false;
  double cost = 0;
  for (int i = 0; i < 10 && !(client_done && server_done); ++i) {
    if (!client_done) step(one_client, server, &client_done);
    if (!server_done) cost += step(server, one_client, &server_done);
  }
  return cost;
}

void measure_handshakes(const char* what, const Context& server, const Context& one_client) {
  constexpr int kCount = 300;
  double cost = 0;
  for (int i = 0; i < kCount; ++i) {
    const Engine left = make(one_client), right = make(server);
    cost += shake(*left, *right);
  }
  std::printf("%-9s full handshake, %-10s  server %7.0f us\n", std::string(TlsContext::backend()).c_str(), what, cost / kCount * 1e6);
}

void measure_bulk(const Context& server, const Context& one_client) {
  const Engine left = make(one_client), right = make(server);
  shake(*left, *right);
  constexpr int kRounds = 4000;
  const std::vector<std::byte> record(16384, std::byte{42});
  std::vector<std::byte> plain(65536);
  double sealing = 0, opening = 0;
  for (int i = 0; i < kRounds; ++i) {
    const double began = cpu_seconds();
    if (!right->write(record)) std::exit(1);
    const double sealed = cpu_seconds();
    const std::vector<std::byte> wire = std::exchange(right->out(), {});
    std::span<const std::byte> input = wire;
    const double before = cpu_seconds();
    std::size_t got = 0;
    while (left->read(input, plain, &got) == TlsEngine::Read::kData) input = input.subspan(left->consumed());
    opening += cpu_seconds() - before;
    sealing += sealed - began;
  }
  const double megabytes = kRounds * 16384.0 / 1e6;
  std::printf("%-9s bulk, 16 KiB records           seals %7.0f MB/s, opens %7.0f MB/s\n", std::string(TlsContext::backend()).c_str(),
              megabytes / sealing, megabytes / opening);
}

void measure_memory(const Context& server, const Context& one_client) {
  constexpr int kCount = 500;
  std::vector<Engine> kept;
  const std::size_t before = ::mallinfo2().uordblks;
  for (int i = 0; i < kCount; ++i) {
    const Engine left = make(one_client);
    Engine right = make(server);
    shake(*left, *right);
    right->out() = {};
    kept.push_back(std::move(right));
  }
  std::printf("%-9s idle connection                heap  %7.1f KiB\n", std::string(TlsContext::backend()).c_str(),
              static_cast<double>(::mallinfo2().uordblks - before) / kCount / 1024);
}

}  // namespace

int main() {
  std::string folder = (std::filesystem::temp_directory_path() / "outrigger-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  agent::io::CertificateRequest request;
  request.common_name = "bench";
  request.not_before_ms = agent::io::wall_ms() - 1000;
  request.not_after_ms = agent::io::wall_ms() + 86'400'000;
  const auto authority = agent::io::create_ca(request);
  const auto pair = authority ? agent::io::issue_certificate(*authority, request) : authority;
  if (!pair || !agent::io::write_pem_pair(*pair, folder + "/ecdsa.pem", folder + "/ecdsa.key")) return 1;
  if (!agent::io::replace_file(folder + "/rsa.pem", tests::kRsaCertificate) || !agent::io::replace_file(folder + "/rsa.key", tests::kRsaKey)) return 1;
  const Context ecdsa = server_of(folder, "ecdsa"), rsa = server_of(folder, "rsa"), one_client = client();
  measure_handshakes("ECDSA P-256", ecdsa, one_client);
  measure_handshakes("RSA 2048", rsa, one_client);
  measure_bulk(ecdsa, one_client);
  measure_memory(ecdsa, one_client);
  std::filesystem::remove_all(folder);
  return 0;
}
