#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/kv/catalog_rows.h"
#include "store/kv/command.h"
#include "store/kv/index_counters.h"
#include "store/kv/journal.h"
#include "store/kv/record.h"

namespace store::kv {

/// Nodes, service instances and checks, with the lookups that discovery needs.
/// Source:    the catalog as Consul's clients know it; its traps: an identical registration moves no index, an index
///            never goes back when the last instance of a service is gone.
/// Invariant: every instance and every check belongs to a node that is here; a check with a service id, to an instance
///            of its node. Orders: lists come sorted by (node, id), equal on every replica and from call to call.
/// Bound:     kNodesMax, kInstancesMax, kChecksMax, kCatalogBytesMax.
/// Ownership: a value inside StateMachine; answers point into it and are valid until the next apply() or load().
class Catalog {
 public:
  using ServiceNames = std::map<std::string, std::set<NodeItem>, std::less<>>;

  // --- lookups: O(log n) and the size of the answer -----------------------------------------------------------------
  [[nodiscard]] const Node* node(std::string_view name) const;  ///< nullptr = unknown
  [[nodiscard]] const std::map<std::string, Node, std::less<>>& nodes() const { return nodes_; }
  [[nodiscard]] const ServiceInstance* instance(std::string_view node, std::string_view id) const;
  [[nodiscard]] std::vector<const ServiceInstance*> instances_of_node(std::string_view node) const;
  [[nodiscard]] std::vector<const ServiceInstance*> instances_of_service(std::string_view name) const;
  [[nodiscard]] const Check* check(std::string_view node, std::string_view id) const;
  [[nodiscard]] std::vector<const Check*> checks_of_node(std::string_view node) const;  ///< of its instances, too
  /// What decides about an instance: checks of the whole node first, then its own.
  [[nodiscard]] std::vector<const Check*> checks_of_instance(std::string_view node, std::string_view service_id) const;
  [[nodiscard]] std::vector<const Check*> checks_of_service(std::string_view name) const;  ///< own ones, not the nodes'
  [[nodiscard]] std::vector<const Check*> checks_in(CheckStatus status) const;
  [[nodiscard]] std::vector<const Check*> all_checks() const;
  [[nodiscard]] std::vector<const ServiceInstance*> all_instances() const;
  [[nodiscard]] const ServiceNames& service_names() const { return by_service_; }  ///< services with an instance
  [[nodiscard]] std::vector<std::string> tags_of_service(std::string_view name) const;  ///< sorted, without repeats

  // --- indexes: for waits and X-Consul-Index; at least 1; never go back ---------------------------------------------
  [[nodiscard]] Index nodes_index() const;     ///< any node
  [[nodiscard]] Index services_index() const;  ///< names, tags or membership of any service
  [[nodiscard]] Index checks_index() const;    ///< any check
  [[nodiscard]] Index node_index(std::string_view name) const;     ///< the node, its instances, its checks
  [[nodiscard]] Index service_index(std::string_view name) const;  ///< its instances, their checks, their nodes

  [[nodiscard]] std::size_t instance_count() const { return instances_.size(); }
  [[nodiscard]] std::size_t check_count() const { return checks_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  // --- changes: what a command decided, for StateMachine alone --------------------------------------------------------
  /// What a change takes away from sessions.
  struct Lost {
    std::vector<NodeItem> checks;  ///< turned critical or removed
    std::vector<std::string> nodes;
  };
  struct Verdict {
    Outcome outcome = Outcome::kDone;
    std::string detail;  ///< which bound is full, what is missing; empty with kDone
  };
  Verdict set_node(Index index, const Node& node, Journal& journal);
  Verdict remove_node(Index index, std::string_view name, Journal& journal, Lost& lost);
  Verdict set_service(Index index, const ServiceSet& command, Journal& journal, Lost& lost);
  Verdict remove_service(Index index, std::string_view node, std::string_view id, Journal& journal, Lost& lost);
  Verdict set_check(Index index, const CheckSet& command, Journal& journal, Lost& lost);
  Verdict set_status(Index index, const CheckStatusSet& command, Journal& journal, Lost& lost);
  Verdict remove_check(Index index, std::string_view node, std::string_view id, Journal& journal, Lost& lost);
  // --- rows ---------------------------------------------------------------------------------------------------------
  void load(Node node);
  void load(ServiceInstance instance);
  void load(Check check);
  void load_counter(std::string name, Index index) { counters_.load(std::move(name), index); }
  void load_floor(Index floor) { counters_.load_floor(floor); }
  /// False: rows without the row they belong to, or an index above `applied`.
  [[nodiscard]] bool consistent(Index applied) const;
  /// After a restore: every index is `index` from now on.
  void renumber(Index index);
  [[nodiscard]] const IndexCounters& counters() const { return counters_; }

 private:
  using Instances = std::map<NodeItem, ServiceInstance>;
  using Checks = std::map<NodeItem, Check>;
  void put_instance(Index index, ServiceInstance instance, Journal& journal);
  void drop_instance(Index index, Instances::iterator at, Journal& journal, Lost& lost);
  void put_check(Index index, Check check, Journal& journal, Lost& lost);
  void drop_check(Index index, Checks::iterator at, Journal& journal, Lost& lost);
  /// The check as it will be: its service's name filled in, its present status kept if that is wanted.
  [[nodiscard]] Check complete(Check check, const ServiceInstance* instance, KeepStatus keep) const;
  [[nodiscard]] Verdict room(std::size_t instances, std::size_t checks, std::size_t bytes) const;
  void touch_check(Index index, const Check& check, Journal& journal);
  void touch_node(Index index, std::string_view name, Journal& journal);
  void touch_service(Index index, std::string_view name, Journal& journal);
  void touch_services_of(Index index, std::string_view node, Journal& journal);
  void touch_service_list(Index index, Journal& journal);
  void index_check(const Check& check);
  void unindex_check(const Check& check);

  std::map<std::string, Node, std::less<>> nodes_;
  Instances instances_;
  Checks checks_;
  ServiceNames by_service_;
  std::map<NodeItem, std::set<std::string>> by_instance_;  // (node, service id, "" = node) -> check ids
  std::array<std::set<NodeItem>, 3> by_status_;
  IndexCounters counters_;
  std::size_t bytes_ = 0;
};

}  // namespace store::kv
