#include "agent/drivers/rate_wire.h"

#include <algorithm>

namespace agent::drivers {
namespace {

constexpr std::uint8_t kQuestions = 0, kAnswers = 1;
constexpr std::uint8_t kZoneFollows = 1;
constexpr std::uint8_t kCounted = 1, kAdmitted = 2;
constexpr std::uint32_t kNoBurst = UINT32_MAX;
constexpr std::uint64_t kNanosecondsMax = std::uint64_t{1} << 62;  // so that a sum with any clock is no overflow

template <class Number>
void put(std::string& out, Number number) {
  for (int shift = static_cast<int>(sizeof number) * 8 - 8; shift >= 0; shift -= 8) {
    out += static_cast<char>(static_cast<unsigned char>(number >> shift));
  }
}

/// Reads numbers off the front; once it is short it stays short.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}
  template <class Number>
  Number take() {
    Number number = 0;
    if (rest_.size() < sizeof number) {
      whole_ = false;
      rest_ = {};
      return number;
    }
    for (std::size_t i = 0; i < sizeof number; ++i) {
      number = static_cast<Number>(static_cast<std::uint64_t>(number) << 8 | static_cast<unsigned char>(rest_[i]));
    }
    rest_.remove_prefix(sizeof number);
    return number;
  }
  [[nodiscard]] bool whole() const { return whole_; }
  [[nodiscard]] bool at_end() const { return whole_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool whole_ = true;
};

void put_head(std::string& out, std::uint8_t kind, std::uint16_t worker, std::size_t count) {
  out += kRateFrame;
  put(out, kRateVersion);
  put(out, kind);
  put(out, worker);
  put(out, static_cast<std::uint16_t>(count));
}

struct Head {
  std::uint16_t worker = 0, count = 0;
};

std::optional<Head> take_head(Cursor& cursor, std::uint8_t kind) {
  const bool ours = cursor.take<std::uint8_t>() == static_cast<unsigned char>(kRateFrame) && cursor.take<std::uint8_t>() == kRateVersion &&
                    cursor.take<std::uint8_t>() == kind;
  Head head;
  head.worker = cursor.take<std::uint16_t>();
  head.count = cursor.take<std::uint16_t>();
  if (!ours || !cursor.whole() || head.count == 0 || head.count > kRateItemsMax) return std::nullopt;
  return head;
}

void put_zone(std::string& out, const proxy::RateQuestion& question) {
  put(out, question.zone);
  put(out, question.rule.count);
  put(out, static_cast<std::uint32_t>(question.rule.period.count()));
  put(out, question.rule.burst.value_or(kNoBurst));
  put(out, static_cast<std::uint8_t>(question.rule.nodelay));
}

bool take_zone(Cursor& cursor, proxy::RateQuestion& zone) {
  zone.zone = cursor.take<std::uint64_t>();
  zone.rule.count = cursor.take<std::uint32_t>();
  zone.rule.period = proxy::Milliseconds(cursor.take<std::uint32_t>());
  const auto burst = cursor.take<std::uint32_t>();
  zone.rule.burst = burst == kNoBurst ? std::nullopt : std::optional(burst);
  zone.rule.nodelay = cursor.take<std::uint8_t>() != 0;
  return cursor.whole() && proxy::is_rate(zone.rule);
}

}  // namespace

bool is_rate_frame(std::string_view frame) { return frame.starts_with(kRateFrame); }
bool is_rate_questions(std::string_view frame) { return is_rate_frame(frame) && frame.size() > 2 && frame[2] == kQuestions; }

std::string encode_questions(std::uint16_t worker, std::span<const proxy::RateQuestion> questions) {
  std::string out;
  put_head(out, kQuestions, worker, questions.size());
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const proxy::RateQuestion& question = questions[i];
    const bool same = i > 0 && questions[i - 1].zone == question.zone && questions[i - 1].rule == question.rule;
    put(out, same ? std::uint8_t{0} : kZoneFollows);
    if (!same) put_zone(out, question);
    put(out, question.ticket);
    put(out, question.key);
    put(out, question.known);
  }
  return out;
}

std::string encode_answers(std::uint16_t worker, std::span<const proxy::RateAnswer> answers) {
  std::string out;
  put_head(out, kAnswers, worker, answers.size());
  for (const proxy::RateAnswer& answer : answers) {
    const proxy::RateVerdict& verdict = answer.verdict;
    put(out, answer.ticket);
    put(out, static_cast<std::uint8_t>((answer.counted ? kCounted : 0) | (verdict.admitted ? kAdmitted : 0)));
    put(out, verdict.remaining);
    put(out, static_cast<std::uint64_t>((verdict.admitted ? verdict.delay : verdict.retry_after).count()));
    put(out, static_cast<std::uint64_t>(verdict.reset.count()));
    put(out, answer.debt);
  }
  return out;
}

std::optional<RateQuestions> decode_questions(std::string_view frame) {
  Cursor cursor(frame);
  const auto head = take_head(cursor, kQuestions);
  if (!head) return std::nullopt;
  RateQuestions out;
  out.worker = head->worker;
  proxy::RateQuestion question;
  for (std::size_t i = 0; i < head->count; ++i) {
    const bool follows = cursor.take<std::uint8_t>() == kZoneFollows;
    if (follows ? !take_zone(cursor, question) : i == 0) return std::nullopt;
    question.ticket = cursor.take<std::uint32_t>();
    question.key = cursor.take<std::uint64_t>();
    question.known = cursor.take<std::uint32_t>();
    if (!cursor.whole()) return std::nullopt;
    out.questions.push_back(question);
  }
  return cursor.at_end() ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<RateAnswers> decode_answers(std::string_view frame) {
  Cursor cursor(frame);
  const auto head = take_head(cursor, kAnswers);
  if (!head) return std::nullopt;
  RateAnswers out;
  out.worker = head->worker;
  for (std::size_t i = 0; i < head->count; ++i) {
    proxy::RateAnswer answer;
    answer.ticket = cursor.take<std::uint32_t>();
    const auto flags = cursor.take<std::uint8_t>();
    answer.counted = (flags & kCounted) != 0;
    answer.verdict.admitted = (flags & kAdmitted) != 0;
    answer.verdict.remaining = cursor.take<std::uint32_t>();
    const auto wait = cursor.take<std::uint64_t>(), reset = cursor.take<std::uint64_t>();
    answer.debt = cursor.take<std::uint32_t>();
    if (!cursor.whole() || std::max(wait, reset) > kNanosecondsMax) return std::nullopt;
    (answer.verdict.admitted ? answer.verdict.delay : answer.verdict.retry_after) = std::chrono::nanoseconds(wait);
    answer.verdict.reset = std::chrono::nanoseconds(reset);
    out.answers.push_back(answer);
  }
  return cursor.at_end() ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace agent::drivers
