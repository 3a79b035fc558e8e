#include "agent/upstream_names.h"

#include <algorithm>
#include <set>
#include <utility>

namespace agent {

UpstreamNames::UpstreamNames(io::Loop& loop, Parts parts) : loop_(loop), parts_(std::move(parts)), timer_(loop, [this] { look_up(); }) {}

void UpstreamNames::set(const std::vector<UpstreamConfig>& upstreams) {
  std::map<std::string, Name> kept;
  for (const UpstreamConfig& upstream : upstreams) {
    for (const UpstreamEndpointConfig& endpoint : upstream.endpoints) {
      if (endpoint.name.empty()) continue;
      const auto [place, fresh] = kept.try_emplace(endpoint.name);
      Name& name = place->second;
      if (const auto old = names_.find(endpoint.name); fresh && old != names_.end()) name = std::move(old->second);
      if (fresh) name.every = upstream.resolve;
      name.every = std::min(name.every, upstream.resolve);
    }
  }
  names_ = std::move(kept);
  look_up();
}

std::vector<UpstreamConfig> UpstreamNames::places(const std::vector<UpstreamConfig>& upstreams) const {
  std::vector<UpstreamConfig> out = upstreams;
  for (UpstreamConfig& upstream : out) {
    std::vector<UpstreamEndpointConfig> endpoints;
    std::set<std::string> seen;  // an address that two names lead to is one endpoint
    for (const UpstreamEndpointConfig& endpoint : upstream.endpoints) {
      if (endpoint.name.empty()) {
        if (seen.insert(endpoint.address.text()).second) endpoints.push_back(endpoint);
        continue;
      }
      const auto known = names_.find(endpoint.name);
      if (known == names_.end()) continue;
      for (const std::string& host : known->second.hosts) {
        UpstreamEndpointConfig one = endpoint;
        one.address.host = host;
        if (seen.insert(one.address.text()).second) endpoints.push_back(std::move(one));
      }
    }
    upstream.endpoints = std::move(endpoints);
  }
  return out;
}

std::vector<std::string> UpstreamNames::ordered(const std::vector<io::Address>& found) {
  std::set<std::string> hosts;
  for (const io::Address& address : found) hosts.insert(address.host());
  std::vector<std::string> out(hosts.begin(), hosts.end());
  if (out.size() > kAddressesMax) out.resize(kAddressesMax);
  return out;
}

void UpstreamNames::look_up() {
  const io::TimePoint now = io::boottime_now();
  for (auto& [text, name] : names_) {
    if (name.running != nullptr || now < name.due) continue;
    name.running = io::resolve(loop_, text, 0, [this, text = text](const io::Result<std::vector<io::Address>>& answer) { on_answer(text, answer); });
  }
  arm();
}

void UpstreamNames::on_answer(const std::string& text, const io::Result<std::vector<io::Address>>& answer) {
  const auto found = names_.find(text);
  if (found == names_.end()) return;
  Name& name = found->second;
  const auto done = std::move(name.running);  // lives until this call, which it has made, is over
  const bool good = answer && !answer->empty();
  name.pause = good ? io::Milliseconds(0) : std::min(std::max(kAgain, name.pause * 2), name.every);
  name.due = io::boottime_now() + (good ? name.every : name.pause);
  const std::string fault = good ? std::string() : answer ? "no addresses" : answer.error().detail;
  if (!fault.empty() && fault != name.fault)
    parts_.warn(text + ": " + fault + (name.hosts.empty() ? "; it has no address yet, and is looked up again" : "; the addresses that it had are kept"));
  name.fault = fault;
  arm();
  if (!good) return;
  std::vector<std::string> hosts = ordered(*answer);
  if (hosts == name.hosts) return;
  name.hosts = std::move(hosts);
  parts_.on_change();
}

void UpstreamNames::arm() {
  io::TimePoint next = io::TimePoint::max();
  for (const auto& [text, name] : names_) {
    if (name.running == nullptr) next = std::min(next, name.due);
  }
  if (next == io::TimePoint::max()) timer_.disarm();
  else timer_.arm(std::max(next, io::boottime_now()));
}

}  // namespace agent
