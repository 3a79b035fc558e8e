#pragma once

// Private to the library: the members behind gossip::Swim. The functions live in five files by theme:
// swim_core.cc (packets in and out, time), swim_claims.cc (what records and claims do), swim_probes.cc (probing,
// helpers, verdicts, suspicion), swim_spread.cc (news, tags, leaving), swim_streams.cc (frames, anti-entropy),
// swim_heal.cc (joining, partition heal, snapshot).

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gossip/broadcast_queue.h"
#include "gossip/envelope.h"
#include "gossip/heal_schedule.h"
#include "gossip/health_score.h"
#include "gossip/lru_map.h"
#include "gossip/member_table.h"
#include "gossip/probe_schedule.h"
#include "gossip/suspicion.h"
#include "gossip/swim.h"
#include "gossip/wire.h"

namespace gossip {

class Swim::Core {
 public:
  Core(Config config, Rng rng, Aead* aead, TimePoint now, std::uint64_t wall_start_ms);

  void on_datagram(TimePoint now, const Address& from, std::span<const std::byte> bytes);
  void on_datagram_error(TimePoint now, const Address& to, Failure failure);
  std::optional<StreamId> accept_stream(TimePoint now, const Address& from);
  void on_stream_opened(TimePoint now, StreamId id);
  void on_stream_data(TimePoint now, StreamId id, std::span<const std::byte> bytes);
  void on_stream_closed(TimePoint now, StreamId id, Failure failure);
  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;
  Result<void> join(TimePoint now, std::span<const Address> seeds);
  Result<void> restore(TimePoint now, std::span<const std::byte> snapshot);
  void leave(TimePoint now);
  Result<void> push_out(TimePoint now, const MemberId& id);
  Result<void> set_tags(TimePoint now, std::span<const TagChange> changes, Urgency urgency);

  std::vector<Output> take_output() { return std::exchange(outputs_, {}); }
  [[nodiscard]] const MemberTable& table() const { return table_; }
  [[nodiscard]] const Member& self() const { return *table_.find(config_.id); }
  [[nodiscard]] const HealthScore& health() const { return health_; }
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  /// Where a packet came from, which is where answers to it go.
  struct Source {
    Address from;
    StreamId stream{};  ///< 0: datagram
    MemberId sender;
  };
  struct Probe {
    enum class Purpose : std::uint8_t { kSlot, kVerify, kKnock };
    std::uint32_t sequence = 0;
    Purpose purpose = Purpose::kSlot;
    MemberId target;  ///< none: a seed, whoever answers
    Address address;
    TimePoint sent{};
    std::uint32_t again_sequence = 0;  ///< of the direct ping repeated in the second stage; its own, so that the
    TimePoint again_sent{};            ///< round trip of either answer is unambiguous
    TimePoint direct_deadline{};
    TimePoint verdict_deadline{};
    bool second_stage = false;
    std::uint32_t nacks_wanted = 0;
    std::uint32_t nacks = 0;
    StreamId stream{};
    bool stream_opened = false;
    bool stream_refused = false;
  };
  /// A ping we do for someone else.
  struct Relay {
    std::uint32_t sequence = 0;
    std::uint32_t asker_sequence = 0;
    Address asker;
    MemberId target;
    TimePoint nack_at{};
    TimePoint expires{};
    bool nacked = false;
  };
  struct Case {
    Suspicion suspicion;
    std::uint32_t round = 0;  ///< of verifiers
    TimePoint next_round{};
  };
  /// What we alone know about the way to a member.
  struct LinkState {
    std::uint32_t direct_misses = 0;   ///< probes in a row that only a helper or the stream saved
    std::uint32_t stream_saves = 0;    ///< of those, saved by the stream
    std::uint32_t refuted_claims = 0;  ///< accusations of ours in a row that the accused contradicted
    bool claim_open = false;           ///< our accusation of it stands
  };
  struct Stream {
    enum class Role : std::uint8_t { kProbe, kSyncOut, kInbound };
    Role role = Role::kInbound;
    Address peer;
    TimePoint deadline{};
    std::uint32_t probe_sequence = 0;
    std::uint64_t mask = 0;
    bool offered = false;  ///< the sync request of this inbound stream was answered
    std::size_t bytes_in = 0;
    std::vector<std::byte> buffer;
    std::map<MemberId, std::uint64_t> received;  ///< hash of each record the other side sent
  };
  struct Parked {
    MemberId id;
    Rank rank;
    Message claim;
    Source source;
  };
  struct Tokens {
    TimePoint since{};
    std::uint32_t used = 0;
  };
  enum class Saved : std::uint8_t { kDirect, kHelper, kStream };

  // swim_core.cc: packets and time
  void count_drop(Drop reason, std::uint64_t by = 1) { counters_.drops[static_cast<std::size_t>(reason)] += by; }
  void count_drop(Errc code);
  void report(EventKind kind, const MemberId& subject, const MemberId& other = {}, std::string detail = {},
              Evidence evidence = Evidence::kSilent);
  void on_packet(TimePoint now, Source source, std::span<const std::byte> bytes);
  void on_unconfirmed(TimePoint now, const Source& source, SessionId session, const Packet& packet,
                      std::vector<std::byte> body);
  void process(TimePoint now, const Source& source, const Packet& packet, bool pings_answered);
  void process_one(TimePoint now, const Source& source, const Message& message);
  void on_sender(TimePoint now, const Source& source);
  void send(const Address& to, std::span<const Message> lead, bool piggyback);
  void reply(const Source& source, std::span<const Message> lead);
  void finish_input(TimePoint now);
  [[nodiscard]] std::vector<std::byte> make_packet(const Address& to, std::span<const Message> lead, bool piggyback,
                                                   std::size_t bytes_max, std::size_t* sent);
  [[nodiscard]] std::size_t live_others() const { return table_.live_count() - (self().is_live() ? 1 : 0); }
  void guard_pause(TimePoint now);
  [[nodiscard]] std::uint32_t next_sequence() { return ++sequence_; }

  // swim_claims.cc
  void take_update(TimePoint now, const Source& source, const Message& update);
  void take_alive(TimePoint now, const Source& source, const Alive& alive);
  void take_alive_of_self(TimePoint now, const Alive& alive);
  void adopt_alive(TimePoint now, const Source& source, const Alive& alive, const MemberTable::Outcome& outcome);
  void take_suspect(TimePoint now, const Source& source, const Suspect& claim);
  void take_dead(TimePoint now, const Source& source, const Dead& claim);
  void take_left(TimePoint now, const Source& source, const Left& claim);
  void take_tags(TimePoint now, const Source& source, const Tags& tags);
  void take_tombstone(TimePoint now, const Source& source, const Tombstone& stone);
  void take_pull(const Source& source, const Pull& pull);
  void refute(TimePoint now, const Source& source, const Rank& claimed);
  void raise_own_rank(const Rank& above);
  [[nodiscard]] bool is_future(Generation generation, TimePoint now) const;
  [[nodiscard]] bool may_insert(TimePoint now, const Source& source);
  void park(TimePoint now, const Source& source, const MemberId& id, const Rank& rank, const Message& claim);
  void unpark(TimePoint now, const MemberId& id);
  void pull(TimePoint now, const Source& source, const MemberId& id);
  void declare_dead(TimePoint now, const MemberId& id, std::vector<MemberId> accusers, Evidence evidence);
  void settle_name(const std::string& name, const MemberId& newcomer);
  [[nodiscard]] std::size_t accusers_needed(const MemberId& subject) const;
  void forget_links(const MemberId& id);

  // swim_probes.cc
  void run_slot(TimePoint now);
  void start_probe(TimePoint now, const Member& target, Probe::Purpose purpose);
  void advance_probes(TimePoint now);
  void enter_second_stage(TimePoint now, Probe& probe);
  void fail_probe(TimePoint now, const Probe& probe);
  void succeed_probe(TimePoint now, std::size_t place, Saved saved);
  void take_ack(TimePoint now, const Source& source, const Ack& ack);
  void take_nack(const Nack& nack);
  void take_relay_ack(TimePoint now, const RelayAck& ack);
  void take_ping_req(TimePoint now, const Source& source, const PingReq& request);
  void advance_relays(TimePoint now);
  void measure(Member& member, Duration round_trip);
  [[nodiscard]] std::vector<Message> make_ping(std::uint32_t sequence, const Member* target) const;
  [[nodiscard]] Duration direct_timeout(const Member& member) const;
  void accuse(TimePoint now, const MemberId& id, Evidence evidence);
  void add_accusation(TimePoint now, const MemberId& id, const Suspicion::Accusation& accusation);
  void advance_cases(TimePoint now);
  void settle_case(TimePoint now, const MemberId& id);
  void verify(TimePoint now, const MemberId& id, std::uint32_t round);
  void clear_case(TimePoint now, const MemberId& id);
  [[nodiscard]] bool is_braked() const;
  [[nodiscard]] TimePoint case_due(const MemberId& id, const Case& suspect) const;
  [[nodiscard]] bool is_probing(const MemberId& id) const;
  void mark_unreachable(Member& member, bool unreachable);

  // swim_spread.cc
  void spread(TimePoint now, const BroadcastQueue::Key& key, Priority priority, const Message& message, bool urgent);
  void spread_alive(TimePoint now, const Member& member, Priority priority, bool urgent);
  void flush_urgent(TimePoint now);
  void gossip_round(TimePoint now);
  void leave_round(TimePoint now);
  void take_leave_ack(const Source& source);
  [[nodiscard]] Alive make_alive(const Member& member, bool with_tags) const;
  [[nodiscard]] std::vector<MemberId> pick_peers(std::size_t count, const MemberId& not_this, MemberState least);
  [[nodiscard]] bool take_token(TimePoint now, const MemberId& subject);

  // swim_streams.cc
  StreamId open_stream(TimePoint now, Stream stream, Duration limit);
  void close_stream(StreamId id);
  void send_frame(StreamId id, const Address& to, std::span<const Message> lead);
  void start_sync(TimePoint now, const Address& to);
  void note_digest(TimePoint now, const Source& source, std::uint64_t digest);
  void take_sync_request(TimePoint now, const Source& source, const SyncRequest& request);
  void take_sync_done(TimePoint now, const Source& source);
  void send_records(TimePoint now, StreamId id, Stream& stream, bool only_unknown, std::vector<Message> lead);
  [[nodiscard]] std::vector<Message> make_records(TimePoint now, const Member& member) const;
  void advance_streams(TimePoint now);
  [[nodiscard]] std::size_t count_streams(Stream::Role role) const;

  // swim_heal.cc
  void on_contact(TimePoint now, const Source& source);
  void knock(TimePoint now);
  [[nodiscard]] Duration knock_first() const;
  [[nodiscard]] std::optional<TimePoint> next_knock() const;
  void advance_housekeeping(TimePoint now);
  void persist(TimePoint now);
  void reap(TimePoint now);

  Config config_;
  Rng rng_;
  TimePoint start_;
  std::uint64_t wall_start_ms_;
  Envelope envelope_;
  MemberTable table_;
  HealthScore health_;
  ProbeSchedule schedule_;
  BroadcastQueue queue_;
  HealSchedule heal_;
  Counters counters_;
  std::vector<Output> outputs_;

  std::uint32_t sequence_ = 0;
  std::vector<Probe> probes_;  ///< <= 4 slots + 16 verifying + 64 knocks
  std::vector<Relay> relays_;  ///< <= 256
  std::map<MemberId, Case> cases_;
  std::map<MemberId, LinkState> links_;  ///< live members only
  std::map<StreamId, Stream> streams_;
  std::uint64_t stream_last_ = 0;
  std::vector<Parked> parked_;
  LruMap<MemberId, TimePoint, MemberIdHash> pulls_{512};
  LruMap<MemberId, TimePoint, MemberIdHash> notes_{512};  ///< when a dead sender was last told
  LruMap<MemberId, Tokens, MemberIdHash> tokens_{1024};
  std::vector<std::vector<std::byte>> urgent_;  ///< encoded, to be pushed at the end of this input

  std::uint32_t tag_version_ = 0;
  TimePoint armed_{};  ///< what the driver could know as deadline after the last input; overdue ones stay until tick
  TimePoint next_slot_{};
  TimePoint next_gossip_{};
  TimePoint next_knock_{};
  TimePoint next_persist_{};
  TimePoint next_reap_{};
  TimePoint next_sync_{};
  TimePoint seeds_silent_at_{};
  std::optional<TimePoint> digest_differs_since_;
  std::optional<TimePoint> raised_at_;
  bool persist_wanted_ = true;
  bool joined_ = false;
  bool first_sync_done_ = false;
  bool seeds_silent_reported_ = false;
  TimePoint new_members_since_{};
  std::uint32_t new_members_ = 0;

  bool leaving_ = false;
  bool left_ = false;
  TimePoint leave_deadline_{};
  TimePoint leave_next_{};
  std::vector<MemberId> leave_acks_;
  std::size_t leave_acks_wanted_ = 0;
};

}  // namespace gossip
