#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/api.h"
#include "agent/api/catalog_backend.h"

namespace agent::api {

/// A store of one process with the contract of Backend: completions never run inside the call, but in settle().
class FakeBackend final : public Backend {
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
  std::optional<Error> failure;  ///< what every completion answers, instead of its value
  std::size_t watches_max = 100000;
  CatalogBackend* catalog_backend = nullptr;  ///< what catalog() answers

  // --- what a test looks at ---
  std::vector<ReadMode> barriers;
  std::vector<KvWrite> writes;
  std::vector<ElectionCommand> commands;
  std::vector<std::vector<std::string>> joins;
  std::vector<bool> drains;
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
    apply({KvWrite::Kind::kSet, key, value, flags, {}});
    wake();
    return applied_;
  }
  Index erase(const std::string& key) {
    apply({KvWrite::Kind::kDelete, key, {}, 0, {}});
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
    const bool applied = apply(write);
    wake();
    complete(std::move(done), KvWritten{applied, applied_});
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
  CatalogBackend* catalog() override { return catalog_backend; }
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

 private:
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
  bool apply(const KvWrite& write) {
    applied_ = Index{static_cast<std::uint64_t>(applied_) + 1};
    const auto it = entries_.find(write.key);
    const Index current = it == entries_.end() ? Index{} : it->second.modify_index;
    switch (write.kind) {
      case KvWrite::Kind::kCas:
        if (current != write.cas) return false;
        [[fallthrough]];
      case KvWrite::Kind::kSet: {
        KvEntry& entry = entries_[write.key];
        if (current == Index{}) entry.create_index = applied_;
        entry.key = write.key, entry.value = write.value, entry.flags = write.flags, entry.modify_index = applied_;
        touched_[write.key] = applied_;
        return true;
      }
      case KvWrite::Kind::kDeleteCas:
        if (current != write.cas) return false;
        [[fallthrough]];
      case KvWrite::Kind::kDelete:
        if (entries_.erase(write.key) != 0) touched_[write.key] = applied_;
        return true;
      case KvWrite::Kind::kDeleteTree:
        std::erase_if(entries_, [&](const auto& entry) {
          if (!entry.first.starts_with(write.key)) return false;
          touched_[entry.first] = applied_;
          return true;
        });
        return true;
      case KvWrite::Kind::kLock:
      case KvWrite::Kind::kUnlock:
        return false;
    }
    return false;
  }
  Index index_of(const Topic& topic) const {
    if (topic.kind == Topic::Kind::kRole) return role_info.index;
    if (topic.kind == Topic::Kind::kElection)
      return elections.contains(topic.name) ? elections.at(topic.name).index : Index{1};
    const bool of_catalog = topic.kind >= Topic::Kind::kNodes && topic.kind <= Topic::Kind::kEvents;
    if (of_catalog) return catalog_backend != nullptr ? catalog_backend->catalog_index(topic) : Index{1};
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
