#include <algorithm>
#include <map>
#include <memory>
#include <ostream>

#include "agent/cli/kv_copy.h"
#include "agent/cli/session.h"

/// import consul: copies keys and services of a running Consul, once. Nothing at the source changes. What is here and
/// differs stays as it is unless --overwrite is given, so it can be run again after any interruption.
namespace agent::cli {
namespace {

constexpr std::size_t kTellEvery = 1000;

struct ImportOptions {
  std::string source, prefix, only;
  std::string source_token;
  bool dry_run = false, overwrite = false;
};

/// What became of the keys and services.
struct Tally {
  std::size_t found = 0, written = 0, same = 0;
  std::vector<std::string> kept;  ///< here and different, and not to be overwritten
};

Json tally_json(const Tally& tally) {
  return {{"found", tally.found}, {"written", tally.written}, {"same", tally.same}, {"kept", tally.kept}};
}

/// Both sides of a copy, and how it is to go.
class Import {
 public:
  Import(Session& session, const ImportOptions& options)
      : session_(session),
        options_(options),
        from_(options.source, options.source_token, std::chrono::milliseconds(session.timeout_ms)),
        to_(session.api, session.token, std::chrono::milliseconds(session.timeout_ms)) {}

  /// @return false after `fault` got a sentence
  bool keys(Tally& tally);
  bool services(Tally& tally);
  std::string fault;

 private:
  bool batch(const std::vector<std::string>& names, Tally& tally);
  bool put(std::vector<CopiedKey> keys, KeyStore::Write how, Tally& tally);
  std::optional<Json> get(const std::string& api, const std::string& token, const std::string& target);
  bool register_node(const std::string& name, const std::map<std::string, Json>& here, Tally& tally);
  bool register_service(const std::string& label, const Json& body);

  Session& session_;
  const ImportOptions& options_;
  KeyStore from_, to_;
};

// ---------------------------------------------------------------- keys

bool Import::put(std::vector<CopiedKey> keys, KeyStore::Write how, Tally& tally) {
  for (auto& part : batches_of(std::move(keys))) {
    const auto done = options_.dry_run ? std::optional(true) : to_.write(part, how);
    if (!done) return fault = to_.fault, false;
    if (*done) {
      tally.written += part.size();
      continue;
    }
    // Somebody has written one of them in between; one by one the others still go in.
    for (auto& one : part) {
      const std::string name = one.key;
      const auto alone = to_.write({std::move(one)}, how);
      if (!alone) return fault = to_.fault, false;
      *alone ? static_cast<void>(++tally.written) : tally.kept.push_back(name);
    }
  }
  return true;
}

bool Import::batch(const std::vector<std::string>& names, Tally& tally) {
  auto theirs = from_.read(names);
  if (!theirs) return fault = from_.fault, false;
  const auto ours = to_.read(names);
  if (!ours) return fault = to_.fault, false;
  std::map<std::string, const CopiedKey*> here;
  for (const auto& one : *ours) here[one.key] = &one;
  std::vector<CopiedKey> fresh, changed;
  for (auto& one : *theirs) {
    const auto found = here.find(one.key);
    if (found == here.end())
      fresh.push_back(std::move(one));
    else if (*found->second == one)
      ++tally.same;
    else if (options_.overwrite)
      changed.push_back(std::move(one));
    else
      tally.kept.push_back(one.key);
  }
  return put(std::move(fresh), KeyStore::Write::kCreateOnly, tally) &&
         put(std::move(changed), KeyStore::Write::kSet, tally);
}

bool Import::keys(Tally& tally) {
  const auto names = from_.names(options_.prefix);
  if (!names) return fault = from_.fault, false;
  tally.found = names->size();
  for (std::size_t at = 0; at < names->size(); at += kBatchKeys) {
    const std::size_t end = std::min(at + kBatchKeys, names->size());
    if (!batch({names->begin() + static_cast<std::ptrdiff_t>(at), names->begin() + static_cast<std::ptrdiff_t>(end)},
               tally))
      return false;
    if (names->size() > kTellEvery && end / kTellEvery != at / kTellEvery)
      session_.host.err << "outrigger: " << end << " of " << names->size() << " keys\n";
  }
  return true;
}

// ---------------------------------------------------------------- services

std::optional<Json> Import::get(const std::string& api, const std::string& token, const std::string& target) {
  HttpRequest request{"GET", target, {}, std::chrono::milliseconds(session_.timeout_ms), {}, {}};
  if (!token.empty()) request.headers.emplace_back("X-Consul-Token", token);
  const auto reply = http_call(api, request);
  if (!reply) return fault = reply.error(), std::nullopt;
  Json value = Json::parse(reply->body, nullptr, false);
  if (reply->status == 200 && !value.is_discarded()) return value;
  fault = api + target + " answered " + std::to_string(reply->status) + ": " + reply->body.substr(0, 300);
  return std::nullopt;
}

/// A service as catalog/node shows it, as catalog/register takes it. Lists and objects without anything are left out:
/// some versions show them as null.
Json service_of(const Json& shown) {
  Json out = Json::object();
  for (const char* name :
       {"ID", "Service", "Tags", "Address", "Port", "Meta", "TaggedAddresses", "Weights", "EnableTagOverride"})
    if (const Json value = field(shown, name); !value.is_null() && !(value.is_structured() && value.empty())) out[name] = value;
  return out;
}

/// What is here, without the tags that an election here adds to it.
Json registered_part(Json present, const Json& wanted) {
  if (!present.contains("Tags") || !present["Tags"].is_array()) return present;
  const Json theirs = field(wanted, "Tags");
  Json tags = Json::array();
  for (const auto& tag : present["Tags"]) {
    const bool derived = (tag == "primary" || tag == "replica") && std::find(theirs.begin(), theirs.end(), tag) == theirs.end();
    if (!derived) tags.push_back(tag);
  }
  if (tags.empty()) present.erase("Tags");
  else present["Tags"] = std::move(tags);
  return present;
}

/// True if the checks of a node show that an agent of the cluster runs there: its services are its own to register.
bool has_agent(const Json& checks) {
  return checks.is_array() && std::any_of(checks.begin(), checks.end(), [](const Json& check) { return cell(check, "CheckID") == "serfHealth"; });
}

/// The checks of a service, as health/node shows them, as catalog/register takes them. Who ran them does not come
/// along: their status stays as it was until somebody runs them here.
Json checks_of(const Json& all, const std::string& service) {
  Json out = Json::array();
  if (!all.is_array()) return out;
  for (const auto& check : all) {
    if (cell(check, "ServiceID") != service) continue;
    Json made = Json::object();
    for (const char* name : {"Node", "CheckID", "Name", "Notes", "Status", "Output", "ServiceID"})
      if (const Json value = field(check, name); !value.is_null()) made[name] = value;
    out.push_back(std::move(made));
  }
  return out;
}

bool Import::register_node(const std::string& name, const std::map<std::string, Json>& here, Tally& tally) {
  const auto theirs = get(options_.source, options_.source_token, "/v1/catalog/node/" + url_segment(name));
  const auto health =
      theirs ? get(options_.source, options_.source_token, "/v1/health/node/" + url_segment(name)) : std::nullopt;
  if (!theirs || !health) return false;
  const Json node = field(*theirs, "Node"), services = field(*theirs, "Services");
  if (!services.is_object()) return true;
  const auto ours = here.contains(name) ? get(session_.api, session_.token, "/v1/catalog/node/" + url_segment(name))
                                        : std::optional(Json());
  const auto our_health = !ours ? std::nullopt
                          : here.contains(name) ? get(session_.api, session_.token, "/v1/health/node/" + url_segment(name))
                                                : std::optional(Json());
  if (!our_health) return false;
  std::size_t refused = 0;
  for (auto it = services.begin(); it != services.end(); ++it) {
    if (cell(it.value(), "Service") == "consul") continue;  // its own servers
    ++tally.found;
    const std::string label = name + "/" + it.key();
    const Json wanted = service_of(it.value());
    const Json present = registered_part(service_of(field(field(*ours, "Services"), it.key())), wanted);
    if (!present.empty() && present == wanted) {
      ++tally.same;
      continue;
    }
    const bool agents = has_agent(*our_health);
    refused += agents ? 1 : 0;
    if (agents || (!present.empty() && !options_.overwrite)) {
      tally.kept.push_back(label);
      continue;
    }
    Json body = {{"Node", name},
                 {"Address", field(node, "Address")},
                 {"Service", wanted},
                 {"Checks", checks_of(*health, it.key())}};
    if (const Json meta = field(node, "Meta"); meta.is_object()) body["NodeMeta"] = meta;
    if (here.contains(name))
      body["Address"] = field(here.at(name), "Address");  // a node that is here stays where it is
    if (!options_.dry_run && !register_service(label, body)) return false;
    ++tally.written;
  }
  if (refused != 0)
    session_.host.err << "outrigger: \"" << name << "\" is an agent of this cluster; register its " << refused
                      << (refused == 1 ? " service" : " services") << " there (outrigger services register)\n";
  return true;
}

bool Import::register_service(const std::string& label, const Json& body) {
  HttpRequest request{"PUT",
                      "/v1/catalog/register",
                      body.dump(-1, ' ', false, Json::error_handler_t::replace),
                      std::chrono::milliseconds(session_.timeout_ms),
                      {},
                      {}};
  if (!session_.token.empty()) request.headers.emplace_back("X-Consul-Token", session_.token);
  const auto reply = http_call(session_.api, request);
  if (reply && reply->status == 200) return true;
  fault = "service " + label + ": " + (reply ? reply->body.substr(0, 300) : reply.error());
  return false;
}

bool Import::services(Tally& tally) {
  const auto theirs = get(options_.source, options_.source_token, "/v1/catalog/nodes");
  const auto ours = theirs ? get(session_.api, session_.token, "/v1/catalog/nodes") : std::nullopt;
  if (!theirs || !ours) return false;
  std::map<std::string, Json> here;
  for (const auto& node : *ours) here.emplace(cell(node, "Node"), node);
  for (const auto& node : *theirs)
    if (!register_node(cell(node, "Node"), here, tally)) return false;
  return true;
}

// ---------------------------------------------------------------- the verb

void print_tally(Session& session, const char* what, const Tally& tally, bool dry_run) {
  session.host.out << what << ": " << tally.found << " found, " << tally.written
                   << (dry_run ? " to write, " : " written, ") << tally.same << " the same already, "
                   << tally.kept.size() << " different and kept\n";
  for (std::size_t i = 0; i < std::min<std::size_t>(tally.kept.size(), 20); ++i)
    session.host.out << "  kept " << tally.kept[i] << "\n";
  if (tally.kept.size() > 20) session.host.out << "  and " << tally.kept.size() - 20 << " more\n";
}

int run_import(Session& session, const ImportOptions& options) {
  Import import(session, options);
  Tally keys, services;
  // Keys first: services find their settings there.
  const bool fine =
      (options.only == "services" || import.keys(keys)) && (options.only == "kv" || import.services(services));
  if (!fine)
    return session.fail(import.fault, std::to_string(keys.written) + " keys and " + std::to_string(services.written) +
                                          " services were written; run it again, it goes on where it stopped");
  const bool all = keys.kept.empty() && services.kept.empty();
  if (session.json()) {
    session.print(
        {{"ok", all}, {"dry_run", options.dry_run}, {"kv", tally_json(keys)}, {"services", tally_json(services)}});
  } else {
    if (options.only != "services") print_tally(session, "keys", keys, options.dry_run);
    if (options.only != "kv") print_tally(session, "services", services, options.dry_run);
    if (!all) session.host.err << "outrigger: what differs was kept as it is here; --overwrite takes the source's, where no agent of ours is concerned\n";
  }
  return all ? kExitOk : kExitFailed;
}

}  // namespace

void add_import_verbs(CLI::App& app, Session& session) {
  CLI::App& import = *app.add_subcommand("import", "take over the state of another system");
  import.require_subcommand(1);
  const auto options = std::make_shared<ImportOptions>();
  CLI::App& consul = *import.add_subcommand("consul", "copy the keys and services of a running Consul, once");
  session.add_client_options(consul);
  consul.add_option("source", options->source, "its API, e.g. http://10.0.0.5:8500")->required();
  consul.add_option("--prefix", options->prefix, "only keys that begin with this");
  consul.add_option("--only", options->only, "kv or services; default: both")->check(CLI::IsMember({"kv", "services"}));
  consul.add_option("--source-token", options->source_token, "its ACL token, if it asks for one");
  consul.add_flag("--dry-run", options->dry_run, "say what would be written, write nothing");
  consul.add_flag("--overwrite", options->overwrite, "take the source's when both have it and they differ");
  consul.footer(
      "What is here already and the same is left alone, so after an interruption it can simply be run again. "
      "Sessions,\n"
      "locks and ACLs do not come along. Exit code 1 when something different was kept.\n"
      "Example: outrigger import consul http://10.0.0.5:8500 --dry-run");
  consul.callback(
      [&session, options] { session.chosen = [&session, options] { return run_import(session, *options); }; });
}

}  // namespace agent::cli
