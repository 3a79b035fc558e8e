#include "agent/guard_words.h"

#include <algorithm>

namespace agent {
namespace {

constexpr char kFrame = 'G';
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeadBytes = 4, kItemBytes = 13;

template <class T>
void put(std::string& out, T value) {
  for (unsigned shift = 8 * sizeof(T); shift > 0; shift -= 8) out += static_cast<char>(static_cast<std::uint64_t>(value) >> (shift - 8) & 0xffU);
}
template <class T>
T get(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = value << 8U | static_cast<unsigned char>(bytes[at + i]);
  return static_cast<T>(value);
}

}  // namespace

bool is_guard_frame(std::string_view frame) { return !frame.empty() && frame.front() == kFrame; }

std::string encode_guard(std::span<const GuardWord> words) {
  std::string out;
  out += kFrame;
  put(out, kVersion);
  put(out, static_cast<std::uint16_t>(words.size()));
  for (const GuardWord& word : words) {
    put(out, static_cast<std::uint8_t>(word.kind));
    put(out, static_cast<std::uint64_t>(word.key));
    put(out, static_cast<std::uint32_t>(std::min(word.left, kBanMax).count()));
  }
  return out;
}

std::optional<std::vector<GuardWord>> decode_guard(std::string_view frame) {
  if (frame.size() < kHeadBytes || !is_guard_frame(frame) || get<std::uint8_t>(frame, 1) != kVersion) return std::nullopt;
  const std::size_t count = get<std::uint16_t>(frame, 2);
  if (count == 0 || count > kGuardWordsMax || frame.size() != kHeadBytes + count * kItemBytes) return std::nullopt;
  std::vector<GuardWord> words;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = kHeadBytes + i * kItemBytes;
    GuardWord word;
    word.kind = GuardWordKind{get<std::uint8_t>(frame, at)};
    word.key = proxy::GuardKey{get<std::uint64_t>(frame, at + 1)};
    word.left = std::chrono::seconds(get<std::uint32_t>(frame, at + 9));
    const bool ban = word.kind == GuardWordKind::kBan, unban = word.kind == GuardWordKind::kUnban;
    const bool fits = ban ? word.left.count() > 0 && word.left <= kBanMax : word.left.count() == 0;
    if ((!ban && !unban) || !fits || word.key == proxy::GuardKey::kNone) return std::nullopt;
    words.push_back(word);
  }
  return words;
}

}  // namespace agent
