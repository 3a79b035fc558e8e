#include "store/kv/catalog.h"

#include <algorithm>

/// The changes of the catalog. Its lookups and indexes are in catalog_lookup.cc.
namespace store::kv {
namespace {

// Names of index counters. Longer than one letter: of one service or node.
constexpr std::string_view kNodesCounter = "n";
constexpr std::string_view kServicesCounter = "s";
constexpr std::string_view kChecksCounter = "h";

std::size_t bytes_of(const Meta& meta) {
  std::size_t bytes = 0;
  for (const auto& [key, value] : meta) bytes += key.size() + value.size();
  return bytes;
}

std::size_t bytes_of(const Node& node) {
  return node.name.size() + node.address.size() + bytes_of(node.meta) + bytes_of(node.tagged_addresses);
}

std::size_t bytes_of(const ServiceInstance& instance) {
  std::size_t bytes = instance.node.size() + instance.id.size() + instance.name.size() + instance.address.size() +
                      instance.definition.size() + bytes_of(instance.meta);
  for (const std::string& tag : instance.tags) bytes += tag.size();
  for (const auto& [name, tagged] : instance.tagged_addresses) bytes += name.size() + tagged.address.size();
  return bytes;
}

std::size_t bytes_of(const Check& check) {
  return check.node.size() + check.id.size() + check.service_id.size() + check.service_name.size() +
         check.name.size() + check.notes.size() + check.output.size() + check.type.size() + check.definition.size();
}

// Equal but for the indexes, which are the state machine's.
template <class Row>
bool same(Row wanted, const Row& present) {
  wanted.create = present.create;
  wanted.modify = present.modify;
  return wanted == present;
}

Catalog::Verdict no_node(std::string_view name) { return {Outcome::kNotFound, "node '" + std::string(name) + "'"}; }

}  // namespace

Catalog::Verdict Catalog::room(std::size_t instances, std::size_t checks, std::size_t bytes) const {
  if (instances_.size() + instances > kInstancesMax)
    return {Outcome::kFull, "the catalog's " + std::to_string(kInstancesMax) + " service instances"};
  if (checks_.size() + checks > kChecksMax)
    return {Outcome::kFull, "the catalog's " + std::to_string(kChecksMax) + " checks"};
  if (bytes_ + bytes > kCatalogBytesMax)
    return {Outcome::kFull, "the catalog's " + std::to_string(kCatalogBytesMax >> 20U) + " MiB"};
  return {};
}

// --- nodes --------------------------------------------------------------------------------------------------------

Catalog::Verdict Catalog::set_node(Index index, const Node& node, Journal& journal) {
  const auto found = nodes_.find(node.name);
  const bool fresh = found == nodes_.end();
  if (!fresh && same(node, found->second)) return {Outcome::kUnchanged, {}};
  if (fresh && nodes_.size() >= kNodesMax)
    return {Outcome::kFull, "the catalog's " + std::to_string(kNodesMax) + " nodes"};
  if (auto verdict = room(0, 0, bytes_of(node)); verdict.outcome != Outcome::kDone) return verdict;
  Node row = node;
  row.create = fresh ? index : found->second.create;
  row.modify = index;
  if (!fresh) bytes_ -= bytes_of(found->second);
  bytes_ += bytes_of(row);
  journal.mark(node_key(row.name), encode_node(row));
  nodes_.insert_or_assign(row.name, row);
  touch_node(index, node.name, journal);
  counters_.touch(kNodesCounter, index, journal);
  journal.watches.touch(Topic::Kind::kNodes);
  touch_services_of(index, node.name, journal);  // their answers show the node's address
  return {};
}

Catalog::Verdict Catalog::remove_node(Index index, std::string_view name, Journal& journal, Lost& lost) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return no_node(name);
  const std::string node = found->first;
  // First the services, while their names are known, then what belongs to the node alone.
  for (auto at = instances_.lower_bound({node, {}}); at != instances_.end() && at->first.node == node;
       at = instances_.lower_bound({node, {}}))
    drop_instance(index, at, journal, lost);
  for (auto at = checks_.lower_bound({node, {}}); at != checks_.end() && at->first.node == node;
       at = checks_.lower_bound({node, {}}))
    drop_check(index, at, journal, lost);
  bytes_ -= bytes_of(found->second);
  nodes_.erase(found);
  lost.nodes.push_back(node);
  journal.mark_gone(node_key(node));
  touch_node(index, node, journal);
  counters_.touch(kNodesCounter, index, journal);
  journal.watches.touch(Topic::Kind::kNodes);
  return {};
}

// --- instances ----------------------------------------------------------------------------------------------------

Catalog::Verdict Catalog::set_service(Index index, const ServiceSet& command, Journal& journal, Lost& lost) {
  const ServiceInstance& wanted = command.instance;
  if (!nodes_.contains(wanted.node)) return no_node(wanted.node);
  const auto found = instances_.find({wanted.node, wanted.id});
  const bool fresh = found == instances_.end();
  std::size_t more = bytes_of(wanted);
  std::size_t new_checks = 0;
  for (const Check& check : command.checks) {
    more += bytes_of(check);
    new_checks += checks_.contains({check.node, check.id}) ? 0 : 1;
  }
  const bool present = !fresh && same(wanted, found->second);
  if (auto verdict = room(fresh ? 1 : 0, new_checks, present && command.checks.empty() ? 0 : more);
      verdict.outcome != Outcome::kDone)
    return verdict;
  bool changed = false;
  if (!present) {
    // Under another name it is another service's instance: the old one's index must move, too.
    if (!fresh && found->second.name != wanted.name) drop_instance(index, found, journal, lost);
    put_instance(index, wanted, journal);
    changed = true;
  }
  std::set<std::string> listed;
  for (const Check& check : command.checks) {
    listed.insert(check.id);
    Check row = complete(check, &wanted, command.keep_status);
    const Check* before = this->check(check.node, check.id);
    if (before != nullptr && same(row, *before)) continue;
    put_check(index, std::move(row), journal, lost);
    changed = true;
  }
  if (command.old_checks == OldChecks::kRemove) {
    std::vector<std::string> old;
    if (const auto ids = by_instance_.find({wanted.node, wanted.id}); ids != by_instance_.end())
      std::set_difference(ids->second.begin(), ids->second.end(), listed.begin(), listed.end(),
                          std::back_inserter(old));
    for (const std::string& id : old) drop_check(index, checks_.find({wanted.node, id}), journal, lost);
    changed = changed || !old.empty();
  }
  return {changed ? Outcome::kDone : Outcome::kUnchanged, {}};
}

void Catalog::put_instance(Index index, ServiceInstance instance, Journal& journal) {
  const NodeItem item{instance.node, instance.id};
  const auto found = instances_.find(item);
  const bool fresh = found == instances_.end();
  const bool listed = !fresh && found->second.tags == instance.tags;  // the list of services shows names and tags
  instance.create = fresh ? index : found->second.create;
  instance.modify = index;
  if (!fresh) bytes_ -= bytes_of(found->second);
  bytes_ += bytes_of(instance);
  by_service_[instance.name].insert(item);
  journal.mark(instance_key(item.node, item.id), encode_instance(instance));
  touch_service(index, instance.name, journal);
  touch_node(index, item.node, journal);
  if (!listed) touch_service_list(index, journal);
  instances_.insert_or_assign(item, std::move(instance));
}

Catalog::Verdict Catalog::remove_service(Index index, std::string_view node, std::string_view id, Journal& journal,
                                         Lost& lost) {
  const auto found = instances_.find({std::string(node), std::string(id)});
  if (found == instances_.end()) return {Outcome::kNotFound, "service '" + std::string(id) + "'"};
  drop_instance(index, found, journal, lost);
  return {};
}

void Catalog::drop_instance(Index index, Instances::iterator at, Journal& journal, Lost& lost) {
  const NodeItem item = at->first;
  const std::string name = at->second.name;
  if (const auto ids = by_instance_.find(item); ids != by_instance_.end()) {
    const std::set<std::string> doomed = ids->second;
    for (const std::string& id : doomed) drop_check(index, checks_.find({item.node, id}), journal, lost);
  }
  bytes_ -= bytes_of(at->second);
  instances_.erase(at);
  const auto members = by_service_.find(name);
  members->second.erase(item);
  if (members->second.empty()) by_service_.erase(members);
  journal.mark_gone(instance_key(item.node, item.id));
  touch_service(index, name, journal);
  touch_node(index, item.node, journal);
  touch_service_list(index, journal);
}

// --- checks -------------------------------------------------------------------------------------------------------

Check Catalog::complete(Check check, const ServiceInstance* instance, KeepStatus keep) const {
  check.service_name = instance != nullptr ? instance->name : std::string();
  const Check* present = this->check(check.node, check.id);
  if (keep == KeepStatus::kKeep && present != nullptr) {
    check.status = present->status;
    check.output = present->output;
  }
  return check;
}

Catalog::Verdict Catalog::set_check(Index index, const CheckSet& command, Journal& journal, Lost& lost) {
  const Check& wanted = command.check;
  if (!nodes_.contains(wanted.node)) return no_node(wanted.node);
  const ServiceInstance* instance = wanted.service_id.empty() ? nullptr : this->instance(wanted.node, wanted.service_id);
  if (instance == nullptr && !wanted.service_id.empty())
    return {Outcome::kNotFound, "service '" + wanted.service_id + "'"};
  Check row = complete(wanted, instance, command.keep_status);
  const Check* present = check(wanted.node, wanted.id);
  if (present != nullptr && same(row, *present)) return {Outcome::kUnchanged, {}};
  if (auto verdict = room(0, present == nullptr ? 1 : 0, bytes_of(row)); verdict.outcome != Outcome::kDone)
    return verdict;
  put_check(index, std::move(row), journal, lost);
  return {};
}

Catalog::Verdict Catalog::set_status(Index index, const CheckStatusSet& command, Journal& journal, Lost& lost) {
  const Check* present = check(command.node, command.id);
  if (present == nullptr) return {Outcome::kNotFound, "check '" + command.id + "'"};
  Check row = *present;
  row.status = command.status;
  row.output = command.output;
  if (same(row, *present)) return {Outcome::kUnchanged, {}};
  put_check(index, std::move(row), journal, lost);
  return {};
}

void Catalog::put_check(Index index, Check check, Journal& journal, Lost& lost) {
  const NodeItem item{check.node, check.id};
  const auto found = checks_.find(item);
  const bool fresh = found == checks_.end();
  check.create = fresh ? index : found->second.create;
  check.modify = index;
  if (!fresh) {
    touch_check(index, found->second, journal);  // it may have belonged to another instance
    unindex_check(found->second);
  }
  if (check.status == CheckStatus::kCritical) lost.checks.push_back(item);
  index_check(check);
  journal.mark(check_key(item.node, item.id), encode_check(check));
  touch_check(index, check, journal);
  checks_.insert_or_assign(item, std::move(check));
}

Catalog::Verdict Catalog::remove_check(Index index, std::string_view node, std::string_view id, Journal& journal,
                                       Lost& lost) {
  const auto found = checks_.find({std::string(node), std::string(id)});
  if (found == checks_.end()) return {Outcome::kNotFound, "check '" + std::string(id) + "'"};
  drop_check(index, found, journal, lost);
  return {};
}

void Catalog::drop_check(Index index, Checks::iterator at, Journal& journal, Lost& lost) {
  const Check check = std::move(at->second);
  unindex_check(check);
  checks_.erase(at);
  lost.checks.push_back({check.node, check.id});
  journal.mark_gone(check_key(check.node, check.id));
  touch_check(index, check, journal);
}

void Catalog::index_check(const Check& check) {
  bytes_ += bytes_of(check);
  by_instance_[{check.node, check.service_id}].insert(check.id);
  by_status_[static_cast<std::size_t>(check.status)].insert({check.node, check.id});
}

void Catalog::unindex_check(const Check& check) {
  bytes_ -= bytes_of(check);
  by_status_[static_cast<std::size_t>(check.status)].erase({check.node, check.id});
  const auto ids = by_instance_.find({check.node, check.service_id});
  ids->second.erase(check.id);
  if (ids->second.empty()) by_instance_.erase(ids);
}

// --- indexes ------------------------------------------------------------------------------------------------------

void Catalog::touch_check(Index index, const Check& check, Journal& journal) {
  counters_.touch(kChecksCounter, index, journal);
  journal.watches.touch(Topic::Kind::kChecks);
  touch_node(index, check.node, journal);
  if (check.service_id.empty()) {
    touch_services_of(index, check.node, journal);
  } else {
    touch_service(index, check.service_name, journal);
  }
}

void Catalog::touch_node(Index index, std::string_view name, Journal& journal) {
  counters_.touch("N" + std::string(name), index, journal);
  journal.watches.touch(Topic::Kind::kNode, name);
}

void Catalog::touch_service(Index index, std::string_view name, Journal& journal) {
  counters_.touch("S" + std::string(name), index, journal);
  journal.watches.touch(Topic::Kind::kService, name);
}

void Catalog::touch_services_of(Index index, std::string_view node, Journal& journal) {
  for (const ServiceInstance* instance : instances_of_node(node)) touch_service(index, instance->name, journal);
}

void Catalog::touch_service_list(Index index, Journal& journal) {
  counters_.touch(kServicesCounter, index, journal);
  journal.watches.touch(Topic::Kind::kServices);
}

Index Catalog::nodes_index() const { return counters_.of(kNodesCounter); }
Index Catalog::services_index() const { return counters_.of(kServicesCounter); }
Index Catalog::checks_index() const { return counters_.of(kChecksCounter); }
Index Catalog::node_index(std::string_view name) const { return counters_.of("N" + std::string(name)); }
Index Catalog::service_index(std::string_view name) const { return counters_.of("S" + std::string(name)); }

// --- rows ---------------------------------------------------------------------------------------------------------

void Catalog::load(Node node) {
  bytes_ += bytes_of(node);
  std::string name = node.name;
  nodes_.insert_or_assign(std::move(name), std::move(node));
}

void Catalog::load(ServiceInstance instance) {
  bytes_ += bytes_of(instance);
  const NodeItem item{instance.node, instance.id};
  by_service_[instance.name].insert(item);
  instances_.insert_or_assign(item, std::move(instance));
}

void Catalog::load(Check check) {
  index_check(check);
  const NodeItem item{check.node, check.id};
  checks_.insert_or_assign(item, std::move(check));
}

bool Catalog::consistent(Index applied) const {
  if (counters_.floor() > applied) return false;
  const bool homes = std::all_of(instances_.begin(), instances_.end(), [&](const auto& item) {
    return nodes_.contains(item.first.node) && item.second.modify <= applied;
  });
  return homes && std::all_of(checks_.begin(), checks_.end(), [&](const auto& item) {
    const Check& check = item.second;
    const bool owned = check.service_id.empty() || instances_.contains({check.node, check.service_id});
    return owned && nodes_.contains(check.node) && check.modify <= applied;
  });
}

void Catalog::renumber(Index index) {
  for (auto& [name, node] : nodes_) node.create = node.modify = index;
  for (auto& [item, instance] : instances_) instance.create = instance.modify = index;
  for (auto& [item, check] : checks_) check.create = check.modify = index;
  counters_.raise_floor(index);
}

}  // namespace store::kv
