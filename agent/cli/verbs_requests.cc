#include <chrono>
#include <cstdio>
#include <memory>
#include <ostream>

#include "agent/cli/event_stream.h"

/// why, tap, routes: single requests, as they end and after the fact, and what each route has served.
namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

/// "0.123 s" -> milliseconds with three digits, "-" for null.
std::string ms_cell(const Json& object, const std::string& key) {
  const Json value = field(object, key);
  if (!value.is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value.get<double>() * 1000.0);
  return text;
}

// ---------------------------------------------------------------- routes

int run_routes(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/routes", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<Row> rows{{"ROUTE", "REQUESTS", "2XX", "3XX", "4XX", "5XX", "REFUSED", "P50 MS", "P95 MS", "P99 MS", "MAX MS"}};
  const Json routes = field(*reply, "routes");
  for (const auto& route : routes.is_array() ? routes : Json::array()) {
    const Json counters = field(route, "counters"), latency = field(route, "latency");
    std::uint64_t refused = 0;
    for (const char* name : {"address_denied", "unauthorized", "rate_limited", "busy", "queue_full", "queue_timeouts", "breaker_denied", "halted"}) {
      const Json count = field(counters, name);
      if (count.is_number_unsigned()) refused += count.get<std::uint64_t>();
    }
    rows.push_back({cell(route, "name"), cell(counters, "requests"), cell(counters, "responses_2xx"), cell(counters, "responses_3xx"),
                    cell(counters, "responses_4xx"), cell(counters, "responses_5xx"), std::to_string(refused), cell(latency, "p50_ms"),
                    cell(latency, "p95_ms"), cell(latency, "p99_ms"), cell(latency, "max_ms")});
  }
  session.print_table(rows);
  return kExitOk;
}

// ---------------------------------------------------------------- egress

int run_egress(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/egress", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << "service " << cell(*reply, "service") << "  epoch " << cell(*reply, "epoch") << "  permit " << cell(*reply, "permit")
                   << "  writes denied " << cell(*reply, "writes_denied") << ", late " << cell(*reply, "late_writes") << "\n\n";
  std::vector<Row> rows{{"LEVEL", "ON", "WHY"}};
  const Json levels = field(*reply, "levels"), entries = field(*reply, "egress");
  for (const auto& level : levels.is_array() ? levels : Json::array())
    rows.push_back({cell(level, "level"), field(level, "on") == Json(true) ? "yes" : "no", cell(level, "text")});
  session.print_table(rows);
  if (!entries.is_array() || entries.empty()) return kExitOk;
  session.host.out << "\n";
  rows = {{"EGRESS", "MODE", "LISTEN", "TARGET", "REQUESTS", "OPEN", "BYTES OUT", "RESETS", "REFUSED", "FAULT"}};
  for (const auto& entry : entries) {
    const Json counters = field(entry, "counters");
    std::uint64_t refused = 0;
    for (const auto& [name, count] : counters.items()) {
      if (name.starts_with("refused_") && count.is_number_unsigned()) refused += count.get<std::uint64_t>();
    }
    rows.push_back({cell(entry, "name"), cell(entry, "mode"), cell(entry, "listen"), cell(entry, "target"), cell(counters, "requests"), cell(counters, "open"),
                    cell(counters, "bytes_out"), cell(counters, "resets"), std::to_string(refused), cell(entry, "fault")});
  }
  session.print_table(rows);
  return kExitOk;
}

// ---------------------------------------------------------------- why

void print_why(Session& session, const Json& why) {
  const Json request = field(why, "request");
  session.host.out << cell(request, "request_id") << "  " << cell(request, "method") << " " << cell(request, "path") << "  from "
                   << cell(request, "client") << "  at " << cell(why, "node") << "\n"
                   << "status " << cell(request, "status") << " (" << cell(request, "outcome") << ")"
                   << (cell(request, "reason").empty() ? "" : ", " + cell(request, "reason")) << "  rt " << ms_cell(request, "rt") << " ms  uct "
                   << ms_cell(request, "uct") << "  uht " << ms_cell(request, "uht") << "  urt " << ms_cell(request, "urt") << "\n";
  const Json steps = field(why, "steps");
  for (const auto& step : steps.is_array() ? steps : Json::array()) {
    const Json at = field(step, "at_ms");
    char text[32];
    std::snprintf(text, sizeof text, "%10.3f ms  ", at.is_number() ? at.get<double>() : 0.0);
    session.host.out << text << cell(step, "text") << "\n";
  }
  if (const std::string left = cell(why, "left_out"); left != "-" && left != "0") session.host.out << left << " steps more were not kept\n";
}

/// The answer of one agent; nullopt: it does not know, or does not answer.
std::optional<Json> ask(Session& session, const std::string& api, const std::string& target, HttpReply& last) {
  HttpRequest request;
  request.target = target;
  request.timeout = std::chrono::milliseconds(session.timeout_ms);
  const auto reply = http_call(api, request);
  if (!reply) return std::nullopt;
  last = *reply;
  Json body = Json::parse(reply->body, nullptr, false);
  if (reply->status != 200 || !body.is_object()) return std::nullopt;
  return body;
}

/// The agent in --api, then, when it has never seen the request, the others whose API can be reached from here.
int run_why(Session& session, const std::string& request_id) {
  const std::string target = "/outrigger/v1/why/" + url_segment(request_id);
  int code = kExitOk;
  const auto reply = session.call("GET", target, code, {}, 404);
  if (!reply) return code;
  Json found = Json::parse(reply->body, nullptr, false);
  if (reply->status == 404) {
    const Json others = field(found, "others");
    std::optional<Json> elsewhere;
    std::string unasked;
    for (const auto& other : others.is_array() ? others : Json::array()) {
      const Json api = field(other, "api_address");
      HttpReply last;
      if (api.is_string() && !elsewhere) elsewhere = ask(session, api.get<std::string>(), target, last);
      if (!api.is_string()) unasked += (unasked.empty() ? "" : ", ") + cell(other, "node");
    }
    if (!elsewhere) {
      if (unasked.empty()) return session.report(*reply);
      return session.fail(cell(found, "message"), "ask on " + unasked + ": outrigger why " + request_id);
    }
    found = *elsewhere;
  }
  std::vector<Json> chain{found};
  const Json next = field(found, "continues_at");
  if (field(next, "api_address").is_string()) {
    HttpReply last;
    if (auto rest = ask(session, cell(next, "api_address"), target, last)) chain.push_back(std::move(*rest));
  }
  if (session.json()) return session.print(chain.size() == 1 ? chain[0] : Json(chain)), kExitOk;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (i > 0) session.host.out << "\n";
    print_why(session, chain[i]);
  }
  if (chain.size() == 1 && next.is_object())
    session.host.out << "it went on at " << cell(next, "node") << "; there: outrigger why " << request_id << "\n";
  return kExitOk;
}

// ---------------------------------------------------------------- tap

struct TapOptions {
  std::string route, method, path, status, slower;
  std::uint64_t count = 0;
};

void print_request(Session& session, const std::string& data) {
  if (session.json()) {
    session.host.out << data << "\n";
  } else {
    const Json r = Json::parse(data, nullptr, false);
    const std::string reason = cell(r, "reason");
    session.host.out << cell(r, "ts") << "  " << cell(r, "status") << "  " << ms_cell(r, "rt") << " ms  " << cell(r, "method") << " "
                     << cell(r, "path") << "  " << cell(r, "client") << " -> " << (cell(r, "endpoint").empty() ? "-" : cell(r, "endpoint"))
                     << (reason.empty() ? "" : "  " + reason) << "  " << cell(r, "request_id") << "\n";
  }
  session.host.out.flush();
}

int run_tap(Session& session, const TapOptions& options) {
  std::uint64_t left = options.count;
  Following following;
  following.target = "/outrigger/v1/tap";
  char mark = '?';
  const std::pair<const char*, const std::string*> parameters[] = {
      {"route", &options.route}, {"method", &options.method}, {"path", &options.path}, {"status", &options.status}, {"slower", &options.slower}};
  for (const auto& [name, value] : parameters) {
    if (value->empty()) continue;
    following.target += mark + (std::string(name) + "=") + url_encode(*value);
    mark = '&';
  }
  following.on_event = [&](const EventCutter::Event& event) {
    if (event.name == "missed") {
      session.host.err << "missed " << cell(Json::parse(event.data, nullptr, false), "missed") << " requests: more came than could be shown\n";
      return true;
    }
    if (event.name != "request") return true;
    print_request(session, event.data);
    return left == 0 || --left != 0;
  };
  return follow(session, std::move(following));
}

}  // namespace

void add_request_verbs(CLI::App& app, Session& session) {
  CLI::App& egress = *app.add_subcommand("egress", "what goes out to brokers, and which level of fencing this set-up has");
  session.add_client_options(egress);
  egress.callback([&session] { session.chosen = [&session] { return run_egress(session); }; });
  CLI::App& routes = *app.add_subcommand("routes", "what each route has served and how long it took");
  session.add_client_options(routes);
  routes.callback([&session] { session.chosen = [&session] { return run_routes(session); }; });

  CLI::App& why = *app.add_subcommand("why", "why a recent request went as it did: route, limits, endpoints, attempts, lease, times");
  session.add_client_options(why);
  const auto request_id = std::make_shared<std::string>();
  why.add_option("request-id", *request_id, "as in the X-Request-Id field of the response or in the access log")->required();
  why.footer("Example: outrigger why $(curl -si http://127.0.0.1:8080/ | sed -n 's/^X-Request-Id: //p' | tr -d '\\r')");
  why.callback([&session, request_id] { session.chosen = [&session, request_id] { return run_why(session, *request_id); }; });

  CLI::App& tap = *app.add_subcommand("tap", "print the requests of this agent as they end");
  session.add_client_options(tap);
  const auto options = std::make_shared<TapOptions>();
  tap.add_option("--route", options->route, "only of this route");
  tap.add_option("--method", options->method, "only with this method");
  tap.add_option("--path", options->path, "only paths that begin with this");
  tap.add_option("--status", options->status, "only this status: 503, 5xx, 400-499");
  tap.add_option("--slower", options->slower, "only what took at least so long: 100ms");
  tap.add_option("--count", options->count, "end after so many; default: never");
  tap.footer("Example: outrigger tap --status 5xx -o json");
  tap.callback([&session, options] { session.chosen = [&session, options] { return run_tap(session, *options); }; });
}

}  // namespace agent::cli
