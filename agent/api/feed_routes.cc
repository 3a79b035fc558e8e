#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/own.h"
#include "agent/api/session_backend.h"

/// GET /outrigger/v1/watch/PREFIX: the changes below a prefix as server-sent events, resumable at any agent.
/// Events:
///   entry     {entry}                        with ?initial: each key as it is, before `ready`; without an id
///   ready     {index}                        everything up to here has been sent
///   change    {index, changes:[{op, key, entry}]}   one log entry; its id is its index, so that no half of it gets
///   lost progress  {index}                        nothing happened below the prefix up to here; keeps a resume young
///   too_old   {index, message}               the changes behind the client are forgotten: list anew; the stream ends
/// Resume: ?index=N or Last-Event-ID (which wins) with the id of the last event seen. 410 when it is too old already.
namespace agent::api {
namespace {

std::string_view name_of(KvChange::Op op) {
  switch (op) {
    case KvChange::Op::kSet:
      return "set";
    case KvChange::Op::kDelete:
      return "delete";
    case KvChange::Op::kLock:
      return "lock";
    case KvChange::Op::kUnlock:
      return "unlock";
  }
  return "set";
}

void begin_event(std::string& out, std::string_view event, Index id) {
  if (id != Index{}) out += "id: " + std::to_string(number(id)) + "\n";
  out.append("event: ").append(event).append("\ndata: ");
}

std::string index_event(std::string_view event, Index index) {
  std::string out;
  begin_event(out, event, index);
  return out + "{\"index\":" + std::to_string(number(index)) + "}\n\n";
}

void append_change(std::string& out, const KvChange& change) {
  out.append("{\"op\":\"").append(name_of(change.op)).append("\",\"key\":");
  append_json_string(out, change.key);
  if (change.entry) {
    out += ",\"entry\":";
    append_own_entry(out, *change.entry);
  }
  out += '}';
}

/// One event per log entry, so that an id never stands for half of what happened there.
std::string change_events(const std::vector<KvChange>& changes) {
  std::string out;
  for (std::size_t i = 0; i < changes.size();) {
    const Index index = changes[i].index;
    begin_event(out, "change", index);
    out += "{\"index\":" + std::to_string(number(index)) + ",\"changes\":[";
    for (bool first = true; i < changes.size() && changes[i].index == index; ++i, first = false) {
      if (!first) out += ',';
      append_change(out, changes[i]);
    }
    out += "]}\n\n";
  }
  return out;
}

std::string too_old_text(const std::string& prefix, Index after) {
  return "the changes of \"" + prefix + "\" after index " + std::to_string(number(after)) +
         " are not remembered here any more";
}

StreamPiece pull_changes(const SessionBackend& state, const std::string& prefix, Index after, std::size_t bytes_max) {
  const KvChanges found = state.kv_changes(prefix, after, bytes_max);
  StreamPiece piece;
  piece.upto = found.upto;
  piece.more = found.more;
  if (!found.too_old) {
    piece.text = change_events(found.changes);
    return piece;
  }
  begin_event(piece.text, "too_old", {});
  piece.text += dump({{"index", number(after)},
                      {"message", too_old_text(prefix, after)},
                      {"hint", error_row(Errc::kTooOld).hint}}) +
                "\n\n";
  piece.over = true;
  return piece;
}

/// Where the client was: nullopt = it begins; false after an answer that says what is wrong.
bool resume_point(Api& api, const Call& call, std::optional<Index>& out) {
  const auto* given = call.query.find("index");
  const std::string text = !call.request.last_event_id.empty() ? call.request.last_event_id
                           : given != nullptr                  ? *given
                                                               : "";
  if (text.empty()) return true;
  const auto parsed = parse_u64(text);
  if (!parsed)
    return api.fail(call.id,
                    {Errc::kBadRequest, "\"index\" (or Last-Event-ID) must be the number of an event seen before", {}}),
           false;
  if (*parsed != 0) out = Index{*parsed};
  return true;
}

struct Watch {
  std::string prefix;
  std::optional<Index> after;
  bool initial = false;
};

/// The first piece: what is there (if asked for), and from where on changes follow.
std::string opening(Backend& backend, const Watch& watch, Index start) {
  std::string out;
  if (watch.initial)
    for (const auto& entry : backend.kv_list(watch.prefix).entries) {
      begin_event(out, "entry", {});
      append_own_entry(out, entry);
      out += "\n\n";
    }
  return out + index_event("ready", start);
}

void start_watch(Api& api, ExchangeId id, TimePoint now, SessionBackend* state, const Watch& watch,
                 const ReadInfo& info) {
  const Index start = watch.after.value_or(info.applied);
  if (watch.after && state->kv_changes(watch.prefix, start, 1).too_old)
    return api.reply(id, problem_response(Errc::kTooOld, too_old_text(watch.prefix, start)));
  auto first = std::make_shared<std::string>(watch.after ? std::string() : opening(api.backend(), watch, start));
  if (first->size() > api.limits().answer_bytes_max)
    return api.fail(
        id, {Errc::kTooLarge,
             "the keys below \"" + watch.prefix + "\" are more than " + std::to_string(api.limits().answer_bytes_max) +
                 " bytes; list them in parts, watch without ?initial",
             {}});
  Stream stream;
  stream.topic = {Topic::Kind::kPrefix, watch.prefix};
  stream.after = start;
  stream.pull = [state, prefix = watch.prefix, first, bytes_max = api.limits().stream_piece_bytes](Index after) {
    StreamPiece piece = pull_changes(*state, prefix, after, bytes_max);
    if (!first->empty()) piece.text.insert(0, std::exchange(*first, {}));
    return piece;
  };
  stream.idle = [state, prefix = watch.prefix](Index after) {
    const KvChanges found = state->kv_changes(prefix, after, 1);
    return found.changes.empty() && !found.too_old && found.upto > after ? index_event("progress", found.upto)
                                                                         : std::string();
  };
  api.stream(id, now, std::move(stream));
}

void get_watch(Api& api, const Call& call) {
  SessionBackend* state = api.backend().sessions();
  if (state == nullptr) return api.fail(call.id, {Errc::kUnsupported, "this agent has no feed of changes", {}});
  Watch watch;
  watch.prefix = call.parameters.at(0);
  watch.initial = call.query.has("initial");
  if (watch.prefix.size() > api.limits().key_bytes_max)
    return api.fail(
        call.id,
        {Errc::kBadRequest, "the prefix is longer than " + std::to_string(api.limits().key_bytes_max) + " bytes", {}});
  if (!resume_point(api, call, watch.after)) return;
  api.permit(call, [&api, id = call.id, now = call.now, state, watch](const ReadInfo& info) {
    start_watch(api, id, now, state, watch, info);
  });
}

}  // namespace

void add_feed_routes(Router& router) { router.add("GET", "/outrigger/v1/watch/*", get_watch); }

}  // namespace agent::api
