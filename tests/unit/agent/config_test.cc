#include "agent/config.h"
#include "tests/unit/agent/read_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace agent {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// A folder that is gone after the test.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "outrigger-config-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

Config loaded(const ConfigSource& source) {
  const auto read = load_config(source);
  if (read) return *read;
  for (const auto& problem : read.error()) ADD_FAILURE() << problem.text();
  return {};
}
std::vector<std::string> load_problems(const ConfigSource& source) {
  const auto read = load_config(source);
  std::vector<std::string> out;
  if (!read)
    for (const auto& problem : read.error()) out.push_back(problem.text());
  return out;
}

constexpr const char* kKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

TEST(Config, NothingSetIsAWorkingSingleNode) {
  ConfigSource source;
  source.host_name = "box 7";
  const Config config = loaded(source);
  EXPECT_EQ(config.node.name, "box-7");
  EXPECT_EQ(config.node.data_dir, "outrigger-data");
  EXPECT_EQ(config.api.listen.text(), "127.0.0.1:8500");
  EXPECT_EQ(config.mesh.bind, "127.0.0.1");
  EXPECT_EQ(config.mesh.advertise, "127.0.0.1");
  EXPECT_EQ(config.mesh.gossip_port, 7946);
  EXPECT_EQ(config.mesh.port, 7947);
  EXPECT_TRUE(config.raft.bootstrap);
  EXPECT_EQ(config.raft.bootstrap_expect, 0U);
  EXPECT_FALSE(config.service.has_value());
  EXPECT_TRUE(config.listeners.empty());
  EXPECT_TRUE(config.routes.empty());
  EXPECT_FALSE(config.mesh.gossip_key.has_value());
}

TEST(Config, SessionTtlMin) {
  EXPECT_EQ(good("").api.session_ttl_min, std::chrono::seconds(10));
  EXPECT_EQ(good("[api]\nsession_ttl_min = \"500ms\"\n").api.session_ttl_min, std::chrono::milliseconds(500));
}

TEST(Config, APidFileIsWrittenOnlyWhereOneIsNamed) {
  EXPECT_TRUE(good("").node.pid_file.empty());
  EXPECT_EQ(good("[node]\npid_file = \"/run/x.pid\"\n").node.pid_file, "/run/x.pid");
}

TEST(Config, LimitsForSlowClients) {
  EXPECT_EQ(good("").proxy.client_rate_min, 240U);
  const auto proxy = good("[proxy]\nhead_timeout = \"2s\"\nclient_rate_min = \"0B\"\nclient_rate_window = \"3s\"\n").proxy;
  EXPECT_EQ(proxy.head_timeout, milliseconds(2000));
  EXPECT_EQ(proxy.client_rate_min, 0U);
  EXPECT_EQ(proxy.client_rate_window, milliseconds(3000));
}

TEST(Config, EveryKeyIsTaken) {
  const Config config = good(std::string(R"(
[node]
name = "a1"
data_dir = "/var/lib/x"
zone = "z"
log_level = "debug"
[api]
listen = "unix:/run/outrigger.sock"
[mesh]
bind = "10.0.0.1"
advertise = "10.0.0.2"
gossip_port = 1
port = 2
seeds = ["10.0.0.3:9", "name:8", "other", "[::1]:5", "::1", "10.0.0.4"]
ca = "ca.pem"
cert = "/abs/cert.pem"
key = "key.pem"
gossip_key = ")") + kKey + R"("
cluster = "prod"
[raft]
bootstrap_expect = 3
voters = 7
heartbeat = "10ms"
election_min = "100ms"
election_max = "0.2s"
write_timeout = "3s"
replace_after = "2m"
[service]
name = "t"
address = "127.0.0.1:9001"
weight = 7
tier = "backup"
eligible = false
lease = "3s"
margin = "1s"
role_file = "/run/role"
[service.health]
path = "/h"
every = "2s"
timeout = "1s"
fall = 5
rise = 6
assert = ["$.status=='healthy'", "$.database_connected==true"]
critical_assert = ["$.lag!=3"]
[service.hooks]
promote = { exec = ["/bin/p", "x"] }
demote = { url = "http://127.0.0.1:9/d" }
timeout = "4s"
[[listen]]
address = "0.0.0.0:8080"
trusted_proxies = ["10.0.0.0/8", "::1"]
[[route]]
methods = ["post"]
path = "=/orders"
host = "Example.com"
pool = "primary"
hold = "1s"
timeouts = { connect = "1500ms", first_byte = "2s", idle = "3s", total = "4s" }
retry = false
[proxy]
threads = 3
header_bytes_max = "16KiB"
body_bytes_max = 1000
connections_max = 77
[outlier]
consecutive = 9
window = "20s"
eject = "30s"
max_ejected_percent = 34
)");
  EXPECT_EQ(config.node.log_level, LogLevel::kDebug);
  EXPECT_EQ(config.api.listen.unix_path, "/run/outrigger.sock");
  std::vector<std::string> seeds;
  for (const auto& seed : config.mesh.seeds) seeds.push_back(seed.text());
  EXPECT_THAT(seeds, ElementsAre("10.0.0.3:9", "name:8", "other:1", "[::1]:5", "[::1]:1", "10.0.0.4:1"));
  EXPECT_EQ(config.mesh.ca, "ca.pem");
  EXPECT_EQ(config.mesh.cert, "/abs/cert.pem");
  ASSERT_TRUE(config.mesh.gossip_key.has_value());
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ((*config.mesh.gossip_key)[i], static_cast<std::byte>(i));
  EXPECT_FALSE(config.raft.bootstrap);
  EXPECT_EQ(config.raft.voters, 7U);
  EXPECT_EQ(config.raft.election_max, milliseconds(200));
  EXPECT_EQ(config.raft.replace_after, milliseconds(120000));
  ASSERT_TRUE(config.service.has_value());
  EXPECT_EQ(config.service->tier, Tier::kBackup);
  EXPECT_FALSE(config.service->eligible);
  EXPECT_EQ(config.service->health.fall, 5U);
  EXPECT_EQ(config.service->health.asserts.size(), 2U);
  EXPECT_THAT(config.service->health.critical_asserts, ElementsAre("$.lag!=3"));
  EXPECT_THAT(config.service->hooks.promote->exec, ElementsAre("/bin/p", "x"));
  EXPECT_EQ(config.service->hooks.demote->url, "http://127.0.0.1:9/d");
  EXPECT_EQ(config.listeners.at(0).address.text(), "0.0.0.0:8080");
  ASSERT_EQ(config.routes.size(), 1U);
  const auto& route = config.routes[0];
  EXPECT_THAT(route.methods, ElementsAre("POST"));
  EXPECT_TRUE(route.path_is_exact);
  EXPECT_EQ(route.path, "/orders");
  EXPECT_EQ(route.host, "example.com");
  EXPECT_EQ(route.pool, Pool::kPrimary);
  EXPECT_EQ(route.connect_timeout, milliseconds(1500));
  EXPECT_EQ(route.total_timeout, milliseconds(4000));
  EXPECT_FALSE(route.retry);
  EXPECT_EQ(config.proxy.header_bytes_max, 16384U);
  EXPECT_EQ(config.proxy.body_bytes_max, 1000U);
  EXPECT_EQ(config.outlier.max_ejected_percent, 34U);
}

/// A faulty text and the one message that it must bring, to the letter.
struct Fault {
  const char* toml;
  const char* message;
};
class ConfigFault : public testing::TestWithParam<Fault> {};
TEST_P(ConfigFault, IsReportedWithItsPlace) {
  EXPECT_THAT(problems_of(GetParam().toml), ElementsAre(GetParam().message));
}
INSTANTIATE_TEST_SUITE_P(
    Keys, ConfigFault,
    testing::Values(
        Fault{"[service]\naddress = \"127.0.0.1:1\"\nleese = \"1s\"\n",
              "f:3:1: service.leese: unknown key \"leese\"; did you mean \"lease\"?"},
        Fault{"[servise]\nname = \"x\"\n", "f:1:2: servise: unknown key \"servise\"; did you mean \"service\"?"},
        Fault{"[node]\nheartbeat = \"1s\"\n",
              "f:2:1: node.heartbeat: unknown key \"heartbeat\"; \"heartbeat\" belongs to [raft]"},
        Fault{
            "[node]\ntrusted_proxies = []\n",
            "f:2:1: node.trusted_proxies: unknown key \"trusted_proxies\"; \"trusted_proxies\" belongs to [[listen]]"},
        Fault{"[api]\nqqqqqqqq = 1\n", "f:2:1: api.qqqqqqqq: unknown key \"qqqqqqqq\"; valid here: insecure, listen, session_ttl_min"},
        Fault{"[[route]]\npool = \"all\"\n[[route]]\npath = \"/x\"\npool = \"all\"\n",
              "f:4:8: route[1].path: this route is never reached: route[0] takes all its requests; put the narrower "
              "route first"}));
INSTANTIATE_TEST_SUITE_P(
    Types, ConfigFault,
    testing::Values(
        Fault{"[node]\nname = 5\n", "f:2:8: node.name: expected a string, found an integer"},
        Fault{"node = 5\n", "f:1:8: node: expected a table, found an integer; write it as [node]"},
        Fault{"[mesh]\nport = \"7947\"\n",
              "f:2:8: mesh.port: expected an integer, found a string; write the number without quotes or fraction"},
        Fault{"[mesh]\nport = 99999\n", "f:2:8: mesh.port: 99999 is out of range; allowed is 0 to 65535"},
        Fault{"[mesh]\nport = -1\n", "f:2:8: mesh.port: -1 is out of range; allowed is 0 to 65535"},
        Fault{"[mesh]\nport = 1.5\n",
              "f:2:8: mesh.port: expected an integer, found a number; write the number without quotes or fraction"},
        Fault{"[mesh]\nseeds = [\"a:1\", 7]\n",
              "f:2:17: mesh.seeds: expected a list of strings, found an integer; quote every element"},
        Fault{"[mesh]\nseeds = \"a:1\"\n",
              "f:2:9: mesh.seeds: expected a list of strings, found a string; write seeds = [\"...\"]"},
        Fault{"[mesh]\ninsecure = \"true\"\n",
              "f:2:12: mesh.insecure: expected true or false, found a string; write true or false without quotes"},
        Fault{"[node]\nname = 2024-01-01\n", "f:2:8: node.name: expected a string, found a date or time"},
        Fault{"[route]\npool = \"all\"\n", "f:1:1: route: expected a list of tables, found a table; write [[route]]"},
        Fault{"[node]\nname = \"a b\"\n",
              "f:2:8: node.name: \"a b\" is no name; use 1 to 64 letters, digits, '.', '_', '-'"},
        Fault{"[node]\nlog_level = \"inf\"\n",
              "f:2:13: node.log_level: unknown value \"inf\"; did you mean \"info\"? Valid are \"trace\", \"debug\", "
              "\"info\", \"warn\", \"error\""}));
INSTANTIATE_TEST_SUITE_P(
    Units, ConfigFault,
    testing::Values(
        Fault{
            "[raft]\nheartbeat = 50\n",
            "f:2:13: raft.heartbeat: expected a duration such as \"1500ms\", \"5s\" or \"2m\", found an integer; write "
            "\"50s\" with its unit"},
        Fault{"[raft]\nheartbeat = \"50\"\n", "f:2:13: raft.heartbeat: \"50\" has no unit; units: ms, s, m, h"},
        Fault{"[raft]\nheartbeat = \"50msec\"\n",
              "f:2:13: raft.heartbeat: unknown unit \"msec\"; did you mean \"ms\"? units: ms, s, m, h"},
        Fault{
            "[raft]\nheartbeat = \"fast\"\n",
            "f:2:13: raft.heartbeat: expected a duration such as \"1500ms\", \"5s\" or \"2m\", found \"fast\"; units: "
            "ms, s, m, h"},
        Fault{"[raft]\nheartbeat = \"0.5ms\"\n",
              "f:2:13: raft.heartbeat: the duration is not a whole number of milliseconds; round it"},
        Fault{"[raft]\nheartbeat = \"1h\"\n", "f:2:13: raft.heartbeat: 1h is out of range; allowed is 5ms to 5s"},
        Fault{
            "[proxy]\nheader_bytes_max = \"64KB\"\n",
            "f:2:20: proxy.header_bytes_max: unknown unit \"KB\"; did you mean \"KiB\"? units: B, KiB, MiB, GiB, TiB"},
        Fault{"[proxy]\nheader_bytes_max = \"1B\"\n",
              "f:2:20: proxy.header_bytes_max: 1B is out of range; allowed is 1024 bytes to 1048576 bytes"},
        Fault{"[proxy]\nheader_bytes_max = true\n",
              "f:2:20: proxy.header_bytes_max: expected a size such as \"64KiB\", found a boolean"}));
INSTANTIATE_TEST_SUITE_P(
    Conflicts, ConfigFault,
    testing::Values(
        Fault{"[api]\nlisten = \"0.0.0.0:8500\"\n",
              "f:2:10: api.listen: 0.0.0.0:8500 can be reached from other machines, and the API asks nobody who they "
              "are; listen on 127.0.0.1 or unix:/path, or set api.insecure = true on a network that you trust"},
        Fault{"[mesh]\nbind = \"10.0.0.1\"\n",
              "f:2:8: mesh.bind: 10.0.0.1 can be reached from other machines, but there is no ca, cert, key or "
              "gossip_key; "
              "make them with \"outrigger init\", or set mesh.insecure = true on a network that you trust"},
        Fault{
            "[mesh]\nbind = \"10.0.0.1\"\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n",
            "f:2:8: mesh.bind: 10.0.0.1 can be reached from other machines, but there is no gossip_key; make them with "
            "\"outrigger init\", or set mesh.insecure = true on a network that you trust"},
        Fault{"[mesh]\nca = \"a\"\n",
              "f:1:1: mesh.cert: ca, cert and key belong together; give all three or none; \"outrigger init\" makes "
              "them"},
        Fault{"[mesh]\ngossip_key = \"short\"\n",
              "f:2:14: mesh.gossip_key: the key is not the Base64 of 32 bytes; make one with \"outrigger keygen\""},
        Fault{
            "[mesh]\nport = 5\ngossip_port = 5\n",
            "f:2:8: mesh.port: mesh.port and mesh.gossip_port are both 5, both TCP; use two ports; usual are 7947 and "
            "7946"},
        Fault{"[mesh]\nbind = \"0.0.0.0\"\ninsecure = true\n",
              "f:2:8: mesh.bind: 0.0.0.0 does not say where others reach this agent; set mesh.advertise as well"},
        Fault{"[mesh]\nseeds = [\"a b\"]\n",
              "f:2:9: mesh.seeds: \"a b\" is no seed address; write \"10.0.0.1:7946\" or \"name:7946\""},
        Fault{
            "[raft]\nbootstrap = true\nbootstrap_expect = 3\n",
            "f:2:13: raft.bootstrap: bootstrap = true starts a cluster alone, bootstrap_expect waits for others; keep "
            "bootstrap_expect on the first agents, or bootstrap on exactly one"},
        Fault{
            "[raft]\nheartbeat = \"100ms\"\n",
            "f:1:1: raft.election_min: less than three heartbeats: one late packet would depose the leader; set it to "
            "at least 300ms"},
        Fault{
            "[raft]\nelection_max = \"250ms\"\n",
            "f:2:16: raft.election_max: not above election_min: candidates would split the vote again and again; twice "
            "election_min is usual"},
        Fault{"[service]\n",
              "f:1:1: service.address: [service] does not say where the instance listens; add address = "
              "\"127.0.0.1:9001\""},
        Fault{"[service]\naddress = \"nowhere\"\n",
              "f:2:11: service.address: \"nowhere\" is no address; write \"127.0.0.1:8500\", \"[::1]:8500\" or "
              "\"unix:/path\""},
        Fault{"[service]\naddress = \"127.0.0.1:1\"\nmargin = \"2s\"\n",
              "f:3:10: service.margin: must lie between a hundredth of the lease and the lease: it is what clock drift "
              "may use up; a third of the lease is usual"},
        Fault{
            "[service]\naddress = \"127.0.0.1:1\"\nhealth.timeout = \"2s\"\n",
            "f:3:18: service.health.timeout: longer than health.every: checks would overlap; set it to at most every"},
        Fault{"[service]\naddress = \"127.0.0.1:1\"\nhooks.promote = { exec = [\"a\"], url = \"http://x\" }\n",
              "f:3:17: service.hooks.promote: give either exec or url; write promote = { exec = [\"/path/program\"] }"},
        Fault{
            "[service]\naddress = \"127.0.0.1:1\"\nhooks.demote = { url = \"https://x/\" }\n",
            "f:3:16: service.hooks.demote: \"https://x/\" is no http URL; write \"http://127.0.0.1:9001/demote\"; TLS "
            "is not spoken here"},
        Fault{"[[listen]]\naddress = \"127.0.0.1:8500\"\n",
              "f:2:11: listen[0].address: 127.0.0.1:8500 is taken by api.listen; use another port"},
        Fault{"[[listen]]\ntrusted_proxies = []\n",
              "f:1:1: listen[0].address: [[listen]] without an address; add address = \"127.0.0.1:8080\""},
        Fault{
            "[service]\naddress = \"127.0.0.1:1\"\n[[listen]]\naddress = \"127.0.0.1:1\"\n",
            "f:4:11: listen[0].address: 127.0.0.1:1 is service.address: the proxy would call itself; use another port "
            "for clients"},
        Fault{"[[route]]\npath = \"orders\"\npool = \"all\"\n",
              "f:2:8: route[0].path: \"orders\" is no path; write \"/orders\" for a prefix, \"=/orders\" for exactly "
              "that"},
        Fault{"[[route]]\npath = \"/orders\"\n",
              "f:1:1: route[0].pool: [[route]] does not say where its requests go; add pool = \"primary\", pool = "
              "\"all\" or the name of an [[upstream]], or static = { root = \"...\" }"}));

TEST(Config, SyntaxErrorHasItsPlace) {
  const auto problems = problems_of("[node]\nname = \n");
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_THAT(problems[0], AllOf(HasSubstr("f:2:"), HasSubstr("this is not valid TOML")));
}

TEST(Config, BytesThatNoTextHoldsAreShown) {
  EXPECT_THAT(problems_of("a = 1\n\xc3\xa9[\x0code]"),
              ElementsAre("f:2:3: a control character; remove it; is this a text file?"));
  EXPECT_THAT(problems_of(std::string("a\0", 2)), ElementsAre(HasSubstr("f:1:2: a control character")));
  EXPECT_THAT(problems_of("[node]\r\nname = \"a\"\r\n"), testing::IsEmpty());
  EXPECT_THAT(problems_of("[node]\rname"), ElementsAre(HasSubstr("f:1:7: a control character")));
}

TEST(Config, TextThatConfusesTheParserIsAProblem) {
  for (const char* text :
       {"[ ]", "[\xe2\x80\x83ode]", "[[ ]]", "[a.]", "= 1", "\"", "[\"\n\"]", "x = [", "x = {a", "\xff\xfe"})
    EXPECT_EQ(problems_of(text).size(), 1U) << text;
}

TEST(Config, AllProblemsAtOnceInFileOrder) {
  EXPECT_THAT(problems_of("[raft]\nheartbeat = 5\n[node]\nnaem = \"x\"\nname = 7\n[api]\nlisten = 3\n"),
              ElementsAre(HasSubstr("f:2:13:"), HasSubstr("f:4:1:"), HasSubstr("f:5:8:"), HasSubstr("f:7:10:")));
}

TEST(Config, ProblemsAreBounded) {
  std::string text = "[node]\n";
  for (int i = 0; i < 500; ++i) text += "zzzzzzzz" + std::to_string(i) + " = 1\n";
  EXPECT_EQ(problems_of(text).size(), 100U);
}

TEST(Config, LaterSourcesWin) {
  const Folder folder;
  ConfigSource source;
  source.file = folder.write("main.toml",
                             "[node]\nname = \"a\"\nzone = \"a\"\nlog_level = \"warn\"\n"
                             "data_dir = \"a\"\n[[listen]]\naddress = \"127.0.0.1:1\"\n");
  folder.write("conf.d/2.toml", "[node]\nzone = \"c\"\nname = \"c\"\ndata_dir = \"c\"\n");
  folder.write("conf.d/1.toml", "[node]\nzone = \"b\"\n[[listen]]\naddress = \"127.0.0.1:2\"\n");
  folder.write("conf.d/ignored.txt", "not toml");
  source.environment = {{"OUTRIGGER_NODE_NAME", "d"}, {"OUTRIGGER_NODE_DATA_DIR", "d"}, {"PATH", "x"}};
  source.flags = {{"node.data_dir", "e"}};
  const Config config = loaded(source);
  EXPECT_EQ(config.node.log_level, LogLevel::kWarn);
  EXPECT_EQ(config.node.zone, "c");
  EXPECT_EQ(config.node.name, "d");
  EXPECT_EQ(config.node.data_dir, "e");
  ASSERT_EQ(config.listeners.size(), 2U);
  EXPECT_EQ(config.listeners[1].address.port, 2);
  EXPECT_EQ(config.files.size(), 3U);
}

TEST(Config, EnvironmentIsConvertedToTheKeysType) {
  ConfigSource source;
  source.environment = {{"OUTRIGGER_MESH_PORT", "17"},
                        {"OUTRIGGER_MESH_SEEDS", "a:1,b:2"},
                        {"OUTRIGGER_MESH_INSECURE", "true"},
                        {"OUTRIGGER_RAFT_BOOTSTRAP_EXPECT", "3"},
                        {"OUTRIGGER_RAFT_HEARTBEAT", "20ms"},
                        {"OUTRIGGER_SERVICE_ADDRESS", "127.0.0.1:9"},
                        {"OUTRIGGER_SERVICE_HEALTH_ASSERT", "[\"$.a=='x,y'\"]"},
                        {"OUTRIGGER_SERVICE_HOOKS_PROMOTE_EXEC", "/bin/a,b"},
                        {"OUTRIGGER_PROXY_BODY_BYTES_MAX", "1MiB"}};
  const Config config = loaded(source);
  EXPECT_EQ(config.mesh.port, 17);
  EXPECT_EQ(config.mesh.seeds.size(), 2U);
  EXPECT_TRUE(config.mesh.insecure);
  EXPECT_EQ(config.raft.bootstrap_expect, 3U);
  EXPECT_EQ(config.raft.heartbeat, milliseconds(20));
  EXPECT_EQ(config.service->health.asserts.at(0), "$.a=='x,y'");
  EXPECT_THAT(config.service->hooks.promote->exec, ElementsAre("/bin/a", "b"));
  EXPECT_EQ(config.proxy.body_bytes_max, 1048576U);
}

TEST(Config, EnvironmentFaultsNameTheVariable) {
  ConfigSource source;
  source.environment = {{"OUTRIGGER_MESH_PORT", "x"}, {"OUTRIGGER_NODE_NAM", "y"}};
  EXPECT_THAT(
      load_problems(source),
      ElementsAre("environment: OUTRIGGER_NODE_NAM: no setting belongs to this variable; did you mean "
                  "OUTRIGGER_NODE_NAME?",
                  "environment: mesh.port: expected an integer, found \"x\" (set by OUTRIGGER_MESH_PORT); write "
                  "the number without quotes or fraction"));
}

TEST(Config, VariablesOfTheCommandLineAndOfContainerPlatformsAreLeftAlone) {
  ConfigSource source;
  source.environment = {{"OUTRIGGER_API", "x"},
                        {"OUTRIGGER_CONFIG", "x"},
                        {"OUTRIGGER_SERVICE_HOST", "10.0.0.1"},
                        {"OUTRIGGER_SERVICE_PORT_HTTP", "80"},
                        {"OUTRIGGER_PORT_80_TCP", "tcp://10.0.0.1:80"}};
  EXPECT_THAT(load_problems(source), testing::IsEmpty());
}

TEST(Config, RepeatedFlagsMakeAListAndFaultsNameTheFlag) {
  ConfigSource source;
  source.flags = {{"mesh.seeds", "a:1"}, {"mesh.seeds", "b:2"}, {"mesh.seeds", "c:3"}};
  EXPECT_EQ(loaded(source).mesh.seeds.size(), 3U);
  source.flags = {{"api.listen", "nowhere"}};
  source.flag_names = {{"api.listen", "--api"}};
  EXPECT_THAT(load_problems(source),
              ElementsAre(HasSubstr("command line: api.listen: \"nowhere\" is no address (set by --api)")));
}

TEST(Config, MissingFileIsAProblemNotACrash) {
  ConfigSource source;
  source.file = "/nonexistent/outrigger.toml";
  EXPECT_THAT(load_problems(source), ElementsAre(HasSubstr("cannot read the file: No such file")));
  source.file = "/";
  EXPECT_THAT(load_problems(source), ElementsAre(HasSubstr("it is a folder")));
}

TEST(Config, FilesNamedInAFileCountFromIt) {
  const Folder folder;
  folder.write("keys/gossip.key", std::string(kKey) + "\n");
  for (const char* name : {"ca", "cert", "key"}) folder.write(std::string("keys/") + name + ".pem", "x");
  ConfigSource source;
  source.file = folder.write("main.toml",
                             "[mesh]\nbind = \"10.0.0.1\"\nca = \"keys/ca.pem\"\ncert = \"keys/cert.pem\"\n"
                             "key = \"keys/key.pem\"\ngossip_key_file = \"keys/gossip.key\"\n");
  const Config config = loaded(source);
  EXPECT_EQ(config.mesh.ca, folder.path() / "keys/ca.pem");
  EXPECT_TRUE(config.mesh.gossip_key.has_value());
}

TEST(Config, UnreadableKeyFilesAreNamedWithLine) {
  const Folder folder;
  ConfigSource source;
  source.file =
      folder.write("main.toml", "[mesh]\nca = \"a.pem\"\ncert = \"b.pem\"\nkey = \"c.pem\"\ngossip_key_file = \"g\"\n");
  const auto problems = load_problems(source);
  ASSERT_EQ(problems.size(), 4U);
  EXPECT_THAT(problems[0], AllOf(HasSubstr("main.toml:2:6: mesh.ca: cannot read"), HasSubstr("a.pem: No such file")));
  EXPECT_THAT(problems[3], HasSubstr("main.toml:5:19: mesh.gossip_key_file: cannot read"));
}

TEST(Config, HealthConditionsAreCheckedByWhoeverKnowsTheirGrammar) {
  const Folder folder;
  ConfigSource source;
  source.file = folder.write("main.toml", "[service]\naddress = \"127.0.0.1:1\"\nhealth.assert = [\"status\"]\n");
  EXPECT_THAT(load_problems(source), testing::IsEmpty());
  source.check_assert = [](std::string_view text) { return std::optional("no $ in " + std::string(text)); };
  EXPECT_THAT(
      load_problems(source),
      ElementsAre(HasSubstr("main.toml:3:17: service.health.assert: cannot read \"status\": no $ in status; write "
                            "it like \"$.status=='healthy'\"")));
}

TEST(Config, BothGossipKeysConflict) {
  EXPECT_THAT(problems_of(std::string("[mesh]\ngossip_key = \"") + kKey + "\"\ngossip_key_file = \"x\"\n"),
              ElementsAre(HasSubstr("f:3:19: mesh.gossip_key_file: gossip_key is set as well")));
}

TEST(Config, BootstrapFollowsFromSeedsAndExpect) {
  EXPECT_TRUE(good("").raft.bootstrap);
  EXPECT_FALSE(good("[mesh]\nseeds = [\"a:1\"]\n").raft.bootstrap);
  EXPECT_FALSE(good("[raft]\nbootstrap_expect = 3\n").raft.bootstrap);
  const Config alone = good("[raft]\nbootstrap_expect = 1\n");
  EXPECT_TRUE(alone.raft.bootstrap);
  EXPECT_EQ(alone.raft.bootstrap_expect, 0U);
  EXPECT_TRUE(good("[mesh]\nseeds = [\"a:1\"]\n[raft]\nbootstrap = true\n").raft.bootstrap);
  EXPECT_EQ(good("[raft]\nbootstrap_expect = 7\n").raft.voters, 7U);
}

TEST(Config, StickySaysWhatTellsSessionsApart) {
  const auto route = [](const std::string& line) { return parse_config("[[route]]\npath = \"/\"\n" + line + "\n", "test.toml"); };
  const auto full = route("pool = \"all\"\nbalance = \"round_robin\"\nsticky = { by = \"cookie:sid\", ttl = \"1h\", drain = \"0s\", zone = \"web\" }");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->routes.at(0).sticky, (StickyConfig{"cookie:sid", Milliseconds(3'600'000), Milliseconds(0), "web"}));
  EXPECT_EQ(route("pool = \"all\"\nsticky = { by = \"ip\" }")->routes.at(0).sticky, (StickyConfig{"ip", Milliseconds(3'600'000), Milliseconds(30'000), ""}));
  EXPECT_FALSE(route("pool = \"all\"")->routes.at(0).sticky);
  for (const char* bad : {"pool = \"primary\"\nsticky = { by = \"ip\" }", "pool = \"all\"\nsticky = {}", "pool = \"all\"\nsticky = { by = \"route\" }",
                          "pool = \"all\"\nsticky = { by = \"cookie:\" }", "pool = \"all\"\nsticky = { by = \"ip\", ttl = \"999ms\" }",
                          "pool = \"all\"\nslow_start = \"5s\"\nsticky = { by = \"ip\" }", "pool = \"all\"\nsticky = { by = \"ip\", zone = \"a/b\" }"})
    EXPECT_FALSE(route(bad)) << bad;
}

TEST(Config, DefaultRoutesSendWritesToThePrimary) {
  const Config config = good("[service]\naddress = \"127.0.0.1:1\"\n");
  ASSERT_EQ(config.routes.size(), 2U);
  EXPECT_THAT(config.routes[0].methods, ElementsAre("POST", "PUT", "PATCH", "DELETE"));
  EXPECT_EQ(config.routes[0].pool, Pool::kPrimary);
  EXPECT_TRUE(config.routes[1].methods.empty());
  EXPECT_EQ(config.routes[1].pool, Pool::kAll);
  EXPECT_EQ(good("[[listen]]\naddress = \"127.0.0.1:1\"\n").routes.size(), 2U);
}

TEST(Config, InsecureAllowsWhatWouldBeRefused) {
  EXPECT_EQ(good("[api]\nlisten = \"0.0.0.0:1\"\ninsecure = true\n").api.listen.port, 1);
  EXPECT_EQ(good("[mesh]\nbind = \"10.0.0.1\"\ninsecure = true\n").mesh.advertise, "10.0.0.1");
  EXPECT_EQ(good("[mesh]\nbind = \"127.0.0.3\"\n").mesh.advertise, "127.0.0.3");
}

TEST(Config, KeysAreAllKnownByName) {
  const auto keys = config_keys();
  for (const char* key : {"node.name", "service.hooks.promote.exec", "route[].timeouts.total", "listen[].address",
                          "service.health.critical_assert", "outlier.eject"})
    EXPECT_THAT(keys, testing::Contains(key));
}

TEST(HostPort, ReadsAndWritesEveryForm) {
  for (const char* text : {"127.0.0.1:8500", "[::1]:1", "unix:/a b", "0.0.0.0:65535"}) {
    const auto parsed = parse_host_port(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(parsed->text(), text);
  }
  EXPECT_EQ(parse_host_port(":80")->text(), "127.0.0.1:80");
  EXPECT_EQ(parse_host_port("localhost:80")->text(), "127.0.0.1:80");
  for (const char* text : {"", "x", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:70000", "::1:80", "[1.2.3.4]:1",
                           "unix:rel", "unix:", "name:80", "1.2.3.4:+1", "1.2.3.4: 1"})
    EXPECT_FALSE(parse_host_port(text).has_value()) << text;
  EXPECT_FALSE(parse_host_port("unix:/" + std::string(200, 'x')).has_value());
  EXPECT_FALSE(parse_host_port(std::string("127.0.0.1\0:80", 13)).has_value());
}

TEST(HostPort, KnowsWhatStaysOnTheMachine) {
  EXPECT_TRUE(parse_host_port("127.9.9.9:1")->is_local());
  EXPECT_TRUE(parse_host_port("[::1]:1")->is_local());
  EXPECT_TRUE(parse_host_port("unix:/x")->is_local());
  EXPECT_FALSE(parse_host_port("0.0.0.0:1")->is_local());
  EXPECT_FALSE(parse_host_port("[::]:1")->is_local());
  EXPECT_FALSE((HostPort{"127.evil.example", 1, {}}).is_local());
}

TEST(NearestWord, FindsTyposAndNothingElse) {
  const std::vector<std::string> words{"members", "join", "leave", "kv"};
  EXPECT_EQ(nearest_word("mebmers", words), "members");
  EXPECT_EQ(nearest_word("jion", words), "join");
  EXPECT_EQ(nearest_word("vk", words), "kv");
  EXPECT_EQ(nearest_word("xy", words), "");
  EXPECT_EQ(nearest_word("elephant", words), "");
  EXPECT_EQ(nearest_word(std::string(1000, 'a'), words), "");
}

}  // namespace
}  // namespace agent
