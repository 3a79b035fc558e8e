#include "agent/health_share.h"

#include <algorithm>
#include <set>

namespace agent {
namespace {

using proxy::BreakerState;

std::string seconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms";
}

}  // namespace

HealthShare::About HealthShare::about(WordKind kind) {
  switch (kind) {
    case WordKind::kEjected: return About::kTraffic;
    case WordKind::kFailing: return About::kChecks;
    case WordKind::kOpen:
    case WordKind::kProbing:
    case WordKind::kClosed: break;
  }
  return About::kBreaker;
}

HealthShare::Decision HealthShare::look(TimePoint now, const View& view, const std::vector<Peer>& peers) {
  Decision out;
  next_ = TimePoint::max();
  hear(now, peers);
  decide_advice(now, view, out);
  for (std::size_t i = 0; i < view.routes.size(); ++i) decide_breakers(now, view, i, out);
  order_checks(view, out);
  tell(now, view);
  out.text = text_;
  for (auto& [key, heard] : heard_) {
    heard.fresh = false;
    if (heard.standing && heard.until > now) next_ = std::min(next_, heard.until);
  }
  return out;
}

// ---------------------------------------------------------------- what others say

void HealthShare::hear(TimePoint now, const std::vector<Peer>& peers) {
  std::set<std::uint64_t> there;
  for (const Peer& peer : peers) {
    there.insert(peer.id);
    std::string& text = texts_[peer.id];
    if (text == peer.text) continue;
    text = peer.text;
    for (auto& [key, heard] : heard_) {
      if (std::get<0>(key) == peer.id) heard.standing = false;
    }
    const auto words = decode_words(peer.text);
    if (!words) ++counters_.malformed;
    if (!words) continue;
    for (const HealthWord& word : *words) take_in(now, peer, word);
  }
  std::erase_if(texts_, [&](const auto& entry) { return !there.contains(entry.first); });
  for (auto& [key, heard] : heard_) {
    if (!there.contains(std::get<0>(key))) heard.standing = false;
  }
  std::erase_if(heard_, [&](const auto& entry) { return !entry.second.standing && now - entry.second.until > kForgetAfter; });
}

void HealthShare::take_in(TimePoint now, const Peer& peer, const HealthWord& word) {
  const HeardKey key{peer.id, about(word.kind), word.route, word.endpoint};
  const auto known = heard_.find(key);
  if (known != heard_.end() && known->second.serial == word.serial && known->second.kind == word.kind) {
    known->second.standing = true;
    return;
  }
  ++counters_.heard;
  if (known == heard_.end() && heard_.size() >= kHeardMax) {
    ++counters_.doubted;
    return;
  }
  Heard& heard = heard_[key];
  // Checks are made again and again, and an own one outranks them: nothing to be counted. A probe follows its opening.
  const bool counts = word.kind == WordKind::kEjected || word.kind == WordKind::kOpen;
  if (now - heard.until > kForgetAfter) heard.count = 0;
  if (counts) ++heard.count;
  heard.believed = heard.count <= kBelievedMax || !counts;
  if (!heard.believed) ++counters_.doubted;
  heard.kind = word.kind;
  heard.serial = word.serial;
  heard.at = now;
  // One that is not believed does not put off the day when its speaker is believed again.
  if (heard.believed) heard.until = std::chrono::floor<Milliseconds>(now) + word.left;
  heard.standing = heard.fresh = true;
  heard.who = peer.name;
}

/// @param later_than  words from before say nothing any more
HealthShare::Word HealthShare::word_about(TimePoint now, About what, RouteKey route, EndpointKey endpoint, TimePoint later_than) const {
  Word word;
  for (const auto& [key, heard] : heard_) {
    if (std::get<1>(key) != what || std::get<2>(key) != route || std::get<3>(key) != endpoint) continue;
    if (!heard.standing || !heard.believed || heard.at < later_than) continue;
    if (heard.fresh) word.fresh = true;
    if (heard.kind == WordKind::kClosed) {
      if (heard.fresh) word.closed = true;
      continue;
    }
    if (heard.until <= now || heard.until <= word.until) continue;
    word.until = heard.until;
    word.probing = heard.kind == WordKind::kProbing;
    word.who = heard.who;
  }
  return word;
}

// ---------------------------------------------------------------- what is made of it

/// Ejections and failing checks: as many as every pool can spare, in the order of their ids, so that all agents spare the same.
void HealthShare::decide_advice(TimePoint now, const View& view, Decision& out) {
  if (heard_.empty()) return;
  std::map<proxy::EndpointId, Word> wanted;
  std::map<proxy::EndpointId, const Endpoint*> known;
  for (const Pool& pool : view.pools) {
    for (const Endpoint& endpoint : pool.endpoints) {
      if (!known.emplace(endpoint.id, &endpoint).second || endpoint.ejected_until > now || !endpoint.usable) continue;
      Word word = word_about(now, About::kTraffic, RouteKey::kNone, key_of(endpoint.id), TimePoint::min());
      const Word checks = word_about(now, About::kChecks, RouteKey::kNone, key_of(endpoint.id), endpoint.well_at);
      if (checks.until > word.until) word = checks;
      if (word.until > now) wanted.emplace(endpoint.id, word);
    }
  }
  const auto gone = [&](const Endpoint& endpoint) { return endpoint.ejected_until > now || out.advice.contains(endpoint.id); };
  for (const auto& [id, word] : wanted) {
    bool spare = true;
    for (const Pool& pool : view.pools) {
      const auto count = [&](auto predicate) { return static_cast<std::size_t>(std::count_if(pool.endpoints.begin(), pool.endpoints.end(), predicate)); };
      if (count([&, wanted_id = id](const Endpoint& e) { return e.id == wanted_id; }) == 0) continue;
      const std::size_t usable = count([](const Endpoint& e) { return e.usable; });
      const std::size_t ejected = count([&](const Endpoint& e) { return e.usable && gone(e); });
      spare = spare && proxy::may_eject(view.outlier, usable, ejected);
    }
    if (!spare && word.fresh) ++counters_.spared;
    if (spare) out.advice.emplace(id, word.until);
    if (word.fresh)
      out.notes.push_back(known.at(id)->name + (spare ? ": left out for " + seconds(word.until - now) : ": " + std::string("kept, its pool cannot spare it")) + ", at the word of " + word.who);
  }
}

/// The breakers of one route: words open as many as leave somebody to ask.
void HealthShare::decide_breakers(TimePoint now, const View& view, std::size_t index, Decision& out) {
  const Route& route = view.routes[index];
  const std::vector<Endpoint>& endpoints = view.pools[route.pool].endpoints;
  const Milliseconds behind = kBehindOwner + kBehindNext * static_cast<std::int64_t>(std::min(view.rank, kRanksMax));
  std::size_t left = 0;  // endpoints that could be asked, were it not for words
  const auto askable = [&](std::size_t i) {
    const auto& look = route.breakers[i];
    const bool shut = look.state == BreakerState::kHalfOpen || (look.state == BreakerState::kOpen && !look.by_word && look.until > now);
    return endpoints[i].usable && endpoints[i].ejected_until <= now && !out.advice.contains(endpoints[i].id) && !shut;
  };
  for (std::size_t i = 0; i < endpoints.size(); ++i) left += askable(i) ? 1 : 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    const auto& look = route.breakers[i];
    const Word word = word_about(now, About::kBreaker, route.key, key_of(endpoints[i].id), TimePoint::min());
    const auto relent = [&] { out.orders.push_back({index, endpoints[i].id, false, {}}); };
    if (look.state == BreakerState::kHalfOpen) continue;  // soon we know ourselves
    const bool own = look.state == BreakerState::kOpen && !look.by_word;
    if (word.closed && look.state == BreakerState::kOpen) {
      out.notes.push_back(route.name + ", " + endpoints[i].name + ": another agent's probe went well, the breaker " + (own ? "sends its own" : "closes"));
      relent();
      continue;
    }
    if (own && !word.probing) continue;  // it has seen for itself; two that have both probe
    const TimePoint until = word.until > now ? word.until + behind : std::min<TimePoint>(look.until, std::chrono::floor<Milliseconds>(now) + behind);
    const bool shut = word.until > now || (look.by_word && until > now);
    if (!shut) continue;
    if (askable(i) && left <= 1) {
      if (word.fresh) ++counters_.spared;
      if (look.by_word) relent();
      continue;
    }
    if (askable(i)) --left;
    if (look.state == BreakerState::kClosed)
      out.notes.push_back(route.name + ", " + endpoints[i].name + ": breaker open for " + seconds(until - now) + " at the word of " + word.who);
    if ((own || look.state == BreakerState::kClosed || look.until != until) && (!own || until > look.until)) out.orders.push_back({index, endpoints[i].id, true, until});
  }
}

/// Whoever can look at an endpoint itself does so as soon as somebody has had trouble there.
void HealthShare::order_checks(const View& view, Decision& out) const {
  std::set<EndpointKey> trouble;
  for (const auto& [key, heard] : heard_) {
    if (heard.fresh && heard.kind != WordKind::kClosed && heard.kind != WordKind::kProbing) trouble.insert(std::get<3>(key));
  }
  if (trouble.empty()) return;
  for (const Pool& pool : view.pools) {
    for (const Endpoint& endpoint : pool.endpoints) {
      if (trouble.contains(key_of(endpoint.id))) out.check_now.push_back(endpoint.id);
    }
  }
}

// ---------------------------------------------------------------- what is told

void HealthShare::say(ToldKey key, WordKind kind, TimePoint until, bool changed) {
  const auto [place, fresh] = told_.try_emplace(key);
  Told& told = place->second;
  if (!fresh && told.kind == kind && told.said && !changed) return;
  told = {kind, ++serial_, until, true};
  ++counters_.told;
}

void HealthShare::tell_breaker(TimePoint now, ToldKey key, const proxy::BreakerTable::Look& look) {
  const auto known = told_.find(key);
  const bool until_changed = known != told_.end() && known->second.until != look.until;
  switch (look.state) {
    case BreakerState::kHalfOpen: return say(key, WordKind::kProbing, look.until, until_changed);
    case BreakerState::kOpen:
      if (look.by_word) static_cast<void>(told_.erase(key));
      else if (look.until > now) say(key, WordKind::kOpen, look.until, until_changed);
      else if (known != told_.end()) known->second.said = false;  // it waits for its probe
      return;
    case BreakerState::kClosed:
      // Nothing but its probe closes what was opened by failures.
      if (known != told_.end() && known->second.kind != WordKind::kClosed) say(key, WordKind::kClosed, now + kClosedTold, true);
  }
}

void HealthShare::tell(TimePoint now, const View& view) {
  std::set<ToldKey> seen;
  for (const Pool& pool : view.pools) {
    for (const Endpoint& endpoint : pool.endpoints) {
      const ToldKey traffic{About::kTraffic, RouteKey::kNone, key_of(endpoint.id)}, checks{About::kChecks, RouteKey::kNone, key_of(endpoint.id)};
      if (endpoint.ejected_until > now && seen.insert(traffic).second) {
        const auto known = told_.find(traffic);
        say(traffic, WordKind::kEjected, endpoint.ejected_until, known != told_.end() && known->second.until != endpoint.ejected_until);
      }
      if (endpoint.failing && seen.insert(checks).second) {
        const auto known = told_.find(checks);
        say(checks, WordKind::kFailing, now + kFailingTold, known != told_.end() && known->second.until - now < kFailingTold / 3);
      }
    }
  }
  for (const Route& route : view.routes) {
    const std::vector<Endpoint>& endpoints = view.pools[route.pool].endpoints;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      const ToldKey key{About::kBreaker, route.key, key_of(endpoints[i].id)};
      if (!seen.insert(key).second) continue;
      tell_breaker(now, key, route.breakers[i]);
    }
  }
  std::erase_if(told_, [&](const auto& entry) {
    const bool over = entry.second.kind == WordKind::kClosed && entry.second.until <= now;
    return over || !seen.contains(entry.first);
  });
  write_text(now);
}

/// The text stays as it is until something else is to be said: every change of it goes through the whole cluster.
void HealthShare::write_text(TimePoint now) {
  std::vector<std::pair<ToldKey, const Told*>> words;
  for (const auto& [key, told] : told_) {
    if (!told.said) continue;
    words.emplace_back(key, &told);
    next_ = std::min(next_, told.kind == WordKind::kFailing ? told.until - kFailingTold / 3 + Milliseconds(1) : told.until);
  }
  // Those that end last are told first: they are worth most.
  std::stable_sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.second->until > b.second->until; });
  if (words.size() > kWordsMax) words.resize(kWordsMax);
  std::vector<std::pair<ToldKey, std::uint16_t>> written;
  for (const auto& [key, told] : words) written.emplace_back(key, told->serial);
  std::sort(written.begin(), written.end());
  if (written == written_) return;
  const auto said = static_cast<std::uint64_t>(std::count_if(told_.begin(), told_.end(), [](const auto& one) { return one.second.said; }));
  counters_.untold += said - words.size();
  written_ = std::move(written);
  std::vector<HealthWord> out;
  for (const auto& [key, told] : words) {
    const auto left = std::chrono::duration_cast<Milliseconds>(std::max(told->until - now, proxy::TimePoint::duration(0)));
    out.push_back({told->kind, told->serial, left, std::get<2>(key), std::get<1>(key)});
  }
  text_ = encode_words(out);
}

}  // namespace agent
