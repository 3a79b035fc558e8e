// What a listener needs beyond the mesh's mutual TLS: several certificates, clients without one, tickets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/io/tcp_listener.h"
#include "agent/io/tls_files.h"
#include "agent/io/tls_stream.h"
#include "tests/support/rsa_certificate.h"
#include "tests/unit/agent/io/loop_until.h"
#include "tests/unit/agent/io/record_sink.h"
#include "tests/unit/agent/io/tls_fixture.h"

namespace agent::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A server of the given options, and clients one after the other.
struct TlsChoice : ::testing::Test {
  TlsChoice() {
    auto& files = tls_files();
    if (!read_file(files.path("rsa.pem"), 1U << 20)) {
      EXPECT_TRUE(replace_file(files.path("rsa.pem"), tests::kRsaCertificate));
      EXPECT_TRUE(replace_file(files.path("rsa.key"), tests::kRsaKey));
      issue_for("wild", "wild", {"*.wild.example", "wild.example"});
      issue_for("exact", "exact", {"one.wild.example"});
    }
  }
  static void issue_for(const std::string& file, const std::string& name, const std::vector<std::string>& dns_names) {
    auto request = TlsFixture::request(name);
    request.dns_names = dns_names;
    const auto pair = issue_certificate(tls_files().ca, request);
    ASSERT_TRUE(pair);
    ASSERT_TRUE(write_pem_pair(*pair, tls_files().path(file + ".pem"), tls_files().path(file + ".key")));
  }
  static TlsCertificate files_of(const std::string& file) { return {tls_files().path(file + ".pem"), tls_files().path(file + ".key"), {}}; }
  static TlsOptions server_of(const std::vector<std::string>& certificates, TlsVerify verify = TlsVerify::kNone) {
    TlsOptions options;
    options.verify = verify;
    options.min_version = TlsVersion::kTls12;
    if (verify != TlsVerify::kNone) options.ca_file = tls_files().path("ca.pem");
    for (const auto& file : certificates) options.certificates.push_back(files_of(file));
    return options;
  }
  static TlsOptions client_of(const std::string& certificate = {}) {
    TlsOptions options;
    options.role = TlsRole::kClient;
    options.verify = TlsVerify::kNone;
    options.min_version = TlsVersion::kTls12;
    if (!certificate.empty()) options.certificates = {files_of(certificate)};
    return options;
  }
  /// One connection until both sides are open or one has failed.
  void meet(const std::shared_ptr<const TlsContext>& for_server, const TlsOptions& for_client, const std::string& name) {
    client.reset();
    server.reset();
    client_sink = RecordSink();
    server_sink = RecordSink();
    auto listener = *TcpListener::listen(*loop, Address::loopback(0), {}, [&](std::unique_ptr<TcpStream> tcp) {
      server = TlsStream::server(for_server, std::move(tcp), in_good_time(), nullptr, &server_sink);
    });
    client = TlsStream::client(TlsFixture::load(for_client), TcpStream::connect(*loop, listener->local_address(), in_good_time(), nullptr),
                               name, in_good_time(), nullptr, &client_sink);
    ASSERT_TRUE(run_until(*loop, [&] { return (client_sink.opened && server_sink.opened) || server_sink.error; }));
  }
  /// Whose certificate the server shows to a client that asks for `name`.
  std::string shown_to(const std::shared_ptr<const TlsContext>& context, const std::string& name) {
    meet(context, client_of(), name);
    return client->peer_identity().common_name;
  }

  std::unique_ptr<Loop> loop = new_loop();
  RecordSink client_sink, server_sink;
  std::unique_ptr<TlsStream> client, server;
};

TEST_F(TlsChoice, TheNameAskedForChoosesTheCertificate) {
  const auto context = TlsFixture::load(server_of({"server", "wild", "exact", "rsa"}));
  ASSERT_TRUE(context);
  EXPECT_EQ(shown_to(context, "two.wild.example"), "wild");
  EXPECT_EQ(shown_to(context, "wild.example"), "wild");
  EXPECT_EQ(shown_to(context, "one.wild.example"), "exact") << "exact names go before wildcards";
  EXPECT_EQ(shown_to(context, "ONE.Wild.example"), "exact");
  EXPECT_EQ(shown_to(context, "rsa.example"), "rsa.example");
  EXPECT_EQ(shown_to(context, "a.b.wild.example"), "node-a") << "a wildcard stands for one label";
  EXPECT_EQ(shown_to(context, "unknown.example"), "node-a") << "the first is the default";
  EXPECT_EQ(shown_to(context, ""), "node-a");
}

TEST_F(TlsChoice, RsaAndEcdsaOfOneNameAreOfferedSideBySide) {
  const auto context = TlsFixture::load(server_of({"server", "wild", "rsa"}));
  EXPECT_THAT(context->matching("node-a"), ElementsAre(0, 2));
  EXPECT_THAT(context->matching("nowhere"), ElementsAre(0, 2)) << "the default's other half belongs to it";
  EXPECT_THAT(context->matching("x.wild.example"), ElementsAre(1));
  EXPECT_EQ(context->certificates()[2].common_name, "rsa.example");
  EXPECT_GT(context->certificates()[2].not_after_ms, wall_ms() + 365 * kDayMs);
}

TEST_F(TlsChoice, Tls12WithRsaAloneWorks) {
  const auto context = TlsFixture::load(server_of({"rsa"}));
  EXPECT_EQ(shown_to(context, "rsa.example"), "rsa.example");
}

TEST_F(TlsChoice, AClientMayShowNothingWhereItIsOptional) {
  const auto context = TlsFixture::load(server_of({"server"}, TlsVerify::kOptional));
  ASSERT_TRUE(context);
  meet(context, client_of(), "");
  EXPECT_FALSE(server_sink.error) << server_sink.error->detail;
  EXPECT_EQ(server->peer_identity().common_name, "");
}

TEST_F(TlsChoice, AGoodOptionalCertificateIsKnown) {
  const auto context = TlsFixture::load(server_of({"server"}, TlsVerify::kOptional));
  meet(context, client_of("client"), "");
  ASSERT_FALSE(server_sink.error) << server_sink.error->detail;
  EXPECT_EQ(server->peer_identity().common_name, "node-b");
  EXPECT_EQ(server->peer_identity().subject, "CN=node-b");
}

TEST_F(TlsChoice, ABadOptionalCertificateIsRefused) {
  const auto context = TlsFixture::load(server_of({"server"}, TlsVerify::kOptional));
  meet(context, client_of("rsa"), "");
  ASSERT_TRUE(server_sink.error);
  EXPECT_EQ(server_sink.error->code, Errc::kTlsPeer) << server_sink.error->detail;
  EXPECT_FALSE(server_sink.opened);
}

TEST_F(TlsChoice, TicketsNeverStandBesideClientCertificates) {
  auto options = server_of({"server"}, TlsVerify::kOptional);
  options.tickets = *TlsTickets::create(std::chrono::hours(12));
  const auto refused = TlsContext::load(options, wall_ms());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(refused.error().detail, HasSubstr("ticket"));
}

TEST_F(TlsChoice, TicketKeysMayChangeAtAnyTime) {
  auto options = server_of({"server"});
  options.tickets = *TlsTickets::create(std::chrono::hours(12));
  const auto context = TlsFixture::load(options);
  meet(context, client_of(), "");
  EXPECT_FALSE(server_sink.error);
  options.tickets->rotate();
  options.tickets->rotate();
  meet(context, client_of(), "");
  EXPECT_FALSE(server_sink.error);
  EXPECT_FALSE(TlsTickets::create(std::chrono::seconds(0)));
  EXPECT_FALSE(TlsTickets::create(std::chrono::hours(24 * 8)));
}

TEST_F(TlsChoice, AStapleIsRefusedWhereTheLibraryHasNoneAndWhereItIsGarbage) {
  auto options = server_of({"server"});
  options.certificates[0].ocsp_file = options.certificates[0].cert_file;
  const auto refused = TlsContext::load(options, wall_ms());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kCertificate);
  EXPECT_THAT(refused.error().detail, HasSubstr(TlsContext::can_staple() ? "is no OCSP answer" : "cannot staple"));
}

TEST(TlsNames, WildcardsStandForExactlyOneLabel) {
  EXPECT_EQ(match_name("a.example", "a.example"), NameMatch::kExact);
  EXPECT_EQ(match_name("*.example", "a.example"), NameMatch::kWildcard);
  EXPECT_EQ(match_name("*.example", "a.b.example"), NameMatch::kNo);
  EXPECT_EQ(match_name("*.example", "example"), NameMatch::kNo);
  EXPECT_EQ(match_name("*.example", ".example"), NameMatch::kNo);
  EXPECT_EQ(match_name("*", "a"), NameMatch::kNo);
  EXPECT_EQ(match_name("a*.example", "ab.example"), NameMatch::kNo) << "only a whole label may be wild";
  EXPECT_EQ(match_name("", "a"), NameMatch::kNo);
}

}  // namespace
}  // namespace agent::io
