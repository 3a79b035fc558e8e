#include "proxy/trail.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace proxy {
namespace {

constexpr std::size_t kEndRoom = 320;  // of kBytesMax, for the last two steps

struct Packed {
  std::uint64_t a, b;
  std::uint32_t at_us;
  std::uint8_t step, text_bytes, more_bytes;
};

std::string duration(std::uint64_t ns) {
  char text[32];
  if (ns < 1'000'000) std::snprintf(text, sizeof text, "%.0f us", static_cast<double>(ns) / 1e3);
  else std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(ns) / 1e6);
  return text;
}

std::string place(const TrailStep& step) {
  return std::string(step.text) + (step.more.empty() ? "" : " (" + std::string(step.more) + ")");
}

}  // namespace

std::string_view name_of(Step step) {
  switch (step) {
    case Step::kRoute: return "route";
    case Step::kRate: return "rate";
    case Step::kRateAsked: return "rate_asked";
    case Step::kOverRate: return "over_rate";
    case Step::kQueued: return "queued";
    case Step::kHeld: return "held";
    case Step::kReleased: return "released";
    case Step::kCandidate: return "candidate";
    case Step::kPicked: return "picked";
    case Step::kProbe: return "probe";
    case Step::kLease: return "lease";
    case Step::kAttempt: return "attempt";
    case Step::kHedge: return "hedge";
    case Step::kNoHedge: return "no_hedge";
    case Step::kHedgeLost: return "hedge_lost";
    case Step::kConnected: return "connected";
    case Step::kSent: return "sent";
    case Step::kHead: return "head";
    case Step::kFailed: return "failed";
    case Step::kNoBudget: return "no_budget";
    case Step::kRefusedThere: return "refused_there";
    case Step::kLeaseLost: return "lease_lost";
    case Step::kReserved: return "reserved";
    case Step::kReplayed: return "replayed";
    case Step::kRecorded: return "recorded";
    case Step::kAnswer: return "answer";
    case Step::kEnd: return "end";
  }
  return "unknown";
}

std::string sentence_of(const TrailStep& step) {
  const std::string text(step.text), more(step.more), a = std::to_string(step.a);
  const std::string decided = text.empty() ? "" : "; " + text + (more.empty() ? "" : " " + more);
  switch (step.step) {
    case Step::kRoute: return "route \"" + text + "\", to " + more;
    case Step::kRate: return "rate limit: passed, " + a + " left" + (step.b > 0 ? ", waits " + duration(step.b) + " for its turn" : "") + decided;
    case Step::kRateAsked: return "rate limit: another agent counts this client and is asked";
    case Step::kOverRate: return "rate limit: too many, for " + duration(step.a) + " more" + decided;
    case Step::kQueued: return "every endpoint has max_conns requests: waits, " + a + " before it";
    case Step::kHeld: return "held for a primary: " + text;
    case Step::kReleased: return "released after " + duration(step.a);
    case Step::kCandidate:
      return "candidate " + text + ": " + (more.empty() ? "" : more + ", ") + a + " in flight, weight " + std::to_string(step.b / 1000) +
             (step.b % 1000 == 0 ? "" : " (slow start)");
    case Step::kPicked: return "picked " + place(step) + " among " + a;
    case Step::kProbe: return "breaker of " + text + " is half-open: this request is the probe";
    case Step::kLease: return "lease of epoch " + a + " holds for " + duration(step.b) + " more";
    case Step::kAttempt: return "attempt " + a + " at " + place(step) + (step.b != 0 ? ", on a kept connection" : ", on a new connection");
    case Step::kHedge: return "no answer after " + duration(step.a) + ": " + place(step) + " is asked, too";
    case Step::kNoHedge: return "late, but nobody else is asked: the budget for that is used up";
    case Step::kHedgeLost: return "attempt at " + text + " is over: " + more;
    case Step::kConnected: return "connected";
    case Step::kSent: return "request sent, " + a + " bytes taken";
    case Step::kHead: return "response begins: " + a;
    case Step::kFailed: return "attempt failed: " + text + "; " + more;
    case Step::kNoBudget: return "no other try: the retry budget is used up";
    case Step::kRefusedThere: return "the agent there refused it: " + text;
    case Step::kLeaseLost: return "taken back from the instance: " + text;
    case Step::kReserved: return "order key " + text + " reserved in the ledger, entry " + std::to_string(step.a);
    case Step::kReplayed: return "order key " + text + " was answered before with " + std::to_string(step.a) + ": that answer again";
    case Step::kRecorded: return "the answer is in the ledger";
    case Step::kAnswer: return "answered by this agent: " + a + " " + text;
    case Step::kEnd: return "over: " + text + (step.a != 0 ? ", status " + a : ", the client got no answer");
  }
  return "unknown step";
}

void Trail::add(std::chrono::nanoseconds at, Step step, std::string_view text, std::string_view more, std::uint64_t a, std::uint64_t b) {
  text = text.substr(0, kTextMax);
  more = more.substr(0, kTextMax);
  const bool last = step == Step::kAnswer || step == Step::kEnd;
  const std::size_t room = last ? kBytesMax : kBytesMax - kEndRoom;
  if (bytes_.size() + sizeof(Packed) + text.size() + more.size() > room) {
    ++left_out_;
    return;
  }
  const auto us = std::clamp<std::int64_t>(at.count() / 1000, 0, UINT32_MAX);
  const Packed packed{a, b, static_cast<std::uint32_t>(us), static_cast<std::uint8_t>(step), static_cast<std::uint8_t>(text.size()),
                      static_cast<std::uint8_t>(more.size())};
  bytes_.append(reinterpret_cast<const char*>(&packed), sizeof packed);
  bytes_ += text;
  bytes_ += more;
}

std::vector<TrailStep> read_trail(std::string_view bytes) {
  std::vector<TrailStep> steps;
  while (bytes.size() >= sizeof(Packed)) {
    Packed packed;
    std::memcpy(&packed, bytes.data(), sizeof packed);
    bytes.remove_prefix(sizeof packed);
    TrailStep step;
    step.step = static_cast<Step>(packed.step);
    step.at = std::chrono::microseconds(packed.at_us);
    step.text = bytes.substr(0, packed.text_bytes);
    step.more = bytes.substr(packed.text_bytes, packed.more_bytes);
    step.a = packed.a;
    step.b = packed.b;
    bytes.remove_prefix(std::size_t{packed.text_bytes} + packed.more_bytes);
    steps.push_back(step);
  }
  return steps;
}

}  // namespace proxy
