#include <istream>
#include <iterator>
#include <memory>
#include <ostream>

#include "agent/cli/kv_copy.h"
#include "agent/cli/session.h"

namespace agent::cli {
namespace {

struct KvOptions {
  std::string key, value;
  std::string flags, cas, index;  // u64 in decimal; text, since the server judges the range
  bool recurse = false, stale = false, consistent = false;
};
using Shared = std::shared_ptr<KvOptions>;

std::string kv_target(const KvOptions& options, const std::string& query) {
  std::string mode = options.stale ? "stale" : options.consistent ? "consistent" : "";
  if (!query.empty() && !mode.empty()) mode = "&" + mode;
  const std::string all = query + mode;
  return "/v1/kv/" + url_encode(options.key) + (all.empty() ? "" : "?" + all);
}

/// "-" means standard input.
std::string value_of(Session& session, const KvOptions& options) {
  if (options.value != "-") return options.value;
  return {std::istreambuf_iterator<char>(session.host.in), std::istreambuf_iterator<char>()};
}

int run_get(Session& session, const KvOptions& options) {
  int code = kExitOk;
  const auto reply = session.call("GET", kv_target(options, options.recurse ? "recurse" : ""), code, {}, 404);
  if (!reply) return code;
  if (reply->status == 404) return session.fail("there is no key \"" + options.key + "\"");
  const auto entries = session.parse(*reply, code);
  if (!entries) return code;
  if (session.json()) return session.print(*entries), kExitOk;
  for (const auto& entry : *entries) {
    if (options.recurse) session.host.out << cell(entry, "Key") << ":";
    session.host.out << decode_base64(field(entry, "Value")) << "\n";
  }
  return kExitOk;
}

/// No keys is an empty list, not a failure.
int run_list(Session& session, const KvOptions& options) {
  int code = kExitOk;
  const auto reply = session.call("GET", kv_target(options, "keys"), code, {}, 404);
  if (!reply) return code;
  const auto keys = reply->status == 404 ? std::optional<Json>(Json::array()) : session.parse(*reply, code);
  if (!keys) return code;
  if (session.json()) return session.print(*keys), kExitOk;
  for (const auto& key : *keys)
    if (key.is_string()) session.host.out << key.get_ref<const std::string&>() << "\n";
  return kExitOk;
}

/// PUT and DELETE answer true, or false for a CAS that lost.
int run_write(Session& session, const KvOptions& options, const std::string& method, const std::string& query,
              const std::string& body) {
  int code = kExitOk;
  const auto reply = session.call(method, kv_target(options, query), code, body);
  if (!reply) return code;
  const bool won = reply->body.starts_with("true");
  if (session.json()) {
    Json out = {{"ok", won}, {"key", options.key}};
    out["index"] = reply->index.empty() ? Json() : Json::parse(reply->index, nullptr, false);
    session.print(out);
  } else if (won) {
    session.host.out << (method == "PUT" ? "written" : "deleted") << (reply->index.empty() ? "" : " at index ")
                     << reply->index << "\n";
  } else {
    session.host.err << "outrigger: not done: \"" << options.key << "\" has another ModifyIndex than expected\n";
  }
  return won ? kExitOk : kExitFailed;
}

CLI::App& kv_verb(CLI::App& kv, Session& session, const Shared& options, const std::string& name,
                  const std::string& help, bool needs_key) {
  CLI::App& verb = *kv.add_subcommand(name, help);
  session.add_client_options(verb);
  auto* key = verb.add_option("key", options->key, needs_key ? "the key" : "only keys that begin with this");
  if (needs_key) key->required();
  return verb;
}
void add_read_options(CLI::App& verb, const Shared& options) {
  auto* stale = verb.add_flag("--stale", options->stale, "whatever the agent has, also without a leader");
  verb.add_flag("--consistent", options->consistent, "after a round with a majority")->excludes(stale);
}

}  // namespace

void add_kv_verbs(CLI::App& app, Session& session) {
  CLI::App& kv = *app.add_subcommand("kv", "read and write the shared keys");
  kv.require_subcommand(1);
  const auto options = std::make_shared<KvOptions>();

  CLI::App& get = kv_verb(kv, session, options, "get", "print the value of a key", true);
  add_read_options(get, options);
  get.add_flag("--recurse", options->recurse, "every key that begins with this one");
  get.callback([&session, options] { session.chosen = [&session, options] { return run_get(session, *options); }; });

  CLI::App& list = kv_verb(kv, session, options, "list", "print the names of keys", false);
  add_read_options(list, options);
  list.callback([&session, options] { session.chosen = [&session, options] { return run_list(session, *options); }; });

  CLI::App& put = kv_verb(kv, session, options, "put", "write a value", true);
  put.add_option("value", options->value, "the value; - reads standard input")->required();
  put.add_option("--flags", options->flags, "number kept with the value, 64 bits");
  put.callback([&session, options] {
    session.chosen = [&session, options] {
      const std::string query = options->flags.empty() ? "" : "flags=" + url_encode(options->flags);
      return run_write(session, *options, "PUT", query, value_of(session, *options));
    };
  });

  CLI::App& cas = kv_verb(kv, session, options, "cas", "write a value if nobody else has written since", true);
  cas.add_option("index", options->index, "ModifyIndex that the key must have; 0 = the key must not exist")->required();
  cas.add_option("value", options->value, "the value; - reads standard input")->required();
  cas.add_option("--flags", options->flags, "number kept with the value, 64 bits");
  cas.callback([&session, options] {
    session.chosen = [&session, options] {
      const std::string flags = options->flags.empty() ? "" : "&flags=" + url_encode(options->flags);
      return run_write(session, *options, "PUT", "cas=" + url_encode(options->index) + flags,
                       value_of(session, *options));
    };
  });

  CLI::App& remove = kv_verb(kv, session, options, "delete", "delete a key", true);
  auto* recurse = remove.add_flag("--recurse", options->recurse, "every key that begins with this one");
  remove.add_option("--cas", options->cas, "only if the key has this ModifyIndex")->excludes(recurse);
  remove.callback([&session, options] {
    session.chosen = [&session, options] {
      const std::string query = options->recurse       ? "recurse"
                                : options->cas.empty() ? ""
                                                       : "cas=" + url_encode(options->cas);
      return run_write(session, *options, "DELETE", query, {});
    };
  });
  add_kv_copy_verbs(kv, session);
}

}  // namespace agent::cli
