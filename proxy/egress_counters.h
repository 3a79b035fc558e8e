#pragma once
/// What the gate of egress.h says, and how often it has said it. Plain values.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace proxy {

/// Whether bytes may go out; everything but kOpen is a refusal and says why.
enum class EgressVerdict : std::uint8_t {
  kOpen,
  kNotPrimary,  ///< another agent holds the role, or nobody does
  kLeaseOver,   ///< this one did, and has not been able to renew it
  kNotArmed,    ///< this one does, and may not act yet, or not any more
  kOldEpoch,    ///< the connection, or the order itself, is of an earlier time as primary
};
inline constexpr std::size_t kEgressVerdicts = 5;
[[nodiscard]] std::string_view name_of(EgressVerdict verdict);  ///< "open", "not_primary", "lease_over", "not_armed", "old_epoch"

/// What one egress has done, of one worker. They only grow.
struct EgressCounters {
  std::array<std::uint64_t, kEgressVerdicts> refused{};  ///< requests and connections, by EgressVerdict; [0] is not used
  std::uint64_t unreadable = 0;  ///< refused: a path, an epoch or a CONNECT that cannot be read, a target that is not allowed
  std::uint64_t incomplete = 0;  ///< refused: a credential is not there
  std::uint64_t resets = 0;      ///< connections to the broker cut because the permit was gone, idle ones too
  std::uint64_t bytes_out = 0;   ///< given to the kernel for the broker
  std::uint64_t bytes_in = 0;    ///< from it, without heads where it is HTTP
  void count(EgressVerdict verdict) { ++refused[static_cast<std::size_t>(verdict)]; }
  void add(const EgressCounters& other);
};

}  // namespace proxy
