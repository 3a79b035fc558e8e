#include "gossip/member.h"

namespace gossip {

std::string MemberId::to_string() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<MemberId> MemberId::parse(std::string_view hex) {
  const auto invalid = tl::unexpected(Error{Errc::kInvalidArgument, "a member id has 32 lower-case hex digits"});
  MemberId id;
  if (hex.size() != 2 * id.bytes.size()) return invalid;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return invalid;
    id.bytes[i / 2] = static_cast<std::uint8_t>(id.bytes[i / 2] << 4 | digit);
  }
  return id;
}

std::size_t MemberIdHash::operator()(const MemberId& id) const noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const auto byte : id.bytes) hash = (hash ^ byte) * 0x100000001b3u;
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdu;
  return static_cast<std::size_t>(hash ^ (hash >> 33));
}

std::string_view to_string(MemberState state) noexcept {
  switch (state) {
    case MemberState::kAlive:
      return "alive";
    case MemberState::kSuspect:
      return "suspect";
    case MemberState::kDead:
      return "dead";
    case MemberState::kLeft:
      return "left";
  }
  return "unknown";
}

std::string_view to_string(Evidence evidence) noexcept {
  switch (evidence) {
    case Evidence::kRefused:
      return "refused";
    case Evidence::kSilent:
      return "silent";
    case Evidence::kStalled:
      return "stalled";
  }
  return "unknown";
}

}  // namespace gossip
