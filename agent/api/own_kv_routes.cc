#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/own.h"
#include "agent/api/session_backend.h"

/// /outrigger/v1/kv: keys with a CAS that answers index and value in one call; quotas. Values are Base64 in JSON.
namespace agent::api {
namespace {

using Kind = KvWrite::Kind;

/// The key of the path, or nothing after an answer that says why not.
bool key_of(Api& api, const Call& call, bool may_be_empty, std::string& key) {
  key = call.parameters.at(0);
  if (key.empty() && !may_be_empty) return api.fail(call.id, {Errc::kBadRequest, "the key is missing", {}}), false;
  if (key.size() <= api.limits().key_bytes_max) return true;
  const std::string bound = std::to_string(api.limits().key_bytes_max);
  return api.fail(call.id, {Errc::kBadRequest, "the key is longer than " + bound + " bytes", {}}), false;
}

bool may_write(Api& api, const Call& call, const std::string& key) {
  if (!is_read_only(key)) return true;
  return api.fail(call.id, {Errc::kForbidden, read_only_text(key), {}}), false;
}

/// A number of the query. @return false after an answer that says why not.
bool number_of(Api& api, const Call& call, std::string_view name, std::optional<std::uint64_t>& out) {
  const auto* text = call.query.find(name);
  if (text == nullptr) return true;
  out = parse_u64(*text);
  if (out) return true;
  return api.fail(call.id, {Errc::kBadRequest, "\"" + std::string(name) + "\" must be a number", {}}), false;
}

// ---------------------------------------------------------------- reads

Response missing_response(const std::string& key) {
  return problem_response(Errc::kNotFound, "there is no key \"" + key + "\"");
}

struct Get {
  std::string key;
  bool prefix = false, keys = false, raw = false;
};

Response render_list(const Get& get, const KvAnswer& found) {
  Response response{200, "application/json", {}, "{\"index\":" + std::to_string(number(found.index))};
  response.body += get.keys ? ",\"keys\":[" : ",\"entries\":[";
  for (const auto& entry : found.entries) {
    if (response.body.back() != '[') response.body += ',';
    if (get.keys)
      append_json_string(response.body, entry.key);
    else
      append_own_entry(response.body, entry);
  }
  response.body += "]}";
  return response;
}

Response render_get(Backend& backend, const Get& get, const ReadInfo& info) {
  const bool list = get.prefix || get.keys;
  const KvAnswer found = list ? backend.kv_list(get.key) : backend.kv_get(get.key);
  Response response;
  if (list) {
    response = render_list(get, found);
  } else if (found.entries.empty()) {
    response = missing_response(get.key);
  } else if (get.raw) {
    response.content_type = "application/octet-stream";
    response.body = found.entries.front().value;
    // A stored page must not run in a browser under the API's own address.
    response.headers.emplace_back("X-Content-Type-Options", "nosniff");
    response.headers.emplace_back("Content-Security-Policy", "sandbox");
  } else {
    response.content_type = "application/json";
    append_own_entry(response.body, found.entries.front());
  }
  add_consul_headers(response, found.index, info);
  return response;
}

void get_kv(Api& api, const Call& call) {
  Get get;
  get.prefix = call.query.has("prefix");
  get.keys = call.query.has("keys");
  get.raw = call.query.has("raw");
  if (!key_of(api, call, get.prefix || get.keys, get.key)) return;
  Read read;
  read.topic = Topic{get.prefix || get.keys ? Topic::Kind::kPrefix : Topic::Kind::kKey, get.key};
  read.render = [&backend = api.backend(), get](const ReadInfo& info) { return render_get(backend, get, info); };
  api.read(call, std::move(read));
}

// ---------------------------------------------------------------- writes

/// What the loser of a CAS needs to try again: the entry as it is, or null.
Response lost_response(Backend& backend, const std::string& key) {
  const KvAnswer now = backend.kv_get(key);
  Response response = problem_response(Errc::kConflict, "\"" + key + "\" has changed since the index that you named");
  response.body.pop_back();
  response.body += ",\"current\":";
  if (now.entries.empty())
    response.body += "null";
  else
    append_own_entry(response.body, now.entries.front());
  response.body += '}';
  add_write_index(response, now.index);
  return response;
}

void put_kv(Api& api, const Call& call) {
  KvWrite write;
  std::optional<std::uint64_t> flags, expected;
  if (!key_of(api, call, false, write.key) || !may_write(api, call, write.key)) return;
  if (!number_of(api, call, "flags", flags) || !number_of(api, call, "cas", expected)) return;
  if (call.request.body.size() > api.limits().value_bytes_max)
    return api.fail(call.id, {Errc::kTooLarge,
                              "the value has " + std::to_string(call.request.body.size()) + " bytes; at most " +
                                  std::to_string(api.limits().value_bytes_max) + " are kept",
                              {}});
  write.kind = expected ? Kind::kCas : Kind::kSet;
  write.cas = Index{expected.value_or(0)};
  write.flags = flags.value_or(0);
  write.value = call.request.body;
  KvEntry entry;
  entry.key = write.key, entry.value = write.value, entry.flags = write.flags;
  api.backend().kv_write(
      std::move(write),
      api.answer<KvWritten>(call.id, [&backend = api.backend(), entry = std::move(entry)](const KvWritten& written) {
        if (!written.applied) return lost_response(backend, entry.key);
        // What was written, under the index at which it was: another one may have written since, and a CAS with this
        // index must then fail.
        Response response{
            200, "application/json", {}, "{\"index\":" + std::to_string(number(written.modify)) + ",\"key\":"};
        append_json_string(response.body, entry.key);
        response.body += ",\"flags\":" + std::to_string(entry.flags) + ",\"value\":\"";
        append_base64(response.body, entry.value);
        response.body += "\"}";
        add_write_index(response, written.modify);
        return response;
      }));
}

void delete_kv(Api& api, const Call& call) {
  KvWrite write;
  std::optional<std::uint64_t> expected;
  const bool prefix = call.query.has("prefix");
  if (!key_of(api, call, prefix, write.key) || !may_write(api, call, write.key)) return;
  if (!number_of(api, call, "cas", expected)) return;
  if (expected && (prefix || *expected == 0))
    return api.fail(call.id, {Errc::kBadRequest, "\"cas\" is the index of one key that exists", {}});
  write.kind = prefix ? Kind::kDeleteTree : expected ? Kind::kDeleteCas : Kind::kDelete;
  write.cas = Index{expected.value_or(0)};
  const std::string key = write.key;
  api.backend().kv_write(std::move(write),
                         api.answer<KvWritten>(call.id, [&backend = api.backend(), key](const KvWritten& written) {
                           if (!written.applied) return lost_response(backend, key);
                           Response response = json_response({{"index", number(written.index)}, {"deleted", key}});
                           add_write_index(response, written.index);
                           return response;
                         }));
}

// ---------------------------------------------------------------- quotas

Json quota_json(const QuotaInfo& quota) {
  const auto bound = [](std::uint64_t max) { return max == 0 ? Json(nullptr) : Json(max); };
  return {{"prefix", quota.prefix},
          {"entries", quota.entries},
          {"entries_max", bound(quota.entries_max)},
          {"bytes", quota.bytes},
          {"bytes_max", bound(quota.bytes_max)}};
}

SessionBackend* state_of(Api& api, const Call& call) {
  if (auto* state = api.backend().sessions()) return state;
  return api.fail(call.id, {Errc::kUnsupported, "this agent has no quotas", {}}), nullptr;
}

void get_quotas(Api& api, const Call& call) {
  SessionBackend* state = state_of(api, call);
  if (state == nullptr) return;
  api.permit(call, [&api, state, id = call.id](const ReadInfo& info) {
    const UsageInfo usage = state->usage();
    Json quotas = Json::array();
    for (const auto& quota : usage.quotas) quotas.push_back(quota_json(quota));
    Response response = json_response({{"whole", quota_json(usage.whole)}, {"quotas", quotas}});
    add_consul_headers(response, info.applied, info);
    api.reply(id, std::move(response));
  });
}

void set_quota(Api& api, const Call& call, QuotaInfo quota) {
  SessionBackend* state = state_of(api, call);
  if (state == nullptr) return;
  const std::string prefix = quota.prefix;
  state->set_quota(std::move(quota), api.answer<Index>(call.id, [prefix](const Index& index) {
    Response response = json_response({{"prefix", prefix}, {"index", number(index)}});
    add_write_index(response, index);
    return response;
  }));
}

void put_quota(Api& api, const Call& call) {
  const Fields fields(call);
  QuotaInfo quota;
  if (!key_of(api, call, false, quota.prefix)) return;
  const std::string entries = fields.ok() ? fields.text("entries_max") : "?", bytes = fields.text("bytes_max");
  const auto entries_max = entries.empty() ? 0 : parse_u64(entries), bytes_max = bytes.empty() ? 0 : parse_u64(bytes);
  if (!entries_max || !bytes_max || (*entries_max == 0 && *bytes_max == 0))
    return api.fail(
        call.id, {Errc::kBadRequest, "\"entries_max\" and \"bytes_max\" are numbers; one of them must be above 0", {}});
  quota.entries_max = *entries_max;
  quota.bytes_max = *bytes_max;
  set_quota(api, call, std::move(quota));
}

void delete_quota(Api& api, const Call& call) {
  QuotaInfo quota;
  if (key_of(api, call, false, quota.prefix)) set_quota(api, call, std::move(quota));
}

}  // namespace

void add_own_kv_routes(Router& router) {
  router.add("GET", "/outrigger/v1/kv/*", get_kv);
  router.add("PUT", "/outrigger/v1/kv/*", put_kv);
  router.add("POST", "/outrigger/v1/kv/*", put_kv);
  router.add("DELETE", "/outrigger/v1/kv/*", delete_kv);
  router.add("GET", "/outrigger/v1/quotas", get_quotas);
  router.add("PUT", "/outrigger/v1/quotas/*", put_quota);
  router.add("POST", "/outrigger/v1/quotas/*", put_quota);
  router.add("DELETE", "/outrigger/v1/quotas/*", delete_quota);
}

}  // namespace agent::api
