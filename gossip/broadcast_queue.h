#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "gossip/member.h"
#include "gossip/wire.h"

namespace gossip {

/// Importance of waiting news, most important first (gossip.md 5.7).
enum class Priority : std::uint8_t { kRefute, kLeave, kDead, kSuspect, kUrgentTags, kAlive, kTags };

/// What still must be told, and how often it was.
/// Source:    SWIM section 4.1: each update goes out lambda * log(n) times, the least sent first; here within its
///            priority. An update replaces the waiting one with the same key, so that queues hold the latest only.
/// Bounds:    at most `max` entries; beyond it the least important and most sent one is dropped.
/// Ownership: encoded bytes by value.
class BroadcastQueue {
 public:
  /// Two updates with one key say the same thing at different times.
  struct Key {
    MemberId subject;
    Kind kind = Kind::kAlive;
    std::uint64_t detail = 0;  ///< hash of accuser or tag key; 0 if the kind needs none
    friend bool operator==(const Key&, const Key&) = default;
    friend auto operator<=>(const Key&, const Key&) = default;
  };

  /// Key detail for a text; the same in every build.
  [[nodiscard]] static std::uint64_t detail_of(std::string_view text);
  /// @return how many entries were dropped to make room (0 or 1)
  std::size_t push(const Key& key, Priority priority, std::vector<std::byte> message, std::size_t max);
  /// Drops all state claims (alive, suspect, dead, left) about a member: they are out of date. Tags stay.
  void drop_claims(const MemberId& subject);
  /// Drops everything about a member.
  void drop_all(const MemberId& subject);
  /// Appends waiting messages to a packet, best first, as long as they fit; each counts as sent once.
  /// Entries sent `sends_max` times leave the queue. @param count_max most messages to add
  std::size_t fill(BodyWriter& packet, std::uint32_t sends_max, std::size_t count_max);
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Priority priority{};
    std::uint32_t sends = 0;
    std::uint64_t sequence = 0;
    std::vector<std::byte> message;
  };
  struct Order {
    Priority priority{};
    std::uint32_t sends = 0;
    std::uint64_t newest_first = 0;  // ~sequence
    Key key;
    friend bool operator==(const Order&, const Order&) = default;
    friend auto operator<=>(const Order&, const Order&) = default;
  };
  [[nodiscard]] static Order order_of(const Key& key, const Entry& entry);
  void drop_if_claims(const MemberId& subject, bool everything);

  std::map<Key, Entry> entries_;
  std::set<Order> order_;
  std::uint64_t sequence_ = 0;
};

/// Sends of one update in a cluster of n: factor * ceil(log10(n + 1)).
[[nodiscard]] std::uint32_t retransmit_limit(std::uint32_t factor, std::size_t live);

}  // namespace gossip
