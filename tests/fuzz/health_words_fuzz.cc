#include <string>
#include <vector>

#include "agent/health_share.h"
#include "tests/fuzz/fuzz.h"

/// The tag of a peer, as anybody may write it. What is taken is written again as the same text, unless it holds kinds of a
/// later version; and whatever it says, of the two endpoints of a pool one is left, and one breaker lets.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent;
  const std::string text(fuzz::text_of(data, size));
  if (const auto words = decode_words(text)) {
    fuzz::require(words->size() <= kWordsMax, "no more than fit");
    const std::string again = encode_words(*words);
    fuzz::require(again.size() <= text.size(), "no longer than it was");
    fuzz::require(*decode_words(again) == *words, "the same words");
    if (again.size() == text.size()) fuzz::require(again == text || words->empty(), "one text for the same words");
  }
  const HealthShare::TimePoint now{std::chrono::hours(1)};
  HealthShare::View view;
  view.pools.resize(1);
  HealthShare::Route route{key_of_route("r"), "r", 0, {}};
  for (std::uint64_t id = 1; id <= 2; ++id) {
    view.pools[0].endpoints.push_back({proxy::EndpointId{id}, "e", true, {}, false, {}});
    route.breakers.emplace_back();
  }
  view.routes.push_back(route);
  HealthShare share(1);
  const auto decision = share.look(now, view, {{1, "a", text}, {2, "b", text}});
  fuzz::require(decision.advice.size() <= 1, "one is left");
  fuzz::require(decision.orders.size() <= 1, "one breaker lets");
  fuzz::require(decision.text.empty(), "what is heard is not told");
  return 0;
}
