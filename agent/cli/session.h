#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/cli/cli.h"
#include "agent/cli/http_client.h"

/// What all verbs share: the options that every one has, calls to the API, and the two ways to print. Private to cli.
namespace agent::cli {

using Json = nlohmann::ordered_json;  ///< answers are printed in the order in which the API gave them

/// One command line on its way from options to an exit code.
/// Ownership: lives through run(); verbs keep a reference in the action that they leave in `chosen`.
struct Session {
  explicit Session(Host& host_in) : host(host_in) {}

  Host& host;
  std::string api;              ///< --api, else OUTRIGGER_API, else CONSUL_HTTP_ADDR, else 127.0.0.1:8500
  std::string output = "text";  ///< --output: "text" or "json"
  std::string token;            ///< OUTRIGGER_TOKEN, else CONSUL_HTTP_TOKEN: sent along, for what stands in between
  std::uint32_t timeout_ms = 10000;  ///< --timeout
  std::function<int()> chosen;       ///< left by the verb that was parsed; its result is the exit code

  [[nodiscard]] bool json() const { return output == "json"; }

  /// Adds --api, --output and --timeout to a verb that speaks to an agent.
  void add_client_options(CLI::App& verb);
  /// Adds only --output.
  void add_output_option(CLI::App& verb);

  /// Asks the agent. @return the reply when its status is 2xx or `also_good`; otherwise prints why and leaves the exit
  /// code in `code`.
  std::optional<HttpReply> call(const std::string& method, const std::string& target, int& code,
                                const std::string& body = {}, int also_good = 0);
  /// As `call`, with the body parsed; an answer that is no JSON is a failure too.
  std::optional<Json> call_json(const std::string& method, const std::string& target, int& code,
                                const std::string& body = {});
  /// The reply's body as JSON; prints why not and leaves the exit code in `code`.
  std::optional<Json> parse(const HttpReply& reply, int& code);
  /// Asks for something to be done: prints `done` or, under -o json, {"ok":true} with the reply's fields.
  int act(const std::string& method, const std::string& target, const std::string& done, const std::string& body = {});
  /// Prints a failure of our own: {"code":"failed",...} under -o json. @return kExitFailed.
  int fail(const std::string& message, const std::string& hint = {});
  /// Prints what an answer that is no success says. @return the exit code that fits.
  [[nodiscard]] int report(const HttpReply& reply);
  void print(const Json& value) { host.out << value.dump(2, ' ', false, Json::error_handler_t::replace) << "\n"; }
  /// Columns as wide as their widest cell, two blanks apart; cells as printable() has them.
  void print_table(const std::vector<std::vector<std::string>>& rows);
};

/// A field, or null when `object` is none or lacks it: what another program answered may have any shape.
[[nodiscard]] Json field(const Json& object, const std::string& key);
/// A field as text for people: strings bare, numbers and booleans as JSON, null and missing as "-".
[[nodiscard]] std::string cell(const Json& object, const std::string& key);

/// `text` for a terminal: what could move its cursor or speak to it is shown as \xNN. Texts may be anybody's.
[[nodiscard]] std::string printable(std::string_view text);

// Each adds its verbs to `app`; the verb that is parsed sets `session.chosen`.
void add_kv_verbs(CLI::App& app, Session& session);
void add_cluster_verbs(CLI::App& app, Session& session);   ///< members join leave upstreams drain
void add_raft_verbs(CLI::App& app, Session& session);      ///< raft status|list|transfer|remove|recover
void add_snapshot_verbs(CLI::App& app, Session& session);  ///< snapshot save|restore|inspect|verify
void add_kv_copy_verbs(CLI::App& kv, Session& session);    ///< kv export, kv import
void add_session_verbs(CLI::App& app, Session& session);   ///< session list, create, destroy
void add_lock_verbs(CLI::App& app, Session& session);      ///< lock run
void add_watch_verbs(CLI::App& app, Session& session);     ///< watch
void add_import_verbs(CLI::App& app, Session& session);    ///< import consul
void add_request_verbs(CLI::App& app, Session& session);   ///< why tap routes
void add_incident_verbs(CLI::App& app, Session& session);  ///< incident last, drill kill-primary
void add_traffic_verbs(CLI::App& app, Session& session);   ///< eject uneject breaker guard
void add_spread_verb(CLI::App& app, Session& session);    ///< spread
void add_election_verbs(CLI::App& app, Session& session);  ///< role election switchover
void add_service_verbs(CLI::App& app, Session& session);   ///< catalog services maint event force-leave reload
void add_order_verbs(CLI::App& app, Session& session);     ///< orders arming approve
void add_agent_verbs(CLI::App& app, Session& session);     ///< agent validate
void add_init_verbs(CLI::App& app, Session& session);      ///< init keygen version

}  // namespace agent::cli
