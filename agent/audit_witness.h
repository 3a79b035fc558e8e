#pragma once
/// What agents have signed about the audit, and what one of them makes of it: a core without keys, disk, socket or clock.
/// Source:    decision 0075; statements after Haber and Stornetta (1991) and the signed tree heads of RFC 6962, section 3.5.
///
/// An agent signs the end of its copy as it grows, as far as it is on its own disk, and tells it to all. Who hears it compares
/// with the own copy at that number: the same hash is kept and answered by an own statement (the co-signature), another one is a
/// dispute. What was kept was once true of this very copy: a copy that says something else later was changed, whoever did it.
/// Thread: the control loop. Bounds: kSignersMax agents with kKeptMax statements each; one statement of each waits.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/audit_words.h"

namespace agent {

/// What is kept of one agent.
struct AuditSigner {
  AuditKey key{};                      ///< as first seen, or the one that took its place
  std::uint32_t key_changes = 0;
  std::vector<AuditStatement> kept;    ///< that agreed with this copy; by number, which grows
  std::optional<AuditStatement> dispute;  ///< the last one that did not
  bool disputed = false;               ///< nothing has agreed since
  friend bool operator==(const AuditSigner&, const AuditSigner&) = default;
};
using AuditSigners = std::map<store::NodeId, AuditSigner>;

inline constexpr std::size_t kAuditSignersMax = 256;
inline constexpr std::size_t kAuditKeptMax = 16;
inline constexpr std::size_t kWitnessFileBytesMax = std::size_t{1} << 20;

/// Format: "OAW1" · cluster 16 bytes · count u16 · signers by node: node u64, key 65 bytes, changes u32, count u8, statements,
/// flag u8 (0 no dispute, 1 an old one, 2 it stands), statement · SHA-256 of everything before.
[[nodiscard]] std::string encode_witness(const AuditSigners& signers, const store::kv::ClusterId& cluster);
struct AuditWitnessFile {
  store::kv::ClusterId cluster;
  AuditSigners signers;
};
/// Takes any bytes. nullopt: cut, changed, another version, over a bound, out of order. Signatures are not checked here.
[[nodiscard]] std::optional<AuditWitnessFile> decode_witness(std::string_view bytes);

/// What statements say against a copy.
struct AuditContradiction {
  store::kv::AuditFault fault;   ///< kTruncated: from the end of the copy to `by.number`; kDiffers: at by.number
  std::uint64_t agreed = 0;      ///< the last number at which a statement and the copy say the same; 0 = none
  AuditStatement by;
  std::size_t signers = 0;       ///< agents that said the same of that number
};

/// What everything in `kept` says against this copy; at most one of each kind. None = nothing. It has to have been kept before the
/// copy was taken: a frozen copy is not wrong because others have gone on.
[[nodiscard]] std::vector<AuditContradiction> contradictions(const AuditSigners& kept, const store::kv::AuditLog& log);

class AuditWitness {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Milliseconds = std::chrono::milliseconds;
  static constexpr Milliseconds kSignEvery{1000};     ///< at least, between two ends; more where there are many peers
  static constexpr Milliseconds kSignPerPeer{250};
  static constexpr Milliseconds kHearCost{100};       ///< of one statement of a peer; kHearBurst may come at once
  static constexpr int kHearBurst = 16;

  struct Keys {
    AuditKey own{};
    std::function<AuditSignature(std::string_view bytes)> sign;
    std::function<bool(const AuditKey&, std::string_view bytes, const AuditSignature&)> check;
  };
  /// The own copy, at the moment of a call.
  struct Copy {
    const store::kv::AuditLog* log = nullptr;  ///< never null
    store::kv::Index applied{}, durable{};     ///< what the copy in memory, and that on the disk, come from
  };
  struct Event {
    enum class Kind : std::uint8_t { kDisputed, kAgreesAgain, kKeyChanged, kBadSignature };
    Kind kind = Kind::kDisputed;
    store::NodeId node{};
    AuditStatement statement;
    std::optional<store::kv::Digest> ours;  ///< kDisputed: none = this copy ends before
  };
  struct Output {
    std::vector<std::pair<std::optional<store::NodeId>, AuditWord>> words;  ///< none = to all
    std::vector<Event> events;
    bool changed = false;  ///< what is kept is to be written
  };
  struct Counters {
    std::uint64_t signed_ends = 0, cosigned = 0, heard = 0, agreed = 0, disputed = 0, key_changes = 0;
    std::uint64_t bad_signature = 0, too_often = 0, too_old = 0, refused = 0;
  };

  AuditWitness(store::NodeId self, store::kv::ClusterId cluster, Keys keys, AuditSigners kept)
      : self_(self), cluster_(cluster), keys_(std::move(keys)), signers_(std::move(kept)) {}

  /// The copy may have grown, on the disk too: signs its end, and looks at what waited for it.
  /// @param peers  that are told
  void look(const Copy& copy, std::size_t peers, TimePoint now, std::uint64_t wall_ms);
  void on_connected(store::NodeId peer);
  /// @param wants_answer  it is an end, not a co-signature
  void on_statement(store::NodeId from, const AuditStatement& statement, bool wants_answer, const Copy& copy, TimePoint now, std::uint64_t wall_ms);
  Output take_output() { return std::exchange(output_, Output{}); }

  [[nodiscard]] std::vector<AuditContradiction> check(const store::kv::AuditLog& log) const { return contradictions(signers_, log); }  ///< the copy of now
  [[nodiscard]] const AuditSigners& signers() const { return signers_; }
  [[nodiscard]] const store::kv::ClusterId& cluster() const { return cluster_; }
  [[nodiscard]] std::size_t disputes() const;  ///< members whose last comparable statement contradicts this copy
  /// Who keeps a copy now; before the first call everybody does. What others have signed stays kept until a member needs the room.
  void set_members(std::set<store::NodeId> members) { members_ = std::move(members); }
  [[nodiscard]] bool has_heard(store::NodeId node, const AuditKey& key) const;  ///< as its newest, from itself, by this process
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] bool is_true(const AuditStatement& statement) const;  ///< its key has signed it, for this cluster

 private:
  enum class Verdict : std::uint8_t { kAgrees, kDiffers, kTooOld, kNotYet };
  struct Waiting {
    AuditStatement statement;
    bool wants_answer = false;
  };
  [[nodiscard]] bool has_room_for(store::NodeId node);
  [[nodiscard]] bool may_hear(store::NodeId from, TimePoint now);
  [[nodiscard]] Verdict judge(const AuditStatement& statement, const Copy& copy) const;
  void take(store::NodeId from, const AuditStatement& statement, bool wants_answer, const Copy& copy, std::uint64_t wall_ms);
  void pin(store::NodeId from, AuditSigner& signer, const AuditStatement& statement);
  void answer(store::NodeId to, const AuditStatement& statement, const Copy& copy, std::uint64_t wall_ms);
  [[nodiscard]] AuditStatement state(const store::kv::AuditProof& proof, std::uint64_t wall_ms) const;

  store::NodeId self_;
  store::kv::ClusterId cluster_;
  Keys keys_;
  AuditSigners signers_;
  std::optional<AuditStatement> end_;             // as last signed by this process
  TimePoint sign_at_{};
  std::map<store::NodeId, Waiting> waiting_;      // for this copy to get there; bounded by signers_
  std::map<store::NodeId, TimePoint> heard_until_;  // the same
  std::map<store::NodeId, AuditKey> heard_;  // the same
  std::set<store::NodeId> members_;
  Output output_;
  Counters counters_;
};

/// Keeps `statement`, and of the older ones those that are spread best: many near the end, few far back.
void keep_statement(std::vector<AuditStatement>& kept, const AuditStatement& statement);

}  // namespace agent
