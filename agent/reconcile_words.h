#pragma once
/// What a reconcile hook is told and what it answers, as JSON.
///
/// In:  {"service", "node", "epoch", "armed", "more", "orders": [{"zone", "key", "state", "fingerprint", "reserved_ms", "attempt", "epoch"}]}
/// Out: {"verdicts": [{"zone", "key", "state": "done" | "not_sent" | "unknown", "status": 201, "body": "..."}], "flat": true, "recent_first": true}
///
/// Everything in the answer may be missing: {} says nothing about any order. What is there has to be right: an answer with a state
/// that there is not, or a status out of range, is refused as a whole, because whoever wrote the hook meant something else by it.

#include <string>
#include <string_view>

#include "agent/arming.h"

namespace agent {

inline constexpr std::size_t kHookAnswerBytesMax = std::size_t{1} << 20;  ///< of a program; an HTTP answer has 256 KiB
inline constexpr std::size_t kFindingsMax = 10'000;
inline constexpr std::size_t kFindingBodyBytesMax = std::size_t{192} << 10;  ///< with its head it fits into the ledger

[[nodiscard]] std::string reconcile_question(const AskHook& ask, const std::string& service, const std::string& node);
/// Any bytes. @return ok = false and a sentence in `detail` for what is no answer
[[nodiscard]] HookAnswer reconcile_answer(std::string_view text);

}  // namespace agent
