#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "agent/api/error.h"

/// The agent as the HTTP API sees it: one abstract interface, implemented by agent/agent.cc and by fakes in tests.
/// Plain structs, no type of gossip, store or proxy, so that the API's JSON does not change when they do.
/// Thread: the control loop, in both directions.
namespace agent::api {

using Milliseconds = std::chrono::milliseconds;

enum class Index : std::uint64_t {};    ///< applied index of the replicated state; 0 = before the first entry
enum class NodeId : std::uint64_t {};   ///< Raft id of an agent; 0 = nobody
enum class Epoch : std::uint64_t {};    ///< fencing token; 0 = never held
enum class WatchId : std::uint64_t {};  ///< a registered wait; 0 = none

/// Runs exactly once per call, unless the Backend is destroyed first; never inside the call that handed it over.
template <typename T>
using Completion = std::function<void(Result<T>)>;

// --- reads of the replicated state -------------------------------------------------------------------------------

/// How fresh a read has to be (docs: api.md "Consistency").
enum class ReadMode {
  kDefault,     ///< leader under its own lease
  kConsistent,  ///< after a quorum round that began after the request
  kStale,       ///< whatever this agent has; works without a leader
};
/// How the local state stands, for X-Consul-KnownLeader and X-Consul-LastContact.
struct ReadInfo {
  Index applied{};  ///< index that the local state has reached
  bool known_leader = false;
  Milliseconds last_contact{0};  ///< since this agent last heard from the leader; 0 on the leader
};

struct KvEntry {
  std::string key;          ///< any bytes but NUL, at most 1 KiB
  std::string value;        ///< any bytes, at most 512 KiB
  std::uint64_t flags = 0;  ///< opaque to us; full 64 bits
  Index create_index{}, modify_index{};
  std::uint64_t lock_index = 0;  ///< Consul's counter of acquisitions; 0 = never locked
  std::string session;           ///< holder of the lock; empty = not locked
};
/// `entries` sorted by key in byte order.
struct KvAnswer {
  std::vector<KvEntry> entries;
  Index index{};  ///< one key: its ModifyIndex; missing or prefix: last change below it (deletes count), at least 1
};

/// One change of the KV space.
struct KvWrite {
  enum class Kind { kSet, kCas, kDelete, kDeleteCas, kDeleteTree, kLock, kUnlock };
  Kind kind = Kind::kSet;
  std::string key;  ///< for kDeleteTree a prefix; may be empty there (= everything)
  std::string value;
  std::uint64_t flags = 0;
  Index cas{};            ///< kCas: expected ModifyIndex, 0 = the key must not exist; kDeleteCas: > 0
  std::string session{};  ///< kLock, kUnlock: who takes the key or gives it back, writing `value` and `flags` with it
};
struct KvWritten {
  bool applied = false;  ///< false: a CAS that lost, a key that another session holds; anything else is an Error
  Index index{};         ///< index of the log entry that decided it
  /// Set, CAS, lock, unlock that applied: the ModifyIndex under which the key holds what was written. Smaller than
  /// `index` when the same was there already. 0 otherwise.
  Index modify{};
};
/// Keys below it are made up on reading, one per election: who holds it and under which epoch. Nobody may write them.
inline constexpr std::string_view kDerivedPrefix = "outrigger/election/";
/// Approvals and the state of arming: kept there, written by the agents alone, since an approval is audited before it counts.
inline constexpr std::string_view kArmingPrefix = "outrigger/arming/";
[[nodiscard]] inline bool is_read_only(std::string_view key) { return key.starts_with(kDerivedPrefix) || key.starts_with(kArmingPrefix); }

// --- who is there ------------------------------------------------------------------------------------------------

enum class MemberState { kAlive, kSuspect, kLeaving, kLeft, kDead };

struct MemberInfo {
  std::string name;
  std::string id;  ///< 128-bit node id, 32 hex digits
  NodeId raft_id{};
  std::string address;  ///< IP literal
  std::uint16_t gossip_port = 0, mesh_port = 0;
  std::string api_address;  ///< "ip:port" of its API; empty when local to that machine only
  MemberState state = MemberState::kAlive;
  std::uint64_t incarnation = 0;
  std::vector<std::string> accusers;  ///< who suspects it, as far as this agent knows
  std::optional<Milliseconds> rtt;    ///< smoothed; nullopt = not measured
  bool mesh_connected = false;        ///< a mesh stream to it is up
  std::map<std::string, std::string> tags;
};

struct SelfInfo {
  std::string name, id;  ///< as in MemberInfo
  NodeId raft_id{};
  std::string version;     ///< "0.1.0"
  std::string cluster;     ///< label; shown to Consul clients as the datacenter, "dc1" when empty
  std::string cluster_id;  ///< 32 hex digits; empty before the cluster is formed or joined
  std::string zone;
  std::string api_address, mesh_address, gossip_address;  ///< as bound, "ip:port"
  Milliseconds uptime{0};
  bool draining = false;
};

// --- the store ---------------------------------------------------------------------------------------------------

struct RaftPeer {
  NodeId id{};
  std::string name, address;  ///< address "ip:port" of its mesh listener; empty when it is not known now
  bool is_voter = false, is_leader = false;
  std::optional<std::uint64_t> match_index;  ///< leader only
  std::optional<Milliseconds> last_contact;  ///< leader only
  /// What one synced write takes on its disk; own figure always, those of others at the leader and after figures().
  std::optional<std::chrono::microseconds> fsync_p50{}, fsync_p99{};
};
struct RaftInfo {
  NodeId self{}, leader{};     ///< leader 0 = unknown
  std::string leader_address;  ///< mesh "ip:port"; empty without leader
  std::string role;            ///< "leader", "follower", "candidate", "pre_candidate", "learner", "waiting"
  std::uint64_t term = 0, first_index = 0, last_index = 0, commit_index = 0, applied_index = 0;
  std::vector<RaftPeer> peers;       ///< the configuration, self included, by id
  std::vector<std::string> missing;  ///< voters that do not answer, by name; for "no quorum" messages
  std::string disk_space = "plenty";  ///< of this agent: "plenty", "low", "full"
};

// --- the primary -------------------------------------------------------------------------------------------------

/// `GET /outrigger/v1/role`: what this agent's instance should do.
struct RoleInfo {
  std::string service;        ///< empty: no service is configured and `role` is "none"
  std::string role = "none";  ///< "primary", "standby", "none"
  bool serving = false;       ///< primary, and not handing over
  bool armed = true;          ///< primary: it may be given new orders
  std::string unarmed_reason{};  ///< what is waited for with armed = false
  Epoch epoch{};              ///< of the current (or last) holder
  NodeId holder{};            ///< 0 = nobody
  std::string holder_name;
  std::string self_name;
  std::string instance;  ///< "unknown", "passing", "degraded", "critical", "gone"
  bool draining = false;
  std::int64_t since_ms = 0;  ///< wall clock (Unix ms) of the last change of role or epoch here; for people only
  Milliseconds valid_for{0};  ///< rest of the own lease; 0 when not primary
  /// Strictly grows with every change of role, serving, epoch, holder, instance or draining here and never falls while
  /// the agent lives (the change of a lease in the state raises it at least to that entry's index).
  Index index{};
};

struct ElectionInfo {
  std::string name;
  Epoch epoch{};
  NodeId holder{};  ///< 0 = vacant
  std::string holder_name;
  NodeId preferred{};  ///< whom the last holder asked for; 0 = anyone
  Milliseconds lease{0};
  Index index{};  ///< last change in the replicated state, at least 1
};
/// What a client asks of an election.
struct ElectionCommand {
  enum class Kind {
    kSwitchover,  ///< holder gives it to `target` (empty = anyone else), waiting for requests in flight
    kRelease,     ///< holder gives it up and anyone (itself too) may take it
    kCampaign,    ///< a client without agent wants it under `holder` for `lease`
    kRenew,       ///< ... prolongs it, under `epoch`
    kResign,      ///< ... gives it up, under `epoch`
  };
  Kind kind = Kind::kRelease;
  std::string name;
  std::string target;     ///< member name; kSwitchover
  std::string holder;     ///< client's own name; kCampaign, kRenew, kResign
  Epoch epoch{};          ///< kRenew, kResign; stale = kConflict
  Milliseconds lease{0};  ///< kCampaign; 100 ms .. 60 s, checked by the API
};

// --- proxy and health --------------------------------------------------------------------------------------------

struct EndpointInfo {
  std::string name;     ///< agent that owns the instance
  std::string address;  ///< of the instance when local, of the peer agent otherwise
  bool is_local = false, is_backup = false, draining = false;
  std::string health;  ///< "unknown", "passing", "degraded", "critical"
  std::string reason;  ///< of the last change of health or ejection; <= 256 bytes
  std::uint32_t weight = 1;
  Milliseconds ejected_for{0};  ///< rest of a passive ejection; 0 = in rotation
  std::uint64_t in_flight = 0, requests = 0, failures = 0;
  std::uint64_t idle_connections = 0;
  std::string breaker;            ///< the worst of any route: "closed", "open", "half_open"; empty = no route has one
  double ewma_ms = 0;             ///< latency as peak_ewma sees it; 0 = no route balances by it, or nothing came
  double p50_ms = 0, p95_ms = 0, p99_ms = 0;  ///< of its responses, to 1 %
  std::string checks;             ///< of the own instance: "3 of 120 failed"; empty for others, whose word gossip brings
};
struct UpstreamInfo {
  std::string service;
  std::vector<EndpointInfo> endpoints;
  std::uint64_t held = 0;  ///< requests waiting for a primary now
  std::size_t workers_missing = 0;  ///< that do not answer: theirs are the figures that they told last
};

/// One check behind health/live or health/ready.
struct HealthItem {
  std::string name;  ///< "store", "gossip", "instance", "leader", ...
  bool ok = false;
  std::string detail;
};

struct MetricSample {
  std::vector<std::pair<std::string, std::string>> labels;
  double value = 0;                                       ///< counter, gauge; histogram: sum
  std::vector<std::pair<double, std::uint64_t>> buckets;  ///< histogram: upper bound, cumulative count; +Inf last
};
struct MetricFamily {
  enum class Type { kCounter, kGauge, kHistogram };
  std::string name;  ///< "outrigger_..."; counters end in "_total"
  std::string help;
  Type type = Type::kGauge;
  std::vector<MetricSample> samples;
};

// --- waiting -----------------------------------------------------------------------------------------------------

/// What a blocking query or an event stream waits for.
struct Topic {
  enum class Kind {
    kKey,       ///< one KV key, existing or not
    kPrefix,    ///< everything below it
    kElection,  ///< name of an election
    kRole,      ///< RoleInfo of this agent; `name` unused
    // Of the catalog (catalog_backend.h): what the read of the same name answers.
    kNodes,     ///< the list of nodes; `name` unused
    kNode,      ///< one node with its services and checks
    kServices,  ///< the names and tags of all services; `name` unused
    kService,   ///< the instances of one service, with their nodes and checks
    kChecks,    ///< every check; `name` unused
    kEvents,    ///< the list of events; `name` unused
    // Of sessions (session_backend.h).
    kSession,       ///< one session by id
    kSessions,      ///< all of them; `name` unused
    kNodeSessions,  ///< those of one node
    kFeed,          ///< requests as they end; `name` is RequestFeed::name (request_backend.h)
  };
  Kind kind = Kind::kRole;
  std::string name;
};

class CatalogBackend;  // catalog_backend.h
class SessionBackend;  // session_backend.h
class OperatorBackend;  // operator_backend.h
class RequestBackend;  // request_backend.h
class OrderBackend;    // order_backend.h
class FlightBackend;  // flight_backend.h
class TrafficBackend;  // traffic_backend.h

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  /// Completes when the local state may be read under `mode`. Errors: kNoLeader, kNoQuorum, kTimeout, kBusy, kStopping.
  virtual void read_barrier(ReadMode mode, Completion<ReadInfo> done) = 0;
  /// How the local state stands now; for answers that took no barrier.
  [[nodiscard]] virtual ReadInfo read_info() const = 0;
  /// Reads the local state as it is. One key, or everything that begins with `prefix`.
  [[nodiscard]] virtual KvAnswer kv_get(const std::string& key) const = 0;
  [[nodiscard]] virtual KvAnswer kv_list(const std::string& prefix) const = 0;
  /// The `index` that kv_get or kv_list would answer, without copying entries.
  [[nodiscard]] virtual Index kv_index(const Topic& topic) const = 0;
  /// Errors: kNoLeader (not written), kOutcomeUnknown, kBusy, kTooLarge, kStopping, kInternal; kLock and kUnlock also
  /// kRefused (no such session).
  virtual void kv_write(KvWrite write, Completion<KvWritten> done) = 0;

  /// Calls `woken` once, as soon as the topic's index is above `after` (at once, but not inside this call, when it is
  /// already). Early calls are allowed, missed ones are not. @return nullopt when the table of waits is full.
  virtual std::optional<WatchId> watch(const Topic& topic, Index after, std::function<void()> woken) = 0;
  /// Forgets a wait; its `woken` will not run any more. Unknown or already woken ids are ignored.
  virtual void unwatch(WatchId id) = 0;

  [[nodiscard]] virtual SelfInfo self() const = 0;
  [[nodiscard]] virtual std::vector<MemberInfo> members() const = 0;  ///< self included, by name
  [[nodiscard]] virtual RaftInfo raft() const = 0;
  [[nodiscard]] virtual RoleInfo role() const = 0;
  [[nodiscard]] virtual std::optional<ElectionInfo> election(const std::string& name) const = 0;
  /// Completes with the state after the command. Errors also: kConflict, kNotFound, kUnsupported, kBadRequest.
  virtual void election_command(ElectionCommand command, Completion<ElectionInfo> done) = 0;
  /// Counters come from the workers, hence the completion.
  virtual void upstreams(Completion<std::vector<UpstreamInfo>> done) = 0;
  virtual void metrics(Completion<std::vector<MetricFamily>> done) = 0;
  /// What the instance itself tells, as text for Prometheus with a label `node` in each series; empty: nothing. Never an error.
  virtual void app_metrics(Completion<std::string> done) { done(std::string()); }
  [[nodiscard]] virtual std::vector<HealthItem> live() const = 0;  ///< all ok = 200, otherwise 503
  [[nodiscard]] virtual std::vector<HealthItem> ready() const = 0;

  /// Nodes, services, checks and events; lives as long as the backend. nullptr: this one has none.
  [[nodiscard]] virtual CatalogBackend* catalog() { return nullptr; }
  /// Sessions, transactions, changes and quotas; lives as long as the backend. nullptr: this one has none.
  [[nodiscard]] virtual SessionBackend* sessions() { return nullptr; }
  /// Snapshots and the hand on the voters; nullptr = not offered.
  [[nodiscard]] virtual OperatorBackend* operators() { return nullptr; }
  /// Single requests and what routes count; nullptr = not offered.
  [[nodiscard]] virtual RequestBackend* requests() { return nullptr; }
  /// Orders under keys, and arming; nullptr = not offered.
  [[nodiscard]] virtual OrderBackend* orders() { return nullptr; }
  [[nodiscard]] virtual FlightBackend* flight() { return nullptr; }  ///< incidents, and faults on purpose
  /// null = this agent has no proxy.
  [[nodiscard]] virtual TrafficBackend* traffic() { return nullptr; }

  /// Contacts seeds, "ip:port" or "name:port" (port may be missing). Completes with how many answered; kUnavailable if
  /// 0.
  virtual void join(std::vector<std::string> addresses, Completion<std::size_t> done) = 0;
  /// Releases the lease, tells the cluster, then stops the agent; completes before the process ends.
  virtual void leave(Completion<std::monostate> done) = 0;
  /// true: yield the primary role, take no new downstream requests; completes when none is in flight. false: undo.
  virtual void drain(bool enable, Completion<std::monostate> done) = 0;
};

}  // namespace agent::api
