#pragma once
/// A CA with certificates in a temporary directory, made once per test binary.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "agent/io/clock.h"
#include "agent/io/file.h"
#include "agent/io/tls_context.h"
#include "agent/io/x509.h"

namespace agent::io {

inline constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;

class TlsFixture {
 public:
  TlsFixture() {
    std::string pattern = ::testing::TempDir() + "/outrigger-tls-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    ca = make_ca("ca", "test ca");
    issue("server", "node-a");
    issue("client", "node-b");
  }
  ~TlsFixture() { std::filesystem::remove_all(directory); }
  TlsFixture(const TlsFixture&) = delete;
  TlsFixture& operator=(const TlsFixture&) = delete;

  static CertificateRequest request(const std::string& name, std::int64_t from_days = -1, std::int64_t to_days = 10) {
    CertificateRequest wanted;
    wanted.common_name = name;
    wanted.dns_names = {name + ".example"};
    wanted.ip_names = {"127.0.0.1"};
    wanted.not_before_ms = wall_ms() + from_days * kDayMs;
    wanted.not_after_ms = wall_ms() + to_days * kDayMs;
    return wanted;
  }
  [[nodiscard]] std::string path(const std::string& file) const { return directory + "/" + file; }
  PemPair make_ca(const std::string& file, const std::string& name) {
    const PemPair pair = *create_ca(request(name));
    EXPECT_TRUE(write_pem_pair(pair, path(file + ".pem"), path(file + ".key")));
    return pair;
  }
  void issue(const std::string& file, const std::string& name, const PemPair* from = nullptr,
             std::int64_t from_days = -1, std::int64_t to_days = 10) {
    const auto pair = issue_certificate(from != nullptr ? *from : ca, request(name, from_days, to_days));
    ASSERT_TRUE(pair) << pair.error().detail;
    ASSERT_TRUE(write_pem_pair(*pair, path(file + ".pem"), path(file + ".key")));
  }
  [[nodiscard]] TlsOptions options(TlsRole role, const std::string& file) const {
    TlsOptions wanted;
    wanted.role = role;
    wanted.ca_file = path("ca.pem");
    wanted.own_from_ca = true;
    if (!file.empty()) {
      wanted.certificates = {{path(file + ".pem"), path(file + ".key"), {}}};
    }
    return wanted;
  }
  /// @param at_days the clock of the loader, relative to now: lets an expired certificate pass its own load.
  static std::shared_ptr<const TlsContext> load(const TlsOptions& wanted, std::int64_t at_days = 0) {
    auto context = TlsContext::load(wanted, wall_ms() + at_days * kDayMs);
    EXPECT_TRUE(context) << context.error().detail;
    return context ? *context : nullptr;
  }

  std::string directory;
  PemPair ca;
};

inline TlsFixture& tls_files() {
  static TlsFixture files;
  return files;
}

}  // namespace agent::io
