#include "agent/cli/verbs_traces.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <ostream>
#include <set>

/// traces: the last ones, and one of them as a waterfall.
namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

constexpr std::size_t kBarWidth = 40;
constexpr std::size_t kDepthMax = 32;  // of what is indented; what another program answered may go round in a circle

std::int64_t number_of(const Json& object, const std::string& key) {
  const Json value = field(object, key);
  constexpr std::int64_t kMost = 100'000'000'000'000'000;  // sums of such numbers, and forty of them, are numbers still
  return value.is_number_integer() ? std::clamp(value.get<std::int64_t>(), -kMost, kMost) : 0;
}

std::string ms_text(std::int64_t us) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", static_cast<double>(us) / 1000.0);
  return text;
}

/// What of a span says most: how it ended, at whom, and what the ledger said.
std::string note_of(const Json& span) {
  const Json attributes = field(span, "attributes");
  std::string out;
  for (const char* key : {"http.response.status_code", "error.type", "outrigger.order.state", "outrigger.endpoint_node", "outrigger.raft.index"}) {
    const Json value = field(attributes, key);
    if (value.is_null()) continue;
    const std::string name(key);
    const std::string label = name == "outrigger.endpoint_node" ? "at " : name == "outrigger.raft.index" ? "index " : "";
    out += (out.empty() ? "" : ", ") + label + cell(attributes, name);
  }
  if (out.empty() && field(span, "failed") == Json(true)) out = "failed";
  return out;
}

/// Where a span lies in all of them.
std::string bar_of(std::int64_t from, std::int64_t took, std::int64_t whole, std::size_t width) {
  if (whole <= 0) whole = 1;
  const auto place = [&](std::int64_t at) { return static_cast<std::size_t>(std::clamp<std::int64_t>(at, 0, whole) * static_cast<std::int64_t>(width) / whole); };
  const std::size_t begin = std::min(place(from), width - 1);
  const std::size_t end = std::clamp(place(from + took), begin + 1, width);
  return std::string(begin, ' ') + std::string(end - begin, '=') + std::string(width - end, ' ');
}

class Tree {
 public:
  Tree(const Json& spans, std::size_t width) : width_(width) {
    std::set<std::string> known;
    for (const Json& span : spans) {
      if (field(span, "span_id").is_string()) known.insert(cell(span, "span_id"));
    }
    bool first = true;
    std::int64_t end = 0;
    for (const Json& span : spans) {
      const std::int64_t at = number_of(span, "start_us");
      begin_ = first ? at : std::min(begin_, at);
      end = std::max(first ? at : end, at + number_of(span, "duration_us"));
      first = false;
      const std::string parent = cell(span, "parent_id");
      children_[known.contains(parent) ? parent : std::string()].push_back(&span);
      all_.push_back(&span);
    }
    whole_ = end - begin_;
  }
  std::vector<Row> rows(Row head) {
    rows_ = {std::move(head)};
    for (const Json* span : children_[{}]) add(*span, 0);
    for (const Json* span : all_) add(*span, 0);  // those that stand beneath each other in a circle
    return std::move(rows_);
  }

 private:
  void add(const Json& span, std::size_t depth) {
    if (depth > kDepthMax || !shown_.insert(&span).second) return;
    const std::int64_t from = number_of(span, "start_us") - begin_, took = number_of(span, "duration_us");
    const std::string service = cell(span, "service");
    rows_.push_back({cell(span, "node"), std::string(2 * depth, ' ') + cell(span, "name"), cell(span, "kind"), service == "outrigger" ? "" : service, ms_text(from),
                     ms_text(took), "|" + bar_of(from, took, whole_, width_) + "|", note_of(span)});
    if (!field(span, "span_id").is_string()) return;
    for (const Json* child : children_[cell(span, "span_id")]) add(*child, depth + 1);
  }

  std::size_t width_;
  std::int64_t begin_ = 0, whole_ = 0;
  std::vector<const Json*> all_;
  std::vector<Row> rows_;
  std::map<std::string, std::vector<const Json*>> children_;
  std::set<const Json*> shown_;
};

struct Options {
  std::string id, min, status, route, order;
  std::uint32_t limit = 50;
};

void print_list(Session& session, const Json& reply) {
  std::vector<Row> rows{{"TRACE", "AT (UTC)", "TOOK MS", "STATUS", "SPANS", "ROUTE", "WHAT", "ORDER"}};
  const Json list = field(reply, "traces");
  for (const Json& trace : list.is_array() ? list : Json::array()) {
    const std::time_t seconds = static_cast<std::time_t>(number_of(trace, "start_us") / 1'000'000);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char at[32];
    std::strftime(at, sizeof at, "%H:%M:%S", &parts);
    rows.push_back({cell(trace, "trace_id"), at, ms_text(number_of(trace, "duration_us")),
                    cell(trace, "status") + (field(trace, "failed") == Json(true) ? " !" : ""), cell(trace, "spans"), cell(trace, "route"), cell(trace, "name"), cell(trace, "order")});
  }
  session.print_table(rows);
}

int run_list(Session& session, const Options& options) {
  std::string target = "/outrigger/v1/traces?limit=" + std::to_string(options.limit);
  const std::pair<const char*, const std::string*> parameters[] = {
      {"min", &options.min}, {"status", &options.status}, {"route", &options.route}, {"order", &options.order}};
  for (const auto& [name, value] : parameters) {
    if (!value->empty()) target += "&" + std::string(name) + "=" + url_encode(*value);
  }
  int code = kExitOk;
  const auto reply = session.call_json("GET", target, code);
  if (!reply) return code;
  session.json() ? session.print(*reply) : print_list(session, *reply);
  return kExitOk;
}

int run_one(Session& session, const std::string& id) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/traces/" + url_encode(id), code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << "trace " << printable(cell(*reply, "trace_id")) << "\n";
  session.print_table(waterfall(*reply, kBarWidth));
  if (const Json silent = field(*reply, "silent"); silent.is_array() && !silent.empty()) {
    session.host.out << "without an answer, so spans may be missing:";
    for (const Json& node : silent) session.host.out << " " << (node.is_string() ? printable(node.get<std::string>()) : "?");
    session.host.out << "\n";
  }
  if (const std::int64_t left = number_of(*reply, "left_out"); left > 0) session.host.out << left << " spans more were not kept\n";
  return kExitOk;
}

}  // namespace

std::vector<Row> waterfall(const Json& trace, std::size_t width) {
  const Json spans = field(trace, "spans");
  return Tree(spans.is_array() ? spans : Json::array(), width).rows({"NODE", "SPAN", "KIND", "SERVICE", "AT MS", "TOOK MS", "", "WHAT"});
}

void add_trace_verbs(CLI::App& app, Session& session) {
  CLI::App& traces = *app.add_subcommand("traces", "the last traces of this agent, or one of them with what all agents know of it");
  session.add_client_options(traces);
  const auto options = std::make_shared<Options>();
  traces.add_option("trace-id", options->id, "32 hexadecimal digits: that trace, as a waterfall");
  traces.add_option("--min", options->min, "only what took at least so long: 100ms");
  traces.add_option("--status", options->status, "only this status: 503, 5xx, 400-499");
  traces.add_option("--route", options->route, "only of this route");
  traces.add_option("--order", options->order, "only of the order with this key, or with the hash of it");
  traces.add_option("--limit", options->limit, "so many at most")->check(CLI::Range(1, 1000))->capture_default_str();
  traces.footer("Example: outrigger traces --min 100ms --status 5xx");
  traces.callback([&session, options] { session.chosen = [&session, options] { return options->id.empty() ? run_list(session, *options) : run_one(session, options->id); }; });
}

}  // namespace agent::cli
