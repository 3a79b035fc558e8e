#include <string_view>

#include "agent/drivers/rate_wire.h"
#include "proxy/rate_zones.h"
#include "tests/fuzz/fuzz.h"

/// Frames of other agents about limits: read, answered, written again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent::drivers;
  const std::string_view frame(reinterpret_cast<const char*>(data), size);
  if (const auto asked = decode_questions(frame)) {
    fuzz::require(is_rate_questions(frame), "what can be read as questions is told apart from answers");
    const auto again = decode_questions(encode_questions(asked->worker, asked->questions));
    fuzz::require(again && again->questions == asked->questions, "questions survive being written");
    proxy::RateZones zones({1, 2});
    std::vector<proxy::RateAnswer> answers;
    for (const proxy::RateQuestion& question : asked->questions) answers.push_back(zones.answer(question, proxy::TimePoint(std::chrono::hours(1))));
    fuzz::require(decode_answers(encode_answers(asked->worker, answers)).has_value(), "every answer can be read");
  }
  if (const auto told = decode_answers(frame)) {
    fuzz::require(!is_rate_questions(frame), "what can be read as answers is told apart from questions");
    const auto again = decode_answers(encode_answers(told->worker, told->answers));
    fuzz::require(again && again->answers.size() == told->answers.size(), "answers survive being written");
  }
  return 0;
}
