// What a reload means for listeners, routes, pools and breakers. The rules of what goes on are those of the parts that do it:
// RouteTable::make (proxy/route.h), UpstreamChecks::set, AppBreakers::set, ProxyDriver::publish_listeners.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/config_names.h"
#include "agent/config_plan.h"

namespace agent {
namespace {

using Concerns = std::vector<PlanConcern>;

/// Pairs what has the same name in both; `same` says whether there is nothing to tell. The order is that of the old ones, then the new.
template <typename T, typename Name, typename Tell>
void compare(const std::vector<T>& before, const std::vector<T>& after, const Name& name, const Tell& tell) {
  const auto same = [](const T& a, const T& b) {
    if constexpr (std::is_same_v<T, RegistrationText>) return a.json == b.json;  // not where it was written
    else return a == b;
  };
  std::map<std::string, const T*> olds, news;
  for (const T& one : before) olds.emplace(name(one), &one);
  for (const T& one : after) news.emplace(name(one), &one);
  for (const T& one : before) {
    const auto found = news.find(name(one));
    if (found == news.end()) tell(&one, nullptr);
    else if (!same(one, *found->second)) tell(&one, found->second);
  }
  for (const T& one : after) {
    if (!olds.contains(name(one))) tell(nullptr, &one);
  }
}
template <typename T>
PlanVerb verb_of(const T* before, const T* after) {
  return before == nullptr ? PlanVerb::kAdded : after == nullptr ? PlanVerb::kRemoved : PlanVerb::kChanged;
}

// ---------------------------------------------------------------- listeners

void add_listeners(const Config& running, const Config& fresh, Concerns& out) {
  compare(running.listeners, fresh.listeners, [](const ListenConfig& one) { return one.address.text(); },
          [&](const ListenConfig* before, const ListenConfig* after) {
            const ListenConfig& one = before == nullptr ? *after : *before;
            PlanConcern concern{ConcernKind::kListener, one.address.text(), {}, verb_of(before, after), {}, {}, {}, {}};
            if (after == nullptr) concern.forgotten.emplace_back("connections bring one more request within 3 s at most; what runs there ends by itself");
            else if (before != nullptr) concern.kept.emplace_back("open connections go on by the old settings; HTTP/2 clients are asked to come again");
            out.push_back(std::move(concern));
          });
}

std::vector<TcpConfig> tcp_routes(const Config& config) {
  std::vector<TcpConfig> out;
  for (const ListenConfig& one : config.listeners) {
    if (one.tcp) out.push_back(*one.tcp);
    for (const SniConfig& sni : one.sni) out.push_back(sni.tcp);
  }
  return out;
}

void add_tcp_routes(const Config& running, const Config& fresh, Concerns& out) {
  compare(tcp_routes(running), tcp_routes(fresh), [](const TcpConfig& one) { return one.name; }, [&](const TcpConfig* before, const TcpConfig* after) {
    PlanConcern concern{ConcernKind::kTcpRoute, before == nullptr ? after->name : before->name, {}, verb_of(before, after), {}, {}, {}, {}};
    if (before != nullptr) concern.kept.emplace_back("open connections go on by the old settings until they end");
    out.push_back(std::move(concern));
  });
}

// ---------------------------------------------------------------- routes

bool same_rate(const RateConfig& a, const RateConfig& b) { return a.count == b.count && a.period == b.period && a.burst == b.burst && a.nodelay == b.nodelay; }
bool same_breaker(const BreakerConfig& a, const BreakerConfig& b) {
  return a.fail == b.fail && a.window == b.window && a.open == b.open && std::set(a.on.begin(), a.on.end()) == std::set(b.on.begin(), b.on.end());
}
std::string rate_zone(const RouteConfig& route) { return route.rate->zone.empty() ? config_route_name(route) : route.rate->zone; }

/// What becomes of the state of `before`, when `after` (null: nothing) has its name and `all` are the routes then.
void tell_route(const RouteConfig& before, const RouteConfig* after, const std::vector<RouteConfig>& all, PlanConcern& out) {
  const auto tell = [&out](bool stays, const std::string& what) { (stays ? out.kept : out.forgotten).push_back(what); };
  const auto any = [&all](const auto& fits) { return std::any_of(all.begin(), all.end(), fits); };
  if (before.breaker) tell(after != nullptr && after->breaker && same_breaker(*before.breaker, *after->breaker), "breakers: states and failures that were counted");
  if (before.rate) {
    const bool stays = any([&](const RouteConfig& one) { return one.rate && rate_zone(one) == rate_zone(before) && same_rate(*one.rate, *before.rate); });
    tell(stays, "rate limit: what clients have used of it (zone " + rate_zone(before) + ")");
  }
  if (before.concurrency > 0 && after != nullptr && after->concurrency > 0) tell(true, "concurrency: requests in flight count on");
  if (before.hedge) tell(after != nullptr && after->hedge == before.hedge, "hedge: the times that it goes by");
  if (before.cache) tell(any([](const RouteConfig& one) { return one.cache.has_value(); }), "answers in the cache");
  if (before.sticky) {
    out.session_zone = config_session_zone(before);
    const bool stays = any([&](const RouteConfig& one) { return one.sticky && config_session_zone(one) == out.session_zone && one.sticky->by == before.sticky->by; });
    tell(stays, "sessions of zone " + out.session_zone + (stays ? "" : ": their clients are told apart anew, and may get another node"));
  }
  if (before.idempotency) {
    const IdempotencyConfig& rule = *before.idempotency;
    const bool stays = any([&](const RouteConfig& one) { return one.idempotency && one.idempotency->zone == rule.zone && one.idempotency->key == rule.key; });
    tell(stays, "keys of orders of zone " + rule.zone + " (" + rule.key + ")" + (stays ? "" : ": an order that comes again with its key is not known, and is sent again"));
  }
}

void add_routes(const Config& running, const Config& fresh, Concerns& out) {
  compare(running.routes, fresh.routes, config_route_name, [&](const RouteConfig* before, const RouteConfig* after) {
    PlanConcern concern{ConcernKind::kRoute, config_route_name(before == nullptr ? *after : *before), {}, verb_of(before, after), {}, {}, {}, {}};
    if (before != nullptr) {
      concern.kept.emplace_back("requests in flight and in the queue end by the rules that they began with");
      tell_route(*before, after, fresh.routes, concern);
    }
    out.push_back(std::move(concern));
  });
}

void add_egress(const Config& running, const Config& fresh, Concerns& out) {
  const auto limits_of = [](const std::vector<EgressConfig>& all) {
    std::vector<RouteConfig> limits;
    for (const EgressConfig& one : all) {
      limits.push_back(one.limits);
      limits.back().name = one.name;
    }
    return limits;
  };
  compare(running.egress, fresh.egress, [](const EgressConfig& one) { return one.name; }, [&](const EgressConfig* before, const EgressConfig* after) {
    PlanConcern concern{ConcernKind::kEgress, before == nullptr ? after->name : before->name, {}, verb_of(before, after), {}, {}, {}, {}};
    if (before != nullptr) {
      concern.kept.emplace_back("what is under way ends by the old settings; idle connections that would lead elsewhere close");
      RouteConfig was = before->limits, is;
      was.name = before->name;
      if (after != nullptr) is = after->limits, is.name = after->name;
      tell_route(was, after == nullptr ? nullptr : &is, limits_of(fresh.egress), concern);
    }
    out.push_back(std::move(concern));
  });
}

// ---------------------------------------------------------------- pools

void add_endpoints(const UpstreamConfig* before, const UpstreamConfig* after, Concerns& out) {
  static const std::vector<UpstreamEndpointConfig> kNone;
  compare(before == nullptr ? kNone : before->endpoints, after == nullptr ? kNone : after->endpoints,
          [](const UpstreamEndpointConfig& one) { return one.text(); }, [&](const UpstreamEndpointConfig* was, const UpstreamEndpointConfig* is) {
            PlanConcern concern{ConcernKind::kEndpoint, was == nullptr ? is->text() : was->text(), before == nullptr ? after->name : before->name,
                                verb_of(was, is), {}, {}, {}, {}};
            if (was == nullptr && !after->checks.empty()) concern.kept.emplace_back("nothing is known of it: it is asked when nobody better is there, until its first check is good");
            if (was == nullptr && after->checks.empty()) concern.kept.emplace_back("nobody checks it: it is taken to be well at once");
            if (is == nullptr) concern.forgotten.emplace_back("its health, ejections and latencies; what runs there ends by itself");
            if (was != nullptr && is != nullptr) concern.kept.emplace_back("its health, ejections, latencies and connections");
            out.push_back(std::move(concern));
          });
}

void add_upstreams(const Config& running, const Config& fresh, Concerns& out) {
  compare(running.upstreams, fresh.upstreams, [](const UpstreamConfig& one) { return one.name; }, [&](const UpstreamConfig* before, const UpstreamConfig* after) {
    PlanConcern concern{ConcernKind::kUpstream, before == nullptr ? after->name : before->name, {}, verb_of(before, after), {}, {}, {}, {}};
    for (const RouteConfig& route : running.routes) {
      if (route.upstream == concern.name) concern.routes.push_back(config_route_name(route));
    }
    if (before != nullptr && after != nullptr) {
      concern.kept.emplace_back("endpoints that stay: ejections, breakers and latencies");
      const bool tls = before->tls.has_value() || after->tls.has_value();
      if (before->checks != after->checks || (tls && !after->checks.empty())) concern.forgotten.emplace_back("results of checks: they begin anew at every endpoint");
      else if (!after->checks.empty()) concern.kept.emplace_back("results of checks at endpoints that stay");
      if (tls) concern.forgotten.emplace_back("idle connections: they close");
    }
    out.push_back(std::move(concern));
    add_endpoints(before, after, out);
  });
}

// ---------------------------------------------------------------- breakers of programs, the catalog

void add_breakers(const Config& running, const Config& fresh, Concerns& out) {
  compare(running.breakers, fresh.breakers, [](const NamedBreakerConfig& one) { return one.name; },
          [&](const NamedBreakerConfig* before, const NamedBreakerConfig* after) {
            PlanConcern concern{ConcernKind::kBreaker, before == nullptr ? after->name : before->name, {}, verb_of(before, after), {}, {}, {}, {}};
            if (before != nullptr) concern.forgotten.emplace_back("its state and the failures that were reported");
            out.push_back(std::move(concern));
          });
}

std::string registered_as(const RegistrationText& text) {
  const auto parsed = nlohmann::json::parse(text.json, nullptr, false);
  for (const char* key : {"id", "check_id", "name"}) {
    if (parsed.is_object() && parsed.contains(key) && parsed[key].is_string()) return parsed[key].get<std::string>();
  }
  return text.place;
}

void add_registrations(const std::vector<RegistrationText>& before, const std::vector<RegistrationText>& after, ConcernKind kind, Concerns& out) {
  compare(before, after, registered_as, [&](const RegistrationText* was, const RegistrationText* is) {
    out.push_back({kind, registered_as(was == nullptr ? *is : *was), {}, verb_of(was, is), {}, {}, {}, {}});
  });
}

}  // namespace

std::string_view name_of(ConcernKind kind) {
  switch (kind) {
    case ConcernKind::kListener: return "listener";
    case ConcernKind::kRoute: return "route";
    case ConcernKind::kTcpRoute: return "tcp_route";
    case ConcernKind::kUpstream: return "upstream";
    case ConcernKind::kEndpoint: return "endpoint";
    case ConcernKind::kEgress: return "egress";
    case ConcernKind::kBreaker: return "breaker";
    case ConcernKind::kService: return "service";
    case ConcernKind::kCheck: return "check";
  }
  return "route";
}

std::vector<PlanConcern> plan_concerns(const Config& running, const Config& fresh) {
  Concerns out;
  add_listeners(running, fresh, out);
  add_tcp_routes(running, fresh, out);
  add_routes(running, fresh, out);
  add_upstreams(running, fresh, out);
  add_egress(running, fresh, out);
  add_breakers(running, fresh, out);
  add_registrations(running.services, fresh.services, ConcernKind::kService, out);
  add_registrations(running.node_checks, fresh.node_checks, ConcernKind::kCheck, out);
  return out;
}

}  // namespace agent
