#include "agent/egress_keeper.h"

#include <algorithm>
#include <utility>

#include "agent/config_egress.h"
#include "agent/io/clock.h"
#include "agent/io/crypto.h"
#include "agent/io/file.h"
#include "agent/io/wall_clock.h"
#include "agent/listen_tls.h"
#include "agent/parts.h"
#include "agent/upstreams.h"
#include "proxy/connect_head.h"

namespace agent {
namespace {

constexpr Milliseconds kAgain{1000};          // after a look-up that failed
constexpr std::size_t kAddressesMax = 16;     // of one name that are used
constexpr std::size_t kSecretBytesMax = 8192;

std::string pool_of(const EgressConfig& egress, const std::string& target) { return egress.name + " " + target; }

/// A value as a field can carry it; empty = it cannot.
std::string field_value(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  return plain && text.size() <= kSecretBytesMax ? text : std::string();
}

std::vector<std::string> texts_of(const std::vector<io::Address>& addresses) {
  std::vector<std::string> out;
  for (const io::Address& one : addresses) out.push_back(one.to_string());
  std::sort(out.begin(), out.end());
  if (out.size() > kAddressesMax) out.resize(kAddressesMax);
  return out;
}

proxy::Endpoint endpoint_of(const std::string& pool, const std::string& address, std::shared_ptr<const drivers::EgressPlace> place) {
  proxy::Endpoint endpoint;
  endpoint.id = upstream_id("egress " + pool, parse_host_port(address).value_or(HostPort()));
  endpoint.kind = proxy::EndpointKind::kStatic;
  endpoint.address = endpoint.node = address;
  endpoint.egress = std::move(place);
  return endpoint;
}

}  // namespace

io::Result<std::vector<drivers::ProxyListen>> egress_listeners(const Config& config) {
  std::vector<drivers::ProxyListen> out;
  std::map<std::string, std::size_t> shared;
  for (const EgressConfig& egress : config.egress) {
    auto address = address_of(egress.listen, "egress \"" + egress.name + "\".listen");
    if (!address) return tl::make_unexpected(address.error());
    const bool requests = !egress.url.empty();
    // Port 0 is another port for each; the rest of one name is one listener.
    if (requests && (egress.listen.is_unix() || egress.listen.port != 0) && !shared.emplace(egress.listen.text(), out.size()).second) continue;
    auto listen = std::make_shared<drivers::EgressListen>();
    if (!requests) listen->name = egress.name;
    if (!egress.to.empty()) listen->relay = egress_relay(config, egress, pool_of(egress, egress.to));
    for (const std::string& target : egress.connect)
      listen->tunnels.push_back({proxy::canonical_target(target), egress_relay(config, egress, pool_of(egress, target))});
    drivers::ProxyListen one{*address};
    one.egress = std::move(listen);
    out.push_back(std::move(one));
  }
  return out;
}

EgressKeeper::EgressKeeper(Parts parts) : parts_(std::move(parts)) {}

EgressKeeper::~EgressKeeper() {
  *alive_ = false;
  for (const auto& [key, id] : watched_) parts_.store->unwatch(static_cast<store::kv::WatchId>(id));
}

io::Result<std::map<std::string, EgressKeeper::Target>> EgressKeeper::targets_of(const Config& config) {
  std::map<std::string, Target> targets;
  for (const EgressConfig& egress : config.egress) {
    auto place = std::make_shared<drivers::EgressPlace>(egress.service, egress.name);
    if (egress.tls) {
      auto context = client_tls(*egress.tls, io::wall_ms());
      if (!context) return io::fail(context.error().code, "egress \"" + egress.name + "\".tls: " + context.error().detail);
      place->tls = std::move(*context);
      place->server_name = egress.tls->server_name;
    }
    const auto add = [&](const std::string& pool, const std::string& host, std::uint16_t port) {
      Target& target = targets[pool];
      target.pool = pool;
      target.host = host;
      target.port = port;
      target.every = egress.resolve_every;
      target.place = place;
    };
    if (!egress.url.empty()) add(egress.name, egress.host, egress.port);
    std::vector<std::string> tunnels = egress.connect;
    if (!egress.to.empty()) tunnels.push_back(egress.to);
    for (const std::string& text : tunnels) {
      const auto to = config_target(text).value_or(std::pair<std::string, std::uint16_t>());
      add(pool_of(egress, text), to.first, to.second);
    }
  }
  return targets;
}

io::Result<void> EgressKeeper::valid(const Config& config) {
  if (auto targets = targets_of(config); !targets) return tl::make_unexpected(targets.error());
  if (auto listeners = egress_listeners(config); !listeners) return tl::make_unexpected(listeners.error());
  EgressKeeper probe((Parts()));
  if (auto routes = probe.routes(config.egress, config); !routes) return tl::make_unexpected(routes.error());
  return {};
}

std::vector<proxy::EgressField> EgressKeeper::fields_of(const EgressConfig& egress) const {
  std::vector<proxy::EgressField> fields;
  for (const std::string& line : egress.inject) {
    const auto place = config_inject(line);
    if (!place) continue;
    proxy::EgressField field;
    field.name = place->field;
    std::string value;
    if (place->from_file) {
      if (auto text = io::read_file(place->place, kSecretBytesMax)) value = std::move(*text);
    } else if (parts_.store != nullptr) {
      if (const store::kv::Entry* entry = parts_.store->core().state().get(place->place)) value = entry->value;
    }
    value = field_value(std::move(value));
    field.known = !value.empty();
    field.value = place->prefix + value;
    fields.push_back(std::move(field));
  }
  return fields;
}

io::Result<std::shared_ptr<const proxy::RouteTable>> EgressKeeper::routes(const std::vector<EgressConfig>& egress, const Config& config) const {
  std::vector<proxy::Route> made;
  for (const EgressConfig& one : egress) {
    if (one.url.empty()) continue;
    auto rule = std::make_shared<proxy::EgressRule>();
    rule->name = one.name;
    rule->prefix = "/egress/" + one.name;
    rule->base = one.base;
    const bool usual = one.port == (one.tls ? 443 : 80);
    const std::string host = one.host.find(':') == std::string::npos ? one.host : "[" + one.host + "]";
    rule->host = usual ? host : host + ":" + std::to_string(one.port);
    rule->epoch_field = one.epoch_header;
    rule->fields = fields_of(one);
    auto route = egress_route(one, config.proxy.body_bytes_max, std::move(rule));
    if (!route) return tl::make_unexpected(route.error());
    made.push_back(std::move(*route));
  }
  auto table = proxy::RouteTable::make(std::move(made), routes_.get(), {io::random_below(UINT64_MAX), io::random_below(UINT64_MAX)});
  if (!table) return io::fail(io::Errc::kInvalidArgument, "egress: " + table.error().detail);
  return *table;
}

io::Result<void> EgressKeeper::set(const Config& config) {
  auto targets = targets_of(config);
  if (!targets) return tl::make_unexpected(targets.error());
  auto table = routes(config.egress, config);
  if (!table) return tl::make_unexpected(table.error());
  const bool never = config.egress.empty() && config_.empty();
  base_ = config;
  config_ = config.egress;
  routes_ = std::move(*table);
  // What is known of a name goes on until it is looked up again.
  for (auto& [pool, target] : *targets) {
    const auto old = targets_.find(pool);
    if (old != targets_.end() && old->second.host == target.host && old->second.port == target.port) target.addresses = old->second.addresses;
  }
  targets_ = std::move(*targets);
  if (never) return {};
  for (auto& [pool, target] : targets_) {
    target.timer = std::make_unique<io::Timer>(*parts_.loop, [this, name = pool] { look_up(name); });
    if (const auto literal = io::Address::ip(target.host, target.port)) target.addresses = {literal->to_string()};
    else look_up(pool);
  }
  watch_keys();
  publish();
  return {};
}

// ---- names ----

void EgressKeeper::look_up(const std::string& pool) {
  Target& target = targets_.at(pool);
  target.running = io::resolve(*parts_.loop, target.host, target.port, [this, pool](io::Result<std::vector<io::Address>> answer) {
    resolved(pool, std::move(answer));
  });
}

void EgressKeeper::resolved(const std::string& pool, io::Result<std::vector<io::Address>> answer) {
  Target& target = targets_.at(pool);
  const std::unique_ptr<io::Resolution> done = std::move(target.running);
  const bool good = answer && !answer->empty();
  target.timer->arm_after(good ? target.every : std::min(kAgain, target.every));
  if (!good) {
    const bool news = target.fault.empty();
    target.fault = target.host + " was not found: " + (answer ? std::string("no address") : answer.error().detail);
    if (news) parts_.log("egress_name", target.fault + (target.addresses.empty() ? "" : "; what was known of it goes on"), true);
    return;
  }
  if (!std::exchange(target.fault, {}).empty()) parts_.log("egress_name", target.host + " is found again", false);
  auto addresses = texts_of(*answer);
  if (addresses == target.addresses) return;
  target.addresses = std::move(addresses);
  publish();
}

// ---- credentials ----

void EgressKeeper::watch_keys() {
  std::map<std::string, std::uint64_t> kept;
  for (const EgressConfig& egress : config_) {
    for (const std::string& line : egress.inject) {
      const auto place = config_inject(line);
      if (!place || place->from_file || kept.contains(place->place)) continue;
      const auto old = watched_.extract(place->place);
      if (!old.empty()) {
        kept.insert(std::make_pair(old.key(), old.mapped()));
        continue;
      }
      const store::kv::Topic topic{store::kv::Topic::Kind::kKey, place->place};
      const auto id = parts_.store->watch(topic, parts_.store->core().state().topic_index(topic), [this, key = place->place] { key_changed(key); });
      if (id) kept[place->place] = static_cast<std::uint64_t>(*id);
      else parts_.log("egress_credential", "too many waits at this agent: a change of a credential is seen at the next reload", true);
    }
  }
  for (const auto& [key, id] : watched_) parts_.store->unwatch(static_cast<store::kv::WatchId>(id));
  watched_ = std::move(kept);
}

void EgressKeeper::key_changed(const std::string& key) {
  watched_.erase(key);
  watch_keys();
  auto table = routes(config_, base_);
  if (!table) return parts_.log("egress_credential", table.error().detail, true);
  routes_ = std::move(*table);
  publish();
}

void EgressKeeper::publish() {
  auto news = std::make_shared<drivers::EgressNews>();
  std::map<proxy::EndpointId, std::shared_ptr<proxy::EndpointShare>> kept;
  news->routes = routes_;
  for (const auto& [pool, target] : targets_) {
    proxy::PoolEndpoints endpoints{pool, {}};
    for (const std::string& address : target.addresses) {
      proxy::Endpoint endpoint = endpoint_of(pool, address, target.place);
      auto& share = kept[endpoint.id] = shares_[endpoint.id];
      if (share == nullptr) share = std::make_shared<proxy::EndpointShare>();
      endpoint.share = share;
      endpoints.endpoints.push_back(std::move(endpoint));
    }
    news->endpoints.pools.push_back(std::move(endpoints));
  }
  shares_ = std::move(kept);
  parts_.proxy->publish_egress(std::move(news));
}

// ---- for people ----

std::vector<api::EgressEntry> EgressKeeper::entries(const drivers::EgressTotals* totals) const {
  std::vector<api::EgressEntry> out;
  for (const EgressConfig& egress : config_) {
    api::EgressEntry entry;
    entry.name = egress.name;
    entry.mode = !egress.url.empty() ? "url" : !egress.to.empty() ? "tcp" : "connect";
    entry.listen = egress.listen.text();
    entry.target = !egress.url.empty() ? egress.url : egress.to;
    for (const std::string& one : egress.connect) entry.target += (entry.target.empty() ? "" : ", ") + one;
    for (const auto& [pool, target] : targets_) {
      if (target.place->egress != egress.name) continue;
      entry.addresses.insert(entry.addresses.end(), target.addresses.begin(), target.addresses.end());
      if (target.addresses.empty() && !target.fault.empty()) entry.fault = target.fault;
    }
    for (const proxy::Route& route : routes_ ? routes_->routes() : std::vector<proxy::Route>()) {
      if (route.name == egress.name && !route.egress->complete()) entry.fault = "a credential of inject is not there";
    }
    if (totals != nullptr) {
      const auto of = [&](const auto& map) { const auto found = map.find(egress.name); return found == map.end() ? std::uint64_t{0} : std::uint64_t{found->second}; };
      const auto found = totals->by_name.find(egress.name);
      const proxy::EgressCounters c = found == totals->by_name.end() ? proxy::EgressCounters() : found->second;
      entry.counters = {{"requests", of(totals->requests)}, {"open", of(totals->open)}, {"bytes_out", c.bytes_out}, {"bytes_in", c.bytes_in}, {"resets", c.resets}};
      for (std::size_t i = 1; i < c.refused.size(); ++i)
        entry.counters.emplace_back("refused_" + std::string(proxy::name_of(static_cast<proxy::EgressVerdict>(i))), c.refused[i]);
      entry.counters.emplace_back("refused_unreadable", c.unreadable);
      entry.counters.emplace_back("refused_no_credential", c.incomplete);
    }
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace agent
