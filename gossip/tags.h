#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gossip/error.h"

namespace gossip {

inline constexpr std::size_t kTagKeyBytesMax = 64;
inline constexpr std::size_t kTagsBytesMax = 512;  ///< all keys and values of one member, removed keys included
inline constexpr std::size_t kTagCountMax = 64;

/// One key of a member's tags. The version orders values of one key within one generation of the member; the
/// member itself is the only writer. A removed tag stays as a mark so that an older value cannot come back.
struct Tag {
  std::string key;
  std::string value;          ///< empty when removed
  std::uint32_t version = 0;  ///< > 0 on the wire
  bool removed = false;
  friend bool operator==(const Tag&, const Tag&) = default;
};

/// The tags of one member. Invariant: keys sorted and unique, bytes() <= kTagsBytesMax, count <= kTagCountMax.
/// Ownership: a value inside Member.
class TagSet {
 public:
  /// Merges one tag: the higher version wins, equal or lower changes nothing; at equal version the values are
  /// equal too, since only the member writes. @return true if the visible value changed.
  /// Errors: kTooBig if the result would pass the bounds, kInvalidArgument for an empty or long key.
  Result<bool> merge(Tag tag);
  /// Value of a key that is there and not removed.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view key) const;
  [[nodiscard]] const Tag* find(std::string_view key) const;            ///< with removed ones; null if never set
  [[nodiscard]] std::span<const Tag> entries() const { return tags_; }  ///< sorted by key, with removed ones
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint32_t version_max() const;  ///< 0 when empty
  void clear();
  friend bool operator==(const TagSet&, const TagSet&) = default;

 private:
  std::vector<Tag> tags_;
  std::size_t bytes_ = 0;
};

}  // namespace gossip
