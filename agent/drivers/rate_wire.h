#pragma once
/// Bytes of questions and answers about limits that the cluster counts together. Pure functions over bytes from anyone.
///
/// A frame of the mesh: 'R' (no frame of the store begins so) · version u8 (1) · kind u8 (0 questions, 1 answers) · worker u16
/// of who asks · count u16, then so many items, and nothing behind them. Numbers are big-endian.
///   Question: flags u8 (1 = a zone follows; else it is that of the question before) · [zone id u64 · limit u32 · period ms u32
///             · burst u32, all ones = a window · nodelay u8] · ticket u32 · key u64 · known debt u32
///   Answer:   ticket u32 · flags u8 (1 counted, 2 admitted) · remaining u32 · ns u64 (to wait, or until a try is let in)
///             · reset ns u64 · debt u32
/// Source: layout of our own; what the fields mean is in proxy/rate_share.h.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/rate_share.h"

namespace agent::drivers {

inline constexpr char kRateFrame = 'R';
inline constexpr std::uint8_t kRateVersion = 1;
inline constexpr std::size_t kRateItemsMax = 1024;  ///< in one frame, of either kind: 40 KiB

/// What one worker asks one owner, or what it is answered.
struct RateQuestions {
  std::uint16_t worker = 0;
  std::vector<proxy::RateQuestion> questions;  ///< RateQuestion::owner is not on the wire
};
struct RateAnswers {
  std::uint16_t worker = 0;  ///< as in the questions
  std::vector<proxy::RateAnswer> answers;
};

[[nodiscard]] bool is_rate_frame(std::string_view frame);
[[nodiscard]] bool is_rate_questions(std::string_view frame);  ///< else they may be answers
/// @param questions  1 .. kRateItemsMax
[[nodiscard]] std::string encode_questions(std::uint16_t worker, std::span<const proxy::RateQuestion> questions);
[[nodiscard]] std::string encode_answers(std::uint16_t worker, std::span<const proxy::RateAnswer> answers);
/// @return nullopt: too short, too long, another version or kind, a first question without a zone, an impossible number.
[[nodiscard]] std::optional<RateQuestions> decode_questions(std::string_view frame);
[[nodiscard]] std::optional<RateAnswers> decode_answers(std::string_view frame);

}  // namespace agent::drivers
