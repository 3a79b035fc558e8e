#include <memory>
#include <ostream>

#include "agent/cli/event_stream.h"
#include "agent/cli/kv_copy.h"

/// watch: the changes below a prefix, line by line, resumed when the connection breaks.
namespace agent::cli {
namespace {

struct WatchOptions {
  std::string prefix, index;
  bool initial = false;
  std::uint64_t count = 0;
};

/// One line per changed key: index, operation, key, and the value where there is one.
void print_line(Session& session, const Json& index, const std::string& op, const std::string& key, const Json& entry) {
  if (session.json()) {
    session.host.out << Json{{"index", index}, {"op", op}, {"key", key}, {"entry", entry}}.dump(
                            -1, ' ', false, Json::error_handler_t::replace)
                     << "\n";
  } else {
    session.host.out << index.dump() << "  " << op << "  " << key;
    if (entry.is_object()) session.host.out << "  " << decode_base64(field(entry, "value"));
    session.host.out << "\n";
  }
  session.host.out.flush();
}

/// @return false when nothing more is wanted.
bool show(Session& session, const EventCutter::Event& event, std::uint64_t& left, int& code) {
  const Json data = Json::parse(event.data, nullptr, false);
  if (event.name == "too_old") {
    code = session.fail(cell(data, "message"), cell(data, "hint"));
    return false;
  }
  if (event.name == "entry") {
    print_line(session, field(data, "index"), "is", cell(data, "key"), data);
    return left == 0 || --left != 0;
  }
  for (const auto& change : field(data, "changes")) {
    print_line(session, field(data, "index"), cell(change, "op"), cell(change, "key"), field(change, "entry"));
    if (left != 0 && --left == 0) return false;
  }
  return true;
}

int run_watch(Session& session, const WatchOptions& options) {
  int code = kExitOk;
  std::uint64_t left = options.count;
  Following following;
  following.target = "/outrigger/v1/watch/" + url_encode(options.prefix) + (options.initial ? "?initial" : "");
  following.last_id = options.index;
  following.resumes = true;
  following.on_event = [&](const EventCutter::Event& event) { return show(session, event, left, code); };
  const int ended = follow(session, std::move(following));
  return code != kExitOk ? code : ended;
}

}  // namespace

void add_watch_verbs(CLI::App& app, Session& session) {
  const auto options = std::make_shared<WatchOptions>();
  CLI::App& watch = *app.add_subcommand("watch", "print every change of the keys below a prefix as it happens");
  session.add_client_options(watch);
  watch.add_option("prefix", options->prefix, "keys that begin with this; default: all");
  watch.add_option("--index", options->index, "go on behind this index: what was missed comes first");
  watch.add_flag("--initial", options->initial, "print what is there first");
  watch.add_option("--count", options->count, "end after so many lines; default: never");
  watch.footer("Example: outrigger watch config/ --initial -o json");
  watch.callback(
      [&session, options] { session.chosen = [&session, options] { return run_watch(session, *options); }; });
}

}  // namespace agent::cli
