#include "agent/trace_wire.h"

#include <algorithm>

namespace agent {
namespace {

constexpr std::size_t kHeadBytes = 11, kTraceDigits = 32;
constexpr char kQuestion = 0, kAnswer = 1;

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}
std::uint64_t get(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | static_cast<std::uint8_t>(bytes[at + i]);
  return value;
}

}  // namespace

bool is_trace_id(std::string_view text) {
  return text.size() == kTraceDigits && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string encode_trace_word(const TraceWord& word) {
  std::string out(1, kTraceFrame);
  put(out, kTraceVersion, 1);
  out += word.is_answer ? kAnswer : kQuestion;
  put(out, word.number, 8);
  if (!word.is_answer) return out + word.trace;
  put(out, word.left_out, 4);
  return out + word.chunks;
}

std::optional<TraceWord> decode_trace_word(std::string_view frame) {
  if (!is_trace_frame(frame) || frame.size() < kHeadBytes || get(frame, 1, 1) != kTraceVersion) return std::nullopt;
  TraceWord word;
  word.is_answer = frame[2] == kAnswer;
  if (!word.is_answer && frame[2] != kQuestion) return std::nullopt;
  word.number = get(frame, 3, 8);
  const std::string_view rest = frame.substr(kHeadBytes);
  if (!word.is_answer) {
    if (!is_trace_id(rest)) return std::nullopt;
    word.trace = rest;
    return word;
  }
  if (rest.size() < 4 || rest.size() - 4 > kTraceAnswerBytesMax) return std::nullopt;
  word.left_out = static_cast<std::uint32_t>(get(rest, 0, 4));
  word.chunks = rest.substr(4);
  return word;
}

}  // namespace agent
