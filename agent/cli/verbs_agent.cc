#include <filesystem>
#include <istream>
#include <iterator>
#include <memory>
#include <ostream>

#include "agent/cli/session.h"
#include "agent/cli/verbs_plan.h"
#include "agent/config_load.h"

namespace agent::cli {
namespace {

/// One flag of `agent` that is short for a key of the config file.
struct SettingFlag {
  const char* names;  ///< as CLI11 wants them; the first one stands in messages
  const char* key;
  const char* help;
};
constexpr SettingFlag kSettingFlags[] = {
    {"--bind", "mesh.bind", "IP address of the mesh"},
    {"--advertise", "mesh.advertise", "IP address that others are told"},
    {"--gossip-port", "mesh.gossip_port", "UDP and TCP port of the gossip"},
    {"--mesh-port", "mesh.port", "TCP port of the mesh"},
    {"--data,--data-dir", "node.data_dir", "folder of the replicated state"},
    {"--pid-file", "node.pid_file", "file that holds the process id while the agent runs"},
    {"--node", "node.name", "name of this agent"},
    {"--zone", "node.zone", "label of the place it runs at"},
    {"--log-level", "node.log_level", "trace, debug, info, warn or error"},
    {"--datacenter", "mesh.cluster", "label of the cluster, shown as Consul's datacenter"},
    {"--encrypt", "mesh.gossip_key", "gossip key, 32 bytes in Base64; others see it in the list of processes"},
    {"--api", "api.listen", "where the API listens: ip:port or unix:/path"},
    {"--dns", "dns.listen", "where DNS listens, UDP and TCP: ip:port or off"},
    {"--bootstrap-expect", "raft.bootstrap_expect", "that many agents form the cluster together"},
};

struct AgentOptions {
  std::string file, folder;
  std::vector<std::string> values = std::vector<std::string>(std::size(kSettingFlags));
  std::vector<std::string> join, settings;
  std::string client;
  bool take_over = false, dev = false, bootstrap = false, insecure = false, server = false;
};
using Shared = std::shared_ptr<AgentOptions>;

/// The folder of a `--dev` agent, gone when the agent has stopped.
class DevFolder {
 public:
  DevFolder() {
    std::error_code code;
    std::string pattern = (std::filesystem::temp_directory_path(code) / "outrigger-dev-XXXXXX").string();
    if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~DevFolder() {
    std::error_code code;
    if (!path_.empty()) std::filesystem::remove_all(path_, code);
  }
  DevFolder(const DevFolder&) = delete;
  DevFolder& operator=(const DevFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void add_settings(CLI::App& verb, const Shared& options) {
  const std::size_t count = std::size(kSettingFlags);
  for (std::size_t i = 0; i < count; ++i)
    verb.add_option(kSettingFlags[i].names, options->values[i],
                    std::string(kSettingFlags[i].help) + " [" + kSettingFlags[i].key + "]");
  verb.add_option("--config-dir", options->folder, "folder of *.toml and *.json, read in order of names; JSON has Consul's keys");
  verb.add_option("--join,--retry-join", options->join, "gossip addresses of other agents [mesh.seeds]");
  verb.add_option("--client", options->client, "IP address of the API, port 8500 (as Consul's flag)");
  verb.add_option("--set", options->settings, "any other key of the config file: --set service.lease=2s");
  verb.add_flag("--bootstrap", options->bootstrap, "start a cluster alone [raft.bootstrap]");
  verb.add_flag("--insecure", options->insecure, "allow a mesh and an API that anyone can reach");
  verb.add_flag("--server", options->server, "accepted and ignored: every agent can vote");
}

/// Files, environment and flags as the loader wants them. @return false after a printed usage error.
bool source_of(Session& session, const AgentOptions& options, ConfigSource& source) {
  source.environment = session.host.environment;
  source.host_name = session.host.host_name;
  source.check_assert = session.host.check_assert;
  source.check_registration = session.host.check_registration;
  source.check_listen_tls = session.host.check_listen_tls;
  source.check_instance_tls = session.host.check_instance_tls;
  source.check_header = session.host.check_header;
  const auto from_environment = session.host.environment.find("OUTRIGGER_CONFIG");
  if (!options.file.empty())
    source.file = options.file;
  else if (from_environment != session.host.environment.end() && !from_environment->second.empty())
    source.file = from_environment->second;
  if (!options.folder.empty()) source.folder = options.folder;
  const auto set = [&source](const std::string& key, const std::string& value, const std::string& flag) {
    source.flags.emplace_back(key, value);
    source.flag_names.emplace(key, flag);
  };
  for (std::size_t i = 0; i < std::size(kSettingFlags); ++i) {
    const std::string names = kSettingFlags[i].names;
    if (!options.values[i].empty()) set(kSettingFlags[i].key, options.values[i], names.substr(0, names.find(',')));
  }
  for (const auto& address : options.join) set("mesh.seeds", address, "--join");
  if (!options.client.empty()) set("api.listen", options.client + ":8500", "--client");
  if (options.bootstrap) set("raft.bootstrap", "true", "--bootstrap");
  if (options.insecure) set("mesh.insecure", "true", "--insecure"), set("api.insecure", "true", "--insecure");
  for (const auto& setting : options.settings) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      session.host.err << "outrigger: --set wants KEY=VALUE, found \"" << setting << "\"\n";
      return false;
    }
    set(setting.substr(0, equals), setting.substr(equals + 1), "--set");
  }
  return true;
}

int run_agent_verb(Session& session, const AgentOptions& options) {
  ConfigSource source;
  source.take_over = options.take_over;
  source.command = session.host.successor;
  if (!source_of(session, options, source)) return kExitUsage;
  std::optional<DevFolder> folder;
  if (options.dev) {
    folder.emplace();
    if (folder->path().empty()) return session.fail("cannot make a temporary folder for --dev", "is TMPDIR writable?");
    source.flags.emplace_back("raft.bootstrap", "true");
    source.flags.emplace_back("node.data_dir", folder->path());
  }
  const auto config = load_config(source);
  return config ? session.host.run_agent(*config, source) : print_problems(session, config.error(), "nothing was started");
}

int run_validate(Session& session, const AgentOptions& options) {
  ConfigSource source;
  if (!source_of(session, options, source)) return kExitUsage;
  std::string text;
  const bool from_input = source.file && *source.file == "-";
  if (from_input) text.assign(std::istreambuf_iterator<char>(session.host.in), {});
  const auto read = from_input ? parse_settings(text, "-") : read_settings(source);
  if (!read) return print_problems(session, read.error(), "nothing was started");
  const Config* config = &read->config;
  if (session.json()) {
    Json files = Json::array();
    for (const auto& file : config->files) files.push_back(file.string());
    session.print({{"ok", true}, {"files", files}, {"hash", settings_hash(read->files_text)}});
    return kExitOk;
  }
  for (const auto& file : config->files) session.host.out << file.string() << "\n";
  session.host.out << "the settings are fine: node " << config->node.name << ", API " << config->api.listen.text()
                   << ", mesh " << config->mesh.bind << (config->mesh.has_tls() ? " (TLS)" : " (plain)") << ", service "
                   << (config->service ? config->service->name + " at " + config->service->address.text() : "none")
                   << ", hash " << settings_hash(read->files_text) << "\n";
  return kExitOk;
}

}  // namespace

void add_agent_verbs(CLI::App& app, Session& session) {
  CLI::App& agent = *app.add_subcommand("agent", "run the agent in the foreground");
  const auto options = std::make_shared<AgentOptions>();
  session.add_output_option(agent);
  agent.add_option("-c,--config,--config-file", options->file,
                   "TOML file; conf.d/*.toml beside it is read too "
                   "[$OUTRIGGER_CONFIG]");
  agent.add_flag("--dev", options->dev, "a single node that forgets everything when it stops");
  agent.add_flag("--take-over", options->take_over,
                 "go on where an agent runs on the same data directory: it hands over its sockets and ends without failing a request");
  add_settings(agent, options);
  agent.callback(
      [&session, options] { session.chosen = [&session, options] { return run_agent_verb(session, *options); }; });

  CLI::App& validate = *app.add_subcommand("validate", "check the settings without starting anything");
  session.add_output_option(validate);
  validate.add_option("file,-c,--config,--config-file", options->file, "TOML file; - reads standard input");
  add_settings(validate, options);
  validate.callback(
      [&session, options] { session.chosen = [&session, options] { return run_validate(session, *options); }; });
}

}  // namespace agent::cli
