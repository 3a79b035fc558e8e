#include <string>

#include "agent/reconcile_words.h"
#include "tests/fuzz/fuzz.h"

/// What a reconcile hook said. It is an answer within every bound, or a sentence says why it is none; and what it finds about
/// orders is taken by the core without harm, whichever orders it was asked about.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent;
  const HookAnswer answer = reconcile_answer(fuzz::text_of(data, size));
  fuzz::require(answer.ok != !answer.detail.empty(), "an answer, or why it is none");
  fuzz::require(answer.ok || answer.findings.empty(), "nothing of what is refused is taken");
  for (const OrderFinding& finding : answer.findings) {
    fuzz::require(finding.standing != OrderStanding::kReserved, "no hook reserves");
    fuzz::require(finding.status == 0 || (finding.status >= 200 && finding.status <= 599), "a status that can be replayed");
    fuzz::require(finding.body.size() <= kFindingBodyBytesMax, "a body that the ledger takes");
  }
  ArmingRules rules;
  rules.has_hook = true;
  Arming core(rules, [](std::uint64_t) { return std::uint64_t{0}; });
  const TimePoint now{};
  core.on_primary(now, Epoch{1});
  core.on_state(now, Epoch{1}, 1);
  for (int turn = 0; turn < 8; ++turn) {
    for (const ArmingOutput& output : core.take_output()) {
      if (const auto* read = std::get_if<ReadPage>(&output)) {
        std::vector<OrderSeen> page;
        if (read->kind == ReadPage::Kind::kUnknown && !answer.findings.empty()) page.push_back({answer.findings.front().zone, answer.findings.front().key, 1, 2, {}, {}, 0, 0, 1});
        core.on_page(now, read->number, std::move(page));
      } else if (const auto* ask = std::get_if<AskHook>(&output)) {
        core.on_hook(now, ask->number, answer);
      } else if (const auto* verdict = std::get_if<WriteVerdict>(&output)) {
        core.on_verdict(now, verdict->number, VerdictEnd::kRecorded);
      }
    }
  }
  fuzz::require(core.armed() == answer.ok, "a good answer arms, a bad one does not");
  return 0;
}
