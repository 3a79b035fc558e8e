#include "agent/drivers/rate_driver.h"

namespace agent::drivers {

void RateDriver::on_frame(store::NodeId from, std::string_view frame, io::TimePoint now) {
  if (is_rate_questions(frame)) {
    const auto asked = decode_questions(frame);
    if (!asked) {
      ++malformed_;
      return;
    }
    answers_.clear();
    for (const proxy::RateQuestion& question : asked->questions) answers_.push_back(zones_.answer(question, now));
    send(from, encode_answers(asked->worker, answers_));
    return;
  }
  auto answered = decode_answers(frame);
  if (!answered) {
    ++malformed_;
    return;
  }
  callbacks_.deliver(answered->worker, proxy::RateMemberId{from.value}, std::move(answered->answers));
}

void RateDriver::ask(proxy::RateMemberId owner, std::string frame) {
  send(store::NodeId{static_cast<std::uint64_t>(owner)}, std::move(frame));
}

void RateDriver::send(store::NodeId to, std::string frame) {
  if (!callbacks_.send(to, std::move(frame))) ++unsent_;
}

}  // namespace agent::drivers
