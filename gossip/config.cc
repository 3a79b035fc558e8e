#include "gossip/config.h"

#include <algorithm>

namespace gossip {
namespace {

bool is_name(const std::string& name, std::size_t bytes_max) {
  return !name.empty() && name.size() <= bytes_max &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
}

/// First field out of its range, or null.
const char* validate_identity(const Config& c) {
  if (c.id.is_none()) return "id: must not be zero";
  if (!is_name(c.name, kNameBytesMax)) return "name: 1 to 64 printable ASCII characters without space";
  if (c.advertise.is_none()) return "advertise: a port above 0 is needed";
  if (c.cluster.empty() || c.cluster.size() > 64) return "cluster: 1 to 64 bytes";
  return nullptr;
}

const char* validate_times(const Config& c) {
  using namespace std::chrono_literals;
  if (c.probe_interval < 10ms || c.probe_interval > 60s) return "probe_interval: 10 ms to 60 s";
  if (c.probe_timeout_min < 1ms || c.probe_timeout_min > c.probe_timeout_max)
    return "probe_timeout_min: 1 ms to probe_timeout_max";
  if (c.probe_timeout_max > c.probe_interval) return "probe_timeout_max: at most probe_interval";
  if (c.probe_verdict_min < 1ms || c.probe_verdict_min > c.probe_interval)
    return "probe_verdict_min: 1 ms to probe_interval";
  if (c.stalled_patience < 1ms || c.stalled_patience > c.stream_probe_deadline)
    return "stalled_patience: 1 ms to stream_probe_deadline";
  if (c.refused_min < 1ms || c.silent_min < 1ms || c.stalled_min < 1ms)
    return "refused_min, silent_min, stalled_min: at least 1 ms";
  if (c.silent_per_decade < 0ms || c.stalled_per_decade < 0ms)
    return "silent_per_decade, stalled_per_decade: not negative";
  if (c.gossip_interval < 1ms || c.gossip_interval > 60s) return "gossip_interval: 1 ms to 60 s";
  if (c.heal_interval < 1ms || c.heal_backoff_max < c.heal_interval) return "heal_interval: 1 ms to heal_backoff_max";
  if (c.stream_probe_deadline < 1ms || c.stream_sync_deadline < 1ms) return "stream deadlines: at least 1 ms";
  if (c.leave_timeout < 1ms || c.persist_interval < 1ms || c.sum_grace < 0ms)
    return "leave_timeout, persist_interval: at least 1 ms";
  if (c.tombstone_keep < 1h) return "tombstone_keep: at least 1 h";
  return nullptr;
}

const char* validate_bounds(const Config& c) {
  if (c.indirect_probes > 8) return "indirect_probes: 0 to 8";
  if (c.probes_outstanding_max < 1 || c.probes_outstanding_max > 64) return "probes_outstanding_max: 1 to 64";
  if (c.health_score_max < 1 || c.health_score_max > 64) return "health_score_max: 1 to 64";
  if (c.confirmations > 16 || c.verifiers > 16) return "confirmations, verifiers: 0 to 16";
  if (c.suspicion_stretch < 1 || c.suspicion_stretch > 100) return "suspicion_stretch: 1 to 100";
  if (c.gossip_peers < 1 || c.gossip_peers > 16) return "gossip_peers: 1 to 16";
  if (c.retransmit_factor < 1 || c.retransmit_factor > 16) return "retransmit_factor: 1 to 16";
  if (c.urgent_per_second < 1) return "urgent_per_second: at least 1";
  if (c.datagram_bytes_max < 640 || c.datagram_bytes_max > 8900) return "datagram_bytes_max: 640 to 8900";
  if (c.members_max < 2 || c.members_max > 16384) return "members_max: 2 to 16384";
  if (c.new_members_per_second < 1) return "new_members_per_second: at least 1";
  if (c.updates_per_datagram_max < 1 || c.broadcasts_max < 16 || c.parked_claims_max < 1)
    return "updates_per_datagram_max, broadcasts_max (>= 16), parked_claims_max: too small";
  if (c.inbound_streams_max < 1 || c.inbound_streams_per_host_max < 1 || c.sync_streams_max < 1)
    return "stream bounds: at least 1";
  if (c.sync_bytes_max < 16 * 1024 || c.sync_bytes_max > 16 * 1024 * 1024) return "sync_bytes_max: 16 KiB to 16 MiB";
  return nullptr;
}

}  // namespace

Result<void> validate(const Config& config) {
  for (const auto check : {validate_identity, validate_times, validate_bounds}) {
    if (const char* problem = check(config)) return tl::unexpected(Error{Errc::kInvalidArgument, problem});
  }
  return {};
}

}  // namespace gossip
