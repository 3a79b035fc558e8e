#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "agent/config.h"

namespace agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ConfigCatalog : public testing::Test {
 protected:
  ConfigCatalog() {
    std::string pattern = testing::TempDir() + "outrigger-config-XXXXXX";
    folder = mkdtemp(pattern.data());
  }
  ~ConfigCatalog() override { std::filesystem::remove_all(folder); }

  void write(const std::string& name, const std::string& text) { std::ofstream(folder / name) << text; }
  tl::expected<Config, std::vector<ConfigProblem>> load(const std::string& name) {
    ConfigSource source;
    source.file = folder / name;
    source.check_registration = [this](std::string_view json, RegistrationKind kind) -> std::optional<std::string> {
      asked.emplace_back(json);
      kinds.push_back(kind);
      return json.find("bad") == std::string_view::npos ? std::nullopt : std::optional<std::string>("it is bad");
    };
    return load_config(source);
  }
  std::string fault(const std::string& name) {
    const auto config = load(name);
    if (config) return "no fault";
    std::string out;
    for (const auto& problem : config.error()) out += problem.text() + "\n";
    return out;
  }
  Config consul(const std::string& json) {
    write("c.json", json);
    auto config = load("c.json");
    if (!config) ADD_FAILURE() << config.error().front().text();
    return config.value_or(Config{});
  }

  std::filesystem::path folder;
  std::vector<std::string> asked;
  std::vector<RegistrationKind> kinds;
};

TEST_F(ConfigCatalog, RegistrationsAreKeptAsTheJsonThatTheyMean) {
  write("c.toml", R"([catalog]
check_scripts = "local"
server_service = "mesh"
[[services]]
name = "web"
port = 80
tags = ["a"]
check = { http = "http://h/", interval = "5s" }
[[services]]
name = "db"
[[checks]]
name = "disk"
ttl = "10s"
)");
  const auto config = load("c.toml");
  ASSERT_TRUE(config) << config.error().front().text();
  EXPECT_EQ(config->catalog.check_scripts, CheckScripts::kLocal);
  EXPECT_EQ(config->catalog.server_service, "mesh");
  ASSERT_EQ(config->services.size(), 2u);
  EXPECT_EQ(config->services[0].json, R"({"check":{"http":"http://h/","interval":"5s"},"name":"web","port":80,"tags":["a"]})");
  EXPECT_THAT(config->services[1].place, HasSubstr("c.toml:9"));
  EXPECT_EQ(config->node_checks.size(), 1u);
  EXPECT_THAT(kinds, ElementsAre(RegistrationKind::kService, RegistrationKind::kService, RegistrationKind::kCheck));
}

TEST_F(ConfigCatalog, ABadRegistrationIsReportedWhereItStands) {
  write("c.toml", "[[services]]\nname = \"good\"\n[[services]]\nname = \"bad\"\n");
  EXPECT_THAT(fault("c.toml"), HasSubstr("c.toml:3"));
  EXPECT_THAT(fault("c.toml"), HasSubstr("services[1]: it is bad"));
  write("d.toml", "services = 5\n");
  EXPECT_THAT(fault("d.toml"), HasSubstr("expected a list of tables"));
  write("e.toml", "[catalog]\ncheck_scripts = \"everybody\"\n");
  EXPECT_THAT(fault("e.toml"), HasSubstr("check_scripts"));
}

TEST_F(ConfigCatalog, LaterFilesAddServicesInsteadOfReplacingThem) {
  write("c.toml", "[[services]]\nname = \"a\"\n");
  std::filesystem::create_directory(folder / "conf.d");
  write("conf.d/x.toml", "[[services]]\nname = \"b\"\n");
  EXPECT_EQ(load("c.toml")->services.size(), 2u);
}

TEST_F(ConfigCatalog, ProgramsAreForFilesUnlessSaidOtherwise) {
  write("c.toml", "");
  EXPECT_EQ(load("c.toml")->catalog.check_scripts, CheckScripts::kFiles);
}

// ---------------------------------------------------------------- files of Consul

TEST_F(ConfigCatalog, ConsulsKeysAreOurs) {
  const Config config = consul(R"({"node_name":"box1","datacenter":"east","data_dir":"/tmp/x","pid_file":"/tmp/x.pid","log_level":"WARN","server":true,
    "bootstrap_expect":3,"retry_join":["10.0.0.1","10.0.0.2:8301"],"ports":{"http":9500,"dns":9600,"serf_lan":9301,"server":9300},
    "services":[{"name":"web","port":80}],"service":{"name":"db"},"check":{"name":"disk","ttl":"5s"},"enable_script_checks":true})");
  EXPECT_EQ(config.node.name, "box1");
  EXPECT_EQ(config.node.data_dir, "/tmp/x");
  EXPECT_EQ(config.node.pid_file, "/tmp/x.pid");
  EXPECT_EQ(config.node.log_level, LogLevel::kWarn);
  EXPECT_EQ(config.mesh.cluster, "east");
  EXPECT_EQ(config.raft.bootstrap_expect, 3u);
  EXPECT_EQ(config.mesh.seeds.size(), 2u);
  EXPECT_EQ(config.api.listen.text(), "127.0.0.1:9500");
  EXPECT_EQ(config.dns.listen.text(), "127.0.0.1:9600");
  EXPECT_EQ(config.mesh.gossip_port, 9301);
  EXPECT_EQ(config.mesh.port, 9300);
  EXPECT_EQ(config.catalog.check_scripts, CheckScripts::kLocal);
  EXPECT_EQ(config.services.size(), 2u);
  EXPECT_EQ(config.node_checks.size(), 1u);
  EXPECT_THAT(config.warnings, ElementsAre(HasSubstr("server is ignored")));
}

TEST_F(ConfigCatalog, ListenersComeFromSeveralKeysInAnyOrder) {
  EXPECT_EQ(consul(R"({"ports":{"http":1},"client_addr":"127.0.0.2"})").api.listen.text(), "127.0.0.2:1");
  EXPECT_EQ(consul(R"({"addresses":{"http":"unix:///run/o.sock"},"client_addr":"127.0.0.2"})").api.listen.text(), "unix:/run/o.sock");
  EXPECT_FALSE(consul(R"({"ports":{"dns":-1}})").dns.enabled);
}

TEST_F(ConfigCatalog, TheDefaultDatacenterIsNoLabel) { EXPECT_EQ(consul(R"({"datacenter":"dc1"})").mesh.cluster, ""); }

TEST_F(ConfigCatalog, WhatWouldChangeAPromiseIsRefusedAndWhatWouldNotIsSaid) {
  write("c.json", R"({"acl":{"enabled":true}})");
  EXPECT_THAT(fault("c.json"), HasSubstr("acl.enabled: there are no access lists"));
  write("c.json", R"({"connect":{"enabled":true}})");
  EXPECT_THAT(fault("c.json"), HasSubstr("no service mesh"));
  write("c.json", R"({"ports":{"https":8501}})");
  EXPECT_THAT(fault("c.json"), HasSubstr("ports.https"));
  write("c.json", R"({"node_nam":"x"})");
  EXPECT_THAT(fault("c.json"), HasSubstr("did you mean \"node_name\"?"));
  write("c.json", "{\n\"node_name\": }\n");
  EXPECT_THAT(fault("c.json"), HasSubstr("c.json:2"));
  write("c.json", "[]");
  EXPECT_THAT(fault("c.json"), HasSubstr("no JSON object"));
  write("c.json", R"({"services":[{"name":"bad"}]})");
  EXPECT_THAT(fault("c.json"), HasSubstr("it is bad"));
  EXPECT_THAT(consul(R"({"telemetry":{"x":1},"acl":{"enabled":false}})").warnings, testing::SizeIs(2));
}

TEST_F(ConfigCatalog, AFolderIsReadInOrderOfNames) {
  write("10.json", R"({"node_name":"first","services":[{"name":"a"}]})");
  write("20.toml", "[node]\nname = \"second\"\n[[services]]\nname = \"b\"\n");
  write("30.txt", "nothing");
  ConfigSource source;
  source.folder = folder;
  const auto config = load_config(source);
  ASSERT_TRUE(config) << config.error().front().text();
  EXPECT_EQ(config->node.name, "second");
  EXPECT_EQ(config->services.size(), 2u);
  EXPECT_EQ(config->files.size(), 2u);
}

}  // namespace
}  // namespace agent
