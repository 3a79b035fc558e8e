#include "agent/health_exchange.h"

#include <algorithm>
#include <utility>

#include "agent/cluster.h"

namespace agent {
namespace {

using Shares = std::vector<std::vector<std::shared_ptr<proxy::EndpointShare>>>;

bool speaks(const gossip::Member& member, const gossip::MemberId& self) { return member.id != self && member.is_live(); }

std::string texts_of(std::span<const gossip::Member> members, const gossip::MemberId& self) {
  std::string texts;
  for (const gossip::Member& member : members) {
    if (!speaks(member, self)) continue;
    if (const auto text = member.tags.get(kHealthTag)) texts.append(member.id.to_string()).append(*text);
  }
  return texts;
}

}  // namespace

HealthExchange::HealthExchange(io::Loop& loop, HealthExchangeParts parts)
    : parts_(std::move(parts)), share_(parts_.first_serial), look_(loop, [this] { look_now(); }), timer_(loop, [this] { look_now(); }) {}

void HealthExchange::on_members() {
  std::string texts = texts_of(parts_.members(), parts_.self);
  if (texts == heard_) return;
  look();
}

void HealthExchange::look_now() {
  const proxy::EndpointTable* endpoints = parts_.endpoints();
  table_ = parts_.routes();
  if (endpoints == nullptr || table_ == nullptr) return;
  const auto members = parts_.members();
  heard_ = texts_of(members, parts_.self);
  Shares shares;
  for (const proxy::PoolEndpoints& pool : endpoints->pools) {
    shares.emplace_back();
    for (const proxy::Endpoint& endpoint : pool.endpoints) shares.back().push_back(parts_.proxy->share_of(endpoint.id));
  }
  std::vector<HealthShare::Peer> peers;
  for (const gossip::Member& member : members) {
    if (!speaks(member, parts_.self)) continue;
    peers.push_back({raft_id_of(member.id).value, member.name, member.tags.get(kHealthTag).value_or("")});
  }
  Breakers breakers;
  const HealthShare::View now = view(shares, members, breakers);
  const HealthShare::Decision decision = share_.look(io::boottime_now(), now, peers);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    for (std::size_t j = 0; j < shares[i].size(); ++j) {
      if (shares[i][j] == nullptr) continue;
      const auto advice = decision.advice.find(endpoints->pools[i].endpoints[j].id);
      shares[i][j]->outlier.advise(advice == decision.advice.end() ? proxy::TimePoint{} : advice->second);
    }
  }
  carry_out(breakers, decision);
  table_.reset();
}

HealthShare::View HealthExchange::view(const Shares& shares, std::span<const gossip::Member> members, Breakers& breakers) const {
  HealthShare::View out;
  out.outlier = parts_.outlier;
  out.rank = static_cast<std::size_t>(std::count_if(members.begin(), members.end(), [&](const gossip::Member& member) {
    return speaks(member, parts_.self) && member.id < parts_.self;
  }));
  const auto& pools = parts_.endpoints()->pools;
  for (std::size_t i = 0; i < pools.size(); ++i) {
    out.pools.emplace_back();
    for (std::size_t j = 0; j < pools[i].endpoints.size(); ++j) {
      const proxy::Endpoint& endpoint = pools[i].endpoints[j];
      HealthShare::Endpoint one;
      one.id = endpoint.id;
      one.name = endpoint.node.empty() ? endpoint.address : endpoint.node;
      one.usable = proxy::is_usable(endpoint);
      if (shares[i][j] != nullptr) one.ejected_until = shares[i][j]->outlier.ejected_until();
      parts_.add_checks(one);
      out.pools.back().endpoints.push_back(std::move(one));
    }
  }
  for (const proxy::Route& route : table_->routes()) {
    if (route.breakers == nullptr) continue;
    const auto pool = std::find_if(pools.begin(), pools.end(), [&](const proxy::PoolEndpoints& one) { return one.pool == route.pool; });
    if (pool == pools.end()) continue;
    HealthShare::Route one{key_of_route(route.name), route.name, static_cast<std::size_t>(pool - pools.begin()), {}};
    for (const proxy::Endpoint& endpoint : pool->endpoints) one.breakers.push_back(route.breakers->look(endpoint.id));
    out.routes.push_back(std::move(one));
    breakers.push_back(route.breakers);
  }
  add_app_breakers(out, breakers);
  return out;
}

/// Each is a route of its own to one place that no request can go to: so no word about it is spared for the pool's sake.
void HealthExchange::add_app_breakers(HealthShare::View& view, Breakers& breakers) const {
  if (parts_.app_breakers == nullptr || parts_.app_breakers->all().empty()) return;
  HealthShare::Endpoint place;
  place.id = AppBreakers::kPlace;
  place.name = "a program's calls";
  place.usable = false;
  view.pools.push_back({{place}});
  for (const auto& [name, breaker] : parts_.app_breakers->all()) {
    view.routes.push_back({key_of_route("app/" + name), name, view.pools.size() - 1, {breaker->look(AppBreakers::kPlace)}});
    breakers.push_back(breaker);
  }
}

void HealthExchange::carry_out(const Breakers& all, const HealthShare::Decision& decision) {
  const io::TimePoint now = io::boottime_now();
  for (const HealthShare::Order& order : decision.orders) {
    proxy::BreakerTable& breakers = *all[order.route];
    if (order.open) breakers.advise(order.id, order.until);
    else breakers.relent(order.id, now);
  }
  for (const proxy::EndpointId id : decision.check_now) parts_.check_now(id);
  for (const std::string& note : decision.notes) parts_.log(note);
  text_ = decision.text;
  tell();
}

/// A burst of news makes one tag.
void HealthExchange::tell() {
  const io::TimePoint now = io::boottime_now();
  io::TimePoint next = share_.next_deadline();
  if (text_ != told_) {
    if (now - told_at_ < kTellEvery) {
      next = std::min(next, told_at_ + kTellEvery);
    } else {
      told_at_ = now;
      if (parts_.tell(text_)) told_ = text_;
      else next = std::min(next, now + kTellEvery);
    }
  }
  if (next == io::TimePoint::max()) timer_.disarm();
  else timer_.arm(std::max(next, now));
}

}  // namespace agent
