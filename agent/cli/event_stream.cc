#include "agent/cli/event_stream.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace agent::cli {
namespace {

constexpr std::chrono::hours kStreamEnds{24};  ///< then it is opened anew
constexpr useconds_t kPauseUs = 300'000;       ///< between two tries to reach the agent
constexpr int kTriesMax = 100;                 ///< in a row without an event: half a minute and more

}  // namespace

bool EventCutter::line(std::string_view text) {
  if (text.empty()) {
    const Event event = std::exchange(event_, {});
    return event.name.empty() && event.data.empty() ? true : on_event_(event);
  }
  const auto colon = std::min(text.find(':'), text.size());
  const auto name = text.substr(0, colon);
  auto value = text.substr(std::min(colon + 1, text.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "id") event_.id = value;
  if (name == "event") event_.name = value;
  if (name == "data" && event_.data.size() < kReplyBytesMax) event_.data += value;
  return true;
}

bool EventCutter::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    if (rest_.size() < kReplyBytesMax) rest_ += bytes.substr(0, end);
    if (end == std::string_view::npos) return true;
    bytes.remove_prefix(end + 1);
    if (rest_.ends_with('\r')) rest_.pop_back();
    if (!line(std::exchange(rest_, {}))) return false;
  }
  return true;
}

int follow(Session& session, Following following) {
  bool ended = false;
  for (int tries = 0; tries < kTriesMax && !ended; ++tries) {
    EventCutter cutter([&](const EventCutter::Event& event) {
      tries = 0;
      if (!event.id.empty()) following.last_id = event.id;
      ended = !following.on_event(event);
      return !ended;
    });
    std::string target = following.target;
    if (following.resumes && !following.last_id.empty())
      target += (target.find('?') == std::string::npos ? "?index=" : "&index=") + url_encode(following.last_id);
    HttpRequest request{
        "GET", target, {}, kStreamEnds, [&cutter](std::string_view bytes) { return cutter.feed(bytes); }, {}};
    if (!session.token.empty()) request.headers.emplace_back("X-Consul-Token", session.token);
    const auto reply = http_call(session.api, request);
    if (reply && reply->status != 200 && reply->status < 500) return session.report(*reply);
    if (!reply && following.last_id.empty()) return session.fail(reply.error());
    if (!ended) usleep(kPauseUs);
  }
  return ended ? kExitOk : session.fail("the agent at " + session.api + " does not answer any more");
}

}  // namespace agent::cli
