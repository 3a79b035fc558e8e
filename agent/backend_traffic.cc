#include "agent/backend_traffic.h"

#include <algorithm>
#include <set>

#include "proxy/route.h"

namespace agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kNamesShown = 8;

tl::unexpected<api::Error> failed(api::Errc code, std::string detail) {
  return tl::make_unexpected(api::Error{code, std::move(detail), {}});
}

/// "a, b, c and 4 more"; "none" of none.
std::string listed(const std::set<std::string>& names) {
  std::string out;
  std::size_t shown = 0;
  for (const std::string& name : names) {
    if (shown == kNamesShown) return out + " and " + std::to_string(names.size() - shown) + " more";
    out += (shown++ == 0 ? "" : ", ") + name;
  }
  return out.empty() ? "none" : out;
}

milliseconds left_of(io::TimePoint until, io::TimePoint now) {
  return until > now ? std::chrono::ceil<milliseconds>(until - now) : milliseconds(0);
}

std::string_view state_name(proxy::BreakerState state) {
  switch (state) {
    case proxy::BreakerState::kClosed: return "closed";
    case proxy::BreakerState::kOpen: return "open";
    case proxy::BreakerState::kHalfOpen: return "half_open";
  }
  return "closed";
}

void put_look(api::BreakerInfo& info, const proxy::BreakerTable& table, proxy::EndpointId id, io::TimePoint now) {
  const auto look = table.look(id);
  info.state = state_name(look.state);
  info.by_word = look.by_word;
  if (look.state != proxy::BreakerState::kClosed) info.left = left_of(look.until, now);
  info.fail = table.rule().fail;
  info.window = table.rule().window;
  info.open = table.rule().open;
}

const std::string& shown_name(const proxy::Endpoint& endpoint) { return endpoint.node.empty() ? endpoint.address : endpoint.node; }
bool is_called(const proxy::Endpoint& endpoint, const std::string& text) { return endpoint.node == text || endpoint.address == text; }

}  // namespace

// ---- endpoints ----

api::Result<const proxy::Endpoint*> AgentTraffic::find(const api::EjectCommand& command) const {
  const proxy::EndpointTable* table = parts_.endpoints();
  std::set<std::string> names, pools, found_in;
  std::set<proxy::EndpointId> ids;
  const proxy::Endpoint* found = nullptr;
  static const std::vector<proxy::PoolEndpoints> kNone;
  for (const proxy::PoolEndpoints& pool : table == nullptr ? kNone : table->pools) {
    pools.insert(pool.pool);
    if (!command.pool.empty() && pool.pool != command.pool) continue;
    for (const proxy::Endpoint& endpoint : pool.endpoints) {
      if (endpoint.site != nullptr) continue;  // a folder of files does not fail as instances do
      names.insert(shown_name(endpoint));
      if (!is_called(endpoint, command.endpoint)) continue;
      found_in.insert(pool.pool);
      ids.insert(endpoint.id);
      found = &endpoint;
    }
  }
  if (!command.pool.empty() && !pools.contains(command.pool))
    return failed(api::Errc::kNotFound, "no pool is named \"" + command.pool + "\"; there are: " + listed(pools));
  if (ids.empty()) return failed(api::Errc::kNotFound, "no endpoint is named \"" + command.endpoint + "\"; there are: " + listed(names));
  if (ids.size() > 1)
    return failed(api::Errc::kBadRequest, "\"" + command.endpoint + "\" is more than one endpoint: say its pool (" + listed(found_in) + "), or its address");
  return found;
}

api::EjectedInfo AgentTraffic::info_of(const proxy::Endpoint& endpoint) const {
  api::EjectedInfo info{shown_name(endpoint), endpoint.address, {}, false};
  for (const proxy::PoolEndpoints& pool : parts_.endpoints()->pools) {
    if (std::any_of(pool.endpoints.begin(), pool.endpoints.end(), [&](const auto& one) { return one.id == endpoint.id; })) info.pools.push_back(pool.pool);
  }
  if (const auto share = parts_.proxy->share_of(endpoint.id)) info.left_out_by_others = share->outlier.advised_at(io::boottime_now());
  return info;
}

const proxy::PoolEndpoints* AgentTraffic::last_in(proxy::EndpointId id) const {
  const io::TimePoint now = io::boottime_now();
  for (const proxy::PoolEndpoints& pool : parts_.endpoints()->pools) {
    const auto& all = pool.endpoints;
    if (std::none_of(all.begin(), all.end(), [&](const auto& one) { return one.id == id; })) continue;
    const bool another = std::any_of(all.begin(), all.end(), [&](const proxy::Endpoint& one) {
      const auto share = parts_.proxy->share_of(one.id);
      return one.id != id && proxy::is_usable(one) && (share == nullptr || !share->outlier.ejected_at(now));
    });
    if (!another) return &pool;
  }
  return nullptr;
}

void AgentTraffic::forget_over() {
  std::erase_if(held_out_, [now = io::boottime_now()](const auto& one) { return one.second <= now; });
}

api::Result<api::EjectedInfo> AgentTraffic::eject(const api::EjectCommand& command) {
  const auto found = find(command);
  if (!found) return tl::make_unexpected(found.error());
  const proxy::Endpoint& endpoint = **found;
  if (const proxy::PoolEndpoints* pool = command.force ? nullptr : last_in(endpoint.id))
    return failed(api::Errc::kConflict, shown_name(endpoint) + " is the last endpoint of pool \"" + pool->pool +
                                            "\" that can be asked; --force ejects it all the same, and it is asked only while nobody else can be");
  forget_over();
  if (held_out_.size() >= kHeldOutMax) return failed(api::Errc::kBusy, std::to_string(kHeldOutMax) + " endpoints are ejected by hand already");
  held_out_[endpoint.id] = io::boottime_now() + command.for_;
  reapply();
  parts_.on_change();
  parts_.log("endpoint_ejected", shown_name(endpoint) + " at an operator's word, for " + std::to_string(command.for_.count() / 1000) + " s");
  return info_of(endpoint);
}

api::Result<api::EjectedInfo> AgentTraffic::uneject(const api::EjectCommand& command) {
  const auto found = find(command);
  if (!found) return tl::make_unexpected(found.error());
  const proxy::Endpoint& endpoint = **found;
  held_out_.erase(endpoint.id);
  if (const auto share = parts_.proxy->share_of(endpoint.id)) {
    share->outlier.hold_out({});
    share->outlier.reinstate();
  }
  parts_.on_change();
  parts_.log("endpoint_unejected", shown_name(endpoint) + " at an operator's word");
  return info_of(endpoint);
}

void AgentTraffic::reapply() {
  for (const auto& [id, until] : held_out_) {
    if (const auto share = parts_.proxy->share_of(id)) share->outlier.hold_out(until);
  }
}

io::TimePoint AgentTraffic::held_out_until(proxy::EndpointId id) const {
  const auto found = held_out_.find(id);
  return found == held_out_.end() ? io::TimePoint{} : found->second;
}

// ---- breakers ----

const proxy::PoolEndpoints* AgentTraffic::pool_of(const proxy::Route& route) const {
  const proxy::EndpointTable* table = parts_.endpoints();
  if (table == nullptr) return nullptr;
  const auto found = std::find_if(table->pools.begin(), table->pools.end(), [&](const auto& pool) { return pool.pool == route.pool; });
  return found == table->pools.end() ? nullptr : &*found;
}

const proxy::Route* AgentTraffic::route_with_breakers(const std::string& name) const {
  const auto table = parts_.routes();
  if (table == nullptr) return nullptr;
  for (const proxy::Route& route : table->routes()) {
    if (route.name == name && route.breakers != nullptr) return &route;  // the agent's table, which stays for this turn
  }
  return nullptr;
}

api::BreakerInfo AgentTraffic::app_info(const std::string& name) const {
  api::BreakerInfo info;
  info.name = name;
  info.of_app = true;
  put_look(info, *parts_.app_breakers->all().at(name), AppBreakers::kPlace, io::boottime_now());
  return info;
}

std::vector<api::BreakerInfo> AgentTraffic::breakers() const {
  std::vector<api::BreakerInfo> out;
  const auto table = parts_.routes();
  const io::TimePoint now = io::boottime_now();
  if (table != nullptr) {
    for (const proxy::Route& route : table->routes()) {
      const proxy::PoolEndpoints* pool = route.breakers == nullptr ? nullptr : pool_of(route);
      if (pool == nullptr) continue;
      for (const proxy::Endpoint& endpoint : pool->endpoints) {
        api::BreakerInfo info;
        info.name = route.name;
        info.endpoint = endpoint.node;
        info.address = endpoint.address;
        put_look(info, *route.breakers, endpoint.id, now);
        out.push_back(std::move(info));
      }
    }
  }
  for (const auto& [name, breaker] : parts_.app_breakers->all()) out.push_back(app_info(name));
  return out;
}

api::Error AgentTraffic::no_breaker(const std::string& name) const {
  std::set<std::string> names;
  for (const auto& [one, breaker] : parts_.app_breakers->all()) names.insert(one);
  if (const auto table = parts_.routes(); table != nullptr) {
    for (const proxy::Route& route : table->routes()) {
      if (route.breakers != nullptr) names.insert(route.name);
    }
  }
  return {api::Errc::kNotFound, "no breaker is named \"" + name + "\"; there are: " + listed(names), {}};
}

api::Result<std::size_t> AgentTraffic::breaker_reset(const std::string& name, const std::string& endpoint) {
  std::size_t count = 0;
  if (parts_.app_breakers->has(name)) {
    count = parts_.app_breakers->reset(name) ? 1 : 0;
  } else {
    const proxy::Route* route = route_with_breakers(name);
    if (route == nullptr) return tl::make_unexpected(no_breaker(name));
    const proxy::PoolEndpoints* pool = pool_of(*route);
    std::set<std::string> names;
    bool known = endpoint.empty();
    static const std::vector<proxy::Endpoint> kNobody;
    for (const proxy::Endpoint& one : pool == nullptr ? kNobody : pool->endpoints) {
      names.insert(shown_name(one));
      if (!endpoint.empty() && !is_called(one, endpoint)) continue;
      known = true;
      count += route->breakers->reset(one.id) ? 1 : 0;
    }
    if (!known) return failed(api::Errc::kNotFound, "route \"" + name + "\" has no endpoint \"" + endpoint + "\"; there are: " + listed(names));
  }
  parts_.on_change();
  parts_.log("breaker_reset", name + (endpoint.empty() ? "" : ", " + endpoint) + ": " + std::to_string(count) + " were not closed");
  return count;
}

api::Result<std::string> AgentTraffic::app_breaker(const std::string& name) const {
  if (parts_.app_breakers->has(name)) return name;
  if (route_with_breakers(name) != nullptr)
    return failed(api::Errc::kBadRequest, "\"" + name + "\" is the breaker of a route, which its requests feed; one for a program's own calls is a [[breaker]]");
  return tl::make_unexpected(no_breaker(name));
}

api::Result<api::BreakerPassInfo> AgentTraffic::breaker_allow(const std::string& name) {
  if (const auto known = app_breaker(name); !known) return tl::make_unexpected(known.error());
  const proxy::BreakerPass pass = parts_.app_breakers->enter(name, io::boottime_now());
  if (pass == proxy::BreakerPass::kProbe) parts_.on_change();
  return api::BreakerPassInfo{pass != proxy::BreakerPass::kDenied, pass == proxy::BreakerPass::kProbe, app_info(name)};
}

api::Result<api::BreakerInfo> AgentTraffic::breaker_report(const std::string& name, bool ok, std::optional<bool> probe) {
  if (const auto known = app_breaker(name); !known) return tl::make_unexpected(known.error());
  if (parts_.app_breakers->report(name, ok, probe, io::boottime_now())) {
    parts_.on_change();
    parts_.log("breaker", name + ": " + app_info(name).state);
  }
  return app_info(name);
}

// ---- guard ----

namespace {
constexpr const char* kNoGuard = "this agent bans nobody: [guard] is not in its settings";

api::Result<proxy::GuardKey> key_of_client(const std::string& client) {
  const proxy::GuardKey key = proxy::guard_key(client);
  if (key == proxy::GuardKey::kNone) return failed(api::Errc::kBadRequest, "\"" + client + "\" is no IP address; write 192.0.2.7 or 2001:db8:0:1::/64");
  return key;
}
}  // namespace

api::Result<api::GuardInfo> AgentTraffic::guard() const {
  if (parts_.guard == nullptr) return failed(api::Errc::kUnsupported, kNoGuard);
  const proxy::GuardTable& table = parts_.guard->table();
  const io::TimePoint now = io::boottime_now();
  api::GuardInfo info;
  info.fails = table.rule().fails;
  info.within = table.rule().within;
  info.ban = table.rule().ban;
  info.statuses = table.rule().statuses;
  info.failures = table.failures();
  info.banned = table.banned();
  info.refused = table.refused();
  info.untracked = table.untracked();
  for (const auto& ban : table.bans_at(now))
    info.bans.push_back({proxy::text_of(ban.key), left_of(ban.until, now), ban.by == proxy::GuardTable::By::kHere});
  std::sort(info.bans.begin(), info.bans.end(), [](const auto& a, const auto& b) { return a.left != b.left ? a.left > b.left : a.client < b.client; });
  return info;
}

api::Result<api::GuardBan> AgentTraffic::guard_ban(const std::string& client, milliseconds for_) {
  if (parts_.guard == nullptr) return failed(api::Errc::kUnsupported, kNoGuard);
  const auto key = key_of_client(client);
  if (!key) return tl::make_unexpected(key.error());
  const milliseconds how_long = for_.count() > 0 ? for_ : parts_.guard->table().rule().ban;
  switch (parts_.guard->ban(*key, how_long)) {
    case proxy::GuardTable::Banned::kYes:
    case proxy::GuardTable::Banned::kAlready: break;
    case proxy::GuardTable::Banned::kNever: return failed(api::Errc::kForbidden, client + " is in guard.never");
    case proxy::GuardTable::Banned::kNoRoom: return failed(api::Errc::kBusy, "the table of bans has no room for " + client);
  }
  return api::GuardBan{proxy::text_of(*key), how_long, true};
}

api::Result<api::GuardBan> AgentTraffic::guard_unban(const std::string& client) {
  if (parts_.guard == nullptr) return failed(api::Errc::kUnsupported, kNoGuard);
  const auto key = key_of_client(client);
  if (!key) return tl::make_unexpected(key.error());
  if (!parts_.guard->unban(*key)) return failed(api::Errc::kNotFound, proxy::text_of(*key) + " was not banned at this agent; the others were told to let it in");
  return api::GuardBan{proxy::text_of(*key), {}, true};
}

}  // namespace agent
