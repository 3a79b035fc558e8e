#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Numbers, names and bounds of the replicated state. Everything here is a plain value.
namespace store::kv {

/// Index of the log entry that made a change. 0 = before the first entry. Clients see it as X-Consul-Index.
enum class Index : std::uint64_t {};
/// Fencing token of one service; 0 = never held; only grows, also over deletion, restore and restart.
enum class Epoch : std::uint64_t {};
/// Raft id of an agent. 0 = nobody.
enum class NodeId : std::uint64_t {};

[[nodiscard]] constexpr std::uint64_t value(Index index) { return static_cast<std::uint64_t>(index); }
[[nodiscard]] constexpr std::uint64_t value(Epoch epoch) { return static_cast<std::uint64_t>(epoch); }
[[nodiscard]] constexpr std::uint64_t value(NodeId id) { return static_cast<std::uint64_t>(id); }

/// 128 random bits, drawn once when a cluster is founded. All zero = none.
struct ClusterId {
  std::array<std::uint8_t, 16> bytes{};
  [[nodiscard]] bool is_none() const { return *this == ClusterId{}; }
  [[nodiscard]] std::string hex() const;  ///< 32 lower-case digits
  auto operator<=>(const ClusterId&) const = default;
};
/// Inverse of ClusterId::hex(); nullopt for anything else.
[[nodiscard]] std::optional<ClusterId> parse_cluster_id(std::string_view hex);

/// 128 bits that name one thing for ever: drawn at random by whoever creates it, never by the state machine.
/// All zero = none.
struct Uuid {
  std::array<std::uint8_t, 16> bytes{};
  [[nodiscard]] bool is_none() const { return *this == Uuid{}; }
  [[nodiscard]] std::string text() const;  ///< "8-4-4-4-12" lower-case digits
  auto operator<=>(const Uuid&) const = default;
};
/// Inverse of Uuid::text(), upper case taken too; nullopt for anything else.
[[nodiscard]] std::optional<Uuid> parse_uuid(std::string_view text);

/// Name of a session; as random as its Uuid. None = no session.
struct SessionId {
  Uuid uuid;
  [[nodiscard]] bool is_none() const { return uuid.is_none(); }
  [[nodiscard]] std::string text() const { return uuid.text(); }
  auto operator<=>(const SessionId&) const = default;
};
/// nullopt for anything that is no UUID: such a session cannot exist.
[[nodiscard]] std::optional<SessionId> parse_session_id(std::string_view text);

/// Names one command for ever: who proposed it and its number there. The number holds the start count of the
/// proposer's process in its upper 24 bits and a counter below, so it never repeats and grows with every start.
/// Source: client sessions of Ongaro's thesis, 6.3, with the agents as the clients.
struct RequestId {
  NodeId origin{};
  std::uint64_t seq = 0;  ///< 0 = not a request (never remembered)
  auto operator<=>(const RequestId&) const = default;
};
[[nodiscard]] constexpr std::uint64_t first_seq(std::uint64_t start_count) { return (start_count << 40U) + 1; }

/// One row of the state as the disk and snapshots hold it. First byte of `key` = kind (record.h).
/// `value` nullopt = the row is gone.
struct Record {
  std::string key;
  std::optional<std::string> value;
  friend bool operator==(const Record&, const Record&) = default;
};

// Bounds. All of them are part of the replicated rules: changing one needs a new command version.
inline constexpr std::size_t kKeyBytesMax = 1024;
inline constexpr std::size_t kValueBytesMax = std::size_t{512} << 10;
inline constexpr std::size_t kNameBytesMax = 256;                        ///< service, holder and member names
inline constexpr std::size_t kStateBytesMax = std::size_t{256} << 20;    ///< keys + values of all KV entries
inline constexpr std::size_t kEntriesMax = 1'000'000;                    ///< KV entries
inline constexpr std::size_t kTombstonesMax = 65'536;                    ///< remembered deletions (oldest forgotten)
inline constexpr std::size_t kServicesMax = 1024;                        ///< services that ever had a lease
inline constexpr std::size_t kMembersMax = 1024;                         ///< rows of the member directory
inline constexpr std::size_t kOriginsMax = 1024;                         ///< proposers whose requests are remembered
inline constexpr std::size_t kDedupeWindow = 2048;                       ///< requests remembered per proposer
/// Waits at this replica: 10,000 queries for two topics each (a service and its lease), 1,000 streams, the agent's own.
inline constexpr std::size_t kWatchesMax = 22'000;
inline constexpr std::uint32_t kLeaseMsMin = 50, kLeaseMsMax = 600'000;  ///< lease and margin, milliseconds
inline constexpr std::size_t kCommandBytesMax = std::size_t{1} << 20;  ///< encoded, of any command

// Sessions and locks.
inline constexpr std::size_t kSessionsMax = 16'384;                  ///< sessions of the cluster
inline constexpr std::size_t kSessionKeysMax = 4'096;                ///< keys that one session holds
inline constexpr std::size_t kSessionChecksMax = 64;                 ///< checks that one session is tied to
inline constexpr std::size_t kLockDelaysMax = 65'536;                ///< keys held back (the oldest opens early)
inline constexpr std::uint32_t kSessionTtlMsMin = 100;               ///< least TTL that is not 0; the API asks for more
inline constexpr std::uint32_t kSessionTtlMsMax = 86'400'000;        ///< 24 hours
inline constexpr std::uint32_t kLockDelayMsMax = 60'000;             ///< lock-delay of one session

// Transactions.
inline constexpr std::size_t kTxnOpsMax = 128;
inline constexpr std::size_t kTxnResultBytesMax = std::size_t{8} << 20;  ///< keys + values read by one transaction

// Catalog.
inline constexpr std::size_t kNodesMax = 4'096;
inline constexpr std::size_t kInstancesMax = 32'768;                     ///< service instances of the cluster
inline constexpr std::size_t kChecksMax = 65'536;
inline constexpr std::size_t kNodeServicesMax = 4'096;                   ///< instances of one node
inline constexpr std::size_t kServiceChecksMax = 64;                     ///< checks that come with one ServiceSet
inline constexpr std::size_t kIndexCountersMax = 65'536;                 ///< names remembered (oldest forgotten)
inline constexpr std::size_t kCatalogBytesMax = std::size_t{64} << 20;   ///< all texts of all rows
inline constexpr std::size_t kTagsMax = 128, kMetaMax = 64;              ///< of one node or instance
inline constexpr std::size_t kMetaKeyBytesMax = 128, kMetaValueBytesMax = 512;
inline constexpr std::size_t kNotesBytesMax = 4'096, kOutputBytesMax = 4'096;
inline constexpr std::size_t kDefinitionBytesMax = std::size_t{16} << 10;

// Orders.
inline constexpr std::size_t kOrderKeyBytesMax = 255;                          ///< of a client's key
inline constexpr std::size_t kOrderAnswerBytesMax = std::size_t{256} << 10;    ///< headers + body of one answer
inline constexpr std::size_t kOrdersMax = 1'000'000;                           ///< orders of the cluster
inline constexpr std::size_t kOrderBytesMax = std::size_t{1} << 30;            ///< names, answers and overhead of all
inline constexpr std::size_t kOrderRoomBytes = std::size_t{64} << 20;          ///< of these, kept for answers under way
inline constexpr std::size_t kOrderOverheadBytes = 512;                        ///< counted per order: what it costs in memory
inline constexpr std::size_t kOrdersReservedMax = 4'096;                       ///< open reservations of one service
inline constexpr std::uint64_t kOrderRetentionMsDefault = 86'400'000;          ///< 24 hours
inline constexpr std::uint64_t kOrderRetentionMsMin = 1'000;                   ///< of one order, milliseconds
inline constexpr std::uint64_t kOrderRetentionMsMax = 366 * 86'400'000ULL;
inline constexpr std::uint64_t kOrderTimeMsMax = 1ULL << 52U;                  ///< of any wall clock: no sum overflows
inline constexpr std::uint32_t kOrderSweepMax = 1'024;                         ///< orders that one OrderSweep removes

// Events, change feed, quotas, restore.
inline constexpr std::size_t kEventsMax = 256;                            ///< events remembered
inline constexpr std::size_t kEventPayloadBytesMax = std::size_t{8} << 10;
inline constexpr std::size_t kFeedEntriesMax = 16'384;                    ///< changes kept for watchers that resume ...
inline constexpr std::size_t kFeedBytesMax = std::size_t{2} << 20;        ///< ... and the bytes of their keys
inline constexpr std::size_t kQuotasMax = 64;
inline constexpr std::size_t kRestoreChunkBytesMax = std::size_t{768} << 10;  ///< the largest row fits
inline constexpr std::size_t kRestoreBytesMax = kStateBytesMax + 2 * kCatalogBytesMax;  ///< staged at once

}  // namespace store::kv
