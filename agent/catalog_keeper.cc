#include "agent/catalog_keeper.h"

#include <algorithm>

#include "agent/api/catalog_backend.h"
#include "agent/catalog_rows.h"

namespace agent {
namespace {

namespace kv = store::kv;

constexpr const char* kAlive = "Agent alive and reachable";
constexpr const char* kDead = "Agent not live or unreachable";

const std::string& serf_health() {
  static const std::string kId(api::kSerfHealth);
  return kId;
}

/// Equal but for the indexes, which the state machine gives.
bool same_row(kv::Node row, const kv::Node& wanted) {
  row.create = wanted.create;
  row.modify = wanted.modify;
  return row == wanted;
}

}  // namespace

kv::Node node_row_of(const CatalogKeeper::Seen& member) {
  kv::Node node;
  node.name = member.name;
  node.id = member.id;
  node.address = member.address;
  const std::string family = member.address.find(':') == std::string::npos ? "_ipv4" : "_ipv6";
  for (const char* side : {"lan", "wan"}) {
    node.tagged_addresses[side] = member.address;
    node.tagged_addresses[side + family] = member.address;
  }
  node.meta = member.meta;
  return node;
}

void CatalogKeeper::step(const kv::Catalog& catalog, const std::vector<Seen>& members, bool leading, TimePoint now) {
  if (!leading) {
    pending_.clear();
    retry_.clear();
    unknown_.clear();
    next_ = TimePoint::max();
    return;
  }
  next_ = now + kLookAgain;
  std::set<std::string> known;
  for (const Seen& member : members) {
    // Two members of one name: the live one counts, whatever the order.
    const bool shadowed = member.state != Seen::State::kLive &&
                          std::any_of(members.begin(), members.end(), [&member](const Seen& other) {
                            return other.name == member.name && other.state == Seen::State::kLive;
                          });
    known.insert(member.name);
    if (!shadowed) look_at(catalog, member, now);
  }
  look_at_unknown(catalog, known, now);
}

void CatalogKeeper::look_at(const kv::Catalog& catalog, const Seen& member, TimePoint now) {
  if (pending_.contains(member.name)) return;
  if (const auto it = retry_.find(member.name); it != retry_.end()) {
    if (now < it->second) return void(next_ = std::min(next_, it->second));
    retry_.erase(it);
  }
  const kv::Node* row = catalog.node(member.name);
  if (member.state != Seen::State::kLive) {
    // Somebody else may live under that name by now, and external nodes are their owners' business.
    if (row == nullptr || row->id != member.id || catalog.check(member.name, serf_health()) == nullptr) return;
    if (member.state == Seen::State::kLeft) propose(member.name, kv::NodeRemove{member.name});
    else set_health(catalog, member.name, kv::CheckStatus::kCritical);
    return;
  }
  if (const kv::Node wanted = node_row_of(member); row == nullptr || !same_row(*row, wanted)) {
    propose(member.name, kv::NodeSet{wanted});
    return;
  }
  if (set_health(catalog, member.name, kv::CheckStatus::kPassing) || server_service_.empty() || member.mesh_port == 0) return;
  kv::ServiceInstance server;
  server.node = member.name;
  server.id = server.name = server_service_;
  server.port = member.mesh_port;
  server.definition = kServer;
  const kv::ServiceInstance* there = catalog.instance(member.name, server.id);
  // Somebody's own service under our id stays: the name of ours can be set.
  if (there == nullptr || (there->definition == kServer && there->port != server.port))
    propose(member.name, kv::ServiceSet{server, {}, kv::OldChecks::kKeep, kv::KeepStatus::kKeep});
}

void CatalogKeeper::look_at_unknown(const kv::Catalog& catalog, const std::set<std::string>& known, TimePoint now) {
  std::erase_if(unknown_, [&](const auto& entry) { return known.contains(entry.first) || catalog.node(entry.first) == nullptr; });
  for (const auto& [name, node] : catalog.nodes()) {
    if (known.contains(name) || pending_.contains(name) || catalog.check(name, serf_health()) == nullptr) continue;
    const TimePoint since = unknown_.try_emplace(name, now).first->second;
    if (now - since >= kUnknownIsGone) propose(name, kv::NodeRemove{name});
    else if (now - since >= kUnknownIsDead) set_health(catalog, name, kv::CheckStatus::kCritical);
  }
}

bool CatalogKeeper::set_health(const kv::Catalog& catalog, const std::string& node, kv::CheckStatus status) {
  const kv::Check* there = catalog.check(node, serf_health());
  if (there != nullptr && there->status == status) return false;
  kv::Check check;
  check.node = node;
  check.id = serf_health();
  check.name = "Serf Health Status";
  check.status = status;
  check.output = status == kv::CheckStatus::kPassing ? kAlive : kDead;
  return propose(node, kv::CheckSet{check, kv::KeepStatus::kReplace});
}

bool CatalogKeeper::propose(const std::string& node, kv::CommandBody command) {
  if (pending_.size() >= kPendingMax || !pending_.insert(node).second) return false;
  output_.push_back({node, std::move(command)});
  return true;
}

void CatalogKeeper::on_done(const std::string& node, bool ok, TimePoint now) {
  if (pending_.erase(node) == 0 || ok) return;
  retry_[node] = now + kRetryAfter;
  next_ = std::min(next_, now + kRetryAfter);
}

}  // namespace agent
