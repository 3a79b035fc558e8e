#include "agent/cli/lease_client.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>

namespace agent::cli {

using std::chrono::milliseconds;

std::string default_holder(const Session& session) {
  constexpr std::size_t kHolderBytesMax = 64;
  std::uint64_t chance = 0;
  // Blocks for a moment at most, early after boot. Without any chance the process id alone has to do.
  while (getrandom(&chance, sizeof chance, 0) < 0 && errno == EINTR) continue;
  char end[48];
  const int size = std::snprintf(end, sizeof end, "-%d-%016" PRIx64, static_cast<int>(getpid()), chance);
  std::string host = session.host.host_name.substr(0, kHolderBytesMax - static_cast<std::size_t>(size));
  for (char& c : host)
    if (c <= ' ' || c > '~') c = '-';  // the kernel takes any bytes for a host name, JSON does not
  return host + end;
}

LeaseTimes lease_times(milliseconds lease) { return {lease / 4, lease / 4}; }

LeaseClient::LeaseClient(Session& session, std::string name, std::string holder, milliseconds lease)
    : session_(session), name_(std::move(name)), holder_(std::move(holder)), lease_(lease) {}

LeaseClient::Outcome LeaseClient::order(const std::string& what, milliseconds timeout) {
  Json body = {{"holder", holder_}, {"lease_ms", lease_.count()}};
  if (what != "campaign") body["epoch"] = epoch_;
  HttpRequest request{"PUT", "/outrigger/v1/election/" + url_segment(name_) + "/" + what, body.dump(), timeout, {}, {}};
  if (!session_.token.empty()) request.headers.emplace_back("X-Consul-Token", session_.token);
  const io::TimePoint sent = io::boottime_now();
  const auto reply = http_call(session_.api, request);
  if (!reply) return fault_ = reply.error(), Outcome::kUnknown;
  const Json answer = Json::parse(reply->body, nullptr, false);
  fault_ = cell(answer, "message");
  if (reply->status == 409) return Outcome::kHeld;
  if (reply->status >= 500) return Outcome::kUnknown;
  const Json epoch = field(answer, "epoch");
  if (reply->status != 200 || !epoch.is_number_unsigned()) return Outcome::kRefused;
  epoch_ = epoch.get<std::uint64_t>();
  valid_until_ = sent + lease_;
  return Outcome::kWon;
}

LeaseClient::Outcome LeaseClient::campaign() {
  const Outcome outcome = order("campaign", milliseconds(session_.timeout_ms));
  if (outcome == Outcome::kHeld) other_ = fault_;
  // An answer that came so late that nothing of the lease is left is worth nothing.
  return outcome == Outcome::kWon && io::boottime_now() >= valid_until_ ? Outcome::kUnknown : outcome;
}

void LeaseClient::await_change(milliseconds for_at_most) {
  HttpRequest request{"GET", "/outrigger/v1/election/" + url_segment(name_), {}, milliseconds(session_.timeout_ms), {},
                      {}};
  const auto now = http_call(session_.api, request);
  const Json state = now ? Json::parse(now->body, nullptr, false) : Json();
  if (!now || now->status != 200 || field(state, "holder").is_null()) {
    usleep(100'000);  // vacant, kept for somebody for a moment, or nobody answers
    return;
  }
  const std::string index = cell(state, "index"), wait = std::to_string(for_at_most.count());
  request.target += "?index=" + index + "&wait=" + wait + "ms";
  request.timeout = for_at_most + for_at_most / 8 + milliseconds(2000);
  (void)http_call(session_.api, request);  // whatever it says, the next campaign decides
}

LeaseClient::Outcome LeaseClient::renew() {
  const auto left = std::chrono::duration_cast<milliseconds>(valid_until_ - io::boottime_now());
  return order("renew", std::clamp(left / 2, milliseconds(20), std::max(lease_ / 4, milliseconds(20))));
}

void LeaseClient::resign() { (void)order("resign", milliseconds(std::min<std::uint32_t>(session_.timeout_ms, 2000))); }

}  // namespace agent::cli
