#include "agent/drivers/roll_call.h"

#include <algorithm>
#include <utility>

namespace agent::drivers {
namespace {

constexpr io::Milliseconds kStoppedOneself{1000};  // an end that is found so late: the whole process stood still

}  // namespace

RollCall::RollCall(io::Loop& loop, std::size_t workers) : silent_(workers), timer_(loop, [this] { look(io::boottime_now()); }) {}

void RollCall::call(const Ask& ask, Done done) {
  const Number number = ++count_;
  Question& question = questions_[number];
  question.done = std::move(done);
  for (std::size_t worker = 0; worker < silent_.size(); ++worker) {
    if (!silent_[worker] && ask(number, worker)) question.waits_for.insert(worker);
    else ++question.missing;
  }
  question.until = io::boottime_now() + (question.waits_for.empty() ? io::Milliseconds{0} : kPatience);
  if (!timer_.armed() || question.until < timer_.deadline()) timer_.arm(question.until);
}

void RollCall::answered(Number number, std::size_t worker) {
  silent_[worker] = false;
  const auto found = questions_.find(number);
  if (found == questions_.end() || found->second.waits_for.erase(worker) == 0 || !found->second.waits_for.empty()) return;
  end(found);
}

void RollCall::look(io::TimePoint now) {
  std::vector<Number> due;
  for (auto& [number, question] : questions_) {
    if (question.until > now) continue;
    // The answers may have been there for long: whoever was stopped himself reads them first.
    if (!question.waits_for.empty() && now - question.until > kStoppedOneself) question.until = now + kPatience;
    else due.push_back(number);
  }
  for (const Number number : due) {
    const auto found = questions_.find(number);
    if (found == questions_.end()) continue;
    for (const std::size_t worker : found->second.waits_for) silent_[worker] = true;
    found->second.missing += found->second.waits_for.size();
    end(found);
  }
  if (questions_.empty()) return;
  timer_.arm(std::min_element(questions_.begin(), questions_.end(), [](const auto& a, const auto& b) { return a.second.until < b.second.until; })->second.until);
}

void RollCall::end(std::map<Number, Question>::iterator question) {
  const auto ended = questions_.extract(question);
  ended.mapped().done(ended.mapped().missing);
}

}  // namespace agent::drivers
