#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gossip/member.h"

namespace gossip {

/// Settings of one core. Defaults are the LAN profile of gossip.md section 5; WAN raises probe_interval to 2 s.
/// Bounds are checked by validate(); the core never changes its Config.
struct Config {
  // Identity. The agent keeps id and generation on its disk (output Persist) and hands them in.
  MemberId id;                    ///< non-zero
  std::string name;               ///< 1..kNameBytesMax printable ASCII without space
  Address advertise;              ///< where peers reach our gossip port; port > 0
  Generation generation_saved{};  ///< the last one used on this disk; the new one is above it
  std::string cluster;            ///< label bound into every seal, 1..64 bytes; two clusters never mix
  bool plaintext = false;         ///< true: no sealing at all; needs aead == nullptr, and every member alike

  // Probing (SWIM 4.1 and 4.3, Lifeguard LHA-Probe).
  Milliseconds probe_interval{1000};    ///< one slot per interval, 10 ms .. 60 s
  Milliseconds probe_timeout_min{50};   ///< floor of srtt + 4 * rttvar
  Milliseconds probe_timeout_max{500};  ///< ceiling, and the value before the first measurement
  Milliseconds probe_verdict_min{200};  ///< least time the second stage (helpers, stream) gets
  Milliseconds stalled_patience{1000};  ///< from the first ping until a process whose host answers counts as stalled
  std::uint32_t indirect_probes = 3;    ///< helpers asked after the direct time-out, 0..8
  std::uint32_t probes_outstanding_max = 4;  ///< slots that may wait for a verdict at once
  std::uint32_t health_score_max = 8;        ///< ceiling of the local health multiplier, 1 = never slow down

  // Suspicion (Lifeguard LHA-Suspicion, evidence classes).
  std::uint32_t confirmations = 3;      ///< K: independent accusers that bring the wait down to its floor
  std::uint32_t suspicion_stretch = 6;  ///< beta: ceiling / floor
  Milliseconds refused_min{500};
  Milliseconds silent_min{2500};  ///< plus silent_per_decade * log10(n)
  Milliseconds silent_per_decade{500};
  Milliseconds stalled_min{6000};  ///< or stalled_per_decade * log10(n), whichever is more
  Milliseconds stalled_per_decade{4000};
  std::uint32_t verifiers = 5;  ///< members that probe a fresh suspect at once

  // Dissemination.
  Milliseconds gossip_interval{200};  ///< while any update waits
  std::uint32_t gossip_peers = 3;
  std::uint32_t retransmit_factor = 4;    ///< sends of one update = factor * ceil(log10(n + 1))
  std::uint32_t urgent_per_second = 20;   ///< token bucket per subject; beyond it updates go the ordinary way
  std::size_t datagram_bytes_max = 1200;  ///< 640..8900, header and seal included; 640 holds the largest single tag

  // Anti-entropy, healing, leaving, snapshots.
  Milliseconds sum_grace{2000};      ///< how long sums may differ before a stream is opened
  Milliseconds heal_interval{1000};  ///< at most one ping to a dead member or silent seed per interval
  Milliseconds heal_backoff_max{60000};
  Milliseconds seeds_silent_after{10000};  ///< event kSeedsSilent when no seed has answered by then
  Milliseconds leave_timeout{2000};
  Milliseconds stream_probe_deadline{2000};
  Milliseconds stream_sync_deadline{10000};
  std::chrono::hours tombstone_keep{24};
  Milliseconds persist_interval{1000};  ///< at most one Persist output per interval

  // Bounds against hostile or broken input.
  std::size_t members_max = 16384;
  std::uint32_t new_members_per_second = 200;  ///< burst of as many
  std::size_t updates_per_datagram_max = 64;
  std::size_t broadcasts_max = 4096;  ///< waiting updates; 2 * members if that is more
  std::size_t parked_claims_max = 64;
  std::size_t inbound_streams_max = 64;
  std::size_t inbound_streams_per_host_max = 8;  ///< several agents may share a loopback host
  std::size_t sync_streams_max = 4;
  std::size_t sync_bytes_max = 256 * 1024;  ///< per stream and direction

  // Switches, so that tests can run plain SWIM. All on in production.
  bool lha_probe = true;      ///< slow down while we are the sick one
  bool lha_suspicion = true;  ///< false: every suspicion waits its floor
  bool buddy = true;          ///< a ping to a suspect says that it is suspected
  bool verify = true;         ///< verifiers probe at once; `dead` needs several accusers to be adopted
  bool pause_guard = true;    ///< distrust our own view after we were frozen
};

/// Checks every documented range. Errors: kInvalidArgument naming the field.
Result<void> validate(const Config& config);

}  // namespace gossip
