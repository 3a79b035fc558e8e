#include <unistd.h>

#include <istream>
#include <memory>
#include <ostream>

#include "agent/cli/verbs_orders.h"

/// orders list|show|resolve, arming, approve.
namespace agent::cli {
namespace {

struct Options {
  std::string service, state = "recent", zone, key, verdict, body, who, reason, from, before;
  std::uint64_t limit = 100, fence = 0, epoch = 0;
  int status = 0;
  bool force = false, all_unknown = false, yes = false;
};

std::string with_service(const Options& options, char first = '?') { return options.service.empty() ? "" : first + ("service=" + url_encode(options.service)); }

std::string target_of(const Options& options) { return "/outrigger/v1/orders/" + url_segment(options.zone) + "/" + url_segment(options.key); }

/// Who decides, for the log: --who, else the user of this shell.
std::string who_of(const Session& session, const Options& options) {
  if (!options.who.empty()) return options.who;
  const auto user = session.host.environment.find("USER");
  return (user == session.host.environment.end() || user->second.empty() ? "operator" : user->second) + "@" + session.host.host_name;
}

int run_list(Session& session, const Options& options) {
  int code = kExitOk;
  std::string target = "/outrigger/v1/orders?state=" + options.state + "&limit=" + std::to_string(options.limit) + with_service(options, '&');
  if (!options.from.empty()) target += "&from=" + url_encode(options.from);
  const auto reply = session.call_json("GET", target, code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<std::vector<std::string>> rows{{"ZONE", "KEY", "STATE", "SOURCE", "EPOCH", "ATTEMPT", "STATUS", "FENCE"}};
  const Json orders = field(*reply, "orders");
  for (const Json& order : orders.is_array() ? orders : Json::array())
    rows.push_back({cell(order, "zone"), cell(order, "key"), cell(order, "state"), cell(order, "source"), cell(order, "epoch"), cell(order, "attempt"),
                    cell(field(order, "answer"), "status"), cell(order, "changed")});
  session.print_table(rows);
  const Json counts = field(*reply, "counts");
  session.host.out << cell(counts, "reserved") << " reserved, " << cell(counts, "done") << " done, " << cell(counts, "not_sent") << " not sent, "
                   << cell(counts, "unknown") << " unknown\n";
  if (!field(*reply, "next").is_null()) session.host.out << "there are more: --from " << cell(*reply, "next") << "\n";
  return kExitOk;
}

void print_order(Session& session, const Json& order) {
  for (const auto* name : {"service", "zone", "key", "state", "source", "attempt", "epoch", "node", "reserved", "changed", "reserved_ms", "settled_ms", "kept_until_ms", "fingerprint"})
    session.host.out << name << ": " << cell(order, name) << "\n";
  const Json answer = field(order, "answer");
  session.host.out << "answer: " << cell(answer, "kept") << ", status " << cell(answer, "status") << ", " << cell(answer, "bytes") << " bytes\n";
  const Json body = field(answer, "body");
  if (body.is_string() && !body.get_ref<const std::string&>().empty()) session.host.out << "\n" << body.get<std::string>() << "\n";
}

int run_show(Session& session, const Options& options) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", target_of(options) + with_service(options), code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  print_order(session, *reply);
  return kExitOk;
}

int usage(Session& session, const std::string& what) {
  session.host.err << "outrigger: " << what << "\n";
  return kExitUsage;
}

/// With --all-unknown the one word is the verdict.
int run_resolve_all(Session& session, const Options& options) {
  if (!options.key.empty() || !options.verdict.empty() || (options.zone != "done" && options.zone != "not_sent"))
    return usage(session, "--all-unknown takes no order, only what all of them are: outrigger orders resolve --all-unknown not_sent");
  if (options.fence != 0) return usage(session, "--fence is of one order; --all-unknown takes that of each");
  AllUnknown wanted{options.service, options.zone, options.body, who_of(session, options), options.reason, options.status, {}, options.yes};
  if (wanted.verdict == "not_sent" && (options.status != 0 || !options.body.empty())) return usage(session, "an order that was not sent has no --status and no --body");
  if (!options.before.empty() && !(wanted.before_ms = parse_utc(options.before)))
    return usage(session, "--before \"" + options.before + "\" is no time such as 2026-11-22T10:00:00Z (UTC)");
  return resolve_all_unknown(session, wanted);
}

/// Without --fence the order is looked at first: what changes between that and the decision refuses it.
int run_resolve(Session& session, const Options& options) {
  if (options.all_unknown) return run_resolve_all(session, options);
  if (options.verdict.empty()) return usage(session, "say which order, and what became of it: ZONE KEY done|not_sent, or --all-unknown");
  if (options.yes || !options.before.empty()) return usage(session, "--yes and --before are for --all-unknown");
  int code = kExitOk;
  Json fence = options.fence;
  if (options.fence == 0) {
    const auto order = session.call_json("GET", target_of(options) + with_service(options), code);
    if (!order) return code;
    if (cell(*order, "state") != "unknown")
      return session.fail("the order is " + cell(*order, "state") + ", not unknown", "only what nobody knows can be decided");
    fence = field(*order, "changed");
  }
  Json body = {{"state", options.verdict}, {"fence", fence}, {"who", who_of(session, options)}, {"reason", options.reason}};
  if (options.status != 0) body["status"] = options.status;
  if (!options.body.empty()) body["body"] = options.body;
  const auto reply = session.call_json("POST", target_of(options) + "/resolve" + with_service(options), code, body.dump());
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << cell(*reply, "key") << ": " << cell(*reply, "state") << " from now on\n";
  return kExitOk;
}

void print_arming(Session& session, const Json& arming) {
  session.host.out << cell(arming, "service") << ": " << (field(arming, "armed") == true ? "armed" : "not armed") << ", epoch " << cell(arming, "epoch") << ", holder "
                   << cell(arming, "holder");
  if (field(arming, "configured") == true) session.host.out << ", mode " << cell(arming, "mode") << ", phase " << cell(arming, "phase");
  if (!field(arming, "reason").is_null()) session.host.out << ": " << cell(arming, "reason");
  session.host.out << "\n";
}

int run_arming(Session& session, const Options& options) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/arming" + with_service(options), code);
  if (!reply) return code;
  session.json() ? session.print(*reply) : print_arming(session, *reply);
  return kExitOk;
}

/// The epoch that waits, shown to whoever approves it, who says yes to it. @return null after a failure, or without a yes
Json waiting_epoch(Session& session, const Options& options, int& code) {
  if (session.json() || options.force || isatty(STDIN_FILENO) != 1) {
    code = session.fail("which epoch? Name the one that you have looked at with --epoch", "see what waits with: outrigger arming");
    return nullptr;
  }
  const auto arming = session.call_json("GET", "/outrigger/v1/arming" + with_service(options), code);
  if (!arming) return nullptr;
  if (field(*arming, "holder").is_null()) {
    code = session.fail("nobody is primary of " + cell(*arming, "service") + ": no epoch waits for an approval", "see who is there with: outrigger members");
    return nullptr;
  }
  print_arming(session, *arming);
  session.host.out << "approve epoch " << cell(*arming, "epoch") << " of " << cell(*arming, "service") << "? Type yes: " << std::flush;
  std::string answer;
  if (std::getline(session.host.in, answer) && answer == "yes") return field(*arming, "epoch");
  code = session.fail("nothing was approved", "type yes, or name the epoch with --epoch");
  return nullptr;
}

int run_approve(Session& session, const Options& options) {
  int code = kExitOk;
  // What is approved is what was shown: should another epoch wait by the time that this arrives, it is refused.
  const Json epoch = options.epoch != 0 ? Json(options.epoch) : waiting_epoch(session, options, code);
  if (epoch.is_null()) return code;
  Json body = {{"epoch", epoch}, {"force", options.force}, {"who", who_of(session, options)}, {"reason", options.reason}};
  if (!options.service.empty()) body["service"] = options.service;
  const auto reply = session.call_json("POST", "/outrigger/v1/arming/approve", code, body.dump());
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << "epoch " << cell(*reply, "approved_epoch") << " of " << cell(*reply, "service") << " is approved\n";
  return kExitOk;
}

void add_orders(CLI::App& app, Session& session, const std::shared_ptr<Options>& options) {
  CLI::App& orders = *app.add_subcommand("orders", "what the ledger knows of orders under keys");
  orders.require_subcommand(1);
  CLI::App& list = *orders.add_subcommand("list", "orders, newest first; the unknown and the open ones oldest first");
  session.add_client_options(list);
  list.add_option("--state", options->state, "unknown, reserved or recent")->check(CLI::IsMember({"unknown", "reserved", "recent"}))->capture_default_str();
  list.add_option("--limit", options->limit, "at most so many")->check(CLI::Range(1, 1000))->capture_default_str();
  list.add_option("--from", options->from, "go on there: what the list before has printed");
  list.footer("Example: outrigger orders list --state unknown");
  list.callback([&session, options] { session.chosen = [&session, options] { return run_list(session, *options); }; });
  CLI::App& show = *orders.add_subcommand("show", "one order with its answer");
  session.add_client_options(show);
  show.footer("Example: outrigger orders show orders 6f1c");
  show.callback([&session, options] { session.chosen = [&session, options] { return run_show(session, *options); }; });
  CLI::App& resolve = *orders.add_subcommand("resolve", "decide about an order of which nobody knows whether it was placed; ask the exchange first");
  session.add_client_options(resolve);
  resolve.footer("Examples: outrigger orders resolve orders 6f1c done --status 201 --body '{\"id\":7}'\n"
                 "          outrigger orders resolve orders 6f1c not_sent --reason 'not in the broker's list'\n"
                 "          outrigger orders resolve --all-unknown not_sent --before 2026-11-22T10:00:00Z --reason 'the broker has none of them'");
  for (CLI::App* verb : {&show, &resolve}) {
    CLI::Option& zone = *verb->add_option("zone", options->zone, "of its route's idempotency rule; \"orders\" where that names none");
    CLI::Option& key = *verb->add_option("key", options->key, "the client's key");
    if (verb != &show) continue;
    zone.required();
    key.required();
  }
  resolve.add_option("verdict", options->verdict, "done: it is placed; not_sent: it is not, and may be sent again under its key")->check(CLI::IsMember({"done", "not_sent"}));
  resolve.add_flag("--all-unknown", options->all_unknown, "instead of one order: all that are unknown now; the one word is the verdict");
  resolve.add_option("--before", options->before, "all-unknown: only those reserved before that time, 2026-11-22T10:00:00Z");
  resolve.add_flag("--yes", options->yes, "all-unknown: ask nobody");
  resolve.add_option("--status", options->status, "done: the status that repetitions get")->check(CLI::Range(200, 599));
  resolve.add_option("--body", options->body, "done: their body");
  resolve.add_option("--fence", options->fence, "FENCE of the list, as it was when you asked the exchange; default: as it is now");
  for (CLI::App* verb : {&list, &show, &resolve}) verb->add_option("--service", options->service, "default: that of the agent");
  resolve.add_option("--who", options->who, "for the log; default: user and host");
  resolve.add_option("--reason", options->reason, "for the log");
  resolve.callback([&session, options] { session.chosen = [&session, options] { return run_resolve(session, *options); }; });
}

}  // namespace

void add_order_verbs(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  add_orders(app, session, options);
  CLI::App& arming = *app.add_subcommand("arming", "whether the primary may be given orders, and what it waits for");
  session.add_client_options(arming);
  arming.add_option("--service", options->service, "default: that of the agent");
  arming.callback([&session, options] { session.chosen = [&session, options] { return run_arming(session, *options); }; });
  CLI::App& approve = *app.add_subcommand("approve", "let the present primary be given orders ([arming] mode supervised, when_flat)");
  session.add_client_options(approve);
  approve.add_option("--epoch", options->epoch, "the epoch that you have looked at; on a terminal, without --force: the one that waits is shown, and you are asked");
  approve.add_flag("--force", options->force, "also while the reconcile hook fails or orders are unknown");
  approve.add_option("--who", options->who, "for the log; default: user and host");
  approve.add_option("--reason", options->reason, "for the log");
  approve.add_option("--service", options->service, "default: that of the agent");
  approve.footer("Example: outrigger approve --epoch 7 --reason 'positions checked'");
  approve.callback([&session, options] { session.chosen = [&session, options] { return run_approve(session, *options); }; });
}

}  // namespace agent::cli
