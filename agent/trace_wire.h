#pragma once
/// Bytes by which one agent asks another about a trace. Pure functions over bytes from anyone.
///
/// A frame of the mesh: 'T' (no frame of the store begins so) · version u8 (1) · kind u8 (0 question, 1 answer) · number u64, then
/// of a question the trace's id, 32 lower-case hexadecimal digits, and of an answer spans left out u32 and text: JSON objects
/// separated by commas, none when there is nothing. Numbers are big-endian. The number is the asker's: an answer repeats it.
/// Source: layout of our own.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace agent {

inline constexpr char kTraceFrame = 'T';
inline constexpr std::uint8_t kTraceVersion = 1;
inline constexpr std::size_t kTraceAnswerBytesMax = 512U << 10;  ///< of text

[[nodiscard]] inline bool is_trace_frame(std::string_view frame) { return !frame.empty() && frame.front() == kTraceFrame; }

struct TraceWord {
  std::uint64_t number = 0;
  bool is_answer = false;
  std::string trace;           ///< of a question
  std::uint32_t left_out = 0;  ///< of an answer
  std::string chunks;          ///< the same
};
/// @param word  a question with a trace of 32 digits, or an answer of at most kTraceAnswerBytesMax
[[nodiscard]] std::string encode_trace_word(const TraceWord& word);
/// @return nullopt: too short, too long, another version, an unknown kind, no id of a trace
[[nodiscard]] std::optional<TraceWord> decode_trace_word(std::string_view frame);

/// Whether it is 32 lower-case hexadecimal digits.
[[nodiscard]] bool is_trace_id(std::string_view text);

}  // namespace agent
