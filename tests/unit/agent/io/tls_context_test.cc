#include "agent/io/tls_context.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/agent/io/tls_fixture.h"

namespace agent::io {
namespace {

std::string refused(const TlsOptions& options, Errc code = Errc::kCertificate, std::int64_t at_days = 0) {
  const auto context = TlsContext::load(options, wall_ms() + at_days * kDayMs);
  if (context) {
    ADD_FAILURE() << "was accepted";
    return {};
  }
  EXPECT_EQ(context.error().code, code) << context.error().detail;
  return context.error().detail;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(TlsContext, LoadsAndTellsNameAndEnd) {
  const auto context = TlsFixture::load(tls_files().options(TlsRole::kServer, "server"));
  ASSERT_TRUE(context);
  EXPECT_EQ(context->own_common_name(), "node-a");
  EXPECT_NEAR(static_cast<double>(context->not_after_ms()), static_cast<double>(wall_ms() + 10 * kDayMs), 120'000);
}

TEST(TlsContext, UnreadableFilesAreNamed) {
  auto& files = tls_files();
  auto options = files.options(TlsRole::kServer, "server");
  options.certificates[0].cert_file = files.path("nowhere.pem");
  EXPECT_TRUE(has(refused(options), "nowhere.pem"));
  options = files.options(TlsRole::kServer, "server");
  options.certificates[0].key_file = files.path("nowhere.key");
  EXPECT_TRUE(has(refused(options), "nowhere.key"));
  options = files.options(TlsRole::kServer, "server");
  options.ca_file = files.path("nowhere-ca.pem");
  EXPECT_TRUE(has(refused(options), "nowhere-ca.pem"));
}

TEST(TlsContext, GarbageIsNamed) {
  auto& files = tls_files();
  ASSERT_TRUE(replace_file(files.path("garbage.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  auto options = files.options(TlsRole::kServer, "server");
  options.certificates[0].cert_file = files.path("garbage.pem");
  EXPECT_TRUE(has(refused(options), "garbage.pem"));
  options = files.options(TlsRole::kServer, "server");
  options.certificates[0].key_file = files.path("ca.pem");
  EXPECT_TRUE(has(refused(options), "unencrypted PEM private key"));
}

TEST(TlsContext, KeyOfAnotherCertificateIsSaid) {
  auto& files = tls_files();
  auto options = files.options(TlsRole::kServer, "server");
  options.certificates[0].key_file = files.path("client.key");
  const std::string words = refused(options);
  EXPECT_TRUE(has(words, "client.key")) << words;
  EXPECT_TRUE(has(words, "is not the key of")) << words;
}

TEST(TlsContext, TimesAreJudgedByTheGivenClock) {
  const auto options = tls_files().options(TlsRole::kServer, "server");
  EXPECT_TRUE(has(refused(options, Errc::kCertificate, 11), "expired on"));
  EXPECT_TRUE(has(refused(options, Errc::kCertificate, -2), "not valid before"));
}

TEST(TlsContext, ForeignCaIsSaid) {
  auto& files = tls_files();
  static const PemPair other = files.make_ca("other-ca", "another ca");
  auto options = files.options(TlsRole::kServer, "server");
  options.ca_file = files.path("other-ca.pem");
  const std::string words = refused(options);
  EXPECT_TRUE(has(words, "does not lead to")) << words;
  EXPECT_TRUE(has(words, "other-ca.pem")) << words;
}

TEST(TlsContext, IncompleteOptionsAreRefused) {
  auto& files = tls_files();
  refused(files.options(TlsRole::kServer, ""), Errc::kInvalidArgument);
  auto options = files.options(TlsRole::kClient, "client");
  options.certificates[0].key_file.clear();
  refused(options, Errc::kInvalidArgument);
  options = files.options(TlsRole::kClient, "client");
  options.ca_file.clear();
  refused(options, Errc::kInvalidArgument);
  options = files.options(TlsRole::kClient, "client");
  options.alpn = std::vector<std::string>(9, "x");
  refused(options, Errc::kInvalidArgument);
  options.alpn = {""};
  refused(options, Errc::kInvalidArgument);
}

TEST(TlsContext, ClientNeedsNoCertificateWhenNobodyIsChecked) {
  TlsOptions options;
  options.role = TlsRole::kClient;
  options.verify = TlsVerify::kNone;
  EXPECT_TRUE(TlsFixture::load(options));
}

TEST(X509, KeysAreWrittenForTheOwnerOnlyAndNeverOverwritten) {
  auto& files = tls_files();
  struct stat key{};
  ASSERT_EQ(::stat(files.path("server.key").c_str(), &key), 0);
  EXPECT_EQ(key.st_mode & 0777U, 0600U);
  const auto again = write_pem_pair(files.ca, files.path("new.pem"), files.path("server.key"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kExists);
  const auto read = read_pem_pair(files.path("ca.pem"), files.path("ca.key"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->key, files.ca.key);
  EXPECT_EQ(read_pem_pair(files.path("no"), files.path("ca.key")).error().code, Errc::kNotFound);
}

TEST(X509, RefusesBadNamesAndTimes) {
  auto bad = TlsFixture::request("a,b");
  EXPECT_EQ(create_ca(bad).error().code, Errc::kInvalidArgument);
  bad = TlsFixture::request("");
  EXPECT_EQ(create_ca(bad).error().code, Errc::kInvalidArgument);
  bad = TlsFixture::request("x", 5, 5);
  EXPECT_EQ(create_ca(bad).error().code, Errc::kInvalidArgument);
  bad = TlsFixture::request("x");
  bad.ip_names = {"not an ip"};
  EXPECT_EQ(issue_certificate(tls_files().ca, bad).error().code, Errc::kInvalidArgument);
}

TEST(X509, RefusesACaThatDoesNotFit) {
  auto& files = tls_files();
  PemPair mixed = files.ca;
  mixed.key = read_pem_pair(files.path("server.pem"), files.path("server.key"))->key;
  EXPECT_EQ(issue_certificate(mixed, TlsFixture::request("x")).error().code, Errc::kCertificate);
  mixed.certificate = "nothing";
  EXPECT_EQ(issue_certificate(mixed, TlsFixture::request("x")).error().code, Errc::kCertificate);
}

}  // namespace
}  // namespace agent::io
