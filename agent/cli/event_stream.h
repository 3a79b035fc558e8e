#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "agent/cli/session.h"

/// Following one of the agent's event streams. Private to cli.
namespace agent::cli {

/// Cuts a stream of server-sent events into events. Lines may come in any pieces. An event is bounded by
/// kReplyBytesMax; what is longer is cut off at its end.
class EventCutter {
 public:
  struct Event {
    std::string id, name, data;
  };
  /// @param on_event  false ends the cutting
  explicit EventCutter(std::function<bool(const Event&)> on_event) : on_event_(std::move(on_event)) {}
  /// @return false once on_event has said so
  bool feed(std::string_view bytes);

 private:
  bool line(std::string_view text);
  std::function<bool(const Event&)> on_event_;
  std::string rest_;
  Event event_;
};

/// What to follow. `on_event` false ends it well.
struct Following {
  std::string target;    ///< path and query, without a resume point
  std::string last_id;   ///< resume behind this event; empty = begin
  bool resumes = false;  ///< the stream takes ?index= and sends what was missed; else it tells the newest state
  std::function<bool(const EventCutter::Event&)> on_event;
};
/// Follows a stream and connects again when it breaks, behind the last event seen. @return exit code.
int follow(Session& session, Following following);

}  // namespace agent::cli
