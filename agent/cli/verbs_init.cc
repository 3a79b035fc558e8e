#include <array>
#include <memory>
#include <ostream>

#include "agent/cli/session.h"
#include "agent/io/address.h"
#include "agent/io/clock.h"
#include "agent/io/crypto.h"
#include "agent/io/file.h"
#include "agent/io/x509.h"

namespace agent::cli {
namespace {

constexpr std::int64_t kHourMs = 3600000;
constexpr std::size_t kNodesMax = 1000;

struct InitOptions {
  std::string dir = "outrigger-cluster";
  std::vector<std::string> names{"n1"}, ips, seeds;
  std::string cluster, service_address, key_file;
  std::uint32_t days = 3650;
};

/// One node to be: where it lives and what it listens on.
struct Node {
  std::string name, ip;
  unsigned rank = 0;  ///< how many earlier nodes share the address

  /// A port of its own: `base` for the first node on an address, `step` more for each further one.
  [[nodiscard]] std::uint16_t port(unsigned base, unsigned step) const {
    return static_cast<std::uint16_t>(base + step * rank);
  }
  [[nodiscard]] std::uint16_t gossip_port() const { return port(7946, 10); }
};

std::string new_gossip_key() {
  std::array<std::byte, io::kAeadKeyBytes> key{};
  io::random_bytes(key);
  return io::base64_encode(key);
}

std::string quoted_list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const auto& item : items) out += (out.size() == 1 ? "\"" : ", \"") + item + "\"";
  return out + "]";
}

std::string mesh_text(const InitOptions& options, const std::vector<Node>& nodes) {
  std::vector<std::string> seeds = options.seeds;
  if (seeds.empty())
    for (const auto& node : nodes) seeds.push_back(HostPort{node.ip, node.gossip_port(), {}}.text());
  return "seeds = " + quoted_list(seeds) + "\nca = \"ca.pem\"\ngossip_key_file = \"gossip.key\"\n" +
         (options.cluster.empty() ? "" : "cluster = \"" + options.cluster + "\"\n");
}

std::string raft_text(const InitOptions& options, std::size_t count) {
  if (!options.seeds.empty()) return "\n[raft]\nbootstrap = false  # joins the cluster behind the seeds\n";
  return count == 1 ? "\n[raft]\nbootstrap = true\n" : "\n[raft]\nbootstrap_expect = " + std::to_string(count) + "\n";
}

std::string service_text(const InitOptions& options) {
  if (!options.service_address.empty())
    return "\n[service]\naddress = \"" + options.service_address + "\"\n\n[[listen]]\naddress = \"127.0.0.1:8080\"\n";
  return "\n# The instance beside this agent, and where its clients connect:\n# [service]\n# address = "
         "\"127.0.0.1:9001\"\n"
         "# [[listen]]\n# address = \"127.0.0.1:8080\"\n";
}

/// Settings of one node, in a folder that can be copied to its machine as it is.
std::string node_text(const InitOptions& options, const std::vector<Node>& nodes, const Node& node) {
  return "# Settings of agent " + node.name + ". Start it with: outrigger agent --config " + node.name +
         "/outrigger.toml\n[node]\nname = \"" + node.name + "\"\ndata_dir = \"outrigger-data/" + node.name +
         "\"\n\n[api]\nlisten = \"127.0.0.1:" + std::to_string(node.port(8500, 1)) +
         "\"\n\n[dns]\nlisten = \"127.0.0.1:" + std::to_string(node.port(8600, 1)) + "\"\n\n[mesh]\nbind = \"" +
         node.ip + "\"\ngossip_port = " + std::to_string(node.gossip_port()) +
         "\nport = " + std::to_string(node.port(7947, 10)) + "\ncert = \"cert.pem\"\nkey = \"key.pem\"\n" +
         mesh_text(options, nodes) + raft_text(options, nodes.size()) + service_text(options);
}

/// One file for all nodes; what differs comes from the environment.
std::string shared_text(const InitOptions& options, const std::vector<Node>& nodes) {
  return "# Settings for every agent of this cluster. Each one also needs, in its environment:\n"
         "#   OUTRIGGER_NODE_NAME, OUTRIGGER_MESH_BIND, OUTRIGGER_MESH_CERT, OUTRIGGER_MESH_KEY\n"
         "# and, where several share a machine, its own OUTRIGGER_NODE_DATA_DIR, OUTRIGGER_API_LISTEN,\n"
         "# OUTRIGGER_DNS_LISTEN, OUTRIGGER_MESH_GOSSIP_PORT and OUTRIGGER_MESH_PORT.\n[mesh]\n" +
         mesh_text(options, nodes) + raft_text(options, nodes.size()) + service_text(options);
}

/// The CA of the folder, made when there is none. `made` says which.
io::Result<io::PemPair> authority(const InitOptions& options, bool& made) {
  const std::string cert = options.dir + "/ca.pem", key = options.dir + "/ca.key";
  auto present = io::read_pem_pair(cert, key);
  made = !present && present.error().code == io::Errc::kNotFound;
  if (!made) return present;
  const std::int64_t now = io::wall_ms();
  auto pair = io::create_ca({.common_name = "Outrigger CA",
                             .dns_names = {},
                             .ip_names = {},
                             .not_before_ms = now - kHourMs,
                             .not_after_ms = now + options.days * 24LL * kHourMs});
  if (!pair) return pair;
  if (auto written = io::write_pem_pair(*pair, cert, key); !written) return tl::unexpected(written.error());
  return pair;
}

io::Result<std::string> gossip_key(const InitOptions& options) {
  const std::string file = options.dir + "/gossip.key";
  auto present = io::read_file(file, 4096);
  if (present || present.error().code != io::Errc::kNotFound) return present;
  std::string key = new_gossip_key() + "\n";
  if (auto written = io::replace_file(file, key, 0600); !written) return tl::unexpected(written.error());
  return key;
}

io::Result<void> write_node(const InitOptions& options, const std::vector<Node>& nodes, const Node& node,
                            const io::PemPair& ca, const std::string& key) {
  const std::string folder = options.dir + "/" + node.name;
  const std::int64_t now = io::wall_ms();
  auto pair = io::issue_certificate(ca, {.common_name = node.name,
                                         .dns_names = {node.name},
                                         .ip_names = {node.ip},
                                         .not_before_ms = now - kHourMs,
                                         .not_after_ms = now + options.days * 24LL * kHourMs});
  if (!pair) return tl::unexpected(pair.error());
  if (auto made = io::make_directories(folder, 0700); !made) return made;
  if (auto written = io::write_pem_pair(*pair, folder + "/cert.pem", folder + "/key.pem"); !written) return written;
  if (auto written = io::replace_file(folder + "/ca.pem", ca.certificate); !written) return written;
  if (auto written = io::replace_file(folder + "/gossip.key", key, 0600); !written) return written;
  return io::replace_file(folder + "/outrigger.toml", node_text(options, nodes, node));
}

/// Names and addresses paired up; nullopt after a printed usage error.
std::optional<std::vector<Node>> nodes_of(Session& session, const InitOptions& options) {
  const auto usage = [&session](const std::string& message) {
    session.host.err << "outrigger: " << message << "\n";
    return std::nullopt;
  };
  if (options.names.size() > kNodesMax) return usage("at most 1000 names");
  if (options.ips.size() > 1 && options.ips.size() != options.names.size())
    return usage("--ip wants one address, or one per name");
  std::vector<Node> out;
  for (std::size_t i = 0; i < options.names.size(); ++i) {
    Node node{options.names[i], options.ips.empty() ? "127.0.0.1" : options.ips[options.ips.size() == 1 ? 0 : i], 0};
    const bool plain = !node.name.empty() && node.name.size() <= 64 && node.name != "." && node.name != ".." &&
                       node.name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
    if (!plain) return usage("\"" + node.name + "\" is no node name: use letters, digits, '.', '_', '-'");
    if (!io::Address::ip(node.ip, 0)) return usage("\"" + node.ip + "\" is no IP address");
    for (const auto& other : out) {
      if (other.name == node.name) return usage("the name " + node.name + " is given twice");
      if (other.ip == node.ip) ++node.rank;
    }
    out.push_back(std::move(node));
  }
  return out;
}

int run_init(Session& session, const InitOptions& options) {
  const auto nodes = nodes_of(session, options);
  if (!nodes) return kExitUsage;
  const auto failed = [&session](const io::Error& error) {
    return session.fail(error.detail, "nothing that was there before has been changed");
  };
  if (const auto made = io::make_directories(options.dir, 0700); !made) return failed(made.error());
  bool made_authority = false;
  const auto ca = authority(options, made_authority);
  if (!ca) return failed(ca.error());
  const auto key = gossip_key(options);
  if (!key) return failed(key.error());
  for (const auto& node : *nodes)
    if (const auto written = write_node(options, *nodes, node, *ca, *key); !written) return failed(written.error());
  if (made_authority)
    if (const auto written = io::replace_file(options.dir + "/outrigger.toml", shared_text(options, *nodes)); !written)
      return failed(written.error());
  if (session.json()) {
    Json made = Json::array();
    for (const auto& node : *nodes)
      made.push_back({{"name", node.name}, {"config", options.dir + "/" + node.name + "/outrigger.toml"}});
    session.print({{"ok", true}, {"dir", options.dir}, {"nodes", made}, {"new_authority", made_authority}});
    return kExitOk;
  }
  session.host.out << (made_authority ? "made" : "used") << " the authority in " << options.dir
                   << "; keep ca.key off the nodes\n";
  for (const auto& node : *nodes)
    session.host.out << "  outrigger agent --config " << options.dir << "/" << node.name << "/outrigger.toml\n";
  return kExitOk;
}

int run_keygen(Session& session, const InitOptions& options) {
  const std::string key = new_gossip_key();
  if (options.key_file.empty()) {
    if (session.json())
      session.print({{"ok", true}, {"gossip_key", key}});
    else
      session.host.out << key << "\n";
    return kExitOk;
  }
  const auto present = io::read_file(options.key_file, 4096);
  if (present || present.error().code != io::Errc::kNotFound)
    return session.fail(options.key_file + " is there already",
                        "a key that others use must not be lost; name another file");
  if (const auto written = io::replace_file(options.key_file, key + "\n", 0600); !written)
    return session.fail(written.error().detail);
  if (session.json())
    session.print({{"ok", true}, {"file", options.key_file}});
  else
    session.host.out << "wrote " << options.key_file << "\n";
  return kExitOk;
}

}  // namespace

void add_init_verbs(CLI::App& app, Session& session) {
  const auto options = std::make_shared<InitOptions>();
  CLI::App& init = *app.add_subcommand("init", "make an authority, certificates, a gossip key and settings");
  session.add_output_option(init);
  init.add_option("--dir", options->dir, "folder for all of it; an authority that is there is used again")
      ->capture_default_str();
  init.add_option("--names", options->names, "names of the nodes: n1,n2,n3")->delimiter(',')->capture_default_str();
  init.add_option("--ip", options->ips, "their addresses, or one for all; default 127.0.0.1")->delimiter(',');
  init.add_option("--seeds", options->seeds, "gossip addresses of a running cluster that they will join")
      ->delimiter(',');
  init.add_option("--cluster", options->cluster, "label of the cluster");
  init.add_option("--service-address", options->service_address, "where the instance beside each agent listens");
  init.add_option("--days", options->days, "how long the certificates are good")
      ->check(CLI::Range(1U, 36500U))
      ->capture_default_str();
  init.callback([&session, options] { session.chosen = [&session, options] { return run_init(session, *options); }; });

  CLI::App& keygen = *app.add_subcommand("keygen", "print a new gossip key");
  session.add_output_option(keygen);
  keygen.add_option("--out", options->key_file, "write it to this new file (mode 0600) instead");
  keygen.callback(
      [&session, options] { session.chosen = [&session, options] { return run_keygen(session, *options); }; });

  CLI::App& version = *app.add_subcommand("version", "print the version");
  session.add_output_option(version);
  version.callback([&session] {
    session.chosen = [&session] {
      if (session.json())
        session.print({{"ok", true}, {"version", OUTRIGGER_VERSION}});
      else
        session.host.out << "outrigger " OUTRIGGER_VERSION "\n";
      return kExitOk;
    };
  });
}

}  // namespace agent::cli
