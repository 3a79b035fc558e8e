#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "agent/config.h"

namespace agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kPair = "certificates = [{ cert = \"a.pem\", key = \"a.key\" }]";

std::vector<std::string> texts_of(const tl::expected<Config, std::vector<ConfigProblem>>& parsed) {
  std::vector<std::string> out;
  if (!parsed)
    for (const auto& problem : parsed.error()) out.push_back(problem.text());
  return out;
}
std::string listen(const std::string& tls, const std::string& rest = {}) {
  return "[[listen]]\naddress = \"127.0.0.1:1\"\ntls = { " + tls + " }\n" + rest;
}
std::vector<std::string> problems_of(const std::string& toml) { return texts_of(parse_config(toml, "f")); }

TEST(ConfigTls, ACertificateIsAllThatAListenerNeeds) {
  const auto config = parse_config(listen(kPair), "dir/f");
  ASSERT_TRUE(config);
  const ListenTlsConfig& tls = *config->listeners[0].tls;
  EXPECT_EQ(tls.certificates[0].cert, "dir/a.pem") << "counts from the file that names it";
  EXPECT_THAT(tls.alpn, ElementsAre("h2", "http/1.1"));
  EXPECT_TRUE(tls.tickets);
  EXPECT_EQ(tls.handshake_timeout, Milliseconds(10'000));
  EXPECT_EQ(tls.client_certificates, ClientCertificates::kOff);
}

TEST(ConfigTls, EachContradictionIsNamedWithAWayOut) {
  EXPECT_THAT(problems_of(listen("")), ElementsAre(HasSubstr("listen[0].tls.certificates: TLS without a certificate; add")));
  EXPECT_THAT(problems_of(listen("certificates = [{ cert = \"a.pem\" }]")), ElementsAre(HasSubstr("certificates[0].key: certificate and key belong together")));
  EXPECT_THAT(problems_of(listen("certificates = [{ cert = \"a.pem\", key = \"k\", chain = \"c\" }]")), ElementsAre(HasSubstr("unknown key \"chain\"")));
  const std::string pair = kPair;
  EXPECT_THAT(problems_of(listen(pair + ", client_certificates = \"required\"")), ElementsAre(HasSubstr("client_ca = \"clients.pem\"")));
  EXPECT_THAT(problems_of(listen(pair + ", client_ca = \"c.pem\"")), ElementsAre(HasSubstr("listen[0].tls.client_ca: clients are not asked")));
  EXPECT_THAT(problems_of(listen(pair + ", tell_client_certificate = true")), ElementsAre(HasSubstr("tell_client_certificate: clients are not asked")));
  EXPECT_THAT(problems_of(listen(pair + ", alpn = [\"h3\"]")), ElementsAre(HasSubstr("\"h3\" is not spoken here")));
  EXPECT_THAT(problems_of(listen(pair, "h2c = true\n")), ElementsAre(HasSubstr("h2c: this listener speaks TLS, where clients choose by ALPN")));
  EXPECT_THAT(problems_of("[proxy.h2]\nstream_window = \"2MiB\"\n"), ElementsAre(HasSubstr("proxy.h2.connection_window: smaller than stream_window")));
  EXPECT_THAT(problems_of("[proxy.h2]\nstreams = 0\n"), ElementsAre(HasSubstr("proxy.h2.streams")));
  EXPECT_THAT(problems_of(listen(pair + ", ticket_lifetime = \"200h\"")), ElementsAre(HasSubstr("out of range")));
  EXPECT_THAT(problems_of(listen(pair, "redirect_https = true\n")), ElementsAre(HasSubstr("redirect_https: this listener speaks TLS already")));
  EXPECT_THAT(problems_of(listen(pair, "hsts = \"1500ms\"\n")), ElementsAre(HasSubstr("whole seconds")));
  EXPECT_THAT(problems_of(listen(pair, "hsts_subdomains = true\n")), ElementsAre(HasSubstr("hsts is not set")));
  EXPECT_THAT(problems_of("[[listen]]\naddress = \"127.0.0.1:1\"\nhsts = \"1h\"\n"), ElementsAre(HasSubstr("RFC 6797")));
}

TEST(ConfigTls, Http2IsOfferedOverTlsAndAskedForWithoutIt) {
  const auto config = parse_config("[[listen]]\naddress = \"127.0.0.1:1\"\nh2c = true\n[proxy.h2]\nstreams = 7\nstream_window = \"128KiB\"\n"
                                   "connection_window = \"2MiB\"\nresets = 9\ncontrol_frames = 11\n", "f");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->listeners[0].h2c);
  EXPECT_FALSE(parse_config("[[listen]]\naddress = \"127.0.0.1:1\"\n", "f")->listeners[0].h2c);
  EXPECT_EQ(config->proxy.h2, (H2Config{7, 128 << 10, 2 << 20, 9, 11}));
  const auto one = parse_config(listen(std::string(kPair) + ", alpn = [\"http/1.1\"]"), "f");
  ASSERT_TRUE(one);
  EXPECT_THAT(one->listeners[0].tls->alpn, ElementsAre("http/1.1"));
}

TEST(ConfigTls, TheInstanceIsVerifiedByItsAddressUnlessAskedOtherwise) {
  const auto service = [](const std::string& tls, const std::string& address = "10.0.0.1:1") {
    return "[service]\naddress = \"" + address + "\"\ntls = { " + tls + " }\n";
  };
  const auto plain = parse_config(service(""), "f");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->service->tls->server_name, "10.0.0.1");
  EXPECT_THAT(plain->service->tls->ca.string(), HasSubstr("ca-certificates"));
  const auto named = parse_config(service("server_name = \"trader\", ca = \"ca.pem\""), "f");
  ASSERT_TRUE(named);
  EXPECT_EQ(named->service->tls->server_name, "trader");
  EXPECT_THAT(problems_of(service("", "unix:/run/x")), ElementsAre(HasSubstr("server_name: a unix socket has no name")));
  EXPECT_THAT(problems_of(service("verify = false", "unix:/run/x")), IsEmpty());
  EXPECT_THAT(problems_of(service("verify = false, ca = \"x\"")), ElementsAre(HasSubstr("is not looked at")));
  EXPECT_THAT(problems_of(service("cert = \"x\"")), ElementsAre(HasSubstr("service.tls.key: certificate and key belong together")));
}

TEST(ConfigTls, FilesAreReadAndJudgedWithTheLineThatNamesThem) {
  std::string folder = (std::filesystem::temp_directory_path() / "outrigger-config-tls-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  ConfigSource source;
  source.file = folder + "/main.toml";
  std::ofstream(*source.file) << listen(kPair);
  std::ofstream(folder + "/a.pem") << "x";
  EXPECT_THAT(texts_of(load_config(source)), ElementsAre(HasSubstr("main.toml:3:49: listen[0].tls.certificates[0].key: cannot read")));
  std::ofstream(folder + "/a.key") << "x";
  int asked = 0;
  source.check_listen_tls = [&](const ListenTlsConfig& tls) {
    ++asked;
    return std::optional(tls.certificates[0].key.string() + ": does not fit; give the pair that was issued together");
  };
  EXPECT_THAT(texts_of(load_config(source)), ElementsAre(HasSubstr("main.toml:3:7: listen[0].tls: " + folder + "/a.key: does not fit; give")));
  EXPECT_EQ(asked, 1);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace agent
