#include <algorithm>
#include <map>
#include <memory>
#include <ostream>

#include "agent/cli/session.h"

/// spread: so many requests through an entry, and who has answered them.
namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

struct SpreadOptions {
  std::string target;
  std::uint32_t count = 10;
};

/// "http://10.0.0.1:8080/quotes" -> its place and path.
struct Where {
  std::string entry, path;
};

/// @return nullopt: the code is set, and why was printed
std::optional<Where> where_of(Session& session, const std::string& target, int& code) {
  constexpr std::string_view kScheme = "http://";
  if (target.starts_with(kScheme)) {
    const std::size_t slash = target.find('/', kScheme.size());
    return Where{target.substr(0, slash), slash == std::string::npos ? "/" : target.substr(slash)};
  }
  if (target.starts_with("https://")) {
    code = session.fail("requests over TLS are not made here", "give the http:// address of another listener");
    return std::nullopt;
  }
  const auto reply = session.call_json("GET", "/outrigger/v1/routes", code);
  if (!reply) return std::nullopt;
  const Json listeners = field(*reply, "listeners");
  if (!listeners.is_array() || listeners.empty() || !listeners[0].is_string()) {
    code = session.fail("this agent has no listener that a path could be asked at", "give a URL: http://10.0.0.1:8080" + target);
    return std::nullopt;
  }
  return Where{listeners[0].get<std::string>(), target.starts_with('/') ? target : "/" + target};
}

/// Requests that each endpoint has had, as the agent counts them.
std::map<std::string, std::uint64_t> counted(const Json& reply) {
  std::map<std::string, std::uint64_t> out;
  const Json pools = field(reply, "upstreams");
  for (const auto& pool : pools.is_array() ? pools : Json::array()) {
    const Json endpoints = field(pool, "endpoints");
    for (const auto& endpoint : endpoints.is_array() ? endpoints : Json::array()) {
      const Json requests = field(endpoint, "requests");
      if (requests.is_number_unsigned()) out[cell(endpoint, "name")] = requests.get<std::uint64_t>();
    }
  }
  return out;
}

/// Who has answered a request, by its trail; empty = the agent keeps none, or not of that one.
std::string answered_by(Session& session, const std::string& request_id) {
  HttpRequest request;
  request.target = "/outrigger/v1/why/" + url_segment(request_id);
  request.timeout = std::chrono::milliseconds(session.timeout_ms);
  const auto reply = request_id.empty() ? tl::expected<HttpReply, std::string>(HttpReply()) : http_call(session.api, request);
  if (!reply || reply->status != 200) return {};
  const Json record = field(Json::parse(reply->body, nullptr, false), "request");
  for (const char* key : {"endpoint_node", "endpoint"}) {
    if (const std::string text = cell(record, key); !text.empty() && text != "-") return text;
  }
  return {};
}

struct Tally {
  std::map<std::string, std::uint64_t> nodes, statuses;
  std::uint64_t unanswered = 0, traced = 0;
};

int print_tally(Session& session, const SpreadOptions& options, const Where& where, const Tally& tally) {
  const bool exact = tally.traced + tally.unanswered == options.count;
  if (session.json()) {
    Json nodes = Json::object(), statuses = Json::object();
    for (const auto& [name, count] : tally.nodes) nodes[name] = count;
    for (const auto& [status, count] : tally.statuses) statuses[status] = count;
    session.print({{"entry", where.entry}, {"path", where.path}, {"requests", options.count}, {"nodes", nodes}, {"statuses", statuses},
                   {"unanswered", tally.unanswered}, {"exact", exact}});
  } else {
    std::vector<Row> rows{{"NODE", "REQUESTS", "SHARE"}};
    std::uint64_t sum = 0;
    for (const auto& [name, count] : tally.nodes) sum += count;
    for (const auto& [name, count] : tally.nodes)
      rows.push_back({name, std::to_string(count), std::to_string((count * 1000 / std::max<std::uint64_t>(1, sum) + 5) / 10) + " %"});
    session.print_table(rows);
    for (const auto& [status, count] : tally.statuses) session.host.out << count << " x " << status << "\n";
    if (tally.unanswered > 0) session.host.out << tally.unanswered << " without an answer\n";
    if (!exact) session.host.out << "by the counters of the agent, in which other clients' requests count too; proxy.trails = \"256KiB\" makes it exact\n";
  }
  const bool fine = tally.unanswered == 0 && std::all_of(tally.statuses.begin(), tally.statuses.end(), [](const auto& one) { return one.first < "500"; });
  return fine ? kExitOk : kExitFailed;
}

int run_spread(Session& session, const SpreadOptions& options) {
  int code = kExitOk;
  const auto where = where_of(session, options.target, code);
  if (!where) return code;
  const auto before = session.call_json("GET", "/outrigger/v1/upstreams", code);
  if (!before) return code;
  Tally tally;
  std::string fault;
  for (std::uint32_t i = 0; i < options.count; ++i) {
    HttpRequest request;
    request.target = where->path;
    request.timeout = std::chrono::milliseconds(session.timeout_ms);
    const auto reply = http_call(where->entry, request);  // a connection of its own each, as curl makes it
    if (!reply) {
      ++tally.unanswered;
      fault = reply.error();
      continue;
    }
    ++tally.statuses[std::to_string(reply->status)];
    const std::string node = answered_by(session, reply->request_id);
    if (node.empty()) continue;
    ++tally.traced;
    ++tally.nodes[node];
  }
  if (tally.unanswered == options.count) return session.fail("no answer from " + where->entry + ": " + fault, "is it a listener of this agent, without TLS?");
  if (tally.traced + tally.unanswered < options.count) {
    const auto after = session.call_json("GET", "/outrigger/v1/upstreams", code);
    if (!after) return code;
    tally.nodes = counted(*after);
    for (const auto& [name, count] : counted(*before)) {
      if (const auto found = tally.nodes.find(name); found != tally.nodes.end()) found->second -= std::min(found->second, count);
    }
  }
  return print_tally(session, options, *where, tally);
}

}  // namespace

void add_spread_verb(CLI::App& app, Session& session) {
  CLI::App& spread = *app.add_subcommand("spread", "send some GETs through an entry and show which nodes answered");
  session.add_client_options(spread);
  const auto options = std::make_shared<SpreadOptions>();
  spread.add_option("target", options->target, "URL (http://10.0.0.1:8080/quotes), or a path at the first listener of this agent")->required();
  spread.add_option("--n", options->count, "how many; default: 10")->check(CLI::Range(1, 100'000));
  spread.footer("Example: outrigger spread --n 100 /quotes");
  spread.callback([&session, options] { session.chosen = [&session, options] { return run_spread(session, *options); }; });
}

}  // namespace agent::cli
