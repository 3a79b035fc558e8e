#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "agent/api/api.h"
#include "agent/api/catalog_backend.h"
#include "agent/api/session_backend.h"

namespace agent::api {

/// A store of one process with the contract of Backend: completions never run inside the call, but in settle().
class FakeBackend final : public Backend, public SessionBackend {
 public:
  // --- what a test sets ---
  ReadInfo info{Index{1}, true, Milliseconds(0)};
  SelfInfo self_info;
  RaftInfo raft_info;
  RoleInfo role_info;
  std::vector<MemberInfo> member_list;
  std::map<std::string, ElectionInfo> elections;
  std::vector<UpstreamInfo> upstream_list;
  std::vector<MetricFamily> metric_list;
  std::vector<HealthItem> live_items, ready_items;
  std::map<std::string, SessionInfo> session_rows;
  std::set<std::string> held_back;  ///< keys under a lock-delay
  UsageInfo usage_info;
  Index feed_floor{};            ///< changes up to here are forgotten
  std::optional<Error> failure;  ///< what every completion answers, instead of its value
  std::size_t watches_max = 100000;
  CatalogBackend* catalog_backend = nullptr;  ///< what catalog() answers
  OrderBackend* order_backend = nullptr;      ///< what orders() answers
  FlightBackend* flight_recorder = nullptr;   ///< what flight() answers
  RequestBackend* request_backend = nullptr;  ///< what requests() answers

  // --- what a test looks at ---
  std::vector<ReadMode> barriers;
  std::vector<KvWrite> writes;
  std::vector<ElectionCommand> commands;
  std::vector<std::vector<std::string>> joins;
  std::vector<bool> drains;
  std::vector<SessionSpec> specs;
  std::vector<std::string> renewed;
  std::vector<std::vector<TxnOp>> transactions;
  std::vector<QuotaInfo> quotas_set;
  int leaves = 0;
  std::size_t watch_count() const { return watches_.size(); }

  /// Runs what has been completed, and what that completes, until nothing is left.
  void settle() {
    while (!due_.empty()) {
      auto run = std::move(due_.front());
      due_.pop_front();
      run();
    }
  }
  std::size_t due() const { return due_.size(); }
  /// For parts of the fake that live elsewhere: runs `what` in settle(), and looks whether somebody's wait is over.
  void post(std::function<void()> what) { due_.push_back(std::move(what)); }
  void wake_waits() { wake(); }

  /// Changes a key behind the API's back and wakes its waits.
  Index set(const std::string& key, const std::string& value, std::uint64_t flags = 0) {
    apply({KvWrite::Kind::kSet, key, value, flags, {}, {}});
    wake();
    return applied_;
  }
  Index erase(const std::string& key) {
    apply({KvWrite::Kind::kDelete, key, {}, 0, {}, {}});
    wake();
    return applied_;
  }
  void set_role(RoleInfo role) {
    role.index = Index{static_cast<std::uint64_t>(role_info.index) + 1};
    role_info = std::move(role);
    wake();
  }
  void set_election(ElectionInfo election) {
    applied_ = Index{static_cast<std::uint64_t>(applied_) + 1};
    election.index = applied_;
    elections[election.name] = std::move(election);
    wake();
  }
  /// Calls every wait although nothing has changed: allowed by the contract.
  void wake_spuriously() {
    for (auto& [id, watch] : std::exchange(watches_, {})) due_.push_back(std::move(watch.woken));
  }

  // --- Backend ---
  void read_barrier(ReadMode mode, Completion<ReadInfo> done) override {
    barriers.push_back(mode);
    complete(std::move(done), info);
  }
  ReadInfo read_info() const override { return info; }
  KvAnswer kv_get(const std::string& key) const override {
    KvAnswer out;
    if (const auto it = entries_.find(key); it != entries_.end()) out.entries.push_back(it->second);
    out.index = kv_index({Topic::Kind::kKey, key});
    return out;
  }
  KvAnswer kv_list(const std::string& prefix) const override {
    KvAnswer out;
    for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it)
      out.entries.push_back(it->second);
    out.index = kv_index({Topic::Kind::kPrefix, prefix});
    return out;
  }
  Index kv_index(const Topic& topic) const override {
    Index last{1};
    for (const auto& [key, index] : touched_)
      if (topic.kind == Topic::Kind::kKey ? key == topic.name : key.starts_with(topic.name))
        last = std::max(last, index);
    return last;
  }
  void kv_write(KvWrite write, Completion<KvWritten> done) override {
    writes.push_back(write);
    if (failure) return complete(std::move(done), KvWritten{});
    const bool of_lock = write.kind == KvWrite::Kind::kLock || write.kind == KvWrite::Kind::kUnlock;
    if (of_lock && !session_rows.contains(write.session)) {
      return refuse(std::move(done), "invalid session \"" + write.session + "\"");
    }
    const bool applied = apply(write);
    wake();
    const auto entry = entries_.find(write.key);
    complete(std::move(done), KvWritten{applied, applied_, applied && entry != entries_.end() ? entry->second.modify_index : Index{}});
  }
  std::optional<WatchId> watch(const Topic& topic, Index after, std::function<void()> woken) override {
    if (watches_.size() >= watches_max) return std::nullopt;
    const WatchId id{++last_watch_};
    watches_.emplace(id, Watch{topic, after, std::move(woken)});
    wake();
    return id;
  }
  void unwatch(WatchId id) override { watches_.erase(id); }
  SelfInfo self() const override { return self_info; }
  std::vector<MemberInfo> members() const override { return member_list; }
  RaftInfo raft() const override { return raft_info; }
  RoleInfo role() const override { return role_info; }
  std::optional<ElectionInfo> election(const std::string& name) const override {
    const auto it = elections.find(name);
    return it == elections.end() ? std::nullopt : std::optional(it->second);
  }
  void election_command(ElectionCommand command, Completion<ElectionInfo> done) override {
    commands.push_back(command);
    complete(std::move(done), elections[command.name]);
  }
  void upstreams(Completion<std::vector<UpstreamInfo>> done) override { complete(std::move(done), upstream_list); }
  void metrics(Completion<std::vector<MetricFamily>> done) override { complete(std::move(done), metric_list); }
  OrderBackend* orders() override { return order_backend; }
  CatalogBackend* catalog() override { return catalog_backend; }
  [[nodiscard]] FlightBackend* flight() override { return flight_recorder; }
  [[nodiscard]] RequestBackend* requests() override { return request_backend; }
  std::vector<HealthItem> live() const override { return live_items; }
  std::vector<HealthItem> ready() const override { return ready_items; }
  void join(std::vector<std::string> addresses, Completion<std::size_t> done) override {
    joins.push_back(addresses);
    complete(std::move(done), addresses.size());
  }
  void leave(Completion<std::monostate> done) override {
    ++leaves;
    complete(std::move(done), std::monostate{});
  }
  void drain(bool enable, Completion<std::monostate> done) override {
    drains.push_back(enable);
    complete(std::move(done), std::monostate{});
  }

  // --- SessionBackend ---
  SessionBackend* sessions() override { return this; }
  void session_create(SessionSpec spec, Completion<SessionCreated> done) override {
    specs.push_back(spec);
    if (failure) return complete(std::move(done), SessionCreated{});
    applied_ = session_index_ = Index{static_cast<std::uint64_t>(applied_) + 1};
    const std::string id = "00000000-0000-0000-0000-" + std::to_string(100000000000 + session_rows.size());
    session_rows[id] = {id, std::move(spec), applied_, applied_};
    wake();
    complete(std::move(done), SessionCreated{id, applied_});
  }
  void session_renew(std::string id, Completion<SessionInfo> done) override {
    renewed.push_back(id);
    const auto row = session_rows.find(id);
    if (row != session_rows.end()) return complete(std::move(done), row->second);
    due_.push_back([done = std::move(done)] { done(tl::unexpected(Error{Errc::kNotFound, "no such session", {}})); });
  }
  void session_destroy(std::string id, Completion<Index> done) override {
    applied_ = Index{static_cast<std::uint64_t>(applied_) + 1};
    if (session_rows.erase(id) != 0) session_index_ = applied_;
    for (auto& [key, entry] : entries_)
      if (entry.session == id) {
        entry.session.clear(), entry.modify_index = applied_;
        log(KvChange::Op::kUnlock, key);
      }
    wake();
    complete(std::move(done), applied_);
  }
  SessionsAnswer session_info(const std::string& id) const override {
    return sessions_if([&id](const SessionInfo& session) { return session.id == id; });
  }
  SessionsAnswer session_list() const override {
    return sessions_if([](const SessionInfo&) { return true; });
  }
  SessionsAnswer sessions_of_node(const std::string& node) const override {
    return sessions_if([&node](const SessionInfo& session) { return session.spec.node == node; });
  }
  Index session_index(const Topic&) const override { return session_index_; }
  void txn(std::vector<TxnOp> ops, Completion<TxnAnswer> done) override {
    transactions.push_back(ops);
    if (failure) return complete(std::move(done), TxnAnswer{});
    const auto before = std::tuple(entries_, touched_, feed_);
    applied_ = Index{static_cast<std::uint64_t>(applied_) + 1};
    TxnAnswer answer = run(ops);
    if (!answer.faults.empty()) std::tie(entries_, touched_, feed_) = before;
    wake();
    complete(std::move(done), std::move(answer));
  }
  TxnAnswer txn_read(const std::vector<TxnOp>& ops) const override {
    FakeBackend copy;
    copy.entries_ = entries_, copy.applied_ = applied_;
    return copy.run(ops);
  }
  KvChanges kv_changes(const std::string& prefix, Index after, std::size_t bytes_max) const override {
    KvChanges out;
    out.too_old = after < feed_floor;
    out.upto = std::max(after, applied_);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < feed_.size() && !out.too_old; ++i) {
      KvChange change = feed_[i];
      if (change.index <= after || !change.key.starts_with(prefix)) continue;
      if (bytes >= bytes_max && out.changes.back().index != change.index) {
        out.upto = out.changes.back().index;
        out.more = true;
        break;
      }
      const auto entry = entries_.find(change.key);
      if (change.op != KvChange::Op::kDelete && entry != entries_.end() && entry->second.modify_index == change.index)
        change.entry = entry->second;
      bytes += change.key.size() + (change.entry ? change.entry->value.size() : 0);
      out.changes.push_back(std::move(change));
    }
    return out;
  }
  UsageInfo usage() const override { return usage_info; }
  void set_quota(QuotaInfo quota, Completion<Index> done) override {
    quotas_set.push_back(quota);
    applied_ = Index{static_cast<std::uint64_t>(applied_) + 1};
    complete(std::move(done), applied_);
  }

 private:
  template <typename Predicate>
  SessionsAnswer sessions_if(Predicate predicate) const {
    SessionsAnswer out;
    for (const auto& [id, session] : session_rows)
      if (predicate(session)) out.sessions.push_back(session);
    out.index = session_index_;
    return out;
  }
  TxnAnswer run(const std::vector<TxnOp>& ops) {
    TxnAnswer answer;
    for (std::size_t i = 0; i < ops.size(); ++i)
      if (std::string what = step(ops[i], answer.results); !what.empty()) answer.faults.push_back({i, what});
    if (!answer.faults.empty()) answer.results.clear();
    answer.index = applied_;
    return answer;
  }
  struct Watch {
    Topic topic;
    Index after;
    std::function<void()> woken;
  };
  template <typename T>
  void complete(Completion<T> done, T value) {
    Result<T> result = failure ? Result<T>(tl::unexpected(*failure)) : Result<T>(std::move(value));
    due_.push_back([done = std::move(done), result = std::move(result)] { done(result); });
  }
  template <typename T>
  void refuse(Completion<T> done, std::string what) {
    due_.push_back([done = std::move(done), what = std::move(what)] { done(tl::unexpected(Error{Errc::kRefused, what, {}})); });
  }
  void log(KvChange::Op op, const std::string& key) {
    touched_[key] = applied_;
    KvChange change;
    change.op = op, change.key = key, change.index = applied_;
    feed_.push_back(std::move(change));
  }
  void put(const KvWrite& write, KvChange::Op op) {
    KvEntry& entry = entries_[write.key];
    if (entry.create_index == Index{}) entry.create_index = applied_;
    entry.key = write.key, entry.value = write.value, entry.flags = write.flags, entry.modify_index = applied_;
    log(op, write.key);
  }
  void drop(const std::string& key) {
    if (entries_.erase(key) != 0) log(KvChange::Op::kDelete, key);
  }
  bool apply(const KvWrite& write, bool new_index = true) {
    if (new_index) applied_ = Index{static_cast<std::uint64_t>(applied_) + 1};
    const auto it = entries_.find(write.key);
    const Index current = it == entries_.end() ? Index{} : it->second.modify_index;
    const std::string holder = it == entries_.end() ? "" : it->second.session;
    switch (write.kind) {
      case KvWrite::Kind::kCas:
        if (current != write.cas) return false;
        [[fallthrough]];
      case KvWrite::Kind::kSet:
        put(write, KvChange::Op::kSet);
        return true;
      case KvWrite::Kind::kDeleteCas:
        if (current != write.cas) return false;
        [[fallthrough]];
      case KvWrite::Kind::kDelete:
        drop(write.key);
        return true;
      case KvWrite::Kind::kDeleteTree:
        for (const auto& entry : kv_list(write.key).entries) drop(entry.key);
        return true;
      case KvWrite::Kind::kLock:
        if (held_back.contains(write.key) || (!holder.empty() && holder != write.session)) return false;
        put(write, KvChange::Op::kLock);
        if (holder.empty()) ++entries_[write.key].lock_index;
        entries_[write.key].session = write.session;
        return true;
      case KvWrite::Kind::kUnlock:
        if (holder != write.session) return false;
        put(write, KvChange::Op::kUnlock);
        entries_[write.key].session.clear();
        return true;
    }
    return false;
  }
  /// One step of a transaction. @return what is wrong, empty = it was done.
  std::string step(const TxnOp& op, std::vector<TxnResult>& results) {
    using Verb = TxnOp::Verb;
    using Kind = KvWrite::Kind;
    const auto entry = entries_.find(op.key);
    const bool there = entry != entries_.end();
    const auto write = [&](Kind kind) { return apply({kind, op.key, op.value, op.flags, op.index, op.session}, false); };
    const auto wrote = [&](bool done) {
      if (done) results.push_back({entries_.at(op.key), false});
      return done ? "" : "refused: " + op.key;
    };
    switch (op.verb) {
      case Verb::kSet: return wrote(write(Kind::kSet));
      case Verb::kCas: return wrote(write(Kind::kCas));
      case Verb::kLock: return wrote(write(Kind::kLock));
      case Verb::kUnlock: return wrote(write(Kind::kUnlock));
      case Verb::kGet:
        if (there) results.push_back({entry->second, true});
        return there ? "" : "key \"" + op.key + "\" doesn't exist";
      case Verb::kGetTree:
        for (const auto& found : kv_list(op.key).entries) results.push_back({found, true});
        return "";
      case Verb::kCheckIndex: return there && entry->second.modify_index == op.index ? "" : "index of " + op.key;
      case Verb::kCheckSession: return there && entry->second.session == op.session ? "" : "session of " + op.key;
      case Verb::kCheckNotExists: return there ? "key \"" + op.key + "\" exists" : "";
      case Verb::kDelete: return write(Kind::kDelete) ? "" : "?";
      case Verb::kDeleteCas: return write(Kind::kDeleteCas) ? "" : "index of " + op.key;
      case Verb::kDeleteTree: return write(Kind::kDeleteTree) ? "" : "?";
    }
    return "?";
  }
  Index index_of(const Topic& topic) const {
    if (topic.kind == Topic::Kind::kRole) return role_info.index;
    if (topic.kind == Topic::Kind::kElection)
      return elections.contains(topic.name) ? elections.at(topic.name).index : Index{1};
    const bool of_catalog = topic.kind >= Topic::Kind::kNodes && topic.kind <= Topic::Kind::kEvents;
    if (of_catalog) return catalog_backend != nullptr ? catalog_backend->catalog_index(topic) : Index{1};
    if (topic.kind == Topic::Kind::kSession || topic.kind == Topic::Kind::kSessions || topic.kind == Topic::Kind::kNodeSessions)
      return session_index(topic);
    return kv_index(topic);
  }
  void wake() {
    for (auto it = watches_.begin(); it != watches_.end();) {
      if (index_of(it->second.topic) <= it->second.after) {
        ++it;
        continue;
      }
      // unwatch() between now and the call must still win.
      due_.push_back([this, id = it->first, woken = std::move(it->second.woken)] {
        if (woken_.erase(id) != 0) woken();
      });
      woken_.insert(it->first);
      it = watches_.erase(it);
    }
  }

  Index applied_{10};
  std::map<std::string, KvEntry> entries_;
  std::map<std::string, Index> touched_;
  std::vector<KvChange> feed_;
  Index session_index_{1};
  std::map<WatchId, Watch> watches_;
  std::set<WatchId> woken_;
  std::uint64_t last_watch_ = 0;
  std::deque<std::function<void()>> due_;
};

/// The core with its backend, on a clock that only the test moves.
class ApiHarness {
 public:
  explicit ApiHarness(Limits limits = {})
      : api(
            backend, [this](std::uint64_t bound) { return chance(bound); }, [this] { ++wakes; }, limits) {
    backend.self_info.name = "n1";
    backend.self_info.id = "00112233445566778899aabbccddeeff";
    backend.self_info.version = "9.9.9";
  }

  ExchangeId send(const std::string& method, const std::string& target, const std::string& body = "") {
    Request request;
    request.method = method;
    const auto mark = std::min(target.find('?'), target.size());
    request.path = target.substr(0, mark);
    request.query = mark == target.size() ? "" : target.substr(mark + 1);
    request.body = body;
    request.host = "127.0.0.1:8500";
    return send(request);
  }
  ExchangeId send(const Request& request) {
    const ExchangeId id{++last_id};
    api.on_request(id, request, now);
    return id;
  }
  void settle() {
    backend.settle();
    collect();
  }
  void advance(Milliseconds by) {
    now += by;
    api.tick(now);
    settle();
  }
  void collect() {
    for (auto& output : api.take_output()) outputs[output.exchange].push_back(std::move(output));
  }
  /// True once the exchange has its answer.
  bool answered(ExchangeId id) {
    settle();
    return !outputs[id].empty();
  }
  /// The whole answer of an exchange that must have exactly one by now.
  Response answer(ExchangeId id) {
    settle();
    if (outputs[id].size() != 1 || outputs[id][0].kind != Output::Kind::kReply) return {-1, {}, {}, "no single reply"};
    return outputs[id][0].response;
  }
  Response ask(const std::string& method, const std::string& target, const std::string& body = "") {
    return answer(send(method, target, body));
  }
  nlohmann::json ask_json(const std::string& target) {
    return nlohmann::json::parse(ask("GET", target).body, nullptr, false);
  }
  static std::string header(const Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers)
      if (key == name) return value;
    return "(none)";
  }

  FakeBackend backend;
  std::function<std::uint64_t(std::uint64_t)> chance = [](std::uint64_t) { return 0; };
  int wakes = 0;
  TimePoint now{std::chrono::hours(1)};
  std::uint64_t last_id = 0;
  std::map<ExchangeId, std::vector<Output>> outputs;
  Api api;
};

}  // namespace agent::api
