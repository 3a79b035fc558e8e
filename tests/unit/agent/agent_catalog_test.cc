// A whole agent in this process, a cluster of its own on a unix socket: what it does in the catalog by itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/agent.h"
#include "agent/drivers/http_client.h"
#include "agent/running.h"
#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

class AgentCatalogTest : public ::testing::Test {
 protected:
  AgentCatalogTest() {
    std::string pattern = ::testing::TempDir() + "/outrigger-agent-XXXXXX";
    folder = ::mkdtemp(pattern.data());
    socket = folder + "/api.sock";
  }
  ~AgentCatalogTest() override {
    stop();
    std::filesystem::remove_all(folder);
  }
  void start(const std::string& settings = {}) {
    std::ofstream(folder + "/a.toml") << "[node]\nname = \"n1\"\ndata_dir = \"" << folder << "/data\"\nzone = \"east\"\n[api]\nlisten = \"unix:" << socket
                                      << "\"\n[dns]\nlisten = \"off\"\n[mesh]\nport = 0\ngossip_port = 0\n[raft]\nbootstrap = true\nwrite_timeout = \"60s\"\n" << settings;
    ConfigSource source;
    source.file = folder + "/a.toml";
    source.check_registration = check_registration;
    const auto config = load_config(source);
    ASSERT_TRUE(config) << config.error().front().text();
    agent.emplace(*config, source);
    const auto started = agent->start();
    ASSERT_TRUE(started) << started.error().detail;
    thread = std::thread([this] { agent->run(); });
    ASSERT_TRUE(until([&] { return get("/v1/catalog/service/consul").size() == 1; }));
  }
  void stop() {
    if (!thread.joinable()) return;
    ask("PUT", "/outrigger/v1/leave");
    thread.join();
    agent.reset();
  }
  drivers::HttpAnswer ask(const std::string& method, const std::string& target, const std::string& body = {}) {
    drivers::HttpClient client(*loop, *io::Address::unix_path(socket), "agent");
    std::optional<io::Result<drivers::HttpAnswer>> got;
    client.request(method, target, {}, body, io::in_good_time(), [&](io::Result<drivers::HttpAnswer> answer) { got = std::move(answer); });
    while (!got) loop->run_once();
    return *got ? **got : drivers::HttpAnswer{0, got->error().detail};
  }
  Json get(const std::string& target) {
    const auto answer = ask("GET", target);
    return answer.status == 200 ? Json::parse(answer.body, nullptr, false) : Json();
  }
  template <typename Condition>
  bool until(Condition done) {
    const auto deadline = io::in_good_time();
    while (!done()) {
      if (io::boottime_now() > deadline) return false;
    }
    return true;
  }
  std::string status_of(const std::string& check) {
    for (const auto& one : get("/v1/health/node/n1"))
      if (one.at("CheckID") == check) return one.at("Status");
    return "nowhere";
  }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::string folder, socket;
  std::optional<Agent> agent;
  std::thread thread;
};

TEST_F(AgentCatalogTest, TheLeaderKeepsItsOwnNodeServiceAndHealth) {
  start();
  const Json node = get("/v1/catalog/node/n1").at("Node");
  EXPECT_EQ(node.at("Address"), "127.0.0.1");
  EXPECT_EQ(node.at("Meta").at("zone"), "east");
  EXPECT_EQ(node.at("ID").get<std::string>().size(), 36u);
  EXPECT_TRUE(until([&] { return status_of("serfHealth") == "passing"; }));
  EXPECT_NE(get("/v1/catalog/service/consul").at(0).at("ServicePort"), 0) << "the mesh's port, whatever it has become";
}

TEST_F(AgentCatalogTest, ServicesOfFilesAreThereAndTheInstanceIsWhatItsChecksSay) {
  drivers::FakeInstance instance(*loop);
  start("[service]\nname = \"trader\"\naddress = \"" + instance.address.to_string() + "\"\nlease = \"30s\"\norder_wait = \"10s\"\n[service.health]\nevery = \"100ms\"\ntimeout = \"100ms\"\n[[services]]\nname = \"web\"\nport = 80\n[[checks]]\nname = \"disk\"\nttl = \"1h\"\n");
  EXPECT_TRUE(until([&] { return get("/v1/catalog/service/web").size() == 1 && status_of("disk") == "critical"; }));
  EXPECT_TRUE(until([&] { return status_of("service:trader") == "passing"; }));
  const Json shown = get("/v1/catalog/service/trader").at(0);
  EXPECT_EQ(shown.at("ServicePort"), instance.address.port());
  EXPECT_EQ(shown.at("ServiceAddress"), "") << "loopback is nobody else's address: the node's is meant";
  EXPECT_TRUE(until([&] { return get("/v1/catalog/service/trader").at(0).at("ServiceTags") == Json::array({"primary"}); }));
  ASSERT_EQ(ask("PUT", "/outrigger/v1/drain?enable=true").status, 200);
  EXPECT_TRUE(until([&] { return status_of("service:trader") == "critical"; })) << "who is drained is not found";
  ASSERT_EQ(ask("PUT", "/outrigger/v1/drain?enable=false").status, 200);
  EXPECT_TRUE(until([&] { return status_of("service:trader") == "passing"; }));
}

TEST_F(AgentCatalogTest, MembersAreNotPushedOutByMistake) {
  start();
  EXPECT_THAT(ask("PUT", "/v1/agent/force-leave/n1").body, HasSubstr("this agent itself"));
  EXPECT_THAT(ask("PUT", "/v1/agent/force-leave/nobody").body, HasSubstr("No node found with name 'nobody'"));
  ASSERT_EQ(ask("PUT", "/v1/catalog/register", R"({"Node":"ext","Address":"10.9.9.9"})").status, 200);
  EXPECT_EQ(ask("PUT", "/v1/agent/force-leave/ext").status, 500) << "an external node is no member";
  EXPECT_EQ(get("/v1/catalog/node/ext").at("Node").at("Address"), "10.9.9.9");
}

TEST_F(AgentCatalogTest, ADeadAgentsRowsGoWithForceLeave) {
  start();
  // As an agent of this cluster that gossip has never met since: a node with the mesh's own check.
  ASSERT_EQ(ask("PUT", "/v1/catalog/register", R"({"Node":"gone","Address":"10.8.8.8","Service":{"Service":"old"},"Check":{"CheckID":"serfHealth","Name":"m","Status":"critical"}})").status, 200);
  ASSERT_EQ(get("/v1/catalog/service/old").size(), 1u);
  EXPECT_EQ(ask("PUT", "/v1/agent/force-leave/gone").status, 200);
  EXPECT_TRUE(until([&] { return get("/v1/catalog/node/gone").is_null() && get("/v1/catalog/service/old").empty(); }));
}

TEST(CheckRegistration, SaysWhatIsWrongInTheWordsOfTheApi) {
  EXPECT_EQ(check_registration(R"({"name":"web","port":80})", RegistrationKind::kService), std::nullopt);
  EXPECT_EQ(check_registration(R"({"port":80})", RegistrationKind::kService), "Missing service name");
  EXPECT_EQ(check_registration(R"({"name":"disk","ttl":"5s"})", RegistrationKind::kCheck), std::nullopt);
  EXPECT_THAT(check_registration(R"({"name":"disk"})", RegistrationKind::kCheck).value_or(""), HasSubstr("Invalid check"));
  EXPECT_NE(check_registration("{", RegistrationKind::kService), std::nullopt);
}

}  // namespace
}  // namespace agent
