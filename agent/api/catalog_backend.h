#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/api/backend.h"

/// Nodes, services, checks and events as the HTTP API and the DNS server see them.
/// The catalog is replicated state; one row has one owner, the agent of its node. What is read here is this agent's copy.
/// CatalogView reads, CatalogBackend also writes; both are implemented by agent/backend_catalog and by fakes in tests.
/// Thread: the control loop.
namespace agent::api {

enum class CheckStatus : std::uint8_t { kPassing, kWarning, kCritical };  ///< ordered: the greater, the worse
[[nodiscard]] std::string_view to_string(CheckStatus status);             ///< "passing", "warning", "critical"
/// Exact, lower case. nullopt: none of the three.
[[nodiscard]] std::optional<CheckStatus> parse_check_status(std::string_view text);

// --- what the catalog holds --------------------------------------------------------------------------------------

struct Node {
  std::string name;
  std::string id;       ///< UUID text; empty for external nodes that gave none
  std::string address;  ///< IP literal, or whatever an external node's owner registered
  std::map<std::string, std::string> tagged_addresses, meta;
  Index create_index{}, modify_index{};
};

struct ServiceAddress {
  std::string address;
  std::uint16_t port = 0;
  friend bool operator==(const ServiceAddress&, const ServiceAddress&) = default;
};

/// One instance of a service. Identity: (node, id).
struct Service {
  std::string node;
  std::string id, name;
  /// As registered, and behind them "primary" or "replica" when an election of the service's name has been held: the
  /// instance on the holder's node is the primary. Derived on reading, never stored.
  std::vector<std::string> tags;
  std::string address;  ///< empty = the node's address
  std::uint16_t port = 0;
  std::map<std::string, std::string> meta;
  std::map<std::string, ServiceAddress> tagged_addresses;
  std::uint32_t weight_passing = 1, weight_warning = 1;
  bool enable_tag_override = false;
  Index create_index{}, modify_index{};
};

/// Checks that maintenance mode is made of: critical as long as it lasts.
inline constexpr std::string_view kNodeMaintenance = "_node_maintenance";
inline constexpr std::string_view kServiceMaintenance = "_service_maintenance:";  ///< and the id of the service
/// What gossip knows of the node's agent, as a check.
inline constexpr std::string_view kSerfHealth = "serfHealth";

/// What a check does. A check without kind is only a status that somebody else keeps.
struct CheckDefinition {
  enum class Kind : std::uint8_t { kNone, kTtl, kHttp, kTcp, kExec, kMaintenance };
  Kind kind = Kind::kNone;
  Milliseconds ttl{0};       ///< kTtl
  std::string target;        ///< kHttp: URL; kTcp: "host:port"
  std::string method;        ///< kHttp; empty = GET
  std::string body;          ///< kHttp
  std::map<std::string, std::vector<std::string>> header;  ///< kHttp
  bool tls_skip_verify = false;                            ///< kHttp: any certificate will do
  std::string tls_server_name;                             ///< kHttp: name that it must carry; empty = the URL's host
  bool disable_redirects = false;                          ///< kHttp: a redirect is the answer
  std::vector<std::string> args;                           ///< kExec; args[0] absolute or found in PATH
  Milliseconds interval{0}, timeout{0};                    ///< timeout 0 = the default of the kind
  std::uint32_t success_before_passing = 0;    ///< good results in a row until it is passing; 0 as 1
  std::uint32_t failures_before_critical = 0;  ///< bad results in a row until it is critical; 0 as 1
  Milliseconds deregister_after{0};            ///< critical for so long: its service is removed; 0 = never
  bool from_file = false;                      ///< comes from a settings file of its node and goes with it
  friend bool operator==(const CheckDefinition&, const CheckDefinition&) = default;
};
[[nodiscard]] std::string_view to_string(CheckDefinition::Kind kind);  ///< "", "ttl", "http", "tcp", "script", "maintenance"

/// Identity: (node, id).
struct Check {
  std::string node;
  std::string id, name, notes;
  CheckStatus status = CheckStatus::kCritical;
  std::string output;                                ///< <= 4 KiB; of the last change of status, newest at the owner
  std::string service_id, service_name;              ///< both empty: a check of the node, which counts for everything on it
  std::vector<std::string> service_tags;             ///< as registered, without derived ones
  CheckDefinition definition;
  Index create_index{}, modify_index{};
};

/// What discovery answers with: where it is, what it is, how it feels.
struct ServiceInstance {
  Node node;
  Service service;
  std::vector<Check> checks;  ///< of the node first ("serfHealth" at the front), then its own, each by id
  /// Worst of all checks; passing without any.
  [[nodiscard]] CheckStatus status() const;
  [[nodiscard]] bool has_tag(std::string_view tag) const;
  [[nodiscard]] const std::string& address() const { return service.address.empty() ? node.address : service.address; }
};

/// One node with everything on it.
struct NodeServices {
  Node node;
  std::vector<Service> services;  ///< by id
  std::vector<Check> checks;      ///< of the node and its services, by id
};

/// An event that somebody fired. Ordered and replicated; the last kEventsMax are kept.
struct Event {
  static constexpr std::size_t kEventsMax = 256;
  std::string id;    ///< UUID
  std::string name;  ///< 1..128 bytes
  std::string payload;
  std::string node_filter, service_filter, tag_filter;  ///< regular expressions; empty = everyone
  Index index{};  ///< log entry: grows from event to event; shown as LTime
};

/// A value and the index of its last change: what a blocking query waits to pass. Never 0, never goes back.
template <typename T>
struct Indexed {
  T value{};
  Index index{};
};

/// Reads of the local copy. Names of nodes and services are compared without regard to ASCII case, tags exactly.
class CatalogView {
 public:
  CatalogView() = default;
  CatalogView(const CatalogView&) = delete;
  CatalogView& operator=(const CatalogView&) = delete;
  virtual ~CatalogView() = default;

  /// By name.
  [[nodiscard]] virtual Indexed<std::vector<Node>> nodes() const = 0;
  /// nullopt: no such node; the index is then above that of its removal.
  [[nodiscard]] virtual Indexed<std::optional<NodeServices>> node(const std::string& name) const = 0;
  /// Names of all services with the union of their tags, sorted.
  [[nodiscard]] virtual Indexed<std::map<std::string, std::vector<std::string>>> services() const = 0;
  /// All instances, healthy or not, by node and id: every caller meets the same order. Empty: no such service.
  [[nodiscard]] virtual Indexed<std::vector<ServiceInstance>> instances_of(const std::string& service) const = 0;
  /// Checks of one service's instances.
  [[nodiscard]] virtual Indexed<std::vector<Check>> checks_of(const std::string& service) const = 0;
  /// All checks in `status` (nullopt = any), by node and id.
  [[nodiscard]] virtual Indexed<std::vector<Check>> checks_in(std::optional<CheckStatus> status) const = 0;
  /// The kept events, oldest first.
  [[nodiscard]] virtual Indexed<std::vector<Event>> events() const = 0;
  /// The index that the read of this topic would answer, without copying anything. Only kinds of the catalog.
  [[nodiscard]] virtual Index catalog_index(const Topic& topic) const = 0;
};

// --- commands ----------------------------------------------------------------------------------------------------

struct CheckRegistration {
  std::string id, name, notes;
  std::string service_id;             ///< empty: a check of the node
  std::optional<CheckStatus> status;  ///< to begin with; nullopt = critical, or what a check of that id has already
  CheckDefinition definition;
};

/// `service.node` and the indexes are not used. Ids of checks are filled in: no two equal.
struct ServiceRegistration {
  Service service;
  std::vector<CheckRegistration> checks;
  bool replace_existing_checks = false;  ///< checks of the service that are not named here go
};

/// Rows of a node that no agent of ours owns. Exactly as Consul's catalog/register.
struct CatalogRegistration {
  Node node;
  bool skip_node_update = false;   ///< the node must exist; only what is below changes
  std::optional<Service> service;
  std::vector<Check> checks;       ///< status and output as given
};
/// Both ids empty: the node with everything on it.
struct CatalogDeregistration {
  std::string node, service_id, check_id;
};

struct EventFire {
  std::string name, payload, node_filter, service_filter, tag_filter;
};

/// What a reload of the settings did.
struct ReloadReport {
  std::vector<std::string> applied;        ///< dotted keys that are in force now
  std::vector<std::string> needs_restart;  ///< dotted keys that differ and wait for the next start
  std::vector<std::string> problems;       ///< not empty: the new settings are refused, everything runs on as before
};

/// Who may register a check that runs a program (setting catalog.check_scripts).
enum class ScriptPolicy : std::uint8_t { kNone, kFiles, kLocal };

/// Commands about this agent's own rows and about the whole catalog. A command is done when it is committed.
/// Errors of all: kNoLeader, kNoQuorum, kTimeout, kBusy, kStopping, kTooLarge.
class CatalogBackend : public CatalogView {
 public:
  using Done = Completion<std::monostate>;

  /// This agent's own node with the newest output of its checks.
  [[nodiscard]] virtual NodeServices local() const = 0;
  [[nodiscard]] virtual ScriptPolicy script_policy() const = 0;

  /// Also: kBadRequest, kConflict (the id belongs to the instance of [service]).
  virtual void register_service(ServiceRegistration registration, Done done) = 0;
  /// Also: kNotFound.
  virtual void deregister_service(const std::string& id, Done done) = 0;
  /// Also: kNotFound (its service is not registered here), kBadRequest.
  virtual void register_check(CheckRegistration registration, Done done) = 0;
  /// Also: kNotFound.
  virtual void deregister_check(const std::string& id, Done done) = 0;
  /// Result of a TTL check of this agent. Also: kNotFound; kInternal (no TTL check, as Consul answers it).
  virtual void update_check(const std::string& id, CheckStatus status, std::string output, Done done) = 0;
  /// `service_id` empty: the whole node. Also: kNotFound.
  virtual void set_maintenance(const std::string& service_id, bool enable, std::string reason, Done done) = 0;

  /// Also: kBadRequest, kNotFound, kConflict (the node is an agent of ours).
  virtual void catalog_register(CatalogRegistration registration, Done done) = 0;
  virtual void catalog_deregister(CatalogDeregistration deregistration, Done done) = 0;

  virtual void fire_event(EventFire event, Completion<Event> done) = 0;

  /// Pushes a member that is dead or gone out of gossip and catalog. Also: kNotFound, kConflict (it is alive and we may
  /// not leave in its place).
  virtual void force_leave(const std::string& node, Done done) = 0;
  /// Reads the settings again and puts into force what can be changed while running.
  virtual void reload(Completion<ReloadReport> done) = 0;
};

}  // namespace agent::api
