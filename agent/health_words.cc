#include "agent/health_words.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>

namespace agent {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kWordBytes = 13;
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string to_text(std::span<const std::uint8_t> bytes) {
  std::string text;
  std::uint32_t held = 0;
  unsigned bits = 0;
  for (const std::uint8_t byte : bytes) {
    held = (held << 8U | byte) & 0xffffffU;
    for (bits += 8; bits >= 6; bits -= 6) text += kAlphabet[held >> (bits - 6) & 63U];
  }
  if (bits > 0) text += kAlphabet[held << (6 - bits) & 63U];
  return text;
}

/// One text for one row of bytes: bits that are left over must be 0.
std::optional<std::vector<std::uint8_t>> to_bytes(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  std::uint32_t held = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    held = (held << 6U | static_cast<std::uint32_t>(value)) & 0xffffffU;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::uint8_t>(held >> bits & 0xffU));
  }
  if (bits >= 6 || (held & ((1U << bits) - 1)) != 0) return std::nullopt;
  return bytes;
}

void put(std::vector<std::uint8_t>& out, std::uint32_t value, unsigned bytes) {
  while (bytes-- > 0) out.push_back(static_cast<std::uint8_t>(value >> (8U * bytes) & 0xffU));
}

std::uint32_t take(std::span<const std::uint8_t>& in, std::size_t bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8U | in[i];
  in = in.subspan(bytes);
  return value;
}

}  // namespace

std::string_view name_of(WordKind kind) {
  switch (kind) {
    case WordKind::kEjected: return "ejected";
    case WordKind::kFailing: return "failing";
    case WordKind::kOpen: return "open";
    case WordKind::kProbing: return "probing";
    case WordKind::kClosed: return "closed";
  }
  return "";
}

// Ids of agents are random, those of addresses hashes: folded, then mixed by Knuth's multiplicative step.
EndpointKey key_of(proxy::EndpointId id) {
  const auto value = static_cast<std::uint64_t>(id);
  return EndpointKey{static_cast<std::uint32_t>((value ^ value >> 32U) * 2654435761U)};
}

// FNV-1a; 0 means that no route is meant.
RouteKey key_of_route(std::string_view name) {
  std::uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return RouteKey{hash == 0 ? 1 : hash};
}

std::string encode_words(std::span<const HealthWord> words) {
  assert(words.size() <= kWordsMax);
  if (words.empty()) return {};
  std::vector<std::uint8_t> bytes{kVersion};
  for (const HealthWord& word : words) {
    // Rounded up: who hears it does not come before its owner.
    const auto tenths = static_cast<std::uint32_t>((std::clamp(word.left, std::chrono::milliseconds(0), kWordLeftMax).count() + 99) / 100);
    put(bytes, static_cast<std::uint32_t>(word.kind) << 20U | tenths, 3);
    put(bytes, word.serial, 2);
    put(bytes, static_cast<std::uint32_t>(word.endpoint), 4);
    put(bytes, static_cast<std::uint32_t>(word.route), 4);
  }
  return to_text(bytes);
}

io::Result<std::vector<HealthWord>> decode_words(std::string_view text) {
  std::vector<HealthWord> words;
  if (text.empty()) return words;
  if (text.size() > kWordsTextMax) return io::fail(io::Errc::kInvalidArgument, "words about endpoints are longer than " + std::to_string(kWordsTextMax) + " bytes");
  const auto bytes = to_bytes(text);
  if (!bytes || bytes->empty()) return io::fail(io::Errc::kInvalidArgument, "words about endpoints are no base64url");
  if (bytes->front() != kVersion) return io::fail(io::Errc::kInvalidArgument, "words about endpoints have version " + std::to_string(bytes->front()));
  std::span<const std::uint8_t> rest = std::span(*bytes).subspan(1);
  if (rest.size() % kWordBytes != 0) return io::fail(io::Errc::kInvalidArgument, "words about endpoints end in the middle of one");
  while (!rest.empty()) {
    HealthWord word;
    const std::uint32_t first = take(rest, 3);
    word.kind = static_cast<WordKind>(first >> 20U);
    word.left = std::chrono::milliseconds((first & 0xfffffU) * 100);
    word.serial = static_cast<std::uint16_t>(take(rest, 2));
    word.endpoint = EndpointKey{take(rest, 4)};
    word.route = RouteKey{take(rest, 4)};
    if (!name_of(word.kind).empty()) words.push_back(word);
  }
  return words;
}

}  // namespace agent
