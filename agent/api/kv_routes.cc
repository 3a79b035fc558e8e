#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"

/// /v1/kv in Consul's dialect (docs: api.md sections 3 and 5).
namespace agent::api {
namespace {

using Kind = KvWrite::Kind;

/// The key of the path, or nothing after an answer that says why not.
bool key_of(Api& api, const Call& call, bool may_be_empty, std::string& key) {
  key = call.parameters.at(0);
  if (key.empty() && !may_be_empty) return api.fail(call.id, {Errc::kBadRequest, "Missing key name", {}}), false;
  if (key.size() <= api.limits().key_bytes_max) return true;
  const std::string bound = std::to_string(api.limits().key_bytes_max);
  return api.fail(call.id, {Errc::kBadRequest, "the key is longer than " + bound + " bytes", {}}), false;
}

/// Elections are decided elsewhere; their keys only show them.
bool may_write(Api& api, const Call& call, const std::string& key) {
  if (!is_read_only(key)) return true;
  return api.fail(call.id, {Errc::kForbidden, read_only_text(key), {}}), false;
}

Response entries_response(const KvAnswer& found) {
  Response response{200, "application/json", {}, "["};
  for (const auto& entry : found.entries) {
    if (response.body.size() > 1) response.body += ',';
    append_kv_entry(response.body, entry, ShowValue::kYes);
  }
  response.body += ']';
  return response;
}

/// Names only; with a separator everything behind its first occurrence after the prefix is cut off, once per name.
Response keys_response(const KvAnswer& found, const std::string& prefix, const std::string& separator) {
  Response response{200, "application/json", {}, "["};
  std::string last;
  for (const auto& entry : found.entries) {
    std::string key = entry.key;
    if (const auto at = separator.empty() ? std::string::npos : key.find(separator, prefix.size());
        at != std::string::npos)
      key.resize(at + separator.size());
    if (response.body.size() > 1) {
      if (key == last) continue;
      response.body += ',';
    }
    append_json_string(response.body, key);
    last = std::move(key);
  }
  response.body += ']';
  return response;
}

/// What a GET asks for, kept by the read until it is answered: small, since thousands of them may wait.
struct Get {
  std::string texts;  ///< key and separator, one behind the other
  std::uint32_t key_bytes = 0;
  bool recurse = false, keys = false, raw = false;
  [[nodiscard]] std::string key() const { return texts.substr(0, key_bytes); }
  [[nodiscard]] std::string separator() const { return texts.substr(key_bytes); }
};

Response render_get(Backend& backend, const Get& get, const ReadInfo& info) {
  const std::string key = get.key();
  const KvAnswer found = get.recurse || get.keys ? backend.kv_list(key) : backend.kv_get(key);
  Response response;
  if (get.keys && (!found.entries.empty() || key.empty())) {
    response = keys_response(found, key, get.separator());  // an empty store has a list at its root
  } else if (found.entries.empty()) {
    response.status = 404;
  } else if (get.raw && !get.recurse) {
    response.content_type = "application/octet-stream";
    response.body = found.entries.front().value;
    // A stored page must not run in a browser under the API's own address.
    response.headers.emplace_back("X-Content-Type-Options", "nosniff");
    response.headers.emplace_back("Content-Security-Policy", "sandbox");
  } else {
    response = entries_response(found);
  }
  add_consul_headers(response, found.index, info);
  return response;
}

void get_kv(Api& api, const Call& call) {
  Get get;
  get.recurse = call.query.has("recurse");
  get.keys = call.query.has("keys");
  get.raw = call.query.has("raw");
  std::string key;
  if (!key_of(api, call, get.recurse || get.keys, key)) return;
  get.texts = key + call.query.get("separator");
  get.key_bytes = static_cast<std::uint32_t>(key.size());
  Read read;
  read.topic = Topic{get.recurse || get.keys ? Topic::Kind::kPrefix : Topic::Kind::kKey, std::move(key)};
  read.render = [&backend = api.backend(), get](const ReadInfo& info) { return render_get(backend, get, info); };
  api.read(call, std::move(read));
}

void write_kv(Api& api, const Call& call, KvWrite write) {
  api.backend().kv_write(std::move(write), api.answer<KvWritten>(call.id, [](const KvWritten& written) {
    Response response{200, "application/json", {}, written.applied ? "true" : "false"};
    add_write_index(response, written.modify != Index{} ? written.modify : written.index);
    return response;
  }));
}

/// Reads a number parameter. @return false after an answer that says why not.
bool number_of(Api& api, const Call& call, std::string_view name, std::optional<std::uint64_t>& out) {
  const auto* text = call.query.find(name);
  if (text == nullptr || text->empty()) return true;
  out = parse_u64(*text);
  if (out) return true;
  api.fail(call.id, {Errc::kBadRequest, "Invalid " + std::string(name) + ": \"" + *text + "\" is no number", {}});
  return false;
}

void put_kv(Api& api, const Call& call) {
  KvWrite write;
  if (!key_of(api, call, false, write.key) || !may_write(api, call, write.key)) return;
  const bool cas = call.query.has("cas"), acquire = call.query.has("acquire"), release = call.query.has("release");
  if (cas + acquire + release > 1)
    return api.fail(call.id, {Errc::kBadRequest, "Conflicting flags: " + call.request.query.substr(0, 200), {}});
  std::optional<std::uint64_t> flags, expected;
  if (!number_of(api, call, "flags", flags) || !number_of(api, call, "cas", expected)) return;
  if (cas && !expected) return api.fail(call.id, {Errc::kBadRequest, "Invalid cas: it needs a number", {}});
  if (acquire || release) write.session = call.query.get(acquire ? "acquire" : "release");
  if ((acquire || release) && write.session.empty()) return api.fail(call.id, {Errc::kRefused, "missing session", {}});
  if (call.request.body.size() > api.limits().value_bytes_max)
    return api.fail(call.id,
                    {Errc::kTooLarge,
                     "Request body(" + std::to_string(call.request.body.size()) +
                         " bytes) too large, max size: " + std::to_string(api.limits().value_bytes_max) + " bytes",
                     {}});
  write.kind = cas ? Kind::kCas : acquire ? Kind::kLock : release ? Kind::kUnlock : Kind::kSet;
  write.cas = Index{expected.value_or(0)};
  write.flags = flags.value_or(0);
  write.value = call.request.body;
  write_kv(api, call, std::move(write));
}

void delete_kv(Api& api, const Call& call) {
  KvWrite write;
  const bool recurse = call.query.has("recurse"), cas = call.query.has("cas");
  if (!key_of(api, call, recurse, write.key) || !may_write(api, call, write.key)) return;
  if (recurse && cas)
    return api.fail(call.id, {Errc::kBadRequest, "Conflicting flags: " + call.request.query.substr(0, 200), {}});
  std::optional<std::uint64_t> expected;
  if (!number_of(api, call, "cas", expected)) return;
  if (cas && !expected) return api.fail(call.id, {Errc::kBadRequest, "Invalid cas: it needs a number", {}});
  if (cas && *expected == 0)  // "must not exist" can never be deleted
    return api.reply(call.id, {200, "application/json", {}, "false"});
  write.kind = recurse ? Kind::kDeleteTree : cas ? Kind::kDeleteCas : Kind::kDelete;
  write.cas = Index{expected.value_or(0)};
  write_kv(api, call, std::move(write));
}

}  // namespace

void add_kv_routes(Router& router) {
  router.add("GET", "/v1/kv/*", get_kv);
  router.add("PUT", "/v1/kv/*", put_kv);
  router.add("DELETE", "/v1/kv/*", delete_kv);
}

}  // namespace agent::api
