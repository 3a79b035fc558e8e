#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "agent/config_answers.h"
#include "agent/config_hooks.h"
#include "agent/config_guard.h"
#include "agent/config_idempotency.h"

/// Settings of one agent: one TOML file (or a JSON file with Consul's keys, see config_consul.h), then `conf.d/*.toml` beside
/// it, then `OUTRIGGER_*` environment, then flags; later wins. All of it is read and checked here, so that the rest of the
/// agent meets only values that make sense.
/// With nothing set at all the result is a working single node (docs: deploy/outrigger.toml).
///
/// How the structs speak. Each stands for one table of the file and has its defaults; a field has the name of its key unless
/// `key` says otherwise. Durations are milliseconds and written as "1500ms", "5s"; their ranges hold both ends.
/// Sizes are bytes and written as "64KiB" or as a plain number. "<= N" of a list bounds its elements. Values outside of their
/// range, unknown keys and settings that contradict each other are problems with file and line (ConfigProblem), never clamped.
/// Everything here is plain data: no value refers to another, and equality means that nothing has to be applied.
namespace agent {
using Milliseconds = std::chrono::milliseconds;

/// Where something listens or is reached: either an IP literal and port, or a unix socket.
/// Invariant: exactly one of `host` and `unix_path` is non-empty (both empty only in a default-constructed value).
struct HostPort {
  std::string host;        ///< IPv4 or IPv6 literal without brackets; a host name only in `MeshConfig::seeds`
  std::uint16_t port = 0;  ///< 0 = any free port (listeners only)
  std::string unix_path;   ///< absolute path of a unix socket, at most 107 bytes

  [[nodiscard]] bool is_unix() const { return !unix_path.empty(); }
  /// True for 127.0.0.0/8, ::1, "localhost" and unix sockets: nobody outside this machine gets there.
  [[nodiscard]] bool is_local() const;
  /// "ip:port", "[v6]:port" or "unix:/path": what the config file accepts.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
/// Parses "ip:port", "[v6]:port", ":port" (= 127.0.0.1), "unix:/path"; nullopt when it is none of these.
[[nodiscard]] std::optional<HostPort> parse_host_port(std::string_view text);

/// Of the agent's own log; lines below it are not written.
enum class LogLevel { kTrace, kDebug, kInfo, kWarn, kError };

/// [node]: who this agent is. A restart is needed to change any of it but log_level.
struct NodeConfig {
  std::string name;                                   ///< default: the machine's host name; 1..64 of [A-Za-z0-9._-]
  std::filesystem::path data_dir = "outrigger-data";  ///< relative paths count from the working directory
  std::filesystem::path pid_file;                     ///< holds the process id while the agent runs; empty = none
  std::string zone;                                   ///< free label, <= 64 bytes; "" = none
  LogLevel log_level = LogLevel::kInfo;
  friend bool operator==(const NodeConfig&, const NodeConfig&) = default;
};

/// [api]: the HTTP API of the agent.
struct ApiConfig {
  HostPort listen{"127.0.0.1", 8500, {}};  ///< TCP or a unix socket
  bool insecure = false;  ///< allows a listener that other machines can reach (the API has no authentication yet)
  Milliseconds session_ttl_min{10'000};  ///< least TTL of a session, 100 ms .. 24 h; Consul's clients expect 10 s
  friend bool operator==(const ApiConfig&, const ApiConfig&) = default;
};

/// [dns]: the catalog for clients that ask by name (agent/dns/README.md).
struct DnsConfig {
  bool enabled = true;                   ///< false: listen = "off"
  HostPort listen{"127.0.0.1", 8600, {}};  ///< UDP and TCP; never a unix path
  bool listen_is_default = true;         ///< nobody asked for this address: a taken port is told, not fatal
  bool insecure = false;                 ///< allows an address that other machines can reach
  std::string domain = "consul";         ///< lower case, without final dot
  std::string alt_domain = "outrigger";  ///< answered alike; empty = none; never the same as `domain`
  bool only_passing = false;             ///< instances with a warning are left out too
  Milliseconds ttl{0};                   ///< whole seconds, 0..24 h
  std::uint32_t answers_max = 0;         ///< records of one answer; 0 = as many as fit
  bool truncate_flag = true;             ///< false: an answer that was cut does not say so
  std::uint16_t udp_bytes_max = 8192;    ///< 512..8192; default 1232 when `listen` can be reached from other machines
  std::uint32_t connections_max = 256;   ///< TCP, 1..10,000
  friend bool operator==(const DnsConfig&, const DnsConfig&) = default;
};

/// [mesh]: how agents find and reach each other. Invariant: a mesh that other machines can reach has TLS and a gossip key, or
/// `insecure`.
struct MeshConfig {
  std::string bind = "127.0.0.1";       ///< IP literal
  std::string advertise;                ///< IP literal told to others; filled with `bind` when not set
  std::uint16_t gossip_port = 7946;     ///< UDP and TCP; 0 = any free port
  std::uint16_t port = 7947;            ///< TCP, Raft and peer traffic; 0 = any free port
  std::vector<HostPort> seeds;          ///< gossip addresses; host names allowed; <= 64; port defaults to gossip_port
  std::filesystem::path ca, cert, key;  ///< PEM files, all three or none; relative to the file that names them
  std::optional<std::vector<std::byte>> gossip_key;  ///< exactly 32 bytes, from gossip_key or gossip_key_file
  std::string cluster;                               ///< label, <= 64 bytes: agents with another label are refused
  bool insecure = false;                             ///< allows a non-loopback mesh without TLS and gossip key

  [[nodiscard]] bool has_tls() const { return !cert.empty(); }  ///< then ca and key are set, too
  friend bool operator==(const MeshConfig&, const MeshConfig&) = default;
};

/// [raft]: the replicated store. Every agent of a cluster should have the same values here.
struct RaftConfig {
  bool bootstrap = true;               ///< default: true when neither mesh.seeds nor bootstrap_expect is given
  std::uint32_t bootstrap_expect = 0;  ///< 0 = not used; N = the N agents with this setting form the cluster; <= 9
  std::uint32_t voters = 5;            ///< 1..9
  Milliseconds heartbeat{50};      ///< the leader's word to each voter; 5 ms .. 5 s
  Milliseconds election_min{250};  ///< >= 3 * heartbeat, 20 ms .. 60 s; a follower waits a random time between the two
  Milliseconds election_max{400};  ///< > election_min, 30 ms .. 2 min; decision 0027
  Milliseconds write_timeout{2000};   ///< of a write by the API or the agent itself: then its outcome is unknown; 100 ms .. 1 min
  Milliseconds replace_after{60000};  ///< a voter dead for so long makes room for another member; 1 s .. 7 days
  std::uint64_t disk_reserve_bytes = 64ULL << 20;  ///< key `disk_reserve`; 0 = none; <= 64 GiB
  friend bool operator==(const RaftConfig&, const RaftConfig&) = default;
};

/// [service.health]: how the instance is asked whether it is well.
struct HealthConfig {
  std::string path = "/health";               ///< of a GET; 2xx is well
  Milliseconds every{1000};                   ///< spread by chance, faster while it fails; 50 ms .. 1 h
  Milliseconds timeout{500};                  ///< <= every; 10 ms .. 5 min
  std::uint32_t fall = 3;                     ///< failures in a row until critical, 1..100
  std::uint32_t rise = 2;                     ///< successes in a row until passing, 1..100
  std::vector<std::string> asserts;           ///< key `assert`; one that does not hold makes it degraded; <= 32
  std::vector<std::string> critical_asserts;  ///< key `critical_assert`; one that does not hold fails the check; <= 32
  friend bool operator==(const HealthConfig&, const HealthConfig&) = default;
};

/// One of [[service.check]] and [[upstream.check]]: exactly one of `http`, `tcp` and `exec`.
struct CheckConfig {
  std::string http;                           ///< path of a GET; empty = another kind
  bool tcp = false;                           ///< a connection can be opened
  std::vector<std::string> exec;              ///< argv; argv[0] absolute or found in PATH; no shell
  std::optional<HostPort> address;            ///< http, tcp: another place than the endpoint's own, such as a port for administration
  std::vector<std::pair<int, int>> expect{{200, 299}};  ///< http: good statuses, both ends included; key `expect`, "200" or "200-299"; <= 16
  std::vector<std::string> asserts, critical_asserts;  ///< http: as in HealthConfig
  Milliseconds every{1000};                   ///< 50 ms .. 1 h
  Milliseconds timeout{500};                  ///< <= every
  std::uint32_t fall = 3, rise = 2;           ///< as in HealthConfig
  friend bool operator==(const CheckConfig&, const CheckConfig&) = default;
};

/// kBackup: requests of `all` routes come only while no active instance can take them.
enum class Tier { kActive, kBackup };

/// [service] tls: how the instance is spoken to over TLS, by requests and by health checks.
struct InstanceTlsConfig {
  bool verify = true;              ///< the certificate must lead to `ca` and carry `server_name`
  std::filesystem::path ca;        ///< default: what the system trusts; empty without verify
  std::string server_name;         ///< SNI and name to verify; default: the host of service.address
  std::filesystem::path cert, key; ///< shown to an instance that asks for one; both or none
  friend bool operator==(const InstanceTlsConfig&, const InstanceTlsConfig&) = default;
};

/// [service]: the instance beside this agent. Absent = an agent without instance (voter, entry point).
struct ServiceConfig {
  std::string name = "trader";  ///< 1..64 of [A-Za-z0-9._-]
  HostPort address;             ///< required
  std::uint32_t weight = 1;     ///< 0..1000; 0 = gets no traffic of `all` routes
  Tier tier = Tier::kActive;        ///< "active" or "backup"
  bool eligible = true;             ///< may become primary
  Milliseconds lease{1500};         ///< of the primary, 100 ms .. 60 s
  Milliseconds margin{500};         ///< added before another may begin: clocks differ; >= lease / 100 and <= lease
  Milliseconds order_wait{2000};    ///< how long orders in flight may take when the role is given away on purpose; 0 .. 10 s
  std::filesystem::path role_file;  ///< empty = none
  std::optional<InstanceTlsConfig> tls;  ///< absent = plain
  std::uint8_t proxy_protocol = 0;       ///< "v1" or "v2": each connection to the instance begins with such a header; 0 = off
  std::string metrics;              ///< path of a GET that tells the instance's own metrics; empty = none are merged into ours
  HealthConfig health;              ///< [service.health]
  std::vector<CheckConfig> checks;  ///< [[service.check]], beside `health`: the worst of all counts; <= 8
  HooksConfig hooks;                ///< [service.hooks]
  friend bool operator==(const ServiceConfig&, const ServiceConfig&) = default;
};

/// One certificate of a listener; PEM files, relative to the file that names them.
struct CertificateConfig {
  std::filesystem::path cert, key;  ///< leaf first, then its chain; its private key
  std::filesystem::path ocsp;       ///< answer of the responder (DER), stapled; empty = none
  friend bool operator==(const CertificateConfig&, const CertificateConfig&) = default;
};
/// Whether clients of a listener are asked who they are: not at all; bad ones are refused; those without one are, too.
enum class ClientCertificates { kOff, kOptional, kRequired };

/// [[listen]] tls: TLS 1.2 and 1.3 towards clients.
struct ListenTlsConfig {
  std::vector<CertificateConfig> certificates;  ///< 1..32; chosen by the name asked for, the first is the default
  std::vector<std::string> alpn{"h2", "http/1.1"};  ///< best first, of these two; empty = no protocol is agreed on
  ClientCertificates client_certificates = ClientCertificates::kOff;
  std::filesystem::path client_ca;              ///< who may have signed them; set exactly when they are asked for
  bool tell_client_certificate = false;         ///< X-Forwarded-Client-Cert to the instance
  std::vector<std::string> curves;              ///< key exchange, best first, of X25519, secp256r1, secp384r1, secp521r1; empty = as the library likes them
  bool tickets = true;                          ///< session tickets; never together with client certificates
  Milliseconds ticket_lifetime{12 * 3600 * 1000};  ///< of a ticket key and its tickets, 1 s .. 7 days
  Milliseconds handshake_timeout{10'000};       ///< accept to the end of the handshake, 100 ms .. 60 s
  friend bool operator==(const ListenTlsConfig&, const ListenTlsConfig&) = default;
};

/// [listen] proxy_protocol: connections that begin by saying for whom they are.
struct ProxyProtocolConfig {
  std::vector<std::string> from;  ///< IP or CIDR literals, or "unix", that must send a header; 1..64
  Milliseconds timeout{3000};     ///< accept to the end of the header, 100 ms .. 60 s
  friend bool operator==(const ProxyProtocolConfig&, const ProxyProtocolConfig&) = default;
};

/// Where requests and connections of a route go: to the one primary, held while there is none, or to whichever instance can take them.
enum class Pool { kPrimary, kAll };

/// [listen] tcp: connections passed on as bytes, by the same rules of health and lease as requests.
struct TcpConfig {
  std::string name;        ///< the same on all agents; 1..64 of [A-Za-z0-9._-]
  std::optional<HostPort> to;  ///< the service beside this agent; absent = there is none here
  Pool pool = Pool::kPrimary;
  Milliseconds hold{5000};          ///< how long a connection waits for a primary, 0 .. 5 min
  Milliseconds connect_timeout{1000};   ///< key `connect`, 1 ms .. 60 s
  Milliseconds idle_timeout{3'600'000}; ///< key `idle`: without a byte either way; 0 = for ever
  std::uint32_t connections_max = 1000; ///< of this agent, 1 .. 1,000,000
  std::uint8_t proxy_protocol = 0;      ///< 1, 2: the service is told the client's address; 0 = off
  bool access_log = true;               ///< its connections are in the access log
  friend bool operator==(const TcpConfig&, const TcpConfig&) = default;
};

/// [[listen.sni]]: a TCP route for TLS clients that come for one of its names; their TLS is not terminated here.
struct SniConfig {
  std::vector<std::string> server_names;  ///< 1..64, in lower case: "db.example.com", "*.example.com"; no two routes share one
  TcpConfig tcp;
  friend bool operator==(const SniConfig&, const SniConfig&) = default;
};

/// [[listen]]: where clients of the service connect.
struct ListenConfig {
  HostPort address;                    ///< required; no two listeners share one
  std::optional<ListenTlsConfig> tls;  ///< absent = plain http
  bool h2c = false;                    ///< HTTP/2 without TLS too, to clients that begin with it; never together with tls
  bool redirect_https = false;         ///< answer every request with its address over https; never together with tls
  std::uint16_t redirect_port = 443;   ///< named in that address unless it is 443
  Milliseconds hsts{0};                ///< max-age of Strict-Transport-Security, whole seconds; 0 = not sent
  bool hsts_subdomains = false;        ///< includeSubDomains; only with hsts
  std::vector<std::string> trusted_proxies;  ///< IP or CIDR literals whose X-Forwarded-* are believed; <= 64
  std::optional<ProxyProtocolConfig> proxy_protocol;  ///< absent = not spoken
  std::optional<TcpConfig> tcp;        ///< absent = requests; never together with what only HTTP has
  std::vector<SniConfig> sni;          ///< <= 64; with some, `tcp` is for names that none of them has
  friend bool operator==(const ListenConfig&, const ListenConfig&) = default;
};

/// Who counts together, and what one agent does when another one that counts a client does not answer.
enum class RateScope { kNode, kCluster };
enum class RateFallbackKind { kShare, kAdmit, kRefuse };

/// [route.rate]: how often clients may use a route. With `burst` a token bucket, without a sliding window.
struct RateConfig {
  std::uint32_t count = 10;  ///< requests, key `limit`, "10/s": 1..500,000 ...
  Milliseconds period{1000};  ///< ... in 1 ms .. 24 h
  std::optional<std::uint32_t> burst;  ///< requests above the rate, 0..500,000; absent = sliding window
  bool nodelay = false;                ///< a burst goes through at once instead of at the rate
  std::string key = "ip";              ///< "ip", "path", "route", "header:NAME", "cookie:NAME"
  std::string zone;                    ///< routes of one zone count together; empty = this route alone
  RateScope scope = RateScope::kNode;  ///< "node": each agent by itself; "cluster": all agents that have the zone
  // Only with scope "cluster".
  Milliseconds timeout{20};            ///< for the agent that counts a client to answer; 1 ms .. 1 s
  RateFallbackKind fallback = RateFallbackKind::kShare;  ///< "share" of the limit, "admit", "refuse" (503)
  friend bool operator==(const RateConfig&, const RateConfig&) = default;
};

/// [route.auth]: digests of secrets, never the secrets; nobody listed = no credentials asked for.
struct AuthConfig {
  std::vector<std::string> tokens;  ///< "sha256:HEX"
  std::vector<std::string> users;   ///< "USER:sha256:SALT:HEX"; <= 64 together with `tokens`
  std::string realm = "outrigger";  ///< shown by browsers that ask for a password
  friend bool operator==(const AuthConfig&, const AuthConfig&) = default;
};

/// [route.queue]: requests that wait while every endpoint has max_conns of the route's kind.
struct QueueConfig {
  std::uint32_t max = 1024;    ///< per worker; 0 = nobody waits; <= 100,000
  Milliseconds timeout{1000};  ///< 1 ms .. 5 min
  friend bool operator==(const QueueConfig&, const QueueConfig&) = default;
};

/// [route.sticky]: requests of one session go to one node.
struct StickyConfig {
  std::string by = "cookie";  ///< "cookie" (ours), "cookie:NAME" (the application's), "header:NAME", "ip"
  Milliseconds ttl{3'600'000};  ///< 1 s .. 7 days without a request
  Milliseconds drain{30'000};   ///< how long sessions stay at a node that drains; 0 = they leave at once; <= 24 h
  std::string zone;             ///< routes of one zone share their sessions; empty = this route alone
  friend bool operator==(const StickyConfig&, const StickyConfig&) = default;
};

/// How an endpoint of an `all` route is chosen: the fewest requests under way for its weight, in turn, the lowest latency
/// under load, or always the same one for a key. proxy/balancer.h has the rules.
enum class BalanceKind { kLeastRequest, kRoundRobin, kPeakEwma, kRingHash };

/// One of the endpoints of an [[upstream]].
struct UpstreamEndpointConfig {
  HostPort address;          ///< never port 0; without `host` while `name` is to be looked up
  std::uint32_t weight = 1;  ///< 0..1000; 0 = no traffic
  Tier tier = Tier::kActive;
  std::string zone;          ///< <= 64 bytes; "" = none
  std::string name{};        ///< host name instead of an IP address, looked up again and again; empty = `address` stands
  [[nodiscard]] std::string text() const;  ///< as written: "10.0.2.1:9000", "broker.example.com:443", "unix:/path"
  friend bool operator==(const UpstreamEndpointConfig&, const UpstreamEndpointConfig&) = default;
};

/// [[upstream]]: addresses that are no agents, asked by each agent itself; routes name it as their pool.
struct UpstreamConfig {
  std::string name;          ///< 1..64 of [A-Za-z0-9._-]; not "primary" or "all"
  std::vector<UpstreamEndpointConfig> endpoints;  ///< 1..64
  BalanceKind balance = BalanceKind::kLeastRequest;  ///< of routes that do not say their own
  std::uint32_t max_conns = 0;                    ///< the same
  std::vector<CheckConfig> checks;                ///< made for each endpoint, the worst counts; none = taken to be well; <= 8
  std::optional<InstanceTlsConfig> tls;           ///< [upstream.tls]; absent = plain; server_name empty = the endpoint's host
  Milliseconds resolve{30'000};                   ///< how often names are looked up again, 1 s .. 24 h
  friend bool operator==(const UpstreamConfig&, const UpstreamConfig&) = default;
};

/// [route.hedge]: a second instance is asked when the first one is later than usual.
struct HedgeConfig {
  std::uint32_t percentile = 95;  ///< of the route's times to the first byte; 50..99
  Milliseconds least{10};         ///< not sooner; 1 ms .. 1 min
  std::uint32_t budget = 5;       ///< percent of the requests of the last 10 s; 1..50
  friend bool operator==(const HedgeConfig&, const HedgeConfig&) = default;
};

/// [[route]]: which requests go to which pool; the first match in file order wins.
struct RouteConfig {
  std::string name;                  ///< for metrics; empty = made from methods, host and path
  std::vector<std::string> methods;  ///< upper case; empty = every method
  std::string path = "/";            ///< starts with '/', without the "=" mark
  bool path_is_exact = false;        ///< written as path = "=/orders"; otherwise a prefix that ends at a segment border
  std::string host;                  ///< lower case, without port; empty = every host
  Pool pool = Pool::kAll;
  std::string upstream;     ///< name of an [[upstream]] that `pool` names; then Pool::kAll; empty = the service
  Milliseconds hold{5000};  ///< how long a `primary` request waits for a primary; 0 = not at all; <= 5 min
  // Keys of [route.timeouts]: connect, first_byte, idle, total.
  Milliseconds connect_timeout{1000};     ///< of one attempt, TCP and TLS; 10 ms .. 5 min
  Milliseconds first_byte_timeout{5000};  ///< request sent to the first byte of the answer; 10 ms .. 1 h
  Milliseconds idle_timeout{60000};       ///< without a byte in either direction; 10 ms .. 24 h
  Milliseconds total_timeout{60000};      ///< head received to the end of the answer; 10 ms .. 24 h
  bool access_log = true;  ///< its requests are in the access log
  std::optional<HedgeConfig> hedge;  ///< only routes to `all`, with retry and without sticky
  bool cancel = false;  ///< its requests only take orders back: most halts let them pass
  bool retry = true;  ///< lets idempotent reads of an `all` route be tried on another endpoint
  std::optional<RateConfig> rate;    ///< absent = no limit
  AuthConfig auth;
  std::vector<std::string> allow, deny;  ///< IP or CIDR literals; deny wins, an empty allow lets all in; <= 64 each
  std::uint32_t concurrency = 0;         ///< requests of the route at a time; 0 = no limit
  std::optional<std::uint64_t> body_max;  ///< bytes of a request's body, 0 .. 1 TiB; absent = proxy.body_bytes_max
  HeadersConfig request_headers, response_headers;  ///< to the instance, to the client
  std::optional<StaticConfig> files;     ///< key `static`; then `pool` says nothing
  std::optional<CompressConfig> compress;  ///< absent = answers go as they are
  std::optional<CacheConfig> cache;      ///< never on routes to the primary
  // Only for routes to `all`.
  BalanceKind balance = BalanceKind::kLeastRequest;
  std::string hash = "ip";               ///< ring_hash: "ip", "path", "header:NAME", "cookie:NAME"
  std::uint32_t hash_load = 125;         ///< ring_hash: percent of its fair part that an endpoint takes; 0 = no bound, else 100..1000
  Milliseconds slow_start{0};            ///< 0 = off; <= 1 h
  bool prefer_zone = false;              ///< endpoints with this agent's node.zone first
  std::uint32_t max_conns = 0;           ///< requests at one endpoint at a time; 0 = no limit
  QueueConfig queue;                     ///< matters with max_conns
  std::optional<BreakerConfig> breaker;  ///< absent = outlier rules alone
  std::optional<StickyConfig> sticky;    ///< absent = requests of one client may go anywhere
  std::optional<IdempotencyConfig> idempotency;  ///< absent = the ledger knows nothing of this route
  friend bool operator==(const RouteConfig&, const RouteConfig&) = default;
};

/// [[egress]]: what the service beside this agent sends out to a broker, only while this agent holds the role.
/// Exactly one of `url`, `connect` and `to` is set; it says how the service speaks to the listener.
struct EgressConfig {
  std::string name;            ///< required; 1..64 of [A-Za-z0-9._-]
  std::string service;         ///< whose; default and only choice: service.name
  HostPort listen;             ///< required; only entries with `url` may share one
  bool insecure = false;       ///< allows a listener that other machines can reach
  std::string url;             ///< "https://api.broker:443/v2", called as /egress/NAME/...
  std::string host, base;      ///< of the url; no '/' at the end of base
  std::uint16_t port = 443;    ///< the same
  std::optional<InstanceTlsConfig> tls;  ///< set exactly with https
  std::string epoch_header;    ///< tells the broker the epoch; empty = it is not told
  std::vector<std::string> inject;   ///< "Name: kv:KEY", "Name: Bearer file:/path"; <= 16
  RouteConfig limits;          ///< what a url has of a route: timeouts, rate, concurrency, max_conns, queue, breaker, retry, body_max
  std::vector<std::string> connect;  ///< "api.broker:443", for HTTPS_PROXY; 1..64 when it is set
  std::string to;              ///< "fix.broker:4001": bytes
  Milliseconds connect_timeout{3000};    ///< connect, to: key `timeout`; 10 ms .. 1 min
  Milliseconds idle_timeout{3'600'000};  ///< connect, to: key `idle`; 0 = for ever; <= 7 days
  std::uint32_t connections_max = 1000;  ///< connect, to: of this agent
  Milliseconds resolve_every{30'000};    ///< names are looked up anew; 1 s .. 1 h
  bool access_log = true;
  friend bool operator==(const EgressConfig&, const EgressConfig&) = default;
};

/// [kernel_permit]: a program that lets the kernel pass what goes to brokers, for a while, and is run again while the lease holds.
struct KernelPermitConfig {
  std::vector<std::string> exec;  ///< argv; "renew TTL_MS EPOCH" or "revoke" is added
  Milliseconds timeout{500};      ///< of one run; 50 ms .. 10 s
  friend bool operator==(const KernelPermitConfig&, const KernelPermitConfig&) = default;
};

/// [proxy.h2]: bounds of one HTTP/2 connection of a client.
struct H2Config {
  std::uint32_t streams = 100;             ///< at a time; 1 .. 1,000
  std::uint64_t stream_window = 65'535;    ///< bytes of one body on their way; 65,535 .. 16 MiB
  std::uint64_t connection_window = 1U << 20;  ///< of all bodies; >= stream_window, <= 64 MiB
  std::uint32_t resets = 200;              ///< streams that end before their answer, in 10 s; 1 .. 1,000,000
  std::uint32_t control_frames = 1000;     ///< SETTINGS, PING and the like, in 10 s; 10 .. 1,000,000
  friend bool operator==(const H2Config&, const H2Config&) = default;
};

/// [proxy.request_id]: what a request is called in logs, at the instance and by the client.
struct RequestIdConfig {
  std::string field = "X-Request-Id";  ///< 1..64 letters, digits and '-'; no field with a meaning of its own
  bool from_anyone = false;            ///< key `accept`: "proxies" (those of listen.trusted_proxies) or "anyone"
  bool to_client = true;               ///< responses of instances carry it; answers of our own always do
  friend bool operator==(const RequestIdConfig&, const RequestIdConfig&) = default;
};

/// Where the access log goes.
enum class LogTarget { kOff, kFile, kStdout, kSyslog };

/// [access_log]: one JSON line per request.
struct AccessLogConfig {
  LogTarget to = LogTarget::kOff;
  std::filesystem::path file;                     ///< default: access.log in node.data_dir
  std::uint64_t file_bytes_max = 10 * 1024 * 1024;  ///< 64 KiB .. 1 TiB
  std::uint32_t files_max = 10;                   ///< the one in use among them; 1..1000
  HostPort syslog{"127.0.0.1", 514, {}};          ///< UDP, or a unix datagram socket
  bool query = false;                             ///< query strings are written; they may hold secrets
  std::uint64_t buffer_bytes = 1 << 20;           ///< key `buffer`, per worker; 64 KiB .. 256 MiB
  friend bool operator==(const AccessLogConfig&, const AccessLogConfig&) = default;
};

/// [tracing]: W3C Trace Context.
struct TracingConfig {
  bool enabled = false;            ///< false: traceparent and tracestate pass through like any field
  bool from_anyone = true;         ///< key `accept`: whose traceparent is gone on with, "anyone" or "proxies"
  std::uint32_t sample_every = 1;  ///< of traces that begin here one in so many is sampled; 0 = none; <= 1,000,000
  // Where spans of sampled requests go: OTLP over HTTP, JSON.
  std::string endpoint;            ///< "http://127.0.0.1:4318/v1/traces"; empty = nowhere
  std::string service_name = "outrigger";  ///< resource attribute service.name; 1..255 bytes
  std::vector<std::string> headers;        ///< "Name: value" of each request to the collector; <= 16
  bool gzip = false;                       ///< requests are compressed
  std::uint32_t batch_spans = 512;         ///< key `batch`; 1..8192
  Milliseconds batch_wait{1000};           ///< how long a span waits for others; 10 ms .. 1 min
  std::uint64_t queue_bytes = 4 << 20;     ///< key `queue`; spans waiting for the collector, 64 KiB .. 256 MiB
  Milliseconds timeout{10'000};            ///< of one request to it; 100 ms .. 5 min
  std::optional<InstanceTlsConfig> tls;    ///< [tracing.tls]; set exactly with https
  friend bool operator==(const TracingConfig&, const TracingConfig&) = default;
};

/// [proxy]: bounds that hold for all listeners and routes. A restart is needed to change any of it.
struct ProxyConfig {
  std::uint32_t threads = 0;                   ///< 0 = one per core; <= 256
  std::uint64_t header_bytes_max = 32 * 1024;  ///< 1 KiB .. 1 MiB
  std::uint64_t body_bytes_max = 50ULL << 20;  ///< of routes that do not say body_max; 0 .. 1 TiB
  std::uint32_t upstream_requests_max = 0;     ///< requests over one connection to an endpoint; 0 = no limit; <= 1,000,000,000
  std::uint32_t client_requests_max = 0;       ///< the same over one of an HTTP/1 client
  std::uint32_t connections_max = 10000;       ///< downstream, over all workers; 1 .. 1,000,000
  std::uint32_t compress_streams_max = 256;    ///< responses packed at a time, 270 KiB each, over all workers; 1 .. 100,000
  std::uint64_t cache_bytes_max = 64ULL << 20; ///< of all routes that keep answers; 1 MiB .. 1 TiB
  std::uint32_t cache_entries_max = 10000;     ///< 1 .. 10,000,000
  Milliseconds head_timeout{10000};            ///< first byte of a request to the end of its head; 100 ms .. 5 min
  std::uint64_t client_rate_min = 240;         ///< bytes/s of a body sent or an answer taken; 0 = off; <= 1 GiB
  Milliseconds client_rate_window{20000};      ///< over which it is measured; 100 ms .. 10 min
  H2Config h2;                                 ///< [proxy.h2]
  RequestIdConfig request_id;                  ///< [proxy.request_id]
  std::uint64_t trail_bytes = 0;               ///< key `trails`, per worker: what `why` knows; 0 = nothing, else 16 KiB .. 64 MiB
  Milliseconds retire_timeout{60000};          ///< what a process that has handed over still serves its clients; 0 .. 24 h
  friend bool operator==(const ProxyConfig&, const ProxyConfig&) = default;
};

/// Who may have a check run a program as this agent's user.
enum class CheckScripts : std::uint8_t {
  kNone,   ///< nobody
  kFiles,  ///< settings files of this agent alone
  kLocal,  ///< those, and whoever reaches the API from this machine
};

/// [catalog]: the registry of services behind /v1/agent, /v1/catalog, /v1/health and DNS.
struct CatalogConfig {
  CheckScripts check_scripts = CheckScripts::kFiles;
  std::string server_service = "consul";  ///< name of the service whose instances are our agents; "" = none
  friend bool operator==(const CatalogConfig&, const CatalogConfig&) = default;
};

/// One of [[services]] or [[checks]], as the JSON that would register it at /v1/agent, names of fields in snake_case.
/// Whoever knows registrations checks it (ConfigSource::check_registration).
struct RegistrationText {
  std::string json;
  std::string place;  ///< "file:line" for messages
  friend bool operator==(const RegistrationText&, const RegistrationText&) = default;
};
enum class RegistrationKind { kService, kCheck };  ///< which of the two a RegistrationText is

/// A checked set of settings. Values are plain data: copy it, keep it, hand parts on.
struct Config {
  NodeConfig node;
  ApiConfig api;
  DnsConfig dns;
  MeshConfig mesh;
  RaftConfig raft;
  std::optional<ServiceConfig> service; ///< absent = an agent without instance
  std::optional<ArmingConfig> arming;   ///< absent = a primary is armed at once
  std::vector<ListenConfig> listeners;  ///< <= 64
  std::vector<UpstreamConfig> upstreams;  ///< <= 64
  std::vector<RouteConfig> routes;      ///< <= 1024; never empty when `service` or `listeners` is set (default routes)
  std::vector<EgressConfig> egress;     ///< <= 64
  std::optional<KernelPermitConfig> kernel_permit;  ///< absent = the kernel lets everything pass
  ProxyConfig proxy;
  OutlierConfig outlier;                ///< of every pool
  std::optional<GuardConfig> guard;     ///< absent = nobody is banned
  std::vector<NamedBreakerConfig> breakers;  ///< <= 64
  AccessLogConfig access_log;
  TracingConfig tracing;
  HaltConfig halt;
  CatalogConfig catalog;
  bool faults_allowed = false;          ///< key demo.faults: for demonstrations on loopback only
  std::vector<RegistrationText> services, node_checks;  ///< [[services]], [[checks]]; <= 1024 each
  std::vector<std::filesystem::path> files;  ///< what was read, in order, for the log line at start
  std::vector<std::string> warnings;         ///< what was passed over in Consul's files, a sentence each
};

/// One thing that is wrong, with the place to mend it.
struct ConfigProblem {
  std::string source;        ///< file path as given, "environment" or "command line"
  std::uint32_t line = 0;    ///< from 1; 0 = the source has no lines
  std::uint32_t column = 0;  ///< from 1, in code points; 0 = unknown
  std::string key;           ///< dotted, e.g. "service.lease", "route[0].pool"; empty for syntax errors
  std::string message;       ///< what is wrong
  std::string hint;          ///< what to do, with the nearest valid key or value; may be empty

  /// "file:line:column: key: message; hint"
  [[nodiscard]] std::string text() const;
};

/// Values from outside the files, handed in by main so that loading itself is repeatable.
struct ConfigSource {
  std::optional<std::filesystem::path> file;       ///< must exist when given; `conf.d/*.toml` beside it is read too
  std::optional<std::filesystem::path> folder;     ///< its *.toml and *.json are read after that, in order of names
  std::map<std::string, std::string> environment;  ///< all variables; those that begin with OUTRIGGER_ are ours
  std::vector<std::pair<std::string, std::string>> flags;  ///< dotted key and value text; repeated lists append
  std::map<std::string, std::string> flag_names;  ///< dotted key -> flag as typed ("--api"), for messages; optional
  /// Says what is wrong with a health condition (drivers/json_assert knows the grammar, this library does not); nullopt
  /// = fine. Empty = conditions are taken as they are.
  std::function<std::optional<std::string>(std::string_view)> check_assert;
  /// Says what is wrong with one of [[services]] or [[checks]] (see RegistrationText); nullopt = fine. Empty = they are
  /// taken as they are.
  std::function<std::optional<std::string>(std::string_view, RegistrationKind)> check_registration;
  /// Load what TLS needs and say what is wrong with it, the file included; nullopt = fine. Empty = taken as it is.
  std::function<std::optional<std::string>(const ListenTlsConfig&)> check_listen_tls{};
  std::function<std::optional<std::string>(const InstanceTlsConfig&)> check_instance_tls{};
  /// Says what is wrong with one line of the headers of a route; nullopt = fine. Empty = taken as it is.
  std::function<std::optional<std::string>(std::string_view, HeaderChange)> check_header{};
  std::string host_name = "localhost";  ///< default of node.name
  bool take_over = false;               ///< go on where an agent runs on the same data directory; no setting, since it is for one start
  std::vector<std::string> command{};   ///< what starts this program with these arguments, to take over; empty = unknown
};

/// Reads, merges and checks. Variables OUTRIGGER_API and OUTRIGGER_CONFIG belong to the command line and are skipped.
/// Environment names: OUTRIGGER_<SECTION>_<KEY>, e.g. OUTRIGGER_RAFT_BOOTSTRAP_EXPECT, OUTRIGGER_SERVICE_HEALTH_PATH;
/// lists are comma-separated. [[listen]], [[upstream]], [[route]], [[services]] and [[checks]] of later files are appended, everything else is replaced.
/// @return the settings, or every problem found (at least one, at most 100), in order of source and line.
[[nodiscard]] tl::expected<Config, std::vector<ConfigProblem>> load_config(const ConfigSource& source);

/// The same for one TOML text without conf.d and environment: for tests, fuzzing and `validate -`.
/// @param name  stands in problems as the source; one that ends in ".json" says that the text has Consul's keys
[[nodiscard]] tl::expected<Config, std::vector<ConfigProblem>> parse_config(std::string_view toml, std::string_view name);

/// The candidate that needs the fewest single-letter edits (swaps count one) from `word`; empty when none is near
/// (more than a third of the word's letters, at least 2).
[[nodiscard]] std::string nearest_word(std::string_view word, std::span<const std::string> candidates);

/// Every scalar and list key that the file may hold, dotted, sorted ("route[].pool"): for completion and docs tests.
[[nodiscard]] std::vector<std::string> config_keys();

}  // namespace agent
