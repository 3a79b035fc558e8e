// [[listen]] beyond TLS: the PROXY protocol and TCP routes; what [service] tells an instance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config.h"

namespace agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;

std::string listen(const std::string& rest) { return "[[listen]]\naddress = \"127.0.0.1:1\"\n" + rest; }

ListenConfig good(const std::string& text) {
  const auto config = parse_config(text, "f");
  EXPECT_TRUE(config) << config.error().front().text();
  return config ? config->listeners.back() : ListenConfig{};
}
std::string problem(const std::string& text) {
  const auto config = parse_config(text, "f");
  EXPECT_FALSE(config);
  return config ? std::string() : config.error().front().text();
}

TEST(ConfigListen, TheProxyProtocolNamesWhoMaySpeakIt) {
  const auto protocol = good(listen("proxy_protocol = { from = [\"10.0.0.5\", \"fd00::/8\"] }\n")).proxy_protocol;
  ASSERT_TRUE(protocol);
  EXPECT_THAT(protocol->from, ElementsAre("10.0.0.5", "fd00::/8"));
  EXPECT_EQ(protocol->timeout, seconds(3));
  EXPECT_TRUE(good("[[listen]]\naddress = \"unix:/x\"\nproxy_protocol = { from = [\"unix\"] }\n").proxy_protocol);
  EXPECT_FALSE(good(listen("")).proxy_protocol);
}

TEST(ConfigListen, FaultsOfTheProxyProtocol) {
  EXPECT_EQ(problem(listen("proxy_protocol = { timeout = \"1s\" }\n")),
            "f:3:18: listen[0].proxy_protocol.from: nobody is named who may say for whom he connects; add from = [\"10.0.0.5\"], the addresses of your "
            "load balancer");
  EXPECT_EQ(problem(listen("proxy_protocol = { from = [\"balancer\"] }\n")),
            "f:3:27: listen[0].proxy_protocol.from: \"balancer\" is no IP address or range; write \"10.0.0.5\", \"10.0.0.0/8\", or \"unix\" for a listener "
            "on a unix socket");
  EXPECT_EQ(problem(listen("proxy_protocol = { from = [\"unix\"] }\n")),
            "f:3:27: listen[0].proxy_protocol.from: \"unix\" stands for whoever reaches a unix socket, and this listener is none; name the balancer's address");
}

TEST(ConfigListen, ATcpRoute) {
  const auto tcp = good(listen("tcp = { name = \"db\", to = \"127.0.0.1:5432\", idle = \"0s\", connections_max = 7, proxy_protocol = \"v2\" }\n")).tcp;
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->name, "db");
  EXPECT_EQ(tcp->to->text(), "127.0.0.1:5432");
  EXPECT_EQ(tcp->pool, Pool::kPrimary);
  EXPECT_EQ(tcp->hold, seconds(5));
  EXPECT_EQ(tcp->connect_timeout, seconds(1));
  EXPECT_EQ(tcp->idle_timeout, milliseconds(0));
  EXPECT_EQ(tcp->connections_max, 7U);
  EXPECT_EQ(tcp->proxy_protocol, 2);
  EXPECT_FALSE(good(listen("tcp = { name = \"db\", pool = \"all\" }\n")).tcp->to) << "an agent without such a service passes connections on";
}

TEST(ConfigListen, FaultsOfATcpRoute) {
  EXPECT_EQ(problem(listen("tcp = { to = \"127.0.0.1:2\" }\n")),
            "f:3:7: listen[0].tcp.name: a TCP route needs a name, by which the other agents know it; add name = \"db\", the same on all agents");
  EXPECT_EQ(problem(listen("tcp = { name = \"a b\" }\n")), "f:3:16: listen[0].tcp.name: \"a b\" is no name; use 1 to 64 letters, digits, '.', '_', '-'");
  EXPECT_EQ(problem(listen("tcp = { name = \"db\", to = \"127.0.0.1:1\" }\n")),
            "f:3:27: listen[0].tcp.to: the route would lead to itself; give the service's own address");
  EXPECT_EQ(problem(listen("tcp = { name = \"db\", pool = \"all\", hold = \"1s\" }\n")),
            "f:3:43: listen[0].tcp.hold: only connections to the primary wait for one; remove it, or write pool = \"primary\"");
  EXPECT_EQ(problem(listen("redirect_https = true\ntcp = { name = \"db\" }\n")),
            "f:3:18: listen[0].redirect_https: only HTTP has it, and this listener passes bytes on; remove it, or remove tcp");
  EXPECT_EQ(problem(listen("tcp = { name = \"db\" }\n") + "[[listen]]\naddress = \"127.0.0.1:2\"\ntcp = { name = \"db\" }\n"),
            "f:6:16: listen[1].tcp.name: \"db\" is the name of another TCP route; give each its own");
}

TEST(ConfigListen, TcpRoutesByName) {
  const auto listener = good(listen("tcp = { name = \"rest\", access_log = false }\n[[listen.sni]]\nserver_names = [\"db.example.com\", \"*.db.example.com\"]\n"
                                    "name = \"db\"\nto = \"127.0.0.1:5432\"\n[[listen.sni]]\nserver_names = [\"fix\"]\nname = \"fix\"\npool = \"all\"\n"));
  ASSERT_EQ(listener.sni.size(), 2U);
  EXPECT_THAT(listener.sni[0].server_names, ElementsAre("db.example.com", "*.db.example.com"));
  EXPECT_EQ(listener.sni[0].tcp.name, "db");
  EXPECT_EQ(listener.sni[1].tcp.pool, Pool::kAll);
  EXPECT_EQ(listener.tcp->name, "rest");
  EXPECT_FALSE(listener.tcp->access_log);
}

TEST(ConfigListen, FaultsOfTcpRoutesByName) {
  const std::string begin = "[[listen.sni]]\nname = \"db\"\n";
  EXPECT_EQ(problem(listen(begin)), "f:3:1: listen[0].sni[0].server_names: no name is said for which clients come; add server_names = [\"db.example.com\"]; "
                                    "`tcp` beside it takes all others");
  for (const char* bad : {"DB.example.com", "a b", "*", "*.", "a..b", ".a", "a.", "*.*.a", ""})
    EXPECT_NE(problem(listen(begin + "server_names = [\"" + bad + "\"]\n")).find("is no name of a host; write it in lower case"), std::string::npos) << bad;
  EXPECT_NE(problem(listen(begin + "server_names = [\"a\", \"a\"]\n")).find("\"a\" leads to two routes; remove one"), std::string::npos);
  EXPECT_NE(problem(listen(begin + "server_names = [\"a\"]\n[[listen.sni]]\nname = \"x\"\nserver_names = [\"a\"]\n")).find("leads to two routes"), std::string::npos);
  EXPECT_NE(problem(listen(begin + "server_names = [\"a\"]\n[[listen.sni]]\nname = \"db\"\nserver_names = [\"b\"]\n")).find("name of another TCP route"),
            std::string::npos);
  EXPECT_NE(problem(listen("h2c = true\n" + begin + "server_names = [\"a\"]\n")).find("remove it, or remove sni"), std::string::npos);
}

TEST(ConfigListen, OrdersInFlightAreWaitedFor) {
  const auto waits = [](const std::string& rest) {
    const auto config = parse_config("[service]\naddress = \"127.0.0.1:1\"\n" + rest, "f");
    return config ? config->service->order_wait : milliseconds(-1);
  };
  EXPECT_EQ(waits(""), seconds(2));
  EXPECT_EQ(waits("order_wait = \"0.5s\"\n"), milliseconds(500));
  EXPECT_EQ(waits("order_wait = \"0s\"\n"), seconds(0));
  EXPECT_EQ(waits("order_wait = \"11s\"\n"), milliseconds(-1));
}

TEST(ConfigListen, AnInstanceMayWantAHeader) {
  const auto config = parse_config("[service]\naddress = \"127.0.0.1:1\"\nproxy_protocol = \"v1\"\n", "f");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->service->proxy_protocol, 1);
  EXPECT_EQ(config->proxy.retire_timeout, seconds(60));
  EXPECT_NE(problem("[service]\naddress = \"127.0.0.1:1\"\nproxy_protocol = \"v3\"\n").find("unknown value \"v3\""), std::string::npos);
}

}  // namespace
}  // namespace agent
