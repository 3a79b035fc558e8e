#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/own.h"
#include "agent/api/query.h"
#include "agent/api/traffic_backend.h"

/// /outrigger/v1/upstreams/eject, breakers and guard: what operators and programs do to traffic.
namespace agent::api {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kEjectDefault{3'600'000}, kEjectMax{24LL * 3'600'000}, kBanMax{30LL * 24 * 3'600'000};

TrafficBackend* traffic_of(Api& api, const Call& call) {
  TrafficBackend* traffic = api.backend().traffic();
  if (traffic == nullptr) api.fail(call.id, {Errc::kUnavailable, "this agent has no proxy, or is still starting", {}});
  return traffic;
}

/// "true", "false" or not there. @return false: something else
bool read_flag(const Fields& fields, const std::string& name, std::optional<bool>& out) {
  const std::string text = fields.text(name);
  if (text == "true") out = true;
  else if (text == "false") out = false;
  else if (!text.empty()) return false;
  return true;
}

/// @return nullopt: the call was answered
std::optional<milliseconds> read_for(Api& api, const Call& call, const Fields& fields, milliseconds absent, milliseconds most) {
  const std::string text = fields.text("for");
  if (text.empty()) return absent;
  const auto parsed = parse_duration(text);
  if (parsed && *parsed >= milliseconds(1000) && *parsed <= most) return *parsed;
  api.fail(call.id, {Errc::kBadRequest, "\"for\" is a duration from 1s to " + std::to_string(most.count() / 3'600'000) + "h, such as 10m", {}});
  return std::nullopt;
}

// ---------------------------------------------------------------- endpoints

void eject(Api& api, const Call& call, bool out) {
  TrafficBackend* traffic = traffic_of(api, call);
  if (traffic == nullptr) return;
  const Fields fields(call);
  EjectCommand command;
  std::optional<bool> force;
  if (!fields.ok() || fields.text("endpoint").empty() || !read_flag(fields, "force", force))
    return api.fail(call.id, {Errc::kBadRequest, "give \"endpoint\" (a name or address as in upstreams), and \"pool\", \"for\", \"force\" if you like", {}});
  const auto how_long = read_for(api, call, fields, kEjectDefault, kEjectMax);
  if (!how_long) return;
  command = {fields.text("endpoint"), fields.text("pool"), *how_long, force.value_or(false)};
  const auto done = out ? traffic->eject(command) : traffic->uneject(command);
  if (!done) return api.fail(call.id, done.error());
  Json body = {{"ok", true}, {"endpoint", done->name}, {"address", done->address}, {"pools", done->pools}};
  if (out) body["ejected_for_ms"] = how_long->count();
  else body["left_out_by_others"] = done->left_out_by_others;
  api.reply_json(call.id, body);
}

void post_eject(Api& api, const Call& call) { eject(api, call, true); }
void post_uneject(Api& api, const Call& call) { eject(api, call, false); }

// ---------------------------------------------------------------- breakers

Json breaker_json(const BreakerInfo& breaker) {
  Json out = {{"name", breaker.name}, {"kind", breaker.of_app ? "app" : "route"}};
  if (!breaker.of_app) {
    out["endpoint"] = breaker.endpoint;
    out["address"] = breaker.address;
  }
  out["state"] = breaker.state;
  out["by_word"] = breaker.by_word;
  out["left_ms"] = breaker.left.count();
  out["fail"] = breaker.fail;
  out["window_ms"] = breaker.window.count();
  out["open_ms"] = breaker.open.count();
  return out;
}

void list_breakers(Api& api, const Call& call, const std::string& name) {
  TrafficBackend* traffic = traffic_of(api, call);
  if (traffic == nullptr) return;
  Json list = Json::array();
  for (const BreakerInfo& breaker : traffic->breakers()) {
    if (name.empty() || breaker.name == name) list.push_back(breaker_json(breaker));
  }
  // A name that nobody has is told as such; a route whose pool is empty has a breaker all the same, but no states.
  if (!name.empty() && list.empty()) return api.fail(call.id, {Errc::kNotFound, "no breaker that has states is named \"" + name + "\"", {}});
  if (!name.empty() && list[0]["kind"] == "app") return api.reply_json(call.id, list[0]);
  api.reply_json(call.id, {{"breakers", list}});
}

void get_breakers(Api& api, const Call& call) { list_breakers(api, call, {}); }
void get_breaker(Api& api, const Call& call) { list_breakers(api, call, call.parameters.at(0)); }

void post_reset(Api& api, const Call& call) {
  TrafficBackend* traffic = traffic_of(api, call);
  if (traffic == nullptr) return;
  const Fields fields(call);
  if (!fields.ok()) return api.fail(call.id, {Errc::kBadRequest, "the body is no object; \"endpoint\" is all that it may hold", {}});
  const auto count = traffic->breaker_reset(call.parameters.at(0), fields.text("endpoint"));
  if (!count) return api.fail(call.id, count.error());
  api.reply_json(call.id, {{"ok", true}, {"reset", *count}});
}

void get_allow(Api& api, const Call& call) {
  TrafficBackend* traffic = traffic_of(api, call);
  if (traffic == nullptr) return;
  const auto pass = traffic->breaker_allow(call.parameters.at(0));
  if (!pass) return api.fail(call.id, pass.error());
  api.reply_json(call.id, {{"allowed", pass->allowed},
                           {"probe", pass->probe},
                           {"state", pass->breaker.state},
                           {"retry_after_ms", pass->allowed ? 0 : std::max<std::int64_t>(1, pass->breaker.left.count())}});
}

void post_report(Api& api, const Call& call) {
  TrafficBackend* traffic = traffic_of(api, call);
  if (traffic == nullptr) return;
  const Fields fields(call);
  std::optional<bool> ok, probe;
  if (!fields.ok() || !read_flag(fields, "ok", ok) || !ok || !read_flag(fields, "probe", probe))
    return api.fail(call.id, {Errc::kBadRequest, "send {\"ok\": true} or {\"ok\": false}; \"probe\" says whether allow called it the probe", {}});
  const auto breaker = traffic->breaker_report(call.parameters.at(0), *ok, probe);
  if (!breaker) return api.fail(call.id, breaker.error());
  api.reply_json(call.id, breaker_json(*breaker));
}

// ---------------------------------------------------------------- guard

Json ban_json(const GuardBan& ban) { return {{"client", ban.client}, {"left_ms", ban.left.count()}, {"by", ban.here ? "here" : "peer"}}; }

void get_guard(Api& api, const Call& call) {
  TrafficBackend* traffic = traffic_of(api, call);
  if (traffic == nullptr) return;
  const auto guard = traffic->guard();
  if (!guard) return api.fail(call.id, guard.error());
  Json bans = Json::array();
  for (const GuardBan& ban : guard->bans) bans.push_back(ban_json(ban));
  api.reply_json(call.id, {{"fails", guard->fails},
                           {"within_ms", guard->within.count()},
                           {"ban_ms", guard->ban.count()},
                           {"statuses", guard->statuses},
                           {"failures", guard->failures},
                           {"banned", guard->banned},
                           {"refused", guard->refused},
                           {"untracked", guard->untracked},
                           {"bans", bans}});
}

void change_guard(Api& api, const Call& call, bool bans) {
  TrafficBackend* traffic = traffic_of(api, call);
  if (traffic == nullptr) return;
  const Fields fields(call);
  if (!fields.ok() || fields.text("client").empty())
    return api.fail(call.id, {Errc::kBadRequest, "give \"client\": an IP address, or a /64 as the list shows it", {}});
  const auto how_long = read_for(api, call, fields, milliseconds(0), kBanMax);
  if (!how_long) return;
  const auto done = bans ? traffic->guard_ban(fields.text("client"), *how_long) : traffic->guard_unban(fields.text("client"));
  if (!done) return api.fail(call.id, done.error());
  Json body = {{"ok", true}};
  body.update(ban_json(*done));
  if (!bans) body.erase("left_ms"), body.erase("by");
  api.reply_json(call.id, body);
}

void post_ban(Api& api, const Call& call) { change_guard(api, call, true); }
void post_unban(Api& api, const Call& call) { change_guard(api, call, false); }

}  // namespace

void add_traffic_routes(Router& router) {
  router.add("POST", "/outrigger/v1/upstreams/eject", post_eject);
  router.add("POST", "/outrigger/v1/upstreams/uneject", post_uneject);
  router.add("GET", "/outrigger/v1/breakers", get_breakers);
  router.add("GET", "/outrigger/v1/breakers/:name", get_breaker);
  router.add("GET", "/outrigger/v1/breakers/:name/allow", get_allow);
  router.add("POST", "/outrigger/v1/breakers/:name/report", post_report);
  router.add("POST", "/outrigger/v1/breakers/:name/reset", post_reset);
  router.add("GET", "/outrigger/v1/guard", get_guard);
  router.add("POST", "/outrigger/v1/guard/ban", post_ban);
  router.add("POST", "/outrigger/v1/guard/unban", post_unban);
}

}  // namespace agent::api
